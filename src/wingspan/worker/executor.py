"""The process that calls the user's function. Forked from the supervisor; may die at any moment without harm.

It reads chunks of inputs from one pipe and writes one whole record a component to another (see `pipes`).
"""

import functools
import gc
import os
import pickle
import sys
from array import array

from . import failure, inside, pipes, rebuild
from .calling import Caller
from .departing import Departures
from .ending import Beginning, end_in_order, silence_forks
from .pickling import Dumper
from .printed import printing_to, unbuffer_c
from .scratch import scratch_folder
from .streams import Stream
from .surroundings import Surroundings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Container, Dict, List, NoReturn, Optional, Sequence, Tuple

    from .arriving import Arrivals
    from .channel import Speaker
    from .slots import Slots
    from .stored import Values

#: How the libraries that threadpoolctl knows are told, before they are imported, how many threads to start.
THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "FLEXIBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def die_with_parent(parent: "int") -> "None":
    """Ask the kernel to kill this process when its parent dies (prctl(2), PR_SET_PDEATHSIG); on other systems
    the closed pipe ends it.
    """
    if sys.platform.startswith("linux"):
        try:
            import ctypes

            ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
        except Exception:
            return
    if os.getppid() != parent:
        os._exit(0)


def _sources() -> "Container[str]":
    """File names of our own code, whose frames are no news to the user."""
    import pickle as pickle_module

    from . import own

    building = (rebuild.loads, rebuild.class_by_value, rebuild.function)
    ours = (_sources, Caller.call_one, Dumper.dumps, Stream.read) + building
    files = [one.__code__.co_filename for one in ours]
    # Those that begin so are frozen into Python, which leaves its importer out of tracebacks, too.
    frozen = ["<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>"]
    return frozenset(files + frozen + [own.install.__code__.co_filename, pickle_module.__file__])


