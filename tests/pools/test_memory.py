"""The memory that was asked for is what there is, on a real personal pool."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import wingspan
from _waiting import PATIENCE
from wingspan.pools.personal import PersonalPool

pytestmark = pytest.mark.htcondor

HOG = "import time; held = bytearray(400 << 20); time.sleep({seconds})"


@pytest.fixture(autouse=True)
def pool(personal_pool: PersonalPool, tmp_path: Path) -> None:
    """The session's personal pool is the personal pool of this test's data folder."""
    data = tmp_path / "wingspan-data"
    data.mkdir(parents=True, exist_ok=True)
    (data / "personal-pool").symlink_to(personal_pool.directory)


@pytest.mark.parametrize("where", ["itself", "a child"])
def test_a_component_that_takes_more_is_an_error_of_its_own(where: str) -> None:
    """The component that took too much fails with both figures, though a child of its process took it;
    the others are done.
    """

    def component(x: int) -> int:
        if x == 1:
            code = "import time; held = bytearray(400 << 20); time.sleep(600)"
            if where == "itself":
                exec(code)
            else:
                import subprocess

                subprocess.run(["python3", "-c", code])
        return x

    m = wingspan.map(
        component, range(4), pool="personal", options=wingspan.Options(request_memory="200MB", workers=1)
    )
    with pytest.raises(wingspan.ComponentErrors):
        m.wait(timeout=PATIENCE)
    assert set(m.errors) == {1}
    message = str(m.errors[1])
    assert "MiB of memory and its job asked for 200 MiB" in message
    assert "request_memory" in m.errors[1].hint


def test_who_asks_for_nothing_may_take_what_there_is() -> None:
    """A map and a run that name no memory are not limited to HTCondor's default of 128 MB."""

    def component(x: int) -> int:
        held = bytearray(400 << 20)
        time.sleep(3)
        return len(held)

    run = wingspan.run(["python3", "-c", HOG.format(seconds=6)], pool="personal", name="free")
    try:
        assert wingspan.map(component, [0], pool="personal")[0] == 400 << 20
        assert run.wait(timeout=PATIENCE).state == "completed"
    finally:
        run.remove()


def test_a_run_that_takes_more_is_held() -> None:
    """HTCondor holds a job that took more than it asked for, with both figures in the reason."""
    command = ["python3", "-c", HOG.format(seconds=PATIENCE)]
    run = wingspan.run(command, pool="personal", name="hog", memory="200MB")
    try:
        with pytest.raises(wingspan.WingspanError, match=r"it took \d+ MB of memory and asked for 200 MB"):
            run.wait(timeout=PATIENCE)
    finally:
        run.remove()
