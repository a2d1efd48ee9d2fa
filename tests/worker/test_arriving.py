"""Files that components get, and where they lie: no two of them in one place, whatever they are called."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wingspan.worker import formats
from wingspan.worker.arriving import Arrivals, name_of, setting_of
from wingspan.worker.new_files import MOST_TOLD
from wingspan.worker.transports import FileTransport
from wingspan.worker.urls import fetch, path_of, send

#: Few names, numbers among them as folders are numbered, so that they meet.
NAMES = st.lists(st.tuples(st.sampled_from(["1", "2", "3", "x", "1/x", "2/1"]), st.booleans()), max_size=8)


def _spec(path: Path) -> Any:
    """What a pickle says of a file or a folder with one file in it."""
    if path.is_dir():
        status = (path / "in").stat()
        return (
            str(path),
            None,
            None,
            str(path),
            ("folder", [("in", status.st_size, status.st_mtime_ns, False)], []),
        )
    status = path.stat()
    return str(path), None, None, str(path), ("file", status.st_size, status.st_mtime_ns, False)


@settings(max_examples=40)
@given(NAMES, st.sets(st.sampled_from(["1", "x"])))
def test_files_of_equal_names_do_not_meet(
    tmp_path_factory: pytest.TempPathFactory, names: list[tuple[str, bool]], fixed: set[str]
) -> None:
    """Each file keeps its name and its content, beside others of that name, numbered folders and files of
    the map; asked for twice, it is there once.
    """
    base = tmp_path_factory.mktemp("base")
    before = Path.cwd()
    for name in fixed:
        (base / "map" / "input_files").mkdir(parents=True, exist_ok=True)
        (base / "map" / "input_files" / name).write_text(f"fixed {name}")
    setting = {
        "plan": {"fixed": [[name, ""] for name in fixed]},
        "transport": "file",
        "map": str(base / "map"),
    }
    arrivals = Arrivals(setting, str(base))
    arrivals.begin("0")
    sources = []
    for number, (name, is_folder) in enumerate(names):
        source = base / f"from-{number}" / name
        source.parent.mkdir(parents=True)
        if is_folder:
            source.mkdir()
            (source / "in").write_text(str(number))
        else:
            source.write_text(str(number))
        sources.append(source)
    places = [arrivals.path(_spec(source)) for source in sources]
    try:
        arrivals.enter()
        assert [arrivals.path(_spec(source)) for source in sources] == places
        for number, (source, place) in enumerate(zip(sources, places, strict=True)):
            assert place.name == source.name
            assert (place / "in" if source.is_dir() else place).read_text() == str(number)
        assert {name: Path(name).read_text() for name in fixed} == {name: f"fixed {name}" for name in fixed}
    finally:
        arrivals.leave(set())
        arrivals.clear()
        os.chdir(before)
    assert not Path(arrivals.folder).exists()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/data/a.csv", "a.csv"),
        ("/data/tree/", "tree"),
        ("https://h/d/a%20b", "a%20b"),
        ("https://h", "h"),
        ("/", "file"),
        ("https://h/d/..", "file"),
        ("https://h/d/.", "file"),
    ],
)
def test_the_name_under_which_a_file_arrives(source: str, name: str) -> None:
    """It is the last part of its path, and never one that leads out of the folder."""
    assert name_of(source) == name


def test_files_behind_file_urls(tmp_path: Path) -> None:
    """file:// URLs name files and folders of this machine, blanks as %20, to read and to write."""
    (tmp_path / "two words").mkdir()
    (tmp_path / "two words" / "x").write_text("1")
    assert path_of("file:///a/two%20words") == "/a/two words"
    fetch(f"file://{tmp_path}/two%20words", str(tmp_path / "copy"))
    assert (tmp_path / "copy" / "x").read_text() == "1"
    send(str(tmp_path / "copy" / "x"), f"file://{tmp_path}/new/deep/x")
    assert (tmp_path / "new" / "deep" / "x").read_text() == "1"
    assert os.listdir(tmp_path / "new" / "deep") == ["x"]
    with pytest.raises(OSError, match="none of HTCondor's transfer plugins here knows nowhere"):
        fetch("nowhere://h/x", str(tmp_path / "y"))


