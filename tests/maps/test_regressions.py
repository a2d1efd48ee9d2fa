"""Faults that were found once, each by its smallest reproduction."""

from __future__ import annotations

import asyncio
import glob
import json
import os
import pickle
import shutil
import signal
import sys
import time

import pytest

import wingspan
from _waiting import until
from wingspan.maps._display import LateProgress
from wingspan.pools.submit_description import classad_literal


def test_many_failures_come_as_one_group():
    """`wait` raises one ExceptionGroup of all failures, grouped by kind, with except* for each kind."""

    def fail(x):
        if x % 5 == 0:
            raise ValueError("five divides it")
        if x == 7:
            raise KeyError(x)
        return x

    m = wingspan.map(fail, range(20), tag="many", pool="local")
    with pytest.raises(wingspan.ComponentErrors) as caught:
        m.wait()
    group = caught.value
    assert "5 of 20 components of map 'many' failed" in str(group)
    assert "4 × ValueError: five divides it; first in component 0" in str(group)
    assert "1 × KeyError" in str(group)
    assert "wingspan errors many" in group.hint
    assert sorted(group.errors) == [0, 5, 7, 10, 15]
    assert [type(one) for one in group.exceptions] == [
        ValueError,
        ValueError,
        KeyError,
        ValueError,
        ValueError,
    ]
    values, rest = group.split(ValueError)
    assert len(values.exceptions) == 4
    assert isinstance(values, wingspan.ComponentErrors)
    assert [type(one) for one in rest.exceptions] == [KeyError]
    again = pickle.loads(pickle.dumps(group))
    assert str(again) == str(group)
    assert len(again.exceptions) == 5
    assert m.wait(errors_ok=True).counts[wingspan.ComponentStatus.ERRORED] == 5


@pytest.mark.skipif(sys.version_info < (3, 11), reason="except* is syntax of Python 3.11")
def test_except_star_catches_by_kind():
    """`except* ValueError` around `wait` takes the ValueErrors and leaves the rest."""
    source = """
def run(m):
    caught = []
    try:
        try:
            m.wait()
        except* ValueError as group:
            caught += [str(one) for one in group.exceptions]
    except* ZeroDivisionError as group:
        caught += [type(one).__name__ for one in group.exceptions]
    return caught
"""
    namespace = {}
    exec(source, namespace)
    m = wingspan.map(lambda x: int(x) and 1 / (int(x) - 1), ["a", "0", "1"], pool="local")
    first, second = namespace["run"](m)
    assert "invalid literal" in first
    assert second == "ZeroDivisionError"


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "No such file", "/none"), OSError("plain"), EOFError()]
)
def test_the_user_s_own_error_comes_out_of_a_generator(error, data_dir):
    """An OSError of the user's generator is not taken for a disk of ours that cannot be written."""

    def inputs():
        yield 1
        raise error

    with pytest.raises(type(error)) as caught:
        wingspan.map(abs, inputs(), tag="half", pool="local")
    assert caught.value is error
    assert not list((data_dir / "maps").glob("*"))


def test_idle_workers_take_the_next_map():
    """A second map is done by the processes of the first: nothing is started."""

    def pid(x):
        return os.getppid()

    options = wingspan.Options(workers=1)
    first = wingspan.map(pid, [1], pool="local", options=options)[0]
    for _ in range(20):
        # The worker is on its way to idleness when the first result is there.
        second = wingspan.map(pid, [1], pool="local", options=options)[0]
        if second == first:
            return
        first = second
        time.sleep(0.2)
    pytest.fail("no worker took a second map")


def test_print_is_seen_while_it_runs(gate):
    """A line that a component prints is seen at once, without flush=True."""
    wait = gate.wait

    def printing(x):
        print("a line")
        wait()

    m = wingspan.map(printing, [1], pool="local")
    until(lambda: m.stdout(0) == "a line\n", "the line")
    gate.open()
    m.wait()


def test_print_before_a_crash_is_kept():
    """What a component printed before it died is not lost."""

    def crash(x):
        print("last words")
        os._exit(1)

    m = wingspan.map(crash, [1], pool="local")
    m.wait(errors_ok=True)
    assert m.stdout(0) == "last words\n"


