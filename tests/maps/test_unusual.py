"""Functions and inputs that are not what most people write: they fork, print past Python, close what is not theirs."""

from __future__ import annotations

import multiprocessing
import os

import pytest

import wingspan
from _waiting import PATIENCE


def test_a_fork_that_comes_back_from_the_function_is_not_the_executor(tmp_path):
    """A child that the function forks off and lets return takes no inputs, tells no results, calls nothing again."""

    def forks(x):
        with (tmp_path / "calls").open("a") as file:
            file.write(f"{x}\n")
        if x % 3 == 0:
            os.fork()
        if x % 4 == 0:
            raise ValueError(x)
        return [x]

    m = wingspan.map(forks, range(40), pool="local", options=wingspan.Options(workers=1))
    m.wait(PATIENCE, errors_ok=True)
    got = list(m.iter(return_exceptions=True))
    assert [one for one in got if isinstance(one, list)] == [[x] for x in range(40) if x % 4]
    assert list(m.errors) == list(range(0, 40, 4))
    calls = (tmp_path / "calls").read_text().split()
    assert sorted(map(int, calls)) == list(range(40))


def test_a_fork_of_a_fork_keeps_its_own_files():
    """The numbers of the executor's pipes, closed in a child, are the child's to use: also in what it starts in turn."""

    def nested(x):
        import multiprocessing
        import os
        import subprocess

        def outer(connection):
            try:
                done = subprocess.run(["cat"], input=b"hello", stdout=subprocess.PIPE, preexec_fn=os.setsid)
                connection.send(done.stdout)
            except BaseException as error:
                connection.send(repr(error))

        context = multiprocessing.get_context("fork")
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=outer, args=(there,))
        process.start()
        there.close()
        answer = here.recv()
        process.join()
        return answer

    m = wingspan.map(nested, range(2), pool="local", options=wingspan.Options(workers=1))
    assert list(m) == [b"hello"] * 2


def test_fast_components_may_fork():
    """The same among components that are so fast that their outputs are gathered."""

    def forks(x):
        if x == 700:
            os.fork()
        return x

    m = wingspan.map(forks, range(1000), pool="local", options=wingspan.Options(workers=1))
    m.wait(PATIENCE)
    assert list(m) == list(range(1000))


def test_processes_that_the_function_starts_work():
    """multiprocessing's own children are not touched by that."""

    def squares(n):
        with multiprocessing.get_context("fork").Pool(2) as pool:
            return pool.map(abs, range(-n, 0))

    m = wingspan.map(squares, [3, 2], pool="local")
    m.wait(PATIENCE)
    assert list(m) == [[3, 2, 1], [2, 1]]


def test_what_is_printed_past_python_is_kept():
    """C code and child processes print to descriptor 1 itself: nothing of it is lost, however fast the components are."""

    def prints(x):
        os.write(1, b"line %d\n" % x)
        return x

    m = wingspan.map(prints, range(500), pool="local", options=wingspan.Options(workers=1))
    m.wait(PATIENCE)
    lines = "".join(m.stdout(component) for component in m.components).splitlines()
    assert lines == [f"line {x}" for x in range(500)]
    assert m.stdout(499) == "line 499\n"  # once that is noticed, each has its own
    assert m.stdout(3) == "line 3\n"


def test_a_function_may_close_standard_output():
    """That is its own business: its result counts."""

    def closes(x):
        os.close(1)
        return x

    m = wingspan.map(closes, [5], pool="local")
    m.wait(PATIENCE)
    assert m[0] == 5


def test_a_starmap_of_arrays():
    """Arguments may come as anything that can be iterated over, arrays too, which are neither true nor false."""
    numpy = pytest.importorskip("numpy")
    for rows in (numpy.array([[1, 2], [3, 4]]), [numpy.array([1, 2]), numpy.array([3, 4])]):
        assert list(wingspan.starmap(lambda a, b: int(a + b), rows, pool="local")) == [3, 7]


