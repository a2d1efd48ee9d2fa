"""The `install` script by itself, with a StandinPixi: which Pixi it takes, what it fetches, what it says
when it cannot.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import platform
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from wingspan.environments import load_environment
from wingspan.environments.bundles import Bundle, open_bundle, starter_command
from wingspan.environments.bundles.kinds.install import PIXI_VERSION, oldest_pixi

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))
import standin_pixi

Build = Callable[..., Bundle]

#: What the script and the starter call, beside curl or wget.
_TOOLS = "awk base64 bash cat chmod cp cut date df dirname env getent grep head id ln mkdir mktemp mv rm sed sh sha256sum sleep sort"
_TOOLS += " stat tail tee test tr uname"


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder for PATH with the tools that every machine has, and nothing else."""
    folder = tmp_path / "bare"
    folder.mkdir()
    for name in _TOOLS.split():
        found = shutil.which(name)
        if found is not None:
            (folder / name).symlink_to(found)
    return folder


def _install(bundle: Bundle, path: Path, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Execute the script by itself."""
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        ["bash", str(bundle.path), "-o", str(folder / "out")],
        env={"PATH": str(path), "HOME": str(folder), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@contextlib.contextmanager
def _releases(folder: Path, version: str = PIXI_VERSION, digest: str | None = None) -> Iterator[str]:
    """A server with a StandinPixi where Pixi's releases have the real one; answers its address."""
    name = f"pixi-{platform.machine()}-unknown-linux-musl"
    program = standin_pixi.write(folder / f"releases/download/v{PIXI_VERSION}" / name, version)
    digest = digest or hashlib.sha256(program.read_bytes()).hexdigest()
    program.with_name(f"{name}.sha256").write_text(f"{digest}  {name}\n")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_the_environment_of_the_lock(build: Build, bare: Path, tmp_path: Path) -> None:
    """A command runs in what Pixi installed, conda packages and wheels, with Pixi's activation; the
    bundle is small and describes itself.
    """
    bundle = build("wheels", "install")
    assert bundle.size < 60_000
    standin_pixi.write(bare / "pixi")
    program = "import os, sys, six, tabulate; print(sys.prefix, os.environ['PIXI_ENVIRONMENT_NAME'])"
    start = starter_command(bundle, ["python", "-c", program], shared=True)
    done = subprocess.run(
        ["sh", str(start.executable), *start.arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{bare}", "TMPDIR": str(tmp_path)},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    prefix, name = done.stdout.split()
    assert prefix.startswith(f"{tmp_path}/.wingspan-")
    assert name == "wheels"
    opened = open_bundle(bundle.path)
    assert opened.kind == "install"
    assert opened.manifest == bundle.manifest


def test_it_carries_the_lock(build: Build, bare: Path, local_workspace: Path, tmp_path: Path) -> None:
    """What Pixi is given is the user's lock and manifest, byte for byte, and the name of the environment."""
    (bare / "pixi").write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "pixi 99.0" && exit\necho "$@"\n'
        'mkdir -p "$(dirname "$6")/.pixi/envs/$4"\n'
    )
    (bare / "pixi").chmod(0o755)
    done = _install(build("wheels", "install"), bare, tmp_path / "here")
    assert done.returncode == 0, done.stderr
    carried = tmp_path / "here/out/.workspace-env"
    for name in ("pixi.lock", "pixi.toml"):
        assert (carried / name).read_bytes() == (local_workspace / name).read_bytes()
    words = f"--frozen --environment wheels --manifest-path {carried}/pixi.toml"
    assert f"install {words}\n" in done.stderr
    hook, isolated, own = (tmp_path / "here/out/activate.sh").read_text().splitlines()
    assert hook == f"shell-hook {words} --shell bash"
    assert isolated.startswith("unset PYTHONHOME PYTHONPATH ")
    assert own == "export PYTHONNOUSERSITE=1"


@pytest.mark.parametrize("place", ["variable", "path", "home"])
def test_a_pixi_that_is_there(place: str, build: Build, bare: Path, tmp_path: Path) -> None:
    """It is taken from $PIXI, PATH, or where its own installer puts it, which is on no batch job's PATH."""
    where = {"variable": tmp_path / "pixi", "path": bare / "pixi", "home": tmp_path / "here/.pixi/bin/pixi"}[
        place
    ]
    standin_pixi.write(where, "0.68.2")
    variables = {"PIXI": str(where)} if place == "variable" else {}
    done = _install(build("small", "install"), bare, tmp_path / "here", **variables)
    assert done.returncode == 0, done.stderr
    assert f"install: with {where}, version 0.68.2\n" in done.stderr
    assert (tmp_path / "here/out/env/bin/prefix-probe").exists()


@pytest.mark.parametrize("fetcher", ["curl", "wget"])
def test_the_pinned_one_is_fetched(fetcher: str, build: Build, bare: Path, tmp_path: Path) -> None:
    """Without one, with one that is too old for the lock, or with one that does not run: the reason is in
    the log.
    """
    found = shutil.which(fetcher)
    if found is None:
        pytest.skip(f"no {fetcher}")
    (bare / fetcher).symlink_to(found)
    broken = bare / "pixi"
    with _releases(tmp_path) as address:
        for number, (content, reason) in enumerate(
            (
                (None, "there is no pixi here"),
                ("#!/bin/sh\nexit 1\n", f"{broken} does not run"),
                ("old", f"{broken} is version 0.67.9, and this lock needs 0.68.0 or newer"),
            )
        ):
            if content == "old":
                standin_pixi.write(broken, "0.67.9")
            elif content is not None:
                broken.write_text(content)
                broken.chmod(0o755)
            done = _install(build("small", "install"), bare, tmp_path / str(number), PIXI_REPOURL=address)
            assert done.returncode == 0, done.stderr
            assert (
                f"install: {reason}; fetching {address}/releases/download/v{PIXI_VERSION}/pixi-"
                in done.stderr
            )
            assert f"/.pixi-program, version {PIXI_VERSION}\n" in done.stderr


def test_a_download_that_fails(build: Build, bare: Path, tmp_path: Path) -> None:
    """No server, no file, nothing to fetch with: the last line says what was tried and why it failed;
    nothing is installed.
    """
    bundle = build("small", "install")
    with _releases(tmp_path / "other") as gone:
        pass
    done = _install(bundle, bare, tmp_path / "a", PIXI_REPOURL=gone)
    assert done.returncode == 122
    assert re.search(
        rf"no pixi here, and {gone}/.* cannot be fetched: there is neither curl nor wget", done.stderr
    )
    found = shutil.which("curl")
    if found is None:
        pytest.skip("no curl")
    (bare / "curl").symlink_to(found)
    for address, reason in ((gone, r"curl: \(7\) .*"), ("http://no-such-host.invalid", r"curl: \([56]\) .*")):
        done = _install(bundle, bare, tmp_path / "b", PIXI_REPOURL=address)
        assert done.returncode == 122
        last = done.stderr.splitlines()[-1]
        assert re.fullmatch(
            rf"install: there is no pixi here, and {address}/releases/\S+ cannot be fetched: {reason}; bundles of other kinds need no network",
            last,
        ), last
    with _releases(tmp_path / "empty") as address:
        shutil.rmtree(tmp_path / "empty/releases")
        done = _install(bundle, bare, tmp_path / "c", PIXI_REPOURL=address)
    assert done.returncode == 122
    assert "error: 404" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "c/out/env").exists()


def test_a_damaged_download(build: Build, bare: Path, tmp_path: Path) -> None:
    """What does not have the SHA-256 beside it is never executed."""
    found = shutil.which("curl")
    if found is None:
        pytest.skip("no curl")
    (bare / "curl").symlink_to(found)
    with _releases(tmp_path, digest="f" * 64) as address:
        done = _install(build("small", "install"), bare, tmp_path / "here", PIXI_REPOURL=address)
    assert done.returncode == 121
    assert "is damaged" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "here/out/.pixi-program").exists()


