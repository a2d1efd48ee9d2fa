"""``wingspan runs``: the runs that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from wingspan.cli._output import print_json, when
from wingspan.cli._terminal import echo

if TYPE_CHECKING:
    from wingspan.runs import Run

__all__ = ["run_record", "runs"]


def run_record(one: Run) -> dict[str, Any]:
    """A run and its status as JSON can hold it."""
    import attrs

    status = one.status()
    return {
        "name": one.name,
        "state": status.state,
        "command": one.command,
        "pool": one.pool,
        "jobs": [attrs.asdict(job) for job in status.jobs],
        "counts": dict(status.counts),
        "message": status.message,
        "outputs": list(one.spec.outputs),
        "environment": one.spec.environment and one.spec.environment.name,
        "created": one.info["created"],
        "path": str(one.path),
    }


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def runs(as_json: bool) -> None:
    """List your runs, the newest last."""
    import wingspan
    from wingspan.cli._table import print_table
    from wingspan.runs import load_run, run_names

    records = []
    for name in run_names():
        try:
            records.append(run_record(load_run(name)))
        except wingspan.WingspanError as error:
            records.append({"name": name, "state": "damaged", "message": error.message})
    records.sort(key=lambda record: record.get("created") or 0.0)
    if as_json:
        print_json(records)
    elif not records:
        echo("no runs", err=True)
    else:
        print_table(
            ["NAME", "STATE", "DONE", "FAILED", "COMMAND", "POOL", "CREATED"],
            [_row(one) for one in records],
            right=["DONE", "FAILED"],
            whole=["NAME", "STATE", "DONE", "FAILED", "POOL", "CREATED"],
            cut=["COMMAND"],
            drop=["POOL", "CREATED", "FAILED"],
        )


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    if record["state"] == "damaged":
        return (record["name"], "damaged", "", "", "", "", "")
    counts, command = record["counts"], " ".join(record["command"].split())
    return (
        record["name"],
        record["state"],
        f"{counts.get('completed', 0):,}/{len(record['jobs']):,}",
        f"{counts.get('failed', 0):,}" if counts.get("failed") else "",
        command if len(command) <= 40 else command[:39] + "…",
        record["pool"],
        when(record["created"]),
    )
