"""How executors end, and what is told of it: by a limit of time or memory, by a crash, in order, or because
nobody wants what they do. And the signs of life before that.
"""

from __future__ import annotations

import collections
import os
import signal
import sys
import time
from array import array

import pytest

from _executor_end import ExecutorEnd, started
from _waiting import until
from wingspan.worker import (
    child,
    crashes,
    failure,
    formats,
    limits,
    measures,
    memory,
    offspring,
    pipes,
    rounds,
    signs,
)
from wingspan.worker.blocks import Block
from wingspan.worker.coming import Coming
from wingspan.worker.inputs import Inputs
from wingspan.worker.outbox import Outbox
from wingspan.worker.retired import RetiredExecutors
from wingspan.worker.transports import FileTransport
from wingspan.worker.work import WorkSource

KEY = bytes(32)
MB = 1 << 20
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells it in /proc")


class Worker(signs.SignsOfLife):
    """A supervisor, as far as its signs of life go."""

    def __init__(self, folder, executor, usual=None, coming=None):
        self.transport = FileTransport(str(folder))
        for name in ("rounds", "results"):
            self.transport.make_folder(name)
        rounds.publish(self.transport, KEY, 0, rounds.plan_for(rounds.INITIAL, range(9), 1), "n0")
        self.transport.append("results/0.0")
        self.source = WorkSource(self.transport, KEY, 0, "0.0", 0, 120.0, usual, coming)
        self.outbox = Outbox(self.transport, KEY, "0.0")
        self.retired = RetiredExecutors(self.outbox, 60.0)
        self.executor = executor
        self.announced = self.given_up = -1
        block = Block(0, 0, 0, [(4, 6)], False, False)
        bounds = array("Q", [0, 0, 0])
        chunk = child.Chunk(block, range(4, 6), bounds, b"", Inputs(self.transport, 9))
        self.chunks = collections.deque([chunk])

    @property
    def _running(self):
        return self.executor

    def told(self):
        """The records since the last call: ``(kind, component, payload)``."""
        self.outbox.flush()
        return records(self.transport)[self._seen() :]

    def _seen(self):
        seen, self._before = getattr(self, "_before", 0), len(records(self.transport))
        return seen


def fields_and_payloads(transport):
    data = transport.read("results/0.0")
    for _, count, headers, after in formats.whole_frames("0.0", KEY, data, 0):
        position = headers + count * formats.RECORD.size
        for number in range(count):
            fields = formats.RECORD.unpack_from(data, headers + number * formats.RECORD.size)
            yield fields, data[position : position + fields[-1]]
            position += fields[-1]
        assert position == after


def records(transport):
    return [(fields[0], fields[4], payload) for fields, payload in fields_and_payloads(transport)]


@pytest.fixture
def executor(tmp_path):
    one = ExecutorEnd(str(tmp_path))
    yield one
    one.clean()


@pytest.fixture
def worker(tmp_path, executor):
    one = Worker(tmp_path, executor)
    yield one
    one.transport.close()


@pytest.fixture
def long_heartbeats(monkeypatch):
    """A worker may be silent for so long that a busy machine makes no difference (s)."""
    monkeypatch.setattr(formats, "HEARTBEAT_SECONDS", 1e6)
    return 1e6


@pytest.fixture
def two():
    """``(process, its child, a pipe that closes when both have ended)``."""
    read, write = os.pipe()
    parent = started("sh", "-c", "sleep 600 & echo $!; wait", out=write)
    os.close(write)
    below = int(os.read(read, 100))
    yield parent, below, read
    for pid in (below, parent):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    try:
        os.waitpid(parent, 0)
    except ChildProcessError:
        pass
    os.close(read)


def how_it_ends(pid):
    return os.wait4(pid, 0)[1:]


# -- limits ----------------------------------------------------------------------------------------------


@on_linux
def test_a_process_is_killed_with_what_it_has_started(two):
    """Nothing of it goes on, neither itself nor its child."""
    parent, below, read = two
    assert measures.family(parent) == [parent, below]
    limits.kill_family(parent)
    assert os.read(read, 1) == b""  # both have closed it
    assert os.WTERMSIG(how_it_ends(parent)[0]) == signal.SIGKILL
    limits.kill_family(parent)  # it is gone: that is no error


