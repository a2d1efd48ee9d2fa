"""The job description of a map's workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from wingspan._words import notice
from wingspan.jobs import JobDescription, Resources, all_of, with_needs
from wingspan.maps._adopt import note_of
from wingspan.maps._entries import names_of_each
from wingspan.maps._errors import InvalidInputs, MapDamaged
from wingspan.maps._folder import MapFolder
from wingspan.maps._options import Options
from wingspan.maps._returning import WAITING_AT_SITE, comes_back, on_exit_remove
from wingspan.maps._shares import ARRIVED, Way, way_of
from wingspan.pools import Pool
from wingspan.worker import shares
from wingspan.worker.arriving import FIXED

if TYPE_CHECKING:
    from wingspan.environments.bundles import Bundle

__all__ = [
    "bundle_of",
    "check_largest",
    "check_site",
    "for_site",
    "operations_of",
    "output_name",
    "resources_of",
    "worker_job",
]


def output_name(first: int, process: int | str, ending: str) -> str:
    """Name of the file that worker `process` of a submission writes to; its first worker is `first`."""
    return f"{first}+{process}.{ending}" if first else f"{process}.{ending}"


def worker_job(
    folder: MapFolder,
    options: Options,
    pool: Pool,
    first: int,
    count: int,
    way: Way | None = None,
    sent: Path | None = None,
) -> JobDescription:
    """The job description of `count` workers, numbered from `first`.

    Args:
        folder: The map's.
        options: What they get.
        pool: Where they run.
        first: Number of the first.
        count: How many.
        way: How they reach the map; None: in the way of their pool.
        sent: Folder with what is sent to each, where they reach it by ``"transfer"``.
    """
    path = folder.path
    archive = str(path / "worker.pyz")
    returns = comes_back(folder, pool)
    submit = {"on_exit_remove": on_exit_remove(returns), **options.submit}
    max_idle = options.max_idle
    if max_idle is None and returns is not None and not pool.own:
        max_idle = WAITING_AT_SITE
    way = way or way_of(options, pool)
    executable, before, send = pool.launch()
    job = JobDescription(
        name=folder.info.tag,
        executable=executable,
        transfer_executable=send,
        arguments=(
            *before,
            *folder.info.interpreter.get("options", ()),
            archive if pool.shares_files else "worker.pyz",
            way,
            str(path),
            str(first),
            "$(Process)",
        ),
        input_files=() if pool.shares_files else (archive, *_urls_of(folder)),
        common_input_files=() if pool.shares_files else _kept_files_of(folder),
        reach=(*(folder.info.files or {}).get("reach", ()), *_earlier_folders(folder)),
        transfer_files=not pool.shares_files,
        count=count,
        working_dir=path,
        stdout=str(path / "workers" / output_name(first, "$(Process)", "out")),
        stderr=str(path / "workers" / output_name(first, "$(Process)", "err")),
        log=str(path / "events.log"),
        resources=resources_of(options),
        requirements=options.requirements,
        max_idle=max_idle,
        io_proxy=way == "chirp",
        note=note_of(first, count),
        custom={"WingspanMap": folder.info.id, **options.custom},
        submit=submit,
        sbatch=options.sbatch,
        notification=options.notification,
        notify_user=options.notify_user,
        comes_back=returns,
    )
    if way == "transfer":
        job = _with_share(job, path, sent or path)
    return _inside(for_site(job, options, pool), folder, pool)


def _with_share(job: JobDescription, path: Path, sent: Path) -> JobDescription:
    """`job`, whose workers find their share in their scratch folders, and leave there what they have done."""
    keeps = {
        "checkpoint_exit_code": str(shares.EXIT_CHECKPOINT),
        "transfer_checkpoint_files": shares.RECORDS,
    }
    return attrs.evolve(
        job,
        transfer_files=True,
        input_files=(*job.input_files, str(sent / f"{shares.SHARE}$(Process).zip")),
        common_input_files=(*job.common_input_files, str(sent / shares.MAP)),
        output_files=(shares.RECORDS,),
        keeps_output=True,
        working_dir=path / ARRIVED,
        submit={**keeps, **job.submit},
    )


def _earlier_folders(folder: MapFolder) -> Iterator[str]:
    """Of a chain: the folders of the maps whose outputs its workers read."""
    for name in (folder.info.chain or {"maps": ()})["maps"]:
        yield str(folder.path.parent / name)


def _kept_files_of(folder: MapFolder) -> tuple[str, ...]:
    """Files that all components get, and that lie in the map's folder."""
    fixed = (folder.info.files or {}).get("fixed", ())
    return tuple(str(folder.path / FIXED / name) for name, url in fixed if not url)


