"""Thin layers: small archives that lie beside a bundle, and that the worker puts on top of it.

An archive has two folders: ``site`` goes before the environment's packages on Python's path, ``bin`` before
its programs. Equal content gives equal bytes, and the name has the digest.
"""

from __future__ import annotations

import configparser
import gzip
import hashlib
import io
import re
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict

import attrs

from wingspan.environments.archives import ZIP_FAULTS, wheel_programs
from wingspan.environments.bundles.errors import BundleDamaged
from wingspan.environments.bundles.own.files import MOST_BYTES, MOST_FILES, code_files
from wingspan.environments.bundles.own.project import Project
from wingspan.environments.bundles.storage import cache_folder, hash_file, no_room, replacing
from wingspan.environments.errors import UnsupportedPackages
from wingspan.stores.errors import InvalidContentName
from wingspan.stores.names import ContentName, sidecar
from wingspan.worker import trust

__all__ = [
    "Contents",
    "Layer",
    "LayerFacts",
    "open_layer",
    "project_contents",
    "wheel_contents",
    "write_layer",
]

SUFFIX = "tar.gz"
_OBJECT = re.compile(r"\s*([^\W\d][\w.]*)\s*:\s*([^\W\d][\w.]*)\s*(?:\[.*\])?\s*")
_PROGRAM = "#!/usr/bin/env python\nimport sys\nfrom {module} import {first}\nif __name__ == '__main__':\n    sys.exit({name}())\n"


class LayerFacts(TypedDict):
    """`Layer` as files have it."""

    path: str
    sha256: str
    size: int
    what: str


@attrs.frozen(kw_only=True)
class Layer:
    """A thin layer.

    Attributes:
        path: The archive; its name has the first 8 digits of its digest.
        sha256: SHA-256 of the archive, 64 hex digits.
        size: Bytes.
        what: What is in it, for people.
    """

    path: Path
    sha256: str
    size: int
    what: str = ""

    def to_json(self) -> LayerFacts:
        """The attributes, with the path as text."""
        return {"path": str(self.path), "sha256": self.sha256, "size": self.size, "what": self.what}


@attrs.define
class Contents:
    """The files of a layer by name: whether each is a program, and its content."""

    files: dict[str, tuple[bool, bytes]] = attrs.field(factory=dict)
    size: int = 0

    def add(self, name: str, content: bytes, *, program: bool = False) -> None:
        """Add a file.

        Raises:
            UnsupportedPackages: The name leads elsewhere, or is taken.
        """
        try:
            trust.check_path(name)
        except trust.BadName as error:
            raise UnsupportedPackages(
                f"the file {name!r:.200} cannot go along: {error}", hint="rename it, or have git ignore it"
            ) from None
        if name in self.files:
            raise UnsupportedPackages(
                f"two packages have the file {name!r:.200}", hint="leave one of them out of the environment"
            )
        self.files[name] = program, content
        self.size += len(content)


def project_contents(project: Project, into: Contents) -> list[str]:
    """Add a project's modules, programs and metadata; answers warnings.

    Raises:
        UnsupportedPackages: It has too much for a thin layer, or a file with a name that leads elsewhere.
    """
    warnings = list(project.warnings)
    listed = []
    for path, place in project.modules:
        names, told = code_files(project.folder, path)
        warnings += told
        for name in names:
            target = f"{place}{name[len(path) :]}"
            file = project.folder / name
            if into.size + file.stat().st_size > MOST_BYTES or len(into.files) >= MOST_FILES:
                raise UnsupportedPackages(
                    f"the package {project.name} in {project.folder} has more than {MOST_FILES:,} files or {MOST_BYTES >> 20} MiB",
                    hint="have git ignore the data in it (.gitignore), and send data as input files",
                )
            into.add(f"site/{target}", file.read_bytes(), program=bool(file.stat().st_mode & 0o100))
            listed.append(target)
    if not any(name.endswith((".py", ".pyi")) for name in listed):
        raise UnsupportedPackages(
            f"the package {project.name} in {project.folder} has no Python file that git does not ignore",
            hint="look at .gitignore, and at what pyproject.toml names",
        )
    stem = re.sub(r"[-_.]+", "_", project.name)
    info = f"{stem}-{project.version}.dist-info"
    noted = {f"{info}/METADATA": project.metadata, f"{info}/INSTALLER": "wingspan\n"}
    if project.entry_points:
        noted[f"{info}/entry_points.txt"] = _entry_points_text(project.entry_points)
    record = "".join(f"{_quoted(name)},,\n" for name in sorted([*listed, *noted, f"{info}/RECORD"]))
    for name, text in {**noted, f"{info}/RECORD": record}.items():
        into.add(f"site/{name}", text.encode())
    for group in ("console_scripts", "gui_scripts"):
        add_programs(project.entry_points.get(group, {}), project.name, into)
    return warnings


