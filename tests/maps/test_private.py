"""What maps leave on the disk is their owner's alone, and what they execute nobody else can have changed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

import wingspan
from wingspan.pools.zipapp import _known, worker_zipapp
from wingspan.worker import idle

GROUP = 54321


@pytest.fixture
def open_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Folders of a shared group, and the umask that such groups use."""
    for name in ("data", "cache"):
        (tmp_path / name).mkdir()
        if os.geteuid() == 0:
            os.chown(tmp_path / name, 0, GROUP)
        (tmp_path / name).chmod(0o2775)
        monkeypatch.setenv(f"WINGSPAN_{name.upper()}_DIR", str(tmp_path / name))
    before = os.umask(0o002)
    _known.clear()
    yield tmp_path
    os.umask(before)
    _known.clear()


def open_to_others(folder: Path) -> list[str]:
    """What below a folder anybody but its owner can read or write."""
    found = []
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            try:
                status = Path(place, name).lstat()
            except FileNotFoundError:
                continue  # the last worker folds the claims of a complete map away
            if status.st_mode & 0o077 and not stat.S_ISLNK(status.st_mode):
                found.append(f"{stat.S_IMODE(status.st_mode):o} {place}/{name}")
    return found


def test_a_map_leaves_nothing_open(open_machine: Path) -> None:
    """With a shared group and its umask, every folder is 0700 and every file 0600 or 0700, in the data
    folder and in the cache.
    """
    m = wingspan.map(print, ["x"], tag="private", pool="local")
    assert list(m) == [None]
    assert open_to_others(open_machine / "data") == []
    assert open_to_others(open_machine / "cache") == []
    for name in ("data", "cache"):
        assert (open_machine / name).stat().st_mode & 0o022 == 0
    m.remove()


@pytest.mark.parametrize("how", ["written", "owned", "linked", "link"])
def test_a_program_that_others_can_change_is_built_anew(open_machine: Path, how: str) -> None:
    """The worker's program in the cache is not executed where a group could write it, another user owns
    it, or it has another name, too.
    """
    path = worker_zipapp()
    good = path.read_bytes()
    evil = b"evil" + good
    if how == "link":
        (open_machine / "evil").write_bytes(evil)
        path.unlink()
        path.symlink_to(open_machine / "evil")
    else:
        path.write_bytes(evil)
    if how == "written":
        # An ordinary user's group may be that user's alone, which is nobody else.
        path.chmod(0o664 if os.geteuid() == 0 else 0o666)
        if os.geteuid() == 0:
            os.chown(path, 0, GROUP)
    elif how == "owned":
        if os.geteuid() != 0:
            pytest.skip("only root can act as a second user")
        os.chown(path, GROUP, GROUP)
    elif how == "linked":
        os.link(path, open_machine / "another")
    _known.clear()
    assert worker_zipapp().read_bytes() == good
    assert not worker_zipapp().is_symlink()


def test_a_map_has_a_program_of_its_own(open_machine: Path) -> None:
    """What lies in the cache and what a map executes are two files."""
    m = wingspan.map(print, ["x"], pool="local")
    m.wait()
    assert not (m.path / "worker.pyz").samefile(worker_zipapp())
    m.remove()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as a second user")
def test_a_data_folder_of_somebody_else_is_an_error(open_machine: Path) -> None:
    """A folder that another user has put in the place of ours is not written to."""
    os.chown(open_machine / "data", GROUP, GROUP)
    with pytest.raises(wingspan.WingspanError, match="another user"):
        wingspan.map(print, ["x"], pool="local")


def test_the_socket_of_an_idle_worker_is_closed(tmp_path: Path) -> None:
    """Its mode is 0600, whatever the umask; its folder is closed, too."""
    before = os.umask(0)
    try:
        listener = idle._Listener(str(tmp_path))
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*.sock")] == [0o600]
    listener._socket.close()
    os.close(listener._folder)
