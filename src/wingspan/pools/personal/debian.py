"""HTCondor from the Debian family's own packages, unpacked without root; the machine's stay untouched.

apt itself resolves, downloads and checks (the suite's signature by the machine's keyrings, each package by
the hash in the signed index), on a private state in which nothing is installed. The mirror is the one that
the machine's own sources name. The programs are then given the C library and the libraries that were
unpacked beside them, since a current HTCondor usually wants a newer C library than the machine has.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from wingspan._apt import private_settings
from wingspan.pools.personal.errors import SourceError
from wingspan.pools.personal.version import MINIMUM_VERSION, numbers
from wingspan.progress import Progress

__all__ = ["candidates", "obtain"]

#: Newest first: HTCondor moves fast and the stable suites keep an old one.
_SUITES = {"debian": ("unstable", "testing", "stable-backports", "stable"), "ubuntu": ("devel",)}

#: patchelf comes from the same suite: it is then signed like the rest, and no dependency of ours.
_ROOTS = ("condor", "patchelf")

_Obtain = Callable[[Path, Callable[[str], Path], Progress], tuple[str, str]]


def candidates() -> list[tuple[str, _Obtain]]:
    """The suites to try on this machine, as (name, obtain); elsewhere one that only explains itself."""
    family = _family()
    if family is None or shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return [("debian", _not_here)]
    suites = [*_SUITES[family], _os_release().get("VERSION_CODENAME", "")]
    return [(f"{family}-{suite}", partial(obtain, suite)) for suite in dict.fromkeys(suites) if suite]


def _not_here(work: Path, place: Callable[[str], Path], progress: Progress) -> tuple[str, str]:
    raise SourceError("this machine is not of the Debian family")


def _os_release() -> dict[str, str]:
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return {}
    return {
        key: value.strip().strip("\"'")
        for key, sign, value in (line.partition("=") for line in text.splitlines())
        if sign
    }


def _family() -> str | None:
    release = _os_release()
    names = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    return next((family for family in ("ubuntu", "debian") if family in names), None)


class _Apt:
    """apt-get and apt-cache on a private state under `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("lists/partial", "archives/partial", "sources"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        self.environment = {**os.environ, "LC_ALL": "C"}
        self.environment.pop("APT_CONFIG", None)
        # The machine's settings (proxies, certificates), less the hooks that work on the machine's own state.
        machine = [
            line for line in self.run("apt-config", "dump").splitlines() if "invoke" not in line.lower()
        ]
        own = {
            "Dir::Etc::Parts": "/dev/null",
            "Dir::Etc::Main": "/dev/null",
            "Dir::Etc::SourceList": "/dev/null",
            "Dir::Etc::SourceParts": folder / "sources",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::State": folder,
            "Dir::State::Lists": folder / "lists",
            "Dir::State::Status": folder / "status",
            "Dir::Cache": folder,
            "Dir::Cache::Archives": folder / "archives",
            "APT::Install-Recommends": "false",
            **private_settings(),
            "Acquire::Retries": "1",
            "Acquire::http::Timeout": "15",
            "Acquire::https::Timeout": "15",
        }
        lines = [*machine, *(f'{key} "{value}";' for key, value in own.items())]
        (folder / "apt.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.environment["APT_CONFIG"] = str(folder / "apt.conf")

    def run(self, *command: str, timeout: float = 180) -> str:
        """Standard output of an apt command; SourceError with the last thing it complained of."""
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout, env=self.environment, check=False
            )
        except subprocess.TimeoutExpired:
            raise SourceError(f"{command[0]} did not finish within {timeout:.0f} s") from None
        if done.returncode:
            raise SourceError(_complaint(done.stderr) or f"{' '.join(command[:2])} failed")
        return done.stdout

    def download(self, packages: list[str], folder: Path, progress: Progress, total: int) -> None:
        """Fetch packages of the private state; apt refuses one whose hash is not the signed index's."""
        folder.mkdir()
        command = ["apt-get", "download", "-q", "-o", "APT::Status-Fd=1", *packages]
        task = progress.start("Downloading HTCondor", total)
        done = 0.0
        errors = self.folder / "errors"
        with errors.open("wb") as stream:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=stream, text=True, cwd=folder, env=self.environment
            )
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    if line.startswith("dlstatus:"):  # dlstatus:<item>:<percent of all>:<description>
                        now = float(line.split(":")[2]) / 100 * total
                        progress.advance(task, max(now - done, 0.0))
                        done = max(now, done)
                process.wait()
            except BaseException:
                process.kill()
                process.wait()
                raise
            finally:
                process.stdout.close()  # type: ignore[union-attr]
                progress.finish(task)
        if process.returncode:
            raise SourceError(_complaint(errors.read_text()) or "apt-get download failed")


def _complaint(text: str) -> str:
    errors = [line[2:].strip() for line in text.splitlines() if line.startswith(("E:", "W:"))]
    return "; ".join(errors[:2])


def _mirrors(apt: _Apt) -> list[str]:
    """Repositories of the machine's own sources that carry its own release: the distribution's mirrors."""
    own = dict(apt.environment)
    own.pop("APT_CONFIG")
    command = ["apt-get", "update", "--print-uris", "-o", f"Dir::State::Lists={apt.folder / 'lists'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=own, check=False)
    release = _os_release()
    names = {
        *(release.get(key, "") for key in ("VERSION_CODENAME", "UBUNTU_CODENAME", "DEBIAN_CODENAME")),
        *("stable", "testing", "unstable", "sid"),
    }
    found = re.findall(r"^'([^']+)/dists/([^/']+)/(?:In)?Release(?:\.gpg)?'", done.stdout, flags=re.MULTILINE)
    mirrors = list(dict.fromkeys(uri for uri, name in found if name in names))
    if not mirrors:
        raise SourceError("the machine's apt sources name no mirror of its own release")
    return mirrors


def _keyrings() -> str:
    """The distribution's keyrings; where there are none, apt's own trusted keys hold (an empty answer)."""
    folder = Path("/usr/share/keyrings")
    found = sorted(
        path
        for name in ("debian-archive-keyring", "ubuntu-archive-keyring")
        for path in folder.glob(f"{name}.*")
        if path.suffix in (".gpg", ".pgp", ".asc")
    )
    return ",".join(map(str, found))


def _paragraphs(text: str) -> Iterator[dict[str, str]]:
    for paragraph in text.split("\n\n"):
        fields = re.findall(r"^([A-Za-z0-9-]+): (.*)$", paragraph, flags=re.MULTILINE)
        if fields:
            yield dict(fields)


def _needed(apt: _Apt) -> dict[str, dict[str, str]]:
    """The packages to unpack: what apt would install, less everything that is no library.

    HTCondor's package depends on Perl, systemd and more for scripts and services that a personal pool does
    not start; the libraries are reached through libraries only.
    """
    planned = apt.run("apt-get", "install", "--print-uris", "-qq", *_ROOTS)
    names = [re.split(r"[_\s]", line.split(" ")[1])[0] for line in planned.splitlines() if line[:1] == "'"]
    records = {
        fields["Package"]: fields
        for fields in _paragraphs(apt.run("apt-cache", "show", "--no-all-versions", *names))
    }
    if not set(_ROOTS) <= set(records):
        raise SourceError("the suite has no condor package")

    def mentioned(fields: dict[str, str], *keys: str) -> list[str]:
        text = ",".join(fields.get(key, "") for key in keys)
        return [re.split(r"[\s:(]", part.strip())[0] for part in re.split(r"[,|]", text) if part.strip()]

    providers: dict[str, list[str]] = {}
    for name, fields in records.items():
        for provided in mentioned(fields, "Provides"):
            providers.setdefault(provided, []).append(name)
    wanted: dict[str, dict[str, str]] = {}
    left = list(_ROOTS)
    while left:
        name = left.pop()
        if name in wanted:
            continue
        wanted[name] = records[name]
        for other in mentioned(records[name], "Depends", "Pre-Depends"):
            for package in [other] if other in records else providers.get(other, []):
                if records[package].get("Section", "").endswith("libs"):
                    left.append(package)
    return wanted


def _loader(prefix: Path) -> Path:
    """The dynamic loader of the unpacked C library."""
    for pattern in ("usr/lib*/ld-linux*.so.*", "lib*/ld-linux*.so.*", "usr/lib/*/ld-linux*.so.*"):
        for path in sorted(prefix.glob(pattern)):
            return path
    raise SourceError("the unpacked C library has no dynamic loader")


def _bind_to_own_libraries(prefix: Path, final: Path) -> None:
    """Make HTCondor's programs load the C library and libraries beside them, as they will lie in `final`.

    Only programs: a patched C library crashes. DT_RPATH and not RUNPATH, so that it also serves what the
    libraries themselves need. Jobs are ordinary programs of the machine and see none of this.
    """
    loader = _loader(prefix)
    folders = [d for d in (prefix / "usr/lib", prefix / "lib") if d.is_dir() and not d.is_symlink()]
    folders += [d for top in list(folders) for d in sorted(top.glob("*-linux-gnu*")) if d.is_dir()]

    def joined(base: Path) -> str:
        return ":".join(str(base / folder.relative_to(prefix)) for folder in folders)

    patchelf = [str(loader), "--library-path", joined(prefix), str(prefix / "usr/bin/patchelf")]
    interpreter = str(final / loader.relative_to(prefix))
    for top in ("usr/bin", "usr/sbin", "usr/libexec", "usr/lib/condor"):
        for path in sorted((prefix / top).rglob("*")):
            if path.is_symlink() or not path.is_file() or ".so" in path.name or path.name == "patchelf":
                continue
            with path.open("rb") as stream:
                if stream.read(4) != b"\x7fELF":
                    continue
            done = subprocess.run(
                [
                    *patchelf,
                    "--set-interpreter",
                    interpreter,
                    "--force-rpath",
                    "--set-rpath",
                    joined(final),
                    path,
                ],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode and "statically linked" not in done.stderr:
                raise SourceError(f"patchelf {path.name}: {done.stderr.strip()}")


def obtain(suite: str, work: Path, place: Callable[[str], Path], progress: Progress) -> tuple[str, str]:
    """Unpack HTCondor of `suite` and the libraries it needs into `work`.

    Args:
        suite: Such as ``unstable``.
        work: An empty folder.
        place: Version to the folder that `work` will be renamed to.
        progress: Hears of the download.

    Returns:
        The version, and HTCondor's prefix relative to `work`.

    Raises:
        SourceError: The suite cannot be reached, its signature is not known here, or it has no usable
            HTCondor.
    """
    apt = _Apt(work / "apt")
    signed_by = _keyrings()
    source = f"Types: deb\nURIs: {' '.join(_mirrors(apt))}\nSuites: {suite}\nComponents: main\n"
    if _family() == "ubuntu":
        source = source.replace("Components: main", "Components: main universe")
    if signed_by:
        source += f"Signed-By: {signed_by}\n"
    (apt.folder / "sources" / "suite.sources").write_text(source, encoding="utf-8")
    task = progress.start(f"Reading the package index of {suite}")
    try:
        apt.run("apt-get", "update", "-q")
    finally:
        progress.finish(task)
    packages = _needed(apt)
    version = packages["condor"]["Version"]
    if numbers(version) < MINIMUM_VERSION:
        raise SourceError(f"{suite} has HTCondor {version}, which is too old")
    version = ".".join(map(str, numbers(version)))
    total = sum(int(fields["Size"]) for fields in packages.values())
    apt.download([f"{n}={f['Version']}" for n, f in packages.items()], work / "debs", progress, total)
    archives = sorted((work / "debs").glob("*.deb"))
    task = progress.start("Unpacking HTCondor", len(archives))
    prefix = work / "root"
    prefix.mkdir()
    for archive in archives:
        apt.run("dpkg-deb", "-x", str(archive), str(prefix))
        progress.advance(task)
    progress.finish(task)
    _bind_to_own_libraries(prefix, place(version) / "root")
    for folder in (work / "debs", work / "apt", prefix / "usr/share/doc", prefix / "usr/share/man"):
        shutil.rmtree(folder, ignore_errors=True)
    return version, "root/usr"
