"""Progress in a notebook that has no ipywidgets: a line of text that is written anew in its place."""

from __future__ import annotations

import itertools
import time
from typing import Any

from wingspan._kernel import is_kernel
from wingspan._words import sized

__all__ = ["NotebookText", "needs_text"]

#: Seconds between two updates, and letters of the bar.
_INTERVAL, _WIDTH = 0.2, 30
_INSTALL = "(a widget draws this where ipywidgets is installed: pip install ipywidgets)"


def needs_text() -> bool:
    """This is a notebook, and the library that rich draws its bars with there is missing."""
    import importlib.util

    return is_kernel() and importlib.util.find_spec("ipywidgets") is None


class NotebookText:
    """As much of `rich.progress.Progress` as is used here.

    Args:
        transient: It goes when it is stopped.
    """

    def __init__(self, transient: bool = False) -> None:
        self._transient = transient
        self._handle: Any = None
        self._tasks: dict[int, dict[str, Any]] = {}
        self._numbers = itertools.count()
        self._next = 0.0

    def add_task(self, description: str, total: float | None = None, note: str = "", unit: str = "") -> int:
        task = next(self._numbers)
        self._tasks[task] = {
            "description": description,
            "total": total,
            "note": note,
            "completed": 0,
            "unit": unit,
        }
        self._show()
        return task

    def update(self, task: int, **facts: Any) -> None:
        self._tasks[task].update(facts)
        if time.monotonic() >= self._next:
            self._show()

    def start(self) -> None:
        self._show()

    def stop(self) -> None:
        if self._transient and self._handle is not None:
            self._handle.update({"text/plain": ""}, raw=True)
        else:
            self._show()

    def _show(self) -> None:
        from IPython.display import display

        if not self._tasks:
            return
        self._next = time.monotonic() + _INTERVAL
        text = "\n".join([*map(self._line, self._tasks.values()), _INSTALL])
        data = {"text/plain": text}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)

    @staticmethod
    def _line(task: dict[str, Any]) -> str:
        done, total = task["completed"], task["total"]
        note = task["note"]
        if not total:
            return f"{task['description']} …"
        bar = "█" * int(_WIDTH * min(1.0, done / total))
        count = (
            f"{sized(int(done))} of {sized(int(total))}"
            if task["unit"] == "bytes"
            else f"{int(done):,} of {int(total):,}"
        )
        return f"{task['description']} {bar:·<{_WIDTH}} {count}{f', {note}' if note else ''}"