@on_linux
def test_a_component_that_takes_too_long_is_ended_once(executor):
    """The component is named once, and what is told of it says how long it might have taken."""
    limit = limits.TimeLimit(0.5)
    executor.board.set(7, 1, 1, time.time() - 1000)  # of what has gone by unseen, a second counts at most
    limit.enforce(executor, {})
    assert os.WTERMSIG(executor.wait()) == signal.SIGKILL
    assert (limit.killed(), limit.killed()) == (7, None)
    told = limit.failure()
    assert (told["stage"], told["message"]) == ("timeout", "it took longer than 0.5 s")


@pytest.mark.parametrize(
    ("seconds", "component", "since"), [(None, 7, 1000), (90.0, -1, 1000), (90.0, 7, -1000)]
)
def test_a_component_that_may_go_on_is_left_alone(executor, seconds, component, since):
    """There is no limit, no component, or there is time left."""
    limit = limits.TimeLimit(seconds)
    executor.board.set(component, 1, 1, time.time() - since)
    limit.enforce(executor, {})
    assert limit.killed() is None
    os.kill(executor.pid, signal.SIGTERM)
    assert os.WTERMSIG(executor.wait()) == signal.SIGTERM


@on_linux
def test_an_executor_that_takes_more_memory_than_it_may_is_ended(executor):
    """At the next look, a second after the last. How much that was is said once."""
    read, write = os.pipe()
    program = "import time; kept = b'x' * (40 << 20); print(flush=True); time.sleep(600)"
    pid = started(sys.executable, "-I", "-S", "-c", program, out=write)
    os.close(write)
    assert os.read(read, 1) == b"\n"
    limit = memory.MemoryLimit(16 * MB, always=True)
    limit.enforce(executor.pid, 100.0)  # takes little
    limit.enforce(pid, 100.5)  # too early for another look
    assert not limit._broken
    limit.enforce(pid, 101.5)
    status, _ = how_it_ends(pid)
    os.close(read)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert limit.was_exceeded(status, 0)
    words = limit.why_killed()
    assert words.startswith("it took ")
    assert words.endswith(" MiB of memory and its job asked for 16 MiB")
    assert 40 <= int(words.split()[2]) < 1000
    assert limit.why_killed() == ""


@on_linux
@pytest.mark.parametrize("request_and_always", [(1 << 40, True), (4096, False), (None, True)])
def test_an_executor_within_its_memory_is_left_alone(executor, monkeypatch, request_and_always):
    """It takes less, the system sees to it, or nothing was asked for."""
    monkeypatch.delenv("_WINGSPAN_PERSONAL_POOL", raising=False)
    limit = memory.MemoryLimit(*request_and_always)
    limit.enforce(executor.pid, 100.0)
    assert limit.why_killed() == ""
    os.kill(executor.pid, signal.SIGTERM)
    status = executor.wait()
    assert os.WTERMSIG(status) == signal.SIGTERM
    assert not limit.was_exceeded(status, 1 << 40)


def test_who_was_killed_near_its_memory_was_killed_for_it(executor):
    """As far as can be told, where the system did it: nine tenths of what was asked for are near."""
    os.kill(executor.pid, signal.SIGKILL)
    status = executor.wait()
    limit = memory.MemoryLimit(900 * 1024)
    assert [limit.was_exceeded(status, peak) for peak in (700, 809, 810, 2000)] == [False, False, True, True]


# -- crashes ---------------------------------------------------------------------------------------------


def crash_of(worker, executor, told=None, request=None):
    """What is recorded of the executor's death, as its owner reads it."""
    status = executor.wait()
    limit = memory.MemoryLimit(request)
    crash = crashes.Crash(status, executor.ended[1], executor.err, limit, told)
    block = Block(3, 0, 1, [(4, 6)], False, False)
    crash.record(worker.outbox, block, (5, 1, 4, time.time()))
    worker.outbox.flush()
    [(fields, payload)] = fields_and_payloads(worker.transport)
    assert fields[:5] == (formats.ERROR, 1, 1, 3, 5)
    assert fields[8] == failure.plain(payload)["peak_kib"] > 0
    return crash, failure.plain(payload)