@pytest.fixture
def arrivals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arrivals]:
    """What gets the files of component 0 of a map without any; this process is elsewhere afterwards."""
    (tmp_path / "map").mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    monkeypatch.delenv("_CONDOR_SCRATCH_DIR", raising=False)
    one = Arrivals(_setting(tmp_path), str(tmp_path))
    one.begin("0")
    yield one
    one.leave(set())
    one.clear()


def _setting(
    tmp_path: Path, fixed: tuple[tuple[str, str], ...] = (), transport: str = "file"
) -> dict[str, Any]:
    return {"plan": {"fixed": fixed}, "transport": transport, "map": str(tmp_path / "map"), "worker": "0.0"}


def test_what_an_executor_is_told(tmp_path: Path) -> None:
    """Plain values: what map.json says of files and of a store, the way to the map's folder, and the worker's
    name.
    """
    info = {"files": {"fixed": []}, "store": {"above": 1}, "n": 3}
    told = setting_of(FileTransport(str(tmp_path)), info, "2.1")
    plain = {"transport": "file", "map": str(tmp_path), "worker": "2.1"}
    assert told == {"plan": {"fixed": []}, "store": {"above": 1}, **plain}
    assert json.loads(json.dumps(told)) == told


@pytest.mark.parametrize("change", ["longer", "later"])
def test_a_file_that_has_changed_is_refused(tmp_path: Path, arrivals: Arrivals, change: str) -> None:
    """Another size, or another second in which it was written, is an error that names it: no component
    computes with another file than the one that the map was made with.
    """
    source = tmp_path / "x"
    source.write_text("x")
    spec = _spec(source)
    if change == "longer":
        source.write_text("longer")
        os.utime(source, ns=(spec[4][2], spec[4][2]))
    else:
        os.utime(source, ns=(spec[4][2] + 2 * 10**9, spec[4][2] + 2 * 10**9))
    with pytest.raises(OSError, match=rf"^the input file {source} has changed since the map was made$"):
        arrivals.path(spec)
    assert os.listdir(arrivals.folder) == []


def test_a_file_that_is_gone_is_named(tmp_path: Path, arrivals: Arrivals) -> None:
    """The error is a FileNotFoundError with the path; it says that the worker may not see the file."""
    source = tmp_path / "x"
    source.write_text("x")
    spec = _spec(source)
    source.unlink()
    with pytest.raises(
        FileNotFoundError, match="this input file is not there any more, or not seen here"
    ) as caught:
        arrivals.put_all([spec])
    assert caught.value.filename == str(source)


def test_a_file_in_a_folder_counts_as_the_folder(tmp_path: Path, arrivals: Arrivals) -> None:
    """A folder arrives with empty folders in it; one changed file in it is an error that names the file."""
    source = tmp_path / "tree"
    (source / "empty" / "deep").mkdir(parents=True)
    (source / "in").write_text("1")
    spec = (*_spec(source)[:4], ("folder", _spec(source)[4][1], ["empty", "empty/deep"]))
    arrivals.put_all([spec])
    assert (Path(arrivals.folder) / "tree" / "empty" / "deep").is_dir()
    assert (Path(arrivals.folder) / "tree" / "in").read_text() == "1"
    (source / "in").write_text("22")
    arrivals.begin("1")
    with pytest.raises(OSError, match=rf"the input file {source}/in has changed"):
        arrivals.put_all([spec])


def test_where_the_file_is_seen_nothing_else_is_asked(tmp_path: Path) -> None:
    """On a machine of the pool that sees the file, with size and time to the nanosecond, it is copied from
    its path: the map's folder, which is not there, is not asked.
    """
    source = tmp_path / "x"
    source.write_text("x")
    arrivals = Arrivals(_setting(tmp_path, transport="chirp"), str(tmp_path))
    arrivals.begin("0")
    assert arrivals.path(_spec(source)).read_text() == "x"
    arrivals.clear()


def test_programs_stay_programs_and_copies_are_the_components_own(tmp_path: Path, arrivals: Arrivals) -> None:
    """A program can be executed where it arrives; a component that writes to its copy alters no original."""
    source = tmp_path / "tool"
    source.write_text("#!/bin/sh\n")
    source.chmod(0o755)
    copy = arrivals.path(_spec(source))
    assert os.access(copy, os.X_OK)
    copy.write_text("other")
    assert source.read_text() == "#!/bin/sh\n"


