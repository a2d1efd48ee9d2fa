"""Ctrl-C in Python while somebody waits: still KeyboardInterrupt, and it is told that the work goes on and how to come back."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import wingspan
from _waiting import PATIENCE


@pytest.fixture(autouse=True)
def _nothing_left(own_folders: None):
    yield
    wingspan.clean(all=True)


@pytest.mark.parametrize(
    "look",
    [lambda m: m.wait(), lambda m: m[0], list, lambda m: list(m.iter_as_available())],
    ids=["wait", "get", "iter", "as they come"],
)
def test_a_map_goes_on(
    look: Callable[[wingspan.Map], object], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each way to wait for a map tells so, once."""
    gate = str(tmp_path / "gate")

    def wait(x: int) -> int:
        while not Path(gate).exists():
            time.sleep(0.02)
        return x

    m = wingspan.map(wait, [1], tag="long", pool="local")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(time, "sleep", lambda seconds: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            look(m)
    Path(gate).touch()
    assert len(caplog.messages) == 1
    assert "the map 'long' goes on by itself" in caplog.messages[0]
    assert "wingspan.load('long')" in caplog.messages[0]
    assert list(m) == [1]


@pytest.mark.parametrize(
    "look", [lambda run: run.wait(), lambda run: list(run.follow())], ids=["wait", "follow"]
)
def test_a_run_goes_on(
    look: Callable[[wingspan.Run], object], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """So does each way to wait for a run."""
    run = wingspan.run(
        ["sh", "-c", f"until [ -e '{tmp_path}/gate' ]; do sleep 0.1; done"], name="slow", pool="local"
    )
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(time, "sleep", lambda seconds: signal.raise_signal(signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):
                look(run)
        assert len(caplog.messages) == 1
        assert "the run 'slow' goes on by itself" in caplog.messages[0]
        (tmp_path / "gate").touch()
        assert run.wait(PATIENCE).state == "completed"
    finally:
        run.remove(force=True)
