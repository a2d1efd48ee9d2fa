"""The status of components, in HTMap's words."""

from __future__ import annotations

import enum

from wingspan import maps

__all__ = ["ComponentStatus", "status_of"]


class ComponentStatus(str, enum.Enum):
    """The status of a component. Here none is ever UNKNOWN or UNMATERIALIZED."""

    UNKNOWN = "UNKNOWN"
    UNMATERIALIZED = "UNMATERIALIZED"
    IDLE = "IDLE"
    RUNNING = "RUNNING"
    REMOVED = "REMOVED"
    COMPLETED = "COMPLETED"
    HELD = "HELD"
    SUSPENDED = "SUSPENDED"
    ERRORED = "ERRORED"

    def __str__(self) -> str:
        return self.value

    @classmethod
    def display_statuses(cls) -> tuple[ComponentStatus, ...]:
        """Those that tables have a column for, in this order."""
        return (cls.HELD, cls.ERRORED, cls.IDLE, cls.RUNNING, cls.COMPLETED)


def status_of(status: maps.ComponentStatus) -> ComponentStatus:
    """Wingspan's status as HTMap's; a word that HTMap did not have is UNKNOWN.

    >>> status_of(maps.ComponentStatus.HELD)
    <ComponentStatus.HELD: 'HELD'>
    """
    return ComponentStatus.__members__.get(status.value, ComponentStatus.UNKNOWN)
