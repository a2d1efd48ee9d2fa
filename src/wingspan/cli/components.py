"""``wingspan components``: what each component of a map took."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from wingspan._words import counted, lasting, moment, sized
from wingspan.cli._output import TAG, as_json_or_csv, one_format, print_json
from wingspan.cli._terminal import echo

if TYPE_CHECKING:
    from wingspan.maps import Map

__all__ = ["components", "print_components"]

_STATUSES = ("idle", "running", "completed", "errored", "held", "suspended", "removed")


@click.command()
@click.argument("tag", type=TAG)
@click.option("--status", type=click.Choice(_STATUSES), help="Only those with this status.")
@click.option("--sort", type=click.Choice(["number", "newest", "wall", "memory"]), default="number")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="At most this many.")
@as_json_or_csv
def components(
    *, tag: str, status: str | None, sort: str, limit: int | None, as_json: bool, as_csv: bool
) -> None:
    """What each component of a map took: status, time, processor time, memory, host, attempts.

    --sort newest has those first that were begun last, --sort wall and memory those that took most.
    """
    import wingspan

    one_format(as_json, as_csv)
    print_components(
        wingspan.load(tag), status=status, sort=sort, limit=limit, as_json=as_json, as_csv=as_csv
    )


def print_components(
    one: Map,
    *,
    status: str | None = None,
    sort: str = "number",
    limit: int | None = None,
    as_json: bool = False,
    as_csv: bool = False,
) -> None:
    """Print them; the arguments are the options of ``wingspan components``."""
    from wingspan.cli._table import print_csv, print_table
    from wingspan.maps._frame import COLUMNS, rows

    chosen = [
        {**row, "status": row["status"].lower()}
        for row in rows(one)
        if status is None or row["status"].lower() == status
    ]
    if sort != "number":
        chosen.sort(key=lambda row: -(row["started" if sort == "newest" else sort] or 0.0))
    shown = chosen[:limit]
    if as_json:
        print_json(shown)
    elif as_csv:
        print_csv(COLUMNS, shown)
    elif not shown:
        echo(f"no component of {one.tag} is {status}" if status else "nothing to show", err=True)
    else:
        print_table(
            ["NUMBER", "STATUS", "TIME", "CPU", "MEMORY", "ATTEMPTS", "HOST", "BEGUN", "ERROR"],
            [
                (
                    f"{row['component']}",
                    row["status"],
                    "" if row["wall"] is None else lasting(row["wall"]),
                    "" if row["cpu"] is None else lasting(row["cpu"]),
                    sized(row["memory"]) if row["memory"] else "",
                    f"{row['attempts'] or ''}",
                    row["host"] or "",
                    moment(row["started"]) if row["started"] else "",
                    " ".join((row["error"] or "").split())[:80],
                )
                for row in shown
            ],
            right=["NUMBER", "TIME", "CPU", "MEMORY", "ATTEMPTS"],
            whole=["NUMBER", "STATUS", "TIME", "CPU", "MEMORY"],
            cut=["ERROR"],
            drop=["BEGUN", "ATTEMPTS", "HOST"],
        )
    if len(shown) < len(chosen):
        echo(f"{counted(len(chosen) - len(shown), 'component')} more: leave --limit out", err=True)
