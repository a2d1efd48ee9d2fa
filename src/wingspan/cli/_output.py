"""What the commands about maps share: which maps are meant, tags for tab completion, facts in words."""

from __future__ import annotations

import contextlib
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from wingspan._words import counted
from wingspan.cli._terminal import echo, echo_json, style

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from wingspan.maps import Map, MapStatus, TagNotFound

__all__ = [
    "TAG",
    "as_json_or_csv",
    "confirm",
    "facts",
    "not_found",
    "notes",
    "one_format",
    "own_words_for_interrupts",
    "print_json",
    "progress_text",
    "refuse_beyond",
    "selected",
    "several_maps",
    "short_name",
    "state_of",
    "status_record",
    "when",
]

if TYPE_CHECKING:
    _StringType = click.ParamType[str]
else:  # no generic in click before 8.4
    _StringType = click.ParamType

Command = TypeVar("Command", bound=Callable[..., Any])


class TagType(_StringType):
    """The tag of a map, or the name of a run; the Tab key completes it."""

    name = "tag"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from wingspan.cli._offered import offered
        from wingspan.maps import tags
        from wingspan.runs import run_names

        given = ctx.params.get(param.name or "") or ()
        given = (given,) if isinstance(given, str) else given
        return offered(((name, None) for name in (*tags(), *run_names())), incomplete, but=given)


TAG = TagType()


def several_maps(command: Command) -> Command:
    """Options of a command that acts on several maps; `selected` makes tags of what they get."""
    for decorate in (
        click.option("--all", "everything", is_flag=True, help="All maps."),
        click.option(
            "-p",
            "--pattern",
            "patterns",
            multiple=True,
            metavar="PATTERN",
            help="Maps whose tag matches, such as 'sweep-*'; may be given several times.",
        ),
        click.argument("tags", metavar="[TAG]...", nargs=-1, type=TAG),
    ):
        command = decorate(command)
    return command


def selected(tags: Sequence[str], patterns: Sequence[str], everything: bool) -> list[str]:
    """The tags that are meant, each once.

    A tag cannot hold ``*``, ``?`` or ``[``: one that does is a pattern that the shell found no file for.

    Raises:
        click.UsageError: Nothing was named.
        TagNotFound: A pattern matches no map.
    """
    from wingspan.maps import TagNotFound
    from wingspan.maps import tags as matching

    if not tags and not patterns and not everything:
        raise click.UsageError(
            "which one? Give the TAG of a map or the NAME of a run, or (maps) --pattern or --all; wingspan maps and runs list them"
        )
    if everything and (tags or patterns):
        raise click.UsageError("give names, --pattern or --all, not --all beside others")
    found: list[str] = list(matching()) if everything else []
    for given in [*tags, *patterns]:
        if given in patterns or any(character in given for character in "*?["):
            matches = matching(given)
            if not matches:
                raise TagNotFound(f"no map has a tag like {given!r}", hint="wingspan maps lists them")
            found.extend(matches)
        else:
            found.append(given)
    return list(dict.fromkeys(found))


def refuse_beyond(one: Map, components: Iterable[int]) -> None:
    """Refuse numbers that no component of the map has.

    Raises:
        click.UsageError: One of `components` is beyond the last.
    """
    for number in components:
        if number >= len(one):
            raise click.UsageError(f"{one.tag} has the components 0 to {len(one) - 1}, not {number}")


def not_found(name: str) -> TagNotFound:
    """Neither a map nor a run is called `name`."""
    import difflib

    from wingspan.maps import TagNotFound, tags
    from wingspan.runs import run_names

    if any(character in name for character in "*?["):
        return TagNotFound(
            f"no map and no run has a name like {name!r}", hint="wingspan maps and wingspan runs list them"
        )
    near = difflib.get_close_matches(name, [*tags(), *run_names()], n=1)
    return TagNotFound(
        f"no map and no run has the name {name!r}",
        hint=f"did you mean {near[0]!r}?" if near else "wingspan maps and wingspan runs list them",
    )


