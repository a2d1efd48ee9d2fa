"""From an order to a product, by kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from wingspan.environments.bundles.base import copy_base
from wingspan.environments.bundles.build import Order, Product
from wingspan.environments.bundles.contents import add_contents, measure
from wingspan.environments.bundles.install import install_script
from wingspan.environments.bundles.link import link_environment
from wingspan.environments.bundles.manifest import Kind, Manifest
from wingspan.environments.bundles.oci import dockerfile, write_oci
from wingspan.environments.bundles.pack import write_executable, write_pack
from wingspan.environments.bundles.sif import add_apptainer_files, definition_file, write_sif
from wingspan.environments.bundles.squashfs import append_manifest, make_squashfs

__all__ = ["WRITERS"]


def install_tree(order: Order) -> tuple[Path, Manifest]:
    """The installed environment with ``.wingspan`` in the build folder; the manifest with measures."""
    folder = order.work / "prefix"
    assert order.manifest.prefix is not None
    link_environment(
        order.archives,
        folder,
        prefix=order.manifest.prefix,
        platform=order.manifest.platform,
        progress=order.progress,
    )
    size, files = measure(folder)
    manifest = attrs.evolve(order.manifest, installed_bytes=size, installed_files=files)
    add_contents(folder, manifest, lock=order.env.lock_path, workspace=order.env.manifest_path)
    return folder, manifest


def _squashfs(order: Order) -> tuple[Product, Manifest]:
    folder, manifest = install_tree(order)
    image = order.work / "image"
    make_squashfs(folder, image, progress=order.progress)
    append_manifest(image, manifest)
    return Product(path=image, suffix="squashfs"), manifest


def _pack(order: Order) -> tuple[Product, Manifest]:
    tar = order.work / "pack.tar"
    write_pack(tar, order.archives, order.manifest, order.env.lock_path.read_bytes(), progress=order.progress)
    if not order.options.get("executable"):
        return Product(path=tar, suffix="tar"), order.manifest
    script = order.work / "pack.sh"
    remote = Path(__file__).with_name("remote")
    unpacker = (remote / "unpacker_head.sh").read_bytes() + (remote / "unpacker.py").read_bytes()
    write_executable(script, tar, order.manifest, unpacker, progress=order.progress)
    return Product(path=script, suffix="sh", mode=0o755), order.manifest


def _root(order: Order) -> tuple[Path, Path, Manifest]:
    """A root file system with the environment at its prefix: (root, prefix in it, manifest)."""
    folder, manifest = install_tree(order)
    assert manifest.prefix is not None
    root = order.work / "root"
    copy_base(order.options.get("base"), root)
    prefix = root / manifest.prefix.lstrip("/")
    prefix.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(prefix)
    entry = prefix / ".wingspan/entrypoint.sh"
    entry.write_text(f'#!/bin/bash\n. {manifest.prefix}/.wingspan/activate.sh\nexec "$@"\n', encoding="utf-8")
    entry.chmod(0o755)
    return root, prefix, manifest


def _workspace_file(order: Order) -> str:
    return order.env.manifest_path.name if order.env.manifest_path else "pixi.toml"


def _sif(order: Order) -> tuple[Product, Manifest]:
    root, _, manifest = _root(order)
    add_apptainer_files(root, manifest)
    image, target = order.work / "image", order.work / "sif"
    make_squashfs(root, image, progress=order.progress)
    definition = definition_file(manifest, _workspace_file(order))
    write_sif(target, image, definition, manifest)
    append_manifest(target, manifest)
    return Product(path=target, suffix="sif", mode=0o755, sources={"def": definition}), manifest


def _oci(order: Order) -> tuple[Product, Manifest]:
    root, prefix, manifest = _root(order)
    variables = {
        "PATH": f"{manifest.prefix}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "CONDA_PREFIX": str(manifest.prefix),
        "PYTHONNOUSERSITE": "1",
    }
    for path in sorted((prefix / "etc/conda/env_vars.d").glob("*.json")):
        variables |= {key: str(value) for key, value in json.loads(path.read_text(encoding="utf-8")).items()}
    target = order.work / "oci"
    write_oci(target, root, order.archives, manifest, variables, progress=order.progress)
    return Product(
        path=target, suffix="oci.tar", sources={"Dockerfile": dockerfile(manifest, _workspace_file(order))}
    ), manifest


def _install(order: Order) -> tuple[Product, Manifest]:
    script = order.work / "install.sh"
    script.write_bytes(install_script(order.env, order.manifest))
    return Product(path=script, suffix="sh", mode=0o755), order.manifest


WRITERS: Mapping[Kind, Callable[[Order], tuple[Product, Manifest]]] = {
    "squashfs": _squashfs,
    "pack": _pack,
    "sif": _sif,
    "oci": _oci,
    "install": _install,
}
