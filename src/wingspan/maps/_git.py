"""Which commit of the caller's git repository a map was made with.

Asking git may take long (it looks at all files), so nobody waits for it, not even at the end of a program: a
process that outlives this one writes the answer into the map's folder. Maps that are made within a few
seconds share an answer.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from wingspan.worker import trust

__all__ = ["note_commit", "read_commit"]

#: What git said; maps of Wingspan 0.2.0 have it in a file that was written whole.
_FILE, _FILE_OF_0_2_0 = "commit", "git"
#: The last line of an answer that is whole: the file grows while git writes.
_WHOLE = "# wingspan.whole"
#: Seconds for which an answer holds.
_HOLDS = 5.0
#: It is nobody's child, so that a program that waits for children of its own does not meet it. It gives up
#: after five seconds of processor time, and starts no file system monitor.
_ASK = (
    "{ ulimit -t 5; git -c core.fsmonitor=false status --porcelain=v2 --branch --untracked-files=no"
    f" && echo '{_WHOLE}'; }} &"
)

#: By process and repository: when git was asked, and where it writes to.
_answers: dict[tuple[int, str], tuple[float, Path]] = {}


def note_commit(folder: Path, made_in: str | None) -> None:
    """Have the commit written down, if the map was made in a git repository; this does not wait.

    Args:
        folder: The map's, in its place.
        made_in: The caller's working folder.
    """
    repository = _repository(made_in) if made_in is not None else None
    if repository is None:
        return
    asked, answer = _answers.get((os.getpid(), repository), (0.0, None))
    # Whatever goes wrong here, the map is not affected.
    with contextlib.suppress(OSError):
        if answer is not None and time.monotonic() - asked <= _HOLDS:
            with contextlib.suppress(OSError):  # that map was removed, or there are no hard links
                os.link(answer, folder / _FILE)
                return
        _ask(repository, folder / _FILE)
        _answers[os.getpid(), repository] = time.monotonic(), folder / _FILE


def _ask(repository: str, answer: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(answer, flags, trust.FILE), "wb") as file:
        subprocess.run(
            ["/bin/sh", "-c", _ASK],
            cwd=repository,
            # Without optional locks it does not block other git commands.
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=False,
        )


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
    lines = _lines(folder / _FILE)
    if lines is None:
        lines = _lines(folder / _FILE_OF_0_2_0)
    elif lines[-1:] != [_WHOLE]:
        return None
    if lines is None:
        return None
    heads = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
    commit = heads.get("branch.oid")
    return {
        "commit": None if commit == "(initial)" else commit,
        "branch": heads.get("branch.head"),
        "dirty": any(line and not line.startswith("#") for line in lines),
    }


def _lines(path: Path) -> list[str] | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
