"""Where the files of a map are: ``fetch`` (that of a run is in `runs_act`) and ``path``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wingspan.cli._output import TAG, refuse_beyond
from wingspan.cli._terminal import echo

if TYPE_CHECKING:
    from wingspan.maps import Map

__all__ = ["fetch", "path"]


@click.command()
@click.argument("tag", type=TAG)
@click.argument("numbers", metavar="[NUMBER]...", nargs=-1, type=click.IntRange(min=0))
@click.option(
    "-t",
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    show_default="here",
    help="Folder.",
)
@click.option("-w", "--wait", "waiting", is_flag=True, help="Wait until all components are done.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there with another content.")
def fetch(tag: str, numbers: tuple[int, ...], to: Path, waiting: bool, overwrite: bool) -> None:
    """Copy the files that components of a map have sent to a folder: those of component 3 to TAG/3 in it.

    Without a NUMBER: those of all components that are done. The outputs that components return are in
    Python: list(wingspan.load(TAG)).
    """
    import wingspan

    one = wingspan.load(tag)
    refuse_beyond(one, numbers)
    if waiting:
        one.wait(errors_ok=True)
    for number in numbers:
        _folder(one, number)
    fetched = one.fetch(to, numbers or None, overwrite=overwrite)
    for files in fetched.values():
        for file in files:
            echo(str(file))
    if not fetched:
        done = "" if one.is_done else "; it is not done"
        echo(
            f"{tag}: no component has sent files (wingspan.component().transfer_output_files){done}", err=True
        )


@click.command()
@click.argument("tag", type=TAG)
@click.argument("number", required=False, type=click.IntRange(min=0))
def path(tag: str, number: int | None) -> None:
    """Print the folder of a map; with a NUMBER, that of the files which this component has sent."""
    import wingspan

    one = wingspan.load(tag)
    if number is None:
        echo(str(one.path))
        return
    refuse_beyond(one, [number])
    echo(str(_folder(one, number)))


def _folder(one: Map, number: int) -> Path:
    """The folder with the files that a component has sent.

    Raises:
        OutputNotReady: It is not done.
        MapError: It failed, and had sent nothing before.
    """
    from wingspan.maps import MapError, OutputNotReady

    try:
        return one.output_files.get(number, timeout=0)
    except OutputNotReady:
        raise
    except Exception:  # the component's own, of whatever class
        if number not in one.errors:
            raise
        raise MapError(
            f"component {number} of map {one.tag!r} failed, and had sent no files before",
            hint=f"wingspan errors {one.tag} shows why",
        ) from None
