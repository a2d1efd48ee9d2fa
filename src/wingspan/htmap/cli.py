"""HTMap's commands: ``python -m wingspan.htmap COMMAND``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

import wingspan
from wingspan._files import append_line
from wingspan._settings_file import read_value
from wingspan.cli._main import Group, run_group
from wingspan.cli._output import TAG
from wingspan.cli._table import print_table
from wingspan.cli._terminal import echo, echo_raw
from wingspan.htmap import delivery, management
from wingspan.htmap.exceptions import HTMapException, TagNotFound
from wingspan.htmap.maps import Map
from wingspan.htmap.settings import USER_SETTINGS, set_user_setting, settings, user_file
from wingspan.htmap.state import ComponentStatus
from wingspan.htmap.tags import get_tags
from wingspan.htmap.version import version as version_text

__all__ = ["cli", "main"]

Command = TypeVar("Command", bound=Callable[..., Any])


def main(argv: list[str] | None = None) -> NoReturn:
    """Run HTMap's command line."""
    run_group(cli, argv, "htmap")


def _many_maps(command: Command) -> Command:
    """Options of a command for several maps; `_chosen` makes tags of what they get."""
    for decorate in (
        click.option("--all", "everything", is_flag=True, help="All maps."),
        click.option(
            "-p", "--pattern", "patterns", multiple=True, metavar="PATTERN", help="Maps whose tag matches."
        ),
        click.argument("tags", metavar="[TAG]...", nargs=-1, type=TAG),
    ):
        command = decorate(command)
    return command


def _chosen(tags: Sequence[str], patterns: Sequence[str], everything: bool) -> list[str]:
    """The tags that are meant, each once. Where none is named, they are read from standard input, if that is
    no terminal.

    Raises:
        click.UsageError: None is named.
    """
    found = [*tags, *(tag for pattern in patterns for tag in get_tags(pattern))]
    if everything:
        found += get_tags()
    if not (tags or patterns or everything):
        if not sys.stdin.isatty():
            found += sys.stdin.read().split()
        if not found:
            raise click.UsageError("which maps? Give TAG, --pattern or --all, or tags on standard input")
    return list(dict.fromkeys(found))


def _loaded(tags: Sequence[str], patterns: Sequence[str], everything: bool) -> Iterator[Map]:
    for tag in _chosen(tags, patterns, everything):
        yield management.load(tag)


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        echo(version_text())
        ctx.exit()


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "--verbose", is_flag=True, help="Show what is logged.")
@click.option(
    "--version", is_flag=True, callback=_version, expose_value=False, is_eager=True, help="Show the version."
)
def cli(verbose: bool) -> None:
    """HTMap's commands, for Wingspan's maps.

    The command wingspan does the same and more: wingspan --help.
    """
    settings["CLI.IS_CLI"] = True
    if verbose:
        import logging

        logging.basicConfig(level=logging.DEBUG)


@cli.command()
@click.option("-p", "--pattern", "patterns", multiple=True, metavar="PATTERN", help="Tags that match.")
def tags(patterns: tuple[str, ...]) -> None:
    """List the tags of maps."""
    found = [tag for pattern in patterns for tag in get_tags(pattern)] if patterns else get_tags()
    for tag in dict.fromkeys(found):
        echo(tag)


@cli.command()
@click.option("--no-state", is_flag=True, help="Without the number of components by status.")
@click.option("--no-meta", is_flag=True, help="Without sizes and times.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "json_compact", "csv"]),
    default="text",
    help="How.",
)
@click.option("--live", is_flag=True, help="Look again and again; Ctrl-C ends it.")
@click.option("--no-color", is_flag=True, help="Without colours.")
def status(no_state: bool, no_meta: bool, form: str, live: bool, no_color: bool) -> None:
    """How far each map is."""
    state, meta = not no_state, not no_meta
    if live:
        from wingspan.cli.views import top

        assert top.callback is not None
        top.callback(interval=1.0, once=False, everything=True, as_json=False)
    elif form == "text":
        columns, rows = management.status_table(None, state, meta)
        print_table(columns, rows, right=columns[1:], whole=columns[:1])
    elif form == "csv":
        echo_raw(management.status_csv(None, state, meta), nl=False)
    else:
        echo_raw(management.status_json(None, state, meta, compact=form == "json_compact"))


@cli.command()
@click.argument("tag", type=TAG)
@click.option(
    "--status",
    "wanted",
    type=click.Choice([status.value for status in ComponentStatus], case_sensitive=False),
    help="Only components with this status.",
)
@click.option("--no-color", is_flag=True, help="Without colours.")
def components(tag: str, wanted: str | None, no_color: bool) -> None:
    """The status of each component of a map."""
    for number, found in enumerate(management.load(tag).component_statuses):
        if wanted is None:
            echo(f"{number} {found.value}")
        elif found.value == wanted.upper():
            echo(number)


