"""The face in a notebook: an anywidget, which works in JupyterLab, Notebook, VS Code, Colab and marimo."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from wingspan._kernel import is_kernel
from wingspan.views._cells import LAYERS
from wingspan.views._live import Live, live
from wingspan.views._model import View
from wingspan.views._pace import CHART_APART
from wingspan.views._source import Source
from wingspan.views._static import static_text

__all__ = ["Bundle", "Still", "beside_still", "in_notebook", "live_mimebundle", "live_widget_class", "widget"]


class _Viewing:
    """What the widget does, without anywidget, which takes long to import: it watches a `Live` while a page
    shows it, and answers what the page asks for.
    """

    # anywidget's: what the page is told, one message for several traits, and the traits (see `LiveView`).
    send: Callable[[Mapping[str, Any]], None]
    hold_sync: Callable[[], contextlib.AbstractContextManager[None]]
    view: dict[str, Any]
    groups: dict[str, Any]
    history: list[Any]
    cells: bytes
    about_cells: dict[str, Any]

    def _begin(self) -> None:
        self._live: Live | None = None
        self._end: Callable[[], None] | None = None
        self._viewers: set[str] = set()
        self._charted = 0.0
        self._wanted: tuple[int, int | None, str] = (0, None, "state")

    def look_at(self, of: Live) -> None:
        """Show this one from now on."""
        self._stop()
        self._live = of
        self._wanted = (0, None, "state")
        self._charted = 0.0
        self._see(of, of.view())
        self._start()

    def _start(self) -> None:
        of = self._live
        if of is not None and self._end is None:
            self._end = of.watch(lambda view: self._see(of, view))

    def _stop(self) -> None:
        if self._end is not None:
            self._end()
            self._end = None

    def _attend(self, viewer: str, is_there: bool) -> None:
        """A page shows this widget, or has stopped showing it.

        While no page shows it, nothing is looked at.
        """
        if is_there:
            self._viewers.add(viewer)
            self._start()
        elif viewer in self._viewers or not self._viewers:
            self._viewers.discard(viewer)
            if not self._viewers:
                self._stop()

    def _see(self, of: Live, view: View) -> None:
        if of is self._live:
            with self.hold_sync():  # one message: the browser draws once
                self.view = view.now_to_json()
                self.groups = view.groups_to_json()
                if view.is_done or view.now - self._charted >= CHART_APART:
                    self._charted = view.now
                    self.history = [list(point) for point in view.history]
                self._send_cells(of, view.components)

    def _send_cells(self, of: Live, components: int) -> None:
        first, stop, layer = self._wanted
        cells = of.cells(first, components if stop is None else stop, layer)
        about = {
            "first": cells.first,
            "stop": cells.stop,
            "size": cells.size,
            "layer": cells.layer,
            "low": cells.low,
            "high": cells.high,
        }
        if (cells.data, about) != (self.cells, self.about_cells):
            with self.hold_sync():
                self.about_cells, self.cells = about, cells.data

    def set_state(self, sync_data: Any) -> None:
        """A page shows the state and never sets it: the state says what a page may ask for."""

    def asked(self, content: Any) -> None:
        """A message of the browser's: whatever is in it was not written by us."""
        of = self._live
        if of is None or not isinstance(content, dict):
            return
        if content.get("do") == "act" and content.get("action") in self.view.get("actions", ()):
            self.send({"said": of.act(content["action"])})
        elif content.get("do") == "detail":
            self._send_detail(of, content.get("number"))
        elif content.get("do") == "grid":
            self._want(of, content)
        elif content.get("do") == "attend":
            self._attend(str(content.get("who"))[:40], content.get("is_there") is True)

    def _want(self, of: Live, content: Mapping[str, Any]) -> None:
        first, stop, layer = content.get("first"), content.get("stop"), content.get("layer")
        components = int(self.view.get("components", 1))
        if isinstance(first, int) and isinstance(stop, int) and layer in LAYERS:
            self._wanted = (first, None if stop == components else stop, layer)
            self._send_cells(of, components)

    def _send_detail(self, of: Live, number: Any) -> None:
        from wingspan.errors import WingspanError

        try:
            self.send({"detail": of.detail(int(number)).to_json()})
        except (WingspanError, IndexError, OverflowError, TypeError, ValueError) as error:
            self.send({"said": str(error)})


@functools.cache
def live_widget_class() -> Any:
    """The class of the widget; it is made when it is first wanted, since anywidget takes long to import.

    Raises:
        ImportError: anywidget is not installed.
    """
    import anywidget
    import traitlets

    class LiveView(_Viewing, anywidget.AnyWidget):  # type: ignore[misc]  # anywidget's types are not looked at
        """Shows a `Live`; takes back what buttons and clicks ask for."""

        _esm = static_text("view.js") + static_text("widget.js")
        _css = static_text("view.css")
        # What changes all the time, what changes seldom, and what is long: only what has changed is sent.
        view = traitlets.Dict().tag(sync=True)
        groups = traitlets.Dict().tag(sync=True)
        history = traitlets.List().tag(sync=True)
        cells = traitlets.Bytes(b"").tag(sync=True)
        about_cells = traitlets.Dict().tag(sync=True)

        def __init__(self, of: Live | None) -> None:
            self._begin()
            super().__init__()
            self.on_msg(lambda _widget, content, _buffers: self.asked(content))
            if of is not None:
                self.look_at(of)

        def close(self) -> None:
            self._stop()
            super().close()

    return LiveView


def widget(of: Live) -> Any:
    """A widget that shows `of`.

    Raises:
        ImportError: anywidget is not installed.
    """
    return live_widget_class()(of)


@attrs.frozen
class Still:
    """A picture of a moment, where no widget can be had.

    Attributes:
        html: The picture.
    """

    html: str

    def _repr_html_(self) -> str:
        return self.html


def in_notebook() -> bool:
    """A notebook's kernel runs this process: Jupyter's, Colab's or marimo's."""
    return is_kernel() or not sys.modules.keys().isdisjoint(("google.colab", "marimo"))


#: What is shown by MIME type, and what is told with it, by MIME type.
Bundle = tuple[dict[str, Any], dict[str, Any]]


def beside_still(shown: Any, still: dict[str, Any]) -> Bundle:
    """What a notebook gets to show: a widget, and a picture where there can be no widget.

    Args:
        shown: The widget. What it tells beside its data is kept: Colab needs it.
        still: What is shown where there can be no widget, by MIME type.
    """
    drawn = shown._repr_mimebundle_() or {}
    data, about = drawn if isinstance(drawn, tuple) else (drawn, {})
    return {**data, **still}, about


def live_mimebundle(source: Callable[[], Source], still: dict[str, Any]) -> Bundle:
    """What a notebook gets to show.

    Args:
        source: Answers what is shown.
        still: What is shown where there can be no widget, by MIME type.

    Returns:
        `still`, and the widget where a notebook asks and anywidget is installed.
    """
    if not in_notebook():
        return still, {}
    try:
        return beside_still(widget(live(source())), still)
    except ImportError:
        return still, {}
