"""Runs: commands as batch jobs, whose results are files. A run stays on disk under its name.

_request.py  what is asked for              _plan.py     what is to be done
_api.py      `run`: all of it               _spec.py     what a run is
_run.py      what its user holds            _info.py     run.json
_tasks.py    Pixi tasks as commands         _files.py    inputs
_folder.py   on disk                        _script.py   the jobs' script
_jobs.py     script and job description     _render.py   for people to own
_watch.py    what becomes of the jobs       _status.py   how jobs fare
_find.py     runs made before               _again.py    doing jobs again
_asks.py     what they ask for then         _aside.py    what a rerun replaces
_machines.py can any machine do it          _notebook.py notebooks
_build.py    bundles built in a job         _destinations.py outputs that go to an address
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wingspan._lazy import lazy_names

if TYPE_CHECKING:
    from wingspan.runs._api import run
    from wingspan.runs._build import build_in_job
    from wingspan.runs._errors import RunError as RunError
    from wingspan.runs._errors import RunTimeout as RunTimeout
    from wingspan.runs._find import load_run, load_runs, remove_run, run_names
    from wingspan.runs._run import Run, RunJob, RunStatus

_ERRORS = (
    "CommandNotFound",
    "InputMissing",
    "InputTooLarge",
    "InvalidName",
    "InvalidRun",
    "InvalidSweep",
    "InvalidTask",
    "NoSuchMachine",
    "OutputMissing",
    "RunDamaged",
    "RunError",
    "RunExists",
    "RunFailed",
    "RunNotFound",
    "RunTimeout",
    "RunWarning",
    "TaskCycle",
    "WouldOverwrite",
)
_HOME = {
    **dict.fromkeys(_ERRORS, "._errors"),
    **dict.fromkeys(("Run", "RunJob", "RunStatus"), "._run"),
    **dict.fromkeys(("load_run", "load_runs", "remove_run", "run_names"), "._find"),
    "build_in_job": "._build",
    "run": "._api",
    "render": "._render",
}

__all__ = [
    "Run",
    "RunError",
    "RunJob",
    "RunStatus",
    "build_in_job",
    "load_run",
    "load_runs",
    "remove_run",
    "run",
    "run_names",
]

if not TYPE_CHECKING:  # a checker would take any name for one that is there
    __getattr__ = lazy_names(globals(), _HOME)
