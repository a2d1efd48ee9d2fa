"""Workers that wait between the maps of a personal pool, and do what can be done until HTCondor has started a
map's jobs.

HTCondor needs about a second for a job that comes close behind another. A map's jobs are submitted as ever,
and everything that is known of them is known from HTCondor; but where the pool has room for them, each may be
lent a warm worker, a process of this machine with the environment of the pool's jobs. It works as the worker
that the job will be. Once the job has its slot, it waits in it until the warm worker has ended
(`wingspan.worker.idle.give_way`), which takes no further work after `RETIRES_SECONDS`: whatever takes long is
done by jobs. A warm worker that waits holds no slot and no file of a map, so nothing has to wait for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wingspan.jobs import JobDescription, Submission
from wingspan.pools.local import LocalPool
from wingspan.pools.personal.identity import choose_identity
from wingspan.worker import trust
from wingspan.worker.idle import REMEMBER, run_facts

if TYPE_CHECKING:
    from wingspan.pools.personal import PersonalPool

__all__ = ["PROJECTION", "Lent", "WarmWorkers", "room"]

#: A warm worker takes no more work when so much time has gone by since it was lent (s).
RETIRES_SECONDS = 3.0
#: What is asked of the jobs in the queue.
PROJECTION = ("RequestCpus", "RequestMemory", "WingspanMap", "Iwd", "Args", "Arguments")
#: What a job gets that asks for no memory (HTCondor's JOB_DEFAULT_REQUESTMEMORY, MiB).
_USUAL_MEMORY = 128
#: A job's own submit commands with which a warm worker can stand for it.
_ORDINARY = frozenset({"on_exit_remove", "job_lease_duration"})
#: Variables that differ from job to job, or that lead to something that a warm worker does not have.
_OF_THE_JOB = ("_CONDOR_ANCESTOR_", "_CONDOR_CHIRP", "_CONDOR_JOB_PIDS", "CONDOR_STARTER_PID")
#: Seconds for a warm worker to end by itself before it is killed.
_PATIENCE = 5.0


def _number(value: Any, default: int) -> int:
    """A ClassAd value; an expression of the job's own (a request that grows with what it used) counts as
    `default`.
    """
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _is_dry(ad: Mapping[str, Any]) -> bool:
    """The job is a worker's whose warm worker has left nothing to do: it is about to end, or to be
    removed.
    """
    if not ad.get("WingspanMap"):
        return False
    words = str(ad.get("Args") or ad.get("Arguments") or "").split()
    try:
        number = int(words[-2]) + int(words[-1])
        return bool(json.loads(Path(str(ad["Iwd"]), "workers", f"{number}.run").read_bytes()).get("dry"))
    except (OSError, ValueError, IndexError, KeyError):
        return False


def room(ads: Sequence[Mapping[str, Any]], job: JobDescription, cpus: int, memory: int) -> int:
    """For how many such jobs a pool has cores and memory, beside all jobs that run or wait.

    Args:
        ads: Ads of these jobs, as far as `PROJECTION` goes.
        job: It asks for this.
        cpus: Cores of the pool.
        memory: Its memory (MiB).

    >>> from wingspan.jobs import Resources
    >>> job = JobDescription(name="a", executable="a", resources=Resources(memory=2**30))
    >>> room([{"RequestCpus": 1, "RequestMemory": 2000}], job, 4, 4096)
    2
    """
    others = [ad for ad in ads if not _is_dry(ad)]
    for ad in others:
        cpus -= _number(ad.get("RequestCpus"), 1)
        memory -= _number(ad.get("RequestMemory"), _USUAL_MEMORY)
    own = -(-(job.resources.memory or 0) // 2**20) or _USUAL_MEMORY
    return max(0, min(cpus // job.resources.cpus, memory // own))


@attrs.define(eq=False, repr=False)
class Lent:
    """Warm workers for the first of a submission's jobs, on their way."""

    orders: list[dict[str, Any]]
    locks: list[int]
    command: list[str]
    idle_folder: Path
    environ: dict[str, str]
    workers: WarmWorkers

    def begin(self, submission: Submission) -> None:
        """The jobs are in the queue: let the warm workers begin."""
        for number, (order, lock) in enumerate(zip(self.orders, self.locks, strict=True)):
            order["job"] = {"cluster": submission.cluster, "proc": number}
            os.pwrite(lock, run_facts(order["job"], None), 0)
        # Whatever goes wrong here: the jobs do the work.
        with contextlib.suppress(OSError):
            self.workers._deal_out(self.orders, self.locks, self.command, self.idle_folder, self.environ)

    def close(self) -> None:
        """Let go of the locks; workers that have begun hold theirs."""
        for lock in self.locks:
            os.close(lock)


