"""``wingspan pool``, as a user types it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from _waiting import PATIENCE

pytestmark = [
    pytest.mark.htcondor,
    pytest.mark.skipif(sys.platform != "linux", reason="HTCondor's daemons are obtained for Linux only"),
]


def wingspan(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wingspan", *map(str, arguments)]
    environment = {**os.environ, **variables}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE)


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder of its own, whose pool is stopped afterwards."""
    path = Path(tempfile.mkdtemp(prefix="wingspan-test-", dir="/var/tmp"))
    yield path
    wingspan("pool", "stop", WINGSPAN_DATA_DIR=str(path))
    shutil.rmtree(path, ignore_errors=True)


def test_a_pools_life(data: Path) -> None:
    """start, start again, status, run and env, stop, status: each says what is so, also by its exit code."""
    here = {"WINGSPAN_DATA_DIR": str(data)}
    status = wingspan("pool", "status", **here)
    assert status.returncode == 3
    assert "not running" in status.stdout
    started = wingspan("pool", "start", "--cpus", 1, **here)
    assert started.returncode == 0, started.stderr
    assert "is running" in started.stdout
    assert str(data) in started.stdout
    again = wingspan("pool", "start", **here)
    assert "was running" in again.stdout
    seen = json.loads(wingspan("pool", "status", "--json", **here).stdout)
    assert (seen["state"], seen["cpus"]) == ("running", 1)
    other = wingspan("pool", "start", "--cpus", 2, **here)
    assert other.returncode == 1
    assert "wingspan pool stop" in other.stderr
    assert "Traceback" not in other.stderr
    asked = wingspan("pool", "run", "condor_status", "-af", "Cpus", **here)
    assert asked.stdout.split() == ["1"], asked.stderr
    lines = wingspan("pool", "env", **here).stdout
    shell = subprocess.run(["sh", "-c", f"{lines}\ncondor_q -totals"], capture_output=True, text=True)
    assert shell.returncode == 0, shell.stderr
    assert wingspan("pool", "stop", **here).stdout == "The personal pool is stopped.\n"
    assert wingspan("pool", "stop", **here).stdout == "The personal pool was not running.\n"
    assert wingspan("pool", "status", **here).returncode == 3


def test_commands_that_need_a_pool_say_how_to_start_it(data: Path) -> None:
    """env and run of a stopped pool fail with the command that starts it."""
    for command in (["env"], ["run", "condor_q"]):
        done = wingspan("pool", *command, WINGSPAN_DATA_DIR=str(data))
        assert done.returncode == 1
        assert "wingspan pool start" in done.stderr
        assert done.stdout == ""


def test_bad_arguments_are_usage_errors() -> None:
    """A pool of no CPUs is a usage error, exit code 2."""
    assert wingspan("pool", "start", "--cpus", 0).returncode == 2


def test_install_prints_json() -> None:
    """install --json prints the prefix, the version and the source, and nothing else."""
    done = wingspan("pool", "install", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) == {"prefix", "version", "source"}
    assert Path(found["prefix"]).is_dir()
