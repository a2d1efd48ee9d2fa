"""Options by which what is done again asks for something else: the same words for maps and for runs."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["asks_again", "said"]

_ASKS = (
    click.option("--memory", metavar="SIZE", help="Memory that they ask for from now on: 8GB."),
    click.option("--disk", metavar="SIZE", help="Disk that they ask for from now on: 20GB."),
    click.option(
        "--cpus", type=click.IntRange(min=1), metavar="N", help="Cores that they ask for from now on."
    ),
    click.option(
        "--gpus", type=click.IntRange(min=0), metavar="N", help="GPUs that they ask for from now on."
    ),
    click.option(
        "--time", metavar="TIME", help="Longest wall time of a job that they ask for from now on: 12h."
    ),
)


def asks_again(command: Any) -> Any:
    """What components or jobs ask for when they are done again; `said` tells what was given."""
    for decorate in reversed(_ASKS):
        command = decorate(command)
    return command


def said(asks: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that were given."""
    return {name: value for name, value in asks.items() if value is not None}
