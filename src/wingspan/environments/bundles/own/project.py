"""What a Python project says of itself in its ``pyproject.toml``: which modules it has, and its metadata.

The project is not built and none of its code is executed. Its modules are found by the rules of the build
backends that only copy Python files. A project whose files are made by a build (compiled ones, for instance)
is refused: it travels as a wheel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import attrs

from wingspan.environments.errors import UnsupportedPackages
from wingspan.environments.lock import normalize
from wingspan.environments.manifest_reader import parse_toml

__all__ = ["Project", "read_project"]

#: Build backends that copy Python files, by the first word of ``build-backend``.
_COPIES = frozenset(
    {"setuptools", "hatchling", "flit_core", "poetry", "pdm", "uv_build", "flit", "backend", "pbr"}
)
#: The one of pixi-build that does.
_PIXI_COPIES = "pixi-build-python"
#: Folders of a flat project that are no packages of it (setuptools leaves them out as well).
_OTHERS = frozenset(
    "test tests testing doc docs example examples script scripts tool tools benchmark benchmarks build dist "
    "data notebooks requirements exercise exercises tasks news changelog ci bin debian node_modules".split()
)
_NO_MODULES = ("setup", "conftest")
_VERSION = re.compile(r"^__version__\s*(?::[^=\n]*)?=\s*['\"]([^'\"\n]+)['\"]", re.MULTILINE)
_MODULE = re.compile(r"[^\W\d]\w*(?:-stubs)?")
_WHEEL = "build a wheel of it (python -m build --wheel) and name its path in the manifest"


@attrs.frozen(kw_only=True)
class Project:
    """A project whose modules can travel as they lie.

    Attributes:
        folder: Where it is.
        name: Its name, as it spells it.
        version: Its version.
        modules: Path below `folder` of each package or module, and its path below ``site-packages``.
        metadata: The text of ``METADATA``.
        entry_points: Names and objects of its entry points, by group.
        warnings: What a person should know.
    """

    folder: Path
    name: str
    version: str
    modules: tuple[tuple[str, str], ...]
    metadata: str
    entry_points: Mapping[str, Mapping[str, str]] = attrs.field(factory=dict)
    warnings: tuple[str, ...] = ()


def read_project(folder: Path, name: str, locked_version: str, installed: Iterable[Path] = ()) -> Project:
    """Read the project in `folder`.

    Args:
        folder: Where it is.
        name: Its name in the lock.
        locked_version: Its version in the lock; empty: the lock has none.
        installed: Folders of installed packages in which its metadata may lie, for a version that only the
            build backend knows.

    Raises:
        UnsupportedPackages: Its files cannot travel as they lie; the message says why.
    """
    document = _document(folder, name)
    _check_backend(document, folder, name)
    said = _said(document)
    modules = tuple(_modules(document, folder, str(said.get("name") or name)))
    if not modules:
        raise _refused(
            name,
            folder,
            "which of its folders and files are its modules is not to be seen",
            f"name them for the build backend (packages = […]), or {_WHEEL}",
        )
    warnings = []
    version = (
        locked_version
        or str(said.get("version") or "")
        or _found_version(document, folder, name, modules, installed)
    )
    if not version:
        version = "0"
        warnings.append(
            f"the version of {name} ({folder}) is known to its build backend only, and is 0 on workers: "
            "pixi install notes it here, or write it into pyproject.toml"
        )
    return Project(
        folder=folder,
        name=str(said.get("name") or name),
        version=version,
        modules=modules,
        metadata=_metadata(said, name, version),
        entry_points=_entry_points(said),
        warnings=tuple(warnings),
    )


def _refused(name: str, folder: Path, why: str, hint: str = _WHEEL) -> UnsupportedPackages:
    return UnsupportedPackages(f"the package {name} in {folder} cannot travel as it lies: {why}", hint=hint)


def _document(folder: Path, name: str) -> dict[str, Any]:
    path = folder / "pyproject.toml"
    try:
        return parse_toml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _refused(name, folder, "it has no pyproject.toml") from None
    except (OSError, ValueError) as error:
        raise _refused(name, folder, f"{path} cannot be read: {error}", "mend that file") from None


def _table(document: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The table of that name; empty if there is none."""
    found: Any = document
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def _texts(found: Any) -> list[str]:
    if isinstance(found, str):
        return [found]
    return [one for one in found if isinstance(one, str)] if isinstance(found, Sequence) else []


