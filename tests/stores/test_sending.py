"""Files that go to an address of their owner's choice: outputs of runs, sent by the job's script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import wingspan
from _waiting import PATIENCE
from wingspan.errors import WingspanError
from wingspan.settings import load_settings
from wingspan.stores import Store
from wingspan.stores.errors import StoreReadOnly
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
