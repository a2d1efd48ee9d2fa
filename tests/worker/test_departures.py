"""Files that components send: where they lie on the access point, and when anybody sees them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from wingspan.worker.arriving import Arrivals
from wingspan.worker.departing import Departures, folder_name
from wingspan.worker.trust import BadName


def _departures(tmp_path: Path, **plan: Any) -> Departures:
    """What sends the files of worker 3's first start, which works in the folder ``work``."""
    (tmp_path / "map" / "output_files").mkdir(parents=True, exist_ok=True)
    (tmp_path / "work").mkdir(exist_ok=True)
    os.chdir(tmp_path / "work")
    setting = {"plan": plan, "transport": "file", "map": str(tmp_path / "map"), "worker": "3.0"}
    return Departures(setting, None)


@pytest.fixture(autouse=True)
def _back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tests work in folders of their own; afterwards this process is where it was."""
    monkeypatch.chdir(tmp_path)


def _tree(folder: Path) -> dict[str, str]:
    """The files below a folder, and what is in them."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_nobody_sees_what_a_component_sends_before_it_is_done(tmp_path: Path) -> None:
    """Until then the files lie in a hidden folder; then it has the name that round and worker give it."""
    departures = _departures(tmp_path)
    Path("a.txt").write_text("A")
    departures.send(2, 5, ("a.txt",))
    assert _tree(tmp_path / "map" / "output_files") == {"5/.2-3.0/a.txt": "A"}
    departures.finish()
    assert folder_name(2, "3.0") == "2-3.0"
    assert _tree(tmp_path / "map" / "output_files") == {"5/2-3.0/a.txt": "A"}


def test_each_component_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """What the component before has sent is not among the files of the next."""
    departures = _departures(tmp_path)
    for component in (0, 1):
        Path(f"{component}.txt").write_text(str(component))
        departures.send(0, component, (f"{component}.txt",))
        departures.finish()
    assert _tree(tmp_path / "map" / "output_files") == {"0/0-3.0/0.txt": "0", "1/0-3.0/1.txt": "1"}


def test_a_folder_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    """Paths in it are kept, and links are followed."""
    departures = _departures(tmp_path)
    Path("tree/deep").mkdir(parents=True)
    Path("tree/deep/x").write_text("x")
    Path("tree/y").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").write_text("linked")
    departures.send(0, 0, ("tree",))
    departures.finish()
    assert _tree(tmp_path / "map/output_files") == {"0/0-3.0/tree/deep/x": "x", "0/0-3.0/tree/y": "linked"}


def test_the_working_folder_itself_can_be_sent(tmp_path: Path) -> None:
    """Its files arrive under their own names, and not in a folder called ``.``."""
    departures = _departures(tmp_path)
    Path("x").write_text("x")
    departures.send(0, 0, (Path(),))
    departures.finish()
    assert _tree(tmp_path / "map" / "output_files") == {"0/0-3.0/x": "x"}


def test_a_file_from_elsewhere_arrives_under_its_name(tmp_path: Path) -> None:
    """A file outside the working folder cannot leave the map's folder: only the last part of its path
    counts.
    """
    departures = _departures(tmp_path)
    (tmp_path / "elsewhere").write_text("e")
    departures.send(0, 0, (tmp_path / "elsewhere",))
    departures.finish()
    assert _tree(tmp_path / "map" / "output_files") == {"0/0-3.0/elsewhere": "e"}


def test_all_are_there_or_none_is_sent(tmp_path: Path) -> None:
    """With one missing file nothing is sent, and the error names it."""
    departures = _departures(tmp_path)
    Path("here").write_text("h")
    with pytest.raises(FileNotFoundError, match="missing"):
        departures.send(0, 0, ("here", "missing"))
    departures.finish()
    assert _tree(tmp_path / "map" / "output_files") == {}
    assert departures.take_sent() == set()


