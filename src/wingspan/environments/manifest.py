"""Pixi manifests: ``pixi.toml`` and ``pyproject.toml`` with ``[tool.pixi]``.

The rules (which target applies, what features add up to) are those of Pixi's manifest reference,
https://pixi.sh/latest/reference/pixi_manifest/. Only what is needed to select an environment, to compare the
manifest with its lock and to run a task is read; the rest of the file is left alone.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from wingspan.environments.errors import ManifestInvalid, ManifestNotFound, UnknownEnvironment
from wingspan.environments.lock import LockedPlatform, normalize
from wingspan.environments.tasks import Task, parse_tasks

__all__ = [
    "Activation",
    "Dependency",
    "EnvironmentSpec",
    "Feature",
    "Manifest",
    "PlatformSpec",
    "read_manifest",
]


@attrs.frozen(kw_only=True)
class Dependency:
    """A dependency as the manifest states it.

    Attributes:
        name: conda name, or PyPI name normalized.
        kind: ``"conda"`` or ``"pypi"``.
        version: The version part: ``">=2.7,<3"``; ``"*"`` where none is given.
        build: conda build pattern, or None.
        source: ``"path"``, ``"git"`` or ``"url"`` where it comes from neither channel nor index; else None.
        feature: The feature that states it.
    """

    name: str
    kind: Literal["conda", "pypi"]
    version: str = "*"
    build: str | None = None
    source: str | None = None
    feature: str = "default"

    def __str__(self) -> str:
        where = self.source and f"from a {self.source}"
        return " ".join(part for part in (self.name, where or self.version, self.build) if part)


@attrs.frozen(kw_only=True)
class PlatformSpec:
    """A platform of ``workspace.platforms``.

    Attributes:
        name: Its name; for a plain entry the subdir.
        subdir: ``linux-64``.
        virtual_packages: What the entry declares: ``{"__cuda": "12"}``.
    """

    name: str
    subdir: str
    virtual_packages: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Activation:
    """What is done when an environment is activated.

    Attributes:
        scripts: Paths relative to the workspace.
        env: Environment variables.
    """

    scripts: tuple[str, ...] = ()
    env: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Target:
    """The tables of a feature for some platforms. `selector` None: for all."""

    selector: str | None
    conda: tuple[Dependency, ...] = ()
    pypi: tuple[Dependency, ...] = ()
    constraints: tuple[Dependency, ...] = ()
    tasks: tuple[Task, ...] = ()
    activation: Activation = Activation()


@attrs.frozen(kw_only=True)
class Feature:
    """A feature.

    Attributes:
        name: ``"default"`` for what stands outside any feature.
        targets: In the order of the manifest, the one for all platforms first.
        platforms: Names of platforms it is limited to, or None.
        channels: Its own channels, or None.
        system_requirements: The old way to declare virtual packages: ``{"__cuda": "12"}``.
    """

    name: str
    targets: tuple[Target, ...] = ()
    platforms: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None
    system_requirements: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class EnvironmentSpec:
    """An entry of ``[environments]``: its features, the default one last unless it is left out."""

    name: str
    features: tuple[str, ...] = ("default",)


@attrs.frozen(kw_only=True)
class Manifest:
    """A manifest, read.

    Attributes:
        path: The file.
        name: The workspace's name.
        channels: As written: ``("conda-forge",)``.
        platforms: In the manifest's order, which is Pixi's order of preference.
        features: By name.
        environments: By name; ``default`` is always there.
    """

    path: Path
    name: str
    channels: tuple[str, ...] = ()
    platforms: tuple[PlatformSpec, ...] = ()
    features: Mapping[str, Feature] = attrs.field(factory=dict, repr=False)
    environments: Mapping[str, EnvironmentSpec] = attrs.field(factory=dict)

    def environment(self, name: str) -> EnvironmentSpec:
        """The environment of that name.

        Raises:
            UnknownEnvironment: The message names the nearest.
        """
        from wingspan.environments.platforms import nearest

        try:
            return self.environments[name]
        except KeyError:
            raise UnknownEnvironment(
                f"{self.path} has no environment {name!r}", hint=nearest(name, self.environments)
            ) from None

    def features_of(self, environment: str) -> tuple[Feature, ...]:
        """The features of an environment, the default one last."""
        return tuple(self.features[name] for name in self.environment(environment).features)

    def platforms_of(self, environment: str) -> tuple[PlatformSpec, ...]:
        """The platforms that each feature of an environment allows, in the manifest's order."""
        chosen = self.platforms
        for feature in self.features_of(environment):
            if feature.platforms is not None:
                allowed = feature.platforms
                chosen = tuple(p for p in chosen if p.name in allowed or p.subdir in allowed)
        return chosen

    def channels_of(self, environment: str) -> tuple[str, ...]:
        """The channels of an environment, as written."""
        found: dict[str, None] = {}
        for feature in self.features_of(environment):
            found.update(dict.fromkeys(self.channels if feature.channels is None else feature.channels))
        return tuple(found)

    def system_requirements(self, environment: str) -> dict[str, str]:
        """Virtual packages from ``[system-requirements]``; of several features the highest version counts."""
        found: dict[str, str] = {}
        for feature in self.features_of(environment):
            for name, version in feature.system_requirements.items():
                if name not in found or _version_key(version) > _version_key(found[name]):
                    found[name] = version
        return found

    def conda_dependencies(self, environment: str, platform: LockedPlatform) -> tuple[Dependency, ...]:
        """What the environment asks of channels. Of several features' requirements for a package all hold."""
        return tuple(d for f in self.features_of(environment) for d in _merge(f, platform, "conda"))

    def pypi_dependencies(self, environment: str, platform: LockedPlatform) -> tuple[Dependency, ...]:
        """What the environment asks of PyPI; a conda dependency of the same name replaces it, as in Pixi."""
        conda = {normalize(d.name) for d in self.conda_dependencies(environment, platform)}
        found = (d for f in self.features_of(environment) for d in _merge(f, platform, "pypi"))
        return tuple(d for d in found if d.name not in conda)

    def constraints(self, environment: str, platform: LockedPlatform) -> tuple[Dependency, ...]:
        """What holds if the package is there."""
        return tuple(d for f in self.features_of(environment) for d in _merge(f, platform, "constraints"))

    def tasks(self, environment: str, platform: LockedPlatform | None = None) -> dict[str, Task]:
        """Tasks by name; of features that have one of the same name the first listed wins, the default is last.

        Without `platform` only what holds on all platforms counts.
        """
        found: dict[str, Task] = {}
        for feature in reversed(self.features_of(environment)):
            for target in _targets(feature, platform):
                found.update({task.name: task for task in target.tasks})
        return dict(sorted(found.items()))

    def activation(self, environment: str, platform: LockedPlatform) -> Activation:
        """Scripts and variables; a target's scripts replace those for all platforms, variables add up."""
        scripts: list[str] = []
        env: dict[str, str] = {}
        for feature in reversed(self.features_of(environment)):
            chosen: tuple[str, ...] = ()
            for target in _targets(feature, platform):
                chosen = target.activation.scripts or chosen
                env.update(target.activation.env)
            scripts.extend(chosen)
        return Activation(scripts=tuple(scripts), env=env)


