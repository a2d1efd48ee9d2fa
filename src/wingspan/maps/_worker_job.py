"""The job that a worker is, in no engine's words."""

from __future__ import annotations

from wingspan.jobs import JobDescription, Resources
from wingspan.maps._folder import MapFolder
from wingspan.maps._options import Options
from wingspan.pools import Pool

__all__ = ["for_site", "output_name", "worker_job"]


def output_name(first: int, process: int | str, ending: str) -> str:
    """Name of the file that worker `process` of a submission writes to, whose workers are numbered from `first`."""
    return f"{first}+{process}.{ending}" if first else f"{process}.{ending}"


def worker_job(folder: MapFolder, options: Options, pool: Pool, first: int, count: int) -> JobDescription:
    """The job description of `count` workers, numbered from `first`."""
    path = folder.path
    archive = str(path / "worker.pyz")
    # A process that dies of a signal (an out-of-memory kill, an operator's kill -9) comes back and resumes what it claimed, five times.
    submit = {
        "on_exit_remove": "(ExitBySignal =!= true && ExitCode =!= 75) || NumJobStarts >= 5",
        **options.submit,
    }
    executable, before, send = pool.launch()
    job = JobDescription(
        name=folder.info["tag"],
        executable=executable,
        transfer_executable=send,
        arguments=(
            *before,
            archive if pool.shares_files else "worker.pyz",
            pool.transport,
            str(path),
            str(first),
            "$(Process)",
        ),
        input_files=() if pool.shares_files else (archive,),
        transfer_files=not pool.shares_files,
        count=count,
        working_dir=path,
        stdout=str(path / "workers" / output_name(first, "$(Process)", "out")),
        stderr=str(path / "workers" / output_name(first, "$(Process)", "err")),
        log=str(path / "events.log"),
        resources=Resources(
            cpus=options.request_cpus,
            memory=options.request_memory,
            disk=options.request_disk,
            gpus=options.request_gpus,
            time_limit=options.time,
        ),
        requirements=options.requirements,
        max_idle=options.max_idle,
        io_proxy=pool.transport == "chirp",
        custom={"WingspanMap": folder.info["id"], **options.custom},
        submit=submit,
    )
    return for_site(job, options, pool)


def for_site(job: JobDescription, options: Options, pool: Pool) -> JobDescription:
    """`job` with what the site's profile makes of a time limit, which HTCondor has no word for."""
    if options.time is None or pool.kind != "htcondor":
        return job
    from wingspan.pools.profiles import find_profile

    return find_profile().apply(job)
