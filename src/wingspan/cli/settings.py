"""``wingspan settings`` and ``wingspan set``: what is set, where, and how to change it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from wingspan.cli._output import print_json
from wingspan.cli._terminal import echo
from wingspan.errors import SettingsError

__all__ = ["set_", "settings"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def settings(as_json: bool) -> None:
    """All settings: their values, and where each comes from.

    configure() in Python comes before environment variables, these before the configuration file, and that
    before defaults.
    """
    from wingspan.cli._table import print_table
    from wingspan.settings import load_settings, origins

    found = origins()
    if as_json:
        print_json({name: {"value": value, "from": origin} for name, (value, origin) in found.items()})
        return
    rows = [(name, "" if value is None else str(value), origin) for name, (value, origin) in found.items()]
    print_table(["SETTING", "VALUE", "FROM"], rows, whole=["SETTING"])
    echo(f"the file is {load_settings().config_file}; wingspan set KEY VALUE changes it")


@click.command()
@click.argument("key")
@click.argument("value", required=False)
@click.option("--unset", is_flag=True, help="Take KEY out of the file.")
def set_(key: str, value: str | None, unset: bool) -> None:
    """Set KEY in the configuration file to VALUE: pool, data_dir, options.request_memory, store.NAME.url.

    A VALUE that is a number, true, false or a list is kept as such: wingspan set options.workers 8.
    """
    from wingspan._settings_file import change_setting, read_value
    from wingspan.settings import load_settings

    if (value is None) is not unset:
        raise click.UsageError("give KEY and VALUE, or --unset KEY")
    file = load_settings().config_file
    read = None if value is None else read_value(value)
    try:
        change_setting(key, read, _check)
    except SettingsError as error:
        if not isinstance(read, bool | int | float):
            raise
        try:
            change_setting(key, value, _check)  # a text that looks like a number
        except SettingsError:
            raise error from None
    echo(f"{key} is {'no longer set' if unset else 'set'} in {file}")


def _check(document: Mapping[str, Any]) -> None:
    """See that Wingspan could use what the file is to say."""
    from wingspan.maps._options import Options
    from wingspan.pools import is_kind, pool_kinds

    Options(**document.get("options", {}))
    if "pool" in document and not is_kind(document["pool"]):
        raise SettingsError(
            f"there is no pool {document['pool']!r}",
            hint=f"the pools are {', '.join(pool_kinds())}, ssh://[user@]host, schedd://name; "
            "wingspan set --unset pool lets Wingspan choose",
        )
