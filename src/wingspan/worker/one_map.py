"""The life of a worker of one map, from the map's folder to an exit code."""

import json
import os
import sys

from .connecting import connect
from .scratch import scratch_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Optional, Set

    from .supervisor import Supervisor

#: sysexits(3) EX_CONFIG: this machine cannot do the work. EX_UNAVAILABLE: the map is not there any more.
EXIT_REFUSED = 78
EXIT_GONE = 69
#: EX_TEMPFAIL: the way to the map's folder broke off, its disk is full: HTCondor starts the worker again.
EXIT_TRY_AGAIN = 75
#: Nothing can be done yet: HTCondor starts the worker again after a pause. (Of the codes that programs may
#: choose, it is the one that checkpoints have: such a job is no worker.)
EXIT_LATER = 85
#: EX_PROTOCOL: chirp is switched off for this job: workers must be given their shares beforehand.
EXIT_NO_LINE = 76


def work(
    transport_name: "str",
    folder: "str",
    worker: "int",
    notify: "Optional[Callable[[Supervisor], None]]" = None,
    group: "Optional[str]" = None,
    **supervisor_arguments: "Any",
) -> "int":
    """Work as worker number `worker` of the map in `folder` until nothing is left to do; returns an exit
    code. With a `group` (`parts.digest_of`) it does components of that one only.
    """
    from . import transports
    from .supervisor import Stopped, Supervisor

    try:
        if transport_name == "transfer":
            from .shares import unpack

            folder = unpack(scratch_folder())
        transport = connect(transport_name, folder)
    except transports.NoLine as error:
        sys.stderr.write("wingspan worker: %s\n" % error)
        return EXIT_NO_LINE
    except Exception as error:
        sys.stderr.write(
            "wingspan worker: cannot reach the map's folder by %s: %s\n" % (transport_name, error)
        )
        return EXIT_TRY_AGAIN if transport_name == "chirp" else 74  # EX_IOERR
    supervisor = None
    try:
        info = json.loads(transport.read("map.json").decode())
        if group is not None:
            info["group"] = group
        if info.get("counts"):
            from .counting import Counting

            transport = Counting(transport)
        if "retires" in info:  # as its share says
            supervisor_arguments.setdefault("retires", info["retires"])
        supervisor = Supervisor(transport, worker, info, transport.read("key"), **supervisor_arguments)
        if notify is not None:
            notify(supervisor)
        if not _supervise(supervisor, transport, info):
            return EXIT_REFUSED
        return _code_at_the_end(transport_name, supervisor)
    except Stopped:
        return 0
    except transports.Gone:
        return EXIT_GONE
    except transports.NoLine as error:
        sys.stderr.write("wingspan worker: %s\n" % error)
        return EXIT_NO_LINE
    except Exception as error:
        if transport_name == "file" and (supervisor is None or not os.path.isdir(folder)):
            raise
        _tell_fault(error, supervisor)
        return EXIT_TRY_AGAIN
    finally:
        if transport_name == "transfer" and supervisor is not None:
            _finish(transport, supervisor)
        transport.close()


def _supervise(supervisor: "Supervisor", transport: "Any", info: "Dict[str, Any]") -> "bool":
    """Introduce this worker, and have components done. False: this Python cannot do them."""
    from . import compatibility, failure, formats
    from .streams import Function

    function = Function(transport, "function.pkl", info.get("function_bytes"))
    facts = function.facts
    supervisor.outbox.add(formats.HELLO, payload=json.dumps(_facts_of_this_worker()).encode())
    # Compare the Python version first, without importing cloudpickle. The executor compares everything.
    incompatibility = compatibility.incompatibility(facts, dict(facts, **compatibility.this_python()))
    if incompatibility is not None:
        sys.stderr.write("wingspan worker: %s\n" % incompatibility)
        supervisor.refuse(failure.crash("interpreter", incompatibility, executable=sys.executable))
        return False
    return supervisor.run(facts, function)


def _tell_fault(error: "Exception", supervisor: "Optional[Supervisor]") -> "None":
    """Tell of a fault of ours, not the user's (a file of the map that is cut, a full disk), so that nobody
    waits in vain.
    """
    import pickle
    import traceback

    from . import failure

    traceback.print_exception(type(error), error, error.__traceback__)
    try:
        if supervisor is not None:
            supervisor.refuse(failure.describe(error, "worker", pickle.dumps))
    except Exception:
        sys.stderr.write("wingspan worker: and this cannot be told either\n")


def _code_at_the_end(transport_name: "str", supervisor: "Supervisor") -> "int":
    """The exit code of a worker that has ended in order."""
    if supervisor.came_early and "_CONDOR_SCRATCH_DIR" in os.environ:
        return EXIT_LATER
    if transport_name == "transfer" and supervisor.retired_early and not supervisor.stop:
        from .shares import EXIT_CHECKPOINT

        return EXIT_CHECKPOINT
    return 0


def _finish(transport: "Any", supervisor: "Supervisor") -> "None":
    is_done = not (supervisor.stop or supervisor.retired_early or supervisor.refused)
    transport.finish(supervisor.name, is_done)


def _facts_of_this_worker() -> "Dict[str, Any]":
    """The facts that it records before anything else."""
    return {
        "host": os.uname()[1],  # the module socket takes longer to import than everything else here
        "pid": os.getpid(),
        "python": sys.version.split()[0],
        "executable": sys.executable,
        "slot": os.environ.get("_CONDOR_SLOT"),
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "gpu": _gpu_models(),
        "scratch": scratch_folder(),
    }


def _gpu_models() -> "Optional[str]":
    """Models of this machine's NVIDIA GPUs, as the driver tells them; None: there are none."""
    folder = "/proc/driver/nvidia/gpus"
    models: "Set[str]" = set()
    try:
        for gpu in os.listdir(folder):
            with open("%s/%s/information" % (folder, gpu)) as file:
                models.update(line[6:].strip() for line in file if line.startswith("Model:"))
    except OSError:
        pass
    return ", ".join(sorted(models)) or None
