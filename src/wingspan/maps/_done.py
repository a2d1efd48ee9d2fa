"""What follows when a map is complete: the command that its maker wants to be called, and a mark once all its
outputs were read."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from wingspan.maps._commands import kept_command
from wingspan.worker import rounds, trust

if TYPE_CHECKING:
    from wingspan.maps._components import Components
    from wingspan.maps._folder import MapFolder

__all__ = ["call_when_done", "is_read", "mark_read", "mark_unread"]

#: The file that says that somebody has read all outputs.
_READ = "read"
#: What the shell does: the command goes on by itself, and what it prints is kept beside the map.
_DETACHED = 'sh -c "$1" </dev/null >>"$2" 2>&1 &'


def mark_read(folder: MapFolder) -> None:
    """Somebody has read all outputs of the map: ``wingspan clean --consumed`` may remove it."""
    with contextlib.suppress(OSError):
        os.close(os.open(folder.path / _READ, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, trust.FILE))


def mark_unread(folder: MapFolder) -> None:
    """There will be others."""
    with contextlib.suppress(OSError):
        (folder.path / _READ).unlink()


def is_read(folder: MapFolder) -> bool:
    """Somebody has read all outputs, since they were computed last."""
    return (folder.path / _READ).exists()


def call_when_done(folder: MapFolder, results: Components) -> None:
    """Call the command of ``Options(on_done=…)`` of a map that is complete, unless somebody has.

    Of all processes that notice the completion, the one that creates a file calls it: once when the map is
    complete, and once more after each `Map.rerun`. The command goes on by itself. Workers can write to the
    map's folder, but they cannot choose the command.
    """
    if not folder.info.options.get("on_done"):
        return
    command = kept_command(folder.path)
    if command is None:
        return
    again = sum(plan.kind == rounds.RERUN for plan in results.plans.values())
    with contextlib.suppress(OSError):
        if not folder.transport.create_whole(f"done-{again}", b""):
            return
        failed = len(results.failed)
        made_in = folder.info.made_in
        subprocess.run(
            ["/bin/sh", "-c", _DETACHED, "sh", command, str(folder.path / "on_done.out")],
            cwd=made_in if made_in and Path(made_in).is_dir() else folder.path,
            env={
                **os.environ,
                "WINGSPAN_TAG": folder.info.tag,
                "WINGSPAN_STATE": "failed" if failed else "completed",
                "WINGSPAN_COMPONENTS": str(results.n),
                "WINGSPAN_FAILED": str(failed),
            },
            start_new_session=True,
            check=False,
        )
