"""``wingspan image``: notebook images."""

from __future__ import annotations

from pathlib import Path

import click

from wingspan.cli._main import Group
from wingspan.cli._terminal import echo, echo_json

__all__ = ["image"]


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
def image() -> None:
    """Images with JupyterLab, HTCondor and Wingspan around a locked environment; no container engine is
    needed to build one.
    """


def _flavours() -> tuple[str, ...]:
    from wingspan.notebooks.images import FLAVOURS

    return FLAVOURS


@image.command()
@click.argument(
    "folder",
    required=False,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="[FOLDER]",
)
@click.option(
    "--flavour", help="One of the recipes that Wingspan has (wingspan image flavours).  [default: base]"
)
@click.option("-e", "--env", "environment", default="default", help="Environment of the workspace in FOLDER.")
@click.option(
    "-k",
    "--kind",
    type=click.Choice(["oci", "sif"]),
    default="oci",
    show_default=True,
    help="For Docker, podman and Kubernetes, or for Apptainer.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    show_default="here",
    help="Folder for the image.",
)
@click.option(
    "--push", metavar="REFERENCE", help="Send it to a registry, too: registry.example.org/me/notebook:2026.11"
)
@click.option("--frozen", is_flag=True, help="Do not compare the lock with the manifest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def build(
    *,
    folder: Path | None,
    flavour: str | None,
    environment: str,
    kind: str,
    output: Path,
    push: str | None,
    frozen: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Build an image of a flavour, or of the locked workspace in FOLDER."""
    from wingspan.cli._progress import progress
    from wingspan.cli._table import size
    from wingspan.notebooks.images import build_image, check_push, push_image

    if folder is not None and flavour is not None:
        raise click.UsageError("a FOLDER and --flavour are both given, and an image is of one of them")
    if push and kind != "oci":
        raise click.UsageError("--push is for oci images")
    if push:
        check_push(push)  # before the image is built for nothing
    with progress(quiet=quiet) as told:
        made = build_image(
            folder if folder is not None else flavour or "base",
            environment,
            folder=output,
            kind=kind,
            check_lock=not frozen,
            progress=told,
        )
    pushed = push_image(made, push) if push else None
    if as_json:
        facts = {"path": str(made.path), "name": made.name, "digest": made.digest, "size": made.size}
        echo_json({**facts, "pushed": pushed} if pushed else facts)
        return
    echo(str(made.path))
    echo(f"  {made.name}, {size(made.size)}, {made.digest}", err=True)
    if pushed:
        echo(f"  pushed: {pushed}", err=True)
    elif kind == "oci":
        echo(f"  podman load -i {made.path} && podman run -p 8888:8888 localhost/{made.name}", err=True)


@image.command()
def flavours() -> None:
    """List the recipes; of those that must be locked first (pixi lock), that is said."""
    from wingspan.notebooks.images import has_lock

    for one in _flavours():
        echo(one if has_lock(one) else f"{one} (without a lock)")


@image.command()
@click.argument("flavour")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def recipe(flavour: str, folder: Path) -> None:
    """Write the recipe of a FLAVOUR into FOLDER, to be changed and locked (pixi lock)."""
    from wingspan.notebooks.images import write_recipe

    for path in write_recipe(flavour, folder):
        echo(str(path))
