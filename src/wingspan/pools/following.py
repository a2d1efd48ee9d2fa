"""Maps and runs that begin when earlier ones are done: the files about that, and the carrier that begins
them.

The folder ``follow`` in that of the map or run has ``plan.json`` (what it follows), and, once that is
decided, ``outcome.json``: it has begun, or why it cannot. The carrier looks after it (`wingspan.carrier`), a
job of the scheduler, so nobody need be logged in: on HTCondor one of the scheduler universe, which runs on
the access point, as DAGMan does; on Slurm one that starts when the earlier jobs have ended; on `local` a
process.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from wingspan._files import lock
from wingspan._python import this_python
from wingspan.errors import PoolError, SettingsError
from wingspan.jobs import JobDescription, Resources, Submission
from wingspan.pools._base import JobState
from wingspan.pools._select import get_pool
from wingspan.pools.submissions import SubmissionLog
from wingspan.settings import load_settings
from wingspan.worker import trust

if TYPE_CHECKING:
    from wingspan.pools._base import Pool

__all__ = ["FOLDER", "Earlier", "Following", "earlier_ones", "followed_by_others"]

#: The folder, in that of a map or run.
FOLDER = "follow"
_PLAN, _OUTCOME = "plan.json", "outcome.json"
#: What a carrier asks for, where it needs a slot.
_MEMORY = 512 << 20
#: How often a process that waits looks whether there is a carrier (s).
_LOOK_SECONDS = 10.0
#: Variables that say where maps, runs and schedulers are.
_VARIABLES = (
    "PATH",
    "HOME",
    "SLURM_CONF",
    "CONDOR_CONFIG",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
)
_PREFIXES = ("WINGSPAN_", "_CONDOR_")


@attrs.frozen(kw_only=True)
class Earlier:
    """What is followed.

    Attributes:
        kind: ``"map"`` or ``"run"``.
        name: The map's tag when it was named, or the run's name.
        path: Its folder.
    """

    kind: Literal["map", "run"]
    name: str
    path: Path

    def __str__(self) -> str:
        return f"the {self.kind} {self.name!r}"


#: Returns for a name whether a map or a run has it, and its folder; None: nothing has it.
Find: TypeAlias = Callable[[str], tuple[Literal["map", "run"], Path] | None]


def earlier_ones(given: Any, find: Find) -> tuple[Earlier, ...]:
    """What is meant by ``after=``: maps, runs, or their names; one, or several.

    Args:
        given: The argument.
        find: Finds what a name means.

    Raises:
        SettingsError: It is none, or there is none of this name.
    """
    several = given if isinstance(given, list | tuple | set) else [given] if given is not None else []
    return tuple(dict.fromkeys(_earlier(one, find) for one in several))


def _earlier(one: Any, find: Find) -> Earlier:
    if isinstance(one, str):
        found = find(one)
        if found is None:
            raise SettingsError(
                f"there is no map and no run {one!r} that could be followed",
                hint="wingspan runs and wingspan status list what there is",
            )
        return Earlier(kind=found[0], name=one, path=found[1])
    kind: Literal["map", "run"] = "map" if hasattr(one, "tag") else "run"
    name, path = getattr(one, "tag", None) or getattr(one, "name", None), getattr(one, "path", None)
    if not isinstance(name, str) or not isinstance(path, Path):
        raise SettingsError(
            f"{one!r:.100} cannot be followed", hint="after= takes maps, runs, or their names"
        )
    return Earlier(kind=kind, name=name, path=path)


def followed_by_others(folders: Iterable[Path]) -> set[Path]:
    """Folders of maps and runs that are waited for by those of `folders` that follow them."""
    found: set[Path] = set()
    for folder in folders:
        following = Following.of(folder)
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if following is not None and following.is_waiting:
                found.update(one.path for one in following.earlier)
    return found


class Following:
    """What is known of a map or run that begins when others are done.

    Args:
        folder: The folder of the map or run that does.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._place = folder / FOLDER
        self.carriers: SubmissionLog = SubmissionLog(self._place)
        self._next_look = time.monotonic() + _LOOK_SECONDS

    @classmethod
    def of(cls, folder: Path) -> Following | None:
        """What the map or run in `folder` follows, or None."""
        return cls(folder) if (folder / FOLDER / _PLAN).is_file() else None

    @classmethod
    def write(cls, folder: Path, earlier: Iterable[Earlier], outputs_of: Iterable[str] = ()) -> Following:
        """Write down what a map or run follows.

        Args:
            folder: Of the map or run, as it is now.
            earlier: What it follows.
            outputs_of: Names of those whose outputs go along with a run.
        """
        trust.make_folder(str(folder / FOLDER))
        plain = {
            "earlier": [{"kind": one.kind, "name": one.name, "path": str(one.path)} for one in earlier],
            "outputs_of": list(outputs_of),
        }
        trust.write_whole(str(folder / FOLDER / _PLAN), json.dumps(plain).encode())
        return cls(folder)

    def _plan(self) -> dict[str, Any]:
        plan: dict[str, Any] = json.loads((self._place / _PLAN).read_bytes())
        return plan

    @property
    def earlier(self) -> tuple[Earlier, ...]:
        """What is followed."""
        return tuple(Earlier(**{**one, "path": Path(one["path"])}) for one in self._plan()["earlier"])

    @property
    def outputs_of(self) -> tuple[str, ...]:
        """Names of those whose outputs go along."""
        return tuple(self._plan()["outputs_of"])

    @property
    def is_waiting(self) -> bool:
        """It has not begun, and may still."""
        return not (self._place / _OUTCOME).exists()

    @property
    def refusal(self) -> str | None:
        """Why it will not begin; None: it has begun, or waits."""
        try:
            outcome = json.loads((self._place / _OUTCOME).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        why: str | None = outcome["why_not"]
        return why

    def __str__(self) -> str:
        return " and ".join(map(str, self.earlier))

    def end(self, why_not: str | None) -> None:
        """Write down that it has begun (None), or why it will not."""
        trust.write_whole(str(self._place / _OUTCOME), json.dumps({"why_not": why_not}).encode())

    def reset(self) -> None:
        """Let it wait again."""
        (self._place / _OUTCOME).unlink(missing_ok=True)

    def alone(self) -> contextlib.AbstractContextManager[bool]:
        """Held while it is looked after: only one process does that."""
        return lock(self._place / "lock")

    # -- the carrier -----------------------------------------------------------------------------------------

    def carry(self, pool: Pool) -> None:
        """Submit a carrier.

        Raises:
            PoolError: The pool does not take it.
        """
        after = tuple(self._jobs_before(pool.kind)) if pool.orders_jobs else ()
        job = JobDescription(
            name=f"{self.folder.name}-follows",
            executable=this_python(),
            arguments=("-m", "wingspan.carrier", str(self.folder)),
            working_dir=self._place,
            environment=_environment(),
            stdout=str(self._place / "out"),
            stderr=str(self._place / "err"),
            transfer_files=False,
            resources=Resources(memory=None if pool.runs_here else _MEMORY),
            custom={"WingspanRun": self.folder.name},
            submit={"on_exit_remove": "ExitBySignal =!= true || NumJobStarts >= 5"},
            at_access_point=True,
            after=after,
            after_end=True,
        )
        self.carriers.add(pool.submit(job), first=len(self.carriers.entries()), place=pool.place)

    def _jobs_before(self, kind: str) -> Iterable[Submission]:
        """Jobs of a Slurm cluster, or of another such pool, that work on what is followed."""
        for one in self.earlier:
            for log in (SubmissionLog(one.path), SubmissionLog(one.path / FOLDER)):
                yield from (entry for entry in log.entries() if entry.pool == kind and not entry.external)

    def is_carried(self) -> bool:
        """A carrier is there, as far as schedulers can tell."""
        for entry in self.carriers.entries():
            with contextlib.suppress(PoolError):
                watcher = get_pool(entry.pool, entry.place).watch([entry], self._place)
                with contextlib.closing(watcher):
                    told = {event.cluster: event.state for event in (*watcher.poll(), *watcher.ask())}
                if not told.get(entry.cluster, JobState.IDLE).is_final:
                    return True
        return False

    def carry_on(self, kind: str) -> None:
        """See that a carrier is there. A process that waits calls this often; it looks seldom.

        Args:
            kind: Pool that the map or run is for.
        """
        if time.monotonic() < self._next_look or not self.is_waiting:
            return
        self._next_look = time.monotonic() + _LOOK_SECONDS
        entries = self.carriers.entries()
        if not self.is_carried() and self.is_waiting:
            with contextlib.suppress(PoolError):
                self.carry(get_pool(entries[-1].pool, entries[-1].place) if entries else get_pool(kind))

    def stop(self, reason: str) -> None:
        """Take the carrier out of its queue, and have it begin nothing any more."""
        if self.is_waiting:
            self.end(reason)
        for entry in self.carriers.entries():
            with contextlib.suppress(PoolError):
                get_pool(entry.pool, entry.place).act("remove", [entry], self._place, reason)


def _environment() -> dict[str, str]:
    settings = load_settings()
    found = {
        name: value for name, value in os.environ.items() if name in _VARIABLES or name.startswith(_PREFIXES)
    }
    return {
        **found,
        "WINGSPAN_DATA_DIR": str(settings.data_dir),
        "WINGSPAN_CACHE_DIR": str(settings.cache_dir),
    }
