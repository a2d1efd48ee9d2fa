"""Install only the packages that were in no image before, so that an environment can be put together.

They are installed beside the environment's Python, which compiles their modules and runs their installer.
What a package consists of does not depend on the other packages (where it does, `compose` says so, and the
whole environment is installed).
"""

from __future__ import annotations

from collections.abc import Sequence

from wingspan.environments.bundles.kinds.composition import keep_shares, unknown_packages
from wingspan.environments.bundles.kinds.squashfs import keep_blobs
from wingspan.environments.bundles.linked.prefix import link_environment
from wingspan.environments.bundles.order import Order
from wingspan.environments.bundles.packages.fetch import Archive

__all__ = ["install_missing"]

#: More than this part of the packages' bytes is not worth a second way.
_WORTH = 0.5


def install_missing(order: Order) -> bool:
    """Install the packages of `order` whose shares nobody has noted, and note them.

    False means that it was not worth it, and that nothing was done.

    Raises:
        As `link_environment`.
    """
    prefix = order.manifest.prefix
    assert prefix is not None
    missing = unknown_packages(order.archives, prefix)
    if not missing:
        return False
    wanted = _with_python(order.archives, missing)
    if _bytes(wanted) > _WORTH * _bytes(order.archives):
        return False
    folder = order.work / "partial"
    installed = link_environment(
        wanted, folder, prefix=prefix, platform=order.manifest.platform, progress=order.progress
    )
    keep_blobs(folder, installed.origins, progress=order.progress)
    keep_shares(wanted, installed.claims, folder, prefix=prefix, origins=installed.origins)
    return True


def _bytes(archives: Sequence[Archive]) -> int:
    return sum(archive.path.stat().st_size for archive in archives)


def _with_python(archives: Sequence[Archive], missing: Sequence[Archive]) -> list[Archive]:
    """`missing`, with Python and all that it depends on, in the order of `archives`."""
    conda = {one.package.name: one for one in archives if one.package.kind == "conda"}
    names = {one.package.name for one in missing}
    open_names = ["python"]
    taken = set()
    while open_names:
        name = open_names.pop()
        if name not in conda or name in taken:
            continue
        taken.add(name)
        open_names += [
            spec.split()[0].partition("[")[0] for spec in conda[name].package.depends if spec.split()
        ]
    return [
        one
        for one in archives
        if one.package.name in names or (one.package.kind == "conda" and one.package.name in taken)
    ]
