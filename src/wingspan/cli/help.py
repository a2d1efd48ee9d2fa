"""``wingspan help``: the pages of the documentation on the terminal, and the help of commands."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from wingspan.cli._complete import Completed
from wingspan.cli._terminal import echo

__all__ = ["help_"]


def page_paths() -> dict[str, Path]:
    """The pages by name: as the wheel has them, or as they lie in a clone."""
    package = Path(__file__).resolve().parents[1]
    folder = next(
        (one for one in (package / "_docs", package.parents[1] / "docs") if (one / "index.md").is_file()),
        None,
    )
    if folder is None:
        return {}
    pages = {path.relative_to(folder): path for path in sorted(folder.rglob("*.md"))}
    # A reference consists of what the site puts into it.
    return {str(name.with_suffix("")): path for name, path in pages.items() if name.parts[0] != "reference"}


class _Topic(Completed):
    """A page or a command."""

    name = "topic"

    def choices(self, ctx: click.Context | None) -> Iterable[tuple[str, str | None]]:
        from wingspan.cli._main import COMMANDS

        return [
            *((name, _title(path)) for name, path in page_paths().items()),
            *((name, COMMANDS[name][2]) for name in COMMANDS if name not in page_paths()),
        ]


def _title(path: Path) -> str:
    return path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")


@click.command("help")
@click.argument("words", metavar="[PAGE | COMMAND]", nargs=-1, type=_Topic())
@click.pass_context
def help_(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Show a page of the documentation, or the help of a command.

    Without a word it lists the commands and the pages. On a terminal, pages are shown in a pager.
    """
    pages = page_paths()
    if not words:
        assert ctx.parent is not None
        echo(ctx.parent.get_help())
        if pages:
            echo("\nPages (wingspan help PAGE):\n  " + "  ".join(name for name in pages if name != "index"))
        return
    if len(words) == 1 and words[0] in pages:
        _show(pages[words[0]])
        return
    _help_of(ctx, words)


def _show(path: Path) -> None:
    """Print a page: set for a terminal, as it is for a program."""
    from rich.console import Console
    from rich.markdown import Markdown

    text = path.read_text(encoding="utf-8")
    console = Console()
    if not console.is_terminal:
        echo(text, nl=False)
        return
    with console.pager(styles=not console.no_color):
        console.print(Markdown(text))


def _help_of(ctx: click.Context, words: tuple[str, ...]) -> None:
    """The help of a command, of a subcommand too."""
    from wingspan._words import nearest

    assert ctx.parent is not None
    inner = ctx.parent
    for word in words:
        group = inner.command
        command = None
        if isinstance(group, click.Group) and word in group.list_commands(inner):
            command = group.resolve_command(inner, [word, "--help"])[1]
        if command is None:
            near = nearest(word, [name for name, _ in _Topic().choices(ctx)])
            raise click.UsageError(
                f"there is no page and no command {' '.join(words)!r}. "
                + (f"Did you mean {near!r}?" if near else "wingspan help lists both")
            )
        inner = click.Context(command, info_name=word, parent=inner)
    echo(inner.get_help())
