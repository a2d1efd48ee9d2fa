"""The user's own modules on a worker.

They are imported from the source that came with the function, as it was when the map was made.

They come as one value of plain types (see `wingspan.maps._own`): the text of the files, the file of each
module, and those globals that differ from what the source makes. If the worker sees the caller's files,
modules keep their paths, so that files beside them are found. Elsewhere the files are written to the worker's
scratch folder.
"""

import importlib.machinery
import importlib.util
import os
import pickle
import sys
import types

from . import absent, together
from .scratch import own_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

#: The module that children of `multiprocessing` import in place of the user's ``__main__``.
MAIN = "wingspan_main"


def pack(own: "Optional[Dict[str, Any]]") -> "Optional[bytes]":
    """The value that precedes the pickle of a function in its file: packed own modules, or None."""
    if own is None:
        return None
    import zlib

    return zlib.compress(pickle.dumps(own, 4), 1)


def unpack(data: "bytes") -> "Dict[str, Any]":
    import zlib

    own: "Dict[str, Any]" = pickle.loads(zlib.decompress(data))
    return own


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module from text in memory. Its file name only says where the text comes from."""

    def __init__(self, finder: "Finder", name: "str", path: "str", text: "bytes", mtime: "int") -> "None":
        importlib.machinery.SourceFileLoader.__init__(self, name, path)
        self._finder, self._text, self._mtime = finder, text, mtime

    def source_to_code(self, data: "Any", path: "Any", *, _optimize: "int" = -1) -> "Any":  # type: ignore[override]
        # Tracebacks name the caller's file.
        return compile(data, self._finder.callers_path(path), "exec", dont_inherit=True, optimize=_optimize)

    def get_data(self, path: "Any") -> "bytes":
        if path == self.path:
            return self._text
        if os.stat(path).st_mtime_ns < self._mtime:
            raise OSError("compiled before the source was written, in the same second")
        return importlib.machinery.SourceFileLoader.get_data(self, path)

    def path_stats(self, path: "Any") -> "Mapping[str, Any]":
        # With these, Python finds the compiled file that the caller's Python left beside the source, if it
        # belongs to this text.
        return {"mtime": self._mtime // 10**9, "size": len(self._text)}

    def set_data(self, path: "Any", data: "Any", *, _mode: "int" = 0o666) -> "None":
        pass  # not beside the caller's files

    def exec_module(self, module: "types.ModuleType") -> "None":
        with self._finder.importing(module.__name__):
            importlib.machinery.SourceFileLoader.exec_module(self, module)


class _Importing(object):
    def __init__(self, finder: "Finder", name: "str") -> "None":
        self._finder, self._name = finder, name

    def __enter__(self) -> "None":
        if not self._finder.depth:
            self._finder.random_states = _random_states()
        self._finder.depth += 1

    def __exit__(self, kind: "Any", error: "Any", traceback: "Any") -> "None":
        self._finder.depth -= 1
        if error is None:
            self._finder.waiting.append(self._name)
        if not self._finder.depth:
            self._finder.apply_state()
            _restore_random_states(self._finder.random_states)


class Finder(object):
    """Finds own modules by their names (see `importlib.abc.MetaPathFinder`).

    Args:
        own: See `wingspan.maps._own.pack`.
        folders: The folder of each root's files in this process.
        key: The owner of the modules, since a process may have several finders.
    """

    def __init__(self, own: "Dict[str, Any]", folders: "Sequence[str]", key: "str" = "") -> "None":
        self.key = key
        self.modules: "Dict[str, Tuple[int, str, str]]" = own["modules"]
        self.files: "Dict[Tuple[int, str], Tuple[int, Optional[bytes]]]" = own["files"]
        self.state: "Dict[str, List[Tuple[str, bytes]]]" = dict(own["state"])
        self.roots: "List[str]" = own["roots"]
        self.folders = folders
        self.depth = 0
        self.waiting: "List[str]" = []
        self.random_states: "Tuple[Any, ...]" = ()

    def forget_others(self) -> "None":
        """Where an own module has the name of another one, such as one of the standard library that this
        worker has imported, the own one is what the user's code means.
        """
        for name, (root, relative, _) in self.modules.items():
            known = sys.modules.get(name)
            if known is None:
                continue
            file = getattr(known, "__file__", None)
            if file is not None and file != os.path.join(self.folders[root], relative):
                del sys.modules[name]

    def importing(self, name: "str") -> "_Importing":
        return _Importing(self, name)

    def find_spec(self, name: "str", path: "Any" = None, target: "Any" = None) -> "Any":
        found = self.modules.get(name)
        if found is None:
            return None
        root, relative, kind = found
        location = os.path.join(self.folders[root], relative)
        if kind == "namespace":
            spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [location]
            return spec
        mtime, text = self.files[root, relative]
        if kind == "binary" or text is None:
            return importlib.util.spec_from_file_location(name, location)
        return importlib.util.spec_from_file_location(
            name,
            location,
            loader=_Loader(self, name, location, text, mtime),
            submodule_search_locations=[os.path.dirname(location)] if kind == "package" else None,
        )

    def callers_path(self, path: "str") -> "str":
        """The caller's path of a file that is at `path` here."""
        for folder, root in zip(self.folders, self.roots):
            if folder != root and path.startswith(folder + os.sep):
                return root + path[len(folder) :]
        return path

    def invalidate_caches(self) -> "None":
        pass

    def apply_state(self) -> "None":
        """Give newly imported modules the globals that they had where the map was made."""
        from . import rebuild

        while self.waiting:
            name = self.waiting.pop(0)
            module = sys.modules.get(name)
            changes = self.state.pop(name, [])
            _make_generators_differ(module)
            for path, pickled in changes:
                if self._is_of_another_place(pickled):
                    continue
                value = rebuild.loads(pickled)
                holder, _, last = path.rpartition(".")
                try:
                    target = rebuild.by_path(name, holder) if holder else module
                except AttributeError:
                    continue
                _put(target, last, value)

    def _is_of_another_place(self, pickled: "bytes") -> "bool":
        """Whether a value names the caller's files, which have other paths here. Then the value that the
        module computed when it was imported here is right.
        """
        return any(
            folder != root and os.fsencode(root) in pickled for folder, root in zip(self.folders, self.roots)
        )


