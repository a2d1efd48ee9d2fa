"""Images with JupyterLab, HTCondor and Wingspan around a locked environment, built without a container
engine.

An image is the environment's `oci` bundle with three layers on top: HTCondor, unless the lock has it;
Wingspan, the very one that builds; and what makes a container of it that people can be given: an init, an
entry point, an ordinary user, a health check.
"""

from __future__ import annotations

import importlib.resources
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from wingspan._version import __version__
from wingspan.environments.bundles.registry import last_words
from wingspan.environments.bundles.storage import cache_folder, hash_file, interprocess_lock, temporary_folder
from wingspan.errors import SettingsError, WingspanError
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.worker import trust

if TYPE_CHECKING:
    from wingspan.environments.lock import LockedEnvironment

__all__ = [
    "FLAVOURS",
    "Image",
    "ImageError",
    "build_image",
    "check_push",
    "has_lock",
    "push_image",
    "write_recipe",
]

#: Where the recipes are: a folder each, with a ``pixi.toml``, and a ``pixi.lock`` where there is one
#: (tools/lock_flavours.py).
_RECIPES = importlib.resources.files("wingspan.notebooks") / "recipes"
FLAVOURS = tuple(sorted(entry.name for entry in _RECIPES.iterdir() if entry.joinpath("pixi.toml").is_file()))
_PREFIX = "opt/wingspan/environment"
_HTCONDOR = "opt/wingspan/htcondor"
_PORT = 8888
#: What Wingspan and its notebooks import.
_NEEDED = ("jupyterlab", "ipykernel", "attrs", "click", "cloudpickle", "platformdirs", "rich", "tomlkit")
_USERS = """\
root:x:0:0:root:/root:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
wingspan:x:1000:0:Wingspan:/home/wingspan:/bin/bash
"""
_GROUP = "root:x:0:\nnogroup:x:65534:\nwingspan:x:1000:\n"
_SCRIPT = """\
#!/{prefix}/bin/python
import sys
from wingspan.cli import main
sys.exit(main())
"""


class ImageError(WingspanError):
    """An image that cannot be built, or pushed."""


@attrs.frozen(kw_only=True)
class Image:
    """An image archive.

    Attributes:
        path: The file: an OCI layout in a tar, which ``docker load``, ``podman load`` and ``skopeo`` read; or
            a SIF.
        name: ``name:tag`` under which engines load it.
        digest: Of the image's manifest (OCI), or of the file (SIF): the same lock, Wingspan and HTCondor give
            the same.
        size: Bytes.
    """

    path: Path
    name: str
    digest: str
    size: int


def has_lock(flavour: str) -> bool:
    """Whether a recipe comes with its lock, so that its image can be built at once."""
    return (_RECIPES / flavour / "pixi.lock").is_file()


def write_recipe(flavour: str, folder: Path) -> list[Path]:
    """Write a recipe's files into `folder`, to be changed, and locked again with ``pixi lock``.

    Raises:
        SettingsError: There is no such flavour, or the folder has such a file.
    """
    if flavour not in FLAVOURS:
        raise SettingsError(f"there is no flavour {flavour!r}", hint=f"flavours are: {', '.join(FLAVOURS)}")
    written = []
    for entry in sorted((_RECIPES / flavour).iterdir(), key=lambda one: one.name):
        target = folder / entry.name
        if target.exists():
            raise SettingsError(f"{target} is there already", hint="choose another folder")
        written.append((target, entry.read_bytes()))
    folder.mkdir(parents=True, exist_ok=True)
    for target, content in written:
        trust.write_whole(str(target), content, mode=0o644)
    return [target for target, _ in written]


def build_image(
    recipe: str | Path,
    environment: str = "default",
    *,
    folder: Path = Path(),
    kind: str = "oci",
    check_lock: bool = True,
    progress: Progress = NO_PROGRESS,
) -> Image:
    """Build an image of a flavour, or of a workspace of your own.

    Args:
        recipe: A flavour's name, or a folder with ``pixi.toml`` and ``pixi.lock``.
        environment: Which environment of it.
        folder: Where the image goes.
        kind: ``"oci"``, or ``"sif"``, for which Apptainer must be here.
        check_lock: Refuse a lock that does not satisfy its manifest.
        progress: Hears how far it is.

    Raises:
        ImageError: The environment lacks what a notebook needs, or there is no lock.
        EnvironmentError_, BundleError: It cannot be read, or built.
    """
    from wingspan.environments import load_environment
    from wingspan.environments.bundles import build_bundle
    from wingspan.environments.bundles.kinds.derived import derive_image
    from wingspan.environments.bundles.kinds.oci import image_name
    from wingspan.stores.names import ContentName

    if kind == "sif":
        _apptainer()  # before the image is built for nothing
    place = _workspace(recipe)
    env = load_environment(place, environment, check_lock=check_lock)
    _check(env, place)
    folder.mkdir(parents=True, exist_ok=True)  # where it cannot be written to, that is told now
    bundle = build_bundle(env, "oci", progress=progress)
    assert bundle.manifest is not None
    title = image_name(bundle.manifest).partition(":")[0]
    with temporary_folder(cache_folder("images")) as work:
        # PyPI's package of that name holds the bindings only.
        trees = [] if _has(env, "htcondor", kind="conda") else [("HTCondor", _htcondor(progress))]
        if not _has(env, "wingspan"):
            trees.append((f"Wingspan {__version__}", _wingspan(work / "wingspan", _site_packages(env))))
        trees.append(("entry point, user, health check", _service(work / "service")))
        made = work / "image"
        digest = derive_image(bundle.path, made, trees, _settings(), title)
        name = f"{title}:{digest.removeprefix('sha256:')[:8]}"
        suffix = "oci.tar"
        if kind == "sif":
            made, digest, suffix = _as_sif(made, work / "sif"), "", "sif"
        file_digest = hash_file(made)
        target = folder / str(ContentName.of(title, file_digest, suffix))
        trust.put_whole(str(made), str(target))
    return Image(path=target, name=name, digest=digest or f"sha256:{file_digest}", size=target.stat().st_size)


