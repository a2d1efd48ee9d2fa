"""Locked environments of maps and runs that another machine does: manifest and lock go there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import wingspan
from _ssh import AccessPoint, access_point
from _waiting import PATIENCE
from wingspan.runs import load_runs


@pytest.fixture
def laptop(
    tmp_path: Path, session_cache: Path, local_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AccessPoint]:
    """A laptop without any bundle, in a workspace, and an access point that it knows."""
    (tmp_path / "ap").mkdir()
    variables = {"WINGSPAN_POOL": "local", "WINGSPAN_CACHE_DIR": str(session_cache)}
    with access_point(tmp_path / "ap", variables) as made:
        (tmp_path / "config").mkdir()
        (tmp_path / "config/config.toml").write_text(made.config_of_client())
        for name in ("config", "data", "cache"):
            monkeypatch.setenv(f"WINGSPAN_{name.upper()}_DIR", str(tmp_path / name))
        work = shutil.copytree(local_workspace, tmp_path / "work")
        with (work / "pixi.toml").open("a") as manifest:
            manifest.write("\n[tasks.where]\ncmd = \"python -c 'import zmq, sys; print(sys.prefix)'\"\n")
            manifest.write('\n[activation]\nscripts = ["setup/first.sh"]\n')
        (work / "setup").mkdir()
        (work / "setup/first.sh").write_text("export FROM_SCRIPT=activated\n")
        monkeypatch.chdir(work)
        yield made
        for one in load_runs():
            one.remove(force=True)


def test_the_bundle_is_built_over_there(laptop: AccessPoint, tmp_path: Path) -> None:
    """Components and the jobs of a task run in the environment, which the workspace's scripts have
    activated; the laptop has built nothing.
    """

    def prefix(_: int) -> str:
        import os
        import sys

        import zmq

        return f"{sys.prefix} {zmq.__name__} {os.environ['FROM_SCRIPT']}"

    options = wingspan.Options(environment=wingspan.Environment(".", frozen=True))
    m = wingspan.map(prefix, range(2), pool="ssh://ap", options=options)
    assert {one.partition(" ")[2] for one in m} == {"zmq activated"}
    r = wingspan.run("where", frozen=True, pool="ssh://ap")
    assert r.wait(PATIENCE).state == "completed", r.stderr()
    assert r.stdout().strip() == m[0].split()[0]
    m.remove()
    assert not list((tmp_path / "cache").rglob("*.squashfs"))
