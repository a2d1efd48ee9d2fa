"""Bundles on a real HTCondor pool: the starter as a job's program, the bundle as its input."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from _waiting import PATIENCE
from wingspan.environments.bundles import Bundle, starter_command
from wingspan.pools.personal import PersonalPool

Build = Callable[..., Bundle]

PROGRAM = """
import json, os, sys
import numpy.linalg
left = [n for n in os.listdir('.') if not n.startswith(('.', '_', 'docker'))]
print(json.dumps({'prefix': sys.prefix, 'determinant': round(numpy.linalg.det([[4, 1], [0, 6]])), 'cwd': os.getcwd(), 'left': left}))
"""


@pytest.mark.htcondor
@pytest.mark.parametrize("kind", ["squashfs", "pack"])
def test_jobs_import_numpy_from_a_bundle(
    kind: str, build: Build, personal_pool: PersonalPool, tmp_path: Path
) -> None:
    """Several jobs get the bundle by file transfer and run NumPy from it; none leaves anything in its
    folder.
    """
    import htcondor2

    bundle = build("numpy", kind, executable=kind == "pack")
    (tmp_path / "program.py").write_text(PROGRAM)
    start = starter_command(bundle, ["python", "program.py"])
    words = " ".join("'" + word.replace("'", "''") + "'" for word in start.arguments)
    with personal_pool.activate():
        submit = htcondor2.Submit(
            {
                "executable": str(start.executable),
                "arguments": f'"{words}"',
                "transfer_input_files": ",".join(map(str, (*start.input_files, tmp_path / "program.py"))),
                "output": str(tmp_path / "out.$(ProcId)"),
                "error": str(tmp_path / "err.$(ProcId)"),
                "log": str(tmp_path / "log"),
                "should_transfer_files": "YES",
                "request_disk": "1GB",
                "request_memory": "512MB",
            }
        )
        result = personal_pool.schedd().submit(submit, count=2)
        deadline = time.monotonic() + PATIENCE
        ended: set[int] = set()
        events = htcondor2.JobEventLog(str(tmp_path / "log"))
        while len(ended) < 2 and time.monotonic() < deadline:
            for event in events.events(stop_after=1):
                if event.type in (htcondor2.JobEventType.JOB_TERMINATED, htcondor2.JobEventType.JOB_HELD):
                    ended.add(event.proc)
        events.close()
        personal_pool.schedd().act(htcondor2.JobAction.Remove, f"ClusterId == {result.cluster()}")
    for proc in range(2):
        log = (tmp_path / f"err.{proc}").read_text()
        answer = json.loads((tmp_path / f"out.{proc}").read_text() or "{}")
        assert answer.get("determinant") == 24, log
        if kind == "squashfs":
            assert answer["prefix"] == "/opt/wingspan/environment"
            inputs = {path.name for path in start.input_files} | {
                "program.py",
                start.executable.name,
                "condor_exec.exe",
                "tmp",
                "var",
            }
            assert set(answer["left"]) <= inputs
        assert "wingspan-start: " in log