@pytest.mark.parametrize(
    ("script", "message", "number", "code"),
    [
        ("kill -SEGV $$", "killed by signal 11 (SIGSEGV)", 11, None),
        ("exit 3", "exited with code 3", None, 3),
    ],
)
def test_what_is_told_of_a_crash(tmp_path, script, message, number, code):
    """How it ended, for people and for programs, and what this component has written to standard error."""
    executor = ExecutorEnd(str(tmp_path), "sh", "-c", "ulimit -c 0; " + script)
    worker = Worker(tmp_path, executor)
    os.write(executor.err, b"of\nof this \xff one")
    crash, fields = crash_of(worker, executor)
    assert (fields["message"], fields["stage"]) == (message, "crash")
    assert (fields["signal"], fields["exit_code"], fields["exceeded"]) == (number, code, None)
    assert fields["stderr"] == "of this � one"
    assert not crash.exceeded
    executor.clean()
    worker.transport.close()


def test_the_end_of_a_long_standard_error_is_told(worker, executor):
    """The last 4000 bytes, in which the reason stands."""
    os.write(executor.err, b"x" * 10000 + b"reason")
    os.kill(executor.pid, signal.SIGABRT)
    _, fields = crash_of(worker, executor)
    assert fields["stderr"] == "x" * 3994 + "reason"
    assert crashes.crash_at_the_start(executor.wait(), executor.err, 9997)["stderr"] == "x" * 4 + "reason"


def test_a_component_that_cuts_standard_error_is_told_of(worker, executor):
    """Its output began behind where the file ends now: the record is written, without any."""
    os.ftruncate(executor.err, 0)
    os.kill(executor.pid, signal.SIGSEGV)
    _, fields = crash_of(worker, executor)
    assert (fields["signal"], fields["stderr"]) == (signal.SIGSEGV, "")


def test_a_crash_near_the_memory_limit_says_so(worker, executor):
    """A map that asks for more for such components learns it from the record."""
    os.kill(executor.pid, signal.SIGKILL)
    crash, fields = crash_of(worker, executor, request=1024)
    assert crash.exceeded
    assert fields["exceeded"] == "memory"


def test_what_is_known_of_an_end_is_told_instead(worker, executor):
    """Whose time was over has not been killed by somebody: the limit's words stand, with the rest of it."""
    os.write(executor.err, b"12\nlast words")
    os.kill(executor.pid, signal.SIGKILL)
    crash, fields = crash_of(worker, executor, limits.TimeLimit(7200.0).failure(), request=1024)
    assert (fields["message"], fields["stage"]) == ("it took longer than 2 h", "timeout")
    assert fields["stderr"] == "last words"
    assert not crash.exceeded


# -- the end in order ------------------------------------------------------------------------------------


def test_what_an_executor_prints_at_its_end_belongs_to_its_last_component(tmp_path):
    """It is told that nothing more comes; when it has ended, its output is recorded and nothing is left."""
    executor = ExecutorEnd(str(tmp_path), "true")
    worker = Worker(tmp_path, executor)
    worker.retired.add(executor, (0, 8))
    assert os.read(executor.reading, 100) == pipes.END
    assert worker.retired.pids == [executor.pid]
    os.write(executor.out, b"atexit")
    executor.wait()
    left = tmp_path / f".wingspan-own-{executor.pid}-file"
    left.touch()
    worker.retired.look()
    assert worker.told() == [(formats.STDOUT, 8, b"atexit")]
    assert worker.retired.pids == []
    assert not left.exists()
    executor.clean()
    worker.transport.close()


def test_an_executor_that_does_not_end_is_killed_and_told_of(worker, executor):
    """The words go to standard error of its last component."""
    late = RetiredExecutors(worker.outbox, 0.0)
    late.add(executor, (0, 8))
    late.wait(lambda: False)
    assert os.WTERMSIG(executor.ended[0]) == signal.SIGKILL
    [(kind, component, payload)] = worker.told()
    assert (kind, component) == (formats.STDERR, 8)
    assert b"the process was killed, as it had not ended 0 s after its last component" in payload


def test_an_executor_is_killed_without_a_record(worker, executor):
    """The worker itself ends at once: nobody waits, and nothing is written."""
    worker.retired.add(executor, None)
    worker.retired.kill()
    assert os.WTERMSIG(executor.ended[0]) == signal.SIGKILL
    assert worker.told() == []
    assert worker.retired.pids == []


# -- signs of life ---------------------------------------------------------------------------------------


