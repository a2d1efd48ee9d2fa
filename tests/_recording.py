"""A moving picture of a terminal: what a person types and sees, as SVG that any browser plays.

pyte, a terminal in memory, makes screens of what was printed. The picture has each different line once, and
CSS shows one screen after another; without animation, as where `prefers-reduced-motion` asks for that, the
last one is seen.
"""

from __future__ import annotations

import fcntl
import html
import re
import struct
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyte

from _terminal import Terminal

__all__ = ["Recorded", "moving_picture"]

COLUMNS, ROWS = 92, 22
_WIDTH, _HEIGHT = 8.4, 19  # of a letter, in pixels
#: Colours on dark ground that tell well apart, by pyte's names.
COLOURS = {
    "default": "#e6edf3",
    "black": "#8b949e",
    "red": "#ff7b72",
    "green": "#7ee787",
    "brown": "#f2cc60",
    "blue": "#79c0ff",
    "magenta": "#d2a8ff",
    "cyan": "#76e3ea",
    "white": "#e6edf3",
}
#: No screen is shown longer, and none shorter; the last one stays.
LONGEST, SHORTEST, LAST = 1.2, 0.08, 5.0


class Recorded(Terminal):
    """A terminal that remembers when what was printed."""

    def __init__(self, command: Sequence[str], *, cwd: Path, environment: Mapping[str, str]) -> None:
        #: Time, and how much had been printed by then.
        self.times: list[tuple[float, int]] = []
        self._later = 0.0
        size = {"COLUMNS": str(COLUMNS), "LINES": str(ROWS), "TERM": "xterm-256color"}
        super().__init__(command, cwd=cwd, environment={**environment, **size})
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def _read(self, deadline: float) -> bool:
        more = super()._read(deadline)
        self.times.append((time.monotonic() + self._later, len(self.text)))
        return more

    def enter(self, line: str) -> None:
        """Type a line letter by letter: in the picture as slowly as a person; nobody waits here."""
        self._later += 0.8
        for letter in line:
            self._later += 0.09
            self.type(letter)
            self.expect(re.escape(letter))
        self._later += 0.3
        self.type("\n")


Line = tuple[tuple[str, str, bool], ...]


def _screens(recorded: Recorded) -> list[tuple[float, tuple[Line, ...]]]:
    """Seconds and lines of each screen that differs from the one before."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.Stream(screen)
    seen, shown = 0, []
    for moment, length in recorded.times:
        stream.feed(recorded.text[seen:length])
        seen = length
        lines = tuple(_runs(screen, row) for row in range(ROWS))
        if not shown or shown[-1][1] != lines:
            if shown and moment - shown[-1][0] < SHORTEST:
                shown.pop()
            shown.append((moment, lines))
    ends = [moment for moment, _ in shown[1:]]
    lasted = [min(LONGEST, end - begun) for end, (begun, _) in zip(ends, shown, strict=False)]
    return [(seconds, lines) for seconds, (_, lines) in zip([*lasted, LAST], shown, strict=True)]


def _runs(screen: pyte.Screen, row: int) -> Line:
    """A line as pieces of one look: text, colour, bold."""
    runs: list[tuple[str, str, bool]] = []
    for column in range(COLUMNS):
        cell = screen.buffer[row][column]
        colour = COLOURS.get(cell.fg.removeprefix("bright"), f"#{cell.fg}")
        look = (colour, bool(cell.bold))
        if runs and runs[-1][1:] == look:
            runs[-1] = (runs[-1][0] + cell.data, *look)
        else:
            runs.append((cell.data, *look))
    return tuple(runs) if any(text.strip() for text, _, _ in runs) else ()


def moving_picture(recorded: Recorded, title: str) -> str:
    """The picture of all that was seen; `title` says what, to those who do not see it."""
    screens = _screens(recorded)
    lines = {
        line: f"l{number}"
        for number, line in enumerate(dict.fromkeys(line for _, screen in screens for line in screen if line))
    }
    width, height = COLUMNS * _WIDTH + 24, ROWS * _HEIGHT + 24
    total = sum(seconds for seconds, _ in screens)
    style, groups, begun = [], [], 0.0
    for number, (seconds, screen) in enumerate(screens):
        last = number == len(screens) - 1
        first, until = 100 * begun / total, 100 * (begun + seconds) / total
        begun += seconds
        hidden = "" if last else ";visibility:hidden"
        style.append(f"@keyframes k{number}{{0%{{visibility:hidden}}{first:.2f}%{{visibility:visible}}")
        style.append("}" if last else f"{until:.2f}%{{visibility:hidden}}}}")
        style.append(f"#s{number}{{animation:k{number} {total:.1f}s step-end infinite{hidden}}}")
        used = "".join(
            f'<use href="#{lines[line]}" y="{row * _HEIGHT}"/>' for row, line in enumerate(screen) if line
        )
        groups.append(f'<g id="s{number}">{used}</g>')
    drawn = "".join(_drawn(line, name) for line, name in lines.items())
    still = "".join(f"#s{number}" + "{animation:none}" for number in range(len(screens)))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img">'
        f"<title>{html.escape(title)}</title>"
        f"<style>text{{font:14px ui-monospace,Menlo,Consolas,monospace;white-space:pre}}{''.join(style)}"
        f"@media (prefers-reduced-motion){{{still}}}</style>"
        f'<rect width="100%" height="100%" rx="8" fill="#0d1117"/><defs>{drawn}</defs>'
        f'<g transform="translate(12 26)">{"".join(groups)}</g></svg>\n'
    )


def _drawn(line: Line, name: str) -> str:
    """A line; each piece begins at its column, whatever letters the browser has."""
    pieces, column = [], 0
    for text, colour, bold in line:
        if text.strip():
            begin = len(text) - len(text.lstrip(" "))
            words = text.strip(" ")
            weight = ' font-weight="bold"' if bold else ""
            length = f' textLength="{len(words) * _WIDTH:.1f}"'
            pieces.append(
                f'<tspan x="{(column + begin) * _WIDTH:.1f}" fill="{colour}"{weight}{length}>{html.escape(words)}</tspan>'
            )
        column += len(text)
    return f'<text id="{name}">{"".join(pieces)}</text>'
