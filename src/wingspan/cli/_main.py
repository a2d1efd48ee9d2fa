"""The command group: names and one-line helps are here, the commands in modules imported when called."""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from wingspan.cli._terminal import echo, style
from wingspan.errors import WingspanError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

#: name: (module, attribute, short help). The short help is here so that ``--help`` imports no command.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "maps": ("wingspan.cli.maps", "maps", "List your maps."),
    "run": ("wingspan.cli.run", "run", "Execute a Pixi task, or any command, as a batch job."),
    "runs": ("wingspan.cli.runs", "runs", "List your runs."),
    "logs": ("wingspan.cli.runs_act", "logs", "What a run has printed, also while it does."),
    "ssh": (
        "wingspan.cli.runs_act",
        "ssh",
        "A shell beside a running job of a run, or the worker of a component.",
    ),
    "fetch": ("wingspan.cli.maps_fetch", "fetch", "Copy the output files of a map or a run to a folder."),
    "path": ("wingspan.cli.maps_fetch", "path", "Print the folder of a map, or of a component's files."),
    "render": ("wingspan.cli.render", "render", "Write submit files and scripts for people to own."),
    "gpus": ("wingspan.cli.gpus", "gpus", "The GPUs of a pool, and which ones an environment can use."),
    "status": ("wingspan.cli.maps", "status", "How far a map or a run is, and what keeps it."),
    "wait": ("wingspan.cli.maps_wait", "wait", "Wait for a map or a run, with a progress bar."),
    "components": ("wingspan.cli.components", "components", "What each component of a map took."),
    "errors": ("wingspan.cli.maps", "errors", "What failed in a map, grouped by kind."),
    "stdout": ("wingspan.cli.maps", "stdout", "What a component printed."),
    "stderr": ("wingspan.cli.maps", "stderr", "What a component wrote to standard error."),
    "hold": ("wingspan.cli.maps_act", "hold", "Hold the jobs of a map or a run."),
    "release": ("wingspan.cli.maps_act", "release", "Release the held jobs of a map or a run."),
    "vacate": ("wingspan.cli.maps_act", "vacate", "Send the jobs of a map or a run off their machines."),
    "pause": ("wingspan.cli.maps_act", "pause", "Stop the workers of a map until it is resumed."),
    "resume": ("wingspan.cli.maps_act", "resume", "Let a paused map go on."),
    "edit": ("wingspan.cli.maps_act", "edit", "Change what the waiting jobs of a map ask for."),
    "cancel": (
        "wingspan.cli.maps_act",
        "cancel",
        "End the jobs of a map or a run; what is finished is kept.",
    ),
    "rerun": ("wingspan.cli.maps_act", "rerun", "Do components of a map, or jobs of a run, again."),
    "retag": ("wingspan.cli.maps_act", "retag", "Give a map another tag."),
    "rm": ("wingspan.cli.maps_act", "rm", "Remove a map or a run, its jobs and its results."),
    "report": ("wingspan.cli.views", "report", "A report of a map or a run: one HTML file."),
    "top": ("wingspan.cli.views", "top", "Watch maps and runs on the terminal."),
    "dashboard": ("wingspan.cli.views", "dashboard", "Show maps and runs in a browser, live."),
    "show": ("wingspan.cli.origins", "show", "How an output came about, and what it is."),
    "reproduce": ("wingspan.cli.origins", "reproduce", "Compute a component again, and compare."),
    "why": ("wingspan.cli.memo", "why", "Why an output was taken from an earlier map, or computed."),
    "memo": ("wingspan.cli.memo", "memo", "Outputs that are kept for later maps: how many, how large."),
    "clean": ("wingspan.cli.maps_act", "clean", "Remove the maps nobody named."),
    "env": ("wingspan.cli.env", "env", "Locked environments: what is in them, and what a machine must have."),
    "lint": ("wingspan.cli.lint", "lint", "Faults of submit files, job scripts and sbatch scripts."),
    "store": ("wingspan.cli.store", "store", "Where bundles are published: ls, prune."),
    "pool": ("wingspan.cli.pool", "pool", "The personal HTCondor pool: start, status, stop, install."),
    "notebook": ("wingspan.cli.notebook", "notebook", "JupyterLab with a pool beside it."),
    "image": ("wingspan.cli.image", "image", "Notebook images: JupyterLab with a pool, for containers."),
    "profile": ("wingspan.cli.profile", "profile", "The rules of sites: list, show, add, rm."),
    "bench": ("wingspan.cli.bench", "bench", "What maps cost the access point, for those who run it."),
    "doctor": ("wingspan.cli.doctor", "doctor", "Which engine would be used, and what is missing."),
    "serve": (
        "wingspan.cli.serve",
        "serve",
        "Answer another machine's Wingspan, through the ssh that started this.",
    ),
    "settings": ("wingspan.cli.settings", "settings", "All settings, and where each comes from."),
    "set": ("wingspan.cli.settings", "set_", "Change a setting in the configuration file."),
    "help": ("wingspan.cli.help", "help_", "Read a page of the documentation, or the help of a command."),
    "completion": ("wingspan.cli.completion", "completion", "Print the line that turns on tab completion."),
}

