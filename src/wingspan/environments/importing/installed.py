"""What is in the environment that is active: a virtual environment or a conda environment."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs

from wingspan.environments.errors import ManifestInvalid
from wingspan.environments.importing.conda import channel_of, facts_of
from wingspan.environments.importing.packages import CondaPackage, PypiPackage

__all__ = ["Installed", "active_prefix", "read_installed"]

#: What a requirement may have in it: text that uv reads as options, or as further lines, is none.
_NAME, _PLAIN = re.compile(r"(?i)[a-z0-9]([a-z0-9._-]*[a-z0-9])?"), re.compile(r"[^\s\x00-\x1f]+")
#: Tools that an environment has for itself, and Wingspan: its workers bring what they need.
_NOT_CARRIED = {"pip", "setuptools", "wheel", "uv", "wingspan"}


@attrs.frozen
class Installed:
    """What an environment has.

    Attributes:
        python: The minor version of its Python.
        conda: Conda packages, if it is a conda environment.
        pins: Requirements of what came from PyPI: each name with its version.
        projects: Projects of one's own that are installed in place.
        left_out: What came from elsewhere, and cannot be found again by its version.
    """

    python: str
    conda: tuple[CondaPackage, ...]
    pins: tuple[str, ...]
    projects: tuple[PypiPackage, ...]
    left_out: tuple[str, ...]


def active_prefix(variables: Mapping[str, str] = os.environ) -> Path:
    """The folder of the environment that is active: as the shell says, else that of this Python."""
    said = variables.get("VIRTUAL_ENV") or variables.get("CONDA_PREFIX")
    return Path(said or sys.prefix)


def read_installed(prefix: Path) -> Installed:
    """Look at what is installed in `prefix`. Nothing of it is executed.

    Raises:
        ManifestInvalid: There is no Python in it.
    """
    site = next(iter(sorted(prefix.glob("lib/python3.*/site-packages"))), None)
    if site is None:
        raise ManifestInvalid(
            f"{prefix} is no environment with Python", hint="activate one, or set VIRTUAL_ENV to its folder"
        )
    conda = tuple(_conda_packages(prefix))
    pins, projects, left_out = [], [], []
    # What an interrupted pip has left (~umpy-2.0.dist-info) may have no metadata.
    whole = [one for one in distributions(path=[str(site)]) if one.metadata["Name"]]
    for found in sorted(whole, key=lambda one: one.metadata["Name"].lower()):
        name, version = found.metadata["Name"], found.version
        if name.lower() in _NOT_CARRIED or (found.read_text("INSTALLER") or "").strip() == "conda":
            continue
        origin = _origin(found)
        if not _NAME.fullmatch(name) or not _PLAIN.fullmatch(f"{version}{origin.get('url', '')}"):
            left_out.append(f"{name!r:.100} {version!r:.100}, which is no name of a package with a version")
        elif not origin:
            pins.append(f"{name}=={version}")
        elif isinstance(origin.get("dir_info"), dict) and origin["dir_info"].get("editable"):
            projects.append(PypiPackage.project(name, version, Path(unquote(urlsplit(origin["url"]).path))))
        elif origin["url"].endswith(".whl"):
            pins.append(f"{name} @ {origin['url']}")
        else:
            left_out.append(f"{name} {version} ({origin['url']})")
    return Installed(
        site.parent.name.removeprefix("python"), conda, tuple(pins), tuple(projects), tuple(left_out)
    )


def _origin(found: Distribution) -> dict[str, Any]:
    """Where it came from, if not from an index: ``direct_url.json`` (PEP 610)."""
    try:
        origin = json.loads(found.read_text("direct_url.json") or "{}")
    except ValueError:
        return {}
    return origin if isinstance(origin, dict) and isinstance(origin.get("url"), str) else {}


def _conda_packages(prefix: Path) -> list[CondaPackage]:
    packages = []
    for path in sorted((prefix / "conda-meta").glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            name, version, build, url = (str(record[key]) for key in ("name", "version", "build", "url"))
        except (OSError, ValueError, KeyError, TypeError):
            raise ManifestInvalid(
                f"{path} does not say which package it is, and where that comes from",
                hint="conda install --force-reinstall of that package writes it anew",
            ) from None
        facts = facts_of(record)
        packages.append(CondaPackage(name, version, build, url, channel_of(url), facts))
    return packages