def test_pixi_fails(build: Build, bare: Path, local_workspace: Path, tmp_path: Path) -> None:
    """What Pixi says is shown as it is, and is the reason in the last line, which the starter gives to
    the user.
    """
    workspace = tmp_path / "workspace"
    shutil.copytree(local_workspace, workspace, ignore=shutil.ignore_patterns(".pixi"))
    lock = workspace / "pixi.lock"
    lock.write_text(re.sub(r"(sha256: )[0-9a-f]{64}", rf"\g<1>{'0' * 64}", lock.read_text()))
    from wingspan.environments.bundles import build_bundle

    bundle = build_bundle(load_environment(workspace, "small", "linux-64"), "install")
    standin_pixi.write(bare / "pixi")
    start = starter_command(bundle, ["true"], shared=True)
    done = subprocess.run(
        ["sh", str(start.executable), *start.arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": str(bare), "TMPDIR": str(tmp_path)},
        cwd=tmp_path,
    )
    assert done.returncode == 122
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        "wingspan-start: install: pixi 0.77.0 could not install the environment small from the lock: "
    )
    assert "hash mismatch of " in last
    assert not list(tmp_path.glob(".wingspan-*"))


def test_the_oldest_pixi_that_will_do(local_workspace: Path, tmp_path: Path) -> None:
    """It follows from the lock's version, from platforms with names of their own, and from requires-pixi."""
    env = load_environment(local_workspace, "small", "linux-64")
    assert oldest_pixi(env) == "0.68.0"
    named = attrs.evolve(env, platform=attrs.evolve(env.platform, name="linux-64-cuda"))
    assert oldest_pixi(named) == "0.71.0"
    old = tmp_path / "pixi.lock"
    old.write_text("version: 6\nenvironments: {}\n")
    assert oldest_pixi(attrs.evolve(env, lock_path=old)) == "0.39.0"
    old.write_text("version: 5\nenvironments: {}\n")
    assert oldest_pixi(attrs.evolve(env, lock_path=old)) == "0"
    manifest = tmp_path / "pixi.toml"
    manifest.write_text('[workspace]\nname = "x"\nrequires-pixi = ">=0.100,<1"\n')
    assert oldest_pixi(attrs.evolve(named, manifest_path=manifest)) == "0.100"


