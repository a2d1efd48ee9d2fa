"""Debian packages without apt's own state and without root: fetched into a folder, unpacked into a prefix.

The mirror is read from the machine's own apt sources; apt itself checks the suite's signature and the
packages' hashes.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from wingspan._apt import private_settings

__all__ = ["DebianUnavailable", "fetch", "fetch_with_dependencies", "mirror", "unpack"]

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class DebianUnavailable(RuntimeError):
    """This machine has no apt or no Debian mirror, or the mirror does not have the package."""


def mirror() -> tuple[str, str]:
    """(address of the Debian mirror, suite) that this machine's apt uses, for the main archive.

    Raises:
        DebianUnavailable: The machine's sources name none.
    """
    apt = Path("/etc/apt")
    files = [apt / "sources.list", *sorted(apt.glob("sources.list.d/*"))]
    for text in (path.read_text(encoding="utf-8", errors="replace") for path in files if path.is_file()):
        found = re.search(r"^deb(?:\s+\[[^\]]*\])?\s+(\S+)\s+([a-z]+)\s.*\bmain\b", text, re.MULTILINE)
        if found and "security" not in found[1]:
            return found[1], found[2]
        for stanza in text.split("\n\n"):
            fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.MULTILINE))
            uris, suites = fields.get("URIs", "").split(), fields.get("Suites", "").split()
            if "deb" in fields.get("Types", "").split() and uris and suites and "security" not in uris[0]:
                return uris[0], suites[0]
    raise DebianUnavailable("no Debian mirror in /etc/apt/sources.list or /etc/apt/sources.list.d")


def fetch(packages: list[str], folder: Path, *, suite: str | None = None) -> list[Path]:
    """Download `packages` of `suite` (None: the machine's own) into `folder`.

    Files that are there are not fetched again.

    Returns:
        The ``.deb`` files, in the order of `packages`.

    Raises:
        DebianUnavailable: apt or a package is not to be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    there = [_find(folder, package) for package in packages]
    if all(there):
        return [path for path in there if path]
    suite = suite or mirror()[1]
    with _Apt(suite) as apt:
        apt.download(packages, folder)
    found = [_find(folder, package) for package in packages]
    missing = [package for package, path in zip(packages, found, strict=True) if path is None]
    if missing:
        raise DebianUnavailable(f"{suite} has no {', '.join(missing)}")
    return [path for path in found if path]


def fetch_with_dependencies(
    packages: list[str], folder: Path, *, without: re.Pattern[str], suite: str | None = None
) -> list[Path]:
    """Download `packages` and their dependencies in `suite` (None: the machine's own) into a new `folder`,
    except names that match `without`.

    apt finds the libraries, whose names differ between releases.

    Raises:
        DebianUnavailable: apt or a package is not to be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _Apt(suite or mirror()[1]) as apt:
        apt.download(sorted(name for name in apt.closure(packages) if not without.fullmatch(name)), folder)
    return sorted(folder.glob("*.deb"))


class _Apt:
    """apt with a private state, for one suite of the machine's mirror."""

    def __init__(self, suite: str) -> None:
        self.suite = suite

    def __enter__(self) -> _Apt:
        self._folder = tempfile.TemporaryDirectory(prefix="wingspan-apt-")
        state = Path(self._folder.name)
        address, own_suite = mirror()
        for part in ("lists/partial", "cache/archives/partial", "empty.d"):
            (state / part).mkdir(parents=True)
        (state / "status").touch()
        suites = [(address, self.suite)]
        if self.suite == own_suite and self.suite not in ("unstable", "sid"):
            suites.append((address.rstrip("/") + "-security", f"{self.suite}-security"))
        (state / "sources.list").write_text(
            "".join(f"deb [signed-by={_KEYRING}] {uri} {name} main\n" for uri, name in suites)
        )
        settings = {
            "Dir::Etc::SourceList": state / "sources.list",
            "Dir::Etc::SourceParts": state / "empty.d",
            "Dir::Etc::PreferencesParts": state / "empty.d",
            "Dir::State": state,
            "Dir::State::Lists": state / "lists",
            "Dir::State::status": state / "status",
            "Dir::Cache": state / "cache",
            **private_settings(),
        }
        self._words = ["apt-get", "-qq", *(word for k, v in settings.items() for word in ("-o", f"{k}={v}"))]
        self._run("update", where=state)
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def _run(self, *words: str, where: Path) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [*self._words, *words],
                cwd=where,
                env={**os.environ, "LC_ALL": "C"},
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError:
            self._folder.cleanup()
            raise DebianUnavailable("this machine has no apt-get") from None

    def download(self, packages: Sequence[str], folder: Path) -> None:
        """Download them into `folder`."""
        done = self._run("download", *packages, where=folder)
        if done.returncode:
            raise DebianUnavailable(f"{self.suite}: {done.stderr.strip()[-500:]}")

    def closure(self, packages: Sequence[str]) -> set[str]:
        """Names of the packages and of all that they depend on."""
        words = ("-s", "--no-install-recommends", "install", *packages)
        done = self._run(*words, where=Path(self._folder.name))
        found = set(re.findall(r"^Inst (\S+) ", done.stdout, re.MULTILINE))
        if done.returncode or not found:
            raise DebianUnavailable(f"{self.suite}: {(done.stderr or done.stdout).strip()[-500:]}")
        return found


def _find(folder: Path, package: str) -> Path | None:
    return next(iter(sorted(folder.glob(f"{package}_*.deb"))), None)


def unpack(debs: list[Path], prefix: Path) -> None:
    """Unpack packages into `prefix`; their maintainer scripts are not run."""
    prefix.mkdir(parents=True, exist_ok=True)
    for deb in debs:
        subprocess.run(["dpkg-deb", "-x", str(deb), str(prefix)], check=True)
