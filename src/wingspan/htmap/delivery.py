"""Delivery methods: how Python comes to the workers. HTMap's names, and what Wingspan has for each.

Wingspan carries the locked environment of a Pixi workspace, or has the workers use the Python of this
session, which it checks. Images of HTMap's are not used: they hold its own environment and not yours.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from wingspan._warn import warn
from wingspan.errors import EnvironmentWarning, WingspanError
from wingspan.htmap.exceptions import UnknownPythonDeliveryMethod
from wingspan.htmap.settings import settings

__all__ = [
    "Transplant",
    "delivered",
    "register_delivery_method",
    "transplant_info",
    "transplants",
    "unregister_delivery_mechanism",
]

Descriptors = Callable[[str, Path], Mapping[str, Any]]
Setup = Callable[[str, Path], None]

#: What a program knows of its own methods.
_registered: dict[str, tuple[Descriptors, Setup | None]] = {}
#: Those that HTMap came with.
_BUILTIN = ("assume", "shared", "docker", "singularity", "transplant")
#: Submit commands of a method that mean nothing here: Wingspan starts its workers itself.
_OF_HTMAP = frozenset("universe executable transfer_executable arguments transfer_input_files".split())
#: What this process has warned of already.
_warned: set[str] = set()


def register_delivery_method(
    name: str, descriptors_func: Descriptors, setup_func: Setup | None = None
) -> None:
    """Have a delivery method of one's own.

    Args:
        name: For the setting ``DELIVERY_METHOD``.
        descriptors_func: ``descriptors_func(tag, folder)`` answers submit commands; those that say what is
            executed are passed over.
        setup_func: ``setup_func(tag, folder)`` is called before. The folder is empty, and for this method.
    """
    _registered[name] = (descriptors_func, setup_func)


def unregister_delivery_mechanism(name: str) -> None:
    """Forget a delivery method of one's own."""
    _registered.pop(name, None)


def _warn(method: str, text: str) -> None:
    if method not in _warned:
        _warned.add(method)
        warn(f"delivery method {method!r}: {text}", EnvironmentWarning)


def delivered(tag: str | None) -> tuple[dict[str, Any], Any]:
    """What the chosen delivery method adds to a map: submit commands, and `Options.environment`.

    Raises:
        UnknownPythonDeliveryMethod: There is no such method.
    """
    method, environment = settings["DELIVERY_METHOD"], settings.get("WINGSPAN.ENVIRONMENT")
    if method in _registered:
        describe, set_up = _registered[method]
        folder = Path(settings["HTMAP_DIR"]).expanduser() / "delivery" / (tag or "transient")
        folder.mkdir(parents=True, exist_ok=True)
        if set_up is not None:
            set_up(tag or "transient", folder)
        found = {name.lower(): value for name, value in describe(tag or "transient", folder).items()}
        return {name: value for name, value in found.items() if name not in _OF_HTMAP}, environment
    if method not in _BUILTIN:
        raise UnknownPythonDeliveryMethod(
            f"there is no delivery method {method!r}",
            hint=f"known: {', '.join((*_BUILTIN, *_registered))}",
        )
    if environment is not None:
        return {}, environment
    if method in ("docker", "singularity"):
        _warn(
            method,
            "the image is not used; workers have the Python of this session. "
            'settings["WINGSPAN.ENVIRONMENT"] = "default" carries the locked environment of your Pixi workspace instead',
        )
    elif method == "transplant":
        if _has_workspace():
            return {}, "default"
        _warn(
            method,
            "there is no Pixi workspace here, whose environment could be carried; workers have the Python of this "
            "session (pixi init --import makes a workspace of a conda environment file)",
        )
    return {}, None


def _has_workspace() -> bool:
    from wingspan.environments import Workspace

    try:
        Workspace.open()
    except WingspanError:
        return False
    return True


@attrs.frozen
class Transplant:
    """An environment that was made into a file for workers: a bundle in Wingspan's cache.

    Attributes:
        hash: Digest of the set of packages.
        path: The file.
        created: When it was made.
        size: Bytes.
        packages: The environment, and how many packages it has.
    """

    hash: str
    path: Path
    created: datetime.datetime
    size: int
    packages: tuple[str, ...]

    @classmethod
    def load(cls, path: Path) -> Transplant:
        """The bundle in this file.

        Raises:
            WingspanError: It is none, or does not say what is in it.
        """
        from wingspan.environments.bundles import open_bundle

        manifest, facts = open_bundle(path).manifest, path.stat()
        if manifest is None:
            raise WingspanError(f"{path} does not say what is in it", hint="name a bundle of Wingspan's")
        return cls(
            hash=manifest.environment_digest,
            path=path,
            created=datetime.datetime.fromtimestamp(facts.st_mtime).astimezone(),
            size=facts.st_size,
            packages=(f"{manifest.workspace}/{manifest.environment}: {manifest.packages} packages",),
        )

    def remove(self) -> None:
        """Remove the file; it is made again when it is needed."""
        self.path.unlink(missing_ok=True)


def transplants() -> tuple[Transplant, ...]:
    """The bundles in Wingspan's cache, the oldest first."""
    from wingspan.environments.bundles.storage import cache_folder

    found = []
    for path in cache_folder("bundles").iterdir():
        if path.is_file() and not path.name.startswith(".") and path.suffix != ".json":
            try:
                found.append(Transplant.load(path))
            except WingspanError:
                continue  # no bundle, or one that is being made
    return tuple(sorted(found, key=lambda one: one.created))


def transplant_info() -> str:
    """The bundles in Wingspan's cache, as text."""
    return "\n".join(
        f"{number} {one.path.name} {one.size} bytes, made {one.created:%Y-%m-%d %H:%M} ({', '.join(one.packages)})"
        for number, one in enumerate(transplants())
    )
