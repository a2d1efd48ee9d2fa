"""A schedd on another host that sees no folder of this machine: jobs are spooled to it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import wingspan
from _engines import disk
from _own_folders import data_dir
from _waiting import PATIENCE, until
from wingspan.errors import PoolUnavailable, SettingsError
from wingspan.pools.personal import PersonalPool

__all__ = ["data_dir"]

#: Started where the folders of tests are hidden; clients prove who they are by a token.
_STARTS = """
import sys
from wingspan.pools.personal import PersonalPool
PersonalPool(sys.argv[1], cpus=2, settings={"SEC_DEFAULT_AUTHENTICATION_METHODS": "FS, IDTOKENS"}).start()
"""


@pytest.fixture(scope="module")
def far_schedd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, Path]]:
    """The name of a pool whose daemons see no folder of a test, the configuration of its clients, and a
    folder that both see."""
    space = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    hidden = tmp_path_factory.getbasetemp()
    hide = f"mount -t tmpfs none {hidden}"
    if subprocess.run([*space, "sh", "-c", hide], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces here")
    folder = Path(tempfile.mkdtemp(prefix="wingspan-far-", dir=disk()))
    pool = PersonalPool(folder)
    words = [sys.executable, "-c", _STARTS, str(folder)]
    try:
        subprocess.run([*space, "sh", "-c", f'{hide} && exec "$@"', "sh", *words], check=True)
        environment = {**os.environ, **pool.environment()}
        name = _said(folder / "log/.schedd_address", "Name")
        collector = _said(folder / "condor_config", "COLLECTOR_HOST")
        token = subprocess.run(
            ["condor_token_create", "-identity", name], env=environment, check=True, capture_output=True
        ).stdout
        client = tmp_path_factory.mktemp("client")
        (client / "tokens").mkdir(mode=0o700)
        (client / "tokens/far").touch(mode=0o600)
        (client / "tokens/far").write_bytes(token)
        (client / "condor_config").write_text(
            "SEC_DEFAULT_AUTHENTICATION = REQUIRED\nSEC_CLIENT_AUTHENTICATION = REQUIRED\n"
            f"SEC_CLIENT_AUTHENTICATION_METHODS = IDTOKENS\nSEC_TOKEN_DIRECTORY = {client}/tokens\n"
        )
        yield f"schedd://{name}/{collector}", client / "condor_config", folder
    finally:
        pool.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _said(file: Path, name: str) -> str:
    lines = [line.split(" = ", 1) for line in file.read_text().splitlines() if line.startswith(f"{name} = ")]
    return lines[0][1].strip('"')


@pytest.fixture
def pool(far_schedd: tuple[str, Path, Path], monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the pool, for a client that has a token."""
    monkeypatch.setenv("CONDOR_CONFIG", str(far_schedd[1]))
    return far_schedd[0]


@pytest.mark.htcondor
def test_a_map_is_spooled_and_retrieved(pool: str) -> None:
    """Outputs, errors, streams and files come back by HTCondor's own transfer, and components are done
    again; nothing here was seen by the schedd or its machines.
    """

    def works(x: int) -> int:
        print("working on", x)
        if x == 3:
            raise ValueError("three")
        Path("out.txt").write_text(str(x))
        wingspan.component().transfer_output_files("out.txt")
        return x * x

    m = wingspan.map(works, range(5), pool=pool, options=wingspan.Options(workers=2))
    m.wait(PATIENCE, errors_ok=True)
    assert ("ValueError: three" in str(m.errors[3]), "working on 2" in m.stdout[2]) == (True, True)
    assert (m.output_files[4] / "out.txt").read_text() == "4"
    assert "on another host" in (m.status().message or "".join(m.status().notes))
    m.rerun(function=lambda x: -x)
    assert list(m) == [0, 1, 4, -3, 16]
    m.remove()


@pytest.mark.htcondor
def test_jobs_of_a_spooled_map_are_held_and_released(pool: str) -> None:
    """Jobs are held also right after they were submitted, while their files are on the way; what was held
    goes on, and leaves the queue with its map.
    """

    def works_on(x: int) -> None:
        import time

        while True:
            time.sleep(0.1)

    m = wingspan.map(works_on, [1], pool=pool)
    m.hold()
    with pytest.raises(wingspan.ComponentHeld):
        m.wait(PATIENCE)
    m.release()
    until(lambda: m.status().workers.get("running"), m.status)
    m.remove()


@pytest.mark.htcondor
def test_a_run_is_spooled_and_retrieved(pool: str, tmp_path: Path) -> None:
    """Its inputs go to the schedd, and outputs and print-outs come back."""
    (tmp_path / "a.txt").write_text("hello")
    command = ["sh", "-c", "cat a.txt; cat a.txt > out.txt"]
    r = wingspan.run(command, inputs=["a.txt"], outputs=["out.txt"], workspace=tmp_path, pool=pool)
    assert r.wait(PATIENCE).state == "completed"
    assert (r.stdout(), r.outputs()["out.txt"].read_text()) == ("hello", "hello")
    r.remove()


@pytest.mark.htcondor
def test_a_schedd_that_does_not_answer_is_named(pool: str) -> None:
    """One of that name is not there, or nobody is: an error, and no map is left."""
    with pytest.raises(PoolUnavailable, match="does not answer"):
        wingspan.map(abs, [-1], pool=f"schedd://nobody@nowhere/{pool.rpartition('/')[2]}")
    with pytest.raises(SettingsError, match="names no schedd"):
        wingspan.map(abs, [-1], pool="schedd://a b")
    assert wingspan.tags() == ()


@pytest.mark.htcondor
def test_a_schedd_on_another_host_with_a_shared_home(
    far_schedd: tuple[str, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``_condor_SCHEDD_HOST`` names it: with the map's folder on a shared disk all is as on its own host."""
    name, config, shared = far_schedd
    schedd, _, collector = name.removeprefix("schedd://").partition("/")
    monkeypatch.setenv("CONDOR_CONFIG", str(config))
    monkeypatch.setenv("_condor_COLLECTOR_HOST", collector)
    monkeypatch.setenv("_condor_SCHEDD_HOST", schedd)
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(shared / "home"))
    m = wingspan.map(lambda x: x * x, range(5), options=wingspan.Options(workers=2))
    assert list(m) == [0, 1, 4, 9, 16]
    assert m.status().pools == ("htcondor",)
    m.remove()
