"""Names that come from locks, packs, packages and wheels: none of them leads out of the environment,
whatever its author wrote.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import json
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wingspan.environments import load_environment
from wingspan.environments.bundles import build_bundle, unpack_bundle
from wingspan.environments.bundles.errors import (
    BuildFailed,
    BundleDamaged,
    BundleError,
    UnsafeBundle,
    UnsafePackage,
)
from wingspan.environments.bundles.kinds.derived import derive_image
from wingspan.environments.bundles.kinds.oci import dockerfile
from wingspan.environments.bundles.kinds.sif import definition_file
from wingspan.environments.bundles.kinds.squashfs import trailer
from wingspan.environments.bundles.linked.prefix import install_wheels
from wingspan.environments.bundles.manifest import Manifest
from wingspan.environments.bundles.packages.wheels import read_wheel
from wingspan.environments.bundles.remote import remote_program
from wingspan.environments.errors import LockDamaged
from wingspan.environments.lockfile import Lock
from wingspan.errors import EnvironmentWarning

MANY = int(os.environ.get("WINGSPAN_TEST_EXAMPLES", "15"))
SUBDIR = f"linux-{'64' if platform.machine() == 'x86_64' else platform.machine()}"
LINK = object()

#: What a package has: its files by name; (LINK, target) is a symbolic link.
Files = dict[str, Any]


def said(name: str, **more: Any) -> bytes:
    """What a package says of itself."""
    return json.dumps(
        {"name": name, "version": "1", "build": "0", "build_number": 0, "subdir": SUBDIR, **more}
    ).encode()


def package(
    files: Files,
    name: str = "i1",
    *,
    noarch: str | None = None,
    version: str = "1",
    listed: list[dict[str, Any]] | None = None,
    link: dict[str, Any] | None = None,
) -> bytes:
    """A conda package (.tar.bz2) of these files; `listed` stands in its list of them instead."""
    entries = [
        {"_path": name, "path_type": "softlink" if isinstance(content, tuple) else "hardlink"}
        for name, content in files.items()
    ]
    paths = {"paths": entries if listed is None else listed, "paths_version": 1}
    inside: Files = {
        "info/paths.json": json.dumps(paths).encode(),
        "info/index.json": said(name, noarch=noarch, version=version),
    }
    if link is not None:
        inside["info/link.json"] = json.dumps(link).encode()
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, data in {**inside, **files}.items():
            member = tarfile.TarInfo(name)
            if isinstance(data, tuple):
                member.type, member.linkname = tarfile.SYMTYPE, data[1]
                tar.addfile(member)
            else:
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return bz2.compress(content.getvalue())


def index(name: str, archive: bytes, depends: list[str], **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "version": "1",
        "build": "0",
        "build_number": 0,
        "depends": depends,
        "subdir": SUBDIR,
        "size": len(archive),
        "sha256": hashlib.sha256(archive).hexdigest(),
        **more,
    }


def pack(
    path: Path,
    packages: dict[str, bytes],
    *,
    file_names: dict[str, str] | None = None,
    records: dict[str, Any] | None = None,
) -> Path:
    """A pack of these packages, each of which depends on those before it."""
    table, members = {}, {}
    for name, archive in packages.items():
        file_name = (file_names or {}).get(name, f"{name}-1-0.tar.bz2")
        table[file_name] = {
            **index(name, archive, list(packages)[: list(packages).index(name)]),
            **(records or {}).get(name, {}),
        }
        members[f"channel/{SUBDIR}/{file_name}"] = archive
    members["pixi-pack.json"] = json.dumps({"version": "1", "platform": SUBDIR}).encode()
    members[f"channel/{SUBDIR}/repodata.json"] = json.dumps({"packages": table}).encode()
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def workspace(folder: Path, packages: dict[str, bytes]) -> Path:
    """A workspace whose lock has these packages, as archives of a channel on this machine."""
    channel = folder / "channel" / SUBDIR
    channel.mkdir(parents=True)
    listed, described = "", ""
    for name, archive in packages.items():
        place = channel / f"{name}-1-0.tar.bz2"
        place.write_bytes(archive)
        listed += f"      - conda: {place.as_uri()}\n"
        described += f"- conda: {place.as_uri()}\n  sha256: {hashlib.sha256(archive).hexdigest()}\n  size: {len(archive)}\n  subdir: {SUBDIR}\n"
        before = list(packages)[: list(packages).index(name)]
        described += "".join(["  depends:\n", *(f"  - {one}\n" for one in before)]) if before else ""
    (folder / "pixi.toml").write_text(
        f'[workspace]\nname = "w"\nchannels = ["{channel.parent.as_uri()}"]\nplatforms = ["{SUBDIR}"]\n'
    )
    (folder / "pixi.lock").write_text(
        f"version: 6\nenvironments:\n  default:\n    channels:\n    - url: {channel.parent.as_uri()}/\n"
        f"    packages:\n      {SUBDIR}:\n{listed}packages:\n{described}"
    )
    return folder


def add_wheel(path: Path, files: dict[str, str]) -> None:
    """Add a wheel of these files to a pack."""
    told = {
        "w-1.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "w-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: w\nVersion: 1\n",
        "w-1.dist-info/RECORD": "",
    }
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in {**told, **files}.items():
            archive.writestr(name, content)
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo("pypi/w-1-py3-none-any.whl")
        member.size = len(wheel.getvalue())
        tar.addfile(member, io.BytesIO(wheel.getvalue()))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder of the user's with a file that must stay as it is."""
    folder = tmp_path / "home/.ssh"
    folder.mkdir(parents=True)
    (folder / "authorized_keys").write_text("mine\n")
    return folder


