"""What is shown of maps and runs: the model, its one reader, reports, the commands."""

from __future__ import annotations

import base64
import html.parser
import importlib
import json
import os
import re
import stat
import sys
import threading
import time
import types
from pathlib import Path

import attrs
import comm
import pytest

import wingspan
from _command_line import wingspan_here
from _waiting import PATIENCE, until
from wingspan.errors import WingspanError
from wingspan.maps._display import is_watched
from wingspan.maps._keeper import Keeper
from wingspan.maps._view import MapSource
from wingspan.notebooks._dashboard import _widget_class
from wingspan.runs._view import RunSource
from wingspan.views import live
from wingspan.views._model import Stage
from wingspan.views._server import _Told
from wingspan.views._widget import in_notebook, live_widget_class
from wingspan.worker.pipes import LARGE_INPUT

ONE = wingspan.Options(workers=1)
HOSTILE = "<script>alert(1)</script>\x1b[2J"


@pytest.fixture
def failing():
    """A map of which some components fail, with hostile text in all that it says."""

    def component(number, text=HOSTILE):
        print(text, number)
        if number % 4 == 1:
            raise ValueError(f"{text} {number}")
        if number == 2:
            raise KeyError(number)
        return text

    m = wingspan.map(component, range(12), pool="local", options=ONE)
    m.wait(timeout=PATIENCE, errors_ok=True)
    yield m
    m.remove()


def test_the_view_of_a_map_that_is_done(failing):
    """States, errors by kind with the first as example, and what can be done: the failed ones again."""
    view = live(MapSource(failing)).view()
    assert (view.kind, view.name, view.components, view.is_done) == ("map", failing.tag, 12, True)
    assert view.states == {"completed": 8, "errored": 4}
    assert [(group.kind, group.count, group.component) for group in view.errors] == [
        ("ValueError", 3, 1),
        ("KeyError", 1, 2),
    ]
    assert view.actions == ("rerun",)
    json.dumps(view.to_json())


def test_a_chain_shows_the_maps_before_it(tmp_path, monkeypatch):
    """How far each of them is, the first one first, in the view and in the status; and none once it is
    done. A view looks at each of them once, also where several ways lead to it.
    """
    gate = tmp_path / "gate"

    def component(number):
        if number == 1:
            raise ValueError(number)
        while number and not gate.exists():
            time.sleep(0.01)
        return number

    first = wingspan.map(component, range(3), pool="local", tag="first", options=wingspan.Options(workers=2))
    second = first.map(abs, pool="local", tag="second", options=ONE)
    third = second.map(abs, pool="local", options=ONE)
    source = MapSource(third)
    wanted = (
        Stage(name="first", components=3, completed=1, errored=1),
        Stage(name="second", components=3, completed=1, errored=1),
    )
    until(lambda: source.view().before == wanted, lambda: source.view().before)
    assert json.loads(json.dumps(source.view().to_json()))["before"][0]["name"] == "first"
    assert "before it, map first: 1 of 3 completed, 1 failed" in str(third.status())
    looks, refresh = [], Keeper.refresh
    monkeypatch.setattr(Keeper, "refresh", lambda it: looks.append(it.folder.info.tag) or refresh(it))
    both = wingspan.map(max, third, first, pool="local", tag="both", options=ONE)
    looks.clear()
    assert [stage.name for stage in MapSource(both).view().before] == ["first", "second", third.tag]
    assert sorted(looks) == sorted(["first", "second", third.tag, "both"])
    gate.touch()
    third.wait(errors_ok=True, timeout=PATIENCE)
    assert source.view().before == ()
    assert "before it" not in str(third.status())


