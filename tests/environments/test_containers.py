"""Images on HTCondor's container universe, by real Apptainer: maps and runs in them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

import wingspan
from wingspan.pools.personal import PersonalPool

pytestmark = [pytest.mark.htcondor, pytest.mark.apptainer]


def where(number):
    """Where a component runs, and what it finds there."""
    import os
    import sys

    import scipy

    return number, sys.prefix, scipy.__file__, os.environ.get("APPTAINER_CONTAINER", "")


@pytest.fixture(scope="module")
def container_pool(apptainer: str) -> Iterator[PersonalPool]:
    """A pool whose machine offers Apptainer, as a site's does."""
    # HTCondor gives containers a /tmp and a /var/tmp of their own: the jobs' folders must not lie there.
    folder = Path(
        tempfile.mkdtemp(
            prefix="pool-", dir=platformdirs.user_cache_path("wingspan-tests", ensure_exists=True)
        )
    )
    settings = {
        "SINGULARITY": apptainer,
        # HTCondor tries an image of its own to see whether SIF works, which Debian's package leaves out.
        "HasSIF": "true",
        "STARTD_ATTRS": "$(STARTD_ATTRS) HasSIF",
    }
    pool = PersonalPool(folder, cpus=2, settings=settings)
    try:
        pool.start()
        yield pool
    finally:
        pool.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def site(container_pool: PersonalPool, bundle_cache: Path, monkeypatch: pytest.MonkeyPatch) -> PersonalPool:
    """That pool, met as a site's: its machines do not see the files of this one."""
    monkeypatch.setenv("CONDOR_CONFIG", str(container_pool.config_file))
    return container_pool


def test_a_map_runs_in_an_image(local_workspace: Path, site: PersonalPool) -> None:
    """Components run in the container that HTCondor starts, in the environment; the image is sent once."""
    environment = wingspan.Environment(local_workspace, kind="sif")
    options = wingspan.Options(environment=environment, workers=2, block_size=1)
    m = wingspan.map(where, range(4), pool="htcondor", options=options)
    m.wait(timeout=120)
    outputs = m[:]
    assert [output[0] for output in outputs] == [0, 1, 2, 3]
    for _, prefix, scipy, container in outputs:
        assert prefix == "/opt/wingspan/environment"
        assert scipy.startswith(prefix)
        assert container.endswith(".sif")
    log = (m.path / "events.log").read_text()
    assert log.count("Common files event: TransferFinished") == 1
