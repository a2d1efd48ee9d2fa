"""The pages for those who come from another tool: what stands under "Before" and "After" prints the same."""

from __future__ import annotations

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
#: Wingspan's own environment, which has what is not in that of `peers`.
OURS = Path(sys.executable).parent
#: What the example under "Before" needs: the engine that the page names, and the environment of `peers`.
#: Snakemake's stays on this machine, as the page shows it: its plugin for Slurm asks ``sacct``, and the Slurm
#: of these tests keeps no accounts.
NEEDS = {
    "dask-jobqueue": ["peers", "slurm_cluster"],
    "executorlib": ["peers", "slurm_cluster"],
    "joblib": [],
    "parsl": ["peers", "slurm_cluster"],
    "sbatch": ["slurm_cluster"],
    "snakemake": ["peers"],
    "submit-files": ["personal_pool"],
    "submitit": [],
}


#: Dask's own patience: a busy machine must not fail a test.
PATIENT = {
    "DASK_JOBQUEUE__SLURM__DEATH_TIMEOUT": f"{PATIENCE:.0f}",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": f"{PATIENCE:.0f}s",
}


@pytest.fixture(scope="session")
def peers() -> Path:
    """The programs of the environment that has the other tools."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools/engines/peers.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def answered(page: Path, title: str, folder: Path, variables: dict[str, str], programs: Path) -> str:
    """What an example prints: files stand below their names, and the last of the section is executed, by the
    `python` and beside the other programs of a folder.
    """
    whole = page.read_text(encoding="utf-8")
    text = whole.partition("\n## After\n")[0] if title == "Before" else whole
    blocks = re.findall(r"^`(\S+)`:\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for name, text in blocks:
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    last = blocks[-1][0]
    words = ["sh", last] if last.endswith(".sh") else [str(programs / "python"), last]
    path = f"{programs}:{variables.get('PATH', os.environ['PATH'])}"
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, **variables, "PATH": path},
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
    assert answered(page, "After", work, {"WINGSPAN_POOL": "local"}, OURS) == expected(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_before(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The example with the other tool prints the same, on the engine that it names."""
    variables: dict[str, str] = {}
    programs = OURS
    for needed in NEEDS[page.stem]:
        found = request.getfixturevalue(needed)
        if needed == "peers":
            programs = found
            variables |= PATIENT
        else:
            variables |= found.environment()
    assert answered(page, "Before", tmp_path, variables, programs) == expected(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_has_its_parts(page: Path) -> None:
    """A table of words, both examples, and when the other tool is the better choice."""
    headings = re.findall(r"^## (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[:2] == ["Before", "After"]
    assert headings[-1].endswith("is the better choice")
    assert page.read_text(encoding="utf-8").count("\n| ") > 6
