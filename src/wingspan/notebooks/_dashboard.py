"""All maps and runs in one view: ``wingspan.dashboard()`` in a notebook, ``wingspan dashboard`` in a
browser.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

from wingspan.errors import WingspanError
from wingspan.views._live import Live, live
from wingspan.views._model import entry_of
from wingspan.views._source import Source

if TYPE_CHECKING:
    from wingspan.views._widget import Bundle

__all__ = ["AllMapsAndRuns", "Everything", "dashboard"]


class Everything:
    """All maps and runs; each is opened once, when a page first asks for it."""

    def __init__(self) -> None:
        self._known: dict[str, Live] = {}

    def lives(self) -> dict[str, Live]:
        """Those there are now and can be opened, by ``"map TAG"`` and ``"run NAME"``, the newest first."""
        from wingspan.maps import tags
        from wingspan.runs import run_names

        names = [*(("map", tag) for tag in tags()), *(("run", name) for name in run_names())]
        current = {}
        for kind, name in names:
            known = self._known.get(f"{kind} {name}")
            if known is None or known.is_removed:
                try:
                    known = live(_open(kind, name))
                except (WingspanError, OSError):
                    continue  # wingspan maps and wingspan runs say what is wrong with it
            current[f"{kind} {name}"] = known
        self._known = current
        return dict(sorted(current.items(), key=lambda one: -one[1].source.created))


def _open(kind: str, name: str) -> Source:
    if kind == "map":
        from wingspan.maps import load
        from wingspan.maps._view import MapSource

        return MapSource(load(name))
    from wingspan.runs import load_run
    from wingspan.runs._view import RunSource

    return RunSource(load_run(name))


class AllMapsAndRuns:
    """What `dashboard` answers: a notebook shows it live, a terminal as text."""

    def __repr__(self) -> str:
        lines = []
        for name, one in Everything().lives().items():
            with contextlib.suppress(WingspanError):
                view = one.view()
                states = ", ".join(f"{count:,} {state}" for state, count in view.states.items())
                lines.append(f"{name}: {view.title}: {states}")
        return "\n".join(lines) or "no maps and no runs"

    def _repr_html_(self) -> str:
        import html

        return f"<pre>{html.escape(repr(self))}</pre>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Bundle:
        from wingspan.views._widget import beside_still, in_notebook

        still = {"text/plain": repr(self), "text/html": self._repr_html_()}
        if not in_notebook():
            return still, {}
        try:
            return beside_still(_widget_class()(), still)
        except ImportError:
            return still, {}

    def _display_(self) -> Any:
        """As `_repr_mimebundle_`, for marimo."""
        from wingspan.views._widget import Still

        try:
            return _widget_class()()
        except ImportError:
            return Still(self._repr_html_())


def dashboard() -> AllMapsAndRuns:
    """All your maps and runs. In a notebook it is live: choose one on the left, and it is shown on the right.

    >>> type(dashboard()).__name__
    'AllMapsAndRuns'
    """
    return AllMapsAndRuns()


@functools.cache
def _widget_class() -> Any:
    import traitlets

    from wingspan.views._static import static_text
    from wingspan.views._widget import live_widget_class

    class DashboardView(live_widget_class()):  # type: ignore[misc]  # the class is made when anywidget is there
        """A list, and the face of the one that is chosen."""

        _esm = static_text("view.js") + static_text("list.js") + static_text("dashboard.js")
        _css = static_text("view.css") + static_text("list.css")
        entries: Any = traitlets.List().tag(sync=True)
        chosen = traitlets.Unicode("").tag(sync=True)

        def __init__(self) -> None:
            self._everything = Everything()
            self._known: dict[str, Live] = {}
            super().__init__(None)
            self._list()
            if self.entries:
                self._choose(self.entries[0]["id"])

        def _list(self) -> None:
            self._known = self._everything.lives()
            entries = []
            for name, one in self._known.items():
                with contextlib.suppress(WingspanError):
                    entries.append(entry_of(name, one.view()))
            self.entries = entries

        def _choose(self, name: str) -> None:
            if name in self._known:
                self.chosen = name
                self.look_at(self._known[name])

        def asked(self, content: Any) -> None:
            if not isinstance(content, dict):
                return
            if content.get("do") == "list":
                self._list()
            elif content.get("do") == "choose":
                self._choose(str(content.get("id")))
            else:
                super().asked(content)

    return DashboardView
