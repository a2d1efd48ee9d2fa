"""What a rerun replaces lies aside until the new jobs are in the queue: a crash in between loses nothing.

``earlier/<time>/before`` says which jobs worked on the run when that began, and is written before anything is
moved. The lock of the run is held all the while; so where it is free, and something still lies aside, its
owner has died: what was not submitted since then goes back.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wingspan.runs._folder import RunFolder
from wingspan.worker import trust

__all__ = ["put_aside", "something_lies_aside", "take_back"]

_FOLDER, _BEFORE, _DONE = "earlier", "before", "done-"


def something_lies_aside(folder: RunFolder) -> bool:
    """A rerun is under way, or its process has died."""
    return (folder.path / _FOLDER).exists()


def _of_job(folder: Path, number: int) -> tuple[Path, ...]:
    """All that a job leaves in a folder of the run's form."""
    return (
        folder / f"outputs-{number}",
        folder / f"checkpoint-{number}",
        *(folder / "logs" / f"{number}.{which}" for which in ("out", "err")),
    )


def put_aside(folder: RunFolder, numbers: Iterable[int]) -> None:
    """Move what these jobs have left out of the way.

    Raises:
        OSError: The folder cannot be written; all is where it was.
    """
    chosen = sorted(numbers)
    aside = folder.path / _FOLDER / str(time.time_ns())
    try:
        trust.make_folder(str(aside / "logs"))
        before = {"numbers": chosen, "clusters": [entry.cluster for entry in folder.submissions.entries()]}
        trust.write_whole(str(aside / _BEFORE), json.dumps(before).encode())
        for number in chosen:
            for here, there in zip(_of_job(folder.path, number), _of_job(aside, number), strict=True):
                with contextlib.suppress(FileNotFoundError):
                    here.rename(there)
    except OSError:
        with contextlib.suppress(OSError):
            take_back(folder)
        raise


def take_back(folder: RunFolder) -> None:
    """Put back what lies aside of jobs that were not submitted since, and delete the rest.

    The caller holds the run's lock.

    Raises:
        OSError: The folder cannot be written; it goes on from here the next time.
    """
    top = folder.path / _FOLDER
    try:
        asides = sorted(top.iterdir(), reverse=True)
    except FileNotFoundError:
        return
    for aside in asides:
        if not aside.name.startswith(_DONE):
            for number in _not_submitted(folder, aside):
                for here, there in zip(_of_job(folder.path, number), _of_job(aside, number), strict=True):
                    if there.exists() and not here.exists():
                        trust.make_folder(str(here.parent))
                        there.rename(here)
            # Half removed it must not be taken for something to put back.
            aside = aside.rename(top / f"{_DONE}{aside.name}")  # noqa: PLW2901
        shutil.rmtree(aside, ignore_errors=True)
    with contextlib.suppress(OSError):
        top.rmdir()


def _not_submitted(folder: RunFolder, aside: Path) -> list[int]:
    """Numbers of the jobs in `aside` that no submission since then does again."""
    try:
        before: dict[str, Any] = json.loads((aside / _BEFORE).read_bytes())
    except (FileNotFoundError, ValueError):
        return []  # it had only begun: nothing was moved yet
    again = {
        number
        for entry in folder.submissions.entries()
        if entry.cluster not in before["clusters"]
        for number in entry.numbers
    }
    return [number for number in before["numbers"] if number not in again]
