"""Real engines for tests, as fixtures; ``tests/conftest.py`` imports what it offers to everybody."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from _slurm_cluster import SlurmCluster, slurm_programs
from wingspan.pools.personal import PersonalPool

#: The running one of this session, if there is one.
personal_pools: list[PersonalPool] = []


@pytest.fixture(scope="session")
def personal_pool() -> Iterator[PersonalPool]:
    """A running personal pool of this test session: own folder, 4 slots, gone afterwards.

    Obtains HTCondor into the user's cache when the machine has none (25 MB, once). Tests share it: they look
    only at their own clusters and leave no jobs. A test that kills daemons starts a pool of its own.
    """
    # Not pytest's tmp_path: that is /tmp, and HTCondor gives container jobs a /tmp of their own.
    directory = Path(tempfile.mkdtemp(prefix="wingspan-pool-", dir=disk()))
    pool = PersonalPool(directory, cpus=4)
    try:
        pool.start()
        personal_pools.append(pool)
        yield pool
    finally:
        personal_pools.clear()
        pool.stop()
        shutil.rmtree(directory, ignore_errors=True)


def find_sshd() -> str | None:
    """OpenSSH's server: the machine's, or what ``tools/engines/openssh.py`` has unpacked."""
    kept = [folder / "openssh/bin" for folder in engine_folders()]
    return shutil.which("sshd", path=os.pathsep.join(map(str, ["/usr/local/sbin", "/usr/sbin", *kept])))


@pytest.fixture(scope="session")
def shell_pool() -> Iterator[PersonalPool]:
    """A running personal pool of this test session whose machine has an sshd: people may have shells in
    its jobs.
    """
    program = find_sshd()
    if program is None:
        pytest.skip("no sshd: python tools/engines/openssh.py")
    with pool_with_sshd(program, disk()) as pool:
        yield pool


@contextmanager
def pool_with_sshd(sshd: str, place: str | Path | None, **options: Any) -> Iterator[PersonalPool]:
    """A running personal pool that finds `sshd`, in a folder of its own in `place`."""
    directory = Path(tempfile.mkdtemp(prefix="wingspan-pool-", dir=place))
    pool = PersonalPool(directory, cpus=2, **options)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{Path(sshd).parent}")
            pool.start()
        yield pool
    finally:
        pool.stop()
        shutil.rmtree(directory, ignore_errors=True)


#: The running one of this session, if there is one.
slurm_clusters: list[SlurmCluster] = []


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[SlurmCluster]:
    """A running Slurm cluster of this test session: one node with 4 CPUs, gone afterwards.

    ``tools/engines/slurm.py`` obtains Slurm; without it the test is skipped. Give processes
    `SlurmCluster.environment`.
    """
    programs = slurm_programs()
    if programs is None:
        pytest.skip("no Slurm: python tools/engines/slurm.py")
    # Short, as Slurm's sockets lie in it; not in pytest's own folder, which other users' jobs could not
    # enter.
    folder = Path(tempfile.mkdtemp(prefix="wingspan-slurm-", dir=disk()))
    cluster = SlurmCluster(folder, programs)
    try:
        cluster.start()
        slurm_clusters.append(cluster)
        yield cluster
    finally:
        slurm_clusters.clear()
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def find_apptainer() -> str | None:
    """Apptainer's program: on PATH, or where ``tools/engines/apptainer.py`` puts it."""
    kept = [str(folder / "apptainer/bin") for folder in engine_folders()]
    return shutil.which("apptainer", path=os.pathsep.join([os.environ["PATH"], *kept]))


def find_squashfs_mount() -> str | None:
    """squashfs-mount's program: on PATH, or where ``tools/engines/squashfs_mount.py`` puts it."""
    kept = [str(folder / "squashfs-mount/bin") for folder in engine_folders()]
    return shutil.which("squashfs-mount", path=os.pathsep.join([os.environ["PATH"], *kept]))


def engine_folders() -> list[Path]:
    return [Path("/var/cache/wingspan-engines"), Path.home() / ".cache/wingspan-engines"]


@pytest.fixture(scope="session")
def apptainer() -> str:
    """Real Apptainer's program; without it the test is skipped."""
    found = find_apptainer()
    if found is None:
        pytest.skip("no Apptainer: python tools/engines/apptainer.py")
    return found


@pytest.fixture
def apptainer_on_path(apptainer: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Real Apptainer, where workers that are processes of this machine find it."""
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{Path(apptainer).parent}")
    return apptainer


def place_for_containers() -> Path:
    """A folder for the jobs of a pool that starts containers: the user's cache folder.

    HTCondor gives containers a /tmp and a /var/tmp of their own: where HOME is in one of these, they do not
    see the jobs' folders, and the test is skipped. (The folder /dev/shm is Apptainer's own, too.)
    """
    cache = platformdirs.user_cache_path("wingspan-tests", ensure_exists=True).resolve()
    if cache.is_relative_to("/tmp") or cache.is_relative_to("/var/tmp"):
        pytest.skip(f"HTCondor's containers do not see {cache}")
    return cache


def disk() -> Path | None:
    """A folder outside /tmp that everybody may write to, or None."""
    folder = Path("/var/tmp")
    return folder if folder.is_dir() else None
