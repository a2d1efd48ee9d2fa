"""What a `Map` and a `Run` have in common for being shown."""

from __future__ import annotations

import html
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wingspan._shown import shown
from wingspan.errors import WingspanError

if TYPE_CHECKING:
    from wingspan.views._source import Source
    from wingspan.views._widget import Bundle

__all__ = ["Showable"]


class Showable:
    """Shows itself in notebooks, and writes a report; a class that derives from it has `_source` and
    `_repr_html_`.
    """

    def _source(self) -> Source:
        raise NotImplementedError

    def _repr_html_(self) -> str:
        raise NotImplementedError

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Bundle:
        """A live view where notebooks can show one, and a picture of this moment beside it."""
        from wingspan.views._widget import live_mimebundle

        try:
            still = {"text/plain": repr(self), "text/html": self._repr_html_()}
            return live_mimebundle(self._source, still)
        except WingspanError as error:  # it was removed, say: a cell that shows it need not fail
            return {"text/plain": self._without_a_view(error)}, {}

    def _display_(self) -> Any:
        """The live view, as marimo asks for it: of a MIME bundle it would show the picture only."""
        from wingspan.views._live import live
        from wingspan.views._widget import Still, widget

        try:
            return widget(live(self._source()))
        except ImportError:
            return Still(self._repr_html_())
        except WingspanError as error:
            return Still(f"<pre>{html.escape(self._without_a_view(error))}</pre>")

    def _without_a_view(self, error: WingspanError) -> str:
        return f"{self!r}\n{shown(str(error))}"

    def report(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write a report: one HTML file with timeline, runtimes, memory, queue times, hosts, errors and what
        to change.

        Args:
            path: The file; None: ``wingspan-NAME.html`` in the current folder. One that is there is replaced.

        Returns:
            The file.

        Raises:
            OSError: It cannot be written.
        """
        from wingspan.views._report import write_report

        return write_report(self._source(), path)
