"""The parts of a submit description that maps and runs have alike."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from wingspan.jobs import JobDescription, Resources, all_of
from wingspan.pools.submit_description import classad_literal, joined, larger, submit_line
from wingspan.pools.text import DEFAULT_MEMORY, Reasoned, mebibytes

if TYPE_CHECKING:
    from wingspan.pools.profiles import Profile

__all__ = ["profile_lines", "requirement_lines", "resource_lines", "site_profile"]


def resource_lines(text: Reasoned, resources: Resources, disk: int) -> None:
    """What a job needs of a machine; `disk` in bytes."""
    unsaid = (
        ""
        if resources.memory
        else " Nobody said how much memory: 2 GB is a guess; condor_q -analyze and the log tell better."
    )
    text.say(
        f"What a job needs of a machine. It is held if it takes more memory, so leave room.{unsaid}",
        f"request_cpus = {resources.cpus}",
        f"request_memory = {mebibytes(resources.memory or DEFAULT_MEMORY)}MB",
        f"request_disk = {mebibytes(disk)}MB",
    )
    retries = [
        f"retry_request_{what} = {', '.join(f'{mebibytes(size)}MB' for size in sizes)}"
        for what, sizes in (
            ("memory", larger(resources.memory, resources.retry_memory)),
            ("disk", larger(disk, resources.retry_disk)),
        )
        if sizes
    ]
    if retries:
        text.say(
            "A job that took too much is done again with more, one size after the other. HTCondor 25.10 and later.",
            *retries,
        )
    if resources.time_limit:
        text.say(
            "Longer than this, and something is wrong.", f"allowed_execute_duration = {resources.time_limit}"
        )
    if resources.gpus:
        text.say(
            "GPUs. These commands test the very device that the job will get; a requirements line would test the machine. "
            "The runtime is CUDA's, as the driver supports it, and one major version is enough.",
            f"request_gpus = {resources.gpus}",
            _line("gpus_minimum_capability", resources.gpus_minimum_capability),
            _line("gpus_maximum_capability", resources.gpus_maximum_capability),
            _line("gpus_minimum_runtime", resources.gpus_minimum_runtime),
            None
            if resources.gpus_minimum_memory is None
            else f"gpus_minimum_memory = {mebibytes(resources.gpus_minimum_memory)}MB",
        )


def requirement_lines(text: Reasoned, urls: Collection[str], *others: str | None) -> None:
    """Requirements on machines beside the resources, in one line: what is mounted to read `urls`, and
    `others`.

    HTCondor takes the last ``requirements`` of a submit description and forgets those before.
    """
    from wingspan.stores import mount_requirement

    wanted = all_of(*others, mount_requirement(urls))
    if wanted is not None:
        text.say(
            "What a machine must be beside that. One line: a second one would replace it.",
            submit_line("requirements", joined(wanted)),
        )


def _line(name: str, value: object) -> str | None:
    return None if value is None else f"{name} = {value}"


def profile_lines(
    text: Reasoned, job: JobDescription, profile: str | None, switches: Collection[str] = ()
) -> None:
    """Add what a site wants beside HTCondor's own. Without a name, the profile is the one of this machine.

    Args:
        text: The submit description so far.
        job: What the description asks for. It has the job's own attributes and commands already, and HTCondor
            takes the last line of a name: what the site would say in their place is left out.
        profile, switches: The site's profile, and what is turned on in it.

    Raises:
        SettingsError: There is no such profile or switch, or the site does not allow what `job` asks for.
    """
    applied = site_profile(profile).apply(job, switches)
    wanted = [
        submit_line(f"+{name}", classad_literal(value))
        for name, value in applied.custom.items()
        if name not in job.custom
    ]
    wanted += [
        submit_line(name, joined(str(value)))
        for name, value in applied.submit.items()
        if name not in job.submit
    ]
    if applied.max_idle != job.max_idle:
        wanted.append(f"max_idle = {applied.max_idle}")
    if wanted:
        site = site_profile(profile)
        text.say(f"What {site.title or site.name} wants to know beside HTCondor's own.", *wanted)


def most_at_once(profile: str | None, count: int) -> int:
    """How many of `count` jobs one submission may have, by the site's rules; the argument is that of
    `site_profile`.
    """
    return min(count, site_profile(profile).queue.per_submission or count)


def site_profile(name: str | None) -> Profile:
    """The profile of that name, or of this machine.

    Raises:
        SettingsError: There is no such profile.
    """
    from wingspan.pools.profiles import chosen_profile

    return chosen_profile(name)
