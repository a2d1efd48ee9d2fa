"""Check the names in packages before any of their files is put into an environment.

The author of a lock or a pack chose every name in it, and py-rattler uses names of files without checking
them. So each name is checked here (`wingspan.worker.trust` says which names are allowed): first the archives'
lists, before anything is linked, then (in `rattler_process`) the extracted files of each package, before it
is linked.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wingspan.environments.bundles.errors import BuildFailed, UnsafePackage
from wingspan.worker import trust

if TYPE_CHECKING:
    from wingspan.environments.bundles.packages.wheels import Wheel

__all__ = [
    "Contents",
    "Room",
    "add_extracted",
    "check_archives",
    "check_names",
    "clear_links",
    "site_packages",
]

#: Wingspan's own folder in an environment. Files there are executed when a job starts.
_RESERVED = (".wingspan",)
#: Conda's own folder in an environment. The installer writes the files there.
_CONDA_META = "conda-meta"
#: The folders of the wheel specification, and their places below the environment or below site-packages.
_SCHEMES = {"data": "", "scripts": "bin/", "headers": "include/"}
#: Files that installers write beside a wheel's own.
_NOTED = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json")


def _unsafe(label: str, name: object, what: str) -> UnsafePackage:
    return UnsafePackage(
        f"the package {label} cannot be used: its file {name!r:.200} would not stay where it belongs: {what}",
        hint="do not use this lock or bundle, and ask where it comes from",
    )


def check_names(record: Mapping[str, Any], file_name: object, subdir: object) -> str:
    """The package's label for messages, if the record's names are safe as names of files.

    Raises:
        UnsafePackage: It cannot.
    """
    name, version, build = (str(record.get(key, "")) for key in ("name", "version", "build"))
    label = f"{name} {version} {build}"
    for text in (file_name, subdir, f"{name}-{version}-{build}"):
        try:
            trust.check_name(text)  # type: ignore[arg-type]
        except trust.BadName as error:
            raise _unsafe(f"{label!r:.200}", text, str(error)) from None
    place = record.get("python_site_packages_path")
    if place is not None:
        try:
            trust.check_path(place)
        except trust.BadName as error:
            raise _unsafe(label, place, str(error)) from None
    return label


def site_packages(records: Iterable[Mapping[str, Any]]) -> str:
    """The folder, below the environment, where the Python among `records` has its packages."""
    for record in records:
        if record.get("name") == "python":
            minor = ".".join(str(record.get("version", "")).split(".")[:2])
            return str(record.get("python_site_packages_path") or f"lib/python{minor}/site-packages")
    return "lib/python/site-packages"


@attrs.frozen(kw_only=True)
class Room:
    """The program that has the least room for the path of its environment.

    Attributes:
        size: Bytes of the longest path.
        label: The package.
        name: The file in it.
    """

    size: int
    label: str
    name: str


class Contents:
    """The names that packages claim in one environment. They are added one package after another.

    Args:
        site: Where packages for any Python go, below the environment.

    Attributes:
        room: What limits the length of the environment's path; None if nothing does.
    """

    def __init__(self, site: str) -> None:
        self.site = site
        self.room: Room | None = None
        self._tree = trust.Tree(_RESERVED)

    def add(
        self,
        label: str,
        noarch: bool,
        paths: str | None,
        files: str | None,
        link: str | None,
        folder: Path | None = None,
    ) -> None:
        """Add a conda package, by the texts of ``info/paths.json``, or of ``info/files`` (before
        2018), and of ``info/link.json``.

        Args:
            label: The package, for messages.
            noarch: It is for any Python.
            paths, files, link: The texts; None where there is none.
            folder: The folder that it was extracted to. Its content has to match the list.

        Raises:
            UnsafePackage: A name leads elsewhere, or the folder's content does not match the list.
        """
        try:
            entries = json.loads(paths)["paths"] if paths is not None else []
            listed = [(entry["_path"], entry.get("path_type")) for entry in entries]
            if paths is None:
                listed = [(line, None) for line in (files or "").splitlines() if line]
            points = json.loads(link).get("noarch", {}).get("entry_points", []) if noarch and link else []
            programs = [str(point).partition("=")[0].strip() for point in points]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _unsafe(
                label, "info/paths.json", f"the list of its files cannot be read ({error!r:.200})"
            ) from None
        for name, kind in listed:
            try:
                trust.check_path(name)
                self._add(label, name, kind, noarch, folder)
            except trust.BadName as error:
                raise _unsafe(label, name, str(error)) from None
        self._look_for_room(label, entries)
        for program in programs:
            self._add_program(label, program)

    def _look_for_room(self, label: str, entries: Iterable[Mapping[str, Any]]) -> None:
        for entry in entries:
            placeholder = entry.get("prefix_placeholder")
            if entry.get("file_mode") == "binary" and isinstance(placeholder, str):
                size = len(placeholder.encode(errors="replace"))
                if not size:
                    raise BuildFailed(
                        f"the package {label} is damaged: the prefix to be replaced in {entry['_path']!r:.200} is empty",
                        hint="the lock names it: look where it comes from",
                    )
                if self.room is None or size < self.room.size:
                    self.room = Room(size=size, label=label, name=str(entry["_path"]))

    def _add(self, label: str, name: str, kind: str | None, noarch: bool, folder: Path | None) -> None:
        place = name
        if noarch and name.startswith("site-packages/"):
            place = self.site + name[len("site-packages") :]
        elif noarch and name.startswith("python-scripts/"):
            place = f"bin/{name[len('python-scripts/') :]}"
        target = "" if kind == "softlink" else None
        if folder is not None:
            target = _looked_at(folder, name, kind)
        if target is not None and trust.folded(place.rpartition("/")[2]) == "__pycache__":
            raise trust.BadName("it is a symbolic link in the place of a folder that Python writes to")
        folder_of_it, _, rest = trust.folded(place).partition("/")
        if folder_of_it == _CONDA_META and (
            target is not None or rest == "history" or rest.endswith(".json")
        ):
            raise trust.BadName("it is in the place of what is noted of packages")
        self._tree.add(label, place, target)

    def _add_program(self, label: str, name: str) -> None:
        try:
            self._tree.add(label, f"bin/{trust.check_name(name)}")
        except trust.BadName as error:
            raise _unsafe(label, name, str(error)) from None

    def add_wheel(self, wheel: Wheel) -> None:
        """Add a wheel.

        Raises:
            UnsafePackage: A name in it leads elsewhere.
        """
        label = wheel.path.name
        for member in wheel.members:
            name = member.filename
            try:
                trust.check_path(name)
                if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
                    raise trust.BadName("it is no plain file")
                self._tree.add(label, self._place(name))
            except trust.BadName as error:
                raise _unsafe(label, name, str(error)) from None
        for program in wheel.programs:
            self._add_program(label, program)

    def clear_links(self, wheel: Wheel, folder: Path) -> None:
        """Remove symbolic links of conda packages in the environment `folder` at the places of the wheel's
        own files, because installers would write through them.

        Args:
            wheel: One that was added.
            folder: The environment, with its conda packages.
        """
        names = [member.filename for member in wheel.members]
        tops = {name.partition("/")[0] for name in names if name.partition("/")[0].endswith(".dist-info")}
        places = {self._place(name) for name in names}
        places |= {f"bin/{program}" for program in wheel.programs}
        places |= {f"{self.site}/{top}/{name}" for top in tops for name in _NOTED}
        for place in places:
            path = f"{folder}/{place}"
            if os.path.islink(path):  # noqa: PTH114 - asked for tens of thousands of files
                os.unlink(path)  # noqa: PTH108

    def _place(self, name: str) -> str:
        top, _, rest = name.partition("/")
        if top.endswith(".data"):
            scheme, _, rest = rest.partition("/")
            if scheme in _SCHEMES:
                return _SCHEMES[scheme] + rest
            if scheme not in ("purelib", "platlib"):
                raise trust.BadName(f"{scheme!r} is no place that wheels know")
            return f"{self.site}/{rest}"
        return f"{self.site}/{name}"

    def check(self) -> None:
        """Check that no file that was added so far would be written through a symbolic link.

        Raises:
            UnsafePackage: A file would.
        """
        fault = self._tree.first_fault()
        if fault is not None:
            raise _unsafe(*fault)


def _looked_at(folder: Path, name: str, kind: str | None) -> str | None:
    """The target of the link `name` of an extracted package; None for a file.

    Raises:
        BadName: Its type differs from the list, or it has rights that no file of a package has.
    """
    try:
        status = os.lstat(f"{folder}/{name}")
    except OSError as error:
        if kind == "directory" or isinstance(error, FileNotFoundError):
            return None  # py-rattler says so
        raise trust.BadName(str(error)) from None
    if stat.S_ISLNK(status.st_mode):
        if kind not in ("softlink", None):
            raise trust.BadName("it is a symbolic link, and the list of files says that it is none")
        return os.readlink(f"{folder}/{name}")  # noqa: PTH115 - asked for tens of thousands of files
    if not stat.S_ISREG(status.st_mode) and not (stat.S_ISDIR(status.st_mode) and kind == "directory"):
        raise trust.BadName("it is no plain file")
    if status.st_mode & (stat.S_ISUID | stat.S_ISGID) and stat.S_ISREG(status.st_mode):
        os.chmod(f"{folder}/{name}", stat.S_IMODE(status.st_mode) & 0o777)  # noqa: PTH101 - as above
    return None


def add_extracted(contents: Contents, record: Mapping[str, Any], folder: Path) -> None:
    """Add the package that was extracted to `folder`.

    Raises:
        UnsafePackage: See `Contents.add`; also: one of the folders in it is a link.
    """
    label = check_names(record, "x", "x")
    for inner in ("info", "info/index.json", "info/paths.json", "info/files", "info/link.json"):
        if (folder / inner).is_symlink():
            raise _unsafe(label, inner, "it is a symbolic link")
    paths, files, link = (_text(folder / f"info/{name}") for name in ("paths.json", "files", "link.json"))
    try:
        said = json.loads(_text(folder / "info/index.json") or "{}")
        name, noarch = said.get("name"), said.get("noarch")
    except (ValueError, AttributeError):
        raise _unsafe(label, "info/index.json", "it cannot be read") from None
    if name != record["name"]:  # py-rattler uses the package's own record, too
        raise _unsafe(label, "info/index.json", f"it says that the package is {name!r:.100}")
    contents.add(label, noarch == "python", paths, files, link, folder)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None


def clear_links(wheels: Iterable[Wheel], folder: Path, site: str) -> None:
    """Remove the symbolic links in the environment `folder` through which checked wheels would be written."""
    contents = Contents(site)
    for wheel in wheels:
        contents.clear_links(wheel, folder)


def check_archives(
    items: Sequence[Mapping[str, Any]], cache: Path, wheels: Iterable[Wheel] = ()
) -> Room | None:
    """Check that all names in conda packages (items as for `link_conda`) and wheels stay in the environment.

    Nothing is written.

    Args:
        items: The packages, with their archives.
        cache: The folder of unchanged extracted packages; their lists are read from there.
        wheels: The wheels that are installed beside them.

    Returns:
        What limits the length of the environment's path; None if nothing does.

    Raises:
        UnsafePackage: A name does not; the message has the package and the name.
        BuildFailed: An archive cannot be read.
    """
    # py-rattler's process imports this module and opens no archive.
    from wingspan.environments.archives import LocalPackage, read_member

    contents = Contents(site_packages(item["record"] for item in items))
    for item in items:
        record, path = item["record"], Path(item["path"])
        label = check_names(record, item["file_name"], item["subdir"])
        known = cache / re.sub(r"\.(conda|tar\.bz2)$", "", item["file_name"])
        package = LocalPackage(known if (known / "info/paths.json").is_file() else path)
        try:
            paths = read_member(package, "info/paths.json")
            files = read_member(package, "info/files") if paths is None else None
            noarch = record.get("noarch") == "python"
            link = read_member(package, "info/link.json") if noarch else None
        except Exception as error:  # noqa: BLE001 - zip, tar, bz2, zstd: each has errors of its own
            raise BuildFailed(
                f"{path.name} is no conda package: {error}",
                hint="the lock names it: look where it comes from",
            ) from None
        contents.add(label, noarch, paths, files, link)
    for wheel in wheels:
        contents.add_wheel(wheel)
    contents.check()
    return contents.room
