"""Colours of the states: everybody tells them apart."""

from __future__ import annotations

import itertools
import re

import pytest

from wingspan.views._model import STATES
from wingspan.views._static import static_text
from wingspan.views._still import COLORS

#: What people see of light (red, green, blue, linear): everybody else, and those who lack one kind of cone
#: (Machado, Oliveira and Fernandes 2009, severity 1.0).
SIGHTS = {
    "most people": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "deuteranopia": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "tritanopia": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}
GROUNDS = {0: "#ffffff", 1: "#161616"}


def light(colour: str) -> list[float]:
    """Red, green and blue of an sRGB colour, linear (IEC 61966-2-1)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def seen(colour: str, sight: str) -> tuple[float, float, float]:
    """CIE 1976 L*a*b*, of what somebody sees."""
    red, green, blue = (
        min(1.0, max(0.0, sum(x * y for x, y in zip(row, light(colour), strict=True))))
        for row in SIGHTS[sight]
    )
    x, y, z = (
        (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505,
        0.2126 * red + 0.7152 * green + 0.0722 * blue,
        (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089,
    )
    x, y, z = (one ** (1 / 3) if one > 0.008856 else 7.787 * one + 16 / 116 for one in (x, y, z))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def distance(one: str, other: str, sight: str) -> float:
    """How different two colours are to somebody: about 2 can just be seen side by side."""
    pairs = zip(seen(one, sight), seen(other, sight), strict=True)
    return sum((x - y) ** 2 for x, y in pairs) ** 0.5


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, "contrast ratio"."""
    bright, dark = sorted(
        (sum(x * y for x, y in zip((0.2126, 0.7152, 0.0722), light(c), strict=True)) for c in (one, other)),
        reverse=True,
    )
    return (bright + 0.05) / (dark + 0.05)


def palette(name: str, scheme: int) -> dict[str, str]:
    """The colours of a style sheet: 0 light, 1 dark."""
    return {
        state: re.findall(rf"--(?:ws-)?{state}: (#[0-9a-f]{{6}});", static_text(name))[scheme]
        for state in STATES
    }


@pytest.mark.parametrize("scheme", GROUNDS)
def test_everybody_tells_states_apart(scheme: int) -> None:
    """Any two states differ to all of them, in light and dark; each state but the one that waits stands out
    from the page.
    """
    colours = palette("view.css", scheme)
    for sight, (one, other) in itertools.product(SIGHTS, itertools.combinations(colours, 2)):
        assert distance(colours[one], colours[other], sight) > 15, (sight, one, other)
    assert all(contrast(colours[one], GROUNDS[scheme]) > 3 for one in STATES if one != "idle")


def test_every_face_has_the_same_colours() -> None:
    """The live view, the report and the still picture."""
    assert palette("view.css", 0) == palette("report.css", 0) == COLORS
    assert palette("view.css", 1) == palette("report.css", 1)
