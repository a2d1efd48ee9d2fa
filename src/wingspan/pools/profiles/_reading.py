"""One table of TOML as a `Profile`: every key is looked at, and one that nobody knows is an error."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import Any

from wingspan.errors import SettingsError
from wingspan.pools.profiles._limits import AccountingRules, QueueRules, Quota
from wingspan.pools.profiles._model import (
    JobRules,
    Profile,
    SlurmGpu,
    Switch,
    WalltimeClass,
    WalltimeClasses,
)
from wingspan.stores import SizeLimits

__all__ = ["read_profile"]

_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_BYTES = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}

#: As request_disk has them in a submit file, and in what jobs ask for.
_DISK = {"MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}


#: What every mistake in a profile refers to.
_PAGE = "see docs/profiles.md, which has the keys and an example"


def _is_lines(value: object) -> bool:
    return isinstance(value, str) and any(sign in value for sign in "\n\r\0")


class _Reader:
    """A TOML table that knows its name, and refuses keys that nobody has taken."""

    def __init__(self, table: object, where: str) -> None:
        if not isinstance(table, Mapping):
            raise SettingsError(f"{where} is not a table", hint=f"write {where} and its keys below it")
        self.table, self.where = dict(table), where

    def fail(self, key: str, want: str) -> SettingsError:
        return SettingsError(f"{self.where}.{key} = {self.table.get(key)!r}: {want} is wanted", hint=_PAGE)

    def take(self, key: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
        value = self.table.pop(key, default)
        if value is not default and not isinstance(value, kind):
            self.table[key] = value
            name = kind.__name__ if isinstance(kind, type) else " or ".join(each.__name__ for each in kind)
            raise self.fail(key, name)
        return value

    def line(self, key: str, default: str | None = None) -> Any:
        """Text that stands in a line of a job's files, where another line would be something else."""
        value = self.take(key, str, default)
        if _is_lines(value):
            self.table[key] = value
            raise self.fail(key, "text in one line")
        return value

    def measure(self, key: str, units: Mapping[str, int], default: int | None = None) -> int | None:
        """A number with a unit, ``"12 h"`` or ``"1 GB"``, in seconds or bytes."""
        value = self.table.pop(key, None)
        if value is None:
            return default
        match = (
            re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([A-Za-z]*)\s*", value)
            if isinstance(value, str)
            else None
        )
        if match is None or match[2] not in units:
            self.table[key] = value
            raise self.fail(key, "a number with one of " + ", ".join(unit for unit in units if unit))
        return int(float(match[1]) * units[match[2]])

    def sub(self, key: str) -> _Reader:
        return _Reader(self.table.pop(key, {}), f"{self.where}.{key}")

    def end(self) -> None:
        if self.table:
            raise SettingsError(f"{self.where} has no key {min(self.table)!r}", hint=_PAGE)


def _walltime(reader: _Reader) -> WalltimeClasses | None:
    if not reader.table:
        return None
    _origin(reader)
    attribute, default = reader.line("attribute"), reader.line("default")
    always = reader.take("always", bool, False)
    classes = []
    for number, entry in enumerate(reader.take("classes", list, [])):
        each = _Reader(entry, f"{reader.where}.classes[{number}]")
        up_to = each.measure("up_to", _SECONDS)
        value = each.line("value")
        each.end()
        if value is None or up_to is None:
            raise SettingsError(f'{each.where}: value = "…" and up_to = "12 h" are wanted', hint=_PAGE)
        classes.append(WalltimeClass(value=value, up_to=up_to))
    reader.end()
    if attribute is None or not classes:
        raise SettingsError(f"{reader.where}: attribute and classes are wanted", hint=_PAGE)
    if default is not None and default not in {each.value for each in classes}:
        known = ", ".join(each.value for each in classes)
        raise SettingsError(
            f"{reader.where}.default = {default!r} is none of its classes", hint=f"they are: {known}"
        )
    return WalltimeClasses(
        attribute=attribute,
        classes=tuple(sorted(classes, key=lambda each: each.up_to)),
        default=default,
        always=always,
    )


