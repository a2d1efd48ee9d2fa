"""A small real conda channel on this machine's disk: CPython, NumPy, SciPy, scikit-learn and what they need.

For machines that cannot reach conda-forge. CPython and its libraries come from the machine's own Debian
suite, the rest from PyPI's wheels; all are repackaged as ``.conda`` and indexed with py-rattler. The prefix
that results runs on a machine that has glibc and nothing else.

    python tools/local_channel.py channel FOLDER                    the channel (an existing one is kept)
    python tools/local_channel.py workspace FOLDER --channel C      a Pixi workspace locked against it
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import debian
from conda_package import PLACEHOLDER, from_wheel, write_package

__all__ = ["add_wheels", "index", "make_channel", "solve", "wheels", "write_workspace"]

PYTHON = "3.11"
#: conda package: (Debian package, libraries of it)
LIBRARIES = {
    "bzip2": ("libbz2-1.0", ("libbz2.so*",)),
    "libexpat": ("libexpat1", ("libexpat.so*",)),
    "libffi": ("libffi8", ("libffi.so*",)),
    "liblzma": ("liblzma5", ("liblzma.so*",)),
    "libsqlite": ("libsqlite3-0", ("libsqlite3.so*",)),
    "libuuid": ("libuuid1", ("libuuid.so*",)),
    "libzlib": ("zlib1g", ("libz.so*",)),
    "ncurses": ("libncursesw6", ("libncursesw.so*", "libpanelw.so*")),
    "readline": ("libreadline8", ("libreadline.so*",)),
    "tinfo": ("libtinfo6", ("libtinfo.so*",)),
    "openssl": ("libssl3", ("libssl.so*", "libcrypto.so*")),
}
PYTHON_DEBS = ("python3.11-minimal", "python3.11", "libpython3.11-minimal", "libpython3.11-stdlib")
WHEELS = ("numpy>=2,<3", "scipy>=1.14,<2", "scikit-learn>=1.5,<2", "cloudpickle>=3,<4")


def _version(deb: Path) -> str:
    """Upstream version of a Debian package, in conda's spelling."""
    full = subprocess.run(["dpkg-deb", "-f", str(deb), "Version"], capture_output=True, text=True, check=True)
    upstream = full.stdout.strip().split(":")[-1].rsplit("-", 1)[0]
    return re.split(r"[+~]", upstream)[0].replace("-", "_")


def _set_rpath(files: Sequence[Path], rpath: str) -> None:
    for file in files:
        subprocess.run([debian.patchelf(), "--set-rpath", rpath, str(file)], check=True)