def _lead_streams(out_file: "int", err_file: "int") -> "int":
    """Lead the standard streams to these files, for good; answers a descriptor from which nothing comes."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(out_file, 1)
    os.dup2(err_file, 2)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for good
    out, err = printing_to(1), printing_to(2)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__ = out, err  # type: ignore[misc]  # for good
    unbuffer_c()
    return null


def _settle(
    environ: "Optional[Dict[str, str]]",
    folder: "Optional[str]",
    cores: "Optional[int]",
    path: "Sequence[str]",
) -> "None":
    """Take over the variables, the folder, the number of threads and the path of modules that a map has."""
    if environ is not None and environ != dict(os.environ):
        os.environ.clear()
        os.environ.update(environ)
    if folder is not None and os.path.isdir(folder):
        os.chdir(folder)
    for name in THREAD_LIMITS:
        if cores:
            os.environ.setdefault(name, str(cores))
    sys.path.extend(entry for entry in path if entry not in sys.path)


def _warn_as(options: "Optional[List[str]]") -> "None":
    """Filter warnings as the Python does that made the map, where it was started with ``-W``."""
    if options and options != sys.warnoptions:
        import warnings

        sys.warnoptions[:] = options  # what children of `multiprocessing` are started with
        vars(warnings).get("_processoptions", id)(options)


def run(
    commands: "int",
    results: "int",
    board: "pipes.Board",
    slots: "Slots",
    out_file: "int",
    err_file: "int",
    speaker: "Speaker",
) -> "NoReturn":
    """Call the function on what comes; never returns.

    Args:
        commands, results: Pipe ends.
        board: The shared `Board`.
        slots: The shared `Slots`.
        out_file, err_file: Files that stdout and stderr go to.
        speaker: The way for what components say.
    """
    from . import compatibility

    null = _lead_streams(out_file, err_file)
    skip = _sources()
    silence_forks(commands, results, slots.free)
    try:
        # Before the setup is read: an executor is often started before anybody knows what for.
        here = compatibility.this_interpreter()
        dumper = Dumper()
    except BaseException as error:
        _refuse(results, failure.describe(error, "function", pickle.dumps, skip))
    function_length, setup, scratch = _take_over(commands, results, here)
    beginning = Beginning()
    streams = (null, out_file, err_file)
    # The function is in no variable here: what the user's code keeps must not be kept by this frame, too,
    # which has no end.
    caller = _caller(
        commands, results, board, slots, streams, speaker, dumper, skip, function_length, setup, scratch
    )
    while True:
        length, number, attempt, may_go_on, count, first = pipes.CHUNK.unpack(
            pipes.read_exactly(commands, pipes.CHUNK.size)
        )
        caller.may_go_on = may_go_on
        if not count:
            del caller
            end_in_order(beginning)
        if count == 1 and length > pipes.LARGE_INPUT:
            bounds = 2 * array("Q").itemsize
            pipes.read_exactly(commands, bounds)
            stream = Stream(pipes.coming(commands, length - bounds))
            caller.begin_large(number, attempt, first, stream)
            caller.call_one(0)
            caller.rest()
            continue
        caller.begin_chunk(number, attempt, first, count, memoryview(pipes.read_exactly(commands, length)))
        done = 0
        while done < count:
            if caller.fast and not may_go_on:
                done = caller.call_fast(done)
            if done < count:
                caller.call_one(done)
                done += 1
        caller.rest()


def _take_over(commands: "int", results: "int", here: "Dict[str, Any]") -> "Tuple[int, Dict[str, Any], str]":
    """Read what the map sets, and become its executor; a Python that cannot be it refuses.

    Returns how long the pickle of the function is, which comes next, what `_caller` wants to know, and the
    scratch folder.
    """
    from . import compatibility

    length, function_length = pipes.SETUP.unpack(pipes.read_exactly(commands, pipes.SETUP.size))
    facts, how, careful, folder, environ, path, cores, files, known = pickle.loads(
        pipes.read_exactly(commands, length)
    )
    scratch = scratch_folder()  # before the map's variables replace those that say where it is
    _settle(environ, folder, cores, path)
    incompatibility = compatibility.incompatibility(facts, here)
    if incompatibility is not None:
        _refuse(results, failure.crash("interpreter", incompatibility, executable=sys.executable))
    _warn_as(facts.get("warnings"))
    gc.enable()  # see `__main__`
    return function_length, {"how": how, "careful": careful, "files": files, "known": known}, scratch


def _caller(
    commands: "int",
    results: "int",
    board: "pipes.Board",
    slots: "Slots",
    streams: "Tuple[int, int, int]",
    speaker: "Speaker",
    dumper: "Dumper",
    skip: "Container[str]",
    function_length: "int",
    setup: "Dict[str, Any]",
    scratch: "str",
) -> "Caller":
    """What calls the function, which is read from `commands`; one that cannot be loaded is refused.

    Args:
        streams: What stands for stdin, and the files that stdout and stderr go to.
        setup, scratch: What `_take_over` returns.
    """
    files = setup["files"]
    arrivals = _arrivals(files, scratch)
    values = _values(files)
    try:
        call = _load_function(Stream(pipes.coming(commands, function_length)))
    except BaseException as error:
        _refuse(results, failure.describe(error, "function", dumper.exception, skip))
    surroundings = Surroundings(*streams)
    caller = Caller(
        CALLS[setup["how"]](call),
        results,
        board,
        slots,
        surroundings,
        streams[1:],
        dumper,
        skip,
        not setup["careful"],
        arrivals,
        values,
    )
    caller.work = inside.Work(
        caller.position,
        speaker,
        setup["known"],
        Departures(files, arrivals),
        lambda: surroundings.folder if arrivals is None else arrivals.folder,
    )
    inside.install(caller.work)
    return caller


def _arrivals(files: "Dict[str, Any]", scratch: "str") -> "Optional[Arrivals]":
    """What gets the files of components, if the map has any."""
    if not files["plan"]:
        return None
    from .arriving import Arrivals

    if "_CONDOR_SCRATCH_DIR" in os.environ:
        scratch = scratch_folder()  # that of the job which this worker is now
    sys.modules[rebuild.NAME].arrivals[0] = arrivals = Arrivals(files, scratch)
    return arrivals


def _values(files: "Dict[str, Any]") -> "Optional[Values]":
    """What fetches and sends values that lie in a store, if the map has one."""
    stores = sys.modules[rebuild.NAME].stores
    if not files.get("store"):
        stores[0] = _fetch_value  # of an earlier map, whose outputs are the inputs of this one
        return None
    from .stored import Values

    values = Values(files["store"])
    stores[0] = values.fetch
    return values


def _fetch_value(label: "str", url: "str", digest: "str", length: "int") -> "Any":
    from .stored import fetched

    return fetched(url, digest, length, scratch_folder(), {})


def _load_function(data: "Stream") -> "Callable[..., Any]":
    """The user's function, in a ``__main__`` of its own, with the own modules that came before it."""
    from . import own

    scratch = scratch_folder()
    own.become_main(scratch)
    modules = pickle.load(data)
    if modules is not None:
        own.install(modules, scratch)
    call: "Callable[..., Any]" = rebuild.load(data)
    data.drain()
    return call


def _starred(function: "Callable[..., Any]") -> "Callable[[Any], Any]":
    def call(pair: "Any") -> "Any":
        return function(*pair[0], **pair[1])

    return call


def _joined(function: "Callable[..., Any]") -> "Callable[[Any], Any]":
    def call(pickles: "Any") -> "Any":
        return function(*[rebuild.loads(one) for one in pickles])

    return call


def _reduced(function: "Callable[..., Any]") -> "Callable[[Any], Any]":
    def call(pickles: "Any") -> "Any":
        return functools.reduce(function, (rebuild.loads(one) for one in pickles))

    return call


#: What becomes of the function, by ``call`` of ``map.json``: an input is its argument; its arguments and
#: keywords; pickles of its arguments; pickles of what it is to join, two by two.
CALLS: "Dict[str, Callable[[Callable[..., Any]], Callable[[Any], Any]]]" = {
    "map": lambda function: function,
    "starmap": _starred,
    "joined": _joined,
    "reduce": _reduced,
}


def _refuse(results: "int", fields: "Dict[str, Any]") -> "NoReturn":
    payload = failure.dumps(fields)
    pipes.write_all(results, pipes.GROUP.pack(0, 0, 0, len(payload), 0.0, 0, 0, 0, 0) + payload)
    os._exit(0)
