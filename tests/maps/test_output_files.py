"""Files that components send: where they are, what counts, and what is never half there."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

import wingspan
from wingspan import Options
from wingspan._kept_files import FileInTheWay
from wingspan.cli._main import main


def _all_files(m: wingspan.Map) -> set[str]:
    """Names of the files below the map's folder for them, those of unfinished transfers too."""
    root = m.path / "output_files"
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_files_keep_their_paths_and_the_newest_counts(tmp_path: Path) -> None:
    """A component may go on with what it has sent, and send it again; one that sent nothing has an empty
    folder, and one that failed has what it had sent before.
    """
    other = tmp_path / "other"
    other.mkdir()
    elsewhere = str(other / "x.txt")

    def work(x: int) -> str:
        send = wingspan.component().transfer_output_files
        if x == 1:
            return "nothing"
        Path("a/b").mkdir(parents=True)
        Path("a/b/two words é").write_text(f"first {x}")
        Path(elsewhere).write_text("out of the folder")
        send("a", elsewhere)
        Path("a/b/two words é").write_text(f"second {x}")
        os.chdir("a")
        send(Path("b"))
        if x == 2:
            raise ValueError("late")
        return Path("b/two words é").read_text()

    m = wingspan.map(work, range(3), pool="local", options=Options(workers=2))
    m.wait(errors_ok=True)
    assert (m[0], m[1]) == ("second 0", "nothing")
    for number in (0, 2):
        folder = m.output_files[number]
        found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert found == {"a/b/two words é", "x.txt"}
        assert (folder / "a/b/two words é").read_text() == f"second {number}"
    assert os.listdir(m.output_files[1]) == []
    assert len(m.output_files) == 3
    assert m.output_files[:2] == [m.output_files[0], m.output_files[1]]
    assert [*m.output_files] == [m.output_files.get(number) for number in range(-3, 0)]
    assert m.left_files == ()
    with pytest.raises(IndexError):
        m.output_files[3]
    again = wingspan.load(m.tag)
    assert (again.output_files.get(0, 0) / "a/b/two words é").read_text() == "second 0"


def test_asking_for_files_that_are_not_there_yet(gate: Any) -> None:
    """With a timeout of 0 it is said that the component is not done; without one, asking waits."""
    wait = gate.wait

    def work(x: int) -> None:
        wait()
        Path("out").write_text("1")
        wingspan.component().transfer_output_files("out")

    m = wingspan.map(work, [0], pool="local")
    with pytest.raises(wingspan.OutputNotReady):
        m.output_files.get(0, timeout=0)
    assert m.fetch() == {}
    gate.open()
    assert (m.output_files[0] / "out").read_text() == "1"


@pytest.mark.parametrize("way", ["killed", "disk full"])
def test_what_was_sent_in_part_is_not_seen(way: str) -> None:
    """A component that is killed in the middle of a file, or whose file cannot be written, fails and shows
    nothing; when it is tried again its files are there, and nothing else.
    """
    full = way == "disk full"

    def work(x: int) -> None:
        import resource
        import signal

        Path("one").write_bytes(b"1" * 1000)
        Path("two").write_bytes(b"2" * 100_000)
        if wingspan.component().attempt == 1:
            # No more than this can be written to a file: the second write is an error, or the end.
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN if full else signal.SIG_DFL)
        wingspan.component().transfer_output_files("two", "one")

    m = wingspan.map(work, [0], pool="local", options=Options(workers=1))
    m.wait(errors_ok=True)
    assert m.errors[0].type_name == ("OSError" if full else "crash")
    assert full or m.errors[0].signal == signal.SIGXFSZ
    with pytest.raises(OSError if full else wingspan.ComponentError):
        m.output_files[0]
    assert {name for name in _all_files(m) if "/." not in name} == set()
    m.remove()
    m = wingspan.map(work, [0], pool="local", options=Options(workers=1, retries=1))
    m.wait()
    folder = m.output_files[0]
    assert (folder / "one").stat().st_size + (folder / "two").stat().st_size == 101_000
    place = folder.relative_to(m.path / "output_files")
    assert _all_files(m) == {f"{place}/one", f"{place}/two"}


