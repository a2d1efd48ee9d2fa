"""A Slurm cluster: each submission is a job array, on a file system that login node and compute nodes share.

A job says itself when it begins and ends, in ``slurm/<array job>.<task>`` in the map's or run's folder, so
that its state needs no scheduler. squeue is asked seldom, and for everything at once: it knows what
a job cannot say, such as why it waits, or that it was cancelled.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from wingspan._python import this_python
from wingspan._shell import Shell, exports, filled, quoted, words
from wingspan.errors import PoolError, PoolUnavailable, SubmitError
from wingspan.jobs import JobDescription, Submission
from wingspan.pools import slurm_commands
from wingspan.pools._base import Action, Changed, JobState, PlainPool
from wingspan.pools.slurm_queue import Task, read_jobs_in, why_tasks_wait
from wingspan.pools.slurm_records import FOLDER, ON_NODE, SlurmWatcher, said
from wingspan.pools.text import clock, mebibytes
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.worker import trust

if TYPE_CHECKING:
    from wingspan.pools.gpus import Gpu

__all__ = ["SlurmPool"]

#: Workers of a map by default. Fewer than with HTCondor: sites limit the jobs that one person
#: may have (MaxSubmitJobs).
DEFAULT_WORKERS = 100
#: How often a command is repeated for tasks that it has left out: they may have changed before it came.
_TURNS = 3
_PROCESS = "$(Process)"
_BEFORE_THEIR_START = frozenset({JobState.IDLE, JobState.HELD})


class SlurmPool(PlainPool):
    """The Slurm cluster of this machine."""

    kind = "slurm"
    follows_site = True
    renders_profile = True
    hands_out_gpus = True
    sends_mail = True
    orders_jobs = True
    rewards_short_jobs = True
    shells: Literal["condor_ssh_to_job", "srun"] | None = "srun"

    def title(self) -> str:
        return "the site's Slurm cluster"

    def launch(self) -> tuple[str, tuple[str, ...], bool]:
        """This very Python, which the shared file system has."""
        return this_python(), (), False

    def make_ready(self, progress: Progress = NO_PROGRESS) -> None:
        """See that the controller answers."""
        if shutil.which("sbatch") is None:
            raise PoolUnavailable(
                "there is no sbatch on PATH", hint="work on the cluster's login node, or use another pool"
            )
        named = os.environ.get("SLURM_CONF")
        if named and not Path(named).is_file():  # Slurm's commands look for it for a minute
            raise PoolUnavailable(
                f"SLURM_CONF is {named}, which is not there",
                hint="unset it, or name the cluster's slurm.conf",
            )
        slurm_commands.call("sinfo", "--noheader", "--format=%R")

    def default_workers(self, count: int) -> int:
        return max(1, min(count, DEFAULT_WORKERS))

    def largest_submission(self, count: int) -> int:
        return count if count <= slurm_commands.SMALL_ARRAY else min(count, slurm_commands.largest_array())

    def queued_jobs(self) -> int | None:
        return slurm_commands.own_jobs()

    def gpus(self) -> list[Gpu]:
        raise PoolError(
            "the slurm pool does not list its GPUs", hint="sinfo -o '%N %G %f' shows those of a Slurm cluster"
        )

    def submit(self, job: JobDescription) -> Submission:
        if job.requirements:
            raise SubmitError(
                f"Slurm knows no requirements as HTCondor does: {job.requirements}",
                hint='Options(sbatch={"constraint": "…"}) says which nodes, or a site profile does: [profile.….sbatch]',
            )
        folder, options = job.working_dir, _options(job)
        assert folder is not None
        records = folder / FOLDER
        trust.make_folder(str(records))
        try:
            answer = slurm_commands.call("sbatch", *options, given=_script(job, records))
        except PoolUnavailable:
            raise
        except PoolError as error:
            raise SubmitError(
                f"Slurm refused the jobs: {error.message}",
                hint="sinfo shows partitions and their limits; a site profile says what sbatch is to be given "
                "([profile.….sbatch])",
            ) from error
        cluster = answer.strip().partition(";")[0]  # "id;cluster" where there are several
        return Submission(pool=self.kind, cluster=cluster, count=job.count)

    def describe(self, job: JobDescription) -> str:
        """The script, with what sbatch is told as ``#SBATCH`` lines."""
        assert job.working_dir is not None
        first, _, rest = _script(job, job.working_dir / FOLDER).partition("\n")
        options = "".join(f"#SBATCH {option}\n" for option in _options(job))
        return f"{first}\n{options}{rest}"

    def change(
        self, submissions: Sequence[Submission], *, memory: int | None = None, disk: int | None = None
    ) -> Changed:
        """Update tasks that wait (scontrol(1), MinMemoryNode). Jobs of ours ask Slurm for no disk."""
        tasks = slurm_commands.queue(submission.cluster for submission in submissions) if submissions else []
        waiting = [task.name for task in tasks if task.state in _BEFORE_THEIR_START]
        if memory is None:
            waiting = []
        refusal = _give_order("update", waiting, f"MinMemoryNode={mebibytes(memory)}") if memory else None
        if refusal is not None:
            raise refusal
        return Changed(changed=len(waiting), running=sum(task.state in ON_NODE for task in tasks))

    def why_waiting(self, submissions: Sequence[Submission], folder: Path) -> str | None:
        clusters = [submission.cluster for submission in submissions]
        told = why_tasks_wait(slurm_commands.queue(clusters))
        if told is None:
            return None
        nodes = None
        if told.has_nodes:
            with contextlib.suppress(PoolError):  # the reason is known all the same
                nodes = slurm_commands.nodes_for(clusters)
        return told.message + (f"; {nodes}" if nodes else "")

    def act(self, action: Action, submissions: Sequence[Submission], folder: Path, reason: str) -> None:
        """As HTCondor does it: a running job stops and waits again, held or not (scontrol(1), requeue)."""
        if not submissions:
            return
        clusters = [submission.cluster for submission in submissions]
        if action == "remove":
            slurm_commands.call("scancel", *clusters)
            return
        # Sent off its node a moment ago: it can be held and released when the node is done with it. Its own
        # last word may be about its end, not about the hold.
        deadline = time.monotonic() + slurm_commands.PATIENCE
        while (
            action in ("release", "hold")
            and time.monotonic() < deadline
            and any(
                task.is_ending and said(folder, task) is not JobState.COMPLETED
                for task in slurm_commands.queue(clusters)
            )
        ):
            time.sleep(1.0)
        if action == "release":
            _move(clusters, folder, {"release": {JobState.HELD}}, JobState.IDLE, None)
        elif action == "vacate":
            _move(clusters, folder, {"requeue incomplete": ON_NODE}, JobState.IDLE, None)
        else:
            orders = {"requeuehold incomplete": ON_NODE, "hold": {JobState.IDLE}}
            _move(clusters, folder, orders, JobState.HELD, reason)

    def find(self, folder: Path, *, ask: bool) -> list[tuple[Submission, str]]:
        if not ask:
            return []
        try:
            answer = slurm_commands.answered("--states=all", f"--user={os.getuid()}")
            found = read_jobs_in(answer, str(folder))
        except (PoolError, ValueError, TypeError, AttributeError, LookupError):
            return []
        return [
            (Submission(pool=self.kind, cluster=cluster, count=count), note)
            for cluster, (count, note) in found.items()
        ]

    def watch(self, submissions: Sequence[Submission], folder: Path) -> SlurmWatcher:
        return SlurmWatcher(list(submissions), folder / FOLDER)


