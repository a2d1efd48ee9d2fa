"""A worker that stays for a while after its map, so that the next map of the same interpreter starts at once.

On `local` it is a worker like any other. On a personal pool it helps until HTCondor has started the map's
job. It takes the role of the worker that the job will be. When the job has a slot, it waits there until the
warm worker has ended (`give_way`).

It listens on a Unix socket in a folder that only its user can enter. A client connects, sends one JSON line
(what to work on) and the open lock file that says "this worker is alive" (see `wingspan.pools.local`), and
reads the worker's process id. When its wait is over, a worker first removes its socket. A connection that
gets no answer came too late, and its sender starts a new worker.
"""

import fcntl
import functools
import json
import os
import signal
import socket
import time

from . import one_map, trust

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Dict, List, Optional, Tuple

    from .child import Executor
    from .supervisor import Supervisor

#: A variable in a job's environment. It names the file into which the job writes this environment, for warm
#: workers.
REMEMBER = "_WINGSPAN_REMEMBER"
#: If a warm worker does not follow a job's signal within this time (s), it gets a stronger one.
PATIENCE = 3.0
#: How often a warm worker checks whether the job exists whose work it does (s), and how long it waits for it.
LOOK_SECONDS = 1.0
JOB_SECONDS = 30.0
#: Seconds that a worker waits for the next map.
WAIT_SECONDS = float(os.environ.get("WINGSPAN_IDLE_SECONDS", "20"))


def socket_address(folder_descriptor: "int", name: "str") -> "str":
    """A short path to a socket in an open folder: a Unix socket's path may have only 107 bytes (unix(7))."""
    return "/proc/self/fd/%d/%s" % (folder_descriptor, name)


def run_facts(job: "Dict[str, Any]", pid: "Optional[int]") -> "bytes":
    """The content of a lock's file. Its length is fixed, so that a reader never sees half of it."""
    return json.dumps(dict(job, pid=pid)).encode().ljust(256)


def _warm_process(lock: "int") -> "Optional[int]":
    """The process that holds the lock; None before it has written its number."""
    try:
        pid = json.loads(os.pread(lock, 1024, 0).decode()).get("pid")
    except ValueError:
        return None
    return pid if isinstance(pid, int) else None


def give_way(folder: "str", worker: "int") -> "None":
    """In a job of a personal pool: wait while a warm worker does the work of `worker`. If the job is ended,
    so is that worker.
    """
    try:
        lock = os.open("%s/workers/%d.run" % (folder, worker), os.O_RDONLY)
    except OSError:
        return

    def end(number: "int", frame: "Optional[FrameType]") -> "None":
        begun = time.monotonic()
        while not _is_free(lock) and time.monotonic() < begun + 2 * PATIENCE:
            pid = _warm_process(lock)
            if pid is not None:
                less_kindly = time.monotonic() > begun + PATIENCE
                try:
                    os.kill(pid, signal.SIGKILL if less_kindly else signal.SIGTERM)
                except OSError:
                    pass
            time.sleep(0.05)
        os._exit(0)

    before = signal.signal(signal.SIGTERM, end)
    path = _job_lock(folder, worker)
    try:
        # However this process ends, the kernel releases the lock, and the warm worker notices it.
        here = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(here, fcntl.LOCK_EX)
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.unlink(path)
        finally:
            os.close(here)
    except OSError:
        pass  # the map was removed meanwhile
    finally:
        signal.signal(signal.SIGTERM, before)
        os.close(lock)


def _job_lock(folder: "str", worker: "int") -> "str":
    """The file that the job of `worker` keeps locked while it waits for its warm worker."""
    return "%s/workers/%d.job" % (folder, worker)


