"""An HTCondor on this machine: where its programs are, and how one is obtained when there is none."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import attrs

from wingspan._words import notice
from wingspan.errors import SettingsError
from wingspan.pools.personal.errors import InstallationError, SourceError
from wingspan.pools.personal.locking import exclusive
from wingspan.pools.personal.version import MINIMUM_VERSION, numbers, version_of
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.settings import load_settings
from wingspan.worker import trust

__all__ = ["Installation", "cached", "install"]

_RECORD = "installation.json"


@attrs.frozen
class Installation:
    """An HTCondor whose programs can be run.

    Attributes:
        prefix: HTCondor's RELEASE_DIR: holds ``sbin/condor_master``.
        version: Such as ``"25.14.1"``.
        source: Where it came from: ``"system"``, ``"conda-forge"`` or ``"debian-<suite>"``.
    """

    prefix: Path
    version: str
    source: str

    @property
    def bin(self) -> Path:
        return self.prefix / "bin"

    @property
    def sbin(self) -> Path:
        return next((d for d in (self.prefix / "sbin", self.bin) if (d / "condor_master").exists()), self.bin)

    @property
    def libexec(self) -> Path:
        nested = self.prefix / "libexec" / "condor"
        return nested if nested.is_dir() else self.prefix / "libexec"

    @property
    def lib(self) -> Path:
        names = ("lib/condor", "lib64/condor")
        return next((self.prefix / n for n in names if (self.prefix / n).is_dir()), self.prefix / "lib")

    @property
    def share(self) -> Path:
        return self.prefix / "share" / "condor"


def system() -> Installation:
    """The HTCondor that is installed on this machine.

    Raises:
        SourceError: There is none, or it is too old.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    master = shutil.which("condor_master", path=path)
    if master is None:
        raise SourceError("no condor_master on this machine")
    prefix = Path(master).resolve().parent.parent
    version = version_of(prefix / "bin" / "condor_version")
    if numbers(version) < MINIMUM_VERSION:
        wanted = ".".join(map(str, MINIMUM_VERSION))
        raise SourceError(f"{master} is HTCondor {version}; at least {wanted} is needed")
    return Installation(prefix, version, "system")


def _cache_dir() -> Path:
    return load_settings().cache_dir / "htcondor"


def cached(cache_dir: Path | None = None) -> Installation | None:
    """The newest HTCondor that was obtained before, or None. Asks no network."""
    found = []
    for record in (cache_dir or _cache_dir()).glob(f"*/{_RECORD}"):
        try:
            data = json.loads(record.read_text(encoding="utf-8"))
            one = Installation(record.parent / data["prefix"], data["version"], data["source"])
        except (OSError, ValueError, KeyError):
            continue  # not ours, or damaged by hand
        if (one.sbin / "condor_master").exists():
            found.append(one)
    return max(found, key=lambda one: numbers(one.version), default=None)


@attrs.frozen
class Source:
    """Somewhere HTCondor can be had.

    Attributes:
        name: Its name in messages, file names and `Installation.source`.
        obtain: Called with an empty folder to work in, the folder that it will be renamed to, and the
            progress to report to; answers version and the prefix relative to the folder. Raises SourceError.
    """

    name: str
    obtain: Callable[[Path, Callable[[str], Path], Progress], tuple[str, str]]


def sources() -> list[Source]:
    """Everything that is tried when the machine has no HTCondor, in order; `conda` says why it is last."""
    from wingspan.pools.personal import conda, debian

    return [*(Source(n, o) for n, o in debian.candidates()), Source("conda-forge", conda.obtain)]


def _put_in_place(source: Source, cache_dir: Path, progress: Progress) -> Installation:
    """Obtain into a temporary folder, then rename: a kill half-way leaves nothing that looks whole."""

    def place(version: str) -> Path:
        return cache_dir / f"{version}-{source.name}"

    work = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=cache_dir))
    try:
        version, prefix = source.obtain(work, place, progress)
        record = {"version": version, "source": source.name, "prefix": prefix}
        trust.write_whole(str(work / _RECORD), json.dumps(record).encode() + b"\n")
        target = place(version)
        if (target / prefix).exists() and (target / _RECORD).exists():
            shutil.rmtree(work)  # the same version again: a pool may be running from that one
            return Installation(target / prefix, version, source.name)
        if target.exists():
            shutil.rmtree(target)
        work.rename(target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return Installation(target / prefix, version, source.name)


def install(
    progress: Progress = NO_PROGRESS, *, cache_dir: Path | None = None, upgrade: bool = False
) -> Installation:
    """Find HTCondor on this machine or in the cache, or obtain it, verified by its source's signatures.

    Args:
        progress: Hears of downloads.
        cache_dir: Where to keep it; default ``<cache>/htcondor`` of the settings.
        upgrade: Ask the sources even when the cache has one.

    Raises:
        InstallationError: No source had it; the message says what each answered.
    """
    failures: list[tuple[str, str]] = []
    try:
        return system()
    except SourceError as error:
        failures.append(("this machine", error.message))
    cache_dir = cache_dir or _cache_dir()
    if not upgrade and (found := cached(cache_dir)) is not None:
        return found
    try:
        trust.make_folder(str(cache_dir))
    except OSError as error:
        raise SettingsError(
            f"the cache folder {cache_dir} cannot be made: {error.strerror}",
            hint="set WINGSPAN_CACHE_DIR to a folder you can write to",
        ) from None
    with exclusive(cache_dir / ".lock"):
        if not upgrade and (found := cached(cache_dir)) is not None:
            return found  # another process obtained it while we waited
        for left in cache_dir.glob(
            ".unfinished-*"
        ):  # of a process that was killed: nobody else holds the lock
            shutil.rmtree(left, ignore_errors=True)
        is_drawn = progress is not NO_PROGRESS and os.isatty(2)
        if not is_drawn:  # a script without a terminal would be silent for a minute
            notice(f"obtaining HTCondor for the personal pool into {cache_dir}; once; about a minute")
        for source in sources():
            try:
                found = _put_in_place(source, cache_dir, progress)
                if not is_drawn:
                    notice(f"HTCondor {found.version} ({found.source}) is ready")
                return found
            except SourceError as error:
                failures.append((source.name, error.message))
            except OSError as error:
                failures.append((source.name, str(error)))
    lines = "\n".join(f"  {name}: {message}" for name, message in failures)
    raise InstallationError(
        f"HTCondor could not be obtained:\n{lines}",
        hint="install HTCondor (its package is called condor or htcondor) so that condor_master is on PATH, "
        "or go on without it: wingspan.map(..., pool='local')",
    )
