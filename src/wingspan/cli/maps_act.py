"""Commands that do something to maps: hold, release, vacate, cancel, rerun, retag, rm, clean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from wingspan._words import counted
from wingspan.cli._asks import asks_again, said
from wingspan.cli._main import Group
from wingspan.cli._output import TAG, confirm, notes, refuse_beyond, selected, several_maps
from wingspan.cli._terminal import echo

if TYPE_CHECKING:
    _RangeType = click.ParamType[range]
else:  # no generic in click before 8.4
    _RangeType = click.ParamType

__all__ = ["cancel", "clean", "edit", "hold", "pause", "release", "rerun", "resume", "retag", "rm", "vacate"]


def _act(action: str, done: str, tags: Sequence[str]) -> None:
    """Do it to all of them, or to none if one of the tags is wrong."""
    import wingspan

    for tag, one in [(tag, wingspan.load(tag)) for tag in tags]:
        if action in ("hold", "pause") and one.status().is_done:
            echo(f"{tag}: complete, there is nothing to {action}")
            continue
        getattr(one, action)()
        echo(f"{tag}: {done}")


@click.command()
@several_maps
def hold(tags: tuple[str, ...], patterns: tuple[str, ...], everything: bool) -> None:
    """Hold the workers of maps: they stop, keep their place in the queue, and go on after a release."""
    _act("hold", "held; wingspan release lets it go on", selected(tags, patterns, everything))


@click.command()
@several_maps
def release(tags: tuple[str, ...], patterns: tuple[str, ...], everything: bool) -> None:
    """Let held workers of maps go on."""
    _act("release", "released", selected(tags, patterns, everything))


@click.command()
@several_maps
def pause(tags: tuple[str, ...], patterns: tuple[str, ...], everything: bool) -> None:
    """Stop the workers of maps until wingspan resume: the same as hold."""
    _act("pause", "paused; wingspan resume lets it go on", selected(tags, patterns, everything))


@click.command()
@several_maps
def resume(tags: tuple[str, ...], patterns: tuple[str, ...], everything: bool) -> None:
    """Let the workers of maps go on after a pause or a hold: the same as release."""
    _act("resume", "goes on", selected(tags, patterns, everything))


@click.group(cls=Group)
def edit() -> None:
    """Change what the jobs of a map ask for."""


@edit.command("memory")
@click.argument("tag", type=TAG)
@click.argument("size")
def edit_memory(tag: str, size: str) -> None:
    """Have the jobs of a map that wait, and later ones, ask for SIZE of memory: 4GB; a plain number is MB."""
    import wingspan

    echo(str(wingspan.load(tag).set_memory(size)))


@edit.command("disk")
@click.argument("tag", type=TAG)
@click.argument("size")
def edit_disk(tag: str, size: str) -> None:
    """Have the jobs of a map that wait, and later ones, ask for SIZE of disk: 10GB; a plain number is MB."""
    import wingspan

    echo(str(wingspan.load(tag).set_disk(size)))


def _components_after(tags: Sequence[str]) -> list[int]:
    """The components that are named after one tag; none if these are tags, too."""
    from wingspan.maps import tags as known

    words = tags[1:]
    if not words or not all(re.fullmatch(r"\d+(-\d+)?", word) for word in words) or set(words) & set(known()):
        return []
    return sorted({number for word in words for number in _Components().convert(word, None, None)})


@click.command()
@several_maps
def cancel(tags: tuple[str, ...], patterns: tuple[str, ...], everything: bool) -> None:
    """Take the workers of maps out of the queue, or cancel components: wingspan cancel TAG 7 12-20.

    What is finished is kept; wingspan rerun does the rest after all.
    """
    components = _components_after(tags)
    if components and not patterns and not everything:
        import wingspan

        one = wingspan.load(tags[0])
        refuse_beyond(one, components)
        done = one.cancel(components)
        left = len(components) - len(done)
        kept = f"; {counted(left, 'component')} had an outcome, which is kept" if left else ""
        echo(f"{tags[0]}: {counted(len(done), 'component')} cancelled{kept}")
        return
    _act("cancel", "cancelled; what is finished is kept", selected(tags, patterns, everything))


@click.command()
@several_maps
def vacate(tags: tuple[str, ...], patterns: tuple[str, ...], everything: bool) -> None:
    """Send the workers of maps off their machines; they start again elsewhere and resume."""
    _act("vacate", "vacated", selected(tags, patterns, everything))


class _Components(_RangeType):
    """A component's number, or a range of them with both ends."""

    name = "component"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> range:
        if isinstance(value, range):
            return value
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", str(value))
        if found is None:
            self.fail(f"{value!r} is no component; write 7, or 3-9", param, ctx)
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first:
            self.fail(f"{value!r} ends before it begins; write {last}-{first}", param, ctx)
        return range(first, last + 1)


