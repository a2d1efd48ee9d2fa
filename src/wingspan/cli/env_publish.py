"""``wingspan env publish``: bundles into a store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wingspan.cli._terminal import echo

if TYPE_CHECKING:
    from wingspan.stores import Placement, StoredObject

__all__ = ["publish", "push"]


@click.command("publish")
@click.argument("files", metavar="BUNDLE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--to", "location", metavar="STORE", help="Where to: see wingspan store --help.  [default: the only one]"
)
@click.option("--name", help="What it is called before the hash.  [default: the file's name]")
@click.option("--kind", help="Suffix.  [default: the file's]")
@click.option("--no-verify", is_flag=True, help="Do not read back what the store holds.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def publish(
    files: tuple[Path, ...],
    *,
    location: str | None,
    name: str | None,
    kind: str | None,
    no_verify: bool,
    as_json: bool,
) -> None:
    """Put bundles into a store as <name>-<first 8 of the SHA-256>.<suffix>.

    What is there already is checked and left; nothing is ever overwritten. Prints the address for jobs.
    """
    from wingspan.cli._progress import progress
    from wingspan.delivery.publishing import publish_bundle
    from wingspan.environments.bundles.opening import detect_kind
    from wingspan.errors import SettingsError, WingspanError
    from wingspan.settings import load_settings
    from wingspan.stores import configured_stores, open_store, place

    settings = load_settings()
    if location is None:
        names = sorted(configured_stores(settings))
        if len(names) != 1:
            raise SettingsError(
                "which store?" if names else "no store is configured",
                hint=f"say it: --to {' or --to '.join(names)}"
                if names
                else "say where (--to FOLDER, --to /staging/<letter>/<user>), or add a [store.NAME] with its url to "
                f"{settings.config_file}",
            )
        location = names[0]
    if name is not None and len(files) > 1:
        raise click.UsageError("--name is for one bundle")
    opened = open_store(location, settings)
    for file in files:
        detect_kind(file)  # what is no bundle is told before anything is published
    answers, trouble = [], None
    with progress() as told:
        for file in files:
            try:
                done = publish_bundle(opened, file, name=name, kind=kind, verify=not no_verify, progress=told)
                placed = place(done.size, local=file.absolute(), store=opened, published=done)
            except WingspanError as error:
                trouble = error  # after the addresses of those before it
                break
            answers.append((done, placed))
    _show(answers, as_json)
    if trouble is not None:
        raise trouble


def _show(answers: Sequence[tuple[StoredObject, Placement]], as_json: bool) -> None:
    from wingspan.cli._table import size

    if as_json:
        echo(
            json.dumps(
                [
                    {
                        "name": str(done.name),
                        "size": done.size,
                        "digest": done.digest,
                        "url": done.url,
                        "job_url": done.job_url,
                        "uploaded": done.uploaded,
                        "route": placed.route.value,
                        "transfer_input_files": placed.source,
                        "requirements": placed.requirements,
                        "warning": placed.warning,
                    }
                    for done, placed in answers
                ],
                indent=2,
            )
        )
        return
    for done, placed in answers:
        echo(f"{done.job_url}")
        told_what = "published" if done.uploaded else "was there already"
        echo(f"  {told_what}: {size(done.size)}, sha256 {done.digest}", err=True)
        echo(f"  in a submit file: transfer_input_files = {placed.source}  ({placed.reason})", err=True)
        if placed.requirements:
            echo(f"                    requirements = {placed.requirements}", err=True)
        if placed.warning:
            echo(f"  {placed.warning}", err=True)


@click.command("push")
@click.argument("file", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.argument("reference", metavar="REPOSITORY[:TAG]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def push(file: Path, reference: str, *, as_json: bool) -> None:
    """Send an oci bundle to a container registry, by skopeo or podman.

    What the registry has already is not sent: layers of other images with the same packages, too. Without a
    TAG, the first digits of the image's digest are one. Prints the name by which the image is pulled.
    """
    from wingspan.environments.bundles import BundleError, verify_bundle
    from wingspan.environments.bundles.opening import detect_kind
    from wingspan.environments.bundles.registry import push_archive

    if detect_kind(file) != "oci":
        raise BundleError(
            f"{file} is no oci bundle, and registries take no others",
            hint="wingspan env bundle --kind oci makes one",
        )
    verify_bundle(file)
    pushed = push_archive(file, reference)
    echo(json.dumps({"name": pushed}, indent=2) if as_json else pushed)