def test_a_component_in_detail(failing):
    """Input, output or error, what it printed, where it ran; characters that would command a terminal are
    written out. A number that is none is an IndexError.
    """
    source = MapSource(failing)
    texts = dict(source.detail(0).texts)
    assert texts["input"] == "0"
    assert texts["output"] == HOSTILE
    assert texts["stdout"] == f"{HOSTILE} 0\n"
    failed = source.detail(1)
    assert failed.state == "errored"
    assert "ValueError" in dict(failed.texts)["error"]
    assert {"runtime", "peak memory", "worker", "host"} <= dict(failed.facts).keys()
    plain = json.dumps([failed.to_json(), source.view().to_json()], ensure_ascii=False)
    assert ("\x1b" in plain, r"\\x1b[2J" in plain) == (False, True)
    for number in (-1, 12):
        with pytest.raises(IndexError):
            source.detail(number)


def test_errors_of_a_map_command_no_terminal(failing):
    """What Python prints of all errors at once: characters that would command a terminal are written out."""
    with pytest.raises(wingspan.ComponentErrors) as caught:
        failing.wait(timeout=PATIENCE, progress=False)
    assert ("\x1b" in str(caught.value), r"\x1b[2J" in str(caught.value)) == (False, True)


def test_failed_components_are_done_again(tmp_path):
    """The action does again what failed, and says how many."""
    gate = tmp_path / "gate"

    def component(number, gate=str(gate)):

        if not os.path.exists(gate):  # noqa: PTH110 - in a worker
            raise OSError(number)
        return number

    m = wingspan.map(component, range(3), pool="local", options=ONE)
    m.wait(timeout=PATIENCE, errors_ok=True)
    gate.touch()
    shown = live(MapSource(m))
    assert shown.act("rerun") == "3 components will be done again"
    m.wait(timeout=PATIENCE)
    assert shown.view().states == {"completed": 3}
    assert "no action" in shown.act("explode")
    m.remove()


@pytest.mark.parametrize("pool", ["local", pytest.param("personal", marks=pytest.mark.htcondor)])
def test_hold_release_and_cancel(pool, personal_pool, data_dir, tmp_path):
    """The buttons do what they say on a real pool; after a cancel what is finished is there, and the rest
    can be done after all.
    """
    data_dir.mkdir(exist_ok=True)
    (data_dir / "personal-pool").symlink_to(personal_pool.directory)
    gate = tmp_path / "gate"

    def component(number, gate=str(gate)):
        import time

        while number and not os.path.exists(gate):  # noqa: PTH110 - in a worker
            time.sleep(0.05)
        return number

    m = wingspan.map(component, range(3), pool=pool, options=wingspan.Options(workers=1, block_size=1))
    m.get(0, timeout=PATIENCE)
    shown = live(MapSource(m))
    until(lambda: shown.view().workers.get("running"), "a worker at work")
    assert shown.view().actions == ("hold", "cancel")
    shown.act("hold")
    until(lambda: shown.view().actions == ("release", "cancel"), lambda: shown.view())
    assert shown.view().holds[0].count == 1
    shown.act("release")
    until(lambda: shown.view().workers.get("running"), "a worker at work again")
    assert "out of the queue" in shown.act("cancel")
    until(lambda: not shown.view().workers.get("running"), "no worker")
    assert m[0] == 0
    gate.touch()
    m.rerun()
    assert m.get(2, timeout=PATIENCE) == 2
    m.remove()


def test_views_share_one_reader(failing):
    """Whoever looks at the same map looks through the same reader, and each is told of it."""
    one, two = live(MapSource(failing)), live(MapSource(wingspan.load(failing.tag)))
    assert one is two
    seen: list[list[str]] = [[], []]
    ends = [one.watch(lambda view, told=told: told.append(view.name)) for told in seen]
    until(lambda: all(seen), "both are told")
    threads = [thread for thread in threading.enumerate() if thread.name == "wingspan-live"]
    assert len(threads) == 1
    for end in ends:
        end()
    until(lambda: not threads[0].is_alive(), "nobody looks, and the thread ends")


