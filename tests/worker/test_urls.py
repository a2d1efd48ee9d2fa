"""Files behind URLs: by Python over HTTP from a real server, and by programs that follow HTCondor's rules for
plugins.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from wingspan.worker import urls
from wingspan.worker.urls import fetch, plugins, scheme_of, send


class _Answers(BaseHTTPRequestHandler):
    """Answers by the path that is asked for."""

    def do_GET(self) -> None:
        if self.path == "/whole":
            self._answer(b"all of it", told=9)
        elif self.path == "/untold":
            self._answer(b"of any length", told=None)
        elif self.path == "/cut":
            self._answer(b"half", told=8)
        elif self.path == "/cut-chunk":
            self.protocol_version = "HTTP/1.1"
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"8\r\nhalf")
        else:
            self.send_error(404, "Nothing here")
        self.close_connection = True

    def _answer(self, data: bytes, told: int | None) -> None:
        self.send_response(200)
        if told is not None:
            self.send_header("Content-Length", str(told))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_plugins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This machine has no HTCondor, unless a test puts plugins beside ``bin``, and no proxy."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("_CONDOR_BIN", str(tmp_path / "bin"))
    monkeypatch.setattr(urls, "_plugins", [])
    monkeypatch.setenv("no_proxy", "*")


def _plugin(tmp_path: Path, name: str, script: str, schemes: str = "demo") -> Path:
    """A program that follows HTCondor's rules for plugins: ``$2`` is what to do, ``$4`` is for its answer."""
    folder = tmp_path / "libexec" / "condor"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    told = f'PluginVersion = "1"\\nSupportedMethods = "{schemes}"\\n'
    program.write_text(f"#!/bin/sh\nif [ \"$1\" = -classad ]; then printf '{told}'; exit 0; fi\n{script}\n")
    program.chmod(0o700)
    return program


def test_schemes_are_compared_in_lower_case() -> None:
    """HTTP:// and http:// are one scheme; what has none is all scheme, and unknown."""
    assert scheme_of("HTTPS://Host/Path") == "https"