#: Commands that runs have too: the first word that is a run's name decides.
ALSO_FOR_RUNS = frozenset({"status", "wait", "fetch", "hold", "release", "vacate", "cancel", "rerun", "rm"})
#: Those whose words are all names.
_OF_SEVERAL = ALSO_FOR_RUNS - {"status", "fetch", "rerun"}


#: Commands of one kind, given the name of the other: what to do instead.
_OF_THE_OTHER_KIND = {
    "components": "wingspan status {name} shows its jobs",
    "show": "wingspan status {name} and wingspan logs {name} tell of a run",
    "reproduce": "wingspan rerun {name} does a run again",
    "why": "only outputs of maps are taken from earlier ones",
    "errors": "wingspan status {name} says what failed, wingspan logs {name} --stderr what it printed",
    "stdout": "wingspan logs {name} shows what it printed",
    "stderr": "wingspan logs {name} --stderr shows what it wrote there",
    "retag": "a run keeps its name",
    "logs": "wingspan stdout {name} 0 and stderr {name} 0 show what component 0 printed; wingspan errors {name} shows what failed",
    "path": "wingspan fetch {name} copies what it has written",
}


def _names_a_run(words: list[str], *, instead_of: str | None) -> bool:
    """Whether the first word that names something names a run.

    Args:
        words: Of the command line.
        instead_of: The command, where all its words are names of one kind.

    Raises:
        click.UsageError: Maps and runs are named at once.
    """
    from wingspan.settings import load_settings

    folder = load_settings().data_dir
    names = [word for word in words if not word.startswith((".", "-")) and "/" not in word]
    maps = [word for word in names if _has(folder / "tags", word)]
    runs = [word for word in names if word not in maps and _has(folder / "runs", word)]
    if maps and runs and instead_of is not None:
        raise click.UsageError(
            f"{maps[0]} is a map and {runs[0]} a run; nothing was done: wingspan {instead_of} {' '.join(maps)}, "
            f"and wingspan {instead_of} {' '.join(runs)}"
        )
    return bool(runs) and not any(names.index(one) < names.index(runs[0]) for one in maps)


def names_a_run(name: str) -> bool:
    """The name is that of a run, and no map's tag."""
    return _names_a_run([name], instead_of=None)


def _has(folder: Path, name: str) -> bool:
    """Something in the folder is called so, or matches a pattern that the shell has left."""
    if any(character in name for character in "*?["):
        return any(not found.name.startswith(".") for found in folder.glob(name))
    return (folder / name).exists()


