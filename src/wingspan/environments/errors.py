"""What can be wrong with an environment. The tree::

EnvironmentError_ (WingspanError)
├── ManifestError                           pixi.toml / pyproject.toml cannot be used
│   ├── ManifestNotFound (FileNotFoundError)
│   └── ManifestInvalid (ValueError)        not TOML, no workspace in it, or it contradicts itself
├── LockError                               pixi.lock cannot be used
│   ├── LockNotFound (FileNotFoundError)
│   ├── LockDamaged (ValueError)            cut, altered, or not a lock at all
│   ├── LockTooNew (ValueError)             a version that this installation cannot read
│   └── LockOutdated (ValueError)           the manifest changed after the lock was written
├── UnknownEnvironment (LookupError)
├── UnknownPlatform (LookupError)
├── UnknownTask (LookupError)
├── UnsupportedPackages (ValueError)        packages that cannot be carried to a worker as the lock has them
└── RattlerMissing (ImportError)            py-rattler, which reads locks, is not installed
"""

from __future__ import annotations

from collections.abc import Collection

from wingspan.errors import WingspanError

__all__ = [
    "EnvironmentError_",
    "InvalidWheel",
    "LockDamaged",
    "LockError",
    "LockNotFound",
    "LockOutdated",
    "LockTooNew",
    "ManifestError",
    "ManifestInvalid",
    "ManifestNotFound",
    "RattlerMissing",
    "UnknownEnvironment",
    "UnknownPlatform",
    "UnknownTask",
    "UnsupportedPackages",
    "nearest",
]


class EnvironmentError_(WingspanError):  # noqa: N801 - EnvironmentError is a builtin
    """The root of what can be wrong with an environment."""


class ManifestError(EnvironmentError_):
    """A manifest that cannot be used."""


class ManifestInvalid(ManifestError, ValueError):
    """A manifest that is not TOML, describes no workspace, or contradicts itself."""


class ManifestNotFound(ManifestError, FileNotFoundError):
    """No `pixi.toml` and no `pyproject.toml` with `[tool.pixi]`."""


class LockError(EnvironmentError_):
    """A lock that cannot be used."""


class LockNotFound(LockError, FileNotFoundError):
    """There is no `pixi.lock` beside the manifest."""


class LockDamaged(LockError, ValueError):
    """The lock is cut short, altered, or not a lock at all."""


class LockTooNew(LockError, ValueError):
    """The lock is of a version that came after the py-rattler that is installed here."""


class LockOutdated(LockError, ValueError):
    """The manifest asks for something the lock does not satisfy: it changed after the lock was written."""


class UnknownEnvironment(EnvironmentError_, LookupError):
    """The workspace has no environment of that name."""


class UnknownPlatform(EnvironmentError_, LookupError):
    """The environment is not locked for that platform."""


class UnknownTask(EnvironmentError_, LookupError):
    """The environment has no task of that name."""


class UnsupportedPackages(EnvironmentError_, ValueError):
    """Packages of the lock that cannot be carried to a worker as they are; the message names each one."""


class InvalidWheel(EnvironmentError_, ValueError):
    """A wheel of one's own that cannot go into the environment; nothing was built."""


class RattlerMissing(EnvironmentError_, ImportError):
    """py-rattler is not installed."""


def nearest(name: str, known: Collection[str]) -> str:
    """A hint that names the nearest of `known`, and all of them if they are few.

    >>> nearest("gpuu", ["default", "gpu"])
    "did you mean 'gpu'? There are: default, gpu"
    """
    import difflib

    if not known:
        return "there are none"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f"did you mean {near[0]!r}? " if near else ""
    return f"{guess}{'There' if guess else 'there'} are: {', '.join(known)}"
