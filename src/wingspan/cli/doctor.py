"""``wingspan doctor``: which engine would be used and why, what is here and how to get what is missing."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from wingspan.cli._output import print_json
from wingspan.cli._terminal import echo, style
from wingspan.errors import SettingsError

if TYPE_CHECKING:
    from wingspan.delivery.machines import BundleChoice
    from wingspan.pools import Candidate
    from wingspan.pools.credentials import Credential
    from wingspan.pools.profiles import Profile, Room

__all__ = ["doctor"]


@attrs.frozen(kw_only=True)
class _Part:
    """Something that Wingspan can use.

    Attributes:
        name: What it is called.
        purpose: What it is used for.
        version: Of what is here; None if it is not here.
        where: Path of a program.
        get: How to get it.
    """

    name: str
    purpose: str
    version: str | None
    where: str | None = None
    get: str | None = None


#: name: (command that tells its version, what it is for, how to get it)
_PROGRAMS = {
    "HTCondor": (
        ("condor_version",),
        "a pool, the site's or your own",
        None,  # the lines about the pools say it
    ),
    "Slurm": (("sbatch", "--version"), "jobs on a Slurm cluster", "the cluster's login node has it"),
    "Apptainer": (
        ("apptainer", "--version"),
        "running .sif images",
        "conda install -c conda-forge apptainer, or ask the site",
    ),
    "squashfuse": (
        ("squashfuse", "--version"),
        "mounting squashfs bundles without root",
        "conda install -c conda-forge squashfuse; without it bundles are unpacked",
    ),
    "unsquashfs": (
        ("unsquashfs", "-version"),
        "unpacking squashfs and sif bundles",
        "nothing to do: obtained when it is needed",
    ),
    "podman": (("podman", "--version"), "running OCI images", "apt-get install podman, or ask the site"),
    "Pixi": (("pixi", "--version"), "making environments and their locks", "see https://pixi.sh"),
    "NVIDIA driver": (
        ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"),
        "GPUs of this machine",
        None,
    ),
}
#: distribution: (what it is for, how to get it)
_DISTRIBUTIONS = {
    "htcondor": ("speaking with HTCondor", "pip install htcondor (wheels are for Linux only)"),
    "py-rattler": ("reading locks, building bundles", "pip install 'wingspan[environments]'"),
    "fsspec": ("publishing bundles to S3 and WebDAV", "pip install 'wingspan[stores]'"),
    "pelicanfs": ("reading osdf:// addresses", "pip install 'wingspan[osdf]' (Python 3.11 or newer)"),
}


def _program(name: str) -> _Part:
    command, purpose, get = _PROGRAMS[name]
    where = shutil.which(command[0])
    version = None
    if where is not None:
        try:
            with tempfile.TemporaryDirectory() as folder:
                # Without any configuration neither condor_version nor sbatch --version says anything; sbatch
                # would look for one by DNS.
                slurm = Path(folder) / "slurm.conf"
                slurm.write_text("ClusterName=none\nSlurmctldHost=localhost\n", encoding="ascii")
                done = subprocess.run(
                    [where, *command[1:]],
                    capture_output=True,
                    text=True,
                    timeout=10,
                    check=False,
                    env={"CONDOR_CONFIG": "/dev/null", **os.environ, "SLURM_CONF": str(slurm)},
                )
            said = (done.stdout + done.stderr).strip().splitlines()
            version = next((line.strip("$ ") for line in said if re.search(r"\d\.\d", line)), "is here")
        except (OSError, subprocess.TimeoutExpired) as error:
            version = f"does not run: {error}"
    return _Part(name=name, purpose=purpose, version=version, where=where, get=get)


def _distribution(name: str) -> _Part:
    purpose, get = _DISTRIBUTIONS[name]
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        version = None
    return _Part(name=name, purpose=purpose, version=version, get=get)


def _condor() -> _Part:
    """HTCondor's programs: those on PATH, else those of the personal pool."""
    from wingspan.pools.personal.installation import cached

    part = _program("HTCondor")
    if part.version is None and (found := cached()) is not None:
        part = attrs.evolve(part, version=found.version, where=str(found.prefix))
    return part


def _sshd() -> _Part:
    from wingspan.pools.personal.shells import find_sshd

    where = find_sshd()
    return _Part(
        name="sshd",
        purpose="shells in jobs of the personal pool (wingspan ssh)",
        version=None if where is None else "is here",
        where=where,
        get="apt-get install openssh-server (nothing has to listen), then wingspan pool stop and start",
    )


def _bundle(chosen: Candidate) -> BundleChoice | None:
    """The kind of bundle that an environment gets on the chosen pool."""
    from wingspan.delivery.machines import explain_bundle_kind
    from wingspan.pools import get_pool

    return explain_bundle_kind(get_pool(chosen.kind)) if chosen.usable else None


