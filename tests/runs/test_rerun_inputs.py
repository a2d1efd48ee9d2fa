"""Doing jobs again after a script or a data file was mended: which inputs they get, and what is told."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import wingspan
from _command_line import wingspan_here
from _waiting import until
from wingspan.runs import InputMissing, Run


@pytest.fixture
def half(folders: Path, pool: str, done) -> Run:
    """A run of two jobs; the second failed, as the script of then wants it."""
    (folders / "job.txt").write_text("n=$1\n[ $n = 0 ] || exit 3\necho first >o.txt\n")
    return done(
        wingspan.run(
            ["sh", "job.txt", "{n}"],
            inputs=["job.txt"],
            outputs=["o.txt"],
            sweep={"n": [0, 1]},
            name="half",
            pool=pool,
        )
    )


def mend(folders: Path) -> None:
    (folders / "job.txt").write_text("echo second >o.txt\n")


def test_the_inputs_of_then_are_used_and_that_is_said(folders: Path, half: Run, done, caplog) -> None:
    """The script is mended, the failure done again: it fails as before, and a notice says why and what to
    do.
    """
    mend(folders)
    assert half.rerun() == [1]
    (told,) = caplog.messages
    assert told.startswith("job.txt has changed since")
    assert "with_current_inputs=True" in told
    assert [job.state for job in done(half).status().jobs] == ["completed", "failed"]


def test_current_inputs_do_what_was_meant(folders: Path, half: Run, done, caplog) -> None:
    """With the inputs as they are now the failure is mended; the output of the other job stays, and so
    does what comes later.
    """
    mend(folders)
    assert half.rerun(with_current_inputs=True) == [1]
    done(half)
    assert [half.outputs(number)["o.txt"].read_text() for number in (0, 1)] == ["first\n", "second\n"]
    assert wingspan.load_run("half").rerun([0]) == [0]
    assert caplog.messages == []
    assert done(half).outputs(0)["o.txt"].read_text() == "second\n"


def test_inputs_that_are_gone_are_an_error_and_give_nothing_up(folders: Path, half: Run) -> None:
    """What cannot be taken anew is named; outputs and logs stay."""
    (folders / "job.txt").unlink()
    with pytest.raises(InputMissing, match=r"job\.txt"):
        half.rerun([0], with_current_inputs=True)
    assert half.outputs(0)["o.txt"].read_text() == "first\n"
    assert [job.state for job in half.status().jobs] == ["completed", "failed"]
    assert not list(half.path.glob(".new-*"))


def test_files_in_folders_are_compared(folders: Path, done, caplog) -> None:
    """A file of a folder that was named counts; one with the same content and another time does not, nor
    does one that is gone.
    """
    (folders / "data").mkdir()
    for name in ("a", "b", "c"):
        (folders / "data" / name).write_text(name)
    run = done(wingspan.run(["sh", "-c", "exit 3"], inputs=["data"], pool="local"))
    (folders / "data" / "b").touch()
    (folders / "data" / "c").unlink()
    run.rerun()
    assert caplog.messages == []
    done(run)
    (folders / "data" / "a").write_text("A")
    (folders / "data" / "d").write_text("d")
    run.rerun()
    assert caplog.messages[0].startswith("data/a, data/d have changed")


def test_vacated_jobs_keep_the_inputs_they_began_with(folders: Path, done) -> None:
    """Jobs that start again after a vacate are not given other inputs than they were submitted with."""
    (folders / "job.txt").write_text("exit 3\n")
    run = done(wingspan.run(["sh", "job.txt"], inputs=["job.txt"], name="moved", pool="local"))
    (folders / "job.txt").write_text(
        f"echo begun; while [ ! -e '{folders}/go' ]; do sleep 0.1; done; echo second\n"
    )
    run.rerun(with_current_inputs=True)
    until(lambda: run.stdout() == "begun\n", "the start")
    run.vacate()
    (folders / "go").touch()
    done(run)
    assert run.status().state == "completed"
    assert run.stdout().endswith("second\n")


def test_on_the_command_line(folders: Path, done) -> None:
    """rerun says of when the inputs are, notes that they have changed, and takes them anew with
    --with-current-inputs.
    """

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        return wingspan_here(*words)

    (folders / "job.txt").write_text("exit 3\n")
    run = done(wingspan.run(["sh", "job.txt"], inputs=["job.txt"], name="mended", pool="local"))
    (folders / "job.txt").write_text("exit 0\n")
    first = command("rerun", "mended")
    assert first.stdout.startswith("mended: 1 job again, with the inputs of ")
    assert first.stderr.startswith("Note: job.txt has changed since")
    done(run)
    second = command("rerun", "mended", "--with-current-inputs")
    assert (second.returncode, second.stderr) == (0, "")
    assert done(run).status().state == "completed"
    assert command("rerun", "mended", "0", "--all").returncode == 2
