"""A stand-in for Wingspan itself on workers that do not have it: what components need of it is there
(`inside`), and everything else may be named by own modules while they are imported.
"""

import importlib
import importlib.machinery
import sys
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Protocol, Tuple

    class _Importer(Protocol):
        """What `wingspan.worker.own.Finder` is here: how many own modules are being imported now."""

        depth: int


#: What a function may use of Wingspan (`inside` fills it), and the modules that it may take it from.
HERE: "Dict[str, Any]" = {}
_FROM = frozenset(
    "wingspan%s" % name
    for name in (
        "",
        ".htmap",
        ".htmap.checkpointing",
        ".htmap.transfer",
        ".worker.inside",
        ".worker.loaded",
        ".worker.transfer_path",
        ".worker.words_of_htmap",
    )
)
#: The same, with the module of the worker that has it: it takes long to import, or is seldom asked for.
LATER = {
    "TransferPath": "transfer_path",
    "checkpoint": "words_of_htmap",
    "transfer_output_files": "words_of_htmap",
}


class Without(object):
    """Last of all finders: where Wingspan is installed, it is found before.

    Attributes:
        importer: Imports own modules, if there are any.
    """

    importer: "Optional[_Importer]" = None

    def find_spec(self, name: "str", path: "Any" = None, target: "Any" = None) -> "Any":
        if name.partition(".")[0] not in ("wingspan", "htmap"):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: "Any") -> "types.ModuleType":
        return _AbsentModule(spec.name, self)

    def exec_module(self, module: "types.ModuleType") -> "None":
        # HTMap is not installed here: a program for it has `wingspan.htmap` in its place.
        if module.__name__.partition(".")[0] == "htmap":
            sys.modules[module.__name__] = importlib.import_module("wingspan." + module.__name__)

    def invalidate_caches(self) -> "None":
        pass


class _AbsentModule(types.ModuleType):
    def __init__(self, name: "str", finder: "Without") -> "None":
        types.ModuleType.__init__(self, name)
        self.__dict__["_finder"] = finder

    def __getattr__(self, name: "str") -> "Any":
        if name.startswith("__"):
            raise AttributeError(name)
        if name in HERE and self.__name__ in _FROM:
            return HERE[name]
        if name in LATER and self.__name__ in _FROM:
            return getattr(importlib.import_module("." + LATER[name], __package__), name)
        return _Absent(self.__name__ + "." + name, self.__dict__["_finder"])


#: Decorators of Wingspan, as they stand before a function, with arguments or without: on a worker they give
#: back the function.
_DECORATORS = frozenset(
    "wingspan.%s%s" % (name, call)
    for name in ("mapped", "memo", "htmap.mapped", "htmap.mapped.mapped")
    for call in ("", "()")
)


class _Absent(object):
    """Anything of Wingspan where it is not installed: may be named and called while modules are imported."""

    def __init__(self, name: "str", finder: "Without") -> "None":
        self._name, self._finder = name, finder

    def __getattr__(self, name: "str") -> "Any":
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(self._name + "." + name, self._finder)

    def __mro_entries__(self, bases: "Any") -> "Tuple[type, ...]":
        return ()

    def __call__(self, *args: "Any", **kwargs: "Any") -> "Any":
        if self._name in _DECORATORS and len(args) == 1 and not kwargs and callable(args[0]):
            return args[0]
        importer = self._finder.importer
        if importer is None or not importer.depth:
            raise ImportError("%s cannot be called: Wingspan is not installed on this worker" % self._name)
        return _Absent(self._name + "()", self._finder)


def install(importer: "Optional[_Importer]" = None) -> "None":
    """Let ``import wingspan`` work in this process."""
    for finder in sys.meta_path:
        if isinstance(finder, Without):
            finder.importer = importer or finder.importer
            return
    made = Without()
    made.importer = importer
    sys.meta_path.append(made)
