"""Finding a map again: a script or a cell that is executed a second time gets the map that it made before."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wingspan._kept_files import changed_files, is_url
from wingspan._words import counted, notice
from wingspan.maps._again import versions
from wingspan.maps._carried import FileNotes, rebuild
from wingspan.maps._code import UNKNOWN, describe, value_digest, what_differs
from wingspan.maps._errors import TagExists
from wingspan.maps._find import load
from wingspan.maps._own import travels_by_value
from wingspan.maps._pickled import Pickled
from wingspan.worker import rounds
from wingspan.worker.arriving import FIXED, name_of
from wingspan.worker.pickling import Dumper
from wingspan.worker.transfer_path import TransferPath

if TYPE_CHECKING:
    from wingspan.maps._map import Map
    from wingspan.maps._options import Options

__all__ = ["attach"]

_NOTHING = object()


def attach(
    tag: str, func: Callable[..., Any], inputs: Iterable[Any], call: str, options: Options | None
) -> Map:
    """The map with this tag, if it is of the same function and inputs.

    Args:
        tag: Its tag.
        func: The function.
        inputs: Read once, as far as they are the same.
        call: ``"map"`` or ``"starmap"``.
        options: Those that were given; None: none were.

    Raises:
        TagExists: It is another one; the message says what differs.
    """
    found = load(tag)
    found._keeper.refresh()
    plans = found._keeper.results.plans
    version = versions(found._folder, plans)[rounds.newest_function(plans)]
    if not version.parts:
        raise _other(
            tag, "does not say what code it was made with", f"wingspan.load({tag!r}) opens it as it is"
        )
    differs = what_differs(version.parts, describe(func)["parts"])
    if differs:
        named = ", ".join(differs[:5]) + (f" and {len(differs) - 5} more" if len(differs) > 5 else "")
        raise _other(
            tag,
            f"is of another function, {version}: what differs is {named}",
            f"m = wingspan.load({tag!r}); m.rerun(function={version.name.rpartition('.')[2]}) does what has no output with "
            "yours and keeps the rest, m.rerun(m.components, function=…) everything; or choose another tag",
        )
    if found._folder.info.call != call:
        raise _other(
            tag, f"was made by wingspan.{found._folder.info.call}", "call that, or choose another tag"
        )
    _compare_inputs(found, inputs)
    if found._folder.info.files is not None:
        _compare_files(found)
    if options is not None and options.as_dict() != found.options.as_dict():
        notice(f"the map {tag!r} is there already and keeps the options that it was made with")
    return found


def _other(tag: str, what: str, hint: str) -> TagExists:
    return TagExists(f"the map with the tag {tag!r} {what}", hint=hint)


def _compare_inputs(found: Map, inputs: Iterable[Any]) -> None:
    """Compare the inputs one by one, as they come.

    Raises:
        TagExists: Their number differs, or one of them does.
    """
    dumps = Dumper(by_value=travels_by_value).dumps
    kept = found._folder.input_pickles(0, len(found))
    for number, (old, new) in enumerate(itertools.zip_longest(kept, inputs, fillvalue=_NOTHING)):
        if not isinstance(old, Pickled) or new is _NOTHING:
            more = f"only {number:,}" if isinstance(old, Pickled) else "more"
            raise _other(
                found.tag,
                f"has {counted(len(found), 'component')}, and there are {more} inputs now",
                "choose another tag for these inputs",
            )
        if not _same(found, old, new, dumps):
            raise _other(
                found.tag,
                f"has another input in component {number}",
                f"choose another tag for these inputs; wingspan.load({found.tag!r}).input({number}) is the one that it has",
            )


def _compare_files(found: Map) -> None:
    """See that the files which the map was made with are as they were then.

    Raises:
        TagExists: One of them has changed.
    """
    folder, info = found._folder, found._folder.info
    base = Path(info.made_in or "/")
    kept = [
        (base / Path(path).expanduser(), name_of(path))
        for path in found.options.input_files
        if not is_url(path)
    ]
    changed = [str(base / name) for name in changed_files(kept, folder.path / FIXED)]
    notes = FileNotes()
    for source, state in _files_in(folder.input_pickles(0, len(found))):
        if not changed and state is not None and notes.look(TransferPath(source))[1] != state:
            changed = [source]
    if changed:
        raise _other(
            found.tag,
            f"was made with another {changed[0]}: the file has changed since",
            "choose another tag; or remove the map, if its results are of no use any more",
        )


class _Collected:
    """In place of what gets files on a worker: notes which files pickles name."""

    def __init__(self) -> None:
        self.found: list[tuple[str, Any]] = []

    def path(self, spec: Any) -> TransferPath:
        self.found.append((spec[3], spec[4]))
        return TransferPath(*spec[:3])

    def put_all(self, specs: Any) -> None:
        self.found += [(spec[3], spec[4]) for spec in specs]


def _files_in(pickles: Iterable[Pickled]) -> Iterator[tuple[str, Any]]:
    """Whole path or URL of each file that these pickles name, and how it was when they were written."""
    for pickled in pickles:
        collected = rebuild.arrivals[0] = _Collected()
        try:
            with contextlib.suppress(Exception):  # unreadable here: who wants its value is told
                pickled.load()
        finally:
            rebuild.arrivals[0] = None
        yield from collected.found


def _same(found: Map, old: Pickled, new: Any, dumps: Callable[[Any], bytes]) -> bool:
    """Two inputs are the same: their pickles are equal, or their values are.

    In another session, sets and classes are pickled in another way.
    """
    try:
        if isinstance(old.pieces, list) and old.pieces[0] == dumps(new):
            return True
        digest = value_digest(new)
        return digest == value_digest(found._load(old, "an input")) and not digest.startswith(UNKNOWN)
    except Exception:  # noqa: BLE001 - what cannot be pickled, or read, is not known to be the same
        return False
