"""A real podman for tests, with everything it keeps in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from _engines import engine_folders

__all__ = ["own_podman"]


@contextmanager
def own_podman(place: Path) -> Iterator[list[str]]:
    """The command that starts podman, as words. The test is skipped where there is none.

    What podman keeps is in memory if `place`, the tests' own folder, is: on a disk, ext4 seeks long for
    each of thousands of files where others have just been removed.
    """
    program = shutil.which("podman")
    settings = [f / "podman/containers.conf" for f in engine_folders()]
    found = [path for path in settings if path.is_file()]
    if program is None or not found or os.geteuid() != 0:
        pytest.skip("no podman: python tools/engines/podman.py (as root)")
    memory = Path("/dev/shm")
    if place.is_relative_to(memory):  # the root conftest.py removes it where this session is killed
        folder = Path(tempfile.mkdtemp(prefix=f"wingspan-tests-{os.geteuid()}-{os.getpid()}-", dir=memory))
    else:
        folder = Path(tempfile.mkdtemp(prefix="wp", dir="/tmp"))  # podman wants short paths
    # All three: `system reset` removes the folder of state also where other podmans use it.
    command = [program, "--root", f"{folder}/s", "--runroot", f"{folder}/r", "--tmpdir", f"{folder}/t"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_CONF", str(found[0]))
        yield command
        subprocess.run([*command, "system", "reset", "--force"], capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)
