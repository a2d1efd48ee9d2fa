"""Packages whose public names are imported when they are first used (PEP 562)."""

# The same as `typing.TYPE_CHECKING`; importing `typing` would cost more than everything else here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = ["lazy_names"]


def lazy_names(namespace: "dict[str, Any]", homes: "Mapping[str, str]") -> "Callable[[str], Any]":
    """Return the ``__getattr__`` of a package.

    A package gives it to the interpreter alone (``if not TYPE_CHECKING``), and names the same for type
    checkers by plain imports: else a checker takes any misspelt name for one that is there.

    Args:
        namespace: The package's ``globals()``; what was imported once stays in it.
        homes: Public name -> module that has it, as ``importlib.import_module`` takes it (``".module"`` too).
            A name whose home is the package itself is a module in it.
    """

    def get(name: str) -> "Any":
        if name not in homes:
            hint = None
            if namespace["__name__"] == "wingspan" and not name.startswith("_"):
                from wingspan._foreign import hint_for_name

                hint = hint_for_name(name, homes)
            told = f"module {namespace['__name__']!r} has no attribute {name!r}"
            raise AttributeError(f"{told}: {hint}" if hint else told)
        import importlib

        package = namespace["__name__"]
        if homes[name] == package:
            value = importlib.import_module(f"{package}.{name}")
        else:
            value = getattr(importlib.import_module(homes[name], package), name)
        namespace[name] = value
        return value

    return get