def test_files_behind_urls_arrive_under_their_names(tmp_path: Path, arrivals: Arrivals) -> None:
    """Two URLs with one last part are two files, each with its own content."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text(name)
    specs: list[Any] = [("x", "file", None, f"file://{tmp_path}/{name}/x", None) for name in ("a", "b")]
    first, second = map(arrivals.path, specs)
    assert (first.read_text(), second.read_text()) == ("a", "b")
    assert first.name == second.name == "x"


def test_files_of_all_components_are_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those that came with the job, then those of the map, then those behind URLs, got once; each
    component finds them under their names.
    """
    for folder, names in (("map/input_files", ("sent", "kept")), ("job", ("sent",)), ("web", ("got",))):
        (tmp_path / folder).mkdir(parents=True)
        for name in names:
            (tmp_path / folder / name).write_text(folder)
    monkeypatch.setenv("_CONDOR_SCRATCH_DIR", str(tmp_path / "job"))
    fixed = (("sent", ""), ("kept", ""), ("got", f"file://{tmp_path}/web/got"))
    arrivals = Arrivals(_setting(tmp_path, fixed), str(tmp_path))
    for component in ("0", "1"):
        arrivals.begin(component)
        folder = Path(arrivals.folder)
        assert {path.name: path.read_text() for path in folder.iterdir()} == {
            "sent": "job",
            "kept": "map/input_files",
            "got": "web",
        }
        (tmp_path / "web" / "got").unlink(missing_ok=True)  # it is not got again
        arrivals.clear()
    assert (tmp_path / "map/input_files/kept").read_text() == "map/input_files"  # only the link went


def test_a_missing_file_of_all_components_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The component fails with the path where the map has it; a link in its place is not followed."""
    monkeypatch.delenv("_CONDOR_SCRATCH_DIR", raising=False)
    (tmp_path / "map" / "input_files").mkdir(parents=True)
    (tmp_path / "map" / "input_files" / "x").symlink_to("/etc/passwd")
    arrivals = Arrivals(_setting(tmp_path, (("x", ""),)), str(tmp_path))
    with pytest.raises(FileNotFoundError, match="this input file is not there any more") as caught:
        arrivals.begin("0")
    assert caught.value.filename == str(tmp_path / "map/input_files/x")
    arrivals.clear()


def test_a_component_begins_in_an_empty_folder(arrivals: Arrivals) -> None:
    """What the same component left before, when it was done by this very process, is not there."""
    Path(arrivals.folder, "old").write_text("old")
    arrivals.begin("0")
    assert os.listdir(arrivals.folder) == []


def test_what_a_component_leaves_is_told_of(arrivals: Arrivals) -> None:
    """Its own files, and not what it got, has sent, or what is hidden; of all components of a worker no more
    than the limit. Programs of HTMap's see their variables while it runs, and not afterwards.
    """
    home = Path.cwd()
    Path(arrivals.folder, "got").write_text("input")
    arrivals.enter()
    assert Path.cwd() == Path(arrivals.folder)
    assert (os.environ["HTMAP_ON_EXECUTE"], os.environ["HTMAP_COMPONENT"]) == ("1", "0")
    for name in ("result", "sent", ".hidden", "core"):
        Path(name).write_text(name)
    header, payload = arrivals.leave({"sent"})
    assert Path.cwd() == home
    assert "HTMAP_ON_EXECUTE" not in os.environ
    assert json.loads(payload) == ["result"]
    kind, *_, length = formats.RECORD.unpack(header)
    assert (kind, length) == (formats.LEFT, len(payload))
    arrivals.begin("1")
    arrivals.enter()
    for number in range(MOST_TOLD):
        Path(f"{number:03}").write_text("")
    assert len(json.loads(arrivals.leave(set())[1])) == MOST_TOLD - 1
    arrivals.begin("2")
    arrivals.enter()
    Path("more").write_text("")
    assert arrivals.leave(set()) == (b"", b"")


def test_folders_may_go_while_the_function_runs(tmp_path: Path, arrivals: Arrivals) -> None:
    """A function may remove its own folder, and somebody the worker's: the component is done all the same."""
    arrivals.enter()
    Path(arrivals.folder).rmdir()
    (tmp_path / "home").rmdir()
    assert arrivals.leave(set()) == (b"", b"")


def test_a_component_that_never_began_leaves_nothing(arrivals: Arrivals) -> None:
    """Where its inputs could not be got, what had arrived is not called its own."""
    Path(arrivals.folder, "got").write_text("input")
    assert arrivals.leave(set()) == (b"", b"")
