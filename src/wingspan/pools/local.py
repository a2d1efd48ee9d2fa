"""Plain processes on this machine that outlive the caller.

Each worker is a process in a session of its own. That it is alive is known by a lock (flock(2)) on ``workers/<n>.run`` in the map's
folder: the lock is taken before the process is started and handed to it open, so there is no moment without an
answer, and the kernel drops it however the process ends. Workers stay for some seconds after their map and take the
next one of the same interpreter (see `wingspan.worker.idle`).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import attrs

from wingspan.jobs import JobDescription, Submission
from wingspan.pools._base import Action, JobEvent, JobState, JobWatcher
from wingspan.pools.local_job import LocalJobWatcher, is_local_job, submit_local_job
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.settings import load_settings
from wingspan.worker.idle import socket_address

__all__ = ["LocalPool"]

#: Variables that a process reads when it starts: an idle worker that was started with others is of no use.
_START_VARIABLES = ("PATH", "HOME", "TMPDIR", "LANG")
_LEAKS = frozenset({"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX"})
_START_PREFIXES = ("WINGSPAN_", "LD_", "DYLD_", "PYTHON", "LC_", "VIRTUAL_ENV", "CONDA")


def _is_locked(path: Path) -> bool:
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


class LocalPool:
    """Processes on this machine, as many at a time as it has cores for this process."""

    kind = "local"
    place: str | None = None
    transport = "file"
    shares_files = True
    python = sys.executable

    def __init__(self) -> None:
        self._newest = ""
        self.cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def launch(self) -> tuple[str, tuple[str, ...], bool]:
        """This very Python."""
        return self.python, (), False

    def make_ready(self, progress: Progress = NO_PROGRESS) -> None:
        """There is nothing to start."""

    def default_workers(self, count: int) -> int:
        return max(1, min(count, self.cpus))

    def submit(self, job: JobDescription) -> Submission:
        if "WingspanRun" in job.custom:  # any command; what follows is for the workers of maps
            return submit_local_job(job)
        cluster = f"local-{os.getpid()}-{time.time_ns()}"
        folder = job.working_dir
        assert folder is not None
        *before, archive, _, map_folder, first, _ = job.arguments
        command = [job.executable, *before, archive]
        environ = {**os.environ, **job.environment}
        own = command[:1] == [self.python]
        if not own:  # another environment: this one's packages must not leak into it
            environ = {name: value for name, value in environ.items() if name not in _LEAKS}
        idle_folder = self._idle_folder(command, environ)
        for process in range(job.count):
            worker = int(first) + process
            order = {
                "map": map_folder,
                "worker": worker,
                "folder": str(Path.cwd()),
                "environ": None,
                "path": [entry or str(Path.cwd()) for entry in sys.path] if own else [],
                "stdout": str(job.stdout).replace("$(Process)", str(process)),
                "stderr": str(job.stderr).replace("$(Process)", str(process)),
            }
            lock_path = folder / "workers" / f"{worker}.run"
            lock = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                pid = self._hand_over(idle_folder, lock, order, environ)
                if pid is None:
                    pid = self._start(command, idle_folder, lock, order, environ)
                os.ftruncate(lock, 0)
                os.pwrite(lock, json.dumps({"pid": pid, "cluster": cluster, "proc": process}).encode(), 0)
            finally:
                os.close(lock)
        self._newest = cluster
        return Submission(pool=self.kind, cluster=cluster, count=job.count)

    def revive(self) -> None:
        """There is nothing that could crash."""

    def nudge(self) -> None:
        """Workers start at once."""

    def _idle_folder(self, command: Sequence[str], environ: dict[str, str]) -> Path:
        variables = sorted(
            (name, value)
            for name, value in environ.items()
            if name in _START_VARIABLES or name.startswith(_START_PREFIXES)
        )
        facts = Path(command[-1]).stat()  # a hard link to the cache's: the same file for all maps
        identity = (facts.st_dev, facts.st_ino)
        key = hashlib.sha256(repr((identity, command[:-1], sys.prefix, variables)).encode()).hexdigest()[:16]
        folder = load_settings().cache_dir / "idle" / key
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def _hand_over(
        self, idle_folder: Path, lock: int, order: dict[str, object], environ: dict[str, str]
    ) -> int | None:
        """Give the order to a worker that waits; its process id, or None when none does."""
        names = [path.name for path in idle_folder.iterdir() if path.name.endswith(".sock")]
        if not names:
            return None
        data = json.dumps({**order, "environ": environ}).encode() + b"\n"
        descriptor = os.open(idle_folder, os.O_RDONLY)
        try:
            for name in names:
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.settimeout(5.0)
                    try:
                        connection.connect(socket_address(descriptor, name))
                        socket.send_fds(connection, [data], [lock])
                        answer = connection.recv(32)
                    except ConnectionRefusedError:
                        (idle_folder / name).unlink(missing_ok=True)
                        continue
                    except OSError:
                        continue
                    if answer.endswith(b"\n"):
                        return int(answer)
        finally:
            os.close(descriptor)
        return None

    def _start(
        self,
        command: Sequence[str],
        idle_folder: Path,
        lock: int,
        order: dict[str, object],
        environ: dict[str, str],
    ) -> int:
        with Path(str(order["stdout"])).open("ab") as out, Path(str(order["stderr"])).open("ab") as err:
            process = subprocess.Popen(
                [*command, "idle", str(idle_folder), str(lock), json.dumps(order)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                pass_fds=(lock,),
                env=environ,
            )
        # It outlives us: nobody waits for it here, and that is meant.
        process.returncode = 0
        return process.pid

    def _running(self, folder: Path) -> Iterator[tuple[Path, dict[str, int]]]:
        for path in sorted((folder / "workers").glob("*.run")):
            if _is_locked(path):
                try:
                    yield path, json.loads(path.read_bytes() or b"{}")
                except ValueError:
                    continue

    def act(self, action: Action, submissions: Sequence[Submission], folder: Path, reason: str) -> None:
        marker = folder / "held"
        if action == "release":
            marker.unlink(missing_ok=True)
            return
        if action == "hold":
            marker.write_text(reason, encoding="utf-8")
        for _, facts in self._running(folder):
            if facts.get("pid"):
                try:
                    os.kill(int(facts["pid"]), signal.SIGTERM)
                except ProcessLookupError:
                    continue
        deadline = time.monotonic() + 5.0
        while any(True for _ in self._running(folder)):
            if time.monotonic() > deadline:
                for _, facts in self._running(folder):
                    os.kill(int(facts["pid"]), signal.SIGKILL)
                break
            time.sleep(0.005)

    def watch(self, submissions: Sequence[Submission], folder: Path) -> JobWatcher:
        if submissions and all(map(is_local_job, submissions)):
            return LocalJobWatcher(list(submissions), folder)
        watcher = _Watcher(list(submissions), folder)
        if all(submission.cluster == self._newest for submission in submissions):
            watcher.take_for_alive()
        return watcher


@attrs.define
class _Watcher:
    """Looks at the locks, seldom: a worker that is alive is usually still alive a moment later."""

    submissions: list[Submission]
    folder: Path
    _known: dict[tuple[str, int], JobState] = attrs.field(factory=dict)
    _next_look: float = 0.0
    _early: list[JobEvent] = attrs.field(factory=list)

    #: Seconds between two looks at the locks.
    INTERVAL = 0.05

    def take_for_alive(self) -> None:
        """The workers were started this moment: they are alive, and the first look can wait."""
        self._next_look = time.monotonic() + self.INTERVAL
        self._early = [
            JobEvent(cluster=submission.cluster, proc=process, state=JobState.RUNNING, time=time.time())
            for submission in self.submissions
            for process in range(submission.count)
        ]

    def poll(self) -> Iterable[JobEvent]:
        if self._early:
            early, self._early = self._early, []
            return early
        now = time.monotonic()
        if now < self._next_look:
            return ()
        self._next_look = now + self.INTERVAL
        return self.ask()

    def ask(self) -> Iterable[JobEvent]:
        held = (self.folder / "held").exists()
        alive: dict[tuple[str, int], int] = {}
        for path in (self.folder / "workers").glob("*.run"):
            if _is_locked(path):
                try:
                    facts = json.loads(path.read_bytes())
                except ValueError:
                    continue  # it is being started this moment
                alive[(facts["cluster"], facts["proc"])] = facts["pid"]
        events = []
        for submission in self.submissions:
            for process in range(submission.count):
                job = (submission.cluster, process)
                before = self._known.get(job, JobState.RUNNING)
                if job in alive:
                    state = JobState.RUNNING
                elif held:
                    state = JobState.HELD
                else:
                    state = JobState.COMPLETED
                if state != before or job not in self._known:
                    self._known[job] = state
                    reason = "held by its owner" if state is JobState.HELD else None
                    events.append(
                        JobEvent(cluster=job[0], proc=job[1], state=state, time=time.time(), reason=reason)
                    )
        return events

    def close(self) -> None:
        pass
