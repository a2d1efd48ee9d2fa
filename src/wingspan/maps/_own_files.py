"""The files of the user's own modules that travel with a map: single modules, and packages with all their
files."""

from __future__ import annotations

import functools
import importlib.machinery
import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import attrs

from wingspan.worker import rebuild

__all__ = ["OF_WORKERS", "Unit", "is_own_file", "locate", "read_unit"]

#: Of a package's files that are no source, at most so many travel, and so many bytes in all.
MOST_FILES, MOST_BYTES = 2_000, 16 << 20
#: Of a package with more modules only those travel that are imported in this session.
MOST_SOURCES = 3_000
#: A component that makes a map itself has these imported from its worker's archive (see
#: `wingspan.pools.zipapp`). Every worker has them.
OF_WORKERS = frozenset(
    {
        "cloudpickle",
        "htchirp",
        "wingspan_worker",
        "wingspan_main",
        rebuild.NAME,
        "wingspan",
        "__main__",
        "__mp_main__",
    }
)
_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules"})
_IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+([A-Za-z_][\w.]*)[ \t]+import|import[ \t]+([A-Za-z_][^\n#;]*))", re.MULTILINE
)


@functools.cache
def _installed_folders() -> tuple[str, ...]:
    """Folders whose modules a package manager put there, and our own."""
    paths = {*sysconfig.get_paths().values(), sys.base_prefix + "/lib", sys.prefix + "/lib"}
    try:
        import site

        paths.update(site.getsitepackages())
        paths.add(site.getusersitepackages())
    except (ImportError, AttributeError):
        pass
    paths.add(str(Path(__file__).parents[1]))
    folders = {f"{path}/" for path in paths if path} | {f"{Path(path).resolve()}/" for path in paths if path}
    return tuple(sorted(folders))


@functools.lru_cache(maxsize=10_000)
def is_own_file(file: str) -> bool:
    """The file is the user's own: no package manager has installed it."""
    return not (file.startswith("<") or _is_installed(file) or _is_installed(os.path.realpath(file)))


def _is_installed(path: str) -> bool:
    return path.startswith(_installed_folders()) or "/site-packages/" in path or "/dist-packages/" in path


@attrs.define
class Unit:
    """A top module or package: its files, and which modules they are.

    Attributes:
        root: Folder that it lies in.
        modules: Name -> path below `root`, and which kind of module.
        files: Path below `root` -> time of last change (ns) and content.
        imports: Names at the top of what it imports.
    """

    root: str
    modules: dict[str, tuple[str, str]] = attrs.field(factory=dict)
    files: dict[str, tuple[int, bytes]] = attrs.field(factory=dict)
    imports: set[str] = attrs.field(factory=set)


def _walk(folder: str, within: tuple[int, ...] = ()) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                number = entry.stat().st_ino
                skipped = (
                    entry.name in _SKIPPED_FOLDERS or number in within
                )  # the second: a link that leads upwards
                if not skipped and not os.path.exists(f"{entry.path}/pyvenv.cfg"):  # noqa: PTH110
                    yield from _walk(entry.path, (*within, number))
            elif entry.is_file():
                yield entry


_BINARY = tuple(importlib.machinery.EXTENSION_SUFFIXES)


@functools.lru_cache(maxsize=5_000)
def _read(path: str, mtime_ns: int, size: int) -> tuple[bytes, frozenset[str]]:
    """The content of a file, and what it imports if it is source."""
    data = Path(path).read_bytes()
    return data, _imports(data) if path.endswith(".py") else frozenset()


def _imports(source: bytes) -> frozenset[str]:
    found = set()
    for one, several in _IMPORT.findall(source):
        for name in (one or several).split(b","):
            found.add(name.split(b".")[0].split()[0].decode("ascii", "replace") if name.strip(b" .") else "")
    return frozenset(found - {""})


def locate(top: str) -> tuple[str | None, list[str]]:
    """``(file, folders)`` of a top module or package of the user's own; nothing if it is not own."""
    if top in OF_WORKERS or top in sys.builtin_module_names:
        return None, []
    module = sys.modules.get(top)
    try:
        spec = getattr(module, "__spec__", None) or importlib.machinery.PathFinder.find_spec(top)
    except (ImportError, ValueError, AttributeError, OSError):
        return None, []
    if spec is None:
        return None, []
    origin = spec.origin if spec.has_location else None
    is_own = origin is None or (is_own_file(origin) and os.path.isfile(origin))  # noqa: PTH113
    if module is None and top in sys.stdlib_module_names and spec.submodule_search_locations is not None:
        is_own = False  # a folder "test", say: the name is most likely that of Python's own package
    if not is_own:
        return None, []
    folders = [path for path in spec.submodule_search_locations or () if os.path.isdir(path)]  # noqa: PTH112
    if origin is not None:
        return origin, folders[:1]
    # A folder without __init__.py is a package only where a module of it is imported.
    loaded = any(name.startswith(f"{top}.") for name in list(sys.modules)) or module is not None
    return None, [folder for folder in folders if loaded and is_own_file(f"{folder}/x")]


def read_unit(top: str, file: str | None, folder: str | None) -> Unit:
    """Read a module, or a package with all its files."""
    unit = Unit(os.path.dirname(folder or file or ""))  # noqa: PTH120
    if folder is None:
        assert file is not None
        _take(unit, file, os.stat(file))  # noqa: PTH116
        kind = "source" if file.endswith(".py") else "binary"
        unit.modules[top] = (os.path.basename(file), kind)  # noqa: PTH119
        return unit
    left_bytes, left_files, left_out = MOST_BYTES, MOST_FILES, list[str]()
    sources: list[os.DirEntry[str]] = []
    others: list[os.DirEntry[str]] = []
    if file is None:
        unit.modules[top] = (os.path.relpath(folder, unit.root), "namespace")
    for entry in _walk(folder):
        (sources if entry.name.endswith((".py", *_BINARY)) else others).append(entry)
    if len(sources) > MOST_SOURCES:
        imported = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        left_out = [entry.path for entry in sources if entry.path not in imported]
        sources = [entry for entry in sources if entry.path in imported]
    for entry in sources:
        _name_module(unit, _take(unit, entry.path, entry.stat()), entry.name)
    for entry in sorted(others, key=lambda entry: entry.stat().st_size):
        facts = entry.stat()
        left_bytes -= facts.st_size
        left_files -= 1
        if left_bytes < 0 or left_files < 0:
            left_out.append(entry.path)
            continue
        _take(unit, entry.path, facts)
    if left_out:
        _tell_left_out(folder, tuple(left_out))
    return unit


@functools.lru_cache(maxsize=100)
def _tell_left_out(folder: str, files: tuple[str, ...]) -> None:
    import logging  # seldom needed

    logging.getLogger("wingspan").warning(
        "%d files of the package in %s do not travel with it: it has more than %d modules, or more than %d files or %d MB beside them. "
        "A worker that does not see this folder lacks the largest, and modules that are not imported here, such as %s",
        len(files),
        folder,
        MOST_SOURCES,
        MOST_FILES,
        MOST_BYTES >> 20,
        files[0],
    )


def _take(unit: Unit, path: str, facts: os.stat_result) -> str:
    data, imports = _read(path, facts.st_mtime_ns, facts.st_size)
    relative = os.path.relpath(path, unit.root)
    unit.files[relative] = (facts.st_mtime_ns, data)
    unit.imports |= imports
    return relative


def _name_module(unit: Unit, relative: str, name: str) -> None:
    parts = relative.split("/")
    if not all(part.isidentifier() for part in parts[:-1]):
        return
    stem = name.partition(".")[0]
    if stem == "__init__" and name.endswith(".py"):
        unit.modules[".".join(parts[:-1])] = (relative, "package")
    elif stem.isidentifier() and stem != "__init__":
        kind = "source" if name.endswith(".py") else "binary"
        unit.modules[".".join([*parts[:-1], stem])] = (relative, kind)
    for depth in range(1, len(parts)):
        unit.modules.setdefault(".".join(parts[:depth]), ("/".join(parts[:depth]), "namespace"))
