"""The `sif` kind: an Apptainer image, written here without Apptainer, without root,
and byte for byte reproducible.

A SIF file is a header, a table of descriptors, and the objects they name (github.com/apptainer/sif, version
01): here the recipe as text and one squashfs partition. Apptainer's own ``build`` copies the tree first
(25–30 s for 1.7 GB) and writes the time and a random id.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import uuid
from pathlib import Path

from wingspan._shell import quoted
from wingspan.environments.bundles.errors import BuildFailed
from wingspan.environments.bundles.manifest import Manifest

__all__ = ["add_apptainer_files", "definition_file", "write_sif"]

_LAUNCH = b"#!/usr/bin/env run-singularity\n"
_ARCHITECTURES = {"linux-64": b"02", "linux-aarch64": b"04", "linux-ppc64le": b"06"}
_DEFFILE, _PARTITION = 0x4001, 0x4004
_SQUASHFS, _PRIMARY_SYSTEM = 1, 2
_GROUP = 0xF0000000
_DESCRIPTORS, _TABLE, _HEADER = 48, 4096, 128
_DESCRIPTOR_SIZE = 585
_ALIGNMENT = 4096


def write_sif(target: Path, image: Path, definition: str, manifest: Manifest) -> None:
    """Write a SIF with the squashfs `image` as its root file system.

    Raises:
        BuildFailed: No SIF is known for the platform.
    """
    architecture = _ARCHITECTURES.get(manifest.platform)
    if architecture is None:
        raise BuildFailed(f"no Apptainer image is known for {manifest.platform}", hint="take another kind")
    text = definition.encode()
    data = _TABLE + _DESCRIPTORS * _DESCRIPTOR_SIZE
    first = _aligned(data)
    second = _aligned(first + len(text))
    size = image.stat().st_size
    extra = struct.pack("<ii3s", _SQUASHFS, _PRIMARY_SYSTEM, architecture)
    descriptors = [
        _descriptor(_DEFFILE, 1, first, len(text), b"wingspan.def", b"", first - data + len(text)),
        _descriptor(_PARTITION, 2, second, size, b"squashfs", extra, second - first - len(text) + size),
    ]
    identity = uuid.uuid5(uuid.NAMESPACE_URL, f"wingspan:{manifest.to_json()}")
    header = struct.pack(
        "<32s10s3s3s16sqqqqqqqq",
        _LAUNCH,
        b"SIF_MAGIC",
        b"01",
        architecture,
        identity.bytes,
        0,
        0,
        _DESCRIPTORS - len(descriptors),
        _DESCRIPTORS,
        _TABLE,
        _DESCRIPTORS * _DESCRIPTOR_SIZE,
        data,
        second + size - data,
    )
    with target.open("wb") as file:
        file.write(header)
        file.seek(_TABLE)
        file.write(b"".join(descriptors))
        file.seek(first)
        file.write(text)
        file.seek(second)
        with image.open("rb") as source:
            shutil.copyfileobj(source, file, 1 << 20)
    target.chmod(0o755)


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT


def _descriptor(
    kind: int, number: int, offset: int, size: int, name: bytes, extra: bytes, stored: int
) -> bytes:
    """One entry of the table. `stored` includes the padding before the object."""
    return struct.pack(
        "<iBIIIqqqqqqq128s384s", kind, 1, number, _GROUP | 1, 0, offset, size, stored, 0, 0, 0, 0, name, extra
    )


def add_apptainer_files(root: Path, manifest: Manifest) -> None:
    """The scripts by which Apptainer activates the environment for ``exec``, ``run`` and ``shell``."""
    folder = root / ".singularity.d"
    # of a base that is an unpacked Apptainer image itself; its files may be hard links of the user's
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "env").mkdir(parents=True)
    (folder / "actions").mkdir()
    files = {
        "env/90-environment.sh": f"unset WINGSPAN_PREFIX\n. {quoted(str(manifest.prefix))}/.wingspan/activate.sh\n",
        # Apptainer sets what `--env` and APPTAINERENV_ (which is how HTCondor passes a job's variables) ask
        # for after this one only.
        "env/99-base.sh": "#!/bin/sh\n",
        "runscript": '#!/bin/sh\nexec "${@:-/bin/bash}"\n',
        "startscript": "#!/bin/sh\n",
        # HTCondor tests an image before each job (`apptainer test`), and Apptainer
        # takes that script from the image.
        "actions/test": '#!/bin/sh\nexec /bin/sh /.singularity.d/test "$@"\n',
        "test": f"#!/bin/sh\nunset WINGSPAN_PREFIX\n. {quoted(str(manifest.prefix))}/.wingspan/activate.sh\n",
        "labels.json": f'{{"org.wingspan.environment": "{manifest.environment_digest}"}}\n',
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    for link, target in (
        ("environment", ".singularity.d/env/90-environment.sh"),
        ("singularity", ".singularity.d/runscript"),
    ):
        if not os.path.lexists(root / link):
            (root / link).symlink_to(target)


def definition_file(manifest: Manifest, workspace: str, cuda: str | None = None) -> str:
    """An Apptainer definition file that builds the same environment from the lock with Pixi, for people who
    build images themselves.

    Args:
        manifest: The bundle's.
        workspace: File name of the workspace's manifest, ``pixi.toml``.
        cuda: The CUDA version that the platform was locked for, if any. Pixi chooses the platform by it: of
            two that differ in CUDA alone it must take the one that the bundle is of,
            on build machines with a GPU and without.
    """
    title = re.sub(r"[^A-Za-z0-9._+-]+", "-", manifest.workspace)
    return f"""\
# Builds environment '{manifest.environment}' of the lock from scratch. Put it beside {workspace} and pixi.lock:
#
#     apptainer build --mksquashfs-args '-comp zstd -Xcompression-level 3 -processors 4 -mem 2G' \\
#         {title}.sif {title}.def
#
# The processors and memory are the job's: by itself mksquashfs takes the whole machine's and is killed.

Bootstrap: docker
From: ghcr.io/prefix-dev/pixi:noble
Stage: build

%files
    {workspace} /app/{workspace}
    pixi.lock /app/pixi.lock

%post
    export CONDA_OVERRIDE_CUDA={cuda or ""} PIXI_CACHE_DIR=/tmp/pixi
    cd /app
    pixi install --frozen --environment {manifest.environment}
    prefix=/app/.pixi/envs/{manifest.environment}
    # byte code that holds whatever the times of the files become in the image
    if [ -x $prefix/bin/python ]; then
        $prefix/bin/python -m compileall -q --invalidation-mode unchecked-hash $prefix/lib || true
    fi
    # without the last line, which would replace the shell: `apptainer exec` can use it too
    pixi shell-hook --frozen --environment {manifest.environment} --shell bash >/app/activate.sh

Bootstrap: docker
From: ghcr.io/prefix-dev/pixi:noble
Stage: final

%files from build
    /app/.pixi/envs/{manifest.environment} /app/.pixi/envs/{manifest.environment}
    /app/{workspace} /app/{workspace}
    /app/pixi.lock /app/pixi.lock
    /app/activate.sh /app/activate.sh

%environment
    . /app/activate.sh

%runscript
    exec "${{@:-/bin/bash}}"

%test
    . /app/activate.sh
    command -v python >/dev/null && python -c 'import sys; print(sys.version)'
"""
