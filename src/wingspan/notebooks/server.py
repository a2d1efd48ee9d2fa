"""JupyterLab, or Notebook, with the pool's attendant beside it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from wingspan.errors import SettingsError, WingspanError
from wingspan.notebooks.attendant import NOTE, start_attendant

__all__ = ["JupyterMissing", "PortInUse", "serve"]

#: Seconds that the pool has to stop: HTCondor's own time, and that of what must be killed.
_PATIENCE = 60.0
_APPLICATIONS = {"lab": ("jupyterlab.labapp", "LabApp"), "notebook": ("notebook.app", "JupyterNotebookApp")}


class JupyterMissing(WingspanError):
    """JupyterLab is not installed beside Wingspan."""


class PortInUse(WingspanError):
    """Another program listens on the port that was asked for."""


def serve(
    folder: Path,
    *,
    interface: Literal["lab", "notebook"] = "lab",
    port: int | None = None,
    browser: bool = True,
    keep_pool: bool = False,
    options: Sequence[str] = (),
) -> int:
    """Run a Jupyter server until it is stopped, with a pool beside it.

    It listens on loopback and asks for its token, unless Jupyter's own configuration says otherwise.

    Args:
        folder: What it shows.
        interface: JupyterLab, or the one-document Notebook.
        port: Its port; None: 8888, or the next one that is free.
        browser: Open the browser.
        keep_pool: The personal pool stays when the server ends.
        options: Further options of Jupyter's command line, such as ``--ServerApp.base_url=/me/``.

    Returns:
        Exit code of the server.

    Raises:
        JupyterMissing: There is no Jupyter here.
        PortInUse: The port is taken.
    """
    module, name = _APPLICATIONS[interface]
    package = module.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        raise JupyterMissing(f"{package} is not installed here", hint='pip install "wingspan[notebook]"')
    arguments = [f"--ServerApp.root_dir={folder}"]
    if port is not None:
        _check_port(port)
        arguments += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    if not browser:
        arguments.append("--no-browser")
    if os.getuid() == 0:
        arguments.append(
            "--allow-root"
        )  # in containers; Jupyter asks for the word since root is rarely meant
    if not _is_terminal():
        arguments.append("--ServerApp.answer_yes=True")  # nobody is there to be asked after Ctrl-C
    with tempfile.TemporaryDirectory(prefix="wingspan-notebook-", ignore_cleanup_errors=True) as own:
        note = Path(own, "pool.json")
        attendant = start_attendant(note, keep=keep_pool)
        os.environ[NOTE] = str(note)  # read by the server extension, in this process
        arguments += [
            "--ServerApp.jpserver_extensions=wingspan.notebooks.page=True",
            f"--LabServerApp.extra_labextensions_path={Path(__file__).with_name('labextension')}",
        ]
        try:
            _import_jsonschema()
            application: Any = getattr(importlib.import_module(module), name)
            application.launch_instance([*arguments, *options])
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else 1
        finally:
            _dismiss(attendant)
    return 0


def _import_jsonschema() -> None:
    """Import jsonschema, which all of Jupyter uses, without its check of international addresses ("iri").

    No schema of Jupyter's asks for that check, and jsonschema makes a parser for it whenever it is imported:
    1.3 s of processor time, nearly half of a server's start.
    """
    parser = "rfc3987_syntax"
    if parser in sys.modules:
        return
    sys.modules[parser] = None  # type: ignore[assignment]  # importing it is an ImportError now
    try:
        with contextlib.suppress(ImportError):
            importlib.import_module("jsonschema")
    finally:
        del sys.modules[parser]


def _check_port(port: int) -> None:
    """See that nobody listens on a port of the loopback interface.

    Raises:
        PortInUse: Somebody does. SettingsError: It may not be had.
    """
    with socket.socket() as probe:
        # As Jupyter does: a port whose last connections are still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise SettingsError(f"you may not use port {port}", hint="choose one above 1023") from None
        except OSError:
            raise PortInUse(
                f"port {port} of this machine is in use",
                hint="choose another, or leave --port out and the next free one is taken; jupyter server list shows your servers",
            ) from None


def _is_terminal() -> bool:
    try:
        return sys.stdin.isatty()
    except (AttributeError, ValueError):
        return False


def _dismiss(attendant: subprocess.Popen[bytes]) -> None:
    """Have the pool stopped; returns when it is."""
    assert attendant.stdin is not None
    with contextlib.suppress(OSError):
        attendant.stdin.close()
    while True:
        try:
            attendant.wait(_PATIENCE)
        except KeyboardInterrupt:
            continue  # the pool is being stopped; what is half-stopped helps nobody
        except subprocess.TimeoutExpired:
            pass
        return
