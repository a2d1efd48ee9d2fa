"""Commands that show: ``report``, ``dashboard``, ``top``."""

from __future__ import annotations

import contextlib
import html
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wingspan._words import counted, lasting
from wingspan.cli._output import TAG, print_json
from wingspan.cli._terminal import echo, style
from wingspan.errors import WingspanError

if TYPE_CHECKING:
    from wingspan.notebooks._dashboard import Everything
    from wingspan.views import View

__all__ = ["dashboard", "report", "top"]


@click.command()
@click.argument("name", metavar="TAG", type=TAG)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file; wingspan-TAG.html in this folder, if it is not said.",
)
@click.option("--open", "show", is_flag=True, help="Show it in a browser.")
def report(name: str, output: Path | None, show: bool) -> None:
    """Write a report of a map or a run: one HTML file.

    It has the time line of the workers, runtimes, memory against what was asked for, queue times, hosts,
    errors, and what to change.
    """
    from wingspan.cli._main import names_a_run

    if names_a_run(name):
        from wingspan.runs import load_run

        path = load_run(name).report(output)
    else:
        import wingspan

        path = wingspan.load(name).report(output)
    echo(str(path))
    if show:
        click.launch(str(path))


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port of the server; 0 stands for one that is free.",
)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
def dashboard(port: int, no_browser: bool) -> None:
    """Show all maps and runs in a browser, live.

    Only this machine can reach it, and only with the address that is printed: it has a token in it. Ctrl-C
    ends it.
    """
    import threading

    from wingspan.notebooks._dashboard import Everything
    from wingspan.views._server import Dashboard

    try:
        server = Dashboard(Everything().lives, port)
    except OSError as error:
        raise WingspanError(
            f"port {port} cannot be had: {error.strerror}", hint="leave --port out: one that is free is taken"
        ) from None
    echo(f"{server.url}\n  Ctrl-C ends it")
    serving = threading.Thread(target=server.serve, daemon=True)
    serving.start()
    try:
        with _page_to(server.url) as page:
            if not no_browser:
                click.launch(str(page))
            while serving.is_alive():
                serving.join(1.0)
    except KeyboardInterrupt:
        server.close()
        echo("ended", err=True)


@contextlib.contextmanager
def _page_to(url: str) -> Iterator[Path]:
    """A file of this user's alone that leads a browser to `url`.

    The browser is started with the file's name: everybody on the machine can read the arguments of programs,
    and would read the token there.
    """
    from wingspan.settings import load_settings, private_folder
    from wingspan.worker import trust

    page = private_folder(load_settings().cache_dir, "dashboard") / f"{os.getpid()}.html"
    address = html.escape(url)
    text = f'<!doctype html><meta http-equiv="refresh" content="0; url={address}"><a href="{address}">Wingspan</a>\n'
    trust.write_whole(str(page), text.encode())
    try:
        yield page
    finally:
        page.unlink(missing_ok=True)


@click.command()
@click.option("--interval", type=click.FloatRange(min=0.2), default=1.0, help="Seconds between two looks.")
@click.option("--once", is_flag=True, help="Look once, and end.")
@click.option("--all", "everything", is_flag=True, help="Those too that are done.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, once.")
def top(interval: float, once: bool, everything: bool, as_json: bool) -> None:
    """Watch maps and runs on the terminal, those first that are not done. Ctrl-C ends it; they go on."""
    import sys

    from wingspan.notebooks._dashboard import Everything

    watched = Everything()
    if as_json:
        print_json([view.to_json() for view in _views(watched, everything)])
        return
    if once or not sys.stdout.isatty():
        _print(_views(watched, everything))
        return
    from rich.console import Console
    from rich.live import Live as Screen

    console = Console()
    try:
        with Screen(console=console, screen=True, auto_refresh=False) as screen:
            while True:
                screen.update(_table(_views(watched, everything), console.height), refresh=True)
                time.sleep(interval)
    except KeyboardInterrupt:
        return


def _views(watched: Everything, everything: bool) -> list[View]:
    views = []
    for one in watched.lives().values():
        try:
            view = one.view()
        except WingspanError:
            continue  # wingspan maps says what is wrong with it
        if not view.is_removed and (everything or not view.is_done):
            views.append(view)
    return sorted(views, key=lambda view: view.is_done)


def _row(view: View) -> dict[str, str]:
    failed = view.states.get("errored", 0)
    return {
        "NAME": view.name,
        "WHAT": view.kind,
        "DONE": f"{view.finished:,}/{view.components:,}",
        "FAILED": f"{failed:,}" if failed else "",
        "A SECOND": f"{view.rate:,.3g}" if view.rate else "",
        "LEFT": "" if view.left is None else lasting(view.left),
        "JOBS": ", ".join(f"{count:,} {state}" for state, count in view.workers.items()),
        "POOL": "+".join(view.pools),
    }


_RIGHT = ("DONE", "FAILED", "A SECOND", "LEFT")


def _print(views: list[View]) -> None:
    from wingspan.cli._table import print_table

    if not views:
        echo("nothing is going on; --all shows what is done", err=True)
        return
    rows = [_row(view) for view in views]
    print_table(list(rows[0]), [tuple(row.values()) for row in rows], right=_RIGHT, whole=["NAME", "DONE"])
    for view in views:
        if view.message:
            echo(f"{style(view.name, bold=True)}: {view.message}")


def _table(views: list[View], height: int) -> Any:
    from rich import box
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    from wingspan._shown import shown

    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False)
    for heading in ("NAME", "", "DONE", "FAILED", "A SECOND", "LEFT", "JOBS", "POOL"):
        table.add_column(
            heading, justify="right" if heading in _RIGHT else "left", ratio=1 if not heading else None
        )
    fitting = views[: max(1, height - 6)]
    for view in fitting:
        row = _row(view)
        cells: list[Any] = [Text(shown(text)) for name, text in row.items() if name != "WHAT"]
        cells.insert(1, ProgressBar(total=max(1, view.components), completed=view.finished))
        table.add_row(*cells)
    left = len(views) - len(fitting)
    told = counted(len(views), "map or run", "maps and runs") if views else "nothing is going on"
    return Group(
        Text(
            f"{told}   {time.strftime('%H:%M:%S')}   Ctrl-C ends this view"
            + (f"   {left} more" if left else "")
        ),
        table,
    )
