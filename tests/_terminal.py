"""A process in a terminal of its own, as a person has it."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import pytest

from _waiting import PATIENCE


class Terminal:
    """Starts a command in a new pseudo-terminal; `expect` waits for what it prints, `send` types.

    Args:
        command: Program and arguments.
        cwd: Its working folder.
        environment: Its variables.
    """

    def __init__(self, command: Sequence[str], *, cwd: Path, environment: Mapping[str, str]) -> None:
        #: All that was printed.
        self.text = ""
        self._seen = 0
        pid, descriptor = pty.fork()
        if pid == 0:
            try:
                os.chdir(cwd)
                os.execvpe(command[0], list(command), dict(environment))
            finally:
                os._exit(127)
        self._pid, self._descriptor, self._code = pid, descriptor, -1

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._code == -1:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGHUP)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
        os.close(self._descriptor)

    def _read(self, deadline: float) -> bool:
        """Whether there was more to read before the process ended."""
        ready, _, _ = select.select([self._descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            pytest.fail(f"nothing more within {PATIENCE:.0f} s; it printed:\n{self.text}")
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:  # Linux: everybody who had the terminal has closed it
            return False
        self.text += data.decode("utf-8", "replace")
        return bool(data)

    def expect(self, pattern: str) -> re.Match[str]:
        """Wait until it prints what matches `pattern`, after what was matched last."""
        deadline = time.monotonic() + PATIENCE
        while not (found := re.compile(pattern).search(self.text, self._seen)):
            if not self._read(deadline):
                pytest.fail(f"it ended without {pattern!r}; it printed:\n{self.text}")
        self._seen = found.end()
        return found

    def send(self, line: str) -> None:
        """Type a line, and Enter."""
        self.type(f"{line}\n")

    def type(self, text: str) -> None:
        """Type as it is; ``"\\x03"`` is Ctrl-C."""
        os.write(self._descriptor, text.encode())

    def end(self) -> int:
        """Wait for its end; its exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        self._code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._code
