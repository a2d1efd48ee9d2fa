"""What Wingspan itself adds to an installed environment: the folder ``.wingspan``."""

from __future__ import annotations

import json
from pathlib import Path

from wingspan.environments.bundles.manifest import Manifest
from wingspan.environments.bundles.remote import remote_program

__all__ = ["FOLDER", "activation_script", "add_contents"]

FOLDER = ".wingspan"


def activation_script(folder: Path, *, prefix: str, name: str) -> str:
    """A POSIX shell script that activates the environment in `folder` as conda would at `prefix`.

    Sourced with ``CONDA_PREFIX`` set it activates the environment there instead.
    """
    lines = [
        f'export CONDA_PREFIX="${{WINGSPAN_PREFIX:-{prefix}}}" CONDA_SHLVL=1 CONDA_DEFAULT_ENV="{name}"',
        'export PATH="$CONDA_PREFIX/bin:$PATH"',
        "# packages in ~/.local would be imported before the environment's own",
        "export PYTHONNOUSERSITE=1",
        "unset PYTHONHOME",
    ]
    for path in sorted((folder / "etc/conda/env_vars.d").glob("*.json")):
        for key, value in sorted(json.loads(path.read_text(encoding="utf-8")).items()):
            quoted = str(value).replace("'", "'\\''")
            lines.append(f"export {key}='{quoted}'")
    for path in sorted((folder / "etc/conda/activate.d").glob("*.sh")):
        lines.append(f'. "$CONDA_PREFIX/etc/conda/activate.d/{path.name}"')
    return "\n".join(lines) + "\n"


def add_contents(folder: Path, manifest: Manifest, *, lock: Path, workspace: Path | None) -> None:
    """Write ``.wingspan``: the manifest, lock and workspace, activation, and what relocation needs."""
    assert manifest.prefix is not None
    inside = folder / FOLDER
    inside.mkdir()
    (inside / "bundle.json").write_text(manifest.to_json(), encoding="utf-8")
    (inside / "pixi.lock").write_bytes(lock.read_bytes())
    if workspace is not None:
        (inside / workspace.name).write_bytes(workspace.read_bytes())
    (inside / "activate.sh").write_text(
        activation_script(folder, prefix=manifest.prefix, name=manifest.environment), encoding="utf-8"
    )
    (inside / "prefix-files.json").write_text(
        json.dumps(_files_with_prefix(folder, manifest.prefix), indent=1, sort_keys=True) + "\n",
        encoding="utf-8",
    )
    (inside / "relocate.py").write_bytes(remote_program("relocate.py"))
    for path in inside.iterdir():
        path.chmod(0o644)
    inside.chmod(0o755)


def _files_with_prefix(folder: Path, prefix: str) -> dict[str, list[str]]:
    """The files in which the prefix is written, by how: what a relocation has to rewrite."""
    found: dict[str, set[str]] = {"text": set(), "binary": set()}
    for path in (folder / "conda-meta").glob("*.json"):
        for entry in json.loads(path.read_text(encoding="utf-8")).get("paths_data", {}).get("paths", []):
            if entry.get("prefix_placeholder") and entry.get("path_type") != "softlink":
                found["binary" if entry.get("file_mode") == "binary" else "text"].add(entry["_path"])
    for path in (folder / "bin").glob("*"):  # entry points of noarch packages and of wheels
        # binaries may begin as text
        if path.is_file() and not path.is_symlink() and f"bin/{path.name}" not in found["binary"]:
            with path.open("rb") as file:
                head = file.read(4096)
            if b"\0" not in head and prefix.encode() in head:
                found["text"].add(f"bin/{path.name}")
    return {key: sorted(names) for key, names in found.items()}
