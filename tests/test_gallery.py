"""The gallery: each program of ``examples/gallery`` does what it says, and draws its picture."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from _waiting import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = sorted((ROOT / "examples/gallery").glob("*.py"))

#: What each must have printed.
RESULTS = {
    "bootstrap": "correlation: between 0.834 and 0.903 in 95 % of 5,000 samples",
    "chained": "569 tumours, 96.",
    "command": "8 jobs; smallest: xz -",
    "dataframe": "178 wines; the most unusual is number 121,",
    "images": "16 tiles, ",
    "mcmc": "slope 0.59 ± 0.05, R-hat 1.00",
    "memoized": "49 penalties, 17 taken from the first map; best: 0.05",
    "parameter_scan": "best of 42: 19 neighbours, scaling rank: 97.2 %",
    "text_chunks": "long words, most of all: object",
    "training": "all 4 went on from a checkpoint; best rate 0.1: 96.",
}

#: One process for all, so that its workers stay warm, and import scikit-learn once.
RUNNER = """
import runpy, sys
for path in sys.argv[1:]:
    print(path, flush=True)
    runpy.run_path(path, run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_program_does_what_it_says(tmp_path: Path) -> None:
    """Each prints its result, draws a picture, and leaves no map and no run."""
    variables = {
        **os.environ,
        "WINGSPAN_POOL": "local",
        "WINGSPAN_DATA_DIR": str(tmp_path / "data"),
        "WINGSPAN_CACHE_DIR": str(tmp_path / "cache"),
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
        "WINGSPAN_OPTION_WORKERS": "1",  # each imports scikit-learn
    }
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, *map(str, PROGRAMS)],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = {
        Path(path).stem: result for path, result in zip(*[iter(done.stdout.splitlines())] * 2, strict=True)
    }
    assert {name for name, result in RESULTS.items() if result not in said[name]} == set(), said
    for name in RESULTS:
        picture = tmp_path / f"{name}.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
        if folder := os.environ.get("WINGSPAN_PICTURES"):
            shutil.copy(picture, Path(folder) / f"gallery-{name.replace('_', '-')}.png")
    assert not list((tmp_path / "data/maps").glob("[!.]*"))
    assert not list((tmp_path / "data/runs").glob("[!.]*"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_a_program_is_a_page_or_less(program: Path) -> None:
    """Each begins with what it shows, is tested, has its picture on the page, and is short."""
    text = program.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text))
    assert program.stem in RESULTS
    assert len(text.splitlines()) <= 80
    page = (ROOT / "docs/gallery.md").read_text(encoding="utf-8")
    assert f"pictures/gallery-{program.stem.replace('_', '-')}.png" in page
    assert f"../examples/gallery/{program.name}" in page