@pytest.mark.parametrize("index", ["a", 1.5, None])
def test_what_is_no_number_is_a_type_error(index):
    """Indexing with something that is no integer raises TypeError, as a list does."""
    m = wingspan.map(abs, [1], pool="local")
    with pytest.raises(TypeError):
        m[index]
    with pytest.raises(TypeError):
        m.get(index)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have notes since Python 3.11")
def test_the_note_of_an_exception_is_there_once():
    """Looking at a failed component many times adds nothing to its exception."""
    m = wingspan.map(lambda x: 1 / x, [0], pool="local")
    for _ in range(3):
        with pytest.raises(ZeroDivisionError) as caught:
            m[0]
        assert len(caught.value.__notes__) == 1


def test_arguments_that_are_no_tuple_are_explained(data_dir):
    """starmap with plain values instead of tuples is an error of ours that shows how to write it."""
    with pytest.raises(TypeError) as caught:
        wingspan.starmap(abs, [1, 2], pool="local")
    assert isinstance(caught.value, wingspan.WingspanError)
    assert "(1," in caught.value.hint
    assert not list((data_dir / "maps").glob("*"))


OWN = """
class Trouble(Exception):
    pass

class Thing:
    def __init__(self, value):
        self.value = value

def fail(x):
    raise Trouble(x)

def make(x):
    return Thing(x)
"""


def test_own_exceptions_are_caught_in_another_session(tmp_path, other_python):
    """`except mine.Trouble` works in a second process, where the function's module can be imported too."""
    (tmp_path / "mine.py").write_text(OWN)
    other_python(
        "import mine, wingspan; wingspan.map(mine.fail, [1], tag='own', pool='local').wait(errors_ok=True)"
    )
    script = """
import mine, wingspan
try:
    wingspan.load("own")[0]
except mine.Trouble as error:
    print("caught", error)
"""
    assert other_python(script).stdout == "caught 1\n"


def test_a_crash_is_noticed_while_a_child_of_it_lives():
    """A component that dies and leaves a child process behind is that component's error all the same."""

    def leave_child(x):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        os._exit(5)

    m = wingspan.map(leave_child, [1], pool="local")
    with pytest.raises(wingspan.ComponentError) as caught:
        m.get(0, timeout=30)
    assert caught.value.exited_with == 5


def test_a_cancelled_component_does_not_cancel_its_reader():
    """asyncio.CancelledError of a component is raised as ComponentError: it is not this task that was cancelled."""

    def cancelled(x):
        raise asyncio.CancelledError

    m = wingspan.map(cancelled, [1], pool="local")
    with pytest.raises(wingspan.ComponentError, match="CancelledError"):
        m[0]


def test_a_line_break_does_not_add_submit_commands():
    """Requirements and attributes of two lines are refused; infinities become ClassAd literals."""
    with pytest.raises(wingspan.SettingsError):
        wingspan.Options(requirements="true\nqueue 100")
    with pytest.raises(wingspan.SettingsError):
        wingspan.Options(custom=["A"])
    with pytest.raises(wingspan.SettingsError):
        wingspan.Options(custom={"A": "a\nqueue 100"})
    assert classad_literal(float("inf")) == 'real("INF")'


def test_workers_that_refuse_late_are_told():
    """Workers that refuse, in a map that has outputs already, end in an error and not in ever new workers."""
    m = wingspan.map(lambda x: x, range(4), tag="late", pool="local")
    m.wait()
    until(
        lambda: set(m.status().workers) == {"completed"}, "the end of the workers that have read the function"
    )
    path = m.path / "function.pkl"
    # Of the same length: a function.pkl that is cut is another fault.
    path.write_bytes(path.read_bytes().replace(b'"python": "3.', b'"python": "2.', 1))
    m.rerun([0])
    with pytest.raises(wingspan.WorkersCannotStart, match=r"2\.1"):
        m.get(0, timeout=60)
    assert len(m._folder.submissions()) < 5


@pytest.mark.parametrize("content", ["", "../..", "..", "no such map"])
def test_a_broken_tag_file_endangers_no_map(content, data_dir):
    """A tag file that is empty, or says something else, is told, can be removed, and takes no map with it."""
    m = wingspan.map(abs, [-1], tag="good", pool="local")
    m.wait()
    (data_dir / "tags/broken").write_text(content)
    with pytest.raises(wingspan.WingspanError):
        wingspan.load("broken")
    wingspan.remove("broken", missing_ok=True)
    assert wingspan.tags() == ("good",)
    assert wingspan.load("good")[0] == 1
    (data_dir / "tags/broken").write_text(content)
    assert list(wingspan.map(abs, [-2], tag="broken", pool="local")) == [2]
    (data_dir / "tags/empty").write_text(content)
    (data_dir.parent / "precious").mkdir()
    wingspan.clean(all=True)
    assert wingspan.tags() == ()
    assert (data_dir.parent / "precious").exists()


