"""Each engine that maps and runs can use, ready for a test."""

from __future__ import annotations

from pathlib import Path

import pytest

__all__ = ["ENGINES", "SCHEDULERS", "engine", "use_engine"]

#: Engines with a queue, as parameters of a test.
SCHEDULERS = [
    pytest.param("personal", marks=pytest.mark.htcondor),
    pytest.param("slurm", marks=pytest.mark.slurm),
]
#: All engines.
ENGINES = ["local", *SCHEDULERS]


def use_engine(request: pytest.FixtureRequest, name: str) -> str:
    """Make ``pool=name`` ready for one test: the personal pool or the Slurm cluster of this session.

    The test has the fixture ``data_dir``.
    """
    if name == "personal":
        data_dir: Path = request.getfixturevalue("data_dir")
        data_dir.mkdir(exist_ok=True)
        (data_dir / "personal-pool").symlink_to(request.getfixturevalue("personal_pool").directory)
    if name == "slurm":
        cluster = request.getfixturevalue("slurm_cluster")
        for variable, value in cluster.environment().items():
            request.getfixturevalue("monkeypatch").setenv(variable, value)
    return name


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, data_dir: Path) -> str:
    """Each engine, ready: the name of its pool."""
    return use_engine(request, str(request.param))
