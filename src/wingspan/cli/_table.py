"""Tables: drawn by rich on a terminal, columns of plain text elsewhere."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wingspan._shown import shown
from wingspan._words import sized as size
from wingspan.cli._terminal import echo

__all__ = ["print_csv", "print_table", "size", "text_table"]


def print_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print rows as CSV (RFC 4180) on standard output, a line of headings first; None is an empty cell.

    Args:
        columns: Headings, and the keys of the cells.
        rows: Texts in them cannot command a terminal: control characters are shown. Those that workers wrote
            (errors, hosts) are no formula for a spreadsheet either: an apostrophe stands before what would
            be one.
    """
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")
    for row in [{name: name for name in columns}, *rows]:
        writer.writerow(_cell(name, row.get(name)) for name in columns)
        echo(line.getvalue(), nl=False)
        line.seek(0)
        line.truncate()


#: Columns with texts that workers have written.
_OF_WORKERS = frozenset({"error", "host", "message", "reason"})


def _cell(column: str, value: Any) -> Any:
    """A cell of CSV.

    >>> _cell("error", "=1+1"), _cell("lr", "-0.1"), _cell("error", "ValueError: x"), _cell("cpu", 1.5)
    ("'=1+1", '-0.1', 'ValueError: x', 1.5)
    """
    if not isinstance(value, str):
        return value
    is_formula = column in _OF_WORKERS and value.lstrip().startswith(("=", "+", "-", "@"))
    return shown(f"'{value}" if is_formula else value)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
    cut: Sequence[str] = (),
    drop: Sequence[str] = (),
) -> None:
    """Print rows under headings on standard output.

    Args:
        columns: Headings.
        rows: Cells, as many as there are headings.
        right: Headings of the columns that are set flush right.
        whole: Headings of the columns that are never folded, however narrow the terminal is.
        cut: Headings of the columns that are cut off rather than folded where the terminal is narrow.
        drop: Headings of the columns that are left out where it is narrower than all together, the first of
            them first.
    """
    cells = [tuple(shown(cell) for cell in row) for row in rows]
    if sys.stdout.isatty():
        _draw(columns, cells, right, whole, cut, drop)
        return
    for line in text_table(columns, cells, right):
        echo(line)


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> list[str]:
    """Lines of a table of plain text, headings first; columns in `right` are set flush right.

    >>> text_table(["a", "long"], [["x", "1"]])
    ['a  long', 'x  1']
    """
    widths = [max(len(line[i]) for line in [columns, *rows]) for i in range(len(columns))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in [columns, *rows]
    ]


def _draw(
    columns: Sequence[str],
    cells: list[tuple[str, ...]],
    right: Sequence[str],
    whole: Sequence[str],
    cut: Sequence[str],
    drop: Sequence[str],
) -> None:
    """The table on a terminal; the arguments are those of `print_table`."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for heading in drop:
        needed = [
            max(map(len, (heading_of, *(() if heading_of in cut else column))))
            for heading_of, *column in zip(columns, *cells, strict=True)
        ]
        if sum(needed) + 3 * len(needed) - 1 <= console.width:
            break
        place = columns.index(heading)
        columns, *cells = ((*row[:place], *row[place + 1 :]) for row in (columns, *cells))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=column in whole,
            min_width=len(column) if column in cut else None,
        )
    for row in cells:
        # Cells are data: a package called "[red]" is not markup. Only columns that may wrap are made
        # narrower, and so it is the cell that does not.
        table.add_row(
            *(
                Text(cell, no_wrap=True, overflow="ellipsis") if column in cut else Text(cell)
                for column, cell in zip(columns, row, strict=True)
            )
        )
    console.print(table)
