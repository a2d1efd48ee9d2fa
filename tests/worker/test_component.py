"""What a component's function asks of Wingspan: at the desk, where it is a stand-in, and at work."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import wingspan.worker
from wingspan.worker import formats, hearing, inside, loaded, words_of_htmap

# -- at the desk ---------------------------------------------------------------------------------------------


def test_at_the_desk_there_is_a_stand_in(own_scratch):
    """It is the same one each time, is no component of a map, and its random numbers repeat."""
    here = inside.component()
    assert inside.component() is here
    assert (here.number, here.attempt, here.tag, here.restored) == (None, 1, None, False)
    assert repr(here) == "<wingspan component, at the desk>"
    assert here.seed == here.seed < 2**128
    assert here.random().random() == here.random().random()


def test_at_the_desk_the_scratch_folder_is_empty(own_scratch):
    """It is one folder, made when it is asked for, where this process may put files."""
    here = inside.component()
    assert list(own_scratch.scratch.iterdir()) == []
    assert here.scratch == here.scratch
    assert here.scratch.parent == own_scratch.scratch
    assert list(here.scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ((0.5, "reading\n  lines"), " 50 % reading lines\n"),
        ((7,), "100 %\n"),
        ((-1, ""), "  0 %\n"),
        ((1, "x" * 500), "100 % " + "x" * 200 + "\n"),
    ],
)
def test_at_the_desk_progress_is_printed(own_scratch, capsys, said, shown):
    """In percent between 0 and 100, with one line of at most 200 characters."""
    inside.component().progress(*said)
    assert capsys.readouterr().err == shown


def test_a_progress_that_is_no_number_is_refused(own_scratch):
    """NaN would be shown as anything: it is an error of the function."""
    with pytest.raises(ValueError, match="the fraction is no number"):
        inside.component().progress(float("nan"))


def test_at_the_desk_a_missing_file_is_told(own_scratch):
    """Nothing is sent or kept there, but what would fail on a worker fails here, too."""
    Path("there").write_text("x")
    here = inside.component()
    here.transfer_output_files("there")
    (here.scratch / "file").write_text("x")
    here.checkpoint("there", here.scratch / "file")
    with pytest.raises(FileNotFoundError):
        here.transfer_output_files("there", "missing")
    with pytest.raises(FileNotFoundError):
        here.checkpoint("missing")


def test_a_checkpoint_names_files_that_can_be_put_back(own_scratch, tmp_path):
    """No file at all, or one elsewhere, is an error that says what is wrong."""
    here = inside.component()
    with pytest.raises(ValueError, match="checkpoint: name the files to keep"):
        here.checkpoint()
    with pytest.raises(ValueError, match=r"/elsewhere lies neither in the working folder nor in .*scratch"):
        here.checkpoint(tmp_path / "elsewhere")


def test_the_words_of_htmap_do_nothing_at_the_desk(own_scratch):
    """A function of HTMap's can be tried out there; a destination beside a path is refused everywhere."""
    words_of_htmap.checkpoint("missing")
    words_of_htmap.transfer_output_files("missing")
    with pytest.raises(TypeError, match="MapOptions"):
        words_of_htmap.transfer_output_files(("missing", "s3://bucket/place"))


