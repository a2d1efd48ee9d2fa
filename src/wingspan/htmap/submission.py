"""From submit commands to `wingspan.Options`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

import wingspan
from wingspan.errors import SettingsError, UnknownOption
from wingspan.htmap.exceptions import ReservedOptionKeyword
from wingspan.htmap.options import MapOptions, attribute_value
from wingspan.htmap.transfer import transform_input_path

__all__ = ["wingspan_options"]

#: How HTMap's components had it: each in a folder of its own, as its job.
_AS_HTMAP = {"own_folder": True}
#: Options whose value is a whole number.
_NUMBERS = frozenset("request_cpus request_gpus max_idle workers block_size retries".split())
#: Options of Wingspan's that are no submit commands of that name.
_NOT_OURS = frozenset("custom submit environment input_files component_input_files output_remaps".split())
#: Submit commands, and the options of Wingspan's that do the same.
_SAME = {"max_materialize": "max_idle", "max_retries": "retries"}


def wingspan_options(options: MapOptions, environment: Any = None) -> wingspan.Options:
    """The same options in Wingspan's words.

    Raises:
        ReservedOptionKeyword: Wingspan sets one of them itself.
        SettingsError: A value cannot be used.
    """
    try:
        return wingspan.Options(environment=environment, **_fields(options.data), **_files(options))
    except UnknownOption as error:
        raise ReservedOptionKeyword(error.message, hint=error.hint) from error


def _files(options: MapOptions) -> dict[str, Any]:
    """Files of all components, files of each, and where their outputs go."""
    found: dict[str, Any] = {"input_files": options.fixed_input_files}
    if options.output_remaps:
        found["output_remaps"] = _destinations(options.output_remaps)
    if options.input_files is not None:
        found["component_input_files"] = options.input_files
    return found


def _destinations(remaps: Any) -> Any:
    """Whole paths and URLs by name, for all components or for each."""
    if isinstance(remaps, list):
        return [_destinations(one) for one in remaps]
    return {name: transform_input_path(target) for name, target in remaps.items()}


def _fields(given: Mapping[str, Any]) -> dict[str, Any]:
    ours = {field.name for field in attrs.fields(wingspan.Options)} - _NOT_OURS
    fields: dict[str, Any] = dict(_AS_HTMAP)
    custom: dict[str, Any] = {}
    submit: dict[str, str] = {}
    for name, value in given.items():
        option = _SAME.get(name, name)
        if name.startswith("+"):
            plain = attribute_value(value)
            if plain is None:
                submit[name] = str(value)
            else:
                custom[name[1:]] = plain
        elif option in _NUMBERS:
            fields[option] = _whole(name, value)
        elif option == "request_disk":
            fields[option] = _disk(value)
        elif option == "own_folder":
            fields[option] = _text(value).lower() == "true"
        elif option in ours:
            fields[option] = value
        else:
            submit[name] = _text(value)
    return {**fields, "custom": custom, "submit": submit}


def _whole(name: str, value: Any) -> int:
    """A whole number, given as one or as text."""
    try:
        if isinstance(value, bool) or (isinstance(value, float) and value != int(value)):
            raise ValueError
        return int(value)
    except (TypeError, ValueError):
        raise SettingsError(f"{name}={value!r} is no whole number", hint=f"for example {name}=2") from None


def _disk(value: Any) -> Any:
    """A plain number is kB here, as in submit files."""
    plain = str(value).strip()
    return f"{plain}KB" if plain.replace(".", "", 1).isdigit() else value


def _text(value: Any) -> str:
    """A value as it stands in a submit file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
