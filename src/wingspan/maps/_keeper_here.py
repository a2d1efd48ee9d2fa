"""What a keeper does for the copy of a map that another machine has; most maps are no copies."""

from __future__ import annotations

__all__ = ["Here"]


class Here:
    """The map lies here: nothing is to be brought from elsewhere, or done there."""

    def bring(self, name: str) -> None:
        """Have a file or folder of the map here, which a copy leaves out."""

    def sent(self) -> list[int] | None:
        """Components that have sent files, as the other machine says; None: see the map's folder."""
        return None

    def retag(self, tag: str) -> None:
        """Give the map another tag on the machine that this one is a copy from."""

    def remove_elsewhere(self, *, force: bool) -> bool:
        """Remove the map on the machine that this one is a copy from. Returns whether it is a copy."""
        return False
