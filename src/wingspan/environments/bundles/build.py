"""Build a bundle of a locked environment, or find the one that was built before."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from wingspan.environments.activation import Activated, carried_activation
from wingspan.environments.bundles.checked import is_known, note_checked
from wingspan.environments.bundles.manifest import (
    FORMAT,
    PREFIX,
    Bundle,
    Kind,
    Manifest,
    bundle_name,
    check_kind,
)
from wingspan.environments.bundles.order import Order, Product
from wingspan.environments.bundles.own.split import own_layers, without_own
from wingspan.environments.bundles.remote import remote_program
from wingspan.environments.bundles.storage import (
    cache_folder,
    hash_file,
    interprocess_lock,
    no_room,
    remove_abandoned,
    replacing,
    temporary_folder,
)
from wingspan.environments.lock import LockedEnvironment
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.stores.names import ContentName, sidecar
from wingspan.worker import trust

__all__ = ["build_bundle"]


def build_bundle(
    env: LockedEnvironment,
    kind: str,
    *,
    directory: str | os.PathLike[str] | None = None,
    executable: bool = False,
    base: str | os.PathLike[str] | None = None,
    before: Callable[[], None] | None = None,
    made_elsewhere: Path | None = None,
    progress: Progress = NO_PROGRESS,
) -> Bundle:
    """Build one file that carries `env`.

    Packages whose source lies in a folder here (editable ones) are no part of that file: they become a thin
    layer beside it (`Bundle.layers`), made anew whenever a file of theirs changes.

    A second call for the same lock, environment and kind returns the first one's bundle. Two machines that
    build from one lock get the same bytes. After an interruption, the next call goes on where the last one
    stopped.

    Args:
        env: A locked environment (`load_environment`).
        kind: ``"squashfs"``, ``"pack"``, ``"sif"``, ``"oci"`` or ``"install"``.
        directory: Put the bundle there as well; default: only into the cache.
        executable: A `pack` that unpacks itself: a shell script (``.sh``) with the archive inside.
        base: Root file system under a `sif` or `oci`: a folder or a tar. Default:
            a small one of this machine's Debian suite.
        before: Called before anything is fetched and built, but not if the bundle exists already. It may
            raise.
        made_elsewhere: The bundle of this very environment that a job has built, with its digest beside it:
            it is checked and taken.
        progress: Told how far it is.

    Raises:
        UnsupportedPackages: The lock has packages that cannot be carried; each is named.
        PackageMismatch: A package is not the one that the lock names.
        PackageUnavailable: A package cannot be fetched.
        BundleDamaged: What was made elsewhere is cut or altered, or is another environment's.
        BuildFailed, ProgramMissing, DiskFull: see `wingspan.environments.bundles.errors`.
    """
    checked = check_kind(kind)
    # What is not in the lock, Pixi does not install.
    injected = checked == "install"
    whole, env = env, without_own(env, injected=injected)
    env.check_portable()
    layers = own_layers(whole, name=bundle_name(env), injected=injected)
    options: dict[str, Any] = {"executable": True} if executable and checked == "pack" else {}
    if checked in ("sif", "oci"):
        options["base"] = Path(base).absolute() if base is not None else None
    if checked == "install" and layers:
        options["skipped"] = sorted({one.name for one in whole.packages} - {one.name for one in env.packages})
    lock_sha256 = hash_file(env.lock_path)
    activated = carried_activation(env)
    key = _key(env, checked, lock_sha256, options, activated)
    cache = cache_folder("bundles")
    bundle = _built_before(cache, key)
    if bundle is None:
        if before is not None:
            before()
        with interprocess_lock(
            cache / "locks" / key, waiting="Waiting for another build of this environment", progress=progress
        ):
            bundle = _built_before(cache, key)
            if bundle is None and made_elsewhere is not None:
                bundle = _take(made_elsewhere, _manifest(env, checked, lock_sha256), key, cache, progress)
            bundle = bundle or _build(
                env,
                checked,
                activated=activated,
                lock_sha256=lock_sha256,
                key=key,
                cache=cache,
                options=options,
                progress=progress,
            )
    bundle = attrs.evolve(bundle, layers=layers)
    return bundle if directory is None else _deliver(bundle, Path(directory))


_INSIDE: dict[Kind, tuple[str, ...]] = {
    "squashfs": ("relocate.py", "activation.py"),
    "sif": ("relocate.py", "activation.py"),
    "oci": ("relocate.py", "activation.py"),
    "pack": ("unpack_header.sh", "unpacker_head.sh", "unpacker.py"),
    "install": ("install.sh",),
}


def _key(
    env: LockedEnvironment, kind: Kind, lock_sha256: str, options: dict[str, Any], activated: Activated
) -> str:
    """The text that decides the bytes of a bundle."""
    manifest = hash_file(env.manifest_path) if env.manifest_path else None
    told: dict[str, Any] = dict(options)
    if "base" in options:
        from wingspan.environments.bundles.kinds.root_filesystem import base_digest

        told["base"] = base_digest(options["base"])
    parts: list[Any] = [
        FORMAT,
        kind,
        env.digest,
        lock_sha256,
        manifest,
        env.workspace,
        env.name,
        PREFIX,
        told,
    ]
    # Our scripts in the bundle are part of it, so a new Wingspan does not reuse an old one's bundle.
    parts.append([hashlib.sha256(remote_program(name)).hexdigest() for name in _INSIDE[kind]])
    parts.append({name: hashlib.sha256(content).hexdigest() for name, content in activated.files().items()})
    if kind == "install":
        from wingspan.environments.bundles.kinds.install import PIXI_VERSION, oldest_pixi

        parts += [env.platform.name, oldest_pixi(env), PIXI_VERSION]
    if kind in ("sif", "oci"):
        # 1 told Pixi of CUDA 12 always; in 2, wheels that spell their names otherwise
        # were in no layer of their own
        parts.append("recipe 4")  # 3: the entry point gave its arguments to activation scripts, too
    if kind in ("squashfs", "sif"):
        # mksquashfs made other bytes; 1 could have a binary that begins as text in both
        # lists of what a relocation rewrites
        parts.append("image 2")
    if kind == "sif":
        parts.append(
            "with a test and variables"
        )  # images without one, which HTCondor refuses, may be in the cache
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _built_before(cache: Path, key: str) -> Bundle | None:
    """The bundle of an earlier call, if it is unchanged."""
    try:
        entry = json.loads((cache / f"{key}.json").read_text(encoding="utf-8"))
        path = cache / entry["file"]
        status = path.stat()
        if [status.st_size, status.st_mtime_ns] != entry["stat"]:
            return None
        if not is_known(path, entry["sha256"]):  # it was not checked yet, or other users can write to it
            if hash_file(path) != entry["sha256"]:
                return None
            note_checked(path, entry["sha256"])
        sources = tuple(cache / name for name in entry["sources"])
        if not all(source.is_file() for source in sources):
            return None
        manifest = Manifest.from_json(json.dumps(entry["manifest"]), path)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _bundle(
        path, manifest, name=entry["name"], sha256=entry["sha256"], size=status.st_size, sources=sources
    )


def _bundle(
    path: Path, manifest: Manifest, *, name: str, sha256: str, size: int, sources: tuple[Path, ...]
) -> Bundle:
    return Bundle(
        path=path,
        kind=manifest.kind,
        name=name,
        sha256=sha256,
        size=size,
        environment_digest=manifest.environment_digest,
        prefix=manifest.prefix,
        manifest=manifest,
        sources=sources,
    )


def _build(
    env: LockedEnvironment,
    kind: Kind,
    *,
    activated: Activated,
    lock_sha256: str,
    key: str,
    cache: Path,
    options: dict[str, Any],
    progress: Progress,
) -> Bundle:
    from wingspan.environments.bundles.packages.fetch import fetch_packages

    writer = _writer(kind)
    archives = [] if kind == "install" else fetch_packages(env, progress=progress)
    with temporary_folder(cache_folder("builds")) as work, no_room(work):
        order = Order(
            env=env,
            activated=activated,
            archives=archives,
            manifest=_manifest(env, kind, lock_sha256),
            work=work,
            progress=progress,
            options=options,
        )
        product, manifest = writer(order)
        product.path.chmod(trust.PROGRAM if product.mode & 0o111 else trust.FILE)
        digest = _hash(product, work, progress)
        plain = bundle_name(env) + ("-install" if kind == "install" else "")
        return _keep(product, manifest, ContentName.of(plain, digest, product.suffix), digest, key, cache)


def _take(path: Path, wanted: Manifest, key: str, cache: Path, progress: Progress) -> Bundle:
    """Put a bundle that a job has built into the cache.

    Raises:
        BundleDamaged: It is cut or altered, or another environment's.
    """
    from wingspan.environments.bundles.errors import BundleDamaged
    from wingspan.environments.bundles.opening import verify_bundle

    found = verify_bundle(path, progress=progress)
    told = found.manifest
    facts = ("kind", "environment_digest", "lock_sha256", "platform", "prefix")
    if told is None or any(getattr(told, name) != getattr(wanted, name) for name in facts):
        raise BundleDamaged(
            f"{path} is not the {wanted.kind} bundle of environment {wanted.environment!r}, which a job was to build",
            hint="build it again",
        )
    name = ContentName.parse(path.name)
    beside = [one for one in path.parent.glob(f"{name.name}-{name.short}.*") if one.name != path.name]
    with temporary_folder(cache_folder("builds")) as work, no_room(work):
        copied = work / path.name
        trust.copy_file(str(path), str(copied))
        sources = {
            one.name.removeprefix(f"{name.name}-{name.short}."): one.read_text(encoding="utf-8")
            for one in beside
            if not one.name.endswith(".sha256")
        }
        product = Product(path=copied, suffix=f".{name.kind}", sources=sources)
        return _keep(product, told, name, found.sha256, key, cache)


def _manifest(env: LockedEnvironment, kind: Kind, lock_sha256: str) -> Manifest:
    """The manifest, without the facts that are known only when the bundle is made."""
    from wingspan.environments.needs import derive_needs

    derived = derive_needs(env, installed=False).to_json()
    del derived["warnings"], derived["installed_bytes"]  # they depend on this machine
    return Manifest(
        kind=kind,
        workspace=env.workspace,
        environment=env.name,
        platform=env.platform.subdir,
        environment_digest=env.digest,
        lock_sha256=lock_sha256,
        prefix=None if kind in ("pack", "install") else PREFIX,
        python=env.python,
        packages=len(env.packages),
        needs=derived,
    )


def _hash(product: Product, work: Path, progress: Progress) -> str:
    """SHA-256 of the product, which is written to the disk.

    Everything else in `work` is removed meanwhile.
    """
    from concurrent.futures import ThreadPoolExecutor

    task = progress.start("Hashing the bundle", product.path.stat().st_size)
    # Writing and removing wait for the disk, hashing for the processor.
    with ThreadPoolExecutor(2) as others:
        on_disk = others.submit(_sync, product.path)
        others.submit(_remove_all_but, product.path, work)
        digest = product.sha256 or hash_file(
            product.path, progress=lambda count: progress.advance(task, count)
        )
        on_disk.result()
    progress.finish(task)
    return digest


def _keep(
    product: Product, manifest: Manifest, name: ContentName, digest: str, key: str, cache: Path
) -> Bundle:
    """Put the product and its companions into the cache. The file that `_built_before` reads comes last."""
    path = cache / str(name)
    sources = []
    for suffix, text in product.sources.items():
        source = cache / f"{name.name}-{name.short}.{suffix}"
        with replacing(source) as file:
            file.write(text.encode())
        sources.append(source)
    with replacing(cache / name.sidecar) as file:
        file.write(sidecar(name, digest))
    product.path.replace(path)
    note_checked(path, digest)
    status = path.stat()
    entry = {
        "file": path.name,
        "name": name.name,
        "sha256": digest,
        "stat": [status.st_size, status.st_mtime_ns],
        "manifest": json.loads(manifest.to_json()),
        "sources": [source.name for source in sources],
        "parts": product.parts,
    }
    with replacing(cache / f"{key}.json") as file:
        file.write(json.dumps(entry, indent=1).encode())
    return _bundle(path, manifest, name=name.name, sha256=digest, size=status.st_size, sources=tuple(sources))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_all_but(product: Path, work: Path) -> None:
    for path in work.iterdir():
        if path != product and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def _writer(kind: Kind) -> Callable[[Order], tuple[Product, Manifest]]:
    from wingspan.environments.bundles.kinds import writers

    return writers.WRITERS[kind]


def _deliver(bundle: Bundle, directory: Path) -> Bundle:
    """Put a bundle and its companions into `directory`, by hard links where that is possible."""
    directory = directory.resolve() if ".." in directory.parts else directory.absolute()
    beside = bundle.path.with_name(f"{bundle.path.name}.sha256")
    with no_room(directory), contextlib.ExitStack() as undo:
        if not directory.is_dir():
            trust.make_folder(str(directory))
        known = is_known(bundle.path, bundle.sha256)
        thin = [layer.path for layer in bundle.layers]
        thin += [path.with_name(f"{path.name}.sha256") for path in thin]
        for path in (*bundle.sources, *thin, beside, bundle.path):
            target = directory / path.name
            if target.exists() and path.exists() and target.samefile(path):
                continue
            remove_abandoned(directory, path.name)
            part = directory / f".{path.name}.{os.getpid()}.part"
            try:
                try:
                    os.link(path, part)
                except OSError:
                    trust.copy_file(str(path), str(part))
                if not target.exists():
                    undo.callback(target.unlink, missing_ok=True)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
        undo.pop_all()
    if known and bundle.path.samefile(directory / bundle.path.name):
        note_checked(bundle.path, bundle.sha256)  # a new link changes the inode's time
    return attrs.evolve(
        bundle,
        path=directory / bundle.path.name,
        sources=tuple(directory / source.name for source in bundle.sources),
        layers=tuple(attrs.evolve(one, path=directory / one.path.name) for one in bundle.layers),
    )
