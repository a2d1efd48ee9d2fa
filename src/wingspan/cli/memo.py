"""Commands about outputs that are kept for later maps: ``memo``, ``why``."""

from __future__ import annotations

import click

from wingspan._words import counted, sized
from wingspan.cli._output import TAG, print_json, refuse_beyond
from wingspan.cli._terminal import echo
from wingspan.errors import WingspanError

__all__ = ["memo", "why"]


@click.command()
@click.option("--clear", is_flag=True, help="Remove all of them: later maps compute anew.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def memo(clear: bool, as_json: bool) -> None:
    """Outputs that are kept for maps with memo=True: how many, how large, where.

    The setting memo_size says how much they may take; those that were used longest ago go first.
    """
    from wingspan.maps._memo import store
    from wingspan.maps._memo_store import Trouble
    from wingspan.settings import load_settings

    try:
        kept = store()
        if clear:
            kept.clear()
            echo(f"{kept.folder}: removed")
            return
        count, size = kept.size()
    except Trouble as trouble:
        raise WingspanError(
            f"the outputs that are kept cannot be looked at: {trouble}",
            hint="wingspan memo --clear removes them",
        ) from trouble
    if as_json:
        print_json(
            {
                "outputs": count,
                "bytes": size,
                "memo_size": load_settings().memo_size,
                "path": str(kept.folder),
            }
        )
    else:
        echo(f"{counted(count, 'output')}, {sized(size)} of {load_settings().memo_size}, in {kept.folder}")


@click.command()
@click.argument("tag", type=TAG)
@click.argument("component", type=click.IntRange(min=0))
def why(tag: str, component: int) -> None:
    """Why the output of a component was taken from an earlier map, or computed.

    It names what differed from the nearest output that is kept: function, closure, input, environment.
    """
    import wingspan

    one = wingspan.load(tag)
    refuse_beyond(one, [component])
    echo(one.why(component))
