"""``python -m wingspan.htmap PROGRAM.py …`` runs an HTMap program; without one it is HTMap's command line."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from wingspan.htmap.cli import main
from wingspan.htmap.installing import install

if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].endswith(".py"):
        del sys.argv[0]
        sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
        install()
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        main()
