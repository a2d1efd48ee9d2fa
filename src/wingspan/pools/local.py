"""Plain processes on this machine that outlive the caller.

Each worker is a process in a session of its own. That it is alive is known by a lock (flock(2)) on
``workers/<n>.run`` in the map's folder. The lock is taken before the process is started and handed to it
open, so there is no moment without an answer, and the kernel drops it however the process ends. Workers stay
for some seconds after their map and take the next one of the same interpreter (see `wingspan.worker.idle`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wingspan._cores import usable_cores
from wingspan._python import options_of_this_python, this_python
from wingspan._words import counted
from wingspan.errors import PoolError, SubmitError
from wingspan.jobs import JobDescription, Resources, Submission
from wingspan.pools._base import Action, JobWatcher, PlainPool
from wingspan.pools.local_job import (
    LocalJobWatcher,
    end_orphans,
    is_alive,
    is_local_job,
    lock_holders,
    submit_local_job,
)
from wingspan.pools.local_watch import LocalWatcher, removed_jobs
from wingspan.pools.outliving import let_go
from wingspan.pools.zipapp import worker_digest
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.settings import load_settings, private_folder
from wingspan.worker import trust
from wingspan.worker.idle import run_facts, socket_address

if TYPE_CHECKING:
    from wingspan.pools.gpus import Gpu

__all__ = ["LocalPool"]

#: Seconds for a worker to end by itself before it is killed.
_PATIENCE = 5.0
#: Seconds within which a worker that is being started has said its process id.
_STARTING = 1.5
#: Variables that a process reads when it starts: an idle worker that was started with others is of no use.
_START_VARIABLES = ("PATH", "HOME", "TMPDIR", "LANG")
_LEAKS = frozenset({"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX"})
_START_PREFIXES = ("WINGSPAN_", "LD_", "DYLD_", "PYTHON", "LC_", "VIRTUAL_ENV", "CONDA")


def _for_the_start(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that a Python reads when it starts."""
    return {
        name: value
        for name, value in environ.items()
        if name in _START_VARIABLES or name.startswith(_START_PREFIXES)
    }


def _with_environ(order: dict[str, Any], environ: dict[str, str]) -> dict[str, Any]:
    """The order with the environment of its components, which may already be in it."""
    return {**order, "environ": order["environ"] or environ}


def _start(
    words: Sequence[str], descriptors: tuple[int, ...], environ: Mapping[str, str], stderr: str
) -> subprocess.Popen[bytes]:
    """A process that outlives us and inherits the descriptors. Its standard error is appended to the file
    `stderr`.
    """
    with open(stderr, "ab", opener=None if stderr == os.devnull else trust.opener) as file:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
            pass_fds=descriptors,
            env=environ,
        )


def _tell(worker: socket.socket, order: dict[str, Any], lock: int) -> None:
    """Send an order and its lock. An environment may be larger than a socket takes at once."""
    data = json.dumps(order).encode() + b"\n"
    sent = socket.send_fds(worker, [data], [lock])
    # A worker that has the whole order answers and closes at once: to send nothing more would fail then.
    if sent < len(data):
        worker.sendall(memoryview(data)[sent:])


def _is_taken(worker: socket.socket, order: dict[str, Any], lock: int) -> bool:
    """Offer an order to a worker that waits.

    Returns whether it takes the order; a worker that answers too late does not.
    """
    try:
        _tell(worker, order, lock)
        return worker.recv(32).endswith(b"\n")
    except OSError:
        with contextlib.suppress(OSError):
            # After this the worker cannot answer any more, and drops the order. If it answered before, the
            # answer is here.
            worker.shutdown(socket.SHUT_RDWR)
            worker.setblocking(False)
            return worker.recv(32).endswith(b"\n")
        return False


def _current_folder() -> str | None:
    """Where this process is; None where that folder is no more."""
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return None