def test_a_map_removed_by_another_says_so():
    """A Map whose folder was removed by another process raises MapRemoved, whatever it is asked."""
    m = wingspan.map(abs, [-1], tag="gone", pool="local")
    m.wait()
    wingspan.remove("gone")
    assert not m.exists
    for ask in (
        m.wait,
        m.rerun,
        m.status,
        lambda: wingspan.maps.Map(m._folder)[0],
        lambda: m.input(0),
        lambda: m.stdout(0),
        lambda: m.statuses,
        lambda: m.add_workers(1),
        lambda: m.retag("other"),
    ):
        with pytest.raises(wingspan.MapRemoved):
            ask()
    m.remove()
    assert wingspan.tags() == ()


def test_results_cut_while_they_are_read_are_told():
    """A results file that gets shorter under an open map is a MapDamaged, not an error of struct."""
    m = wingspan.map(lambda x: x, range(10), pool="local", options=wingspan.Options(workers=1))
    m.wait()
    os.truncate(m.path / "results/0.0", 30)
    with pytest.raises(wingspan.MapDamaged, match=r"results/0\.0"):
        m[5]


@pytest.mark.parametrize("content", ["null", "[]", "{}", '{"format": 1}', "17"])
def test_a_map_json_of_another_shape_is_told(content):
    """A map.json that is JSON but no map's is an error of ours, and the map can be removed."""
    m = wingspan.map(abs, [-1], tag="odd", pool="local")
    m.wait()
    (m.path / "map.json").write_text(content)
    with pytest.raises(wingspan.MapError) as caught:
        wingspan.load("odd")
    assert caught.value.hint
    wingspan.clean()
    wingspan.remove("odd")
    assert wingspan.tags() == ()
    assert not m.path.exists()


def test_a_cut_function_is_told():
    """A cut function.pkl is an error that names the file; it is not taken for a lost worker."""
    m = wingspan.map(lambda x: x, range(3), tag="cut", pool="local")
    m.wait()
    path = m.path / "function.pkl"
    os.truncate(path, path.stat().st_size // 2)

    def again():
        one = wingspan.load("cut")
        one.rerun([1])
        one.get(1, timeout=60)

    with pytest.raises(wingspan.WingspanError) as caught:
        again()
    assert not isinstance(caught.value, wingspan.ComponentError)
    assert "function" in str(caught.value)


def test_a_map_folder_without_workers_can_be_done_again():
    """The folder `workers` holds nothing that counts: without it a rerun works."""
    m = wingspan.map(abs, [-1], pool="local")
    m.wait()
    shutil.rmtree(m.path / "workers")
    m.rerun([0])
    assert m.get(0, timeout=60) == 1


def test_a_missing_results_file_is_done_again():
    """Components whose results file is gone count as not done, and are done again when waited for."""
    m = wingspan.map(lambda x: x * x, range(10), tag="ten", pool="local", options=wingspan.Options(workers=1))
    m.wait()
    (m.path / "results/0.0").unlink()
    again = wingspan.load("ten")
    assert not again.is_done
    assert list(again) == [x * x for x in range(10)]


def test_hold_and_release_at_once_change_nothing():
    """A map whose workers were held before they said a word, and released, is done."""
    m = wingspan.map(abs, range(-3, 0), pool="local")
    m.hold()
    m.release()
    assert m.wait(timeout=60).is_done


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
    assert m.wait(timeout=60).is_done


def test_only_what_kills_its_worker_is_given_up(data_dir):
    """A component that takes its supervisor down every time does not take its neighbours with it."""

    files = str(data_dir / "maps/*/results/*")

    def kill_supervisor(x):
        if x == 1:
            while not all(os.path.getsize(path) for path in glob.glob(files)):  # noqa: PTH202, PTH207
                time.sleep(0.01)
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(300)
        return x

    m = wingspan.map(
        kill_supervisor, range(5), pool="local", options=wingspan.Options(workers=1, block_size=5)
    )
    m.wait(timeout=120, errors_ok=True)
    assert list(m.errors) == [1]
    assert [m[0], *m[2:]] == [0, 2, 3, 4]


def header_of_another(m, **facts):
    """Rewrite the header of function.pkl: as if another Python had made the map."""
    path = m.path / "function.pkl"
    header, _, rest = path.read_bytes().partition(b"\n")
    path.write_bytes(json.dumps({**json.loads(header), **facts}).encode() + b"\n" + rest)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"python": "3.4"}, "CPython 3.4"),
        ({"implementation": "PyPy"}, "PyPy"),
        ({"cloudpickle": "1.0.0"}, "cloudpickle 1.0.0"),
    ],
)
def test_a_function_of_another_interpreter_is_refused_by_rewritten_header(facts, message, gate):
    """A worker whose Python, implementation or cloudpickle cannot read the function refuses: one clear error."""
    wait = gate.wait

    def waiting(x):
        wait()
        return x

    m = wingspan.map(waiting, [1], tag="foreign", pool="local", options=wingspan.Options(workers=1))
    until(lambda: m.statuses == [wingspan.ComponentStatus.RUNNING])
    m.hold()
    header_of_another(m, **facts)
    gate.open()
    m.release()
    with pytest.raises(wingspan.WorkersCannotStart, match=message) as caught:
        m.wait(timeout=120)
    assert isinstance(caught.value, wingspan.PoolError)
    assert "Python" in caught.value.hint
    assert not m.is_done


