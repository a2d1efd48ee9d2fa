"""Chains: a map whose inputs are the outputs of earlier maps, and whose components start as these arrive.

The worker's side, which decides what can be done, is `wingspan.worker.upstream`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from wingspan.errors import SettingsError
from wingspan.maps._components import OUTPUT
from wingspan.maps._errors import InvalidInputs, PythonsDiffer, TagExists
from wingspan.maps._map import Map
from wingspan.maps._returning import seconds_to_stay
from wingspan.pools import get_pool

if TYPE_CHECKING:
    from wingspan.maps._facts import ChainFacts, Patience
    from wingspan.maps._folder import MapFolder
    from wingspan.maps._options import Options
    from wingspan.pools import Pool

__all__ = ["Chain", "chain_of"]

#: The longest time between two looks of a worker for inputs: on your own pool, and on a site's (s).
LOOK_SECONDS, LOOK_SECONDS_AT_SITE = 0.02, 2.0
#: Where nobody brings a worker back, it stays as long as a worker of the earlier maps is alive. It asks about
#: these when no input has come for so long (s).
IDLE_SECONDS = 1800.0


@attrs.frozen
class Chain:
    """What a map takes its inputs from.

    Attributes:
        maps: The earlier maps.
        whole: All outputs go to one component.
    """

    maps: Sequence[Map]
    whole: bool = False

    @property
    def call(self) -> str:
        """``call`` of ``map.json``."""
        return "reduce" if self.whole else "map" if len(self.maps) == 1 else "joined"

    @property
    def inputs(self) -> range:
        """The inputs that are written down: for each component the number of the output that it takes."""
        return range(1) if self.whole else range(min(len(one) for one in self.maps))

    def ready(self) -> tuple[Any, ...]:
        """What the first component would be given for which all outputs are there. Nothing is waited for.

        Raises:
            InvalidInputs: There is none yet.
        """
        for one in self.maps:
            one._keeper.refresh()
        for number in self.inputs:
            if all(one._keeper.results.state[number] == OUTPUT for one in self.maps):
                return tuple(one.get(number, timeout=0) for one in self.maps)
        names = " and ".join(repr(one.tag) for one in self.maps)
        raise InvalidInputs(
            f"no output of map {names} is there yet that what follows could be rehearsed with",
            hint="rehearse it once there is one, or with a value of your own: wingspan.map(f, [value], rehearse=True)",
        )

    def facts(self, pools: Sequence[Pool], *, external: bool) -> ChainFacts:
        """For ``map.json``: see `wingspan.worker.upstream.Chained`.

        Args:
            pools: Where its workers are.
            external: A person submits them; nobody brings them back.
        """
        patience = self._patience(pools, external=external)
        facts: ChainFacts = {
            "maps": [one.path.name for one in self.maps],
            "tags": [one.tag for one in self.maps],
            "whole": self.whole,
            "look_seconds": patience["look_seconds"],
            "stay_seconds": patience["stay_seconds"],
            "idle_seconds": IDLE_SECONDS,
        }
        ways = {one.transport for one in pools}
        if len(ways) > 1:
            facts["by_way"] = {
                way: self._patience([one for one in pools if one.transport == way], external=external)
                for way in sorted(ways)
            }
        return facts

    def _patience(self, pools: Sequence[Pool], *, external: bool) -> Patience:
        """How often the workers of these pools look for inputs, and how long they stay without any. A worker
        does not know in which of them it is: so they leave only if all of them bring theirs back.
        """
        leave = not external and all(one.brings_back or self._orders_all(one) for one in pools)
        return {
            "look_seconds": LOOK_SECONDS if all(one.own for one in pools) else LOOK_SECONDS_AT_SITE,
            "stay_seconds": max(map(seconds_to_stay, pools)) if leave else None,
        }

    def _orders_all(self, pool: Pool) -> bool:
        """Its scheduler starts jobs when those of the earlier maps have ended, and it has all of these."""
        return pool.orders_jobs and all(_is_all_in(pool.kind, one) for one in self.maps)

    def check_same(self, found: Map) -> None:
        """See that a map that is there takes its inputs from the same maps.

        Raises:
            TagExists: It does not.
        """
        theirs = (found._folder.info.chain or {}).get("maps")
        if theirs != [one.path.name for one in self.maps]:
            raise TagExists(
                f"the map with the tag {found.tag!r} takes its inputs from elsewhere",
                hint="choose another tag",
            )

    def place(self, where: str | Pool | None) -> str | Pool | None:
        """The pool of the chain: `where`, or, if that is None, the pool of the machine that has its maps.

        It is chosen before a pool is made ready.

        Raises:
            SettingsError: As for `check_place`.
        """
        if where is None:
            kinds = (one._folder.info.pool for one in self.maps)
            return next((kind for kind in kinds if get_pool(kind).elsewhere), None)
        self.check_place(get_pool(where) if isinstance(where, str) else where)
        return where

    def check_place(self, pool: Pool) -> None:
        """See that one machine has all the maps: workers take outputs from the folder beside their own.

        Raises:
            SettingsError: Several have them.
        """
        for one in self.maps:
            theirs = get_pool(one._folder.info.pool)
            if (theirs.elsewhere or pool.elsewhere) and theirs is not pool:
                raise SettingsError(
                    f"map {one.tag!r} is in the pool {theirs.kind}, and a chain of it cannot be in {pool.kind}",
                    hint="one machine has all maps of a chain: name the same pool=, or take the outputs: list(m)",
                )

    def check(self, options: Options, python: str) -> None:
        """See that workers with this Python can read the outputs, and that nothing depends on inputs that are
        not there yet.

        Raises:
            PythonsDiffer: An earlier map's workers have another Python.
            SettingsError: An option is told by a function of the input.
        """
        by_input = [name for name, values in options.each.items() if callable(values)]
        if options.component_input_files is not None:
            by_input.append("component_input_files")
        if by_input:
            raise SettingsError(
                f"the option {by_input[0]} goes by the inputs, and those of a chain are not there yet",
                hint="give it one value for all components",
            )
        for one in self.maps:
            theirs = _python_of(one._folder)
            if theirs != python:
                raise PythonsDiffer(
                    f"the outputs of map {one.tag!r} are written by Python {theirs}, and this map would read them with {python}",
                    hint="make both maps in the same environment",
                )


def _is_all_in(kind: str, one: Map) -> bool:
    """The scheduler of this kind of pool knows all workers of this map that can still come."""
    one._keeper.refresh()
    jobs = one._keeper.jobs.live()
    return one._keeper.finished or (bool(jobs) and all(job.pool == kind for job in jobs))


def _python_of(folder: MapFolder) -> str:
    """The Python, such as ``"3.11"``, of a map's workers."""
    delivery = folder.delivery
    return (delivery.python if delivery else None) or str(folder.info.interpreter["python"])


def chain_of(several: Sequence[Iterable[Any]]) -> Chain | None:
    """The chain, if the inputs are maps; None if none is.

    Raises:
        InvalidInputs: Some are maps, and others are not; or a map takes inputs as long as it is open.
        MapRemoved: One of them was removed.
    """
    maps = [one for one in several if isinstance(one, Map)]
    if not maps:
        return None
    if len(maps) < len(several):
        raise InvalidInputs(
            "some of the inputs are maps, and others are not",
            hint="list(m) waits for a map's outputs; or make the others a map, too",
        )
    for one in maps:
        if not one.exists:
            raise one._folder.removed()
        if one._folder.info.open:
            raise InvalidInputs(
                f"the map {one.tag!r} is an executor's, and takes inputs still",
                hint="submit calls to the executor",
            )
    return Chain(maps)