def _put(target: "Any", name: "str", value: "Any") -> "None":
    """Set an attribute. Objects that others may refer to are changed in place."""
    present = vars(target).get(name)
    if present is value:
        return
    if type(present) is type(value):
        if isinstance(value, dict):
            dict.clear(present)
            dict.update(present, value)
        elif isinstance(value, list):
            present[:] = value
        elif isinstance(value, set):
            set.clear(present)
            set.update(present, value)
        elif isinstance(value, (bytearray,)):
            present[:] = value
        elif _is_plain_object(value):
            vars(present).clear()
            vars(present).update(vars(value))
            return
        else:
            _set(target, name, value)
            return
        if hasattr(value, "__dict__"):
            vars(present).update(vars(value))
        return
    _set(target, name, value)


def _is_plain_object(value: "Any") -> "bool":
    """Whether all its state is in its ``__dict__``."""
    kind = type(value)
    if isinstance(value, (type, types.FunctionType, types.ModuleType)) or not hasattr(value, "__dict__"):
        return False
    return all(base is object or "__slots__" not in vars(base) for base in kind.__mro__) and all(
        base is object or base.__flags__ & (1 << 9) for base in kind.__mro__
    )


def _set(target: "Any", name: "str", value: "Any") -> "None":
    if isinstance(target, type):
        type.__setattr__(target, name, value)
    else:
        setattr(target, name, value)


# -- random numbers: each worker imports the same source, and must not draw the same numbers -----------------


def _random_states() -> "Tuple[Any, ...]":
    import random

    numpy_random = sys.modules.get("numpy.random")
    return random.getstate(), numpy_random.get_state() if numpy_random else None


def _restore_random_states(before: "Tuple[Any, ...]") -> "None":
    """Undo the effect of a module that sets the seed when it is imported: workers must not all draw the
    same numbers.
    """
    import random

    if random.getstate() != before[0]:
        random.setstate(before[0])
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        if before[1] is not None:
            numpy_random.set_state(before[1])
        else:
            numpy_random.seed()


def _make_generators_differ(module: "Any") -> "None":
    """Replace generators that a module makes when it is imported, so that each worker has its own."""
    import random

    numpy_random = sys.modules.get("numpy.random")
    for value in list(vars(module).values()) if isinstance(module, types.ModuleType) else ():
        if type(value) is random.Random:
            value.seed()
        elif numpy_random is not None:
            if type(value) is numpy_random.Generator:
                value.bit_generator.state = type(value.bit_generator)().state
            elif type(value) is numpy_random.RandomState:
                value.seed()


# -- installing ----------------------------------------------------------------------------------------------


def install(data: "bytes", scratch: "str") -> "Finder":
    """Make own modules importable in this process, before everything else of their names.

    Args:
        data: What `pack` gave.
        scratch: A folder for files, if the caller's are not visible.
    """
    own = unpack(data)
    if any(_is_of_python(name) for name in own["modules"]):
        together.keep()
    folders = []
    for number, root in enumerate(own["roots"]):
        there, same = _is_seen(own, number, root)
        if there and same:
            folders.append(root)
            sys.path.insert(1, root)
            continue
        written = _write(own, number, scratch)
        sys.path.insert(1, written)  # children of `multiprocessing` import them from there
        folders.append(root if there else written)
    finder = Finder(own, folders)
    finder.forget_others()
    sys.meta_path.insert(0, finder)
    absent.install(finder)
    return finder


