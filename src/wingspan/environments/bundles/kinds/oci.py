"""The `oci` kind: an archive that is both an OCI image layout and what ``docker load`` reads.

One layer is the base, every larger package is a layer of its own, and the rest share one. A layer's bytes
depend on its packages only, so environments that have packages in common share layers,
in registries and on machines.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import operator
import os
import re
import stat
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from wingspan.environments.bundles.errors import BuildFailed
from wingspan.environments.bundles.linked.claims import claimed_files, compiled
from wingspan.environments.bundles.manifest import Manifest
from wingspan.environments.bundles.packages.fetch import Archive
from wingspan.environments.bundles.storage import cache_folder, hash_file, replacing
from wingspan.progress import NO_PROGRESS, Progress

__all__ = ["dockerfile", "image_name", "write_oci"]

#: Packages above this size (bytes) are layers of their own. Engines take about a hundred layers, but not many
#: more.
_OWN_LAYER = 8 << 20
_MOST_LAYERS = 60
#: A number that is raised when the same files give other layers.
_LAYER_FORMAT = b"1\n"
_ARCHITECTURES = {"linux-64": "amd64", "linux-aarch64": "arm64", "linux-ppc64le": "ppc64le"}
_MTIME = 0


@attrs.frozen
class _Layer:
    path: Path
    digest: str
    diff_id: str
    what: str


def write_oci(
    target: Path,
    root: Path,
    archives: Sequence[Archive],
    manifest: Manifest,
    variables: dict[str, str],
    *,
    progress: Progress = NO_PROGRESS,
) -> None:
    """Write the archive.

    Args:
        target: The file.
        root: Root file system: the base, with the environment at the manifest's prefix.
        archives: The packages in it.
        manifest: The bundle's.
        variables: Environment variables of the image.
        progress: Told of layers.
    """
    assert manifest.prefix is not None
    inside = manifest.prefix.lstrip("/")
    groups = _groups(root, inside, archives)
    task = progress.start("Writing layers", len(groups))
    layers = []
    for what, names in groups:
        layers.append(_layer(root, names, what))
        progress.advance(task)
    progress.finish(task)
    config = _config(layers, manifest, variables)
    image = _image(layers, config)
    tag = image_name(manifest)
    entry = _reference("application/vnd.oci.image.manifest.v1+json", image)
    entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
    # what `docker load` of any version reads
    for_docker = {
        "Config": f"blobs/sha256/{hashlib.sha256(config).hexdigest()}",
        "RepoTags": [tag],
        "Layers": [f"blobs/sha256/{layer.digest}" for layer in layers],
    }
    described: dict[str, bytes | Path] = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json({"schemaVersion": 2, "manifests": [entry]}),
        "manifest.json": _json([for_docker]),
        "wingspan.json": manifest.to_json().encode(),
    }
    blobs: dict[str, bytes | Path] = {
        **{f"blobs/sha256/{hashlib.sha256(content).hexdigest()}": content for content in (config, image)},
        **{f"blobs/sha256/{layer.digest}": layer.path for layer in layers},
    }
    _write_archive(target, described, blobs)


def _config(layers: Sequence[_Layer], manifest: Manifest, variables: dict[str, str]) -> bytes:
    """The configuration with which containers of the image are started."""
    return _json(
        {
            "architecture": _ARCHITECTURES.get(manifest.platform, manifest.platform),
            "os": "linux",
            "config": {
                "Env": [f"{key}={value}" for key, value in sorted(variables.items())],
                "Entrypoint": [f"{manifest.prefix}/.wingspan/entrypoint.sh"],
                "Cmd": ["/bin/bash"],
                "Labels": {"org.wingspan.environment": manifest.environment_digest},
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.diff_id}" for layer in layers]},
            "history": [{"created_by": layer.what, "created": "1970-01-01T00:00:00Z"} for layer in layers],
        }
    )


def _image(layers: Sequence[_Layer], config: bytes) -> bytes:
    """The image's own manifest: its configuration and its layers."""
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _reference("application/vnd.oci.image.config.v1+json", config),
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": f"sha256:{layer.digest}",
                    "size": layer.path.stat().st_size,
                }
                for layer in layers
            ],
        }
    )


