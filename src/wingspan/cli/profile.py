"""``wingspan profile list | show | add | rm``: the rules of sites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import click

from wingspan.cli._complete import PROFILE
from wingspan.cli._main import Group
from wingspan.cli._terminal import echo, echo_json, style

if TYPE_CHECKING:
    from wingspan.pools.profiles import Profile, Room

__all__ = ["facts", "in_force", "profile", "tell"]


@click.group(cls=Group)
def profile() -> None:
    """The rules of sites: what a site wants of jobs, allows, and refuses.

    On a site's access point its profile is in force by itself. A site may hand one out at an address, with a
    digest: https://…/site.toml#sha256=….
    """


@profile.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List the profiles: the shipped ones, those that were added, your own."""
    from wingspan.cli._table import print_table
    from wingspan.pools.profiles import find_profile, profiles

    known, here = profiles(), find_profile().name
    if as_json:
        echo_json([_short(each, here) for each in known.values()])
        return
    print_table(
        ["", "NAME", "TITLE", "FROM"],
        [("→" if name == here else "", name, each.title, each.origin) for name, each in known.items()],
        whole=["", "NAME"],
        cut=["TITLE", "FROM"],
        drop=[],
        right=[],
    )


def _short(each: Profile, here: str) -> dict[str, Any]:
    return {
        "name": each.name,
        "title": each.title,
        "origin": each.origin,
        "hosts": list(each.hosts),
        "in_force": each.name == here,
    }


@profile.command("show")
@click.argument("name", required=False, type=PROFILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str | None, as_json: bool) -> None:
    """What a profile changes, and what room its quotas leave; without NAME, the one that is in force here.

    NAME may be an address with a digest.
    """
    from wingspan.pools.profiles import chosen_profile, rooms

    site = chosen_profile(name)
    left = list(rooms(site))
    if as_json:
        echo_json(facts(site, left))
    else:
        echo(style(f"{site.name}: {site.title}", bold=True))
        tell(site, left)


def in_force() -> tuple[Profile, list[Room]] | None:
    """The profile that maps get here, and the room that its quotas leave. Nothing is fetched for it.

    None: the profiles cannot be read.
    """
    from wingspan.errors import SettingsError
    from wingspan.pools.profiles import chosen_profile, needs_network, rooms
    from wingspan.settings import load_settings

    settings = load_settings()
    named = settings.options.get("profile")
    try:
        site = chosen_profile(None if named is None or needs_network(str(named), settings) else str(named))
    except SettingsError:  # told elsewhere
        return None
    return site, list(rooms(site))


def facts(site: Profile, left: list[Room]) -> dict[str, Any]:
    """A profile for programs."""
    from wingspan.pools.profiles import effects

    return {
        "name": site.name,
        "title": site.title,
        "origin": site.origin,
        "source": list(site.source),
        "date": site.date,
        "page": site.page,
        "is_access_point": site.is_access_point(),
        "effects": list(effects(site)),
        "rooms": [attrs.asdict(room) for room in left],
    }


def tell(site: Profile, left: list[Room], indent: str = "  ") -> None:
    """Print what a profile changes, where it is from, and what room is left."""
    from wingspan.pools.profiles import effects

    for effect in effects(site):
        echo(f"{indent}· {effect}")
    for room in left:
        echo(f"{indent}· {room.name} ({room.folder}): {room.text()}")
    read = f", read {site.date}" if site.date else ""
    pages = f"; it follows {site.source[0]}{read}" if site.source else ""
    echo(f"{indent}It is {_of(site.origin)}{pages}")


def _of(origin: str) -> str:
    return "shipped with Wingspan" if origin == "shipped" else f"from {origin}"


@profile.command("add")
@click.argument("url", metavar="URL")
@click.option("--digest", metavar="SHA256", help="What the SHA-256 of the file has to be.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; needs --yes or a digest.")
def add(url: str, digest: str | None, yes: bool, as_json: bool) -> None:
    """Fetch a profile that a site hands out, and have it in force on the machines that it names.

    Without a digest what it changes is shown, and whether to take it is asked. It is kept: nothing is fetched
    again later. URL begins with https://, and may end with #sha256=….
    """
    from wingspan.pools.profiles import fetch_profile
    from wingspan.settings import load_settings

    found = fetch_profile(url, load_settings(), digest=digest)
    is_known = bool(digest or "#" in url)
    if as_json and not (yes or is_known):
        raise click.UsageError("--json asks nothing: give --digest, or --yes")
    if not as_json:
        echo(style(f"{found.profile.name}: {found.profile.title}", bold=True))
        tell(found.profile, [])
        machines = ", ".join(found.profile.hosts)
        echo(f"  In force by itself on {machines}" if machines else "  In force only where it is named")
        echo(f"  sha256={found.sha256}")
    if not (yes or is_known) and not click.confirm(
        "Its rules become part of what you submit. Take it?", default=False
    ):
        echo("Nothing was kept.", err=True)
        raise click.exceptions.Exit(1)
    found.keep()
    if as_json:
        echo_json({**facts(found.profile, []), "sha256": found.sha256})
    else:
        echo(f"Added. For one map or run: --profile {found.address}")


@profile.command("rm")
@click.argument("name", type=PROFILE)
def rm(name: str) -> None:
    """Have a profile that was added no more in force. Maps and runs that name its address keep it."""
    from wingspan.errors import SettingsError
    from wingspan.pools.profiles import remove_profile
    from wingspan.settings import load_settings

    if not remove_profile(name, load_settings()):
        raise SettingsError(
            f"no profile {name!r} was added", hint="wingspan profile list shows where each is from"
        )
    echo(f"{name} was removed.")