class Group(click.Group):
    """A group that has an answer for words of other tools, and for ``help``."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        names = self.list_commands(ctx)
        if args and args[0] == "help" and "help" not in names:
            args[:] = [*args[1:], "--help"]
            if args == ["--help"]:
                echo(ctx.get_help())
                ctx.exit()
        if args and args[0] not in names and not args[0].startswith("-"):
            from wingspan._foreign import hint_for_command

            hint = (
                hint_for_command(args[0], names, ctx.command_path) or f"{ctx.command_path} --help lists them"
            )
            ctx.fail(f"no command {args[0]!r}. {hint.replace('did you', 'Did you', 1)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with the whole first sentence of each, which click would cut at 80 columns."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(1000)) for name, one in commands if one])


#: Nobody types these.
FOR_PROGRAMS = frozenset({"serve"})


class LazyGroup(Group):
    """A group that knows its commands by name and imports one only to run it, or to show its own help."""

    table: Mapping[str, tuple[str, str, str]] = COMMANDS

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        module, attribute, _ = self.table[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names from the table: click's own way imports every command for its help."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=entry[2])
            for name, entry in self.table.items()
            if name.startswith(incomplete) and name not in FOR_PROGRAMS
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        ctx.meta["wingspan.words"] = tuple(rest)  # the command takes words out of the list
        if self.table is COMMANDS and name in ALSO_FOR_RUNS:
            # The Tab key asks what could follow, whatever stands there already.
            judged = name if name in _OF_SEVERAL and not ctx.resilient_parsing else None
            if _names_a_run(rest, instead_of=judged):
                command = getattr(importlib.import_module("wingspan.cli.runs_act"), name)
            elif command is not None and {"-h", "--help"} & set(rest):
                other = getattr(importlib.import_module("wingspan.cli.runs_act"), name)
                said = other.get_short_help_str(200)
                command.epilog = f"With the NAME of a run: {said} (wingspan {name} NAME --help)"
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        """What a name means both to maps and to runs, neither has: say so, and name the nearest of both."""
        try:
            return super().invoke(ctx)
        except WingspanError as error:
            if error.message.startswith("no map has ") and ctx.invoked_subcommand in (*ALSO_FOR_RUNS, "ssh"):
                words = [word for word in ctx.meta["wingspan.words"] if repr(word) in error.message]
                if words:
                    from wingspan.cli._output import not_found

                    raise not_found(words[0]) from None
            name = next(
                (word for word in ctx.meta["wingspan.words"] if error.message.startswith(repr(word))), ""
            )
            instead = _OF_THE_OTHER_KIND.get(ctx.invoked_subcommand or "")
            if instead and error.message.endswith((" is a run, not a map", " is a map, not a run")):
                error.hint = instead.format(name=name)
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            shown = [(name, entry[2]) for name, entry in self.table.items() if name not in FOR_PROGRAMS]
            formatter.write_dl(shown)


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from wingspan._version import __version__

        echo(f"wingspan {__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, callback=_version, expose_value=False, is_eager=True, help="Show the version."
)
def cli() -> None:
    """Python functions and commands on HTCondor pools, Slurm clusters and this machine.

    A map is a function applied to many inputs; it is kept, with its results, under its TAG.
    """
    if os.environ.get("NO_COLOR"):
        click.get_current_context().color = False


def _with_option_meant(error: click.NoSuchOption, ctx: click.Context) -> click.NoSuchOption:
    """The error with the option that an unknown one may have meant, whatever tool it is a word of."""
    from wingspan._foreign import advice_for_switch, hint_for_switch

    if "goes after --" in error.message:
        return error
    options = [param for param in ctx.command.get_params(ctx) if isinstance(param, click.Option)]
    meant = hint_for_switch(error.option_name, [name for option in options for name in option.opts])
    advice = None if meant else advice_for_switch(error.option_name)
    told = f"{error.message} {advice}" if advice else error.message
    return click.NoSuchOption(error.option_name, told, [meant] if meant else None, ctx)


def print_error(error: WingspanError) -> None:
    """Print what is wrong, and the next step, on standard error."""
    color = False if os.environ.get("NO_COLOR") else None
    echo(style("Error: ", fg="red", bold=True) + error.message, err=True, color=color)
    if error.hint:
        echo(style("Hint: ", fg="cyan") + error.hint, err=True, color=color)


def main(argv: list[str] | None = None) -> None:
    """Run the command line; errors of ours become a message, a hint and an exit code, never a traceback."""
    run_group(cli, argv, "wingspan")


def run_group(group: click.Group, argv: list[str] | None, name: str) -> NoReturn:
    """Run one of the command lines, called `name`, and end the process with its exit code."""
    # Python has no streams where the caller has closed them: `wingspan maps >&-`.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115, PTH123 - as long as this process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115, PTH123
    try:
        code: Any = group.main(args=argv, prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        if isinstance(error, click.NoSuchOption) and error.ctx is not None:
            error = _with_option_meant(error, error.ctx)
        told = io.StringIO()
        error.show(told)
        echo(told.getvalue(), nl=False, err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        echo("Interrupted.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except WingspanError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        echo(style("Error: ", fg="red", bold=True) + f"{error.strerror or error}{place}", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
