"""Everything Wingspan raises on purpose.

One root, `WingspanError`; every error says what is wrong and where, and carries the next step as `hint`.
An error also inherits the builtin that a Python programmer would expect, so that ``except KeyError`` around
``wingspan.load(tag)`` works::

    WingspanError
    ├── SettingsError (ValueError)          a setting or an option that cannot be used
    │   └── UnknownOption (TypeError)       an unknown option, or a reserved one
    ├── PoolError                           an engine that cannot be obtained, started or reached
    │   ├── PoolUnavailable                 nothing answers
    │   └── SubmitError                     the scheduler refused the jobs
    ├── DiskError (OSError)                 a file of ours cannot be read or written: the disk is full, say
    ├── TagError
    │   ├── InvalidTag (ValueError)
    │   ├── TagExists (FileExistsError)
    │   ├── TagNotFound (KeyError)
    │   └── TagDamaged                      its file does not name a map; also a MapDamaged
    ├── MapError
    │   ├── EmptyMap (ValueError)
    │   ├── InvalidInputs (TypeError)       what was given as inputs, or arguments, cannot be
    │   ├── NotPicklable (TypeError)        a function or an input that cannot travel
    │   ├── PythonsDiffer (ValueError)      the environment's Python cannot read what this one pickles
    │   ├── WrongInterpreter                an output holds code of another Python than this
    │   ├── MapDamaged                      a file of the map is missing or cut
    │   ├── MapRemoved                      the map was removed, here or by another process
    │   ├── OutputNotReady (LookupError)    asked for now, and not there yet
    │   ├── MapTimeout (TimeoutError)       waited for, and not there in time
    │   ├── ComponentHeld                   HTCondor holds the job that would make it
    │   ├── ComponentRemoved                the jobs that would make it are gone
    │   ├── ComponentError                  a component failed and its own exception cannot be raised here
    │   ├── ComponentErrors (ExceptionGroup)  several failed
    │   └── WorkersCannotStart (PoolError)  the jobs end before they do anything
    ├── EnvironmentError_ (see `wingspan.environments`)
    └── StoreError (see `wingspan.stores`)
"""

from __future__ import annotations

__all__ = [
    "DiskError",
    "EnvironmentWarning",
    "PoolError",
    "PoolUnavailable",
    "SettingsError",
    "SubmitError",
    "UnknownOption",
    "WingspanError",
]


class WingspanError(Exception):
    """The root of everything Wingspan raises on purpose.

    Args:
        message: What is wrong, and where.
        hint: The next step, as a sentence; shown under the message.

    >>> str(WingspanError("no pool answers", hint="start one: wingspan pool start"))
    'no pool answers\\nHint: start one: wingspan pool start'
    """

    #: Exit code of the command line when this error ends it (sysexits are for daemons; 1 is what people test
    #: for).
    exit_code: int = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nHint: {self.hint}"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.hint, self.__dict__))


def _rebuild(
    cls: type[WingspanError], message: str, hint: str | None, state: dict[str, object]
) -> WingspanError:
    error = cls.__new__(cls, message)
    error.args = (message,)
    error.__dict__.update(state)
    error.message, error.hint = message, hint
    return error


class EnvironmentWarning(UserWarning):
    """Something about a map's environment that a person should know before its jobs run: GPUs that it
    does not use, say.
    """


class SettingsError(WingspanError, ValueError):
    """A setting or an option whose value cannot be used."""

    exit_code = 2


class UnknownOption(SettingsError, TypeError):
    """An unknown option, or one that Wingspan sets itself."""


class DiskError(WingspanError, OSError):
    """A file or folder of Wingspan's cannot be read or written: the disk is full, it can only be read, too
    many files are open.

    Attributes:
        errno, strerror, filename: As the operating system told them.
    """

    def __str__(self) -> str:
        return WingspanError.__str__(self)


class PoolError(WingspanError):
    """An engine cannot be obtained, started, reached or used."""


class PoolUnavailable(PoolError):
    """No engine of the wanted kind answers."""


class OnAccessPoint(PoolError):
    """This machine is an access point that many people share: no computation of this kind has a place
    there.
    """


class SubmitError(PoolError):
    """The scheduler refused the jobs."""
