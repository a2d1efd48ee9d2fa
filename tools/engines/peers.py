"""Obtain the tools that `docs/coming-from` shows beside Wingspan: one virtual environment of their own.

``tools/peers.txt`` names their versions, and `make constraints` chooses them anew. Prints the folder of the
environment's programs. A second call answers at once.

    python tools/engines/peers.py
"""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from apptainer import engines_folder

VERSIONS = Path(__file__).resolve().parents[1] / "peers.txt"


def obtain() -> Path:
    """The folder that holds ``python``, ``snakemake`` and the others; processes that ask at once share it.

    Raises:
        subprocess.CalledProcessError: uv could not install them; its standard error is in the error.
    """
    wanted = f"{sys.version}\n{sys.base_prefix}\n".encode() + VERSIONS.read_bytes()
    target = engines_folder() / f"peers-{hashlib.sha256(wanted).hexdigest()[:12]}"
    complete = target / "complete"  # written last: an environment without it was broken off
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (complete.is_file() and (target / "bin/python").is_file()):
            _uv("venv", "--clear", "--python", sys.executable, str(target))
            _uv("pip", "install", "--python", str(target / "bin/python"), "--requirements", str(VERSIONS))
            complete.touch()
    return target / "bin"


def _uv(*words: str) -> None:
    command = [sys.executable, "-m", "uv", "--quiet", *words]
    subprocess.run(command, check=True, capture_output=True, text=True)


if __name__ == "__main__":
    try:
        print(obtain())
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"the tools of docs/coming-from could not be installed: {error.stderr}") from None
