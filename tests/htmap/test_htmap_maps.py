"""Maps as HTMap programs use them."""

from __future__ import annotations

import datetime
import os
import pickle
import threading
from pathlib import Path

import pytest

import wingspan
from _waiting import PATIENCE, until
from wingspan import htmap
from wingspan.htmap import ComponentStatus, exceptions
from wingspan.htmap.tags import map_dir_path, tag_to_map_dir

RUNNING, HELD, COMPLETED = ComponentStatus.RUNNING, ComponentStatus.HELD, ComponentStatus.COMPLETED


def double(x):
    return 2 * x


def failing(x):
    print("at", x)
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x


# -- making --------------------------------------------------------------------------------------------------


def test_map_calls_the_function_with_each_argument():
    """`map` makes a component for each argument; indexing, iterating and `get` give its output."""
    m = htmap.map(double, range(3), tag="doubled")
    assert [m.get(0, timeout=PATIENCE), *list(m)[1:]] == [0, 2, 4]
    assert (m[2], len(m), m.tag, m.components, m.is_transient) == (4, 3, "doubled", (0, 1, 2), False)
    assert repr(m) == "Map(tag = doubled)"


def test_each_component_has_a_folder_of_its_own():
    """What one leaves in its working folder is not seen by the next."""

    def count(x):
        Path(f"left-{x}").touch()
        return len(list(Path().iterdir()))

    m = htmap.map(count, range(3), map_options=htmap.MapOptions(workers=1))
    assert list(m) == [1, 1, 1]


def test_functions_see_where_they_are():
    """On a worker two variables say so, and which component it is; in a session there are none."""

    def where(x):
        return os.environ.get("HTMAP_ON_EXECUTE"), os.environ.get("HTMAP_COMPONENT")

    m = htmap.map(where, range(3), map_options=htmap.MapOptions(workers=1))
    assert list(m) == [("1", "0"), ("1", "1"), ("1", "2")]
    assert where(0) == (None, None)


def test_starmap_fills_up_what_is_shorter():
    """Calls beyond the end of `args` or `kwargs` get no positional, or no keyword arguments."""

    def given(*args, **kwargs):
        return args, kwargs

    m = htmap.starmap(given, [(1,), (2, 3)], [{"a": 4}, {}, {"b": 5}])
    assert list(m) == [((1,), {"a": 4}), ((2, 3), {}), ((), {"b": 5})]
    assert list(m.iter_inputs()) == list(m)
    assert m.is_transient
    assert list(htmap.starmap(given, kwargs=[{"c": 1}])) == [((), {"c": 1})]


def test_build_map_makes_the_map_when_the_block_ends():
    """Within the block there is no map; an exception there makes none, and comes out."""
    with htmap.build_map(double, tag="built") as builder:
        for x in range(3):
            builder(x)
        with pytest.raises(exceptions.NoMapYet):
            _ = builder.map
    assert (list(builder.map), len(builder)) == ([0, 2, 4], 3)
    with pytest.raises(ZeroDivisionError), htmap.build_map(double, tag="never") as builder:
        builder(1 / 0)
    assert htmap.get_tags() == ("built",)


def test_mapped_functions_make_maps_and_can_be_called():
    """A decorated function can be called here, and makes maps of itself; wingspan.map takes it, too."""
    decorated = htmap.mapped(double)
    assert (decorated(4), decorated.__name__) == (8, "double")
    assert list(decorated.map([1, 2])) == [2, 4]
    assert list(decorated.starmap([(1,)])) == [2]
    with htmap.mapped(map_options=htmap.MapOptions(request_cpus=1))(double).build_map() as builder:
        builder(3)
    assert list(builder.map) == [6]
    assert list(wingspan.map(decorated, [5])) == [10]
    assert pickle.loads(pickle.dumps(decorated))(6) == 12
    with pytest.raises(TypeError):
        htmap.mapped(3)


def test_no_map_is_made_of_nothing_or_with_a_bad_tag():
    """No inputs, a taken tag, and what no tag can be, are each an error of HTMap's and of Wingspan's."""
    for make in (
        lambda: htmap.map(double, []),
        lambda: htmap.map(double, iter(())),
        lambda: htmap.starmap(double),
    ):
        with pytest.raises(exceptions.EmptyMap):
            make()
    htmap.map(double, [1], tag="taken")
    with pytest.raises(exceptions.TagAlreadyExists) as caught:
        htmap.map(double, [1], tag="taken")
    assert isinstance(caught.value, wingspan.TagExists)
    for character in '/\\<>:"|?*[]! ':
        with pytest.raises(exceptions.InvalidTag) as caught:
            htmap.map(double, [1], tag=f"a{character}b")
        assert isinstance(caught.value, wingspan.InvalidTag)
    assert htmap.get_tags() == ("taken",)


