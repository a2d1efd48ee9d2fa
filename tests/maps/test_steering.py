"""Single components of a map: a limit to their time, and cancelling them."""

from __future__ import annotations

import datetime
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

import wingspan
from _each_engine import SCHEDULERS, use_engine
from _on_disk import change_map_json, records
from _waiting import until
from wingspan import ComponentCancelled, ComponentStatus, ComponentTimeout, Options
from wingspan.cli._main import cli
from wingspan.errors import SettingsError
from wingspan.worker import formats, rounds

RUNNING, COMPLETED, REMOVED = ComponentStatus.RUNNING, ComponentStatus.COMPLETED, ComponentStatus.REMOVED


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_component_that_takes_too_long_is_ended(tmp_path):
    """It fails with the limit, what it printed, and its attempts; its child processes are gone; the rest is
    done.
    """
    children = tmp_path / "children"

    def work(x):
        if x == 1:
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(10000)"])
            with children.open("a") as file:
                file.write(f"{child.pid}\n")
            print("stuck", file=sys.stderr)
            time.sleep(10000)
        return x

    # Long enough for the component to start its child and to say so, however busy the machine is.
    options = Options(component_timeout=5, retries=1, workers=1)
    m = wingspan.map(work, range(3), pool="local", options=options)
    assert m[0] == 0
    assert m[2] == 2
    with pytest.raises(ComponentTimeout, match=r"component 1 failed: .*longer than 5 s") as told:
        m[1]
    assert told.value.attempt == 2
    assert "stuck" in told.value.stderr
    assert isinstance(m.errors[1], TimeoutError)
    pids = children.read_text().split()
    assert len(pids) == 2
    until(lambda: not any(map(is_alive, pids)), "the end of its children")


def test_what_took_too_long_is_done_again_with_more_time(tmp_path):
    """Another limit is for the components that are done again, in Python and on the command line, and none
    at all is one, too; the others keep theirs."""

    def work(x):
        while x and not (tmp_path / "gate").exists():
            time.sleep(0.02)
        return x

    m = wingspan.map(
        work, range(3), tag="timed", pool="local", options=Options(component_timeout=0.5, workers=1)
    )
    m.wait(errors_ok=True)
    words = ["rerun", "timed", "1", "--component-timeout", "1s"]
    CliRunner().invoke(cli, words, catch_exceptions=False, standalone_mode=False)
    m.wait(errors_ok=True)
    assert "longer than 1 s" in m.errors[1].text
    m.rerun([2], options=Options(component_timeout=None))
    until(lambda: m.statuses[2] is RUNNING, "a component that runs")
    (tmp_path / "gate").touch()
    assert m[2] == 2
    assert {one.components: one.options.component_timeout for one in m.requests} == {
        (0,): 0.5,
        (1,): 1,
        (2,): None,
    }


def test_of_many_fast_components_the_slow_one_is_found():
    """Where outputs are gathered, too, the limit hits the component that is stuck."""

    def work(x):
        if x == 300:
            time.sleep(10000)
        return x

    m = wingspan.map(work, range(500), pool="local", options=Options(component_timeout=1, workers=1))
    m.wait(errors_ok=True)
    assert isinstance(m.errors[300], ComponentTimeout)
    assert [m[x] for x in m.components if x not in m.errors] == [x for x in range(500) if x not in m.errors]


def test_time_limits_are_read_as_people_write_them():
    """A text with a unit, a number of seconds, a timedelta; nothing else."""
    given = ["10min", 600, 600.0, datetime.timedelta(minutes=10)]
    assert [Options(component_timeout=one).component_timeout for one in given] == [600] * 4
    assert Options.from_dict(Options(component_timeout=0.5).as_dict()).component_timeout == 0.5
    for wrong in (0, -1.0, float("nan"), "10", "soon"):
        with pytest.raises(SettingsError, match="component_timeout"):
            Options(component_timeout=wrong)


# -- cancelling ----------------------------------------------------------------------------------------------


