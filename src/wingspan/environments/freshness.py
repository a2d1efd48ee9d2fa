"""Whether a lock satisfies its manifest, as far as this can be told without a solver.

This compares environments, platforms, channels, and the versions of dependencies and constraints with their
conditions. It also finds packages that nothing asks for any more. It does not compare what a solver would
choose today, conditions that the lock does not decide, and what is inside source dependencies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from wingspan.environments.errors import LockOutdated
from wingspan.environments.lock import Form, LockedEnvironment, LockedPackage, normalize
from wingspan.environments.manifest import Dependency, Manifest
from wingspan.environments.platforms import same_version
from wingspan.environments.specs import condition_holds, marker_holds, required_name

if TYPE_CHECKING:
    from wingspan.environments.lockfile import Lock

__all__ = ["Mismatch", "compare", "refuse_mismatches"]


@attrs.frozen(kw_only=True)
class Mismatch:
    """One point where the lock does not satisfy the manifest.

    Attributes:
        subject: A package, platform or channel name.
        manifest: What the manifest says.
        lock: What the lock has.
    """

    subject: str
    manifest: str
    lock: str

    def __str__(self) -> str:
        return f"{self.subject}: the manifest {self.manifest}, the lock {self.lock}"


def compare(manifest: Manifest, lock: Lock, env: LockedEnvironment) -> tuple[Mismatch, ...]:
    """The mismatches of one locked environment, in a stable order."""
    return (
        *_compare_platform(manifest, env),
        *_compare_channels(manifest, env),
        *_compare_conda(manifest, env),
        *_compare_pypi(manifest, lock, env),
        *_not_wanted(manifest, env),
    )


def refuse_mismatches(env: LockedEnvironment, mismatches: tuple[Mismatch, ...]) -> None:
    """Raise `LockOutdated` if there are any."""
    if mismatches:
        listing = "\n".join(f"  - {m}" for m in mismatches)
        raise LockOutdated(
            f"{env.manifest_path} changed after {env.lock_path.name} was written "
            f"(environment {env.name!r}, platform {env.platform.label}):\n{listing}",
            hint="pixi lock (or take the lock as it is: --frozen, in Python Environment(..., frozen=True))",
        )


def _compare_platform(manifest: Manifest, env: LockedEnvironment) -> Iterator[Mismatch]:
    """A platform of another machine, or one whose virtual packages changed.

    Locks before version 7 do not record virtual packages.
    """
    specs = manifest.platforms_of(env.name)
    named = [spec for spec in specs if env.platform.label in {spec.name, spec.subdir}]
    if all(spec.subdir != env.platform.subdir for spec in named or specs):
        told = f"is of {named[0].subdir}" if named else "does not list it"
        yield Mismatch(
            subject=f"platform {env.platform.label}",
            manifest=told,
            lock=f"has it for {env.platform.subdir}",
        )
    for spec in specs:
        if spec.name == env.platform.label and env.platform.virtual_packages:
            for name, version in spec.virtual_packages.items():
                locked = env.platform.virtual_package(name)
                if not same_version(locked, version):
                    yield Mismatch(
                        subject=f"platform {spec.name}",
                        manifest=f"declares {name}={version}",
                        lock=f"was solved for {name}={locked}" if locked else f"was solved without {name}",
                    )


def _compare_channels(manifest: Manifest, env: LockedEnvironment) -> Iterator[Mismatch]:
    for channel in manifest.channels_of(env.name):
        if not any(_same_channel(channel, locked) for locked in env.channels):
            yield Mismatch(subject=f"channel {channel}", manifest="lists it", lock="does not")


def _same_channel(asked: str, locked: str) -> bool:
    """Whether a channel of the manifest (an address, a path or a short name) is that of an address in a lock.

    >>> _same_channel("https://conda.anaconda.org/conda-forge", "https://conda.anaconda.org/conda-forge/")
    True
    >>> _same_channel("conda-forge", "https://mirror.example.org/conda/conda-forge")  # another channel alias
    True
    >>> _same_channel("https://example.org/conda-forge", "https://conda.anaconda.org/conda-forge")
    False
    >>> _same_channel("dask/label/dev", "https://conda.anaconda.org/pandas/label/dev")
    False
    """
    asked, locked = _plain_channel(asked), _plain_channel(locked)
    scheme, _, address = asked.partition("://")
    there, _, place = locked.partition("://")
    if address and scheme != "file":
        return there != "file" and address == place
    if address or asked.startswith((".", "/", "~")):
        # A folder has another path on each machine.
        return (there == "file" or not place) and asked.rpartition("/")[2] == locked.rpartition("/")[2]
    host, _, path = place.partition("/")
    return path == asked or (host != "conda.anaconda.org" and locked.endswith(f"/{asked}"))


def _plain_channel(channel: str) -> str:
    """A channel without what may differ: credentials, platforms, a query, and a host's ``repo.``, from which
    prefix.dev sends the packages of its channels.
    """
    plain = re.sub(r"[?#].*|\[[^\[\]]*\]$", "", channel.strip(), flags=re.DOTALL).rstrip("/").lower()
    return re.sub(
        r"^(\w+://)(?:[^/@]*@)?(?:repo\.(?=prefix\.dev))?([^/]*)(?:/t/[^/]+)?(?=/|$)", r"\1\2", plain
    )


def _compare_conda(manifest: Manifest, env: LockedEnvironment) -> Iterator[Mismatch]:
    packages = {p.name: p for p in env.conda_packages}
    for dependency in manifest.conda_dependencies(env.name, env.platform):
        held = True if dependency.when is None else condition_holds(dependency.when, env.platform, packages)
        package = packages.get(dependency.name)
        asked = f"asks for {dependency}"
        if package is None:
            if held:
                yield Mismatch(subject=dependency.name, manifest=asked, lock="does not have it")
        elif held is False:
            continue  # something else asks for it
        elif not _same_origin(package, dependency):
            yield Mismatch(
                subject=dependency.name, manifest=asked, lock=f"has {package} from {package.location}"
            )
        elif dependency.source is None and not _satisfies(package, dependency):
            yield Mismatch(subject=dependency.name, manifest=asked, lock=f"has {package}")
    for constraint in manifest.constraints(env.name, env.platform):
        package = packages.get(constraint.name)
        if package is not None and not _satisfies(package, constraint):
            yield Mismatch(subject=constraint.name, manifest=f"allows {constraint}", lock=f"has {package}")


def _same_origin(package: LockedPackage, dependency: Dependency) -> bool:
    """Whether a conda package comes from the source that the manifest names: a channel, an archive, a git
    repository or a folder.
    """
    if (package.form == "conda-source") == dependency.binary:
        return False
    # only the name of a named archive is compared: the lock may write its path in another way
    if dependency.binary:
        name = dependency.location.split("#")[0].rpartition("/")[2]
        return dependency.source is None or package.file_name == name
    git, address = package.location.startswith("git+"), "://" in package.location
    return {"git": git, "url": address and not git, "path": not address}[str(dependency.source)]


def _satisfies(package: LockedPackage, dependency: Dependency) -> bool:
    """Whether a locked package is the one that is asked for.

    Specs that rattler cannot read are left to Pixi.
    """
    import rattler
    from rattler.exceptions import InvalidMatchSpecError

    if package.record is None:
        return True
    if not all(_has(package, key, value) for key, value in dependency.also):
        return False
    spec = f"{dependency.name} {dependency.version}" + (f" {dependency.build}" if dependency.build else "")
    if number := dict(dependency.also).get("build-number"):
        spec += f'[build_number="{number}"]'
    try:
        return bool(package.record.matches(rattler.MatchSpec(spec)))
    except InvalidMatchSpecError:
        return True


def _has(package: LockedPackage, key: str, value: str) -> bool:
    """Whether a locked conda package is what the manifest asks for beside its version and build.

    What the lock does not tell counts as what is asked for.
    """
    if key == "channel":
        channel = package.location.rpartition("/")[0].rpartition("/")[0]
        # "defaults" stands for several channels
        return not channel or value == "defaults" or _same_channel(value, channel)
    if key == "build-number":
        return True  # compared with the version
    known = {
        "subdir": package.subdir,
        "file-name": package.file_name,
        "md5": package.md5,
        "sha256": package.sha256,
    }[key]
    return not known or known.lower() == value.lower()


#: What a PyPI package may be in the lock, by where the manifest takes it from (None: an index).
_FORMS: dict[str | None, tuple[Form, ...]] = {
    None: ("wheel", "sdist"),
    "url": ("wheel", "sdist", "vcs"),
    "path": ("wheel", "sdist", "directory"),
    "git": ("vcs",),
}


def _compare_pypi(manifest: Manifest, lock: Lock, env: LockedEnvironment) -> Iterator[Mismatch]:
    packages = {p.name: p for p in env.pypi_packages}
    conda = {normalize(p.name): p for p in env.conda_packages}
    for dependency in manifest.pypi_dependencies(env.name, env.platform):
        marker = dependency.marker
        held = True if marker is None else marker_holds(marker, env.platform, conda.get("python"))
        package = packages.get(dependency.name)
        asked = f"asks for {dependency} from PyPI"
        if held is False:
            continue
        if package is None:
            # A conda package of another name may replace it. The lock then has its package URL.
            stand_in = rf"pkg:pypi/{re.escape(dependency.name)}\b(?!-)"
            if held and dependency.name not in conda and not re.search(stand_in, lock.text):
                yield Mismatch(subject=dependency.name, manifest=asked, lock="does not have it")
            continue
        if package.form not in _FORMS[dependency.source]:
            yield Mismatch(subject=dependency.name, manifest=asked, lock=f"has it from {package.location}")
        if dependency.source is not None or dependency.version == "*" or not package.version:
            continue
        if not _version_fits(package.version, dependency.version):
            yield Mismatch(subject=dependency.name, manifest=asked, lock=f"has {package}")


def _version_fits(version: str, specifier: str) -> bool:
    """Whether a PyPI version is allowed. A version that cannot be compared counts as allowed."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except InvalidSpecifier:
        return True


def _not_wanted(manifest: Manifest, env: LockedEnvironment) -> Iterator[Mismatch]:
    """Packages that neither the manifest nor another package asks for: dependencies that were removed."""
    # PyPI packages of a lock may lack requirements (extras, dynamic metadata), and so do source packages
    # whose metadata it does not have; conda records are whole.
    unknown = any(p.form == "conda-source" and not (p.version or p.depends) for p in env.packages)
    if unknown or env.pypi_packages or any(feature.dev for feature in manifest.features_of(env.name)):
        return
    asked = {d.name for d in manifest.conda_dependencies(env.name, env.platform)}
    asked |= {d.name for d in manifest.pypi_dependencies(env.name, env.platform)}
    for package in env.packages:
        asked |= {required_name(r) for r in (*package.depends, *package.extra_depends)} - {package.name}
    asked |= {normalize(name) for name in asked}
    for package in env.packages:
        if not {package.name, normalize(package.name)} & asked:
            yield Mismatch(subject=package.name, manifest="asks for it no more", lock=f"has {package}")
