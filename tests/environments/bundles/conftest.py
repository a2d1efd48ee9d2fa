"""Bundles of the local workspace, built once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from wingspan.environments import load_environment
from wingspan.environments.bundles import Bundle, build_bundle


@pytest.fixture
def build(bundle_cache: Path, local_workspace: Path, public_folder: Path) -> Callable[..., Bundle]:
    """Build a bundle of one of the workspace's environments into a folder that every user may read."""

    def make(environment: str = "default", kind: str = "squashfs", **options: object) -> Bundle:
        env = load_environment(local_workspace, environment, "linux-64")
        bundle = build_bundle(env, kind, directory=public_folder / "bundles", **options)  # type: ignore[arg-type]
        bundle.path.parent.chmod(0o755)  # both are the builder's alone at first
        bundle.path.chmod(0o755)
        return bundle

    return make


@pytest.fixture
def job_folder(public_folder: Path, request: pytest.FixtureRequest) -> Path:
    """A job's working folder, open to every user."""
    folder = public_folder / re.sub(r"\W+", "-", f"{request.node.path.stem}-{request.node.name}")
    folder.mkdir()
    folder.chmod(0o777)
    return folder


@pytest.fixture(scope="session")
def files_below() -> Callable[[Path], dict[str, bytes]]:
    """Content of every file below a folder, by relative path; links as what they point to."""

    def read(folder: Path) -> dict[str, bytes]:
        found = {}
        for root, _, names in os.walk(folder):
            for name in names:
                path = Path(root, name)
                content = bytes(path.readlink()) if path.is_symlink() else path.read_bytes()
                found[path.relative_to(folder).as_posix()] = content
        return found

    return read
