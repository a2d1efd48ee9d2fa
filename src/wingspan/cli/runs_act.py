"""Commands about runs: ``logs``, ``fetch``, and those that a run shares with a map (status, wait, rm, …)."""

from __future__ import annotations

import contextlib
import fnmatch
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wingspan._words import counted, lasting, moment
from wingspan.cli._asks import asks_again, said
from wingspan.cli._output import (
    TAG,
    as_json_or_csv,
    confirm,
    notes,
    one_format,
    own_words_for_interrupts,
    print_json,
    when,
)
from wingspan.cli._progress import progress
from wingspan.cli._streams import print_streams, stream
from wingspan.cli._table import text_table
from wingspan.cli._terminal import echo, style
from wingspan.cli._watch import watch_until_done, watching
from wingspan.cli.runs import elapsed, run_record

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from wingspan.progress import Progress
    from wingspan.runs import Run, RunStatus

__all__ = [
    "cancel",
    "fetch",
    "follow_run",
    "hold",
    "logs",
    "release",
    "rerun",
    "rm",
    "ssh",
    "status",
    "vacate",
    "wait",
]

if TYPE_CHECKING:
    _StringType = click.ParamType[str]
else:  # no generic in click before 8.4
    _StringType = click.ParamType


class _NameType(_StringType):
    """The name of a run; the Tab key completes it."""

    name = "name"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from wingspan.cli._offered import offered
        from wingspan.runs import run_names

        return offered(((name, None) for name in run_names()), incomplete)


def _matching(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Names, with those that match in the place of a pattern, which the shell found no file for."""
    from wingspan.runs import run_names
    from wingspan.runs._errors import RunNotFound

    found: list[str] = []
    for name in given:
        if any(character in name for character in "*?["):
            matches = [one for one in run_names() if fnmatch.fnmatchcase(one, name)]
            if not matches:
                raise RunNotFound(f"no run has a name like {name!r}", hint="wingspan runs lists them")
            found += matches
        else:
            found.append(name)
    return tuple(dict.fromkeys(found))


NAME = _NameType()
_one = click.argument("name", type=NAME)
_several = click.argument("names", metavar="NAME...", nargs=-1, required=True, type=NAME, callback=_matching)
#: Seconds of waiting before a progress bar is drawn anew.
_TURN = 0.3
_INTERRUPTED = 130


def _load(name: str) -> Run:
    from wingspan.runs import load_run

    return load_run(name)


@click.command()
@_one
@watching
@as_json_or_csv
def status(*, name: str, watch: bool, as_json: bool, as_csv: bool) -> None:
    """How a run fares, and what keeps it. Of a sweep each job, with its parameters; as CSV: a line each."""
    one_format(as_json, as_csv)
    one = _load(name)
    if as_json:
        print_json(run_record(one))
        return
    if as_csv:
        from wingspan.cli._table import print_csv
        from wingspan.runs._table import columns, rows

        print_csv(columns(list(one.spec.parameters)), rows(one.status(), one._folder))
        return
    if watch:
        watch_until_done(lambda: (_status_text(one, seen := one.status()), seen.is_done))
    now = one.status()
    if not watch:
        echo(_status_text(one, now))
    _tell_sent(now)
    _tell_left(now)


#: How many jobs of a sweep are shown one by one.
_SHOWN = 40


def _status_text(one: Run, seen: RunStatus) -> str:
    """How a run fares, in several lines."""
    lines = [f"{one.name}: {seen.state}, {one.command}"]
    if len(one) > 1:
        lines += [f"  {state:<10} {count:>7,}" for state, count in sorted(seen.counts.items())]
    lines.append(f"  pool       {one.pool}")
    lines.append(f"  created    {when(one.info['created'])}")
    lines.append(f"  took       {lasting(elapsed(one, seen))}{'' if seen.is_done else ' so far'}")
    lines.append(f"  folder     {one.path}")
    if len(one) == 1 and seen.jobs[0].host:
        lines.append(f"  host       {seen.jobs[0].host}")
    if len(one) > 1 and one.spec.parameters:
        lines += ["", *text_table(*_sweep(one, seen)), ""]
    if seen.message:
        lines.append(seen.message)
    for job in seen.jobs:
        if job.reason:
            row = " ".join(f"{key}={value}" for key, value in job.parameters.items())
            lines.append(f"job {job.number}{f' ({row})' if row else ''} {job.state}: {job.reason}")
    lines += seen.notes
    return "\n".join(lines)


def _sweep(one: Run, seen: RunStatus) -> tuple[list[str], list[list[str]]]:
    """Headings and rows: jobs with their parameters, first those that are not completed."""
    from wingspan.runs._table import rows

    table = rows(seen, one._folder)
    heads = [name for name in table[0] if name not in ("code", "reason")]
    table.sort(key=lambda row: seen.jobs[row["job"]].state == "completed")
    shown = [[_cell(name, row[name]) for name in heads] for row in table[:_SHOWN]]
    if len(table) > _SHOWN:
        shown.append([f"… {len(table) - _SHOWN:,} more: --csv", *[""] * (len(heads) - 1)])
    return heads, shown


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    return lasting(value) if name.startswith("wall") and isinstance(value, float) else str(value)


def _tell_sent(seen: RunStatus) -> None:
    """Outputs that went to an address: nothing of them is here."""
    sent = [(path, url) for job in seen.jobs for path, url in job.sent.items()]
    for path, url in sent[:_SHOWN]:
        echo(f"{path}: {url}", err=True)
    if len(sent) > _SHOWN:
        echo(f"… {len(sent) - _SHOWN:,} more: wingspan status {seen.name} --json", err=True)


def _tell_left(seen: RunStatus) -> None:
    """Files that did not come back, as no output names them: of the first job that has any."""
    told = next((job for job in seen.jobs if job.left and job.state == "completed"), None)
    if told is not None:
        names = ", ".join(told.left[:5]) + (", …" if len(told.left) > 5 else "")
        text = f"job {told.number} of {seen.name} wrote {names} too, which no --output names: that did not come back"
        echo(style("Note: ", fg="yellow") + text, err=True)


class _BesideCommand(click.Command):
    """What follows ``--`` is a command, which click does not look at."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        place = args.index("--") if "--" in args else len(args)
        ctx.meta["wingspan.command"] = tuple(args[place + 1 :])
        if place == len(args) - 1 and not ctx.resilient_parsing:  # the Tab key asks what may follow
            raise click.UsageError("give a COMMAND after --")
        return super().parse_args(ctx, args[:place])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND...]"]