def test_a_view_that_fails_does_not_end_the_others(failing):
    """A watcher that raises is told no more; the others go on."""
    shown, seen = live(MapSource(failing)), []
    end_bad = shown.watch(lambda view: 1 / 0)
    end = shown.watch(lambda view: seen.append(view.states))
    until(lambda: seen, "the other one is told")
    failing.rerun([1])
    until(lambda: len(seen) > 1, "and is told of what changes")
    end()
    end_bad()


def test_where_nobody_looks_nothing_is_looked_at(failing, monkeypatch):
    """A widget on a page that is hidden, or whose cell was executed again, ends its looks; on a page that is
    shown again it is up to date. Whoever never said anything is taken for a viewer.
    """
    pytest.importorskip("anywidget")
    monkeypatch.setattr("comm.create_comm", comm.DummyComm)
    shown = live_widget_class()(live(MapSource(failing)))

    def looked_at() -> bool:
        return bool(shown._live._watchers)

    assert looked_at()
    shown.asked({"do": "attend", "who": "one", "is_there": True})
    shown.asked({"do": "attend", "who": "two", "is_there": True})
    shown.asked({"do": "attend", "who": "one", "is_there": False})
    assert looked_at()
    shown.asked({"do": "attend", "who": "two", "is_there": False})
    assert not looked_at()
    failing.rerun([1])
    failing.wait(timeout=PATIENCE, errors_ok=True)
    failing.cancel()
    shown.view = {}
    shown.asked({"do": "attend", "who": "two", "is_there": True})
    until(lambda: shown.view.get("states") == {"completed": 8, "errored": 4}, lambda: shown.view)
    shown.close()
    assert not looked_at()


@pytest.mark.parametrize("of_all", [False, True])
def test_messages_of_a_hostile_page(failing, monkeypatch, of_all):
    """They neither raise nor change what is shown or what may be done."""
    pytest.importorskip("anywidget")
    monkeypatch.setattr("comm.create_comm", comm.DummyComm)
    source = live(MapSource(failing))
    shown = _widget_class()() if of_all else live_widget_class()(source)
    done = []
    monkeypatch.setattr(shown._live, "act", done.append)
    esm = shown._esm
    state = {"view": {"actions": ["remove"], "components": "x"}, "chosen": "map ../up", "_esm": "x"}
    shown._handle_msg({"content": {"data": {"method": "update", "state": state}}, "buffers": []})
    shown.asked({"do": "act", "action": "remove"})
    odd = [
        None,
        -1,
        1 << 80,
        float("inf"),
        float("nan"),
        "../../etc/passwd",
        "9" * 5000,
        [],
        {},
        [[]],
        True,
        b"x",
    ]
    for value in odd:
        shown.asked(value)
        for do in ("act", "detail", "grid", "attend", "choose", value):
            shown.asked(
                {"do": do, "action": value, "number": value, "id": value, "who": value, "is_there": value}
            )
        shown.asked({"do": "grid", "first": value, "stop": value, "layer": value})
    assert not done
    assert shown._esm == esm
    assert shown.view["components"] == 12
    shown.close()


def test_a_page_is_told_what_is_new(failing):
    """Of a grid, the stretches that have changed, from which the page makes the whole one; the errors, which
    may be long, only when there are others.
    """
    source, told = MapSource(failing), _Told()
    view, cells = source.view(), source.cells(0, 12, "state", 4096)
    first = told.what_is_new(view, cells)
    assert (len(first["view"]["errors"]), base64.b64decode(first["cells"]["data"])) == (2, cells.data)
    again = told.what_is_new(view, cells)
    assert ("errors" in again["view"], "cells" in again) == (False, False)
    changed = attrs.evolve(cells, data=cells.data[:-2] + bytes([3, 0]))
    (stretch,) = told.what_is_new(view, changed)["cells"]["changed"]
    assert (stretch[0], base64.b64decode(stretch[1])) == (0, changed.data)
    assert {**view.now_to_json(), **view.groups_to_json(), "history": 0}.keys() == view.to_json().keys()


