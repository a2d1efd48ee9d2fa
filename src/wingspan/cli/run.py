"""``wingspan run``."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from wingspan._shell import words as shell_words
from wingspan._words import counted, moment
from wingspan.cli._complete import ENVIRONMENT, FILE, POOL, PROFILE, SWITCH, WORDS
from wingspan.cli._output import notes
from wingspan.cli._terminal import echo, style

if TYPE_CHECKING:
    from wingspan.runs._request import RunRequest
    from wingspan.runs._run import Run

__all__ = ["RunCommand", "requested", "run", "run_options"]


#: Options that say what a run is, in the order of the help.
_RUN_OPTIONS = (
    click.option(
        "-e",
        "--env",
        "--environment",
        "environment",
        metavar="NAME",
        type=ENVIRONMENT,
        help="Locked environment of the workspace here.",
    ),
    click.option(
        "-k",
        "--kind",
        type=click.Choice(["squashfs", "sif", "oci", "pack", "install"]),
        help="How the environment travels.  [default: what most machines of the pool can start; else squashfs]",
    ),
    click.option("--frozen", is_flag=True, help="Do not compare the lock with the manifest."),
    click.option(
        "--inject",
        multiple=True,
        metavar="WHEEL",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="A wheel of your own that goes into the environment as well. Once or more.",
    ),
    click.option(
        "-i",
        "--input",
        "inputs",
        multiple=True,
        metavar="PATH|URL",
        type=FILE,
        help="File or folder that goes along; relative paths are kept.",
    ),
    click.option(
        "-o",
        "--output",
        "outputs",
        multiple=True,
        metavar="PATH[=URL]",
        type=FILE,
        help="File or folder that comes back (* and ? are understood), or goes to an address: model.pt=osdf:///…",
    ),
    click.option(
        "--output-destination",
        metavar="URL",
        help="Folder that all outputs without an address go to.",
    ),
    click.option("-n", "--name", help="Name of the run.  [default: made up]"),
    click.option("--cpus", type=int, help="Cores of a job.  [default: 1]"),
    click.option("--memory", metavar="SIZE", help="Memory of a job: 2GB."),
    click.option(
        "--retry-memory",
        metavar="SIZE",
        help="On HTCondor: the most that is asked for after a job took more than --memory.",
    ),
    click.option("--disk", metavar="SIZE", help="Scratch disk of a job: 10GB."),
    click.option("--time", metavar="TIME", help="Longest wall time of a job: 90min, 12h, 1d."),
    click.option("--gpus", type=int, help="GPU devices of a job.  [default: 0]"),
    click.option("--gpu-memory", metavar="SIZE", help="Least memory of each device."),
    click.option(
        "--set",
        "variables",
        multiple=True,
        metavar="NAME=VALUE",
        help="Environment variable of the job.",
    ),
    click.option(
        "--sweep",
        "sweeps",
        multiple=True,
        metavar="NAME=A,B",
        help="A job for each value, which {NAME} in the command and in outputs stands for; several: each combination.",
    ),
    click.option(
        "--sweep-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="CSV file: the first line names parameters, each further one is a job.",
    ),
    click.option(
        "--checkpoint",
        multiple=True,
        metavar="PATH",
        type=FILE,
        help="File or folder that is kept when the command exits to be started again.",
    ),
    click.option(
        "--checkpoint-exit-code",
        type=int,
        default=85,
        show_default=True,
        help="Exit code by which the command says that there is a checkpoint.",
    ),
    click.option(
        "--profile",
        metavar="SITE",
        type=PROFILE,
        help="Site profile: a name (wingspan profile list), or https://…#sha256=….",
    ),
    click.option(
        "--switch",
        "switches",
        multiple=True,
        metavar="NAME",
        type=SWITCH,
        help="A switch of the profile that is turned on (wingspan profile show).",
    ),
    click.option(
        "--preflight/--no-preflight",
        default=True,
        help="Check the GPU before the command.  [default: yes]",
    ),
)


def run_options(command: Any) -> Any:
    """Options that say what a run is; `requested` makes a `RunRequest` of them."""
    for decorate in reversed(_RUN_OPTIONS):
        command = decorate(command)
    return command


def requested(words: tuple[str, ...], after_dashes: bool, options: dict[str, Any]) -> RunRequest:
    """What was asked for on the command line: words, and the options of `run_options`.

    Args:
        words: A command; or, without ``--`` before it, a task and its arguments.
        after_dashes: ``--`` stood before the words.
        options: By the names of `RunRequest`, but for variables and sweeps, which are text here.
    """
    from wingspan.runs._request import RunRequest
    from wingspan.runs._spec import read_sweep

    variables = {}
    for given in options.pop("variables"):
        key, equals, value = given.partition("=")
        if not equals or not key.isidentifier():
            raise click.UsageError(f"--set {given}: write NAME=VALUE")
        variables[key] = value
    sweep: dict[str, tuple[str, ...]] = {}
    for given in options.pop("sweeps"):
        name, values = read_sweep(given)
        if name in sweep:
            raise click.UsageError(
                f"--sweep {name} is given twice; write --sweep {name}={','.join((*sweep[name], *values))}"
            )
        sweep[name] = values
    options |= {"variables": variables, "sweep": sweep or None}
    if after_dashes:
        return RunRequest(command=list(words), **options)
    return RunRequest(command=words[0], arguments=words[1:], **options)


class RunCommand(click.Command):
    """Knows whether ``--`` stood before the words (a command) or after the first (arguments of a task)."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        after = len(args) - args.index("--") - 1 if "--" in args else None
        ctx.meta["wingspan.after_dashes"] = after is not None
        given = list(args)
        try:
            rest: list[str] = super().parse_args(ctx, args)  # takes the words out of args
        except click.NoSuchOption as error:
            place = self._word_before(ctx, given, error.option_name)
            if after is not None or place is None:
                raise
            if shutil.which(given[place]):
                kind, example = "command", [*given[:place], "--", *given[place:]]
            else:
                # What stands before it may be ours: --sweep, say.
                own = next(
                    (n for n in range(place + 1, len(given)) if given[n].startswith(error.option_name)),
                    place + 1,
                )
                kind, example = "task", [*given[:own], "--", *given[own:]]
            told = (
                f"{error.message} What belongs to a {kind} goes after --: -- {error.option_name} …, "
                f"as in: wingspan run {shell_words(example)}"
            )
            raise click.NoSuchOption(error.option_name, told, None, ctx) from None
        ctx.meta["wingspan.after_dashes"] = after is not None and len(ctx.params.get("words", ())) <= after
        return rest

    def _word_before(self, ctx: click.Context, given: list[str], option: str) -> int | None:
        """Where the task or the command begins, if that is before an unknown option."""
        takes = {
            name
            for param in self.get_params(ctx)
            if isinstance(param, click.Option) and not param.is_flag
            for name in param.opts
        }
        place = 0
        while place < len(given):
            one = given[place]
            if one == option or one.startswith(f"{option}="):
                return None
            if not one.startswith("-"):
                return place
            place += 2 if one in takes else 1
        return None


