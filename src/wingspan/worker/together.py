"""Import the worker's modules from one file of the archive, which holds all of them compiled.

Python's importer of archives opens the archive twice for each module and reads its code twice. For sixty
modules that takes longer than a short component. A Python that cannot read the file takes each module's code
from the archive.

The worker's modules share a process with the user's code, which may replace what `builtins` holds, and may
bring modules that have names of the standard library. So they have built-in functions of their own, and an
import of theirs finds the standard library where the user's modules hide it (see `keep`).
"""

import builtins
import marshal
import sys
from importlib.machinery import ModuleSpec
from importlib.util import MAGIC_NUMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Mapping

#: The file's name in the archive.
FILE = "compiled"
#: What the worker's modules have for `builtins`: as it was when the worker began.
BUILTINS = dict(vars(builtins))  # type: Dict[str, Any]
#: Every module of the standard library that the worker imports, at whatever moment.
LIBRARY = (
    "_blake2 _operator _sha2 _sha256 abc array atexit base64 bisect builtins collections contextlib "
    "contextvars copy copyreg ctypes dis enum errno fcntl functools gc grp hashlib hmac http.client "
    "importlib importlib.machinery importlib.util io itertools json linecache marshal mmap operator os "
    "pathlib pickle pwd random re reprlib resource select shutil signal socket stat struct subprocess sys "
    "tempfile threading time traceback types typing unicodedata urllib.error urllib.parse urllib.request "
    "warnings weakref zipfile zlib"
).split()
_import_of_python = builtins.__import__
#: Modules of the standard library that the worker has in spite of the user's own ones, by their names.
_kept = {}  # type: Dict[str, Any]


def pack(compiled: "Mapping[str, bytes]") -> "bytes":
    """The contents of `FILE`, from the marshalled code of each module by its name."""
    return MAGIC_NUMBER + marshal.dumps(dict(compiled))


class Finder(object):
    """Finds and loads the modules. Whatever else is asked of a loader, such as the source for a traceback,
    the importer of the archive answers.

    Args:
        archive: The importer of the archive.
        package: The name of the worker's package.
        compiled: What `FILE` holds, or nothing if this Python cannot read it.
    """

    def __init__(self, archive: "Any", package: "str", compiled: "Dict[str, bytes]") -> "None":
        self._archive = archive
        self._within = package + "."
        self._compiled = compiled

    def __getattr__(self, name: "str") -> "Any":
        return getattr(self._archive, name)

    def find_spec(self, name: "str", path: "Any" = None, target: "Any" = None) -> "Any":
        if not name.startswith(self._within):
            return None
        if name not in self._compiled:
            try:
                self._archive.get_filename(name)
            except ImportError:
                return None
        origin = "%s/%s.pyc" % (self._archive.archive, name.replace(".", "/"))
        spec = ModuleSpec(name, self, origin=origin)  # type: ignore[arg-type]
        spec.has_location = True
        return spec

    def create_module(self, spec: "Any") -> "None":
        """Python makes the module."""

    def exec_module(self, module: "Any") -> "None":
        vars(module)["__builtins__"] = BUILTINS
        data = self._compiled.pop(module.__name__, None)
        code = self._archive.get_code(module.__name__) if data is None else marshal.loads(data)  # noqa: S302
        exec(code, vars(module))  # noqa: S102


def install() -> "None":
    """Have the worker's modules imported by `Finder`."""
    archive: "Any" = __spec__.loader
    try:
        data = archive.get_data(FILE)
    except (AttributeError, OSError):
        return
    compiled = {}  # type: Dict[str, bytes]
    if data[: len(MAGIC_NUMBER)] == MAGIC_NUMBER:
        compiled = marshal.loads(memoryview(data)[len(MAGIC_NUMBER) :])  # noqa: S302 - as trusted as the archive
    sys.meta_path.insert(0, Finder(archive, __name__.rpartition(".")[0], compiled))


def keep() -> "None":
    """Import the worker's part of the standard library now, before modules of the user's hide it, and have
    the worker's modules find it later. This Python may lack some.
    """
    try:
        from . import values  # noqa: F401 - with cloudpickle, and what that imports
    except (ImportError, SyntaxError):
        pass  # this Python is too old for cloudpickle; plain data can be read without it

    for name in LIBRARY:
        try:
            __import__(name)
        except ImportError:
            continue
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            _kept[".".join(parts[:end])] = sys.modules[".".join(parts[:end])]
    BUILTINS["__import__"] = _import


def _import(
    name: "str", globals: "Any" = None, locals: "Any" = None, fromlist: "Any" = (), level: "int" = 0
) -> "Any":
    if level == 0 and name in _kept:
        return _kept[name if fromlist else name.partition(".")[0]]
    return _import_of_python(name, globals, locals, fromlist, level)
