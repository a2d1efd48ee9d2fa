"""``wingspan bench --site``: what maps cost an access point, for those who look after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from wingspan._words import counted
from wingspan.cli._complete import POOL
from wingspan.cli._terminal import echo

if TYPE_CHECKING:
    from wingspan.maps._bench import Load

__all__ = ["bench"]

_EXPLAINED = (
    "claims and appends grow with the work; others are all other operations on files, and of one worker at most;",
    "looks: each worker asks now and then whether what it does is still wanted, every ten seconds at a site;",
    "files: in the map's folder at most, and when it is complete; bytes: contents, from the workers and to them;",
    "requests: to the schedd and the collector, for the whole map; shadows: their processor time, and what 100",
    "workers take of one core beyond what 100 plain jobs take that sleep for as long.",
    "Simulated lines are counted, by the same code, with the map in memory: no job is submitted for them.",
)


@click.command()
@click.option(
    "--site", is_flag=True, help="Measure operations, bytes, files and shadows on the access point."
)
@click.option("-p", "--pool", type=POOL, help="Where.  [default: chosen; see wingspan doctor]")
@click.option(
    "--workers",
    default="1,10,100,1000",
    show_default=True,
    metavar="N,…",
    help="How many workers: one number, or several.",
)
@click.option(
    "--seconds",
    default=20.0,
    show_default=True,
    type=click.FloatRange(1.0, 3600.0),
    help="How long each job sleeps.",
)
@click.option("--simulate", is_flag=True, help="Submit nothing.")
@click.option("-y", "--yes", is_flag=True, help="Submit without a question.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(
    site: bool, pool: str | None, workers: str, seconds: float, simulate: bool, yes: bool, as_json: bool
) -> int:
    """Measure what a map costs the access point, on the pool that maps run on.

    As many workers as the pool has slots are measured with real jobs, which sleep, beside as many plain jobs
    that sleep for as long. For more workers the same code runs in this process, and what it asks is counted.
    """
    if not site:
        raise click.UsageError("say what is to be measured: --site")
    from wingspan.cli._output import print_json
    from wingspan.maps._bench import measure_load, simulate_load, slots_of
    from wingspan.pools import choose_pool

    counts = _numbers(workers)
    chosen = None if simulate else choose_pool(pool).pool
    slots = slots_of(chosen) if chosen is not None else 0
    real = [count for count in counts if count <= slots]
    if chosen is not None and real and not yes:
        jobs = sum(real)
        click.confirm(
            f"Submit {counted(jobs, 'worker')} of maps and {counted(jobs, 'plain job')} to {chosen.title()}, "
            f"which sleep for {seconds:g} s each?",
            abort=True,
            err=True,
        )
    loads = []
    for count in counts:
        if chosen is not None and count in real:
            echo(f"{counted(count, 'worker')}, measured: about {2 * seconds:g} s", err=True)
            loads.append(measure_load(chosen, count, seconds))
        else:
            loads.append(simulate_load(count))
    if as_json:
        print_json(
            {
                "pool": chosen.kind if chosen is not None else None,
                "slots": slots,
                "loads": [load.to_json() for load in loads],
            }
        )
    else:
        _print(loads)
    return 0


def _numbers(text: str) -> list[int]:
    try:
        counts = [int(word) for word in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1 or max(counts) > 100_000:
        raise click.BadParameter(
            f"{text!r}: write numbers from 1 to 100000, such as 1,10,100", param_hint="--workers"
        )
    return counts


def _print(loads: list[Load]) -> None:
    from wingspan.cli._table import print_table, size

    columns = ["WORKERS", "", "CLAIMS", "APPENDS", "OTHERS", "LOOKS", "FILES", "BYTES", "REQUESTS", "SHADOWS"]
    rows = []
    for load in loads:
        extra = load.extra
        shadows = "" if load.shadow_seconds is None else f"{load.shadow_seconds:.2f} s"
        rows.append(
            [
                f"{load.workers:,}",
                "measured" if load.is_measured else "simulated",
                f"{load.claims:,}",
                f"{load.appends:,}",
                f"{load.others:,} (≤ {load.others_at_most})",
                f"{load.looks:,}" if load.is_measured else "",
                f"{load.files:,}, then {load.files_left:,}",
                f"{size(load.written)}, {size(load.read)}",
                "" if load.requests is None else f"{sum(load.requests.values())}",
                shadows if extra is None else f"{shadows}, {extra:+.1%}",
            ]
        )
    print_table(columns, rows, right=[name for name in columns if name])
    echo("")
    for line in _EXPLAINED:
        echo(line)
