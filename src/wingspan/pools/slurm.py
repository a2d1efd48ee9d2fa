"""A Slurm cluster: each submission is a job array, on a file system that login node and compute nodes share.

A job says itself when it begins and ends, in ``slurm/<array job>.<task>`` in the map's or run's folder, so that its state needs no
scheduler. `squeue --json` is asked seldom, and for everything at once: it knows what a job cannot say, such as why it
waits, or that it was cancelled.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from wingspan._python import this_python
from wingspan._shell import Shell, exports, filled, quoted, words
from wingspan.errors import PoolError, PoolUnavailable, SubmitError
from wingspan.jobs import JobDescription, Resources, Submission
from wingspan.pools._base import Action, JobEvent, JobState
from wingspan.pools.slurm_queue import Task, read_jobs_in, read_queue, why_tasks_wait
from wingspan.pools.text import clock, mebibytes
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.worker import trust

if TYPE_CHECKING:
    from wingspan.pools.gpus import Gpu

__all__ = ["SlurmPool"]

#: Workers of a map when nobody says how many. Fewer than with HTCondor: sites limit the jobs that one person may have (MaxSubmitJobs).
DEFAULT_WORKERS = 100
#: Seconds after which a command of Slurm's is given up: it retries by itself before.
_PATIENCE = 60.0
#: Arrays up to so many tasks are taken to be allowed everywhere: MaxArraySize is 1001 where a site says nothing.
_SMALL_ARRAY = 100
#: So often it is looked at what a command has left undone: tasks may change between a question and a command.
_TURNS = 3
#: States of tasks that are on a node.
_ON_NODE = frozenset({JobState.RUNNING, JobState.SUSPENDED})
_FOLDER = "slurm"
_PROCESS = "$(Process)"


def _call(*words: str, given: str | None = None) -> str:
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
            timeout=_PATIENCE,
            check=False,
            env=environment,
        )
    except FileNotFoundError:
        raise PoolUnavailable(f"there is no {words[0]} on PATH", hint=hint) from None
    except subprocess.TimeoutExpired:
        raise PoolUnavailable(f"{words[0]} does not answer within {_PATIENCE:.0f} s", hint=hint) from None
    # Whatever the encoding: names of other people's jobs are in it.
    printed, complaint = (stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr))
    if done.returncode:
        said = (complaint.strip() or printed.strip()).removeprefix(f"{words[0]}: ")
        if "ontact" in said or "configuration source" in said or "connect" in said:
            raise PoolUnavailable(f"{words[0]}: {said}", hint=hint)
        raise PoolError(f"{words[0]}: {said}")
    return printed


def _queue(clusters: Iterable[str]) -> list[Task]:
    """The tasks of these array jobs that Slurm still knows.

    Raises:
        PoolError: It does not answer, or in words that nobody knows.
    """
    wanted = set(clusters)
    try:
        # Without --states finished ones are left out by newer versions, which Slurm remembers for MinJobAge seconds.
        answer = _call("squeue", "--json", "--states=all", f"--jobs={','.join(sorted(wanted))}")
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


def _largest_array() -> int:
    """How many tasks an array may have here."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _call("scontrol", "show", "config"), re.MULTILINE)
    return max(1, int(found[1])) if found else _SMALL_ARRAY


def _facts(line: bytes) -> dict[str, Any] | None:
    """A line of a record; None if it is none."""
    try:
        facts = json.loads(line)
        return {**facts, "state": JobState(facts["state"]), "time": float(facts["time"])}
    except (ValueError, KeyError, TypeError):
        return None  # of a job that was killed while it wrote: Slurm knows the rest


def _said(folder: Path, task: Task) -> JobState | None:
    """The state that a task's record tells: the last one, but an end stays an end."""
    try:
        lines = (folder / _FOLDER / f"{task.cluster}.{task.number}").read_bytes().splitlines()
    except FileNotFoundError:
        return None
    states = [facts["state"] for facts in map(_facts, lines) if facts]
    if JobState.COMPLETED in states:
        return JobState.COMPLETED
    return states[-1] if states else None