def test_names_that_are_no_names_on_the_access_point_are_refused(tmp_path: Path) -> None:
    """A control character in a name is an error that shows its code; nothing is sent."""
    departures = _departures(tmp_path)
    Path("good").write_text("g")
    Path("bad\n").write_text("b")
    with pytest.raises(BadName, match=r"it has the character U\+000A"):
        departures.send(0, 0, ("good", "bad\n"))
    assert _tree(tmp_path / "map" / "output_files") == {}


def test_two_files_do_not_meet_in_one_place(tmp_path: Path) -> None:
    """Two files that would have one name, or one destination, are refused, and nothing is sent: one of them
    would be lost. A file that is named twice is one file.
    """
    departures = _departures(tmp_path, remaps={"y": f"{tmp_path}/target"})
    for name in ("x", "work/y", "work/deep/y", "work/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    with pytest.raises(
        ValueError, match=rf"^{tmp_path}/x and {tmp_path}/work/x would both be sent to x: rename"
    ):
        departures.send(0, 0, (tmp_path / "x", "x"))
    with pytest.raises(
        ValueError, match=rf"/y and {tmp_path}/work/deep/y would both be sent to {tmp_path}/target"
    ):
        departures.send(0, 0, ("y", "deep"))
    assert not (tmp_path / "target").exists()
    departures.send(0, 0, ("x", tmp_path / "work" / "x", "y", "y"))
    departures.finish()
    assert _tree(tmp_path / "map" / "output_files") == {"0/0-3.0/x": "work/x"}
    assert (tmp_path / "target").read_text() == "work/y"


def test_a_pipe_cannot_be_sent(tmp_path: Path) -> None:
    """What is neither a file nor a folder is refused, and nobody waits for somebody to write into it."""
    departures = _departures(tmp_path)
    os.mkfifo("pipe")
    with pytest.raises(OSError, match=r"pipe is neither a file nor a folder, and cannot be sent"):
        departures.send(0, 0, ("pipe",))


def test_a_folder_that_leads_into_itself_is_refused(tmp_path: Path) -> None:
    """A link to a folder that contains it would have no end: the error names the link."""
    departures = _departures(tmp_path)
    Path("tree").mkdir()
    Path("tree/again").symlink_to("..")
    with pytest.raises(
        OSError, match=r"tree/again/tree is a link to a folder that contains it: there would be no end"
    ):
        departures.send(0, 0, ("tree",))


def test_what_an_executor_left_that_died_does_not_come_back(tmp_path: Path) -> None:
    """The same worker does the component again: of the files that were half sent before, none is shown."""
    old = _departures(tmp_path)
    Path("old").write_text("o")
    old.send(0, 0, ("old",))
    departures = _departures(tmp_path)  # another executor of the same start
    Path("new").write_text("n")
    departures.send(0, 0, ("new",))
    departures.finish()
    assert _tree(tmp_path / "map" / "output_files") == {"0/0-3.0/new": "n"}


def test_done_again_it_replaces_what_it_sent(tmp_path: Path) -> None:
    """A component that the same worker does twice in a round has the files of the second time only."""
    departures = _departures(tmp_path)
    for name in ("first", "second"):
        Path(name).write_text(name)
        departures.send(0, 0, (name,))
        departures.finish()
    assert _tree(tmp_path / "map" / "output_files") == {"0/0-3.0/second": "second"}


def test_a_first_file_that_cannot_be_sent_leaves_no_folder(tmp_path: Path) -> None:
    """Where the file cannot be written the error says so, and nothing stands for sent files: here a file is
    in the way of their folder.
    """
    departures = _departures(tmp_path)
    Path("x").write_text("x")
    (tmp_path / "map" / "output_files" / "0").mkdir()
    (tmp_path / "map" / "output_files" / "0" / ".0-3.0").write_text("in the way")
    with pytest.raises(NotADirectoryError):
        departures.send(0, 0, ("x",))
    departures.finish()
    assert departures.take_sent() == set()
    assert _tree(tmp_path / "map" / "output_files") == {"0/.0-3.0": "in the way"}


