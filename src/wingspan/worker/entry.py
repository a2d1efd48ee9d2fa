"""Starting a worker: ``python worker.pyz TRANSPORT FOLDER FIRST NUMBER [GROUP]``, or ``python worker.pyz
idle …`` for one that waits for maps.
"""

import os
import signal
import sys

from .one_map import work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Dict, List, Optional

    from .supervisor import Supervisor


def main(argv: "List[str]") -> "int":
    """The command line of the zipapp."""
    sys.path[:] = [path for path in sys.path if path]
    if argv[0] == "idle":
        from . import idle

        return idle.main(argv[1:])
    transport, folder, first, process = argv[:4]
    scratch = os.environ.get("_CONDOR_SCRATCH_DIR")
    if scratch and os.path.isdir(scratch):
        os.chdir(
            scratch
        )  # where HTCondor starts a job without file transfer, its relative paths would lead into the map
    if "_WINGSPAN_PERSONAL_POOL" in os.environ:
        from . import idle

        remembered = os.environ.pop(idle.REMEMBER, None)
        if remembered is not None:
            idle.remember(remembered)
        idle.give_way(folder, int(first) + int(process))
    state: "Dict[str, Supervisor]" = {}

    def stop(number: "int", frame: "Optional[FrameType]") -> "None":
        if "supervisor" in state:
            state["supervisor"].stop = True
        else:
            os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Once for both processes, each of which needs it.
    import ctypes  # noqa: F401
    import gc

    from .child import Executor
    from .scratch import scratch_folder

    if hasattr(gc, "freeze"):  # Python 3.7
        gc.freeze()  # what is imported stays: the collections of neither process look at it
    return work(
        transport,
        folder,
        int(first) + int(process),
        notify=lambda it: state.__setitem__("supervisor", it),
        group=argv[4] if len(argv) > 4 else None,
        ready=Executor(scratch_folder()),  # it imports what it needs while this process reads the map
    )