def test_an_installed_wingspan_asks_the_worker_s_own_copy(own_scratch, monkeypatch):
    """Where Wingspan is installed on a worker, its `component` is that of the worker."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "wingspan_worker"]:
        monkeypatch.delitem(sys.modules, name)
    before = set(sys.modules)
    spec = importlib.util.spec_from_file_location(
        "wingspan_worker", wingspan.worker.__file__, submodule_search_locations=wingspan.worker.__path__
    )
    try:
        sys.modules["wingspan_worker"] = importlib.util.module_from_spec(spec)
        of_the_worker = importlib.import_module("wingspan_worker.inside")
        of_the_worker.install(SimpleNamespace(current=lambda: "the component"))
        assert inside.component() == "the component"
    finally:
        for name in set(sys.modules) - before:
            del sys.modules[name]


# -- at work -------------------------------------------------------------------------------------------------


def test_between_two_components_there_is_none(worker):
    """Own code that asks while it is imported gets an error that says for whom `component` is."""
    worker.at = None
    with pytest.raises(RuntimeError, match="no component is being done now"):
        inside.component()


def test_a_component_knows_which_it_is(worker):
    """Its number, attempt and tag; it is one object as long as it is done, and the next is another."""
    worker.at = (2, 1, 9)
    here = inside.component()
    assert (here.number, here.attempt, here.tag) == (9, 2, "a map")
    assert repr(here) == "<wingspan component 9 of a map, attempt 2>"
    assert inside.component() is here
    worker.at = (2, 2, 9)
    assert inside.component() is not here
    assert inside.component().attempt == 3
    assert inside.component().seed == here.seed


def test_components_have_seeds_of_their_own(new_worker):
    """Each number has another one, of 128 bits; the map's seed decides, and 0 where it has none."""
    worker = new_worker()
    seeds = []
    for number in range(3):
        worker.at = (0, 0, number)
        seeds.append(inside.component().seed)
    assert len(set(seeds)) == 3
    assert max(seeds) < 2**128
    other = new_worker(name="1.1", facts={"tag": "another"})
    other.at = (0, 0, 0)
    assert inside.component().seed not in seeds
    assert inside.component().seed == inside.seeds.seed_of(0, 0)


def test_once_is_there_as_a_method(worker, monkeypatch):
    """It is `wingspan.once`: what is loaded is kept for the next component, too."""
    monkeypatch.setattr(loaded, "_loaded", {})
    calls = []
    assert inside.component().once(calls.append, "x") is None
    worker.at = (0, 0, 8)
    inside.component().once(calls.append, "x")
    assert calls == ["x"]


def test_progress_arrives_at_the_owner(worker, monkeypatch):
    """The first is told at once; of those that come soon after only the newest, when it is time."""
    monkeypatch.setattr(hearing, "PROGRESS_SECONDS", 1e9)
    worker.at = (3, 1, 7)
    here = inside.component()
    here.progress(0.25, "a  quarter")
    worker.hear()
    here.progress(0.5)
    here.progress(2)
    worker.hear()
    told = [(kind, *at, json.loads(text)) for kind, *at, text in worker.records()]
    assert told == [(formats.PROGRESS, 3, 1, 7, {"fraction": 0.25, "message": "a quarter"})]
    worker.hearing.progress.tell(1e12)
    assert json.loads(worker.records()[-1][-1]) == {"fraction": 1.0, "message": ""}
    assert len(worker.records()) == 2


def test_the_next_component_need_not_wait_with_its_progress(worker, monkeypatch):
    """What another component says is told at once, and what is left of one that is done is told no more."""
    monkeypatch.setattr(hearing, "PROGRESS_SECONDS", 1e9)
    for at, fraction in (((0, 0, 7), 0.1), ((0, 0, 8), 0.2), ((0, 0, 8), 0.3)):
        worker.at = at
        inside.component().progress(fraction)
        worker.hear()
    worker.hearing.done([8], [])
    worker.hearing.progress.tell(1e12)
    assert [(index, json.loads(text)["fraction"]) for *_, index, text in worker.records()] == [
        (7, 0.1),
        (8, 0.2),
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "nothing that is known", "at": [0, 0, 1]},
        {"at": [0, 0, 1]},
        {"kind": "progress", "fraction": 0.5, "message": ""},
        {"kind": "progress", "at": [0, 1], "fraction": 0.5, "message": ""},
        {"kind": "progress", "at": [0, -1, 1], "fraction": 0.5, "message": ""},
        {"kind": "progress", "at": ["0", 0, 1], "fraction": 0.5, "message": ""},
        {"kind": "progress", "at": [0, 0, 1], "fraction": "half", "message": ""},
        {"kind": "progress", "at": [0, 0, 1], "fraction": 0.5, "message": None},
    ],
)
def test_messages_that_nobody_understands_are_left_out(worker, fields):
    """The user's code may write anything into the pipe: it makes no record, and the next message counts."""
    worker.ends.speaker.say(**fields)
    inside.component().progress(0.5, "fine")
    worker.hear()
    ((kind, _, _, index, text),) = worker.records()
    assert (kind, index, json.loads(text)) == (formats.PROGRESS, 7, {"fraction": 0.5, "message": "fine"})


