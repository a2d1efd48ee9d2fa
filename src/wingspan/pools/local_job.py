"""Any command as plain processes on this machine: the local pool's way of executing runs.

A supervisor, `wingspan.pools.local_supervisor`, is detached from the caller. It starts the processes of a
submission, as many at a time as there are cores for them, and appends what happens to ``local.log`` in the
run's folder. That it is alive is known by a lock on ``workers/<cluster>.run``, as with the workers of maps
(see `wingspan.pools.local`), so that the same code ends it.

Each process and its children hold the lock on ``workers/<cluster>.<process>.job``, a file that goes when they
have ended. If the supervisor is killed, nobody could tell how they end. So they are ended: on Linux at once,
elsewhere by the next process that looks at the run.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import attrs

from wingspan._python import this_python
from wingspan.jobs import JobDescription, Submission
from wingspan.pools._base import JobEvent, JobState
from wingspan.pools.local_supervisor import end_group
from wingspan.pools.outliving import let_go
from wingspan.worker import trust
from wingspan.worker.idle import run_facts

__all__ = ["LocalJobWatcher", "end_orphans", "is_alive", "is_local_job", "lock_holders", "submit_local_job"]

#: What a line raises that a crash has left half-written.
_TORN = (ValueError, TypeError, KeyError, AttributeError)
_PREFIX = "process-"
#: Seconds for a job to end by itself before it is killed.
_PATIENCE = 3.0


def is_local_job(submission: Submission) -> bool:
    """The jobs were submitted by `submit_local_job`."""
    return submission.cluster.startswith(_PREFIX)


def submit_local_job(job: JobDescription) -> Submission:
    """Start a supervisor for the processes of `job`, in a session of its own."""
    folder = job.working_dir
    assert folder is not None
    cluster = f"{_PREFIX}{os.getpid()}-{time.time_ns()}"
    trust.make_folder(str(folder / "workers"))
    order = {
        "cluster": cluster,
        "note": job.note,
        "count": job.count,
        "cpus": job.resources.cpus,
        "command": [job.executable, *job.arguments],
        "environment": dict(job.environment),
        "stdout": str(job.stdout),
        "stderr": str(job.stderr),
        "time_limit": job.resources.time_limit,
        "patience": _PATIENCE,
    }
    facts = {"cluster": cluster, "proc": job.count - 1, "note": job.note}
    lock = os.open(folder / "workers" / f"{cluster}.run", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.pwrite(lock, run_facts(facts, None), 0)
        # The supervisor itself writes its process id: if this process dies here, nothing is half written.
        with open(folder / "workers" / "supervisor.err", "ab", opener=trust.opener) as errors:
            process = subprocess.Popen(
                [this_python(), "-m", "wingspan.pools.local_supervisor", str(folder), json.dumps(order)],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
                pass_fds=(lock,),
                cwd=folder,  # `python -m` imports from there first: not from the user's own files
            )
        let_go(process)
    finally:
        os.close(lock)
    return Submission(pool="local", cluster=cluster, count=job.count)


def orphans(folder: Path, cluster: str = "*") -> list[Path]:
    """Lock files of processes that run on though their supervisor is gone."""
    return [
        path
        for path in sorted((folder / "workers").glob(f"{cluster}.*.job"))
        if not is_alive(path.with_name(f"{path.name.split('.')[0]}.run")) and is_alive(path)
    ]


def end_orphans(folder: Path, cluster: str = "*") -> list[Path]:
    """End processes whose supervisor is gone: SIGTERM, and after `_PATIENCE` seconds SIGKILL.

    Returns:
        The files of those that are still there.
    """
    left = orphans(folder, cluster)
    for path in left:
        try:
            pid, told = ([*map(float, path.read_bytes().split()), 0.0, 0.0])[:2]
        except (OSError, ValueError):
            continue
        if told and time.time() - told > _PATIENCE:
            end_group(int(pid), signal.SIGKILL)
            for holder in lock_holders(path):  # what has left its group
                with contextlib.suppress(OSError):
                    os.kill(holder, signal.SIGKILL)
        elif pid and not told:
            with contextlib.suppress(OSError):
                path.write_bytes(b"%d %.3f" % (pid, time.time()))
            end_group(int(pid), signal.SIGTERM)
    return left


def lock_holders(path: Path) -> list[int]:
    """Processes that have this file open, where the kernel tells (Linux)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError), os.scandir(process / "fd") as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if path.samefile(entry.path):
                        found.append(int(process.name))
                        break
    return [pid for pid in found if pid != os.getpid()]


@attrs.define(eq=False, repr=False)
class LocalJobWatcher:
    """Reads ``local.log``; looks at the locks only when asked."""

    submissions: list[Submission]
    folder: Path
    _offset: int = 0

    def poll(self) -> Iterable[JobEvent]:
        events: list[JobEvent] = []
        try:
            with (self.folder / "local.log").open("rb") as file:
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._offset += len(line)
                    with contextlib.suppress(*_TORN):
                        facts = json.loads(line)
                        facts.pop("pid", None)
                        events.append(JobEvent(**{**facts, "state": JobState(facts["state"])}))
        except FileNotFoundError:
            pass
        return events

    def ask(self) -> Iterable[JobEvent]:
        """Those whose supervisor is gone: held by their owner, or lost (the machine was restarted)."""
        if is_alive(self.folder / "lock"):
            return []  # somebody ends jobs, or starts others in their place, this moment
        # Locks first: a supervisor that ends between the two looks has written everything down.
        gone = [
            submission
            for submission in self.submissions
            if not is_alive(self.folder / "workers" / f"{submission.cluster}.run")
        ]
        if not gone:
            return []
        told: dict[tuple[str, int], JobState] = {}
        for event in LocalJobWatcher(self.submissions, self.folder).poll():
            told[(event.cluster, event.proc)] = event.state
        held = (self.folder / "held").exists()
        reason = (
            "held by its owner" if held else "its process is gone: it was ended, or the machine restarted"
        )
        events = []
        for submission in gone:
            ending = {path.name for path in end_orphans(self.folder, submission.cluster)}
            for process in range(submission.count):
                state = told.get((submission.cluster, process), JobState.IDLE)
                if not state.is_final and f"{submission.cluster}.{process}.job" not in ending:
                    events.append(
                        JobEvent(
                            cluster=submission.cluster,
                            proc=process,
                            state=JobState.HELD if held else JobState.REMOVED,
                            time=time.time(),
                            reason=reason,
                            by_person=held,
                        )
                    )
        return events

    def close(self) -> None:
        pass


def is_alive(path: Path) -> bool:
    """Some process holds the lock (flock(2)) on this file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
