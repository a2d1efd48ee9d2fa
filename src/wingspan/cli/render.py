"""``wingspan render``: the files of a run, for people to own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wingspan.cli.run import RunCommand, planned, run_options

__all__ = ["render"]


@click.command(cls=RunCommand)
@click.argument("target", type=click.Choice(["htcondor", "slurm"]))
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@run_options
@click.option(
    "--from",
    "existing",
    metavar="RUN",
    help="The files of a run that exists, instead of options and a command.",
)
@click.option("--image", metavar="URL", help="Container image that has the environment: docker://…@sha256:…")
@click.option(
    "--bundle-url", metavar="URL", help="Where the bundle was published; it is not copied into DIR then."
)
@click.argument("words", metavar="TASK [ARGUMENT]... | -- COMMAND...", nargs=-1)
@click.pass_context
def render(
    ctx: click.Context,
    /,
    *,
    target: str,
    folder: Path,
    existing: str | None,
    image: str | None,
    bundle_url: str | None,
    words: tuple[str, ...],
    **options: Any,
) -> None:
    """Write the files of a run into DIR: what it asks for, the script it executes, and submit.sh, interact.sh, README.md.

    They work with plain condor_submit or sbatch, also where there is no Wingspan; comments say why each line is there.
    """
    from wingspan.cli._progress import progress
    from wingspan.runs import load_run
    from wingspan.runs._render import plan_of_run, write_files
    from wingspan.runs._render import render as write

    kind: Any = target
    with progress() as told:
        if existing is not None:
            if words:
                raise click.UsageError("give --from RUN or a command, not both")
            plan = plan_of_run(load_run(existing))
            paths = write_files(kind, plan, folder, told, image=image, bundle_url=bundle_url)
        else:
            if not words:
                raise click.UsageError("what? Give a TASK, or -- and a COMMAND, or --from RUN")
            command, keywords = planned(words, ctx.meta["wingspan.after_dashes"], options)
            paths = write(
                kind, folder, command, image=image, bundle_url=bundle_url, progress=told, **keywords
            )
    for path in paths:
        click.echo(str(path))
