"""What is known of a component that failed."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from typing import Any, Protocol

import attrs

from wingspan import maps

__all__ = ["ComponentError", "component_error"]

_FRAME = re.compile(r'^  File "(.*)", line (\d+), in (.*)(?:\n    (.*))?$', re.MULTILINE)


class _Map(Protocol):
    """`wingspan.htmap.Map`."""

    @property
    def tag(self) -> str: ...


@attrs.frozen(eq=False, repr=False)
class ComponentError:
    """What is known of a component that failed.

    Attributes:
        map: The map.
        component: Number of the component.
        exception_msg: Type and message of the exception.
        node_info: Name of the execution point, name of the worker there, and the attempt (1 for the first).
        python_info: Executable and version of the Python that called the function; no packages: the lock of
            the map's environment says them.
        scratch_dir_contents: Names of files that the component has left there, as far as known.
        stack_summary: The frames of the function's traceback, the innermost ones with their variables.
        wingspan_error: The same as Wingspan tells it, the exception itself included.
    """

    map: _Map
    component: int
    exception_msg: str
    node_info: tuple[str | None, str | None, int]
    python_info: tuple[str | None, str | None]
    scratch_dir_contents: tuple[str, ...]
    stack_summary: traceback.StackSummary
    wingspan_error: maps.ComponentError

    def __repr__(self) -> str:
        return f"<ComponentError(map = {self.map}, component = {self.component}, exception_msg = {self.exception_msg})>"

    def report(self) -> str:
        """Everything that is known, as text for a person."""
        head = f"Component {self.component} of map {self.map.tag}"
        lines = [f"=== {head} ===", "", f"Python: {' '.join(filter(None, self.python_info)) or 'unknown'}"]
        if self.scratch_dir_contents:
            lines.append("Files that it left in its scratch folder:")
            lines += [f"  {name}" for name in self.scratch_dir_contents]
        return "\n".join([*lines, "", self.wingspan_error.report(), ""])


def component_error(map: _Map, error: maps.ComponentError, facts: Mapping[str, Any] | None) -> ComponentError:
    """Wingspan's error as HTMap's; `facts` are what the worker said of itself."""
    facts = facts or {}
    frames = [
        (file, int(line), name, source or None)
        for file, line, name, source in _FRAME.findall(error.traceback)
    ]
    summary = traceback.StackSummary.from_list(frames)
    for frame, (_, variables) in zip(reversed(summary), reversed(error.variables), strict=False):
        frame.locals = dict(variables)
    return ComponentError(
        map=map,
        component=error.component,
        exception_msg=f"{error.type_name}: {error.text}",
        node_info=(error.host, error.worker, error.attempt),
        python_info=(facts.get("executable"), facts.get("python")),
        scratch_dir_contents=(),
        stack_summary=summary,
        wingspan_error=error,
    )
