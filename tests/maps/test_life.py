"""A map's life on the local pool: doing again, more workers, holding, removing, and what survives kill -9."""

from __future__ import annotations

import glob
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import wingspan
from _on_disk import finished, processes, submissions
from _waiting import PATIENCE, until
from wingspan import ComponentStatus
from wingspan.pools.local_job import is_alive as has_process

RUNNING, HELD, COMPLETED = ComponentStatus.RUNNING, ComponentStatus.HELD, ComponentStatus.COMPLETED


@pytest.fixture
def counted(tmp_path):
    """A function that counts in a folder how often each input was computed, and answers the count."""
    folder = tmp_path / "counts"
    folder.mkdir()

    def count(x):
        with (folder / str(x)).open("a") as file:
            file.write(".")
        return (folder / str(x)).stat().st_size

    return count


def workers_of(m):
    """Process ids of the workers that said hello."""
    return processes(m)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# -- doing again ---------------------------------------------------------------------------------------------


def test_rerun_does_the_named_components_again(counted):
    """Chosen components are computed afresh, the others stay; without arguments only what has no output."""
    m = wingspan.map(counted, range(4), pool="local")
    assert list(m) == [1, 1, 1, 1]
    m.rerun([1, -1])
    assert m.statuses[0] is COMPLETED
    assert list(m) == [1, 2, 1, 2]
    m.rerun()
    assert list(m) == [1, 2, 1, 2]
    m.rerun(m.components)
    assert list(m) == [2, 3, 2, 3]
    assert list(wingspan.load(m.tag)) == [2, 3, 2, 3]


def test_rerun_of_errors_does_what_failed_again(tmp_path):
    """`m.rerun(m.errors)` and `m.rerun()` do what failed again; an error of before no longer counts."""
    ready = tmp_path / "ready"

    def fragile(x):
        if x % 2 and not ready.exists():
            raise ValueError("not ready")
        return x

    m = wingspan.map(fragile, range(6), pool="local")
    m.wait(errors_ok=True)
    assert sorted(m.errors) == [1, 3, 5]
    ready.touch()
    m.rerun(m.errors)
    assert list(m) == list(range(6))
    assert m.errors == {}
    assert m.wait().is_done


def test_rerun_while_it_runs_does_it_again_afterwards(gate, counted):
    """A component that is running when it is wanted afresh is computed once more."""
    wait = gate.wait

    def waiting(x):
        wait()
        return counted(x)

    m = wingspan.map(waiting, [0], pool="local")
    until(lambda: m.statuses == [RUNNING], "it runs")
    m.rerun([0])
    gate.open()
    assert m.get(0, timeout=PATIENCE) == 2


def test_rerun_of_no_such_component_is_an_index_error():
    """A number beyond the map changes nothing."""
    m = wingspan.map(abs, [1], pool="local")
    with pytest.raises(IndexError):
        m.rerun([0, 5])
    assert list(m) == [1]


@pytest.mark.parametrize("retries", [1, 3])
def test_retries_try_again_until_it_works(counted, retries):
    """A component that fails is tried `retries` times more; its attempt says which one succeeded."""

    def fragile(x):
        tries = counted(x)
        if tries <= x:
            raise ValueError(f"attempt {tries}")
        return tries

    m = wingspan.map(fragile, range(6), pool="local", options=wingspan.Options(retries=retries))
    m.wait(errors_ok=True)
    good = range(retries + 1)
    assert m[: retries + 1] == [x + 1 for x in good]
    assert [m.runtimes[x].attempt for x in good] == [x + 1 for x in good]
    assert sorted(m.errors) == list(range(retries + 1, 6))
    assert {error.attempt for error in m.errors.values()} == {retries + 1}
    assert {error.text for error in m.errors.values()} == {f"attempt {retries + 1}"}


def test_a_crash_is_retried(counted):
    """A crash counts as a failure, and is tried again."""

    def fragile(x):
        if counted(x) < 2:
            os._exit(1)
        return x

    m = wingspan.map(fragile, range(3), pool="local", options=wingspan.Options(retries=1))
    assert list(m) == [0, 1, 2]


def test_retries_need_no_client(counted):
    """Workers retry by themselves: nobody has to wait or look for it to happen."""

    def fragile(x):
        if counted(x) < 3:
            raise ValueError
        return x

    m = wingspan.map(fragile, [0, 1], pool="local", options=wingspan.Options(retries=2))
    until(lambda: len(finished(m)) == 2, "both outputs")


# -- workers -------------------------------------------------------------------------------------------------


