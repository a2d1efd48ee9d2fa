"""Where the outputs of a map come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wingspan.maps._reports import Reports
from wingspan.maps._waiting import Timeout, seconds_of

if TYPE_CHECKING:
    from wingspan.maps._folder import MapFolder
    from wingspan.maps._provenance import Provenance
    from wingspan.maps._reproduce import Reproduction

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

    def provenance(self, component: int) -> Provenance:
        """How an output came about: function, environment, versions, machine, commit, times. Does not wait.

        Raises:
            IndexError: There is no such component.
        """
        from wingspan.maps._provenance import provenance

        number = self._component(component)
        self._keeper.refresh()
        return provenance(self._folder, self._keeper.results, number)

    def reproduce(self, component: int, timeout: Timeout = None) -> Reproduction:
        """Compute a component again, with the same function, input and environment, and compare.

        The output of this map stays as it is. A worker of its own does it, on the map's pool.

        Args:
            component: Its number; it must be done.
            timeout: Seconds (or a timedelta) to wait for it; None waits for ever.

        Raises:
            IndexError: There is no such component.
            MapError: It is not done.
            MapTimeout: It was not done again in time.
            MapDamaged: Function, inputs or the bundle of the environment are not all there any more.
        """
        from wingspan.maps._reproduce import reproduce

        number = self._component(component)
        self._keeper.refresh()
        seconds = None if timeout is None else seconds_of(timeout)

        def load(folder: MapFolder) -> Origins:
            return type(self)(folder)

        return reproduce(self, number, seconds, load)
