"""Slurm's commands, as the pool calls them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

from wingspan.errors import PoolError, PoolUnavailable
from wingspan.pools.slurm_nodes import NODES, WISHES, read_nodes, read_wishes, what_nodes_say
from wingspan.pools.slurm_queue import Task, read_queue
from wingspan.pools.slurm_text import FORMAT, lacks_json, read_columns

__all__ = [
    "PATIENCE",
    "SMALL_ARRAY",
    "answered",
    "call",
    "largest_array",
    "nodes_for",
    "own_jobs",
    "queue",
]

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
        answer = answered("--states=all", f"--jobs={','.join(sorted(wanted))}")
    except PoolError as error:
        if "Invalid job id" in error.message:  # since 23.02, of a single job that it has forgotten
            return []
        raise
    try:
        return list(read_queue(answer, wanted))
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise _unreadable(error) from error


#: squeue of this machine knows ``--json``; None: nobody has asked yet.
_has_json: bool | None = None


def answered(*options: str) -> Mapping[str, Any]:
    """What squeue says of jobs: by ``--json``, which it has since 21.08, else in columns.

    Raises:
        PoolError: It does not answer, or in words that nobody knows.
    """
    global _has_json  # noqa: PLW0603 - the program stays the same
    if _has_json is not False:
        try:
            text = call("squeue", "--json", *options)
            _has_json = True
        except PoolUnavailable:
            raise
        except PoolError as error:
            if _has_json or not lacks_json(error.message):
                raise
            _has_json = False
        else:
            try:
                answer: Mapping[str, Any] = json.loads(text)
            except ValueError as error:
                raise _unreadable(error) from error
            return answer
    return read_columns(call("squeue", "--noheader", "--array", *options, f"--Format={FORMAT}"))


def _unreadable(error: Exception) -> PoolError:
    return PoolError(
        f"what squeue answers cannot be read: {error}",
        hint="squeue --version tells Slurm's; 20.11 and later are known",
    )


def nodes_for(clusters: Iterable[str]) -> str | None:
    """Which nodes could run the tasks of these array jobs that wait, for people; None: nobody tells.

    Raises:
        PoolError: Slurm does not answer.
    """
    named = f"--jobs={','.join(sorted(clusters))}"
    wishes = list(read_wishes(call("squeue", "--noheader", "--states=PENDING", named, f"--format={WISHES}")))
    if not wishes:
        return None
    groups = list(read_nodes(call("sinfo", "--noheader", "--exact", f"--format={NODES}")))
    return what_nodes_say(wishes[0], groups)


def largest_array() -> int:
    """How many tasks an array may have here."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", call("scontrol", "show", "config"), re.MULTILINE)
    return max(1, int(found[1])) if found else SMALL_ARRAY


def own_jobs() -> int:
    """How many tasks of this user Slurm has in its queue."""
    return len(call("squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%i").split())
