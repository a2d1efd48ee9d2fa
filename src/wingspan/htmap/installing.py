"""``import htmap`` that finds `wingspan.htmap`."""

from __future__ import annotations

import importlib
import pkgutil
import sys

from wingspan.errors import WingspanError

__all__ = ["install"]

#: Modules that are no part of what HTMap had.
_OWN = frozenset({"__main__", "installing"})


def install() -> None:
    """Have ``import htmap``, in this process and from now on, mean `wingspan.htmap`, with its modules.

    Raises:
        WingspanError: HTMap itself is imported already.
    """
    package = importlib.import_module("wingspan.htmap")
    there = sys.modules.get("htmap")
    if there is package:
        return
    if there is not None:
        raise WingspanError(
            f"htmap is imported already, from {getattr(there, '__file__', None)}",
            hint="call wingspan.htmap.install() before the first import of htmap",
        )
    sys.modules["htmap"] = package
    for module in pkgutil.iter_modules(package.__path__):
        if module.name not in _OWN:
            sys.modules[f"htmap.{module.name}"] = importlib.import_module(f"wingspan.htmap.{module.name}")