def _targets(feature: Feature, platform: LockedPlatform | None) -> Iterator[Target]:
    for target in feature.targets:
        if target.selector is None or (platform is not None and selects(target.selector, platform)):
            yield target


def _merge(feature: Feature, platform: LockedPlatform, table: str) -> tuple[Dependency, ...]:
    """Within a feature, the table of a later target replaces what an earlier one says of the same package."""
    found: dict[str, Dependency] = {}
    for target in _targets(feature, platform):
        found.update({d.name: d for d in getattr(target, table)})
    return tuple(found.values())


def selects(selector: str, platform: LockedPlatform) -> bool:
    """Whether ``[target.SELECTOR]`` holds on a platform.

    >>> cuda = LockedPlatform(name="p2", label="cuda-linux-64", subdir="linux-64")
    >>> [selects(s, cuda) for s in ("linux", "unix", "linux-64", "cuda-*", "cuda-linux-64", "osx", "win-64")]
    [True, True, True, True, True, False, False]
    """
    family = platform.subdir.partition("-")[0]
    if selector in {platform.label, platform.name, platform.subdir, family}:
        return True
    if selector == "unix":
        return family in {"linux", "osx"}
    # Pixi's only wildcard is "*"; fnmatch's others are written as literals first.
    return "*" in selector and fnmatch.fnmatchcase(platform.label, re.sub(r"([\[?])", r"[\1]", selector))


