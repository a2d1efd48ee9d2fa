"""The code that a function is made of.

A map says which code that was, and notices when the function or its file has changed.

The code of the function is compared, and that of everything of the user's own that it refers to. File names
and line numbers do not count: a line that is added above changes nothing. This is done for every map, so
`inspect`, which takes long to import, is not used.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

import attrs

from wingspan._words import moment
from wingspan.maps._functions import function_name
from wingspan.maps._own_files import is_own_file

if TYPE_CHECKING:
    from wingspan.maps._facts import CodeFacts

__all__ = [
    "FunctionVersion",
    "describe",
    "in_hand",
    "later_code",
    "value_digest",
    "what_differs",
    "working_folder",
]

#: How many parts of a function are compared at most, and how much of each value's pickle (bytes).
_MOST_PARTS, _MOST_BYTES = 300, 1 << 28
#: About when this session began (ns): a file that is older has not changed since it was imported.
_STARTED = time.time_ns()
#: The digest of a value that cannot be pickled begins with this.
UNKNOWN = "of type "
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


@attrs.frozen(kw_only=True)
class FunctionVersion:
    """A function that a map was given.

    Attributes:
        number: 0 is the one it was made with; those given to `Map.rerun` follow.
        name: Its name.
        given: When, Unix time.
        file: The file that it was defined in, as far as that is a file.
        line: Where in the file.
        parts: Name of each part that was compared -> its digest and where it comes from.
        module: Name of the module that it was defined in.
        python: Minor version of the Python that had it.
    """

    number: int
    name: str
    given: float
    file: str | None = None
    line: int | None = None
    parts: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict, repr=False)
    module: str | None = None
    python: str = ""

    def __str__(self) -> str:
        return f"{self.name} as of {moment(self.given)}{self.place}"

    @property
    def place(self) -> str:
        """Where it is from, in parentheses; nothing if it is from no file."""
        return f" ({_short(self.file)}, line {self.line})" if self.file else ""

    @classmethod
    def read(cls, number: int, facts: Mapping[str, Any]) -> FunctionVersion:
        """From what `describe` wrote; a map that is older knows little."""
        return cls(
            number=number,
            name=facts.get("name", "the function"),
            given=float(facts.get("time", 0.0)),
            file=facts.get("file"),
            line=facts.get("line"),
            parts=facts.get("parts", {}),
            module=facts.get("module"),
            python=facts.get("python", ""),
        )


def _short(file: str) -> str:
    try:
        return os.path.relpath(file) if os.path.commonpath([file, Path.cwd()]) == str(Path.cwd()) else file
    except (ValueError, OSError):
        return file


def describe(func: Callable[..., Any]) -> CodeFacts:
    """What is known of the code of a function, as plain values."""
    collected = _Parts()
    # Objects of the user's may raise anything; a map is made all the same.
    with contextlib.suppress(Exception):
        collected.add(func, function_name(func))
    code = _code_of(func)
    file = _file_of(code) if code else None
    return {
        "name": function_name(func),
        "module": getattr(func, "__module__", None),
        "file": file,
        "line": code.co_firstlineno if code else None,
        "time": time.time(),
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "parts": collected.parts,
    }


def _plain_function(func: Any) -> Any:
    """The function inside a partial, a method, an object that can be called, or what functools.wraps made."""
    seen = 0
    while seen < 20:
        seen += 1
        if isinstance(func, functools.partial):
            func = func.func
        elif isinstance(func, MethodType):
            func = func.__func__
        elif isinstance(getattr(func, "__wrapped__", None), FunctionType | functools.partial):
            func = func.__wrapped__
        elif isinstance(func, FunctionType):
            return func
        elif isinstance(call := getattr(type(func), "__call__", None), FunctionType):  # noqa: B004 - for its code
            func = call
        else:
            return None
    return None


def _code_of(func: Any) -> CodeType | None:
    plain = _plain_function(func)
    return None if plain is None else plain.__code__


def _file_of(code: CodeType) -> str | None:
    """The file that code is from, if it can be read again; a cell of a notebook is in none."""
    file = code.co_filename
    if file.startswith("<") or "ipykernel" in file:
        return None
    file = os.path.abspath(file)  # noqa: PTH100 - also where it is no more
    return file if os.path.isfile(file) else None  # noqa: PTH113 - for every part of every map


def _stamp(file: str) -> list[int]:
    facts = os.stat(file)  # noqa: PTH116 - the same
    return [facts.st_mtime_ns, facts.st_size]


def _is_own(function: FunctionType) -> bool:
    if function.__module__ == "__main__":
        return True
    file = (
        getattr(sys.modules.get(function.__module__ or ""), "__file__", None) or function.__code__.co_filename
    )
    return isinstance(file, str) and (file.startswith("<") or is_own_file(file))


def code_digest(code: CodeType) -> str:
    """Digest of instructions and constants; file name and line numbers do not count."""
    found = hashlib.blake2b(digest_size=12)
    found.update(code.co_code)
    # Since Python 3.11 the bounds of try blocks are in no instruction.
    found.update(getattr(code, "co_exceptiontable", b""))
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_kwonlyargcount, code.co_posonlyargcount, code.co_flags & ~0x40)
    found.update(repr((names, counts)).encode())
    for constant in code.co_consts:
        if (
            isinstance(constant, int)
            and constant == code.co_firstlineno
            and "__firstlineno__" in code.co_names
        ):
            continue  # of a class, since Python 3.13: where it stands
        found.update(_constant(constant).encode("utf-8", "surrogatepass"))
    return found.hexdigest()


def _constant(constant: Any) -> str:
    if isinstance(constant, CodeType):
        return f"code {code_digest(constant)}"
    if isinstance(constant, tuple):
        return f"({','.join(map(_constant, constant))})"
    if isinstance(constant, frozenset):
        return f"{{{','.join(sorted(map(_constant, constant)))}}}"
    return f"{type(constant).__name__} {constant!r}"


class _Enough(Exception):
    """A value is so large that only its beginning is compared."""


class _Sink:
    """A file whose content is not kept, only its digest."""

    def __init__(self) -> None:
        self.hash = (
            hashlib.sha256()
        )  # the quickest where processors have instructions for it: values may be large
        self._left = _MOST_BYTES

    def write(self, data: Any) -> int:
        length = memoryview(data).nbytes
        self.hash.update(data)
        self._left -= length
        if self._left < 0:
            raise _Enough
        return length


class _Parts:
    """The parts of a function: its own code, the code that it refers to, and the values that it refers to."""

    def __init__(self) -> None:
        self.parts: dict[str, dict[str, Any]] = {}
        self._seen: set[int] = set()

    def add(self, value: Any, name: str) -> None:
        """Take in `value`, which the user's code calls `name`."""
        if len(self.parts) >= _MOST_PARTS or id(value) in self._seen:
            return
        if isinstance(value, functools.partial):
            self._seen.add(id(value))
            self.add(value.func, name)
            for number, given in enumerate(value.args):
                self.add(given, f"argument {number + 1} of {name}")
            for key, given in value.keywords.items():
                self.add(given, f"argument {key} of {name}")
        elif isinstance(value, MethodType):
            self.add(value.__func__, name)
            self.add(value.__self__, f"the object of {name}")
        elif isinstance(value, FunctionType):
            self._seen.add(id(value))
            self._add_function(value)
        elif isinstance(value, ModuleType):
            return  # what is used of it is looked for by `_referred`
        elif isinstance(value, type):
            self._seen.add(id(value))
            self._add_class(value)
        elif callable(value) and _plain_function(value) is not None and hasattr(value, "__wrapped__"):
            self._seen.add(id(value))  # functools.cache and its like: what they keep is no part
            self.add(value.__wrapped__, name)
        else:
            if not isinstance(value, _PLAIN):
                self._seen.add(id(value))
                self.add(type(value), type(value).__name__)
            self._put(f"the value of {name}", {"digest": value_digest(value)})

    def _put(self, name: str, facts: dict[str, Any]) -> None:
        if self.parts.setdefault(name, facts) is not facts and len(self.parts) < _MOST_PARTS:
            self.parts[f"{name} ({len(self.parts)})"] = facts

    def _add_function(self, function: FunctionType) -> None:
        if not _is_own(function):
            self._put(f"{function.__module__}.{function.__qualname__}", {"digest": "by name"})
            return
        code = function.__code__
        facts: dict[str, Any] = {
            "digest": code_digest(code),
            "module": function.__module__,
            "qualname": function.__qualname__,
        }
        if (file := _file_of(code)) is not None:
            facts.update(file=file, stamp=_stamp(file))
        self._put(function.__qualname__, facts)
        for number, default in enumerate(function.__defaults__ or ()):
            self.add(default, f"default {number + 1} of {function.__qualname__}")
        for key, default in (function.__kwdefaults__ or {}).items():
            self.add(default, f"the default of {key} of {function.__qualname__}")
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
            try:
                self.add(cell.cell_contents, name)
            except ValueError:
                continue  # not bound yet
        if isinstance(wrapped := getattr(function, "__wrapped__", None), FunctionType):
            self.add(wrapped, wrapped.__qualname__)
        for name, value in _referred(code, function.__globals__):
            self.add(value, name)

    def _add_class(self, kind: type) -> None:
        if kind.__module__ == "builtins" or not _is_own_class(kind):
            return
        for base in kind.__bases__:
            self.add(base, base.__qualname__)
        for name, member in list(vars(kind).items()):
            for function in _functions_in(member):
                self.add(function, f"{kind.__qualname__}.{name}")