@click.command(cls=_BesideCommand)
@click.argument("name", metavar="NAME|TAG", type=TAG)
@click.argument("number", type=click.IntRange(min=0), default=0)
@click.pass_context
def ssh(ctx: click.Context, /, name: str, number: int) -> int:
    """A shell in the folder and the environment of a job that is running, or a COMMAND there.

    Of a run NUMBER is that of the job; of a map that of the component, and the shell is beside the worker
    that is at it. By HTCondor's condor_ssh_to_job, for which the machine must have an OpenSSH server, or as a
    step of Slurm's srun.
    """
    from wingspan.cli._main import names_a_run

    command = ctx.meta["wingspan.command"]
    if not names_a_run(name):
        import wingspan
        from wingspan.maps._shell_in import shell_at_component

        return shell_at_component(wingspan.load(name), number, command)()
    from wingspan.runs._interactive import shell_in_job

    return shell_in_job(_load(name), number, command)()


@click.command()
@_one
@click.argument("numbers", metavar="[NUMBER]...", nargs=-1, type=click.IntRange(min=0))
@click.option("-f", "--follow", "live", is_flag=True, help="Go on printing until the jobs have ended.")
@click.option("--stderr", "only_errors", is_flag=True, help="Standard error only.")
@click.option(
    "-n", "--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines, and what follows."
)
def logs(*, name: str, numbers: tuple[int, ...], live: bool, only_errors: bool, tail: int | None) -> int:
    """What a run has printed so far: all its jobs, or those of a sweep that have a NUMBER.

    Standard output goes to standard output, standard error to standard error. Of several jobs each line
    begins with the job's number.
    """
    one = _load(name)
    chosen = list(dict.fromkeys(numbers)) or list(range(len(one)))
    for number in chosen:
        one.log_path(number)
    if not live:
        one._bring("logs")
        print_streams(one, chosen, only_errors, tail)
        return 0
    with _leaving(name):
        for job in stream(one, chosen, only_errors, tail):
            if job.state == "held":
                echo(f"{name}: job {job.number} held: {job.reason}", err=True)
    return 0


