"""Locked environments: read a Pixi workspace, find out what a machine must have to run it, and carry it
there.

    selection.py    names an environment                    lock.py          what a lock holds
    workspace.py    manifest + lock; `load_environment`     lockfile.py      reading it
    manifest.py     features, environments, platforms       platforms.py     which is meant
    tasks.py        tasks of the manifest                   freshness.py     does the lock satisfy it
    needs.py        what a machine must have                cuda.py, capabilities.py, archives.py   the facts
    behind it locked_package.py  one package of a lock                portability.py   what cannot be carried
    importing/      a workspace of a requirements.txt, a uv.lock and the like
    summary.py, diff.py    for people                       bundles/         one file that carries it all

Names are imported when they are used, so a map that only names its environment does not wait for the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wingspan._lazy import lazy_names

if TYPE_CHECKING:
    from wingspan.environments.diff import EnvironmentDiff, diff_environments
    from wingspan.environments.errors import EnvironmentError_
    from wingspan.environments.importing import Imported, import_environment
    from wingspan.environments.lock import LockedEnvironment, LockedPlatform
    from wingspan.environments.locked_package import LockedPackage
    from wingspan.environments.needs import Needs, derive_needs
    from wingspan.environments.selection import Environment
    from wingspan.environments.summary import EnvironmentSummary, summarize
    from wingspan.environments.tasks import Task
    from wingspan.environments.workspace import Workspace, load_environment

_HOME = {
    "Environment": ".selection",
    "EnvironmentDiff": ".diff",
    "EnvironmentError_": ".errors",
    "EnvironmentSummary": ".summary",
    "LockedEnvironment": ".lock",
    "LockedPackage": ".locked_package",
    "LockedPlatform": ".lock",
    "Needs": ".needs",
    "Task": ".tasks",
    "Workspace": ".workspace",
    "Imported": ".importing",
    "derive_needs": ".needs",
    "diff_environments": ".diff",
    "import_environment": ".importing",
    "load_environment": ".workspace",
    "summarize": ".summary",
}

__all__ = [
    "Environment",
    "EnvironmentDiff",
    "EnvironmentError_",
    "EnvironmentSummary",
    "Imported",
    "LockedEnvironment",
    "LockedPackage",
    "LockedPlatform",
    "Needs",
    "Task",
    "Workspace",
    "derive_needs",
    "diff_environments",
    "import_environment",
    "load_environment",
    "summarize",
]

if not TYPE_CHECKING:  # a checker would take any name for one that is there
    __getattr__ = lazy_names(globals(), _HOME)


def __dir__() -> list[str]:
    return sorted(__all__)
