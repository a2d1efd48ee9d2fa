"""``wingspan env bundle | unpack | verify | enter``: files that carry a locked environment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wingspan.cli._complete import POOL
from wingspan.cli._terminal import echo
from wingspan.cli.env_lock import _selection

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from wingspan.environments.bundles import Bundle

__all__ = ["bundle", "enter", "unpack", "verify"]

_KINDS = ("squashfs", "pack", "sif", "oci", "install")
_quiet = click.option("-q", "--quiet", is_flag=True, help="No progress.")


def _describe(made: Bundle) -> None:
    from wingspan.cli._table import size

    echo(str(made.path))
    python = f", Python {made.python}" if made.python else ""
    echo(f"  {made.kind}, {size(made.size)}{python}, sha256 {made.sha256}", err=True)
    for source in made.sources:
        echo(f"  {source}", err=True)
    for layer in made.layers:
        echo(f"  {layer.path}", err=True)
        echo(f"    code of {layer.what} ({size(layer.size)}), which goes on top: env enter --layer", err=True)


@click.command("bundle")
@_selection
@click.option(
    "-k",
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(_KINDS),
    help="Once or more.  [default: squashfs]",
)
@click.option("-x", "--executable", is_flag=True, help="A pack that unpacks itself (.sh).")
@click.option(
    "--base",
    type=click.Path(path_type=Path, exists=True),
    help="Root file system under a sif or oci: a folder or tar.  [default: a small Debian]",
)
@click.option(
    "--inject",
    multiple=True,
    metavar="WHEEL",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A wheel of your own that goes into it as well. Once or more.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    show_default="here",
    help="Folder for the bundle.",
)
@click.option("--on-pool", is_flag=True, help="Build in a job, as sites want it of their access points.")
@click.option("--to", "store", metavar="STORE", help="A store that the build job puts it into.")
@click.option("--pool", type=POOL, help="Where that job runs.  [default: chosen; see wingspan doctor]")
@_quiet
def bundle(
    *,
    manifest: Path,
    environment: str,
    platform: str | None,
    gpus: bool,
    frozen: bool,
    as_json: bool,
    kinds: tuple[str, ...],
    executable: bool,
    base: Path | None,
    inject: tuple[Path, ...],
    output: Path,
    on_pool: bool,
    store: str | None,
    pool: str | None,
    quiet: bool,
) -> None:
    """Make one file of a locked environment.

    \b
    squashfs  an image that workers mount: starts in a blink
    pack      the packages, in pixi-pack's format
    sif       an Apptainer image, and its .def
    oci       a Docker/OCI archive, and its Dockerfile
    install   a small script that installs from the lock on the worker

    Every package is checked against the lock. The name says the content:
    NAME-HASH.squashfs, .tar or .sh (a pack), .sif, .oci.tar, NAME-install-HASH.sh;
    HASH is the first 8 digits of its SHA-256.
    """
    from wingspan.cli._progress import progress
    from wingspan.delivery.bundle_source import build_here
    from wingspan.environments import derive_needs, load_environment
    from wingspan.environments.bundles.manifest import check_kind
    from wingspan.environments.inject import inject_wheels

    wanted = dict.fromkeys(kinds or ("pack" if executable else "squashfs",))
    _refuse_contradictions(wanted, executable, base, inject, pool or store, on_pool)
    env = load_environment(manifest, environment, platform, gpus=gpus, check_lock=not frozen)
    env = inject_wheels(env, inject)
    made = []
    with progress(quiet=quiet) as told:
        for kind in wanted if on_pool else ():
            from wingspan.runs._build import build_in_job
            from wingspan.settings import load_settings
            from wingspan.stores import open_store

            to = open_store(store, load_settings()) if store else None
            unpacking = executable and kind == "pack"
            made.append(
                build_in_job(
                    env, kind, pool=pool, directory=output, executable=unpacking, to=to, progress=told
                )
            )
        for kind in () if on_pool else wanted:
            made.append(
                build_here(
                    env,
                    check_kind(kind),
                    directory=output,
                    executable=executable and kind == "pack",
                    base=base if kind in ("sif", "oci") else None,
                    progress=told,
                )
            )
    for warning in derive_needs(env, gpus=True, measured=0).warnings if gpus else ():
        echo(f"Warning: {warning}", err=True)
    if as_json:
        echo(json.dumps([one.to_json() for one in made], indent=2))
        return
    for one in made:
        _describe(one)


def _refuse_contradictions(
    wanted: Collection[str],
    executable: bool,
    base: Path | None,
    inject: Sequence[Path],
    of_a_job: str | None,
    on_pool: bool,
) -> None:
    """See that the options of ``bundle`` fit together; `of_a_job` is one that only build jobs have.

    Raises:
        click.UsageError: They do not.
    """
    if executable and "pack" not in wanted:
        raise click.UsageError(f"--executable is for packs, not for {', '.join(wanted)}: add --kind pack")
    if base is not None and not {"sif", "oci"} & set(wanted):
        raise click.UsageError(f"--base is for sif and oci, not for {', '.join(wanted)}")
    if of_a_job and not on_pool:
        raise click.UsageError(
            "--pool and --to are about a build job: add --on-pool (or: wingspan env publish)"
        )
    if on_pool and (base is not None or inject):
        raise click.UsageError(
            "--base and --inject name files of this machine: build here, without --on-pool"
        )


@click.command("unpack")
@click.argument("file", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output-directory",
    "output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    show_default="here",
    help="Folder that gets the environment and activate.sh.",
)
@click.option(
    "-e", "--env-name", default="env", show_default=True, help="Name of the environment's folder in it."
)
@_quiet
def unpack(file: Path, *, output: Path, env_name: str, quiet: bool) -> None:
    """Unpack a bundle into a folder, checked first; then: . activate.sh

    Takes pixi-pack's archives too, also the self-extracting ones (in a few MB of memory).
    """
    from wingspan.cli._progress import progress
    from wingspan.environments.bundles import unpack_bundle

    with progress(quiet=quiet) as told:
        prefix = unpack_bundle(file, output, environment=env_name, progress=told)
    echo(str(prefix))
    echo(f"  use it: . {prefix.parent / 'activate.sh'}", err=True)


@click.command("verify")
@click.argument("files", metavar="BUNDLE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_quiet
def verify(files: tuple[Path, ...], *, as_json: bool, quiet: bool) -> int:
    """Check every byte of bundles against their digests; in packs, every package too.

    All are checked; the exit code is 1 if one of them is not good. A .sha256 file stands for its bundle, so
    that a pattern such as out/* works.
    """
    from wingspan.cli._main import print_error
    from wingspan.cli._progress import progress
    from wingspan.environments.bundles import BundleError, verify_bundle

    files = tuple(dict.fromkeys(path.with_suffix("") if path.suffix == ".sha256" else path for path in files))
    checked: list[Bundle | BundleError] = []
    with progress(quiet=quiet or as_json) as told:
        for file in files:
            try:
                checked.append(verify_bundle(file, progress=told))
            except BundleError as error:
                checked.append(error)
    code = max((one.exit_code for one in checked if isinstance(one, BundleError)), default=0)
    if as_json:
        document = [
            {"path": str(file.absolute()), "good": False, "error": one.message, "hint": one.hint}
            if isinstance(one, BundleError)
            else {**one.to_json(), "good": True}
            for file, one in zip(files, checked, strict=True)
        ]
        echo(json.dumps(document, indent=2))
        return code
    for one in checked:
        if isinstance(one, BundleError):
            print_error(one)
        else:
            echo(f"{one.path}: good")
    return code


@click.command("enter", context_settings={"allow_interspersed_args": False})
@click.argument("file", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.argument("command", metavar="[COMMAND]...", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--method",
    type=click.Choice(["kernel", "setuid", "fuse", "apptainer", "podman", "docker", "unpack"]),
    help="How a squashfs or an oci is made available.  [default: the first that works]",
)
@click.option(
    "--layer",
    "layers",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A thin layer with code of the workspace (NAME-code-HASH.tar.gz), put on top. Once or more.",
)
@click.option("--keep-environment", is_flag=True, help="Keep this shell's variables; jobs do not have them.")
def enter(
    file: Path,
    command: tuple[str, ...],
    *,
    method: str | None,
    layers: tuple[Path, ...],
    keep_environment: bool,
) -> None:
    """A shell (or COMMAND) inside a bundle, as a worker would see it.

    Options stand before BUNDLE: what follows it is the command's. The same starter does it that starts jobs;
    what it did is the first line it prints.
    """
    import attrs

    from wingspan.environments.bundles import open_bundle, starter_command
    from wingspan.environments.bundles.own.layer import open_layer

    command = command[1:] if command[:1] == ("--",) else command
    if command and command[0].startswith("-"):
        raise click.UsageError(f"{command[0]} is no command: options of enter stand before BUNDLE")
    shell = [os.environ.get("SHELL") or "/bin/sh"]
    if shell[0].endswith("bash"):
        shell += ["--norc", "--noprofile"]
    bundle = attrs.evolve(open_bundle(file), layers=tuple(map(open_layer, layers)))
    start = starter_command(bundle, command or shell, shared=True, method=method)
    kept = ("HOME", "USER", "LOGNAME", "TERM", "LANG", "PATH", "TMPDIR", "TZ")
    variables = dict(os.environ) if keep_environment else {k: os.environ[k] for k in kept if k in os.environ}
    if not command:
        variables["PS1"] = f"({file.name}) \\w\\$ "
    os.execve("/bin/sh", ["/bin/sh", str(start.executable), *start.arguments], variables)  # noqa: S606
