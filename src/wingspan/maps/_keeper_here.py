"""What a keeper is asked for copies of maps that another machine has; most maps are no copies."""

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
        """Give the map another tag where it is a copy of."""

    def remove_elsewhere(self, *, force: bool) -> bool:
        """Remove the map where it is a copy of; whether it is one."""
        return False