@pytest.mark.parametrize("workers", [1, 2])
def test_crashes_among_fast_components_are_attributed_exactly(workers):
    """Of 2,000 fast components exactly those that crash fail, the first and the last among them."""
    bad = {0, 3, 500, 501, 1999}

    def crash(x):
        if x in bad:
            os._exit(1)
        return x

    m = wingspan.map(crash, range(2000), pool="local", options=wingspan.Options(workers=workers))
    m.wait(timeout=120, errors_ok=True)
    assert set(m.errors) == bad
    assert all(m[x] == x for x in range(2000) if x not in bad)


def test_many_failures_with_retries_are_not_quadratic():
    """Every other of 20,000 components fails twice: still a matter of a second or two, not of minutes."""

    def odd(x):
        if x % 2:
            raise ValueError(x)
        return x

    m = wingspan.map(odd, range(20_000), tag="half", pool="local", options=wingspan.Options(retries=1))
    status = m.wait(timeout=200, errors_ok=True)
    assert status.counts[wingspan.ComponentStatus.ERRORED] == 10_000
    assert m.runtimes[1].attempt == 2
    m.rerun(range(0, 20_000, 2))
    assert m.wait(timeout=200, errors_ok=True).is_done


def test_two_sessions_agree_on_components_that_were_done_twice():
    """Of two records of a component the same one counts, whoever reads them and in whatever order."""
    import random

    def draw(_):
        time.sleep(0.2)
        return random.random()

    m = wingspan.map(draw, range(12), tag="twice", pool="local", options=wingspan.Options(workers=2))
    until(lambda: m.status().counts[wingspan.ComponentStatus.COMPLETED] >= 2)
    m.rerun(m.components)
    outputs = m[:]
    assert list(wingspan.load("twice")) == outputs


async def _gather_while_looking(m):
    seen = []
    async for output in m.aiter_as_available():
        assert m.is_done in (True, False)  # somebody looks meanwhile
        seen.append(output)
    return seen


def test_as_available_ends_though_somebody_looks_meanwhile():
    """aiter_as_available gives everything also when each turn of its loop refreshes the map."""
    import asyncio

    m = wingspan.map(abs, range(-20, 0), pool="local", options=wingspan.Options(workers=2, block_size=1))
    assert sorted(asyncio.run(_gather_while_looking(m))) == list(range(1, 21))


def test_a_repair_repeats_only_what_was_claimed():
    """When all workers are killed, what nobody had taken is not done twice."""
    import json
    import signal

    m = wingspan.map(
        lambda x: time.sleep(0.1) or x, range(40), pool="local", options=wingspan.Options(workers=2)
    )
    until(lambda: m.status().counts[wingspan.ComponentStatus.COMPLETED] >= 2)
    for path in (m.path / "workers").glob("*.run"):
        os.kill(json.loads(path.read_text())["pid"], signal.SIGKILL)
    assert m[:] == list(range(40))
    assert sum(plan.length for number, plan in m._keeper.results.plans.items() if number) <= 8