def test_a_long_component_is_announced_with_what_it_has_printed(worker, executor, long_heartbeats):
    """Once, and again when there is more to print or nothing was said for long."""
    executor.board.set(4, 1, 1, 1000.0)
    os.write(executor.out, b"half way")
    worker._announce()
    assert worker.told() == [(formats.STDOUT, 4, b"half way"), (formats.HEARTBEAT, 4, b"")]
    fields = list(fields_and_payloads(worker.transport))[-1][0]
    assert (fields[5], worker.announced) == (1000.0, 4)
    worker._announce()
    assert worker.told() == []
    os.write(executor.err, b"more")
    worker._announce()
    assert worker.told() == [(formats.STDERR, 4, b"more"), (formats.HEARTBEAT, 4, b"")]
    worker.outbox._last -= 2 * long_heartbeats
    worker._announce()
    assert worker.told() == [(formats.HEARTBEAT, 4, b"")]


def test_a_short_component_is_not_announced(worker, executor, long_heartbeats):
    """Neither one that has only begun, nor fast ones, unless they last, nor one that has its outcome."""
    executor.board.set(4, 1, 1, time.time() + 1000)
    worker._announce()
    executor.board.set(pipes.SOME, 1, 1, 1000.0)
    worker._announce()
    assert worker.told() == []
    worker.outbox._last -= 2 * long_heartbeats
    worker._announce()
    assert worker.told() == [(formats.HEARTBEAT, formats.NO_COMPONENT, b"")]
    worker.chunks.clear()
    executor.board.set(4, 1, 1, 1000.0)
    worker._announce()
    assert worker.told() == []


def test_output_of_another_component_is_not_printed_as_its_own(worker, executor):
    """The executor is ahead of its records: what it prints waits for them."""
    executor.board.set(5, 1, 1, 1000.0)
    os.write(executor.out, b"of 5")
    worker._print_live()
    assert worker.told() == []
    worker.chunks[0].done = 1
    worker._print_live()
    assert worker.told() == [(formats.STDOUT, 5, b"of 5")]


@on_linux
@pytest.mark.parametrize("kind", [rounds.RERUN, rounds.CANCEL])
def test_a_component_that_nobody_wants_is_given_up(worker, executor, kind):
    """Its executor is killed; others that the newer round does not name go on."""
    rounds.publish(worker.transport, KEY, 1, rounds.plan_for(kind, [4], 1), "n1")
    worker.source._load_rounds()
    executor.board.set(5, 1, 1, 1000.0)
    worker._announce()
    assert worker.given_up == -1
    executor.board.set(4, 1, 1, 1000.0)
    worker._announce()
    assert worker.given_up == 4
    assert os.WTERMSIG(executor.wait()) == signal.SIGKILL


def test_a_pilot_looks_at_the_disk(tmp_path, executor, monkeypatch):
    """The most that was there counts, also when it has gone; other maps do not look."""
    scratch = tmp_path / "scratch"
    (scratch / "below").mkdir(parents=True)
    monkeypatch.setenv("_CONDOR_SCRATCH_DIR", str(scratch))
    for name, usual in (("pilot", {"pilot": 3}), ("other", {})):
        (tmp_path / name).mkdir()
        worker = Worker(tmp_path / name, executor, usual)
        (scratch / "below" / "file").write_bytes(os.urandom(100000))
        os.truncate(scratch / "below" / "file", 1 << 32)  # a hole takes no disk
        with (scratch / "below" / "file").open("rb") as file:
            os.fsync(file)
        taken = measures.disk_usage(str(scratch))
        assert taken == (scratch / "below" / "file").stat().st_blocks * 512
        assert 100000 <= taken < 1 << 30
        worker._look_at_disk()
        (scratch / "below" / "file").unlink()
        worker._look_at_disk()
        assert worker.source.disk_taken == (taken if usual else 0)
        worker.transport.close()


def test_a_worker_that_waits_for_inputs_shows_that_it_is_there(tmp_path, executor, long_heartbeats):
    """It says so when it was silent for long, and not before."""
    coming = Coming(FileTransport(str(tmp_path)), {"look_seconds": 0.0001}, 8 * long_heartbeats, "0.0")
    worker = Worker(tmp_path, executor, coming=coming)
    worker._wait_for_inputs()
    assert records(worker.transport) == []
    worker.outbox._last -= 2 * long_heartbeats
    worker._wait_for_inputs()
    assert records(worker.transport) == [(formats.HEARTBEAT, formats.NO_COMPONENT, b"")]
    worker.transport.close()


