"""Images that are unpacked to paths longer than their own: how much room the programs of packages have
for a path.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wingspan.environments import load_environment
from wingspan.environments.bundles import Bundle, build_bundle, unpack_bundle
from wingspan.environments.bundles.errors import BundleError, InvalidPlace
from wingspan.environments.bundles.manifest import PREFIX
from wingspan.environments.bundles.remote import remote_program

Build = Callable[..., Bundle]

#: How many random files; the long version: WINGSPAN_TEST_EXAMPLES=20000 pytest --hypothesis-seed=N
MANY = int(os.environ.get("WINGSPAN_TEST_EXAMPLES", "100"))
#: What the packages of the local channel have room for, as those of conda-build (which has one more).
LONGEST = 254
PROBE = "import sys, os, six; print(sys.prefix, os.environ['PREFIX_PROBE'])"

_PACKAGE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import conda_package, local_channel
folder, placeholder = Path(sys.argv[2]), sys.argv[3]
conda_package.PLACEHOLDER = placeholder
for name in ("bin", "share"):
    (folder / "tree" / name).mkdir(parents=True)
(folder / "tree/share/words").write_text("hello\\n")
# a program with zeros in it, in which the prefix stands twice in one text
program = f"#!/bin/sh\\ncat {placeholder}/share/words\\necho {placeholder}\\nexit\\n".encode() + b"\\0end\\0"
(folder / "tree/bin/tells").write_bytes(program)
(folder / "tree/bin/tells").chmod(0o755)
conda_package.write_package(folder / "tree", folder / "channel", name="tells", version="1", build="0")
local_channel.index(folder / "channel")
local_channel.write_workspace(folder / "w", folder / "channel", {"default": ["tells"]}, name="w")
sys.stdout.flush()
import os
os._exit(0)
"""


def workspace_with_room(folder: Path, placeholder: str) -> Path:
    """A workspace with one package, whose program has room for a path as long as `placeholder`."""
    tools = Path(__file__).resolve().parents[3] / "tools"
    subprocess.run([sys.executable, "-c", _PACKAGE, str(tools), str(folder), placeholder], check=True)
    return folder / "w"


def place_of(folder: Path, size: int) -> Path:
    """A path below `folder` that has so many bytes."""
    left = size - len(os.fsencode(folder)) - 1
    while left > 200:
        folder /= "d" * 100
        left -= 101
    return folder / ("e" * left)


@pytest.mark.parametrize("kind", ["squashfs", "sif", "oci"])
@pytest.mark.parametrize("size", [60, LONGEST])
def test_an_image_starts_at_a_path_longer_than_its_own(
    size: int, kind: str, build: Build, public_folder: Path
) -> None:
    """Python, its packages and programs with a path inside work wherever an image is unpacked, up to the
    packages' own room.
    """
    bundle = build("wheels", kind)
    place = place_of(public_folder / kind, size)
    prefix = unpack_bundle(bundle, place.parent, environment=place.name)
    assert len(str(prefix)) == size > len(PREFIX)
    done = subprocess.run(
        ["bash", "-c", '. "$0" && python -c "$1" && prefix-probe', f"{prefix.parent}/activate.sh", PROBE],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert done.stdout.split() == [str(prefix), f"{prefix}/share", str(prefix)], done.stderr
    binary = (prefix / "share/prefix-probe/binary.dat").read_bytes()
    assert f"{prefix}/share".encode() + b"\0" in binary
    assert f"{prefix}".encode() + b"\0" in binary
    assert b"\0tail\0" in binary
    assert PREFIX.encode() not in binary


def test_what_is_unpacked_is_what_would_have_been_linked_there(build: Build, public_folder: Path) -> None:
    """A binary in an image that is unpacked has the same bytes as one of a pack that is unpacked to the
    same place.
    """
    place = place_of(public_folder / "same", 100)
    found = []
    for kind in ("pack", "squashfs"):
        prefix = unpack_bundle(build("small", kind), place.parent, environment=place.name)
        found.append((prefix / "share/prefix-probe/binary.dat").read_bytes())
        prefix.rename(place.with_name(f"was-{kind}"))
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", ["squashfs", "pack"])
def test_too_long_a_path_is_refused_in_advance(kind: str, build: Build, public_folder: Path) -> None:
    """A path that programs have no room for is refused with its length and theirs, before anything is
    made.
    """
    bundle = build("small", kind)
    place = place_of(public_folder / f"long-{kind}", LONGEST + 1)
    with pytest.raises(InvalidPlace, match=f"too long a path \\({LONGEST + 1} bytes\\).* room for {LONGEST}"):
        unpack_bundle(bundle, place.parent, environment=place.name)
    assert not (public_folder / f"long-{kind}").exists()


def test_packages_with_little_room(tmp_path: Path, public_folder: Path, empty_cache: Path) -> None:
    """An old package's room (32 bytes) is what counts: up to there its program starts, beyond it the path
    is refused.
    """
    env = load_environment(workspace_with_room(tmp_path, "/opt/anaconda1anaconda2anaconda3"))
    bundle = build_bundle(env, "squashfs")
    assert bundle.manifest is not None
    assert bundle.manifest.longest_path == 32
    folder = Path("/tmp") / f"w{os.getpid()}"
    try:
        prefix = unpack_bundle(bundle, folder, environment="e" * (32 - 1 - len(str(folder))))
        done = subprocess.run([prefix / "bin/tells"], capture_output=True, text=True, check=True)
        assert done.stdout == f"hello\n{prefix}\n"
        with pytest.raises(InvalidPlace, match="33 bytes"):
            unpack_bundle(bundle, folder, environment="f" * (33 - 1 - len(str(folder))))
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)


