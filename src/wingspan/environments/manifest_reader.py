"""Reading ``pixi.toml`` and ``pyproject.toml`` with ``[tool.pixi]``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from wingspan.environments.errors import ManifestError, ManifestInvalid, ManifestNotFound
from wingspan.environments.lock import check_word, normalize
from wingspan.environments.manifest import (
    Activation,
    Dependency,
    EnvironmentSpec,
    Feature,
    Manifest,
    PlatformSpec,
    Target,
)
from wingspan.environments.tasks import parse_tasks

__all__ = ["parse_toml", "read_manifest"]


def read_manifest(path: Path) -> Manifest:
    """Read ``pixi.toml``, or ``[tool.pixi]`` of ``pyproject.toml``.

    Raises:
        ManifestNotFound: There is no such file.
        ManifestInvalid: It is not TOML, has no workspace, or contradicts itself.
    """
    path = path.absolute()
    try:
        document = parse_toml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ManifestNotFound(f"there is no manifest {path}", hint="make one: pixi init") from None
    except OSError as error:
        raise ManifestError(
            f"{path} cannot be read: {error.strerror}", hint="check its permissions"
        ) from None
    except ValueError as error:
        raise ManifestInvalid(f"{path} is not valid TOML: {error}", hint="mend that line") from None
    project: dict[str, Any] = {}
    if path.name == "pyproject.toml":
        project, document = document, document.get("tool", {}).get("pixi", {})
    try:
        return _Reader(path, document, project).manifest()
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ManifestInvalid):
            raise
        raise ManifestInvalid(
            f"{path} cannot be read as a Pixi manifest: {error}", hint="check it with: pixi info"
        ) from error


#: A line with more dots may have a key that takes long to read.
_MANY_PARTS = 100


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML 1.1, with the standard library where it can (tomlkit takes longer to import than
    a manifest to read).

    >>> parse_toml('pixi = {\\n  version = "*",\\n}')
    {'pixi': {'version': '*'}}

    Raises:
        ValueError: It is not TOML, or a key has more than 100 parts.
    """
    # The standard library takes seconds for a key of thousands of parts. tomlkit refuses such a key.
    has_long_key = any(line.count(".") >= _MANY_PARTS for line in text.splitlines())
    if sys.version_info >= (3, 11) and not has_long_key:
        import tomllib

        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            pass  # Pythons before 3.15 read TOML 1.0 only
        except RecursionError:
            raise ValueError("its lists and tables are nested too deeply") from None
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document: dict[str, Any] = tomlkit.parse(text).unwrap()
    except TOMLKitError as error:
        raise ValueError(str(error)) from None
    except RecursionError:  # older versions of tomlkit have no limit of their own
        raise ValueError("a key, a list or a table in it is more than 100 levels deep") from None
    return document


#: The virtual packages behind the keys of a platform entry and of [system-requirements].
_VIRTUAL = {
    "cuda": "__cuda",
    "archspec": "__archspec",
    "glibc": "__glibc",
    "linux": "__linux",
    "macos": "__osx",
    "osx": "__osx",
    "windows": "__win",
}


#: The keys that describe an environment itself. All other keys are content, as in a feature (Pixi 0.74).
_OF_ENVIRONMENTS = {"features", "solve-group", "no-default-feature"}


def _inline(environment: str) -> str:
    """The name of the feature that holds an environment's own content.

    No feature of a manifest can have this name.
    """
    return f"environments.{environment}"


#: What a manifest may ask of a conda package beside its version and build.
_ALSO = ("channel", "build-number", "subdir", "file-name", "md5", "sha256")


