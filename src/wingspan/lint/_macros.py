"""What the variables of a submit description stand for, without growing beyond all bounds."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["BUILT_IN", "Macros"]

_PLAIN = re.compile(r"\$\(([\w.]+)(?::([^()$]*))?\)")
#: Names (lower case) that condor_submit sets, or takes from the configuration of the machine.
BUILT_IN = frozenset(
    """
    arch cluster clusterid day dollar fullhostname hostname ip_address islinux iswindows item itemindex job jobid log month node
    opsys opsysandver opsysmajorver opsysver owner pid process procid retry row spool step submit_file submit_time tilde
    username year
    """.split()
)
#: A value that is longer is not looked into.
_LONGEST = 10_000
#: All values of a file together.
_ALL = 1_000_000
#: Variables within variables.
_DEEPEST = 20


class Macros:
    """Replaces ``$(name)``. What cannot be known stays: names that the file does not set or sets under a
    condition, those of the
    queue statement, functions, and what would become too long.
    """

    def __init__(self, assigned: Iterable[tuple[str, str, bool]], variables: set[str]) -> None:
        """
        Args:
            assigned: Name (lower case), value, and whether it depends on a condition, in order.
            variables: Names that the queue statement sets.
        """
        self._known: dict[str, str] = {}
        unknown = BUILT_IN | variables
        conditional_names = set()
        for name, value, conditional in assigned:
            before = self._known.get(name)
            if conditional:
                conditional_names.add(name)
            elif f"$({name}" in value.lower():  # it is added to
                self._known[name] = _joined(name, before or "", value)
            else:
                self._known[name] = value
        self._unknown = unknown | conditional_names
        for name in self._unknown:
            self._known.pop(name, None)
        self._done: dict[str, str] = {}
        self._left = _ALL

    def expanded(self, value: str) -> str:
        """`value` with what is known replaced."""
        return self._expand(value, 0) if "$(" in value else value

    def _expand(self, value: str, depth: int) -> str:
        if depth > _DEEPEST or len(value) > _LONGEST or self._left <= 0:
            return value
        size, parts, at = 0, [], 0
        for match in _PLAIN.finditer(value):
            if match.start() and value[match.start() - 1] == "$":  # $$(name) is of the machine
                continue
            new = self._value(match[1].lower(), match[2], match[0], depth)
            parts += [value[at : match.start()], new]
            size += len(new) + match.start() - at
            at = match.end()
            if size > _LONGEST:
                return value
        parts.append(value[at:])
        whole = "".join(parts)
        self._left -= len(whole)
        return whole if len(whole) <= _LONGEST else value

    def _value(self, name: str, default: str | None, written: str, depth: int) -> str:
        if name in self._done:
            return self._done[name]
        known = self._known.get(name)
        if known is None:
            return default if default is not None and name not in self._unknown else written
        self._done[name] = written  # one that leads back to itself stays
        self._done[name] = self._expand(known, depth + 1)
        return self._done[name]


def _joined(name: str, before: str, value: str) -> str:
    """`value`, which refers to what its name stood for before."""
    if value.count("$(") * len(before) > _LONGEST:
        return value
    joined = _PLAIN.sub(lambda match: before if match[1].lower() == name else match[0], value)
    return joined if len(joined) <= _LONGEST else value