class _Job(object):
    """What a warm worker knows about the job whose work it does."""

    def __init__(self, folder: "str", worker: "int") -> "None":
        self._path = _job_lock(folder, worker)
        self._comes_until = time.monotonic() + JOB_SECONDS
        self._next_look = 0.0
        self._was_free = False

    def is_gone(self) -> "bool":
        """Whether the job was ended by others, or does not start, because other jobs have the slots or it
        is held.
        """
        now = time.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + LOOK_SECONDS
        try:
            lock = os.open(self._path, os.O_RDONLY)
        except OSError:
            return now > self._comes_until
        free = _is_free(lock)
        os.close(lock)
        gone = free and self._was_free  # one look may come just before it is locked
        self._was_free = free
        return gone


def _is_free(lock: "int") -> "bool":
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def remember(path: "str") -> "None":
    """Record what a job of this pool finds: its environment, and the files that HTCondor puts into its
    folder.
    """
    scratch = os.environ.get("_CONDOR_SCRATCH_DIR", "")
    files = {}
    for name in (".job.ad", ".machine.ad"):
        try:
            with open(os.path.join(scratch, name)) as file:
                files[name] = file.read()
        except (OSError, ValueError):
            pass
    told = {"environment": dict(os.environ), "scratch": scratch, "files": files}
    temporary = "%s.%d" % (path, os.getpid())
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(told, file)
        os.rename(temporary, path)
    except OSError:
        pass  # the pool was stopped meanwhile, or its disk is full: the next job tries again


class _Listener(object):
    def __init__(self, folder: "str") -> "None":
        trust.make_folder(folder)
        self._folder = os.open(folder, os.O_RDONLY)
        self._path = folder + "/%d.sock" % os.getpid()
        self._socket = socket.socket(socket.AF_UNIX)
        new = "%d.new" % os.getpid()
        before = os.umask(0o777 & ~trust.FILE)
        try:
            self._socket.bind(socket_address(self._folder, new))
        finally:
            os.umask(before)
        self._socket.listen(1)
        self._socket.settimeout(WAIT_SECONDS)
        # Clients remove a socket that nobody listens to, so this one gets its name only now.
        os.rename(folder + "/" + new, self._path)

    def accept(self) -> "Optional[Tuple[Dict[str, Any], int]]":
        """``(order, lock)`` from the first client, or None after `WAIT_SECONDS`."""
        try:
            connection, _ = self._socket.accept()
        except socket.timeout:
            return None
        finally:
            _remove(self._path)
            self._socket.close()
            os.close(self._folder)
        return _receive(connection, 5.0, answer=True)


def _remove(path: "str") -> "None":
    """Remove a socket, and its folder if no other worker waits there: each environment has a folder."""
    try:
        os.unlink(path)
        os.rmdir(os.path.dirname(path))
    except OSError:
        pass


def _receive(
    connection: "socket.socket", patience: "float", answer: "bool"
) -> "Optional[Tuple[Dict[str, Any], int]]":
    """``(order, lock)`` from the other end; None if nothing comes. If it wants an `answer`, it gets our
    process id.
    """
    connection.settimeout(patience)
    try:
        data, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 1)
        while not data.endswith(b"\n"):
            more = connection.recv(1 << 20)
            if not more:
                return None
            data += more
        if answer:
            connection.sendall(b"%d\n" % os.getpid())
    except OSError:
        return None
    finally:
        connection.close()
    return json.loads(data.decode()), descriptors[0]


def _one_of(connections: "List[socket.socket]") -> "socket.socket":
    """Fork a process for each socket except the first. Each process returns its own socket and closes the
    others.
    """
    own = connections[0]
    for connection in connections[1:]:
        if os.fork() == 0:
            # Its parent ends at once, so that no process has to wait for it.
            if os.fork() != 0:
                os._exit(0)
            os.setsid()
            own = connection
            break
        os.wait()
    for connection in connections:
        if connection is not own:
            connection.close()
    return own


def _make_scratch(folder: "str", files: "Dict[str, str]") -> "None":
    """A folder like the one that HTCondor gives a job."""
    os.makedirs(folder, 0o700)
    for name, text in files.items():
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)


def _say_that_it_ends(lock: "int", job: "Dict[str, Any]") -> "None":
    """Note that this worker has done its work and only waits for its executor to end."""
    os.pwrite(lock, run_facts(dict(job, ending=True), os.getpid()), 0)


