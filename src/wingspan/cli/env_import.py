"""``wingspan env import``: environments of people who do not use Pixi."""

from __future__ import annotations

import json
from pathlib import Path

import click

from wingspan._words import counted
from wingspan.cli._terminal import echo

__all__ = ["import_"]


@click.command("import")
@click.argument("source", required=False, type=click.Path(path_type=Path))
@click.option("--active", is_flag=True, help="Import what is installed in the active environment.")
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for pixi.toml and pixi.lock.  [default: beside the source]",
)
@click.option("--python", metavar="X.Y", help="Version of Python.  [default: the source's, else this one's]")
@click.option("-p", "--platform", metavar="NAME", help="linux-64 or linux-aarch64.  [default: as here]")
@click.option("-c", "--channel", "channels", multiple=True, help="Conda channel. Once or more.")
@click.option(
    "--glibc",
    metavar="X.Y",
    default="2.28",
    show_default=True,
    help="The workers have this C library at least.",
)
@click.option("--cuda", metavar="X.Y", help="The driver of the workers' GPUs has this CUDA at least.")
@click.option("--extra", "extras", multiple=True, help="Extra of a uv.lock's project. Once or more.")
@click.option("--group", "groups", multiple=True, help="Dependency group of a uv.lock. Once or more.")
@click.option("--overwrite", is_flag=True, help="Replace a workspace that is there.")
@click.option("--bundle", is_flag=True, help="Also make a bundle of it, as env bundle does.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def import_(
    ctx: click.Context,
    source: Path | None,
    active: bool,
    folder: Path | None,
    python: str | None,
    platform: str | None,
    channels: tuple[str, ...],
    glibc: str,
    cuda: str | None,
    extras: tuple[str, ...],
    groups: tuple[str, ...],
    overwrite: bool,
    bundle: bool,
    as_json: bool,
) -> None:
    """Make a workspace with a lock of what you have: SOURCE is a requirements.txt, a uv.lock, an
    environment.yml, a conda-lock.yml, a script with its requirements (PEP 723), or a folder with one.

    Afterwards, in its folder, --env default names the environment.
    """
    from wingspan.cli._progress import progress
    from wingspan.environments import import_environment

    if active == (source is not None):
        raise click.UsageError("name a source, or --active")
    if bundle and as_json:
        raise click.UsageError("--json goes without --bundle: wingspan env bundle --json makes it afterwards")
    with progress() as told:
        made = import_environment(
            source,
            folder,
            python=python,
            platform=platform,
            channels=channels,
            glibc=glibc,
            cuda=cuda,
            extras=extras,
            groups=groups,
            overwrite=overwrite,
            progress=told,
        )
    if as_json:
        document = {"folder": str(made.folder), "conda": made.conda, "pypi": made.pypi, "notes": made.notes}
        echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        what = f"{counted(made.conda, 'conda package')} and {counted(made.pypi, 'wheel')}"
        echo(f"{made.folder / 'pixi.lock'}: {what}")
        for note in made.notes:
            echo(note, err=True)
    if bundle:
        from wingspan.cli.env_bundle import bundle as bundle_command

        ctx.invoke(bundle_command, manifest=made.folder)
