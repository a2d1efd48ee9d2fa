"""Files that go to an address of their owner's choice: outputs of runs, sent by the job's script."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wingspan
from _waiting import PATIENCE
from wingspan.errors import WingspanError
from wingspan.settings import load_settings
from wingspan.stores import Store
from wingspan.stores.errors import StoreError, StoreReadOnly
from wingspan.stores.sending import send_file

from .webdav_server import serve_webdav

_WORD = "pa55-of-the-lab"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A configuration with a WebDAV server that wants a password, which is in a variable; its address."""
    for name in ("data", "config"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"WINGSPAN_{name.upper()}_DIR", str(tmp_path / name))
    (tmp_path / "served").mkdir()
    with serve_webdav(tmp_path / "served", {"me": _WORD}) as server:
        monkeypatch.setenv("LAB_PASSWORD", _WORD)
        monkeypatch.setenv("BEARER_TOKEN", f"token-{_WORD}")
        (tmp_path / "config" / "config.toml").write_text(
            f'[store.lab]\nurl = "{server.url}"\nusername = "me"\npassword_env = "LAB_PASSWORD"\n'
        )
        yield server.url


def test_a_run_sends_with_the_stores_password_which_stands_nowhere(lab: str, tmp_path: Path) -> None:
    """A file and a folder lie on the server; the password and the session's token are in no file of the run
    and in nothing that was printed.
    """
    script = "echo made >model.pt; mkdir -p res/deep; echo r >res/deep/a"
    outputs = [f"model.pt={lab}/new/model.pt", f"res={lab}/res"]
    run = wingspan.run(["sh", "-c", script], outputs=outputs, pool="local")
    run.wait(PATIENCE)
    run.check()
    assert (tmp_path / "served/new/model.pt").read_text() == "made\n"
    assert (tmp_path / "served/res/deep/a").read_text() == "r\n"
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert {"job.sh", "run.json"} <= {path.name for path in files}
    assert [path for path in files if _WORD.encode() in path.read_bytes()] == []
    run.remove()


def test_without_the_password_nothing_is_submitted(
    lab: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error comes before the run, and says what to mend."""
    monkeypatch.setenv("LAB_PASSWORD", "another")
    with pytest.raises(WingspanError, match="401") as caught:
        wingspan.run(["true"], outputs=[f"model.pt={lab}/model.pt"], pool="local")
    assert "check user, password or token" in str(caught.value.hint)
    assert not list((tmp_path / "data").glob("runs/[!.]*"))


def test_what_is_there_is_replaced(store: Store, tmp_path: Path) -> None:
    """In each kind of store a file that is sent again has its new content, and no part is left behind."""
    store.backend.make_folder()
    for content in (b"first", b"the second one"):
        store.backend.put("model.pt", iter([content]), len(content), replace=True)
        with store.backend.open("model.pt") as stream:
            assert stream.read() == content
    with pytest.raises(FileExistsError):
        store.backend.put("model.pt", iter([b"third"]), 5)
    assert [entry.name for entry in store.backend.entries()] == ["model.pt"]


def test_osdf_is_for_reading(tmp_path: Path) -> None:
    """Only HTCondor's plugins write there; the error says so."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreReadOnly, match="is for reading"):
        send_file(tmp_path / "file", "osdf:///ospool/me/file", load_settings())


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A WebDAV server whose disk takes no file of more than a megabyte; its address."""
    for name in ("data", "config", "served"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path / "config"))
    program = Path(__file__).with_name("webdav_server.py")
    command = [sys.executable, str(program), str(tmp_path / "served"), str(1 << 20)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()


def test_a_full_store_keeps_a_map_from_being_made_and_nothing_stays(full: str, tmp_path: Path) -> None:
    """A large input that has no room in the store is an error before anything is submitted."""
    options = wingspan.Options(workers=1, store=full, store_above=1)
    with pytest.raises(StoreError, match=full):
        wingspan.map(len, [os.urandom(3 << 20)], pool="local", options=options)
    assert not wingspan.tags()
    assert not list((tmp_path / "data").glob("maps/*"))
    assert not list((tmp_path / "served").iterdir())


def test_what_a_full_store_does_not_take_is_not_lost(full: str, tmp_path: Path) -> None:
    """An output of a map goes to the map's folder, and an output of a run comes back: the job says why."""
    options = wingspan.Options(workers=1, store=full, store_above=1)
    m = wingspan.map(_many, [3 << 20], pool="local", options=options)
    assert m[0] == b"x" * (3 << 20)
    m.remove()
    script = "head -c 3000000 /dev/zero >model.pt"
    run = wingspan.run(["sh", "-c", script], outputs=[f"model.pt={full}/model.pt"], pool="local")
    job = run.wait(PATIENCE).jobs[0]
    assert (job.state, job.code) == ("failed", 119)
    assert "model.pt could not be sent, and comes back instead" in str(job.reason)
    assert run.outputs()["model.pt"].stat().st_size == 3000000
    run.remove()
    assert not list((tmp_path / "served").glob("model.pt"))


def _many(length: int) -> bytes:
    return b"x" * length


def test_files_of_a_folder_keep_their_names(tmp_path: Path) -> None:
    """Also those that mean something in an address: none arrives in the place of another one."""
    folder = tmp_path / "out"
    folder.mkdir()
    names = ["a b.txt", "a%20b.txt", "c#d.txt", "e?f.txt"]
    for name in names:
        (folder / name).write_text(name)
    target = tmp_path / "there"
    send_file(folder, target.as_uri(), load_settings())
    assert {path.name: path.read_text() for path in target.iterdir()} == {name: name for name in names}