def test_looks_are_more_frequent_where_they_are_cheap(worker, monkeypatch):
    """By the file system and on the personal pool; not by chirp, as many share an access point."""
    monkeypatch.delenv("_WINGSPAN_PERSONAL_POOL", raising=False)
    assert worker._look_seconds() < 1
    worker.transport.name = "chirp"
    assert worker._look_seconds() == formats.HEARTBEAT_SECONDS
    monkeypatch.setenv("_WINGSPAN_PERSONAL_POOL", "1")
    assert worker._look_seconds() < 1


# -- what is below a worker ------------------------------------------------------------------------------


def ended(pid):
    """Wait until a child has ended, and leave it to be collected."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


def test_ended_children_are_collected(executor):
    """Those that nobody else waits for; not the executor, whose end its supervisor wants to know."""
    other = ended(started("true"))
    offspring.reap([executor.pid])
    with pytest.raises(ChildProcessError):
        os.waitpid(other, 0)
    os.kill(executor.pid, signal.SIGTERM)
    ended(executor.pid)
    offspring.reap([executor.pid])
    assert os.WTERMSIG(executor.wait()) == signal.SIGTERM


@on_linux
def test_what_is_below_a_process_is_found_and_ended(two, monkeypatch):
    """Children of children, too. A process that has ended has no parent any more."""
    parent, below, read = two
    everything = offspring._below
    assert everything(parent) == [below]
    assert parent in everything(os.getpid())
    # The test's process may have other children, which are not for this test to end.
    monkeypatch.setattr(offspring, "_below", lambda root: [one for one in everything(root) if one in two[:2]])
    offspring.end()
    assert os.read(read, 1) == b""
    assert everything(parent) == []
    assert offspring._parent(str(parent)) == 0


@on_linux
def test_workers_of_other_maps_are_left_alone(tmp_path):
    """A map that a component makes has workers that outlive it, by their command lines."""
    fake = tmp_path / "worker.pyz"
    fake.write_text("sleep 600")
    read, write = os.pipe()
    parent = started("sh", "-c", f"sh {fake} idle & echo $!; wait", out=write)
    os.close(write)
    worker = int(os.read(read, 100))
    until(lambda: offspring._is_worker(worker), "the shell to become the program")
    assert worker not in offspring._below(parent)
    assert not offspring._is_worker(os.getpid())
    for pid in [*measures.family(worker), parent]:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert os.read(read, 1) == b""
    os.close(read)
    assert offspring._words(parent) == []


# -- measures --------------------------------------------------------------------------------------------


def test_each_component_has_its_own_processor_time():
    """What it has taken since the last one, with its ended children where it was long enough for any."""
    import resource

    def used(who):
        usage = resource.getrusage(who)
        return usage.ru_utime + usage.ru_stime

    own = measures.Measures()
    before = used(resource.RUSAGE_SELF)
    sum(range(200000))
    after = used(resource.RUSAGE_SELF)
    cpu, peak = own.take(0.0)
    assert cpu >= after - before - 1e-6
    assert own.peak == peak > 1000
    children = used(resource.RUSAGE_CHILDREN)
    how_it_ends(started("sh", "-c", "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done"))
    children = used(resource.RUSAGE_CHILDREN) - children
    cpu, _ = own.take(1.0)
    assert cpu >= children - 1e-6
    cpu, _ = own.take(1.0)
    assert cpu <= used(resource.RUSAGE_SELF) - after


@on_linux
def test_memory_of_processes(two):
    """What is shared counts once in all, or for each; of a process that has ended nothing is known."""
    parent, below, _ = two
    assert measures.peak_kib(parent) > 0
    each = measures.resident_kib([parent, below], shared=True)
    assert 0 < measures.resident_kib([parent, below], shared=False) <= each
    assert measures.resident_kib([parent], shared=True) < each
    gone = started("true")
    os.waitpid(gone, 0)
    assert (measures.peak_kib(gone), measures.resident_kib([gone], shared=True)) == (0, 0)
    assert measures.family(gone) == [gone]
