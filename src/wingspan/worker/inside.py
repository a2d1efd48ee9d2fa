"""What a component's function can ask of Wingspan while it is called: `component` and `once`.

On a worker ``import wingspan`` finds both, whether Wingspan is installed there or not (see `absent`). Where
it is installed, its own copy of this module asks the worker's. At the desk, where a function is tried out by
calling it, `component` answers a stand-in.
"""

import os
import sys

from . import absent, seeds
from .ending import forked_off
from .printed import Printed
from .scratch import own_prefix, scratch_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pathlib
    import random
    from typing import Any, Callable, Dict, List, Optional, Tuple, TypeVar

    from .channel import Speaker
    from .departing import Departures

    Loaded = TypeVar("Loaded")

#: Characters of a message that are shown.
MOST_CHARACTERS = 200


class Component(object):
    """The component that is being done: one input of a map. `component` answers it.

    Attributes:
        number: Its number in the map, from 0; None at the desk.
        attempt: 1 the first time, 2 when it is tried again after an error (`Options.retries`), and so on.
        tag: The map's tag when its worker began; None at the desk.
    """

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
            ValueError: A name cannot be one on the access point: it has an end of a line in it, say.
            OSError: It could not be sent: the disk there is full, say.

        At the desk nothing is sent, but a file that is missing is told.
        """
        for path in paths:
            os.stat(path)

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


class _AtWork(Component):
    """The component that this executor calls the function for."""

    def __init__(self, work: "Work", at: "Tuple[int, int, int]") -> "None":
        self.at = at
        self._work = work
        self._pid = os.getpid()
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

    def progress(self, fraction: "float", message: "str" = "") -> "None":
        fraction, message = _checked(fraction, message)
        self._work.speaker.say(kind="progress", at=self.at, fraction=fraction, message=message)


class Work(object):
    """What the executor knows of its work; `install` it, and `component` answers from it.

    Attributes:
        facts: Of the map: its `tag` and its `seed`.
        open: The component has something that must be cleared away when it is done.

    Args:
        position: Answers ``(round, attempts before, component)``, or None between two components.
        speaker: To the supervisor.
        facts: See above.
        departures: What sends files.
    """

    def __init__(
        self,
        position: "Callable[[], Optional[Tuple[int, int, int]]]",
        speaker: "Speaker",
        facts: "Dict[str, Any]",
        departures: "Departures",
    ) -> "None":
        self.position, self.speaker, self.facts = position, speaker, facts
        self.departures = departures
        self.open = False
        self._current: "Optional[_AtWork]" = None

    def current(self) -> "Component":
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
    """Executor: this is what `component` answers from."""
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


def _new_folder(prefix: "str") -> "pathlib.Path":
    import pathlib
    import tempfile

    return pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir=scratch_folder()))


absent.HERE.update(Component=Component, component=component)
