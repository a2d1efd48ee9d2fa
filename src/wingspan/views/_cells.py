"""From a state for each component to a grid of at most some thousand cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from wingspan.views._model import STATES, Cells

__all__ = ["LAYERS", "StateGrid", "cell_size", "measure_cells", "state_cells"]

#: What may colour the grid.
LAYERS = ("state", "runtime", "memory")

_CODE = {name: code for code, name in enumerate(STATES)}
_ERRORED = _CODE["errored"]
#: Which state a cell of several components is shown in, where it has them: the first one.
_TELLING = ("errored", "held", "running", "suspended")
#: How many components of a cell are measured, where it has more.
_SAMPLE = 3


def cell_size(count: int, most: int) -> int:
    """Components in a cell, so that there are at most `most` cells: 1, or a round number.

    >>> [cell_size(count, 4096) for count in (10, 4096, 4097, 1_000_000)]
    [1, 1, 2, 250]
    """
    needed = max(1, math.ceil(count / most))
    if needed == 1:
        return 1
    power = int("1" + "0" * (len(str(needed)) - 1))
    return next(size for size in (power, 2 * power, 5 * power // 2, 5 * power, 10 * power) if size >= needed)


#: How many cells at a time are looked at for changes.
_STRETCH = 64


class StateGrid:
    """The grid by state, of one map that is looked at again and again: components are counted anew only where
    something has changed since the last look.
    """

    def __init__(self) -> None:
        self._about: tuple[int, int, int, str] | None = None
        self._codes = b""
        self._data = bytearray()

    def cells(
        self,
        codes: bytes | bytearray,
        exceptions: Mapping[int, str],
        rest: str,
        first: int,
        stop: int,
        most: int,
    ) -> Cells:
        """The grid as of now; see `state_cells`."""
        size = cell_size(stop - first, most)
        others: dict[int, set[str]] = {}
        for component, state in exceptions.items():
            if first <= component < stop:
                others.setdefault((component - first) // size, set()).add(state)
        self._update(codes, rest, first, stop, size)
        data = bytearray(self._data)
        for cell, states in others.items():
            if size == 1:
                data[2 * cell : 2 * cell + 2] = _CODE[next(iter(states))], 0
            elif data[2 * cell] != _ERRORED:
                telling = (_CODE[state] for state in _TELLING if state in states)
                data[2 * cell] = next(telling, _CODE[rest])
        return Cells(first=first, stop=stop, size=size, layer="state", data=bytes(data))

    def _update(self, codes: bytes | bytearray, rest: str, first: int, stop: int, size: int) -> None:
        """Update the data of cells without exceptions."""
        now, about = bytes(memoryview(codes)[first:stop]), (first, stop, size, rest)
        if about != self._about:
            before = None
            self._data = bytearray(2 * math.ceil(len(now) / size))
        else:
            before = self._codes
        if now != before:
            rest_code, step = _CODE[rest], size * _STRETCH
            for low in range(0, len(now), step):
                stretch = now[low : low + step]
                if before is None or stretch != before[low : low + step]:
                    at = 2 * low // size
                    drawn = _drawn(stretch, rest_code, size)
                    self._data[at : at + len(drawn)] = drawn
        self._about, self._codes = about, now


def _drawn(codes: bytes, rest: int, size: int) -> bytes:
    """Two bytes for each cell of `size` components: its state, and how much of it is finished."""
    if size == 1:
        data = bytearray(2 * len(codes))
        data[::2] = codes.translate(bytes([rest, 1, 2, _CODE["removed"]]) + bytes(252))
        data[1::2] = codes.translate(bytes([0, 255, 255, 255]) + bytes(252))
        return bytes(data)
    data = bytearray()
    # `bytes.count` of a part copies nothing: a million components take a few milliseconds.
    count, some_failed, some_removed = codes.count, 2 in codes, 3 in codes
    for low in range(0, len(codes), size):
        high = min(low + size, len(codes))
        errored = count(2, low, high) if some_failed else 0
        finished = errored + count(1, low, high)
        if errored or finished:
            data.append(_ERRORED if errored else 1)
        else:
            is_removed = some_removed and count(3, low, high) == high - low
            data.append(_CODE["removed"] if is_removed else rest)
        data.append(255 * finished // (high - low))
    return bytes(data)


def state_cells(
    codes: bytes | bytearray,
    exceptions: Mapping[int, str],
    rest: str,
    first: int,
    stop: int,
    most: int,
) -> Cells:
    """The grid by state.

    Args:
        codes: For each component 0 (nothing is known), 1 (completed), 2 (errored) or 3 (removed).
        exceptions: State of components for which `codes` does not tell it.
        rest: State of those with code 0 that are no exceptions.
        first, stop: Which components are shown.
        most: At most so many cells.
    """
    return StateGrid().cells(codes, exceptions, rest, first, stop, most)


def measure_cells(
    measure: Callable[[int], float | None], first: int, stop: int, layer: str, most: int
) -> Cells:
    """The grid by a measure: of a cell with several components the largest of a few of them.

    Args:
        measure: What is measured of a component; None: nothing is known yet.
        first, stop: Which components are shown.
        layer: What it is called.
        most: At most so many cells.
    """
    size = cell_size(stop - first, most)
    values: list[float | None] = []
    for low in range(first, stop, size):
        high = min(low + size, stop)
        step = max(1, (high - low) // _SAMPLE)
        known = [value for at in range(low, high, step) if (value := measure(at)) is not None]
        values.append(max(known) if known else None)
    low_value, high_value = _limits([value for value in values if value is not None])
    if low_value is None or high_value is None:
        return Cells(first=first, stop=stop, size=size, layer=layer, data=bytes(len(values)))
    scale = math.log(high_value / low_value) or 1.0
    data = bytes(
        0
        if value is None
        else 1 + min(254, max(0, round(254 * math.log(max(value, low_value) / low_value) / scale)))
        for value in values
    )
    return Cells(first=first, stop=stop, size=size, layer=layer, data=data, low=low_value, high=high_value)


def _limits(values: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    if not values:
        return None, None
    high = max(*values, 1e-6)
    # Four powers of ten are as many as colours tell apart.
    return max(min(values), high / 1e4, 1e-6), high