def _is_of_python(name: "str") -> "bool":
    """Whether the standard library has a module of this name."""
    names = getattr(sys, "stdlib_module_names", None)
    if names is not None:
        return name in names
    # Before Python 3.10: whether this Python would find any, the caller's own file among them.
    return "." not in name and (name in sys.modules or importlib.util.find_spec(name) is not None)


def _is_seen(own: "Dict[str, Any]", number: "int", root: "str") -> "Tuple[bool, bool]":
    """``(all files are where the caller has them, none has changed since)``."""
    same = True
    for (of_root, relative), (mtime, text) in own["files"].items():
        if of_root != number:
            continue
        try:
            facts = os.stat(os.path.join(root, relative))
        except OSError:
            return False, False
        if facts.st_mtime_ns != mtime or (text is not None and facts.st_size != len(text)):
            same = False
    return os.path.isdir(root), same


def _write(own: "Dict[str, Any]", number: "int", scratch: "str") -> "str":
    import tempfile

    folder = tempfile.mkdtemp(prefix=own_prefix(os.getpid()), dir=scratch)
    for (of_root, relative), (mtime, text) in own["files"].items():
        if of_root == number and text is not None:
            path = os.path.join(folder, *relative.split("/"))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(text)
            os.utime(path, ns=(mtime, mtime))
    return folder


# -- __main__ ------------------------------------------------------------------------------------------------


#: The variable that names the file from which children of `multiprocessing` take their ``__main__``.
MAIN_VARIABLE = "WINGSPAN_MAIN"


class _MainSpec(importlib.machinery.ModuleSpec):
    """Tells `multiprocessing` which module its children import as ``__main__``, and writes that module when
    it is needed.
    """

    module: "Any" = None
    scratch = ""
    written = -1

    @property
    def parent(self) -> "str":
        return vars(self.module).get("__package__") or ""  # relative imports refer to the caller's package

    @property
    def name(self) -> "str":
        values = vars(self.module)
        if self.written != len(values):
            os.environ[MAIN_VARIABLE] = _write_main(values, self.scratch)
            self.written = len(values)
        return MAIN

    @name.setter
    def name(self, name: "str") -> "None":
        pass


def become_main(scratch: "str") -> "None":
    """Give this process a ``__main__`` for the user's code, empty at first."""
    from . import rebuild

    rebuild.on_worker[0] = True
    absent.install()
    module = types.ModuleType("__main__")
    spec = _MainSpec(MAIN, None)
    spec.module, spec.scratch = module, scratch
    vars(module).update(__spec__=spec, __package__=None)
    rebuild.stand_in_for_main(module)
    # Children of `multiprocessing` find this archive wherever they are.
    sys.path[:] = [os.path.abspath(path) for path in sys.path]


def modules_of_the_user() -> "List[types.ModuleType]":
    """The user's ``__main__``, and those own modules that were imported."""
    from . import rebuild

    found = rebuild.stand_ins()
    for finder in sys.meta_path:
        if isinstance(finder, Finder):
            found += [sys.modules[name] for name in finder.modules if name in sys.modules]
    return found


def _write_main(values: "Dict[str, Any]", scratch: "str") -> "str":
    import tempfile

    from .pickling import Dumper

    dumper = Dumper()
    parts = {}
    for name, value in list(values.items()):
        if name in ("__spec__", "__builtins__", "__loader__", "__name__"):
            continue
        try:
            dumper.dumps(value)
        except Exception:  # noqa: S112 - children of `multiprocessing` never have it
            continue
        parts[name] = value
    descriptor, path = tempfile.mkstemp(prefix=own_prefix(os.getpid()), dir=scratch)
    with os.fdopen(descriptor, "wb") as file:
        file.write(dumper.dumps(parts))
    return path


def main_in_child(values: "Dict[str, Any]") -> "None":
    """Fill the ``__main__`` of a child of `multiprocessing` that was not forked."""
    from . import rebuild

    if MAIN_VARIABLE in os.environ and not rebuild.on_worker[0]:
        rebuild.on_worker[0] = True
        absent.install()
        before = sys.modules["__main__"]
        module = types.ModuleType("__main__")
        rebuild.stand_in_for_main(module)
        with open(os.environ[MAIN_VARIABLE], "rb") as file:
            parts = rebuild.loads(file.read())
        for name, value in parts.items():
            vars(module).setdefault(name, value)
        values.update(
            {name: value for name, value in vars(module).items() if name not in ("__name__", "__spec__")}
        )
        sys.modules["__main__"] = before
