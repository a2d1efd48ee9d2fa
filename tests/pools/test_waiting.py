"""Jobs that make no progress, on real pools: what keeps them is told within seconds, or mended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import wingspan
from _jobs import submit
from _on_disk import submissions
from _waiting import PATIENCE, until
from wingspan.jobs import JobDescription
from wingspan.pools import get_pool, waiting
from wingspan.pools.htcondor import PersonalHTCondorPool
from wingspan.pools.personal import PersonalPool

pytestmark = pytest.mark.htcondor


@pytest.fixture
def pool(personal_pool: PersonalPool, tmp_path: Path) -> PersonalHTCondorPool:
    """The session's personal pool is the personal pool of this test's data folder."""
    data = tmp_path / "wingspan-data"
    data.mkdir(parents=True, exist_ok=True)
    (data / "personal-pool").symlink_to(personal_pool.directory)
    found = get_pool("personal")
    assert isinstance(found, PersonalHTCondorPool)
    return found


@pytest.fixture
def site(pool: PersonalHTCondorPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pool as a site's, which is not ours to judge at submission."""
    monkeypatch.setenv("CONDOR_CONFIG", str(pool.personal.config_file))


@pytest.fixture
def sleepers(personal_pool: PersonalPool, tmp_path: Path) -> Iterator[None]:
    """Other jobs have all slots of the pool."""
    import htcondor2

    cluster = submit(personal_pool, tmp_path, "echo here; exec sleep 1000", count=4)
    began = lambda: sum(path.stat().st_size > 0 for path in tmp_path.glob("out.*")) == 4  # noqa: E731
    try:
        until(began, "a full pool")
        yield
    finally:
        with personal_pool.activate():
            personal_pool.schedd().act(htcondor2.JobAction.Remove, f"ClusterId == {cluster}")


def told(status: Callable[[], Any]) -> str:
    """The first message of a status."""
    return str(until(lambda: status().message, "a message"))


def test_a_hold_and_release_behind_our_back_is_mended(pool: PersonalHTCondorPool, tmp_path: Path) -> None:
    """Jobs that HTCondor has forgotten after condor_hold and condor_release go on while somebody waits."""
    gate, begun = tmp_path / "gate", tmp_path / "begun"

    def component(x: int) -> int:
        begun.touch()
        while not gate.exists():
            time.sleep(0.05)
        return x

    options = wingspan.Options(workers=2, custom={"Mine": 1})
    m = wingspan.map(component, range(8), pool="personal", options=options)
    until(begun.exists, "a running component")
    cluster = str(submissions(m)[-1]["cluster"])
    environment = {**os.environ, **pool.personal.environment()}
    for command in ("condor_hold", "condor_release"):
        subprocess.run([command, cluster], env=environment, check=True, capture_output=True)
    gate.touch()
    assert m.wait(timeout=PATIENCE, holds_ok=True).is_done


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that wait are asked about soon."""
    monkeypatch.setattr(waiting, "PATIENCE", 1.5)


@pytest.mark.usefixtures("sleepers", "impatient")
def test_maps_and_runs_say_that_the_pool_is_full(
    pool: PersonalHTCondorPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A map and a run whose jobs wait for others' say so; on a site's pool also how many machines there
    are.
    """
    m = wingspan.map(abs, [-1], pool="personal")
    run = wingspan.run(["true"], pool="personal", name="waits")
    try:
        assert "other jobs have the slots" in told(m.status)
        assert "other jobs have the slots" in told(run.status)
        monkeypatch.setenv("CONDOR_CONFIG", str(pool.personal.config_file))
        at_site = wingspan.map(abs, [-1], pool="htcondor")
        assert "1 machine could run it, and other jobs have them" in told(at_site.status)
        at_site.remove()
    finally:
        run.remove()
        m.remove()


