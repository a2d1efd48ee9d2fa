"""What jobs authenticate with is given to the access point before they are submitted, as condor_submit
does it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wingspan.pools.personal import PersonalPool

_SUBMIT = """\
import sys, wingspan
try:
    m = wingspan.map(abs, [-1], pool="htcondor", tag="c")
except wingspan.SubmitError as error:
    print("refused:", error.message)
else:
    print("output:", m[0])
"""


@pytest.mark.htcondor
@pytest.mark.parametrize("works", [True, False])
def test_the_sites_producer_is_asked_before_jobs_are_submitted(
    tmp_path: Path, personal_pool: PersonalPool, works: bool
) -> None:
    """The program that a site configures for its tickets (SEC_CREDENTIAL_PRODUCER) is executed; where it
    fails, nothing is submitted.
    """
    producer = tmp_path / "producer"
    producer.write_text(f"#!/bin/sh\necho asked >>{tmp_path}/asked\necho ticket\nexit {0 if works else 7}\n")
    producer.chmod(0o755)
    environment = {**os.environ, **personal_pool.environment()}
    environment["_CONDOR_SEC_CREDENTIAL_PRODUCER"] = str(producer)
    done = subprocess.run(
        [sys.executable, "-c", _SUBMIT], env=environment, capture_output=True, text=True, check=True
    )
    assert (tmp_path / "asked").read_text() == "asked\n"
    # The personal pool has no credd that would keep it.
    assert "refused: the credentials of the jobs cannot be issued" in done.stdout, done.stdout + done.stderr
    assert not list((Path(os.environ["WINGSPAN_DATA_DIR"]) / "maps").glob("[!.]*"))


@pytest.mark.htcondor
def test_without_a_producer_nobody_is_asked(personal_pool: PersonalPool) -> None:
    """Most sites need no credentials: jobs are submitted as ever."""
    environment = {**os.environ, **personal_pool.environment()}
    done = subprocess.run(
        [sys.executable, "-c", _SUBMIT], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "output: 1\n", done.stderr
