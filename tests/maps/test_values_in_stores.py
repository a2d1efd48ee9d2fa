"""Large values that lie in a store: `Options(store=…)`."""

from __future__ import annotations

import hashlib
import http.server
import os
import threading
from pathlib import Path
from typing import Any

import pytest

import wingspan
from stores.webdav_server import serve_webdav
from wingspan import Options
from wingspan.errors import SettingsError
from wingspan.settings import load_settings
from wingspan.stores import ObjectNotFound, StoreDamaged, kept_digests, open_store, prune
from wingspan.worker.stored import fetched

MIB = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """An empty folder."""
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


def _options(store: object, **more: Any) -> Options:
    return Options(workers=1, store=str(store), store_above=1, **more)


def _work(table: bytes) -> Any:
    class Box:  # travels by value
        content = bytes(reversed(table))

    return len(table), Box.content, (lambda: Box)


def test_inputs_outputs_and_the_function_lie_in_the_store(store: Path, engine: str) -> None:
    """What is larger than `store_above` is in the store and not in the map's folder, once where it is equal;
    the reader sees values. It goes with the map; what is small stays in the folder.
    """
    large = os.urandom(3 * MIB)
    closure = os.urandom(2 * MIB)

    def work(given: bytes) -> Any:
        return (*_work(given)[:2], len(closure)) if len(given) > 10 else given

    m = wingspan.map(work, [large, b"small", large], pool=engine, options=_options(store))
    assert m[0] == (3 * MIB, bytes(reversed(large)), 2 * MIB)
    assert m[1] == b"small"
    assert m[2] == m[0]
    names = sorted(path.name for path in store.iterdir())
    assert len(names) == 3, names  # an input, the function, an output
    assert all(name.startswith(f"{m.path.name}.") for name in names)
    taken = sum(
        path.stat().st_size for path in m.path.rglob("*") if path.is_file() and path.name != "worker.pyz"
    )
    assert taken < MIB
    loaded = wingspan.load(m.tag)
    assert loaded[2][1] == bytes(reversed(large))
    m.remove()
    assert list(store.iterdir()) == []


def test_a_chain_takes_values_from_the_store_and_a_copy_keeps_its_own(store: Path) -> None:
    """A map of a map's outputs gets them from there. `m.reproduce` has its component done again, from the
    same input in the store, and takes away nothing but what its copy has put there.
    """
    first = wingspan.map(os.urandom, [2 * MIB], pool="local", options=_options(store))
    second = wingspan.map(_reversed, first, pool="local", options=_options(store))
    assert bytes(reversed(second[0])) == first[0]
    third = wingspan.map(_reversed, [first[0]], pool="local", options=_options(store))
    assert third[0] == second[0]
    kept = sorted(path.name for path in store.iterdir())
    assert len(kept) == 4
    assert third.reproduce(0).equal
    assert sorted(path.name for path in store.iterdir()) == kept
    for m in (third, second, first):
        m.remove()
    assert list(store.iterdir()) == []


def test_code_in_a_stored_output_is_known(store: Path) -> None:
    """An output whose class travels by value is read as any other; its record says that there is code in
    it.
    """
    m = wingspan.map(_work, [os.urandom(2 * MIB)], pool="local", options=_options(store))
    assert len(m[0][2]().content) == 2 * MIB
    assert m._keeper.results.output(0).holds_code
    m.remove()


def test_a_value_that_was_altered_is_never_unpickled(store: Path) -> None:
    """Bytes that differ are found before anything of them is read; a rerun makes the value anew."""
    m = wingspan.map(os.urandom, [2 * MIB], pool="local", options=_options(store))
    m.wait()
    (value,) = store.iterdir()
    whole = value.read_bytes()
    value.write_bytes(b"cposix\nsystem\n(S'touch executed'\ntR." + whole[38:])
    with pytest.raises(StoreDamaged, match="cut or altered"):
        m[0]
    value.unlink()
    with pytest.raises(ObjectNotFound, match=r"is not in .* any more"):
        m[0]
    m.rerun([0])
    assert len(m[0]) == 2 * MIB
    m.remove()


