"""``wingspan notebook``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

__all__ = ["notebook"]


class _Command(click.Command):
    """Leaves to Jupyter what stands after ``--``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        place = args.index("--") if "--" in args else len(args)
        ctx.meta["wingspan.jupyter_options"] = tuple(args[place + 1 :])
        return super().parse_args(ctx, args[:place])


@click.command(cls=_Command, options_metavar="[OPTIONS] [-- JUPYTER-OPTIONS]")
@click.option(
    "--lab",
    "interface",
    flag_value="lab",
    default="lab",
    help="JupyterLab.  [default]",
)
@click.option(
    "--notebook", "interface", flag_value="notebook", help="Jupyter Notebook: one document, no tabs."
)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Its port.  [default: 8888, or the next free one]"
)
@click.option("--browser/--no-browser", default=True, help="Open it in the browser.  [default: yes]")
@click.option("--keep-pool", is_flag=True, help="Leave the personal pool running afterwards.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".")
@click.pass_context
def notebook(
    ctx: click.Context,
    /,
    *,
    interface: Literal["lab", "notebook"],
    port: int | None,
    browser: bool,
    keep_pool: bool,
    folder: Path,
) -> int:
    """JupyterLab with a pool beside it: maps in its cells find the pool ready.

    The pool is the site's, where this machine's configuration names one; else it is the personal pool, which
    is started at the same time and stopped with the last notebook that uses it. Only this machine can reach
    the server, and only with its token.

    \b
      wingspan notebook                                 shows this folder
      wingspan notebook -- --ServerApp.base_url=/me/    options of Jupyter's own
    """
    from wingspan.notebooks.server import serve

    return serve(
        folder.absolute(),
        interface=interface,
        port=port,
        browser=browser,
        keep_pool=keep_pool,
        options=ctx.meta["wingspan.jupyter_options"],
    )
