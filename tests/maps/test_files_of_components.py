"""Files beside the script that a component does not find, and files that it writes and nobody gets: told,
with what to do.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import wingspan
from wingspan.maps._files import hint_for_missing


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The caller is in a folder with a file data.npy."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "data.npy").write_text("1")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def pool(personal_pool, data_dir):
    """The session's personal pool is that of this test's data folder."""
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / "personal-pool").symlink_to(personal_pool.directory)


@pytest.mark.htcondor
def test_a_file_beside_the_caller_is_named_with_its_folder(
    pool, beside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of the component, of waiting and of another session all say where the file is and what to
    do.
    """
    m = wingspan.map(lambda x: Path("data.npy").read_text(), range(3), tag="reads", pool="personal")
    with pytest.raises(wingspan.ComponentErrors, match=f"data.npy is in {beside}"):
        m.wait()
    monkeypatch.chdir("/")
    hint = str(wingspan.load("reads").errors[0].hint)
    assert str(beside / "data.npy") in hint
    assert "Options(input_files=['data.npy'])" in hint
    assert "TransferPath('data.npy')" in hint
    with pytest.raises(FileNotFoundError) as caught:
        m[0]
    assert caught.value.component_error.hint == hint  # type: ignore[attr-defined]


@pytest.mark.htcondor
def test_files_that_nobody_gets_are_told(pool, caplog: pytest.LogCaptureFixture) -> None:
    """What components write into the folder that goes with the job is named: when waiting ends, in the
    status, and once.
    """

    def write(x: int) -> int:
        Path(f"out-{x}.csv").write_text("1")
        return x

    m = wingspan.map(write, range(3), pool="personal", options=wingspan.Options(workers=1))
    m.wait()
    assert set(m.left_files) == {"out-0.csv", "out-1.csv", "out-2.csv"}
    assert len(caplog.messages) == 1
    assert "wrote 3 files that nobody gets (out-0.csv, out-1.csv, out-2.csv)" in caplog.messages[0]
    assert "transfer_output_files" in caplog.messages[0]
    m.wait()
    assert len(caplog.messages) == 1
    assert "out-0.csv" in str(wingspan.load(m.tag).status())


@pytest.mark.htcondor
def test_files_elsewhere_and_hidden_ones_are_not_told(pool, tmp_path: Path) -> None:
    """A whole path, a temporary file that is gone, a hidden one, and what a checkpoint has are no news."""
    target = str(tmp_path / "kept.txt")

    def write(x: int) -> int:
        Path(target).write_text("1")
        Path("gone").write_text("1")
        Path("gone").unlink()
        Path(".hidden").write_text("1")
        Path("state").mkdir(exist_ok=True)
        Path("state/file").write_text("1")
        wingspan.component().checkpoint("state/file")
        return x

    m = wingspan.map(write, range(2), pool="personal")
    m.wait()
    assert m.left_files == ()


def test_on_this_machine_files_are_where_the_caller_is(beside: Path) -> None:
    """Local workers are in the caller's folder: what is there is found, and what they write is there:
    nothing is told.
    """

    def both(x: int) -> str:
        Path(f"out-{x}").write_text("1")
        return Path("data.npy").read_text()

    m = wingspan.map(both, range(2), pool="local")
    m.wait()
    assert list(m) == ["1", "1"]
    assert (beside / "out-0").exists()
    assert m.left_files == ()


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("FileNotFoundError", "[Errno 2] No such file or directory: 'data.npy'", "data.npy is in"),
        ("FileNotFoundError", "data.npy not found.", "data.npy is in"),
        (
            "OSError",
            "Unable to open file (unable to open file: name = 'data.npy', errno = 2)",
            "data.npy is in",
        ),
        ("RasterioIOError", "data.npy: No such file or directory", "data.npy is in"),
        ("NotADirectoryError", "[Errno 20] Not a directory: 'data.npy'", "data.npy is in"),
        ("FileNotFoundError", "[Errno 2] No such file or directory: 'nowhere.npy'", "a folder of their own"),
        ("FileNotFoundError", "[Errno 2] No such file or directory: '/nowhere/x'", "a folder of their own"),
        ("FileNotFoundError", "'\0' \ud800", "a folder of their own"),
        ("KeyError", "'data.npy'", None),
        ("ValueError", "data.npy is not what it was", None),
        ("OSError", "there is no such file: 'nowhere'", None),
    ],
)
def test_messages_of_libraries(beside: Path, kind: str, text: str, says: str | None) -> None:
    """A file that lies beside the caller is found in the messages of many libraries; other errors get no
    such hint.
    """
    hint = hint_for_missing(kind, text, [str(beside)], "node1")
    assert hint is None if says is None else says in str(hint)


def test_a_whole_path_of_this_machine(beside: Path) -> None:
    """A path that is here and not there names the host."""
    hint = hint_for_missing("FileNotFoundError", f"No such file: '{beside}/data.npy'", [], "node1")
    assert f"{beside}/data.npy is on this machine and not on node1" in str(hint)


def test_a_tuple_for_several_arguments_is_for_starmap() -> None:
    """A function that only turns out to want two arguments gets the hint in its error."""

    def two(a: object, b: object) -> object:
        return a

    class Late:
        def __call__(self, *given: object) -> object:
            return two(*given)

    m = wingspan.map(Late(), [(1, 2)], pool="local")
    m.wait(errors_ok=True)
    assert "starmap" in str(m.errors[0].hint)
