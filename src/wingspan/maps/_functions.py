"""Pickling the function: what workers cannot import travels by value, and own modules travel as source."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from wingspan._shown import shown
from wingspan.maps._errors import MapError, NotPicklable
from wingspan.maps._pickled import PickledFunction
from wingspan.worker.pickling import Dumper, culprit, reason

__all__ = ["function_name", "pickle_function"]


#: Characters of a function's name that are kept.
_LONGEST_NAME = 200


def function_name(function: Callable[..., Any]) -> str:
    r"""The name of the function in messages: one line, and nothing that commands a terminal.

    >>> odd = lambda: 0
    >>> odd.__qualname__ = "a\n\x1b[2Jb"
    >>> function_name(odd)
    'a \\x1b[2Jb'
    """
    name = str(getattr(function, "__qualname__", None) or type(function).__qualname__)
    return " ".join(shown(name[:_LONGEST_NAME]).split())


def pickle_function(function: Callable[..., Any], tops: Iterable[str] = ()) -> PickledFunction:
    """Pickle the function.

    Args:
        function: The user's function.
        tops: Own modules that are needed in any case, by the inputs for instance.

    Raises:
        NotPicklable: It holds something that cannot be pickled; the message names it.
    """
    from wingspan.maps._own import OwnCode

    own = OwnCode(tops)
    pickled = PickledFunction(own)
    dumper = Dumper(by_value=own.by_value, spread=True, on_own=own.saw, on_file=pickled.files.reduced)
    try:
        dumper.dump(function, pickled.write)
    except MapError:
        raise
    except Exception as error:
        where, kind = culprit(function, f"function {function_name(function)}", dumper.try_out)
        raise NotPicklable(
            f"{where} of type {kind} cannot be pickled: {reason(error)}",
            hint="make it inside the function, so that each worker makes its own",
        ) from error
    own.codes = dumper.codes
    return pickled
