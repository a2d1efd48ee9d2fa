"""What a component changes in its process is put back for the next one, and nothing else."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from pathlib import Path

import pytest

from wingspan.worker import scratch, surroundings
from wingspan.worker.printed import printing_to

STREAMS = ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__")


class Process:
    """This process, as an executor has it: its standard streams are files, until `back`."""

    def __init__(self, folder):
        self._streams = [getattr(sys, name) for name in STREAMS]
        self._descriptors = [os.dup(number) for number in range(3)]
        self._folder = Path.cwd()
        self._umask = os.umask(0o027)
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._handler = signal.getsignal(signal.SIGUSR1)
        self._timer = signal.setitimer(signal.ITIMER_REAL, 0)  # pytest's, for tests that hang
        self.null = os.open(os.devnull, os.O_RDWR)
        self.out, self.err = (scratch.unnamed_file(str(folder), what) for what in ("out", "err"))
        for number, descriptor in enumerate((self.null, self.out, self.err)):
            os.write(descriptor, b"\n")
            os.dup2(descriptor, number)
        sys.stdin = open(0, closefd=False)
        sys.stdout, sys.stderr = printing_to(1), printing_to(2)
        os.chdir(folder)
        self.before = surroundings.Surroundings(self.null, self.out, self.err)

    def restore(self, closely=True):
        return self.before.restore(closely, (os.fstat(self.out).st_size, os.fstat(self.err).st_size))

    def printed(self):
        """What has arrived in the files of standard output and standard error."""
        return [os.pread(file, 1000, 1) for file in (self.out, self.err)]

    def back(self):
        for number, descriptor in enumerate(self._descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        for descriptor in (self.null, self.out, self.err):
            os.close(descriptor)
        for name, stream in zip(STREAMS, self._streams, strict=True):
            setattr(sys, name, stream)
        os.chdir(self._folder)
        os.umask(self._umask)
        resource.setrlimit(resource.RLIMIT_NOFILE, self._limit)
        signal.signal(signal.SIGUSR1, self._handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        signal.setitimer(signal.ITIMER_REAL, *self._timer)


@pytest.fixture
def executor(tmp_path):
    """Begins to be one: not before the test itself, as pytest has its own standard output until then."""

    @contextlib.contextmanager
    def begin():
        process = Process(tmp_path)
        try:
            yield process
        finally:
            process.back()

    return begin


@pytest.mark.parametrize("closely", [False, True])
def test_a_component_that_changes_nothing_is_followed_by_the_next(executor, closely):
    """Nothing is put back, not even after output: whoever restores would lose time."""
    with executor() as process:
        print("hello")
        sys.stderr.write("careful\n")
        assert not process.restore(closely)
        assert process.printed() == [b"hello\n", b"careful\n"]


def test_streams_that_a_component_has_replaced_or_closed(executor):
    """The next one prints to the same files, and reads nothing."""
    with executor() as process:
        sys.stdout.close()
        sys.stderr, sys.stdin = None, Path(os.devnull).open()
        sys.stdin.close()
        process.before._stdin.close()
        assert process.restore(closely=False)
        print("to output")
        sys.stderr.write("to errors\n")
        sys.__stdout__.write("again\n")
        assert sys.stdin.read() == ""
        assert process.printed() == [b"to output\nagain\n", b"to errors\n"]
        assert not process.restore()


@pytest.mark.parametrize("closely", [False, True])
def test_descriptors_that_a_component_has_closed_or_redirected(executor, tmp_path, closely):
    """What is printed then arrives in the files again, and not where the component has sent it."""
    with executor() as process:
        with (tmp_path / "own").open("wb") as own:
            own.write(b"a file of its own, longer than ours")
            own.flush()
            os.dup2(own.fileno(), 1)
        os.close(2)
        assert process.restore(closely)
        os.write(1, b"one")
        os.write(2, b"two")
        assert process.printed() == [b"one", b"two"]


def test_standard_input_that_a_component_has_replaced(executor, tmp_path):
    """It is looked at closely: the next one does not read a file of the last one."""
    with executor() as process:
        (tmp_path / "own").write_bytes(b"not for you")
        with (tmp_path / "own").open("rb") as own:
            os.dup2(own.fileno(), 0)
        assert process.restore()
        assert os.read(0, 100) == b""


@pytest.mark.parametrize("closely", [False, True])
def test_the_folder_and_the_umask(executor, tmp_path, closely):
    """Files of the next component lie where they should and have the rights that they should."""
    with executor() as process:
        os.chdir("/")
        os.umask(0o777)
        assert process.restore(closely)
        assert process.before.folder == str(Path.cwd()) == str(tmp_path)
        assert os.umask(0o027) == 0o027
        assert not process.restore(closely)


def test_a_folder_that_a_component_has_removed(executor, tmp_path):
    """There is nothing to go back to: that is no error of the next one."""
    own = tmp_path / "own"
    own.mkdir()
    with executor() as process:
        os.chdir(own)
        process.before = surroundings.Surroundings(process.null, process.out, process.err)
        own.rmdir()
        assert not process.restore()
        os.chdir("/")
        assert not process.restore()
        assert Path.cwd() == Path("/")
        assert process.before.folder == str(own)
        own.mkdir()
        os.chdir(own)
        own.rmdir()
        process.before = surroundings.Surroundings(process.null, process.out, process.err)
        os.chdir("/")
        assert process.before.folder == "/"


def test_signals_and_timers(executor):
    """No alarm, handler or blocked signal of a component reaches the next one."""
    with executor() as process:
        before = signal.getsignal(signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 3600)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        assert not process.restore(closely=False)
        assert process.restore()
        assert signal.getsignal(signal.SIGUSR1) == before
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        assert signal.SIGUSR1 not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        assert not process.restore()


def test_limits_that_a_component_has_lowered(executor):
    """They are as they were; those that it has raised stay, since they take nothing from the next one."""
    with executor() as process:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
        assert process.restore()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
        process.before = surroundings.Surroundings(process.null, process.out, process.err)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert not process.restore()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


@pytest.mark.parametrize(
    ("limit", "than", "expected"),
    [
        (5, 6, True),
        (6, 6, False),
        (7, 6, False),
        (5, resource.RLIM_INFINITY, True),
        (resource.RLIM_INFINITY, 5, False),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, False),
    ],
)
def test_no_limit_is_the_highest(limit, than, expected):
    """RLIM_INFINITY is minus one, and lower than none."""
    assert surroundings._is_lower(limit, than) is expected
