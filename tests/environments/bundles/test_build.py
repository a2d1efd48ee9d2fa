"""Building bundles from a real lock, with real packages."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from _byte_code import lend_byte_code
from _meanwhile import meanwhile
from _waiting import PATIENCE, until
from wingspan._cores import limited_cores
from wingspan.environments import load_environment
from wingspan.environments.bundles import (
    Bundle,
    build_bundle,
    open_bundle,
    remote,
    unpack_bundle,
    verify_bundle,
)
from wingspan.environments.bundles.errors import (
    BuildFailed,
    DiskFull,
    PackageMismatch,
    PackageUnavailable,
    UnknownKind,
)
from wingspan.environments.bundles.machine.programs import find_program
from wingspan.environments.bundles.packages.fetch import fetch_packages
from wingspan.environments.bundles.storage import hash_file, interprocess_lock
from wingspan.progress import NoProgress

TOOLS = Path(__file__).resolve().parents[3] / "tools"
Build = Callable[..., Bundle]

_BUILD = """
import sys
from wingspan._cores import limited_cores
from wingspan.environments import load_environment
from wingspan.environments.bundles import build_bundle
bundle = build_bundle(load_environment(sys.argv[1], sys.argv[2], "linux-64"), sys.argv[3])
print(bundle.sha256)
"""


def build_elsewhere(workspace: Path, environment: str, kind: str, cache: Path, **options: object) -> str:
    """Build in another process with a cache of its own; answers the bundle's digest."""
    done = subprocess.run(
        [sys.executable, "-c", _BUILD, str(workspace), environment, kind],
        env={**os.environ, "WINGSPAN_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
        **options,  # type: ignore[call-overload]
    )
    return done.stdout.strip()


def copied_workspace(workspace: Path, channel: Path, target: Path) -> tuple[Path, Path]:
    """(workspace, channel): copies that a test may damage; the lock names the copied channel."""
    shutil.copytree(channel, target / "channel")
    shutil.copytree(workspace, target / "workspace")
    for name in ("pixi.lock", "pixi.toml"):
        path = target / "workspace" / name
        path.write_text(path.read_text().replace(str(channel), str(target / "channel")))
    return target / "workspace", target / "channel"


def flip_byte(path: Path, offset: int) -> None:
    """Change one byte; a negative offset counts from the end."""
    with path.open("r+b") as file:
        file.seek(offset, os.SEEK_END if offset < 0 else os.SEEK_SET)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0x40]))


def unsquash(bundle: Bundle, folder: Path) -> None:
    """Unpack an image as it is."""
    command = [str(find_program("unsquashfs")), "-q", "-n", "-d", str(folder), str(bundle.path)]
    subprocess.run(command, check=True, capture_output=True)


