"""``wingspan store ls | prune``: what is published, and what of it nothing needs any more."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from wingspan.cli._main import Group
from wingspan.cli._terminal import echo

if TYPE_CHECKING:
    from wingspan.stores import StoredObject

__all__ = ["store"]


@click.group(cls=Group)
def store() -> None:
    """Where bundles are published, under names that say their content.

    STORE is a folder, /staging/<letter>/<user>, s3://bucket/prefix, https://server/folder (WebDAV),
    osdf:///namespace/folder (to read), or the NAME of a [store.NAME] in config.toml.
    """


@store.command("ls")
@click.argument("location", metavar="[STORE]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ls(location: str | None, as_json: bool) -> int:
    """List the objects of a store; without STORE, of all configured ones.

    A store that cannot be read is told on standard error, and the others are listed; the exit code is then 1.
    """
    from wingspan.cli._main import print_error
    from wingspan.cli._table import print_table, size
    from wingspan.errors import SettingsError
    from wingspan.settings import load_settings
    from wingspan.stores import StoreError, configured_stores, open_store

    settings = load_settings()
    locations = [location] if location else sorted(configured_stores(settings))
    if not locations:
        raise SettingsError(
            "no store is configured",
            hint="name one (wingspan store ls FOLDER), or add a [store.NAME] with its url to "
            f"{settings.config_file}",
        )
    found, failed = [], []
    for where in locations:
        try:
            found += [(where, each) for each in open_store(where, settings).objects()]
        except (StoreError, SettingsError) as error:
            failed.append(error)
    for trouble in failed:
        print_error(trouble)
    code = max((trouble.exit_code for trouble in failed), default=0)
    if location is not None and failed:
        return code
    if as_json:
        echo(json.dumps([_facts(where, each) for where, each in found], indent=2))
        return code
    print_table(
        ["NAME", "SIZE", "LAST USED", "FOR JOBS"],
        [
            (
                str(each.name) + ("" if each.digest or each.name.kind == "value" else " (incomplete)"),
                size(each.size),
                each.last_used.strftime("%Y-%m-%d %H:%M") if each.last_used else "?",
                each.job_url,
            )
            for _, each in found
        ],
        right=["SIZE"],
        whole=["NAME", "SIZE", "LAST USED"],
        cut=["FOR JOBS"],
        drop=["LAST USED"],
    )
    return code


def _facts(where: str, each: StoredObject) -> dict[str, Any]:
    """An object of the store `where`, for programs."""
    return {
        "store": where,
        "name": str(each.name),
        "size": each.size,
        "digest": each.digest,
        "complete": each.digest is not None,
        "last_used": each.last_used.isoformat() if each.last_used else None,
        "url": each.url,
        "job_url": each.job_url,
    }


@store.command("prune")
@click.argument("location", metavar="STORE")
@click.option(
    "--older-than",
    metavar="DAYS",
    type=click.FloatRange(min=0),
    default=7.0,
    show_default=True,
    help="Keep what was published or found again within this many days.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Tell what would be removed, and leave it.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; needs --yes or --dry-run.")
def prune(location: str, older_than: float, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove what nothing needs any more, and the remains of uploads that died.

    It keeps what the maps and runs of this access point name, whatever its age, and what queued jobs name,
    also jobs of submit files that you have written. It does not see other access points that share the
    store: --older-than is for them.
    """
    from wingspan.cli._table import size
    from wingspan.pools.queued_bundles import queued_digests
    from wingspan.settings import load_settings
    from wingspan.stores import PruneReport, kept_digests, open_store
    from wingspan.stores import prune as prune_store

    if as_json and not (yes or dry_run):
        raise click.UsageError("--json asks nothing: add --yes or --dry-run")
    settings = load_settings()
    opened = open_store(location, settings)

    def run(*, dry: bool) -> PruneReport:
        return prune_store(
            opened,
            lambda: kept_digests(settings) | queued_digests(),
            older_than=timedelta(days=older_than),
            dry_run=dry,
        )

    report = run(dry=dry_run or not yes)
    if not as_json:
        for each in report.removed:
            echo(f"{each.name}  {size(each.size)}")
        for leftover in report.leftovers:
            echo(f"{leftover.name}  {size(leftover.size)}  (an upload that died)")
    if not dry_run and not yes and (report.removed or report.leftovers):
        if not sys.stdin.isatty():
            raise click.UsageError("removing these needs --yes where nobody can be asked")
        click.confirm(f"Remove these ({size(report.freed)}) from {opened.url}?", abort=True)
        report = run(dry=False)
    if as_json:
        echo(
            json.dumps(
                {
                    "removed": [str(each.name) for each in report.removed],
                    "needed": [str(each.name) for each in report.needed],
                    "recent": [str(each.name) for each in report.recent],
                    "leftovers": [each.name for each in report.leftovers],
                    "bytes": report.freed,
                    "dry_run": report.dry_run,
                },
                indent=2,
            )
        )
        return
    verb = "Would remove" if report.dry_run and dry_run else "Removed"
    echo(
        f"{verb} {len(report.removed) + len(report.leftovers)} ({size(report.freed)}); kept "
        f"{len(report.needed)} that are needed and {len(report.recent)} used within {older_than:g} days."
    )
