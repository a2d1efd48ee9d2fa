"""A Slurm cluster: each submission is a job array, on a file system that login node and compute nodes share.

A job says itself when it begins and ends, in ``slurm/<array job>.<task>`` in the map's or run's folder, so that its state needs no
scheduler. `squeue --json` is asked seldom, and for everything at once: it knows what a job cannot say, such as why it
waits, or that it was cancelled.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import attrs

from wingspan.errors import PoolError, PoolUnavailable, SubmitError
from wingspan.jobs import JobDescription, Submission
from wingspan.pools._base import Action, JobEvent, JobState
from wingspan.pools.render._text import clock, mebibytes
from wingspan.pools.slurm_queue import Task, read_queue
from wingspan.progress import NO_PROGRESS, Progress

__all__ = ["SlurmPool"]

#: Workers of a map when nobody says how many. Fewer than with HTCondor: sites limit the jobs that one person may have (MaxSubmitJobs).
DEFAULT_WORKERS = 100
#: Seconds after which a command of Slurm's is given up: it retries by itself before.
_PATIENCE = 60.0
_FOLDER = "slurm"
_PROCESS = "$(Process)"

_SCRIPT = """\
#!/bin/sh
# Written by Wingspan: a job that says in a file when it begins and ends.
record={folder}/$SLURM_ARRAY_JOB_ID.$SLURM_ARRAY_TASK_ID
tell() {{
    # A signal to all of the job ends date, too.
    now=$(date +%s) || now=$(date +%s) || now=0
    printf '{{"state": "%s", "time": %s, "host": "%s"%s}}\\n' "$1" "${{now:-0}}" "$(hostname)" "$2" >>"$record"
}}
{exports}ended=
tell running ''
trap 'ended=yes; kill -TERM "$job" 2>/dev/null' TERM
{command} &
job=$!
wait "$job"
code=$?
# The first wait ends with the signal, the second with the job.
[ -z "$ended" ] || {{ wait "$job"; code=$?; }}
# Sent away by Slurm: it knows whether the job comes back.
[ -n "$ended" ] || tell completed ", \\"code\\": $code"
exit "$code"
"""


def _call(*words: str, given: str | None = None) -> str:
    """What a command of Slurm's prints.

    Raises:
        PoolUnavailable: It is not there, or does not answer.
        PoolError: It refuses.
    """
    hint = "work on the cluster's login node, where sinfo answers; wingspan doctor tells more"
    try:
        done = subprocess.run(
            words, input=given, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except FileNotFoundError:
        raise PoolUnavailable(f"there is no {words[0]} on PATH", hint=hint) from None
    except subprocess.TimeoutExpired:
        raise PoolUnavailable(f"{words[0]} does not answer within {_PATIENCE:.0f} s", hint=hint) from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).removeprefix(f"{words[0]}: ")
        if "ontact" in said or "configuration source" in said or "connect" in said:
            raise PoolUnavailable(f"{words[0]}: {said}", hint=hint)
        raise PoolError(f"{words[0]}: {said}")
    return done.stdout


def _queue(clusters: Iterable[str]) -> list[Task]:
    """The tasks of these array jobs that Slurm still knows."""
    wanted = set(clusters)
    # Without --states finished ones are left out by newer versions, which Slurm remembers for MinJobAge seconds.
    answer = _call("squeue", "--json", "--states=all", f"--jobs={','.join(sorted(wanted))}")
    return [task for task in read_queue(json.loads(answer)) if task.cluster in wanted]


class SlurmPool:
    """The Slurm cluster of this machine."""

    kind = "slurm"
    place: str | None = None
    transport = "file"
    shares_files = True

    def launch(self) -> tuple[str, tuple[str, ...], bool]:
        """This very Python, which the shared file system has."""
        return sys.executable, (), False

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

    def submit(self, job: JobDescription) -> Submission:
        if job.requirements:
            raise SubmitError(
                f"Slurm knows no requirements as HTCondor does: {job.requirements}",
                hint="a site profile says which nodes: [profile.….sbatch] with constraint or partition",
            )
        folder = job.working_dir
        assert folder is not None
        records = folder / _FOLDER
        records.mkdir(exist_ok=True, mode=0o700)
        try:
            answer = _call("sbatch", *_options(job), given=_script(job, records))
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

    def obstacle(self) -> str | None:
        """Others keep the cluster alive."""
        return None

    def revive(self) -> None:
        """Others keep the cluster alive."""

    def nudge(self) -> None:
        """Slurm has its own pace."""

    def act(self, action: Action, submissions: Sequence[Submission], folder: Path, reason: str) -> None:
        """As HTCondor does it: a job that runs is stopped and waits again (requeue), held or not; see scontrol(1)."""
        if not submissions:
            return
        clusters = [submission.cluster for submission in submissions]
        if action == "remove":
            _call("scancel", *clusters)
        elif action == "release":
            deadline = time.monotonic() + _PATIENCE
            tasks = _queue(clusters)
            while any(task.is_ending for task in tasks) and time.monotonic() < deadline:
                time.sleep(0.2)  # held a moment ago: it can be released when its node is done with it
                tasks = _queue(clusters)
            held = [task for task in tasks if task.state is JobState.HELD]
            _for_each(held, "release", folder, JobState.IDLE, None)
        else:
            tasks = _queue(clusters)
            running = [task for task in tasks if task.state in (JobState.RUNNING, JobState.SUSPENDED)]
            if action == "vacate":
                _for_each(running, "requeue", folder, JobState.IDLE, None)
                return
            waiting = [task for task in tasks if task.state is JobState.IDLE]
            _for_each(running, "requeuehold", folder, JobState.HELD, reason)
            _for_each(waiting, "hold", folder, JobState.HELD, reason)

    def watch(self, submissions: Sequence[Submission], folder: Path) -> _Watcher:
        return _Watcher(list(submissions), folder / _FOLDER)


def _for_each(tasks: Sequence[Task], command: str, folder: Path, state: JobState, reason: str | None) -> None:
    """Give `command` to scontrol, and write down what the tasks are now: nobody else would tell before Slurm is asked."""
    for begin in range(0, len(tasks), 500):
        some = tasks[begin : begin + 500]
        _call("scontrol", command, ",".join(task.name for task in some))
        for task in some:
            facts = {"state": state.value, "time": time.time(), "reason": reason}
            with (folder / _FOLDER / f"{task.cluster}.{task.number}").open("ab") as file:
                file.write(json.dumps(facts).encode() + b"\n")


def _options(job: JobDescription) -> list[str]:
    """What sbatch is told (sbatch(1)); what a site wants in addition is in its profile."""
    from wingspan.pools.profiles import find_profile, load_profile

    resources = job.resources

    def output(path: str | None) -> str:
        return (path or "/dev/null").replace("%", "%%").replace(_PROCESS, "%a")

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
    profile = load_profile(job.profile) if job.profile else find_profile()
    options += [f"--{name}={value}" for name, value in profile.sbatch.items()]
    constraint = profile.slurm_constraint(resources)
    return [*options, f"--constraint={constraint}"] if constraint else options


def _script(job: JobDescription, records: Path) -> str:
    words = " ".join(
        shlex.quote(word).replace(_PROCESS, "'\"$SLURM_ARRAY_TASK_ID\"'")  # it stands in single quotes
        for word in (job.executable, *job.arguments)
    )
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in job.environment.items())
    return _SCRIPT.format(folder=shlex.quote(str(records)), exports=exports, command=words)


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

    #: Seconds between two looks at the folder: it is on a shared file system.
    INTERVAL = 0.2

    def poll(self) -> Iterable[JobEvent]:
        now = time.monotonic()
        if now < self._next_look:
            return []
        self._next_look = now + self.INTERVAL
        return list(self._new())

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
            with Path(entry.path).open("rb") as file:
                file.seek(self._read.get(entry.name, 0))
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._read[entry.name] = self._read.get(entry.name, 0) + len(line)
                    try:
                        facts = json.loads(line)
                        said = {**facts, "state": JobState(facts["state"]), "time": float(facts["time"])}
                    except (ValueError, KeyError, TypeError):
                        continue  # of a job that was killed while it wrote: Slurm knows the rest
                    yield self._tell(JobEvent(cluster=cluster, proc=int(task), **said))

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
                task = known.get(job) or Task(
                    cluster=submission.cluster,
                    number=number,
                    state=JobState.REMOVED,
                    reason="it left Slurm's queue without a word: cancelled, or its node failed",
                )
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
                            )
                        )
                    )
        return events

    def close(self) -> None:
        """No file is kept open."""
