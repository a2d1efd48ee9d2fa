"""Checks whether a function can be used for a map, before anything is pickled or started."""

from __future__ import annotations

from typing import Any

from wingspan.maps._errors import InvalidInputs, NotPicklable

__all__ = ["check_callable", "check_one_argument"]

#: Functions that return no value that can travel, by flag of their code object (inspect, "Code Objects Bit
#: Flags"; the module inspect takes long to import): what the function is, what it returns, and what a
#: component may return instead.
_NO_RESULT = {
    0x20: ("a generator function", "a generator", "list({}(x))"),
    0x80: ("an async function", "a coroutine", "asyncio.run({}(x))"),
    0x200: ("an async generator function", "an async generator", "asyncio.run(…)"),
}


def check_callable(func: Any) -> None:
    """See that `func` can be called, and returns something that can travel.

    Raises:
        NotPicklable: It cannot.
    """
    if not callable(func):
        raise NotPicklable(
            f"the first argument must be a function, not {type(func).__name__}",
            hint="wingspan.map(function, inputs)",
        )
    for flag, (kind, gives, instead) in _NO_RESULT.items():
        if getattr(getattr(func, "__code__", None), "co_flags", 0) & flag:
            name = getattr(func, "__name__", "the function")
            raise NotPicklable(
                f"{name} is {kind}: calling it gives {gives}, which cannot travel",
                hint=f"pass lambda x: {instead.format(name)}",
            )


def check_one_argument(func: Any) -> None:
    """See that a function can be called with one argument, as far as its signature tells.

    Raises:
        InvalidInputs: It needs another number of arguments.
    """
    code = getattr(func, "__code__", None)
    if code is not None:
        bound = hasattr(func, "__self__")
        count = code.co_argcount - bound
        needed = count - len(func.__defaults__ or ())
        takes = count > 0 or bool(code.co_flags & 0x04)
        names = ", ".join(code.co_varnames[bound : code.co_argcount + code.co_kwonlyargcount])
        keywords = code.co_kwonlyargcount - len(func.__kwdefaults__ or ())
    elif (text := getattr(func, "__text_signature__", None)) is None:
        return
    else:
        names = (
            text.strip("()").replace("$module, /, ", "").replace("$self, /, ", "").replace("$module, ", "")
        )
        positional = [one.strip() for one in names.split(", *")[0].split(",") if one.strip() not in ("/", "")]
        if not positional or any(one.startswith(("$", "*")) for one in positional):
            return
        needed, keywords, takes = sum("=" not in one for one in positional), 0, True
    if takes and needed <= 1 and keywords <= 0:
        return
    name = getattr(func, "__name__", "the function")
    spread = f"wingspan.starmap({name}, [(1, 2), (3, 4)]) spreads a tuple over several arguments"
    named = f"wingspan.starmap({name}, kwargs=[{{…}}, {{…}}]) passes arguments by name"
    raise InvalidInputs(
        f"{name}({names}) cannot be called with one argument, and that is what map does: an input, whatever it is",
        hint=named if keywords > 0 else spread if takes else "give it a parameter",
    )