def test_an_input_that_is_gone_is_the_components_error(store: Path) -> None:
    """The error of the component names the file, and others are done."""
    m = wingspan.map(len, [os.urandom(2 * MIB), b"x"], pool="local", options=_options(store))
    assert list(m) == [2 * MIB, 1]
    (value,) = store.iterdir()
    value.unlink()
    m.rerun([0])
    m.wait(errors_ok=True)
    assert value.name in m.errors[0].text
    assert m[1] == 1
    m.remove()


def test_prune_keeps_the_values_of_maps_that_are_there(store: Path) -> None:
    """Of a map that is there everything is kept, however old; of one that is gone nothing."""
    m = wingspan.map(os.urandom, [2 * MIB], pool="local", options=_options(store))
    m.wait()
    (value,) = store.iterdir()
    gone = store / value.name.replace(m.path.name, "20200101-000000-00000000")
    gone.write_bytes(value.read_bytes())
    for path in (value, gone):
        os.utime(path, (1, 1))
    report = prune(open_store(store), lambda: kept_digests(load_settings()))
    assert [str(each.name) for each in report.removed] == [gone.name]
    assert [str(each.name) for each in report.needed] == [value.name]
    assert len(m[0]) == 2 * MIB
    m.remove()


def test_where_workers_cannot_write_outputs_come_back(store: Path) -> None:
    """A store that has gone meanwhile loses nothing: outputs are in the map's folder then, and a removal
    says nothing wrong.
    """

    def work(length: int) -> bytes:
        import shutil

        shutil.rmtree(str(store))
        return b"\1" * length

    m = wingspan.map(work, [2 * MIB], pool="local", options=_options(store))
    assert m[0] == b"\1" * (2 * MIB)
    m.remove()


def test_a_webdav_server_whose_password_stands_in_no_file(
    store: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Session and workers send and fetch with the password of a variable, which is in no file of the map."""
    word = f"pa55-{os.urandom(4).hex()}"  # this module travels with the map
    with serve_webdav(store, {"me": word}) as server:
        config = store.parent / "config"
        config.mkdir()
        (config / "config.toml").write_text(
            f'[store.lab]\nurl = "{server.url}"\nusername = "me"\npassword_env = "LAB_PASSWORD"\n'
        )
        monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(config))
        monkeypatch.setenv("LAB_PASSWORD", word)
        large = os.urandom(2 * MIB)
        m = wingspan.map(_reversed, [large], pool="local", options=_options("lab"))
        assert m[0] == bytes(reversed(large))
        assert len([path for path in store.iterdir() if path.name.endswith(".value")]) == 2
        files = [path for path in m.path.rglob("*") if path.is_file()]
        assert [path for path in files if word.encode() in path.read_bytes()] == []
        m.remove()
        assert list(store.iterdir()) == []


def test_a_store_that_sends_on_to_another_server_gives_no_secret_away(tmp_path: Path) -> None:
    """Where a server sends a worker on to another one, that one does not get the token; the same one does."""
    got: dict[str, str | None] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            got[self.path] = self.headers["Authorization"]
            target = {"/a": "/b", "/b": f"http://127.0.0.1:{other.server_port}/c"}.get(self.path)
            self.send_response(302 if target else 200)
            if target:
                self.send_header("Location", target)
            self.end_headers()
            self.wfile.write(b"" if target else b"value")

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as first,
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as other,
    ):
        for server in (first, other):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        secret = {"Authorization": "Bearer t0ken"}
        url, digest = f"http://127.0.0.1:{first.server_port}/a", hashlib.sha256(b"value").hexdigest()
        with fetched(url, digest, 5, str(tmp_path), secret) as file:
            assert file.read() == b"value"
        for server in (first, other):
            server.shutdown()
    assert got == {"/a": "Bearer t0ken", "/b": "Bearer t0ken", "/c": None}


def _reversed(given: bytes) -> bytes:
    return bytes(reversed(given))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"memo": True}, "memo=True keeps outputs on this machine"),
        ({"store": "osdf:///ospool/me"}, "no way to osdf://"),
        ({"store": "lab"}, "no store 'lab'"),
    ],
)
def test_what_is_refused(store: Path, options: dict[str, Any], said: str) -> None:
    """Each is an error before anything is made."""
    with pytest.raises(SettingsError, match=said):
        wingspan.map(len, [b""], pool="local", options=Options(**{"store": str(store), **options}))
    assert not wingspan.tags()