def check_push(reference: str) -> None:
    """See whether an image can be sent to a registry, as far as that can be told before it is built.

    Raises:
        SettingsError: The reference has no tag, or names no repository.
        ImageError: There is neither skopeo nor podman.
    """
    from wingspan.environments.bundles.registry import split_reference

    _check_tag(reference, __version__)
    split_reference(reference)
    if not (shutil.which("skopeo") or shutil.which("podman")):
        raise ImageError(
            "neither skopeo nor podman is here, and they send images to registries",
            hint="install one, or leave --push out and send the file from where one is",
        )


def _check_tag(reference: str, example: str) -> None:
    tag = reference.rpartition(":")[2]
    if ":" not in reference or "/" in tag or tag == "latest":
        raise SettingsError(
            f"{reference!r} has no tag that will always name this image",
            hint=f"{reference.removesuffix(':latest')}:{example}",
        )


def push_image(image: Image, reference: str) -> str:
    """Send an image to a registry, with what this machine has: skopeo, or podman.

    Args:
        image: Of `build_image`.
        reference: ``registry.example.org/me/notebook:2026.11``; a tag is required, ``latest`` is refused.

    Returns:
        The name by which the registry has it for good, ``registry.example.org/me/notebook@sha256:…``. The
        digest is the image's own where skopeo sends it; podman packs the layers anew.

    Raises:
        SettingsError: The reference has no tag.
        ImageError: There is neither program, or the registry refuses.
    """
    from wingspan.environments.bundles.errors import RegistryRefused
    from wingspan.environments.bundles.registry import push_archive

    _check_tag(reference, image.digest[7:15])
    try:
        return push_archive(image.path, reference)
    except RegistryRefused as error:
        raise ImageError(error.message, hint=error.hint) from None


def _workspace(recipe: str | Path) -> Path:
    if isinstance(recipe, Path):
        return recipe
    if recipe not in FLAVOURS:
        raise SettingsError(f"there is no flavour {recipe!r}", hint=f"flavours are: {', '.join(FLAVOURS)}")
    if not has_lock(recipe):
        raise ImageError(
            f"the recipe {recipe!r} comes without a lock",
            hint=f"wingspan image recipe {recipe} FOLDER, then pixi lock there, then wingspan image build FOLDER",
        )
    return Path(str(_RECIPES / recipe))


def _has(env: LockedEnvironment, name: str, kind: str | None = None) -> bool:
    from wingspan.environments.lock import normalize

    return any(normalize(one.name) == name and kind in (None, one.kind) for one in env.packages)


def _check(env: LockedEnvironment, place: Path) -> None:
    missing = [name for name in _NEEDED if not _has(env, name)]
    bindings = _has(env, "htcondor") or _has(env, "python-htcondor")
    if env.python is None:
        missing.insert(0, "python")
    if not bindings:
        missing.append("htcondor")
    if missing:
        raise ImageError(
            f"the environment {env.name!r} of {place} lacks what a notebook with a pool needs: {', '.join(missing)}",
            hint=f"pixi add {' '.join(missing)}",
        )


def _settings() -> dict[str, object]:
    programs = [
        f"/{_PREFIX}/bin",
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ]
    programs += [f"/{_HTCONDOR}/root/usr/bin", f"/{_HTCONDOR}/root/usr/sbin"]
    return {
        "User": "1000:0",
        "WorkingDir": "/home/wingspan/work",
        "Env": {
            "PATH": ":".join(programs),
            "HOME": "/home/wingspan",
            "LANG": "C.UTF-8",
            "SHELL": "/bin/bash",
        },
        "Entrypoint": ["/opt/wingspan/image/tini", "-s", "-g", "--", "/opt/wingspan/image/entry.sh"],
        # Within the container it listens everywhere: who may reach it is decided where the port is published.
        "Cmd": ["wingspan", "notebook", "--no-browser", f"--port={_PORT}", "--", "--ServerApp.ip=0.0.0.0"],
        "ExposedPorts": {f"{_PORT}/tcp": {}},
        "StopSignal": "SIGTERM",
        # Docker's word, in nanoseconds; other engines are told by their own options.
        "Healthcheck": {
            "Test": ["CMD", "/opt/wingspan/image/healthy.sh"],
            "Interval": 30_000_000_000,
            "Timeout": 10_000_000_000,
            "StartPeriod": 60_000_000_000,
            "Retries": 3,
        },
    }


