"""Inputs as people give them, and the arguments of each call that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any

from wingspan.maps._errors import InvalidInputs

__all__ = ["call_of", "inputs_of_run", "iterable", "length_of", "together"]


def iterable(inputs: Iterable[Any]) -> Iterable[Any]:
    try:
        iter(inputs)
    except TypeError:
        raise InvalidInputs(
            f"inputs of type {type(inputs).__name__} cannot be iterated over",
            hint=f"a map of one: [{inputs!r:.40}]",
        ) from None
    return inputs


def together(several: list[Iterable[Any]]) -> Iterable[Any]:
    """The arguments of each call, one of each iterable."""
    if all(isinstance(one, Sized) for one in several):
        return _Together(several)
    return ((args, {}) for args in zip(*several, strict=False))


class _Together:
    """Iterables whose lengths are known, together."""

    def __init__(self, several: list[Any]) -> None:
        self._several = several

    def __len__(self) -> int:
        return min(len(one) for one in self._several)

    def __iter__(self) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        return ((args, {}) for args in zip(*self._several, strict=False))


def call_of(number: int, given: Any, named: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of one component of a starmap."""
    try:
        args = () if given is None else tuple(given)
    except TypeError:
        raise InvalidInputs(
            f"args {number} is {given!r:.60}, not a tuple of arguments",
            hint="wingspan.starmap(f, [(1,), (2,)])",
        ) from None
    try:
        kwargs = {} if named is None else dict(named)
    except (TypeError, ValueError):
        raise InvalidInputs(
            f"kwargs {number} is {named!r:.60}, not a dict of arguments",
            hint='wingspan.starmap(f, kwargs=[{"x": 1}])',
        ) from None
    return args, kwargs


def length_of(inputs: Iterable[Any]) -> int:
    return len(inputs) if isinstance(inputs, Sized) else 1_000_000


def inputs_of_run(run: Any) -> tuple[list[dict[str, Any]], Any]:
    """For each job of a run, the files that it writes, by their paths in the job's folder; and the run, if it
    has to be waited for.

    Of a run that is done the files are checked, as files that travel are; of one that is not, each is looked
    for when a component begins.
    """
    from wingspan.worker.transfer_path import TransferPath

    status = run.status()
    waits = None if status.state == "completed" else run
    if status.is_done:
        found = [run.outputs(number) for number in range(len(run))]
        return [{name: TransferPath(path) for name, path in one.items()} for one in found], waits
    expected = [run.expected_outputs(number) for number in range(len(run))]
    return [{name: TransferPath(path.as_uri()) for name, path in one.items()} for one in expected], waits