# -- outputs -------------------------------------------------------------------------------------------------


def test_what_is_not_there_yet_is_told_at_once(gate):
    """Indexing never waits; `get` waits no longer than it is told; both name what is missing."""
    wait = gate.wait
    m = htmap.map(lambda x: wait() or x, [1, 2])
    with pytest.raises(exceptions.OutputNotFound) as caught:
        _ = m[0]
    assert isinstance(caught.value, wingspan.OutputNotReady)
    with pytest.raises(exceptions.OutputNotFound):
        m.get(1, timeout=0)
    with pytest.raises(exceptions.TimeoutError) as caught:
        m.get(1, timeout=datetime.timedelta(seconds=0.01))
    assert isinstance(caught.value, TimeoutError)
    with pytest.raises(exceptions.TimeoutError):
        m.wait(timeout=0.01)
    with pytest.raises(exceptions.TimeoutError):
        next(m.iter_as_available(timeout=0.01))
    with pytest.raises(exceptions.OutputNotFound):
        m.get_err(0, timeout=0)
    assert not m.is_done
    assert m.is_active
    gate.open()
    assert m.wait(timeout=PATIENCE) is None
    assert m.is_done
    assert not m.is_active


@pytest.mark.parametrize("component", [-1, 3, "0", None, 1.5])
def test_components_are_numbers_from_zero(component):
    """No other number, and nothing else, names a component; `in` asks for just that."""
    m = htmap.map(double, range(3))
    for ask in (m.__getitem__, m.get, m.get_err, m.stdout.get):
        with pytest.raises(IndexError):
            ask(component)
    assert component not in m
    assert 2 in m
    with pytest.raises(TypeError):
        _ = m[0:2]


def test_iterating_gives_inputs_too():
    """Each way of iterating gives outputs, with inputs as ``(args, kwargs)`` where that is asked for."""
    m = htmap.map(double, range(3))
    pairs = [(((x,), {}), 2 * x) for x in range(3)]
    assert list(m.iter(timeout=PATIENCE)) == [0, 2, 4]
    assert list(m.iter_with_inputs()) == pairs
    assert sorted(m.iter_as_available(timeout=PATIENCE)) == [0, 2, 4]
    assert sorted(m.iter_as_available_with_inputs()) == pairs
    assert list(m.iter_inputs()) == [((x,), {}) for x in range(3)]


def test_a_failure_is_raised_with_the_exception_behind_it():
    """`get` raises MapComponentError; `get_err` tells all, and refuses where there is an output."""
    m = htmap.map(failing, range(3), tag="fails")
    with pytest.raises(exceptions.MapComponentError, match="1 is odd") as caught:
        m.get(1, timeout=PATIENCE)
    assert isinstance(caught.value.__cause__, ValueError)
    assert isinstance(caught.value, wingspan.WingspanError)
    with pytest.raises(exceptions.MapComponentError):
        m.wait(timeout=PATIENCE)
    m.wait(timeout=PATIENCE, errors_ok=True)
    with pytest.raises(exceptions.MapComponentError):
        list(m)
    error = m.get_err(1)
    assert (error.map, error.component, error.exception_msg) == (m, 1, "ValueError: 1 is odd")
    assert [frame.line for frame in error.stack_summary] == ['raise ValueError(f"{x} is odd")']
    assert "    x = 1\n" in "".join(error.stack_summary.format())
    assert "raise ValueError" in error.report()
    assert "variables of failing: x = 1" in error.report()
    assert error.node_info[0] in error.report()
    with pytest.raises(exceptions.ExpectedError):
        m.get_err(0)
    assert list(m.errors) == [1]
    assert list(m.error_reports()) == [error.report()]
    assert not m.is_done
    assert not m.is_active


# -- how it fares --------------------------------------------------------------------------------------------


