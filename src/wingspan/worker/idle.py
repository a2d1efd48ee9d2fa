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
        connection.settimeout(5.0)
        try:
            data, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 1)
            while not data.endswith(b"\n"):
                more = connection.recv(1 << 20)
                if not more:
                    return None
                data += more
            connection.sendall(b"%d\n" % os.getpid())
        except OSError:
            return None
        finally:
            connection.close()
        return json.loads(data.decode()), descriptors[0]


def main(argv: "List[str]") -> "int":
    """``idle FOLDER LOCK ORDER``: work on the order (JSON), then wait in FOLDER for others."""
    folder, lock, order = argv[0], int(argv[1]), json.loads(argv[2])
    os.set_inheritable(lock, False)
    state: "Dict[str, Optional[Supervisor]]" = {"supervisor": None}

    def stop(number: "int", frame: "Optional[FrameType]") -> "None":
        if state["supervisor"] is None:
            os._exit(0)
        state["supervisor"].stop = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ready = None
    while True:
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
        stopped = state["supervisor"] is not None and state["supervisor"].stop
        state["supervisor"] = None
        os.close(lock)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.close(null)
        if stopped or code not in (0, entry.EXIT_GONE) or not hasattr(socket, "recv_fds"):
            return code
        # What the next map needs anyway is done while nobody waits.
        import cloudpickle  # noqa: F401

        from .supervisor import Executor, scratch_folder

        ready = Executor(scratch_folder())
        try:
            listener = _Listener(folder)
        except OSError:
            ready.close(kill=True)
            return code
        accepted = listener.accept()
        if accepted is None:
            ready.close(kill=True)
            return 0
        order, lock = accepted