def _is_elf(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _libraries(channel: Path, work: Path) -> list[str]:
    names = []
    debs = debian.fetch([deb for deb, _ in LIBRARIES.values()], work / "debs")
    for (name, (_, patterns)), deb in zip(LIBRARIES.items(), debs, strict=True):
        root, tree = work / f"root-{name}", work / f"tree-{name}"
        debian.unpack([deb], root)
        (tree / "lib").mkdir(parents=True)
        for pattern in patterns:
            for path in sorted(root.rglob(pattern)):
                if not (tree / "lib" / path.name).exists():
                    shutil.copy2(path, tree / "lib" / path.name, follow_symlinks=False)
        _set_rpath([p for p in (tree / "lib").iterdir() if _is_elf(p)], "$ORIGIN")
        write_package(
            tree, channel, name=name, version=_version(deb), build="h0000000_0", depends=["__glibc >=2.34"]
        )
        names.append(name)
    return names


def _cpython(channel: Path, work: Path, depends: Sequence[str]) -> None:
    """Debian's CPython as upstream means it: ``site-packages``, found from where it lies."""
    debs = debian.fetch(list(PYTHON_DEBS), work / "debs")
    root, tree = work / "root-python", work / "tree-python"
    debian.unpack(debs, root)
    shutil.copytree(root / "usr/lib/python3.11", tree / "lib/python3.11", symlinks=True)
    library = tree / "lib/python3.11"
    (library / "EXTERNALLY-MANAGED").unlink()
    (library / "sitecustomize.py").unlink()
    (library / "site-packages").mkdir()
    (library / "site-packages/README.txt").write_text("Packages go here.\n")
    dynload = library / "lib-dynload"
    for name in ("_dbm", "nis", "_crypt", "_testcapi", "_testinternalcapi", "_testclinic", "_ctypes_test"):
        for path in dynload.glob(f"{name}.*"):
            path.unlink()
    # Debian's `site`, frozen into the binary, knows only dist-packages.
    (library / "sitecustomize.py").write_text(
        "import os, site, sys\n"
        "_packages = os.path.join(sys.prefix, 'lib', 'python%d.%d' % sys.version_info[:2], 'site-packages')\n"
        "site.addsitedir(_packages)\n"
        "site.getsitepackages = lambda prefixes=None: [_packages]\n"
    )
    _rewrite(library / "sysconfig.py", [("'DEB_PYTHON_INSTALL_LAYOUT', 'posix_local'", "'', 'posix_local'")])
    _rewrite(library / "sysconfig.py", [("prefix_scheme = 'posix_local'", "prefix_scheme = 'posix_prefix'")])
    for path in library.glob("_sysconfigdata_*.py"):
        if not path.is_symlink():
            _rewrite(path, [("'/usr", f"'{PLACEHOLDER}")])
    binaries = tree / "bin"
    binaries.mkdir()
    shutil.copy2(root / "usr/bin/python3.11", binaries / "python3.11")
    for name in ("python3", "python"):
        (binaries / name).symlink_to("python3.11")
    pydoc = (
        (root / "usr/bin/pydoc3.11")
        .read_text()
        .replace("#!/usr/bin/python3.11", f"#!{PLACEHOLDER}/bin/python3.11")
    )
    (binaries / "pydoc3.11").write_text(pydoc)
    (binaries / "pydoc3.11").chmod(0o755)
    _set_rpath([binaries / "python3.11"], "$ORIGIN/../lib")
    _set_rpath(sorted(p for p in dynload.iterdir() if _is_elf(p)), "$ORIGIN/../..")
    write_package(
        tree,
        channel,
        name="python",
        version=_version(debs[0]),
        build="h0000000_0_cpython",
        depends=[*depends, "__glibc >=2.34"],
        license_name="Python-2.0",
    )


def _rewrite(path: Path, replacements: Sequence[tuple[str, str]]) -> None:
    text = path.read_text(encoding="utf-8")
    for old, new in replacements:
        if old not in text:
            raise SystemExit(f"{path}: {old!r} is not there any more; this Debian's CPython differs")
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def _prefix_probe(channel: Path, work: Path, version: str) -> None:
    """A package whose files hold the prefix in every way conda knows: text, script, binary, activation."""
    tree = work / f"tree-probe-{version}"
    for folder in ("bin", "share/prefix-probe", "etc/conda/activate.d", "etc/conda/env_vars.d"):
        (tree / folder).mkdir(parents=True)
    (tree / "bin/prefix-probe").write_text(f"#!/bin/sh\necho {PLACEHOLDER}\n")
    (tree / "bin/prefix-probe").chmod(0o755)
    (tree / "bin/prefix-probe-link").symlink_to("prefix-probe")
    (tree / "share/prefix-probe/text.ini").write_text(f"prefix = {PLACEHOLDER}\n")
    binary = b"\x7fPROBE\0" + f"{PLACEHOLDER}/share".encode() + b"\0tail\0" + PLACEHOLDER.encode() + b"\0end"
    (tree / "share/prefix-probe/binary.dat").write_bytes(binary)
    (tree / "etc/conda/activate.d/prefix-probe.sh").write_text('export PREFIX_PROBE="$CONDA_PREFIX/share"\n')
    (tree / "etc/conda/env_vars.d/prefix-probe.json").write_text('{"PREFIX_PROBE_VARIABLE": "set"}\n')
    write_package(tree, channel, name="prefix-probe", version=version, build="h0000000_0")


def wheels(requirements: Sequence[str], folder: Path, *, dependencies: bool = True) -> list[Path]:
    """Download wheels for the channel's CPython (glibc 2.28 at most) with pip."""
    folder.mkdir(parents=True, exist_ok=True)
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in (17, 24, 26, 27, 28)] + ["manylinux2014_x86_64"]
    command = [sys.executable, "-m", "pip", "download", "-q", "--only-binary", ":all:", "-d", str(folder)]
    command += ["--python-version", PYTHON, "--implementation", "cp"]
    for platform in platforms:
        command += ["--platform", platform]
    if not dependencies:
        command.append("--no-deps")
    subprocess.run([*command, *requirements], check=True)
    return sorted(folder.glob("*.whl"))


