"""What squeue says of jobs, as values: by ``--json`` of every version since 21.08, or in columns."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

import attrs

from wingspan.pools._base import JobState

__all__ = ["Task", "Waiting", "read_jobs_in", "read_queue", "why_tasks_wait"]

#: Job states (squeue(1), "JOB STATE CODES") in HTCondor's words; the rest ended without an exit code of their
#: own.
_STATES = {
    "PENDING": JobState.IDLE,
    "CONFIGURING": JobState.IDLE,
    "REQUEUED": JobState.IDLE,
    "REQUEUE_FED": JobState.IDLE,
    "SPECIAL_EXIT": JobState.HELD,
    "REQUEUE_HOLD": JobState.HELD,
    "RESV_DEL_HOLD": JobState.HELD,
    "RUNNING": JobState.RUNNING,
    "COMPLETING": JobState.RUNNING,
    "STAGE_OUT": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING,
    "RESIZING": JobState.RUNNING,
    "SUSPENDED": JobState.SUSPENDED,
    "STOPPED": JobState.SUSPENDED,
    "COMPLETED": JobState.COMPLETED,
    "FAILED": JobState.COMPLETED,
    "CANCELLED": JobState.REMOVED,
}
#: States whose exit code is the program's.
_BY_ITSELF = frozenset({"COMPLETED", "FAILED"})
_IN_WORDS = {
    "CANCELLED": "it was cancelled",
    "TIMEOUT": 'it ran for longer than its time limit: ask for more (--time 4h, Options(time="4h"))',
    "OUT_OF_MEMORY": 'it took more memory than it asked for: ask for more (--memory 8GB, Options(request_memory="8GB"))',
    "NODE_FAIL": "its node failed",
    "PREEMPTED": "it was preempted",
    "BOOT_FAIL": "its node did not boot",
    "DEADLINE": "its deadline was over",
}
#: Why a task waits that will not start by itself (squeue(1), "JOB REASON CODES"): the request has to be
#: another one.
_NEVER = frozenset(
    {
        "PartitionTimeLimit",
        "PartitionNodeLimit",
        "PartitionConfig",
        "BadConstraints",
        "InvalidAccount",
        "InvalidQOS",
        "AssocMaxWallDurationPerJobLimit",
        "AssocMaxCpuPerJobLimit",
        "AssocMaxMemPerJob",
        "QOSMaxWallDurationPerJobLimit",
        "QOSMaxCpuPerJobLimit",
        "QOSMaxMemoryPerJob",
    }
)


@attrs.frozen(kw_only=True)
class Task:
    """One task of an array job.

    Attributes:
        cluster: The array job's id.
        number: The task's.
        state: In HTCondor's words.
        reason: Why it is held, was ended or taken away, or waits for ever.
        code: Exit code, when it has ended by itself.
        signal: Signal that ended it.
        host: Where it runs or ran.
        is_ending: Its node is cleaning up after it: it is about to be in another state.
        because: Slurm's code for why it waits (squeue(1), "JOB REASON CODES").
        restarts: How often it was started again.
        exceeded: ``"memory"``: it was ended because it took more than it had asked for.
    """

    cluster: str
    number: int
    state: JobState
    reason: str | None = None
    code: int | None = None
    signal: int | None = None
    host: str | None = None
    is_ending: bool = False
    because: str | None = None
    restarts: int = 0
    exceeded: str | None = None

    @property
    def name(self) -> str:
        """As Slurm's commands want it: ``12_3``."""
        return f"{self.cluster}_{self.number}"


