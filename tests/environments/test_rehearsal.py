"""Rehearsed runs and maps in a locked environment: the bundle is opened in the sandbox as on a worker."""

from __future__ import annotations

from pathlib import Path

import pytest

import wingspan
from wingspan.runs._rehearse import rehearse
from wingspan.runs._request import RunRequest


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        ("squashfs", "namespaces"),
        pytest.param("squashfs", "apptainer", marks=pytest.mark.apptainer),
        pytest.param("sif", "apptainer", marks=pytest.mark.apptainer),
    ],
)
def test_a_command_runs_in_its_bundle(
    kind: str,
    way: str,
    local_workspace: Path,
    bundle_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """The environment's Python starts in the sandbox, finds its packages there, and not those of this
    machine.
    """
    if way == "apptainer":
        request.getfixturevalue("apptainer_on_path")
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "mine.py").write_text("")
    # It is looked at twenty times a second: it is there long enough to be seen with what it has imported.
    script = "import sys, os, time, numpy; print(sys.prefix, os.getcwd(), numpy.__version__); time.sleep(0.5); import mine"
    done = rehearse(
        RunRequest(
            command=["python", "-c", script],
            environment=wingspan.Environment(local_workspace, "numpy"),
            kind=kind,
            workspace=tmp_path,
            memory="1GB",
        ),
        pool="personal",
        ways=(way,),
    )
    assert done.way == way, done
    prefix, folder = done.stdout.split()[:2]
    assert folder == "/scratch"
    assert prefix == "/opt/wingspan/environment"
    assert (done.code, "No module named 'mine'" in done.stderr) == (1, True), done
    assert done.missed == ("the module mine.py is here and does not go along: --input mine.py sends it",)
    assert 10 << 20 < done.peak_memory < 1 << 30


def test_a_component_runs_in_its_bundle(
    local_workspace: Path, bundle_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A map's first component is computed with the environment's packages."""
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "data"))

    def where(x: int) -> tuple[int, str]:
        import zmq

        return x, zmq.__file__

    options = wingspan.Options(environment=wingspan.Environment(local_workspace))
    done = wingspan.map(where, [5], rehearse=True, pool="local", options=options)
    assert done.ok, done
    assert done.values[0][0] == 5
    assert done.values[0][1].startswith("/opt/wingspan/environment/")
