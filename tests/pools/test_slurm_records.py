"""What jobs of Slurm write about themselves, as far as it makes sense."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wingspan.jobs import Submission
from wingspan.pools._base import JobState
from wingspan.pools.slurm_records import SlurmWatcher


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b"[]",
        b"5",
        b"\xff",
        b'{"state": "odd", "time": 1}',
        b'{"state": "running", "time": 1e999}',
        b'{"state": "running", "time": []}',
        b'{"state": "running"}',
    ],
)
def test_a_record_that_makes_no_sense_is_passed_over(line: bytes, tmp_path: Path) -> None:
    """Neither what a job writes nor what it puts beside its record ends who looks at it."""
    (tmp_path / "7.0").write_bytes(
        line + b'\n{"state": "running", "time": 2, "host": "n1", "cluster": "8", "new": 1, "code": "x"}\n'
    )
    for name in ("7.x", "7.", "7.-1", "7.1.x"):
        (tmp_path / name).write_bytes(line)
    (tmp_path / "7.1").mkdir()
    os.mkfifo(tmp_path / "7.2")
    watcher = SlurmWatcher([Submission(pool="slurm", cluster="7", count=3)], tmp_path)
    (event,) = watcher.poll()
    assert (event.cluster, event.proc, event.state, event.time) == ("7", 0, JobState.RUNNING, 2.0)
    assert (event.host, event.code) == ("n1", None)