# -- scratch folders and files that are sent -----------------------------------------------------------------


def test_the_scratch_folder_goes_with_the_component(worker, own_scratch):
    """It is removed with what is in it, and the next component has another, empty one."""
    first = inside.component().scratch
    (first / "file").write_text("x")
    assert worker.work.open
    worker.work.clear()
    assert list(own_scratch.scratch.iterdir()) == []
    assert not worker.work.open
    assert list(inside.component().scratch.iterdir()) == []


def test_a_fork_of_the_function_makes_no_scratch_folder(worker):
    """Only the component's own process would remove it: the error says what to do."""
    worker.work.pid = os.getpid() + 1
    with pytest.raises(RuntimeError, match=r"call wingspan\.component\(\)\.scratch there first"):
        _ = inside.component().scratch


def sent(worker):
    """Files of components in the map's folder, by their paths."""
    top = Path(worker.transport.folder, "output_files")
    return {path.relative_to(top).as_posix(): path.read_text() for path in top.rglob("*") if path.is_file()}


def test_files_that_are_sent_count_when_the_component_is_done(worker, tmp_path):
    """Folders go with all in them; a file from elsewhere has its last name. Until then another folder has
    them.
    """
    Path("in/deep").mkdir(parents=True)
    Path("in/deep/a").write_text("A")
    Path("in/b").write_text("B")
    (tmp_path / "away").write_text("C")
    inside.component().transfer_output_files("in", tmp_path / "away")
    inside.component().transfer_output_files("in/b")
    assert sent(worker) == {"7/.0-1.0/in/deep/a": "A", "7/.0-1.0/in/b": "B", "7/.0-1.0/away": "C"}
    worker.work.finish()
    assert sent(worker) == {"7/0-1.0/in/deep/a": "A", "7/0-1.0/in/b": "B", "7/0-1.0/away": "C"}
    assert Path("in/b").read_text() == "B"


def test_what_is_sent_again_replaces_what_was_sent(worker):
    """The newest contents of a file count, also after the component was done and is done again."""
    for text in ("old", "new"):
        Path("a").write_text(text)
        words_of_htmap.transfer_output_files("a")
    worker.work.finish()
    assert sent(worker) == {"7/0-1.0/a": "new"}
    Path("a").write_text("newest")
    inside.component().transfer_output_files("a")
    worker.work.finish()
    assert sent(worker) == {"7/0-1.0/a": "newest"}


def test_a_missing_file_keeps_all_from_being_sent(worker):
    """One wrong name sends none of the others."""
    Path("there").write_text("x")
    with pytest.raises(FileNotFoundError):
        inside.component().transfer_output_files("there", "missing")
    worker.work.finish()
    assert sent(worker) == {}


def test_what_is_no_file_is_not_sent(worker):
    """A pipe, and a folder that holds a link to itself, would have no end: each is refused in words."""
    os.mkfifo("pipe")
    with pytest.raises(OSError, match="pipe is neither a file nor a folder"):
        inside.component().transfer_output_files("pipe")
    Path("pipe").unlink()
    Path("round").mkdir()
    Path("round/about").symlink_to(os.pardir)
    with pytest.raises(OSError, match="there would be no end to sending"):
        inside.component().transfer_output_files("round")


def test_files_that_cannot_be_put_in_place_fail_the_component(worker):
    """Unless it has failed anyway: then its own error is the one to tell."""
    Path("a").write_text("x")
    for failed in (True, False):
        inside.component().transfer_output_files("a")
        worker.transport.remove_tree("output_files/7")
        if failed:
            worker.work.finish(failed=True)
        else:
            with pytest.raises(FileNotFoundError):
                worker.work.finish()
