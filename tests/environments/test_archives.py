"""Facts inside package archives."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from wingspan.environments.archives import console_scripts


def _wheel(folder: Path, text: str) -> zipfile.ZipFile:
    path = folder / "a_b-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a_b-1.dist-info/entry_points.txt", text)
        archive.writestr("a_b/x.dist-info/entry_points.txt", "[console_scripts]\nvendored = a:b\n")
    return zipfile.ZipFile(path)


def test_programs_of_a_wheel(tmp_path: Path) -> None:
    """Those of both groups, as they are spelled; other entry points, comments and vendored lists are none."""
    text = "[console_scripts]\nOne = a:b\ntwo.x-y=a:b [extra]\n# three = a:b\n[other]\nfour = q\n\n[gui_scripts]\nfive=a:b\n"
    with _wheel(tmp_path, text) as wheel:
        assert console_scripts(wheel) == {"One", "two.x-y", "five"}


def test_a_damaged_list_of_programs(tmp_path: Path) -> None:
    """A line that is no pair is told with the file's name."""
    with _wheel(tmp_path, "[console_scripts]\nno pair\n") as wheel:
        with pytest.raises(ValueError, match=r"a_b-1-py3-none-any\.whl is damaged"):
            console_scripts(wheel)
