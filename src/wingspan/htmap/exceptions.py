"""What HTMap programs catch. Each of these is a `WingspanError`, too, and the error that Wingspan itself
would raise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from wingspan import maps
from wingspan.errors import PoolError, SettingsError, UnknownOption, WingspanError

__all__ = [
    "CannotRerunComponents",
    "CannotRetagMap",
    "CannotTransplantPython",
    "CorruptEventLog",
    "EmptyMap",
    "ExpectedError",
    "HTMapException",
    "InsufficientHTCondorVersion",
    "InvalidOutputStatus",
    "InvalidTag",
    "MapComponentError",
    "MapComponentHeld",
    "MapComponentRemoved",
    "MapWasRemoved",
    "MisalignedInputData",
    "MissingSetting",
    "NoMapYet",
    "OutputNotFound",
    "ReservedOptionKeyword",
    "TagAlreadyExists",
    "TagNotFound",
    "TimeoutError",
    "UnknownPythonDeliveryMethod",
]


class HTMapException(WingspanError):
    """The root of all of them."""


class TimeoutError(HTMapException, maps.MapTimeout):
    """What was waited for was not there in time."""


class MissingSetting(HTMapException, SettingsError, KeyError):
    """No setting has this name."""


class OutputNotFound(HTMapException, maps.OutputNotReady):
    """The output was asked for without waiting, and is not there yet."""


class NoMapYet(HTMapException, maps.MapError):
    """The ``with`` block of a map builder has not ended yet."""


class TagAlreadyExists(HTMapException, maps.TagExists):
    """Another map has this tag."""


class InvalidTag(HTMapException, maps.InvalidTag):
    """The tag has characters that a tag cannot have."""


class TagNotFound(HTMapException, maps.TagNotFound):
    """No map has this tag."""


class EmptyMap(HTMapException, maps.EmptyMap):
    """No inputs."""


class ReservedOptionKeyword(HTMapException, UnknownOption):
    """An option that Wingspan sets itself."""


class MisalignedInputData(HTMapException, SettingsError):
    """An option has a value for each component, and they are not as many as the components."""


class CannotRetagMap(HTMapException, maps.TagError):
    """The map cannot have this tag."""


class CannotRetagToInvalid(CannotRetagMap, InvalidTag):
    """The map cannot have this tag, because no map can."""


class CannotRetagToTaken(CannotRetagMap, TagAlreadyExists):
    """The map cannot have this tag, because another map has it."""


class UnknownPythonDeliveryMethod(HTMapException, SettingsError):
    """No delivery method has this name."""


class MapWasRemoved(HTMapException, maps.MapRemoved):
    """The map was removed, here or by another process."""


class InvalidOutputStatus(HTMapException, maps.MapDamaged):
    """A file of the map is missing, cut or altered."""


class MapComponentError(HTMapException, maps.MapError):
    """The function raised for a component.

    Its ``__cause__`` is the component's own exception, where that can be rebuilt here.

    Attributes:
        component: Number of the component, or None.
    """

    component: int | None = None


class MapComponentHeld(HTMapException, maps.ComponentHeld):
    """The job that would make the output is held."""


class MapComponentRemoved(HTMapException, maps.ComponentRemoved):
    """The job that would make the output was removed from the queue. (HTMap waited for ever.)"""


class ExpectedError(HTMapException, maps.MapError):
    """The error of a component was asked for, and the component has an output."""


class CannotTransplantPython(HTMapException):
    """The Python of this session cannot be carried to the workers."""


class CannotRerunComponents(HTMapException, maps.MapError):
    """Some of the components are still to be done."""


class InsufficientHTCondorVersion(HTMapException, PoolError):
    """HTCondor is too old. Nothing here raises it."""


class CorruptEventLog(HTMapException, maps.MapDamaged):
    """The event log cannot be read. Nothing here raises it."""


#: Wingspan's errors, and what HTMap programs expect in their place; the first that fits is taken.
_INSTEAD: tuple[tuple[type[WingspanError], type[HTMapException]], ...] = (
    (maps.TagNotFound, TagNotFound),
    (maps.TagExists, TagAlreadyExists),
    (maps.InvalidTag, InvalidTag),
    (maps.EmptyMap, EmptyMap),
    (maps.OutputNotReady, OutputNotFound),
    (maps.MapTimeout, TimeoutError),
    (maps.MapRemoved, MapWasRemoved),
    (maps.ComponentHeld, MapComponentHeld),
    (maps.ComponentRemoved, MapComponentRemoved),
    (maps.MapDamaged, InvalidOutputStatus),
)


def component_error_of(error: BaseException) -> maps.ComponentError | None:
    """What Wingspan knows of the component that raised `error`; None if no component did."""
    found = error if isinstance(error, maps.ComponentError) else vars(error).get("component_error")
    return found if isinstance(found, maps.ComponentError) else None


def of_component(error: maps.ComponentError, tag: str) -> MapComponentError:
    """The error to raise where a component's output was asked for, and it has failed."""
    made = MapComponentError(
        f"component {error.component} of map {tag} failed: {error.type_name}: {error.text}",
        hint=f"m.get_err({error.component}).report() tells all that is known of it",
    )
    made.component = error.component
    return made


@contextlib.contextmanager
def translated(tag: str = "") -> Iterator[None]:
    """Within the block, errors of Wingspan and of components of the map `tag` become those of this module."""
    try:
        yield
    except HTMapException:
        raise
    except Exception as error:
        failed = component_error_of(error)
        if failed is not None:
            raise of_component(failed, tag) from error
        for ours, theirs in _INSTEAD:
            if isinstance(error, ours):
                raise theirs(error.message, hint=error.hint) from error
        raise