@cli.command()
@_many_maps
def wait(tags: tuple[str, ...], patterns: tuple[str, ...], everything: bool) -> Any:
    """Wait until maps are done."""
    from wingspan.cli.maps_wait import wait as ours

    assert ours.callback is not None
    chosen = tuple(_chosen(tags, patterns, everything))
    return (
        ours.callback(tags=chosen, patterns=(), everything=False, timeout=None, holds_ok=False, quiet=False)
        if chosen
        else 0
    )


def _printed(name: str, told: str) -> click.Command:
    """The command that shows what a component has written to a stream."""

    @click.command(name, help=f"Show what a component has written to {told}.")
    @click.argument("tag", type=TAG)
    @click.argument("component", type=int)
    @click.option("--timeout", type=float, metavar="SECONDS", help="Wait for its end no longer than this.")
    def command(tag: str, component: int, timeout: float | None) -> None:
        stream = getattr(management.load(tag), name)
        try:
            echo_raw(stream.get(component, timeout=timeout), nl=False)
        except (IndexError, FileNotFoundError) as error:
            raise click.ClickException(str(error)) from None

    return command


cli.add_command(_printed("stdout", "standard output"))
cli.add_command(_printed("stderr", "standard error"))


@cli.command()
@_many_maps
@click.option("--limit", type=click.IntRange(min=0), default=0, help="At most this many reports; 0: all.")
def errors(tags: tuple[str, ...], patterns: tuple[str, ...], everything: bool, limit: int) -> None:
    """Reports of components that have failed."""
    reports = (report for one in _loaded(tags, patterns, everything) for report in one.error_reports())
    for number, report in enumerate(reports):
        if limit and number >= limit:
            break
        echo(report)


@cli.command()
@_many_maps
def reasons(tags: tuple[str, ...], patterns: tuple[str, ...], everything: bool) -> None:
    """Why components are held."""
    for one in _loaded(tags, patterns, everything):
        if one.holds:
            echo(f"{one.tag}\n{one.hold_report()}")


def _action(name: str, done: str, help: str) -> click.Command:
    """A command that has maps do something."""

    @click.command(name, help=help)
    @_many_maps
    def command(tags: tuple[str, ...], patterns: tuple[str, ...], everything: bool) -> None:
        for one in _loaded(tags, patterns, everything):
            getattr(one, name)()
            echo(f"{one.tag}: {done}")

    return command


for _name, _done, _help in (
    ("hold", "held", "Hold the jobs of maps."),
    ("release", "released", "Let held jobs of maps go on."),
    ("pause", "paused", "Stop the jobs of maps until a resume."),
    ("resume", "resumed", "Let paused jobs of maps go on."),
    ("vacate", "vacated", "Send the jobs of maps off their machines; they go on elsewhere."),
):
    cli.add_command(_action(_name, _done, _help))


@cli.command()
@_many_maps
@click.option("--force", is_flag=True, help="Remove the results even where the scheduler does not answer.")
def remove(tags: tuple[str, ...], patterns: tuple[str, ...], everything: bool, force: bool) -> None:
    """Remove maps: their jobs, results and tags."""
    for tag in _chosen(tags, patterns, everything):
        try:
            wingspan.remove(tag, force=force)
        except wingspan.TagNotFound as error:
            raise TagNotFound(error.message, hint=error.hint) from None
        echo(f"{tag}: removed")


@cli.command()
@click.option("--all", "everything", is_flag=True, help="All maps, also those that somebody named.")
def clean(everything: bool) -> None:
    """Remove the maps that nobody named."""
    for tag in management.clean(all=everything):
        echo(f"{tag}: removed")


@cli.group(cls=Group)
def rerun() -> None:
    """Do components of a map again, or whole maps."""


@rerun.command("components")
@click.argument("tag", type=TAG)
@click.argument("components", metavar="[COMPONENT]...", nargs=-1, type=int)
def rerun_components(tag: str, components: tuple[int, ...]) -> None:
    """Do these components of a map again."""
    if not components:
        raise click.UsageError("which components? Give their numbers; rerun map does all again")
    try:
        management.load(tag).rerun(components)
    except IndexError as error:
        raise click.ClickException(str(error)) from None
    echo(f"{tag}: {', '.join(map(str, components))} again")


@rerun.command("map")
@_many_maps
def rerun_map(tags: tuple[str, ...], patterns: tuple[str, ...], everything: bool) -> None:
    """Do all components of maps again."""
    for one in _loaded(tags, patterns, everything):
        one.rerun()
        echo(f"{one.tag}: all again")


