"""Runs that are here: what is new of one, and what a laptop wants to be done to it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from wingspan.errors import PoolError
from wingspan.pools import JobEvent, JobState
from wingspan.pools.submissions import LoggedSubmission
from wingspan.runs._errors import RunNotFound
from wingspan.runs._folder import RunFolder, name_in_use
from wingspan.runs._run import Run
from wingspan.serving._answers import Answer, Files

__all__ = ["OneRun"]


class OneRun:
    """One run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = Files(folder)
        self._run: Run | None = None
        self._message: str | None = None

    @property
    def run(self) -> Run:
        """The run.

        Raises:
            RunNotFound: It was removed.
        """
        if self._run is None or not (self.folder / "run.json").exists():
            self._run = None
            if not (self.folder / "run.json").exists():
                raise RunNotFound("the run was removed on the access point", hint="make it again")
            self._run = Run(RunFolder(self.folder))
        return self._run

    def entries(self) -> tuple[LoggedSubmission, ...]:
        """Its submissions."""
        return self.run._folder.submissions.entries()

    def look(self, *, reconcile: bool) -> Mapping[str, Any]:
        """Take in what is new, and speed up its jobs if somebody waits."""
        run = self.run
        status = run.status()
        self._message = status.message
        if reconcile and not status.is_done:
            with contextlib.suppress(PoolError):  # the message of the status says what is wrong
                run.attend(status)
        with os.scandir(self.folder / "logs") as logs:
            for entry in logs:
                if entry.is_file(follow_symlinks=False) and not entry.name.startswith("."):
                    facts = entry.stat(follow_symlinks=False)
                    self.files.grown(f"logs/{entry.name}", facts.st_size, facts.st_ino)
        return {}

    def jobs(self) -> Iterable[JobEvent]:
        """Its jobs, each as it is now."""
        known = self.run._events
        for entry in self.entries():
            for process in range(entry.count):
                event = known.get((entry.cluster, process))
                if event is None:
                    event = JobEvent(
                        cluster=entry.cluster, proc=process, state=JobState.IDLE, time=entry.time
                    )
                yield attrs.evolve(event, notes=None, schedd=None)

    def do(self, what: Mapping[str, Any], data: bytes) -> Answer:
        """Do what a request asks for."""
        do = _DO.get(what["do"])
        if do is None:
            raise ValueError(f"{what['do']!r} is not something that can be done")
        return Answer(do(self, what) or {})

    def _act(self, what: Mapping[str, Any]) -> None:
        {
            "hold": self.run.hold,
            "release": self.run.release,
            "vacate": self.run.vacate,
            "remove": self.run.cancel,
        }[what["action"]]()

    def _rerun(self, what: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"numbers": self.run.rerun(what["numbers"], **what["asks"])}

    def _remove(self, what: Mapping[str, Any]) -> None:
        self.run.remove(force=bool(what["force"]))

    def _why(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"waiting": self._message}

    def _taken(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"taken": name_in_use(self.folder.name) is not None}


#: How each request is carried out.
_DO: dict[str, Callable[[OneRun, Mapping[str, Any]], Mapping[str, Any] | None]] = {
    "act": OneRun._act,
    "remove": OneRun._remove,
    "rerun": OneRun._rerun,
    "taken": OneRun._taken,
    "why": OneRun._why,
}
