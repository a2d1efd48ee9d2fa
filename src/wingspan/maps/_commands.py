"""The commands of ``Options(on_done=…)``, which are called when maps are complete.

They are kept beside the maps, not in their folders: workers may write there, and must not choose what is
executed on the access point.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from wingspan.worker import trust

__all__ = ["forget_command", "keep_command", "kept_command"]


def _command_file(folder: Path) -> Path:
    return folder.parents[1] / "on_done" / folder.name


def keep_command(folder: Path, command: str) -> None:
    """Keep the command of the map that will lie in `folder`.

    Raises:
        OSError: It cannot be written.
    """
    path = _command_file(folder)
    trust.make_folder(str(path.parent))
    trust.write_whole(str(path), command.encode())


def forget_command(folder: Path) -> None:
    """The map is removed."""
    with contextlib.suppress(OSError):
        _command_file(folder).unlink()


def kept_command(folder: Path) -> str | None:
    """The command of the map in `folder`, or None."""
    try:
        return _command_file(folder).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