@click.command(cls=RunCommand)
@run_options
@click.option("-p", "--pool", type=POOL, help="Where.  [default: chosen; see wingspan doctor]")
@click.option(
    "--after",
    multiple=True,
    metavar="NAME",
    help="Begin when this map or run is done, without failures. Inputs need not be there before.",
)
@click.option(
    "--input-from",
    "inputs_from",
    multiple=True,
    metavar="NAME",
    help="The same, and its outputs go along, in a folder NAME.",
)
@click.option("-f", "--follow", is_flag=True, help="Print what it prints, and end as it ends.")
@click.option(
    "--fetch",
    is_flag=True,
    help="Copy the outputs here as jobs end, and end as they end; with --follow, print too.",
)
@click.option("--overwrite", is_flag=True, help="With --fetch: replace files that are here.")
@click.option(
    "--exist-ok",
    is_flag=True,
    help="Take up the run that has this --name already, if command and inputs are the same.",
)
@click.option(
    "--interactive",
    is_flag=True,
    help="A shell with the same files in the same environment, instead of the command.",
)
@click.option(
    "--rehearse",
    is_flag=True,
    help="Submit nothing: execute one job here, as a worker would see it, and say how it fared.",
)
@click.option(
    "--row", type=int, default=0, help="With --rehearse: which job of a sweep.  [default: 0, the first]"
)
@click.option("-q", "--quiet", is_flag=True, help="Print the name only, and no progress.")
@click.argument("words", metavar="TASK [--] [ARGUMENT]... | -- COMMAND...", nargs=-1, type=WORDS)
@click.pass_context
def run(
    ctx: click.Context,
    /,
    *,
    words: tuple[str, ...],
    pool: str | None,
    after: tuple[str, ...],
    inputs_from: tuple[str, ...],
    follow: bool,
    fetch: bool,
    overwrite: bool,
    exist_ok: bool,
    interactive: bool,
    rehearse: bool,
    row: int,
    quiet: bool,
    **options: Any,
) -> int:
    """Execute a Pixi task, or any command, as a batch job.

    \b
      wingspan run train 0.1                          a task, and its arguments
      wingspan run test -- --verbose                  arguments that look like options
      wingspan run -i a.py -o b.csv -- python a.py    a command
      wingspan run study.ipynb --sweep alpha=1,2      a notebook, which comes back executed

    Nothing goes along but what --input names, or the task's inputs and [tool.wingspan] in the manifest. The
    run is kept under its name: wingspan status, logs, fetch, rerun, rm.
    """
    from wingspan.cli._progress import progress
    from wingspan.runs._api import followed, start

    after_dashes = ctx.meta["wingspan.after_dashes"]
    if not words and not interactive:
        raise click.UsageError("what? Give a TASK, or -- and a COMMAND")
    if (after or inputs_from) and (interactive or rehearse):
        raise click.UsageError("--after and --input-from are for runs that are submitted")
    if overwrite and not fetch:
        raise click.UsageError("--overwrite says what --fetch may do; give both")
    if interactive:
        from wingspan.runs._interactive import open_shell

        request = requested(words or ("sh",), after_dashes or not words, options)
        with progress(quiet=quiet) as told:
            shell = open_shell(request, pool=pool, progress=told)
        return shell()
    request = requested(words, after_dashes, options)
    if rehearse:
        if follow or fetch or exist_ok:
            raise click.UsageError("--rehearse submits nothing: leave out --follow, --fetch and --exist-ok")
        from wingspan.cli._rehearse import rehearse_run

        return rehearse_run(request, pool=pool, row=row, quiet=quiet)
    if row:
        raise click.UsageError("--row says which job --rehearse is about; give both")
    request = attrs.evolve(request, **followed(after, inputs_from))
    began = time.time()
    with notes(), progress(quiet=quiet) as told:
        made = start(request, pool=pool, progress=told, exist_ok=exist_ok)
    is_old = exist_ok and made.info["created"] < began
    _tell(made, quiet=quiet, is_old=is_old, err=follow)
    if fetch and not overwrite:
        _tell_what_stays(made)
    if follow or fetch:
        from wingspan.cli.runs_act import follow_run

        return follow_run(made, printing=follow, fetching=fetch, overwrite=overwrite)
    return 0


def _tell(made: Run, *, quiet: bool, is_old: bool, err: bool) -> None:
    """Which run there is now, or was already."""
    if quiet:
        echo(made.name, err=err)
    elif is_old:
        echo(
            f"{made.name}: it is there already, of {moment(made.info['created'])}: {made.status().state}",
            err=err,
        )
    else:
        count = counted(len(made), "job")
        kept = "" if made.spec.outputs else " (no --output: what it prints is kept, and no files)"
        echo(f"{made.name}: {count} in the {made.pool} pool; wingspan status {made.name}{kept}", err=err)


def _tell_what_stays(made: Run) -> None:
    """Outputs that are here before the run is done are not replaced by others."""
    here = [path for path in made.spec.outputs if len(made) == 1 and Path(path).exists()]
    if here:
        stays = f"{', '.join(here)} is here already and stays if the new one differs; wingspan fetch {made.name} --overwrite replaces it"
        echo(style("Note: ", fg="yellow") + stays, err=True)