def test_more_workers_share_the_blocks(gate):
    """Workers that join take blocks that nobody has taken."""
    wait = gate.wait

    def waiting(x):
        wait()
        return os.getppid()

    m = wingspan.map(waiting, range(3), pool="local", options=wingspan.Options(workers=1, block_size=1))
    until(lambda: m.status().counts[RUNNING] == 1, "the first runs")
    m.add_workers(2)
    until(lambda: m.status().counts[RUNNING] == 3, "all three run")
    gate.open()
    assert len(set(m)) == 3
    assert len({measures.worker for measures in m.runtimes.values()}) == 3


@pytest.mark.parametrize("count", [0, -1])
def test_no_workers_cannot_join(count):
    """A number of workers below one is refused."""
    m = wingspan.map(abs, [1], pool="local")
    with pytest.raises(wingspan.MapError, match="cannot join") as caught:
        m.add_workers(count)
    assert caught.value.hint


def test_hold_stops_and_release_goes_on(gate, counted):
    """Held workers end; status and errors say so; after release what was not finished is done, nothing
    else again.
    """
    wait = gate.wait

    def waiting(x):
        if x:
            wait()
        return counted(x)

    m = wingspan.map(waiting, range(2), tag="holding", pool="local", options=wingspan.Options(workers=1))
    assert m.get(0, timeout=PATIENCE) == 1
    until(lambda: m.statuses == [COMPLETED, RUNNING], "the second runs")
    m.hold()
    until(lambda: m.statuses == [COMPLETED, HELD], "the second is held")
    until(lambda: not any(is_alive(pid) for pid in workers_of(m)), "the workers end")
    assert "held" in m.holds[1].reason
    assert "release" in m.status().message
    with pytest.raises(wingspan.ComponentHeld, match="held") as caught:
        m.wait(timeout=PATIENCE)
    assert "wingspan release holding" in caught.value.hint
    with pytest.raises(wingspan.MapTimeout):
        m.wait(timeout=0.3, holds_ok=True)
    assert m[0] == 1
    gate.open()
    m.release()
    until(lambda: m.statuses != [COMPLETED, HELD], "it is released")
    assert m.wait(timeout=PATIENCE).is_done
    assert list(m) == [1, 1]
    assert m.holds == {}


def test_vacate_sends_workers_off_and_the_map_goes_on(gate):
    """Vacated workers end; what they had is done by others, finished outputs stay."""
    wait = gate.wait

    def waiting(x):
        if x:
            wait()
        return x

    m = wingspan.map(waiting, range(2), pool="local", options=wingspan.Options(workers=1))
    assert m[0] == 0
    until(lambda: m.statuses == [COMPLETED, RUNNING], "the second runs")
    (pid,) = workers_of(m)
    m.vacate()
    until(lambda: not is_alive(pid), "the worker ends")
    gate.open()
    assert list(m) == [0, 1]


def test_as_many_workers_as_were_stopped_take_their_place(gate, other_python):
    """However often, and by whichever process, a map is held, released and vacated: it has the two
    workers that it was made with.
    """
    wait = gate.wait
    m = wingspan.map(
        lambda _: wait(), range(8), tag="again", pool="local", options=wingspan.Options(workers=2)
    )

    running = lambda: sum(map(has_process, (m.path / "workers").glob("*.run")))  # noqa: E731
    until(lambda: running() == 2, "two run")
    for deeds in ("hold hold release release", "hold release vacate", "vacate hold vacate release release"):
        other_python(f"import wingspan\nfor deed in {deeds.split()}: getattr(wingspan.load('again'), deed)()")
        until(lambda: running() == 2, f"two run after {deeds}")
    gate.open()
    assert len(list(m)) == 8


def test_remove_ends_workers_and_takes_everything_away(gate, data_dir):
    """After remove there is no process, no folder and no tag; a second remove does nothing."""
    wait = gate.wait
    m = wingspan.map(lambda x: wait(), range(4), tag="doomed", pool="local")
    until(lambda: m.status().counts[RUNNING] > 0, "it runs")
    pids = workers_of(m)
    m.remove()
    assert not m.exists
    assert wingspan.tags() == ()
    assert list((data_dir / "maps").iterdir()) == []
    until(lambda: not any(is_alive(pid) for pid in pids), "the workers end")
    m.remove()


