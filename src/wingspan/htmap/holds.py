"""Why components are held."""

from __future__ import annotations

import attrs

__all__ = ["ComponentHold"]


@attrs.frozen
class ComponentHold:
    """Why a component is held.

    Attributes:
        code: HoldReasonCode (HTCondor manual, "Job ClassAd Attributes"); None on other pools.
        reason: In the scheduler's words.
    """

    code: int | None
    reason: str

    def __str__(self) -> str:
        return f"[{self.code}] {self.reason}" if self.code is not None else self.reason
