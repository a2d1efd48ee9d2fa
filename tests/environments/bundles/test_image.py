"""Squashfs images that are written here: read back by the kernel, unsquashfs and squashfuse, whatever is
in the tree.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from wingspan.environments import load_environment
from wingspan.environments.bundles import build_bundle
from wingspan.environments.bundles.errors import BuildFailed
from wingspan.environments.bundles.kinds import squashfs
from wingspan.environments.bundles.kinds.squashfs import make_squashfs
from wingspan.environments.bundles.kinds.squashfs_format import BLOCK, Image
from wingspan.environments.bundles.machine.programs import find_program

#: Prints (path, mode, size, link or digest) of everything below a folder.
_LIST = """
import hashlib, os, stat, sys
root = sys.argv[1]
for folder, folders, files in os.walk(root):
    for name in sorted(folders + files):
        path = os.path.join(folder, name)
        s = os.lstat(path)
        kind = stat.S_IFMT(s.st_mode)
        content = ""
        if stat.S_ISLNK(s.st_mode):
            content = os.readlink(path)
        elif stat.S_ISREG(s.st_mode):
            content = hashlib.sha256(open(path, "rb").read()).hexdigest()
        size = s.st_size if stat.S_ISREG(s.st_mode) else 0
        dev = s.st_rdev if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0
        print(repr(os.path.relpath(path, root)), oct(s.st_mode), size, dev, repr(content))
