"""A pool says what it can do: nothing outside of wingspan.pools asks which one it is."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import wingspan
from _toy_engine import ToyPool
from wingspan.pools import Pool
from wingspan.pools.htcondor import HTCondorPool, PersonalHTCondorPool
from wingspan.pools.local import LocalPool
from wingspan.pools.slurm import SlurmPool

SOURCES = Path(wingspan.__file__).parent
CLASSES = {cls.__name__ for cls in (HTCondorPool, PersonalHTCondorPool, LocalPool, SlurmPool)}
#: Variables that hold pools.
POOLS = {"pool", "chosen", "local", "site", "engine"}
KINDS = {"personal", "htcondor", "slurm", "local"}
#: Variables that hold something else: what `wingspan render` writes for, HTCondor's universe.
OTHERS = {"target", "universe"}


def _name(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else None


def _names_kinds(node: ast.expr) -> bool:
    """It is the name of a pool, or several."""
    parts = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return any(isinstance(part, ast.Constant) and part.value in KINDS for part in parts)


def switches(text: str) -> list[int]:
    """Lines that ask which pool one is: its kind is compared, its class looked at, or whether it has a
    method.
    """
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            asks = any(
                isinstance(side, ast.Attribute) and side.attr == "kind" and _name(side.value) in POOLS
                for side in sides
            ) or (any(map(_names_kinds, sides)) and not any(_name(side) in OTHERS for side in sides))
        elif isinstance(node, ast.BinOp):
            asks = any(isinstance(side, ast.Set) and _names_kinds(side) for side in (node.left, node.right))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called, first = node.func.id, _name(node.args[0]) if node.args else None
            asks = (called in ("hasattr", "getattr") and first in POOLS) or (
                called == "isinstance" and any(_name(one) in CLASSES for one in ast.walk(node.args[1]))
            )
        else:
            asks = isinstance(node, ast.ImportFrom) and any(alias.name in CLASSES for alias in node.names)
        if asks:
            found.append(node.lineno)
    return found


@pytest.mark.parametrize(
    "path", sorted(SOURCES.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCES))
)
def test_nobody_asks_which_pool_it_is(path: Path) -> None:
    """A fourth engine is one module: what it can do stands in its class."""
    if path.relative_to(SOURCES).parts[0] == "pools":
        return
    assert switches(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        'pool.kind == "slurm"',
        'self.pool.kind in ("local", "personal")',
        '"local" != chosen.kind',
        'job.pool == "slurm"',
        'kind in {"personal", "htcondor"}',
        'if not {"personal", "htcondor"} & watchers.keys(): pass',
        "isinstance(pool, HTCondorPool)",
        "isinstance(pool, (str, htcondor.HTCondorPool))",
        'hasattr(pool, "personal")',
        'getattr(pool, "kind", None)',
        "from wingspan.pools.htcondor import HTCondorPool",
    ],
)
def test_what_counts_as_asking(line: str) -> None:
    """Each way in which it was asked before is found."""
    assert switches(line) == [1]


@pytest.mark.parametrize("pool", [HTCondorPool, PersonalHTCondorPool, LocalPool, SlurmPool, ToyPool])
def test_each_pool_says_all(pool: type[Pool]) -> None:
    """What the protocol names is there, in the class: nobody has to make a pool to know it."""
    made_later = {"place"}
    methods = {name for name, value in vars(Pool).items() if inspect.isfunction(value) and name[0] != "_"}
    assert "submit" in methods
    for name in (Pool.__annotations__.keys() - made_later) | methods:
        assert getattr(pool, name, ...) is not ..., f"{pool.__name__} does not say {name}"
