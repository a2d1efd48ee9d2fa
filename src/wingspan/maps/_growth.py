"""More memory or disk for what was ended because it took more than it had asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from wingspan._words import counted, lasting
from wingspan.jobs import Size, size_text
from wingspan.maps._options import Options
from wingspan.maps._results import Results
from wingspan.worker import failure, rounds

__all__ = ["Growth", "exceeded", "grown", "told_of", "told_of_pilot"]

#: What a request grows by each time, at least.
_FACTOR = 2
_MB = 1 << 20


def exceeded(payload: bytes) -> str | None:
    """Which of its requests a component has exceeded: ``"memory"``, ``"disk"`` or None.

    Args:
        payload: Of its error record.
    """
    try:
        fields = failure.loads(payload)
    except ValueError:
        return None
    if fields.get("exceeded") == "memory":
        return "memory"
    chain = fields.get("chain") or [{}]
    if chain[0].get("type") == "OSError" and "[Errno 28]" in str(chain[0].get("message")):
        return "disk"
    return None


def grown(
    what: str, needs: Mapping[str, Any], options: Options, *, taken: int | None = None
) -> dict[str, Any] | None:
    """These needs with a larger request, or None: it is as large as it may become.

    Args:
        what: ``"memory"`` or ``"disk"``.
        needs: What the component needs beyond the map's options.
        options: The map's.
        taken: Bytes that it is known to have taken.

    >>> options = Options(request_memory="1GB", retry_memory="3GB")
    >>> [size_text((grown("memory", needs, options) or {}).get("request_memory", 0) or 0)
    ...  for needs in ({}, {"request_memory": 2 << 30}, {"request_memory": 3 << 30})]
    ['2GB', '3GB', '0TB']
    """
    name, most = f"request_{what}", getattr(options, f"retry_{what}")
    asked = needs.get(name, getattr(options, name))
    if most is None or (asked is not None and asked >= most):
        return None
    wanted = max(_FACTOR * (asked or 0), (taken or 0) * 5 // 4, 256 * _MB if asked is None else 0)
    return {**needs, name: int(min(most, -(-wanted // _MB) * _MB))}


class Growth:
    """Which components are to be done again with a larger request.

    Attributes:
        pending: What these components need then.

    Args:
        results: What is known of the components.
    """

    def __init__(self, results: Results) -> None:
        self._results = results
        self._seen: dict[int, int] = {}
        self.pending: dict[int, dict[str, Any]] = {}

    def look(self, options: Options) -> None:
        """Look at new errors. Components that may be done again with more are no final errors."""
        if options.retry_memory is None and options.retry_disk is None:
            return
        results = self._results
        self.pending = {
            one: needs
            for one, needs in self.pending.items()
            if one in results.failed and not results.in_newer_round(one, results.round_of(one))
        }
        for component in results.failed - self.pending.keys():
            number = results.round_of(component)
            if self._seen.get(component) == number or results.in_newer_round(component, number):
                continue
            self._seen[component] = number
            what = exceeded(results.payload(component))
            if what is None:
                continue
            taken = results.measures(component).peak_memory if what == "memory" else None
            needs = grown(what, rounds.needs_of(results.plans, component), options, taken=taken)
            if needs is not None:
                self.pending[component] = needs
        results.enlarged.update(self.pending)
        results.retryable.update(self.pending)

    def groups(self) -> list[tuple[dict[str, Any], list[int]]]:
        """What is pending, by what it needs."""
        groups: dict[str, tuple[dict[str, Any], list[int]]] = {}
        for component, needs in sorted(self.pending.items()):
            groups.setdefault(json.dumps(needs, sort_keys=True), (needs, []))[1].append(component)
        return list(groups.values())


def told_of(needs: Mapping[str, Any], count: int) -> str:
    """For people: so many components are done again with this.

    >>> told_of({"request_memory": 2 << 30}, 1)
    '1 component took more than it had asked for, and is done again with 2GB of memory'
    """
    sizes = [
        f"{size_text(Size(needs[f'request_{what}']))} of {what}"
        for what in ("memory", "disk")
        if needs.get(f"request_{what}")
    ]
    who = "1 component took more than it" if count == 1 else f"{count:,} components took more than they"
    return f"{who} had asked for, and {'is' if count == 1 else 'are'} done again with {' and '.join(sizes)}"


def told_of_pilot(measured: Mapping[str, Any], needs: Mapping[str, Any]) -> str:
    """For people: what a pilot has measured, and what is asked for then.

    >>> measured = {"components": 10, "memory": 300 << 20, "wall": 1.5, "disk": 0}
    >>> told_of_pilot(measured, {"request_memory": 448 << 20})
    'pilot: 10 components took at most 300MB of memory and 1.5 s each; the others ask for 448MB of memory'
    """
    took = [f"{size_text(measured['memory'])} of memory"]
    if measured.get("disk"):
        took.append(f"{size_text(measured['disk'])} of disk")
    took.append(f"{lasting(measured['wall'])} each")
    asked = [
        f"{size_text(Size(needs[f'request_{what}']))} of {what}"
        for what in ("memory", "disk")
        if needs.get(f"request_{what}")
    ]
    asked += [f"{lasting(needs['time'])} a worker"] if needs.get("time") else []
    return (
        f"pilot: {counted(measured['components'], 'component')} took at most {_listed(took)}; "
        f"the others ask for {_listed(asked)}"
    )


def _listed(words: list[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
