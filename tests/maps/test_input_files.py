"""Files that travel to components: of the whole map, of one component, and anywhere in the arguments."""

from __future__ import annotations

import collections
import copy
import dataclasses
import os
import pickle
from pathlib import Path
from typing import Any

import attrs
import pytest

import wingspan
from wingspan import Options, TransferPath

Point = collections.namedtuple("Point", "file weight")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The caller's folder: two files of one name, a folder, and one with an odd name."""
    folder = tmp_path / "here"
    (folder / "a").mkdir(parents=True)
    (folder / "b").mkdir()
    (folder / "a" / "x.txt").write_text("ONE")
    (folder / "b" / "x.txt").write_text("TWO")
    (folder / "tree" / "deep").mkdir(parents=True)
    (folder / "tree" / "empty").mkdir()
    (folder / "tree" / "deep" / "leaf").write_text("LEAF")
    (folder / "tree" / "run").write_text("#!/bin/sh\necho ran\n")
    (folder / "tree" / "run").chmod(0o755)
    monkeypatch.chdir(folder)
    return folder


@dataclasses.dataclass(frozen=True)
class Case:
    """A dataclass with a file in it."""

    file: Any


@attrs.frozen
class Attrs:
    """A class of attrs with files in a list."""

    files: list[Any]


def test_a_path_anywhere_in_the_arguments_is_a_copy_on_the_worker(here: Path) -> None:
    """In lists, tuples, named tuples, sets, dicts, dataclasses and attrs classes, nested, a TransferPath
    arrives as a pathlib.Path to the file's content; two of one name do not collide.
    """
    one, two = TransferPath("a/x.txt"), TransferPath(here / "b" / "x.txt")
    given = {
        "list": [one, [two]],
        "named": Point(two, 3),
        "set": {one},
        "data": Case((one, two)),
        "attrs": Attrs([two, one]),
        two: "key",
    }

    def read(given: Any) -> Any:
        import pathlib

        paths = [
            given["list"][0],
            given["list"][1][0],
            given["named"].file,
            *given["set"],
            *given["data"].file,
            *given["attrs"].files,
            next(key for key in given if not isinstance(key, str)),
        ]
        assert all(type(path) is type(pathlib.Path()) for path in paths)
        assert {path.name for path in paths} == {"x.txt"}
        paths[0].write_text("CHANGED")  # a copy
        return [path.read_text() for path in paths[1:]], type(given["named"]).__name__

    m = wingspan.map(read, [given] * 2, pool="local", options=Options(workers=1))
    expected = ["TWO", "TWO", "CHANGED", "CHANGED", "TWO", "TWO", "CHANGED", "TWO"], "Point"
    assert list(m) == [expected] * 2
    assert (here / "a" / "x.txt").read_text() == "ONE"
    assert m.input(0) == given


def test_files_of_the_map_and_of_components(here: Path) -> None:
    """Files of the map and of each component lie in the working folder under their names, folders with
    all that is in them, and what links lead to; the function may write there, and the user's files stay as
    they are.
    """
    (here / "three").write_text("THREE")
    (here / "tree" / "out").symlink_to("../b/x.txt")

    def look(x: int) -> Any:
        names = sorted(path.name for path in Path().iterdir())
        tree = sorted(path.as_posix() for path in Path("tree").rglob("*"))
        Path("x.txt").write_text("CHANGED")
        Path(f"new{x}").write_text("1")
        return (
            names,
            tree,
            Path("three").read_text() + Path("tree/out").read_text(),
            os.access("tree/run", os.X_OK),
        )

    options = Options(
        workers=1, input_files=["tree", here / "three"], component_input_files=["a/x.txt", None, ["b/x.txt"]]
    )
    m = wingspan.map(look, range(3), pool="local", options=options)
    seen = list(m)
    tree = ["tree/deep", "tree/deep/leaf", "tree/empty", "tree/out", "tree/run"]
    assert [names for names, *_ in seen] == [
        ["three", "tree", "x.txt"],
        ["three", "tree"],
        ["three", "tree", "x.txt"],
    ]
    assert seen[0][1:] == (tree, "THREETWO", True)
    assert (here / "a" / "x.txt").read_text() == "ONE"
    assert [m.input(component) for component in range(3)] == [0, 1, 2]
    assert m.left_files == ("new0", "new1", "new2", "x.txt")


def test_a_path_in_the_function_itself_arrives_once_a_worker(here: Path) -> None:
    """What a closure refers to travels, too: folders with it, executable where it was."""
    tree = TransferPath("tree")

    def run(x: int) -> tuple[str, bool]:
        import subprocess

        return subprocess.run([tree / "run"], capture_output=True, text=True).stdout, (
            tree / "empty"
        ).is_dir()

    assert list(wingspan.map(run, range(2), pool="local")) == [("ran\n", True)] * 2


