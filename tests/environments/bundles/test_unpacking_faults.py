"""Scripts that unpack or install themselves, on machines that make it hard: an old Python in the C
locale, quotas, another Pixi.
"""

from __future__ import annotations

import bz2
import functools
import hashlib
import http.server
import io
import json
import os
import platform
import resource
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wingspan.environments.bundles import Bundle
from wingspan.environments.bundles.kinds.install import PIXI_VERSION
from wingspan.environments.bundles.remote import remote_program

Build = Callable[..., Bundle]
NAME = "share/café.txt"
#: Python 3.7 and later as 3.6 is in the C locale: ASCII.
OLD_PYTHON = {"PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "LC_ALL": "C", "PATH": os.environ["PATH"]}


def _tar(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack of one package that has a file with an accent in its name, as itself and in its own list of
    files.
    """
    paths = {"paths": [{"_path": NAME, "path_type": "hardlink"}], "paths_version": 1}
    files = {"info/paths.json": json.dumps(paths, ensure_ascii=False).encode(), NAME: b"coffee"}
    package = bz2.compress(_tar(files))
    record = {"name": "x", "version": "1", "build": "0", "sha256": hashlib.sha256(package).hexdigest()}
    repodata = {"packages": {"x-1-0.tar.bz2": record}}
    channel = f"channel/linux-{'64' if platform.machine() == 'x86_64' else platform.machine()}"
    content = {
        "pixi-pack.json": json.dumps({"version": "1", "platform": channel.partition("/")[2]}).encode(),
        f"{channel}/repodata.json": json.dumps(repodata).encode(),
        f"{channel}/x-1-0.tar.bz2": package,
    }
    path = tmp_path / "pack.tar"
    path.write_bytes(_tar(content))
    return path


def test_names_of_files_in_the_c_locale(pack: Path, tmp_path: Path) -> None:
    """An old Python in the C locale unpacks names that are not ASCII, into a folder whose name is not
    either.
    """
    unpacker = tmp_path / "unpacker.py"
    unpacker.write_bytes(remote_program("unpacker.py"))
    target = tmp_path / "träger"
    done = subprocess.run(
        [sys.executable, "-S", str(unpacker), "-o", str(target), str(pack)],
        env=OLD_PYTHON,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (target / "env" / NAME).read_text() == "coffee"
    assert str(target) in (target / "activate.sh").read_text(encoding="utf-8")


def test_a_limit_on_the_size_of_files_is_not_damage(build: Build, tmp_path: Path) -> None:
    """A limit, or a quota, that keeps the archive from being written is told as what it is."""
    bundle = build("small", "pack", executable=True)
    done = subprocess.run(
        ["bash", str(bundle.path), "-o", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert done.returncode == 123
    assert "no room in" in done.stderr
    assert "damaged" not in done.stderr


@pytest.fixture
def releases(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A server that has another program in Pixi's place, with the digest of that beside it; and the
    digest.
    """
    name = f"pixi-{platform.machine()}-unknown-linux-musl"
    program = tmp_path / f"server/releases/download/v{PIXI_VERSION}" / name
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\ntouch ran\nexit 1\n")
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    program.with_name(f"{name}.sha256").write_text(f"{digest}  {name}\n")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "server"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", digest
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("right", [True, False])
def test_a_pixi_that_is_pinned(right: bool, build: Build, releases: tuple[str, str], tmp_path: Path) -> None:
    """With PIXI_SHA256 a program with another digest is not executed, whatever digest lies beside it; one
    with this is.
    """
    address, digest = releases
    wanted = digest if right else digest[::-1]
    done = subprocess.run(
        ["bash", str(build("small", "install").path), "-o", str(tmp_path / "out")],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PIXI_REPOURL": address, "PIXI_SHA256": wanted},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (tmp_path / "ran").exists() == right, done.stderr
    if right:
        assert "does not run on this machine" in done.stderr
    else:
        assert done.returncode == 121
        assert wanted in done.stderr