class SlurmPool:
    """The Slurm cluster of this machine."""

    kind = "slurm"
    place: str | None = None
    transport = "file"
    shares_files = True
    runs_here = False
    warms_up = False
    moves_files = False
    writes_log = False
    ends_held_jobs = False
    answers_at_once = False
    fetches_urls = False
    container_universe = False
    takes_requirements = False
    follows_site = True
    renders_profile = True
    hands_out_gpus = True
    own = False
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
        _call("sinfo", "--noheader", "--format=%R")

    def warm_up(self, archive: Path, count: int) -> None:
        """Slurm has its own pace."""

    def cool_down(self) -> None:
        """Nothing was prepared."""

    def default_workers(self, count: int) -> int:
        return max(1, min(count, DEFAULT_WORKERS))

    def largest_submission(self, count: int) -> int:
        return count if count <= _SMALL_ARRAY else min(count, _largest_array())

    def why_no_gpu(self, resources: Resources) -> tuple[str, str] | None:
        """sbatch itself refuses what no node has."""
        return None

    def check_gpus(self, job: JobDescription) -> None:
        """sbatch itself refuses what no node has."""

    def machine_ads(self, constraint: str, projection: Sequence[str] = ()) -> Sequence[Mapping[str, Any]]:
        """There are none."""
        return ()

    def tools(self) -> Mapping[str, str]:
        """There are none."""
        return {}

    def why_no_shell(self) -> str | None:
        """Nothing here tells."""
        return None

    def gpus(self) -> list[Gpu]:
        raise PoolError(
            "the slurm pool does not list its GPUs", hint="sinfo -o '%N %G %f' shows those of a Slurm cluster"
        )

    def submit(self, job: JobDescription) -> Submission:
        if job.requirements:
            raise SubmitError(
                f"Slurm knows no requirements as HTCondor does: {job.requirements}",
                hint="a site profile says which nodes: [profile.….sbatch] with constraint or partition",
            )
        folder, options = job.working_dir, _options(job)
        assert folder is not None
        records = folder / _FOLDER
        trust.make_folder(str(records))
        try:
            answer = _call("sbatch", *options, given=_script(job, records))
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

    def unavailable_reason(self) -> str | None:
        """Others keep the cluster alive."""
        return None

    def why_waiting(self, submissions: Sequence[Submission], folder: Path) -> str | None:
        return why_tasks_wait(_queue(submission.cluster for submission in submissions))

    def revive(self) -> None:
        """Others keep the cluster alive."""

    def reschedule(self) -> None:
        """Slurm has its own pace."""

    def act(self, action: Action, submissions: Sequence[Submission], folder: Path, reason: str) -> None:
        """As HTCondor does it: a job that runs is stopped and waits again (requeue), held or not; see scontrol(1)."""
        if not submissions:
            return
        clusters = [submission.cluster for submission in submissions]
        if action == "remove":
            _call("scancel", *clusters)
            return
        # Sent off its node a moment ago: it can be held and released when the node is done with it.
        leaving = {"release": JobState.HELD, "hold": JobState.IDLE}.get(action)
        deadline = time.monotonic() + _PATIENCE
        while (
            leaving
            and time.monotonic() < deadline
            and any(task.is_ending and _said(folder, task) is leaving for task in _queue(clusters))
        ):
            time.sleep(1.0)
        if action == "release":
            _move(clusters, folder, {"release": {JobState.HELD}}, JobState.IDLE, None)
        elif action == "vacate":
            _move(clusters, folder, {"requeue incomplete": _ON_NODE}, JobState.IDLE, None)
        else:
            orders = {"requeuehold incomplete": _ON_NODE, "hold": {JobState.IDLE}}
            _move(clusters, folder, orders, JobState.HELD, reason)

    def find(self, folder: Path, *, ask: bool) -> list[tuple[Submission, str]]:
        if not ask:
            return []
        try:
            answer = json.loads(_call("squeue", "--json", "--states=all", "--me"))
            found = read_jobs_in(answer, str(folder))
        except (PoolError, ValueError, TypeError, AttributeError, LookupError):
            return []
        return [
            (Submission(pool=self.kind, cluster=cluster, count=count), note)
            for cluster, (count, note) in found.items()
        ]

    def watch(self, submissions: Sequence[Submission], folder: Path) -> _Watcher:
        return _Watcher(list(submissions), folder / _FOLDER)


def _move(
    clusters: Sequence[str],
    folder: Path,
    orders: Mapping[str, Collection[JobState]],
    state: JobState,
    reason: str | None,
) -> None:
    """Bring tasks into `state`, and write it down: nobody else would tell before Slurm is asked.

    Slurm does what it can of a command, and refuses all of it in words about one task that has changed meanwhile.

    Args:
        clusters: Array jobs.
        folder: Of the map or run.
        orders: Words for scontrol, and the states of the tasks that they are for.
        state: What the tasks are to be.
        reason: Why, for who asks.

    Raises:
        PoolError: A task is not in it; the records of the others are written.
    """
    tried: set[str] = set()
    refusal: PoolError | None = None
    for turn in range(_TURNS + 1):
        tasks = {task.name: task for task in _queue(clusters)}
        open_ = [
            task
            for task in tasks.values()
            if not task.state.is_final
            and not (task.is_ending and task.state in _ON_NODE)
            and _said(folder, task) is not JobState.COMPLETED  # Slurm may not have seen its end yet
        ]
        left = {
            order: [task.name for task in open_ if task.state in states] for order, states in orders.items()
        }
        if turn == _TURNS or not any(left.values()):
            break
        for order, names in left.items():
            tried.update(names)
            for begin in range(0, len(names), 500):
                try:
                    _call("scontrol", *order.split(), ",".join(names[begin : begin + 500]))
                except PoolUnavailable:
                    raise
                except PoolError as error:
                    refusal = error
    undone = {name for names in left.values() for name in names}
    for name in sorted(tried - undone):
        task = tasks.get(name)
        if task is None or task.state.is_final or _said(folder, task) is JobState.COMPLETED:
            continue  # it has ended
        facts = {"state": state.value, "time": time.time(), "reason": reason}
        with open(folder / _FOLDER / f"{task.cluster}.{task.number}", "ab", opener=trust.opener) as file:
            file.write(json.dumps(facts).encode() + b"\n")
    if undone:
        raise refusal or PoolError(
            f"{len(undone):,} tasks are not {state.value} yet, {min(undone)} for one", hint="try again"
        )


