"""Checkpoints: a job that was sent away goes on where it was."""

from __future__ import annotations

from pathlib import Path

import pytest

import wingspan
from _waiting import until

#: Counts to 6, writes a checkpoint after each, exits with 85 after every second one, and waits at 3 until it
#: is evicted once.
_COUNT = """
n=$(cat state/count 2>/dev/null || echo 0)
echo "started from $n with $(cat 'data/in put.txt')"
while [ "$n" -lt 6 ]; do
    n=$((n + 1)); mkdir -p state; echo "$n" >state/count
    echo "$n" >>'{diary}'
    [ $((n % 2)) -eq 1 ] || [ "$n" -eq 6 ] || exit 85
    while [ "$n" -eq 3 ] && [ ! -e '{gate}' ]; do sleep 0.05; done
done
echo "$n" >result.txt
"""


def test_a_job_that_was_evicted_goes_on_from_its_checkpoint(folders: Path, pool: str, done) -> None:
    """After an eviction the job starts from the last checkpoint: nothing before it is done again."""
    diary, gate = folders / "diary", folders / "gate"
    (folders / "data").mkdir()
    (folders / "data/in put.txt").write_text("input")
    run = wingspan.run(
        ["sh", "-c", _COUNT.format(diary=diary, gate=gate)],
        inputs=["data"],
        checkpoint=["state/count"],
        outputs=["result.txt"],
        pool=pool,
    )
    until(lambda: diary.exists() and diary.read_text().split()[-1:] == ["3"], "the third step")
    run.vacate()
    if pool == "personal":
        until(lambda: "004 (" in (run.path / "events.log").read_text(), "the eviction")
    gate.touch()
    done(run).check()
    assert run.outputs()["result.txt"].read_text() == "6\n"
    # Steps 1 and 2 are in the checkpoint; 3 came after it and is done again.
    assert diary.read_text().split() == ["1", "2", "3", "3", "4", "5", "6"]
    assert run.stdout().splitlines()[-1] == "started from 4 with input"


def test_a_checkpoint_is_not_what_was_left_behind(pool: str, done) -> None:
    """It is kept for the command, and nobody misses it afterwards."""
    script = "mkdir -p state; echo 1 >state/count; touch forgotten"
    run = done(wingspan.run(["sh", "-c", script], checkpoint=["state/count"], pool=pool))
    assert run.status().jobs[0].left == ("forgotten",)


def test_a_checkpoint_that_was_not_written_is_an_error(pool: str, done) -> None:
    """The exit code of a checkpoint without the file fails the job; HTCondor alone would hold it."""
    run = done(wingspan.run(["sh", "-c", "exit 85"], checkpoint=["state.pt"], pool=pool))
    job = run.status().jobs[0]
    assert job.state == "failed"
    assert "state.pt" in str(job.reason)


def test_without_checkpoints_85_is_an_exit_code_like_others(done) -> None:
    """A command that knows nothing of checkpoints and exits with 85 has failed with 85."""
    run = done(wingspan.run(["sh", "-c", "exit 85"], pool="local"))
    assert run.status().jobs[0].code == 85


@pytest.mark.parametrize("path", ["/abs", "../up", "a,b"])
def test_checkpoint_paths_are_below_the_job(path: str) -> None:
    """A checkpoint outside of the job's folder cannot be kept, and is refused."""
    with pytest.raises(wingspan.WingspanError, match="checkpoint"):
        wingspan.run(["true"], checkpoint=[path], pool="local")


def test_a_rerun_begins_anew(folders: Path, done) -> None:
    """The checkpoint of a job that is done again is given up with its outputs."""
    command = (
        "if [ -e state ]; then cat state; exit 3; fi; echo from-the-checkpoint >state; echo anew; exit 85"
    )
    run = done(wingspan.run(["sh", "-c", command], checkpoint=["state"], pool="local"))
    run.rerun([0])
    assert done(run).stdout() == "anew\nfrom-the-checkpoint\n"
