"""A local worker that stays for a while after its map, so that the next map of the same interpreter starts at once.

It listens on a Unix socket in a folder that only its user can enter. Who connects sends one JSON line (what to work on) and the open
lock file that says "this worker is alive" (see `wingspan.pools.local`), and reads the worker's process id. A worker whose wait is over
takes its socket away first: a connection that is not answered was too late, and its sender starts a new worker.
"""

import json
import os
import signal
import socket

from . import entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Dict, List, Optional, Tuple

    from .supervisor import Supervisor

#: Seconds that a worker waits for the next map.
WAIT_SECONDS = float(os.environ.get("WINGSPAN_IDLE_SECONDS", "20"))


def socket_address(folder_descriptor: "int", name: "str") -> "str":
    """A short path to a socket in an open folder: a Unix socket's path may have only 107 bytes (unix(7))."""
    return "/proc/self/fd/%d/%s" % (folder_descriptor, name)


def run_facts(job: "Dict[str, Any]", pid: "Optional[int]") -> "bytes":
    """What a lock's file says; always as long, so that a reader never sees half of it."""
    return json.dumps(dict(job, pid=pid)).encode().ljust(256)


class _Listener(object):
    def __init__(self, folder: "str") -> "None":
        self._folder = os.open(folder, os.O_RDONLY)
        self._path = folder + "/%d.sock" % os.getpid()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(socket_address(self._folder, os.path.basename(self._path)))
        self._socket.listen(1)
        self._socket.settimeout(WAIT_SECONDS)

    def accept(self) -> "Optional[Tuple[Dict[str, Any], int]]":
        """``(order, lock)`` from whoever comes first, or None after `WAIT_SECONDS`."""
        try:
            connection, _ = self._socket.accept()
        except socket.timeout:
            return None
        finally:
            os.unlink(self._path)
            self._socket.close()
            os.close(self._folder)
        return _receive(connection, 5.0, answer=True)


def _receive(
    connection: "socket.socket", patience: "float", answer: "bool"
) -> "Optional[Tuple[Dict[str, Any], int]]":
    """``(order, lock)`` from the other end, which is told our process id if it wants an `answer`; None when nothing comes."""
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
    """Fork a process for each socket but the first; in each, its own one is answered and the others are closed."""
    own = connections[0]
    for connection in connections[1:]:
        if os.fork() == 0:
            # Its parent ends at once: it is nobody's child, and nobody has to wait for it.
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


def main(argv: "List[str]") -> "int":
    """``idle FOLDER SOCKET,SOCKET…``: be as many workers as there are open sockets.

    Each works on what comes by its socket, then waits in FOLDER for others.
    """
    # Once for all workers and all their executors, which are forked from this process.
    import ctypes  # noqa: F401
    import resource  # noqa: F401

    import cloudpickle  # noqa: F401

    from .child import Executor, scratch_folder

    folder, connections = argv[0], [socket.socket(fileno=int(number)) for number in argv[1].split(",")]
    for connection in connections:
        connection.set_inheritable(False)
    connection = _one_of(connections)
    state: "Dict[str, Optional[Supervisor]]" = {"supervisor": None}

    def stop(number: "int", frame: "Optional[FrameType]") -> "None":
        if state["supervisor"] is None:
            os._exit(0)
        state["supervisor"].stop = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ready = Executor(scratch_folder())
    accepted = _receive(connection, WAIT_SECONDS, answer=False)
    while accepted is not None:
        order, lock = accepted
        os.pwrite(lock, run_facts(order["job"], os.getpid()), 0)
        for name in ("stdout", "stderr"):
            descriptor = os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(descriptor, 1 if name == "stdout" else 2)
            os.close(descriptor)
        code = entry.work(
            "file",
            order["map"],
            order["worker"],
            notify=lambda supervisor: state.__setitem__("supervisor", supervisor),
            setting={"folder": order["folder"], "environ": order["environ"], "path": order["path"]},
            ready=ready,
            not_for_executor=(lock,),
        )
        supervisor, state["supervisor"] = state["supervisor"], None
        # Who removes a map that is complete means the map, not its workers.
        stopped = supervisor is not None and supervisor.stop and not supervisor.ran_dry
        os.close(lock)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.close(null)
        if stopped or code not in (0, entry.EXIT_GONE):
            return code
        # What the next map needs anyway is done while nobody waits.
        ready = Executor(scratch_folder())
        try:
            listener = _Listener(folder)
        except OSError:
            ready.close(kill=True)
            return code
        accepted = listener.accept()
    ready.close(kill=True)
    return 0