def _quoted(name: str) -> str:
    return f'"{name}"' if "," in name else name


def _entry_points_text(points: Mapping[str, Mapping[str, str]]) -> str:
    parser = configparser.RawConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_dict(points)
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


def wheel_contents(path: Path, into: Contents) -> None:
    """Add what an installer would make of a wheel.

    Raises:
        UnsupportedPackages: It has files that only an installer can put in their places, or is damaged.
    """
    try:
        _add_wheel(path, into)
    except (*ZIP_FAULTS, OSError) as error:
        if isinstance(error, UnsupportedPackages):
            raise
        raise UnsupportedPackages(
            f"the wheel {path} cannot be read: {error}", hint="build it again: python -m build --wheel"
        ) from None


def _add_wheel(path: Path, into: Contents) -> None:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.is_dir():
                continue
            top, _, rest = member.filename.partition("/")
            name, program = f"site/{member.filename}", bool(member.external_attr >> 16 & 0o100)
            content = archive.read(member)
            if top.endswith(".data"):
                scheme, _, rest = rest.partition("/")
                if scheme not in ("purelib", "platlib", "scripts"):
                    raise _needs_installer(path, member.filename)
                name = f"{'bin' if scheme == 'scripts' else 'site'}/{rest}"
                if scheme == "scripts":
                    program, content = True, re.sub(rb"\A#!python[^\n]*", b"#!/usr/bin/env python", content)
            elif not rest and name.endswith(".pth"):
                raise _needs_installer(path, member.filename)
            into.add(name, content, program=program)
        add_programs(wheel_programs(archive), path.name, into)


def _needs_installer(path: Path, name: str) -> UnsupportedPackages:
    return UnsupportedPackages(
        f"{path} has {name!r:.200}, which only an installer puts in its place",
        hint="take another kind of bundle: the wheel is installed into it",
    )


def add_programs(points: Mapping[str, str], package: str, into: Contents) -> None:
    """Add a program for each of the entry points ``name: module:object``."""
    for name, value in points.items():
        found = _OBJECT.fullmatch(value)
        try:
            trust.check_name(name)
        except trust.BadName:
            found = None
        if found is None:
            raise UnsupportedPackages(
                f"the package {package} has a program {name!r:.100} = {value!r:.200}, which is none",
                hint='they look like name = "package.module:function"',
            )
        module, target = found[1], found[2]
        text = _PROGRAM.format(module=module, first=target.partition(".")[0], name=target)
        into.add(f"bin/{name}", text.encode(), program=True)


def write_layer(name: str, contents: Contents, *, what: str = "") -> Layer:
    """Write a layer into the cache, or find the one that was written before.

    Args:
        name: Its plain name.
        contents: Its files.
        what: What is in it, for people.

    Raises:
        DiskFull: No room for it.
    """
    packed = _packed(contents.files.items())
    digest = hashlib.sha256(packed).hexdigest()
    named = ContentName.of(name, digest, SUFFIX)
    path = cache_folder("code") / str(named)
    if not _is_kept(path, packed):
        with no_room(path):
            with replacing(path) as file:
                file.write(packed)
            with replacing(path.with_name(named.sidecar)) as file:
                file.write(sidecar(named, digest))
    return Layer(path=path, sha256=digest, size=len(packed), what=what)


def open_layer(path: Path) -> Layer:
    """A layer that lies in a file: its digest is the one that its name begins, and that the worker checks.

    Raises:
        BundleDamaged: The content is not the one that the name says.
    """
    path = path.absolute()
    digest = hash_file(path)
    try:
        named = ContentName.parse(path.name).short
    except InvalidContentName:
        named = ""
    if not digest.startswith(named or "-"):
        raise BundleDamaged(
            f"{path} is not the thin layer that its name says: its SHA-256 begins with {digest[:8]}",
            hint="make it again: wingspan env bundle",
        )
    return Layer(path=path, sha256=digest, size=path.stat().st_size)


def _is_kept(path: Path, content: bytes) -> bool:
    try:
        return trust.is_closed(str(path)) and path.read_bytes() == content
    except OSError:
        return False


def _packed(files: Iterable[tuple[str, tuple[bool, bytes]]]) -> bytes:
    """A compressed archive that says nothing of this machine, user or time."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, (program, content) in sorted(files):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755 if program else 0o644
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(raw.getvalue(), compresslevel=6, mtime=0)
