"""A run on disk, made whole or not at all. The folder's name is the run's.

::

    runs/<name>/run.json          what was asked for (`RunSpec`), pool, versions, created
               job.sh             the jobs' script
               inputs/            what they read, as it was when the run was made
               inputs-<k>/        the same, taken anew for jobs that were done again; job-<k>.sh, where the
               script copies them submissions        append-only: which jobs work on it events.log
               HTCondor's event log (local.log: the local pool's) logs/<n>.{out,err} what the jobs print,
               while they do outputs-<n>/       what they wrote, with its paths, and .wingspan-outcome
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from wingspan._data_folder import runs_root, tags_root
from wingspan._files import not_written
from wingspan.pools.submissions import SubmissionLog
from wingspan.runs._errors import RunDamaged, RunError, RunExists, RunNotFound
from wingspan.runs._info import RunInfo
from wingspan.runs._spec import RunSpec, check_name
from wingspan.settings import private_folder
from wingspan.worker import trust

__all__ = [
    "RunFolder",
    "create_run_folder",
    "is_aftermath",
    "list_names",
    "name_in_use",
    "remove_run_folder",
    "runs_root",
]

#: Seconds after which the jobs of a run that was removed have ended, and their log is of no use.
_AFTERMATH = 600.0


def list_names() -> tuple[str, ...]:
    """Names of all runs, sorted."""
    try:
        return tuple(
            sorted(
                path.name
                for path in runs_root().iterdir()
                if not path.name.startswith(".") and path.is_dir() and not is_aftermath(path)
            )
        )
    except (FileNotFoundError, NotADirectoryError):
        return ()


def is_aftermath(path: Path) -> bool:
    """No run, but a folder that HTCondor made to log the end of a removed run's jobs (seen with 25.14)."""
    try:
        with os.scandir(path) as entries:
            names = [entry.name for entry in entries]
    except OSError:
        return False
    return "events.log" in names and set(names) <= {"events.log", "logs"}


def name_in_use(name: str) -> str | None:
    """What has that name already: ``"run"``, ``"map"``, or None."""
    path = runs_root() / name
    if os.path.lexists(path) and not is_aftermath(path):
        return "run"
    return "map" if os.path.lexists(tags_root() / name) else None


def new_name(command: str) -> str:
    """A free name made of the command's: ``train-1``."""
    stem = re.sub(r"[^A-Za-z0-9]+", "-", command).strip("-").lower()[:40] or "run"
    taken = {name for name in list_names() if name.startswith(f"{stem}-")}
    number = 1
    while f"{stem}-{number}" in taken or name_in_use(f"{stem}-{number}"):
        number += 1
    return f"{stem}-{number}"


def create_run_folder(
    spec: RunSpec, pool: str, fill: Callable[[Path, Path], int | None], stem: str | None = None
) -> RunFolder:
    """Write a run's folder and put it in place with one rename.

    Args:
        spec: The run; its name is made up from `stem` if that is given.
        pool: Kind of the pool that it is for.
        fill: Called with the folder as it is now and as it will be, to put everything else there; answers the
            size of the inputs.

    Raises:
        RunExists: The name is in use.
        RunError: The disk is full, or the folder cannot be written. Nothing is left then.
    """
    root = runs_root()
    temporary = root / f".new-{spec.name}-{secrets.token_hex(4)}"
    try:
        private_folder(root.parent, root.name)
        for folder in (temporary, temporary / "logs"):
            trust.make_folder(str(folder))
        while (used := name_in_use(spec.name)) or (used := _put_in_place(spec, pool, fill, temporary)):
            if stem is None:
                raise _exists(spec.name, used)
            spec = attrs.evolve(spec, name=new_name(stem))
        return RunFolder(root / spec.name)
    except OSError as error:
        if isinstance(error, RunError):
            raise
        message, hint = not_written(error, "the run", root)
        raise RunError(message, hint=hint) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put_in_place(
    spec: RunSpec, pool: str, fill: Callable[[Path, Path], int | None], temporary: Path
) -> str | None:
    """Write the rest of a run to its temporary folder, and rename that.

    Returns:
        ``"run"`` if another run has taken the name meanwhile; None: it is done.
    """
    target = runs_root() / spec.name
    if is_aftermath(target):
        shutil.rmtree(target, ignore_errors=True)
    info = RunInfo(
        spec=spec,
        pool=pool,
        python=sys.version.split()[0],
        input_bytes=fill(temporary, target),
        created=time.time(),
    )
    trust.write_whole(str(temporary / "run.json"), json.dumps(info.to_json(), indent=1).encode())
    try:
        temporary.rename(target)  # onto a folder that has something in it this fails
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        return "run"
    return None


