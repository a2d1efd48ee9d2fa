"""`TransferPath`: in a session it is a path, and a URL keeps what it is."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path, PurePosixPath

import pytest

from wingspan.worker.transfer_path import TransferPath

URL = TransferPath("https://example.org/data/a.csv")


@pytest.mark.parametrize(
    ("given", "url"),
    [
        (TransferPath("/data/a b"), "file:///data/a b"),
        (TransferPath("https://h/x.csv"), "https://h/x.csv"),
        (TransferPath("osdf:///ospool/x"), "osdf:///ospool/x"),
        (TransferPath("in/x", "s3", "host"), "s3://host/in/x"),
        (TransferPath("/in/x", "s3"), "s3:///in/x"),
        (TransferPath("https://h"), "https://h"),
        (TransferPath("https://h/get?from=https://other//x"), "https://h/get?from=https://other//x"),
        (TransferPath("s3://h/folder/"), "s3://h/folder/"),
        (TransferPath("s3://h/a//b") / "c", "s3://h/a/b/c"),
        (TransferPath(".", "s3", "h"), "s3://h"),
        (TransferPath(URL), "https://example.org/data/a.csv"),
        (TransferPath(URL, location="other"), "https://other/data/a.csv"),
        (TransferPath(URL, protocol="s3"), "s3://example.org/data/a.csv"),
    ],
)
def test_urls_come_back_as_they_were_given(given: TransferPath, url: str) -> None:
    """Whole, in parts or from another one: protocol, host and path are those that were given."""
    assert given.as_url() == url
    again = pickle.loads(pickle.dumps(given))
    assert (again, again.as_url()) == (given, url)


def test_a_relative_path_is_whole_in_its_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder stands before it."""
    monkeypatch.chdir(tmp_path)
    assert TransferPath("a/b").as_url() == f"file://{tmp_path}/a/b"


def test_a_path_object_is_no_url() -> None:
    """A `pathlib.Path` that looks like a URL is a path."""
    path = TransferPath(Path("https://h/x"))
    assert (path.protocol, path.location, str(path)) == (None, None, "https:/h/x")


def test_a_host_needs_a_protocol() -> None:
    """Where a host is given without a protocol nobody knows how to get the file."""
    with pytest.raises(ValueError, match=r"the location 'host' is given without a protocol"):
        TransferPath("x", location="host")


def test_paths_are_put_together_from_both_sides() -> None:
    """``/`` makes one of the same protocol and host, whatever stands on the other side."""
    assert URL / "b" == TransferPath("https://example.org/data/a.csv/b")
    assert TransferPath("a") / Path("b") == TransferPath("a/b")
    assert "a" / TransferPath("b") == TransferPath("a/b")
    assert Path("a") / TransferPath("b") == Path("a/b")


def test_what_pathlib_answers_travels_too(tmp_path: Path) -> None:
    """Methods and properties that give a path give one that travels, of the same host; also those in a
    folder.
    """
    assert URL.parent == TransferPath("https://example.org/data")
    assert URL.with_suffix(".txt") == TransferPath("https://example.org/data/a.txt")
    assert (URL.name, URL.suffix, URL.is_absolute()) == ("a.csv", ".csv", True)
    (tmp_path / "x").write_text("content")
    folder = TransferPath(tmp_path)
    for found in (folder.iterdir(), folder.glob("*"), folder.rglob("x")):
        paths = list(found)
        assert paths == [TransferPath(tmp_path / "x")]
        assert type(paths[0]) is TransferPath
    assert type(folder.resolve()) is TransferPath


def test_files_are_opened_as_by_pathlib(tmp_path: Path) -> None:
    """It is read and written by its own methods, and by whatever takes a path."""
    path = TransferPath(tmp_path / "x")
    path.write_text("one\ntwo\n")
    with path.open() as file:
        assert list(file) == ["one\n", "two\n"]
    with open(path) as file:  # noqa: PTH123 - what takes a path takes this one
        assert file.read() == path.read_text()
    assert os.fspath(path) == str(tmp_path / "x")
    assert path.exists()


@pytest.mark.parametrize("name", ["open", "read_text", "exists", "iterdir"])
def test_what_is_behind_a_url_is_not_read_in_a_session(name: str) -> None:
    """A method that would look at this machine's disk for a URL is an error that names the URL."""
    with pytest.raises(
        AttributeError, match=f"https://example.org/data/a.csv is a URL: its {name} cannot be had"
    ):
        getattr(URL, name)


def test_what_paths_do_not_have_it_does_not_have() -> None:
    """Neither attributes nor special methods come from nowhere; those of paths are listed."""
    with pytest.raises(AttributeError, match="no_such"):
        _ = TransferPath("x").no_such
    with pytest.raises(AttributeError, match="__array__"):
        _ = TransferPath("x").__array__
    assert {"read_text", "as_url", "parent"} <= set(dir(TransferPath("x")))


def test_it_equals_the_path_that_it_is() -> None:
    """With a `pathlib.Path` it is equal and has its hash, a URL is not, nor is a text."""
    assert TransferPath("a/b") == Path("a/b") == TransferPath("a/b")
    assert hash(TransferPath("a/b")) == hash(Path("a/b"))
    assert TransferPath("s3://h/a") != PurePosixPath("/a")
    assert TransferPath("s3://h/a") != TransferPath("s3://other/a")
    assert hash(TransferPath("s3://h/a")) == hash(TransferPath("/a", "s3", "h"))
    assert TransferPath("a") != "a"


def test_paths_have_an_order() -> None:
    """Sorted they stand by protocol, host and path, plain ones first, `pathlib.Path` among them."""
    paths = [TransferPath("s3://h/a"), TransferPath("b"), TransferPath("https://h/b"), TransferPath("a")]
    assert [str(path) for path in sorted(paths)] == ["a", "b", "https://h/b", "s3://h/a"]
    assert TransferPath("a") < Path("b") <= TransferPath("b")
    with pytest.raises(TypeError, match="not supported"):
        _ = TransferPath("a") < "b"  # type: ignore[operator]


@pytest.mark.parametrize("one", [TransferPath("a/b"), URL], ids=["path", "url"])
def test_copies_are_equal(one: TransferPath) -> None:
    """Pickled, copied, or made from what it shows, it is the same."""
    for same in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one), TransferPath(str(one))):
        assert same == one
        assert (same.protocol, same.location) == (one.protocol, one.location)
    assert repr(one) == f"TransferPath({str(one)!r})"


def test_folders_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder and the home folder are those of pathlib."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert TransferPath.cwd() == tmp_path
    assert TransferPath.home() == tmp_path / "home"


def test_a_pickler_that_takes_files_is_told_of_it() -> None:
    """Where it goes to a worker, its pickle is what that pickler makes of it."""
    assert URL.reduce_with_files(lambda one: ("file", one.as_url())) == (
        "file",
        "https://example.org/data/a.csv",
    )
