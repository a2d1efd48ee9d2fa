"""Bundles that belong to another user, who changes them while they are unpacked: a second user of this
machine does it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from wingspan.environments.bundles import Bundle, unpack_bundle
from wingspan.environments.bundles.errors import BundleDamaged
from wingspan.progress import NoProgress

Build = Callable[..., Bundle]
AsUser = Callable[[Sequence[str]], list[str]]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two users")


@pytest.fixture
def of_another(build: Build, public_folder: Path) -> Callable[[str], Path]:
    """Gives a bundle of a kind to another user, who may write it, in a folder that everybody may enter."""

    def give(kind: str) -> Path:
        bundle = build("small", kind)
        folder = public_folder / f"of-another-{kind}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        folder.chmod(0o755)
        for name in (bundle.path.name, f"{bundle.path.name}.sha256"):
            shutil.copy(bundle.path.with_name(name), folder)
            os.chown(folder / name, 65534, 65534)
            (folder / name).chmod(0o644)
        return folder / bundle.path.name

    return give


class Meanwhile(NoProgress):
    """What another user does when a step of unpacking begins, or ends.

    Args:
        step: The step's name.
        when: ``"start"`` or ``"finish"``.
        command: What is executed then.
    """

    def __init__(self, step: str, when: str, command: list[str]) -> None:
        self.step, self.when, self.command = step, when, command
        self.steps: list[str] = []

    def start(self, description: str, total: float | None = None) -> int:
        self.steps.append(description)
        self._act("start", description)
        return len(self.steps) - 1

    def finish(self, task: int) -> None:
        self._act("finish", self.steps[task])

    def _act(self, when: str, description: str) -> None:
        if (self.when, self.step) == (when, description):
            subprocess.run(self.command, check=True, capture_output=True)


def scribble(path: Path, as_ordinary_user: AsUser) -> list[str]:
    """The command by which the other user writes zeros over a few bytes of the file, which keeps its size."""
    words = ["dd", "if=/dev/zero", f"of={path}", "bs=1", "count=64", "conv=notrunc"]
    words.append(f"seek={path.stat().st_size // 3}")
    return as_ordinary_user(words)


@pytest.mark.parametrize("kind", ["squashfs", "sif", "oci"])
def test_what_was_checked_is_what_is_unpacked(
    kind: str, of_another: Callable[[str], Path], as_ordinary_user: AsUser, tmp_path: Path
) -> None:
    """Whoever owns the file changes it after its check: what is unpacked is a private copy, in which
    nothing is changed.
    """
    path = of_another(kind)
    before = path.read_bytes()
    steps = Meanwhile("Unpacking the image", "start", scribble(path, as_ordinary_user))
    prefix = unpack_bundle(path, tmp_path, progress=steps)
    assert path.read_bytes() != before, "the other user did it"
    done = subprocess.run([prefix / "bin/prefix-probe"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(prefix)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["activate.sh", "env"]


@pytest.mark.parametrize("kind", ["squashfs", "sif", "oci"])
def test_a_change_before_the_copy_is_seen(
    kind: str, of_another: Callable[[str], Path], as_ordinary_user: AsUser, tmp_path: Path
) -> None:
    """Whoever owns the file changes it between its check and the copy: that is said, and nothing is
    unpacked.
    """
    path = of_another(kind)
    steps = Meanwhile(f"Checking {path.name}", "finish", scribble(path, as_ordinary_user))
    with pytest.raises(BundleDamaged, match="was changed while it was read"):
        unpack_bundle(path, tmp_path / "target", progress=steps)
    assert not (tmp_path / "target").exists()
