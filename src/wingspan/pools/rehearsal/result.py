"""What a rehearsal has found, and the folder that it happens in."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from wingspan._words import lasting, sized
from wingspan.errors import WingspanError
from wingspan.jobs import size_text
from wingspan.pools.rehearsal.execution import Execution
from wingspan.settings import load_settings, private_folder
from wingspan.worker import trust

__all__ = ["Rehearsal", "RehearsalFailed", "rehearsal_folder"]

_WAYS = {
    "apptainer": "in a container of Apptainer's",
    "namespaces": "in namespaces of its own",
    "none": "in a folder of its own",
}
#: How many bytes of what was printed a rehearsal keeps.
_KEPT = 1 << 20


class RehearsalFailed(WingspanError):
    """A rehearsed job failed, or an output is missing."""


@attrs.frozen(kw_only=True, repr=False)
class Rehearsal:
    """How a job fared when it was rehearsed here. Nothing was submitted.

    Attributes:
        name: Which job.
        code: Exit code, as the job would have it.
        way: How the files of this machine were hidden: ``"apptainer"``, ``"namespaces"`` or ``"none"``.
        shared: It saw the disks of this machine, as on a pool that has them, too.
        not_checked: What this rehearsal does not show, one sentence each.
        missed: What the job did not find and what is here, with what to do, one sentence each.
        ended: Why the job was ended, such as its limit of memory; None: it ended by itself.
        outputs: Outputs that it has written, with their sizes (bytes).
        missing: Outputs that were declared and not written.
        left: What it has written and no output names.
        values: Of a map: what the components returned, by their numbers.
        errors: Of a map: what the components raised, by their numbers.
        stdout, stderr: What it has printed, the last megabyte.
        wall, cpu: Seconds.
        peak_memory, peak_disk: The most that it took (bytes), as far as looks twenty times a second tell.
        memory, disk, time: What it asks for (bytes, bytes, seconds); None: nothing.
    """

    name: str
    code: int
    way: str
    shared: bool = False
    not_checked: tuple[str, ...]
    missed: tuple[str, ...]
    ended: str | None
    outputs: Mapping[str, int] = attrs.field(factory=dict)
    missing: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    values: Mapping[int, Any] = attrs.field(factory=dict)
    errors: Mapping[int, Exception] = attrs.field(factory=dict)
    stdout: str = ""
    stderr: str = ""
    wall: float = 0.0
    cpu: float = 0.0
    peak_memory: int = 0
    peak_disk: int = 0
    memory: int | None = None
    disk: int | None = None
    time: int | None = None

    @property
    def ok(self) -> bool:
        """The job did what it is for."""
        return self.code == 0 and self.ended is None and not self.errors

    def check(self) -> Rehearsal:
        """This rehearsal, if it went well.

        Raises:
            RehearsalFailed: It did not; the message says all that is known.
        """
        if self.ok:
            return self
        raise RehearsalFailed(str(self), hint="; ".join(self.missed) or None)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def __repr__(self) -> str:
        return f"<{self}>"

    def _lines(self) -> Iterator[str]:
        how = "it went well" if self.ok else f"it failed, exit code {self.code}"
        hidden = "your /tmp" if self.shared else "your home and your /tmp"
        without = f", without {hidden}" if self.way != "none" else ", with clean variables"
        yield f"{self.name}, rehearsed {_WAYS[self.way]}{without}: {how}"
        if self.ended is not None:
            yield f"  ended: {self.ended}"
        for number, value in self.values.items():
            text = repr(value)
            yield f"  component {number} returned {text if len(text) <= 200 else text[:199] + '…'}"
        for number, error in self.errors.items():
            yield f"  {getattr(error, 'message', None) or f'component {number} failed: {error}'}"
        for path, size in self.outputs.items():
            yield f"  output {path}: {sized(size)}"
        for path in self.missing:
            yield f"  output {path}: missing"
        if self.left:
            yield f"  written and named by no output, so it would not come back: {', '.join(self.left)}"
        for told in self.missed:
            yield f"  {told}"
        yield f"  memory: {_against(self.peak_memory, self.memory)}"
        yield f"  disk: {_against(self.peak_disk, self.disk)}"
        limit = f" of {lasting(self.time)}" if self.time else ""
        yield f"  time: {lasting(self.wall)}{limit}, {lasting(self.cpu)} of them processor time"
        for told in self.not_checked:
            yield f"  not checked: {told}"


def _against(taken: int, asked: int | None) -> str:
    told = f"{size_text(taken) if taken >> 20 else sized(taken)} at most"
    return f"{told}, of {size_text(asked)} that it asks for" if asked else told


def printed_by(execution: Execution) -> tuple[str, str]:
    """The last of what a job has printed to its two streams."""
    texts = []
    for path in (execution.stdout, execution.stderr):
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _KEPT))
            texts.append(file.read().decode("utf-8", "replace"))
    return texts[0], texts[1]


@contextlib.contextmanager
def rehearsal_folder() -> Iterator[Path]:
    """A folder for one rehearsal, gone afterwards; those that a killed rehearsal has left go now."""
    root = private_folder(load_settings().data_dir, "rehearsals")
    folder = root / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(4).hex()}"
    held = trust.open_file(f"{folder}.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        _clear(root)
        trust.make_folder(str(folder))
        yield folder
    finally:
        _remove(folder)
        Path(f"{folder}.lock").unlink(missing_ok=True)
        os.close(held)


def _clear(root: Path) -> None:
    """Remove the folders whose rehearsals have ended: nobody holds their locks."""
    for path in root.glob("*.lock"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path.with_suffix(""))
                path.unlink()
            finally:
                os.close(descriptor)


def _remove(folder: Path) -> None:
    """Remove a folder, also where the job has closed parts of it to its owner."""
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        return
    _open(os.fsencode(folder))
    for place, folders, _ in os.walk(os.fsencode(folder)):
        for name in folders:  # before it is gone into
            _open(os.path.join(place, name))  # noqa: PTH118 - a name with any bytes
    shutil.rmtree(folder, ignore_errors=True)


def _open(folder: bytes) -> None:
    """Give its owner all rights to a folder; what a link leads to stays as it is."""
    if not os.path.islink(folder):  # noqa: PTH114 - a name with any bytes
        with contextlib.suppress(OSError):
            os.chmod(folder, 0o700)  # noqa: PTH101 - the same