def test_packages_without_room_for_an_image(tmp_path: Path, empty_cache: Path) -> None:
    """A package that has no room for the path of an image is named before anything is linked, and a pack
    is proposed.
    """
    env = load_environment(workspace_with_room(tmp_path, "/opt/abcdefgh"))
    with pytest.raises(BundleError, match=r"bin/tells of the package tells 1 0 has room for 13") as caught:
        build_bundle(env, "squashfs")
    assert "'pack'" in caught.value.hint
    folder = Path("/tmp") / f"w{os.getpid() % 1000}"
    try:
        prefix = unpack_bundle(build_bundle(env, "pack"), folder, environment="e")
        done = subprocess.run([prefix / "bin/tells"], capture_output=True, text=True, check=True)
        assert done.stdout == f"hello\n{prefix}\n"
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)


def replaced(content: bytes, old: str, new: str, room: int | None, folder: Path) -> bytes:
    """What the worker's program makes of a binary."""
    names: dict[str, object] = {}
    exec(compile(remote_program("in_place.py"), "in_place.py", "exec"), names)
    path = folder / "binary"
    path.write_bytes(content)
    names["replace_in_binary"](path, old.encode(), new.encode(), room)  # type: ignore[operator]
    return path.read_bytes()


_ROOM = "/placeholder/" + "p" * 27
_TEXTS = st.lists(
    st.lists(st.sampled_from([_ROOM, "/lib", ":", "x" * 50, "é"]), max_size=5).map("".join), max_size=8
)


@settings(max_examples=MANY, deadline=None)
@given(texts=_TEXTS, padding=st.integers(0, 5), length=st.integers(1, len(_ROOM)), far=st.booleans())
def test_twice_is_as_once(
    texts: list[str], padding: int, length: int, far: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A binary written for an image's prefix, then for another place, is as if it had been written for
    that place at once.
    """
    folder = tmp_path_factory.mktemp("binary")
    content = b"".join(text.encode() + b"\0" * (1 + padding) for text in texts)
    if far:  # the texts lie across the end of what is read at once
        content = b"\1" * ((1 << 20) - 60) + b"\0" + content
    place = "/" + "q" * (length - 1)
    at_once = replaced(content, _ROOM, place, None, folder)
    first = replaced(content, _ROOM, PREFIX, None, folder)
    assert replaced(first, PREFIX, place, len(_ROOM), folder) == at_once


def test_room_that_is_not_there_is_not_taken(tmp_path: Path) -> None:
    """Where a list says more room than a file has, what follows the path is not overwritten."""
    content = f"{PREFIX}/lib".encode() + b"\0\0next\0"
    with pytest.raises(ValueError, match="no room for a path of 40 bytes"):
        replaced(content, PREFIX, "/" + "q" * 39, 255, tmp_path)
    assert (tmp_path / "binary").read_bytes() == content