def _import_for_all() -> "None":
    """Import what all workers and all their executors need: they are forked from this process.

    The archive may lie in the folder of a map that is removed before they need it.
    """
    import ctypes  # noqa: F401
    import resource  # noqa: F401

    import cloudpickle  # noqa: F401

    from . import own, values  # noqa: F401


def _lead(descriptor: "int", path: "str") -> "None":
    """Have this descriptor append to a file."""
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(opened, descriptor)
    os.close(opened)


def _heed_signals(state: "Dict[str, Optional[Supervisor]]") -> "None":
    """SIGTERM ends the work on the map; between two maps it ends this process."""

    def stop(number: "int", frame: "Optional[FrameType]") -> "None":
        if state["supervisor"] is None:
            os._exit(0)
        state["supervisor"].stop = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # a shell makes its background processes ignore it


def _follow(
    order: "Dict[str, Any]", lock: "int", state: "Dict[str, Optional[Supervisor]]", ready: "Executor"
) -> "Tuple[int, bool]":
    """Work on one map as the order says; returns the exit code, and whether somebody has stopped it.

    Args:
        order: What the client sent.
        lock: Descriptor of the open lock file of this worker; it is closed at the end.
        state: Holds the supervisor while there is one.
        ready: An executor that has been started.
    """
    job, scratch = order["job"], order.get("scratch")
    os.pwrite(lock, run_facts(job, os.getpid()), 0)
    if scratch:
        _make_scratch(scratch, order["files"])
    _lead(1, order["stdout"])
    _lead(2, order["stderr"])
    code = one_map.work(
        "file",
        order["map"],
        order["worker"],
        notify=lambda supervisor: state.__setitem__("supervisor", supervisor),
        setting={"folder": order["folder"], "environ": order["environ"], "path": order["path"]},
        ready=ready,
        not_for_executor=(lock,),
        retires=order.get("retires"),
        must_leave=_Job(order["map"], order["worker"]).is_gone if scratch else None,
        at_its_end=functools.partial(_say_that_it_ends, lock, job),
    )
    if scratch:
        import shutil  # here, as only workers of a personal pool need it, and it takes long to import

        shutil.rmtree(scratch, ignore_errors=True)
    supervisor = state["supervisor"]
    # Removing a complete map does not mean to end its workers.
    stopped = supervisor is not None and supervisor.stop and supervisor.at_work
    os.pwrite(lock, run_facts(dict(job, dry=not stopped), None), 0)
    os.close(lock)
    state["supervisor"] = None
    _lead(1, os.devnull)
    _lead(2, os.devnull)
    return code, stopped


def main(argv: "List[str]") -> "int":
    """``idle FOLDER SOCKET,SOCKET… TOKEN``: become as many workers as there are open sockets.

    Each worker takes its first order from its socket, then waits in FOLDER for others. The token is unique:
    it tells this process from others.
    """
    from . import offspring
    from .child import Executor
    from .scratch import scratch_folder

    _import_for_all()
    folder, connections = argv[0], [socket.socket(fileno=int(number)) for number in argv[1].split(",")]
    for connection in connections:
        connection.set_inheritable(False)
    connection = _one_of(connections)
    offspring.guard()
    state: "Dict[str, Optional[Supervisor]]" = {"supervisor": None}
    _heed_signals(state)
    ready = Executor(scratch_folder())
    accepted = _receive(connection, WAIT_SECONDS, answer=False)
    while accepted is not None:
        order, lock = accepted
        code, stopped = _follow(order, lock, state, ready)
        if stopped or code not in (0, one_map.EXIT_GONE):
            return code
        # Prepare what the next map needs, while no one waits.
        ready = Executor(scratch_folder())
        try:
            listener = _Listener(folder)
        except OSError:
            ready.close(kill=True)
            return code
        accepted = listener.accept()
    ready.close(kill=True)
    return 0