def _options(job: JobDescription) -> list[str]:
    """What sbatch is told (sbatch(1)); what a site wants in addition is in its profile."""
    from wingspan.pools.profiles import find_profile, load_profile

    resources = job.resources

    def output(path: str | None) -> str:
        if job.first:  # sbatch cannot count from there; the script does
            return "/dev/null"
        return (path or "/dev/null").replace("%", "%%").replace(_PROCESS, "%a")

    profile = load_profile(job.profile) if job.profile else find_profile()
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
    if job.note:
        options.append(f"--comment={job.note}")
    options += [f"--{name}={value}" for name, value in profile.sbatch.items()]
    constraint = profile.slurm_constraint(resources)
    return [*options, f"--constraint={constraint}"] if constraint else options


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


def _by_person(state: JobState, reason: str | None) -> bool:
    """Somebody holds the job. Slurm itself holds only jobs that it could not launch, and says so."""
    return state is JobState.HELD and "launch" not in (reason or "")


def _vanished(job: tuple[str, int], told: JobState | None) -> Task:
    """A task that Slurm has forgotten and that never said how it ended."""
    began = told in _ON_NODE
    return Task(
        cluster=job[0],
        number=job[1],
        state=JobState.COMPLETED if began else JobState.REMOVED,
        reason="it left Slurm's queue without a word: "
        + ("its time was over, its node failed, or it was cancelled" if began else "it was cancelled"),
    )


@attrs.define
class _Watcher:
    """Reads what jobs write about themselves."""

    submissions: list[Submission]
    folder: Path
    _read: dict[str, int] = attrs.field(factory=dict)
    #: The last state that was told of each job, by (array job, task).
    _told: dict[tuple[str, int], JobState] = attrs.field(factory=dict)
    #: What was told of jobs that will not start.
    _waiting: dict[tuple[str, int], str] = attrs.field(factory=dict)
    _next_look: float = 0.0
    _opened: int = 0

    #: Seconds between two looks at the folder, and how many files are opened in a second: it is on a shared file system.
    INTERVAL, OPENED = 0.2, 500

    def poll(self) -> Iterable[JobEvent]:
        now = time.monotonic()
        if now < self._next_look:
            return []
        self._opened = 0
        events = list(self._new())
        self._next_look = now + max(self.INTERVAL, self._opened / self.OPENED)
        return events

    def _new(self) -> Iterator[JobEvent]:
        wanted = {submission.cluster for submission in self.submissions}
        try:
            entries = list(os.scandir(self.folder))
        except FileNotFoundError:
            return
        for entry in entries:
            cluster, _, task = entry.name.rpartition(".")
            if cluster not in wanted or self._told.get((cluster, int(task))) in (
                JobState.COMPLETED,
                JobState.REMOVED,
            ):
                continue
            self._opened += 1
            with Path(entry.path).open("rb") as file:
                file.seek(self._read.get(entry.name, 0))
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._read[entry.name] = self._read.get(entry.name, 0) + len(line)
                    facts = _facts(line)
                    if facts is None:
                        continue
                    event = JobEvent(
                        cluster=cluster,
                        proc=int(task),
                        by_person=_by_person(facts["state"], facts.get("reason")),
                        begins=facts["state"] is JobState.RUNNING,
                        **facts,
                    )
                    self._tell(event)
                    yield event
                    if event.state.is_final:  # what was written down after it had ended does not count
                        break

    def _tell(self, event: JobEvent) -> JobEvent:
        self._told[(event.cluster, event.proc)] = event.state
        return event

    def ask(self) -> Iterable[JobEvent]:
        """What Slurm knows and the jobs have not said: that they wait, are held, or have left without a word."""
        known = {
            (task.cluster, task.number): task
            for task in _queue(submission.cluster for submission in self.submissions)
        }
        events = list(self._new())  # after the question: what has ended since has said so
        for submission in self.submissions:
            for number in range(submission.count):
                job = (submission.cluster, number)
                told = self._told.get(job)
                if told is not None and told.is_final:
                    continue
                task = known.get(job) or _vanished(job, told)
                if task.is_ending and not task.state.is_final:
                    continue  # sent off its node, or at its end: it says so, or the next answer does
                waits = task.reason if task.state is JobState.IDLE else None
                news = waits is not None and self._waiting.get(job) != waits
                if waits is not None:
                    self._waiting[job] = waits
                if news or task.state is not (told or JobState.IDLE):
                    events.append(
                        self._tell(
                            JobEvent(
                                cluster=task.cluster,
                                proc=number,
                                state=task.state,
                                time=time.time(),
                                code=task.code,
                                signal=task.signal,
                                reason=task.reason,
                                host=task.host,
                                by_person=_by_person(task.state, task.reason),
                                never_starts=waits is not None,
                            )
                        )
                    )
        return events

    def close(self) -> None:
        """No file is kept open."""
