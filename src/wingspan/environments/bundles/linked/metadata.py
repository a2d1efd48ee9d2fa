"""The folder ``.wingspan``, which Wingspan adds to an installed environment."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

import attrs

from wingspan._warn import warn
from wingspan.environments.activation import Activated
from wingspan.environments.bundles.manifest import Manifest
from wingspan.environments.bundles.remote import remote_program
from wingspan.environments.bundles.remote.activation import ACTIVATION, environment_variables
from wingspan.environments.bundles.remote.activation import activation_script as _activation_script
from wingspan.errors import EnvironmentWarning

__all__ = ["FOLDER", "activation_script", "add_contents", "package_variables"]

FOLDER = ".wingspan"


def activation_script(folder: Path, *, prefix: str, name: str, movable: bool = False) -> str:
    """A POSIX shell script that activates the environment in `folder` as first conda and then Pixi would at
    `prefix`.

    If it is `movable`, the starter may name another place. Settings of packages that no shell can make are
    left out with a warning.
    """
    text, faults = _activation_script(str(folder), prefix, name, movable)
    _warn(faults)
    return text


def package_variables(folder: Path) -> dict[str, str]:
    """The variables that packages set."""
    return environment_variables(str(folder))[0]


def _warn(faults: Iterable[str]) -> None:
    for fault in faults:
        warn(f"left out of the activation: {fault}", EnvironmentWarning)


def add_contents(
    folder: Path, manifest: Manifest, *, lock: Path, workspace: Path | None, activated: Activated
) -> Manifest:
    """Write ``.wingspan``: the manifest, the lock and the workspace, the activation, and the list for
    relocation.

    Returns:
        The manifest, with the longest path that the environment can be unpacked to.
    """
    prefix = manifest.prefix
    assert prefix is not None
    prefix_files = _files_with_prefix(folder, prefix)
    manifest = attrs.evolve(manifest, longest_path=min(prefix_files["room"].values(), default=None))
    inside = folder / FOLDER
    inside.mkdir()
    (inside / "bundle.json").write_text(manifest.to_json(), encoding="utf-8")
    (inside / "pixi.lock").write_bytes(lock.read_bytes())
    if workspace is not None:
        (inside / workspace.name).write_bytes(workspace.read_bytes())
    for name, content in activated.files().items():
        (folder / ACTIVATION).mkdir(exist_ok=True)
        (folder / ACTIVATION / name).write_bytes(content)
    (inside / "activate.sh").write_text(
        activation_script(folder, prefix=prefix, name=manifest.environment, movable=True),
        encoding="utf-8",
    )
    (inside / "prefix-files.json").write_text(
        json.dumps(prefix_files, indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )
    (inside / "relocate.py").write_bytes(remote_program("relocate.py"))
    for path in inside.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    inside.chmod(0o755)
    return manifest


class _PrefixFiles(TypedDict):
    """The files that contain the prefix, which a relocation has to rewrite.

    Attributes:
        text, binary: Names.
        room: For each file of `binary`, how many bytes a prefix may have: the length of the package's
            placeholder.
    """

    text: list[str]
    binary: list[str]
    room: dict[str, int]


def _files_with_prefix(folder: Path, prefix: str) -> _PrefixFiles:
    text: set[str] = set()
    room: dict[str, int] = {}
    for path in (folder / "conda-meta").glob("*.json"):
        for entry in json.loads(path.read_text(encoding="utf-8")).get("paths_data", {}).get("paths", []):
            placeholder, name = entry.get("prefix_placeholder"), entry["_path"]
            if not placeholder or entry.get("path_type") == "softlink":
                continue
            if entry.get("file_mode") != "binary":
                text.add(name)
            elif not name.endswith(".pyc"):  # byte code is compiled anew from the rewritten sources
                # two packages have it, and it is unknown whose file is there
                room[name] = min(room.get(name, 1 << 20), len(placeholder.encode()))
    for path in (folder / "bin").glob("*"):  # entry points of noarch packages and of wheels
        # binaries may begin like text
        if path.is_file() and not path.is_symlink() and f"bin/{path.name}" not in room:
            with path.open("rb") as file:
                head = file.read(4096)
            if b"\0" not in head and prefix.encode() in head:
                text.add(f"bin/{path.name}")
    return {"text": sorted(text), "binary": sorted(room), "room": room}
