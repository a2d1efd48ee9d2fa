"""``wingspan env list | show | needs | diff``: reading locks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from wingspan._words import counted
from wingspan.cli._terminal import echo

if TYPE_CHECKING:
    from wingspan.environments import LockedEnvironment, LockedPackage

_F = TypeVar("_F", bound=Callable[..., Any])

_manifest = click.option(
    "-m",
    "--manifest",
    type=click.Path(path_type=Path),
    default=Path(),
    help="A pixi.toml, a pyproject.toml, a pixi.lock, or their folder.  [default: here or above]",
)
_environment = click.option(
    "-e",
    "--environment",
    "--env",
    "environment",
    default="default",
    show_default=True,
    help="Environment name.",
)
_platform = click.option(
    "-p",
    "--platform",
    help="Name of a platform in the manifest or the lock.  [default: the Linux one of this architecture]",
)
_gpus = click.option(
    "--gpus", is_flag=True, help="GPUs are wanted: of several platforms take the one with CUDA."
)
_frozen = click.option("--frozen", is_flag=True, help="Do not compare the lock with the manifest.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _selection(command: _F) -> _F:
    for option in (_json, _frozen, _gpus, _platform, _environment, _manifest):
        command = option(command)
    return command


def _print_json(document: Any) -> None:
    echo(json.dumps(document, indent=2, ensure_ascii=False))


def _heading(one: LockedEnvironment) -> None:
    echo(f"{one.workspace}: environment {one.name!r} on {one.platform}")


@click.command("list")
@_manifest
@click.option("-e", "--environment", "--env", "environment", help="Only this environment.")
@click.option("-p", "--platform", help="Only this platform.")
@_json
def list_(manifest: Path, environment: str | None, platform: str | None, as_json: bool) -> None:
    """List the environments of a workspace, and the platforms each is locked for."""
    from wingspan.cli._table import print_table, size
    from wingspan.environments import Workspace, summarize

    workspace = Workspace.open(manifest)
    rows = summarize(workspace, environment=environment, platform=platform)
    if as_json:
        _print_json(
            {
                "workspace": workspace.name,
                "manifest": None if workspace.manifest_path is None else str(workspace.manifest_path),
                "lock": str(workspace.lock_path),
                "lock_version": workspace.lock.version,
                "environments": [row.to_json() for row in rows],
            }
        )
        return
    echo(f"{workspace.name}: {workspace.lock_path} (lock version {workspace.lock.version})")
    outdated = any(row.mismatches for row in rows)
    print_table(
        ("environment", "platform", "conda", "PyPI", "download", "python", "CUDA", "identity")
        + (("",) if outdated else ()),
        [
            (
                row.environment.name,
                str(row.environment.platform),
                str(len(row.environment.conda_packages)),
                str(len(row.environment.pypi_packages)),
                size(row.environment.download_bytes),
                row.environment.python or "-",
                row.cuda or "-",
                row.environment.digest[:8],
            )
            + (("lock outdated" if row.mismatches else "",) if outdated else ())
            for row in rows
        ],
        right=("conda", "PyPI", "download"),
        whole=("environment", "download"),
        drop=("conda", "PyPI", "identity", "CUDA", "python"),
    )


@click.command()
@_selection
def show(
    *, manifest: Path, environment: str, platform: str | None, gpus: bool, frozen: bool, as_json: bool
) -> None:
    """Show the packages of one environment: versions, builds, sizes, and what keeps one from travelling."""
    from wingspan.cli._table import print_table, size
    from wingspan.environments import load_environment

    one = load_environment(manifest, environment, platform, gpus=gpus, check_lock=not frozen)
    problems = one.problems()
    if as_json:
        _print_json(
            {
                "workspace": one.workspace,
                "environment": one.name,
                "platform": _platform_json(one),
                "lock": str(one.lock_path),
                "digest": one.digest,
                "python": one.python,
                "channels": list(one.channels),
                "download_bytes": one.download_bytes,
                "packages": [_package_json(p) for p in one.packages],
                "problems": [
                    {
                        "package": p.package.name,
                        "severity": p.severity,
                        "what": p.what,
                        "remedy": p.remedy,
                    }
                    for p in problems
                ],
            }
        )
        return
    _heading(one)
    print_table(
        ("package", "version", "build", "kind", "size"),
        [
            (p.name, p.version, p.build, p.form if p.form != "conda" else p.kind, size(p.size))
            for p in one.packages
        ],
        right=("size",),
    )
    echo(
        f"{counted(len(one.packages), 'package')}, {size(one.download_bytes)} to download; identity {one.digest[:16]}"
    )
    for problem in problems:
        echo(f"{problem.severity}: {problem}")


def _platform_json(one: LockedEnvironment) -> dict[str, Any]:
    return {
        "name": one.platform.label,
        "lock_name": one.platform.name,
        "subdir": one.platform.subdir,
        "virtual_packages": list(one.platform.virtual_packages),
    }


def _package_json(package: LockedPackage) -> dict[str, Any]:
    return {
        "name": package.name,
        "version": package.version,
        "build": package.build,
        "kind": package.kind,
        "form": package.form,
        "subdir": package.subdir,
        "location": package.location,
        "size": package.size,
        "sha256": package.sha256,
        "md5": package.md5,
    }


@click.command()
@_selection
@click.option(
    "--strict-ptx",
    is_flag=True,
    help="Ask for the toolkit's minor version of the CUDA runtime: for code that compiles PTX at run time.",
)
def needs(
    *,
    manifest: Path,
    environment: str,
    platform: str | None,
    gpus: bool,
    frozen: bool,
    as_json: bool,
    strict_ptx: bool,
) -> None:
    """Show what a machine must have to run one environment.

    What is unknown is said to be; warnings go to standard error unless --json is given.
    """
    from wingspan.cli._table import print_table, size
    from wingspan.environments import derive_needs, load_environment
    from wingspan.environments.capabilities import driver_floor

    one = load_environment(manifest, environment, platform, gpus=gpus, check_lock=not frozen)
    found = derive_needs(one, strict_ptx=strict_ptx, gpus=gpus)
    if as_json:
        _print_json(found.to_json())
        return
    _heading(one)
    runtime = found.cuda_runtime_min
    driver = driver_floor(runtime) if runtime else None
    print_table(
        ("need", "value"),
        [
            ("platform", found.platform),
            ("processor", f">= {found.microarch_min}" if found.microarch_min else "-"),
            ("glibc", f">= {found.glibc_min}" if found.glibc_min else "-"),
            (
                "CUDA runtime of the driver",
                f">= {runtime}" + (f" (NVIDIA driver {driver} or later)" if driver else "")
                if runtime
                else "-",
            ),
            ("GPU compute capability", _range(found.gpu_capability_min, found.gpu_capability_max)),
            ("download", size(found.download_bytes)),
            ("installed", size(found.installed_bytes)),
            ("python", found.python or "-"),
        ],
    )
    for warning in found.warnings:
        echo(f"Warning: {warning}", err=True)


def _range(low: str | None, high: str | None) -> str:
    parts = [f">= {low}"] if low else []
    return ", ".join([*parts, f"<= {high}"] if high else parts) or "-"


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path), required=False)
@_manifest
@_environment
@_platform
@_gpus
@_json
@click.option("--exit-code", is_flag=True, help="Exit with 1 if they differ.")
def diff(
    *,
    old: Path,
    new: Path | None,
    manifest: Path,
    environment: str,
    platform: str | None,
    gpus: bool,
    as_json: bool,
    exit_code: bool,
) -> int:
    """Show what changed from the lock OLD to the lock NEW.

    Manifests and folders will do; without NEW it is the workspace that --manifest names.
    """
    from wingspan.cli._table import print_table, size
    from wingspan.environments import diff_environments, load_environment

    before, after = (
        load_environment(path, environment, platform, gpus=gpus, check_lock=False)
        for path in (old, manifest if new is None else new)
    )
    found = diff_environments(before, after)
    code = 1 if exit_code and not found.same else 0
    if as_json:
        _print_json(found.to_json())
        return code
    _heading(after)
    if found.same:
        echo(f"The same {counted(len(after.packages), 'package')}, byte by byte.")
        return code

    def brief(package: LockedPackage) -> str:
        return " ".join(part for part in (package.version, package.build) if part)

    rows = [("-", p.name, brief(p), "") for p in found.removed]
    rows += [("+", p.name, "", brief(p)) for p in found.added]
    rows += [("~", a.name, brief(a), brief(b)) for a, b in found.changed]
    print_table(("", "package", "old", "new"), sorted(rows, key=lambda row: row[1]))
    for name, (a, b) in found.needs.items():
        echo(f"needs: {name} {a or '-'} → {b or '-'}")
    sign = "+" if found.download_bytes >= 0 else ""
    echo(
        f"{len(found.added)} added, {len(found.removed)} removed, {len(found.changed)} changed; "
        f"download {sign}{size(found.download_bytes)}"
    )
    return code
