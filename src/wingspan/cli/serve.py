"""``wingspan serve``: what ``pool="ssh://host"`` starts on the access point."""

from __future__ import annotations

import click

__all__ = ["serve"]


@click.command()
def serve() -> None:
    """Answer the Wingspan of another machine, through the ssh that has started this.

    A laptop starts it on an access point: wingspan.map(…, pool="ssh://host"). It ends with the connection.
    """
    from wingspan.serving import serve as answer

    answer()
