"""For each kind, the function that turns an order into a product."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from wingspan._shell import quoted
from wingspan.environments.bundles.errors import BuildFailed
from wingspan.environments.bundles.kinds.ahead import Ahead
from wingspan.environments.bundles.kinds.composition import compose, keep_shares
from wingspan.environments.bundles.kinds.install import install_script
from wingspan.environments.bundles.kinds.oci import dockerfile, write_oci
from wingspan.environments.bundles.kinds.pack import write_executable, write_pack
from wingspan.environments.bundles.kinds.partial import install_missing
from wingspan.environments.bundles.kinds.root_filesystem import copy_base
from wingspan.environments.bundles.kinds.sif import add_apptainer_files, definition_file, write_sif
from wingspan.environments.bundles.kinds.squashfs import (
    KeptPart,
    NotKept,
    append_manifest,
    make_squashfs,
    trailer,
)
from wingspan.environments.bundles.linked.metadata import add_contents, package_variables
from wingspan.environments.bundles.linked.prefix import link_environment
from wingspan.environments.bundles.manifest import Kind, Manifest
from wingspan.environments.bundles.order import Order, Product
from wingspan.environments.bundles.remote import remote_program

__all__ = ["WRITERS"]


def install_tree(order: Order, *, compressed: bool = False) -> tuple[Path, Manifest, dict[str, str]]:
    """Install the environment, with ``.wingspan``, in the build folder. If `compressed`, the blobs of its
    packages are made, too.

    Returns its folder, the manifest with measures, and the origins of files.
    """
    folder = order.work / "prefix"
    prefix = order.manifest.prefix
    assert prefix is not None
    # what is left to compress when all is compiled is compressed while we look at the files
    with Ahead(folder) if compressed else contextlib.nullcontext() as ahead:
        installed = link_environment(
            order.archives,
            folder,
            prefix=prefix,
            platform=order.manifest.platform,
            ready=ahead.ready if ahead else lambda claim, origins: None,
            progress=order.progress,
        )
        keep_shares(order.archives, installed.claims, folder, prefix=prefix, origins=installed.origins)
        manifest = _add_contents(order, folder, installed.size, installed.files)
    return folder, manifest, installed.origins


def _add_contents(order: Order, folder: Path, size: int, files: int) -> Manifest:
    """Add ``.wingspan``; returns the manifest with the measures."""
    manifest = attrs.evolve(order.manifest, installed_bytes=size, installed_files=files)
    return add_contents(
        folder,
        manifest,
        lock=order.env.lock_path,
        workspace=order.env.manifest_path,
        activated=order.activated,
    )


def _squashfs(order: Order) -> tuple[Product, Manifest]:
    image = order.work / "image"
    folder = order.work / "composed"
    prefix = order.manifest.prefix
    assert prefix is not None
    kept: list[KeptPart] = []
    composed = compose(order.archives, folder, prefix=prefix)
    if composed is None and install_missing(order):
        composed = compose(order.archives, folder, prefix=prefix)
    if composed is not None:
        manifest = _add_contents(order, folder, composed.size, composed.count)
        with contextlib.suppress(NotKept):
            digest = make_squashfs(
                folder, image, also=composed, end=trailer(manifest), kept=kept, progress=order.progress
            )
            return Product(path=image, suffix="squashfs", sha256=digest, parts=tuple(kept)), manifest
    with contextlib.suppress(NotKept):
        return _installed_image(order, image, early=True)
    return _installed_image(order, image, early=False)


def _installed_image(order: Order, image: Path, *, early: bool) -> tuple[Product, Manifest]:
    """Install the environment, and make an image of it.

    If `early`, the installed files are removed while the image is written.

    Raises:
        NotKept: They are removed, and content that was kept is found to be altered.
    """
    folder, manifest, origins = install_tree(order, compressed=True)
    kept: list[KeptPart] = []
    digest = make_squashfs(
        folder,
        image,
        origins=origins,
        end=trailer(manifest),
        packed=(lambda: shutil.rmtree(folder, ignore_errors=True)) if early else None,
        kept=kept,
        progress=order.progress,
    )
    return Product(path=image, suffix="squashfs", sha256=digest, parts=tuple(kept)), manifest


def _pack(order: Order) -> tuple[Product, Manifest]:
    tar = order.work / "pack.tar"
    lock, activation = order.env.lock_path.read_bytes(), order.activated.files()
    write_pack(tar, order.archives, order.manifest, lock, activation=activation, progress=order.progress)
    if not order.options.get("executable"):
        return Product(path=tar, suffix="tar"), order.manifest
    script = order.work / "pack.sh"
    unpacker = remote_program("unpacker_head.sh") + remote_program("unpacker.py")
    write_executable(script, tar, order.manifest, unpacker, progress=order.progress)
    return Product(path=script, suffix="sh", mode=0o755), order.manifest


def _root(order: Order, *, compressed: bool = False) -> tuple[Path, Path, Manifest, dict[str, str]]:
    """A root file system with the environment at its prefix: (root, prefix in it,
    manifest, origins of files)."""
    folder, manifest, origins = install_tree(order, compressed=compressed)
    assert manifest.prefix is not None
    root = order.work / "root"
    copy_base(order.options.get("base"), root)
    prefix = root / manifest.prefix.lstrip("/")
    if os.path.lexists(prefix) or not prefix.parent.resolve().is_relative_to(root.resolve()):
        raise BuildFailed(
            f"the base has something at {manifest.prefix}, or a link there that leads out of it: the environment goes there",
            hint="give a base without it",
        )
    prefix.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(prefix)
    entry = prefix / ".wingspan/entrypoint.sh"
    # packages' activation scripts see no arguments
    text = f'#!/bin/bash\n_wingspan=("$@")\nset --\nunset WINGSPAN_PREFIX\n. {quoted(manifest.prefix)}/.wingspan/activate.sh\n'
    entry.write_text(f'{text}exec "${{_wingspan[@]}}"\n', encoding="utf-8")
    entry.chmod(0o755)
    return root, prefix, manifest, origins


def _workspace_file(order: Order) -> str:
    return order.env.manifest_path.name if order.env.manifest_path else "pixi.toml"


def _cuda(order: Order) -> str | None:
    """The driver version that Pixi is told, so that it takes this platform and no other."""
    return order.env.platform.virtual_package("__cuda") or order.manifest.needs.get("cuda_runtime_min")


def _sif(order: Order) -> tuple[Product, Manifest]:
    root, prefix, manifest, origins = _root(order, compressed=True)
    add_apptainer_files(root, manifest)
    image, target = order.work / "image", order.work / "sif"
    at = f"{prefix.relative_to(root)}/"
    make_squashfs(root, image, origins=origins, at=at, progress=order.progress)
    definition = definition_file(manifest, _workspace_file(order), _cuda(order))
    write_sif(target, image, definition, manifest)
    append_manifest(target, manifest)
    return Product(path=target, suffix="sif", mode=0o755, sources={"def": definition}), manifest


def _oci(order: Order) -> tuple[Product, Manifest]:
    root, prefix, manifest, _ = _root(order)
    variables = {
        "PATH": f"{manifest.prefix}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "CONDA_PREFIX": str(manifest.prefix),
        "PYTHONNOUSERSITE": "1",
    }
    variables = {**package_variables(prefix), **variables}
    target = order.work / "oci"
    write_oci(target, root, order.archives, manifest, variables, progress=order.progress)
    return Product(
        path=target,
        suffix="oci.tar",
        sources={"Dockerfile": dockerfile(manifest, _workspace_file(order), _cuda(order))},
    ), manifest


def _install(order: Order) -> tuple[Product, Manifest]:
    script = order.work / "install.sh"
    script.write_bytes(
        install_script(order.env, order.manifest, order.activated, order.options.get("skipped", ()))
    )
    return Product(path=script, suffix="sh", mode=0o755), order.manifest


WRITERS: Mapping[Kind, Callable[[Order], tuple[Product, Manifest]]] = {
    "squashfs": _squashfs,
    "pack": _pack,
    "sif": _sif,
    "oci": _oci,
    "install": _install,
}
