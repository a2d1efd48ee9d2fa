"""Pixi manifests: ``pixi.toml`` and ``pyproject.toml`` with ``[tool.pixi]``.

The rules (which target applies, what features add up to) are those of Pixi's manifest reference,
https://pixi.sh/latest/reference/pixi_manifest/. Only the parts needed to select an environment, to compare
the manifest with its lock and to run a task are read.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from wingspan.environments.errors import UnknownEnvironment, nearest
from wingspan.environments.lock import LockedPlatform, normalize
from wingspan.environments.tasks import Task

__all__ = [
    "Activation",
    "Dependency",
    "EnvironmentSpec",
    "Feature",
    "Manifest",
    "PlatformSpec",
    "Target",
    "selects",
]


@attrs.frozen(kw_only=True)
class Dependency:
    """A dependency as the manifest states it.

    Attributes:
        name: conda name, or PyPI name normalized.
        kind: ``"conda"`` or ``"pypi"``.
        version: The version part: ``">=2.7,<3"``; ``"*"`` where none is given.
        build: conda build pattern, or None.
        also: What else is asked of a conda package, with Pixi's keys: ``(("channel", "nvidia"),)``,
            ``build-number``, ``subdir``, ``file-name``, ``md5``, ``sha256``.
        source: ``"path"``, ``"git"`` or ``"url"`` if it comes from there; None if from a channel or an index.
        location: The path or address of that source; empty if there is none, or if the index decides.
        when: Pixi's condition: the dependency counts only where it holds (see `condition_holds`); None:
            always.
        marker: The environment marker of a PyPI requirement, or None.
        extras: Extras that are asked for.
        feature: The feature that states it.
    """

    name: str
    kind: Literal["conda", "pypi"]
    version: str = "*"
    build: str | None = None
    also: tuple[tuple[str, str], ...] = ()
    source: str | None = None
    location: str = ""
    when: Any = None
    marker: str | None = None
    extras: tuple[str, ...] = ()
    feature: str = "default"

    @property
    def binary(self) -> bool:
        """Whether it is a conda package that is built already: one of a channel, or a named archive.

        >>> Dependency(name="a", kind="conda", source="path", location="pkgs/a-1-0.conda").binary
        True
        """
        if self.source is None:
            return True
        return self.source != "git" and self.location.split("#")[0].endswith((".conda", ".tar.bz2"))

    def __str__(self) -> str:
        where = self.source and f"from a {self.source}"
        condition = f"where {self.when or self.marker} holds" if self.when or self.marker else None
        also = "[" + ", ".join(f"{key}={value}" for key, value in self.also) + "]" if self.also else None
        return " ".join(
            part for part in (self.name, where or self.version, self.build, also, condition) if part
        )


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
    """The tables of a feature for some platforms; for all, if `selector` is None."""

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
        name: ``"default"`` for the tables outside any feature.
        targets: Its targets in the order of the manifest; the one for all platforms comes first.
        platforms: Names of platforms it is limited to, or None.
        channels: Its own channels, or None.
        system_requirements: The old way to declare virtual packages: ``{"__cuda": "12"}``.
        dev: Whether it has a ``[dev]`` table. Then the dependencies of a source package are installed, and
            only Pixi knows them.
    """

    name: str
    targets: tuple[Target, ...] = ()
    platforms: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None
    system_requirements: Mapping[str, str] = attrs.field(factory=dict)
    dev: bool = False


@attrs.frozen(kw_only=True)
class EnvironmentSpec:
    """An entry of ``[environments]`` with its features.

    The default feature comes last, unless it is left out.
    """

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
        try:
            return self.environments[name]
        except KeyError:
            raise UnknownEnvironment(
                f"{self.path} has no environment {name!r}", hint=nearest(name, self.environments)
            ) from None

    def features_of(self, environment: str) -> tuple[Feature, ...]:
        """The features of an environment; the default one comes last."""
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
                if name not in found or version_key(version) > version_key(found[name]):
                    found[name] = version
        return found

    def conda_dependencies(self, environment: str, platform: LockedPlatform) -> tuple[Dependency, ...]:
        """The conda packages that the environment asks for.

        If several features ask for a package, all their requirements hold.
        """
        return tuple(d for f in self.features_of(environment) for d in _merge(f, platform, "conda"))

    def pypi_dependencies(self, environment: str, platform: LockedPlatform) -> tuple[Dependency, ...]:
        """The PyPI packages that the environment asks for.

        A conda dependency of the same name replaces one, as in Pixi.
        """
        conda = {normalize(d.name) for d in self.conda_dependencies(environment, platform)}
        found = (d for f in self.features_of(environment) for d in _merge(f, platform, "pypi"))
        return tuple(d for d in found if d.name not in conda)

    def constraints(self, environment: str, platform: LockedPlatform) -> tuple[Dependency, ...]:
        """The constraints: each holds if its package is there."""
        return tuple(d for f in self.features_of(environment) for d in _merge(f, platform, "constraints"))

    def tasks(self, environment: str, platform: LockedPlatform | None = None) -> dict[str, Task]:
        """Tasks by name. If several features have a task of that name, the feature that is listed first wins.

        Without `platform`, only the tasks for all platforms count.
        """
        found: dict[str, Task] = {}
        for feature in reversed(self.features_of(environment)):
            for target in _targets(feature, platform):
                found.update({task.name: task for task in target.tasks})
        return dict(sorted(found.items()))

    def activation(self, environment: str, platform: LockedPlatform) -> Activation:
        """Scripts and variables.

        A target's scripts replace those for all platforms; its variables are added to them.
        """
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
    """The requirements of a feature. A later target's entry for a package replaces an earlier one's."""
    found: dict[str, list[Dependency]] = {}
    for target in _targets(feature, platform):
        own: dict[
            str, list[Dependency]
        ] = {}  # a list of requirements may name a package several times, with different markers
        for dependency in getattr(target, table):
            own.setdefault(dependency.name, []).append(dependency)
        found.update(own)
    return tuple(dependency for those in found.values() for dependency in those)


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


def version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
