"""``wingspan completion``: the line that turns on tab completion."""

from __future__ import annotations

import os
from pathlib import PurePath

import click

__all__ = ["LINES", "completion"]

#: For each shell the line, and the file that it belongs in.
LINES = {
    "bash": ('eval "$(_WINGSPAN_COMPLETE=bash_source wingspan)"', "~/.bashrc"),
    "zsh": ('eval "$(_WINGSPAN_COMPLETE=zsh_source wingspan)"', "~/.zshrc"),
    "fish": ("_WINGSPAN_COMPLETE=fish_source wingspan | source", "~/.config/fish/config.fish"),
}


@click.command()
@click.argument("shell", required=False, type=click.Choice(sorted(LINES)))
def completion(shell: str | None) -> None:
    """Print the line that lets the Tab key complete commands, your maps and runs, tasks, environments and
    profiles.

    \b
    Try it:   eval "$(wingspan completion bash)"
    Keep it:  wingspan completion bash >> ~/.bashrc

    Without SHELL, the one that you use.
    """
    shell = shell or PurePath(os.environ.get("SHELL", "")).name
    if shell not in LINES:
        raise click.UsageError(f"which shell? Say {', '.join(sorted(LINES))}")
    line, file = LINES[shell]
    click.echo(f"# wingspan: tab completion (this line belongs in {file})\n{line}")
