"""Commands about runs: ``logs``, ``fetch``, and those that a run shares with a map (status, wait, hold, release, vacate, rerun, rm)."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wingspan.cli._output import confirm, print_json, when
from wingspan.cli.run import run_record

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from wingspan.runs import Run

__all__ = ["fetch", "hold", "logs", "release", "rerun", "rm", "status", "vacate", "wait"]

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
        from click.shell_completion import CompletionItem

        from wingspan.runs import run_names

        return [CompletionItem(name) for name in run_names() if name.startswith(incomplete)]


NAME = _NameType()
_one = click.argument("name", type=NAME)
_several = click.argument("names", metavar="NAME...", nargs=-1, required=True, type=NAME)


def _load(name: str) -> Run:
    from wingspan.runs import load_run

    return load_run(name)


@click.command()
@_one
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(name: str, as_json: bool) -> None:
    """How a run fares, and what keeps it."""
    one = _load(name)
    if as_json:
        print_json(run_record(one))
        return
    seen = one.status()
    click.echo(f"{one.name}: {seen.state}, {one.command}")
    if len(one) > 1:
        for state, count in sorted(seen.counts.items()):
            click.echo(f"  {state:<10} {count:>7,}")
    click.echo(f"  pool       {one.pool}")
    click.echo(f"  created    {when(one.info['created'])}")
    click.echo(f"  folder     {one.path}")
    for job in seen.jobs:
        if job.reason:
            row = " ".join(f"{key}={value}" for key, value in job.parameters.items())
            click.echo(f"job {job.number}{f' ({row})' if row else ''} {job.state}: {job.reason}")


@click.command()
@_one
@click.argument("number", type=click.IntRange(min=0), default=0)
@click.option("-f", "--follow", "live", is_flag=True, help="Go on printing until the job has ended.")
@click.option("--stderr", "only_errors", is_flag=True, help="Standard error only.")
def logs(name: str, number: int, live: bool, only_errors: bool) -> int:
    """What a run has printed so far; NUMBER is that of a job of a sweep.

    Standard output goes to standard output, standard error to standard error.
    """
    one = _load(name)
    one.log_path(number)
    if live:
        _stream(one, number, only_errors)
        return 0
    if not only_errors:
        click.echo(one.stdout(number), nl=False)
    click.echo(one.stderr(number), nl=False, err=not only_errors)
    return 0


def _stream(one: Run, number: int, only_errors: bool = False) -> None:
    """Both streams, as they come."""
    which = ("err",) if only_errors else ("out", "err")
    read = dict.fromkeys(which, 0)
    while True:
        ended = one.status().jobs[number].is_final
        for each in which:
            try:
                with one.log_path(number, each).open("rb") as file:
                    read[each] = min(read[each], file.seek(0, 2))
                    file.seek(read[each])
                    data = file.read()
            except FileNotFoundError:
                continue
            read[each] += len(data)
            if data:
                click.echo(data.decode("utf-8", "replace"), nl=False, err=each == "err" and not only_errors)
        if ended:
            return
        time.sleep(0.1)


def follow_run(one: Run) -> int:
    """Print what the run prints until it has ended; the exit code of the job, or 1 if one of several failed."""
    if len(one) == 1:
        _stream(one, 0)
    return _report(one)


def _report(one: Run) -> int:
    seen = one.wait()
    for job in seen.jobs:
        if job.state != "completed":
            click.echo(f"{one.name}: job {job.number} {job.state}: {job.reason}", err=True)
    if seen.state == "completed":
        return 0
    code = seen.jobs[0].code if len(seen.jobs) == 1 else None
    return code if code else 1


@click.command()
@_several
@click.option("--timeout", type=float, metavar="SECONDS", help="Wait no longer; the exit code is then 124.")
def wait(names: tuple[str, ...], timeout: float | None) -> int:
    """Wait until runs have ended. Exit code 0: all did so well."""
    from wingspan.runs import RunTimeout

    deadline = None if timeout is None else time.monotonic() + timeout
    code = 0
    for name in names:
        one = _load(name)
        try:
            one.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
        except RunTimeout as error:
            click.echo(error.message, err=True)
            return 124
        code = code or _report(one)
    return code


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
    one = _load(name)
    done: set[int] = set()
    while True:
        seen = one.status()
        for number, files in one.fetch(to, overwrite=overwrite, skip=frozenset(done)).items():
            done.add(number)
            for file in files:
                click.echo(str(file))
        if not waiting or seen.is_done:
            break
        time.sleep(0.25)
    code = 0
    for job in seen.jobs:
        if job.state in ("failed", "removed", "held"):
            click.echo(f"{name}: job {job.number} {job.state}: {job.reason}", err=True)
            code = 1
        elif not job.is_final:
            click.echo(f"{name}: job {job.number} is {job.state}", err=True)
    return code


@click.command()
@_several
def hold(names: tuple[str, ...]) -> None:
    """Hold the jobs of runs: they stop, keep their place in the queue, and go on after a release."""
    for name in names:
        _load(name).hold()
        click.echo(f"{name}: held; wingspan release lets it go on")


@click.command()
@_several
def release(names: tuple[str, ...]) -> None:
    """Let held jobs of runs go on."""
    for name in names:
        _load(name).release()
        click.echo(f"{name}: released")


@click.command()
@_several
def vacate(names: tuple[str, ...]) -> None:
    """Send the jobs of runs off their machines; they start again, from their checkpoint if they have one."""
    for name in names:
        _load(name).vacate()
        click.echo(f"{name}: vacated")


@click.command()
@_one
@click.argument("numbers", metavar="[NUMBER]...", nargs=-1, type=click.IntRange(min=0))
@click.option("--all", "everything", is_flag=True, help="All jobs, also those that completed.")
def rerun(name: str, numbers: tuple[int, ...], everything: bool) -> None:
    """Do jobs of a run again: those with a NUMBER, or those that failed. Their outputs so far are given up."""
    one = _load(name)
    chosen = list(range(len(one))) if everything else list(numbers) or None
    again = one.rerun(chosen)
    click.echo(
        f"{name}: {len(again):,} job{'s' if len(again) != 1 else ''} again"
        if again
        else f"{name}: there is nothing to do again"
    )


@click.command()
@_several
@click.option("--force", is_flag=True, help="Remove the files even where the scheduler does not answer.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before removing several.")
def rm(names: tuple[str, ...], force: bool, yes: bool) -> None:
    """Remove runs: their jobs, outputs and names."""
    from wingspan.runs import remove_run

    if len(names) > 1 and sys.stdin.isatty():
        confirm("Remove", names, yes)
    for name in names:
        remove_run(name, force=force)
        click.echo(f"{name}: removed")
