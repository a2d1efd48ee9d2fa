"""The folders that a worker writes to, and the new files in the one that goes with the job."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wingspan.worker.new_files import MOST_TOLD, NewFiles
from wingspan.worker.scratch import current_folder, own_prefix, scratch_folder, unnamed_file


def _written(folder: Path, *names: str) -> None:
    """Write files, and let the folder have changed since any look before, however exact its clock is."""
    changed = folder.stat().st_mtime_ns
    for name in names:
        (folder / name).write_text(name)
    os.utime(folder, ns=(changed + 10**9, changed + 10**9))


def _looks_at(folder: Path) -> NewFiles:
    return NewFiles({"environ": {"_CONDOR_SCRATCH_DIR": str(folder)}, "folder": str(folder)})


def test_new_files_are_told_of_once(tmp_path: Path) -> None:
    """What was there before is not new, and what was told of is not told of again."""
    (tmp_path / "input").write_text("before")
    new = _looks_at(tmp_path)
    assert new.look(set()) == []
    _written(tmp_path, "b", "a")
    assert new.look(set()) == ["a", "b"]
    assert new.look(set()) == []
    _written(tmp_path, "c")
    assert new.look(set()) == ["c"]


def test_what_nobody_misses_is_not_told_of(tmp_path: Path) -> None:
    """Hidden files, HTCondor's own, and what tools leave."""
    new = _looks_at(tmp_path)
    _written(tmp_path, ".hidden", "_condor_stdout", "core", "__pycache__", "result")
    assert new.look(set()) == ["result"]
    _written(tmp_path, "state", "other")
    assert new.look({"state"}) == ["other"]  # a checkpoint has it


def test_a_worker_tells_of_so_many_at_most(tmp_path: Path) -> None:
    """A function that writes files without end does not fill the map's folder with their names."""
    new = _looks_at(tmp_path)
    _written(tmp_path, *(f"{number:03}" for number in range(MOST_TOLD - 1)))
    assert len(new.look(set())) == MOST_TOLD - 1
    _written(tmp_path, "x", "y")
    assert new.look(set()) == ["x"]
    _written(tmp_path, "z")
    assert new.look(set()) == []


def test_a_folder_that_stays_is_not_looked_at(tmp_path: Path) -> None:
    """Only files in the folder that goes with the job are lost: elsewhere, or where nothing goes with the
    job, nobody is told anything.
    """
    (tmp_path / "scratch").mkdir()
    (tmp_path / "stays").mkdir()
    elsewhere = NewFiles(
        {"environ": {"_CONDOR_SCRATCH_DIR": str(tmp_path / "scratch")}, "folder": str(tmp_path / "stays")}
    )
    without = NewFiles({"environ": {"PATH": "/bin"}, "folder": str(tmp_path / "stays")})
    _written(tmp_path / "stays", "x")
    assert elsewhere.look(set()) == []
    assert without.look(set()) == []


def test_a_link_to_the_folder_is_the_folder(tmp_path: Path) -> None:
    """A scratch folder that is reached by a link is still the one that goes with the job."""
    (tmp_path / "scratch").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "scratch")
    new = NewFiles(
        {"environ": {"_CONDOR_SCRATCH_DIR": str(tmp_path / "scratch")}, "folder": str(tmp_path / "link")}
    )
    _written(tmp_path / "scratch", "x")
    assert new.look(set()) == ["x"]


def test_a_removed_folder_has_no_new_files(tmp_path: Path) -> None:
    """A component may remove the folder that it runs in: the worker goes on, and tells of nothing."""
    (tmp_path / "scratch").mkdir()
    new = _looks_at(tmp_path / "scratch")
    (tmp_path / "scratch").rmdir()
    assert new.look(set()) == []
    assert _looks_at(tmp_path / "never there").look(set()) == []


def test_the_current_folder_that_was_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process whose folder was removed has the root of all for one, and no error."""
    (tmp_path / "removed").mkdir()
    monkeypatch.chdir(tmp_path / "removed")
    assert current_folder() == str(tmp_path / "removed")
    (tmp_path / "removed").rmdir()
    assert current_folder() == "/"


def test_the_scratch_folder_is_the_first_that_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTCondor's folder counts more than TMPDIR; one that is not there, or is a file, counts nothing."""
    for name in ("condor", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("_CONDOR_SCRATCH_DIR", str(tmp_path / "condor"))
    assert scratch_folder() == str(tmp_path / "condor")
    for wrong in ("file", "not there"):
        monkeypatch.setenv("_CONDOR_SCRATCH_DIR", str(tmp_path / wrong))
        assert scratch_folder() == str(tmp_path / "tmp")
    monkeypatch.delenv("_CONDOR_SCRATCH_DIR")
    monkeypatch.delenv("TMPDIR")
    assert scratch_folder() == "/tmp"


def test_a_file_without_a_name_leaves_nothing(tmp_path: Path) -> None:
    """It can be appended to and read, and no process that dies leaves it behind."""
    descriptor = unnamed_file(str(tmp_path), "out")
    try:
        assert os.listdir(tmp_path) == []
        os.write(descriptor, b"one")
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, b"two")  # behind what is there, wherever the position is
        assert os.pread(descriptor, 10, 0) == b"onetwo"
        assert os.fstat(descriptor).st_mode & 0o077 == 0
    finally:
        os.close(descriptor)


def test_names_of_one_process_are_not_those_of_another() -> None:
    """The prefix of process 1 is none of process 12."""
    assert not f"{own_prefix(12)}files".startswith(own_prefix(1))