def _check_backend(document: Mapping[str, Any], folder: Path, name: str) -> None:
    """Refuse a project that a build makes more of than copies of its files."""
    pixi = _table(document, "tool", "pixi", "package", "build")
    pixi = pixi or _table(_pixi_manifest(folder), "package", "build")
    backend = pixi.get("backend")
    pixi_name = str(backend.get("name") if isinstance(backend, Mapping) else backend or _PIXI_COPIES)
    if pixi_name != _PIXI_COPIES:
        raise _refused(
            name, folder, f"it is built by {pixi_name}", "build it once, and put the package into a channel"
        )
    backend = str(_table(document, "build-system").get("build-backend") or "setuptools.build_meta")
    if re.split(r"[.:]", backend)[0] not in _COPIES:
        raise _refused(name, folder, f"it is built by {backend}, which does more than copy Python files")
    setuptools = _table(document, "tool", "setuptools")
    try:
        setup = (folder / "setup.py").read_text(encoding="utf-8", errors="replace")
    except OSError:
        setup = ""
    hatch = _table(document, "tool", "hatch", "build")
    wheel = {**hatch, **_table(hatch, "targets", "wheel")}
    made = {
        "it has extension modules (setup.py)": "ext_modules" in setup,
        "it has extension modules": bool(setuptools.get("ext-modules")),
        "hatchling puts its files elsewhere (force-include, sources)": bool(
            wheel.get("force-include") or wheel.get("sources") or wheel.get("only-include")
        ),
        "it has a build script": bool(_table(document, "tool", "poetry", "build")),
    }
    why = next((text for text, so in made.items() if so), None)
    if why is not None:
        raise _refused(name, folder, why)