def test_retag_gives_another_name(tmp_path):
    """The map is found by its new tag only, and is no longer transient; a tag in use is refused."""
    m = wingspan.map(abs, [-1], pool="local")
    old = m.tag
    assert m.is_transient
    m.retag("kept")
    assert not m.is_transient
    assert wingspan.load("kept")[0] == 1
    with pytest.raises(wingspan.TagNotFound):
        wingspan.load(old)
    other = wingspan.map(abs, [-2], tag="other", pool="local")
    with pytest.raises(wingspan.TagExists):
        other.retag("kept")
    with pytest.raises(wingspan.InvalidTag):
        other.retag("a/b")
    assert (wingspan.load("other")[0], wingspan.load("kept")[0]) == (2, 1)
    m.retag("kept")
    assert wingspan.tags("k*") == ("kept",)


def test_clean_removes_what_nobody_named(gate):
    """`clean` removes transient maps that are at rest and answers their tags; with all=True every map."""
    wait = gate.wait
    running = wingspan.map(lambda x: wait() or x, [1], pool="local")
    transient = wingspan.map(abs, [1], pool="local")
    transient.wait()
    wingspan.map(abs, [1], tag="named", pool="local")
    assert wingspan.clean() == (transient.tag,)
    assert set(wingspan.tags()) == {"named", running.tag}
    gate.open()
    running.wait()
    assert wingspan.clean() == (running.tag,)
    assert wingspan.clean(all=True) == ("named",)
    assert wingspan.tags() == ()


def test_clean_goes_on_where_a_scheduler_does_not_answer(gate, monkeypatch):
    """A map whose jobs cannot be removed stays and is named by an error; all others are removed."""
    wait = gate.wait
    far = wingspan.map(lambda x: wait() or x, [1], pool="local", tag="far")
    wingspan.map(abs, [1], pool="local", tag="near").wait()
    listed = (far.path / "submissions").read_text()
    (far.path / "submissions").write_text(listed.replace('"local"', '"slurm"'))
    monkeypatch.setenv("SLURM_CONF", os.devnull)  # a cluster that nobody can ask
    with pytest.raises(wingspan.PoolUnavailable, match=r"1 map removed, but not far: ") as caught:
        wingspan.clean(all=True)
    assert "--force" in caught.value.hint
    assert wingspan.tags() == ("far",)
    (far.path / "submissions").write_text(listed)
    gate.open()
    assert wingspan.clean(all=True) == ("far",)


def test_cancelling_a_map_lasts(gate):
    """Waiting brings no other workers; every session is told; rerun does what is missing."""
    wait = gate.wait
    m = wingspan.map(lambda x: wait() or x, [1, 2], pool="local", options=wingspan.Options(workers=2))
    until(lambda: m.status().counts[RUNNING] == 2, "both run")
    m.cancel()
    with pytest.raises(wingspan.ComponentRemoved, match="cancelled by its owner"):
        m.wait(PATIENCE)
    other = wingspan.load(m.tag)
    assert other.status().workers == {"removed": 2}
    assert other.statuses == [wingspan.ComponentStatus.REMOVED] * 2
    gate.open()
    other.rerun()
    assert list(other.iter(timeout=PATIENCE)) == [1, 2]


def test_a_removal_that_was_interrupted(gate, monkeypatch):
    """Whoever waits is told that the map is being removed; it can be removed, or go on after all."""

    def dies(*_, **__):
        raise KeyboardInterrupt

    wait = gate.wait
    m = wingspan.map(lambda x: wait() or x, [1], pool="local", tag="going")
    until(lambda: m.status().counts[RUNNING] == 1, "it runs")
    with monkeypatch.context() as patch:
        patch.setattr("wingspan.maps._map.remove_map_folder", dies)
        with pytest.raises(KeyboardInterrupt):
            m.remove()
    other = wingspan.load("going")
    with pytest.raises(wingspan.MapRemoved, match="'going' is being removed"):
        other.wait(PATIENCE)
    gate.open()
    other.rerun()
    assert list(other.iter(timeout=PATIENCE)) == [1]
    other.remove()
    assert wingspan.tags() == ()


def test_idle_workers_take_the_next_map():
    """A second map is done by the processes of the first: nothing is started."""

    def pid(x):
        return os.getppid()

    options = wingspan.Options(workers=1)
    seen = [wingspan.map(pid, [1], pool="local", options=options)[0]]

    def took_another() -> bool:
        # A worker is on its way to idleness when its result is there.
        seen.append(wingspan.map(pid, [1], pool="local", options=options)[0])
        return seen[-1] == seen[-2]

    until(took_another, "a worker that takes a second map")


