"""What a component's function can ask of Wingspan while it is called: `component` and `once`.

On a worker ``import wingspan`` finds both, whether Wingspan is installed there or not (see `absent`). Where
it is installed, its own copy of this module asks the worker's. At the desk, where a function is tried out by
calling it, `component` answers a stand-in.
"""

import json
import os
import sys

from . import absent, checkpoints, seeds
from .ending import forked_off
from .loaded import once
from .printed import Printed
from .scratch import own_prefix, scratch_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pathlib
    import random
    from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, TypeVar, Union

    from .channel import Speaker
    from .departing import Departures

    Loaded = TypeVar("Loaded")
    PathLike = Union[str, "os.PathLike[str]"]

#: Characters of a message that are shown.
MOST_CHARACTERS = 200
#: A component's checkpoints by chirp are so many seconds apart at least: each is a few operations on the
#: access point, which has many workers.
CHECKPOINT_SECONDS = 1.0


class Component(object):
    """The component that is being done: one input of a map. `component` answers it.

    Attributes:
        number: Its number in the map, from 0; None at the desk.
        attempt: 1 the first time, 2 when it is tried again after an error (`Options.retries`), and so on.
        tag: The map's tag when its worker began; None at the desk.
        restored: The files of its last `checkpoint` are back where they were: go on from there.
    """

    restored = False

    def __init__(
        self, number: "Optional[int]", attempt: "int", tag: "Optional[str]", entropy: "int"
    ) -> "None":
        self.number = number
        self.attempt = attempt
        self.tag = tag
        self._entropy = entropy
        self._scratch: "Optional[pathlib.Path]" = None

    def __repr__(self) -> "str":
        if self.number is None:
            return "<wingspan component, at the desk>"
        return "<wingspan component %d of %s, attempt %d>" % (self.number, self.tag, self.attempt)

    # -- random numbers --------------------------------------------------------------------------------------

    @property
    def seed(self) -> "int":
        """A seed of its own: 128 bits that no other component of the map has.

        It follows from the map's seed (`Options.seed`) and the component's number alone: it is the same for
        each attempt and each rerun, on whichever worker. Its bits are those of
        ``numpy.random.SeedSequence(map_seed, spawn_key=(number,)).generate_state(4)``, with numpy or without.
        """
        if self.number is None:
            return self._entropy
        return seeds.seed_of(self._entropy, self.number)

    @property
    def seed_sequence(self) -> "Any":
        """``numpy.random.SeedSequence(map_seed, spawn_key=(number,))``: for numpy's generators, and to spawn
        further ones.

        Raises:
            ImportError: numpy is not there.
        """
        import importlib

        numpy_random = importlib.import_module("numpy.random")
        return numpy_random.SeedSequence(
            self._entropy, spawn_key=() if self.number is None else (self.number,)
        )

    def random(self) -> "random.Random":
        """A new `random.Random` that begins with its `seed`: the same numbers each time the component is
        done.
        """
        import random

        return random.Random(self.seed)  # noqa: S311

    # -- files -----------------------------------------------------------------------------------------------

    @property
    def scratch(self) -> "pathlib.Path":
        """An empty folder for this component alone, on the worker's own disk. It is removed, with all that is
        in it, when the component is done.
        """
        if self._scratch is None:
            self._scratch = self._make_scratch()
        return self._scratch

    def _make_scratch(self) -> "pathlib.Path":
        import atexit
        import shutil

        made = _new_folder("wingspan-scratch-")
        atexit.register(shutil.rmtree, str(made), True)
        return made

    def transfer_output_files(self, *paths: "Any") -> "None":
        """Send files and folders to the map's folder: there ``m.output_files[number]`` is their folder.

        They are sent before the call returns, and stay where they are here. What is sent again replaces what
        was sent before. They count once the component is done; one that fails leaves those that it sent
        before.

        Args:
            paths: Relative ones are relative to the working folder that the component began in, and keep
                their folders; others have the last part of their path as their name.

        Raises:
            FileNotFoundError: One of them is not there; nothing was sent then.
            ValueError: A name cannot be one on the access point: it has an end of a line in it, say; or two
                different files would have one place there. Nothing was sent then.
            OSError: It could not be sent: the disk there is full, say.

        At the desk nothing is sent, but a file that is missing is told.
        """
        for path in paths:
            os.stat(path)

    def checkpoint(self, *paths: "PathLike") -> "None":
        """Keep these files, so that the component goes on from them if it is begun again: after an eviction,
        a hold, a crash of its process, its worker or its machine, a retry and a `Map.rerun`.

        When this returns, copies lie with the map's other files on the access point. When the component is
        begun again, the files are put back where they were before the function is called, and `restored` is
        true. Checkpoints are whole or not there: if this worker dies while it copies, the one before counts.
        They go when the component has its output; another function (``m.rerun(function=f)``) does not get
        them.

        Give all that belongs together in one call: each call stands for the ones before it. On HTCondor a
        component's calls are a second apart at least: this waits until then.

        Args:
            paths: Files, and folders with all the files in them, in the working folder or in `scratch`.

        Raises:
            FileNotFoundError: There is no such file.
            OSError: The copies could not be made; the checkpoint before this one still counts.
            RuntimeError: This is a process that the function has forked off.
            ValueError: No path is given, or one lies elsewhere.
        """
        _files_of(paths, [(checkpoints.SCRATCH, str(self.scratch)), (checkpoints.WORK, os.getcwd())])

    # -- what others have, too -------------------------------------------------------------------------------

    def once(self, function: "Callable[..., Loaded]", *args: "Any", **kwargs: "Any") -> "Loaded":
        """What `function` returns, loaded once for all components that this process does: `wingspan.once`."""
        return once(function, *args, **kwargs)

    # -- what it says ----------------------------------------------------------------------------------------

    def progress(self, fraction: "float", message: "str" = "") -> "None":
        """Say how far it is: ``m.progress`` and ``wingspan status TAG`` show it while the component runs.

        Call it as often as you like: the newest is sent now and then, half a second apart at least, and less
        often the longer the component takes.

        Args:
            fraction: 0 at its beginning, 1 at its end.
            message: What it is at, in a few words; one line is shown, up to 200 characters.
        """
        fraction, message = _checked(fraction, message)
        told = " " + message if message else ""
        sys.stderr.write("%3.0f %%%s\n" % (100 * fraction, told))


