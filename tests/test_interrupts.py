"""Ctrl-C in Python while somebody waits: still KeyboardInterrupt, and it is told that the work goes on
and how to come back.
"""

from __future__ import annotations

import signal
import subprocess
import sys
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


_IN_ASYNCIO = """
import asyncio, os, signal, sys
import wingspan

def wait(x):
    import time
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.02)
    return x

async def interrupted(m):
    asyncio.get_running_loop().call_later(0.3, os.kill, os.getpid(), signal.SIGINT)
    await m

async def bounded(m):
    await asyncio.wait_for(asyncio.ensure_future(all_of(m)), 0.3)

async def all_of(m):
    return [x async for x in m.aiter_as_available()]

signal.signal(signal.SIGINT, signal.default_int_handler)
m = wingspan.map(wait, [1], tag="long", pool="local")
try:
    asyncio.run(globals()[sys.argv[2]](m))
except (KeyboardInterrupt, asyncio.TimeoutError) as error:
    print(type(error).__name__)
m.remove()
"""


@pytest.mark.parametrize(
    ("how", "raised", "is_told"),
    [("interrupted", "KeyboardInterrupt", True), ("bounded", "TimeoutError", False)],
)
def test_a_map_goes_on_that_asyncio_waits_for(tmp_path: Path, how: str, raised: str, is_told: bool) -> None:
    """Ctrl-C within asyncio tells so, once; a task that the program itself cancels tells nothing."""
    command = [sys.executable, "-c", _IN_ASYNCIO, str(tmp_path / "gate"), how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.stdout == f"{raised}\n", done.stderr
    assert done.stderr.count("the map 'long' goes on by itself") == is_told
