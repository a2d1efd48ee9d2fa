"""The command that is called when a map is complete."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import wingspan
from _on_disk import change_map_json, map_json
from _waiting import PATIENCE, until

#: Waits, as several processes at once do.
_WAITS = """
import sys, wingspan
wingspan.load(sys.argv[1]).wait(errors_ok=True)
"""


def _fails_at_two(x: int) -> int:
    return 1 // (2 - x)


def test_the_command_is_called_once(tmp_path: Path, other_python: Callable) -> None:
    """Whoever notices calls it, with the tag and how the map ended; once more after each rerun."""
    log = tmp_path / "log"
    told = 'echo "$WINGSPAN_TAG $WINGSPAN_STATE $WINGSPAN_FAILED of $WINGSPAN_COMPONENTS"'
    m = wingspan.map(
        _fails_at_two,
        [1, 2],
        tag="told",
        pool="local",
        options=wingspan.Options(on_done=f"{told} >>'{log}'; echo x"),
    )
    m.wait(PATIENCE, errors_ok=True)
    for _ in range(2):
        other_python(_WAITS, "told")
    until(log.exists, "the command is called")
    until(lambda: (m.path / "on_done.out").read_text(), "what it prints is kept")
    # A worker could write into the map's folder: what stands there is not executed.
    change_map_json(m, options={**map_json(m)["options"], "on_done": f"echo evil >>'{log}'"})
    m = wingspan.load("told")
    m.rerun([0])
    m.wait(PATIENCE, errors_ok=True)
    until(lambda: log.read_text().count("\n") == 2, lambda: log.read_text())
    other_python(_WAITS, "told")
    assert log.read_text() == "told failed 1 of 2\n" * 2
    m.remove()
    assert os.listdir(m.path.parents[1] / "on_done") == []


@pytest.mark.parametrize("command", ["", "  ", 7, "a\0b"])
def test_what_is_no_command_is_refused(command: object) -> None:
    """The error comes before anything is made."""
    with pytest.raises(wingspan.SettingsError, match="no shell command"):
        wingspan.Options(on_done=command)  # type: ignore[arg-type]
