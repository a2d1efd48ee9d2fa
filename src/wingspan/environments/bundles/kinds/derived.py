"""Add layers to an OCI archive, as ``FROM`` and ``COPY`` in a Dockerfile do, without an engine."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wingspan.environments.bundles.errors import BuildFailed
from wingspan.environments.bundles.kinds.oci import _json, _Layer, _layer, _member, _names, _reference

__all__ = ["derive_image"]


def derive_image(
    archive: Path, target: Path, trees: Sequence[tuple[str, Path]], settings: Mapping[str, Any], title: str
) -> str:
    """Write an archive that has the layers of another one, and those of `trees` above them.

    The same input gives the same bytes.

    Args:
        archive: Of the `oci` kind.
        target: The new one.
        trees: A description of each layer, and a folder with its files. Owner, times and order of the files
            do not matter.
        settings: Entries that replace those of the image's ``config``: ``User``, ``Entrypoint`` …; ``Env`` is
            a mapping that is added.
        title: The name under which engines load it; the first digits of the digest are the tag.

    Returns:
        The digest of the image's manifest, ``sha256:…``: by this, registries and engines name the image.

    Raises:
        BuildFailed: `archive` is none.
    """
    made = [_layer(folder, _names(folder), what) for what, folder in trees]
    try:
        with tarfile.open(archive) as old:
            index = json.load(_member_of(old, "index.json"))
            manifest = json.load(_blob(old, index["manifests"][0]["digest"]))
            config = json.load(_blob(old, manifest["config"]["digest"]))
            kept = [layer["digest"] for layer in manifest["layers"]]
            config["rootfs"]["diff_ids"] += [f"sha256:{layer.diff_id}" for layer in made]
            config["history"] += [
                {"created_by": layer.what, "created": "1970-01-01T00:00:00Z"} for layer in made
            ]
            config["config"] = _configured(config["config"], settings)
            manifest["layers"] += [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": f"sha256:{layer.digest}",
                    "size": layer.path.stat().st_size,
                }
                for layer in made
            ]
            packed_config = _json(config)
            manifest["config"] = _reference("application/vnd.oci.image.config.v1+json", packed_config)
            packed = _json(manifest)
            entry = _reference("application/vnd.oci.image.manifest.v1+json", packed)
            name = f"{title}:{entry['digest'].removeprefix('sha256:')[:8]}"
            entry["annotations"] = {"org.opencontainers.image.ref.name": name}
            digests = [layer["digest"] for layer in manifest["layers"]]
            files: dict[str, bytes] = {
                "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
                "index.json": _json({"schemaVersion": 2, "manifests": [entry]}),
                "manifest.json": _json(  # what `docker load` of any version reads
                    [
                        {
                            "Config": _path(manifest["config"]["digest"]),
                            "RepoTags": [name],
                            "Layers": list(map(_path, digests)),
                        }
                    ]
                ),
                _path(manifest["config"]["digest"]): packed_config,
                _path(entry["digest"]): packed,
            }
            _write(target, files, old, kept, made)
    except (KeyError, ValueError, IndexError, TypeError, tarfile.TarError) as error:
        raise BuildFailed(
            f"{archive} is no image archive: {error}", hint="wingspan env bundle --kind oci"
        ) from None
    return str(entry["digest"])


def _write(
    target: Path,
    files: Mapping[str, bytes],
    old: tarfile.TarFile,
    kept: Sequence[str],
    made: Sequence[_Layer],
) -> None:
    """Write the archive: these files, the layers of the old one, and the new ones that it does not have."""
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as new:
        for folder in ("blobs", "blobs/sha256"):  # Apptainer does not make folders by itself
            new.addfile(_member(folder, 0o755, tarfile.DIRTYPE))
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            new.addfile(member, io.BytesIO(content))
        for digest in dict.fromkeys(kept):
            member = tarfile.TarInfo(_path(digest))
            member.size = old.getmember(_path(digest)).size
            new.addfile(member, _blob(old, digest))
        for layer in made:
            if f"sha256:{layer.digest}" in kept:
                continue
            member = tarfile.TarInfo(_path(f"sha256:{layer.digest}"))
            member.size = layer.path.stat().st_size
            with layer.path.open("rb") as file:
                new.addfile(member, file)


def _configured(old: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    variables = dict(one.split("=", 1) for one in old.get("Env", []))
    variables.update(settings.get("Env", {}))
    return {**old, **settings, "Env": [f"{key}={value}" for key, value in sorted(variables.items())]}


def _path(digest: str) -> str:
    kind, _, value = digest.partition(":")
    if kind != "sha256" or len(value) != hashlib.sha256().digest_size * 2 or not value.isalnum():
        raise ValueError(f"{digest!r} is no digest")
    return f"blobs/sha256/{value}"


def _member_of(archive: tarfile.TarFile, name: str) -> Any:
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"{name} is no file")
    return file


def _blob(archive: tarfile.TarFile, digest: str) -> Any:
    return _member_of(archive, _path(digest))