def _urls_of(folder: MapFolder) -> tuple[str, ...]:
    """URLs of files that all components get."""
    return tuple(url for _, url in (folder.info.files or {}).get("fixed", ()) if url)


def bundle_of(folder: MapFolder) -> Bundle | None:
    """The bundle that the map was made with; None: it has no locked environment.

    Raises:
        MapDamaged: The bundle is gone, or has changed.
    """
    delivery = folder.delivery
    return delivery.locate(folder.path, MapDamaged, f"the map {folder.info.tag!r}") if delivery else None


def _inside(job: JobDescription, folder: MapFolder, pool: Pool) -> JobDescription:
    """`job`, started inside the map's environment."""
    delivery, bundle = folder.delivery, bundle_of(folder)
    if delivery is None or bundle is None:
        return job
    from wingspan.delivery.carriage import OWN_DISK, carriage_to

    carriage = carriage_to(pool, bundle, delivery)
    archive = next(number for number, word in enumerate(job.arguments) if word.endswith("worker.pyz"))
    archive -= len(folder.info.interpreter.get("options", ()))
    job = carriage.around(job, ["python", *job.arguments[archive:]])
    resources = job.resources
    if resources.disk is None and not pool.shares_files:
        resources = attrs.evolve(resources, disk=carriage.disk + OWN_DISK)
    return attrs.evolve(
        job,
        resources=with_needs(resources, delivery.needs, memory=not pool.shares_files),
        requirements=all_of(job.requirements, *carriage.requirements),
    )


def for_site(job: JobDescription, options: Options, pool: Pool) -> JobDescription:
    """`job` with what the site wants of every job: attributes, accounting, the way in which it is told the
    time limit.

    Raises:
        SettingsError: The site does not let a job have what `options` ask for, or their profile cannot be
            used.
    """
    profile = options.profile
    if pool.renders_profile:
        return attrs.evolve(job, profile=profile)  # sbatch's options are made from it there
    if not pool.follows_site and profile is None:
        return job
    from wingspan.pools.profiles import chosen_profile

    return chosen_profile(profile).apply(job, options.switches)


#: Operations a second on a site's access point that the workers of one map may ask, where its profile names
#: none.
OPERATIONS = 500.0


def operations_of(options: Options, pool: Pool) -> float | None:
    """How many operations a second the workers of a map, all together, may ask of the access point; None: as
    many as they like.

    Raises:
        SettingsError: The profile cannot be used.
    """
    if not pool.follows_site and options.profile is None:
        return None
    from wingspan.pools.profiles import chosen_profile

    said = chosen_profile(options.profile).operations
    return said if said is not None or pool.transport == "file" else OPERATIONS


def check_site(options: Options, pool: Pool, folder: Path) -> None:
    """See that the site takes such workers, before anything is written.

    Args:
        options: What each worker gets.
        pool: Where they run.
        folder: Where maps are kept, and submitted from.

    Raises:
        SettingsError: It does not; its subclasses say why.
    """
    if options.workers == 0 or pool.elsewhere or (not pool.follows_site and options.profile is None):
        return
    from wingspan.pools.profiles import chosen_profile, submittable

    site = chosen_profile(options.profile)
    site.check_folder(folder)
    site.check(resources_of(options), options.switches)
    own = {
        name: [*getattr(options, name), *names_of_each(name, options.each)] for name in ("submit", "custom")
    }
    site.check_accounting(own["submit"], own["custom"])
    submittable(pool, options.profile, 1)


def check_largest(options: Options, pool: Pool, path: Path, size: int) -> None:
    """See that no file that goes to workers is larger than the site allows.

    Args:
        options: What each worker gets.
        pool: Where they run.
        path: The largest file.
        size: Bytes of it.

    Raises:
        InvalidInputs: The profile of the site says that it is too large.
    """
    if (
        pool.shares_files
        or pool.elsewhere
        or options.workers == 0
        or (not pool.follows_site and options.profile is None)
    ):
        return
    from wingspan.pools.profiles import chosen_profile, large_file

    site = chosen_profile(options.profile)
    found = large_file(site, path, size, 'Options(input_files=["osdf:///…"]), or file:///…')
    if found is not None and found.is_refused:
        raise InvalidInputs(found.said, hint=found.hint)
    if found is not None:
        notice(f"{found.said}; {found.hint}")


def resources_of(options: Options) -> Resources:
    """What each worker asks of a machine."""
    return Resources(
        cpus=options.request_cpus,
        memory=options.request_memory,
        disk=options.request_disk,
        gpus=options.request_gpus,
        time_limit=options.time,
        retry_memory=options.retry_memory,
        retry_disk=options.retry_disk,
    )
