"""Files that travel: `TransferPath` is Wingspan's own; here is what HTMap did with the arguments of calls."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wingspan.worker.transfer_path import TransferPath
from wingspan.worker.words_of_htmap import transfer_output_files

__all__ = [
    "TransferPath",
    "transfer_output_files",
    "transform_args_and_kwargs",
    "transform_input_path",
    "transform_input_paths",
]

#: Where one path can be given.
AnyPath = str | Path | TransferPath
Call = tuple[tuple[Any, ...], dict[str, Any]]


def transform_input_path(path: AnyPath) -> str:
    """A path as a submit description has it: whole, with forward slashes; a URL as it stands.

    >>> transform_input_path("https://example.org/data"), transform_input_path("/data/one.txt")
    ('https://example.org/data', '/data/one.txt')
    """
    if isinstance(path, TransferPath):
        return path.as_url() if path.protocol is not None else path.path.expanduser().absolute().as_posix()
    if isinstance(path, str) and "://" in path:
        return path
    kept = "/" if str(path).endswith("/") else ""  # the content of a folder, in HTCondor's words
    return Path(path).expanduser().absolute().as_posix() + kept


def transform_input_paths(paths: Iterable[AnyPath]) -> str:
    """Several of them, with commas between."""
    return ", ".join(map(transform_input_path, paths))


def transform_args_and_kwargs(calls: Iterable[Call]) -> tuple[list[Call], list[list[TransferPath]]]:
    """Calls with a plain path in place of each `TransferPath`, and the files of each call.

    It only shows what would be done: a map takes the arguments as they are, and each file has a folder of
    its own there. Here files of one call that have equal names get numbered folders.

    >>> call = (TransferPath("in/a.csv"),), {"n": [TransferPath("a.csv")]}
    >>> calls, files = transform_args_and_kwargs([call])
    >>> [str(path) for path in (calls[0][0][0], *calls[0][1]["n"])], files
    (['a.csv', '1/a.csv'], [[TransferPath('in/a.csv'), TransferPath('a.csv')]])
    """
    transformed, files = [], []
    for args, kwargs in calls:
        names: dict[TransferPath, Path] = {}
        changed = tuple(_without(one, names) for one in args)
        transformed.append((changed, {name: _without(one, names) for name, one in kwargs.items()}))
        files.append(list(names))
    return transformed, files


def _without(value: Any, names: dict[TransferPath, Path]) -> Any:
    """`value` with plain paths in place of those that travel; what they are called is noted in `names`."""
    if isinstance(value, TransferPath):
        if value not in names:
            plain = Path(value.name)
            names[value] = Path(str(len(names)), value.name) if plain in names.values() else plain
        return names[value]
    if isinstance(value, dict):
        return {key: _without(one, names) for key, one in value.items()}
    if isinstance(value, list | set):
        return type(value)(_without(one, names) for one in value)
    if isinstance(value, tuple):
        inner = [_without(one, names) for one in value]
        return type(value)(*inner) if hasattr(value, "_fields") else type(value)(inner)
    return value
