"""The environment of a map or run that another machine does.

Its manifest and its lock go there, and the bundle is built there. The workspace's own packages, which the
lock names by their folders, go along as files; so do its activation scripts and wheels that are injected.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wingspan._words import notice
from wingspan.worker import trust

if TYPE_CHECKING:
    from wingspan.environments import Environment

__all__ = ["SentEnvironment", "asked_for", "environment_to_send"]

#: Below this folder of the map or run lie manifest and lock.
_FOLDER = "workspace"
#: What was asked for, beside them.
_ASKED = "asked.json"
#: Wheels that are injected.
_WHEELS = "wheels"
#: Packages of a lock, by where they are.
_FOLDERS = re.compile(r"^- (?:pypi|conda|conda_source): (?:\S+ @ )?(\S+)$", re.MULTILINE)


@attrs.frozen
class SentEnvironment:
    """A locked environment that goes along as manifest and lock.

    Attributes:
        files: Files by their places: the manifest, if there is one, the lock, and what these name in the
            workspace.
        asked: Which environment, as `wingspan.Environment` names it.
    """

    files: Mapping[str, Path]
    asked: Mapping[str, Any]

    def write(self, folder: Path) -> None:
        """Put them into the folder of the map or run."""
        place = folder / _FOLDER
        trust.make_folder(str(place))
        for name, path in self.files.items():
            (place / name).parent.mkdir(mode=trust.FOLDER, parents=True, exist_ok=True)
            trust.copy_file(str(path), str(place / name))
        trust.write_whole(str(place / _ASKED), json.dumps(self.asked).encode())


def environment_to_send(named: Environment) -> SentEnvironment:
    """The files of an environment that are sent.

    Raises:
        ManifestNotFound: There is no such workspace.
        UnsupportedPackages: A package whose folder the lock names cannot go along.
    """
    from wingspan.environments import Workspace

    workspace = Workspace.open(named.workspace)
    told = [path for path in (workspace.manifest_path, workspace.lock_path) if path is not None]
    files = {path.name: path for path in told}
    files.update(_own_files(workspace.lock_path))
    if workspace.manifest_path is not None:
        files.update(_activation_scripts(workspace.manifest_path, named.name))
    wheels = {f"{_WHEELS}/{path.name}": path.absolute() for path in named.inject}
    asked = {
        "name": named.name,
        "platform": named.platform,
        "kind": named.kind,
        "frozen": named.frozen,
        "inject": list(wheels),
    }
    return SentEnvironment({**files, **wheels}, asked)


def _own_files(lock: Path) -> dict[str, Path]:
    """The files of packages that the lock names by folders in the workspace. This needs no py-rattler."""
    from wingspan.environments.bundles.own.files import code_files
    from wingspan.environments.bundles.own.project import read_project

    try:
        places = dict.fromkeys(_FOLDERS.findall(lock.read_text(encoding="utf-8")))
    except (OSError, ValueError):  # what is wrong with the lock is said where it is read
        return {}
    found: dict[str, Path] = {}
    for place in places:
        folder = lock.parent / place
        if (
            folder.is_file()
            and not Path(place).is_absolute()
            and not os.path.normpath(place).startswith("..")
        ):
            found[os.path.normpath(place)] = folder  # a wheel of the workspace
            continue
        if "://" in place or Path(place).is_absolute() or not folder.is_dir():
            continue
        below = os.path.relpath(folder, lock.parent)
        if below.startswith(".."):
            continue  # the other machine says that it does not have it
        names = [name for name in ("pyproject.toml", "pixi.toml", "setup.py") if (folder / name).is_file()]
        for path, _ in read_project(folder, folder.resolve().name, "").modules:
            names += code_files(folder, path)[0]
        found.update({os.path.normpath(f"{below}/{name}"): folder / name for name in names})
    return found


def _activation_scripts(manifest_path: Path, environment: str) -> dict[str, Path]:
    """The scripts that ``[activation]`` of an environment names, for whichever platform. What cannot go along
    is told, and left out over there.
    """
    from wingspan.environments.manifest_reader import read_manifest

    manifest = read_manifest(manifest_path)
    if environment not in manifest.environments:
        return {}
    named = [
        script
        for feature in manifest.features_of(environment)
        for target in feature.targets
        for script in target.activation.scripts
    ]
    found: dict[str, Path] = {}
    for script in dict.fromkeys(named):
        place = os.path.normpath(script)
        if Path(place).is_absolute() or place.startswith(".."):
            notice(
                f"{manifest_path}: the activation script {script} lies outside of the workspace, and does not go along"
            )
        elif (path := manifest_path.parent / place).is_file():
            found[place] = path  # of one that is missing the other machine says so
    return found


def asked_for(folder: Path) -> Environment | None:
    """The environment that came with the map or run in `folder`; None: none did."""
    try:
        asked = json.loads((folder / _FOLDER / _ASKED).read_bytes())
    except FileNotFoundError:
        return None
    from wingspan.environments import Environment

    place = folder / _FOLDER
    return Environment(
        place,
        str(asked["name"]),
        asked["platform"],
        asked["kind"],
        bool(asked["frozen"]),
        [place / trust.check_path(name) for name in asked.get("inject", ())],
    )