@pytest.mark.parametrize(
    ("said", "oldest"),
    [
        (">=0.55", "0.55"),
        ("<0.70,>=0.55", "0.55"),
        (">=0.55, >=0.60.1", "0.60.1"),
        ("==0.80.0", "0.80.0"),
        (">0.80", "0.80.1"),
        (">0.80.3", "0.80.4"),
        ("~=0.60", "0.60"),
        (">=0.60.*", "0.60"),
        ("0.60.*", "0.60"),
        ("=0.60", "0.60"),
        ("<0.70", "0.39.0"),
        ("!=0.60.*", "0.39.0"),
        ("*", "0.39.0"),
        (">=0..6", "0.39.0"),
        (">=0.50|<0.70", "0.39.0"),
    ],
)
def test_the_pixi_that_a_workspace_requires(
    said: str, oldest: str, local_workspace: Path, tmp_path: Path
) -> None:
    """It is read as conda reads versions; what is not understood is left to Pixi."""
    lock, manifest = tmp_path / "pixi.lock", tmp_path / "pixi.toml"
    lock.write_text("version: 6\n")
    manifest.write_text(f'[workspace]\nname = "x"\n# requires-pixi = ">=9"\nrequires-pixi = "{said}"\n')
    env = load_environment(local_workspace, "small", "linux-64")
    assert oldest_pixi(attrs.evolve(env, lock_path=lock, manifest_path=manifest)) == oldest
