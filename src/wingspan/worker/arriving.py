"""Files that components get: each component of a map with files has a working folder of its own, and finds
them there.

A file that travels in the arguments (`TransferPath`), or that belongs to a component, is copied when the
component begins: from its path if this machine sees the file there, else by chirp, piece by piece. The files
that all components get are there once a worker, and are linked into each folder.
"""

import errno
import json
import os
import time

from . import formats, trust
from .connecting import Connected
from .new_files import MOST_TOLD, NOT_MISSED
from .scratch import current_folder, own_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Sequence, Set, Tuple

    from .transports import Transport

    #: What the pickle of a file says: its path as the owner wrote it, protocol and location of a URL, the
    #: whole path or URL, and how it is: None for a URL, ``("file", bytes, when it was written (ns), whether
    #: it is a program)``, or ``("folder", [(path in it, and the same three)], [paths of folders in it])``.
    Spec = Tuple[str, Optional[str], Optional[str], str, Any]

#: Folder of a map with the files that all its components get.
FIXED = "input_files"


def setting_of(transport: "Transport", info: "Mapping[str, Any]", worker: "str") -> "Dict[str, Any]":
    """What an executor is told about the files of its components: plain values.

    Args:
        transport: The supervisor's way to the map's folder.
        info: The contents of ``map.json``.
        worker: Name of this start of the worker.
    """
    folder = getattr(transport, "folder", "")
    return {
        "plan": info.get("files"),
        "store": info.get("store"),
        "transport": transport.name,
        "map": folder,
        "worker": worker,
    }


#: Variables that programs of HTMap's ask for: each of their components has a folder of its own.
_OF_HTMAP = ("HTMAP_ON_EXECUTE", "HTMAP_COMPONENT")


