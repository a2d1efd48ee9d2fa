"""What can go wrong with a map. The tree is drawn in `wingspan.errors`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from wingspan.errors import PoolError, WingspanError

if sys.version_info >= (3, 11):
    from builtins import ExceptionGroup
else:
    from exceptiongroup import ExceptionGroup

__all__ = [
    "ComponentError",
    "ComponentErrors",
    "ComponentHeld",
    "ComponentRemoved",
    "EmptyMap",
    "InvalidInputs",
    "InvalidTag",
    "MapDamaged",
    "MapError",
    "MapRemoved",
    "MapTimeout",
    "NotPicklable",
    "OutputNotReady",
    "PythonsDiffer",
    "RemoteTraceback",
    "TagDamaged",
    "TagError",
    "TagExists",
    "TagNotFound",
    "WorkersCannotStart",
    "WrongInterpreter",
    "no_inputs",
]


class TagError(WingspanError):
    """A tag that cannot be used as asked."""


class InvalidTag(TagError, ValueError):
    """A tag with characters or of a length that no file name can have everywhere."""

    exit_code = 2


class TagExists(TagError, FileExistsError):
    """Another map has this tag."""


class TagNotFound(TagError, KeyError):
    """No map has this tag."""

    def __str__(self) -> str:
        return WingspanError.__str__(self)


class MapError(WingspanError):
    """Something about one map."""


class EmptyMap(MapError, ValueError):
    """No inputs."""


def no_inputs() -> EmptyMap:
    """The error for a map of nothing, with what to look at."""
    return EmptyMap(
        "there are no inputs",
        hint="what they come from is empty (a list, a pattern of files, a generator that was read before): "
        "give at least one, or make no map then",
    )


class NotPicklable(MapError, TypeError):
    """A function or an input that cannot travel to another process."""


class MapDamaged(MapError):
    """A file of the map is missing, cut or altered."""


class TagDamaged(TagError, MapDamaged):
    """The file of the tag does not name a map."""


class InvalidInputs(MapError, TypeError):
    """The inputs cannot be used."""


class MapRemoved(MapError):
    """The map was removed, here or by another process."""


class OutputNotReady(MapError, LookupError):
    """The output was asked for without waiting, and is not there yet."""


class MapTimeout(MapError, TimeoutError):
    """The timeout was over before the outputs were there."""


class ComponentHeld(MapError):
    """The jobs that would make it are held, and no other job is left."""


class ComponentRemoved(MapError):
    """The jobs that would make it were removed from the queue."""


class ComponentCancelled(ComponentRemoved):
    """Its owner has cancelled it: ``m.cancel(3)``."""


class WorkersCannotStart(MapError, PoolError):
    """The workers end before they do anything: a wrong interpreter, a missing module, a broken machine."""


class PythonsDiffer(MapError, ValueError):
    """The environment's Python cannot read the pickles of this Python."""


class WrongInterpreter(MapError):
    """The pickle holds code of another Python version, which this one must not read."""


class RemoteTraceback(Exception):
    """Where the exception happened, as text: the cause of a component's exception when it is raised here."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return "\n" + self.text


class ComponentError(MapError):
    """A component failed.

    Usually the component's own exception is raised, and its attribute ``component_error`` is this error. This
    error itself is raised where the own exception cannot be: it could not be pickled, or there was none (a
    signal, an exit).

    Attributes:
        component: Its number.
        type_name: Type of the exception, such as ``"ZeroDivisionError"``; for a crash ``"crash"``.
        text: The exception's own message.
        traceback: The remote traceback as text, source lines included.
        exception: The exception, or None where it cannot be rebuilt here.
        given: ``repr`` of the input that caused it (cut at 4,000 characters), or None.
        host: Execution point.
        worker: Name of the worker, ``"<number>.<start>"``.
        attempt: 1 for the first, 2 after one retry or rerun.
        signal: Signal that killed the process, if one did.
        exit_code: Exit code with which the process ended, if it did.
        peak_memory: Bytes, as far as known.
        stderr: The last lines of standard error, for a crash.
        variables: Local variables of the innermost frames, where the exception was raised last: the name of
            each function, and its variables as texts (cut at 60 characters).
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        component: int,
        type_name: str,
        text: str,
        traceback: str,
        exception: BaseException | Callable[[], Any] | None = None,
        given: str | None = None,
        host: str | None = None,
        worker: str | None = None,
        attempt: int = 1,
        signal: int | None = None,
        exit_code: int | None = None,
        peak_memory: int | None = None,
        stderr: str | None = None,
        variables: tuple[tuple[str, Mapping[str, str]], ...] = (),
    ) -> None:
        super().__init__(message, hint=hint)
        self.component = component
        self.type_name = type_name
        self.text = text
        self.traceback = traceback
        self._exception = exception
        self.given = given
        self.host = host
        self.worker = worker
        self.attempt = attempt
        self.signal = signal
        self.exited_with = exit_code
        self.peak_memory = peak_memory
        self.stderr = stderr
        self.variables = variables

    @property
    def exception(self) -> BaseException | None:
        """The exception, or None where it cannot be rebuilt here. It is unpickled when it is asked for."""
        found = self._exception
        if found is not None and not isinstance(found, BaseException):
            try:
                found = found()
            except (Exception, SystemExit):  # noqa: BLE001 - whatever it is, the text tells of the component's exception
                found = None
            self._exception = found = found if isinstance(found, BaseException) else None
        return found

    def __reduce__(self) -> Any:
        self._exception = self.exception
        return super().__reduce__()

    def report(self) -> str:
        """Everything known, as text for a person."""
        lines = [self.message]
        if self.host:
            lines.append(f"  on {self.host}, worker {self.worker}, attempt {self.attempt}")
        if self.given is not None:
            lines.append(f"  input: {self.given}")
        if self.traceback:
            lines.append(self.traceback.rstrip("\n"))
        for function, found in self.variables:
            if found:
                told = ", ".join(f"{name} = {value}" for name, value in found.items())
                lines.append(f"  variables of {function}: {told}")
        if self.stderr:
            lines.append("  last lines of standard error:")
            lines += [f"    {line}" for line in self.stderr.rstrip("\n").split("\n")[-10:]]
        if self.hint:
            lines.append(f"Hint: {self.hint}")
        return "\n".join(lines)


class ComponentTimeout(ComponentError, TimeoutError):
    """A component took longer than its map allows (``Options(component_timeout=…)``), and was ended."""


class ComponentErrors(MapError, ExceptionGroup[Exception]):
    """Several components failed: the exceptions, and a summary by kind.

    Attributes:
        errors: `ComponentError` by component.
    """

    errors: Mapping[int, ComponentError]

    def __new__(
        cls, message: str, exceptions: Any = (), *, hint: str | None = None, errors: Any = None
    ) -> ComponentErrors:
        return super().__new__(cls, message, list(exceptions))

    def __init__(
        self,
        message: str,
        exceptions: Any = (),
        *,
        hint: str | None = None,
        errors: Mapping[int, ComponentError] | None = None,
    ) -> None:
        # The message is the group's own, and read-only there.
        self.hint = hint
        self.errors = errors or {}

    def derive(self, excs: Any, /) -> Any:
        """A group of some of the exceptions (``except*``)."""
        return ComponentErrors(self.message, excs, hint=self.hint, errors=self.errors)

    def __reduce__(self) -> tuple[object, ...]:
        return (ComponentErrors, (self.message, self.exceptions), {"hint": self.hint, "errors": self.errors})

    def __str__(self) -> str:
        return WingspanError.__str__(self)
