"""The `install` kind: a small script that installs from the lock on the worker, with Pixi.

This suits a few jobs only, because each fetches every package anew. The script contains the lock and the
workspace's manifest.
"""

from __future__ import annotations

import base64
import contextlib
import json
import posixpath
import re
from collections.abc import Iterator, Sequence

from packaging.specifiers import Specifier
from packaging.version import Version

from wingspan._shell import Shell, filled, quoted
from wingspan._warn import warn
from wingspan.environments.activation import Activated
from wingspan.environments.bundles.errors import BuildFailed
from wingspan.environments.bundles.manifest import INSTALL_MARK, Manifest
from wingspan.environments.bundles.remote import remote_file
from wingspan.environments.bundles.remote.activation import ISOLATED_FROM
from wingspan.environments.lock import LockedEnvironment
from wingspan.errors import EnvironmentWarning
from wingspan.worker.trust import BadName, check_path

__all__ = ["PIXI_VERSION", "install_script"]

#: The Pixi that is fetched if the worker has none. Locks of version 7 need 0.68 or later.
PIXI_VERSION = "0.77.0"


#: The oldest Pixi that reads a lock, by the lock's version (Pixi's changelog: 0.39.0 changed the format; on
#: 10 December 2024 Pixis of the month before refused version 6, prefix-dev/pixi issue 2679; 0.68.0), and one
#: whose platforms have names of their own (0.71.0).
_OLDEST_BY_VERSION = {6: "0.39.0", 7: "0.68.0"}
_OLDEST_WITH_NAMES = "0.71.0"


def oldest_pixi(env: LockedEnvironment) -> str:
    """The oldest Pixi that can install `env`, from the lock's format and the manifest's ``requires-pixi``."""
    text = env.lock_path.read_text(encoding="utf-8")
    found = re.search(r"^version:\s*(\d+)", text, re.MULTILINE)
    needed = [_OLDEST_BY_VERSION.get(int(found[1]), "0") if found else "0"]
    if env.platform.name != env.platform.subdir:
        needed.append(_OLDEST_WITH_NAMES)
    if env.manifest_path is not None:
        manifest = env.manifest_path.read_text(encoding="utf-8")
        for said in re.findall(r"""^\s*requires-pixi\s*=\s*["']([^"'\n]*)""", manifest, re.MULTILINE):
            needed += _lower_bounds(said)
    return max(needed, key=Version)


def _lower_bounds(requirement: str) -> Iterator[str]:
    """The lower bounds of `requirement`. What we do not understand is left to Pixi, which reads it too."""
    for part in requirement.split(","):
        # conda writes 0.60.* and =0.60 for ==0.60.*, and >=0.60.* for >=0.60
        text = re.sub(r"^=?(?=\d)", "==", part.strip()).removesuffix(".*")
        with contextlib.suppress(ValueError):
            specifier = Specifier(text)
            version = Version(specifier.version).base_version
            if specifier.operator == ">":
                first, second, third = (*Version(version).release, 0, 0)[:3]
                yield f"{first}.{second}.{third + 1}"
            elif specifier.operator in (">=", "==", "~="):
                yield version


def _scripts(activated: Activated) -> Shell:
    """Shell that writes the workspace's activation scripts below ``$workspace``."""
    lines = []
    for path, content in activated.scripts.items():
        try:
            name = check_path(posixpath.normpath(path))
        except BadName:
            warn(
                f"the activation script {path} is left out: it lies outside the workspace, and an install bundle has no place for it",
                EnvironmentWarning,
            )
            continue
        place = f'"$workspace"/{quoted(name)}'
        lines += [f'mkdir -p "$(dirname {place})"', f"base64 -d >{place} <<'END'", _encoded(content), "END"]
    return Shell("\n".join(lines))


def install_script(
    env: LockedEnvironment, manifest: Manifest, activated: Activated, skipped: Sequence[str] = ()
) -> bytes:
    """The script.

    Args:
        env, manifest, activated: What is installed.
        skipped: Packages of the lock that are not: the worker gets them in another way.

    Raises:
        BuildFailed: The lock has no manifest beside it, which Pixi needs.
    """
    if env.manifest_path is None:
        raise BuildFailed(
            f"{env.lock_path} has no pixi.toml or pyproject.toml beside it, and Pixi installs nothing without",
            hint="take another kind of bundle, or put the manifest there",
        )
    note = json.dumps(json.loads(manifest.to_json()), sort_keys=True)
    return filled(
        remote_file("install.sh"),
        mark=Shell(INSTALL_MARK.decode() + note),
        version=PIXI_VERSION,
        oldest=oldest_pixi(env),
        environment=env.name,
        cuda=env.platform.virtual_package("__cuda") or manifest.needs.get("cuda_runtime_min") or "",
        skipped=Shell(" ".join(f"--skip {quoted(name)}" for name in skipped)),
        as_it_is=Shell("--no-install" if skipped else ""),
        manifest_name=env.manifest_path.name,
        manifest=_encoded(env.manifest_path.read_bytes()),
        scripts=_scripts(activated),
        isolated_from=ISOLATED_FROM,
        lock=_encoded(env.lock_path.read_bytes()),
    ).encode()


def _encoded(content: bytes) -> Shell:
    """`content` as base64 text for a here-document."""
    return Shell(base64.encodebytes(content).decode().strip())
