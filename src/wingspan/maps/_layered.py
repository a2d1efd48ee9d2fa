"""A function that brings options of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wingspan.errors import SettingsError
from wingspan.maps._options import Options

if TYPE_CHECKING:
    from wingspan.maps._where import Where

__all__ = ["Layered", "check_options", "plain"]


class Layered:
    """A function with the options and the pool of its maps; see `wingspan.mapped`."""

    function: Callable[..., Any]
    options: Options | None
    pool: Where


def plain(function: Any) -> Any:
    """The function that a `Layered` one was made of; every other function as it is."""
    return function.function if isinstance(function, Layered) else function


def check_options(options: Any) -> Options:
    """See that these are options.

    Raises:
        SettingsError: They are something else.
    """
    if not isinstance(options, Options):
        raise SettingsError(
            f"options is a {type(options).__name__}", hint="write options=wingspan.Options(request_cpus=2)"
        )
    return options
