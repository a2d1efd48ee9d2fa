"""Writing the inputs of a map: read once, pickled and streamed to disk."""

from __future__ import annotations

import itertools
import pickle
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wingspan.maps._errors import NotPicklable
from wingspan.progress import Progress
from wingspan.worker import formats, trust
from wingspan.worker.pickling import PROTOCOL, SIMPLE, Dumper, culprit, reason
from wingspan.worker.streams import Gathering

if TYPE_CHECKING:
    from wingspan.maps._canonical import Digests
    from wingspan.maps._stored import StoredValues

__all__ = ["FromInputs", "write_inputs"]

#: Pickles are gathered to about this many bytes before they are written.
_WRITE_BYTES = 1 << 18
#: Those of the simple types that may be large.
_SIZED = frozenset({bytes, str})
#: At most so many inputs are taken from the iterable before they are written.
_AT_ONCE = 4096


class FromInputs(Exception):
    """The user's iterable raised `error`, which is passed on as it is, even if its type is one that we
    handle."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


def _guarded(inputs: Iterable[Any]) -> Iterator[Any]:
    """`inputs`; an exception that iterating raises comes as `FromInputs`."""
    return iter(inputs) if type(inputs) in (range, list, tuple) else _marking(inputs)  # these raise nothing


def _marking(inputs: Iterable[Any]) -> Iterator[Any]:
    try:
        yield from inputs
    except GeneratorExit:
        raise
    except BaseException as error:
        raise FromInputs(error) from error


def write_inputs(
    folder: Path,
    inputs: Iterable[Any],
    dumper: Dumper,
    progress: Progress,
    digests: Digests | None = None,
    values: StoredValues | None = None,
) -> tuple[int, bool]:
    """Pickle the inputs to ``inputs.bin`` and ``inputs.idx``.

    Args:
        folder: Of the map.
        inputs: Read once.
        dumper: Pickles them.
        progress: Hears of them.
        digests: Takes the digest of each.
        values: Takes those that are large; None: all are written here.

    Returns:
        How many there are, and whether any holds code.
    """
    try:
        total: int | None = len(inputs)  # type: ignore[arg-type]
    except TypeError:
        total = None
    task = progress.start("writing inputs", total)
    remaining = _guarded(inputs)
    size = 1
    try:
        with (
            open(folder / "inputs.bin", "wb", buffering=0, opener=trust.opener) as data,
            open(folder / "inputs.idx", "wb", opener=trust.opener) as index,
        ):
            writer = _InputWriter(data, dumper, digests, values)
            array("Q", [0]).tofile(index)
            while some := list(itertools.islice(remaining, size)):
                offset = writer.offset
                writer.write(some).tofile(index)
                progress.advance(task, len(some))
                # As many at a time as fill one write of a good size: one, if they are large.
                size = max(1, min(_AT_ONCE, 2 * size, _WRITE_BYTES * len(some) // (writer.offset - offset)))
        return writer.count, writer.holds_code
    finally:
        progress.finish(task)


class _InputWriter:
    """Pickles inputs to a file, and names the one that cannot be pickled.

    A large one is written while it is pickled.

    Attributes:
        count: How many so far.
        offset: Bytes so far.
        holds_code: There is code in any.
    """

    def __init__(
        self, file: Any, dumper: Dumper, digests: Digests | None, values: StoredValues | None
    ) -> None:
        self._file = file
        self._dumper = dumper
        self._digests = digests
        self._values = values
        self._gathering = Gathering(self._send) if values is None else values.spool
        self._parts: list[bytes] = []
        self.count = self.offset = 0
        self.holds_code = False

    def write(self, inputs: list[Any]) -> array[int]:
        """Write `inputs`. Returns where in the file each of them ends."""
        if _are_small_and_simple(inputs):
            self._parts = list(map(pickle.dumps, inputs, itertools.repeat(PROTOCOL)))
            lengths = list(map(len, self._parts))
            if self._digests is not None:
                self._digests.add_all(self._parts)
        else:
            lengths = [self._one(given, number) for number, given in enumerate(inputs, self.count)]
        self._flush()
        ends = array("Q", itertools.accumulate(lengths, initial=self.offset))[1:]
        self.offset = ends[-1]
        self.count += len(inputs)
        return ends

    def _one(self, given: Any, number: int) -> int:
        gathering = self._gathering
        gathering.begin()
        digests = self._digests
        write: Callable[[Any], Any] = gathering.write
        if digests is not None:
            digests.begin()
            write = _both(digests.write, write)
        try:
            self._dumper.dump(given, write)
        except OSError as error:
            if error is self._failed:
                raise
            raise self._refusal(given, number, error) from error
        except Exception as error:
            raise self._refusal(given, number, error) from error
        if digests is not None:
            digests.end(given, gathering.holds_code)
        self.holds_code = self.holds_code or gathering.holds_code
        if self._values is not None and gathering.is_large:
            reference = self._values.publish()
            self._parts.append(reference)
            return len(reference)
        if not gathering.is_large:
            self._parts.append(gathering.kept())
        return gathering.length

    def _refusal(self, given: Any, number: int, error: Exception) -> NotPicklable:
        where, kind = culprit(given, f"input {number}", self._dumper.try_out)
        return NotPicklable(
            f"{where} of type {kind} cannot be pickled: {reason(error)}",
            hint="pass what it is made from (a path, parameters) and make it inside the function",
        )

    #: The error that kept a large input from being written.
    _failed: OSError | None = None

    def _send(self, data: memoryview) -> None:
        try:
            self._flush()
            _write_all(self._file, data)
        except OSError as error:
            self._failed = error
            raise

    def _flush(self) -> None:
        if self._parts:
            parts, self._parts = self._parts, []
            _write_all(self._file, b"".join(parts))


def _both(first: Callable[[Any], Any], second: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Writes to both."""

    def write(data: Any) -> None:
        first(data)
        second(data)

    return write


def _are_small_and_simple(inputs: list[Any]) -> bool:
    kinds = set(map(type, inputs))
    return kinds <= SIMPLE and (
        kinds.isdisjoint(_SIZED)
        or all(len(given) < formats.LARGE_BYTES for given in inputs if type(given) in _SIZED)
    )


def _write_all(file: Any, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
