"""Commands about where outputs come from: ``show``, ``reproduce``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from wingspan.cli._output import TAG, print_json, refuse_beyond
from wingspan.cli._terminal import echo

if TYPE_CHECKING:
    from wingspan.maps import Map

__all__ = ["reproduce", "show"]

_component = click.argument("component", type=click.IntRange(min=0))
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
#: How much of an input and an output is shown (characters).
_SHOWN = 2000


def _load(tag: str, component: int) -> Map:
    import wingspan

    one = wingspan.load(tag)
    refuse_beyond(one, [component])
    return one


@click.command()
@click.argument("tag", type=TAG)
@_component
@_json
def show(tag: str, component: int, as_json: bool) -> None:
    """How the output of a component came about: function, environment, versions, machine, commit, times.

    Then its input and its output, or its error, as Python writes them.
    """
    one = _load(tag, component)
    known = one.provenance(component)
    if as_json:
        print_json(known.to_json())
        return
    echo(str(known))
    echo(f"  input       {_written(one.input, component)}")
    if known.state == "completed":
        echo(f"  output      {_written(one.get, component)}")
    elif known.state == "failed" and (error := one.errors.get(component)) is not None:
        echo(f"  error       {error.type_name}: {error.text}")
        echo(f"wingspan errors {tag} shows more of it")


def _written(read: Callable[[int], object], component: int) -> str:
    """A value as Python writes it, if it can be read here."""
    try:
        text = repr(read(component))
    except Exception as error:  # noqa: BLE001 - whatever reading or repr raises, the rest is shown
        return f"cannot be shown here: {type(error).__name__}: {error}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


@click.command()
@click.argument("tag", type=TAG)
@_component
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait no longer than this.")
@_json
def reproduce(tag: str, component: int, timeout: float | None, as_json: bool) -> int:
    """Compute a component again with the same function, input and environment, and compare what comes out.

    The map stays as it is. Exit code 0: the same came out, 1: something else, and it says where.
    """
    told = _load(tag, component).reproduce(component, timeout)
    if as_json:
        print_json(
            {
                "tag": told.tag,
                "component": told.component,
                "equal": told.equal,
                "difference": told.difference,
                "before": told.before.to_json(),
                "now": told.now.to_json(),
            }
        )
    else:
        echo(str(told))
    return 0 if told.equal else 1
