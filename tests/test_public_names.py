"""What is public is listed, found and explained."""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
from pathlib import Path

import pytest

import wingspan

MODULES = [
    "wingspan",
    "wingspan.maps",
    "wingspan.pool",
    "wingspan.pools",
    "wingspan.environments",
    "wingspan.stores",
    "wingspan.errors",
    "wingspan.htmap",
    "wingspan.htmap.exceptions",
    "wingspan.htmap.mapping",
]


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_sorted_and_there(name: str) -> None:
    """``__all__`` has no name twice, and each one can be had."""
    module = importlib.import_module(name)
    names = list(module.__all__)
    assert len(names) == len(set(names))
    assert [one for one in names if not hasattr(module, one)] == []
    if name == "wingspan":
        assert names == sorted(names)
        assert dir(module) == names


@pytest.mark.parametrize("name", MODULES)
def test_public_names_have_docstrings(name: str) -> None:
    """Modules, classes, functions, and the public methods and properties of classes say what they are."""
    module = importlib.import_module(name)
    assert module.__doc__
    silent = []
    for public in module.__all__:
        thing = getattr(module, public)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue
        if not inspect.getdoc(thing):
            silent.append(public)
        if not inspect.isclass(thing) or issubclass(thing, enum.Enum):
            continue
        for member, value in vars(thing).items():
            documented = isinstance(value, property | staticmethod | classmethod) or inspect.isfunction(value)
            if documented and not member.startswith("_") and not inspect.getdoc(getattr(thing, member)):
                silent.append(f"{public}.{member}")
    assert silent == []


def test_type_checkers_see_what_is_imported_lazily() -> None:
    """The imports under TYPE_CHECKING name exactly what ``__getattr__`` answers to."""
    tree = ast.parse(Path(wingspan.__file__).read_text(encoding="utf-8"))
    [block] = [n for n in tree.body if isinstance(n, ast.If) and isinstance(n.test, ast.Name)]
    seen = {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.module != "typing"
    }
    assert seen == wingspan._HOMES
    assert set(wingspan.__all__) == {*seen, "__version__"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name says which, as any module does."""
    with pytest.raises(AttributeError, match="nonsense"):
        _ = wingspan.nonsense


def test_every_error_is_a_wingspan_error() -> None:
    """One except clause catches everything that is raised on purpose."""
    errors = [
        value
        for name in wingspan.__all__
        if inspect.isclass(value := getattr(wingspan, name)) and issubclass(value, Exception)
    ]
    assert len(errors) > 10
    others = [one.__name__ for one in errors if not issubclass(one, wingspan.WingspanError)]
    # a warning is told, not raised; the other is a text in the shape of a cause
    assert others == ["EnvironmentWarning", "RemoteTraceback"]
