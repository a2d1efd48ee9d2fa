"""``wingspan pool``: the personal HTCondor pool."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wingspan._shell import exports
from wingspan.cli._main import Group
from wingspan.cli._terminal import echo

if TYPE_CHECKING:
    from wingspan.pools.personal import PersonalPool, PersonalPoolStatus

__all__ = ["pool"]

_directory = click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the pool keeps its state.  [default: personal-pool in the data folder]",
)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
def pool() -> None:
    """The personal pool: a real HTCondor on this machine, yours alone, without root.

    The first map starts it by itself; these commands are for those who want to see to it.
    """


def _pool(directory: Path | None, cpus: int | None = None) -> PersonalPool:
    from wingspan.pools.personal import PersonalPool

    return PersonalPool(directory, cpus=cpus)


def _describe(status: PersonalPoolStatus) -> str:
    if status.state == "stopped":
        return f"The personal pool in {status.directory} is not running."
    if status.state == "crashed":
        return (
            f"The personal pool in {status.directory} crashed: process {status.master_pid}, its master, is gone.\n"
            "wingspan pool start cleans up and starts it again; its queue is kept."
        )
    return (
        f"The personal pool is running: HTCondor {status.version} ({status.source}), {status.cpus} CPUs.\n"
        f"  folder   {status.directory}\n"
        f"  master   process {status.master_pid}\n"
        f"  address  {(status.address or '').split('?')[0].strip('<>')}"
    )


@pool.command()
@_directory
@click.option(
    "--cpus",
    type=click.IntRange(min=1),
    help="How many cores it offers.  [default: all that you may use]",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing unless it fails.")
def start(directory: Path | None, cpus: int | None, quiet: bool) -> None:
    """Start the pool, or find it running; obtain HTCondor if the machine has none."""
    from wingspan.cli._progress import progress

    one = _pool(directory, cpus)
    found = one.status().state == "running"
    begun = time.monotonic()
    with progress(quiet=quiet) as listener:
        one.start(listener)
    if not quiet:
        took = "was running" if found else f"ready in {time.monotonic() - begun:.1f} s"
        echo(f"{_describe(one.status())}\n  {took}")


@pool.command()
@_directory
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(directory: Path | None, as_json: bool) -> int:
    """Whether the pool runs; exit code 0 if it does, 3 if it does not."""
    seen = _pool(directory).status()
    if as_json:
        import attrs

        echo(json.dumps({**attrs.asdict(seen), "directory": str(seen.directory)}, indent=2))
    else:
        echo(_describe(seen))
    # 3 is what the LSB's init scripts, and systemctl, answer for "not running".
    return 0 if seen.state == "running" else 3


@pool.command()
@_directory
def stop(directory: Path | None) -> None:
    """Stop the pool and everything that runs on it; the queue is kept for the next start."""
    one = _pool(directory)
    before = one.status().state
    one.stop()
    echo("The personal pool was not running." if before == "stopped" else "The personal pool is stopped.")


@pool.command()
@click.option("--upgrade", is_flag=True, help="Look for a newer one even if one was obtained before.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def install(upgrade: bool, as_json: bool) -> None:
    """Obtain HTCondor without root, and start nothing."""
    from wingspan.cli._progress import progress
    from wingspan.pools.personal import install as obtain

    with progress(quiet=as_json) as listener:
        one = obtain(listener, upgrade=upgrade)
    if as_json:
        echo(json.dumps({"prefix": str(one.prefix), "version": one.version, "source": one.source}, indent=2))
    else:
        echo(f"HTCondor {one.version} ({one.source}) in {one.prefix}")


@pool.command()
@_directory
def env(directory: Path | None) -> None:
    """Print shell lines with which condor_q and its like speak with the pool.

    Use it as: eval "$(wingspan pool env)"
    """
    for line in exports(_pool(directory).environment()):
        echo(line)


@pool.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_directory
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
def run(directory: Path | None, command: tuple[str, ...]) -> None:
    """Run one of HTCondor's commands against the pool, such as wingspan pool run condor_q -nobatch."""
    import os

    from wingspan.errors import WingspanError

    environment = {**os.environ, **_pool(directory).environment()}
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606  (the user named the program)
    except FileNotFoundError:
        raise WingspanError(
            f"no program {command[0]!r}", hint="HTCondor's are called condor_q, condor_status, condor_rm …"
        ) from None
