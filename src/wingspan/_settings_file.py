"""Changing ``config.toml``: whole or not at all, one writer at a time, comments kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from wingspan._files import lock
from wingspan.errors import SettingsError
from wingspan.settings import check_document, load_settings, private_folder
from wingspan.worker import trust

__all__ = ["change_setting", "read_value"]

#: Seconds that a process waits for another one that changes the file.
_PATIENCE = 20.0


def read_value(text: str) -> Any:
    """A value as a person types it: a number, ``true``, a list or a table of TOML; else the text itself.

    >>> read_value("5"), read_value("2GB"), read_value("true"), read_value('["a", "b"]')
    (5, '2GB', True, ['a', 'b'])
    """
    try:
        value = tomlkit.value(text.strip())
    except (TOMLKitError, ValueError, RecursionError):
        return text
    plain = value.unwrap() if hasattr(value, "unwrap") else value
    return plain if isinstance(plain, bool | int | float | str | list | dict) else text  # no dates


def change_setting(key: str, value: Any, check: Callable[[Mapping[str, Any]], None]) -> None:
    """Set a key of the configuration file, or (None) remove it.

    Another process that changes the file at the same time waits. Whoever reads the file finds it as it was or
    as it is now. Comments and everything else in it stay.

    Args:
        key: ``pool``, or a path with dots, ``options.request_memory``.
        value: Of a type that TOML knows; None removes the key.
        check: Called with all that the file is to say; what it raises leaves the file as it was.

    Raises:
        SettingsError: There is no such setting, the value has another type, or the file is not valid TOML.
        DiskError: The configuration folder cannot be made.
        OSError: The file cannot be written.
    """
    path = load_settings().config_file
    private_folder(path.parent)
    with lock(path.with_name(".config.lock"), patience=_PATIENCE) as held:
        if not held:
            raise SettingsError(
                f"another process has been changing {path} for {_PATIENCE:.0f} s", hint="try again"
            )
        load_settings()  # a file that is broken is told of, and left alone
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        document = tomlkit.parse(text)
        _put(document, key.split("."), key, value)
        check_document(document.unwrap(), str(path))
        check(document.unwrap())
        trust.write_whole(str(path), tomlkit.dumps(document).encode(), sync=True)


def _put(table: Any, names: list[str], key: str, value: Any) -> None:
    if not all(names):
        raise SettingsError(f"{key!r} is no name of a setting", hint="for example options.request_memory")
    *folders, last = names
    for name in folders:
        if name not in table:
            if value is None:
                break
            table[name] = tomlkit.table()
        table = table[name]
        if not isinstance(table, dict):
            raise SettingsError(
                f"{key!r}: {name} is a value, not a table", hint="wingspan settings shows all values"
            )
    if value is not None:
        table[last] = value
    elif last in table:
        del table[last]
    else:
        raise SettingsError(f"{key!r} is not set in the file", hint="wingspan settings shows what is set")
