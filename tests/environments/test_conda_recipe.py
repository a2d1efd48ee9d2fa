"""The conda recipe: it says what pyproject.toml says, and rattler-build makes a package of it that works."""

from __future__ import annotations

import subprocess
import sys
import zipfile
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
    "pip hatchling attrs click cloudpickle platformdirs rich tomlkit exceptiongroup typing_extensions".split()
)
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


@pytest.mark.slow
def test_rattler_build_makes_a_package_that_works(local_channel: Path, tmp_path: Path) -> None:
    """It is built against the tests' channel, and passes the recipe's own tests; one of them is a map."""
    pytest.importorskip("rattler_build")
    wheels = platformdirs.user_cache_path("wingspan-tests", ensure_exists=True) / "recipe-wheels"
    channel = tmp_path / "channel"
    words = [sys.executable, "-c", CHANNEL, str(ROOT / "tools"), str(channel), str(wheels), *NEEDED]
    subprocess.run(words, capture_output=True, check=False)
    assert (channel / "noarch/repodata.json").is_file()
    words = [
        sys.executable,
        "-c",
        BUILD,
        str(RECIPE),
        str(tmp_path / "output"),
        local_channel.as_uri(),
        channel.as_uri(),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    built = Path(done.stdout.split()[-1])
    assert built.name.startswith(f"wingspan-{recipe()['context']['version']}-py")
    assert zipfile.is_zipfile(built)