def _write_archive(target: Path, described: dict[str, bytes | Path], blobs: dict[str, bytes | Path]) -> None:
    """Write the tar: first `described`, in this order, so that a reader finds it at once, then `blobs` by
    name.
    """
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in described.items():
            _add(tar, name, content)
        for folder in ("blobs", "blobs/sha256"):  # Apptainer does not make folders by itself
            tar.addfile(_member(folder, 0o755, tarfile.DIRTYPE))
        for name, content in sorted(blobs.items(), key=operator.itemgetter(0)):
            _add(tar, name, content)


def _add(tar: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    member = tarfile.TarInfo(name)
    if isinstance(content, bytes):
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
        return
    member.size = content.stat().st_size
    with content.open("rb") as file:
        tar.addfile(member, file)


def image_name(manifest: Manifest) -> str:
    """The name under which podman and Docker load it: ``workspace:environment``."""
    parts = (
        re.sub(r"[^a-z0-9._-]+", "-", part.lower()).strip("-._")
        for part in (manifest.workspace, manifest.environment)
    )
    return ":".join(part or "environment" for part in parts)


def _json(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _reference(media_type: str, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _groups(root: Path, inside: str, archives: Sequence[Archive]) -> list[tuple[str, list[str]]]:
    """(title, names below root) of every layer: the base, large packages, the rest.

    Every file is in one layer.
    """
    everything = _names(root)
    owned: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    available = set(everything)
    for claim in claimed_files(archives, root / inside):
        package = claim.package
        names = {
            *claim.files,
            claim.record,
            *(compiled(name) for name in claim.files if name.endswith(".py")),
        }
        label = f"{package.name} {package.version} {package.build or '(PyPI)'}"
        owned[label] = sorted(available & {f"{inside}/{name}" for name in names})
        sizes[label] = sum(os.lstat(f"{root}/{name}").st_size for name in owned[label])
    large = sorted((label for label in owned if sizes[label] > _OWN_LAYER), key=lambda label: -sizes[label])
    large = sorted(large[:_MOST_LAYERS])
    groups = [("the base", [n for n in everything if not n.startswith(f"{inside}/")])]
    taken: set[str] = set(groups[0][1])
    for label in large:
        mine = [n for n in owned[label] if n not in taken]
        taken.update(mine)
        groups.append((label, mine))
    groups.append(("all other packages", [n for n in everything if n not in taken]))
    return [(what, names) for what, names in groups if names]


def _names(root: Path) -> list[str]:
    """Every file and link, and the folders with nothing in them.

    Raises:
        BuildFailed: One has a name by which engines remove a file of a layer below (OCI image specification,
            "Whiteouts").
    """
    found = []
    for folder, folders, files in os.walk(root):
        relative = os.path.relpath(folder, root)
        for name in (*folders, *files):
            if name.startswith(".wh."):
                raise BuildFailed(
                    f"{os.path.join(relative, name)!r} of the environment cannot be in an image: by a name that begins "  # noqa: PTH118 - text
                    "with '.wh.' engines remove the file of that name",
                    hint="choose another kind than oci, or ask the package's author why the file has such a name",
                )
        start = "" if relative == "." else f"{relative}/"
        found += [start + name for name in files]
        found += [start + name for name in folders if Path(folder, name).is_symlink()]
        if not folders and not files:
            found.append(relative)
    return sorted(found)


def _layer(root: Path, names: list[str], what: str) -> _Layer:
    """A gzipped tar of `names`.

    It is kept by its content, so that the next image with the same packages reuses it.
    """
    folder = cache_folder("layers")
    state = hashlib.sha256(_LAYER_FORMAT)
    for name in names:
        path = f"{root}/{name}"  # thousands of them: a Path costs as much as to read a small file
        status = os.lstat(path)
        link = os.readlink(path) if stat.S_ISLNK(status.st_mode) else ""  # noqa: PTH115
        content = hash_file(path) if stat.S_ISREG(status.st_mode) else ""
        state.update(f"{name}\0{status.st_mode:o}\0{link}\0{content}\n".encode())
    key = state.hexdigest()
    blob, note = folder / f"{key}.tar.gz", folder / f"{key}.json"
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        if blob.stat().st_size == known["size"] and hash_file(blob) == known["digest"]:
            return _Layer(blob, known["digest"], known["diff_id"], what)
    except (OSError, ValueError, KeyError):
        pass
    with replacing(blob) as file:
        plain = _Hashing()
        # level 1: five times as fast as the usual 6, a tenth larger
        with gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=1, mtime=0) as packed:
            plain.target = packed
            with tarfile.open(fileobj=plain, mode="w|", format=tarfile.GNU_FORMAT, bufsize=1 << 20) as tar:  # type: ignore[call-overload]
                _fill(tar, root, names)
    digest = hash_file(blob)
    diff_id = plain.digest.hexdigest()
    entry = {"digest": digest, "diff_id": diff_id, "size": blob.stat().st_size}
    with replacing(note) as file:
        file.write(json.dumps(entry).encode())
    return _Layer(blob, digest, diff_id, what)


class _Hashing:
    """A file object that hashes what is written through it."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.target: Any = None

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.target.write(data)
        return len(data)


def _fill(tar: tarfile.TarFile, root: Path, names: list[str]) -> None:
    done: set[str] = set()
    for name in names:
        parts = name.split("/")
        for depth in range(1, len(parts)):  # folders before what is in them
            folder = "/".join(parts[:depth])
            if folder not in done:
                done.add(folder)
                tar.addfile(_member(folder, os.lstat(root / folder).st_mode, tarfile.DIRTYPE))
        path = root / name
        status = os.lstat(path)
        if path.is_symlink():
            member = _member(name, 0o777, tarfile.SYMTYPE)
            member.linkname = str(path.readlink())
            tar.addfile(member)
        elif path.is_dir():
            tar.addfile(_member(name, status.st_mode, tarfile.DIRTYPE))
        elif path.is_file():
            member = _member(name, status.st_mode, tarfile.REGTYPE)
            member.size = status.st_size
            with path.open("rb") as file:
                tar.addfile(member, file)


def _member(name: str, mode: int, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.mtime = kind, mode & 0o7777, _MTIME
    return member


def dockerfile(manifest: Manifest, workspace: str, cuda: str | None = None) -> str:
    """A Dockerfile that builds the same environment from the lock with Pixi, for people who build images
    themselves.
    """
    name, title = manifest.environment, image_name(manifest).partition(":")[0]
    return f"""\
# Builds environment '{name}' of the lock from scratch. Put it beside {workspace} and pixi.lock:
#
#     docker build -t {title}:{name} -f {title}.Dockerfile .

FROM ghcr.io/prefix-dev/pixi:noble AS build
WORKDIR /app
COPY {workspace} pixi.lock ./
ENV CONDA_OVERRIDE_CUDA="{cuda or ""}" PIXI_CACHE_DIR=/tmp/pixi
RUN pixi install --frozen --environment {name}
# byte code that holds whatever the times of the files become in the image
RUN prefix=/app/.pixi/envs/{name}; \\
    [ ! -x $prefix/bin/python ] || $prefix/bin/python -m compileall -q --invalidation-mode unchecked-hash $prefix/lib || true
RUN pixi shell-hook --frozen --environment {name} --shell bash >/app/activate.sh && \\
    printf '#!/bin/bash\\n. /app/activate.sh\\nexec "$@"\\n' >/app/entrypoint.sh && chmod 755 /app/entrypoint.sh

FROM ghcr.io/prefix-dev/pixi:noble
COPY --from=build /app/.pixi/envs/{name} /app/.pixi/envs/{name}
COPY --from=build /app/{workspace} /app/pixi.lock /app/activate.sh /app/entrypoint.sh /app/
ENTRYPOINT ["/app/entrypoint.sh"]
CMD ["/bin/bash"]
"""
