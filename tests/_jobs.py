"""Plain HTCondor jobs for tests of the pool itself, without any of Wingspan's maps."""

from __future__ import annotations

import time
from pathlib import Path

from wingspan.pools.personal import PersonalPool

__all__ = ["finished", "submit"]


def submit(pool: PersonalPool, folder: Path, command: str, *, count: int = 1, **extra: str) -> int:
    """Submit a shell command; output in ``out.<n>``, event log in ``log`` of `folder`. Answers the cluster."""
    import htcondor2

    script = folder / f"job-{time.monotonic_ns()}.sh"
    script.write_text(f"#!/bin/sh\n{command}\n")
    script.chmod(0o755)
    description = {
        "executable": str(script),
        "transfer_executable": "false",
        "should_transfer_files": "NO",
        "output": str(folder / "out.$(Process)"),
        "error": str(folder / "err.$(Process)"),
        "log": str(folder / "log"),
        "initialdir": str(folder),
        **extra,
    }
    with pool.activate():
        result = pool.schedd().submit(htcondor2.Submit(description), count=count)
    return int(result.cluster())


def finished(folder: Path, cluster: int, count: int = 1) -> bool:
    """Whether `count` jobs of the cluster have terminated, by the event log."""
    try:
        text = (folder / "log").read_text()
    except FileNotFoundError:
        return False
    assert f"012 ({cluster:03d}." not in text, f"a job was held:\n{text}"
    return text.count(f"005 ({cluster:03d}.") >= count