def read_manifest(path: Path) -> Manifest:
    """Read ``pixi.toml``, or ``[tool.pixi]`` of ``pyproject.toml``.

    Raises:
        ManifestNotFound: There is no such file.
        ManifestInvalid: It is not TOML, has no workspace, or contradicts itself.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    path = path.absolute()
    try:
        document: dict[str, Any] = tomlkit.parse(path.read_text(encoding="utf-8")).unwrap()
    except FileNotFoundError:
        raise ManifestNotFound(f"there is no manifest {path}", hint="make one: pixi init") from None
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise ManifestInvalid(f"{path} is not valid TOML: {error}", hint="mend that line") from None
    project: dict[str, Any] = {}
    if path.name == "pyproject.toml":
        project, document = document, document.get("tool", {}).get("pixi", {})
    try:
        return _Reader(path, document, project).manifest()
    except (AttributeError, TypeError, ValueError) as error:
        if isinstance(error, ManifestInvalid):
            raise
        raise ManifestInvalid(
            f"{path} cannot be read as a Pixi manifest: {error}", hint="check it with: pixi info"
        ) from error


#: Friendly keys of a platform entry and of [system-requirements] → virtual package.
_VIRTUAL = {
    "cuda": "__cuda",
    "archspec": "__archspec",
    "glibc": "__glibc",
    "linux": "__linux",
    "macos": "__osx",
    "osx": "__osx",
    "windows": "__win",
}


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
        """Highest priority first; without a number the order counts."""
        pairs = [
            (e.get("priority", 0), str(e["channel"])) if isinstance(e, dict) else (0, str(e)) for e in entries
        ]
        return tuple(channel for _, channel in sorted(pairs, key=lambda pair: -int(pair[0])))

    def platform(self, entry: Any) -> PlatformSpec:
        if isinstance(entry, str):
            return PlatformSpec(name=entry, subdir=entry)
        virtual = self.virtual({k: v for k, v in entry.items() if k not in {"name", "platform"}})
        subdir = str(entry.get("platform") or entry["name"])
        # Where none is given Pixi makes a name of the contents: linux-64 with cuda 12.0 is linux-64-cuda-12-0.
        made = "-".join(
            [subdir, *(f"{k.strip('_')}-{v.replace('.', '-')}" for k, v in sorted(virtual.items()))]
        )
        return PlatformSpec(name=str(entry.get("name") or made), subdir=subdir, virtual_packages=virtual)

    def virtual(self, table: Mapping[str, Any]) -> dict[str, str]:
        found: dict[str, str] = {}
        for key, value in table.items():
            if key == "cuda" and isinstance(value, dict):  # { driver = "12.0", arch = "8.6" }
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
                    source=source,
                    feature=feature,
                )
            )
        return tuple(found)

    def environments(self, features: Mapping[str, Feature]) -> dict[str, EnvironmentSpec]:
        found = {"default": EnvironmentSpec(name="default")}
        for name, entry in (self.document.get("environments") or {}).items():
            table = entry if isinstance(entry, dict) else {"features": entry}
            names = [str(f) for f in table.get("features", ())]
            for feature in names:
                if feature not in features:
                    known = ", ".join(features)
                    raise self.invalid(f"environment {name!r}: no feature {feature!r}", f"features: {known}")
            if not table.get("no-default-feature") and "default" not in names:
                names.append("default")
            found[name] = EnvironmentSpec(name=name, features=tuple(names))
        return found

    def add_project(self, features: dict[str, Feature]) -> dict[str, Feature]:
        """What `[project]` and `[dependency-groups]` of a pyproject.toml add."""
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
            found = [d for d in (_requirement(str(r), name) for r in requirements) if d and d.name != own]
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


def _requirement(text: str, feature: str) -> Dependency | None:
    """A PEP 508 requirement, or None if its marker can only hold off Linux."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise ValueError(f"requirement {text!r}: {error}") from None
    if requirement.marker is not None:
        return None  # whether it holds depends on the machine: that is left to Pixi
    return Dependency(
        name=normalize(requirement.name),
        kind="pypi",
        version=str(requirement.specifier) or "*",
        source="url" if requirement.url else None,
        feature=feature,
    )


def _version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
