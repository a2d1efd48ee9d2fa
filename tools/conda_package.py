"""Write ``.conda`` packages from folders and wheels: the same input gives the same bytes.

    python tools/conda_package.py numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl --channel CHANNEL

makes a private channel's package of a wheel (index the channel afterwards: `rattler.index.index_fs`).
"""

from __future__ import annotations

import argparse
import configparser
import hashlib
import io
import json
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from email.parser import HeaderParser
from pathlib import Path

import zstandard

__all__ = ["PLACEHOLDER", "from_wheel", "write_package"]

#: As conda-build does: a prefix of 255 characters leaves room for every real one in binaries.
PLACEHOLDER = "/opt/" + "placehold_" * 24 + "placehold"
_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_package(
    source: Path,
    channel: Path,
    *,
    name: str,
    version: str,
    build: str,
    build_number: int = 0,
    depends: Sequence[str] = (),
    constrains: Sequence[str] = (),
    subdir: str = "linux-64",
    noarch_python: bool = False,
    entry_points: Sequence[str] = (),
    license_name: str = "",
    timestamp: int = 1_700_000_000_000,
    site_packages: str | None = None,
) -> Path:
    """Pack the files under `source` into ``channel/subdir/name-version-build.conda``.

    Files that contain `PLACEHOLDER` are declared so, as text or as binary, and get the real prefix when
    installed. Symbolic links stay links. `site_packages`: of a Python, where ``noarch: python`` packages go.
    """
    if noarch_python:
        subdir = "noarch"
    (channel / subdir).mkdir(parents=True, exist_ok=True)
    (channel / "noarch").mkdir(parents=True, exist_ok=True)
    stem = f"{name}-{version}-{build}"
    index: dict[str, object] = {
        "arch": None if subdir == "noarch" else "x86_64",
        "build": build,
        "build_number": build_number,
        "constrains": list(constrains),
        "depends": list(depends),
        "license": license_name,
        "name": name,
        "platform": None if subdir == "noarch" else "linux",
        "subdir": subdir,
        "timestamp": timestamp,
        "version": version,
    }
    if noarch_python:
        index["noarch"] = "python"
    if site_packages is not None:
        index["python_site_packages_path"] = site_packages
    files = sorted(p for p in source.rglob("*") if p.is_symlink() or p.is_file())
    info = {
        "info/index.json": _json(index),
        "info/paths.json": _json({"paths": [_path_entry(p, source) for p in files], "paths_version": 1}),
        "info/files": "".join(f"{p.relative_to(source).as_posix()}\n" for p in files).encode(),
        "info/about.json": _json({"summary": f"{name}, repackaged", "license": license_name}),
    }
    if noarch_python:
        link = {
            "noarch": {"type": "python", "entry_points": list(entry_points)},
            "package_metadata_version": 1,
        }
        info["info/link.json"] = _json(link)
    target = channel / subdir / f"{stem}.conda"
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for member, content in (
            ("metadata.json", _json({"conda_pkg_format_version": 2})),
            (f"pkg-{stem}.tar.zst", _tar_zst((p.relative_to(source).as_posix(), p) for p in files)),
            (f"info-{stem}.tar.zst", _tar_zst(sorted(info.items()))),
        ):
            archive.writestr(zipfile.ZipInfo(member, _EPOCH), content)
    temporary.replace(target)
    return target


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True).encode()


def _path_entry(path: Path, root: Path) -> dict[str, object]:
    entry: dict[str, object] = {"_path": path.relative_to(root).as_posix(), "path_type": "hardlink"}
    if path.is_symlink():
        entry["path_type"] = "softlink"
        if not path.is_file():
            return {**entry, "sha256": hashlib.sha256(b"").hexdigest(), "size_in_bytes": 0}
    content = path.read_bytes()
    entry |= {"sha256": hashlib.sha256(content).hexdigest(), "size_in_bytes": len(content)}
    if not path.is_symlink() and PLACEHOLDER.encode() in content:
        entry |= {"file_mode": "binary" if b"\0" in content else "text", "prefix_placeholder": PLACEHOLDER}
    return entry