def test_only_workers_of_the_last_hold_count_as_held(gate):
    """Those of an earlier hold have been replaced, also for a process that opens the map later."""
    wait = gate.wait

    def waiting(x):
        wait()
        return x

    m = wingspan.map(waiting, range(9), tag="twice", pool="local", options=wingspan.Options(workers=2))
    until(lambda: m.statuses.count(RUNNING) == 2, "both workers are at work")
    m.hold()
    m.release()
    until(lambda: m.statuses.count(RUNNING) == 2, "two others are at work")
    m.hold()
    for look in (m, wingspan.load("twice")):
        with pytest.raises(wingspan.ComponentHeld, match="all 2 workers"):
            look.wait(timeout=PATIENCE)
        assert "workers: 2 completed, 2 held" in str(look.status())
    gate.open()
    wingspan.load("twice").release()
    assert m.wait(timeout=PATIENCE).is_done


def test_hold_and_release_at_once_change_nothing():
    """A map whose workers were held before they said a word, and released, is done."""
    m = wingspan.map(abs, range(-3, 0), pool="local")
    m.hold()
    m.release()
    assert m.wait(timeout=PATIENCE).is_done


def test_release_counts_at_once(gate):
    """After release the map is no longer held, also at the very next moment."""
    wait = gate.wait

    def waiting(x):
        wait()
        return x

    m = wingspan.map(waiting, [1], pool="local")
    until(lambda: m.statuses == [wingspan.ComponentStatus.RUNNING], "it runs")
    m.hold()
    assert m.statuses == [wingspan.ComponentStatus.HELD]
    with pytest.raises(wingspan.ComponentHeld):
        m.wait()
    gate.open()
    m.release()
    assert m.statuses != [wingspan.ComponentStatus.HELD]
    assert m.wait(timeout=PATIENCE).is_done


def test_a_session_that_makes_many_maps_leaves_no_files_open(data_dir):
    """A map that is let go of closes what it has read from."""

    def made(number):
        m = wingspan.map(abs, [number], pool="local", options=wingspan.Options(workers=1))
        assert m[0] == number
        return m.path

    def opened():
        files = (os.path.realpath(file) for file in Path("/proc/self/fd").iterdir())
        return [file for file in files if file.startswith(f"{data_dir.resolve()}/maps/")]

    last = wingspan.map(abs, [0], pool="local")
    assert list(last) == [0]
    paths = [made(number) for number in range(12)]
    until(
        lambda: not any(file.startswith(f"{path.resolve()}/") for file in opened() for path in paths), opened
    )
    assert any(file.startswith(f"{last.path.resolve()}/") for file in opened()), "so open files are seen"


# -- several processes, and kill -9 --------------------------------------------------------------------------

SUBMIT = """
import os, signal, sys, time, wingspan
folder = sys.argv[1]
def slow(x):
    while not os.path.exists(folder + "/go"):
        time.sleep(0.01)
    return x * x
m = wingspan.map(slow, range(8), tag="survivor", pool="local")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_map_outlives_the_python_that_made_it(other_python, tmp_path):
    """kill -9 of the submitting Python: the map goes on without any client; another process reads it."""
    assert other_python(SUBMIT, tmp_path, check=False).returncode == -signal.SIGKILL
    m = wingspan.load("survivor")
    assert not m.is_done
    (tmp_path / "go").touch()
    assert list(m) == [x * x for x in range(8)]
    assert len(submissions(m)) == 1


def test_a_finished_map_is_read_without_any_worker(other_python, tmp_path):
    """A process that has nothing to do with the map reads outputs, inputs, errors and what was printed."""
    script = """
import wingspan
def work(x):
    print("at", x)
    return 1 / x
