"""Real Jupyter servers for tests, as ``wingspan notebook`` starts them, and cells that run on them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from _waiting import PATIENCE, until
from wingspan.pools.personal.ports import free_port

__all__ = ["Cell", "Kernel", "Server"]


class Cell:
    """What a cell has answered: its outputs as in a saved notebook, and whether it ended well."""

    def __init__(self, reply: dict[str, Any]) -> None:
        self.status: str = reply["status"]
        self.outputs: list[dict[str, Any]] = reply["outputs"]

    @property
    def text(self) -> str:
        """Everything it printed, answered or raised, as text."""
        parts = []
        for one in self.outputs:
            parts.append("".join(one.get("text", "")))
            parts.append("".join(one.get("data", {}).get("text/plain", "")))
            parts.append("\n".join(one.get("traceback", [])))
        return "\n".join(part for part in parts if part)

    def __repr__(self) -> str:
        return f"{self.status}: {self.text}"


class Kernel:
    """A kernel of a server.

    Args:
        url: Of the server.
        token: That it wants.
    """

    def __init__(self, url: str, token: str) -> None:
        from jupyter_kernel_client import JupyterKernelClient

        self._client = JupyterKernelClient(server_url=url.rstrip("/"), token=token)
        self._client.start(timeout=PATIENCE)

    def run(self, code: str) -> Cell:
        """Execute a cell, and wait for its end."""
        return Cell(self._client.execute(code, timeout=PATIENCE))

    def interrupt(self) -> None:
        """What the stop button does."""
        self._client.interrupt(timeout=PATIENCE)

    def restart(self) -> None:
        """What the restart button does."""
        self._client.restart(timeout=PATIENCE)

    def close(self) -> None:
        """Shut it down."""
        self._client.stop(shutdown_kernel=True, timeout=PATIENCE)


class Server:
    """``wingspan notebook`` as a process.

    Args:
        folder: What it shows; its runtime files and settings lie below it, too.
        options: Of the command line.
        environment: Further variables.

    Attributes:
        folder: What it shows.
    """

    def __init__(self, folder: Path, *options: str, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self._runtime = folder / f"runtime-{free_port()}"
        self._runtime.mkdir(parents=True)
        self.port = free_port()
        if not any(option.startswith("--port") for option in options):
            options = (f"--port={self.port}", *options)
        own = {
            "JUPYTER_RUNTIME_DIR": str(self._runtime),
            "JUPYTER_CONFIG_DIR": str(self._runtime / "config"),
            "JUPYTER_DATA_DIR": str(self._runtime / "data"),
            "IPYTHONDIR": str(self._runtime / "ipython"),
        }
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("JUPYTER", "JPY"))
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wingspan", "notebook", "--no-browser", *options],
            cwd=folder,
            env={**inherited, **own, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._kernels: list[Kernel] = []

    def _read(self) -> None:
        assert self.process.stderr is not None
        self._lines.extend(self.process.stderr)

    @property
    def told(self) -> str:
        """What it has printed so far."""
        return "".join(self._lines)

    def says(self, text: str) -> None:
        """Wait until it has printed `text`."""
        until(lambda: text in self.told, lambda: f"{text!r} in:\n{self.told}")

    def _info(self) -> dict[str, Any] | None:
        for path in self._runtime.glob("jpserver-*.json"):
            try:
                return json.loads(path.read_text(encoding="utf-8"))
            except ValueError:  # half written
                continue
        return None

    def wait_until_up(self) -> Server:
        """Wait until it answers."""
        info = until(
            lambda: self._info() or (self.process.poll() is not None and {}),
            lambda: f"a server:\n{self.told}",
        )
        self.url, self.token = info["url"], info["token"]
        until(lambda: self.get("api/status")[0] == 200, "an answer of the server")
        return self

    def get(self, path: str, *, token: bool = True) -> tuple[int, str]:
        """Status and body of a page."""
        headers = {"Authorization": f"token {self.token}"} if token else {}
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, ""
        except OSError:
            return 0, ""

    def kernel(self) -> Kernel:
        """A new kernel."""
        kernel = Kernel(self.url, self.token)
        self._kernels.append(kernel)
        return kernel

    def end_kernels(self) -> None:
        """Shut all its kernels down."""
        for kernel in self._kernels:
            kernel.close()
        self._kernels.clear()

    def end(self, number: int = signal.SIGINT) -> int:
        """End it by a signal; answers its exit code when it, and all that holds its output, has ended."""
        self.end_kernels()
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)  # the attendant writes to the same pipe
        return code

    def close(self) -> None:
        """End it, whatever state it is in."""
        if self.process.poll() is None:
            try:
                self.end()
            finally:
                self.process.kill()
                self.process.wait()
        self._reader.join(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()