def read_queue(answer: Mapping[str, Any], clusters: Container[str]) -> Iterator[Task]:
    """The tasks of these array jobs in an answer of ``squeue --json``; waiting ones share an entry.

    Before 23.02 it holds everybody's jobs, whatever was asked for.

    Raises:
        ValueError: It says something else of one of these jobs than is known; others' may be as they like.

    >>> job = {"array_job_id": {"set": True, "number": 7}, "array_task_string": "4-5,9%2", "job_state": ["PENDING"],
    ...        "state_reason": "JobHeldUser"}
    >>> [(task.name, task.state.value) for task in read_queue({"jobs": [job]}, {"7"})]
    [('7_4', 'held'), ('7_5', 'held'), ('7_9', 'held')]
    """  # noqa: W505
    for job in answer.get("jobs", ()):
        array = _number(job.get("array_job_id"))
        if str(array) not in clusters:
            continue
        states = job.get("job_state") or "PENDING"
        names = [states] if isinstance(states, str) else list(states)  # a list since 23.02
        known = [_STATES.get(name, JobState.COMPLETED) for name in names]
        state = known[0]
        because = str(job.get("state_reason") or "")
        if JobState.HELD in known or (state is JobState.IDLE and because.startswith(("JobHeld", "JobHold"))):
            state = JobState.HELD
        reason = because if state is JobState.HELD else _IN_WORDS.get(names[0])
        if names[0] not in _STATES and reason is None:
            reason = f"Slurm ended it ({names[0]})"
        if state is JobState.IDLE and because in _NEVER:
            reason = f"Slurm will not start it ({because}): another --time, --cpus, --memory or partition"
        code, signal = _exit(job.get("exit_code")) if names[0] in _BY_ITSELF else (None, None)
        single = _number(job.get("array_task_id"))
        waiting = str(job.get("array_task_string") or "")
        for number in _expand(waiting) if waiting else () if single is None else (single,):
            yield Task(
                cluster=str(array),
                number=number,
                state=state,
                reason=reason,
                code=code,
                signal=signal,
                host=str(job.get("nodes") or "") or None,
                is_ending="COMPLETING" in names,
                because=because if because not in ("", "None") else None,
                restarts=_number(job.get("restart_cnt")) or 0,
                exceeded="memory" if "OUT_OF_MEMORY" in names else None,
            )


def read_jobs_in(answer: Mapping[str, Any], folder: str) -> dict[str, tuple[int, str]]:
    """Array jobs that work in a folder: by id, how many tasks each has at least, and its comment.

    >>> job = {"array_job_id": 7, "array_task_string": "4-5", "current_working_directory": "/a", "comment": "first 3"}
    >>> read_jobs_in({"jobs": [job, {**job, "array_task_string": "", "array_task_id": 2}]}, "/a")
    {'7': (6, 'first 3')}
    """  # noqa: W505
    found: dict[str, tuple[int, str]] = {}
    for job in answer.get("jobs", ()):
        array = _number(job.get("array_job_id"))
        if job.get("current_working_directory") != folder or not array:
            continue
        comment = job.get("comment") or ""
        note = str(comment.get("job") or "") if isinstance(comment, Mapping) else str(comment)
        waiting, single = str(job.get("array_task_string") or ""), _number(job.get("array_task_id"))
        most = max(_expand(waiting)) if waiting else single or 0
        found[str(array)] = max(most + 1, found.get(str(array), (0, ""))[0]), note
    return found


#: Codes for what needs no words of Slurm's.
_USUAL = {
    "Resources": "the nodes that could run it are busy or away",
    "Priority": "other jobs come first",
    "Dependency": "it waits for another job",
    "BeginTime": "its time has not come, or it was sent back to the queue a moment ago",
    "ReqNodeNotAvail": "nodes that it needs are down, drained or reserved",
    "Reservation": "its reservation has not begun",
    "Licenses": "all licences of a kind are in use",
    "Cleaning": "its node is cleaning up after it",
    "QOSMaxJobsPerUserLimit": "you have as many jobs at work as the QOS allows",
    "QOSMaxCpuPerUserLimit": "your jobs at work have as many cores as the QOS allows",
    "QOSGrpCpuLimit": "all jobs of the QOS have as many cores as it allows",
    "QOSGrpGRES": "all jobs of the QOS have as many GPUs as it allows",
    "QOSMaxGRESPerUser": "your jobs at work have as many GPUs as the QOS allows",
    "AssocGrpCpuLimit": "all jobs of your account have as many cores as it may have",
    "AssocGrpGRES": "all jobs of your account have as many GPUs as it may have",
    "AssocGrpCPUMinutesLimit": "the account has used up its time",
    "AssocGrpBillingMinutes": "the account has used up its time",
    "AssocMaxJobsLimit": "you have as many jobs at work as your account allows",
    "JobArrayTaskLimit": "as many tasks of the array run as it allows",
    "PartitionDown": "the partition is down",
    "PartitionInactive": "the partition takes no jobs at present",
    "NodeDown": "a node that it needs is down",
}
#: Reasons that have to do with nodes; some go on with the nodes' names.
_OF_NODES = ("Resources", "ReqNodeNotAvail", "NodeDown", "Nodes", "BadConstraints")
#: A task that was started so often has a fault.
_MANY_RESTARTS = 3