def test_statuses_are_htmaps_words():
    """Statuses come one by one, by status, and as a line."""
    m = htmap.map(failing, range(3), tag="mixed")
    m.wait(timeout=PATIENCE, errors_ok=True)
    assert m.component_statuses == [COMPLETED, ComponentStatus.ERRORED, COMPLETED]
    assert m.components_by_status() == {COMPLETED: (0, 2), ComponentStatus.ERRORED: (1,)}
    assert m.status() == (
        "Map mixed (3 components): HELD = 0 | ERRORED = 1 | IDLE = 0 | RUNNING = 0 | COMPLETED = 2"
    )
    assert [str(one) for one in ComponentStatus.display_statuses()] == [
        "HELD",
        "ERRORED",
        "IDLE",
        "RUNNING",
        "COMPLETED",
    ]


def test_what_components_took_and_printed():
    """There is a memory and a time for each component, and what each one printed."""
    m = htmap.map(failing, range(3))
    m.wait(timeout=PATIENCE, errors_ok=True)
    assert [type(one) for one in m.runtime] == [datetime.timedelta] * 3
    assert all(1 <= one < 10_000 for one in m.memory_usage)
    assert m.local_data > 0
    assert list(m.stdout) == ["at 0\n", "at 1\n", "at 2\n"]
    assert (m.stdout[1], m.stderr.get(2), len(m.stderr), 2 in m.stdout, 3 in m.stdout) == (
        "at 1\n",
        "",
        3,
        True,
        False,
    )


def test_files_that_components_send(tmp_path, gate):
    """Each component's files lie in its folder; those with a destination go there; failures are told."""
    wait = gate.wait

    def work(x):
        if x == 2:
            wait()
            raise ValueError("two")
        Path("out").mkdir()
        Path("out", "data").write_text(str(x))
        Path("else").write_text(str(x))
        htmap.transfer_output_files("out", "else")

    remaps = [{"else": htmap.TransferPath(tmp_path / f"else-{x}")} for x in range(3)]
    m = htmap.map(work, range(3), map_options=htmap.MapOptions(output_remaps=remaps, workers=2, block_size=1))
    assert [Path(m.output_files.get(x, timeout=PATIENCE), "out", "data").read_text() for x in (0, 1)] == [
        "0",
        "1",
    ]
    assert [(tmp_path / f"else-{x}").read_text() for x in (0, 1)] == ["0", "1"]
    with pytest.raises(FileNotFoundError):
        _ = m.output_files[2]
    gate.open()
    with pytest.raises(exceptions.MapComponentError, match="two"):
        m.output_files.get(2, timeout=PATIENCE)
    with pytest.raises(IndexError):
        _ = m.output_files[3]
    assert (len(m.output_files), 2 in m.output_files) == (3, True)
    htmap.transfer_output_files("nothing is done in a session")


def test_holding_pausing_and_going_on(gate):
    """Held components are told as held, with a reason; paused ones as suspended; both go on when told to."""
    wait = gate.wait
    m = htmap.map(lambda x: wait() or x, range(2))
    until(lambda: RUNNING in m.component_statuses, "one runs")
    m.hold()
    until(lambda: m.component_statuses == [HELD] * 2, "both are held")
    assert "held" in m.holds[0].reason
    assert "held" in m.hold_report()
    for ask in (lambda: m[0], lambda: m.get(1), m.wait, lambda: m.get_err(0), lambda: next(m.iter())):
        with pytest.raises(exceptions.MapComponentHeld) as caught:
            ask()
        assert isinstance(caught.value, wingspan.ComponentHeld)
    m.wait(timeout=PATIENCE, holds_ok=True)
    m.release()
    m.pause()
    until(lambda: m.component_statuses == [ComponentStatus.SUSPENDED] * 2, "both are paused")
    assert m.holds == {}
    assert htmap.load(m.tag).components_by_status() == {ComponentStatus.SUSPENDED: (0, 1)}
    for ask in (m.wait, lambda timeout: m.get(0, timeout)):
        with pytest.raises(exceptions.TimeoutError):
            ask(timeout=0.05)
    for iterate in (m.iter, m.iter_as_available, m.iter_with_inputs):
        with pytest.raises(exceptions.TimeoutError):
            next(iterate(timeout=0.05))
    outputs = m.iter()
    threading.Timer(0.2, lambda: (gate.open(), m.resume())).start()
    assert list(outputs) == [0, 1]
    m.vacate()
    m.hold()
    m.pause()
    assert m.is_done


def test_what_waiting_jobs_ask_for_can_be_changed(gate):
    """Memory is MB, disk kB; jobs that are submitted from now on ask for it."""
    wait = gate.wait
    m = htmap.map(lambda x: wait() or x, [1])
    m.set_memory(4096)
    m.set_disk(2048)
    options = htmap.load(m.tag).wingspan_map.options
    assert (options.request_memory, options.request_disk) == (4 << 30, 2 << 20)
    gate.open()
    m.wait(timeout=PATIENCE)
    m.set_memory(1)
    assert m.wingspan_map.options.request_memory == 4 << 30