def _faults() -> tuple[list[SettingsError], bool]:
    """What is wrong in the settings, and whether the configuration file can be read at all."""
    from wingspan.maps._options import default_options
    from wingspan.pools._select import check_named
    from wingspan.pools.profiles import profiles
    from wingspan.settings import load_settings

    try:
        settings = load_settings()
    except SettingsError as error:
        return [error], False
    found = []
    for check in (check_named, default_options, profiles):
        try:
            check(settings)
        except SettingsError as error:
            found.append(error)
    return found, True


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> int:
    """Which engine would be used and why, what is here, what is missing and how to get it.

    Starts and obtains nothing. Exit code 0 when maps can run, 1 when not, or when a setting is wrong.
    """
    from wingspan.settings import ignoring_config_file

    faults, is_readable = _faults()
    with contextlib.nullcontext() if is_readable else ignoring_config_file():
        return _report(faults, as_json)


@attrs.frozen(kw_only=True)
class _Report:
    """What doctor has found."""

    faults: list[SettingsError]
    candidates: tuple[Candidate, ...]
    bundle: BundleChoice | None
    site: tuple[Profile, list[Room]] | None
    parts: list[_Part]
    credentials: list[Credential]
    folders: dict[str, Path]

    @property
    def chosen(self) -> Candidate:
        """The pool of a map that names none."""
        return next(one for one in self.candidates if one.chosen)


def _report(faults: list[SettingsError], as_json: bool) -> int:
    from wingspan.cli.profile import in_force
    from wingspan.pools import explain_choice
    from wingspan.pools.credentials import credentials_here
    from wingspan.settings import load_settings

    settings = load_settings()
    candidates = explain_choice(ignore_named=bool(faults))
    parts = [_condor() if name == "HTCondor" else _program(name) for name in _PROGRAMS]
    report = _Report(
        faults=faults,
        candidates=candidates,
        bundle=_bundle(next(one for one in candidates if one.chosen)),
        site=in_force(),
        parts=[*parts, _sshd(), *(_distribution(name) for name in _DISTRIBUTIONS)],
        credentials=credentials_here(),
        folders={
            "data": settings.data_dir,
            "cache": settings.cache_dir,
            "configuration": settings.config_file,
        },
    )
    if as_json:
        print_json(_facts(report))
    else:
        _tell_choice(report)
        _tell_site(report)
        _tell_parts(report)
    return 0 if report.chosen.usable and not faults else 1


def _facts(report: _Report) -> dict[str, object]:
    """The report for programs."""
    from wingspan._version import __version__
    from wingspan.cli.profile import facts

    return {
        "wingspan": __version__,
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "platform": platform.platform(),
        "chosen": report.chosen.kind,
        "usable": report.chosen.usable,
        "faults": [{"message": fault.message, "hint": fault.hint} for fault in report.faults],
        "bundle": None if report.bundle is None else attrs.asdict(report.bundle),
        "profile": None if report.site is None else facts(*report.site),
        "pools": [attrs.asdict(one) for one in report.candidates],
        "credentials": [
            {**attrs.asdict(one), "expires": one.expires and one.expires.isoformat()}
            for one in report.credentials
        ],
        "parts": [attrs.asdict(one) for one in report.parts],
        "folders": {name: str(path) for name, path in report.folders.items()},
    }


def _tell_choice(report: _Report) -> None:
    """What is wrong in the settings, and where maps run."""
    from wingspan._version import __version__

    echo(f"Wingspan {__version__}, Python {platform.python_version()} ({sys.executable})")
    echo(f"{platform.platform()}\n")
    for fault in report.faults:
        echo(style("✗ ", fg="red") + fault.message)
        if fault.hint:
            echo(f"  {fault.hint}")
    if report.faults:
        echo("Once that is mended:")
    chosen = report.chosen
    verdict = style("A map runs on: ", bold=True) if chosen.usable else style("No map can run on: ", fg="red")
    echo(f"{verdict}{chosen.kind} ({chosen.reason})")
    for one in report.candidates:
        mark = "→" if one.chosen else "·" if one.usable else "✗"
        echo(f"  {mark} {one.kind:<9} {one.reason}")
        if one.hint and (one.chosen or not chosen.usable) and not one.usable:
            echo(f"              {one.hint}")
    if report.bundle is not None:
        echo(f"\nAn environment goes there as {report.bundle.kind}: {report.bundle.reason}")


def _tell_site(report: _Report) -> None:
    """Which profile is in force, what it changes, and the room that is left."""
    from wingspan.cli.profile import tell

    if report.site is not None:
        site, left = report.site
        echo(f"\nThe profile in force: {site.name} ({site.title})")
        tell(site, left)


def _tell_parts(report: _Report) -> None:
    """What is here, what is not, and where things are kept."""
    echo("\nHere:")
    for part in report.parts:
        if part.version is not None:
            echo(f"  {part.name:<14} {part.version}" + (f"  ({part.where})" if part.where else ""))
    missing = [part for part in report.parts if part.version is None and part.get]
    if missing:
        echo("\nNot here, and only needed for:")
    for part in missing:
        echo(f"  {part.name:<14} {part.purpose}: {part.get}")
    if report.credentials:
        echo("\nTo authenticate with:")
    for one in report.credentials:
        echo(f"  {one.kind:<14} {one.text}  ({one.place})")
    echo("\nFolders:")
    for name, path in report.folders.items():
        there = "" if path.exists() else "  (not there yet)"
        echo(f"  {name:<14} {path}{there}")
