"""Obtaining HTCondor: sources in turn, what is refused, what a kill leaves, what two processes do at once."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import textwrap
from pathlib import Path

import pytest

from _waiting import PATIENCE, until
from wingspan.pools.personal import InstallationError, SourceError, conda, debian, install, installation
from wingspan.progress import NO_PROGRESS

debian_only = pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt")


def fake_condor(prefix: Path, version: str) -> Path:
    """A folder that looks like HTCondor `version` as far as being found goes."""
    for folder, name in (("bin", "condor_version"), ("sbin", "condor_master")):
        (prefix / folder).mkdir(parents=True, exist_ok=True)
        program = prefix / folder / name
        program.write_text(f"#!/bin/sh\necho '$CondorVersion: {version} 2026-01-01 $'\n")
        program.chmod(0o755)
    return prefix


class FakeSource:
    """A source that writes a folder like HTCondor's, or fails; counts how often it was asked."""

    def __init__(self, *, version: str = "25.0.1", error: Exception | None = None) -> None:
        self.version, self.error, self.asked = version, error, 0

    def __call__(self, work: Path, place: object, progress: object) -> tuple[str, str]:
        self.asked += 1
        fake_condor(work / "root", self.version)
        if self.error is not None:
            raise self.error
        return self.version, "root"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without HTCondor, as far as PATH goes; answers an empty cache folder."""

    def nothing() -> installation.Installation:
        raise SourceError("no condor_master on this machine")

    monkeypatch.setattr(installation, "system", nothing)
    return tmp_path / "cache"


def offer(monkeypatch: pytest.MonkeyPatch, **offered: FakeSource) -> None:
    listed = [installation.Source(name, source) for name, source in offered.items()]
    monkeypatch.setattr(installation, "sources", lambda: listed)


def test_the_next_source_is_tried(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that is broken this week stops nobody: the next one is used, and nothing of the first is
    left.
    """
    broken, good = FakeSource(error=SourceError("the mirror is down")), FakeSource()
    offer(monkeypatch, broken=broken, good=good)
    found = install(cache_dir=bare)
    assert (found.source, found.version) == ("good", "25.0.1")
    assert (found.sbin / "condor_master").exists()
    assert [p.name for p in bare.iterdir() if p.is_dir()] == ["25.0.1-good"]


