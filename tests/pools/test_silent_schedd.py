"""A schedd that takes connections and says nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from wingspan.jobs import JobDescription
from wingspan.maps._bench import counted_requests
from wingspan.pools.htcondor import PersonalHTCondorPool
from wingspan.pools.personal import PersonalPool


@pytest.mark.htcondor
def test_a_schedd_is_asked_before_it_is_given_jobs(personal_pool: PersonalPool, tmp_path: Path) -> None:
    """Who submits asks first whether the schedd is there, unless it has answered a moment ago. (With a schedd
    that was stopped, this is an error after 20 seconds; without the question nothing ended.)
    """
    pool = PersonalHTCondorPool(personal_pool)
    job = JobDescription(
        name="asked",
        executable="/bin/true",
        working_dir=tmp_path,
        log=str(tmp_path / "events.log"),
        transfer_files=False,
        custom={"Plain": True},
    )
    with counted_requests() as first:
        submission = pool.submit(job)
    assert (first["Schedd.query"], first["Schedd.submit"]) == (1, 1)
    with counted_requests() as second:
        other = pool.submit(job)
    assert (second["Schedd.query"], second["Schedd.submit"]) == (0, 1)
    pool._answers_until = 0.0
    with counted_requests() as third:
        last = pool.submit(job)
    assert third["Schedd.query"] == 1
    pool.act("remove", [submission, other, last], tmp_path, "the test is over")