def test_a_map_that_is_removed_while_it_is_shown():
    """The last that was seen stays, marked as removed, with nothing to press."""
    m = wingspan.map(abs, [1], pool="local", options=ONE)
    m.wait(timeout=PATIENCE)
    shown, seen = live(MapSource(m)), []
    end = shown.watch(seen.append)
    until(lambda: seen, "it is shown")
    m.remove()
    until(lambda: seen[-1].is_removed, "it is gone")
    assert seen[-1].states == {"completed": 1}
    assert seen[-1].actions == ()
    assert "was removed" in str(seen[-1].message)
    assert shown.act("rerun")
    end()
    # A cell that shows it afterwards says so, and does not fail.
    told = f"{m!r}\nthe map {m.tag!r} was removed\nHint: make it again"
    assert m._repr_mimebundle_() == ({"text/plain": told}, {})
    assert re.fullmatch(
        r"<pre>&lt;wingspan\.Map .*&gt;\n.* was removed\n.*</pre>", m._display_()._repr_html_()
    )


def test_a_map_that_cannot_be_read_for_a_moment(failing):
    """It is not taken for removed: what was seen last stays, with the reason, until it can be read again."""
    shown = live(MapSource(failing))
    states = shown.view().states
    results = failing.path / "results"
    results.rename(failing.path / "elsewhere")
    view = shown.view()
    assert (view.states, view.is_removed) == (states, False)
    assert "results" in str(view.message)
    (failing.path / "elsewhere").rename(results)
    view = shown.view()
    assert (view.message, view.actions) == (None, ("rerun",))


def test_large_values_are_not_read_by_who_only_looks():
    """A large input and a large output are told of, and not loaded."""
    m = wingspan.map(bytes, [1 << 20], pool="local", options=ONE)
    large = wingspan.map(len, [bytes(LARGE_INPUT + 1)], pool="local", options=ONE)
    for one, name, how in ((m, "output", "m[0]"), (large, "input", "m.input(0)")):
        one.wait(timeout=PATIENCE)
        assert dict(MapSource(one).detail(0).texts)[name] == f"it is large: {how} reads it"
        one.remove()


def test_the_grid_of_a_map(failing):
    """By state, and by what was measured; whatever numbers a browser sends."""
    shown = live(MapSource(failing))
    cells = shown.cells(0, 12, "state")
    assert cells.data[::2] == bytes([1, 2, 2, 1, 1, 2, 1, 1, 1, 2, 1, 1])
    measured = shown.cells(0, 12, "memory")
    assert all(measured.data)
    assert measured.low is not None
    assert shown.cells(-5, 10**9, "state").data == cells.data
    assert shown.cells(50, 3, "state").first == 11


# -- reports -------------------------------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def check_self_contained(text: str) -> Page:
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "a"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name in ("src", "href", "onclick", "onload")]
    assert "\x1b" not in text
    return page


def test_the_report_of_a_map(failing, tmp_path):
    """One file: nothing in it is loaded or executed; it has all that was asked about, and hostile text as
    text.
    """
    path = failing.report(tmp_path / "report.html")
    page = check_self_contained(path.read_text())
    assert page.tags.count("svg") >= 4
    for word in (
        "Over time",
        "Runtimes",
        "Memory",
        "In the queue",
        "Hosts",
        "Errors",
        "ValueError",
        "goodput",
    ):
        assert word in page.text
    assert "<script>alert(1)</script>" in page.text
    assert not [one.name for one in tmp_path.iterdir() if one.name.startswith(".")]


def test_the_report_goes_where_one_is(failing, tmp_path, monkeypatch):
    """Without a path it is in the current folder, named after the tag; a folder that is not there is an
    error, and leaves nothing.
    """
    monkeypatch.chdir(tmp_path)
    assert failing.report() == tmp_path / f"wingspan-{failing.tag}.html"
    with pytest.raises(OSError, match=r"nowhere/r\.html"):
        failing.report(tmp_path / "nowhere" / "r.html")


