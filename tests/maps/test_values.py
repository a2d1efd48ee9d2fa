"""The table of docs/values.md, row by row: what travels, and how."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from _waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).resolve().parents[1] / "data" / "values"
#: A cell of a notebook: a name that is no file, whose text the session knows.
CELL = """
import linecache
from pathlib import Path
text = Path("program.py").read_text()
linecache.cache["<cell 1>"] = (len(text), None, text.splitlines(True), "<cell 1>")
globals().pop("__file__", None)
exec(compile(text, "<cell 1>", "exec"))
"""


def rows() -> list[str]:
    """The first column of the table."""
    page = (ROOT / "docs" / "values.md").read_text(encoding="utf-8")
    return [row for row in re.findall(r"^\| (.+?) \| ", page, re.MULTILINE) if row not in ("what", "---")]


@functools.cache
def told(how: str, folder: str, data_dir: str) -> dict[str, str]:
    """What the program says of each row, run in one of several ways."""
    pool = "personal" if how == "personal" else "local"
    command, text = [sys.executable, "program.py"], None
    if how == "module":
        command = [sys.executable, "-m", "program"]
    elif how == "prompt":
        command, text = [sys.executable, "-"], (Path(folder) / "program.py").read_text()
    elif how == "cell":
        command = [sys.executable, "-c", CELL]
    done = subprocess.run(
        command,
        input=text,
        cwd=folder,
        env={**os.environ, "WINGSPAN_TEST_POOL": pool, "WINGSPAN_DATA_DIR": data_dir},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return answers


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The program, with a package and a module beside it, in a folder of its own; and a data folder."""
    folder = tmp_path_factory.mktemp("values")
    shutil.copytree(PROGRAM, folder / "program")
    (folder / "data").mkdir()
    return str(folder / "program"), str(folder / "data")


def test_every_row_has_a_check(program: tuple[str, str]) -> None:
    """Each row of the page has a check in the program, and each check a row."""
    listed = subprocess.run(
        [sys.executable, "-c", "import json, program; print(json.dumps(list(program.ROWS)))"],
        cwd=program[0],
        env={**os.environ, "WINGSPAN_TEST_POOL": "local"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(json.loads(listed.stdout)) == sorted(rows())


@pytest.mark.parametrize("row", rows())
@pytest.mark.parametrize("how", ["script", "module", "prompt", "cell"])
def test_a_row_holds_on_the_local_pool(how: str, row: str, program: tuple[str, str]) -> None:
    """What the row says holds, however the program is run."""
    assert told(how, *program)[row] == "ok"


@pytest.mark.htcondor
@pytest.mark.parametrize("row", rows())
def test_a_row_holds_on_a_real_pool(row: str, program: tuple[str, str], personal_pool) -> None:
    """What the row says holds on the personal pool, where workers come by chirp."""
    link = Path(program[1]) / "personal-pool"
    if not link.exists():
        link.symlink_to(personal_pool.directory)
    assert told("personal", *program)[row] == "ok"
