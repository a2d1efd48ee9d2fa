"""What a workspace adds to the activation of an environment: ``[activation]`` of the manifest,
carried with the environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import attrs

from wingspan._warn import warn
from wingspan.environments.lock import LockedEnvironment
from wingspan.environments.manifest_reader import read_manifest
from wingspan.errors import EnvironmentWarning

__all__ = ["Activated", "carried_activation"]

#: What Pixi takes on Linux (its manifest reference, "The activation table").
_SUFFIXES = (".sh", ".bash")


@attrs.frozen(kw_only=True)
class Activated:
    """The part of ``[activation]`` that travels with the environment.

    Attributes:
        workspace, environment: Their names.
        env: Variables, in their order; ``$NAME`` in a value stands for that variable's.
        scripts: Contents by the path that the manifest has, in their order.
    """

    workspace: str
    environment: str
    env: Mapping[str, str] = attrs.field(factory=dict)
    scripts: Mapping[str, bytes] = attrs.field(factory=dict)

    def files(self) -> dict[str, bytes]:
        """The files of ``.wingspan/activation`` by name. The dict is empty if there is nothing to carry."""
        if not (self.env or self.scripts):
            return {}
        named = {
            f"{n}-{PurePosixPath(path).name}": text for n, (path, text) in enumerate(self.scripts.items())
        }
        described = {
            "env": dict(self.env),
            "scripts": list(named),
            "PIXI_PROJECT_NAME": self.workspace,
            "PIXI_ENVIRONMENT_NAME": self.environment,
        }
        return {"activation.json": json.dumps(described, indent=1).encode() + b"\n", **named}


def carried_activation(env: LockedEnvironment) -> Activated:
    """Read the activation for the platform of `env`. It is empty if the lock has no manifest beside it.

    Scripts that are missing, or are not shell scripts, are left out with a warning, as Pixi does.
    """
    found = Activated(workspace=env.workspace, environment=env.name)
    if env.manifest_path is None:
        return found
    manifest = read_manifest(env.manifest_path)
    if env.name not in manifest.environments:  # a lock that is taken as it is
        return found
    stated = manifest.activation(env.name, env.platform)
    scripts: dict[str, bytes] = {}
    for name in stated.scripts:
        path = env.manifest_path.parent / name
        if not name.endswith(_SUFFIXES):
            _warn(
                f"{env.manifest_path}: the activation script {name} is left out: only .sh and .bash are run on Linux"
            )
            continue
        try:
            scripts[name] = Path(path).read_bytes()
        except OSError as error:
            _warn(f"{env.manifest_path}: the activation script {name} is left out: {error.strerror}")
    return attrs.evolve(found, env=dict(stated.env), scripts=scripts)


def _warn(text: str) -> None:
    warn(text, EnvironmentWarning)
