"""The `install` kind: a small script that installs from the lock on the worker, with Pixi.

For a few jobs only: each fetches every package anew. The lock and the workspace's manifest are in the script.
"""

from __future__ import annotations

import base64
import json
import shlex
from pathlib import Path

from wingspan.environments.bundles.access import INSTALL_MARK
from wingspan.environments.bundles.errors import BuildFailed
from wingspan.environments.bundles.manifest import Manifest
from wingspan.environments.lock import LockedEnvironment

__all__ = ["PIXI_VERSION", "install_script"]

#: The Pixi that is fetched where there is none. Locks of version 7 need 0.68 or later.
PIXI_VERSION = "0.77.0"


def install_script(env: LockedEnvironment, manifest: Manifest) -> bytes:
    """The script.

    Raises:
        BuildFailed: The lock has no manifest beside it, which Pixi needs.
    """
    if env.manifest_path is None:
        raise BuildFailed(
            f"{env.lock_path} has no pixi.toml or pyproject.toml beside it, and Pixi installs nothing without",
            hint="take another kind of bundle, or put the manifest there",
        )
    body = Path(__file__).with_name("remote").joinpath("install.sh").read_text(encoding="utf-8")
    note = json.dumps(json.loads(manifest.to_json()), sort_keys=True)
    values = {
        "@MARK@": INSTALL_MARK.decode() + note,
        "@VERSION@": PIXI_VERSION,
        "@ENVIRONMENT@": shlex.quote(env.name),
        "@MANIFEST_NAME@": env.manifest_path.name,
        "@MANIFEST@": base64.encodebytes(env.manifest_path.read_bytes()).decode().strip(),
        "@LOCK@": base64.encodebytes(env.lock_path.read_bytes()).decode().strip(),
    }
    for key, value in values.items():
        body = body.replace(key, value)
    return body.encode()
