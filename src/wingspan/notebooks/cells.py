"""What a ``%%wingspan`` cell means: a function of one variable, and the inputs that it is applied to."""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from wingspan.errors import WingspanError

__all__ = ["InvalidCell", "cell_function", "split_line"]

#: Name of the function that a cell becomes: what messages call it.
NAME = "cell"
_INPUT = "_input"


class InvalidCell(WingspanError, ValueError):
    """A cell or its first line that cannot be a map."""


def split_line(line: str) -> tuple[str | None, str]:
    """What stands before ``in``, if anything does, and the expression of the inputs.

    Raises:
        InvalidCell: It is neither ``NAME in EXPRESSION`` nor an expression.

    >>> split_line("x in range(3)"), split_line("for a, b in pairs"), split_line("names")
    (('x', 'range(3)'), ('a, b', 'pairs'), (None, 'names'))
    """
    text = line.strip().removeprefix("for ").strip()
    if not text:
        raise InvalidCell("a map needs inputs", hint="%%wingspan x in range(10)")
    try:
        loop = ast.parse(f"[0 for {text}]", mode="eval").body
        assert isinstance(loop, ast.ListComp)
        [generator] = loop.generators
        if not generator.ifs and not generator.is_async:
            target = generator.target
            parts = target.elts if isinstance(target, ast.Tuple) else [target]
            return ", ".join(map(ast.unparse, parts)) + (
                "," if parts != [target] and len(parts) == 1 else ""
            ), ast.unparse(generator.iter)
    except (SyntaxError, ValueError):
        pass
    else:
        name = ast.unparse(generator.target).strip("()")
        raise InvalidCell(
            f"{text!r}: after the inputs stands nothing else",
            hint=f"%%wingspan {name} in [{ast.unparse(generator.target)} for {text}]",
        )
    try:
        ast.parse(text, mode="eval")
    except SyntaxError as error:
        raise InvalidCell(
            f"{text!r} does not say what the inputs are: {error.msg}",
            hint="%%wingspan x in range(10), or %%wingspan and an expression",
        ) from None
    return None, text


def cell_function(
    source: str, target: str | None, namespace: dict[str, Any], filename: str
) -> Callable[[Any], Any]:
    """The function that a cell is, of its variable; it answers what the last line is, as a cell does.

    Args:
        source: The cell, without its first line.
        target: Its variable, or ``"a, b"``, to which each input is assigned; None: the only name in it that
            nothing gives a value.
        namespace: The notebook's variables.
        filename: Where tracebacks look for its lines; the first line of that text is the one that is missing
            in `source`.

    Raises:
        InvalidCell: It is not Python, or it has not one free variable.
    """
    try:
        module = ast.parse(f"\n{source}", filename)
    except SyntaxError as error:
        magic = (error.text or "").lstrip().startswith(("!", "%"))
        why = "! and % are the notebook's, and workers have none" if magic else error.msg
        raise InvalidCell(
            f"line {error.lineno} of the cell cannot run on workers: {why}",
            hint="mend the line, or put what only the notebook can do into another cell",
        ) from None
    if not module.body:
        raise InvalidCell("the cell has no code", hint="below %%wingspan stands what is done with each input")
    if target is None:
        target = _free_name(source, namespace)
    body = list(module.body)
    if isinstance(last := body[-1], ast.Expr):
        body[-1] = ast.copy_location(ast.Return(last.value), last)
    parameter = target if target.isidentifier() else _INPUT
    definition = ast.parse(f"def {NAME}({parameter}): pass").body[0]
    assert isinstance(definition, ast.FunctionDef)
    if parameter == _INPUT:
        body.insert(0, ast.parse(f"{target} = {_INPUT}").body[0])
    definition.body = body
    tree = ast.fix_missing_locations(ast.Module([definition], []))
    made: dict[str, Any] = {}
    try:
        code = compile(tree, filename, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise InvalidCell(
            f"line {error.lineno} of the cell cannot be in a function: {error.msg}",
            hint="the cell becomes the body of a function: leave out what cannot be in one",
        ) from None
    exec(code, namespace, made)  # noqa: S102 - it defines the function whose text the user has written
    function: Callable[[Any], Any] = made[NAME]
    return function


def _free_name(source: str, namespace: Mapping[str, Any]) -> str:
    """The only name that the cell reads and nobody gives a value: neither the cell, nor the notebook, nor
    Python.

    Raises:
        InvalidCell: There is none, or there are several.
    """
    free = sorted(
        name for name in _read_names(source) if name not in namespace and not hasattr(builtins, name)
    )
    if len(free) == 1:
        return free[0]
    if free:
        raise InvalidCell(
            f"the cell has {len(free)} names that have no value: {', '.join(free)}",
            hint=f"say which one is the input: %%wingspan {free[0]} in …",
        )
    raise InvalidCell(
        "every name in the cell has a value already, so none can be the input",
        hint="say which one is the input: %%wingspan x in …",
    )


def _read_names(source: str) -> Iterable[str]:
    """Names that the cell reads without giving them a value before, as Python's compiler sees it."""
    table = symtable.symtable(
        f"def {NAME}():\n" + "".join(f" {line}\n" for line in source.splitlines()), "cell", "exec"
    )

    def below(one: symtable.SymbolTable) -> Iterable[str]:
        yield from (symbol.get_name() for symbol in one.get_symbols() if symbol.is_global())
        for child in one.get_children():
            yield from below(child)

    return set(below(table.get_children()[0]))
