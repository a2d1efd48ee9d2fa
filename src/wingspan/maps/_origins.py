"""Where the outputs of a map come from."""

from __future__ import annotations

from wingspan.maps._reports import Reports

__all__ = ["Origins"]


class Origins(Reports):
    """How outputs came about."""

    def why(self, component: int) -> str:
        """Why an output was taken from an earlier map (``memo=True``), or computed: what differed from the
        nearest one that is kept.

        Raises:
            IndexError: There is no such component.
        """
        from wingspan.maps._memo_why import why

        return why(self._folder, self._component(component))
