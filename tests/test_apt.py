"""Packages of Debian's for bundles and for the personal pool: none that nobody, or somebody else, has
signed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wingspan import _apt
from wingspan.environments.bundles.machine import debian as for_bundles
from wingspan.pools.personal import debian as for_pools
from wingspan.pools.personal.errors import SourceError
from wingspan.progress import NO_PROGRESS

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("apt-get", "dpkg-deb", "gpg"))), reason="needs apt and gpg"
)

#: What the settings of a machine may allow.
LENIENT = """
APT::Get::AllowUnauthenticated "true";
Acquire::AllowInsecureRepositories "true";
Acquire::AllowWeakRepositories "true";
Acquire::AllowDowngradeToInsecureRepositories "true";
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """Makes a key pair by name: a GnuPG home with the public key exported in ``public.gpg``."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            home = made[name] = tmp_path_factory.mktemp(name)
            home.chmod(0o700)
            words = ["--quick-gen-key", f"{name} <{name}@example.org>", "ed25519", "sign", "never"]
            gpg(home, "--passphrase", "", *words)
            gpg(home, "--output", str(home / "public.gpg"), "--export")
        return made[name]

    yield make
    for home in made.values():
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, capture_output=True)


def gpg(home: Path, *words: str) -> None:
    subprocess.run(["gpg", "--homedir", home, "--batch", "--quiet", *words], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one package, which nobody has signed."""
    folder = tmp_path / "repository"
    control = tmp_path / "deb/DEBIAN/control"
    control.parent.mkdir(parents=True)
    control.parent.parent.chmod(0o755)
    control.write_text(
        "Package: signed-probe\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n"
    )
    index = folder / "dists/stable/main/binary-amd64/Packages"
    index.parent.mkdir(parents=True)
    deb = folder / "pool/signed-probe_1_all.deb"
    deb.parent.mkdir()
    subprocess.run(["dpkg-deb", "--build", control.parents[1], deb], check=True, capture_output=True)
    index.write_text(
        f"{control.read_text()}Filename: pool/{deb.name}\nSize: {deb.stat().st_size}\n"
        f"SHA256: {hashlib.sha256(deb.read_bytes()).hexdigest()}\n"
    )
    content = index.read_bytes()
    (folder / "dists/stable/Release").write_text(
        "Origin: x\nSuite: stable\nCodename: stable\nArchitectures: amd64 all\nComponents: main\n"
        "Date: Mon, 01 Jan 2024 00:00:00 UTC\n"
        f"SHA256:\n {hashlib.sha256(content).hexdigest()} {len(content)} main/binary-amd64/Packages\n"
    )
    return folder


@pytest.fixture
def lenient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the machine that allow packages which nobody has signed, for both drivers."""
    settings = tmp_path / "apt.conf"
    settings.write_text(LENIENT)
    monkeypatch.setenv("APT_CONFIG", str(settings))
    programs = tmp_path / "programs"
    programs.mkdir()
    # the pool's driver asks apt for the machine's settings, of the files in /etc/apt
    (programs / "apt-config").write_text(f'#!/bin/sh\n{shutil.which("apt-config")} "$@"\ncat {settings}\n')
    (programs / "apt-config").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")


def sign(repository: Path, home: Path) -> None:
    release = repository / "dists/stable/Release"
    gpg(home, "--clearsign", "--output", str(release.with_name("InRelease")), str(release))


def fetch_for_bundles(
    repository: Path, keyring: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Names of the files that the driver for bundles gets."""
    monkeypatch.setattr(for_bundles, "mirror", lambda: (repository.as_uri(), "other"))
    monkeypatch.setattr(for_bundles, "_KEYRING", keyring)
    return [path.name for path in for_bundles.fetch(["signed-probe"], folder / "debs", suite="stable")]


def fetch_for_pools(
    repository: Path, keyring: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Names of the files that the driver for the personal pool gets."""
    apt = for_pools._Apt(folder / "apt")
    (folder / "apt/sources/x.list").write_text(
        f"deb [signed-by={keyring}] {repository.as_uri()} stable main\n"
    )
    apt.run("apt-get", "update", "-q")
    apt.download(["signed-probe"], folder / "debs", NO_PROGRESS, 1)
    return [path.name for path in (folder / "debs").glob("*.deb")]


DRIVERS = {"bundles": fetch_for_bundles, "pools": fetch_for_pools}
both = pytest.mark.parametrize("driver", sorted(DRIVERS))
REFUSED = (for_bundles.DebianUnavailable, SourceError)


@both
def test_what_is_signed_by_the_right_key_is_taken(
    driver: str,
    repository: Path,
    keys: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A package of a repository that the named key has signed is fetched."""
    sign(repository, keys("right"))
    found = DRIVERS[driver](repository, keys("right") / "public.gpg", tmp_path, monkeypatch)
    assert found == ["signed-probe_1_all.deb"]


@both
@pytest.mark.parametrize("signed_by", [None, "wrong"])
def test_what_is_not_is_refused_whatever_the_machine_allows(
    signed_by: str | None,
    driver: str,
    repository: Path,
    keys: Callable[[str], Path],
    lenient: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A repository that nobody, or another key, has signed gives no package, though the machine's
    settings allow it.
    """
    if signed_by is not None:
        sign(repository, keys(signed_by))
    with pytest.raises(REFUSED):
        DRIVERS[driver](repository, keys("right") / "public.gpg", tmp_path, monkeypatch)
    assert not list(tmp_path.glob("debs/*.deb"))


@both
def test_the_settings_of_the_machine_would_allow_it(
    driver: str,
    repository: Path,
    keys: Callable[[str], Path],
    lenient: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without our own settings these packages are taken: it is those that keep them away."""
    monkeypatch.setattr(_apt, "STRICT", {})
    found = DRIVERS[driver](repository, keys("right") / "public.gpg", tmp_path, monkeypatch)
    assert found == ["signed-probe_1_all.deb"]


@both
def test_an_altered_package_is_refused(
    driver: str,
    repository: Path,
    keys: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A package that is not the one in the signed index is not taken."""
    sign(repository, keys("right"))
    deb = repository / "pool/signed-probe_1_all.deb"
    deb.write_bytes(deb.read_bytes()[:-1] + b"x")
    with pytest.raises(REFUSED):
        DRIVERS[driver](repository, keys("right") / "public.gpg", tmp_path, monkeypatch)
    assert not list(tmp_path.glob("debs/*.deb"))
