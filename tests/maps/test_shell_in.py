"""A shell beside the worker of a component."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import wingspan
from _waiting import PATIENCE, until


@pytest.mark.parametrize(
    ("engine", "variable"), [("personal", "_CONDOR_SLOT"), ("slurm", "SLURM_JOB_ID"), ("local", None)]
)
def test_a_command_beside_the_worker_of_a_component(
    engine: str,
    variable: str | None,
    request: pytest.FixtureRequest,
    data_dir: Path,
    gate: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`wingspan ssh TAG I` enters the job that is at the component, and the component goes on; where no pool
    has a way in, and where nobody is at it, that is told.
    """
    environment = dict(os.environ)
    if engine == "personal":
        pool = request.getfixturevalue("shell_pool")
        data_dir.mkdir(exist_ok=True)
        (data_dir / "personal-pool").symlink_to(pool.directory)
        environment["PATH"] = pool.environment()["PATH"]
    if engine == "slurm":
        for name, value in request.getfixturevalue("slurm_cluster").environment().items():
            monkeypatch.setenv(name, value)
            environment[name] = value
    wait = gate.wait

    def waits(x: int) -> str | None:
        wait()
        return os.environ.get(variable or "")

    m = wingspan.map(waits, [7, 8], tag="entered", pool=engine, options=wingspan.Options(workers=1))

    def enter(component: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "wingspan", "ssh", "entered", str(component), "--"]
        program = ["sh", "-c", f"echo in ${variable}; exit 3"]
        return subprocess.run(
            command + program, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
        )

    until(lambda: m.statuses[0] is wingspan.ComponentStatus.RUNNING, m.status)
    done, not_begun = enter(0), enter(1)
    gate.open()
    outputs = list(m)
    assert "no worker is at component 1" in not_begun.stderr
    if variable is None:
        assert "nothing but processes of this machine" in done.stderr
    else:
        assert done.returncode == 3, done.stderr
        assert f"in {outputs[0]}" in done.stdout
    m.remove()
