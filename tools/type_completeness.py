"""How much of the public surface has known types (pyright --verifytypes): it may rise, and not fall.

python tools/type_completeness.py             compare with the floor in pyproject.toml
python tools/type_completeness.py --verbose   name what has none
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import tomlkit

ROOT = Path(__file__).resolve().parents[1]
#: Programs for workers, and the commands: nobody imports them.
_PRIVATE = ("wingspan.worker.", "wingspan.cli.", "wingspan.environments.bundles.remote.")


def report() -> dict[str, Any]:
    """What pyright says of the package, as it is installed."""
    program = Path(sys.executable).with_name("basedpyright")
    # Elsewhere: in this folder it would take pyproject.toml for its own configuration.
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                program,
                "--pythonpath",
                sys.executable,
                "--verifytypes",
                "wingspan",
                "--ignoreexternal",
                "--outputjson",
            ],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            check=False,
        )
    answer: dict[str, Any] = json.loads(done.stdout)["typeCompleteness"]
    return answer


def main() -> int:
    symbols = [
        symbol
        for symbol in report()["symbols"]
        if symbol["isExported"] and not symbol["name"].startswith(_PRIVATE) and "._" not in symbol["name"]
    ]
    unknown = [symbol for symbol in symbols if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]]
    if "--verbose" in sys.argv:
        for symbol in unknown:
            print(symbol["name"])
    known = 100 * (1 - len(unknown) / len(symbols))
    floor = float(
        str(
            tomlkit.parse((ROOT / "pyproject.toml").read_text(encoding="utf-8")).unwrap()["tool"]["wingspan"][
                "type_completeness"
            ]
        )
    )
    print(
        f"{known:.1f} % of {len(symbols):,} public names have known types; at least {floor} % are wanted",
        flush=True,
    )
    return 0 if known >= floor else 1


if __name__ == "__main__":
    raise SystemExit(main())
