"""What a profile changes, in sentences for people."""

from __future__ import annotations

import getpass
from collections.abc import Iterator

from wingspan._words import sized
from wingspan.jobs import size_text
from wingspan.pools.profiles._model import JobRules, Profile, duration_text

__all__ = ["effects"]


def effects(site: Profile) -> tuple[str, ...]:
    """What `site` wants, allows and refuses, a sentence each.

    >>> from wingspan.pools.profiles import load_profile
    >>> effects(load_profile("cern-spool"))[-2:]
    ('a submission has at most 100 jobs', 'a person has at most 500 jobs in the queue')
    """
    return (
        *_of_jobs("jobs", site.every),
        *_of_jobs("jobs without GPUs", site.cpu),
        *_of_jobs("GPU jobs", site.gpu),
        *_of_jobs("jobs that build an environment", site.build),
        *_of_places(site),
        *_of_numbers(site),
        *(f"--switch {switch.name}: {switch.help}" for switch in site.switches.values()),
    )


def _of_jobs(which: str, rules: JobRules) -> Iterator[str]:
    for name, value in rules.attributes.items():
        yield f"{which} say +{name} = {str(value).lower() if isinstance(value, bool) else value}"
    for name, command in rules.submit.items():
        yield f"{which} say {name} = {command}"
    if rules.walltime:
        classes = ", ".join(f"{each.value} ({duration_text(each.up_to)})" for each in rules.walltime.classes)
        yield f"{which} say {rules.walltime.attribute} by their time: {classes}"
    if rules.time_limit is not None:
        each = " from one checkpoint to the next" if rules.limit_per_checkpoint else ""
        yield f"{which} may take {duration_text(rules.time_limit)}{each}"
    if rules.disk_per_cpu is not None:
        yield f"{which} get {size_text(rules.disk_per_cpu)} of disk for each core"
    for what, why in (
        ("shell", rules.no_ssh),
        ("chirp channel", rules.no_chirp),
        ("user namespace", rules.no_user_namespaces),
    ):
        if why:
            yield f"{which} have no {what}: {why}"


def _of_places(site: Profile) -> Iterator[str]:
    if site.access_points:
        builds = "builds on one core" if site.builds else "no builds"
        yield f"nothing computes on {', '.join(site.access_points)}: no personal pool, no local processes, {builds}"
    if not site.builds:
        yield "no image is built there" + (f": {site.build_hint}" if site.build_hint else "")
    for folder, why in site.no_submit_from.items():
        if why:
            yield f"nothing is submitted from {folder}: {why}"
    for folder, why in site.only_submit_from.items():
        if why:
            yield f"jobs are submitted from {folder} only: {why}"
    if site.staging:
        through = f", and get there through {site.transfer_host}" if site.transfer_host else ""
        yield f"large files lie in {site.staging_folder(getpass.getuser())}{through}"
        yield (
            f"inputs above {sized(site.limits.transfer)} do not go through the access point; bundles above "
            f"{sized(site.limits.url)} are read from the folder"
        )


def _of_numbers(site: Profile) -> Iterator[str]:
    if site.accounting is not None:
        yield f"every job says {site.accounting.command}, such as {site.accounting.example}"
    if site.queue.per_submission is not None:
        yield f"a submission has at most {site.queue.per_submission:,} jobs"
    if site.queue.per_owner is not None:
        few = f"; a larger submission gets max_idle = {site.queue.max_idle:,}" if site.queue.max_idle else ""
        yield f"a person has at most {site.queue.per_owner:,} jobs in the queue{few}"
    if site.operations is not None:
        yield f"the workers of a map ask the access point at most {site.operations:g} times a second"
    for name, value in site.sbatch.items():
        yield f"sbatch gets --{name}={value}"
    if site.slurm_gpus:
        kinds = ", ".join(f"{gpu.constraint} ({gpu.capability})" for gpu in site.slurm_gpus)
        yield f"GPUs are asked for by --constraint: {kinds}"
