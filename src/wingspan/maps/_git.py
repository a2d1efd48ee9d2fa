"""Which commit of the caller's git repository a map was made with.

Asking git may take long (it looks at all files), so nobody waits for it: a thread does, and writes the answer
into the map's folder. Maps that are made within a few seconds share an answer.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from wingspan.worker import trust

__all__ = ["note_commit", "read_commit"]

_FILE = "git"
#: Seconds for which an answer holds, and that git may take.
_HOLDS, _PATIENCE = 5.0, 5.0
#: Without a file system monitor, which it would start.
_ASK = (
    *("git", "-c", "core.fsmonitor=false", "status"),
    *("--porcelain=v2", "--branch", "--untracked-files=no"),
)


class _Answer:
    """What git says of a repository, as soon as it has."""

    def __init__(self, repository: str) -> None:
        self._repository = repository
        self._lock = threading.Lock()
        self._waiting: list[Path] = []
        self._text: bytes | None = None
        self._is_there = False
        self.asked = time.monotonic()
        # No daemon: a script that ends at once leaves its map's commit, too.
        threading.Thread(target=self._ask, name="wingspan-git", daemon=False).start()

    def tell(self, folder: Path) -> None:
        """Write the answer into a map's folder: now, or when it is there."""
        with self._lock:
            if not self._is_there:
                self._waiting.append(folder)
                return
        self._write(folder)

    def _ask(self) -> None:
        # Without optional locks it is in nobody's way.
        environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            self._text = subprocess.run(
                _ASK,
                cwd=self._repository,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PATIENCE,
                check=True,
            ).stdout
        with self._lock:
            self._is_there = True
        for folder in self._waiting:
            self._write(folder)

    def _write(self, folder: Path) -> None:
        if self._text is not None:
            with contextlib.suppress(OSError):  # the map was removed
                trust.write_whole(str(folder / _FILE), self._text)


#: By process and repository.
_answers: dict[tuple[int, str], _Answer] = {}


def note_commit(folder: Path, made_in: str | None) -> None:
    """Have the commit written down, if the map was made in a git repository; this does not wait.

    Args:
        folder: The map's, in its place.
        made_in: The caller's working folder.
    """
    repository = _repository(made_in) if made_in is not None else None
    if repository is None:
        return
    known = _answers.get((os.getpid(), repository))
    if known is None or time.monotonic() - known.asked > _HOLDS:
        known = _answers[os.getpid(), repository] = _Answer(repository)
    known.tell(folder)


def _repository(folder: str) -> str | None:
    """The folder, or the first above it, that has a ``.git``."""
    while folder:
        if os.path.lexists(f"{folder}/.git"):
            return folder
        folder = folder.rpartition("/")[0]
    return None


def read_commit(folder: Path) -> dict[str, Any] | None:
    """``commit`` (None before the first one), ``dirty`` (tracked files differ from it) and ``branch``.

    None: the map was made in no repository, there is no git, or git has not answered yet.
    """
    try:
        lines = (folder / _FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    heads = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
    commit = heads.get("branch.oid")
    return {
        "commit": None if commit == "(initial)" else commit,
        "branch": heads.get("branch.head"),
        "dirty": any(line and not line.startswith("#") for line in lines),
    }