class _Reader:
    def __init__(self, path: Path, document: dict[str, Any], project: dict[str, Any]) -> None:
        self.path, self.document, self.project = path, document, project

    def invalid(self, what: str, hint: str) -> ManifestInvalid:
        return ManifestInvalid(f"{self.path}: {what}", hint=hint)

    def manifest(self) -> Manifest:
        workspace = self.document.get("workspace") or self.document.get("project")
        if not isinstance(workspace, dict):
            table = "[tool.pixi.workspace]" if self.path.name == "pyproject.toml" else "[workspace]"
            raise self.invalid(f"it has no {table}", "this is no Pixi workspace; make one with: pixi init")
        features = {"default": self.feature("default", self.document)}
        for name, table in (self.document.get("feature") or {}).items():
            features[name] = self.feature(name, table)
        features = self.add_project(features)
        for name, table in (self.document.get("environments") or {}).items():
            if isinstance(table, dict) and set(table) - _OF_ENVIRONMENTS:
                features[_inline(name)] = self.feature(_inline(name), table)
        return Manifest(
            path=self.path,
            name=str(
                workspace.get("name") or self.project.get("project", {}).get("name") or self.path.parent.name
            ),
            channels=self.channels(workspace.get("channels", ())),
            platforms=tuple(self.platform(entry) for entry in workspace.get("platforms", ())),
            features=features,
            environments=self.environments(features),
        )

    def channels(self, entries: Any) -> tuple[str, ...]:
        """The channels, highest priority first. Channels without a priority keep their order."""
        pairs = [
            (e.get("priority", 0), str(e["channel"])) if isinstance(e, dict) else (0, str(e)) for e in entries
        ]
        return tuple(channel for _, channel in sorted(pairs, key=lambda pair: -int(pair[0])))

    def platform(self, entry: Any) -> PlatformSpec:
        if isinstance(entry, str):
            return PlatformSpec(name=entry, subdir=entry)
        virtual = self.virtual({k: v for k, v in entry.items() if k not in {"name", "platform"}})
        subdir = str(entry.get("platform") or entry["name"])
        # Pixi makes a name for an entry without one: linux-64 with cuda 12.0 becomes linux-64-cuda-12-0.
        made = "-".join(
            [subdir, *(f"{k.strip('_')}-{v.replace('.', '-')}" for k, v in sorted(virtual.items()))]
        )
        return PlatformSpec(name=str(entry.get("name") or made), subdir=subdir, virtual_packages=virtual)

    def virtual(self, table: Mapping[str, Any]) -> dict[str, str]:
        found: dict[str, str] = {}
        for key, value in table.items():
            if key == "cuda" and isinstance(value, dict):  # { driver = "12.0", arch = "8.6" }
                if "driver" not in value:
                    raise self.invalid(f"cuda = {value} has no driver", "name the CUDA version: driver = ...")
                found["__cuda"] = str(value["driver"])
                if "arch" in value:
                    found["__cuda_arch"] = str(value["arch"])
            elif (
                key == "libc"
            ):  # [system-requirements] libc = "2.28" or { family = "glibc", version = "2.28" }
                libc = value if isinstance(value, dict) else {"version": value}
                found[f"__{libc.get('family', 'glibc')}"] = str(libc["version"])
            elif key in _VIRTUAL or key.startswith("__"):
                found[_VIRTUAL.get(key, key)] = str(value)
        for name, version in found.items():
            check_word(f"{name}={version}", "virtual package")
        return found

    def feature(self, name: str, table: dict[str, Any]) -> Feature:
        targets = [self.target(name, None, table)]
        targets += [self.target(name, s, t) for s, t in (table.get("target") or {}).items()]
        own = table if name != "default" else {}
        return Feature(
            name=name,
            targets=tuple(targets),
            platforms=tuple(map(str, own["platforms"])) if "platforms" in own else None,
            channels=self.channels(own["channels"]) if "channels" in own else None,
            system_requirements=self.virtual(table.get("system-requirements") or {}),
            dev=any("dev" in t for t in (table, *(table.get("target") or {}).values())),
        )

    def target(self, feature: str, selector: str | None, table: dict[str, Any]) -> Target:
        conda: dict[str, Dependency] = {}
        for key in ("build-dependencies", "host-dependencies", "dependencies"):
            conda.update({d.name: d for d in self.dependencies(feature, table.get(key), "conda")})
        activation = table.get("activation") or {}
        return Target(
            selector=selector,
            conda=tuple(conda.values()),
            pypi=self.dependencies(feature, table.get("pypi-dependencies"), "pypi"),
            constraints=self.dependencies(feature, table.get("constraints"), "conda"),
            tasks=parse_tasks(table.get("tasks") or {}, where=str(self.path)),
            activation=Activation(
                scripts=tuple(map(str, activation.get("scripts", ()))),
                env={k: str(v) for k, v in (activation.get("env") or {}).items()},
            ),
        )

    def dependencies(
        self, feature: str, table: Any, kind: Literal["conda", "pypi"]
    ) -> tuple[Dependency, ...]:
        found = []
        for name, spec in (table or {}).items():
            facts: dict[str, Any] = dict(spec) if isinstance(spec, dict) else {"version": spec}
            source = next((key for key in ("path", "git", "url") if key in facts), None)
            found.append(
                Dependency(
                    name=normalize(name) if kind == "pypi" else str(name).lower(),
                    kind=kind,
                    version=str(facts.get("version") or "*"),
                    build=str(facts["build"]) if "build" in facts else None,
                    also=tuple((key, str(facts[key])) for key in _ALSO if key in facts and kind == "conda"),
                    source=source,
                    location=str(facts[source]) if source else "",
                    when=facts.get("when"),
                    marker=str(facts["env-markers"]) if facts.get("env-markers") else None,
                    extras=tuple(map(str, facts.get("extras", ()))),
                    feature=feature,
                )
            )
        return tuple(found)

    def environments(self, features: Mapping[str, Feature]) -> dict[str, EnvironmentSpec]:
        found = {"default": EnvironmentSpec(name="default")}
        entries = self.document.get("environments") or {}
        for name, entry in entries.items():
            table = entry if isinstance(entry, dict) else {"features": entry}
            names = [str(f) for f in table.get("features", ())]
            for feature in names:
                if feature not in features:
                    known = ", ".join(f for f in features if f not in map(_inline, entries))
                    raise self.invalid(f"environment {name!r}: no feature {feature!r}", f"features: {known}")
            if not table.get("no-default-feature") and "default" not in names:
                names.append("default")
            if _inline(name) in features:  # an environment's own content comes before that of its features
                names.insert(0, _inline(name))
            found[name] = EnvironmentSpec(name=name, features=tuple(names))
        return found

    def add_project(self, features: dict[str, Feature]) -> dict[str, Feature]:
        """The features that `[project]` and `[dependency-groups]` of a pyproject.toml add."""
        project = self.project.get("project") or {}
        if "requires-python" in project:
            python = Dependency(name="python", kind="conda", version=str(project["requires-python"]))
            features["default"] = _prepend(features["default"], conda=(python,))
        lists: dict[str, Any] = {"default": project.get("dependencies", ())}
        lists.update(project.get("optional-dependencies") or {})
        groups = self.project.get("dependency-groups") or {}
        lists.update({name: _flatten(groups, name, ()) for name in groups})
        own = normalize(str(project.get("name", "")))
        for name, requirements in lists.items():
            found = [d for d in (_requirement(str(r), name) for r in requirements) if d.name != own]
            features[name] = _prepend(features.get(name) or Feature(name=name), pypi=tuple(found))
        return features


def _prepend(
    feature: Feature, *, conda: tuple[Dependency, ...] = (), pypi: tuple[Dependency, ...] = ()
) -> Feature:
    return attrs.evolve(feature, targets=(Target(selector=None, conda=conda, pypi=pypi), *feature.targets))


def _flatten(groups: Mapping[str, Any], name: str, seen: tuple[str, ...]) -> list[str]:
    """The requirements of a dependency group (PEP 735), included groups in place."""
    found: list[str] = []
    for entry in groups.get(name, ()):
        if isinstance(entry, dict):
            included = str(entry.get("include-group", ""))
            if included not in seen:
                found += _flatten(groups, included, (*seen, name))
        else:
            found.append(str(entry))
    return found


def _requirement(text: str, feature: str) -> Dependency:
    """A PEP 508 requirement."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise ValueError(f"requirement {text!r}: {error}") from None
    return Dependency(
        name=normalize(requirement.name),
        kind="pypi",
        version=str(requirement.specifier) or "*",
        source="url" if requirement.url else None,
        location=requirement.url or "",
        marker=str(requirement.marker) if requirement.marker else None,
        extras=tuple(sorted(requirement.extras)),
        feature=feature,
    )