wingspan.map(work, [0, 4], tag="done", pool="local").wait(errors_ok=True)
"""
    other_python(script)
    m = wingspan.load("done")
    assert m.is_done
    assert m[1] == 0.25
    assert m.input(1) == 4
    assert m.stdout(1) == "at 4\n"
    with pytest.raises(ZeroDivisionError):
        m[0]
    assert "return 1 / x" in m.errors[0].traceback or "in work" in m.errors[0].traceback


def test_a_killed_executor_is_its_component_s_error(tmp_path):
    """kill -9 of the process that calls the function: that component fails, the same worker does the rest."""

    def tell(x):
        if x == 1:
            (tmp_path / "pid").write_text(str(os.getpid()))
            time.sleep(600)
        return x

    m = wingspan.map(tell, range(4), pool="local", options=wingspan.Options(workers=1))
    pid = int(
        until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "the executor's pid")
    )
    os.kill(pid, signal.SIGKILL)
    m.wait(timeout=PATIENCE, errors_ok=True)
    assert list(m.errors) == [1]
    assert m.errors[1].signal == signal.SIGKILL
    assert [m[0], m[2], m[3]] == [0, 2, 3]
    assert {measures.worker for measures in m.runtimes.values()} == {"0.0"}


def test_a_killed_worker_is_replaced(gate, counted):
    """kill -9 of a supervisor: its executor ends too, and what it had is done by another worker."""
    wait = gate.wait

    def waiting(x):
        number = counted(x)
        if x:
            wait()
        return number

    m = wingspan.map(waiting, range(4), pool="local", options=wingspan.Options(workers=1, block_size=2))
    assert m.get(0, timeout=PATIENCE) == 1
    until(lambda: m.statuses[1] is RUNNING, "the second runs")
    (pid,) = workers_of(m)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert children
    os.kill(pid, signal.SIGKILL)
    until(lambda: not any(is_alive(child) for child in children), "the executor ends with its supervisor")
    gate.open()
    assert m.wait(timeout=PATIENCE).is_done
    assert list(m) == [1, 2, 1, 1]


def test_a_component_whose_worker_always_dies_is_given_up(data_dir):
    """A component that takes its supervisor down every time ends as an error, not in an endless loop."""

    files = str(data_dir / "maps/*/results/*")

    def kill_supervisor(x):
        if x == 1:
            while not all(os.path.getsize(path) for path in glob.glob(files)):  # noqa: PTH202, PTH207
                time.sleep(0.01)
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(600)
        return x

    m = wingspan.map(kill_supervisor, range(3), pool="local", options=wingspan.Options(workers=1))
    m.wait(timeout=PATIENCE, errors_ok=True)
    assert m.errors[1].type_name == "lost"
    assert "lost" in m.errors[1].text
    assert m.errors[1].hint


RERUNNER = """
import sys, wingspan
m = wingspan.load("shared")
for _ in range(3):
    m.rerun(range(int(sys.argv[1]), 60, 2))
    m.wait()
assert list(m) == list(range(0, -60, -1)), list(m)
print("fine")
"""


def test_two_processes_may_read_wait_and_rerun_at_once(data_dir):
    """Two other processes rerun parts of one map again and again while this one reads it."""
    m = wingspan.map(lambda x: -x, range(60), tag="shared", pool="local")
    m.wait()
    others = [
        subprocess.Popen(
            [sys.executable, "-c", RERUNNER, str(part)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for part in range(2)
    ]
    while any(other.poll() is None for other in others):
        assert list(m.iter(timeout=PATIENCE)) == list(range(0, -60, -1))
        assert sum(m.status().counts.values()) == 60
    for other in others:
        out, err = other.communicate(timeout=PATIENCE)
        assert out == b"fine\n", err.decode()
    assert list(wingspan.load("shared")) == list(range(0, -60, -1))


def test_two_processes_cannot_make_one_tag(data_dir):
    """Of several that make a map of one tag at once, exactly one has it; the others are told and leave
    nothing.
    """
    script = """
import wingspan
try:
    wingspan.map(abs, range(1000), tag="contended", pool="local").wait()
    print("mine")
except wingspan.TagExists:
    print("taken")
"""
    others = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    told = sorted(other.communicate(timeout=PATIENCE)[0] for other in others)
    assert told == [b"mine\n", b"taken\n", b"taken\n", b"taken\n"]
    assert wingspan.tags() == ("contended",)
    assert [path.name[0] for path in (data_dir / "maps").iterdir()] == ["2"]
    assert wingspan.load("contended")[999] == 999


def test_idle_workers_disappear(monkeypatch):
    """Workers of a finished map wait for the next one for a while, and then end by themselves."""
    monkeypatch.setenv("WINGSPAN_IDLE_SECONDS", "0.5")
    # A worker that was started with other variables is not taken: this one hears of the shorter wait.
    monkeypatch.setenv("LC_WINGSPAN_TEST", "idle")
    m = wingspan.map(abs, range(10), pool="local")
    m.wait()
    pids = until(lambda: workers_of(m), "the workers' names")
    until(lambda: not any(is_alive(pid) for pid in pids), "the workers end")


def test_workers_of_a_killed_caller_disappear(monkeypatch, other_python):
    """No process is left after the map of a caller that was killed is complete."""
    monkeypatch.setenv("WINGSPAN_IDLE_SECONDS", "0.5")
    monkeypatch.setenv("LC_WINGSPAN_TEST", "killed")
    script = """
import os, signal, wingspan
wingspan.map(abs, range(100), tag="orphan", pool="local")
os.kill(os.getpid(), signal.SIGKILL)
"""
    other_python(script, check=False)
    m = wingspan.load("orphan")
    until(lambda: len(finished(m)) == 100, "the map is complete")
    pids = processes(m)
    assert pids
    until(lambda: not any(is_alive(pid) for pid in pids), "the workers end")