def test_a_file_with_a_destination_goes_there(tmp_path: Path) -> None:
    """A path on the access point gets the number of the component, missing folders behind it are made, and
    the map's own folder gets nothing.
    """
    target = f"{tmp_path}/data/{{component}}/deep/result"
    departures = _departures(tmp_path, remaps={"x.csv": target})
    (tmp_path / "data").mkdir()
    Path("x.csv").write_text("x")
    Path("y.csv").write_text("y")
    departures.send(0, 4, ("x.csv",))
    departures.finish()
    assert _tree(tmp_path / "data") == {"4/deep/result": "x"}
    assert _tree(tmp_path / "map" / "output_files") == {}
    departures.send(0, 4, ("y.csv",))  # it has no destination
    departures.finish()
    assert _tree(tmp_path / "map" / "output_files") == {"4/0-3.0/y.csv": "y"}


def test_components_may_have_destinations_of_their_own(tmp_path: Path) -> None:
    """A list has a table for each component."""
    remaps = [{}, {"x": f"{tmp_path}/one"}]
    departures = _departures(tmp_path, remaps=remaps)
    Path("x").write_text("x")
    for component in (0, 1):
        departures.send(0, component, ("x",))
        departures.finish()
    assert (tmp_path / "one").read_text() == "x"
    assert _tree(tmp_path / "map" / "output_files") == {"0/0-3.0/x": "x"}


def test_a_folder_of_the_owner_that_is_missing_is_not_made(tmp_path: Path) -> None:
    """A destination in a folder that is not there is an error: perhaps a disk is not mounted."""
    departures = _departures(tmp_path, remaps={"x": f"{tmp_path}/not mounted/x"})
    Path("x").write_text("x")
    with pytest.raises(FileNotFoundError, match="not mounted"):
        departures.send(0, 0, ("x",))
    assert not (tmp_path / "not mounted").exists()


def test_a_destination_may_be_a_url(tmp_path: Path) -> None:
    """The number of the component stands in it, too, and the file is whole there."""
    departures = _departures(tmp_path, remaps={"x": f"file://{tmp_path}/urls/{{component}}.x"})
    Path("x").write_text("x")
    departures.send(0, 12, ("x",))
    departures.finish()
    assert _tree(tmp_path / "urls") == {"12.x": "x"}
    assert _tree(tmp_path / "map" / "output_files") == {}


def test_paths_are_those_of_the_component_where_it_has_a_folder(tmp_path: Path) -> None:
    """With files of components, the folder of the component counts; what it has neither sent nor kept, and
    did not get, is told of when it is done.
    """
    setting = {"plan": {}, "transport": "file", "map": str(tmp_path / "map"), "worker": "0.0"}
    (tmp_path / "map" / "output_files").mkdir(parents=True)
    arrivals = Arrivals(setting, str(tmp_path))
    departures = Departures(setting, arrivals)
    arrivals.begin("0")
    Path(arrivals.folder, "got").write_text("input")
    arrivals.enter()
    for name in ("sent/x", "kept/x", "forgotten", ".hidden", "core"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(name)
    departures.send(0, 0, ("sent",))
    departures.keep(["kept/x"])
    sent = departures.take_sent()
    assert sent == {"sent", "kept"}
    header, payload = arrivals.leave(sent)
    arrivals.clear()
    assert payload == b'["forgotten"]'
    assert len(header) > 0
    assert departures.take_sent() == set()
    departures.finish()
    assert _tree(tmp_path / "map" / "output_files") == {"0/0-0.0/sent/x": "sent/x"}


def test_nothing_is_missed_where_components_share_a_folder(tmp_path: Path) -> None:
    """Without folders of their own nobody asks what they left: what is kept is not noted."""
    departures = _departures(tmp_path)
    departures.keep(["x"])
    assert departures.take_sent() == set()
