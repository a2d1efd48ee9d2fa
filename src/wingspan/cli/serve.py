"""``wingspan serve``: what ``pool="ssh://host"`` starts on the access point."""

from __future__ import annotations

import sys

import click

__all__ = ["serve"]


@click.command()
def serve() -> None:
    """Answer the Wingspan of another machine, through the ssh that has started this.

    A laptop starts it on an access point: wingspan.map(…, pool="ssh://host"). It ends with the connection.
    """
    if sys.stdin.isatty():
        raise click.UsageError("ssh starts this on an access point, for pool='ssh://host' on another machine")
    from wingspan.serving import serve as answer

    answer()