def test_name_says_the_content(build: Build) -> None:
    """A bundle is named by its digest, the full digest lies beside it, and sha256sum agrees."""
    bundle = build("small")
    assert bundle.path.name == f"local-small-{bundle.sha256[:8]}.squashfs"
    assert hash_file(bundle.path) == bundle.sha256
    done = subprocess.run(
        ["sha256sum", "-c", f"{bundle.path.name}.sha256"],
        cwd=bundle.path.parent,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0


def test_a_bundle_says_what_it_is(build: Build, local_workspace: Path) -> None:
    """What is read from the file alone is what was known when it was built."""
    bundle = build("numpy")
    env = load_environment(local_workspace, "numpy", "linux-64")
    opened = open_bundle(bundle.path)
    assert opened == bundle
    assert opened.environment_digest == env.digest
    assert opened.python == "3.11"
    assert opened.manifest is not None
    assert opened.manifest.needs["platform"] == "linux-64"
    assert opened.manifest.installed_bytes > 100e6  # type: ignore[operator]


def test_second_build_does_nothing(build: Build, bundle_cache: Path, local_workspace: Path) -> None:
    """The same lock again is answered from the cache: no step is begun, the file is not touched."""

    class Recorder:
        begun: list[str] = []

        def start(self, description: str, total: float | None = None) -> int:
            self.begun.append(description)
            return 0

        def advance(self, task: int, amount: float = 1) -> None: ...

        def finish(self, task: int) -> None: ...

    first = build("small")
    stamp = first.path.stat().st_mtime_ns
    again = build_bundle(
        load_environment(local_workspace, "small", "linux-64"),
        "squashfs",
        directory=first.path.parent,
        progress=Recorder(),
    )
    assert again == first
    assert Recorder.begun == []
    assert first.path.stat().st_mtime_ns == stamp


def test_another_wingspan_builds_anew(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle with scripts of ours is found built by the Wingspan that has these scripts: an upgrade
    mends what they do.
    """
    first = build("small", "install")
    other = Path(shutil.copytree(remote._FOLDER, tmp_path / "remote"))
    script = other / "install.sh"
    script.write_text(script.read_text() + "# mended\n")
    assert build("small", "install") == first
    monkeypatch.setattr(remote, "_FOLDER", other)
    again = build("small", "install")
    assert again.sha256 != first.sha256
    assert again.path.read_text().endswith("# mended\n")


def test_an_altered_bundle_in_the_cache_is_built_again(
    local_workspace: Path, empty_cache: Path, tmp_path: Path
) -> None:
    """A bundle that was altered after it was built is not handed out."""
    env = load_environment(local_workspace, "small", "linux-64")
    first = build_bundle(env, "squashfs")
    assert first.path.parent == empty_cache / "environments/bundles"
    flip_byte(first.path, 5000)
    again = build_bundle(env, "squashfs", directory=tmp_path / "bundles")
    assert hash_file(again.path) == again.sha256 == first.sha256


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["squashfs", "pack"])
def test_two_builds_are_byte_identical(
    kind: str, build: Build, local_workspace: Path, tmp_path: Path
) -> None:
    """Another machine's build (own cache, one core, closed umask, other folder and time) gives the same
    bytes.
    """
    first = build("wheels", kind)
    workspace = shutil.copytree(local_workspace, tmp_path / "elsewhere")
    # the workspace's name comes from its manifest, so the folder does not matter

    def one_core() -> None:
        os.umask(0o077)
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    assert build_elsewhere(workspace, "wheels", kind, tmp_path / "cache", preexec_fn=one_core) == first.sha256


def test_nothing_of_the_builder_is_inside(
    build: Build, bundle_cache: Path, tmp_path: Path, files_below: Callable[[Path], dict[str, bytes]]
) -> None:
    """No file of the environment names the folder it was built in, nor this machine's cache."""
    bundle = build("wheels")
    subprocess.run(
        ["unsquashfs", "-q", "-n", "-d", str(tmp_path / "x"), str(bundle.path)],
        check=True,
        capture_output=True,
    )
    files = files_below(tmp_path / "x")
    assert len(files) > 5
    for name, content in files.items():
        assert str(bundle_cache).encode() not in content, name


def test_bytecode_is_there_and_unchecked(build: Build, tmp_path: Path) -> None:
    """Every module has a .pyc that holds whatever the file times become: hash-based, not checked (PEP
    552).
    """
    bundle = build("wheels")
    root = tmp_path / "x"
    subprocess.run(
        ["unsquashfs", "-q", "-n", "-d", str(root), str(bundle.path)], check=True, capture_output=True
    )
    for name in (
        "lib/python3.11/os.py",
        "lib/python3.11/site-packages/six.py",
        "lib/python3.11/json/decoder.py",
    ):
        source = root / name
        compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-311.pyc"
        header = compiled.read_bytes()[:16]
        assert int.from_bytes(header[4:8], "little") == 0b01, name
        assert f"/opt/wingspan/environment/{name}".encode() in compiled.read_bytes()


def test_byte_code_is_the_same_on_any_number_of_cores(local_workspace: Path, empty_cache: Path) -> None:
    """One core or several: two machines that build from one lock get the same bytes."""
    env = load_environment(local_workspace, "wheels", "linux-64")
    with limited_cores(1):
        first = build_bundle(env, "squashfs")
    for name in ("bundles", "blobs", "shares", "bytecode"):
        shutil.rmtree(empty_cache / "environments" / name)
    assert build_bundle(env, "squashfs").sha256 == first.sha256


def test_wheels_are_installed_for_the_prefix(build: Build, tmp_path: Path) -> None:
    """Console scripts of PyPI packages begin with the environment's Python at its prefix; RECORD is true."""
    bundle = build("wheels")
    root = tmp_path / "x"
    subprocess.run(
        ["unsquashfs", "-q", "-n", "-d", str(root), str(bundle.path)], check=True, capture_output=True
    )
    assert "/opt/wingspan/environment/bin/python" in (root / "bin/tabulate").read_text()
    site = root / "lib/python3.11/site-packages"
    record = next(site.glob("tabulate-*.dist-info")) / "RECORD"
    import base64
    import csv
    import hashlib

    for name, digest, _size in csv.reader(record.read_text().splitlines()):
        if digest:
            content = (site / name).read_bytes()
            expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert digest == f"sha256={expected}", name


def test_an_altered_package_is_named_and_not_kept(
    local_workspace: Path, local_channel: Path, tmp_path: Path, empty_cache: Path
) -> None:
    """A package that is not the lock's stops the build by name, leaves nothing, and does no harm once it
    is mended.
    """
    workspace, channel = copied_workspace(local_workspace, local_channel, tmp_path)
    victim = next((channel / "linux-64").glob("libzlib-*.conda"))
    good = victim.read_bytes()
    flip_byte(victim, 2000)
    env = load_environment(workspace, "small", "linux-64")
    with pytest.raises(PackageMismatch, match="libzlib"):
        build_bundle(env, "squashfs")
    archives = empty_cache / "environments/archives"
    assert not list(archives.rglob("libzlib*"))
    assert not list(archives.rglob("*.part"))
    assert not (empty_cache / "environments/packages").exists()
    victim.write_bytes(good)
    verify_bundle(build_bundle(env, "squashfs"))


def test_an_altered_wheel_is_named(
    local_workspace: Path, local_channel: Path, wheels: Path, tmp_path: Path, empty_cache: Path
) -> None:
    """PyPI packages are held to the lock's hash like the others."""
    workspace, _ = copied_workspace(local_workspace, local_channel, tmp_path)
    mine = shutil.copytree(wheels, tmp_path / "wheels")
    for name in ("pixi.lock", "pixi.toml"):
        path = workspace / name
        path.write_text(path.read_text().replace(str(wheels), str(mine)))
    flip_byte(next(mine.glob("six-*.whl")), 3000)
    with pytest.raises(PackageMismatch, match="six"):
        fetch_packages(load_environment(workspace, "wheels", "linux-64"))


def test_an_altered_archive_in_the_cache_is_fetched_again(local_workspace: Path, empty_cache: Path) -> None:
    """The cache is not believed either: every archive is hashed before it is used."""
    env = load_environment(local_workspace, "small", "linux-64")
    archive = next(a for a in fetch_packages(env) if a.package.name == "libzlib")
    flip_byte(archive.path, 100)
    again = next(a for a in fetch_packages(env) if a.package.name == "libzlib")
    assert hash_file(again.path) == again.package.sha256


def test_an_archive_that_another_process_removes_is_fetched_again(
    local_workspace: Path, empty_cache: Path
) -> None:
    """Another process finds an archive altered, and removes it just before this one hashes it."""
    env = load_environment(local_workspace, "small", "linux-64")
    archive = next(a for a in fetch_packages(env) if a.package.name == "libzlib")
    with meanwhile(lambda path: path == str(archive.path), 1, archive.path.unlink) as moment:
        fetch_packages(env)
    assert moment.came
    assert hash_file(archive.path) == archive.package.sha256


@pytest.mark.parametrize("time", ["of the change", "as it was"])
def test_an_altered_extracted_package_is_not_used(
    time: str, local_workspace: Path, tmp_path: Path, empty_cache: Path
) -> None:
    """py-rattler takes what it extracted before as it is, and files there are hard-linked into
    environments.
    """
    env = load_environment(local_workspace, "small", "linux-64")
    first = build_bundle(env, "squashfs")
    victim = next((empty_cache / "environments/packages").glob("prefix-probe-*/bin/prefix-probe"))
    status = victim.stat()
    victim.write_bytes(b"#!/bin/sh\necho another\n")
    if time == "as it was":
        os.utime(victim, ns=(status.st_atime_ns, status.st_mtime_ns))
    for name in ("bundles", "blobs", "shares"):
        shutil.rmtree(empty_cache / "environments" / name)
    assert build_bundle(env, "squashfs").sha256 == first.sha256


def test_modes_in_the_cache_are_not_believed(local_workspace: Path, empty_cache: Path) -> None:
    """A program that somebody made no program is one in the next bundle; so it is in the one after that,
    which is put together from kept content.
    """
    env = load_environment(local_workspace, "small", "linux-64")
    first = build_bundle(env, "squashfs")
    victim = next((empty_cache / "environments/packages").glob("prefix-probe-*/bin/prefix-probe"))
    mode = victim.stat().st_mode
    victim.chmod(0o644)
    for names in (("bundles", "shares"), ("bundles",)):
        for name in names:
            shutil.rmtree(empty_cache / "environments" / name)
        assert build_bundle(env, "squashfs").sha256 == first.sha256
        if victim.exists():
            victim.chmod(mode)


_OLD_PACKAGE = """
import io, os, sys, tarfile
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import local_channel
channel = Path(sys.argv[2])
(channel / "noarch").mkdir(parents=True)
(channel / "linux-64").mkdir()
index = '{"name": "old", "version": "1.0", "build": "0", "build_number": 0, "depends": [], "subdir": "linux-64"}'
with tarfile.open(channel / "linux-64/old-1.0-0.tar.bz2", "w:bz2") as tar:
    for name, text in (("info/index.json", index), ("info/files", "share/old.txt\\n"), ("share/old.txt", "old")):
        member = tarfile.TarInfo(name)
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text.encode()))
local_channel.index(channel)
sys.stdout.flush()
os._exit(0)
"""


def test_an_old_package_without_a_list(
    write_workspace: Callable[..., Path], tmp_path: Path, empty_cache: Path
) -> None:
    """Nothing says what its extracted files should be: they are not believed."""
    subprocess.run([sys.executable, "-c", _OLD_PACKAGE, TOOLS, tmp_path / "channel"], check=True)
    workspace = write_workspace(tmp_path / "w", tmp_path / "channel", {"default": ["old"]})
    env = load_environment(workspace, "default", "linux-64")
    first = build_bundle(env, "squashfs")
    (empty_cache / "environments/packages/old-1.0-0/share/old.txt").write_text("new")
    for name in ("bundles", "blobs", "shares"):
        shutil.rmtree(empty_cache / "environments" / name)
    assert build_bundle(env, "squashfs").sha256 == first.sha256


@pytest.mark.slow
@pytest.mark.parametrize(("name", "how"), [("uv", "zeros"), ("bytecode", "zeros"), ("bytecode", "gone")])
def test_what_was_kept_of_python_packages_is_not_believed(
    name: str, how: str, local_workspace: Path, empty_cache: Path, session_cache: Path
) -> None:
    """Wheels that were unpacked and modules that were compiled go into bundles as they were, whatever
    became of the files in the cache.
    """
    lend_byte_code(empty_cache, session_cache)
    env = load_environment(local_workspace, "wheels", "linux-64")
    first = build_bundle(env, "squashfs")
    ending = ".py" if name == "uv" else ".pyc"
    for path in (empty_cache / "environments" / name).rglob(f"[st]*{ending}"):
        if how == "gone":
            path.unlink()
        else:  # what a crash of the machine leaves
            path.write_bytes(bytes(path.stat().st_size))
    for other in ("bundles", "blobs", "shares"):
        shutil.rmtree(empty_cache / "environments" / other)
    assert build_bundle(env, "squashfs").sha256 == first.sha256


def test_a_package_that_is_gone(
    local_workspace: Path, local_channel: Path, tmp_path: Path, empty_cache: Path
) -> None:
    """A package that the channel no longer has is named, with where it was looked for."""
    workspace, channel = copied_workspace(local_workspace, local_channel, tmp_path)
    next((channel / "linux-64").glob("libzlib-*.conda")).unlink()
    with pytest.raises(PackageUnavailable, match=r"libzlib.*cannot be read"):
        fetch_packages(load_environment(workspace, "small", "linux-64"))


@pytest.fixture
def served(
    local_channel: Path, local_workspace: Path, tmp_path: Path
) -> Iterator[tuple[Path, list[str], Path]]:
    """(workspace, requests seen, folder): the channel by HTTP, and a workspace locked to that address."""
    workspace, channel = copied_workspace(local_workspace, local_channel, tmp_path)
    seen: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, directory=str(channel), **kwargs)  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            seen.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    for name in ("pixi.lock", "pixi.toml"):
        path = workspace / name
        text = path.read_text().replace(f"file://{channel}", address).replace(str(channel), address)
        path.write_text(text)
    yield workspace, seen, channel
    server.shutdown()
    thread.join()
    server.server_close()


def test_packages_over_http(served: tuple[Path, list[str], Path], empty_cache: Path) -> None:
    """Packages are fetched by HTTP once; what came is not asked for again."""
    workspace, seen, _ = served
    env = load_environment(workspace, "small", "linux-64")
    for archive in fetch_packages(env):
        assert hash_file(archive.path) == archive.package.sha256
    count = len(seen)
    assert count >= 2
    fetch_packages(env)
    assert len(seen) == count


def test_http_broken_off_goes_on(served: tuple[Path, list[str], Path], empty_cache: Path) -> None:
    """When one package cannot be had, the others are kept and the next call fetches that one only."""
    workspace, seen, channel = served
    victim = next((channel / "linux-64").glob("libzlib-*.conda"))
    away = victim.rename(tmp := victim.with_suffix(".away"))
    env = load_environment(workspace, "small", "linux-64")
    with pytest.raises(PackageUnavailable, match="libzlib"):
        fetch_packages(env)
    away.rename(victim)
    assert not tmp.exists()
    seen.clear()
    fetch_packages(env)
    assert {path.rsplit("/", 1)[-1] for path in seen} == {victim.name}


def test_http_hash_mismatch(served: tuple[Path, list[str], Path], empty_cache: Path) -> None:
    """A download that is not the lock's package is refused by name and not kept."""
    workspace, _, channel = served
    flip_byte(next((channel / "linux-64").glob("libzlib-*.conda")), 1500)
    with pytest.raises(PackageMismatch, match="libzlib"):
        fetch_packages(load_environment(workspace, "small", "linux-64"))
    assert not [p for p in (empty_cache / "environments/archives").rglob("*libzlib*") if p.is_file()]


def test_an_address_where_nobody_answers(served: tuple[Path, list[str], Path], empty_cache: Path) -> None:
    """Why is said, which py-rattler leaves out."""
    workspace, _, _ = served
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        lock = workspace / "pixi.lock"
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        lock.write_text(re.sub(r"http://127\.0\.0\.1:\d+/", address, lock.read_text()))
        with pytest.raises(PackageUnavailable, match=r"127\.0\.0\.1: Connection refused"):
            fetch_packages(load_environment(workspace, "small", "linux-64", check_lock=False))


def test_unknown_kind(local_workspace: Path, bundle_cache: Path) -> None:
    """A kind that does not exist is refused with those that do."""
    with pytest.raises(UnknownKind, match="zip") as caught:
        build_bundle(load_environment(local_workspace, "small", "linux-64"), "zip")
    assert "squashfs" in str(caught.value)


def test_wheels_without_python(
    local_channel: Path,
    wheels: Path,
    tmp_path: Path,
    bundle_cache: Path,
    write_workspace: Callable[..., Path],
) -> None:
    """PyPI packages in an environment without Python are refused with what to do."""
    workspace = write_workspace(
        tmp_path / "w",
        local_channel,
        {"default": ["prefix-probe"]},
        pypi={"default": [next(wheels.glob("six-*.whl"))]},
    )
    with pytest.raises(BuildFailed, match="no Python"):
        build_bundle(load_environment(workspace, "default", "linux-64"), "squashfs")


def test_a_full_disk(local_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full cache ends the build with an error that says where, and leaves no bundle that looks whole."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(small)], check=True)
    try:
        monkeypatch.setenv("WINGSPAN_CACHE_DIR", str(small))
        with pytest.raises(DiskFull, match=str(small)):
            build_bundle(load_environment(local_workspace, "default", "linux-64"), "squashfs")
        assert not list(small.rglob("*.squashfs"))
        assert not list(small.rglob("*.part"))
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_full_output_folder_gets_nothing(local_workspace: Path, bundle_cache: Path, tmp_path: Path) -> None:
    """Where there is room for the digest and not for the bundle, neither is left."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=True)
    try:
        with pytest.raises(DiskFull, match=str(small)):
            build_bundle(
                load_environment(local_workspace, "default", "linux-64"), "squashfs", directory=small
            )
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_build_that_waits_for_another_says_so(local_workspace: Path, empty_cache: Path) -> None:
    """Once, and only where there is something to wait for."""
    env, told, other = (
        load_environment(local_workspace, "small", "linux-64"),
        list[str](),
        contextlib.ExitStack(),
    )

    class Listener(NoProgress):
        def start(self, description: str, total: float | None = None) -> int:
            told.append(description)
            other.close()
            return 0

    build_bundle(env, "install", progress=Listener())
    assert not any("another build" in one for one in told)
    told.clear()
    bundles = empty_cache / "environments/bundles"
    next(bundles.glob("*.json")).unlink()
    other.enter_context(interprocess_lock(next(bundles.glob("locks/*"))))
    rescue = threading.Timer(PATIENCE, other.close)  # of a test that would wait for itself
    rescue.start()
    build_bundle(env, "install", progress=Listener())
    rescue.cancel()
    assert [one for one in told if "another build of this environment" in one] == told[:1]


def test_a_killed_build_leaves_nothing_in_the_way(
    local_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After kill -9 in the middle the next build succeeds, and the dead one's folder is cleared away."""
    cache = tmp_path / "cache"
    process = subprocess.Popen(
        [sys.executable, "-c", _BUILD, str(local_workspace), "wheels", "squashfs"],
        env={**os.environ, "WINGSPAN_CACHE_DIR": str(cache)},
        start_new_session=True,
    )
    builds = cache / "environments/builds"

    def linking() -> bool:
        assert process.poll() is None
        return any(builds.glob(".build-*/prefix/bin/python*"))

    until(linking, "a prefix with Python")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    left = list(builds.glob(".build-*"))
    assert left
    monkeypatch.setenv("WINGSPAN_CACHE_DIR", str(cache))
    verify_bundle(build_bundle(load_environment(local_workspace, "wheels", "linux-64"), "squashfs"))
    assert not list(builds.glob(".build-*"))


def test_two_processes_build_the_same_at_once(local_workspace: Path, tmp_path: Path) -> None:
    """Two processes with one empty cache both get the bundle, and it is one file."""
    cache = tmp_path / "cache"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _BUILD, str(local_workspace), "small", "squashfs"],
            env={**os.environ, "WINGSPAN_CACHE_DIR": str(cache)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    answers = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert len(answers) == 1
    assert len(list((cache / "environments/bundles").glob("*.squashfs"))) == 1


_FOLDERS = """
import sys
from pathlib import Path
from wingspan.environments.bundles.storage import temporary_folder
for _ in range(200):
    with temporary_folder(Path(sys.argv[1])) as folder:
        (folder / "file").write_text("x")
"""


def test_builds_that_begin_at_once_leave_each_others_folders(tmp_path: Path) -> None:
    """Clearing away what dead processes left never takes the folder of one that has just been made."""
    command = [sys.executable, "-c", _FOLDERS, str(tmp_path / "builds")]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[1] for process in processes] == [""] * 4
    assert list((tmp_path / "builds").iterdir()) == []


def test_unpacking_a_squashfs_moves_it(build: Build) -> None:
    """An image unpacked elsewhere has its new place written in text, scripts and binaries."""
    bundle = build("small")
    folder = Path(tempfile.mkdtemp(prefix="w", dir="/tmp"))
    try:
        prefix = unpack_bundle(bundle, folder, environment="e")
        done = subprocess.run([prefix / "bin/prefix-probe"], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str(prefix)
        binary = (prefix / "share/prefix-probe/binary.dat").read_bytes()
        assert f"{prefix}/share".encode() + b"\0" in binary
        assert b"\0tail\0" in binary
    finally:
        shutil.rmtree(folder)


def test_json_of_a_bundle(build: Build) -> None:
    """What --json prints is JSON with the digest and the manifest."""
    document = json.loads(json.dumps(build("small").to_json()))
    assert document["kind"] == "squashfs"
    assert document["manifest"]["workspace"] == "local"