def _flat(reader: _Reader, key: str, kinds: tuple[type, ...]) -> dict[str, Any]:
    """A table of plain values."""
    table = reader.sub(key)
    for name, value in table.table.items():
        if not isinstance(value, kinds):
            raise table.fail(name, " or ".join(kind.__name__ for kind in kinds))
        if _is_lines(value):
            raise table.fail(name, "text in one line")
    return table.table


def _texts(reader: _Reader, key: str) -> tuple[str, ...]:
    """A list of texts, such as patterns of host names."""
    found = reader.take(key, list, [])
    if not all(isinstance(pattern, str) for pattern in found):
        reader.table[key] = found
        raise reader.fail(key, "a list of strings")
    return tuple(found)


_VALUES = (bool, int, float, str)


def _origin(reader: _Reader) -> tuple[tuple[str, ...], str | None]:
    """Pages that a table follows, one or a list, and when they were read."""
    said = reader.table.get("source")
    source = (reader.take("source", str),) if isinstance(said, str) else _texts(reader, "source")
    return source, reader.take("date", str)


def _count(reader: _Reader, key: str) -> int | None:
    """A whole number above 0."""
    value = reader.take(key, int)
    if value is not None and (isinstance(value, bool) or value < 1):
        reader.table[key] = value
        raise reader.fail(key, "a number above 0")
    return None if value is None else int(value)


def _queue(reader: _Reader) -> QueueRules:
    _origin(reader)
    rules = QueueRules(
        per_submission=_count(reader, "per_submission"),
        per_owner=_count(reader, "per_owner"),
        max_idle=_count(reader, "max_idle"),
    )
    reader.end()
    return rules


def _accounting(reader: _Reader) -> AccountingRules | None:
    if not reader.table:
        return None
    _origin(reader)
    command = reader.line("command")
    if command is None:
        raise SettingsError(f'{reader.where}: command = "accounting_group" is wanted', hint=_PAGE)
    rules = AccountingRules(
        command=command,
        attributes=_texts(reader, "attributes"),
        example=reader.take("example", str, "…"),
        page=reader.take("page", str),
    )
    reader.end()
    return rules


_QUOTA_WAYS = ("quota", "lfs", "get_quotas", "fs", "statvfs")
_PLACES = frozenset({"home", "user", "letter", "host"})


def _place(reader: _Reader, key: str) -> str | None:
    """A folder with names in braces."""
    text = reader.take(key, str)
    if text is None:
        return None
    try:
        fields = [(name, spec, conversion) for _, name, spec, conversion in string.Formatter().parse(text)]
    except ValueError:
        fields = [("{", "", None)]
    if any(
        name is not None and (name not in _PLACES or spec or conversion) for name, spec, conversion in fields
    ):
        reader.table[key] = text
        raise reader.fail(key, "a folder, with {home}, {user}, {letter} or {host} in it,")
    return str(text)


def _quota(name: str, reader: _Reader) -> Quota:
    _origin(reader)
    if reader.table.get("ask", "statvfs") not in _QUOTA_WAYS:
        raise reader.fail("ask", f"one of {', '.join(_QUOTA_WAYS)}")
    folder = _place(reader, "folder")
    if folder is None:
        raise reader.fail("folder", "a folder")
    quota = Quota(
        name=name,
        folder=folder,
        size=reader.measure("size", _BYTES),
        items=_count(reader, "items"),
        ask=reader.take("ask", str, "statvfs"),
    )
    reader.end()
    return quota


def _rules(reader: _Reader) -> JobRules:
    _origin(reader)
    rules = JobRules(
        attributes=_flat(reader, "attributes", _VALUES),
        submit=_flat(reader, "submit", (str,)),
        walltime=_walltime(reader.sub("walltime")),
        time_limit=reader.measure("time_limit", _SECONDS),
        limit_per_checkpoint=reader.take("limit_per_checkpoint", bool, False),
        disk_per_cpu=reader.measure("disk_per_cpu", _DISK),
        no_ssh=reader.take("no_ssh", str),
        no_chirp=reader.take("no_chirp", str),
        no_user_namespaces=reader.take("no_user_namespaces", str),
    )
    reader.end()
    return rules