@contextlib.contextmanager
def _leaving(*names: str) -> Iterator[None]:
    """Ctrl-C ends the watching, not the run: say so."""
    try:
        with own_words_for_interrupts():
            yield
    except KeyboardInterrupt:
        goes = "The run goes" if len(names) == 1 else "The runs go"
        back = f"wingspan wait {' '.join(names)}"
        echo(
            f"\n{goes} on without you. To come back: {back}; to end: wingspan rm {' '.join(names)}", err=True
        )
        raise click.exceptions.Exit(_INTERRUPTED) from None


def follow_run(one: Run, *, printing: bool = True, fetching: bool = False, overwrite: bool = False) -> int:
    """Stay until the run has ended; the exit code of the job, or 1 if one of several failed.

    Args:
        one: The run.
        printing: Print what its job prints.
        fetching: Copy outputs into the working folder as jobs end.
        overwrite: Replace files that are there.
    """
    with _leaving(one.name):
        if printing:
            stream(one, range(len(one)))
        if fetching:
            _fetch_all(one, Path(), overwrite=overwrite)
        return _report(one)


def _report(one: Run) -> int:
    seen = one.wait()
    for job in seen.jobs:
        if job.state != "completed":
            echo(f"{one.name}: job {job.number} {job.state}: {job.reason}", err=True)
    _tell_sent(seen)
    _tell_left(seen)
    if seen.state == "completed":
        return 0
    code = seen.jobs[0].code if len(seen.jobs) == 1 else None
    return code if code else 1


@click.command()
@_several
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Wait no longer; the exit code is then 124.",
)
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def wait(names: tuple[str, ...], timeout: float | None, quiet: bool) -> int:
    """Wait until runs have ended. Exit code 0: all did so well.

    Ctrl-C only stops the waiting: the runs go on by themselves.
    """
    from wingspan.runs import RunTimeout

    deadline = None if timeout is None else time.monotonic() + timeout
    code = 0
    ones = [_load(name) for name in names]
    with _leaving(*names):
        for name, one in zip(names, ones, strict=True):
            try:
                with progress(quiet=quiet or not sys.stderr.isatty()) as told:
                    _wait(one, deadline, told)
            except RunTimeout:
                echo(f"{name} is not done after {timeout:g} s; it goes on", err=True)
                return 124
            code = _report(one) or code
    return code


def _wait(one: Run, deadline: float | None, told: Progress) -> None:
    from wingspan.runs import RunTimeout

    task, done = told.start(one.name, len(one)), 0
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            one.wait(_TURN if left is None else min(_TURN, left))
        except RunTimeout:
            if left is not None and left <= _TURN:
                raise
        ended = sum(job.is_final for job in one.status().jobs)
        told.advance(task, ended - done)
        done = ended
        if done == len(one):
            told.finish(task)
            return


@click.command()
@_one
@click.option(
    "-t",
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    show_default="here",
    help="Folder.",
)
@click.option(
    "-w", "--wait", "waiting", is_flag=True, help="Go on until every job has ended: outputs as they come."
)
@click.option("--overwrite", is_flag=True, help="Replace files that are there with another content.")
def fetch(name: str, to: Path, waiting: bool, overwrite: bool) -> int:
    """Copy the outputs of jobs that have ended to a folder, with their relative paths.

    Those of a sweep go to NAME/NUMBER in it.
    """
    code = 0
    with _leaving(name):
        seen = _fetch_all(_load(name), to, overwrite=overwrite, waiting=waiting)
    for job in seen.jobs:
        if job.state in ("failed", "removed", "held"):
            echo(f"{name}: job {job.number} {job.state}: {job.reason}", err=True)
            code = 1
        elif not job.is_final:
            echo(f"{name}: job {job.number} is {job.state}", err=True)
    _tell_sent(seen)
    _tell_left(seen)
    return code


