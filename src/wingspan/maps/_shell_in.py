"""A shell beside the worker that is at a component."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wingspan.delivery.shells import shell_beside
from wingspan.maps._components import NOTHING
from wingspan.maps._errors import MapError
from wingspan.maps._worker_job import bundle_of, resources_of
from wingspan.pools import JobState, get_pool
from wingspan.pools.ssh_connection import shell_there

__all__ = ["shell_at_component"]


def shell_at_component(m: Any, component: int, command: Sequence[str] = ()) -> Callable[[], int]:
    """A shell beside the worker that is at a component, in its job's folder and environment.

    Args:
        m: A `wingspan.Map`, whose module imports this one.
        component: Its number.
        command: Program and arguments instead of an interactive shell.

    Returns:
        A function that opens it on this terminal and returns its exit code; it raises `MapError` when none
        starts.

    Raises:
        IndexError: There is no such component.
        MapError: No worker is at it, or its pool has no way into it.
    """
    number = m._component(component)
    m._keeper.refresh()
    keeper = m._keeper
    start = next((one for one in keeper.results.at_work() if one.component == number), None)
    job = keeper.jobs.by_worker.get(start.number) if start is not None else None
    if start is None or (job is not None and job.state is not JobState.RUNNING):
        done = keeper.results.state[number] != NOTHING
        raise MapError(
            f"no worker is at component {number} of the map {m.tag!r}{': it is done' if done else ''}",
            hint=f"wingspan components {m.tag} --status running lists those that are being done, but for what takes "
            "less than half a second",
        )
    host = (start.facts or {}).get("host")
    where = f"what it prints: wingspan stdout -f {m.tag} {number}; it is on {host}, process {(start.facts or {}).get('pid')}"
    entry = next((one for one in m._folder.submissions.entries() if start.number in one.numbers), None)
    if entry is None:
        raise MapError(
            f"the worker of component {number} was started by hand, nobody knows its job", hint=where
        )
    pool = get_pool(entry.pool, entry.place)
    if pool.shells == "condor_ssh_to_job" and pool.follows_site:
        from wingspan.delivery.render import site_profile

        reason = site_profile(m.options.profile).no_ssh(resources_of(m.options))
        if reason is not None:
            raise MapError(
                f"no shell can be opened beside a component of the map {m.tag!r}: {reason}", hint=where
            )
    if pool.elsewhere:
        return shell_there(pool.kind, ["ssh", m.tag, str(number), *(["--", *command] if command else [])])
    process = start.number - entry.first
    opens = shell_beside(pool, entry.cluster, process, bundle_of(m._folder), command, MapError)
    if opens is None:
        raise MapError(
            f"a worker of the {pool.kind} pool is nothing but processes of this machine: there is no way into it",
            hint=where,
        )
    return opens