class Arrivals(Connected):
    """Gets the files of components. The executor of a map with files puts it in place of `rebuild.arrivals`.

    Args:
        setting: What `setting_of` says.
        scratch: Where this process may put files.
    """

    def __init__(self, setting: "Mapping[str, Any]", scratch: "str") -> "None":
        Connected.__init__(self, setting)
        self._fixed: "Sequence[Sequence[str]]" = setting["plan"].get("fixed") or ()
        self._scratch = os.path.join(scratch, own_prefix(os.getpid()) + "files")
        self._home = current_folder()
        self._fixed_places: "Optional[Dict[str, str]]" = None
        #: Folder of the component that is being done, or of the function.
        self.folder = ""
        self._known: "Dict[str, str]" = {}
        #: Numbered folders in it, for files whose name is taken.
        self._numbered: "Set[str]" = set()
        #: What was in it when the function began; None until then.
        self._inputs: "Optional[FrozenSet[str]]" = None
        self._told = 0
        self._begin("function")

    # -- a component's folder --------------------------------------------------------------------------------

    def begin(self, name: "str") -> "None":
        """Make the folder of a component, with the files that all components get; its own files are put there
        from now on.
        """
        self._begin(name)
        for fixed, place in self._all_fixed().items():
            os.symlink(place, os.path.join(self.folder, fixed))

    def _begin(self, name: "str") -> "None":
        self.folder = os.path.join(self._scratch, name)
        self._known, self._numbered, self._inputs = {}, set(), None
        if os.path.lexists(self.folder):
            self._remove()  # the same component before, by this very process
        trust.make_folder(self.folder)

    def enter(self) -> "None":
        """Let the function run in the folder."""
        self._inputs = frozenset(os.listdir(self.folder))
        os.chdir(self.folder)
        os.environ.update(HTMAP_ON_EXECUTE="1", HTMAP_COMPONENT=os.path.basename(self.folder))

    def leave(self, sent: "Set[str]") -> "Tuple[bytes, bytes]":
        """The component is done, and has `sent` these files.

        Returns headers and payloads of records about what else it leaves.
        """
        for name in _OF_HTMAP:
            os.environ.pop(name, None)
        try:
            os.chdir(self._home)
        except OSError:
            pass  # it was removed
        left = [name for name in self._left() if name not in sent][: MOST_TOLD - self._told]
        if not left:
            return b"", b""
        self._told += len(left)
        payload = json.dumps(left).encode()
        return formats.RECORD.pack(
            formats.LEFT, 0, 1, 0, formats.NO_COMPONENT, time.time(), 0.0, 0.0, 0, len(payload)
        ), payload

    def clear(self) -> "None":
        """Whatever the component has left in its folder goes."""
        self._remove()

    def _left(self) -> "List[str]":
        """Names of what the function has put into its folder."""
        if self._inputs is None:
            return []
        try:
            names = set(os.listdir(self.folder)) - self._inputs - NOT_MISSED
        except OSError:
            return []
        return sorted(name for name in names if not name.startswith("."))

    def _remove(self) -> "None":
        import shutil

        shutil.rmtree(self.folder, ignore_errors=True)

    # -- files in arguments ----------------------------------------------------------------------------------

    def path(self, spec: "Spec") -> "Any":
        """Where the copy of a `TransferPath` is: a `pathlib.Path`."""
        import pathlib

        source = spec[3]
        if source not in self._known:
            self._known[source] = self._put(spec, self._free_place(name_of(source)))
        return pathlib.Path(self._known[source])

    def put_all(self, specs: "Sequence[Spec]") -> "None":
        """Put the files of one component into its folder, under their own names."""
        for spec in specs:
            self._put(spec, os.path.join(self.folder, name_of(spec[3])))

    def _free_place(self, name: "str") -> "str":
        """Where a file of this name goes: into the folder, or a numbered one in it if the name is taken."""
        place, number = os.path.join(self.folder, name), 0
        while os.path.lexists(place):
            number += 1
            numbered = os.path.join(self.folder, str(number))
            if numbered not in self._numbered and not os.path.lexists(numbered):
                os.mkdir(numbered, trust.FOLDER)
                self._numbered.add(numbered)
            if numbered in self._numbered:
                place = os.path.join(numbered, name)
        return place

    def _put(self, spec: "Spec", place: "str") -> "str":
        _, _, _, source, state = spec
        if state is None:
            from .urls import fetch

            fetch(source, place)
        elif state[0] == "folder":
            os.mkdir(place, 0o700)
            for folder in state[2]:
                trust.make_folder(os.path.join(place, folder))
            for name, size, written, program in state[1]:
                self._copy(os.path.join(source, name), (size, written, program), os.path.join(place, name))
        else:
            self._copy(source, state[1:], place)
        return place

    def _copy(self, source: "str", known: "Tuple[int, int, bool]", place: "str") -> "None":
        """Copy one file, which must be as it was when the map was made.

        Raises:
            FileNotFoundError: It is not there any more, or the worker does not see it.
            OSError: It has changed; or it cannot be read, or written here.
        """
        size, written, program = known
        source = (self._setting["plan"].get("moved") or {}).get(source, source)
        try:
            facts: "Optional[os.stat_result]" = os.stat(source)
        except OSError:
            facts = None
        if (
            facts is not None
            and self._is_same(facts, size, written)
            and (self._setting["transport"] == "file" or os.access(source, os.R_OK))
        ):
            trust.copy_file(source, place)
            if os.stat(place).st_size != size:
                raise _changed(source)
            return
        # Another machine's file of that name, or none: the access point has it.
        if self.transport.name == "file":
            if facts is None:
                raise _missing(source)
            raise _changed(source)
        there = self.transport.facts_of(source)
        if there is None:
            raise _missing(source)
        if there != (size, written // 10**9):
            raise _changed(source)
        self._receive(source, size, place, program)

    def _is_same(self, facts: "os.stat_result", size: "int", written: "int") -> "bool":
        """Whether a file that is seen here is the one that was noted when the map was made.

        File systems keep times more or less exactly. Where there is no other way to the file, and so no doubt
        which one it is, a second is exact enough.
        """
        if self._setting["transport"] == "file":
            return (facts.st_size, facts.st_mtime_ns // 10**9) == (size, written // 10**9)
        return (facts.st_size, facts.st_mtime_ns) == (size, written)

    def _receive(self, source: "str", size: "int", place: "str", program: "bool") -> "None":
        mode = trust.PROGRAM if program else trust.FILE
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            if self.transport.receive(source, descriptor) != size:
                raise _changed(source)
        finally:
            os.close(descriptor)

    # -- files that all components get -----------------------------------------------------------------------

    def _all_fixed(self) -> "Dict[str, str]":
        """Where they are on this machine, by name; a file that is missing is fetched once."""
        if self._fixed_places is None:
            self._fixed_places = {name: self._fixed_place(name, source) for name, source in self._fixed}
        return self._fixed_places

    def _fixed_place(self, name: "str", source: "str") -> "str":
        sent = os.environ.get("_CONDOR_SCRATCH_DIR")
        candidates = [os.path.join(self._setting["map"], FIXED, name)]
        if sent:
            # HTCondor gives what it fetched the last name of its URL.
            candidates[:0] = [
                os.path.join(sent, one) for one in ([name, name_of(source)] if source else [name])
            ]
        for place in candidates:
            if os.path.exists(place) and not os.path.islink(place):
                return place
        place = os.path.join(self._scratch, "fixed", name)
        trust.make_folder(os.path.dirname(place))
        if source:
            from .urls import fetch

            fetch(source, place)
        elif self.transport.name == "file":
            raise _missing(candidates[-1])
        else:
            self._receive_tree(candidates[-1], place)
        return place

    def _receive_tree(self, source: "str", place: "str") -> "None":
        """Get a file or a folder of the map by chirp."""
        names = self.transport.names_in(source)
        if names is None:
            facts = self.transport.facts_of(source)
            if facts is None:
                raise _missing(source)
            self._receive(source, facts[0], place, self.transport.is_program(source))
            return
        trust.make_folder(place)
        for name in names:
            self._receive_tree(source + "/" + name, os.path.join(place, name))


def name_of(source: "str") -> "str":
    """The name under which a file arrives: the last part of its path, where that can be a name."""
    name = source.rstrip("/").rpartition("/")[2]
    return "file" if name in ("", ".", "..") else name


def _missing(source: "str") -> "OSError":
    return FileNotFoundError(errno.ENOENT, "this input file is not there any more, or not seen here", source)


def _changed(source: "str") -> "OSError":
    return OSError("the input file %s has changed since the map was made" % source)