"""


def listing(root: Path, *before: str) -> list[str]:
    """What is below `root`, as somebody sees it who looks every name up; `before`: a command that runs
    the program.
    """
    done = subprocess.run(
        [*before, shutil.which("python3") or "python3", "-c", _LIST, str(root)],
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(done.stdout.splitlines())


def by_first_letter(tree: Path) -> dict[str, str]:
    """Origins for the files of a tree, several files to one."""
    # Not rglob: of Python 3.11.2 it stumbles over a link that is longer than a path may be.
    files = (Path(root, name) for root, _, names in os.walk(tree) for name in names)
    files = (p for p in files if not p.is_symlink() and p.is_file())
    return {p.relative_to(tree).as_posix(): p.name[:1] for p in files}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files around every limit of the format."""
    root = tmp_path / "tree"
    noise = random.Random(5)
    for name, content in {
        "empty": b"",
        "one": b"x",
        "same": b"twice " * 999,
        "sub/same": b"twice " * 999,
        "exactly a block": noise.randbytes(BLOCK),
        "a block and one": b"a" * (BLOCK + 1),
        "one less": noise.randbytes(BLOCK - 1),
        "zeros": bytes(5 * BLOCK + 77),
        "zeros in a fragment": bytes(300),
        "hole inside": b"begin" + bytes(4 * BLOCK) + b"end",
        "large": b"".join(i.to_bytes(4, "little") for i in range(300_000)),
        "large again": b"".join(i.to_bytes(4, "little") for i in range(300_000)),
        "program": b"#!/bin/sh\n",
        "ümläut €": b"unicode",
        "n" * 255: b"long name",
        "deep/" * 40 + "file": b"deep",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / "program").chmod(0o4755)
    (root / "one").chmod(0o600)
    (root / "nothing in it").mkdir(mode=0o1777)
    (root / "link").symlink_to("../over/there")
    (root / "long link").symlink_to("x" * 4000)
    for count in (255, 256, 257, 1500):
        folder = root / f"folder of {count}"
        folder.mkdir()
        for i in range(count):
            (folder / f"{i:05d} {'y' * (i % 90)}").write_bytes(str(i).encode())
    folder = root / "folders in a folder"
    for i in range(700):
        (folder / f"{'z' * 100}{i}").mkdir(parents=True)
        (folder / f"{'z' * 100}{i}" / "inside").write_bytes(b"inside")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(root)  # such names are short
        server.bind("socket")
        os.chdir(here)
    if os.geteuid() == 0:
        os.mknod(root / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(root / "disk", 0o600 | stat.S_IFBLK, os.makedev(259, 70000))
    return root


@pytest.fixture
def image(tree: Path, tmp_path: Path, empty_cache: Path) -> Path:
    """An image of the tree; some of its files have origins."""
    path = tmp_path / "image"
    origins = by_first_letter(tree)
    assert make_squashfs(tree, path, origins=origins) == hashlib.sha256(path.read_bytes()).hexdigest()
    return path


def test_the_kernel_reads_it(image: Path, tree: Path, tmp_path: Path) -> None:
    """Mounted by the kernel, the tree is what it was."""
    if os.geteuid() != 0:
        pytest.skip("mounting with the kernel needs root")
    place = tmp_path / "mounted"
    place.mkdir()
    subprocess.run(["mount", "-t", "squashfs", "-o", "loop,ro", str(image), str(place)], check=True)
    try:
        assert listing(place) == listing(tree)
        assert (place / "zeros").stat().st_blocks >= 0
        for path in list(tree.rglob("*"))[::7]:
            assert os.path.lexists(place / path.relative_to(tree))
        assert not (place / "folder of 1500/none of them").exists()
        assert {p.stat().st_mtime for p in (place, place / "one")} == {0}
        assert {(p.stat().st_uid, p.stat().st_gid) for p in (place, place / "one")} == {(0, 0)}
        assert (place / "folders in a folder").stat().st_nlink == 702
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_unsquashfs_reads_it(image: Path, tree: Path, tmp_path: Path) -> None:
    """Unpacked by squashfs-tools, the tree is what it was."""
    if os.geteuid() != 0:
        pytest.skip("devices are made by root only")
    command = [str(find_program("unsquashfs")), "-q", "-n", "-d", str(tmp_path / "unpacked"), str(image)]
    subprocess.run(command, check=True, capture_output=True)
    assert listing(tmp_path / "unpacked") == listing(tree)


def test_squashfuse_reads_it(image: Path, tree: Path, tmp_path: Path) -> None:
    """Mounted by squashfuse_ll, the tree is what it was."""
    place = tmp_path / "mounted"
    place.mkdir()
    try:
        subprocess.run([str(find_program("squashfuse_ll")), str(image), str(place)], check=True)
    except subprocess.CalledProcessError:
        pytest.skip("no FUSE here")
    try:
        assert listing(place) == listing(tree)
    finally:
        unmount = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-u"]
        subprocess.run([*unmount, str(place)], check=True)


def test_nothing_at_all(tmp_path: Path, empty_cache: Path) -> None:
    """An empty folder is an image too."""
    (tmp_path / "tree").mkdir()
    make_squashfs(tmp_path / "tree", tmp_path / "image")
    command = [
        str(find_program("unsquashfs")),
        "-q",
        "-n",
        "-d",
        str(tmp_path / "u"),
        str(tmp_path / "image"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    assert list((tmp_path / "u").iterdir()) == []


def test_the_same_bytes_however_it_is_made(tree: Path, tmp_path: Path, empty_cache: Path) -> None:
    """Compressed on one core or on all, from kept blobs or anew: the same bytes."""
    origins = by_first_letter(tree)
    first = make_squashfs(tree, tmp_path / "1", origins=origins)
    assert make_squashfs(tree, tmp_path / "2", origins=origins) == first
    shutil.rmtree(empty_cache)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        assert make_squashfs(tree, tmp_path / "3", origins=origins) == first
    finally:
        os.sched_setaffinity(0, cores)


def test_kept_content_moves_in_the_tree(tmp_path: Path, empty_cache: Path) -> None:
    """What was compressed for an environment is used for the same environment inside a root file system."""
    (tmp_path / "env/lib").mkdir(parents=True)
    (tmp_path / "env/lib/data").write_bytes(random.Random(1).randbytes(400_000))
    make_squashfs(tmp_path / "env", tmp_path / "1", origins={"lib/data": "package"})
    blobs = list((empty_cache / "environments/blobs").iterdir())
    (tmp_path / "root/opt").mkdir(parents=True)
    (tmp_path / "env").rename(tmp_path / "root/opt/env")
    (tmp_path / "root/lib").mkdir()
    (tmp_path / "root/lib/data").write_bytes(b"another")
    make_squashfs(tmp_path / "root", tmp_path / "2", origins={"lib/data": "package"}, at="opt/env/")
    assert list((empty_cache / "environments/blobs").iterdir()) == blobs
    command = [str(find_program("unsquashfs")), "-q", "-n", "-d", str(tmp_path / "u"), str(tmp_path / "2")]
    subprocess.run(command, check=True, capture_output=True)
    assert listing(tmp_path / "u") == listing(tmp_path / "root")


@pytest.mark.parametrize("where", [0.0, 0.2, 0.6, 1.0])
def test_an_altered_blob_is_made_again(where: float, local_workspace: Path, empty_cache: Path) -> None:
    """Compressed content in the cache is not believed: one altered byte, anywhere, and it is made again."""
    env = load_environment(local_workspace, "small", "linux-64")
    first = build_bundle(env, "squashfs")
    good = first.path.read_bytes()
    shutil.rmtree(empty_cache / "environments/bundles")
    for blob in (empty_cache / "environments/blobs").iterdir():
        with blob.open("r+b") as file:
            file.seek(int(where * (blob.stat().st_size - 1)))
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))
    again = build_bundle(env, "squashfs")
    assert again.sha256 == first.sha256
    assert again.path.read_bytes() == good


def without_blobs(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Somebody clears the cache between the first layout of an image and its writing."""
    lay_out = squashfs.lay_out

    def cleared(*args: Any) -> Image:
        monkeypatch.setattr(squashfs, "lay_out", lay_out)
        shutil.rmtree(cache / "environments/blobs")
        return lay_out(*args)

    monkeypatch.setattr(squashfs, "lay_out", cleared)


def test_a_blob_that_is_gone_is_made_again(
    tree: Path, tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another build that found it altered removes it, too: an image is made all the same."""
    origins = by_first_letter(tree)
    first = make_squashfs(tree, tmp_path / "first", origins=origins)
    without_blobs(monkeypatch, empty_cache)
    assert make_squashfs(tree, tmp_path / "second", origins=origins) == first


@pytest.mark.parametrize("kept", ["bundles", "bundles shares"], ids=["put together", "installed"])
def test_blobs_that_are_gone_are_installed_again(
    kept: str, local_workspace: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where they were all that there was of the packages, and where the installed files are removed
    already."""
    env = load_environment(local_workspace, "small", "linux-64")
    first = build_bundle(env, "squashfs")
    for folder in kept.split():
        shutil.rmtree(empty_cache / "environments" / folder)
    without_blobs(monkeypatch, empty_cache)
    assert build_bundle(env, "squashfs").sha256 == first.sha256


def test_packages_are_compressed_while_others_are_compiled(
    local_workspace: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the files of a first image are all there, only those that belong to no package are not compressed
    yet."""
    left = []
    make_blob = squashfs.make_blob

    def noting(folder: Path, sizes: Any, target: Path, **rest: Any) -> Any:
        left.append(target.name)
        return make_blob(folder, sizes, target, **rest)

    monkeypatch.setattr(squashfs, "make_blob", noting)
    build_bundle(load_environment(local_workspace, "small", "linux-64"), "squashfs")
    assert left == ["image.rest"]


def test_what_a_killed_process_left(tmp_path: Path, empty_cache: Path) -> None:
    """Half-written content of a process that was killed is cleared away; that of one at work is not."""
    folder = empty_cache / "environments/blobs"
    folder.mkdir(parents=True)
    dead, alive = folder / ".a.x.part", folder / ".b.x.part"
    dead.write_bytes(b"half")
    alive.write_bytes(b"half")
    os.utime(dead, (0, 0))
    (tmp_path / "tree").mkdir()
    make_squashfs(tmp_path / "tree", tmp_path / "image")
    assert [dead.exists(), alive.exists()] == [False, True]


@pytest.mark.slow
def test_a_file_of_more_than_four_gigabytes(tmp_path: Path, empty_cache: Path) -> None:
    """Sizes above 32 bits are kept, and nothing but holes takes no room."""
    tree = tmp_path / "tree"
    tree.mkdir()
    with (tree / "huge").open("wb") as file:
        file.truncate((4 << 30) + 200_003)
        file.seek((4 << 30) + 12345)
        file.write(b"here")
    make_squashfs(tree, tmp_path / "image")
    assert (tmp_path / "image").stat().st_size < 1 << 20
    command = [find_program("unsquashfs"), "-q", "-n", "-lln", tmp_path / "image"]
    assert f" {(4 << 30) + 200_003} " in subprocess.check_output(command, text=True)
    place = tmp_path / "place"
    place.mkdir()
    if os.geteuid() == 0:  # to unpack it takes seconds: there all zeros are read
        subprocess.run(["mount", "-t", "squashfs", "-o", "loop,ro", tmp_path / "image", place], check=True)
    else:
        command = [find_program("unsquashfs"), "-q", "-n", "-f", "-d", place, tmp_path / "image"]
        subprocess.run(command, check=True, capture_output=True)
    try:
        with (place / "huge").open("rb") as file:
            assert file.seek(0, os.SEEK_END) == (4 << 30) + 200_003
            file.seek((4 << 30) + 12340)
            assert file.read(20) == bytes(5) + b"here" + bytes(11)
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", "-l", place], check=True)


def test_a_file_that_shrinks(tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree that changes while its image is made is an error, not a wrong image."""
    from wingspan.environments.bundles.kinds import squashfs

    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_bytes(b"0123456789")
    before = squashfs.read_tree

    def then_shrink(folder: Path) -> object:
        root = before(folder)
        (folder / "file").write_bytes(b"012")
        return root

    monkeypatch.setattr(squashfs, "read_tree", then_shrink)
    with pytest.raises(BuildFailed, match="file"):
        make_squashfs(tmp_path / "tree", tmp_path / "image")
    assert not (tmp_path / "image").exists()