def test_what_cannot_be_sent_is_an_error_of_the_component(tmp_path: Path) -> None:
    """A missing file, a name that is none on the access point, a link to a folder that contains it, and a
    pipe: the component fails, the message names it, and nothing is sent.
    """

    def work(name: str) -> None:
        Path("good").write_text("1")
        if name == "loop":
            Path("loop").mkdir()
            Path("loop/up").symlink_to("..")
        elif name == "pipe":
            os.mkfifo("pipe")
        elif name != "missing":
            Path(name).write_text("1")
        wingspan.component().transfer_output_files("good", name)

    names = ["missing", "line\nend", "loop", "pipe"]
    m = wingspan.map(work, names, pool="local")
    m.wait(errors_ok=True)
    assert [m.errors[number].type_name for number in range(4)] == [
        "FileNotFoundError",
        "BadName",
        "OSError",
        "OSError",
    ]
    says = ["missing", "U+000A", "a folder that contains it", "neither a file nor a folder"]
    assert all(text in m.errors[number].text for number, text in enumerate(says))
    assert not (m.path / "output_files").exists()


def test_the_function_can_be_tried_at_the_desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a component nothing is sent, and a file that is missing is told."""
    monkeypatch.chdir(tmp_path)
    Path("out").write_text("1")
    wingspan.component().transfer_output_files("out")
    with pytest.raises(FileNotFoundError):
        wingspan.component().transfer_output_files("missing")


def test_fetching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files are copied to TAG/NUMBER; a link among them is not, and a file with another content is not
    replaced unless that is wanted.
    """
    monkeypatch.chdir(tmp_path)

    def work(x: int) -> None:
        Path("out.csv").write_text(str(x))
        wingspan.component().transfer_output_files("out.csv")

    m = wingspan.map(work, range(3), tag="sweep", pool="local")
    m.wait()
    (m.output_files[0] / "link").symlink_to("/etc/passwd")
    assert m.fetch(components=[0]) == {0: (Path("sweep/0/out.csv"),)}
    with pytest.raises(SystemExit, match="0"):
        main(["fetch", "sweep", "1", "--to", "there"])
    assert capsys.readouterr().out == "there/sweep/1/out.csv\n"
    with pytest.raises(SystemExit, match="0"):
        main(["fetch", "sweep"])
    assert sorted(path.as_posix() for path in Path("sweep").rglob("*.csv")) == [
        f"sweep/{x}/out.csv" for x in range(3)
    ]
    for words, said in (("path sweep", m.path), ("path sweep 2", m.output_files[2])):
        capsys.readouterr()
        with pytest.raises(SystemExit, match="0"):
            main(words.split())
        assert capsys.readouterr().out == f"{said}\n"
    with pytest.raises(SystemExit, match="0"):
        main(["status", "sweep"])
    assert f"files      {m.output_files.root} (wingspan fetch sweep" in capsys.readouterr().out
    Path("sweep/1/out.csv").write_text("mine")
    with pytest.raises(FileInTheWay):
        m.fetch()
    assert Path("sweep/1/out.csv").read_text() == "mine"
    m.fetch(overwrite=True)
    assert Path("sweep/1/out.csv").read_text() == "1"


@pytest.mark.parametrize(
    ("remaps", "says"),
    [
        ({"out": "/tmp/x"}, "all components would write their out"),
        ([{"out": "/tmp/x"}], "1 table for 2 components"),
        ({"out": "/proc/none/{component}"}, "cannot be made"),
    ],
)
def test_remaps_that_contradict_each_other(remaps: Any, says: str) -> None:
    """Components that would replace each other's files are refused before anything is submitted."""
    with pytest.raises(wingspan.InvalidInputs, match=says):
        wingspan.map(print, range(2), pool="local", options=Options(output_remaps=remaps))
    assert wingspan.tags() == ()


