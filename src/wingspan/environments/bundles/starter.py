"""How a job starts inside a bundle: the program to execute, its arguments, and the files it needs.

::

    start = starter_command(bundle, ["python", "worker.pyz", "run"])
    JobDescription(executable=str(start.executable), transfer_executable=True, arguments=start.arguments,
                   input_files=tuple(str(path) for path in start.input_files), ...)

The arguments name the files without folders, because they lie in the job's working folder. On a shared disk
``starter_command(..., shared=True)`` uses full paths and transfers nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import attrs

from wingspan.environments.bundles.errors import BundleError, ProgramMissing
from wingspan.environments.bundles.manifest import Bundle
from wingspan.environments.bundles.remote import remote_program
from wingspan.environments.bundles.storage import cache_folder, hash_file, replacing
from wingspan.worker import trust

__all__ = ["EXIT_DAMAGED", "EXIT_NO_ROOM", "EXIT_NO_WAY", "Start", "starter_command", "starter_script"]

#: Exit codes of the starter: the bundle is missing or not the one that was sent.
EXIT_DAMAGED = 121
#: Nothing on the machine can make the bundle available. The starter's log says what was tried.
EXIT_NO_WAY = 122
#: No room to unpack.
EXIT_NO_ROOM = 123

#: The methods by which a kind can be made available, if there is a choice.
_METHODS = {
    "squashfs": ("kernel", "setuid", "fuse", "apptainer", "unpack"),
    "oci": ("apptainer", "podman", "docker", "unpack"),
}


@attrs.frozen(kw_only=True)
class Start:
    """How a job starts inside a bundle.

    Attributes:
        executable: The starter, a POSIX shell script.
        arguments: Its arguments, the command last.
        input_files: The files that must lie in the job's working folder: the bundle first, then its
            thin layers, its delta, and (for `squashfs`) the small helper. Where there is a delta, its base
            must lie there, and the bundle need not.
        bundle: The bundle; the same for every job, so worth sending as a common file.
    """

    executable: Path
    arguments: tuple[str, ...]
    input_files: tuple[Path, ...]
    bundle: Bundle


def starter_script() -> Path:
    """The starter on this machine's disk: an executable copy in the cache, named by its content.

    The package's own file is not used, because installers drop the executable bit, and an upgrade must not
    change it for queued jobs.
    """
    content = remote_program("starter.sh")
    path = cache_folder("programs") / f"starter-{hashlib.sha256(content).hexdigest()[:8]}.sh"
    if not os.access(path, os.X_OK) or path.read_bytes() != content:
        with replacing(path, mode=trust.PROGRAM) as file:
            file.write(content)
    return path


def starter_command(
    bundle: Bundle,
    command: Sequence[str],
    *,
    shared: bool = False,
    helper: bool = True,
    method: str | None = None,
    quiet: bool = False,
    container: bool = False,
) -> Start:
    """How `command` is executed in `bundle` on a worker.

    Args:
        bundle: Of any kind; a ``pack`` must be one that unpacks itself.
        command: Program and arguments; ``python`` is the environment's.
        shared: Whether the worker sees this machine's files. They are used where they are then.
        helper: Send the 2 MB helper with squashfuse_ll for machines that have none (`squashfs` only). It is
            left out silently if it cannot be obtained here.
        method: ``"kernel"``, ``"setuid"``, ``"fuse"``, ``"apptainer"`` or ``"unpack"`` for `squashfs`;
            ``"apptainer"``, ``"podman"``, ``"docker"`` or ``"unpack"`` for `oci`. None: the first that works
            on the worker.
        quiet: Whether the starter says nothing unless something is wrong.
        container: Whether HTCondor's container universe starts the job inside the image, which it puts into
            the job's folder. The starter then checks the image and activates the environment.

    Raises:
        BundleError: The bundle is a pack that does not unpack itself, or its kind has no such method.
    """
    if bundle.kind == "pack" and bundle.path.suffix != ".sh":
        raise BundleError(
            f"a plain pack is not started by the starter: {bundle.path}",
            hint="a pack must unpack itself (executable=True, wingspan env bundle --kind pack --executable)",
        )
    methods = _METHODS.get(bundle.kind, ())
    _check_method(bundle, method, methods)
    archive = _mount_helper() if helper and bundle.kind == "squashfs" else None

    def place(path: Path) -> str:
        return str(path) if shared else path.name

    options = ["--bundle", place(bundle.path), "--sha256", bundle.sha256, "--kind", bundle.kind]
    if bundle.prefix is not None:
        options += ["--prefix", bundle.prefix]
    if archive is not None:
        options += ["--helper", place(archive), "--helper-sha256", hash_file(archive)]
    if methods and bundle.manifest is not None and bundle.manifest.installed_bytes is not None:
        options += ["--installed", str(bundle.manifest.installed_bytes)]
    for layer in bundle.layers:
        options += ["--layer", place(layer.path), "--layer-sha256", layer.sha256]
    delta = bundle.delta if not shared else None
    if delta is not None:
        options += ["--base", delta.base, "--delta", delta.path.name, "--delta-sha256", delta.sha256]
    if method is not None:
        options += ["--method", method]
    if quiet:
        options.append("--quiet")
    if container:
        options += ["--stage", "container"]
    return Start(
        executable=starter_script(),
        arguments=(*options, "--", *command),
        input_files=()
        if shared
        else (
            bundle.path,
            *(layer.path for layer in bundle.layers),
            *([delta.path] if delta else []),
            *([archive] if archive else []),
        ),
        bundle=bundle,
    )


def _check_method(bundle: Bundle, method: str | None, methods: Sequence[str]) -> None:
    if method is None or method in methods:
        return
    raise BundleError(
        f"{bundle.kind} is not started by the method {method!r}: {bundle.path}",
        hint=f"its methods are {', '.join(methods)}"
        if methods
        else "it has one way only: leave the method out",
    )


def _mount_helper() -> Path | None:
    """The helper on this machine's disk; None if it cannot be obtained."""
    from wingspan.environments.bundles.machine.programs import mount_helper

    try:
        return mount_helper()
    except ProgramMissing:
        return None
