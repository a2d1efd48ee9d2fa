"""Pictures of a moment, as saved notebooks have them: HTML without styles or scripts of its own."""

from __future__ import annotations

import html
from collections.abc import Mapping

from wingspan._shown import shown

__all__ = ["COLORS", "still_bar", "still_message"]

#: Colours of the states, the most telling first. ``static/view.css`` and ``static/report.css`` have the same.
#: Colour-blind people can tell them apart, and each but that of ``idle`` differs clearly from white.
COLORS = {
    "completed": "#118a76",
    "errored": "#a8160c",
    "running": "#0f4396",
    "held": "#bd8800",
    "removed": "#333333",
    "suspended": "#c82ac8",
    "idle": "#c4c4c4",
}


def still_bar(counts: Mapping[str, int]) -> str:
    """A bar with a part for each state.

    Args:
        counts: Components or jobs by state. A run's ``"failed"`` is drawn as ``"errored"``.

    >>> "width:75.00%" in still_bar({"completed": 3, "failed": 1})
    True
    """
    total = sum(counts.values())
    parts, told = [], []
    for state, color in COLORS.items():
        word = "failed" if state == "errored" and counts.get("failed") else state
        if count := counts.get(word):
            told.append(f"{count:,} {word}")
            style = f"width:{100 * count / total:.2f}%;background:{color};height:100%"
            parts.append(f'<div title="{told[-1]}" style="{style}"></div>')
    return (
        f'<div role="img" aria-label="{", ".join(told)}" style="display:flex;height:10px;max-width:500px;'
        f'background:#eee;border:1px solid #888;margin:4px 0">{"".join(parts)}</div>'
    )


def still_message(text: str) -> str:
    """What keeps it, in the notebook's own colour of text, which can be read on any ground.

    >>> still_message("")
    ''
    """
    if not text:
        return ""
    style = f"border-left:4px solid {COLORS['errored']};padding-left:6px;white-space:pre-wrap"
    return f'<div style="{style}">{html.escape(shown(text))}</div>'
