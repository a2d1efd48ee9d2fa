"""What the personal pool's settings make of jobs: those of other tools too, on a real HTCondor."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from _jobs import finished, submit
from _waiting import until
from wingspan.pools.personal import PersonalPool

pytestmark = [
    pytest.mark.htcondor,
    pytest.mark.skipif(sys.platform != "linux", reason="HTCondor's daemons are obtained for Linux only"),
]


def ads(pool: PersonalPool, cluster: int) -> list[Any]:
    """Job ads of a cluster, queued or gone."""
    with pool.activate():
        schedd = pool.schedd()
        constraint = f"ClusterId == {cluster}"
        return [*schedd.query(constraint), *schedd.history(constraint, [], -1)]


def dynamic_slots(pool: PersonalPool) -> list[str]:
    """Names of the slots that are cut out for jobs now."""
    import htcondor2

    with pool.activate():
        found = htcondor2.Collector().query(htcondor2.AdType.Startd, 'SlotType == "Dynamic"', ["Name"])
    return [ad["Name"] for ad in found]


def starters_said(pool: PersonalPool) -> dict[str, str]:
    """What the starters have written into each of their logs so far."""
    logs = (pool.directory / "log").glob("StarterLog*")
    return {log.name: log.read_text(errors="replace") for log in logs}


def test_no_job_keeps_a_slot_for_others_of_its_tool(personal_pool: PersonalPool, tmp_path: Path) -> None:
    """A slot is free after a job that asked to keep it for an hour."""
    cluster = submit(personal_pool, tmp_path, "echo done", keep_claim_idle="3600")
    until(lambda: finished(tmp_path, cluster), "the job's end")
    until(lambda: not dynamic_slots(personal_pool), "a free slot")


def test_no_job_waits_after_its_files_have_come(personal_pool: PersonalPool, tmp_path: Path) -> None:
    """No starter is told to ask again later, which takes five seconds, once a job's input files are there."""
    (tmp_path / "data").write_text("payload")
    transfer = {"should_transfer_files": "YES", "transfer_input_files": "data", "transfer_executable": "true"}
    before = starters_said(personal_pool)
    cluster = submit(personal_pool, tmp_path, "cat data", count=8, **transfer)
    until(lambda: finished(tmp_path, cluster, 8), "jobs with an input file")
    assert [(tmp_path / f"out.{number}").read_text() for number in range(8)] == ["payload"] * 8
    logs = starters_said(personal_pool)
    said = "".join(text.removeprefix(before.get(name, "")) for name, text in logs.items())
    assert "guidance" in said
    assert "RetryReqest" not in said  # HTCondor's spelling


def test_a_job_whose_files_cannot_come_is_held(personal_pool: PersonalPool, tmp_path: Path) -> None:
    """A job whose input file is missing is held, and the reason names the file."""
    transfer = {"should_transfer_files": "YES", "transfer_input_files": "nowhere.csv"}
    cluster = submit(personal_pool, tmp_path, "true", **transfer)
    held = until(lambda: [ad for ad in ads(personal_pool, cluster) if ad["JobStatus"] == 5], "the job's hold")
    try:
        assert "nowhere.csv" in held[0]["HoldReason"]
    finally:
        import htcondor2

        with personal_pool.activate():
            personal_pool.schedd().act(htcondor2.JobAction.Remove, f"ClusterId == {cluster}")


def test_common_files_are_sent_once_and_seen_by_all(personal_pool: PersonalPool, tmp_path: Path) -> None:
    """Jobs with a common input file and an own one see both; the common one is a hard link, not a copy."""
    (tmp_path / "common.bin").write_bytes(os.urandom(1000))
    (tmp_path / "own").write_text("own")
    command = 'stat -c "%h %s" common.bin; cat own; sleep 1'
    transfer = {
        "should_transfer_files": "YES",
        "transfer_executable": "true",
        "transfer_input_files": "own",
        "MY.CommonInputFiles": '"common.bin"',
    }
    cluster = submit(personal_pool, tmp_path, command, count=3, **transfer)
    until(lambda: finished(tmp_path, cluster, 3), "jobs with a common file")
    for number in range(3):
        links, size, own = (tmp_path / f"out.{number}").read_text().split()
        assert (size, own) == ("1000", "own")
        assert int(links) > 1


def test_a_slot_claimed_for_nobody_is_soon_free(personal_pool: PersonalPool) -> None:
    """The startd asks the schedd within a few seconds about a claim without a job, and gives it up if the
    schedd has forgotten it (its job was removed while the slot was being claimed).
    """
    import htcondor2

    with personal_pool.activate():
        collector = htcondor2.Collector()
        startd = htcondor2.RemoteParam(collector.locate(htcondor2.DaemonType.Startd))
        schedd = htcondor2.RemoteParam(collector.locate(htcondor2.DaemonType.Schedd))
        lease = int(startd["MAX_CLAIM_ALIVES_MISSED"]) * int(schedd["ALIVE_INTERVAL"])
        notes = int(schedd["QUEUE_CLEAN_INTERVAL"]) / int(schedd["ALIVE_INTERVAL"])
    assert 3 <= lease <= 10, "it asks three times in a lease, in whole seconds"
    assert notes <= 400, "each answer is a line in the log of the queue"