def _checked(fraction: "float", message: "str") -> "Tuple[float, str]":
    number = float(fraction)
    if number != number:
        raise ValueError("the fraction is no number: give 0 at the beginning and 1 at the end")
    return min(1.0, max(0.0, number)), " ".join(str(message).split())[:MOST_CHARACTERS]


def _files_of(paths: "Sequence[PathLike]", places: "Sequence[Tuple[str, str]]") -> "List[Dict[str, Any]]":
    """The files that a checkpoint is to hold: see `checkpoints.Checkpoints.write`.

    Args:
        paths: Files and folders.
        places: Folders that they may lie in: what it is called in the checkpoint, and its path.
    """
    if not paths:
        raise ValueError("checkpoint: name the files to keep")
    found: "Dict[str, Dict[str, Any]]" = {}
    for path in paths:
        given = os.path.abspath(os.fspath(path))
        whole = os.path.join(os.path.realpath(os.path.dirname(given)), os.path.basename(given))
        homes = [(name, os.path.realpath(place)) for name, place in places]
        homes = [
            (name, home)
            for name, home in homes
            if whole.startswith(home + os.sep) or (whole == home and name == checkpoints.SCRATCH)
        ]
        if not homes:
            raise ValueError(
                "checkpoint: %s lies neither in the working folder nor in wingspan.component().scratch"
                % os.fspath(path)
            )
        name, home = homes[0]
        sources = [whole]
        if os.path.isdir(whole):
            sources = [os.path.join(folder, one) for folder, _, files in os.walk(whole) for one in files]
        for source in sources:
            facts = os.stat(source)
            found[source] = {
                "folder": name,
                "path": os.path.relpath(source, home),
                "size": facts.st_size,
                "mode": facts.st_mode & 0o777,
                "source": source,
            }
    return list(found.values())


class _AtWork(Component):
    """The component that this executor calls the function for."""

    def __init__(self, work: "Work", at: "Tuple[int, int, int]") -> "None":
        self.at = at
        self._work = work
        self._pid = work.pid
        self._folder = work.folder()
        self._kept_at = float("-inf")
        facts = work.facts
        Component.__init__(self, at[2], at[1] + 1, facts.get("tag"), facts.get("seed") or 0)

    def _make_scratch(self) -> "pathlib.Path":
        self._keep()
        # The supervisor removes what is called so, should this process be killed.
        return _new_folder(own_prefix(self._pid) + "scratch-")

    def _keep(self) -> "None":
        """See to it that `clear` is called when the component is done."""
        if self._pid != os.getpid():
            raise RuntimeError(
                "this has to be called by the component's own process, and not by one that it has forked off; "
                "for a scratch folder, call wingspan.component().scratch there first"
            )
        self._work.open = True
        Printed.written[0] = True  # it is told by itself, and not in one record with others

    def clear(self) -> "None":
        if self._scratch is not None and self._pid == os.getpid():
            import shutil

            shutil.rmtree(str(self._scratch), ignore_errors=True)
            self._scratch = None

    def transfer_output_files(self, *paths: "Any") -> "None":
        self._keep()
        self._work.departures.send(self.at[0], self.at[2], paths)

    def checkpoint(self, *paths: "PathLike") -> "None":
        import time

        places = [(checkpoints.WORK, self._folder)]
        if self._scratch is not None:
            places.insert(0, (checkpoints.SCRATCH, str(self._scratch)))
        files = _files_of(paths, places)
        if self._work.facts.get("way") == "chirp":
            time.sleep(max(0.0, self._kept_at + CHECKPOINT_SECONDS - time.monotonic()))
        descriptor, told = _new_file(own_prefix(os.getpid()) + "checkpoint-")
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump(files, file)
            self._work.speaker.ask(kind="checkpoint", at=self.at, files=told)
        finally:
            os.unlink(told)
        self._kept_at = time.monotonic()
        self._are_kept(files)

    def _are_kept(self, files: "List[Dict[str, Any]]") -> "None":
        """Files that a checkpoint has are not told of as lost."""
        self._work.departures.keep(one["path"] for one in files if one["folder"] == checkpoints.WORK)

    def restore(self) -> "None":
        """Put back the files of the last checkpoint, if there is one."""
        import shutil

        folder = str(_new_folder(own_prefix(self._pid) + "restored-"))
        try:
            if not self._work.speaker.ask(kind="restore", at=self.at, folder=folder)["restored"]:
                return
            with open(os.path.join(folder, "files")) as file:
                files = json.load(file)
            for number, one in enumerate(files):
                home = str(self.scratch) if one["folder"] == checkpoints.SCRATCH else self._folder
                place = os.path.normpath(os.path.join(home, one["path"]))
                if not place.startswith(home + os.sep):
                    raise ValueError("the checkpoint has a file that lies elsewhere: %s" % one["path"])
                os.makedirs(os.path.dirname(place), exist_ok=True)
                source = os.path.join(folder, str(number))
                os.chmod(source, one["mode"])
                shutil.move(source, place)
            self._are_kept(files)
            self.restored = True
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def progress(self, fraction: "float", message: "str" = "") -> "None":
        fraction, message = _checked(fraction, message)
        self._work.speaker.say(kind="progress", at=self.at, fraction=fraction, message=message)