@cli.group(cls=Group)
def edit() -> None:
    """Change what the waiting jobs of a map ask for."""


@edit.command("memory")
@click.argument("tag", type=TAG)
@click.argument("memory", type=click.IntRange(min=1))
@click.option(
    "--unit", type=click.Choice(["MB", "GB"], case_sensitive=False), default="MB", help="Default: MB."
)
def edit_memory(tag: str, memory: int, unit: str) -> None:
    """Have the waiting jobs of a map ask for other memory."""
    management.load(tag).set_memory(memory * {"MB": 1, "GB": 1024}[unit.upper()])
    echo(f"{tag}: its jobs ask for {memory} {unit.upper()} of memory")


@edit.command("disk")
@click.argument("tag", type=TAG)
@click.argument("disk", type=click.IntRange(min=1))
@click.option(
    "--unit", type=click.Choice(["KB", "MB", "GB"], case_sensitive=False), default="GB", help="Default: GB."
)
def edit_disk(tag: str, disk: int, unit: str) -> None:
    """Have the waiting jobs of a map ask for other disk."""
    management.load(tag).set_disk(disk * {"KB": 1, "MB": 1024, "GB": 1024**2}[unit.upper()])
    echo(f"{tag}: its jobs ask for {disk} {unit.upper()} of disk")


@cli.command()
@click.argument("tag", type=TAG)
@click.argument("new")
def retag(tag: str, new: str) -> None:
    """Give a map another tag."""
    management.load(tag).retag(new)
    echo(f"{tag} is {new} now")


@cli.command()
@click.argument("tag", type=TAG)
def path(tag: str) -> None:
    """Where a map lies, or a part of it: TAG:map, TAG:tag, TAG:events, TAG:logs, TAG:inputs, TAG:outputs."""
    name, _, part = tag.partition(":")
    folder = management.load(name).wingspan_map.path
    places = {
        "": folder,
        "map": folder,
        "tag": folder.parent.parent / "tags" / name,
        "events": folder / "events.log",
        "logs": folder / "workers",
        "inputs": folder / "inputs.bin",
        "outputs": folder / "results",
    }
    if part not in places:
        raise click.UsageError(f"{part!r} is none of {', '.join(filter(None, places))}")
    echo(places[part])


@cli.command()
@click.option("--view", is_flag=True, help="Nothing is shown: there is no log file.")
def logs(view: bool) -> None:
    """Where the log of HTMap would be: Wingspan writes none of its own."""
    raise HTMapException(
        "there is no log file: the logger wingspan tells what is of interest",
        hint="python -m wingspan.htmap --verbose COMMAND shows it; path TAG:logs says where a map's workers write",
    )


@cli.command()
def version() -> None:
    """Show the version."""
    echo(version_text())


@cli.command("settings")
@click.option("--user", is_flag=True, help="Only those of your file and of the environment.")
def show_settings(user: bool) -> None:
    """Show the settings."""
    echo(str(USER_SETTINGS if user else settings).rstrip("\n"))


@cli.command("set")
@click.argument("setting")
@click.argument("value")
def set_setting(setting: str, value: str) -> None:
    """Write a setting to your file: a number, true, false, or text."""
    set_user_setting(setting, read_value(value))
    echo(f"{setting} is {read_value(value)!r} now, in {user_file()}")


@cli.group(cls=Group)
def transplants() -> None:
    """Environments that were made into files for workers."""


@transplants.command("info")
def transplants_info() -> None:
    """List them."""
    echo(delivery.transplant_info())


@transplants.command("remove")
@click.argument("index", type=int)
def transplants_remove(index: int) -> None:
    """Remove one, by its number in the list."""
    found = delivery.transplants()
    if not 0 <= index < len(found):
        raise click.ClickException(f"there is none with the number {index}")
    found[index].remove()
    echo(f"{found[index].path}: removed")


@cli.command()
@click.option("--shell", type=click.Choice(["bash", "zsh", "fish"]), required=True, help="Which shell.")
@click.option("--force", is_flag=True, help="Write the line even where the file has it already.")
@click.option(
    "--destination", type=click.Path(dir_okay=False), help="Write the line to the end of this file."
)
def autocompletion(shell: str, force: bool, destination: str | None) -> None:
    """Print the line that turns on tab completion of the command wingspan, or write it to a file."""
    from wingspan.cli.completion import LINES, completion

    assert completion.callback is not None
    if destination is None:
        completion.callback(shell=shell)
        return
    file, line = Path(destination).expanduser(), LINES[shell][0]
    if force or not file.exists() or line not in file.read_text(encoding="utf-8").splitlines():
        append_line(file, line.encode())
    echo(f"{file} has the line {line}")
