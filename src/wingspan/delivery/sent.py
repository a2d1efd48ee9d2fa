"""The environment of a map or run that another machine does.

Its manifest and its lock go there, and the bundle is built there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wingspan.worker import trust

if TYPE_CHECKING:
    from wingspan.environments import Environment

__all__ = ["SentEnvironment", "asked_for", "environment_to_send"]

#: Below this folder of the map or run lie manifest and lock.
_FOLDER = "workspace"
#: What was asked for, beside them.
_ASKED = "asked.json"


@attrs.frozen
class SentEnvironment:
    """A locked environment that goes along as manifest and lock.

    Attributes:
        files: The manifest, if there is one, and the lock.
        asked: Which environment, as `wingspan.Environment` names it.
    """

    files: tuple[Path, ...]
    asked: Mapping[str, Any]

    def write(self, folder: Path) -> None:
        """Put them into the folder of the map or run."""
        place = folder / _FOLDER
        trust.make_folder(str(place))
        for path in self.files:
            trust.copy_file(str(path), str(place / path.name))
        trust.write_whole(str(place / _ASKED), json.dumps(self.asked).encode())


def environment_to_send(named: Environment) -> SentEnvironment:
    """What is sent of an environment.

    Raises:
        ManifestNotFound: There is no such workspace.
    """
    from wingspan.environments import Workspace

    workspace = Workspace.open(named.workspace)
    files = [path for path in (workspace.manifest_path, workspace.lock_path) if path is not None]
    asked = {"name": named.name, "platform": named.platform, "kind": named.kind, "frozen": named.frozen}
    return SentEnvironment(tuple(files), asked)


def asked_for(folder: Path) -> Environment | None:
    """The environment that came with the map or run in `folder`; None: none did."""
    try:
        asked = json.loads((folder / _FOLDER / _ASKED).read_bytes())
    except FileNotFoundError:
        return None
    from wingspan.environments import Environment

    return Environment(
        folder / _FOLDER, str(asked["name"]), asked["platform"], asked["kind"], bool(asked["frozen"])
    )