def _fetch_all(one: Run, to: Path, *, overwrite: bool = False, waiting: bool = True) -> RunStatus:
    """Copy the outputs of jobs that have ended, and go on until all have if `waiting`."""
    from wingspan.runs._pace import Pace

    done: set[int] = set()
    pace = Pace()
    while True:
        seen = one.status()
        for number, files in one.fetch(to, overwrite=overwrite, skip=frozenset(done)).items():
            done.add(number)
            for file in files:
                echo(str(file))
        if not waiting or seen.is_done or (seen.is_stuck and not one.asks_for_more(seen)):
            return seen
        one.attend(seen)
        pace.sleep(seen)


def _has_ended(one: Run, action: str) -> bool:
    if not (seen := one.status()).is_done:
        return False
    echo(f"{one.name}: there is nothing to {action}, it is {seen.state}", err=True)
    return True


@click.command()
@_several
def hold(names: tuple[str, ...]) -> None:
    """Hold the jobs of runs: they stop, keep their place in the queue, and go on after a release."""
    for one in [_load(name) for name in names]:
        if _has_ended(one, "hold"):
            continue
        one.hold()
        echo(f"{one.name}: held; wingspan release lets it go on")


@click.command()
@_several
def release(names: tuple[str, ...]) -> None:
    """Let held jobs of runs go on."""
    for one in [_load(name) for name in names]:
        if _has_ended(one, "release"):
            continue
        one.release()
        echo(f"{one.name}: released")


@click.command()
@_several
def cancel(names: tuple[str, ...]) -> None:
    """Take the jobs of runs out of the queue. What they have written so far is kept."""
    for one in [_load(name) for name in names]:
        if _has_ended(one, "cancel"):
            continue
        one.cancel()
        echo(f"{one.name}: cancelled; what is there is kept")


@click.command()
@_several
def vacate(names: tuple[str, ...]) -> None:
    """Send the jobs of runs off their machines; they start again, from their checkpoint if they have one."""
    for one in [_load(name) for name in names]:
        if _has_ended(one, "vacate"):
            continue
        one.vacate()
        echo(f"{one.name}: vacated")


@click.command()
@_one
@click.argument("numbers", metavar="[NUMBER]...", nargs=-1, type=click.IntRange(min=0))
@click.option("--all", "everything", is_flag=True, help="All jobs, also those that completed.")
@click.option("--errors", "failed", is_flag=True, help="Those that failed, which is what is done without.")
@click.option(
    "--with-current-inputs", "current", is_flag=True, help="Take the inputs anew, as the files are now."
)
@asks_again
def rerun(
    *, name: str, numbers: tuple[int, ...], everything: bool, failed: bool, current: bool, **asks: Any
) -> None:
    """Do jobs of a run again: those with a NUMBER, or those that failed. Their outputs so far are given up.

    The inputs are those that were taken when the run was made, or last with --with-current-inputs.
    """
    one = _load(name)
    if bool(numbers) + everything + failed > 1:
        raise click.UsageError("give numbers, --errors or --all, not several of them")
    chosen = list(range(len(one))) if everything else list(numbers) or None
    with notes():
        again = one.rerun(chosen, with_current_inputs=current, **said(asks))
    taken = f", with the inputs of {moment(one.inputs_taken)}" if one.spec.inputs else ""
    echo(
        f"{name}: {counted(len(again), 'job')} again{taken}; wingspan wait {name} waits for it"
        if again
        else f"{name}: there is nothing to do again"
    )


@click.command()
@_several
@click.option("--force", is_flag=True, help="Remove the files even where the scheduler does not answer.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before removing what a pattern found.")
@click.pass_context
def rm(ctx: click.Context, /, names: tuple[str, ...], force: bool, yes: bool) -> None:
    """Remove runs: their jobs, outputs and names."""
    from wingspan.runs import remove_run

    if set(names) - set(ctx.meta["wingspan.words"]):  # found by a pattern
        confirm("Remove", names, yes, noun="run")
    for name in names:
        remove_run(name, force=force)
        echo(f"{name}: removed")