@pytest.mark.parametrize(("path", "content"), [("/whole", b"all of it"), ("/untold", b"of any length")])
def test_python_gets_files_over_http(server: str, tmp_path: Path, path: str, content: bytes) -> None:
    """Without a plugin for it, a file comes by Python itself, whether its length was told or not."""
    fetch(server + path, str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == content


def test_a_file_that_ends_early_is_an_error(server: str, tmp_path: Path) -> None:
    """Half of a file is never taken for the whole: the error says how many bytes came, and of how many."""
    with pytest.raises(OSError, match=r"/cut ended after 4 of 8 bytes"):
        fetch(f"{server}/cut", str(tmp_path / "copy"))


def test_a_chunk_that_ends_early_is_an_error(server: str, tmp_path: Path) -> None:
    """Also where the server tells the length of each part only, and none of the whole."""
    with pytest.raises(OSError, match=r"/cut-chunk cannot be got: IncompleteRead"):
        fetch(f"{server}/cut-chunk", str(tmp_path / "copy"))


def test_what_the_server_refuses_is_an_error_with_its_words(server: str, tmp_path: Path) -> None:
    """The error names the URL and what the server said, and no file stands for it."""
    with pytest.raises(OSError, match=rf"{server}/other cannot be got: HTTP Error 404: Nothing here"):
        fetch(f"{server}/other", str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("url", ["http://[half/x", "http://127.0.0.1:port/x", "http://127.0.0.1/a b"])
def test_a_url_that_is_none_is_an_error(tmp_path: Path, url: str) -> None:
    """What Python cannot read as a URL is an OSError that names it, as any file that cannot be got."""
    with pytest.raises(OSError, match="cannot be got: ") as caught:
        fetch(url, str(tmp_path / "copy"))
    assert str(caught.value).startswith(url)


def test_a_file_that_is_there_is_not_replaced(server: str, tmp_path: Path) -> None:
    """Two files of one name do not meet: the first one stays as it is."""
    (tmp_path / "copy").write_text("mine")
    with pytest.raises(FileExistsError):
        fetch(f"{server}/whole", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_text() == "mine"


def test_without_a_plugin_nothing_is_sent_over_http(server: str, tmp_path: Path) -> None:
    """Python can get files over HTTP but sends none: the error says what is missing."""
    (tmp_path / "x").write_text("x")
    with pytest.raises(
        OSError, match=r"cannot be sent from this machine: none of HTCondor's transfer plugins"
    ):
        send(str(tmp_path / "x"), f"{server}/x")


def test_plugins_are_found_beside_htcondors_programs(tmp_path: Path) -> None:
    """Where the configuration names none: the first program that knows a scheme gets it, in lower case; what
    is no plugin, or fails to say what it knows, is left aside.
    """
    first = _plugin(tmp_path, "a_plugin", "", schemes="Demo, other")
    second = _plugin(tmp_path, "b_plugin", "", schemes="demo,third,")
    _plugin(tmp_path, "no-plug-in", "", schemes="fourth")
    _plugin(tmp_path, "c_plugin", "").write_text("#!/bin/sh\nexit 1\n")
    _plugin(tmp_path, "d_plugin", "").write_text("#!/bin/sh\necho 'PluginVersion = 1'\n")
    _plugin(tmp_path, "e_plugin", "", schemes="fifth").chmod(0o600)
    assert plugins() == {"demo": str(first), "other": str(first), "third": str(second)}
    _plugin(tmp_path, "f_plugin", "", schemes="late")
    assert "late" not in plugins()  # they are asked once


def test_plugins_that_the_configuration_names_come_first(tmp_path: Path) -> None:
    """Where condor_config_val names plugins, those beside the programs do not count."""
    named = _plugin(tmp_path, "named", "", schemes="named")
    _plugin(tmp_path, "beside_plugin", "", schemes="beside")
    asked = tmp_path / "bin" / "condor_config_val"
    asked.write_text(f'#!/bin/sh\n[ "$1" = FILETRANSFER_PLUGINS ] && echo "{named}, /no/such/plugin"\n')
    asked.chmod(0o700)
    assert plugins() == {"named": str(named)}


def test_a_plugin_gets_and_sends_files(tmp_path: Path) -> None:
    """It is told of the file and the URL in a ClassAd, with quotes as ClassAds have them, and to send by
    ``-upload``.
    """
    _plugin(
        tmp_path,
        "demo_plugin",
        f'cat "$2" > {tmp_path}/told; echo "$5" > {tmp_path}/way; echo got > {tmp_path}/copy',
    )
    fetch('demo://h/a"b\\c', str(tmp_path / "copy"))
    assert (
        tmp_path / "told"
    ).read_text() == f'[ LocalFileName = "{tmp_path}/copy"; Url = "demo://h/a\\"b\\\\c" ]\n'
    assert (tmp_path / "way").read_text() == "\n"
    assert (tmp_path / "copy").read_text() == "got\n"
    send(str(tmp_path / "copy"), "demo://h/x")
    assert (tmp_path / "way").read_text() == "-upload\n"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ('echo \'[ TransferSuccess = false; TransferError = "no such key" ]\' > "$4"; exit 1', "no such key"),
        ('echo \'TransferError = "no; \\"x\\" [1]"\' > "$4"; exit 1', r'no; "x" \[1\]'),
        ("echo 'cannot import requests'; exit 1", "cannot import requests"),
        ("echo 'TransferSuccess = false' > \"$4\"; exit 7", "exit code 7"),
        ("exit 0", "exit code 0"),  # it says that all is well, and the file is not there
    ],
)
def test_why_a_plugin_failed(tmp_path: Path, script: str, words: str) -> None:
    """The error has the reason that the plugin gives; else what it printed; else its exit code."""
    _plugin(tmp_path, "demo_plugin", script)
    with pytest.raises(OSError, match=rf"^demo://h/x cannot be got: {words}$"):
        fetch("demo://h/x", str(tmp_path / "copy"))


def test_a_file_that_a_plugin_does_not_send_is_an_error(tmp_path: Path) -> None:
    """The exit code counts, though the file is there of course."""
    _plugin(tmp_path, "demo_plugin", "exit 1")
    (tmp_path / "x").write_text("x")
    with pytest.raises(OSError, match=r"^demo://h/x cannot be sent: exit code 1$"):
        send(str(tmp_path / "x"), "demo://h/x")


def test_a_plugin_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    """One that was removed after it was found: the error says which program it was."""
    program = _plugin(tmp_path, "demo_plugin", "")
    assert "demo" in plugins()
    program.unlink()
    with pytest.raises(OSError, match=rf"HTCondor's plugin {program} cannot be started: "):
        fetch("demo://h/x", str(tmp_path / "copy"))
    assert not os.path.lexists(tmp_path / "copy")
