"""Where the records of a map's components are.

Each record is listed once, however many components it is about.
"""

from __future__ import annotations

from array import array

__all__ = ["Newcomers", "Places"]


class Places:
    """A table of the records that count, in the order in which they were found. Row 0 stands for no record.

    Attributes:
        files: Numbers of the results files.
        rounds: Numbers of their rounds.
        headers, payloads: Where they are in their files (bytes).
        firsts, counts: Which components each tells of.
    """

    def __init__(self) -> None:
        self.files = array("I", [0])
        self.rounds = array("H", [0])
        self.headers = array("Q", [0])
        self.payloads = array("Q", [0])
        self.firsts = array("I", [0])
        self.counts = array("I", [0])

    def add(self, file: int, number: int, header: int, payload: int, first: int, count: int = 1) -> int:
        """Add a record; returns its row."""
        row = len(self.counts)
        self.files.append(file)
        self.rounds.append(number)
        self.headers.append(header)
        self.payloads.append(payload)
        self.firsts.append(first)
        self.counts.append(count)  # last: from now on the row is there
        return row


class Newcomers:
    """Components in the order in which their records were found; those that were done again come again."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._row, self._offset = 1, 0

    def are_there(self) -> bool:
        """There are some that were not taken."""
        return self._row < len(self._places.counts)

    def take(self) -> int:
        """The next one."""
        component = self._places.firsts[self._row] + self._offset
        self._offset += 1
        if self._offset >= self._places.counts[self._row]:
            self._row, self._offset = self._row + 1, 0
        return component