def _write(root: Path, name: str, content: bytes, mode: int = 0o644) -> None:
    path = root / name
    for folder in reversed(path.relative_to(root).parents):
        (root / folder).mkdir(exist_ok=True)
        (root / folder).chmod(0o755)
    path.write_bytes(content)
    path.chmod(mode)


def _site_packages(env: LockedEnvironment) -> str:
    """Where the environment's Python has its packages, below the environment. A free-threaded one says so:
    ``lib/python3.13t/site-packages``.
    """
    python = env.package("python")
    place = getattr(python.record, "python_site_packages_path", None) if python is not None else None
    return str(place or f"lib/python{env.python}/site-packages")


def _wingspan(root: Path, below: str) -> Path:
    """This Wingspan, in the folder `below` the environment, where its Python finds it."""
    import wingspan

    package = Path(wingspan.__file__).parent
    site = f"{_PREFIX}/{below}"
    for path in sorted(package.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            _write(root, f"{site}/wingspan/{path.relative_to(package)}", path.read_bytes(), mode)
    about = f"{site}/wingspan-{__version__}.dist-info"
    _write(
        root, f"{about}/METADATA", f"Metadata-Version: 2.1\nName: wingspan\nVersion: {__version__}\n".encode()
    )
    _write(root, f"{about}/entry_points.txt", b"[console_scripts]\nwingspan = wingspan.cli:main\n")
    _write(root, f"{_PREFIX}/bin/wingspan", _SCRIPT.format(prefix=_PREFIX).encode(), 0o755)
    return root


def _service(root: Path) -> Path:
    """What the container needs beside the environment."""
    from wingspan.environments.bundles.machine import debian

    scripts = importlib.resources.files("wingspan.notebooks") / "image"
    for name in ("entry.sh", "healthy.sh"):
        _write(root, f"opt/wingspan/image/{name}", scripts.joinpath(name).read_bytes(), 0o755)
    kept = cache_folder("images") / "init"
    kept.mkdir(exist_ok=True)
    with temporary_folder(kept) as work:
        try:
            debian.unpack(debian.fetch(["tini", "libnss-wrapper"], kept), work)
        except debian.DebianUnavailable as error:
            raise ImageError(
                f"an image needs tini and libnss-wrapper of Debian: {error}",
                hint="build it on a machine of Debian's family, such as a Debian container",
            ) from None
        _write(root, "opt/wingspan/image/tini", (work / "usr/bin/tini").read_bytes(), 0o755)
        library = next(path for path in sorted(work.rglob("libnss_wrapper.so*")) if not path.is_symlink())
        _write(root, "opt/wingspan/image/libnss_wrapper.so", library.read_bytes())
    # Whatever number a cluster gives the user: its group is 0, which may write to these.
    _write(root, "etc/passwd", _USERS.encode(), 0o664)
    _write(root, "etc/group", _GROUP.encode(), 0o664)
    work_folder = root / "home/wingspan/work"
    work_folder.mkdir(parents=True)
    for folder, mode in ((root / "home", 0o755), (work_folder.parent, 0o775), (work_folder, 0o775)):
        folder.chmod(mode)
    return root


def _htcondor(progress: Progress) -> Path:
    """HTCondor of Debian's suites, bound to the place where it will lie; obtained once."""
    from wingspan.pools.personal import SourceError
    from wingspan.pools.personal.debian import candidates

    kept = cache_folder("images")
    failures = []
    for name, obtain in candidates():
        target = kept / f"htcondor-{name}"
        with interprocess_lock(kept / f"lock-{name}"):
            if target.is_dir():
                return target
            with temporary_folder(kept) as work:
                inside = work / "tree" / _HTCONDOR
                inside.mkdir(parents=True)
                for folder in (work / "tree", *inside.relative_to(work / "tree").parents):
                    (work / "tree" / folder).chmod(0o755)
                inside.chmod(0o755)
                try:
                    obtain(inside, lambda _: Path(f"/{_HTCONDOR}"), progress)
                except SourceError as error:
                    failures.append(f"{name}: {error.message}")
                    continue
                (work / "tree").rename(target)
                return target
    raise ImageError(
        f"the lock has no HTCondor, and Debian's cannot be had ({'; '.join(failures)})",
        hint="pixi add htcondor, which conda-forge has",
    )


def _as_sif(archive: Path, target: Path) -> Path:
    command = [_apptainer(), "build", "--force", str(target), f"docker-archive:{archive}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImageError(
            f"apptainer build failed: {last_words(done.stderr)}",
            hint="wingspan doctor says whether Apptainer works on this machine",
        )
    return target


def _apptainer() -> str:
    program = shutil.which("apptainer")
    if program is None:
        raise ImageError(
            "a sif is made by Apptainer, which is not here", hint="install it, or leave --kind out"
        )
    return program