def _import_folders(here: str | None) -> list[str]:
    """``sys.path`` for another process that starts in `here`. It may hold anything; Python ignores entries
    that are no strings.
    """
    entries = [os.fspath(entry) if isinstance(entry, os.PathLike) else entry for entry in sys.path]
    folders = [entry or here for entry in entries if isinstance(entry, str)]
    return [folder for folder in folders if folder is not None]


def _is_worker(pid: int) -> bool:
    """It is one of ours: not a client that is only handing the lock over."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"idle" in words and any(word.endswith(b".pyz") for word in words)


class LocalPool(PlainPool):
    """Processes on this machine, as many at a time as it has cores for this process."""

    kind = "local"
    runs_here = True
    warms_up = True
    ends_held_jobs = True
    answers_at_once = True
    takes_requirements = True  # this machine is what it is: nothing looks at them
    limits_memory = False
    own = True

    def __init__(self) -> None:
        self._newest = ""
        self._spares: list[socket.socket] = []
        self._orders_carry_environ = False
        #: What the folder of idle workers was last asked for, and which it is.
        self._idle: tuple[tuple[Any, ...], Path] | None = None
        self.cpus: int = usable_cores()

    def title(self) -> str:
        return f"processes on this machine: {counted(self.cpus, 'core')}"

    @property
    def python(self) -> str:
        """What workers are started with."""
        return this_python()

    def _as_here(self) -> list[str]:
        """What starts a Python as this one was started."""
        return [self.python, *options_of_this_python().get("options", ())]

    def launch(self) -> tuple[str, tuple[str, ...], bool]:
        """This very Python."""
        return self.python, (), False

    def make_ready(self, progress: Progress = NO_PROGRESS) -> None:
        """There is nothing to start."""

    def default_workers(self, count: int) -> int:
        return max(1, min(count, self.cpus))

    def why_no_gpu(self, resources: Resources) -> tuple[str, str] | None:
        from wingspan.pools.gpus import why_no_gpu_here

        told = why_no_gpu_here(resources.gpus)
        return None if told is None else (told, "name another pool (pool=…)")

    def check_gpus(self, job: JobDescription) -> None:
        problem = self.why_no_gpu(job.resources) if job.resources.gpus else None
        if problem is not None:
            raise SubmitError(problem[0], hint=f"leave request_gpus out, or {problem[1]}")

    def gpus(self) -> list[Gpu]:
        raise PoolError(
            "the local pool does not list its GPUs", hint="nvidia-smi shows those of this machine"
        )

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
        here = _current_folder()
        orders = [
            {
                "map": map_folder,
                "worker": int(first) + process,
                "job": {"cluster": cluster, "proc": process, "note": job.note},
                "folder": here,
                "environ": None,
                # The worker may have been started for a map that is gone: what its children import lies in
                # this one's.
                "path": [*(_import_folders(here) if own else []), archive],
                "stdout": str(job.stdout).replace("$(Process)", str(process)),
                "stderr": str(job.stderr).replace("$(Process)", str(process)),
            }
            for process in range(job.count)
        ]
        locks = [self._lock(folder, order) for order in orders]
        try:
            self._deal_out(orders, locks, command, idle_folder, environ)
        finally:
            for lock in locks:
                os.close(lock)
        self.cool_down()
        self._newest = cluster
        return Submission(pool=self.kind, cluster=cluster, count=job.count)

    def _idle_folder(self, command: Sequence[str], environ: dict[str, str]) -> Path:
        worker = worker_digest(command[-1])
        cache = load_settings().cache_dir
        facts_now = (cache, worker, list(command[:-1]), environ)
        if self._idle is not None and self._idle[0] == facts_now:
            return self._idle[1]
        variables = sorted(_for_the_start(environ).items())
        key = hashlib.sha256(repr((worker, command[:-1], sys.prefix, variables)).encode()).hexdigest()[:16]
        folder = private_folder(cache, "idle", key)
        self._idle = (facts_now, folder)
        return folder

    @staticmethod
    def _waiting(folder: Path) -> list[str]:
        """Sockets of the workers that wait there."""
        try:
            return [name for name in os.listdir(folder) if name.endswith(".sock")]
        except FileNotFoundError:
            trust.make_folder(str(folder))
            return []

    def warm_up(self, archive: Path, count: int) -> None:
        """Start as many workers as will be missing, before it is known what they are for: they import
        meanwhile.
        """
        command = [*self._as_here(), str(archive)]
        environ = dict(os.environ)
        folder = self._idle_folder(command, environ)
        missing = min(count, self.cpus) - len(self._waiting(folder))
        if missing > 0:
            self._spares += self._spawn(command, folder, missing, environ, os.devnull)

    def cool_down(self) -> None:
        """Let go of workers that nobody has had use for: they end when their socket closes."""
        while self._spares:
            self._spares.pop().close()

    @staticmethod
    def _lock(folder: Path, order: dict[str, Any]) -> int:
        """The open lock that says "this worker is alive"; its file says which job that is, and later which
        process.
        """
        lock = os.open(folder / "workers" / f"{order['worker']}.run", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.pwrite(lock, run_facts(order["job"], None), 0)
        return lock

    def _deal_out(
        self,
        orders: list[dict[str, Any]],
        locks: list[int],
        command: Sequence[str],
        idle_folder: Path,
        environ: dict[str, str],
    ) -> None:
        """Give each order to a worker that waits, else to one that was warmed up, else to a new one."""
        left = []
        for order, lock in zip(orders, locks, strict=True):
            if not self._hand_over(idle_folder, lock, order, environ) and not self._give_to_spare(
                command, order, lock, environ
            ):
                left.append((order, lock))
        if not left:
            return
        workers = self._spawn(command, idle_folder, len(left), environ, left[0][0]["stderr"])
        for worker, (order, lock) in zip(workers, left, strict=True):
            # Should it have died already, the lock says so, and its standard error why.
            with worker, contextlib.suppress(OSError):
                _tell(worker, self._complete(order, environ), lock)

    def _complete(self, order: dict[str, Any], environ: dict[str, str]) -> dict[str, Any]:
        """The order, with the environment if its worker could not be started with it."""
        if self._orders_carry_environ:
            return _with_environ(order, environ)
        return order

    def _hand_over(
        self, idle_folder: Path, lock: int, order: dict[str, Any], environ: dict[str, str]
    ) -> bool:
        """Give the order to a worker that waits; False when none does."""
        names = self._waiting(idle_folder)
        if not names:
            return False
        told = _with_environ(order, environ)
        try:
            descriptor = os.open(idle_folder, os.O_RDONLY)
        except FileNotFoundError:
            return False  # the last worker that waited there has removed it
        try:
            for name in names:
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.settimeout(5.0)
                    try:
                        connection.connect(socket_address(descriptor, name))
                    except ConnectionRefusedError:
                        (idle_folder / name).unlink(missing_ok=True)
                        continue
                    except OSError:
                        continue
                    if _is_taken(connection, told, lock):
                        return True
        finally:
            os.close(descriptor)
        return False

    def _give_to_spare(
        self, command: Sequence[str], order: dict[str, Any], lock: int, environ: dict[str, str]
    ) -> bool:
        """Give the order to a worker that was warmed up; False when none is left."""
        while self._spares and command[:-1] == self._as_here():
            with self._spares.pop() as worker, contextlib.suppress(OSError):
                _tell(worker, self._complete(order, environ), lock)
                return True
        return False

    def _spawn(
        self, command: Sequence[str], idle_folder: Path, count: int, environ: dict[str, str], stderr: str
    ) -> list[socket.socket]:
        """Start `count` workers: the sockets by which they hear what to do.

        One process is started; when it has imported what all of them need, it forks the others.
        """
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            pairs = [socket.socketpair() for _ in range(count)]
            for one, other in pairs:
                ours.enter_context(one)
                theirs.enter_context(other)
            numbers = tuple(other.fileno() for _, other in pairs)
            # The last word tells these workers from others of the same kind (see
            # `wingspan.worker.offspring`).
            words = [*command, "idle", str(idle_folder), ",".join(map(str, numbers)), os.urandom(8).hex()]
            try:
                process = _start(words, numbers, environ, stderr)
            except OSError as error:
                if error.errno != errno.E2BIG:
                    raise
                # The kernel takes no environment of this size. The orders carry it instead.
                self._orders_carry_environ = True
                process = _start(words, numbers, _for_the_start(environ), stderr)
            ours.pop_all()
        self._let_go(process)
        return [one for one, _ in pairs]

    @staticmethod
    def _let_go(process: subprocess.Popen[bytes]) -> None:
        let_go(process)

    def _running(self, folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
        for path in sorted((folder / "workers").glob("*.run")):
            if is_alive(path):
                try:
                    yield path, json.loads(path.read_bytes() or b"{}")
                except (FileNotFoundError, ValueError):
                    continue

    def act(self, action: Action, submissions: Sequence[Submission], folder: Path, reason: str) -> None:
        marker = folder / "held"
        if action == "release":
            marker.unlink(missing_ok=True)
            return
        if action == "remove" and (folder / "workers").is_dir():
            for submission in submissions:
                removed_jobs(folder).append({"cluster": submission.cluster, "reason": reason})
        if action == "hold":
            trust.write_whole(str(marker), reason.encode())  # whole or not at all: an empty one would count
        # A worker that is only starting has not said its process id yet: look again.
        begin, told = time.monotonic(), set[int]()
        while running := list(self._running(folder)):
            waited = time.monotonic() - begin
            if waited > 2 * _PATIENCE:
                raise PoolError(
                    f"workers of the map in {folder} do not end: processes {[facts.get('pid') for _, facts in running]}",
                    hint="they wait for the kernel (a network disk?); try again later",
                )
            for path, facts in running:
                known = [facts["pid"]] if facts.get("pid") else []
                # A worker that has not written its number for long is found by the lock that it holds.
                for pid in known if known or waited < _STARTING else filter(_is_worker, lock_holders(path)):
                    if pid not in told or waited > _PATIENCE:
                        told.add(pid)
                        with contextlib.suppress(OSError):
                            os.kill(pid, signal.SIGKILL if waited > _PATIENCE else signal.SIGTERM)
            time.sleep(0.005 if waited < _STARTING else 0.05)
        while end_orphans(folder):
            if time.monotonic() - begin > 3 * _PATIENCE:
                raise PoolError(
                    f"processes of the run in {folder} do not end, though they were killed",
                    hint="they wait for the kernel (a network disk?); try again later",
                )
            time.sleep(0.02)

    def find(self, folder: Path, *, ask: bool) -> list[tuple[Submission, str]]:
        counts: dict[tuple[str, str], int] = {}
        for path in (folder / "workers").glob("*.run"):
            try:
                alive = is_alive(path)
                facts = json.loads(path.read_bytes())
                if facts["pid"] is None and not alive:
                    continue  # whoever was about to start it died before
                job = str(facts["cluster"]), str(facts.get("note", ""))
                counts[job] = max(counts.get(job, 0), int(facts["proc"]) + 1)
            except (OSError, ValueError, LookupError, TypeError):
                continue
        return [
            (Submission(pool=self.kind, cluster=cluster, count=count), note)
            for (cluster, note), count in counts.items()
        ]

    def watch(self, submissions: Sequence[Submission], folder: Path) -> JobWatcher:
        if submissions and all(map(is_local_job, submissions)):
            return LocalJobWatcher(list(submissions), folder)
        watcher = LocalWatcher(list(submissions), folder)
        if submissions and all(submission.cluster == self._newest for submission in submissions):
            watcher.take_for_alive()
            self._newest = ""  # a later watcher looks for itself
        return watcher