def _move(
    clusters: Sequence[str],
    folder: Path,
    orders: Mapping[str, Collection[JobState]],
    state: JobState,
    reason: str | None,
) -> None:
    """Bring tasks into `state`, and write that down: nothing else would say so before Slurm is asked.

    Slurm does what it can of a command, and refuses all of it in words about one task that has changed
    meanwhile.

    Args:
        clusters: Array jobs.
        folder: Of the map or run.
        orders: Words for scontrol, and the states of the tasks that they are for.
        state: What the tasks are to be.
        reason: Why, for people who ask.

    Raises:
        PoolError: A task is not in it; the records of the others are written.
    """
    tried: set[str] = set()
    refusal: PoolError | None = None
    for turn in range(_TURNS + 1):
        tasks = {task.name: task for task in slurm_commands.queue(clusters)}
        left = {
            order: [task.name for task in tasks.values() if task.state in states and _is_open(task, folder)]
            for order, states in orders.items()
        }
        if turn == _TURNS or not any(left.values()):
            break
        for order, names in left.items():
            tried.update(names)
            refusal = _give_order(order, names) or refusal
    undone = {name for names in left.values() for name in names}
    for name in sorted(tried - undone):
        task = tasks.get(name)
        if task is None or task.state.is_final or said(folder, task) is JobState.COMPLETED:
            continue  # it has ended
        facts = {"state": state.value, "time": time.time(), "reason": reason}
        with open(folder / FOLDER / f"{task.cluster}.{task.number}", "ab", opener=trust.opener) as file:
            file.write(json.dumps(facts).encode() + b"\n")
    if undone:
        raise refusal or PoolError(
            f"{len(undone):,} tasks are not {state.value} yet, {min(undone)} for one", hint="try again"
        )


