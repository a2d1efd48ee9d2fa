"""Unpack a bundle into a folder, as an environment that works there."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import subprocess
import tarfile
import zlib
from pathlib import Path
from typing import Any

import attrs

from wingspan._python import this_python
from wingspan.environments.bundles.errors import (
    AlreadyThere,
    BuildFailed,
    BundleDamaged,
    BundleError,
    InvalidPlace,
    UnsafeBundle,
)
from wingspan.environments.bundles.kinds.pack import extract_pack
from wingspan.environments.bundles.linked.metadata import FOLDER, activation_script
from wingspan.environments.bundles.linked.prefix import link_conda, settle_modes
from wingspan.environments.bundles.machine.programs import find_program
from wingspan.environments.bundles.manifest import Bundle
from wingspan.environments.bundles.opening import (
    check_file,
    check_pack_sums,
    listed_packages,
    open_bundle,
    sif_partition,
)
from wingspan.environments.bundles.packages.foreign_names import check_names, site_packages
from wingspan.environments.bundles.packages.wheels import read_wheel
from wingspan.environments.bundles.remote import remote_program
from wingspan.environments.bundles.remote.activation import ACTIVATION, place_fault
from wingspan.environments.bundles.storage import disk_full, hash_file, no_room, temporary_folder
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.worker import trust

__all__ = ["unpack_bundle"]

#: Errors for a file in the place of a folder, and the other way round.
_IN_THE_WAY = (FileExistsError, NotADirectoryError, IsADirectoryError)

_WAYS_OUT = {
    "install": "it is a program: bash {path} -o {directory} -e {name} installs the environment there",
}


def unpack_bundle(
    bundle: Bundle | str | Path,
    directory: str | os.PathLike[str],
    *,
    environment: str = "env",
    progress: Progress = NO_PROGRESS,
) -> Path:
    """Unpack `bundle` into ``directory/environment`` and write ``directory/activate.sh``, as ``pixi-unpack``
    does.

    The bundle is checked first. On an error nothing is left behind.

    Args:
        bundle: A bundle, or the path of one; packs that pixi-pack made are understood too.
        directory: Made if it is not there.
        environment: Name of the environment's folder in it.
        progress: Told how far it is.

    Returns:
        The environment's folder, its prefix.

    Raises:
        AlreadyThere: The name exists already, or there is an ``activate.sh`` that activates no environment.
        InvalidPlace: `directory` or `environment` has characters that no path of an environment may have.
            Nothing is made.
        BundleError: It is of a kind that is not unpacked (`install`); the hint says what to do instead.
        BundleDamaged, UnsafeBundle: see `wingspan.environments.bundles.errors`.
        DiskFull: No room.
    """
    checked = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    if checked.kind != "pack" or checked.manifest is not None:
        checked = check_file(checked.path, checked.sha256, progress=progress)
    directory = Path(directory).absolute()
    prefix = _check_place(directory, environment)
    activate = directory / "activate.sh"
    _check_length(checked, prefix)
    made = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    with no_room(directory):
        try:
            with temporary_folder(directory, ".unpack-") as work:
                if checked.kind == "pack":
                    _unpack_pack(checked, prefix, work, progress)
                elif checked.kind in ("squashfs", "sif", "oci"):
                    _unpack_image(_unchanging(checked, work), prefix, work, progress)
                else:
                    raise BundleError(
                        f"a bundle of kind {checked.kind!r} is not unpacked by Wingspan: {checked.path}",
                        hint=_WAYS_OUT[checked.kind].format(
                            path=checked.path, directory=directory, name=environment
                        ),
                    )
            script = activation_script(prefix, prefix=str(prefix), name=environment)
            # People source this file, so nobody else may write it, and a link in its place is not followed.
            trust.write_whole(str(activate), script.encode(errors="surrogateescape"), mode=0o644)
        except BaseException:
            shutil.rmtree(prefix, ignore_errors=True)
            with contextlib.suppress(OSError):  # another process made it meanwhile
                for folder in made:
                    folder.rmdir()
            raise
    return prefix


def _check_place(directory: Path, environment: str) -> Path:
    """The environment's folder, which does not exist yet.

    Raises:
        AlreadyThere, InvalidPlace: See `unpack_bundle`.
    """
    try:
        trust.check_name(environment)
    except trust.BadName as error:
        raise InvalidPlace(
            f"{environment!r} is no name of an environment's folder: {error}", hint="choose another name (-e)"
        ) from None
    prefix = directory / environment
    if fault := place_fault(str(prefix)):
        raise InvalidPlace(
            f"{str(prefix)!r} is no place for an environment: {fault}",
            hint="choose another folder (-o) or name (-e)",
        )
    if os.path.lexists(prefix):
        raise AlreadyThere(f"{prefix} exists", hint="choose another name or folder, or remove it")
    activate = directory / "activate.sh"
    if activate.exists() and b"CONDA_PREFIX" not in activate.read_bytes():
        raise AlreadyThere(f"{activate} exists, and activates no environment", hint="choose another folder")
    return prefix


def _check_length(bundle: Bundle, prefix: Path) -> None:
    """Check that the programs in an image have room for the path `prefix`.

    Raises:
        InvalidPlace: They have not.
    """
    longest = bundle.manifest.longest_path if bundle.manifest is not None else None
    if longest is not None and len(os.fsencode(prefix)) > longest:
        raise InvalidPlace(
            f"{prefix} is too long a path ({len(os.fsencode(prefix))} bytes): programs in {bundle.path.name} have room for {longest}",
            hint="choose another folder (-o) or name (-e)",
        )


def _unchanging(bundle: Bundle, work: Path) -> Bundle:
    """The checked bundle.

    If other users can change the file meanwhile, this is a copy in `work` that was checked again.

    Raises:
        BundleDamaged: It has been changed.
    """
    if trust.is_closed(str(bundle.path)):
        return bundle
    copy = work / bundle.path.name
    shutil.copyfile(bundle.path, copy)
    if hash_file(copy) != bundle.sha256:
        raise BundleDamaged(
            f"{bundle.path} was changed while it was read", hint="it belongs to others: copy it first"
        )
    return attrs.evolve(bundle, path=copy)


def _unpack_pack(bundle: Bundle, prefix: Path, work: Path, progress: Progress) -> None:
    sums = extract_pack(bundle.path, work / "pack", progress=progress)
    root = work / "pack"
    texts = {
        name: (root / name).read_bytes()
        for name in sums
        if name == "sha256sums" or (name.endswith("/repodata.json") and name.startswith("channel/"))
    }
    md5 = {n: hash_file(root / n, "md5") for n in sums if n.startswith("channel/") and _md5_only(texts, n)}
    check_pack_sums(bundle.path, sums, texts, md5)
    try:
        description = json.loads((root / "pixi-pack.json").read_bytes())
        version, platform = description["version"], str(description["platform"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise BundleDamaged(
            f"{bundle.path} has no readable pixi-pack.json", hint="is it the right file?"
        ) from None
    if version != "1":
        raise BundleDamaged(
            f"{bundle.path} is a pack of version {version!r}; this Wingspan reads version '1'",
            hint="pip install --upgrade wingspan",
        )
    items: list[dict[str, Any]] = []
    for name, text in texts.items():
        if name == "sha256sums":
            continue
        subdir = name.split("/")[1]
        for file_name, record in listed_packages(text).items():
            check_names(record, file_name, subdir)
            path = root / "channel" / subdir / file_name
            if f"channel/{subdir}/{file_name}" not in sums:
                raise BundleDamaged(
                    f"{bundle.path} lists the package {file_name!r}, and does not have it",
                    hint="fetch or build it again",
                )
            items.append({"subdir": subdir, "file_name": file_name, "record": record, "path": str(path)})
    wheels = [read_wheel(path) for path in sorted((root / "pypi").glob("*.whl"))]
    carried = {name: root / name for name in sums if name.startswith("activation/")}
    link_conda(
        items,
        prefix,
        prefix=str(prefix),
        platform=platform,
        cache=work / "packages",
        wheels=wheels,
        progress=progress,
    )
    (prefix / "conda-meta").mkdir(exist_ok=True)
    trust.write_whole(str(prefix / "conda-meta/history"), b"")
    for name, path in carried.items():
        target = prefix / ACTIVATION / name.removeprefix("activation/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    if wheels:
        _install_wheels(
            [wheel.path for wheel in wheels], prefix, site_packages(item["record"] for item in items)
        )
    settle_modes(prefix)


def _install_wheels(wheels: list[Path], prefix: Path, site: str) -> None:
    """Install wheels whose names were checked, with the worker's unpacker.

    The environment's Python is not executed.
    """
    command = [this_python(), "-I", "-S", "-B", "-", "--install-wheels", str(prefix), site]
    done = subprocess.run(
        [*command, *map(str, wheels)], input=remote_program("unpacker.py"), capture_output=True, check=False
    )
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip()[-500:]
        if "no room: " in reason:
            raise disk_full(prefix)
        raise BuildFailed(
            f"the PyPI packages cannot be installed: {reason}", hint="fetch or build the bundle again"
        )


def _md5_only(texts: dict[str, bytes], member: str) -> bool:
    folder, _, file_name = member.rpartition("/")
    try:
        record = listed_packages(texts[f"{folder}/repodata.json"])[file_name]
    except (KeyError, ValueError):
        return False
    return not record.get("sha256") and bool(record.get("md5"))


def _unpack_image(bundle: Bundle, prefix: Path, work: Path, progress: Progress) -> None:
    assert bundle.prefix is not None
    task = progress.start("Unpacking the image")
    target = (
        _extract_layers(bundle, work) if bundle.kind == "oci" else _extract_squashfs(bundle, prefix, work)
    )
    # One rule for all kinds: plain files, folders and links, of this user, with no more
    # rights than they need.
    if os.path.realpath(target) != f"{os.path.realpath(work)}/{target.relative_to(work)}":
        raise _leads_out(bundle.path, bundle.prefix)
    if not target.is_dir():
        raise BundleDamaged(
            f"{bundle.path} has no environment at {bundle.prefix}", hint="is it the right file?"
        )
    settle_modes(target, owner=os.geteuid() == 0)
    _check_prefix_files(target, work, bundle.path)
    # our own script, not the bundle's: unpacking executes nothing of a bundle on the user's machine
    done = subprocess.run(
        [this_python(), "-I", "-", str(target), bundle.prefix, str(prefix)],
        input=remote_program("relocate.py"),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip()[-300:]
        raise BuildFailed(
            f"the environment cannot be moved to {prefix}: {reason}",
            hint="choose a shorter path with -o or -e, or build the bundle again with this Wingspan: older ones "
            f"have room for {len(bundle.prefix)} bytes",
        )
    target.rename(prefix)
    progress.finish(task)


def _check_prefix_files(folder: Path, work: Path, path: Path) -> None:
    """Check that the files in which the bundle wants the prefix rewritten are in its own folder, below
    `work`.

    Raises:
        BundleDamaged: There is no list of them. UnsafeBundle: A file is elsewhere.
    """
    try:
        listed = json.loads((folder / FOLDER / "prefix-files.json").read_bytes())
        names = [str(name) for kind in ("text", "binary") for name in listed[kind]]
        if not all(type(size) is int for size in listed.get("room", {}).values()):
            raise TypeError(listed["room"])
        for name in names:
            if b"\0" in os.fsencode(name):
                raise ValueError(name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BundleDamaged(
            f"{path} has no readable {FOLDER}/prefix-files.json", hint="is it the right file?"
        ) from None
    within = f"{os.path.realpath(work)}/"
    for name in (".", *names):
        place = os.path.realpath(folder / name)
        # what relocate.py writes, and then renames
        if not place.startswith(within) or os.path.lexists(folder / f"{name}.relocated"):
            raise _leads_out(path, name)


def _leads_out(path: Path, name: str) -> UnsafeBundle:
    return UnsafeBundle(
        f"{path} has a member {name!r} that would be written outside the target folder, or is a device",
        hint="do not use this file, and ask where it comes from",
    )


def _extract_squashfs(bundle: Bundle, prefix: Path, work: Path) -> Path:
    """The environment in a squashfs or SIF, as a folder in `work`."""
    assert bundle.prefix is not None
    program = find_program("unsquashfs")
    target = work / "environment"
    command = [str(program), "-no-progress", "-quiet", "-no-xattrs", "-d", str(target)]
    if bundle.kind == "sif":  # only the environment, not the rest of the root file system
        within = bundle.prefix.lstrip("/")
        command += ["-offset", str(sif_partition(bundle.path)), str(bundle.path), within]
        target /= within
    else:
        command.append(str(bundle.path))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        if "No space left" in done.stderr + done.stdout:
            raise disk_full(prefix)
        raise BuildFailed(
            f"unsquashfs failed: {done.stderr.strip()[-500:]}", hint="fetch or build the bundle again"
        )
    return target


def _extract_layers(bundle: Bundle, work: Path) -> Path:
    """The environment in an OCI archive's layers, as a folder in `work`, without the base."""
    assert bundle.prefix is not None
    within = bundle.prefix.lstrip("/")
    with tarfile.open(bundle.path, "r:") as archive:
        try:
            description = archive.extractfile("manifest.json")
            assert description is not None
            layers = [str(name) for name in json.load(description)[0]["Layers"]]
            for name in layers:
                with tarfile.open(fileobj=archive.extractfile(name), mode="r:gz") as layer:
                    _extract_layer(layer, work, within, bundle.path)
        except UnsafeBundle:
            raise
        except (
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            RecursionError,
            EOFError,
            zlib.error,
            gzip.BadGzipFile,
            tarfile.TarError,
            *_IN_THE_WAY,
        ):
            raise BundleDamaged(
                f"{bundle.path} has no readable layers", hint="is it the right file?"
            ) from None
    return work / within


