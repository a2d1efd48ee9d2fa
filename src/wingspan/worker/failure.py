"""Turn an exception into plain data that any Python can read, even if it cannot rebuild the exception."""

import io
import pickle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Callable, Container, Dict, List, Optional, Set, Tuple

_LIMIT = 4000


def _text(make: "Callable[[Any], str]", value: "Any") -> "str":
    try:
        text = str.__str__(make(value))  # it may belong to a class derived from str
    except BaseException as error:
        return "<%s() raised %s>" % (make.__name__, type(error).__name__)
    return text if len(text) <= _LIMIT else text[: _LIMIT - 1] + "…"


def _attribute(error: "BaseException", name: "str") -> "Any":
    """An attribute of a user's exception, or None. Its class may do anything when the attribute is read."""
    try:
        return getattr(error, name, None)
    except BaseException:
        return None


def _kept(error: "BaseException", name: "str") -> "Any":
    """An attribute that every exception has, even if its own class uses the name for something else."""
    return vars(BaseException)[name].__get__(error, type(error))


def _notes(error: "BaseException") -> "List[str]":
    notes = _attribute(error, "__notes__")
    return [_text(str, note) for note in notes] if type(notes) in (list, tuple) else []


def _missing(error: "BaseException") -> "Optional[str]":
    """The module that an ImportError names."""
    name = _attribute(error, "name") if isinstance(error, ImportError) else None
    return _text(str, name) if isinstance(name, str) else None


def _frames(
    traceback: "Optional[TracebackType]", skip: "Container[str]"
) -> "List[Tuple[str, int, str, Optional[str]]]":
    import linecache

    frames: "List[Tuple[str, int, str, Optional[str]]]" = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_filename not in skip:
            try:
                line = linecache.getline(
                    code.co_filename, traceback.tb_lineno, traceback.tb_frame.f_globals
                ).strip()
            except BaseException:  # the user's code may have replaced what it needs
                line = ""
            frames.append((code.co_filename, traceback.tb_lineno, code.co_name, line or None))
        traceback = traceback.tb_next
    return frames[-100:]


#: How many (innermost) frames are told with variables, how many of each, and how much of each value.
_TOLD_FRAMES, _TOLD_VARIABLES, _TOLD_LENGTH = 5, 12, 60
#: Values that say nothing of what went wrong.
_SILENT = (type(io), type(_text), type(len), type)


def _variables(
    traceback: "Optional[TracebackType]", skip: "Container[str]"
) -> "List[Tuple[str, Dict[str, str]]]":
    """Local variables of the innermost frames: the name of each function, and its variables as texts."""
    frames = []
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename not in skip:
            frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    told: "List[Tuple[str, Dict[str, str]]]" = []
    for frame in frames[-_TOLD_FRAMES:]:
        found: "Dict[str, str]" = {}
        if frame.f_code.co_name != "<module>":
            for name, value in frame.f_locals.items():
                if (
                    len(found) < _TOLD_VARIABLES
                    and not name.startswith("__")
                    and not issubclass(type(value), _SILENT)  # an object may raise if asked for its class
                ):
                    found[name] = _short(value)
        told.append((frame.f_code.co_name, found))
    return told


def _short(value: "Any") -> "str":
    """A value as text, cut; large containers, texts and bytes are not written out before."""
    import reprlib

    shortener = reprlib.Repr()
    shortener.maxstring = shortener.maxother = shortener.maxlong = _TOLD_LENGTH
    try:
        if isinstance(value, (bytes, bytearray, memoryview)):
            return "<%s of length %d>" % (type(value).__name__, len(value))
        text = str.__str__(shortener.repr(value))
    except BaseException as error:
        return "<repr() raised %s>" % type(error).__name__
    text = " ".join(text.split())
    return text if len(text) <= _TOLD_LENGTH else text[: _TOLD_LENGTH - 1] + "…"


def describe(
    error: "BaseException",
    stage: "str",
    dumps: "Callable[[Any], bytes]",
    skip: "Container[str]" = (),
    given: "Any" = None,
    has_input: "bool" = False,
) -> "Dict[str, Any]":
    """Describe `error` as a dict of plain values.

    Args:
        error: The exception.
        stage: ``"function"`` (it could not be loaded), ``"input"``, ``"call"`` or ``"output"`` (it could not
            be pickled).
        dumps: Pickles, raising for what cannot be pickled, or not be read again.
        skip: File names of our own code, whose frames are left out.
        given: The input that caused it, when `has_input`.
    """
    chain: "List[Dict[str, Any]]" = []
    seen: "Set[int]" = set()
    link: "Optional[str]" = None
    current: "Optional[BaseException]" = error
    while current is not None and id(current) not in seen and len(chain) < 10:
        seen.add(id(current))
        chain.append(
            {
                "type": type(current).__qualname__,
                "module": _text(str, type(current).__module__),
                "message": _text(str, current),
                "notes": _notes(current),
                "frames": _frames(_kept(current, "__traceback__"), skip),
                "link": link,
                "missing": _missing(current),
            }
        )
        cause, context = _kept(current, "__cause__"), _kept(current, "__context__")
        if cause is not None:
            current, link = cause, "cause"
        elif context is not None and not _kept(current, "__suppress_context__"):
            current, link = context, "context"
        else:
            break
    pickled: "Optional[bytes]" = None
    reason: "Optional[str]" = None
    try:
        pickled = dumps(error)
    except BaseException as failure:
        pickled, reason = None, "%s: %s" % (type(failure).__name__, _text(str, failure))
    fields: "Dict[str, Any]" = {
        "stage": stage,
        "chain": chain,
        "exception": pickled,
        "not_picklable": reason,
        "input": _text(repr, given) if has_input else None,
    }
    if stage == "call":
        fields["variables"] = _variables(_kept(error, "__traceback__"), skip)
    return fields


