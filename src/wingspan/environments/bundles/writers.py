"""From an order to a product, by kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from wingspan.environments.bundles.build import Order, Product
from wingspan.environments.bundles.contents import add_contents, measure
from wingspan.environments.bundles.link import link_environment
from wingspan.environments.bundles.manifest import Kind, Manifest
from wingspan.environments.bundles.pack import write_executable, write_pack
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


WRITERS: Mapping[Kind, Callable[[Order], tuple[Product, Manifest]]] = {
    "squashfs": _squashfs,
    "pack": _pack,
}