async def _index(channel: Path) -> None:
    from rattler.index import index_fs

    await index_fs(channel, force=True)


def index(channel: Path) -> None:
    """Write the channel's ``repodata.json``."""
    asyncio.run(_index(channel))


def add_wheels(channel: Path, files: Sequence[Path]) -> None:
    """Repackage `files` into the channel and index it."""
    for file in files:
        from_wheel(file, channel, python=PYTHON)
    index(channel)


def make_channel(channel: Path) -> Path:
    """Build the channel at `channel` unless it is there; answers its path."""
    recipe = hashlib.sha256(
        b"".join(Path(__file__).with_name(n).read_bytes() for n in ("local_channel.py", "conda_package.py"))
    ).hexdigest()
    stamp = channel / "made-by.json"
    if stamp.is_file() and json.loads(stamp.read_text()).get("recipe") == recipe:
        return channel
    channel.parent.mkdir(parents=True, exist_ok=True)
    downloads = channel.parent / "downloads"
    with tempfile.TemporaryDirectory(prefix=".channel-", dir=channel.parent) as name:
        work, new = Path(name), Path(name) / "channel"
        downloads.mkdir(exist_ok=True)
        (work / "debs").symlink_to(downloads)
        libraries = _libraries(new, work)
        _cpython(new, work, libraries)
        for version in ("1.0", "2.0"):
            _prefix_probe(new, work, version)
        for wheel in wheels(WHEELS, work / "wheels"):
            from_wheel(wheel, new, python=PYTHON)
        index(new)
        (new / "made-by.json").write_text(json.dumps({"recipe": recipe}))
        shutil.rmtree(channel, ignore_errors=True)
        new.rename(channel)
    return channel


def solve(
    channel: Path, specs: Sequence[str], virtual: Sequence[str] = ("__glibc=2.34", "__linux=4.18")
) -> list:  # type: ignore[type-arg]
    """The records that satisfy `specs`, sorted by name."""
    from rattler import Channel, GenericVirtualPackage, PackageName, Subdir, Version
    from rattler import solve as rattler_solve

    packages = []
    for package in ("__unix=0", *virtual):
        name, version = package.split("=")[:2]
        # py-rattler 0.28 wants a BuildString object; the record of any package has one to copy the type from
        packages.append(_virtual(GenericVirtualPackage, PackageName(name), Version(version)))
    platforms = [Subdir("linux-64"), Subdir("noarch")]
    records = asyncio.run(
        rattler_solve(
            [Channel(channel.as_uri())], list(specs), platforms=platforms, virtual_packages=packages
        )
    )
    return sorted(records, key=lambda record: record.name.normalized)


def _virtual(factory, name, version):  # type: ignore[no-untyped-def]
    try:
        return factory(name, version, "0")
    except (TypeError, AttributeError):
        from rattler import BuildString

        return factory(name, version, BuildString("0"))


