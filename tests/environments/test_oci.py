"""`oci` bundles on a real HTCondor pool, as a site's: the archive is sent once, and real Apptainer or
real podman starts it.
"""

from __future__ import annotations

import contextlib
import os
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
from _waiting import PATIENCE, until
from wingspan.lint import lint
from wingspan.pools.personal import PersonalPool
from wingspan.runs._render import render

pytestmark = pytest.mark.htcondor
PREFIX = "/opt/wingspan/environment"


def where(number):
    """Where a component runs, and what it finds there."""
    import os
    import sys
    from pathlib import Path

    import six

    engine = "apptainer" if os.environ.get("APPTAINER_CONTAINER") else ""
    if Path("/run/.containerenv").exists():
        engine = "podman"
    return number, sys.prefix, six.__file__, engine, Path("/usr/bin/apt-get").exists()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("apptainer", marks=pytest.mark.apptainer),
        pytest.param("podman", marks=pytest.mark.podman),
    ],
)
def engine(request: pytest.FixtureRequest) -> Iterator[tuple[str, PersonalPool]]:
    """An engine, and a pool on whose machine jobs find it."""
    name = str(request.param)
    path = "/usr/bin:/bin"
    if name == "apptainer":
        path = f"{Path(request.getfixturevalue('apptainer')).parent}:{path}"
    elif shutil.which("podman", path=path) is None:
        pytest.skip("no podman: python tools/engines/podman.py (as root)")
    folder = Path(tempfile.mkdtemp(prefix="pool-", dir=place_for_containers()))
    (folder / "node").mkdir()
    variables = f'"PATH={path} WINGSPAN_NODE_CACHE={folder}/node"'
    pool = PersonalPool(folder, cpus=2, settings={"STARTER_JOB_ENVIRONMENT": variables})
    try:
        pool.start()
        yield name, pool
    finally:
        pool.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def site(engine: tuple[str, PersonalPool], bundle_cache: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """That pool, met as a site's: its machines do not see the files of this one. Answers the engine."""
    monkeypatch.setenv("CONDOR_CONFIG", str(engine[1].config_file))
    return engine[0]


def test_a_map_runs_in_an_archive(local_workspace: Path, site: str) -> None:
    """Components run in the container that the worker starts, in the environment, over chirp; the archive
    is sent once.
    """
    environment = wingspan.Environment(local_workspace, "wheels", kind="oci")
    options = wingspan.Options(environment=environment, workers=2, block_size=1)
    m = wingspan.map(where, range(4), pool="htcondor", options=options)
    m.wait(timeout=PATIENCE)
    outputs = m[:]
    assert [output[0] for output in outputs] == [0, 1, 2, 3]
    for _, prefix, package, started_by, apt in outputs:
        assert (prefix, started_by, apt) == (PREFIX, site, False)
        assert package.startswith(f"{PREFIX}/")
    assert sent_once(m.path / "events.log")
    assert map_json(m)["environment"]["kind_reason"] == "asked for"
    m.remove()


def test_a_run_is_in_an_archive(
    local_workspace: Path, site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command runs in the container, with its input, and its output comes back as the user's own."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "program.py").write_text(
        "import os, sys, six\n"
        "assert not os.path.exists('/usr/bin/apt-get')\n"
        "open('out.txt', 'w').write(f'{sys.prefix} {six.__file__} {os.environ[\"GREETING\"]}')\n"
    )
    run = wingspan.run(
        ["python", "program.py"],
        inputs=["program.py"],
        outputs=["out.txt"],
        variables={"GREETING": "hello"},
        environment=wingspan.Environment(local_workspace, "wheels", kind="oci"),
        pool="htcondor",
    )
    try:
        run.wait(PATIENCE)
        run.check()
        prefix, package, greeting = run.outputs()["out.txt"].read_text().split()
        assert (prefix, greeting) == (PREFIX, "hello")
        assert package.startswith(f"{PREFIX}/")
    finally:
        run.remove(force=True)


@pytest.mark.parametrize("damage", ["altered", "cut"])
def test_a_damaged_archive_is_refused(
    damage: str, local_workspace: Path, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive that was altered or cut after the map was made: no component runs, and the message has
    both digests.
    """
    import wingspan.maps._worker_job as worker_job

    real = worker_job.bundle_of

    def damaged(folder):
        bundle = real(folder)
        copy = folder.path / "sent" / bundle.path.name
        if not copy.exists():
            copy.parent.mkdir()
            content = bytearray(bundle.path.read_bytes())
            if damage == "altered":
                content[len(content) // 2] ^= 1
            else:
                del content[-4096:]
            copy.write_bytes(content)
        return attrs.evolve(bundle, path=copy)

    monkeypatch.setattr(worker_job, "bundle_of", damaged)
    options = wingspan.Options(
        environment=wingspan.Environment(local_workspace, "wheels", kind="oci"), workers=1
    )
    m = wingspan.map(where, range(1), pool="htcondor", options=options)
    with pytest.raises(
        wingspan.WingspanError, match=r"damaged or another file: its SHA-256 is .* nothing in it was run"
    ):
        m.wait(timeout=PATIENCE)
    m.remove()


def test_rendered_files_carry_the_archive(
    local_workspace: Path, site: str, engine: tuple[str, PersonalPool], tmp_path: Path
) -> None:
    """Plain condor_submit of a rendered sweep: the archive is sent once for all jobs, checked, and
    started by what is there.
    """
    folder = tmp_path / "out"
    command = ["python", "-c", "import six; open('out.txt', 'w').write(six.__file__ + ' {x}')"]
    environment = wingspan.Environment(local_workspace, "wheels", kind="oci")
    render(
        "htcondor",
        folder,
        command,
        environment=environment,
        outputs=["out.txt"],
        sweep={"x": ["1", "2"]},
        name="c",
    )
    assert lint([folder]) == []
    own = {name: value for name, value in os.environ.items() if not name.startswith(("WINGSPAN", "CONDOR"))}
    variables = {**own, **engine[1].environment()}
    for words in (["sh", "submit.sh"], ["condor_wait", "-wait", f"{PATIENCE:.0f}", "c.log"]):
        done = subprocess.run(
            words, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stderr
    for number in range(2):
        errors = errors_of(folder, number)
        package, x = output_of(folder, number, "out.txt").read_text().split()
        assert package.startswith(f"{PREFIX}/")
        assert x == str(number + 1)
        assert {"apptainer": "run by Apptainer", "podman": "run by podman"}[site] in errors
    assert sent_once(folder / "c.log")


def test_a_removed_run_leaves_no_container(local_workspace: Path, site: str) -> None:
    """What the command started in the container ends with the job, also when nobody asks it to."""
    seconds = str(1_000_000 + os.getpid())  # this process's own: others run these tests on the machine, too
    command = ["sh", "-c", f"trap '' TERM HUP INT; while :; do sleep {seconds}; done"]
    environment = wingspan.Environment(local_workspace, "wheels", kind="oci")
    run = wingspan.run(command, environment=environment, pool="htcondor")
    try:
        until(lambda: _processes(f"sleep\0{seconds}\0"), "the command itself", seconds=PATIENCE)
    finally:
        run.remove(force=True)
    until(lambda: not _processes(seconds), "its end", seconds=PATIENCE)


def _processes(word: str) -> list[Path]:
    """Processes with `word` in their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if word.encode() in (entry / "cmdline").read_bytes():
                found.append(entry)
    return found
