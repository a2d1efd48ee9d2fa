"""Maps and runs in an environment that has the workspace's own package, on every pool."""

from __future__ import annotations

import shutil
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click.testing
import pytest

import wingspan
from _waiting import PATIENCE
from wingspan.cli._main import cli
from wingspan.delivery.sent import asked_for, environment_to_send
from wingspan.environments import Environment
from wingspan.environments.bundles.errors import BundleDamaged
from wingspan.environments.bundles.own.split import own_layers
from wingspan.pools.htcondor import PersonalHTCondorPool
from wingspan.runs import load_runs


@pytest.fixture(
    params=[
        "local",
        pytest.param("personal", marks=pytest.mark.htcondor),
        pytest.param("slurm", marks=pytest.mark.slurm),
    ]
)
def pool(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bundle_cache: Path
) -> Iterator[str]:
    """Each engine, with a data folder that its jobs see."""
    if request.param == "slurm":
        for name, value in request.getfixturevalue("slurm_cluster").environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("CONDOR_CONFIG", raising=False)
        monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "data"))
    elif request.param == "personal":
        import wingspan.pools._select as select

        engine, real = PersonalHTCondorPool(request.getfixturevalue("personal_pool")), select._make
        monkeypatch.setattr(
            select, "_make", lambda kind, data: engine if kind == "personal" else real(kind, data)
        )
    yield str(request.param)
    for run in load_runs():
        run.remove(force=True)


def versions(number):
    """What a worker has of the own package."""
    import importlib.metadata

    import mypackage

    return number, importlib.metadata.version("my-package"), mypackage.VALUE


def test_maps_and_runs_have_the_own_package(
    pool: str, own_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A map's function imports the package that lies in the workspace, and a run executes its program. A
    change of its source counts for what is made afterwards, and what was made before keeps what it had.
    """
    monkeypatch.chdir(own_workspace)
    options = wingspan.Options(environment="default", workers=1)
    m = wingspan.map(versions, [1], pool=pool, options=options)
    assert m[:] == [(1, "1.2.0", 1)]
    shown = click.testing.CliRunner().invoke(cli, ["status", m.tag]).output
    assert "and the code of my-package" in " ".join(shown.split())
    (own_workspace / "src/mypackage/__init__.py").write_text("VALUE = 2\n")
    run = wingspan.run(
        command=["sh", "-c", "mytool >said || true"],
        environment="default",
        outputs=["said"],
        pool=pool,
    )
    run.wait(PATIENCE)
    run.check()
    assert run.outputs()["said"].read_text() == "1.2.0 2 [2] data True\n"
    m.rerun(m.components)
    assert m[:] == [(1, "1.2.0", 1)]


def test_the_command_line_makes_and_enters_it(
    own_workspace: Path, bundle_cache: Path, tmp_path: Path
) -> None:
    """`env bundle` puts the layer beside the bundle and says so; `env enter --layer` refuses one whose
    content is not what its name says.
    """
    words = ["env", "bundle", "-m", str(own_workspace), "-o", str(tmp_path)]
    done = click.testing.CliRunner().invoke(cli, words)
    assert "code of my-package" in done.stderr, done.output
    (bundle,), (layer,) = tmp_path.glob("*.squashfs"), tmp_path.glob("*-code-*.tar.gz")
    other = tmp_path / "local-code-00000000.tar.gz"
    shutil.copy(layer, other)
    refused = click.testing.CliRunner().invoke(
        cli, ["env", "enter", "--layer", str(other), str(bundle), "true"]
    )
    assert isinstance(refused.exception, BundleDamaged)


def test_to_another_machine_own_packages_and_wheels_go_along(
    own_workspace: Path, bundle_cache: Path, tmp_path: Path
) -> None:
    """Where manifest and lock are sent (pool="ssh://…"), the same thin layer is made there, and the injected
    wheel is in the environment; what git ignores is not sent.
    """
    wheel = tmp_path / "extra-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("extra.py", "")
        archive.writestr("extra-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n")
    named = Environment(own_workspace, inject=wheel)
    environment_to_send(named).write(tmp_path)
    assert not list((tmp_path / "workspace").rglob("*.secret"))
    there = asked_for(tmp_path)
    assert there is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        here, sent = named.load(), there.load()
    assert sent.digest == here.digest
    layers = [own_layers(env, name="own") for env in (here, sent)]
    assert layers[0] == layers[1] != ()