def confirm(what: str, tags: Sequence[str], yes: bool, noun: str = "map") -> None:
    """Ask before many maps (or runs: `noun`) are removed at once; without a terminal, insist on --yes.

    Raises:
        click.UsageError: There is nobody to ask.
        click.exceptions.Exit: The answer was no.
    """
    if yes or not tags:
        return
    shown = ", ".join(tags[:10]) + (f" and {len(tags) - 10:,} more" if len(tags) > 10 else "")
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"{what} {counted(len(tags), noun)} ({shown}) needs --yes where nobody can be asked"
        )
    if not click.confirm(f"{what} {counted(len(tags), noun)} ({shown})?"):
        echo("Nothing was done.", err=True)
        raise click.exceptions.Exit(1)


@contextlib.contextmanager
def notes() -> Iterator[None]:
    """Show warnings and notices as notes on standard error, without the line of Python that raised them."""
    import logging

    logger, texts = logging.getLogger("wingspan"), []
    handler = logging.Handler()
    handler.emit = lambda record: texts.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            logger.removeHandler(handler)
            for text in dict.fromkeys([*(str(one.message) for one in told), *texts]):
                echo(style("Note: ", fg="yellow") + text, err=True)


@contextlib.contextmanager
def own_words_for_interrupts() -> Iterator[None]:
    """Within the block, the library reports nothing of Ctrl-C: the command does."""
    import logging

    from wingspan._words import INTERRUPTED

    logger = logging.getLogger(INTERRUPTED)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def as_json_or_csv(command: Command) -> Command:
    """Options of a command that shows a table: ``as_json`` and ``as_csv``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(
        click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")(command)
    )


def one_format(as_json: bool, as_csv: bool) -> None:
    """See that not both are wanted.

    Raises:
        click.UsageError: They are.
    """
    if as_json and as_csv:
        raise click.UsageError("give --json or --csv, not both")


def print_json(value: object) -> None:
    """Print JSON for programs on standard output."""
    echo_json(value)


def facts(one: Map) -> dict[str, Any]:
    """What ``map.json`` says; the keys are the design's ("The map on disk")."""
    known: dict[str, Any] = json.loads((one.path / "map.json").read_bytes())
    return known


def short_name(function: str | None) -> str:
    """A function's name without the functions it was defined in.

    >>> short_name("sweep.<locals>.accuracy"), short_name("Model.fit"), short_name(None)
    ('accuracy', 'Model.fit', '')
    """
    return (function or "").rpartition("<locals>.")[2]


def when(seconds: float | None) -> str:
    """A point in time as people here write it; seconds since the epoch in, local time out."""
    return "?" if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def state_of(status: MapStatus) -> str:
    """A map's state in one word.

    ``completed``, ``failed`` (done, with errors), ``held``, ``removed``, ``suspended``, ``running`` or
    ``idle``.
    """
    from wingspan.maps import ComponentStatus as Status

    counts = status.counts
    if status.is_done:
        return "failed" if counts[Status.ERRORED] else "completed"
    if counts[Status.RUNNING] or status.workers.get("running"):
        return "running"
    for one in (Status.HELD, Status.REMOVED, Status.SUSPENDED):
        if counts[one]:
            return str(one).lower()
    return "idle"


def progress_text(status: MapStatus) -> str:
    """How far it is, as one line without the tag."""
    from wingspan.maps import ComponentStatus as Status

    parts = [f"{status.counts[Status.COMPLETED]:,} of {status.components:,} completed"]
    parts += [
        f"{status.counts[one]:,} {word}"
        for one, word in (
            (Status.ERRORED, "failed"),
            (Status.HELD, "held"),
            (Status.SUSPENDED, "suspended"),
            (Status.REMOVED, "removed"),
        )
        if status.counts[one]
    ]
    if not status.is_done:
        live = [
            (state, count) for state, count in status.workers.items() if state not in ("completed", "removed")
        ]
        parts += [f"{counted(count, 'worker')} {state}" for state, count in live]
    return ", ".join(parts)


def status_record(one: Map, status: MapStatus) -> dict[str, Any]:
    """A map and its status as JSON can hold it."""
    known = facts(one)
    return {
        "tag": status.tag,
        "state": state_of(status),
        "function": known.get("function"),
        "pools": list(status.pools),
        "by_pool": status.by_pool,
        "components": status.components,
        "counts": {name.value.lower(): count for name, count in status.counts.items()},
        "workers": status.workers,
        "message": status.message,
        "transient": one.is_transient,
        "created": known.get("created"),
        "path": str(one.path),
        "elapsed": status.elapsed,
        "wall": status.wall,
        "cpu": status.cpu,
        "peak_memory": status.peak_memory or None,
        "damaged": None,
    }
