"""Plain HTCondor jobs for tests of the pool itself, without any of Wingspan's maps."""

from __future__ import annotations

import re
import time
from pathlib import Path

from _waiting import until
from wingspan.pools.personal import PersonalPool

__all__ = ["end_jobs", "finished", "sent_once", "submit"]


def submit(pool: PersonalPool, folder: Path, command: str, *, count: int = 1, **extra: str) -> int:
    """Submit a shell command; output in ``out.<n>``, event log in ``log`` of `folder`.

    Answers the cluster.
    """
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


def end_jobs(pool: PersonalPool, folder: Path) -> None:
    """Remove the jobs that were submitted from `folder`, and return when the queue has none of them."""
    with pool.activate():
        schedd = pool.schedd()

        def left() -> list[str]:
            return [
                f"{ad['ClusterId']}.{ad['ProcId']}"
                for ad in schedd.query(projection=["ClusterId", "ProcId", "Iwd"])
                if Path(ad["Iwd"]).is_relative_to(folder)
            ]

        if jobs := left():
            import htcondor2

            schedd.act(htcondor2.JobAction.Remove, jobs, reason="the test that submitted them is over")
            until(lambda: not left(), lambda: f"the end of the jobs {left()}")


def sent_once(log: Path) -> bool:
    """Whether common files went to the machine once for all jobs that were there, by the event log.

    They leave the machine with its last job: for one that begins after another has ended they may be sent
    anew.
    """
    text = log.read_text()
    sent = [
        part.count("Common files event: TransferFinished")
        for part in re.split(r"Job terminated\.|Job was aborted", text)
    ]
    return sum(sent) > 0 and max(sent) == 1