def _extract_layer(layer: tarfile.TarFile, folder: Path, within: str, path: Path) -> None:
    for member in layer:
        if member.name.startswith(f"{within}/"):
            _extract_member(layer, member, folder, within, path)


def _extract_member(
    layer: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, within: str, path: Path
) -> None:
    """Write a file, folder or symbolic link of a layer to `folder`, but only if it is below `within`.

    Raises:
        UnsafeBundle: It would be written outside, or is something else.
    """
    target = folder / member.name
    # follow the links of earlier members, also those whose targets do not exist yet
    parent = f"{os.path.realpath(target.parent)}/"
    try:
        trust.check_path(member.name.rstrip("/"))
        inside = parent.startswith(f"{os.path.realpath(folder)}/{within}/")
    except trust.BadName:
        inside = False
    source = layer.extractfile(member) if member.isfile() else None
    # A whiteout removes an entry of an earlier layer. Wingspan writes none. Engines would not show what is
    # unpacked here.
    if not inside or target.name.startswith(".wh.") or not (source or member.isdir() or member.issym()):
        raise _leads_out(path, member.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.isdir():
        target.mkdir(exist_ok=True)
        return
    target.unlink(missing_ok=True)  # an entry of an earlier layer: nothing is written through a link
    if source is None:
        target.symlink_to(member.linkname)
        return
    with source, target.open("xb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
    target.chmod(member.mode & 0o777)
