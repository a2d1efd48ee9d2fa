"""Workers of a map in a locked environment, as files that are submitted by hand."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

import wingspan
from _slurm_cluster import SlurmCluster
from _waiting import PATIENCE
from wingspan.lint import lint
from wingspan.maps._render import render_map
from wingspan.pools.personal import PersonalPool


def where(number: int) -> tuple[int, str, str]:
    """Where a component runs, and what it finds there."""
    import sys

    import zmq

    return number, sys.prefix, zmq.__file__


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle_cache: Path) -> Iterator[None]:
    """Each test has its own data, and leaves no map behind."""
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path / "config"))
    yield
    for tag in wingspan.tags():
        wingspan.remove(tag, missing_ok=True, force=True)


@pytest.fixture(params=["squashfs", "pack", "oci"])
def made(request: pytest.FixtureRequest, local_workspace: Path) -> wingspan.Map:
    """A map in an environment, that nobody works on."""
    environment = attrs.evolve(wingspan.Environment(local_workspace), kind=request.param)
    options = wingspan.Options(environment=environment, workers=0, request_memory="300MB")
    return wingspan.map(where, range(6), tag="carried", options=options)


def _check(folder: Path, engine: dict[str, str], *commands: list[str]) -> None:
    assert lint([folder]) == []
    own = {name: value for name, value in os.environ.items() if not name.startswith("WINGSPAN")}
    for command in commands:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**own, **engine},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
    found = wingspan.load("carried")
    assert found.wait(timeout=0).is_done, [path.read_text() for path in folder.glob("logs/*.err")]
    outputs: list[Any] = list(found)
    assert [number for number, _, _ in outputs] == list(range(6))
    assert all(zmq.startswith(prefix) for _, prefix, zmq in outputs)


@pytest.mark.htcondor
def test_plain_condor_submit_takes_the_environment_along(
    tmp_path: Path, made: wingspan.Map, personal_pool: PersonalPool
) -> None:
    """The bundle goes to each job with the worker; nothing of this Python is used."""
    folder = tmp_path / "out"
    render_map("htcondor", folder, made, workers=2)
    wait = ["condor_wait", "-wait", f"{PATIENCE:.0f}", str(made.path / "events.log")]
    _check(folder, personal_pool.environment(), ["sh", "submit.sh"], wait)


@pytest.mark.slurm
def test_plain_sbatch_uses_the_environment_where_it_lies(
    tmp_path: Path, made: wingspan.Map, slurm_cluster: SlurmCluster
) -> None:
    """The nodes read the bundle in the rendered folder."""
    folder = tmp_path / "out"
    render_map("slurm", folder, made, workers=2)
    _check(folder, slurm_cluster.environment(), ["sh", "submit.sh", "--wait"])
