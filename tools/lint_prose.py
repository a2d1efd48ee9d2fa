"""Harper reads the English of the pages: unknown words, sentences that are too long, words said twice.

    python tools/lint_prose.py [PAGE …]

Words of the field that it does not know stand in tools/words.txt, one a line, with the capitals they have.
Without Harper (tools/engines/harper.py obtains it, where there is Node) nothing is looked at, and it says so.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "engines"))

import harper
from apptainer import engines_folder

ROOT = Path(__file__).resolve().parents[1]
WORDS = ROOT / "tools/words.txt"
#: Of Harper's rules. Others are the style of another house: title case, the comma before "and", names as two
#: words.
RULES = ("SpellCheck", "LongSentences", "RepeatedWords", "Misspell")


def pages() -> list[Path]:
    """All pages of the documentation, and the README."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def main() -> None:
    folder = engines_folder() / harper.PACKAGE.replace("@", "-")
    node = shutil.which("node")
    if node is None or not (folder / "node_modules").is_dir():
        print("lint_prose: Harper is not here; the pages' English is not looked at")
        return
    known = set(WORDS.read_text(encoding="utf-8").split())
    wanted = sys.argv[1:] or [str(page) for page in pages()]
    words = [node, str(ROOT / "tools/lint_prose.mjs"), str(folder), ",".join(RULES), *wanted]
    told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    findings = [
        found for found in map(json.loads, told.splitlines()) if found[2].removesuffix("'s") not in known
    ]
    for page, line, text, message in findings:
        where = Path(page).relative_to(ROOT) if Path(page).is_relative_to(ROOT) else page
        print(f"{where}:{line}: {' '.join(text.split())}: {message}")
    if findings:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
