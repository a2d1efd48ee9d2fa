"""Images on HTCondor's container universe, by real Apptainer: maps and runs in them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import wingspan
from _engines import place_for_containers
from _jobs import sent_once
from _on_disk import map_json
from _rendered import errors_of, output_of
from _waiting import PATIENCE
from wingspan.jobs import JobDescription, Submission
from wingspan.lint import lint
from wingspan.maps._render import render_map
from wingspan.pools.htcondor import PersonalHTCondorPool
from wingspan.pools.personal import PersonalPool
from wingspan.runs._render import render

pytestmark = [pytest.mark.htcondor, pytest.mark.apptainer]


def where(number):
    """Where a component runs, and what it finds there."""
    import os
    import sys

    import zmq

    return number, sys.prefix, zmq.__file__, os.environ.get("APPTAINER_CONTAINER", "")


class _ApptainerOnPath(PersonalHTCondorPool):
    """The machine's Apptainer lies where no job looks by itself."""

    def __init__(self, pool: PersonalPool, program: str) -> None:
        super().__init__(pool)
        self._path = f"{Path(program).parent}:/usr/bin:/bin"

    def submit(self, job: JobDescription) -> Submission:
        return super().submit(attrs.evolve(job, environment={**job.environment, "PATH": self._path}))


@pytest.fixture(scope="module")
def container_pool(apptainer: str) -> Iterator[PersonalPool]:
    """A pool whose machine offers Apptainer, as a site's does."""
    folder = Path(tempfile.mkdtemp(prefix="pool-", dir=place_for_containers()))
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
    m.wait(timeout=PATIENCE)
    outputs = m[:]
    assert [output[0] for output in outputs] == [0, 1, 2, 3]
    for _, prefix, zmq, container in outputs:
        assert prefix == "/opt/wingspan/environment"
        assert zmq.startswith(prefix)
        assert container.endswith(".sif")
    assert sent_once(m.path / "events.log")


