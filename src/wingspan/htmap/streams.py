"""What components print, and the files that they send, as sequences."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import wingspan
from wingspan.htmap.exceptions import OutputNotFound, translated

__all__ = ["MapOutputFiles", "MapStdErr", "MapStdOut"]


class OneMap(Protocol):
    """The part of `wingspan.htmap.Map` that is used here."""

    wingspan_map: wingspan.Map

    @property
    def tag(self) -> str: ...
    @property
    def components(self) -> tuple[int, ...]: ...
    def __len__(self) -> int: ...
    def __contains__(self, component: object) -> bool: ...
    def number(self, component: Any) -> int:
        """`component`, if there is such a one."""

    def wait_for_one(self, number: int, timeout: float | datetime.timedelta | None) -> None:
        """Wait until a component has an output or has failed."""


_One = TypeVar("_One", str, Path)


class _OfEach(Sequence[_One]):
    """Something of each component; ``[i]`` does not wait, `get` does."""

    def __init__(self, map: OneMap) -> None:
        self.map = map

    def __len__(self) -> int:
        return len(self.map)

    def __contains__(self, component: object) -> bool:
        return component in self.map

    def __iter__(self) -> Iterator[_One]:
        return (self.get(component) for component in self.map.components)

    def get(self, component: int, timeout: float | datetime.timedelta | None = None) -> _One:
        """That of a component; waits for it."""
        raise NotImplementedError


class _MapStdX(_OfEach[str]):
    """What each component prints."""

    _name: str

    def __getitem__(self, component: Any) -> str:
        """What a component has printed so far.

        Raises:
            FileNotFoundError: It has not begun, or has printed nothing and is not done.
            IndexError: There is no such component.
        """
        number, one = self.map.number(component), self.map.wingspan_map
        with translated(self.map.tag):
            # Asked before what it has printed: the end of that comes with its own.
            final = one._is_final(number)
            printed: str = getattr(one, self._name)(number)
        if not printed and not final:
            raise FileNotFoundError(
                f"component {number} of map {self.map.tag} has written nothing to {self._name} yet"
            )
        return printed

    def get(self, component: int, timeout: float | datetime.timedelta | None = None) -> str:
        """What a component has printed; waits until it is done.

        Args:
            component: Its number.
            timeout: Seconds (or a timedelta) to wait; None waits for ever, 0 not at all.

        Raises:
            FileNotFoundError: It is not done, has printed nothing, and `timeout` is not above 0.
            TimeoutError: It was not done in time.
            MapComponentHeld, MapComponentRemoved: It will not be done by itself.
            IndexError: There is no such component.
        """
        number = self.map.number(component)
        try:
            with translated(self.map.tag):
                self.map.wait_for_one(number, timeout)
        except OutputNotFound:
            pass  # what there is so far
        return self[number]


class MapStdOut(_MapStdX):
    """What each component writes to standard output."""

    _name = "stdout"


class MapStdErr(_MapStdX):
    """What each component writes to standard error."""

    _name = "stderr"


class MapOutputFiles(_OfEach[Path]):
    """The folder with the files that each component has sent (`htmap.transfer_output_files`)."""

    def __getitem__(self, component: Any) -> Path:  # type: ignore[override] # no slices
        """The folder of a component.

        Raises:
            FileNotFoundError: The component is not done.
            IndexError: There is no such component.
        """
        return self.get(component, timeout=0)

    def get(self, component: int, timeout: float | datetime.timedelta | None = None) -> Path:
        """The folder of a component; waits until it is done.

        Args:
            component: Its number.
            timeout: Seconds (or a timedelta) to wait; None waits for ever, 0 not at all.

        Raises:
            FileNotFoundError: It is not done, and `timeout` is not above 0.
            TimeoutError: It was not done in time.
            MapComponentError: It has failed, and had sent nothing.
            MapComponentHeld, MapComponentRemoved: It will not be done by itself.
            IndexError: There is no such component.
        """
        number = self.map.number(component)
        with translated(self.map.tag):
            try:
                self.map.wait_for_one(number, timeout)
            except OutputNotFound:
                raise FileNotFoundError(f"component {number} of map {self.map.tag} is not done") from None
            return self.map.wingspan_map.output_files.get(number, timeout=0)