def test_the_report_is_closed_to_others_and_follows_no_link(failing, tmp_path):
    """It says what the map's files say, and nobody else reads those; in a folder that others may write to, a
    link under the name of a file that stands in for it leads nowhere.
    """
    kept = tmp_path / "kept"
    kept.write_text("mine")
    (tmp_path / f".r.html.{os.getpid()}").symlink_to(kept)
    path = failing.report(tmp_path / "r.html")
    assert kept.read_text() == "mine"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_report_while_it_goes_on(tmp_path):
    """Nothing need be finished: a report tells what there is."""

    def component(number, gate=str(tmp_path / "gate")):
        import time

        while not os.path.exists(gate):  # noqa: PTH110 - in a worker
            time.sleep(0.05)

    m = wingspan.map(component, range(2), pool="local", options=ONE)
    page = check_self_contained(m.report(tmp_path / "r.html").read_text())
    assert "going on" in page.text
    (tmp_path / "gate").touch()
    m.wait(timeout=PATIENCE)
    m.remove()


def test_advice_follows_what_was_used(tmp_path):
    """A map that asked for far more memory than it used is told what would do."""
    options = wingspan.Options(workers=1, request_memory="8GB")
    m = wingspan.map(abs, range(3), pool="local", options=options)
    m.wait(timeout=PATIENCE)
    text = Page(m.report(tmp_path / "r.html").read_text()).text
    assert re.search(r'request_memory="\d+MB" would let more jobs run', text)
    m.remove()


def command(*words: str, code: int = 0, **environ: str) -> str:
    done = wingspan_here(*words, env=environ)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_a_run_and_its_report(tmp_path, monkeypatch):
    """A sweep of which a job fails: the view, the detail of a job, the report by command."""
    monkeypatch.chdir(tmp_path)
    run = wingspan.run(
        ["sh", "-c", "echo $CODE; exit $CODE"], sweep={"CODE": ["0", "3", "0"]}, pool="local", name="swept"
    )
    until(lambda: all(job.is_final for job in run.status().jobs), "all jobs have ended")
    shown = live(RunSource(run))
    view = shown.view()
    assert (view.kind, view.components, view.is_done) == ("run", 3, True)
    assert view.states == {"completed": 2, "errored": 1}
    assert [(group.kind, group.component) for group in view.errors] == [("exit code 3", 1)]
    assert view.actions == ("rerun",)
    detail = shown.detail(1)
    assert ("CODE", "3") in detail.facts
    assert dict(detail.texts)["stdout"] == "3\n"
    assert shown.cells(0, 3, "state").data[::2] == bytes([1, 2, 1])
    assert command("report", "swept").strip() == str(tmp_path / "wingspan-swept.html")
    assert "exit code 3" in check_self_contained((tmp_path / "wingspan-swept.html").read_text()).text
    run.remove()


def test_a_report_of_nothing(tmp_path):
    """A tag that nobody gave is an error with a hint."""
    assert "no map has the tag" in command("report", "nothing-of-that-name", code=1)


def test_top(failing):
    """What is going on, once, for people and as JSON; what is done only when it is asked for."""
    told = json.loads(command("top", "--all", "--json"))
    mine = [view for view in told if view["name"] == failing.tag]
    assert mine[0]["states"] == {"completed": 8, "errored": 4}
    assert failing.tag in command("top", "--all", "--once")
    assert failing.tag not in command("top", "--once")


def test_the_dashboard_as_text(failing):
    """Outside of notebooks it is a line for each."""
    assert f"map {failing.tag}: " in repr(wingspan.dashboard())


def test_outside_of_notebooks_there_is_no_widget(failing):
    """A map is shown as text and a still picture where no notebook asks."""
    assert importlib.import_module("ipykernel.kernelapp")  # as in a program that runs notebooks
    assert not in_notebook()
    assert not is_watched()
    bundle, _ = failing._repr_mimebundle_()
    assert bundle.keys() == {"text/plain", "text/html"}
    assert "&lt;locals&gt;" in bundle["text/html"]