def test_a_large_image_comes_from_the_store(
    local_workspace: Path,
    site: PersonalPool,
    public_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Above the site's limit for transfers HTCondor fetches the image by its address, for maps and for
    runs.
    """
    store = public_folder / "images"
    store.mkdir()
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path))
    (tmp_path / "config.toml").write_text(
        f'[store.lab]\nurl = "{store}"\njob_url = "file://{store}"\n[profile.generic]\ntransfer_limit = "1 MB"\n',
        encoding="utf-8",
    )
    environment = wingspan.Environment(local_workspace, kind="sif")
    m = wingspan.map(
        where, range(2), pool="htcondor", options=wingspan.Options(environment=environment, workers=1)
    )
    m.wait(timeout=PATIENCE)
    assert all(output[3].endswith(".sif") for output in m[:])
    facts = map_json(m)["environment"]
    assert facts["source"] == f"file://{store}/{facts['bundle']}"
    run = wingspan.run(
        ["python", "-c", "import zmq; print(zmq.__file__)"], environment=environment, pool="htcondor"
    )
    try:
        run.wait(PATIENCE)
        run.check()
        assert run.stdout(0).startswith("/opt/wingspan/environment/")
    finally:
        run.remove(force=True)


def test_a_run_is_in_an_image(
    local_workspace: Path, site: PersonalPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command runs in the container, with its input, and its output comes back."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "program.py").write_text(
        "import os, zmq\nopen('out.txt', 'w').write(zmq.__file__ + ' ' + os.environ['APPTAINER_CONTAINER'])\n"
    )
    environment = wingspan.Environment(local_workspace, kind="sif")
    run = wingspan.run(
        ["python", "program.py"],
        inputs=["program.py"],
        outputs=["out.txt"],
        environment=environment,
        pool="htcondor",
    )
    try:
        run.wait(PATIENCE)
        run.check()
        zmq, container = run.outputs()["out.txt"].read_text().split()
        assert zmq.startswith("/opt/wingspan/environment/")
        assert container.endswith(".sif")
    finally:
        run.remove(force=True)


def test_an_altered_image_is_refused(
    local_workspace: Path, site: PersonalPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One byte of the image is another after the map was made: no component runs, and the message has
    both digests.
    """
    import wingspan.maps._worker_job as worker_job

    real = worker_job.bundle_of

    def altered(folder):
        bundle = real(folder)
        copy = folder.path / "sent" / bundle.path.name
        if not copy.exists():
            copy.parent.mkdir()
            content = bytearray(bundle.path.read_bytes())
            content[40 + 8 * 3] ^= 1  # the identity in the header: Apptainer itself does not mind
            copy.write_bytes(content)
        return attrs.evolve(bundle, path=copy)

    monkeypatch.setattr(worker_job, "bundle_of", altered)
    options = wingspan.Options(environment=wingspan.Environment(local_workspace, kind="sif"), workers=1)
    m = wingspan.map(where, range(1), pool="htcondor", options=options)
    with pytest.raises(
        wingspan.WingspanError, match=r"damaged or another file: its SHA-256 is .* nothing in it was run"
    ):
        m.wait(timeout=PATIENCE)
    m.remove()


def test_an_image_in_place_on_a_personal_pool(
    local_workspace: Path, bundle_cache: Path, container_pool: PersonalPool, apptainer: str
) -> None:
    """Where workers see this machine's files the starter has Apptainer run the image where it is: nothing
    is sent.
    """
    options = wingspan.Options(environment=wingspan.Environment(local_workspace, kind="sif"))
    m = wingspan.map(where, range(2), pool=_ApptainerOnPath(container_pool, apptainer), options=options)
    m.wait(timeout=PATIENCE)
    for _, prefix, zmq, container in m[:]:
        assert prefix == "/opt/wingspan/environment"
        assert zmq.startswith(prefix)
        assert container == str(m.path / map_json(m)["environment"]["bundle"])


def _submitted(folder: Path, pool: PersonalPool, log: str) -> subprocess.CompletedProcess[str]:
    """Submit a rendered folder with plain HTCondor, and wait for its jobs."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("WINGSPAN", "CONDOR"))}
    environment = {**own, **pool.environment()}
    for command in (["sh", "submit.sh"], ["condor_wait", "-wait", f"{PATIENCE:.0f}", log]):
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("damage", [None, "altered"])
def test_a_rendered_run_compares_its_image(
    damage: str | None,
    local_workspace: Path,
    bundle_cache: Path,
    container_pool: PersonalPool,
    tmp_path: Path,
) -> None:
    """Rendered files, submitted by hand: the image is sent once and compared before the command starts;
    an altered one is refused.
    """
    folder = tmp_path / "out"
    environment = wingspan.Environment(local_workspace, kind="sif")
    command = ["python", "-c", "import zmq; open('out.txt', 'w').write(zmq.__file__)"]
    render("htcondor", folder, command, environment=environment, outputs=["out.txt"], name="c")
    assert lint([folder]) == []
    text = (folder / "c.sub").read_text()
    assert "if version >= 25.0\ncontainer_is_common = true\nendif\n" in text
    if damage:
        image = next(folder.glob("*.sif"))
        content = bytearray(image.read_bytes())
        content[40 + 8 * 3] ^= 1  # the identity in the header: Apptainer itself does not mind
        image.unlink()  # a hard link of the one in the cache
        image.write_bytes(content)
    _submitted(folder, container_pool, "c.log")
    errors = errors_of(folder)
    if damage:
        assert "nothing in it was run" in errors
        assert not list(folder.glob("outputs-*/out.txt"))
        return
    assert output_of(folder, 0, "out.txt").read_text().startswith("/opt/wingspan/environment/"), errors
    assert sent_once(folder / "c.log")


def test_rendered_workers_compare_their_image(
    local_workspace: Path, site: PersonalPool, tmp_path: Path
) -> None:
    """Workers of a map, submitted by hand, run in its image, which is sent once for both."""
    folder = tmp_path / "out"
    options = wingspan.Options(environment=wingspan.Environment(local_workspace, kind="sif"), workers=0)
    m = wingspan.map(where, range(4), tag="by-hand", pool="htcondor", options=options)
    render_map("htcondor", folder, m, workers=2)
    assert lint([folder]) == []
    assert "--stage container" in (folder / "enter.sh").read_text()
    log = re.search(r"^log = (.+)$", (folder / "by-hand.sub").read_text(), re.MULTILINE)
    assert log is not None
    _submitted(folder, site, log[1])
    found = wingspan.load("by-hand")
    assert found.wait(timeout=0).is_done, [path.read_text() for path in folder.glob("logs/*.err")]
    for _, prefix, _, container in found[:]:
        assert prefix == "/opt/wingspan/environment"
        assert container.endswith(".sif")
    assert sent_once(folder / log[1])
    found.remove()