@attrs.frozen
class Waiting:
    """Why tasks wait.

    Attributes:
        message: In words.
        has_nodes: It has to do with nodes: which of them could run a task says more.
    """

    message: str
    has_nodes: bool = False


def why_tasks_wait(tasks: Iterable[Task]) -> Waiting | None:
    """Why tasks wait while none runs, or are started again and again; None: nothing unusual.

    >>> print(why_tasks_wait([Task(cluster="7", number=0, state=JobState.IDLE, because="Priority")]).message)
    1 job waits: other jobs come first (Priority)
    """
    known = list(tasks)
    often = max(
        (task for task in known if not task.state.is_final), key=lambda task: task.restarts, default=None
    )
    if often is not None and often.restarts >= _MANY_RESTARTS:
        told = f" ({often.because})" if often.because else ""
        return Waiting(
            f"job {often.name} makes no progress: Slurm has started it again {often.restarts} times{told}; "
            f"scontrol show job {often.name} says more, and slurmd's log on {often.host or 'its node'}"
        )
    waiting = [task for task in known if task.state is JobState.IDLE]
    if not waiting or any(task.state is JobState.RUNNING for task in known):
        return None
    codes = list(dict.fromkeys(task.because for task in waiting if task.because))
    if not codes:
        return None
    words = _USUAL.get(codes[0], f"squeue(1), JOB REASON CODES, says what {codes[0]} means")
    count = "1 job waits" if len(waiting) == 1 else f"{len(waiting)} jobs wait"
    return Waiting(
        f"{count}: {words} ({', '.join(codes)})",
        has_nodes=any(code.startswith(_OF_NODES) for code in codes),
    )


def _number(value: object) -> int | None:
    """A number, as it stands or in the form that versions since 23.02 write.

    >>> _number(3), _number({"set": True, "infinite": False, "number": 0}), _number({"set": False, "number": 0})
    (3, 0, None)
    """  # noqa: W505
    if isinstance(value, Mapping):
        return int(value["number"]) if value.get("set") else None
    return value if isinstance(value, int) else None


def _exit(value: object) -> tuple[int | None, int | None]:
    """Exit code and signal: the status of wait(2), or its parts since 23.02.

    >>> _exit(768), _exit(9), _exit({"return_code": {"set": True, "number": 2}, "signal": {"id": {"set": False, "number": 0}}})
    ((3, None), (None, 9), (2, None))
    """  # noqa: W505
    if isinstance(value, Mapping):
        signal = value.get("signal") or value.get("signalled") or {}
        number = _number(signal.get("id", signal.get("signal_id"))) if isinstance(signal, Mapping) else None
        return (None, number) if number else (_number(value.get("return_code")), None)
    status = _number(value) or 0
    return (None, status & 127) if status & 127 else (status >> 8, None)


def _expand(text: str) -> Iterator[int]:
    """The numbers of an array expression (sbatch(1), ``--array``).

    >>> list(_expand("0-2,7,10-14:2%3"))
    [0, 1, 2, 7, 10, 12, 14]
    """
    for part in text.partition("%")[0].split(","):
        numbers, _, step = part.partition(":")
        first, _, last = numbers.partition("-")
        yield from range(int(first), int(last or first) + 1, int(step or 1))
