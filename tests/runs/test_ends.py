"""A job's script ends as its command did, also when it is told to end at that very moment."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from _waiting import PATIENCE
from wingspan.runs._script import job_script
from wingspan.runs._spec import RunSpec, Step


@pytest.mark.skipif(shutil.which("dash") is None, reason="bash can lose the exit code of a command then")
@pytest.mark.parametrize(
    ("command", "code", "times"),
    [
        # The script hears of its end when the command is about to end: seldom in the moment that matters.
        ("trap '' TERM; kill -TERM $PPID; exit 7", 7, 25),
        ("trap '' TERM; kill -TERM $PPID; sleep 0.1; exit 8", 8, 2),
        ("kill -KILL $$", 137, 1),
        ("exit 9", 9, 1),
    ],
)
def test_the_exit_code_is_that_of_the_command(tmp_path: Path, command: str, code: int, times: int) -> None:
    """A signal to the job ends the waiting, and not the command, whose own exit code counts: with it a
    command says that it has a checkpoint.
    """
    spec = RunSpec(name="ends", base=tmp_path, steps=(Step(words=("sh", "-c", command)),))
    (tmp_path / "job.sh").write_text(job_script(spec, ()))
    for _ in range(times):
        words = [shutil.which("dash") or "dash", "./job.sh", "0"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, check=False, timeout=PATIENCE)
        assert done.returncode == code, done.stderr