@pytest.mark.parametrize("args", [[0, (1,)], [(1,), False]])
def test_arguments_that_are_nothing_are_no_arguments(args):
    """A 0 in the place of a tuple is a mistake; it does not call the function without arguments."""
    with pytest.raises(wingspan.InvalidInputs, match="not a tuple of arguments"):
        wingspan.starmap(lambda *given: given, args, pool="local")


def test_tags_of_the_world():
    """A tag may be written in any script; one that is no text at all is refused as a tag."""
    assert list(wingspan.map(abs, [-1], tag="größe-π-蛇", pool="local")) == [1]
    assert wingspan.load("größe-π-蛇")[0] == 1
    for function in (wingspan.load, lambda tag: wingspan.map(abs, [1], tag=tag, pool="local")):
        with pytest.raises(wingspan.InvalidTag):
            function("x\udcff")  # what the shell makes of bytes that are no UTF-8


FULL = """
import os, resource, sys
import wingspan

os.environ["LC_FULL_DISK"] = sys.argv[1]  # workers of our own: the limit is theirs from the start
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
m = wingspan.map(lambda x: bytes(x), [3 << 20], pool="local")
try:
    m.wait(60)
except wingspan.WorkersCannotStart as error:
    print(len(m._keeper.results.starts), error)
"""


def test_a_disk_that_is_full_is_told_by_the_first_worker(other_python, tmp_path):
    """A part of a record on a full disk (here: a file that may not grow) is taken back, so that what the worker says of it can be read."""
    told = other_python(FULL, tmp_path).stdout
    assert "the worker itself failed: OSError" in told
    assert "File too large" in told
    assert int(told.split()[0]) <= 2


def test_what_was_printed_does_not_fill_the_scratch_disk(monkeypatch):
    """An executor that has printed much makes way for another; what it printed, and the state of things, is whole."""
    from wingspan.worker import entry, supervisor

    monkeypatch.setattr(supervisor, "PRINTED_BYTES", 10_000)

    def prints(x):
        print(f"{x:04d}" * 1000)
        return os.getpid()

    m = wingspan.map(prints, range(12), pool="local", options=wingspan.Options(workers=0, block_size=1))
    assert entry.work("file", str(m.path), 0) == 0
    pids = list(m)
    assert len(set(pids)) in (3, 4)  # each is sent ahead one or two components more than it would need
    assert [m.stdout(x) for x in range(12)] == [f"{x:04d}" * 1000 + "\n" for x in range(12)]


async def waits(x):
    return x


def yields(x):
    yield x


async def both(x):
    yield x


class Method:
    async def waits(self, x):
        return x


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (waits, r"waits is an async function.*asyncio\.run\(waits\(x\)\)"),
        (yields, r"yields is a generator function.*list\(yields\(x\)\)"),
        (both, "both is an async generator function"),
        (Method().waits, "waits is an async function"),
    ],
)
def test_a_function_that_gives_no_result_is_refused(function, words, data_dir):
    """What an async or a generator function gives could never be sent back: told at once, with what to pass instead."""
    for call in (
        lambda: wingspan.map(function, [1], pool="local"),
        lambda: wingspan.starmap(function, [(1,)], pool="local"),
        lambda: wingspan.build_map(function, pool="local"),
    ):
        with pytest.raises(wingspan.NotPicklable, match=f"(?s){words}"):
            call()
    assert not (data_dir / "maps").exists()


def test_a_component_may_make_a_map_itself():
    """A map within a map: what the worker has in its archive is not taken for the user's own modules."""

    def outer(x):
        m = wingspan.map(lambda y: y + x, range(2), pool="local")
        outputs = list(m)
        m.remove()
        return outputs

    m = wingspan.map(outer, [10, 20], pool="local")
    m.wait(PATIENCE)
    assert list(m) == [[10, 11], [20, 21]]


def test_a_session_that_makes_many_maps_leaves_no_files_open():
    """A map that is let go of closes what it has read from."""

    def made(number):
        m = wingspan.map(abs, [number], pool="local", options=wingspan.Options(workers=1))
        assert m[0] == number
        return len(os.listdir("/proc/self/fd"))

    counts = [made(number) for number in range(12)]
    assert counts[-1] <= counts[1]