def _is_own_class(kind: type) -> bool:
    if kind.__module__ == "__main__":
        return True
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return isinstance(file, str) and is_own_file(file)


def _functions_in(member: Any) -> list[FunctionType]:
    if isinstance(member, property):
        found: list[Any] = [member.fget, member.fset, member.fdel]
    elif isinstance(member, staticmethod | classmethod):
        found = [member.__func__]
    else:
        found = [member]
    return [one for one in found if isinstance(one, FunctionType)]


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _referred(code: CodeType, scope: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Globals that the code names; for own modules, what the code uses of them."""
    from wingspan.worker.anatomy import names_in_texts

    names = dict.fromkeys([*_names_in(code), *sorted(names_in_texts(code))])
    for name in names:
        if name not in scope:
            continue
        value = scope[name]
        if not isinstance(value, ModuleType):
            yield name, value
        elif isinstance(file := getattr(value, "__file__", None), str) and is_own_file(file):
            for other in names:
                if other != name and other in vars(value):
                    yield f"{name}.{other}", vars(value)[other]


def value_digest(value: Any) -> str:
    """Digest of a value: equal values have equal digests, in every session."""
    sink = _Sink()
    try:
        _feed(sink, value, 0)
    except _Enough:
        pass
    except Exception:  # noqa: BLE001 - it cannot be pickled, or raises: its type has to do
        return f"{UNKNOWN}{type(value).__qualname__}"
    return sink.hash.hexdigest()[:24]


def _feed(sink: _Sink, value: Any, depth: int) -> None:
    """Feed a value in a form that is the same in every session."""
    if isinstance(value, bytes):
        sink.write(b"bytes %d" % len(value))
        sink.write(value)
    elif isinstance(value, _PLAIN):
        sink.write(f"{type(value).__name__} {value!r}".encode("utf-8", "surrogatepass"))
    elif depth < 50 and type(value) in (list, tuple):
        sink.write(f"{type(value).__name__} {len(value)}".encode())
        for one in value:
            _feed(sink, one, depth + 1)
    elif depth < 50 and type(value) is dict:
        sink.write(b"dict %d" % len(value))
        for key, one in value.items():
            _feed(sink, key, depth + 1)
            _feed(sink, one, depth + 1)
    elif depth < 50 and type(value) in (set, frozenset):
        for one in sorted(map(value_digest, value)):
            sink.write(one.encode())
    elif isinstance(value, FunctionType):
        sink.write(code_digest(value.__code__).encode())
    else:
        pickle.Pickler(sink, 5, buffer_callback=lambda buffer: sink.write(buffer.raw()) and None).dump(value)


# -- comparing -----------------------------------------------------------------------------------------------


def what_differs(
    old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]
) -> tuple[str, ...]:
    """Names of the parts that differ."""
    return tuple(
        name
        for name in dict.fromkeys([*old, *new])
        if old.get(name, {}).get("digest") != new.get(name, {}).get("digest")
    )


def working_folder() -> str | None:
    """The working folder of this session; None if it was removed."""
    try:
        return os.getcwd()  # noqa: PTH109 - as text
    except OSError:
        return None


def in_hand(version: FunctionVersion) -> Callable[..., Any] | None:
    """The function that has this name in this session now; None if there is none, or if this is another
    program."""
    owner = sys.modules.get(version.module or "")
    if owner is None or "<lambda>" in version.name or "<locals>" in version.name:
        return None
    file = getattr(owner, "__file__", None)
    if version.file is None and isinstance(file, str):
        return None  # it was defined at a prompt or in a notebook, and this is a program
    if (
        version.module == "__main__"
        and version.file is not None
        and (not isinstance(file, str) or os.path.realpath(file) != os.path.realpath(version.file))
    ):
        return None
    found: Any = owner
    for part in version.name.split("."):
        found = getattr(found, part, None)
    return found if callable(found) else None


def later_code(version: FunctionVersion, *, in_this_session: bool = False) -> dict[str, list[str]]:
    """Functions whose code has changed in their file: ``{file: [name, …]}``; an empty list if nobody can
    tell.

    Args:
        version: The function.
        in_this_session: The function belongs to this session: changes count since its file was imported.
            Otherwise they count since `version` was described.
    """
    changed: dict[str, list[str]] = {}
    files: dict[str, Mapping[tuple[str, ...], list[str]] | None] = {}
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for facts in version.parts.values():
        file = facts.get("file")
        if not file:
            continue
        try:
            stamp = _stamp(file)
            if stamp == list(facts.get("stamp", ())) if not in_this_session else stamp[0] < _STARTED:
                continue
        except OSError:
            continue  # gone: there is no other code to do it with
        if version.python != here:
            changed.setdefault(file, [])
            continue
        if file not in files:
            files[file] = _codes_of_file(file)
        codes = files[file]
        if codes is None:
            changed.setdefault(file, [])
            continue
        name = str(facts["qualname"])
        digests = codes.get(_path_of(name), [])
        same = facts["digest"] in digests if "<lambda>" in name else digests[-1:] == [facts["digest"]]
        if not same:
            changed.setdefault(file, []).append(name)
    return {file: list(dict.fromkeys(names)) for file, names in changed.items()}


def _path_of(qualname: str) -> tuple[str, ...]:
    return tuple(part for part in qualname.split(".") if part != "<locals>")


def _codes_of_file(file: str) -> Mapping[tuple[str, ...], list[str]] | None:
    """Digests of the functions in a file, by the path of their names; None if it cannot be compiled."""
    try:
        whole = compile(Path(file).read_bytes(), file, "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError):
        return None
    found: dict[tuple[str, ...], list[str]] = {}

    def collect(code: CodeType, path: tuple[str, ...]) -> None:
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                inner = (*path, constant.co_name)
                found.setdefault(inner, []).append(code_digest(constant))
                collect(constant, inner)

    collect(whole, ())
    return found
