"""Inputs that are larger than a site wants through its access point go to the configured store."""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import wingspan
from _waiting import PATIENCE
from wingspan.errors import OnAccessPoint
from wingspan.maps._errors import InvalidInputs
from wingspan.pools.htcondor import PersonalHTCondorPool
from wingspan.pools.personal import PersonalPool
from wingspan.runs import InputTooLarge, RunExists, load_runs
from wingspan.stores import StoreUnavailable

pytestmark = pytest.mark.htcondor
_SIZE = 3 << 20


class _Site(PersonalHTCondorPool):
    """The personal pool, as if it were a site's and its machines were others."""

    shares_files = False
    follows_site = True
    limits_access = True


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(use_personal_pool: PersonalPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Site:
    """A site that wants at most 1 MB through its access point, and has a page about it."""
    import wingspan.pools._select as select

    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text(
        '[profile.here]\nhosts = ["*"]\ntransfer_limit = "1 MB"\nurl_limit = "30 GB"\npage = "https://here.example.org/data"\n'
    )
    pool = _Site(use_personal_pool)
    real = select._make
    monkeypatch.setattr(select, "_make", lambda kind, data: pool if kind == "personal" else real(kind, data))
    return pool


@pytest.fixture
def store(site: _Site, tmp_path: Path) -> Iterator[Path]:
    """The folder of the site's store, which jobs read by HTTP."""
    folder = tmp_path / "store"
    folder.mkdir()
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        with (tmp_path / "config" / "config.toml").open("a") as file:
            file.write(f'[store.lab]\nurl = "{folder}"\njob_url = "http://127.0.0.1:{server.server_port}"\n')
        yield folder
        server.shutdown()
        thread.join()


def test_a_large_input_goes_to_the_store_once(site: _Site, store: Path, folders: Path, done: Any) -> None:
    """The command finds it under its own name; a second run, and a map, find it in the store. The same script
    takes the run up again, unless the file has another content.
    """
    (folders / "data").mkdir()
    big = folders / "data" / "big table.csv"
    big.write_bytes(b"x" * _SIZE)
    (folders / "small").write_text("y")
    command = ["sh", "-c", "wc -c <'data/big table.csv'; cat small"]
    asked: dict[str, Any] = {"inputs": ["data/big table.csv", "small"], "pool": site}
    first = done(wingspan.run(command, name="first", exist_ok=True, **asked))
    first.check()
    assert first.stdout().split() == [str(_SIZE), "y"]
    (kept, _) = sorted(path.name for path in store.iterdir())
    assert kept.startswith("big-table-")
    assert kept.endswith(".csv")
    assert not list(first.path.glob("**/big table.csv"))
    written = (store / kept).stat().st_mtime_ns
    second = done(wingspan.run(command, name="second", **asked))
    assert second.stdout() == first.stdout()

    def length(_: int) -> int:
        return Path("big table.csv").stat().st_size

    m = wingspan.map(length, [0], pool=site, options=wingspan.Options(workers=1, input_files=[big]))
    assert list(m) == [_SIZE]
    m.remove()
    assert (store / kept).stat().st_mtime_ns == written
    assert (
        wingspan.run(command, name="first", exist_ok=True, **asked).info["created"] == first.info["created"]
    )
    big.write_bytes(b"z" * _SIZE)
    with pytest.raises(RunExists, match=r"made with other inputs: data/big table\.csv"):
        wingspan.run(command, name="first", exist_ok=True, **asked)


def test_where_another_machine_writes_the_store_the_command_is_told(
    site: _Site, folders: Path, tmp_path: Path
) -> None:
    """At a site whose large files get to their place through a machine of its own, nothing is put there from
    the access point, neither inputs nor values of maps. What the command that is told has copied is found.
    """
    site.runs_here = False  # type: ignore[misc]
    staging = tmp_path / "staging"
    staging.mkdir()
    config = tmp_path / "config" / "config.toml"
    more = f'is_access_point = ["*"]\nstaging = "{staging}/{{user}}"\ntransfer_host = "transfer.here.example.org"\n'
    config.write_text(
        f'{config.read_text()}{more}[store.lab]\nurl = "{staging}"\njob_url = "file://{staging}"\n'
    )
    big = folders / "big.csv"
    big.write_bytes(b"x" * _SIZE)
    with pytest.raises(OnAccessPoint, match=r"through transfer\.here\.example\.org") as caught:
        wingspan.run(["wc", "-c", "big.csv"], inputs=["big.csv"], pool=site)
    words = str(caught.value.hint).split(";")[0].split()
    assert words[:2] == ["scp", str(big)]
    assert not list(staging.iterdir())
    shutil.copy(words[1], words[2].partition(":")[2])
    run = wingspan.run(["wc", "-c", "big.csv"], inputs=["big.csv"], pool=site)
    assert run.wait(PATIENCE).state == "completed"
    assert run.stdout().split()[0] == str(_SIZE)
    with pytest.raises(OnAccessPoint, match="through transfer"):
        wingspan.map(abs, [1], pool=site, options=wingspan.Options(store="lab"))


def test_without_a_store_it_is_refused_with_the_sites_page(site: _Site, folders: Path) -> None:
    """The error says what the site wants, and where that stands; nothing is made of it."""
    (folders / "big").write_bytes(b"x" * _SIZE)
    with pytest.raises(InputTooLarge, match="wants at most") as caught:
        wingspan.run(["cat", "big"], inputs=["big"], pool=site)
    assert "https://here.example.org/data" in str(caught.value.hint)
    with pytest.raises(InvalidInputs, match="wants at most"):
        wingspan.map(abs, [1], pool=site, options=wingspan.Options(input_files=["big"]))
    assert not load_runs()


def test_a_store_that_is_down_loses_nothing(site: _Site, store: Path, folders: Path) -> None:
    """Nothing is made and nothing submitted; the error names the store."""
    (folders / "big").write_bytes(b"x" * _SIZE)
    store.rmdir()
    with pytest.raises(StoreUnavailable, match=str(store)):
        wingspan.run(["cat", "big"], inputs=["big"], pool=site)
    assert not load_runs()
