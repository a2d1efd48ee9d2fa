"""StandinPixi: what Wingspan's install script asks of Pixi, done with py-rattler.

For tests, where the real Pixi cannot be had.

It is no Pixi: it installs what a lock names and prints the activation, and knows the options that the script
gives. What it installs is real: packages are fetched from the lock's channels, checked against the lock, and
linked. From a lock that is newer than the version it was written with it installs nothing, as Pixi does.

    python tools/standin_pixi.py FOLDER/pixi [VERSION]      writes the program
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["write"]

#: The first Pixi that reads a lock of version 7 (Pixi's changelog).
READS_7 = (0, 68)


def write(path: Path, version: str = "0.77.0") -> Path:
    """Write the program, which says that it is `version`; it needs this Python and this file to stay
    where they are.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'#!/bin/sh\nSTANDIN_PIXI={version} exec "{sys.executable}" "{Path(__file__).resolve()}" "$@"\n'
    )
    path.chmod(0o755)
    return path


def fail(text: str) -> NoReturn:
    sys.stderr.write(f"Error:   × {text}\n")
    sys.stderr.flush()
    os._exit(1)


def check(package: Any, workspace: Path, folder: Path) -> Path:
    """Fetch a package into `folder` and compare it with the lock."""
    address = package.location
    if "://" not in address:
        address = (workspace / address).as_uri()
    name = urllib.parse.unquote(address.rsplit("/", 1)[-1])
    try:
        with urllib.request.urlopen(address, timeout=10) as stream:
            data = stream.read()
    except OSError as error:
        fail(f"failed to fetch {address}: {error}")
    got = hashlib.sha256(data).hexdigest()
    if package.hashes.sha256 is not None and got != package.hashes.sha256.hex():
        fail(f"hash mismatch of {name}: expected {package.hashes.sha256.hex()}, got {got}")
    path = folder / name
    path.write_bytes(data)
    return path


async def install(workspace: Path, environment: str, prefix: Path, skipped: Sequence[str] = ()) -> None:
    from rattler import LockFile, Subdir, install
    from rattler.lock import PypiLockedPackage

    lock = workspace / "pixi.lock"
    version = re.search(r"^version:\s*(\d+)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    own = tuple(int(part) for part in os.environ["STANDIN_PIXI"].split(".")[:2])
    if version and int(version[1]) >= 7 and own < READS_7:
        fail(f"Lock-file version {version[1]} is newer than supported")
    locked = LockFile.from_path(lock).environment(environment)
    if locked is None:
        fail(f"unknown environment '{environment}'")
    here = Subdir.current()
    platform = next((one for one in locked.platforms() if str(one.subdir) == str(here)), None)
    if platform is None:
        fail(f"the environment '{environment}' does not support {here}")
    records, wheels = [], []
    with tempfile.TemporaryDirectory() as name:
        for package in locked.packages(platform) or []:
            if package.name in skipped:
                continue
            path = check(package, workspace, Path(name))
            if isinstance(package, PypiLockedPackage):
                wheels.append(str(path))
                continue
            record = package.repo_data_record()
            record.url = path.as_uri()
            records.append(record)
        cache = Path(os.environ.get("PIXI_CACHE_DIR") or Path(name, "cache"))
        await install(
            records, target_prefix=prefix, cache_dir=cache / "pkgs", platform=here, show_progress=False
        )
        if wheels:
            command = [
                str(Path(sys.executable).with_name("uv")),
                "pip",
                "install",
                "-q",
                "--offline",
                "--no-deps",
            ]
            command += ["--python", str(prefix / "bin/python"), "--cache-dir", str(Path(name, "uv")), *wheels]
            subprocess.run([*command, "--break-system-packages"], check=True)


def hook(prefix: Path) -> str:
    from rattler.shell import ActivationVariables, activate

    name = prefix.name
    return f"{activate(prefix, ActivationVariables()).script}\nexport PIXI_ENVIRONMENT_NAME={name} PIXI_IN_SHELL=1\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="pixi")
    parser.add_argument("--version", action="version", version=f"pixi {os.environ['STANDIN_PIXI']}")
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("install", "shell-hook"):
        one = commands.add_parser(command)
        one.add_argument("--frozen", action="store_true", required=True)
        one.add_argument("--environment", required=True)
        one.add_argument("--skip", action="append", default=[])
        one.add_argument("--no-install", action="store_true")
        one.add_argument("--manifest-path", type=Path, required=True)
        one.add_argument("--shell", choices=["bash"])
    options = parser.parse_args()
    if not options.manifest_path.is_file():
        fail(f"could not find {options.manifest_path}")
    workspace = options.manifest_path.resolve().parent
    prefix = workspace / ".pixi/envs" / options.environment
    if options.command == "install":
        asyncio.run(install(workspace, options.environment, prefix, options.skip))
        print(f"✔ The {options.environment} environment has been installed.")
    else:
        print(hook(prefix))
    sys.stdout.flush()
    # py-rattler's threads can crash an interpreter that ends in the ordinary way.
    os._exit(0)


if __name__ == "__main__":
    if "STANDIN_PIXI" in os.environ:
        main()
    else:
        print(write(Path(sys.argv[1]).absolute(), *sys.argv[2:3]))
