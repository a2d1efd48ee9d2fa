"""The gallery: the notebooks of ``examples/notebooks`` do what they say, in real kernels on real pools."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import wingspan
from _each_engine import use_engine
from _own_folders import data_dir
from _waiting import PATIENCE
from wingspan.runs import run_names

__all__ = ["data_dir"]

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "examples/notebooks").glob("*.ipynb"))

#: Which pool a notebook gets, and what its cells must have printed or answered at the end.
RESULTS = {
    "first-steps": (
        "personal",
        ["personal pool", "{0: ", "ZeroDivisionError", "[inf, 1.0, 0.5,", "2.828", "1.414"],
    ),
    "sweep": ("local", ["best of 24: C = ", "% of the images are read right", "sweep.html"]),
    "gpu-training": (
        "personal",
        ["each worker asks for 0 GPUs", "step 300: ", "trained on the processor: no GPU is to be had here"],
    ),
    "files-and-checkpoints": ("personal", ["begins at step 500", "'step': 1000"]),
    "laptop-to-site": ("slurm", ["[3.1", "Slurm", "pi is about 3.1", "40 components on the slurm pool"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_does_what_it_says(
    path: Path,
    data_dir: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All cells run, their results are what the text announces, and no map or run is left."""
    pool, results = RESULTS[path.stem]
    use_engine(request, pool)
    if pool not in ("personal", "slurm"):
        monkeypatch.setenv("WINGSPAN_POOL", pool)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    work = tmp_path / "work"
    work.mkdir()
    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(work)}}
    NotebookClient(notebook, timeout=int(PATIENCE), resources=place).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    said = " ".join(" ".join(map(text_of, outputs)).split())
    assert [one for one in results if one not in said] == [], said
    assert wingspan.tags() == ()
    assert run_names() == ()


def text_of(output: dict[str, object]) -> str:
    """What a cell has printed or answered, as text."""
    data = output.get("data", {})
    assert isinstance(data, dict)
    return str(output.get("text", "")) + str(data.get("text/plain", ""))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_is_stored_without_outputs(path: Path) -> None:
    """A stored notebook is valid and has no outputs of an earlier run; the gallery's page links to it."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell for cell in code if cell.outputs or cell.execution_count is not None] == []
    assert f"(../examples/notebooks/{path.name})" in (ROOT / "docs/gallery.md").read_text(encoding="utf-8")


def test_every_notebook_has_its_results() -> None:
    """The table above is of the notebooks that are there; where one links to another, it is there, too."""
    assert [path.stem for path in NOTEBOOKS] == sorted(RESULTS)
    for path in NOTEBOOKS:
        for link in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / link).exists(), link
