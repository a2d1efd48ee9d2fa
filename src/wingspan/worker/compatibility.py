"""Whether this interpreter may read a pickle. This is checked before anything is unpickled.

cloudpickle writes bytecode, which belongs to one minor version of Python: read by another, it has been seen
to return wrong numbers without any error (3.13 read by 3.11) and to crash (3.11 read by 3.13).
"""

import json
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Mapping, Optional, Tuple


#: The value of `platform.python_implementation`, whose module takes longer to import than this one.
_NAMES = {"cpython": "CPython", "pypy": "PyPy"}


def this_python() -> "Dict[str, str]":
    """Version and implementation of this Python."""
    name = sys.implementation.name
    return {"python": "%d.%d" % sys.version_info[:2], "implementation": _NAMES.get(name, name)}


def this_interpreter() -> "Dict[str, str]":
    """The facts that a pickle made here names, and that a reader compares."""
    return dict(this_python(), cloudpickle=_version_of_cloudpickle())


def _version_of_cloudpickle() -> "str":
    """Where it was not imported yet, from its source: importing it takes longer than all that a worker needs
    for a short component.
    """
    if "cloudpickle" not in sys.modules:
        import importlib.util
        import re

        spec = importlib.util.find_spec("cloudpickle")
        loader: "Any" = None if spec is None else spec.loader
        text = loader.get_source("cloudpickle") if hasattr(loader, "get_source") else None
        found = re.search(r"""^__version__ = ["']([\w.+-]+)["']""", text or "", re.M)
        if found is not None:
            return found.group(1)
    import cloudpickle

    version: "str" = cloudpickle.__version__
    return version


def header(facts: "Mapping[str, Any]") -> "bytes":
    """The first line of a file of pickles."""
    return json.dumps(facts, sort_keys=True).encode() + b"\n"


def split(data: "bytes") -> "Tuple[Dict[str, Any], bytes]":
    """``(facts, pickle)`` of a file that begins with a `header`."""
    line, newline, rest = data.partition(b"\n")
    if not newline:
        raise ValueError("the file is cut before the end of its first line")
    return json.loads(line.decode()), rest


def incompatibility(facts: "Mapping[str, Any]", here: "Mapping[str, Any]") -> "Optional[str]":
    """Why a pickle written by `facts` cannot be read by an interpreter `here`; None if it can."""
    if facts.get("code") is False:
        return None  # no bytecode in it: plain data and names, which any Python reads
    for what, name in (("implementation", "implementation"), ("python", "version")):
        if facts.get(what) != here.get(what):
            return "the map was made by %s %s and this worker runs %s %s: the Python %ss differ" % (
                facts.get("implementation"),
                facts.get("python"),
                here["implementation"],
                here["python"],
                name,
            )
    if facts.get("cloudpickle", "").split(".")[0] != here["cloudpickle"].split(".")[0]:
        return "the map was made by cloudpickle %s and this worker has cloudpickle %s" % (
            facts.get("cloudpickle"),
            here["cloudpickle"],
        )
    return None
