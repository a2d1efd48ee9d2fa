"""What the Tab key may put into a command line."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING

from wingspan._shown import shown

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["offered"]

#: A word that every shell takes as it stands: the Tab key puts it into the command line unquoted.
_PLAIN = re.compile(r"[\w@%+=:,./][\w@%+=:,./-]*")


def offered(
    choices: Iterable[tuple[str, str | None]], incomplete: str, *, but: Container[str] = ()
) -> list[CompletionItem]:
    """What the Tab key offers of names, with a line of help each.

    The author of a manifest or profile chose some of them, and a folder may have any file: what a shell would
    execute or take for several words is not offered.

    Args:
        choices: The names.
        incomplete: What is typed already.
        but: Names that were given already.
    """
    from click.shell_completion import CompletionItem

    return [
        CompletionItem(name, help=None if text is None else " ".join(shown(text).split()))
        for name, text in choices
        if name.startswith(incomplete) and name not in but and _PLAIN.fullmatch(name) and name.isprintable()
    ]
