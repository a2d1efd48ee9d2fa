"""Locked environments: read a Pixi workspace, know what a machine must have for it, carry it there.

workspace.py  manifest + lock; `load_environment`      lock.py      what a lock holds
manifest.py   features, environments, platforms        tasks.py     tasks of the manifest
platforms.py  which platform is meant                  needs.py     what a machine must have
freshness.py  does the lock satisfy the manifest       bundles/     one file that carries it all
"""

from wingspan.environments.diff import EnvironmentDiff, diff_environments
from wingspan.environments.errors import EnvironmentError_
from wingspan.environments.lock import LockedEnvironment, LockedPackage, LockedPlatform
from wingspan.environments.needs import Needs, derive_needs
from wingspan.environments.summary import EnvironmentSummary, summarize
from wingspan.environments.tasks import Task
from wingspan.environments.workspace import Environment, Workspace, load_environment

__all__ = [
    "Environment",
    "EnvironmentDiff",
    "EnvironmentError_",
    "EnvironmentSummary",
    "LockedEnvironment",
    "LockedPackage",
    "LockedPlatform",
    "Needs",
    "Task",
    "Workspace",
    "derive_needs",
    "diff_environments",
    "load_environment",
    "summarize",
]
