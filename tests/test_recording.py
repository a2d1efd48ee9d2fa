"""The moving picture of the README: a session as a person has it, in a real terminal."""

from __future__ import annotations

import os
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import wingspan
from _recording import Recorded, moving_picture
from wingspan.pools.personal import PersonalPool

FIRST = """import wingspan

def energy(length):
    return sum(1 / k**2 for k in range(1, 3_000_000)) / length

m = wingspan.map(energy, [1.0, 2.0, 3.0, 4.0], tag="wells")
print([round(value, 3) for value in m])
"""


@pytest.mark.htcondor
def test_a_first_session(personal_pool: PersonalPool, tmp_path: Path) -> None:
    """A map on the personal pool, and what it left: all of it is in the picture, which is well-formed."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/personal-pool").symlink_to(personal_pool.directory)
    (tmp_path / "first.py").write_text(FIRST)
    folder = Path(sys.executable).parent
    variables = {
        "HOME": str(tmp_path),
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PS1": "$ ",
        "WINGSPAN_DATA_DIR": str(tmp_path / "data"),
        "WINGSPAN_CACHE_DIR": os.environ.get("WINGSPAN_CACHE_DIR", str(tmp_path / "cache")),
        "WINGSPAN_POOL": "personal",
    }
    with Recorded(["bash", "--norc", "--noprofile"], cwd=tmp_path, environment=variables) as terminal:
        terminal.expect(r"\$ ")
        for line, answer in (
            ("cat first.py", "for value in m])"),
            ("python first.py", "[1.645, 0.822, 0.548, 0.411]"),
            ("wingspan maps", "wells"),
            ("python -c 'import wingspan; print(wingspan.load(\"wells\")[2])'", "0.548"),
        ):
            terminal.enter(line)
            terminal.expect(re.escape(answer))
            terminal.expect(r"\$ ")
        picture = moving_picture(terminal, "a map on a personal pool, and how it is loaded again")
    words = " ".join(ET.fromstring(picture).itertext())
    assert "[1.645, 0.822, 0.548, 0.411]" in words
    assert "wingspan maps" in words
    if folder_of_pictures := os.environ.get("WINGSPAN_PICTURES"):
        (Path(folder_of_pictures) / "first-session.svg").write_text(picture, encoding="utf-8")
    wingspan.clean(all=True)
