"""Text from elsewhere, made safe for a terminal: what would control it is shown instead."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

__all__ = ["escaped", "shown"]

#: Control characters but for the end of a line and the tabulator; what turns the direction of writing around,
#: or is not to be seen at all; separators of lines and paragraphs; halves of characters.
_COMMANDS = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"


def shown(text: str) -> str:
    r"""`text`, with each character that would command a terminal written as Python writes it.

    >>> shown("a\x1b]0;title\x07\tb\nc"), shown("naïve 日本 \u202etxt")
    ('a\\x1b]0;title\\x07\tb\nc', 'naïve 日本 \\u202etxt')
    """
    return escaped(text, lambda character: ascii(character)[1:-1])


def escaped(text: str, write: Callable[[str], str]) -> str:
    """`text`, with each of these characters as `write` writes it."""
    return _pattern().sub(lambda found: write(found[0]), text)


@functools.cache
def _pattern() -> re.Pattern[str]:
    """Compiled when it is first needed: that takes longer than the rest of this module."""
    return re.compile(_COMMANDS)