@click.command()
@click.argument("tag", type=TAG)
@click.argument("components", metavar="[COMPONENT]...", nargs=-1, type=_Components())
@click.option("--errors", "failed", is_flag=True, help="Those that failed.")
@click.option("--all", "everything", is_flag=True, help="All, also those that have an output.")
@click.option(
    "--with-current-inputs",
    "--with-current-function",
    "current",
    is_flag=True,
    help="Call the function as its file has it now.",
)
@click.option("--function", metavar="FILE:NAME", help="Call this function instead: train.py:simulate.")
@asks_again
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="At most so many workers are submitted for it."
)
@click.option(
    "--component-timeout",
    "timeout",
    metavar="TIME",
    help="Time that each of them may take from now on: 30min.",
)
def rerun(
    *,
    tag: str,
    components: tuple[range, ...],
    failed: bool,
    everything: bool,
    current: bool,
    function: str | None,
    workers: int | None,
    timeout: str | None,
    **asks: Any,
) -> None:
    """Do components of a map again: numbers and ranges (7 3-9), or those that have no output.

    What is done again loses the output that it had; everything else is kept. The function is the one that
    the map was given last, even if its file has changed since.
    """
    import wingspan
    from wingspan.maps._again import current_function, import_function

    if bool(components) + failed + everything > 1:
        raise click.UsageError("give components, --errors or --all, not several of them")
    one = wingspan.load(tag)
    chosen: list[int] | None = None
    if components:
        chosen = [number for each in components for number in each]
        refuse_beyond(one, chosen)
    elif failed:
        chosen = list(one.errors)
    elif everything:
        chosen = list(one.components)
    if chosen is None:
        done = one.status().counts[wingspan.ComponentStatus.COMPLETED]
        count = len(one) - done
    else:
        count = len(set(chosen))
    if not count:
        echo(f"{tag}: there is nothing to do again")
        return
    if function is not None and current:
        raise click.UsageError("give --function or --with-current-inputs, not both")
    func = import_function(function) if function else current_function(one.functions[-1]) if current else None
    given = {name if name == "time" else f"request_{name}": value for name, value in said(asks).items()}
    given |= said({"component_timeout": timeout, "workers": workers})
    with notes():
        again = one.rerun(chosen, function=func, options=wingspan.Options(**given) if given else None)
    echo(
        f"{tag}: {counted(count, 'component')} again, with {again.function}; "
        f"wingspan wait {tag} waits for them"
    )


@click.command()
@click.argument("tag", type=TAG)
@click.argument("new")
def retag(tag: str, new: str) -> None:
    """Give a map the tag NEW; wingspan clean will then leave it alone."""
    import wingspan

    wingspan.load(tag).retag(new)
    echo(f"{tag} is {new} now")


@click.command()
@several_maps
@click.option("--force", is_flag=True, help="Remove the results even where the scheduler does not answer.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before removing what a pattern or --all found.")
def rm(tags: tuple[str, ...], patterns: tuple[str, ...], everything: bool, force: bool, yes: bool) -> None:
    """Remove maps: their jobs, results and tags. Damaged ones too."""
    import wingspan

    chosen = selected(tags, patterns, everything)
    if set(chosen) - set(tags):
        confirm("Remove", chosen, yes)
    for tag in chosen:
        wingspan.remove(tag, force=force)
        echo(f"{tag}: removed")


@click.command()
@click.option("--all", "everything", is_flag=True, help="All maps, also those that somebody named.")
@click.option("--consumed", is_flag=True, help="Also complete ones of which a program has read all outputs.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask, with --all.")
def clean(everything: bool, consumed: bool, yes: bool) -> None:
    """Remove the maps that nobody gave a tag, and what crashes left behind."""
    import wingspan

    if everything:
        confirm("Remove", wingspan.tags(), yes)
    removed = wingspan.clean(all=everything, consumed=consumed)
    for tag in removed:
        echo(f"{tag}: removed")
    if not removed:
        echo("there was nothing to remove", err=True)