def _pixi_manifest(folder: Path) -> dict[str, Any]:
    try:
        return parse_toml((folder / "pixi.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


# ---- modules


def _modules(document: Mapping[str, Any], folder: Path, name: str) -> list[tuple[str, str]]:
    """The packages and modules of the project, by what its backend is told, else by the usual places."""
    named = [*_named(document, folder)]
    if named:
        return _existing(named, folder, name)
    module = normalize(name).replace("-", "_")
    for base in ("src", ""):
        for one in (module, f"{module}.py", f"{module}-stubs"):
            path = str(PurePosixPath(base, one))
            if (folder / path).exists():
                return [(path, one)]
    if (folder / "src").is_dir():
        return [(f"src/{one}", one) for one in _packages_in(folder / "src")]
    flat = [one for one in _packages_in(folder) if one not in _OTHERS]
    return [(one, one) for one in flat] if len(flat) == 1 else []


def _named(document: Mapping[str, Any], folder: Path) -> Iterable[tuple[str, str]]:
    """What the backend is told: (path, path below site-packages)."""
    hatch = _table(document, "tool", "hatch", "build")
    for path in _texts(_table(hatch, "targets", "wheel").get("packages") or hatch.get("packages")):
        yield path, PurePosixPath(path).name
    yield from _for_setuptools(_table(document, "tool", "setuptools"), folder)
    uv = _table(document, "tool", "uv", "build-backend")
    for module in _texts(uv.get("module-name")):
        path = module.replace(".", "/")
        yield str(PurePosixPath(str(uv.get("module-root", "src")), path)), path
    for package in _table(document, "tool", "poetry").get("packages") or ():
        if isinstance(package, Mapping) and isinstance(package.get("include"), str):
            yield str(PurePosixPath(str(package.get("from", "")), package["include"])), package["include"]
    flit = _table(document, "tool", "flit", "module").get("name")
    if isinstance(flit, str):
        yield from _either(folder, "src", flit)
    pdm = _table(document, "tool", "pdm", "build").get("package-dir")
    if isinstance(pdm, str) and (folder / pdm).is_dir():
        yield from ((str(PurePosixPath(pdm, one)), one) for one in _packages_in(folder / pdm))


def _for_setuptools(told: Mapping[str, Any], folder: Path) -> Iterable[tuple[str, str]]:
    base = str(_table(told, "package-dir").get("", ""))
    for module in _texts(told.get("py-modules")):
        path = f"{module.replace('.', '/')}.py"
        yield str(PurePosixPath(base, path)), path
    packages = told.get("packages")
    for package in _texts(packages):
        if "." not in package:  # the folder of a package has those inside of it
            yield str(PurePosixPath(base, package)), package
    find = _table(told, "packages", "find")
    include = [re.split(r"[.*?\[]", one)[0] for one in _texts(find.get("include"))]
    for where in _texts(find.get("where")) or ([base or "."] if include else []):
        for one in _packages_in(folder / where):
            if not include or any(one.startswith(start) for start in include):
                yield str(PurePosixPath(where, one)), one


def _either(folder: Path, base: str, module: str) -> Iterable[tuple[str, str]]:
    path = module.replace(".", "/")
    for start in ("", base):
        for one in (path, f"{path}.py"):
            if (folder / start / one).exists():
                yield str(PurePosixPath(start, one)), one
                return


def _packages_in(folder: Path) -> list[str]:
    """Packages and modules that lie in `folder`, sorted."""
    if not folder.is_dir():
        return []
    found = []
    for path in sorted(folder.iterdir()):
        if (path.is_dir() and _MODULE.fullmatch(path.name) and any(path.glob("**/*.py"))) or (
            path.suffix == ".py" and _MODULE.fullmatch(path.stem) and path.stem not in ("setup", "conftest")
        ):
            found.append(path.name)
    return found


def _existing(named: Iterable[tuple[str, str]], folder: Path, name: str) -> list[tuple[str, str]]:
    checked = []
    for path, place in dict.fromkeys(named):
        if any(part == ".." for one in (path, place) for part in PurePosixPath(one).parts) or path.startswith(
            "/"
        ):
            raise _refused(name, folder, f"its module {path!r} is not in its folder")
        if not (folder / path).exists():
            raise _refused(
                name, folder, f"it has no {path}, which its pyproject.toml names", "mend pyproject.toml"
            )
        checked.append((str(PurePosixPath(path)), str(PurePosixPath(place))))
    return checked


# ---- metadata


def _said(document: Mapping[str, Any]) -> dict[str, Any]:
    """``[project]``, or what Poetry 1 had instead, in its words."""
    project = _table(document, "project")
    if project:
        return project
    poetry = _table(document, "tool", "poetry")
    return {
        "name": poetry.get("name"),
        "version": poetry.get("version"),
        "description": poetry.get("description"),
        "scripts": poetry.get("scripts"),
        "entry-points": poetry.get("plugins"),
    }


def _found_version(
    document: Mapping[str, Any],
    folder: Path,
    name: str,
    modules: Sequence[tuple[str, str]],
    installed: Iterable[Path],
) -> str:
    """The version where pyproject.toml leaves it to the backend; empty: nobody here knows."""
    wanted = normalize(name)
    for site in installed:
        for info in sorted(site.glob("*.dist-info")):
            stem, _, version = info.name.removesuffix(".dist-info").partition("-")
            if normalize(stem) == wanted and version:
                return version
    places = [str(_table(document, "tool", "hatch", "version").get("path") or "")]
    places += [str(_table(document, "tool", "pdm", "version").get("path") or "")]
    for path, _ in modules:
        places += [path] if path.endswith(".py") else [f"{path}/_version.py", f"{path}/__init__.py"]
    for place in filter(None, places):
        try:
            found = _VERSION.search((folder / place).read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
        if found:
            return found[1]
    return ""


def _metadata(said: Mapping[str, Any], name: str, version: str) -> str:
    """The text of ``METADATA`` (core metadata specification, version 2.1)."""
    lines = ["Metadata-Version: 2.1", f"Name: {said.get('name') or name}", f"Version: {version}"]
    if isinstance(said.get("description"), str):
        lines.append(f"Summary: {said['description']}")
    if isinstance(said.get("requires-python"), str):
        lines.append(f"Requires-Python: {said['requires-python']}")
    lines += [f"Requires-Dist: {one}" for one in _texts(said.get("dependencies"))]
    for extra, needed in sorted(_table(said, "optional-dependencies").items()):
        lines.append(f"Provides-Extra: {extra}")
        for one in _texts(needed):
            requirement, mark, condition = one.partition(";")
            also = f"({condition.strip()}) and " if mark else ""
            lines.append(f"Requires-Dist: {requirement.strip()} ; {also}extra == '{extra}'")
    return "".join(f"{' '.join(line.split())}\n" for line in lines)


def _entry_points(said: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Entry points by group; programs are the group ``console_scripts``."""
    groups = {"console_scripts": _table(said, "scripts"), "gui_scripts": _table(said, "gui-scripts")}
    groups.update({group: _table(said, "entry-points", group) for group in _table(said, "entry-points")})
    return {
        group: {name: value for name, value in sorted(points.items()) if isinstance(value, str)}
        for group, points in sorted(groups.items())
        if points
    }
