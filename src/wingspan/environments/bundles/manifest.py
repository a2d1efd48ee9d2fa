"""The `Manifest` that each bundle carries, and `Bundle`, which describes a bundle's file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict, cast, get_args

import attrs

from wingspan.environments.bundles.errors import BundleDamaged, UnknownKind
from wingspan.environments.bundles.own.layer import Layer
from wingspan.environments.lock import LockedEnvironment
from wingspan.environments.needs import EXPANSION, NeedsFacts
from wingspan.worker import trust

__all__ = [
    "FORMAT",
    "INSTALL_MARK",
    "KINDS",
    "PREFIX",
    "Bundle",
    "Delta",
    "DeltaFacts",
    "Kind",
    "Manifest",
    "ManifestFacts",
    "bundle_name",
    "check_kind",
]

#: The environment's folder on every worker. All environments have the same one, so compiled and patched files
#: can be shared.
PREFIX = "/opt/wingspan/environment"

#: A number that is raised when the content of bundles changes. The same lock then gives other bytes.
FORMAT = 1

#: Second line of an `install` script; the manifest follows in a comment.
INSTALL_MARK = b"# wingspan-install: "

Kind = Literal["squashfs", "pack", "sif", "oci", "install"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def check_kind(kind: str) -> Kind:
    """`kind`, if it is a kind of bundle.

    Raises:
        UnknownKind: It is not.
    """
    for known in KINDS:
        if kind == known:
            return known
    raise UnknownKind(f"there is no bundle kind {kind!r}", hint=f"one of: {', '.join(KINDS)}")


def bundle_name(env: LockedEnvironment) -> str:
    """The plain name of a bundle: the workspace's name, and the environment's unless that is ``default``.

    >>> from wingspan.environments import LockedPlatform
    >>> bundle_name(LockedEnvironment(workspace="My project", name="gpu", platform=LockedPlatform(
    ...     name="linux-64", subdir="linux-64"), lock_path=Path("pixi.lock")))
    'my-project-gpu'
    """
    parts = [env.workspace] if env.name == "default" else [env.workspace, env.name]
    name = re.sub(r"[^a-z0-9._+]+", "-", "-".join(parts).lower()).strip("-._+")
    return name[:100] or "environment"


class ManifestFacts(TypedDict, total=False):
    """`Manifest` as files have it; one of another version may lack keys, or have more."""

    kind: Kind
    workspace: str
    environment: str
    platform: str
    environment_digest: str
    lock_sha256: str
    prefix: str | None
    python: str | None
    packages: int
    installed_bytes: int | None
    installed_files: int | None
    longest_path: int | None
    needs: NeedsFacts


@attrs.frozen(kw_only=True)
class Manifest:
    """The description that lies inside every bundle.

    Attributes:
        kind: Bundle kind.
        workspace, environment: Names in the user's workspace.
        platform: Subdir, such as ``linux-64``.
        environment_digest: Identity of the package set (`LockedEnvironment.digest`).
        lock_sha256: SHA-256 of the ``pixi.lock`` that the bundle was built from and carries.
        prefix: The folder where the environment must lie; None: anywhere (packs are linked where they are
            unpacked).
        python: ``"3.12"`` or None.
        packages: How many.
        installed_bytes: Sum of the file sizes of the installed environment; None if it was not installed.
        installed_files: The number of these files.
        longest_path: Bytes of the longest path that an image can be unpacked to, since its programs have room
            for no longer one; None: unknown, or unlimited.
        needs: What a machine must have (`Needs.to_json`), without what depends on the building machine.
    """

    kind: Kind
    workspace: str
    environment: str
    platform: str
    environment_digest: str
    lock_sha256: str
    prefix: str | None
    python: str | None
    packages: int
    installed_bytes: int | None = None
    installed_files: int | None = None
    longest_path: int | None = None
    needs: NeedsFacts = attrs.field(factory=NeedsFacts)

    def to_json(self) -> str:
        """Canonical JSON: equal manifests give equal bytes."""
        return json.dumps({"wingspan-bundle": FORMAT, **self.facts()}, sort_keys=True, indent=1) + "\n"

    def facts(self) -> ManifestFacts:
        """The attributes under their names."""
        return cast("ManifestFacts", attrs.asdict(self))

    @classmethod
    def from_facts(cls, plain: Mapping[str, Any]) -> Manifest:
        """The inverse of `facts`; keys of later versions are ignored.

        Raises:
            TypeError: A key is missing.
        """
        known = {field.name for field in attrs.fields(cls)}
        return cls(**{name: value for name, value in plain.items() if name in known})

    @classmethod
    def from_json(cls, text: str | bytes, where: Path) -> Manifest:
        """Read a manifest back.

        Raises:
            BundleDamaged: It is no manifest, or has a later format.
        """
        try:
            document = json.loads(text)
            version = document.pop("wingspan-bundle")
            if version != FORMAT:
                raise BundleDamaged(
                    f"{where} is a bundle of format {version}; this Wingspan reads format {FORMAT}",
                    hint="pip install --upgrade wingspan",
                )
            found = cls.from_facts(document)
            found._check()
            return found
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, BundleDamaged):
                raise
            raise BundleDamaged(
                f"{where}: its description of itself cannot be read ({error})",
                hint="build it again: wingspan env bundle",
            ) from None

    def _check(self) -> None:
        """Raise ValueError or TypeError for wrong content, since the bundle's author may have written
        anything.
        """
        check_kind(self.kind)
        for text in (
            self.workspace,
            self.environment,
            self.platform,
            self.environment_digest,
            self.lock_sha256,
        ):
            if not isinstance(text, str) or not text.isprintable():
                raise TypeError(f"{text!r:.100} is no text")
        if self.prefix is None and self.kind in ("squashfs", "sif", "oci"):
            raise ValueError("it does not say where the environment lies")
        if self.prefix is not None:
            if not _PREFIX.fullmatch(self.prefix):
                raise ValueError(f"{self.prefix!r:.100} is no place for an environment")
            trust.check_path(self.prefix[1:])
        if self.python is not None and not _PYTHON.fullmatch(self.python):
            raise ValueError(f"{self.python!r:.100} is no version of Python")
        for number in (self.packages, self.installed_bytes, self.installed_files, self.longest_path):
            if number is not None and (type(number) is not int or not 0 <= number < 1 << 60):
                raise ValueError(f"{number!r:.100} is no number of something")
        if not isinstance(self.needs, dict):
            raise TypeError("needs is no table")


#: The form of an absolute path in a bundle. Such paths are written into scripts and compiled files.
_PREFIX = re.compile(r"/[A-Za-z0-9._+-]+(?:/[A-Za-z0-9._+-]+)+")
_PYTHON = re.compile(r"[0-9]{1,2}\.[0-9]{1,3}[a-z]?")


class DeltaFacts(TypedDict):
    """`Delta` as files have it."""

    path: str
    sha256: str
    size: int
    base: str
    base_size: int


@attrs.frozen(kw_only=True)
class Delta:
    """The difference of a bundle to a base.

    Attributes:
        path: The file; its name has the first 8 digits of its digest.
        sha256: Its digest.
        size: Bytes.
        base: Name of the base's file.
        base_size: Bytes of the base.
    """

    path: Path
    sha256: str
    size: int
    base: str
    base_size: int

    def to_json(self) -> DeltaFacts:
        """The attributes, with the path as text."""
        return cast("DeltaFacts", {**attrs.asdict(self), "path": str(self.path)})


@attrs.frozen(kw_only=True)
class Bundle:
    """One file that carries a locked environment.

    Attributes:
        path: The file. Its name is ``<name>-<first 8 of sha256>.<suffix>``.
        kind: ``"squashfs"``, ``"pack"``, ``"sif"``, ``"oci"`` or ``"install"``.
        name: The plain part of the file's name.
        sha256: SHA-256 of the file, 64 hex digits. The file ``.sha256`` beside it has it too.
        size: Bytes.
        environment_digest: Identity of the package set inside.
        prefix: The environment's folder on the worker; None: wherever it is unpacked.
        manifest: Its manifest; None for a pack that Wingspan did not make.
        sources: Files beside it for people who build images themselves: the ``.def`` of a `sif`, the
            ``Dockerfile`` of an `oci`.
        layers: Thin layers that the worker puts on top of it: code of the workspace.
        delta: Workers put the bundle together from this and its base; None: they get the bundle.
    """

    path: Path
    kind: Kind
    name: str
    sha256: str
    size: int
    environment_digest: str | None
    prefix: str | None
    manifest: Manifest | None = attrs.field(default=None, repr=False)
    sources: tuple[Path, ...] = ()
    layers: tuple[Layer, ...] = ()
    delta: Delta | None = None

    @property
    def python(self) -> str | None:
        """``"3.12"``: the Python inside; None if it is unknown."""
        return self.manifest.python if self.manifest else None

    def disk_bytes(self, installed: int | None = None) -> int:
        """How much of a job's scratch disk it needs, in bytes.

        A `squashfs` and a `sif` are used as they are. A `pack` that unpacks itself needs room for the script,
        its archive (base64 has 4 characters for 3 bytes), and the packages or, later, the environment. Other
        kinds need room for the bundle and the environment.

        Args:
            installed: Bytes of the installed environment, if a better value is known
                (`Needs.installed_bytes`).

        >>> Bundle(path=Path("a-00000000.sh"), kind="pack", name="a", sha256="", size=400, environment_digest=None, prefix=None).disk_bytes(900)
        1600
        """  # noqa: W505
        if self.kind in ("squashfs", "sif"):
            return self.size
        if installed is None and self.manifest is not None:
            installed = self.manifest.installed_bytes
        download = int(self.manifest.needs.get("download_bytes") or 0) if self.manifest else 0
        if installed is None:
            installed = round(EXPANSION * (download or self.size))
        archive = self.size * 3 // 4 if self.path.suffix == ".sh" and self.kind == "pack" else 0
        if self.kind == "install":  # fetched packages lie in a cache beside the environment
            return self.size + download + installed
        return self.size + max(2 * archive, archive + installed)

    def to_json(self) -> dict[str, Any]:
        """The attributes for ``--json``, with paths as text."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "name": self.name,
            "sha256": self.sha256,
            "size": self.size,
            "environment_digest": self.environment_digest,
            "prefix": self.prefix,
            "python": self.python,
            "sources": [str(path) for path in self.sources],
            "layers": [one.to_json() for one in self.layers],
            "manifest": self.manifest.facts() if self.manifest else None,
        }