def _is_open(task: Task, folder: Path) -> bool:
    """The task has not ended, by Slurm's word and by its own, and is not leaving its node."""
    return (
        not task.state.is_final
        and not (task.is_ending and task.state in ON_NODE)
        and said(folder, task) is not JobState.COMPLETED
    )


def _give_order(order: str, names: Sequence[str], *more: str) -> PoolError | None:
    """Have scontrol do something to these tasks, some hundred at a time.

    Returns:
        The last refusal, or None.

    Raises:
        PoolUnavailable: It does not answer.
    """
    refusal = None
    for begin in range(0, len(names), 500):
        try:
            named = ",".join(names[begin : begin + 500])
            slurm_commands.call("scontrol", *order.split(), f"JobId={named}" if more else named, *more)
        except PoolUnavailable:
            raise
        except PoolError as error:
            refusal = error
    return refusal


#: HTCondor's words for when to mail, in Slurm's (sbatch(1)).
_MAIL_TYPES = {"complete": "END", "error": "FAIL", "always": "ALL"}


def _options(job: JobDescription) -> list[str]:
    """What sbatch is told (sbatch(1)); what a site wants in addition is in its profile."""
    from wingspan.pools.profiles import chosen_profile

    resources = job.resources

    def output(path: str | None) -> str:
        if job.first:  # sbatch cannot count from there; the script does
            return "/dev/null"
        return (path or "/dev/null").replace("%", "%%").replace(_PROCESS, "%a")

    profile = chosen_profile(job.profile)
    if {"clusters", "cluster"} & profile.sbatch.keys():
        raise SubmitError(
            f"the profile {profile.name} sends jobs to other clusters (clusters = …), and there nobody would look after them",
            hint="take it out of the profile and work on that cluster's own login node; files of wingspan render may have it",
        )
    options = [
        "--parsable",
        f"--job-name={job.name}",
        f"--chdir={job.working_dir}",
        f"--array=0-{job.count - 1}",
        f"--output={output(job.stdout)}",
        f"--error={output(job.stderr)}",
        "--open-mode=append",
        "--requeue",
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={resources.cpus}",
    ]
    if resources.memory:
        options.append(f"--mem={mebibytes(resources.memory)}M")
    if resources.time_limit:
        options.append(f"--time={clock(resources.time_limit)}")
    if resources.gpus:
        options.append(f"--gpus-per-node={resources.gpus}")
    if job.after:
        clusters = ":".join(submission.cluster for submission in job.after)
        options.append(f"--dependency={'afterany' if job.after_end else 'after'}:{clusters}")
    if job.note:
        options.append(f"--comment={job.note}")
    if job.notification != "never":
        options.append(f"--mail-type={_MAIL_TYPES[job.notification]}")
    if job.notify_user:
        options.append(f"--mail-user={job.notify_user}")
    more = profile.sbatch_options(resources, job.sbatch)
    return [
        *options,
        *(f"--{name}" if value is True else f"--{name}={value}" for name, value in more.items()),
    ]


def _script(job: JobDescription, records: Path) -> str:
    number = f"$((SLURM_ARRAY_TASK_ID + {job.first}))" if job.first else "$SLURM_ARRAY_TASK_ID"

    def word(text: str) -> Shell:
        return Shell(
            f'"{number}"'.join(quoted(piece) if piece else "" for piece in text.split(_PROCESS)) or "''"
        )

    streams = (job.stdout or os.devnull, job.stderr or os.devnull)
    redirection = Shell("exec >>{} 2>>{}".format(*map(word, streams)) if job.first else "")
    return filled(
        Path(__file__).with_name("slurm_job.sh"),
        folder=str(records),
        redirection=redirection,
        variables=Shell("\n".join(exports(job.environment))),
        command=words(map(word, (job.executable, *job.arguments))),
    )
