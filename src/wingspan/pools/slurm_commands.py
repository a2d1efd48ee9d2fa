"""Slurm's commands, as the pool calls them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable

from wingspan.errors import PoolError, PoolUnavailable
from wingspan.pools.slurm_queue import Task, read_queue

__all__ = ["PATIENCE", "SMALL_ARRAY", "call", "largest_array", "own_jobs", "queue"]

#: Seconds after which a command of Slurm's is given up: it retries by itself before.
PATIENCE = 60.0
#: Arrays of so many tasks are allowed everywhere: MaxArraySize is 1001 where a site says nothing.
SMALL_ARRAY = 100


def call(*words: str, given: str | None = None) -> str:
    """What a command of Slurm's prints.

    Raises:
        PoolUnavailable: It is not there, or does not answer.
        PoolError: It refuses.
    """
    hint = "work on the cluster's login node, where sinfo answers; wingspan doctor tells more"
    # Else squeue cuts the numbers of an array at 64 bytes (SLURM_BITSTR_LEN in its manual).
    environment = {**os.environ, "SLURM_BITSTR_LEN": "0"}
    try:
        done = subprocess.run(
            words,
            input=None if given is None else os.fsencode(given),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
            env=environment,
        )
    except FileNotFoundError:
        raise PoolUnavailable(f"there is no {words[0]} on PATH", hint=hint) from None
    except subprocess.TimeoutExpired:
        raise PoolUnavailable(f"{words[0]} does not answer within {PATIENCE:.0f} s", hint=hint) from None
    # Whatever the encoding: names of other people's jobs are in it.
    printed, complaint = (stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr))
    if done.returncode:
        said = (complaint.strip() or printed.strip()).removeprefix(f"{words[0]}: ")
        if "ontact" in said or "configuration source" in said or "connect" in said:
            raise PoolUnavailable(f"{words[0]}: {said}", hint=hint)
        raise PoolError(f"{words[0]}: {said}")
    return printed


def queue(clusters: Iterable[str]) -> list[Task]:
    """The tasks of these array jobs that Slurm still knows.

    Raises:
        PoolError: It does not answer, or in words that nobody knows.
    """
    wanted = set(clusters)
    try:
        # Without --states finished ones are left out by newer versions, which Slurm remembers for MinJobAge
        # seconds.
        answer = call("squeue", "--json", "--states=all", f"--jobs={','.join(sorted(wanted))}")
    except PoolError as error:
        if "Invalid job id" in error.message:  # since 23.02, of a single job that it has forgotten
            return []
        raise
    try:
        return list(read_queue(json.loads(answer), wanted))
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise PoolError(
            f"what squeue --json answers cannot be read: {error}",
            hint="squeue --version tells Slurm's; 21.08 and later are known",
        ) from error


def largest_array() -> int:
    """How many tasks an array may have here."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", call("scontrol", "show", "config"), re.MULTILINE)
    return max(1, int(found[1])) if found else SMALL_ARRAY


def own_jobs() -> int:
    """How many tasks of this user Slurm has in its queue."""
    return len(call("squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%i").split())
