"""What every test may use: the real engines of `_engines`; and the order of the tests."""

from __future__ import annotations

import gc
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from _engines import (
    apptainer,
    apptainer_on_path,
    personal_pool,
    personal_pools,
    shell_pool,
    slurm_cluster,
    slurm_clusters,
)
from _jobs import end_jobs
from _order import dealt_out
from _waiting import PATIENCE

# jsonschema would make a parser of international addresses, which no test needs, in each process: 1.3 s.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # an ImportError for who imports it

# How long an example takes depends on who else works on this machine. Fixtures of a test are shared by its
# examples, knowingly.
settings.register_profile(
    "any machine",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("any machine")

#: Programs and packages that tests run; no tests.
collect_ignore = ["data"]

__all__ = ["apptainer", "apptainer_on_path", "personal_pool", "shell_pool", "slurm_cluster"]


@pytest.fixture(scope="session", autouse=True)
def _patience_with_programs() -> Iterator[None]:
    """A program that is asked something has as long as a busy machine needs: without its answer Wingspan
    decides otherwise.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wingspan.lint._asked._SECONDS", PATIENCE)
        patch.setattr("wingspan.pools._select._SINFO_SECONDS", PATIENCE)
        yield


@pytest.fixture(autouse=True)
def _no_job_outlives_its_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """HTCondor holds a job whose folder is gone, and the tests that follow would find it in the queue."""
    yield
    # Only now it is known: many tests ask for their engine while they run.
    if personal_pools and "personal_pool" in request.fixturenames:
        end_jobs(personal_pools[0], tmp_path)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """The tests themselves are no garbage: Python's collector never goes through them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A Slurm that has died is no fault of this test."""
    for cluster in slurm_clusters:
        cluster.revive()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where xdist's processes share the tests, each begins with long ones."""
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    if processes > 1:
        modules = [item.path.relative_to(config.rootpath).as_posix() for item in items]
        items[:] = dealt_out(items, modules, processes)