def test_what_is_cached_is_used(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time no source is asked."""
    source = FakeSource()
    offer(monkeypatch, one=source)
    assert install(cache_dir=bare) == install(cache_dir=bare)
    assert source.asked == 1


def test_a_script_without_a_terminal_is_told(
    bare: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Obtaining takes about a minute: one line says what begins and where to, another one that it is done.
    Where nothing has to be obtained, nothing is said.
    """
    offer(monkeypatch, one=FakeSource())
    install(cache_dir=bare)
    install(cache_dir=bare)
    assert caplog.messages == [
        f"obtaining HTCondor for the personal pool into {bare}; once; about a minute",
        "HTCondor 25.0.1 (one) is ready",
    ]


def test_an_upgrade_asks_again(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade takes a newer version and keeps the older, which a pool may run from; the newest is used."""
    offer(monkeypatch, one=FakeSource(version="25.0.9"))
    install(cache_dir=bare)
    offer(monkeypatch, one=FakeSource(version="25.0.10"))
    assert install(cache_dir=bare).version == "25.0.9"
    assert install(cache_dir=bare, upgrade=True).version == "25.0.10"
    assert install(cache_dir=bare).version == "25.0.10"
    assert (bare / "25.0.9-one" / "root/sbin/condor_master").exists()


def test_the_error_lists_every_source(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing works, the error says what each source answered, and what to do."""
    offer(
        monkeypatch,
        first=FakeSource(error=SourceError("the mirror is down")),
        second=FakeSource(error=OSError(28, "No space left on device")),
    )
    with pytest.raises(InstallationError) as caught:
        install(cache_dir=bare)
    message = str(caught.value)
    assert "first: the mirror is down" in message
    assert "No space left on device" in message
    assert "this machine: no condor_master" in message
    assert "pool='local'" in message
    assert [p for p in bare.iterdir() if p.is_dir()] == []


def test_a_damaged_installation_is_replaced(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cached HTCondor whose programs somebody deleted is obtained again."""
    source = FakeSource()
    offer(monkeypatch, one=source)
    found = install(cache_dir=bare)
    shutil.rmtree(found.prefix)
    again = install(cache_dir=bare)
    assert source.asked == 2
    assert (again.sbin / "condor_master").exists()


def test_leftovers_of_a_kill_are_removed(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process had half unpacked is never used, and gone after the next install."""
    offer(monkeypatch, one=FakeSource())
    fake_condor(bare / ".unfinished-abc" / "root", "25.0.0")
    assert installation.cached(bare) is None
    install(cache_dir=bare)
    assert not (bare / ".unfinished-abc").exists()


def test_the_machines_own_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An HTCondor on PATH that is recent enough is used as it is."""
    prefix = fake_condor(tmp_path / "usr", "25.3.1")
    monkeypatch.setenv("PATH", f"{prefix / 'sbin'}:{os.environ['PATH']}")
    found = install(cache_dir=tmp_path / "cache")
    assert (found.source, found.version, found.prefix) == ("system", "25.3.1", prefix)
    assert not (tmp_path / "cache").exists()


def test_an_old_one_on_the_machine_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An HTCondor that is too old for the bindings is named, and another is obtained."""
    prefix = fake_condor(tmp_path / "usr", "8.8.12")
    monkeypatch.setenv("PATH", f"{prefix / 'sbin'}:{os.environ['PATH']}")
    with pytest.raises(SourceError, match=r"8\.8\.12"):
        installation.system()
    offer(monkeypatch, one=FakeSource())
    assert install(cache_dir=tmp_path / "cache").source == "one"


@debian_only
def test_an_unsigned_suite_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages of a mirror whose suite carries no known signature are not even looked at."""
    dist = tmp_path / "mirror/dists/unstable"
    index = dist / "main/binary-amd64/Packages"
    index.parent.mkdir(parents=True)
    index.write_text("Package: condor\nVersion: 99.0.0-1\nArchitecture: amd64\nFilename: evil.deb\nSize: 1\n")
    digest = hashlib.sha256(index.read_bytes()).hexdigest()
    (dist / "Release").write_text(
        "Origin: Debian\nSuite: unstable\nCodename: sid\nArchitectures: amd64\nComponents: main\n"
        f"SHA256:\n {digest} {index.stat().st_size} main/binary-amd64/Packages\n"
    )
    monkeypatch.setattr(debian, "_mirrors", lambda apt: [f"file:{tmp_path / 'mirror'}"])
    monkeypatch.setattr(debian, "_family", lambda: "debian")
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(SourceError, match="not signed"):
        debian.obtain("unstable", work, lambda version: tmp_path / version, NO_PROGRESS)


@debian_only
def test_a_suite_that_does_not_exist_says_so(tmp_path: Path) -> None:
    """A suite that the machine's mirror does not have is an error of that source, with apt's own words."""
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(SourceError, match="no-such-suite"):
        debian.obtain("no-such-suite", work, lambda version: tmp_path / version, NO_PROGRESS)


def test_elsewhere_the_debian_source_explains_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a machine of another family the source is asked, and says why it cannot help."""
    monkeypatch.setattr(debian, "_family", lambda: None)
    ((_, obtain),) = debian.candidates()
    with pytest.raises(SourceError, match="Debian family"):
        obtain(tmp_path, lambda version: tmp_path, NO_PROGRESS)


def conda_channel(folder: Path, *, daemons: bool) -> str:
    """A channel with a package ``htcondor`` of two scripts; its URL."""
    rattler = pytest.importorskip("rattler")
    source = fake_condor(folder / "files", "25.4.0")
    # What a real package has: the build's prefix in a text file, to be replaced when it is installed.
    placeholder = "/opt/anaconda1anaconda2anaconda3" + "_placehold" * 8
    (source / "bin/where").write_text(f"#!/bin/sh\necho {placeholder}/bin\n")
    if not daemons:
        shutil.rmtree(source / "sbin")
    subdir = str(rattler.Subdir.current())
    index = {
        "name": "htcondor",
        "version": "25.4.0",
        "build": "0",
        "build_number": 0,
        "depends": [],
        "subdir": subdir,
    }
    paths = []
    members = {}
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        name, data = str(path.relative_to(source)), path.read_bytes()
        members[name] = data
        entry: dict[str, object] = {
            "_path": name,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_in_bytes": len(data),
        }
        if placeholder.encode() in data:
            entry |= {"prefix_placeholder": placeholder, "file_mode": "text"}
        paths.append(entry)
    members["info/index.json"] = json.dumps(index).encode()
    members["info/paths.json"] = json.dumps({"paths": paths, "paths_version": 1}).encode()
    members["info/files"] = "".join(f"{entry['_path']}\n" for entry in paths).encode()
    channel = folder / "channel"
    (channel / subdir).mkdir(parents=True)
    with tarfile.open(channel / subdir / "htcondor-25.4.0-0.tar.bz2", "w:bz2") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            archive.addfile(info, io.BytesIO(data))
    from rattler.index import index_fs

    asyncio.run(index_fs(channel))
    return channel.as_uri()


def test_a_channel_with_daemons_is_installed(tmp_path: Path) -> None:
    """A conda channel's HTCondor is solved and installed, with the paths it will have after the rename."""
    channel = conda_channel(tmp_path, daemons=True)
    work, final = tmp_path / "work", tmp_path / "final"
    work.mkdir()
    version, prefix = conda.obtain(work, lambda version: final / version, NO_PROGRESS, channel=channel)
    assert version == "25.4.0"
    assert (work / prefix / "sbin/condor_master").exists()
    assert str(final / version / prefix) in (work / prefix / "bin/where").read_text()


def test_a_channel_without_daemons_is_passed_over(tmp_path: Path) -> None:
    """conda-forge's own HTCondor has no daemons today: that is said, and the next source tried."""
    channel = conda_channel(tmp_path, daemons=False)
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(SourceError, match="no daemons"):
        conda.obtain(work, lambda version: tmp_path / version, NO_PROGRESS, channel=channel)


INSTALL = """
    import sys
    from pathlib import Path
    from wingspan.pools.personal import SourceError, install, installation

    def nothing():
        raise SourceError("hidden by the test")

    installation.system = nothing
    print(install(cache_dir=Path(sys.argv[1])).prefix)
"""


@debian_only
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_kill_half_way_and_two_at_once(tmp_path: Path) -> None:
    """After kill -9 in the middle of the download, two processes install at once: one does, both get the
    same.
    """
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", textwrap.dedent(INSTALL), str(cache)]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    until(lambda: list(cache.glob(".unfinished-*/debs/*")), "the download to begin", seconds=PATIENCE)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert installation.cached(cache) is None
    others = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {other.communicate(timeout=2 * PATIENCE)[0] for other in others}
    assert len(answers) == 1
    (prefix,) = answers
    folders = [path.name for path in cache.iterdir() if path.is_dir()]
    assert len(folders) == 1
    program = Path(prefix.strip()) / "bin" / "condor_version"
    environment = {**os.environ, "CONDOR_CONFIG": "/dev/null"}
    said = subprocess.run([program], capture_output=True, text=True, env=environment, check=True).stdout
    assert folders[0].split("-")[0] in said