def write_workspace(
    folder: Path,
    channel: Path,
    environments: dict[str, Sequence[str]],
    *,
    pypi: dict[str, Sequence[Path]] | None = None,
    name: str = "local",
) -> Path:
    """A Pixi workspace with a lock: ``pixi.toml`` and ``pixi.lock`` in `folder`.

    Args:
        folder: Made if it is not there.
        channel: The local channel.
        environments: Specs by environment name; ``default`` is one of them.
        pypi: Wheel files by environment name, locked with their sha256.
        name: The workspace's name.
    """
    from rattler.lock import LockChannel, LockFile, LockPlatform

    folder.mkdir(parents=True, exist_ok=True)
    platform = LockPlatform(
        "linux-64", virtual_packages=["__archspec=0=x86_64", "__glibc=2.34", "__linux=4.18", "__unix=0"]
    )
    lock = LockFile([platform])
    pypi = pypi or {}
    text = f'[workspace]\nname = "{name}"\nchannels = ["{channel.as_uri()}"]\nplatforms = ["linux-64"]\n'
    hashes: dict[str, str] = {}
    for environment, specs in environments.items():
        lock.set_channels(environment, [LockChannel(channel.as_uri())])
        for record in solve(channel, specs):
            lock.add_conda_package(environment, platform, record)
        for wheel in pypi.get(environment, ()):
            project, version = wheel.name.split("-")[:2]
            lock.add_pypi_package(environment, platform, project.replace("_", "-"), version, str(wheel))
            hashes[str(wheel)] = hashlib.sha256(wheel.read_bytes()).hexdigest()
        feature = "" if environment == "default" else f"feature.{environment}."
        text += f"\n[{feature}dependencies]\n"
        for spec in specs:
            wanted, _, bounds = spec.partition(" ")
            text += f'{wanted} = "{bounds or "*"}"\n'
        if pypi.get(environment):
            text += f"\n[{feature}pypi-dependencies]\n"
            text += "".join(f'{w.name.split("-")[0]} = {{ path = "{w}" }}\n' for w in pypi[environment])
    others = [e for e in environments if e != "default"]
    if others:
        text += "\n[environments]\n"
        text += "".join(f'{e} = {{ features = ["{e}"], no-default-feature = true }}\n' for e in others)
    (folder / "pixi.toml").write_text(text)
    lock.to_path(folder / "pixi.lock")
    if hashes:  # py-rattler cannot write the hash of a PyPI package
        written = (folder / "pixi.lock").read_text()
        for wheel_path, digest in hashes.items():
            pattern = rf"^- pypi: {re.escape(wheel_path)}\n(  name: .*\n  version: .*\n)"
            written, count = re.subn(
                pattern, rf"- pypi: {wheel_path}\n\1  sha256: {digest}\n", written, flags=re.MULTILINE
            )
            if count != 1:
                raise SystemExit(f"py-rattler writes {wheel_path} in another way now:\n{written[-800:]}")
        (folder / "pixi.lock").write_text(written)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("channel", help="build the channel")
    make.add_argument("folder", type=Path)
    add = commands.add_parser("add", help="repackage more PyPI projects into it")
    add.add_argument("folder", type=Path)
    add.add_argument("requirements", nargs="+")
    workspace = commands.add_parser("workspace", help="write a workspace locked against it")
    workspace.add_argument("folder", type=Path)
    workspace.add_argument("--channel", type=Path, required=True)
    workspace.add_argument("--spec", action="append", default=[], help="default: python, scipy")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.absolute()
    if arguments.command == "channel":
        make_channel(folder)
    elif arguments.command == "add":
        with tempfile.TemporaryDirectory() as downloads:
            add_wheels(folder, wheels(arguments.requirements, Path(downloads)))
    else:
        specs = arguments.spec or ["python 3.11.*", "scipy", "cloudpickle"]
        write_workspace(folder, arguments.channel.absolute(), {"default": specs})
    print(folder, flush=True)
    os._exit(0)  # py-rattler's threads can crash an interpreter that ends in the ordinary way


if __name__ == "__main__":
    main()