# -- doing something to it -----------------------------------------------------------------------------------


def test_rerun_does_what_is_finished_again(tmp_path, gate):
    """Named components, or all, are done again; what is still to be done is refused."""
    wait, folder = gate.wait, str(tmp_path / "counts")

    def count(x):
        if x:
            wait()
        with Path(f"{folder}{x}").open("a") as file:
            file.write(".")
            return file.tell()

    m = htmap.map(count, range(2))
    m.get(0, timeout=PATIENCE)
    for components in (None, [1]):
        with pytest.raises(exceptions.CannotRerunComponents):
            m.rerun(components)
    with pytest.raises(IndexError):
        m.rerun([2])
    m.rerun([0])
    gate.open()
    assert list(m) == [2, 1]
    m.rerun()
    assert list(m) == [3, 2]


def test_retag_gives_a_name_that_stays():
    """The map is found by its new tag; a tag that cannot be used is refused for its reason."""
    m, _ = htmap.map(double, [1]), htmap.map(double, [2], tag="taken")
    for tag, reason in (
        ("taken", exceptions.TagAlreadyExists),
        ("a b", exceptions.InvalidTag),
        (m.tag, exceptions.CannotRetagMap),
    ):
        with pytest.raises(exceptions.CannotRetagMap) as caught:
            m.retag(tag)
        assert isinstance(caught.value, reason)
    m.retag("kept")
    assert (m.tag, m.is_transient, htmap.load("kept")) == ("kept", False, m)


def test_a_removed_map_refuses_everything():
    """After `remove` every method says so; the object still tells that it is gone."""
    m = htmap.map(double, [1], tag="gone")
    m.wait(timeout=PATIENCE)
    m.remove()
    assert not m.exists
    asks = "status wait hold release pause resume vacate rerun remove hold_report error_reports iter iter_inputs".split()
    for name in [*asks, "iter_with_inputs", "components_by_status", "iter_as_available"]:
        with pytest.raises(exceptions.MapWasRemoved):
            getattr(m, name)()
    for ask in (m.get, m.get_err, m.__getitem__, m.retag):
        with pytest.raises(exceptions.MapWasRemoved):
            ask(0)
    with pytest.raises(exceptions.TagNotFound) as caught:
        htmap.load("gone")
    assert isinstance(caught.value, KeyError)
    again = htmap.map(double, [2], tag="gone")
    assert list(again) == [4]


# -- management ----------------------------------------------------------------------------------------------


def test_there_is_one_object_for_a_map():
    """Loading a map that is in use gives the same object; maps are ordered by tag."""
    b, a = htmap.map(double, [1], tag="b"), htmap.map(double, [2], tag="a")
    assert htmap.load("b") is b is htmap.Map.load("b")
    assert htmap.load_maps() == (a, b)
    assert htmap.load_maps("b*") == (b,)
    assert sorted([b, a]) == [a, b]
    assert a < b
    assert b >= a
    assert htmap.get_tags("[a]") == ("a",)
    assert pickle.loads(pickle.dumps(a)) is a
    wingspan.load("b").retag("c")  # as another process would
    assert htmap.load("c") is b
    assert b.tag == "c"
    assert tag_to_map_dir("a") == map_dir_path(a.wingspan_map.path.name) == a.wingspan_map.path


def test_remove_and_clean():
    """`remove` passes over what is not there, unless told not to; `clean` removes what nobody named."""
    htmap.remove("nothing")
    with pytest.raises(exceptions.TagNotFound):
        htmap.remove("nothing", not_exist_ok=False)
    named, transient = htmap.map(double, [1], tag="named"), htmap.map(double, [1])
    transient.wait(timeout=PATIENCE)
    assert htmap.clean() == (transient.tag,)
    assert named.exists
    assert htmap.clean(all=True) == ("named",)
    assert htmap.get_tags() == ()


def test_waiting_shows_a_bar_where_it_is_wanted(capsys):
    """The bar is on standard error, and only where somebody asks for it."""
    m = htmap.map(double, range(3), tag="barred")
    m.wait(timeout=PATIENCE)
    assert capsys.readouterr().err == ""
    m.wait(show_progress_bar=True)
    assert "barred" in capsys.readouterr().err