def below(folder: Path) -> dict[str, bytes | str]:
    """Everything below a folder: content of files, where links lead to."""
    return {
        path.relative_to(folder).as_posix(): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def through_a_link(home: Path) -> dict[str, bytes]:
    return {
        "i1": package({"x": (LINK, str(home))}),
        "i2": package({"x/authorized_keys": b"theirs\n" * 100_000}, "i2"),
    }


EVIL = {
    "below another package's link": lambda home: (through_a_link(home), "i2", "x/authorized_keys"),
    "a dot before it": lambda home: (
        {
            "i1": package({"x": (LINK, str(home))}),
            "i2": package({"x/authorized_keys": b"theirs\n"}, "i2", listed=[{"_path": "./x/authorized_keys", "path_type": "hardlink"}]),
        },
        "i2",
        "./x/authorized_keys",
    ),
    "up": lambda home: (
        {"i1": package({"a": b"theirs"}, listed=[{"_path": "../../other/place", "path_type": "hardlink"}])},
        "i1",
        "../../other/place",
    ),
    "absolute": lambda home: (
        {"i1": package({"a": b"theirs"}, listed=[{"_path": f"{home}/authorized_keys", "path_type": "hardlink"}])},
        "i1",
        "authorized_keys",
    ),
    "the name of a link that leads out": lambda home: (
        {"i1": package({"x": (LINK, f"{home}/authorized_keys")}), "i2": package({"x": b"theirs"}, "i2")},
        "i2",
        "x",
    ),
    "below a link of its own": lambda home: (
        {"i1": package({"x": (LINK, str(home)), "y": b""}, listed=[
            {"_path": "x", "path_type": "softlink"}, {"_path": "x/authorized_keys", "path_type": "hardlink"}])},
        "i1",
        "x/authorized_keys",
    ),
    "a program of another name": lambda home: (
        {
            "i1": package({"site-packages/a.py": b""}, link={
                "noarch": {"type": "python", "entry_points": ["../../evil = a:main"]}, "package_metadata_version": 1}),
        },
        "i1",
        "../../evil",
    ),
    "our own folder": lambda home: ({"i1": package({".wingspan/activate.sh": b"evil"})}, "i1", ".wingspan"),
    "a control character": lambda home: ({"i1": package({"a\x1b]0;x\x07": b""})}, "i1", "\\x1b"),
    "what is noted of another package": lambda home: (
        {"i1": package({"conda-meta/i2-1-0.json": (LINK, f"{home}/authorized_keys")}), "i2": package({"a": b""}, "i2")},
        "i1",
        "conda-meta/i2-1-0.json",
    ),
    "the history of the environment": lambda home: (
        {"i1": package({"conda-meta/history": (LINK, f"{home}/authorized_keys")})}, "i1", "conda-meta/history"),
    "a place for byte code": lambda home: ({"i1": package({"lib/__pycache__": (LINK, str(home))})}, "i1", "__pycache__"),
}  # fmt: skip


@pytest.mark.parametrize("kind", EVIL)
def test_a_pack_writes_nothing_outside(kind: str, tmp_path: Path, home: Path, empty_cache: Path) -> None:
    """Refused before anything is linked, naming the package and the path; nothing is left, nothing else
    is touched.
    """
    packages, guilty, name = EVIL[kind](home)
    records = {"i1": {"noarch": "python"}} if "program" in kind else None
    path = pack(tmp_path / "pack.tar", packages, records=records)
    before = below(home.parent)
    with pytest.raises(UnsafePackage) as caught:
        unpack_bundle(path, tmp_path / "target")
    assert guilty in caught.value.message
    assert name in caught.value.message
    assert below(home.parent) == before
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("kind", EVIL)
def test_nor_on_a_worker(kind: str, tmp_path: Path, home: Path) -> None:
    """The program that unpacks on workers refuses the same."""
    packages, _, _ = EVIL[kind](home)
    if kind in ("our own folder", "the name of a link that leads out", "a place for byte code"):
        pytest.skip("on a worker the pack's own code is what is wanted; files are put in place by renaming")
    records = {"i1": {"noarch": "python"}} if "program" in kind else None
    path = pack(tmp_path / "pack.tar", packages, records=records)
    program = tmp_path / "unpack"
    program.write_bytes(remote_program("unpacker.py"))
    before = below(home.parent)
    done = subprocess.run(
        [sys.executable, "-I", "-S", program, "-o", tmp_path / "target", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 121, done.stderr
    assert "outside" in done.stderr or "damaged" in done.stderr
    assert below(home.parent) == before
    assert not (tmp_path / "target/env").exists()


@pytest.mark.parametrize("kind", [kind for kind in EVIL if "program" not in kind])
def test_a_lock_writes_nothing_outside(kind: str, tmp_path: Path, home: Path, empty_cache: Path) -> None:
    """A bundle of such packages is not built, and nothing of the user's is touched."""
    packages, guilty, name = EVIL[kind](home)
    env = load_environment(workspace(tmp_path / "w", packages), check_lock=False)
    before = below(home.parent)
    with pytest.raises(UnsafePackage) as caught:
        build_bundle(env, "squashfs")
    assert guilty in caught.value.message
    assert name in caught.value.message
    assert below(home.parent) == before


def test_a_list_that_lies_is_seen_when_the_package_is_extracted(
    tmp_path: Path, home: Path, empty_cache: Path
) -> None:
    """A link that a package calls a file is found before it is linked: nobody writes through it, nothing
    behind it is copied.
    """
    listed = [{"_path": "x", "path_type": "hardlink"}]
    packages = {
        "i1": package({"x": (LINK, str(home))}, listed=listed),
        "i2": package({"y/z": b"1" * 10_000_000}, "i2"),
    }
    with pytest.raises(UnsafePackage, match=r"i1 .*'x'.* symbolic link"):
        unpack_bundle(pack(tmp_path / "pack.tar", packages), tmp_path / "target")
    env = load_environment(workspace(tmp_path / "w", packages), check_lock=False)
    for _ in range(2):  # also when py-rattler has it in its cache
        with pytest.raises(UnsafePackage, match=r"i1 .*'x'.* symbolic link"):
            build_bundle(env, "squashfs")


def test_no_file_of_a_package_is_setuid(tmp_path: Path, empty_cache: Path) -> None:
    """Rights of the archive's author do not come with its files."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, data, mode in (
            ("info/paths.json", json.dumps({"paths": [{"_path": "su", "path_type": "hardlink"}], "paths_version": 1}).encode(), 0o644),
            ("info/index.json", said("i1"), 0o644),
            ("su", b"#!/bin/sh\n", 0o6777),
        ):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), mode
            tar.addfile(member, io.BytesIO(data))
    path = pack(tmp_path / "pack.tar", {"i1": bz2.compress(content.getvalue())})
    prefix = unpack_bundle(path, tmp_path / "target")
    assert (prefix / "su").stat().st_mode & 0o7777 == 0o755


def test_an_unpacked_environment_is_no_cache(tmp_path: Path, empty_cache: Path) -> None:
    """py-rattler marks the folder that it links into as a cache, which backups leave out: the mark does
    not stay.
    """
    path = pack(tmp_path / "pack.tar", {"i1": package({"share/x": b"1"})})
    prefix = unpack_bundle(path, tmp_path / "target")
    assert (prefix / "share/x").read_bytes() == b"1"
    assert not (prefix / "CACHEDIR.TAG").exists()


def test_a_package_for_any_python_wants_one(tmp_path: Path, empty_cache: Path) -> None:
    """Where no Python comes along, the package is named, and what to add."""
    content = package({"site-packages/m.py": b"x = 1"}, noarch="python")
    path = pack(tmp_path / "pack.tar", {"i1": content}, records={"i1": {"noarch": "python"}})
    with pytest.raises(BuildFailed, match="i1 is a package for any Python") as caught:
        unpack_bundle(path, tmp_path / "target")
    assert "pixi add python" in caught.value.hint


def test_an_empty_prefix_to_be_replaced_is_damage(tmp_path: Path, empty_cache: Path) -> None:
    """A list of files that has an empty text replaced by the prefix is refused, with package and file."""
    entry = {"_path": "x", "path_type": "hardlink", "prefix_placeholder": "", "file_mode": "binary"}
    path = pack(tmp_path / "pack.tar", {"i1": package({"x": b"1"}, listed=[entry])})
    with pytest.raises(BuildFailed, match=r"i1 1 0 is damaged.*'x' is empty"):
        unpack_bundle(path, tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize(
    ("file_name", "record"),
    [
        ("../../../../evil-1-0.tar.bz2", {}),
        ("i1-1-0.tar.bz2", {"build": "../../../evil"}),
        ("i1-1-0.tar.bz2", {"python_site_packages_path": "../../evil"}),
        ("i\n1-1-0.tar.bz2", {}),
    ],
)
def test_names_in_records(file_name: str, record: dict[str, Any], tmp_path: Path, empty_cache: Path) -> None:
    """What a record says of its package becomes names in caches and in conda-meta: it leads nowhere else
    either.
    """
    path = pack(
        tmp_path / "pack.tar",
        {"i1": package({"a": b""})},
        file_names={"i1": file_name},
        records={"i1": record},
    )
    with pytest.raises((UnsafeBundle, BundleDamaged)):
        unpack_bundle(path, tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize(
    "entry",
    [
        "- conda: https://h/c/linux-64/i1-1-0.conda\n  sha256: {sha}\n  build: ../../evil\n",
        "- conda: https://h/c/linux-64/..%2F..%2Fi1-1-0.conda\n  sha256: {sha}\n",
        "- pypi: https://h/..%2F..%2Fi1-1-py3-none-any.whl\n  sha256: {sha}\n  name: i1\n  version: '1'\n",
        "- pypi: https://h/a%0Ab-1-py3-none-any.whl\n  sha256: {sha}\n  name: i1\n  version: '1'\n",
        "- conda: https://h/c/linux-64/i1-1-0.conda\n  sha256: {sha}\n  python_site_packages_path: ../../evil\n",
    ],
)
def test_names_in_locks(entry: str, tmp_path: Path) -> None:
    """A lock whose names lead out of a folder is refused when it is read, or has lost them."""
    text = entry.format(sha="ab" * 32)
    first = text.splitlines()[0].removeprefix("- ")
    (tmp_path / "pixi.toml").write_text(
        '[workspace]\nname = "w"\nchannels = ["https://h/c"]\nplatforms = ["linux-64"]\n'
    )
    (tmp_path / "pixi.lock").write_text(
        "version: 6\nenvironments:\n  default:\n    channels:\n    - url: https://h/c/\n    packages:\n      linux-64:\n"
        f"      - {first}\npackages:\n{text}"
    )
    try:
        env = load_environment(tmp_path, platform="linux-64", check_lock=False)
    except LockDamaged:
        return
    for one in env.packages:
        for name in (one.file_name, one.build, one.subdir, one.version, one.name):
            assert "/" not in name
            assert "\n" not in name


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("prefix", "/../../x"),
        ("prefix", "relative/x"),
        ("prefix", "/opt/$(touch x)/y"),
        ("prefix", "/opt/a'b/c"),
        ("prefix", "/opt"),
        ("prefix", 7),
        ("kind", "../x"),
        ("python", "3.12; import os"),
        ("workspace", "a\x1b[31m"),
        ("installed_bytes", "$(x)"),
        ("installed_bytes", -1),
        ("needs", "x"),
    ],
)
def test_what_a_bundle_says_of_itself(key: str, value: object, tmp_path: Path) -> None:
    """A manifest whose values could not have been written by Wingspan is damaged; no path or script is
    made of them.
    """
    good = Manifest(
        kind="squashfs", workspace="w", environment="default", platform="linux-64", environment_digest="x", lock_sha256="y",
        prefix="/opt/wingspan/environment", python="3.12", packages=1,
    )  # fmt: skip
    assert Manifest.from_json(good.to_json(), tmp_path) == good
    document = {**json.loads(good.to_json()), key: value}
    with pytest.raises(BundleDamaged):
        Manifest.from_json(json.dumps(document), tmp_path)


wheel_names = [
    "a.py",
    "../evil.py",
    "/evil.py",
    "a/../../evil.py",
    "w-1.data/scripts/../../evil",
    "w-1.data/data/../evil",
    "w-1.data/where/x",
]


@pytest.mark.parametrize("name", wheel_names[1:])
def test_names_in_wheels(name: str, tmp_path: Path, empty_cache: Path) -> None:
    """A wheel that wants a file elsewhere is refused, by its name and the file's."""
    path = tmp_path / "pack.tar"
    pack(path, {"python": package({"bin/python": b"#!/bin/sh\n"}, "python")}, records={"python": {"version": "3.11.0"}},
         file_names={"python": "python-3.11.0-0.tar.bz2"})  # fmt: skip
    add_wheel(path, {name: "evil"})
    with pytest.raises(UnsafePackage, match=r"w-1-py3-none-any\.whl"):
        unpack_bundle(path, tmp_path / "target")
    assert not list(tmp_path.rglob("evil*"))


parts = st.sampled_from(["a", "b", "A", "..", ".", "", "\uff0e\uff0e", "lib"])
names = st.lists(parts, min_size=1, max_size=3).map("/".join)
contents = st.one_of(
    st.just(b"x"), st.sampled_from(["a", "b", "..", "../..", "/", "a/.."]).map(lambda target: (LINK, target))
)


@settings(max_examples=MANY)
@given(st.lists(st.dictionaries(names, contents, min_size=1, max_size=3), min_size=1, max_size=3))
def test_any_pack_stays_in_its_folder(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, packages: list[Files]
) -> None:
    """Whatever packages call their files and links, all that an unpacking writes is below its folder, or
    it is refused.
    """
    folder = tmp_path_factory.mktemp("any")
    monkeypatch.setenv("WINGSPAN_CACHE_DIR", str(folder / "cache"))
    (folder / "deep/er").mkdir(parents=True)
    path = pack(
        folder / "deep/pack.tar", {f"i{n}": package(files, f"i{n}") for n, files in enumerate(packages)}
    )
    before = below(folder)
    try:
        prefix = unpack_bundle(path, folder / "deep/er/target")
    except BundleError:
        prefix = None
    after = {
        name: content
        for name, content in below(folder).items()
        if not name.startswith(("cache/", "deep/er/target/"))
    }
    assert after == before
    if prefix is not None:
        for place, folders, files in os.walk(prefix):
            for name in (*folders, *files):
                above = os.path.realpath(place)
                assert above == place  # no way in it leads through a link


def test_nothing_of_a_pack_is_executed_while_it_is_unpacked(tmp_path: Path, empty_cache: Path) -> None:
    """A pack with a wheel is unpacked by this Python: the program that the pack calls python leaves no
    trace.
    """
    trace = tmp_path / "trace"
    script = f"#!/bin/sh\ntouch {trace}\n".encode()
    python = package(
        {"bin/python": script, "bin/python3": script, "bin/python3.11": script}, "python", version="3.11.0"
    )
    path = pack(
        tmp_path / "pack.tar",
        {"python": python},
        records={"python": {"version": "3.11.0"}},
        file_names={"python": "python-3.11.0-0.tar.bz2"},
    )
    add_wheel(path, {"w.py": "x = 1\n", "w-1.dist-info/entry_points.txt": "[console_scripts]\nw = w:main\n"})
    prefix = unpack_bundle(path, tmp_path / "target")
    assert (prefix / "lib/python3.11/site-packages/w.py").read_text() == "x = 1\n"
    assert (prefix / "bin/w").read_text().startswith(f"#!{prefix}/bin/python\n")
    assert not trace.exists()


def image(path: Path, folder: Path) -> Path:
    """A squashfs bundle of what is in `folder`, as somebody else may make one."""
    subprocess.run(
        ["mksquashfs", folder, path, "-quiet", "-no-progress", "-comp", "gzip"],
        check=True,
        capture_output=True,
    )
    manifest = Manifest(
        kind="squashfs", workspace="w", environment="default", platform=SUBDIR, environment_digest="x", lock_sha256="y",
        prefix="/opt/wingspan/environment", python=None, packages=0,
    )  # fmt: skip
    with path.open("ab") as file:
        file.write(trailer(manifest))
    Path(f"{path}.sha256").write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An environment that can be unpacked, in which a test puts what does not belong there."""
    folder = tmp_path / "root"
    (folder / ".wingspan").mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / ".wingspan/prefix-files.json").write_text('{"text": [], "binary": []}')
    return folder


needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("mksquashfs") is None, reason="needs root and mksquashfs"
)


@needs_root
def test_rights_and_owners_of_an_image_are_not_taken_over(
    tmp_path: Path, root: Path, empty_cache: Path
) -> None:
    """What root unpacks of an image is root's, not setuid, and nobody else may write it."""
    (root / "bin/su").write_bytes(b"#!/bin/sh\n")
    os.chown(root / "bin/su", 4321, 4321)
    (root / "bin/su").chmod(0o6777)
    os.chown(root / "bin", 4321, 4321)
    (root / "bin").chmod(0o3777)
    prefix = unpack_bundle(image(tmp_path / "i.squashfs", root), tmp_path / "target")
    for path, mode in ((prefix / "bin/su", 0o755), (prefix / "bin", 0o755), (prefix, 0o755)):
        status = path.lstat()
        assert (status.st_uid, status.st_mode & 0o7777) == (0, mode)


def test_an_oci_with_nothing_at_its_prefix_is_damaged(tmp_path: Path) -> None:
    """An archive whose layers have no environment is an error in words, and nothing is left."""
    layer, path = io.BytesIO(), tmp_path / "a.oci.tar"
    tarfile.open(fileobj=layer, mode="w:gz").close()
    manifest = Manifest(
        kind="oci", workspace="w", environment="default", platform=SUBDIR, environment_digest="x",
        lock_sha256="y", prefix="/opt/wingspan/environment", python=None, packages=1,
    )  # fmt: skip
    members = {
        "manifest.json": b'[{"Layers": ["l"]}]', "wingspan.json": manifest.to_json().encode(), "l": layer.getvalue(),
        "oci-layout": b"{}", "index.json": b"{}",
    }  # fmt: skip
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    Path(f"{path}.sha256").write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    with pytest.raises(BundleDamaged, match="no environment at /opt/wingspan/environment"):
        unpack_bundle(path, tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.skipif(shutil.which("mksquashfs") is None, reason="needs mksquashfs")
@pytest.mark.parametrize(
    ("room", "said"), [("{}", "has room for 25 bytes"), ('{"bin/a": 255}', "no room for a path")]
)
def test_an_image_without_the_room_that_it_tells_of(
    room: str, said: str, tmp_path: Path, root: Path, empty_cache: Path
) -> None:
    """An image of an older Wingspan tells of no room, a foreign one perhaps of too much: refused, and
    nothing stays.
    """
    (root / "bin/a").write_bytes(b"/opt/wingspan/environment/lib\0next\0")
    (root / ".wingspan/prefix-files.json").write_text(f'{{"text": [], "binary": ["bin/a"], "room": {room}}}')
    with pytest.raises(BuildFailed, match=said) as caught:
        unpack_bundle(image(tmp_path / "i.squashfs", root), tmp_path / "target")
    assert "shorter path" in caught.value.hint
    assert not (tmp_path / "target").exists()


@needs_root
@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_an_image_with_a_device_is_refused(kind: int, tmp_path: Path, root: Path, empty_cache: Path) -> None:
    """Devices, pipes and sockets have no place in an environment; nothing is left of it."""
    os.mknod(root / "bin/null", kind | 0o666, os.makedev(1, 3))
    path = image(tmp_path / "i.squashfs", root)
    with pytest.raises(UnsafeBundle, match="bin/null"):
        unpack_bundle(path, tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("name", ["a;touch x", "a\nRUN evil", "$(x)", "../x", "", "a b", "--flag"])
def test_names_of_environments_stand_in_scripts(name: str, tmp_path: Path) -> None:
    """A lock whose environments or platforms have names that a script would take for something else is
    refused when it is read.
    """
    (tmp_path / "pixi.lock").write_text(
        "version: 6\nenvironments:\n"
        f"  {json.dumps(name)}:\n    channels:\n    - url: https://h/c/\n    packages:\n      linux-64: []\npackages: []\n"
    )
    with pytest.raises(LockDamaged):
        Lock(tmp_path / "pixi.lock")


def test_the_name_of_a_workspace_is_a_word_in_recipes(tmp_path: Path) -> None:
    """A Dockerfile and a definition file have no line that a workspace's name has put there."""
    manifest = Manifest(
        kind="oci", workspace="My $(x)\nRUN evil", environment="default", platform=SUBDIR, environment_digest="x",
        lock_sha256="y", prefix="/opt/wingspan/environment", python=None, packages=1,
    )  # fmt: skip
    for text in (dockerfile(manifest, "pixi.toml"), definition_file(manifest, "pixi.toml")):
        assert "\nRUN evil" not in text
        assert "$(x)" not in text


SITE = "lib/python/site-packages"


@pytest.mark.parametrize(
    ("link", "files"),
    [
        (f"{SITE}/m.py", {"m.py": "theirs"}),
        (f"{SITE}/w-1.dist-info/INSTALLER", {"m.py": "theirs"}),
        (f"{SITE}/w-1.dist-info/RECORD", {"m.py": "theirs"}),
        (f"{SITE}/w-1.dist-info/METADATA", {"m.py": "theirs"}),
        ("bin/tool", {"w-1.data/scripts/tool": "theirs"}),
        ("bin/tool", {"w-1.dist-info/entry_points.txt": "[console_scripts]\ntool = m:main\n"}),
        ("share/m", {"w-1.data/data/share/m": "theirs"}),
    ],
)
def test_wheels_are_not_written_through_links(
    link: str, files: dict[str, str], tmp_path: Path, home: Path, empty_cache: Path
) -> None:
    """A conda package's link in the place of a wheel's file gives way to the file, and what it led to
    stays as it is.
    """
    path = pack(tmp_path / "pack.tar", {"i1": package({link: (LINK, f"{home}/authorized_keys")})})
    add_wheel(path, files)
    prefix = unpack_bundle(path, tmp_path / "target")
    assert (home / "authorized_keys").read_text() == "mine\n"
    assert (prefix / link).is_file()
    assert not (prefix / link).is_symlink()


def test_nor_when_a_bundle_is_built(tmp_path: Path, home: Path) -> None:
    """uv, which installs wheels into what is built, finds no link to write through."""
    folder, wheel = tmp_path / "env", tmp_path / "w-1-py3-none-any.whl"
    venv.create(folder, symlinks=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in {
            "m.py": "theirs",
            "w-1.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "w-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: w\nVersion: 1\n",
            "w-1.dist-info/entry_points.txt": "[console_scripts]\ntool = m:main\n",
            "w-1.dist-info/RECORD": "",
        }.items():
            archive.writestr(name, content)
    site = next(folder.glob("lib/python*/site-packages"))
    places = [site / "m.py", folder / "bin/tool"]
    for place in places:
        place.symlink_to(home / "authorized_keys")
    install_wheels([read_wheel(wheel)], folder, sha256={wheel: None}, prefix="/opt/e", cache=tmp_path / "uv")
    assert (home / "authorized_keys").read_text() == "mine\n"
    assert [place.is_file() and not place.is_symlink() for place in places] == [True, True]
    assert (site / "m.py").read_text() == "theirs"


@pytest.mark.parametrize(
    "points",
    [
        "tool = m:main\n",
        "[console_scripts]\na=m:x\na=m:y\n",
        "[console_scripts]\na=m\n",
        "[console_scripts]\na\n",
        "[console_scripts\n",
        "\0",
    ],
)
def test_damaged_lists_of_programs_are_named(points: str, tmp_path: Path, empty_cache: Path) -> None:
    """A list of entry points that makes no sense is an error in words, here and on a worker, and nothing
    is left.
    """
    path = pack(tmp_path / "pack.tar", {"i1": package({"a": b""})})
    add_wheel(path, {"w-1.dist-info/entry_points.txt": points})
    with pytest.raises(BundleError) as caught:
        unpack_bundle(path, tmp_path / "target")
    assert "Traceback" not in str(caught.value)
    program = tmp_path / "unpack"
    program.write_bytes(remote_program("unpacker.py"))
    done = subprocess.run(
        [sys.executable, "-I", "-S", program, "-o", tmp_path / "there", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 121)
    assert "Traceback" not in done.stderr


DEEP = b"[" * 100_000 + b"]" * 100_000
RECORDS = f"channel/{SUBDIR}/repodata.json"


def altered(path: Path, **members: bytes) -> Path:
    """A pack of one package in which these members are others, or more."""
    given = pack(path.with_suffix(".whole"), {"i1": package({"a": b"x"})})
    with tarfile.open(given) as old, tarfile.open(path, "w") as new:
        content = {m.name: old.extractfile(m).read() for m in old}  # type: ignore[union-attr]
        for name, data in {**content, **members}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    "members",
    [
        {"pixi-pack.json": DEEP},
        {"pixi-pack.json": b"[]"},
        {"pixi-pack.json": b'{"version": "1", "platform": ["x"]}'},
        {"wingspan.json": DEEP},
        {RECORDS: DEEP},
        {RECORDS: b"[]"},
        {RECORDS: b'{"packages": [1]}'},
        {RECORDS: b'{"packages": {"i1-1-0.tar.bz2": null}}'},
        {RECORDS: b'{"packages": {"i1-1-0.tar.bz2": {}}}'},
        {"sha256sums": b"\xff\n\nabc\n"},
        {"pypi/x-1-py3-none-any.whl": b"junk"},
    ],
)
def test_a_pack_that_makes_no_sense_is_damaged(
    members: dict[str, bytes], tmp_path: Path, empty_cache: Path
) -> None:
    """Whatever its tables hold, it is refused in words, and nothing is left."""
    with pytest.raises(BundleError):
        unpack_bundle(altered(tmp_path / "pack.tar", **members), tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_what_no_shell_can_hold_is_left_out_of_the_activation(tmp_path: Path, empty_cache: Path) -> None:
    """Scripts that lie elsewhere, and values that no variable can have, are left out with a warning; the
    rest is set.
    """
    carried = {
        "env": {"BAD": "\ud800", "NUL": "x\0y", "TEXT": "$(touch evil)`touch evil`", "GOOD": "1"},
        "scripts": ["../../../evil.sh", 1, ""],
    }
    path = altered(tmp_path / "pack.tar", **{"activation/activation.json": json.dumps(carried).encode()})
    with pytest.warns(EnvironmentWarning):
        unpack_bundle(path, tmp_path / "target")
    script = tmp_path / "target/activate.sh"
    done = subprocess.run(
        ["sh", "-c", '. "$1"; echo "$GOOD $TEXT"', "sh", script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert done.stdout == "1 $(touch evil)`touch evil`\n"
    assert "evil.sh" not in script.read_text()
    assert not (tmp_path / "evil").exists()


@settings(max_examples=MANY, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mangled_pack_is_an_error_in_words(data: st.DataObject, tmp_path: Path, empty_cache: Path) -> None:
    """A pack with bytes cut off or changed is unpacked, or refused with an error of bundles."""
    path, target = altered(tmp_path / "pack.tar"), tmp_path / "target"
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=20)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        unpack_bundle(path, target)
    except BundleError:
        assert not target.exists()
    shutil.rmtree(target, ignore_errors=True)


@pytest.mark.parametrize(
    "listed",
    [
        b"[]",
        b"{}",
        DEEP,
        b'{"text": ["a\\u0000b"], "binary": []}',
        b'{"text": ["a\\ud800b"], "binary": []}',
        b'{"text": 1, "binary": []}',
        b'{"text": [], "binary": [], "room": 1}',
        b'{"text": [], "binary": ["b"], "room": {"b": "255"}}',
    ],
)
def test_an_image_whose_list_makes_no_sense_is_damaged(listed: bytes, tmp_path: Path) -> None:
    """What an image wants rewritten is a list of names, or the image is damaged; one that says no place
    is damaged, too.
    """
    layer, path = io.BytesIO(), tmp_path / "a.oci.tar"
    with tarfile.open(fileobj=layer, mode="w:gz") as tar:
        member = tarfile.TarInfo("opt/wingspan/environment/.wingspan/prefix-files.json")
        member.size = len(listed)
        tar.addfile(member, io.BytesIO(listed))
    for prefix in ("/opt/wingspan/environment", None):
        manifest = Manifest(
            kind="oci", workspace="w", environment="default", platform=SUBDIR, environment_digest="x",
            lock_sha256="y", prefix=prefix, python=None, packages=1,
        )  # fmt: skip
        members = {
            "manifest.json": b'[{"Layers": ["l"]}]', "wingspan.json": manifest.to_json().encode(), "l": layer.getvalue(),
            "oci-layout": b"{}", "index.json": b"{}",
        }  # fmt: skip
        with tarfile.open(path, "w") as tar:
            for name, data in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        with pytest.raises(BundleDamaged):
            unpack_bundle(path, tmp_path / "target")


@pytest.mark.parametrize("name", ["bin/.wh.python", "lib/.wh..wh..opq", "lib/.wh.d/x"])
def test_no_file_of_an_image_removes_another_one(name: str, tmp_path: Path) -> None:
    """By a name that begins with ``.wh.`` engines remove a file: it is refused, and named."""
    place = tmp_path / "tree" / name
    place.parent.mkdir(parents=True)
    place.touch()
    with pytest.raises(BuildFailed, match=re.escape(name.rpartition("/x")[0] or name)):
        derive_image(tmp_path / "none", tmp_path / "made", [("code", tmp_path / "tree")], {}, "title")
