"""``wingspan gpus``: the GPUs of a pool."""

from __future__ import annotations

from pathlib import Path

import click

from wingspan.cli._complete import ENVIRONMENT, POOL
from wingspan.cli._terminal import echo

__all__ = ["gpus"]


@click.command()
@click.option(
    "-p",
    "--pool",
    type=POOL,
    help="Where.  [default: chosen; see wingspan doctor]",
)
@click.option(
    "-e",
    "--env",
    "--environment",
    "environment",
    metavar="NAME",
    type=ENVIRONMENT,
    help="Say which ones this environment of the workspace here can use.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def gpus(pool: str | None, environment: str | None, as_json: bool) -> int:
    """The GPUs of a pool: model, compute capability, CUDA of the driver, memory, free and in all.

    Exit code 1: --env was given, and no GPU will do.
    """
    from wingspan.cli._output import print_json
    from wingspan.cli._table import print_table
    from wingspan.pools import choose_pool
    from wingspan.runs._machines import group_gpus

    needs = None
    if environment is not None:
        from wingspan.environments import Environment, derive_needs

        needs = derive_needs(Environment(Path(), environment).load(gpus=True), gpus=True)
    groups = group_gpus(choose_pool(pool).pool, needs)
    if as_json:
        print_json([group.to_json() for group in groups])
    elif not groups:
        echo("this pool has no GPUs", err=True)
    else:
        columns = [
            "MODEL",
            "CAPABILITY",
            "CUDA",
            "DRIVER",
            "MEMORY",
            "FREE",
            "TOTAL",
            *(["USABLE"] if needs else []),
        ]
        rows = [
            (
                group.model or "?",
                "?" if group.capability is None else str(group.capability),
                group.cuda or "?",
                group.driver or "?",
                "?" if group.memory is None else f"{group.memory / (1 << 30):.1f} GiB",
                str(group.free),
                str(group.total),
                *(
                    ["yes" if group.unusable_reason is None else f"no: {group.unusable_reason}"]
                    if needs
                    else []
                ),
            )
            for group in groups
        ]
        print_table(columns, rows, right=["CAPABILITY", "MEMORY", "FREE", "TOTAL"])
    return 1 if needs is not None and not any(group.unusable_reason is None for group in groups) else 0