@pytest.mark.usefixtures("site", "impatient")
def test_what_no_machine_has_is_told(pool: PersonalHTCondorPool) -> None:
    """A map that asks a site's pool for more memory than any machine has says what is missing and what would
    do; a run that asks for what no machine is, too.
    """
    m = wingspan.map(abs, [-1], pool="htcondor", options=wingspan.Options(request_memory="900TB"))
    run = wingspan.run(["true"], pool="htcondor", disk="900TB", name="large")
    try:
        message = told(m.status)
        assert (
            "1 job waits for ever: no machine of this pool has 900 TB of memory; 1 of 1 would do with"
            in message
        )
        assert "instead of 900 TB" in message
        assert "no machine of this pool has 900 TB of disk" in told(run.status)
    finally:
        run.remove()
        m.remove()


def test_a_job_that_ended_while_its_schedd_was_away_is_started_again(tmp_path: Path) -> None:
    """A checkpointing job that exits while its schedd is dead is not "running" for ever: it goes on from
    its checkpoint.
    """
    folder = Path(tempfile.mkdtemp(prefix="wingspan-test-", dir="/var/tmp"))
    data = tmp_path / "wingspan-data"
    data.mkdir(parents=True, exist_ok=True)
    (data / "personal-pool").symlink_to(folder)
    own = PersonalPool(folder, cpus=1)
    script = f"""
        n=$(cat state 2>/dev/null || echo 0); n=$((n + 1)); echo "$n" >state; echo "$n" >>{tmp_path}/diary
        [ "$n" -lt 2 ] || exit 0
        while [ ! -e {tmp_path}/gate ]; do sleep 0.02; done
        exit 85
    """
    try:
        own.start()
        run = wingspan.run(["sh", "-c", script], checkpoint=["state"], pool="personal", name="counts")
        until((tmp_path / "diary").exists, "the first step")
        until(lambda: run.status().state == "running", "a running job")
        for pid in own.processes():
            with contextlib.suppress(OSError):
                if "condor_schedd" in Path(f"/proc/{pid}/cmdline").read_text():
                    os.kill(pid, signal.SIGKILL)
        (tmp_path / "gate").touch()
        assert run.wait(timeout=PATIENCE).state == "completed"
    finally:
        own.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_jobs_ask_for_no_more_disk_than_their_files_take(personal_pool: PersonalPool, tmp_path: Path) -> None:
    """On a disk with less than 1 GiB left, jobs of the personal pool start all the same."""
    import htcondor2

    cluster = submit(personal_pool, tmp_path, "true", hold="true")
    with personal_pool.activate():
        (ad,) = personal_pool.schedd().query(f"ClusterId == {cluster}")
        personal_pool.schedd().act(htcondor2.JobAction.Remove, f"ClusterId == {cluster}")
    assert ad.eval("RequestDisk") < 100_000  # KiB


@pytest.mark.skipif(sys.platform != "linux", reason="HTCondor's daemons are obtained for Linux only")
def test_starts_that_fail_again_and_again_are_told(apptainer: str, tmp_path: Path) -> None:
    """Jobs whose container does not start are told of, with HTCondor's reason and, under /tmp, why that
    is.
    """
    folder = Path(tempfile.mkdtemp(prefix="wingspan-test-", dir="/tmp"))
    settings = {
        "SINGULARITY": apptainer,
        "STARTD_ATTRS": "$(STARTD_ATTRS) HasSIF HasSingularity",
        "HasSIF": "True",
        "HasSingularity": "True",
    }
    own = PersonalPool(folder / "pool", cpus=1, settings=settings)
    image = tmp_path / "broken.sif"
    image.write_bytes(b"no image")
    try:
        own.start()
        job = JobDescription(
            name="broken",
            executable="/bin/true",
            transfer_executable=False,
            container_image=str(image),
            transfer_files=True,
            working_dir=tmp_path,
        )
        pool = PersonalHTCondorPool(own)
        submission = pool.submit(job)
        message = until(lambda: pool.why_waiting([submission], tmp_path), "a reason")
        assert "HTCondor has started it" in message
        assert "image format not recognized" in message
        assert f"The pool lies in {own.directory}" in message
    finally:
        own.stop()
        shutil.rmtree(folder, ignore_errors=True)
