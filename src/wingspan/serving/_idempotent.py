"""Changes of maps and runs that a laptop asks for, each carried out once at most.

A connection may break before the laptop has heard what became of its request. Through another connection it
asks for the outcome, and sends the request again, with another number, only if it was not carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from wingspan.serving._answers import Answer
from wingspan.serving._errors import told as error_told
from wingspan.serving._records import Record

__all__ = ["IdempotentRequests"]


class IdempotentRequests:
    """The changes that one connection asks for."""

    def __init__(self) -> None:
        self._told: list[Record] = []

    def once(self, what: Mapping[str, Any], do: Callable[[], Answer]) -> Answer:
        """Carry a request out, and write down what comes of it.

        Args:
            what: The request; ``idempotency_key`` names it.
            do: Carries it out; the answer has no bytes.

        Raises:
            ValueError: It was carried out, or given up, before.
            Exception: What `do` raises.
        """
        record = _record(what)
        with record.locked() as held:
            if not held or record.read():
                raise ValueError("this request was carried out before, or was given up")
            record.write({"begun": True})
            try:
                answer = do()
            except Exception as error:
                record.write({"error": error_told(error)})
                raise
            else:
                record.write({"answer": answer.plain})
            finally:
                self._told.append(record)
        return answer

    def outcome(self, what: Mapping[str, Any]) -> Answer:
        """What has become of a request: its ``answer`` or its ``error``; ``given_up``, it was not carried
        out, and will not be; or only ``begun``, where the process that carried it out was killed.
        """
        record = _record(what)
        with record.locked():
            told = record.read()
            if not told:
                told = {"given_up": True}
                record.write(told)
        self._told.append(record)
        return Answer(told)

    def heard(self) -> None:
        """Another message has come: the other end knows what it was told."""
        while self._told:
            self._told.pop().forget()


def _record(what: Mapping[str, Any]) -> Record:
    return Record.named(f"request-{what['idempotency_key']}")
