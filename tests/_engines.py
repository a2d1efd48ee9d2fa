"""Real engines for tests, as fixtures; ``tests/conftest.py`` imports what it offers to everybody."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from _slurm_cluster import SlurmCluster, slurm_programs
from wingspan.pools.personal import PersonalPool


@pytest.fixture(scope="session")
def personal_pool() -> Iterator[PersonalPool]:
    """A running personal pool of this test session: own folder, 4 slots, gone afterwards.

    Obtains HTCondor into the user's cache when the machine has none (25 MB, once). Tests share it: they look
    only at their own clusters and leave no jobs. A test that kills daemons starts a pool of its own.
    """
    # Not pytest's tmp_path: that is /tmp, and HTCondor gives container jobs a /tmp of their own.
    directory = Path(tempfile.mkdtemp(prefix="wingspan-pool-", dir=_disk()))
    pool = PersonalPool(directory, cpus=4)
    try:
        pool.start()
        yield pool
    finally:
        pool.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[SlurmCluster]:
    """A running Slurm cluster of this test session: one node with 4 CPUs, gone afterwards.

    ``tools/engines/slurm.py`` obtains Slurm; without it the test is skipped. Give processes `SlurmCluster.environment`.
    """
    programs = slurm_programs()
    if programs is None:
        pytest.skip("no Slurm: python tools/engines/slurm.py")
    # Short, as Slurm's sockets lie in it; not in pytest's own folder, which other users' jobs could not enter.
    folder = Path(tempfile.mkdtemp(prefix="wingspan-slurm-", dir=_disk()))
    cluster = SlurmCluster(folder, programs)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _disk() -> Path | None:
    """A folder outside /tmp that everybody may write to, or None."""
    folder = Path("/var/tmp")
    return folder if folder.is_dir() else None
