"""None of HTMap's faults. The numbers are those of the table in docs/htmap-tables.md.

Other faults concern a map whichever interface made it, and are tested beside the map: the table says where.
"""

from __future__ import annotations

import collections
import datetime
import os
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import pytest

import wingspan
from _terminal import Terminal
from _waiting import PATIENCE, until
from wingspan import htmap
from wingspan.htmap import ComponentStatus, MapOptions, exceptions
from wingspan.htmap.submission import wingspan_options
from wingspan.jobs import Submission
from wingspan.maps._jobs import Jobs
from wingspan.pools import JobState, get_pool
from wingspan.pools.event_log import EventLog
from wingspan.worker import compatibility

RUNNING = ComponentStatus.RUNNING


def double(x):
    return 2 * x


# -- wrong or lost results -----------------------------------------------------------------------------------


def test_1_another_minor_version_is_refused_before_anything_is_unpickled():
    """A pickle that holds code is for one minor version of Python, and another one says so."""
    here = compatibility.this_interpreter()
    major, minor = sys.version_info[:2]
    other = {**here, "python": f"{major}.{minor + 1}.0", "code": True}
    assert compatibility.incompatibility(other, here)
    assert compatibility.incompatibility({**here, "code": True}, here) is None


def test_2_modules_of_ones_own_travel(tmp_path, monkeypatch):
    """A function of a module that the workers do not have is called there all the same."""
    (tmp_path / "own_words.py").write_text("def greet(name):\n    return f'hello {name}'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import own_words

    m = htmap.map(own_words.greet, ["you"])
    assert list(m) == ["hello you"]


def test_4_options_can_be_used_again():
    """A map call changes none of what it is given, so that the next map may be longer."""
    options = MapOptions(request_cpus="1", custom_options={"Project": "x"})
    copy = options.copy()
    assert list(htmap.map(double, [1], map_options=options)) == [2]
    assert list(htmap.map(double, [1, 2, 3], map_options=options)) == [2, 4, 6]
    assert options == copy


def test_3_files_with_equal_names_do_not_collide(tmp_path):
    """Each argument leads to its own file."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "data").write_text(folder)

    def read(first, second):
        return first.read_text(), second.read_text()

    paths = [htmap.TransferPath(tmp_path / folder / "data") for folder in ("one", "two")]
    m = htmap.starmap(read, [tuple(paths), tuple(reversed(paths))])
    assert list(m) == [("one", "two"), ("two", "one")]


def test_4_files_of_components_and_of_arguments_go_together(tmp_path):
    """One path for each component is as good as a list of paths, also beside files in the arguments."""
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)

    def read(path):
        return path.read_text() + Path("a").read_text() + Path("b").read_text()

    options = MapOptions(input_files=[tmp_path / "a"], fixed_input_files=tmp_path / "b")
    assert list(htmap.map(read, [htmap.TransferPath(tmp_path / "c")], map_options=options)) == ["cab"]


def test_5_merging_keeps_remaps():
    """Remaps of either layer are there in what comes of both."""
    remaps = MapOptions(output_remaps={"a": "b"})
    for merged in (MapOptions.merge(remaps, MapOptions()), MapOptions.merge(MapOptions(), remaps)):
        assert merged.output_remaps == {"a": "b"}


class _ForWorkersOnly(Exception):
    """An exception that cannot be unpickled in the session."""

    def __reduce__(self):
        return _not_here, ()


def _not_here():
    raise RuntimeError("this can only be made on a worker")


def test_6_an_error_can_be_read_where_its_exception_cannot():
    """Its report is plain text, whatever class the exception is of."""

    def fails(x):
        raise _ForWorkersOnly("the message")

    m = htmap.map(fails, [0])
    error = m.get_err(0, timeout=PATIENCE)
    assert "the message" in error.exception_msg
    assert "raise _ForWorkersOnly" in error.report()
    with pytest.raises(exceptions.MapComponentError, match="the message"):
        m.get(0)


# -- status and control --------------------------------------------------------------------------------------


@pytest.mark.htcondor
def test_8_removed_jobs_are_told_and_can_be_done_again(personal_pool, data_dir, gate):
    """After condor_rm everything that would wait says so, the map is not active, and can be done again."""
    import htcondor2

    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / "personal-pool").symlink_to(personal_pool.directory)
    htmap.settings["WINGSPAN.POOL"] = "personal"
    wait = gate.wait
    m = htmap.map(lambda x: wait() or x, range(2))
    until(lambda: RUNNING in m.component_statuses, "one runs")
    pool = get_pool("personal").personal
    with pool.activate():
        pool.schedd().act(htcondor2.JobAction.Remove, f'WingspanMap == "{m.wingspan_map.path.name}"')
    until(lambda: m.component_statuses == [ComponentStatus.REMOVED] * 2, "the jobs are removed")
    for ask in (
        m.wait,
        lambda: m.get(0),
        lambda: m[0],
        lambda: m.get_err(0),
        lambda: m.stdout.get(1),
        lambda: list(m),
    ):
        with pytest.raises(exceptions.MapComponentRemoved) as caught:
            ask()
        assert isinstance(caught.value, exceptions.HTMapException)
    assert not m.is_active
    gate.open()
    m.rerun()
    assert list(m) == [0, 1]


@pytest.mark.parametrize(
    "end",
    [lambda x: os._exit(0), lambda x: sys.exit(3), lambda x: sys.exit()],
    ids=["exit 0", "sys.exit(3)", "sys.exit()"],
)
def test_9_a_function_that_ends_its_process_is_an_error_like_others(end):
    """Every way to ask for it says so."""
    m = htmap.map(end, [0])
    m.wait(timeout=PATIENCE, errors_ok=True)
    assert m.component_statuses == [ComponentStatus.ERRORED]
    for ask in (lambda: m[0], lambda: m.get(0), m.wait, lambda: list(m)):
        with pytest.raises(exceptions.MapComponentError):
            ask()
    assert m.get_err(0).report() == m.errors[0].report() == next(m.error_reports())
    assert m.holds == {}


def test_10_errors_are_told_while_others_run(gate):
    """`errors` holds what has failed so far, and does not wait for the rest."""
    wait = gate.wait

    def work(x):
        if x == 0:
            raise ValueError("zero")
        wait()

    m = htmap.map(work, range(2), map_options=MapOptions(workers=2, block_size=1))
    with pytest.raises(exceptions.MapComponentError, match="zero"):
        m.wait(timeout=PATIENCE)
    assert list(m.errors) == [0]
    assert len(list(m.error_reports())) == 1
    assert not m.is_done
    gate.open()


def test_11_what_is_printed_is_there_while_it_runs(gate):
    """Indexing gives what there is so far; `get` waits for the end, and not for a component that is held."""
    wait = gate.wait

    def work(x):
        print("begun", flush=True)
        wait()
        print("ended")

    m = htmap.map(work, [0])
    until(lambda: RUNNING in m.component_statuses and m.wingspan_map.stdout(0), "it has printed")
    assert m.stdout[0] == "begun\n"
    m.hold()
    until(lambda: m.component_statuses == [ComponentStatus.HELD], "it is held")
    with pytest.raises(exceptions.MapComponentHeld):
        m.stdout.get(0, timeout=PATIENCE)
    gate.open()
    m.release()
    assert m.stdout.get(0, timeout=PATIENCE) == "begun\nended\n"
    with pytest.raises(FileNotFoundError):
        _ = htmap.map(lambda x: time.sleep(PATIENCE), [0]).stdout[0]


def test_12_a_failure_need_not_end_iterating():
    """With ``return_exceptions`` failures come as what `get` would raise, among the outputs."""

    def inverse(x):
        return 1 / x

    m = htmap.map(inverse, [1, 0, 2])
    for iterate in (m.iter, m.iter_as_available):
        found = list(iterate(return_exceptions=True))
        assert sorted(one for one in found if isinstance(one, float)) == [0.5, 1.0]
        (failed,) = (one for one in found if not isinstance(one, float))
        assert isinstance(failed, exceptions.MapComponentError)
        assert (failed.component, type(failed.__cause__)) == (1, ZeroDivisionError)
    pairs = list(m.iter_with_inputs(return_exceptions=True))
    assert isinstance(pairs[1][1], exceptions.MapComponentError)
    assert pairs[2] == (((2,), {}), 0.5)


def test_13_statuses_come_in_each_form():
    """Text, JSON and CSV, with all that is known."""
    m = htmap.map(double, [1], tag="known")
    m.wait(timeout=PATIENCE)
    assert '"COMPLETED":1' in htmap.status_json(compact=True)
    assert htmap.status_csv([m]).splitlines()[1].startswith("known,False,1,0,0,0,0,1,")
    assert htmap.status([m]).splitlines()[1].split()[0] == "known"


def test_15_and_16_a_log_that_is_not_there_yet_and_jobs_of_others(tmp_path):
    """No log is no error, and no event; events of a job that nobody knows wait for its submitter."""
    pytest.importorskip("htcondor2")
    log = EventLog(tmp_path / "events.log")
    assert log.poll() == []
    (tmp_path / "events.log").write_text(
        "000 (003.000.000) 2026-11-21 07:38:29 Job submitted from host: <127.0.0.1:1>\n...\n"
        "001 (003.000.000) 2026-11-21 07:38:29 Job executing on host: <127.0.0.1:2>\n...\n"
    )
    events, jobs = log.poll(), Jobs()
    log.close()
    assert len(events) == 2
    assert not jobs.apply_all(events)
    assert not jobs.by_worker
    jobs.add(Submission(pool="htcondor", cluster="3", count=1), first=0)
    assert [job.state for job in jobs.by_worker.values()] == [JobState.RUNNING]


def test_18_failures_are_tried_again(tmp_path):
    """``max_retries`` counts for exceptions, too; what is held can be done again."""
    mark = tmp_path / "mark"

    def second_time(x):
        if not mark.exists():
            mark.touch()
            raise ValueError("the first time")
        return x

    assert list(htmap.map(second_time, [7], map_options=MapOptions(max_retries="1"))) == [7]


def test_18_what_failed_is_done_again_with_other_options():
    """`rerun` takes options for the components that it names; the others keep theirs."""
    m = htmap.map(double, range(3), map_options=MapOptions(request_memory="256MB"))
    m.wait(timeout=PATIENCE)
    m.rerun([1], map_options=MapOptions(request_memory="512MB"))
    assert list(m) == [0, 2, 4]
    asked = {
        number: one.options.request_memory >> 20
        for one in m.wingspan_map.requests
        for number in one.components
    }
    assert asked == {0: 256, 1: 512, 2: 256}


def test_18_what_is_held_is_done_again(gate):
    """`rerun` names a held component, and it goes on, though the jobs that were held for it are not
    released."""
    wait = gate.wait
    m = htmap.map(lambda x: wait() or x, [5, 6])
    until(lambda: htmap.ComponentStatus.RUNNING in m.component_statuses, "a component that runs")
    m.hold()
    until(lambda: set(m.component_statuses) == {htmap.ComponentStatus.HELD}, "held components")
    gate.open()
    m.rerun([0])
    assert m.get(0, timeout=PATIENCE) == 5
    m.rerun()
    assert list(m) == [5, 6]


def test_19_checkpoints_survive_more_than_evictions(gate):
    """A component that is begun anew finds its files as they were, after a vacate and after a crash."""
    wait = gate.wait

    def work(x):
        state = Path("state")
        done = int(state.read_text()) if state.exists() else 0
        state.write_text(str(done + 1))
        htmap.checkpoint("state")
        if done == 0:
            print("once", flush=True)
            wait()
        if done == 1:
            os._exit(1)
        return done

    m = htmap.map(work, [0], map_options=MapOptions(max_retries=1))
    until(lambda: m.wingspan_map.stdout(0), "the first checkpoint")
    m.vacate()
    assert list(m) == [2]


SET = "import sys; from wingspan.htmap.settings import set_user_setting as put; [put(f'{sys.argv[1]}.K{n}', n) for n in range(20)]"


def test_20_two_processes_write_settings(tmp_path, monkeypatch):
    """Nothing that either has written is lost, and the file is whole."""
    monkeypatch.setenv("HOME", str(tmp_path))
    both = [subprocess.Popen([sys.executable, "-c", SET, name]) for name in ("ONE", "TWO")]
    assert [one.wait(timeout=PATIENCE) for one in both] == [0, 0]
    table = {f"K{number}": number for number in range(20)}
    assert htmap.Settings.load(tmp_path / ".htmaprc") == htmap.Settings({"ONE": table, "TWO": table})


# -- size ----------------------------------------------------------------------------------------------------


def test_21_and_24_many_components_share_a_few_jobs_and_files():
    """A thousand components need neither a job nor a file each."""
    m = htmap.map(double, range(1000), map_options=MapOptions(workers=2))
    assert list(m) == [2 * x for x in range(1000)]
    assert sum(m.wingspan_map.status().workers.values()) < 20  # a busy machine's may have been replaced
    # Workers tidy up meanwhile: os.walk passes over what is gone.
    assert sum(len(names) for _, _, names in os.walk(m.wingspan_map.path)) < 200


def test_26_no_map_is_more_jobs_than_a_scheduler_takes():
    """Of thirty thousand components come a thousand jobs at most, on each pool."""
    for kind in ("htcondor", "slurm", "personal", "local"):
        assert get_pool(kind).default_workers(30_000) <= 1000


# -- environments, interface ---------------------------------------------------------------------------------


def test_29_no_program_is_needed_that_a_site_may_lack():
    """Without a setting, workers have the Python of this session: no image is looked for."""
    assert htmap.BASE_SETTINGS["DELIVERY_METHOD"] == "assume"


def test_31_importing_it_asks_nobody_and_makes_nothing(tmp_path, monkeypatch):
    """No bindings of HTCondor's are imported, no program is started, and no folder made."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PATH", "")
    script = (
        "import sys, wingspan.htmap; print(sorted({'htcondor', 'htcondor2', 'classad2'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"
    assert list(tmp_path.iterdir()) == []


def test_32_values_need_not_be_texts():
    """Numbers and truth values are taken as they are; a text for ClassAds needs no second quotes."""
    options = wingspan_options(
        MapOptions(request_cpus=2, request_gpus=1, custom_options={"GPUJobLength": "short", "Want": True})
    )
    assert (options.request_cpus, options.request_gpus) == (2, 1)
    assert options.custom == {"gpujoblength": "short", "want": True}


def test_33_settings_cannot_hold_reserved_options_either():
    """They are refused when a map is made, as in the program itself."""
    for name in ("OUTPUT", "Error", "+Component", "MY.IsHTMapJob"):
        htmap.settings.maps[0] = {"MAP_OPTIONS": {name: "x"}}
        with pytest.raises(exceptions.ReservedOptionKeyword):
            htmap.map(double, [1])
        htmap.settings.maps[0] = {}
        htmap.settings[f"MAP_OPTIONS.{name}"] = "x"  # the dot of MY. makes a table within it
        with pytest.raises(exceptions.ReservedOptionKeyword):
            htmap.map(double, [1])
    assert htmap.get_tags() == ()


Point = collections.namedtuple("Point", "x y")


def test_34_named_tuples_are_arguments_like_others():
    """They arrive as what they are, alone and among others."""

    def kinds(one, many):
        return type(one).__name__, one.x, [type(each).__name__ for each in many]

    m = htmap.starmap(kinds, [(Point(1, 2), [Point(3, 4), (5, 6)])])
    assert list(m) == [("Point", 1, ["Point", "tuple"])]


def test_35_patterns_work_on_a_terminal(tmp_path, data_dir):
    """``-p PATTERN`` finds maps where standard input is a terminal; nothing is read from it."""
    htmap.map(double, [1], tag="seen")
    command = [sys.executable, "-m", "wingspan.htmap", "reasons", "-p", "se*", "-p", "x"]
    with Terminal(command, cwd=tmp_path, environment=dict(os.environ)) as terminal:
        assert terminal.end() == 0, terminal.text
    with Terminal(command[:4], cwd=tmp_path, environment=dict(os.environ)) as terminal:
        terminal.expect("which maps")


def test_36_times_are_wall_times():
    """A component that sleeps takes as long as it sleeps."""
    m = htmap.map(lambda x: time.sleep(0.05), [0])
    m.wait(timeout=PATIENCE)
    assert m.runtime[0] >= datetime.timedelta(seconds=0.05)


def test_37_types_are_there_for_checkers():
    """The package says that it has types, and errors are Wingspan's."""
    assert (resources.files("wingspan") / "py.typed").is_file()
    named = [getattr(exceptions, name) for name in exceptions.__all__]
    assert all(issubclass(one, wingspan.WingspanError) for one in named)
