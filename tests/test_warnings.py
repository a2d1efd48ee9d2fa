"""Warnings name the line of the user's program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import wingspan
from wingspan.lint import LintWarning, lint
from wingspan.runs import RunWarning


def _lints(folder: Path) -> None:
    (folder / "good.sub").write_text("executable = /bin/true\nqueue\n")
    (folder / "odd.sub").write_bytes(b"\xff\xfe" + b"x" * 9)
    lint([folder])


def _runs(folder: Path) -> None:
    (folder / "data.txt").touch()
    wingspan.run(["cat", "data.txt"], pool="local")


@pytest.mark.parametrize("deed", [_runs, _lints])
def test_the_line_is_the_callers(
    deed: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However deep in Wingspan it comes from, and whatever is moved there."""
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    with pytest.warns((RunWarning, LintWarning)) as caught:
        deed(tmp_path)
    assert {one.filename for one in caught} == {__file__}
