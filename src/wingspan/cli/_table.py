"""Tables: drawn by rich on a terminal, columns of plain text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from wingspan._shown import shown
from wingspan._words import sized as size
from wingspan.cli._terminal import echo

__all__ = ["print_table", "size"]


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
    widths = [max(len(line[i]) for line in [columns, *cells]) for i in range(len(columns))]
    for line in [tuple(columns), *cells]:
        parts = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ]
        echo("  ".join(parts).rstrip())


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