@pytest.mark.parametrize("remaps", ["x", {"a/b": "/tmp/x"}, {"a": 5}, [5]])
def test_what_is_no_remap(remaps: Any) -> None:
    """Options say at once what does not say where files go."""
    with pytest.raises(wingspan.SettingsError, match="output_remaps"):
        Options(output_remaps=remaps)


def test_remaps_and_files_of_several_layers() -> None:
    """Layers of options are joined: destinations name by name, files of the map all together."""
    usual = Options(output_remaps={"a": "/tmp/a", "b": "/tmp/b"}, input_files=["x", "y"])
    both = usual.merged(Options(output_remaps={"b": "s3://h/b"}, input_files=["y", "z"]))
    assert both.output_remaps == {"a": "/tmp/a", "b": "s3://h/b"}
    assert both.input_files == ("x", "y", "z")
    assert usual.merged(Options(output_remaps=[{"a": "/tmp/c"}])).output_remaps == [{"a": "/tmp/c"}]
    assert usual.output_remaps == {"a": "/tmp/a", "b": "/tmp/b"}
    assert Options.from_dict(both.as_dict()).output_remaps == both.output_remaps


def test_remaps_of_each_component(tmp_path: Path) -> None:
    """Each component may have a table of its own, to file:// URLs too; a URL that nobody can send to is an
    error that says so.
    """
    targets = [f"file://{tmp_path}/u/first", str(tmp_path / "second"), "nowhere://host/x"]

    def work(x: int) -> None:
        Path("out").write_text(str(x))
        wingspan.component().transfer_output_files("out")

    options = Options(output_remaps=[{"out": target} for target in targets])
    m = wingspan.map(work, range(3), pool="local", options=options)
    m.wait(errors_ok=True)
    assert (tmp_path / "u" / "first").read_text() == "0"
    assert (tmp_path / "second").read_text() == "1"
    assert "nowhere://host/x cannot be sent" in m.errors[2].text


def test_a_folder_is_sent_elsewhere_as_a_whole(tmp_path: Path) -> None:
    """What is in it keeps its path below the destination, but for files with a destination of their own."""

    def work(x: int) -> None:
        Path("made/inner").mkdir(parents=True)
        for name in ("made/a", "made/inner/b", "made/own"):
            Path(name).write_text(f"{name} {x}")
        wingspan.component().transfer_output_files("made")

    own = str(tmp_path / "own-{component}")
    options = [
        {"made": str(tmp_path / "path"), "own": own.replace("{component}", "0")},
        {"made": f"file://{tmp_path}/url/", "own": own.replace("{component}", "1")},
    ]
    m = wingspan.map(work, range(2), pool="local", options=Options(output_remaps=options))
    m.wait()
    for number, place in enumerate(("path", "url")):
        assert (tmp_path / place / "a").read_text() == f"made/a {number}"
        assert (tmp_path / place / "inner" / "b").read_text() == f"made/inner/b {number}"
        assert (tmp_path / f"own-{number}").read_text() == f"made/own {number}"
        assert not (tmp_path / place / "own").exists()
        assert list(m.output_files[number].iterdir()) == []


def test_a_memo_does_without_no_files() -> None:
    """A map that sends files is computed, though its outputs are known: nobody has kept its files."""

    def work(x: int) -> int:
        Path("out").write_text(str(x))
        wingspan.component().transfer_output_files("out")
        return x

    for _ in range(2):
        m = wingspan.map(work, [1], pool="local", options=Options(memo=True))
        assert (m.output_files[0] / "out").read_text() == "1"


def test_checkpoints_in_a_folder_of_its_own() -> None:
    """A component that dies goes on from its checkpoint in a new folder of its own; what the checkpoint has
    is not told of as lost.
    """

    def work(x: int) -> str:
        component = wingspan.component()
        if not component.restored:
            Path("state").write_text("one")
            component.checkpoint("state")
            os.kill(os.getpid(), 9)
        return Path("state").read_text()

    m = wingspan.map(work, [0], pool="local", options=Options(workers=1, retries=1, own_folder=True))
    assert m[0] == "one"
    assert m.left_files == ()