def _tar_zst(members: Iterable[tuple[str, Path | bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, source in members:
            member = tarfile.TarInfo(name)
            member.mtime, member.mode = 315_532_800, 0o644
            content: bytes = b""
            if isinstance(source, bytes):
                content = source
            elif source.is_symlink():
                member.type, member.linkname, member.mode = tarfile.SYMTYPE, str(source.readlink()), 0o777
            else:
                content = source.read_bytes()
                if source.stat().st_mode & stat.S_IXUSR:
                    member.mode = 0o755
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return zstandard.ZstdCompressor(level=3).compress(buffer.getvalue())


def from_wheel(
    wheel: Path, channel: Path, *, python: str = "3.11", extra_depends: Sequence[str] = ()
) -> Path:
    """Repackage a wheel: pure Python as ``noarch: python``, others for `python` and linux-64.

    Requirements without a marker become dependencies, under the same name; extras are left out.
    """
    name, version, tags = re.match(r"([^-]+)-([^-]+)-(.+)\.whl$", wheel.name).groups()  # type: ignore[union-attr]
    pure = tags.endswith("none-any")
    site = "site-packages" if pure else f"lib/python{python}/site-packages"
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / site)
            modes = {i.filename: i.external_attr >> 16 for i in archive.infolist()}
        for member, mode in modes.items():
            if mode & stat.S_IXUSR and (folder / site / member).is_file():
                (folder / site / member).chmod(0o755)
        dist_info = next((folder / site).glob("*.dist-info"))
        metadata = HeaderParser().parsestr((dist_info / "METADATA").read_text(encoding="utf-8"))
        data = folder / site / f"{name}-{version}.data"
        if (data / "scripts").is_dir():
            shutil.move(data / "scripts", folder / ("python-scripts" if pure else "bin"))
        if data.is_dir() and any(data.iterdir()):
            raise SystemExit(
                f"{wheel.name}: {sorted(p.name for p in data.iterdir())} in .data are not handled"
            )
        shutil.rmtree(data, ignore_errors=True)
        parser = configparser.ConfigParser(delimiters=("=",))
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        if (dist_info / "entry_points.txt").is_file():
            parser.read(dist_info / "entry_points.txt")
        scripts = dict(parser["console_scripts"]) if parser.has_section("console_scripts") else {}
        if not pure:
            for script, target in scripts.items():
                module, function = target.split("[")[0].strip().split(":")
                path = folder / "bin" / script
                path.parent.mkdir(exist_ok=True)
                path.write_text(
                    f"#!{PLACEHOLDER}/bin/python\nimport sys\nfrom {module} import {function.split('.')[0]}\n"
                    f"sys.exit({function}())\n"
                )
                path.chmod(0o755)
        depends = ["python"] if pure else [f"python {python}.*"]
        for requirement in metadata.get_all("Requires-Dist") or []:
            if ";" not in requirement:
                wanted, bounds = re.match(r"([\w.-]+)\s*\(?([^)]*)\)?", requirement).groups()  # type: ignore[union-attr]
                depends.append(f"{wanted.lower()} {bounds}".strip())
        return write_package(
            folder,
            channel,
            name=name.lower().replace("_", "-"),
            version=version,
            build="pyh0000000_0" if pure else f"py{python.replace('.', '')}h0000000_0",
            depends=[*depends, *extra_depends],
            noarch_python=pure,
            entry_points=[f"{script} = {target}" for script, target in scripts.items()],
            license_name=metadata.get("License-Expression") or "",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Repackage wheels as conda packages of a private channel.")
    parser.add_argument("wheels", nargs="+", type=Path)
    parser.add_argument("--channel", type=Path, required=True, help="folder of the channel")
    parser.add_argument(
        "--python", default="3.11", help="Python of the wheels that are not pure (default: 3.11)"
    )
    arguments = parser.parse_args()
    for wheel in arguments.wheels:
        print(from_wheel(wheel, arguments.channel, python=arguments.python))


if __name__ == "__main__":
    main()
