"""``wingspan runs``: the runs that there are."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from wingspan._words import lasting
from wingspan.cli._output import as_json_or_csv, one_format, print_json, when
from wingspan.cli._terminal import echo

if TYPE_CHECKING:
    from wingspan.runs import Run, RunStatus

__all__ = ["elapsed", "run_record", "runs"]


def elapsed(one: Run, status: RunStatus) -> float:
    """Seconds from when a run was made until its last job ended, or until now."""
    ended = [job.since for job in status.jobs if job.since is not None]
    created: float = one.info["created"]
    return max(0.0, (max(ended, default=0.0) if status.is_done else time.time()) - created)


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
        "elapsed": elapsed(one, status),
        "path": str(one.path),
    }


#: Columns of ``runs --csv``.
_CSV = (
    "name",
    "state",
    "jobs",
    "completed",
    "failed",
    "command",
    "pool",
    "environment",
    "elapsed",
    "created",
    "path",
)


@click.command()
@as_json_or_csv
def runs(as_json: bool, as_csv: bool) -> None:
    """List your runs, the newest first.

    TOOK is the time from when a run was made until its last job ended, or until now.
    """
    import wingspan
    from wingspan.cli._table import print_csv, print_table
    from wingspan.runs import load_run, run_names

    one_format(as_json, as_csv)
    records: list[dict[str, Any]] = []
    for name in run_names():
        try:
            records.append(run_record(load_run(name)))
        except wingspan.WingspanError as error:
            records.append({"name": name, "state": "damaged", "message": error.message})
    records.sort(key=lambda record: -(record.get("created") or 0.0))
    if as_json:
        print_json(records)
    elif as_csv:
        zero = {"completed": 0, "failed": 0}
        rows = [{**zero, **one.get("counts", {}), **one, "jobs": len(one.get("jobs", ()))} for one in records]
        print_csv(_CSV, rows)
    elif not records:
        echo("no runs", err=True)
    else:
        print_table(
            ["NAME", "STATE", "DONE", "FAILED", "COMMAND", "POOL", "TOOK", "CREATED"],
            [_row(one) for one in records],
            right=["DONE", "FAILED", "TOOK"],
            whole=["NAME", "STATE", "DONE", "FAILED", "POOL", "TOOK", "CREATED"],
            cut=["COMMAND"],
            drop=["POOL", "CREATED", "FAILED", "TOOK"],
        )


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    if record["state"] == "damaged":
        return (record["name"], "damaged", *[""] * 6)
    counts, command = record["counts"], " ".join(record["command"].split())
    return (
        record["name"],
        record["state"],
        f"{counts.get('completed', 0):,}/{len(record['jobs']):,}",
        f"{counts.get('failed', 0):,}" if counts.get("failed") else "",
        command if len(command) <= 40 else command[:39] + "…",
        record["pool"],
        lasting(record["elapsed"]),
        when(record["created"]),
    )
