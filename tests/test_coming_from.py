"""The pages for those who come from another tool: what stands under "Before" and "After" prints the same."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from _own_folders import data_dir
from _waiting import PATIENCE

__all__ = ["data_dir"]

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs/coming-from").glob("*.md"))
#: What the example under "Before" needs: a module, or a fixture.
NEEDS = {
    "dask-jobqueue": "dask_jobqueue",
    "executorlib": "executorlib",
    "joblib": "joblib",
    "parsl": "parsl",
    "sbatch": "slurm_cluster",
    "snakemake": "snakemake",
    "submit-files": "personal_pool",
    "submitit": "submitit",
}


def answered(page: Path, title: str, folder: Path, variables: dict[str, str]) -> str:
    """What an example prints: files stand below their names, and the last of the section is executed."""
    whole = page.read_text(encoding="utf-8")
    text = whole.partition("\n## After\n")[0] if title == "Before" else whole
    blocks = re.findall(r"^`(\S+)`:\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for name, text in blocks:
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    last = blocks[-1][0]
    words = ["sh", last] if last.endswith(".sh") else [sys.executable, last]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "PATH": path, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def expected(page: Path) -> str:
    """What the page says that both print."""
    (result,) = re.findall(
        r"^Both print\n\n```text\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S
    )
    return str(result)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_after(page: Path, data_dir: Path, tmp_path: Path) -> None:
    """The example with Wingspan prints what the page says."""
    work = tmp_path / "work"
    work.mkdir()
    assert answered(page, "After", work, {"WINGSPAN_POOL": "local"}) == expected(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_before(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The example with the other tool, where that is installed, prints the same."""
    needs = NEEDS[page.stem]
    variables = {}
    if needs in ("personal_pool", "slurm_cluster"):
        variables = request.getfixturevalue(needs).environment()
    elif importlib.util.find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed")
    if needs == "dask_jobqueue":
        variables = request.getfixturevalue("slurm_cluster").environment()
    assert answered(page, "Before", tmp_path, variables) == expected(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_has_its_parts(page: Path) -> None:
    """A table of words, both examples, and when the other tool is the better choice."""
    headings = re.findall(r"^## (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[:2] == ["Before", "After"]
    assert headings[-1].endswith("is the better choice")
    assert page.read_text(encoding="utf-8").count("\n| ") > 6