def crash(stage: "str", message: "str", **facts: "Any") -> "Dict[str, Any]":
    """The same shape for a failure that is no Python exception: a signal, an exit, a lost worker."""
    fields: "Dict[str, Any]" = {
        "stage": stage,
        "chain": [],
        "exception": None,
        "not_picklable": None,
        "input": None,
        "message": message,
    }
    fields.update(facts)
    return fields


def dumps(fields: "Dict[str, Any]") -> "bytes":
    """The payload of the record: a pickle of plain types only."""
    return pickle.dumps(fields, 4)


class _Plain(pickle.Unpickler):
    """Unpickles plain types and nothing else. No class is looked up and no function called."""

    def find_class(self, module: "str", name: "str") -> "Any":
        if (module, name) == ("builtins", "complex"):  # it is pickled as a call
            return complex
        raise pickle.UnpicklingError("it names %s.%s, and plain data names nothing" % (module, name))


def plain(data: "bytes") -> "Any":
    """The value of a pickle of plain types (numbers, text, bytes, None, and lists, tuples, sets and dicts of
    them).

    Raises:
        ValueError: It contains something else, or is no pickle.
    """
    try:
        return _Plain(io.BytesIO(data)).load()
    except Exception as error:  # pickle raises nearly everything
        raise ValueError("%s: %s" % (type(error).__name__, error))


def loads(data: "bytes") -> "Dict[str, Any]":
    """Read what `dumps` wrote.

    Every worker of a map can sign such a record, so nothing in it is executed, and every type is checked.

    Raises:
        ValueError: `dumps` does not write such data.
    """
    fields = plain(data)
    if type(fields) is not dict:
        raise ValueError("it is no table")
    _check(fields, _FIELDS)
    for one in fields.get("variables", ()):
        if type(one) is not tuple or list(map(type, one)) != [str, dict]:
            raise ValueError("its variables are not described as workers do")
        if any(type(word) is not str for pair in one[1].items() for word in pair):
            raise ValueError("its variables are not described as workers do")
    for link in fields["chain"]:
        if type(link) is not dict:
            raise ValueError("an exception in it is not a table")
        _check(link, _LINK)
        for frame in link["frames"]:
            if type(frame) is not tuple or list(map(type, frame[:3])) != [str, int, str] or len(frame) != 4:
                raise ValueError("a frame of the traceback is not described as workers do")
            if frame[3] is not None and type(frame[3]) is not str:
                raise ValueError("a frame of the traceback is not described as workers do")
        if any(type(note) is not str for note in link["notes"]) or link["link"] not in (
            None,
            "cause",
            "context",
        ):
            raise ValueError("an exception in it is not described as workers do")
    return fields


def _check(fields: "Dict[str, Any]", wanted: "Dict[str, Tuple[bool, Tuple[type, ...]]]") -> "None":
    for name in wanted:
        needed, types = wanted[name]
        if name in fields:
            if type(fields[name]) not in types:
                raise ValueError("its %s is of the type %s" % (name, type(fields[name]).__name__))
        elif needed:
            raise ValueError("it has no %s" % name)


_NONE = type(None)
#: For each field: whether it is required, and its allowed types.
_FIELDS: "Dict[str, Tuple[bool, Tuple[type, ...]]]" = {
    "stage": (True, (str,)),
    "chain": (True, (list,)),
    "exception": (True, (bytes, _NONE)),
    "not_picklable": (True, (str, _NONE)),
    "input": (True, (str, _NONE)),
    "message": (False, (str,)),
    "variables": (False, (list,)),
    "executable": (False, (str, _NONE)),
    "stderr": (False, (str, _NONE)),
    "signal": (False, (int, _NONE)),
    "exit_code": (False, (int, _NONE)),
    "peak_kib": (False, (int, float, _NONE)),
}
_LINK: "Dict[str, Tuple[bool, Tuple[type, ...]]]" = {
    "type": (True, (str,)),
    "module": (True, (str, _NONE)),
    "message": (True, (str,)),
    "notes": (True, (list,)),
    "frames": (True, (list,)),
    "link": (True, (str, _NONE)),
    "missing": (True, (str, _NONE)),
}