def test_single_components_are_cancelled(gate, tmp_path):
    """What runs is ended, with its children; what waits is not begun, also where it is claimed already.
    Nobody waits for it; it counts as removed. A rerun does it after all.
    """
    wait, begun = gate.wait, tmp_path / "begun"

    def work(x):
        with begun.open("a") as file:
            file.write(f"{x} ")
        if x == 1:
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(10000)"])
            (tmp_path / "child").write_text(str(child.pid))
            wait()
            child.kill()
        return x

    options = Options(workers=1, block_size=4)
    m = wingspan.map(work, range(8), pool="local", tag="steered", options=options)
    until(lambda: RUNNING in m.statuses and (tmp_path / "child").exists(), lambda: m.status())
    child = int((tmp_path / "child").read_text())
    assert m.cancel([1, 2, 6]) == (1, 2, 6)
    assert m.cancel(-2) == (6,)
    assert m.cancel(0) == ()
    assert m.wait().is_done
    until(lambda: not is_alive(child), "the end of its child")
    assert begun.read_text().split() == ["0", "1", "3", "4", "5", "7"]
    for one in (m, wingspan.load("steered")):
        assert one.components_by_status() == {COMPLETED: (0, 3, 4, 5, 7), REMOVED: (1, 2, 6)}
        assert one.status().cancelled == 3
        assert one._source().view().finished == 8
        assert one.errors == {}
        with pytest.raises(ComponentCancelled, match="component 2 of map 'steered' was cancelled"):
            one[2]
    kinds = [type(one) for one in m.iter(return_exceptions=True)]
    assert kinds == [int, ComponentCancelled, ComponentCancelled, int, int, int, ComponentCancelled, int]
    assert len(list(m.iter_as_available(return_exceptions=True))) == 8
    assert len(m.runtimes) == 5
    gate.open()
    assert m.rerun([1, 6]).components == (1, 6)
    assert [m[1], m[6]] == [1, 6]
    assert m.components_by_status()[REMOVED] == (2,)
    m.rerun()
    assert list(m) == list(range(8))


def test_a_failed_component_that_would_be_tried_again_is_left_as_it_is(gate, tmp_path):
    """An error that came before stays, and its attempts are over."""
    wait = gate.wait

    def work(x):
        if x:
            wait()
        raise ValueError(x)

    m = wingspan.map(work, range(2), pool="local", options=Options(workers=1, retries=3))
    until(lambda: list(records(m, formats.ERROR)), "the first error")
    m.cancel([0, 1])
    m.wait(errors_ok=True)
    assert m._keeper.results.cancelled | set(m.errors) == {0, 1}
    assert isinstance(m.errors[0].exception, ValueError)


def test_what_was_finished_when_it_was_cancelled_counts(tmp_path):
    """Readers agree, in whatever order they read the round and the record: an output counts."""
    m = wingspan.map(lambda x: x, range(3), pool="local", options=Options(workers=1))
    m.wait()
    assert m.cancel([0, 1]) == ()
    assert m._keeper.publish(rounds.CANCEL, [0, 1])  # as if it had come first
    for one in (m, wingspan.load(m.tag)):
        assert list(one) == [0, 1, 2]
        one._keeper.results.validate()


def test_components_are_cancelled_on_the_command_line(gate):
    """``wingspan cancel TAG N M-K`` cancels these, and says how many; numbers that are tags are tags."""
    wait = gate.wait
    m = wingspan.map(lambda x: wait(), range(6), pool="local", tag="named", options=Options(workers=1))
    told = CliRunner().invoke(cli, ["cancel", "named", "1", "3-5"])
    assert told.output == "named: 4 components cancelled\n"
    assert wingspan.load("named").status().cancelled == 4
    gate.open()  # what the worker finishes before it sees that counts
    m.wait()


def test_maps_of_earlier_versions_cannot_be_told(gate):
    """Workers that would do a round of cancelled components are not given one."""
    wait = gate.wait
    m = wingspan.map(lambda x: wait(), range(2), pool="local")
    change_map_json(m, cancels=False)
    with pytest.raises(wingspan.MapError, match="cannot cancel single components"):
        wingspan.load(m.tag).cancel([1])
    gate.open()
    m.wait()


@pytest.mark.parametrize("engine", SCHEDULERS)
def test_components_are_cancelled_on_every_engine(engine, request):
    """One that has no end is ended, and one that waits is not begun."""
    use_engine(request, engine)

    def work(x):
        if x:
            time.sleep(10000)

    m = wingspan.map(work, range(3), pool=engine, options=Options(workers=1))
    until(lambda: m.statuses[1] is RUNNING, lambda: m.status())
    assert m.cancel([1, 2]) == (1, 2)
    assert m.wait().cancelled == 2
    until(lambda: not m.status().workers.get("running"), lambda: m.status())
