"""Single components of a map: a limit to their time, and cancelling them."""

from __future__ import annotations

import datetime
import subprocess
import sys
import time
from pathlib import Path

import pytest

import wingspan
from _waiting import until
from wingspan import ComponentTimeout, Options
from wingspan.errors import SettingsError


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_component_that_takes_too_long_is_ended(tmp_path):
    """It fails with the limit, what it printed, and its attempts; its child processes are gone; the rest is
    done.
    """
    children = tmp_path / "children"

    def work(x):
        if x == 1:
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(10000)"])
            with children.open("a") as file:
                file.write(f"{child.pid}\n")
            print("stuck", file=sys.stderr)
            time.sleep(10000)
        return x

    options = Options(component_timeout=1.5, retries=1, workers=1)
    m = wingspan.map(work, range(3), pool="local", options=options)
    assert m[0] == 0
    assert m[2] == 2
    with pytest.raises(ComponentTimeout, match=r"component 1 failed: .*longer than 1.5 s") as told:
        m[1]
    assert told.value.attempt == 2
    assert "stuck" in told.value.stderr
    assert isinstance(m.errors[1], TimeoutError)
    pids = children.read_text().split()
    assert len(pids) == 2
    until(lambda: not any(map(is_alive, pids)), "the end of its children")


def test_of_many_fast_components_the_slow_one_is_found():
    """Where outputs are gathered, too, the limit hits the component that is stuck."""

    def work(x):
        if x == 300:
            time.sleep(10000)
        return x

    m = wingspan.map(work, range(500), pool="local", options=Options(component_timeout=1, workers=1))
    m.wait(errors_ok=True)
    assert isinstance(m.errors[300], ComponentTimeout)
    assert [m[x] for x in m.components if x not in m.errors] == [x for x in range(500) if x not in m.errors]


def test_time_limits_are_read_as_people_write_them():
    """A text with a unit, a number of seconds, a timedelta; nothing else."""
    given = ["10min", 600, 600.0, datetime.timedelta(minutes=10)]
    assert [Options(component_timeout=one).component_timeout for one in given] == [600] * 4
    assert Options.from_dict(Options(component_timeout=0.5).as_dict()).component_timeout == 0.5
    for wrong in (0, -1.0, float("nan"), "10", "soon"):
        with pytest.raises(SettingsError, match="component_timeout"):
            Options(component_timeout=wrong)
