"""Which branches the unit tests take, those that need no engine, in the rooms that they are about: it may
rise, and not fall.

python tools/unit_coverage.py             compare with the floor in pyproject.toml
python tools/unit_coverage.py --verbose   name the lines and branches that none takes

Both lists, of tests and of what is measured, are in pyproject.toml, too. What starts in a process of its own,
as workers do, is not seen.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import tomlkit
from coverage import Coverage

ROOT = Path(__file__).resolve().parents[1]
_NO_ENGINE = "not htcondor and not slurm and not apptainer and not podman and not slow"


def main() -> int:
    wanted = tomlkit.parse((ROOT / "pyproject.toml").read_text(encoding="utf-8")).unwrap()["tool"]["wingspan"]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "coverage")
        options = [
            "-q",
            "-p",
            "no:cacheprovider",
            "--in-memory",
            "--numprocesses",
            "4",
            "--dist",
            "worksteal",
        ]
        # The same examples each time: the figure must not depend on them.
        options += ["--hypothesis-seed", "1", "--cov", "--cov-report=", "-m", _NO_ENGINE]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *wanted["unit_tests"], *wanted["unit_tests_more"]],
            cwd=ROOT,
            env={**os.environ, "COVERAGE_FILE": str(data)},
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            return done.returncode
        os.chdir(ROOT)
        measured = Coverage(data_file=str(data), config_file="pyproject.toml")
        measured.load()
        with Path(os.devnull).open("w") as nothing:
            share = measured.report(
                include=wanted["unit_measured"],
                file=sys.stdout if "--verbose" in sys.argv else nothing,
                show_missing=True,
            )
    floor = float(wanted["unit_coverage"])
    print(
        f"the unit tests take {share:.1f} % of the lines and branches; at least {floor} % are wanted",
        flush=True,
    )
    return 0 if share >= floor else 1


if __name__ == "__main__":
    raise SystemExit(main())
