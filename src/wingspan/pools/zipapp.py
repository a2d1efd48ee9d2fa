"""The worker as one file, ``worker.pyz``: `wingspan.worker`, cloudpickle and HTCondor's htchirp.

Kept in the cache under a name made of what is inside, so that it is built once a version. Beside the sources
lies what they are compiled to: of the worker's modules all in one file (see `wingspan.worker.together`), of
the others in files of their own (unchecked-hash pyc, PEP 552). A worker of another Python version falls back
to the sources.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import stat
import sys
import tempfile
from pathlib import Path

from wingspan.settings import load_settings, private_folder
from wingspan.worker import together, trust

__all__ = ["copied", "worker_digest", "worker_zipapp"]

_PACKAGE = "wingspan_worker"
#: Modules of the worker that the archive has at its top.
_AT_THE_TOP = ("__main__.py", "wingspan_main.py")
#: Those that are imported before `together` can find the others.
_FIRST = ("__init__.py", "together.py")
#: Bytes of a pyc before its code (PEP 552).
_PYC_HEAD = 16


def _members() -> list[tuple[str, Path]]:
    """``(name in the archive, source)`` of every module that goes in."""
    import wingspan.worker

    members = [
        (f"{_PACKAGE}/{source.name}", source)
        for source in sorted(Path(wingspan.worker.__path__[0]).glob("*.py"))
        if source.name not in _AT_THE_TOP
    ]
    members += [(name, Path(wingspan.worker.__path__[0]) / name) for name in _AT_THE_TOP]
    for package, name in (("cloudpickle", "cloudpickle"), ("htcondor2.htchirp", "htchirp")):
        folder = _package_folder(package)
        if folder is not None:
            members += [(f"{name}/{source.name}", source) for source in sorted(folder.glob("*.py"))]
    return members


def _package_folder(package: str) -> Path | None:
    # Not importlib.util.find_spec("htcondor2.htchirp"): that would import htcondor2, which is heavy.
    top, _, rest = package.partition(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = (
        Path(spec.submodule_search_locations[0], *rest.split("."))
        if rest
        else Path(spec.submodule_search_locations[0])
    )
    return folder if folder.is_dir() else None


def worker_zipapp() -> Path:
    """The archive for this version of everything in it, built if it is not in the cache yet."""
    cache = load_settings().cache_dir
    path = _known.get(cache)
    if path is None or not path.exists():
        path = _known[cache] = _find_or_build(cache)
    return path


#: The archive in each cache folder: what is inside does not change under a running Python.
_known: dict[Path, Path] = {}


#: Digests of archives, by what tells one file from another.
_digests: dict[tuple[int, int, int], bytes] = {}
#: How many are kept: a session may make any number of maps.
_MOST = 1000


def worker_digest(path: str | Path) -> bytes:
    """The digest of an archive, which is read once."""
    facts = os.stat(path)  # noqa: PTH116 - asked for every map
    identity = (facts.st_dev, facts.st_ino, facts.st_mtime_ns)
    if identity not in _digests:
        _note(identity, hashlib.blake2b(Path(path).read_bytes(), digest_size=16).digest())
    return _digests[identity]


def copied(archive: Path, copy: Path) -> None:
    """A copy of `archive` was made just now: its digest need not be computed."""
    facts = copy.stat()
    _note((facts.st_dev, facts.st_ino, facts.st_mtime_ns), worker_digest(archive))


def _note(identity: tuple[int, int, int], digest: bytes) -> None:
    if len(_digests) >= _MOST:
        _digests.clear()
    _digests[identity] = digest


def _find_or_build(cache: Path) -> Path:
    members = _members()
    digest = hashlib.sha256(sys.implementation.cache_tag.encode())
    # This module decides what becomes of them.
    for name, source in [*members, ("", Path(__file__))]:
        facts = source.stat()
        digest.update(f"{name}\0{facts.st_size}\0{facts.st_mtime_ns}\0".encode())
    path = private_folder(cache, "worker") / f"worker-{digest.hexdigest()[:16]}.pyz"
    if not _is_ours(path):
        _build(path, members)
    return path


def _is_ours(path: Path) -> bool:
    """Whether it is there, and nobody else can have changed it, since it will be executed."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and trust.is_closed(str(path))


def _build(path: Path, members: list[tuple[str, Path]]) -> None:
    import py_compile
    import zipfile

    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    with (
        tempfile.TemporaryDirectory(dir=path.parent) as folder,
        trust.replacing(str(path), sync=False) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
    ):
        compiled = Path(folder, "compiled")
        of_worker: dict[str, bytes] = {}
        for name, source in members:
            text = source.read_bytes()
            archive.writestr(zipfile.ZipInfo(name), text)
            py_compile.compile(
                str(source), cfile=str(compiled), dfile=name, doraise=True, invalidation_mode=mode
            )
            if name.startswith(f"{_PACKAGE}/") and source.name not in _FIRST:
                of_worker[f"{_PACKAGE}.{source.stem}"] = compiled.read_bytes()[_PYC_HEAD:]
            else:
                archive.writestr(zipfile.ZipInfo(name + "c"), compiled.read_bytes())
        archive.writestr(zipfile.ZipInfo(together.FILE), together.pack(of_worker))