def _switch(name: str, reader: _Reader) -> Switch:
    _origin(reader)
    switch = Switch(
        name=name,
        help=reader.take("help", str, ""),
        attributes=_flat(reader, "attributes", _VALUES),
        submit=_flat(reader, "submit", (str,)),
        time_limit=reader.measure("time_limit", _SECONDS),
    )
    reader.end()
    return switch


def _slurm_gpu(reader: _Reader) -> SlurmGpu:
    _origin(reader)
    constraint, capability = reader.line("constraint"), reader.take("capability", (int, float))
    memory = reader.measure("memory", _BYTES)
    reader.end()
    if constraint is None or capability is None:
        raise SettingsError(f"{reader.where}: constraint and capability are wanted", hint=_PAGE)
    return SlurmGpu(constraint=constraint, capability=float(capability), memory=memory)


def _operations(reader: _Reader) -> float | None:
    """Operations a second, a number above 0."""
    value = reader.take("operations", (int, float))
    if value is not None and (isinstance(value, bool) or not value > 0):
        reader.table["operations"] = value
        raise reader.fail("operations", "a number above 0")
    return None if value is None else float(value)


def read_profile(name: str, table: object, origin: str = "shipped") -> Profile:
    """The profile that a table describes.

    Args:
        name: Its name.
        table: The table.
        origin: Where it comes from (`Profile.origin`).

    Raises:
        SettingsError: It cannot be read; the message says which key.
    """
    reader = _Reader(table, f"[profile.{name}]")
    defaults = SizeLimits()
    switches, quotas = reader.sub("switches"), reader.sub("quota")
    gpus = reader.take("slurm_gpus", list, [])
    source, date = _origin(reader)
    hosts = _texts(reader, "hosts")
    # true: all machines that the profile is for; a list: those of these names.
    every = reader.table.get("is_access_point") is True
    if isinstance(reader.table.get("is_access_point"), bool):
        del reader.table["is_access_point"]
    access_points = hosts if every else _texts(reader, "is_access_point")
    profile = Profile(
        name=name,
        title=reader.take("title", str, ""),
        origin=origin,
        source=source,
        date=date,
        environment=_flat(reader, "environment", (str,)),
        hosts=hosts,
        access_points=access_points,
        builds=reader.take("builds", bool, True),
        build_hint=reader.take("build_hint", str),
        no_submit_from=_flat(reader, "no_submit_from", (str,)),
        only_submit_from=_flat(reader, "only_submit_from", (str,)),
        page=reader.take("page", str),
        staging=_place(reader, "staging"),
        transfer_host=reader.take("transfer_host", str),
        operations=_operations(reader),
        limits=SizeLimits(
            transfer=reader.measure("transfer_limit", _BYTES, defaults.transfer) or 0,
            url=reader.measure("url_limit", _BYTES, defaults.url) or 0,
        ),
        queue=_queue(reader.sub("queue")),
        accounting=_accounting(reader.sub("accounting")),
        quotas={key: _quota(key, quotas.sub(key)) for key in list(quotas.table)},
        every=_rules(reader.sub("every")),
        cpu=_rules(reader.sub("cpu")),
        gpu=_rules(reader.sub("gpu")),
        build=_rules(reader.sub("build")),
        switches={key: _switch(key, switches.sub(key)) for key in list(switches.table)},
        sbatch=_flat(reader, "sbatch", (str,)),
        slurm_gpus=tuple(
            _slurm_gpu(_Reader(entry, f"{reader.where}.slurm_gpus[{number}]"))
            for number, entry in enumerate(gpus)
        ),
    )
    reader.end()
    return profile