def _exists(name: str, used: str) -> RunExists:
    again = "; --exist-ok (exist_ok=True) takes it up again if it is the same" if used == "run" else ""
    return RunExists(
        f"there is a {used} with the name {name!r} already",
        hint=f"choose another --name, or remove it and its results: wingspan rm {name}{again}",
    )


def remove_run_folder(path: Path) -> None:
    """Remove a run, and what is left of runs that were removed before.

    The folder is renamed first: a run that is half removed is in no list.
    """
    grave = path.with_name(f".removed-{path.name}-{time.time_ns()}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(grave)
        shutil.rmtree(grave, ignore_errors=True)
    for old in path.parent.iterdir():
        # Jobs of runs that were removed earlier have ended since.
        with contextlib.suppress(FileNotFoundError):  # another process does the same
            if is_aftermath(old) and time.time() - old.stat().st_mtime > _AFTERMATH:
                shutil.rmtree(old, ignore_errors=True)


@attrs.define(eq=False)
class RunFolder:
    """The folder of one run.

    Attributes:
        path: The folder.
        info: What ``run.json`` says.
        plain: The same as it stands there.
        submissions: Which jobs work on it.
    """

    path: Path
    info: RunInfo = attrs.field(init=False)
    plain: dict[str, Any] = attrs.field(init=False, repr=False)
    submissions: SubmissionLog = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.submissions = SubmissionLog(self.path)
        try:
            self.plain = json.loads((self.path / "run.json").read_bytes())
            self.info = RunInfo.from_json(self.plain, self.path)
        except FileNotFoundError:
            if self.path.is_dir() and not is_aftermath(self.path):
                raise RunDamaged(f"{self.path} has no run.json", hint="wingspan rm removes it") from None
            raise _not_found(self.path.name) from None
        except (ValueError, KeyError, TypeError, IsADirectoryError) as error:
            raise RunDamaged(
                f"{self.path}/run.json cannot be read: {error}", hint="wingspan rm removes it"
            ) from error

    @property
    def spec(self) -> RunSpec:
        """What was asked for."""
        return self.info.spec

    def inputs(self, version: int) -> Path:
        """The folder of a version of the inputs: 0 is as the run was made, later ones are of reruns."""
        return self.path / (f"inputs-{version}" if version else "inputs")

    def script(self, version: int) -> Path:
        """The jobs' script that copies those inputs, where the pool's engine moves no files."""
        return self.path / (f"job-{version}.sh" if version else "job.sh")

    def newest_inputs(self) -> int:
        """The number of the inputs that were taken last."""
        versions = [path.name.removeprefix("inputs-") for path in self.path.glob("inputs-*")]
        return max((int(version) for version in versions if version.isdigit()), default=0)

    def inputs_taken(self, version: int) -> float:
        """When those inputs were taken, Unix time."""
        try:
            return self.inputs(version).stat().st_mtime if version else self.info.created
        except OSError:
            return self.info.created


def open_run_folder(name: str) -> RunFolder:
    """The folder of the run of that name.

    Raises:
        InvalidName: No run can have it.
        RunNotFound: None has.
        RunDamaged: It cannot be read.
    """
    return RunFolder(runs_root() / check_name(name))


def _not_found(name: str) -> RunNotFound:
    import difflib

    if (tags_root() / name).exists():
        return RunNotFound(
            f"{name!r} is a map, not a run",
            hint=f"wingspan.load({name!r}) opens it; wingspan status {name} and errors {name} show how it fares",
        )
    near = difflib.get_close_matches(name, list_names(), n=1)
    return RunNotFound(
        f"no run has the name {name!r}",
        hint=f"did you mean {near[0]!r}?" if near else "wingspan runs lists them",
    )