class Work(object):
    """What the executor knows of its work; `install` it, and `component` answers from it.

    Attributes:
        facts: Of the map: its `tag` and its `seed`.
        open: The component has something that must be cleared away when it is done.
        pid: The process that calls the function, and not one that it forks off.

    Args:
        position: Answers ``(round, attempts before, component)``, or None between two components.
        speaker: To the supervisor.
        facts: See above.
        departures: What sends files.
        folder: Answers the folder that the component was begun in.
    """

    def __init__(
        self,
        position: "Callable[[], Optional[Tuple[int, int, int]]]",
        speaker: "Speaker",
        facts: "Dict[str, Any]",
        departures: "Departures",
        folder: "Callable[[], str]",
    ) -> "None":
        self.position, self.speaker, self.facts = position, speaker, facts
        self.departures, self.folder = departures, folder
        self.open = False
        self.pid = os.getpid()
        self._current: "Optional[_AtWork]" = None

    def current(self) -> "_AtWork":
        at = self.position()
        if at is None:
            raise RuntimeError(
                "no component is being done now: wingspan.component() is for the function of a map, and what it calls"
            )
        current = self._current
        if current is None or current.at != at:
            current = self._current = _AtWork(self, at)
        return current

    def finish(self, failed: "bool" = False) -> "None":
        """The function has returned, or has `failed`: the files that it has sent are whole.

        Raises:
            OSError: They cannot be put in place; not raised if it has failed anyway.
        """
        try:
            self.departures.finish()
        except OSError:
            if not failed:
                raise

    def restore(self) -> "None":
        """The component begins, and it may have a checkpoint."""
        self.current().restore()

    def clear(self) -> "None":
        """The component is done."""
        self.open = False
        current, self._current = self._current, None
        if current is not None and not forked_off[0]:
            current.clear()


#: The work of this executor; the stand-in at the desk.
_work: "List[Work]" = []
_desk: "List[Component]" = []


def install(work: "Work") -> "None":
    """Executor: `component` answers from this work."""
    _work[:] = [work]


def _of_the_worker() -> "Any":
    """The copy of this module that belongs to the worker, if that is another one."""
    name = "wingspan_worker.inside"
    return None if __name__ == name else sys.modules.get(name)


def component() -> "Component":
    """The component that is being done, from inside of the function that does it.

    Outside, at a prompt or in a test, it is a stand-in, so that a function can be tried out by calling it:
    its `Component.number` is None, its scratch folder a temporary one, and progress is printed to standard
    error.

    Raises:
        RuntimeError: A worker asks, and is not at a component: own code is being imported, for instance.

    >>> component().number is None
    True
    """
    other = _of_the_worker()
    if other is not None:
        answer: "Component" = other.component()
        return answer
    if _work:
        return _work[0].current()
    if not _desk:
        _desk.append(Component(None, 1, None, int.from_bytes(os.urandom(16), "little")))
    return _desk[0]


def _new_file(prefix: "str") -> "Tuple[int, str]":
    import tempfile

    return tempfile.mkstemp(prefix=prefix, dir=scratch_folder())


def _new_folder(prefix: "str") -> "pathlib.Path":
    import pathlib
    import tempfile

    return pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir=scratch_folder()))


absent.HERE.update(Component=Component, component=component)
