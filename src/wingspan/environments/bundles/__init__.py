"""Bundles: one file that carries a locked environment to machines with neither Pixi nor the packages.

build.py      build a bundle, or find it built       opening.py   open and verify one
order.py      a writer's order and its product
unpack.py     back into a folder                     starter.py   how a job starts inside one
manifest.py   the manifest in each bundle          checked.py   bundles whose digest is known
packages/     fetched, checked, extracted            linked/      the environment at its prefix
kinds/        how each kind is written               machine/     programs of this machine
remote/       what runs on execution points

Names are imported when they are used, so that finding a bundle that was built before is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wingspan._lazy import lazy_names

if TYPE_CHECKING:
    from wingspan.environments.bundles.build import build_bundle
    from wingspan.environments.bundles.errors import BundleError
    from wingspan.environments.bundles.manifest import KINDS, PREFIX, Bundle, Kind, Manifest
    from wingspan.environments.bundles.opening import open_bundle, verify_bundle
    from wingspan.environments.bundles.starter import Start, starter_command
    from wingspan.environments.bundles.unpack import unpack_bundle

_HOME = {
    "Bundle": ".manifest",
    "BundleError": ".errors",
    "KINDS": ".manifest",
    "Kind": ".manifest",
    "Manifest": ".manifest",
    "PREFIX": ".manifest",
    "Start": ".starter",
    "build_bundle": ".build",
    "open_bundle": ".opening",
    "starter_command": ".starter",
    "unpack_bundle": ".unpack",
    "verify_bundle": ".opening",
}

__all__ = [
    "KINDS",
    "PREFIX",
    "Bundle",
    "BundleError",
    "Kind",
    "Manifest",
    "Start",
    "build_bundle",
    "open_bundle",
    "starter_command",
    "unpack_bundle",
    "verify_bundle",
]

if not TYPE_CHECKING:  # a checker would take any name for one that is there
    __getattr__ = lazy_names(globals(), _HOME)


def __dir__() -> list[str]:
    return sorted(__all__)
