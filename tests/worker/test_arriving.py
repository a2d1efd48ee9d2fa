"""Files that components get, and where they lie: no two of them in one place, whatever they are called."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wingspan.worker.arriving import Arrivals, name_of
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
    ],
)
def test_the_name_under_which_a_file_arrives(source: str, name: str) -> None:
    """It is the last part of its path."""
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
