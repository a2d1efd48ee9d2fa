"""Import the worker's modules from one file of the archive, which holds all of them compiled.

Python's importer of archives opens the archive twice for each module and reads its code twice. For sixty
modules that takes longer than a short component. A Python that cannot read the file imports from the archive.
"""

import marshal
from importlib.machinery import ModuleSpec
from importlib.util import MAGIC_NUMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Mapping

#: The file's name in the archive.
FILE = "compiled"


def pack(compiled: "Mapping[str, bytes]") -> "bytes":
    """The contents of `FILE`, from the marshalled code of each module by its name."""
    return MAGIC_NUMBER + marshal.dumps(dict(compiled))


class Finder(object):
    """Finds and loads the modules. Whatever else is asked of a loader, such as the source for a traceback,
    the importer of the archive answers.
    """

    def __init__(self, archive: "Any", compiled: "Dict[str, bytes]") -> "None":
        self._archive = archive
        self._compiled = compiled

    def __getattr__(self, name: "str") -> "Any":
        return getattr(self._archive, name)

    def find_spec(self, name: "str", path: "Any" = None, target: "Any" = None) -> "Any":
        if name not in self._compiled:
            return None
        origin = "%s/%s.pyc" % (self._archive.archive, name.replace(".", "/"))
        spec = ModuleSpec(name, self, origin=origin)  # type: ignore[arg-type]
        spec.has_location = True
        return spec

    def create_module(self, spec: "Any") -> "None":
        """Python makes the module."""

    def exec_module(self, module: "Any") -> "None":
        exec(marshal.loads(self._compiled.pop(module.__name__)), vars(module))  # noqa: S102, S302


def install() -> "None":
    """Have the worker's modules imported from `FILE` of the archive that this module came from, if this
    Python can read it.
    """
    import sys

    archive: "Any" = __spec__.loader
    try:
        data = archive.get_data(FILE)
    except (AttributeError, OSError):
        return
    if data[: len(MAGIC_NUMBER)] == MAGIC_NUMBER:
        compiled = marshal.loads(memoryview(data)[len(MAGIC_NUMBER) :])  # noqa: S302 - as trusted as the archive
        sys.meta_path.insert(0, Finder(archive, compiled))
