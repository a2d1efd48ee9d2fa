"""``wingspan run`` and ``wingspan runs``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wingspan.cli._output import print_json, when

if TYPE_CHECKING:
    from wingspan.runs import Run

__all__ = ["RunCommand", "planned", "run", "run_options", "run_record", "runs"]

_POOLS = ("personal", "htcondor", "slurm", "local")


def run_options(command: Any) -> Any:
    """Options that say what a run is; `planned` makes keywords of `wingspan.run` of them."""
    for decorate in reversed(
        (
            click.option(
                "-e", "--env", "environment", metavar="NAME", help="Locked environment of the workspace here."
            ),
            click.option(
                "-k",
                "--kind",
                type=click.Choice(["squashfs", "sif", "pack", "install"]),
                help="How the environment travels.  [default: squashfs]",
            ),
            click.option(
                "-i",
                "--input",
                "inputs",
                multiple=True,
                metavar="PATH|URL",
                help="Goes along; relative paths are kept.",
            ),
            click.option(
                "-o",
                "--output",
                "outputs",
                multiple=True,
                metavar="PATH",
                help="Comes back; may hold * and ?.",
            ),
            click.option("-n", "--name", help="Name of the run.  [default: made up]"),
            click.option("--cpus", type=int, help="Cores of a job.  [default: 1]"),
            click.option("--memory", metavar="SIZE", help="Memory of a job: 2GB."),
            click.option("--disk", metavar="SIZE", help="Scratch disk of a job: 10GB."),
            click.option("--time", metavar="TIME", help="Longest wall time of a job: 90min, 12h, 1d."),
            click.option("--gpus", type=int, help="GPU devices of a job.  [default: 0]"),
            click.option("--gpu-memory", metavar="SIZE", help="Least memory of each device."),
            click.option(
                "--set",
                "variables",
                multiple=True,
                metavar="NAME=VALUE",
                help="Environment variable of the job.",
            ),
            click.option(
                "--sweep",
                "sweeps",
                multiple=True,
                metavar="NAME=A,B",
                help="A job for each value, which {NAME} in the command stands for; several: each combination.",
            ),
            click.option(
                "--sweep-file",
                type=click.Path(path_type=Path, dir_okay=False),
                help="CSV file: the first line names parameters, each further one is a job.",
            ),
            click.option(
                "--checkpoint",
                multiple=True,
                metavar="PATH",
                help="Kept when the command exits to be started again.",
            ),
            click.option(
                "--checkpoint-exit-code",
                type=int,
                default=85,
                show_default=True,
                help="Says that there is a checkpoint.",
            ),
            click.option(
                "--profile", metavar="SITE", help="Site profile: chtc, ospool, cern, or one of yours."
            ),
            click.option(
                "--switch",
                "switches",
                multiple=True,
                metavar="NAME",
                help="Something that the profile lets one turn on.",
            ),
            click.option(
                "--preflight/--no-preflight",
                default=True,
                help="Check the GPU before the command.  [default: do]",
            ),
        )
    ):
        command = decorate(command)
    return command


def planned(
    words: tuple[str, ...], after_dashes: bool, options: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Command and keywords of `wingspan.run`."""
    from wingspan.runs._spec import read_sweep

    variables = {}
    for given in options.pop("variables"):
        key, equals, value = given.partition("=")
        if not equals or not key.isidentifier():
            raise click.UsageError(f"--set {given}: write NAME=VALUE")
        variables[key] = value
    sweep = dict(read_sweep(given) for given in options.pop("sweeps"))
    options |= {"variables": variables, "sweep": sweep or None}
    command: Any = list(words)
    if not after_dashes:
        command, options["arguments"] = words[0], words[1:]
    return command, options


class RunCommand(click.Command):
    """Knows whether ``--`` stood before the words: then they are a command, otherwise a task."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        after = args[args.index("--") + 1 :] if "--" in args else None
        ctx.meta["wingspan.after_dashes"] = after is not None
        rest: list[str] = super().parse_args(ctx, args)  # takes the words out of args
        words = ctx.params.get("words", ())
        if after is not None and len(words) > len(after):
            raise click.UsageError(f"{words[0]!r} stands before --; give a task, or -- and a command")
        return rest


@click.command(cls=RunCommand)
@run_options
@click.option(
    "-p", "--pool", type=click.Choice(_POOLS), help="Where.  [default: chosen; see wingspan doctor]"
)
@click.option("-f", "--follow", is_flag=True, help="Print what it prints, and end as it ends.")
@click.option(
    "--interactive",
    is_flag=True,
    help="A shell with the same files in the same environment, instead of the command.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print the name only, and no progress.")
@click.argument("words", metavar="TASK [ARGUMENT]... | -- COMMAND...", nargs=-1)
@click.pass_context
def run(
    ctx: click.Context,
    /,
    *,
    words: tuple[str, ...],
    pool: str | None,
    follow: bool,
    interactive: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Execute a Pixi task, or any command, as a batch job.

    Nothing goes along but what --input names, or the task's inputs and [tool.wingspan] in the manifest. The run is kept under its
    name: wingspan status, logs, fetch, rerun, rm.
    """
    from wingspan.cli._progress import progress
    from wingspan.runs._api import run as start

    after_dashes = ctx.meta["wingspan.after_dashes"]
    if not words and not interactive:
        raise click.UsageError("what? Give a TASK, or -- and a COMMAND")
    if interactive:
        from wingspan.runs._interactive import open_shell

        command, keywords = planned(words or ("sh",), after_dashes or not words, options)
        with progress(quiet=quiet) as told:
            shell = open_shell(command, pool=pool, progress=told, **keywords)
        return shell()
    command, keywords = planned(words, after_dashes, options)
    with progress(quiet=quiet) as told:
        made = start(command, pool=pool, progress=told, **keywords)
    for warning in made.spec.warnings:
        click.echo(click.style("Note: ", fg="yellow") + warning, err=True)
    if quiet:
        click.echo(made.name)
    else:
        count = f"{len(made):,} jobs" if len(made) > 1 else "1 job"
        click.echo(f"{made.name}: {count} in the {made.pool} pool; wingspan status {made.name}", err=follow)
    if follow:
        from wingspan.cli.runs_act import follow_run

        return follow_run(made)
    return 0


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
        "outputs": list(one.spec.outputs),
        "environment": one.spec.environment and one.spec.environment["name"],
        "created": one.info["created"],
        "path": str(one.path),
    }


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def runs(as_json: bool) -> None:
    """List your runs."""
    import wingspan
    from wingspan.cli._table import print_table
    from wingspan.runs import load_run, run_names

    records = []
    for name in run_names():
        try:
            records.append(run_record(load_run(name)))
        except wingspan.WingspanError as error:
            records.append({"name": name, "state": "damaged", "message": error.message})
    if as_json:
        print_json(records)
    elif not records:
        click.echo("no runs", err=True)
    else:
        print_table(
            ["NAME", "STATE", "DONE", "FAILED", "COMMAND", "POOL", "CREATED"],
            [_row(one) for one in records],
            right=["DONE", "FAILED"],
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