class WarmWorkers(LocalPool):
    """The warm workers of one personal pool: started, found and ended like those of the local one."""

    def __init__(self, personal: PersonalPool) -> None:
        super().__init__()
        self._personal = personal

    @property
    def _folder(self) -> Path:
        return self._personal.directory / "warm"

    def suits(self, job: JobDescription) -> bool:
        """A process that is no job of HTCondor's can stand for this one: it asks for cores and memory, and
        nothing else.
        """
        resources = job.resources
        return (
            job.custom.keys() == {"WingspanMap"}
            and job.submit.keys() <= _ORDINARY
            and not (job.requirements or job.container_image or job.transfer_files)
            and not (resources.gpus or resources.time_limit or resources.disk)
            and job.working_dir is not None
        )

    def _memory(self, job: JobDescription) -> Path:
        """The file that holds the environment of jobs like this one."""
        facts = repr((job.resources.cpus, sorted(job.environment.items())))
        return self._folder / f"{hashlib.sha256(facts.encode()).hexdigest()[:16]}.json"

    def prepared(self, job: JobDescription) -> JobDescription:
        """`job`, which also writes down its environment, if that is not known yet."""
        memory = self._memory(job)
        if memory.exists():
            return job
        trust.make_folder(str(self._folder))
        return attrs.evolve(job, environment={**job.environment, REMEMBER: str(memory)})

    def lend(self, job: JobDescription, count: int) -> Lent | None:
        """Warm workers for the first `count` of the jobs, if it is known what jobs of this pool find."""
        try:
            told = json.loads(self._memory(job).read_bytes())
        except (OSError, ValueError):
            return None
        *before, archive, _, map_folder, first, _ = job.arguments
        folder = job.working_dir
        assert folder is not None
        command = [*self._as_jobs_are(), job.executable, *before, archive]
        base = {
            name: value
            for name, value in told["environment"].items()
            if not name.startswith(_OF_THE_JOB) and name != REMEMBER
        }
        if not told["scratch"]:
            return None
        # The processes themselves keep their files in a folder that stays.
        environ = {name: value.replace(told["scratch"], str(self._folder)) for name, value in base.items()}
        # for the workers alone: what they execute must not have it, as a job has not
        if "WINGSPAN_IDLE_SECONDS" in os.environ:
            environ["WINGSPAN_IDLE_SECONDS"] = os.environ["WINGSPAN_IDLE_SECONDS"]
        orders = []
        for process in range(count):
            scratch = str(self._folder / f"{os.getpid()}-{time.time_ns()}-{process}")
            own = {name: value.replace(told["scratch"], scratch) for name, value in base.items()}
            own["_CONDOR_JOB_IWD"] = str(folder)
            orders.append(
                {
                    "map": map_folder,
                    "worker": int(first) + process,
                    "job": {"cluster": "", "proc": process},
                    "folder": scratch,
                    "scratch": scratch,
                    "files": told["files"],
                    "environ": own,
                    # The worker may have been started for a map that is gone: what its children import lies
                    # in this one's.
                    "path": [archive],
                    "stdout": str(job.stdout).replace("$(Process)", str(process)),
                    "stderr": str(job.stderr).replace("$(Process)", str(process)),
                    "retires": RETIRES_SECONDS,
                }
            )
        locks = [self._lock(folder, order) for order in orders]
        return Lent(orders, locks, command, self._idle_folder(command, environ), environ, self)

    @staticmethod
    def _as_jobs_are() -> list[str]:
        """Words that start a command as the account that the pool's jobs see themselves as."""
        owner = choose_identity()
        unshare = shutil.which("unshare") if owner.namespace else None
        if unshare is None:
            return []
        return [unshare, "--user", f"--map-user={owner.uid}", f"--map-group={owner.gid}", "--"]

    def _spawn(
        self, command: Sequence[str], idle_folder: Path, count: int, environ: dict[str, str], stderr: str
    ) -> list[socket.socket]:
        """Start `count` workers that are no children of this process.

        Children that have ended stay as zombies, and seem alive to a process that waits for their end.
        """
        orphans = ["/bin/sh", "-c", '"$@" & ', "sh", *command]
        return super()._spawn(orphans, idle_folder, count, environ, stderr)

    @staticmethod
    def _let_go(process: subprocess.Popen[bytes]) -> None:
        process.wait()  # the shell; the workers are not its children any more

    def end(self, submissions: Sequence[Submission], folder: Path) -> None:
        """End the warm workers that work for these jobs, as HTCondor ends the jobs; they are gone when this
        returns.

        Those whose work is done are left alone: the exit functions of their executors may take a moment, and
        nobody waits for that.
        """
        clusters = {submission.cluster for submission in submissions}
        begun, told = time.monotonic(), set[int]()
        while (waited := time.monotonic() - begun) < 2 * _PATIENCE:
            running = [
                facts
                for _, facts in self._running(folder)
                if facts.get("cluster") in clusters and not facts.get("ending")
            ]
            if not running:
                return
            for facts in running:
                pid = facts.get("pid")
                if pid and (pid not in told or waited > _PATIENCE):
                    told.add(pid)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL if waited > _PATIENCE else signal.SIGTERM)
            time.sleep(0.005)
