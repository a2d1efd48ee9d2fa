"""What a real Slurm cluster's jobs have of the caller's: own modules, and locked environments, in maps
and in runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wingspan
from _on_disk import map_json
from _slurm_cluster import SlurmCluster
from _waiting import PATIENCE
from wingspan.runs import load_runs

pytestmark = pytest.mark.slurm

PREFIX = "/opt/wingspan/environment"

_SHOP = """
import sys
from helpers.rates import RATE

class Receipt:
    def __init__(self, total, prefix, packages):
        self.total, self.prefix, self.packages = total, prefix, packages

def pay(x):
    packages = [name for name in ("zmq", "click") if __import__("importlib.util").util.find_spec(name)]
    return Receipt(RATE * x, sys.prefix, packages)
"""
#: Makes a map of a function that a module beside this script has, without workers.
_SCRIPT = """
import sys, wingspan
import shop

environment = wingspan.Environment(sys.argv[2]) if len(sys.argv) > 2 else None
wingspan.map(shop.pay, [1, 2, 3], tag=sys.argv[1], options=wingspan.Options(workers=0, environment=environment))
"""


@pytest.fixture(autouse=True)
def cluster(
    slurm_cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle_cache: Path
) -> Iterator[None]:
    """A login node of the cluster, with a data folder of the test's own; no job is left behind."""
    for name, value in slurm_cluster.environment().items():
        monkeypatch.setenv(name, value)
    for name in ("WINGSPAN_POOL", "CONDOR_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path / "config"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    yield
    wingspan.clean(all=True)
    for run in load_runs():
        run.remove(force=True)


def _map_of_a_script(project: Path, *arguments: str) -> wingspan.Map:
    """The map of `_SCRIPT`, once the script and the modules beside it are where no worker finds them."""
    (project / "helpers").mkdir(parents=True)
    (project / "helpers/__init__.py").touch()
    (project / "helpers/rates.py").write_text("RATE = 2\n")
    (project / "shop.py").write_text(_SHOP)
    (project / "make.py").write_text(_SCRIPT)
    command = [sys.executable, "make.py", *arguments]
    done = subprocess.run(
        command, cwd=project, env=os.environ, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    project.rename(project.with_name("elsewhere"))
    m = wingspan.load(arguments[0])
    m.add_workers(2, "slurm")
    return m


def test_modules_beside_a_script_go_along(tmp_path: Path) -> None:
    """A function of a module beside the script, and what that imports, is called on a node that finds
    neither; this Python calls it.
    """
    m = _map_of_a_script(tmp_path / "project", "own")
    m.wait(timeout=PATIENCE)
    receipts = list(m)
    assert [receipt.total for receipt in receipts] == [2, 4, 6]
    assert {receipt.prefix for receipt in receipts} == {sys.prefix}
    assert type(receipts[0]).__module__ == "shop"


def test_modules_beside_a_script_go_into_a_bundle(tmp_path: Path, local_workspace: Path) -> None:
    """The same in a locked environment: it has the environment's packages, the modules, and nothing of
    this Python's.
    """
    m = _map_of_a_script(tmp_path / "project", "bundled", str(local_workspace))
    assert map_json(m)["environment"]["kind"] == "squashfs"
    m.wait(timeout=PATIENCE)
    receipts = list(m)
    assert [receipt.total for receipt in receipts] == [2, 4, 6]
    assert {(receipt.prefix, *receipt.packages) for receipt in receipts} == {(PREFIX, "zmq")}


@pytest.mark.parametrize("kind", ["squashfs", "pack"])
def test_a_run_in_an_environment(tmp_path: Path, local_workspace: Path, kind: str) -> None:
    """Every job of a sweep is started in the environment; its input goes there, and its output comes back."""
    Path("count.py").write_text(
        "import pathlib, sys, zmq\n"
        "assert zmq.__file__.startswith(sys.prefix), zmq.__file__\n"
        "pathlib.Path('out.txt').write_text(f'{sys.argv[1]} {sys.prefix}')\n"
    )
    run = wingspan.run(
        ["python", "count.py", "{n}"],
        name="counted",
        pool="slurm",
        environment=wingspan.Environment(local_workspace),
        kind=kind,
        inputs=["count.py"],
        outputs=["out.txt"],
        sweep={"n": [3, 4]},
    )
    status = run.wait(PATIENCE)
    assert status.state == "completed", [run.stderr(number) for number in range(2)]
    found = [run.outputs(number)["out.txt"].read_text().split() for number in range(2)]
    assert [words[0] for words in found] == ["3", "4"]
    if kind == "squashfs":
        assert {words[1] for words in found} == {PREFIX}


def test_programs_of_the_environment_come_first(local_workspace: Path) -> None:
    """A job has the environment's programs, and its Python before the one that has submitted the job."""
    run = wingspan.run(
        ["sh", "-c", "command -v prefix-probe; command -v python"],
        name="inside",
        pool="slurm",
        environment=wingspan.Environment(local_workspace),
    )
    assert run.wait(PATIENCE).state == "completed", run.stderr()
    assert run.stdout().split() == [f"{PREFIX}/bin/prefix-probe", f"{PREFIX}/bin/python"]