@pytest.mark.parametrize("action", ["release", "vacate"])
def test_local_maps_go_on_though_nobody_waits(action):
    """After release and vacate local workers take the place of those that were ended, without a client that waits."""
    m = wingspan.map(lambda x: time.sleep(0.05) or x, range(30), tag="onward", pool="local")
    until(lambda: m.status().counts[wingspan.ComponentStatus.COMPLETED] >= 1)
    if action == "release":
        m.hold()
    getattr(m, action)()
    results = wingspan.load("onward")._keeper.results
    until(lambda: (results.poll(), results.finished == 30)[1], "the map goes on by itself")


def test_a_rerun_right_after_the_end_needs_nobody_who_waits():
    """rerun brings workers of its own: those that seem to run may have looked for work for the last time."""
    m = wingspan.map(abs, range(-8, 0), tag="again", pool="local")
    m.wait()
    m.rerun([1, 2])
    results = wingspan.load("again")._keeper.results
    until(lambda: (results.poll(), results.finished == 8)[1], "the rerun is done")


@pytest.mark.parametrize("name", ["ProcId", "Requirements", "+RequestCpus", "MY.Cmd"])
def test_attributes_of_htcondors_own_are_refused(name):
    """A custom attribute that HTCondor or an option of ours sets is refused, not half-obeyed."""
    with pytest.raises(wingspan.UnknownOption, match="itself"):
        wingspan.Options(custom={name: 3})


def test_a_map_can_be_pickled():
    """A pickled Map is the same map again."""
    import pickle

    m = wingspan.map(abs, [-1], pool="local")
    assert pickle.loads(pickle.dumps(m)) == m
    assert pickle.loads(pickle.dumps(m))[0] == 1


def test_a_wrong_pool_in_the_settings_is_blamed_on_the_settings(monkeypatch, tmp_path):
    """A pool or an option that the user did not write in the script names the file, or the variable, that did."""
    config = tmp_path / "config"
    config.mkdir()
    (config / "config.toml").write_text('pool = "persnal"\n')
    with pytest.raises(wingspan.SettingsError, match=r"config\.toml: there is no pool 'persnal'"):
        wingspan.map(abs, [1])
    monkeypatch.setenv("WINGSPAN_POOL", "nope")
    with pytest.raises(wingspan.SettingsError, match="WINGSPAN_POOL: there is no pool 'nope'"):
        wingspan.map(abs, [1])
    (config / "config.toml").write_text('[options]\nrequest_memroy = "1GB"\n')
    with pytest.raises(wingspan.UnknownOption, match=r"config\.toml, \[options\].*request_memroy") as caught:
        wingspan.map(abs, [1], pool="local")
    assert "request_memory" in caught.value.hint


def test_maps_and_runs_share_their_names():
    """A map cannot take the name of a run: status, wait and rm go by the name alone."""
    run = wingspan.run(["true"], name="taken", pool="local")
    with pytest.raises(wingspan.TagExists, match="run with the name 'taken'"):
        wingspan.map(abs, [1], tag="taken", pool="local")
    run.wait()
    run.remove()


def test_a_map_of_an_earlier_commit_gets_workers():
    """Sets of workers had their count in the name: first-<number>-<count>."""
    m = wingspan.map(abs, range(4), pool="local", options=wingspan.Options(workers=2))
    assert list(m) == [0, 1, 2, 3]
    (m.path / "workers/first-0").rename(m.path / "workers/first-0-2")
    (m.path / "workers/first-0-2").write_bytes(b"")
    m.rerun()
    assert list(m) == [0, 1, 2, 3]


def test_progress_of_one_piece_of_work_after_another(monkeypatch, capsys):
    """A terminal shows each: also those that begin after an earlier one has ended, or while others go on."""
    monkeypatch.setattr(LateProgress, "PATIENCE", 0.0)
    drawn = LateProgress()
    for name in ("checking", "linking"):
        task = drawn.start(name, 2)
        drawn.advance(task)
        drawn.finish(task)
    first, second = drawn.start("first", 1), drawn.start("second", 2)
    drawn.advance(second)
    drawn.finish(first)
    third = drawn.start("third", 1)
    for task in (third, second):
        drawn.advance(task)
        drawn.finish(task)
    drawn.start("broken off", 1)
    drawn.close()
    shown = capsys.readouterr().err
    assert all(name in shown for name in ("checking", "linking", "second", "third"))