def test_urls_are_got_by_the_worker(here: Path) -> None:
    """file:// and http:// URLs arrive as files, in arguments and for all components; one that nobody knows
    is an error that says so.
    """
    import functools
    import http.server
    import threading

    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(here))
    handler.log_message = lambda *given: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_address[1]}"
        urls = [
            f"{base}/b/x.txt",
            TransferPath(here / "a" / "x.txt").as_url(),
            f"{base}/none",
            "nowhere://h/x",
        ]
        options = Options(input_files=[f"{base}/tree/deep/leaf"])
        m = wingspan.map(
            lambda path: path.read_text() + Path("leaf").read_text(),
            [TransferPath(url) for url in urls],
            pool="local",
            options=options,
        )
        m.wait(errors_ok=True)
        server.shutdown()
    assert m[:2] == ["TWOLEAF", "ONELEAF"]
    assert "404" in m.errors[2].text
    assert "nowhere://h/x cannot be got" in m.errors[3].text
    assert "its server may be down" in str(m.errors[3].hint)


@pytest.mark.parametrize("kind", ["changed", "gone", "unreadable"])
def test_a_file_that_is_not_what_it_was_fails_its_component(
    here: Path, gate: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of one component that changes before the component begins fails this component, and no other;
    the message names it.
    """
    (here / "late").write_text("1")
    wait = gate.wait

    def read(path: Path) -> str:
        wait()
        return path.read_text()

    options = Options(workers=1, block_size=1)
    m = wingspan.map(read, [TransferPath("a/x.txt"), TransferPath("late")], pool="local", options=options)
    if kind == "changed":
        (here / "late").write_text("12")
    elif kind == "gone":
        (here / "late").unlink()
    else:
        (here / "late").unlink()
        (here / "late").mkdir()
    gate.open()
    assert m[0] == "ONE"
    m.wait(errors_ok=True)
    assert str(here / "late") in m.errors[1].text
    assert "changed since the map was made" in m.errors[1].text or "not there any more" in m.errors[1].text


def test_missing_files_are_all_named_before_anything_is_submitted(here: Path) -> None:
    """One error names every file that is missing or cannot travel, wherever it was given, and nothing is
    left.
    """
    (here / "tree" / "dangling").symlink_to("nowhere")
    (here / "loop").mkdir()
    (here / "loop" / "up").symlink_to("..")
    os.mkfifo(here / "pipe")
    options = Options(input_files=["no1"], component_input_files=["no2", "a/x.txt"])
    given = [(TransferPath("no3"), TransferPath("tree")), (TransferPath("loop"), TransferPath("pipe"))]
    with pytest.raises(wingspan.InvalidInputs) as caught:
        wingspan.map(print, given, pool="local", options=options)
    for part in (
        "4 input files are not there",
        "no1",
        "no2",
        "no3",
        "dangling, a link to nothing",
        "loop",
        "pipe",
    ):
        assert part in caught.value.message
    assert wingspan.tags() == ()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"input_files": ["a/x.txt", "b/x.txt"]}, "two input files would have the name 'x.txt'"),
        (
            {"input_files": ["a/x.txt"], "component_input_files": ["b/x.txt", None]},
            "two files with the name 'x.txt'",
        ),
        ({"component_input_files": [["a/x.txt", "b/x.txt"], None]}, "component 0 would get two files"),
        ({"component_input_files": ["a/x.txt"]}, "fewer component_input_files than inputs"),
        ({"component_input_files": ["a/x.txt"] * 3}, "more component_input_files than inputs"),
        ({"input_files": ["https://me:secret@host/x"]}, "a user or a password"),
    ],
)
def test_files_that_contradict_each_other(here: Path, options: dict[str, Any], says: str) -> None:
    """Equal names in one folder, and more or fewer files than inputs, are refused before submitting."""
    with pytest.raises(wingspan.InvalidInputs, match=says):
        wingspan.map(print, range(2), pool="local", options=Options(**options))
    assert wingspan.tags() == ()


@pytest.mark.parametrize("files", [5, [5], {"a": 1}, b"x", [""]])
def test_what_is_no_list_of_files(files: Any) -> None:
    """Options say at once what is no path."""
    with pytest.raises(wingspan.SettingsError, match="input_files"):
        Options(input_files=files)
    with pytest.raises(wingspan.SettingsError, match="input_files"):
        Options(component_input_files="data.csv")


def test_a_transfer_path_is_used_like_a_path(here: Path) -> None:
    """At home it has what pathlib.Path has, and what is made from it is one, too."""
    one = TransferPath("a") / "x.txt"
    assert isinstance(one, TransferPath)
    assert (one.name, one.suffix, one.stem, str(one), os.fspath(one)) == (
        "x.txt",
        ".txt",
        "x",
        "a/x.txt",
        "a/x.txt",
    )
    assert one.read_text() == "ONE"
    assert one.exists()
    with one.open() as file, open(one) as again:  # noqa: PTH123 - as a library does
        assert file.read() == again.read()
    assert one.parent == TransferPath("a")
    assert list(one.parent.iterdir()) == [one]
    assert one.with_suffix(".csv") == TransferPath("a/x.csv")
    assert "here" / TransferPath("x") == TransferPath("here/x")
    assert TransferPath.cwd() == TransferPath(here)
    assert TransferPath.home() == TransferPath(Path.home())
    assert one == Path("a/x.txt")
    assert hash(one) == hash(Path("a/x.txt"))
    assert sorted([TransferPath("b"), TransferPath("a")]) == [TransferPath("a"), TransferPath("b")]
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    assert one.as_url() == f"file://{here}/a/x.txt"
    url = TransferPath("https://host/data/x.csv")
    assert (url.protocol, url.location, url.name) == ("https", "host", "x.csv")
    assert url.as_url() == str(url) == "https://host/data/x.csv"
    assert (url.parent / "y").as_url() == "https://host/data/y"
    assert TransferPath("data/x.csv", protocol="s3", location="s3.host").as_url() == "s3://s3.host/data/x.csv"
    assert TransferPath("osdf:///ns/x").as_url() == "osdf:///ns/x"
    assert TransferPath(url) == url != TransferPath("/data/x.csv")
    with pytest.raises(AttributeError, match="is a URL"):
        url.read_text()
    with pytest.raises(ValueError, match="without a protocol"):
        TransferPath("x", location="host")


def test_a_file_that_was_not_named_gets_a_hint_in_a_folder_of_its_own(here: Path) -> None:
    """Components with a folder of their own do not see the caller's: the error says which file is meant, and
    how to name it.
    """
    options = Options(own_folder=True)
    m = wingspan.map(lambda x: Path("a/x.txt").read_text(), [0], pool="local", options=options)
    m.wait(errors_ok=True)
    hint = str(m.errors[0].hint)
    assert f"a/x.txt is in {here}" in hint
    assert "Options(input_files=['a/x.txt'])" in hint


def test_taking_up_a_map_again_looks_at_its_files(here: Path) -> None:
    """With exist_ok the map is taken up as long as all its files are as they were, wherever they were named;
    else the error says which one has changed.
    """

    def read(path: Path) -> str:
        return path.read_text()

    def make() -> wingspan.Map:
        options = Options(input_files=["tree"], component_input_files=["b/x.txt"])
        paths = [TransferPath("a/x.txt")]
        return wingspan.map(read, paths, tag="read", pool="local", options=options, exist_ok=True)

    first = make()
    first.wait()  # a worker that has yet to read the files would miss them, too
    assert make() == first
    for name in ("a/x.txt", "b/x.txt", "tree/deep/leaf"):
        before = (here / name).read_text()
        status = (here / name).stat()
        (here / name).write_text("OTHER")
        with pytest.raises(wingspan.TagExists, match=f"{name}: the file has changed"):
            make()
        (here / name).write_text(before)
        os.utime(here / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert make()[0] == "ONE"


def test_a_function_that_is_given_later_may_bring_files(here: Path) -> None:
    """A rerun with a function that refers to files gets them, if the map has files; they must be there."""
    m = wingspan.map(lambda path: path.read_text(), [TransferPath("a/x.txt")], pool="local")
    m.wait()
    other, missing = TransferPath("b/x.txt"), TransferPath("none")
    m.rerun([0], function=lambda path: path.read_text() + other.read_text())
    assert m[0] == "ONETWO"
    with pytest.raises(wingspan.InvalidInputs, match="none"):
        m.rerun([0], function=lambda path: missing)
    plain = wingspan.map(abs, [-1], pool="local")
    plain.wait()
    with pytest.raises(wingspan.InvalidInputs, match="made without files"):
        plain.rerun([0], function=lambda x: other)


def test_a_map_whose_files_are_gone_says_so(here: Path) -> None:
    """What was copied when the map was made, and was removed since, is missed before anything is given up."""
    m = wingspan.map(abs, [-1], pool="local", options=Options(input_files=["a/x.txt"]))
    m.wait()
    (m.path / "input_files" / "x.txt").unlink()
    with pytest.raises(wingspan.MapDamaged, match=r"the input file x\.txt is missing"):
        m.rerun([0])
    assert m[0] == 1


def test_files_that_the_site_wants_elsewhere(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file above the site's limit is refused before anything is submitted, with the way that the site
    wants.
    """
    from wingspan.maps import _worker_job
    from wingspan.pools.htcondor import HTCondorPool

    with pytest.raises(wingspan.InvalidInputs, match=r"has 1000\.0 GB") as caught:
        _worker_job.check_largest(Options(profile="chtc"), HTCondorPool(), here / "huge", 10**12)
    assert "osdf" in str(caught.value.hint)
    _worker_job.check_largest(Options(profile="chtc"), HTCondorPool(), here / "small", 10**6)


def test_files_of_calls(here: Path) -> None:
    """With an executor, each call may bring files, the first one and later ones; a missing one is the error
    of its future.
    """

    def read(*paths: Path) -> str:
        return "".join(path.read_text() for path in paths)

    with wingspan.Executor(1, pool="local") as executor:
        assert executor.submit(read).result() == ""
        one, two = TransferPath("a/x.txt"), TransferPath("b/x.txt")
        assert executor.submit(read, one).result() == "ONE"
        (here / "a" / "x.txt").write_text("THREE")
        assert executor.submit(read, two, one).result() == "TWOTHREE"
        with pytest.raises(wingspan.InvalidInputs, match="none"):
            executor.submit(read, TransferPath("none")).result()
        assert executor.submit(read, two).result() == "TWO"