def test_what_colab_is_given(failing, monkeypatch):
    """Colab loads other people's widgets only where the output says where the manager of these is: that comes
    along, with the still picture.
    """
    pytest.importorskip("anywidget")
    colab = types.ModuleType("google.colab.output")
    colab.enable_custom_widget_manager = lambda: None
    colab._widgets = types.SimpleNamespace(_installed_url="https://colab.invalid/manager.js")
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setitem(sys.modules, "google.colab.output", colab)
    for shown in (failing, wingspan.dashboard()):
        data, about = shown._repr_mimebundle_()
        widget = "application/vnd.jupyter.widget-view+json"
        assert {"text/plain", "text/html", widget} <= data.keys()
        assert about[widget]["colab"]["custom_widget_manager"]["url"] == "https://colab.invalid/manager.js"


def test_scripts_are_modules_that_load_nothing():
    """What anywidget is given is one module without imports, whose default export renders: VS Code and Colab
    load it from memory.
    """
    pytest.importorskip("anywidget")
    for one in (live_widget_class(), _widget_class()):
        assert re.search(r"^export default { render };$", one._esm, re.MULTILINE)
        assert not re.search(r"\bimport\b\s*[\w{*('\"]", one._esm)
        assert "url(" not in one._css


def test_what_vs_code_finds():
    """VS Code's Jupyter extension takes a widget's module from the kernel's environment, without the network:
    there an entry script maps the module's name to a file, and that file has the model and the view that
    our widgets name.
    """
    pytest.importorskip("anywidget")
    shared = Path(sys.prefix, "share/jupyter")
    found = {}
    for entry in shared.glob("nbextensions/*/extension.js"):
        # What follows the last brace of what require's configuration is given: VS Code reads it as text, too.
        for given in re.findall(r"require(?:js)?\??\.config\(([^)]*)\)", entry.read_text()):
            innermost = given.rpartition("{")[2].partition("}")[0]
            found |= re.findall(r"[\"']?([\w@/.-]+)[\"']?\s*:\s*[\"']([^\"']+)[\"']", innermost)
    for one in (live_widget_class(), _widget_class()):
        assert one._model_module.default_value == one._view_module.default_value == "anywidget"
        module = (shared / f"{found['anywidget']}.js").read_text()
        assert re.search(r"\bdefine\(\s*\[", module)
        for name in (one._model_name, one._view_name):
            assert name.default_value in module


def test_what_marimo_is_given(failing, monkeypatch):
    """marimo asks by a method of its own: it gets the live view, and the still picture where anywidget is
    missing.
    """
    anywidget = pytest.importorskip("anywidget")
    for shown in (failing, wingspan.dashboard()):
        drawn = shown._display_()
        assert isinstance(drawn, anywidget.AnyWidget)
        drawn.close()
    monkeypatch.setitem(sys.modules, "anywidget", None)
    classes = [live_widget_class, _widget_class]
    for one in classes:
        one.cache_clear()
    try:
        assert failing._display_()._repr_html_() == failing._repr_html_()
        assert failing.tag in wingspan.dashboard()._display_()._repr_html_()
    finally:
        for one in classes:
            one.cache_clear()


def test_an_unknown_action_is_an_error(failing):
    """Only what the view offers can be done."""
    with pytest.raises(WingspanError):
        MapSource(failing).act("explode")


def test_files_that_faces_are_made_of_travel_with_the_package():
    """Scripts and styles are there after an installation; they name no other server."""
    folder = Path(wingspan.__file__).parent / "views" / "static"
    names = {path.name for path in folder.iterdir()}
    assert {"view.js", "view.css", "widget.js", "list.js", "page.html", "page.js", "report.css"} <= names
    for path in folder.iterdir():
        addresses = re.findall(r"https?://[^\"'\s)]+", path.read_text())
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}  # a name, not a place
