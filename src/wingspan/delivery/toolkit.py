"""What a machine needs to build bundles, in one archive: Wingspan and the packages that it imports for that.

It goes along with build jobs to machines that do not see this one's files. They need a Python of this one's
version, as some packages hold compiled code.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

from wingspan.environments.bundles.storage import cache_folder, interprocess_lock, replacing
from wingspan.errors import SettingsError

__all__ = ["SITE", "toolkit"]

#: Folders in the archive: for ``PYTHONPATH``, and for ``PATH``.
SITE, PROGRAMS = "tools/site", "tools/bin"
_EXTRA = "environments"


def toolkit() -> Path:
    """The archive, in the cache; made anew whenever a package or a file of Wingspan has changed.

    Raises:
        SettingsError: A package is not installed, or nobody knows its files.
    """
    members = sorted(_members())
    state = hashlib.sha256()
    for name, path in members:
        status = path.stat()
        state.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    folder = cache_folder("tools")
    target = folder / f"wingspan-tools-{state.hexdigest()[:16]}.tar"
    with interprocess_lock(folder / "lock"):
        if target.is_file():
            return target
        for old in folder.glob("wingspan-tools-*.tar"):
            old.unlink(missing_ok=True)
        with replacing(target) as file, tarfile.open(fileobj=file, mode="w") as archive:
            for name, path in members:
                archive.add(path.resolve(), name, recursive=False)
    return target


def _members() -> Iterator[tuple[str, Path]]:
    """Names in the archive, and the files that have them."""
    package = Path(__file__).resolve().parents[1]
    for path in package.rglob("*"):
        if path.is_file() and not _is_unwanted(path.name, path.parts):
            yield f"{SITE}/wingspan/{path.relative_to(package).as_posix()}", path
    for distribution in _distributions():
        if distribution.files is None:
            raise SettingsError(
                f"nobody knows which files the package {distribution.name} has here",
                hint="install Wingspan into an environment of its own with pip, uv or Pixi",
            )
        for file in distribution.files:
            path = Path(str(distribution.locate_file(file)))
            if ".." not in file.parts and path.is_file() and not _is_unwanted(path.name, file.parts):
                yield f"{SITE}/{file.as_posix()}", path
    from wingspan.environments.bundles.linked.prefix import find_uv

    program = shutil.which(find_uv())
    if program is not None:
        yield f"{PROGRAMS}/uv", Path(program)


def _is_unwanted(name: str, parts: tuple[str, ...]) -> bool:
    return name.endswith(".pyc") or "__pycache__" in parts


def _distributions() -> list[importlib.metadata.Distribution]:
    """What building imports, with what that imports; without Wingspan itself."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = [("wingspan", frozenset({_EXTRA}))]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            raise SettingsError(
                f"the package {name} is not installed here, and build jobs need it",
                hint="pip install 'wingspan[environments]'",
            ) from None
        found[name] = distribution
        for text in distribution.requires or ():
            wanted = Requirement(text)
            if wanted.marker is None or any(
                wanted.marker.evaluate({"extra": extra}) for extra in (*extras, "")
            ):
                waiting.append((canonicalize_name(wanted.name), frozenset(wanted.extras)))
    found.pop("wingspan")
    found.pop("uv", None)  # the program alone
    return list(found.values())
