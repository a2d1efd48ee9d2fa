"""The conda recipe: it says what pyproject.toml says, and rattler-build makes a package of it that works."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "recipe/recipe.yaml"
#: conda-forge's name of a package of PyPI.
RENAMED = {"htcondor": "python-htcondor"}
#: What builds it and what it needs, as wheels that become conda packages.
NEEDED = (
    "pip hatchling attrs click cloudpickle platformdirs rich tomlkit exceptiongroup typing_extensions "
    "py-rattler packaging pyyaml zstandard"
).split()
CHANNEL = """
import sys, tempfile
sys.path.insert(0, sys.argv[1])
import local_channel, conda_package
from pathlib import Path
channel, wheels = Path(sys.argv[2]), Path(sys.argv[3])
if not (wheels / "complete").exists():
    local_channel.wheels(sys.argv[4:], wheels)
    local_channel.wheels(["htcondor>=25"], wheels, dependencies=False)
    (wheels / "complete").touch()
with tempfile.TemporaryDirectory() as empty:
    (Path(empty) / "share").mkdir()
    (Path(empty) / "share/python-htcondor").touch()
    named = dict(name="python-htcondor", version="25.0", build="0", depends=["htcondor"])
    conda_package.write_package(Path(empty), channel, **named)
local_channel.add_wheels(channel, sorted(wheels.glob("*.whl")))
"""
BUILD = """
import sys
from rattler_build import Stage0Recipe, ToolConfiguration, VariantConfig
recipe, output, *channels = sys.argv[1:]
how = ToolConfiguration(test_strategy="native", channel_priority="disabled")
(variant,) = Stage0Recipe.from_file(recipe).render(VariantConfig())
print(*variant.run_build(tool_config=how, output_dir=output, channels=channels).packages)
"""
LOCK = """
import asyncio, os, sys, tomllib
sys.path.insert(0, sys.argv[1])
import local_channel, rattler
from pathlib import Path
channel, workspace, prefix = map(Path, sys.argv[2:])
local_channel.index(channel)
wanted = tomllib.loads((workspace / "pixi.toml").read_text())["dependencies"]
specs = [f"{name} {bounds}" for name, bounds in wanted.items()]
local_channel.write_workspace(workspace, channel, {"default": specs}, name="study")
cache = prefix.with_name("packages")
asyncio.run(rattler.install(local_channel.solve(channel, specs), prefix, cache_dir=cache, show_progress=False))
os._exit(0)  # the end of an interpreter that has rattler's threads is not always a good one
"""


def recipe() -> Any:
    """The recipe as YAML."""
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load(RECIPE.read_text(encoding="utf-8"))


def test_it_needs_what_the_wheel_needs() -> None:
    """The same packages with the same bounds; extras are bounds on what may be installed beside it."""
    tomlkit = pytest.importorskip("tomlkit")
    project = tomlkit.parse((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    def named(requirement: str) -> str:
        wanted = Requirement(requirement)
        return f"{RENAMED.get(wanted.name, wanted.name)} {wanted.specifier}".strip()

    wanted = {named(str(one)) for one in project["dependencies"]}
    required = recipe()["requirements"]
    python = f"python {project['requires-python']}"
    assert set(required["run"]) == wanted | {python, "__linux"}
    extras = {named(str(one)) for some in project["optional-dependencies"].values() for one in some}
    assert set(required["run_constraints"]) <= extras


@pytest.fixture(scope="module")
def channel(kept_folder: Callable[[str, bytes], Path]) -> Path:
    """A channel of what Wingspan needs, kept in the user's cache."""
    tools = [ROOT / "tools" / name for name in ("local_channel.py", "conda_package.py")]
    code = b"".join(tool.read_bytes() for tool in tools)
    kept = kept_folder("needed", code + CHANNEL.encode() + " ".join(NEEDED).encode())
    wheels = platformdirs.user_cache_path("wingspan-tests", ensure_exists=True) / "example-wheels"
    with Path(f"{wheels}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (kept / "noarch").is_dir():
            with tempfile.TemporaryDirectory(prefix=".channel-", dir=kept.parent) as name:
                new = Path(name, "channel")
                words = [sys.executable, "-c", CHANNEL, str(ROOT / "tools"), str(new), str(wheels), *NEEDED]
                subprocess.run(words, capture_output=True, check=False)
                assert (new / "noarch/repodata.json").is_file()
                new.replace(kept)
    return kept


@pytest.fixture(scope="module")
def built(local_channel: Path, channel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, which rattler-build has built and tested."""
    pytest.importorskip("rattler_build")
    folder = tmp_path_factory.mktemp("recipe")
    words = [
        sys.executable,
        "-c",
        BUILD,
        str(RECIPE),
        str(folder / "output"),
        local_channel.as_uri(),
        channel.as_uri(),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.split()[-1])


@pytest.mark.slow
def test_rattler_build_makes_a_package_that_works(built: Path) -> None:
    """It is built against the tests' channel, and passes the recipe's own tests; one of them is a map."""
    assert built.name.startswith(f"wingspan-{recipe()['context']['version']}-py")
    assert zipfile.is_zipfile(built)


@pytest.mark.slow
def test_a_pixi_workspace_that_depends_on_wingspan(
    built: Path, local_channel: Path, channel: Path, tmp_path: Path
) -> None:
    """The example's program makes its map from inside the locked environment, and its workers have it too."""
    joined, workspace, prefix = tmp_path / "channel", tmp_path / "study", tmp_path / "prefix"
    for package in [*channel.rglob("*.conda"), *local_channel.rglob("*.conda"), built]:
        place = joined / package.parent.name / package.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.exists() or shutil.copyfile(package, place)
    shutil.copytree(ROOT / "examples/pixi", workspace)
    manifest = (workspace / "pixi.toml").read_text(encoding="utf-8")
    words = [sys.executable, "-c", LOCK, str(ROOT / "tools"), str(joined), str(workspace), str(prefix)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (workspace / "pixi.toml").write_text(manifest.replace("conda-forge", joined.as_uri()), encoding="utf-8")
    done = subprocess.run(
        [prefix / "bin/python", "study.py", "local"],
        cwd=workspace,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 12
    assert " 70." in lines[5] or " 71." in lines[5], "of 30 people, 70.6 %"
