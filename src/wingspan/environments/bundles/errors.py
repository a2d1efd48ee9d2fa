"""What can be wrong with a bundle. The tree::

BundleError (EnvironmentError_)
├── UnknownKind (ValueError)               no bundle kind of that name
├── PackageMismatch (ValueError)           a package is not the one that the lock names
├── PackageUnavailable (OSError)           a package cannot be fetched
├── BuildFailed (RuntimeError)             a step of building ended in an error
├── BundleNotFound (FileNotFoundError)     there is no such file
├── BundleDamaged (ValueError)             cut, altered, or not a bundle at all
├── InvalidPlace (ValueError)              a folder or a name that no environment can have
├── UnsafeBundle (ValueError)              a member of it would be written outside the target folder
│   └── UnsafePackage                      so would a file of a package
├── ProgramMissing (FileNotFoundError)     a program that this kind needs is not there and cannot be obtained
├── RegistryRefused (ConnectionError)      a container registry does not take an image
└── DiskFull (OSError)                     no room for what was to be written
"""

from __future__ import annotations

from wingspan.environments.errors import EnvironmentError_

__all__ = [
    "CHANGED",
    "AlreadyThere",
    "BuildFailed",
    "BundleDamaged",
    "BundleError",
    "BundleNotFound",
    "DiskFull",
    "InvalidPlace",
    "PackageMismatch",
    "PackageUnavailable",
    "ProgramMissing",
    "RegistryRefused",
    "UnknownKind",
    "UnsafeBundle",
    "UnsafePackage",
]


#: What to do about a file that changed while it was read.
CHANGED = "build it again while nothing else writes there"


class BundleError(EnvironmentError_):
    """The root of what can be wrong with a bundle."""


class UnknownKind(BundleError, ValueError):
    """No bundle kind of that name."""

    exit_code = 2


class PackageMismatch(BundleError, ValueError):
    """A package whose content is not what the lock names; nothing of it was kept."""


class PackageUnavailable(BundleError, OSError):
    """A package that cannot be fetched from where the lock says."""


class BuildFailed(BundleError, RuntimeError):
    """A step of building a bundle ended in an error."""


class BundleNotFound(BundleError, FileNotFoundError):
    """There is no such file."""


class AlreadyThere(BundleError, FileExistsError):
    """Something of that name exists, and is not overwritten."""


class BundleDamaged(BundleError, ValueError):
    """A bundle that was cut or altered, or a file that is no bundle."""


class InvalidPlace(BundleError, ValueError):
    """A folder, or a name in it, that cannot be an environment's; nothing was made."""

    exit_code = 2


class UnsafeBundle(BundleError, ValueError):
    """A bundle with a member that would be written outside the target folder."""


class UnsafePackage(UnsafeBundle):
    """A package with a file that would not stay where it belongs: an absolute name, ``..``,
    or one below a symbolic link."""


class ProgramMissing(BundleError, FileNotFoundError):
    """A program that this kind of bundle needs is not there and cannot be obtained."""


class RegistryRefused(BundleError, ConnectionError):
    """A container registry that does not take an image; or nothing here can send one."""


class DiskFull(BundleError, OSError):
    """No room for what was to be written; what was begun is removed."""
