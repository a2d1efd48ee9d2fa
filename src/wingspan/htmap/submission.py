"""From submit commands to `wingspan.Options`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

import wingspan
from wingspan.errors import SettingsError, UnknownOption
from wingspan.htmap.exceptions import ReservedOptionKeyword
from wingspan.htmap.options import MapOptions, attribute_value
from wingspan.htmap.transfer import transform_input_path
from wingspan.maps._requests import PER_COMPONENT

__all__ = ["changed_options", "wingspan_options"]

#: How HTMap's components had it: each in a folder of its own, as its job.
_AS_HTMAP = {"own_folder": True}
#: Options of Wingspan's that are no submit commands of that name.
_NOT_OURS = frozenset(
    "custom submit sbatch environment input_files component_input_files output_remaps".split()
)
#: Submit commands, and the options of Wingspan's that do the same.
_SAME = {"max_materialize": "max_idle", "max_retries": "retries"}


def wingspan_options(options: MapOptions, environment: Any = None) -> wingspan.Options:
    """The same options in Wingspan's words.

    Raises:
        ReservedOptionKeyword: Wingspan sets one of them itself.
        SettingsError: A value cannot be used, or cannot differ from component to component.
    """
    more = {} if environment is None else {"environment": environment}
    return _made({**_AS_HTMAP, **more, **_fields(options.data), **_files(options)})


def changed_options(options: MapOptions) -> wingspan.Options:
    """Options for components that are done again: only those that are set.

    Raises:
        ReservedOptionKeyword, SettingsError: As `wingspan_options`.
    """
    return _made({**_fields(options.data), **_files(options)})


def _made(fields: dict[str, Any]) -> wingspan.Options:
    try:
        return wingspan.Options(**fields)
    except UnknownOption as error:
        raise ReservedOptionKeyword(error.message, hint=error.hint) from error


def _files(options: MapOptions) -> dict[str, Any]:
    """Files of all components, files of each, and where their outputs go."""
    found: dict[str, Any] = {}
    if options.fixed_input_files:
        found["input_files"] = options.fixed_input_files
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
    fields: dict[str, Any] = {}
    custom: dict[str, Any] = {}
    submit: dict[str, Any] = {}
    for name, value in given.items():
        option = _SAME.get(name, name)
        if name.startswith("+"):
            plain = (
                [attribute_value(one) for one in value] if isinstance(value, list) else attribute_value(value)
            )
            if plain is None or (isinstance(plain, list) and None in plain):  # it is an expression
                submit[name] = _each(_written, name, value)
            else:
                custom[name[1:]] = plain
        elif option in ours:
            if isinstance(value, list) and option not in PER_COMPONENT:
                raise SettingsError(
                    f"{name} has a value for each component, and is the same for all here",
                    hint="a map for each value, then; requests and submit commands of HTCondor's may differ",
                )
            fields[option] = _each(_READ.get(option), option, value)
        else:
            submit[name] = _each(_written, name, value)
    return {**fields, **({"custom": custom} if custom else {}), **({"submit": submit} if submit else {})}


def _each(read: Callable[[str, Any], Any] | None, name: str, value: Any) -> Any:
    """A value, or a list of them, as `read` has it."""
    if read is None:
        return value
    return [read(name, one) for one in value] if isinstance(value, list) else read(name, value)


def _whole(name: str, value: Any) -> int:
    """A whole number, given as one or as text."""
    try:
        if isinstance(value, bool) or (isinstance(value, float) and value != int(value)):
            raise ValueError
        return int(value)
    except (TypeError, ValueError):
        raise SettingsError(f"{name}={value!r} is no whole number", hint=f"for example {name}=2") from None


def _disk(name: str, value: Any) -> Any:
    """A plain number is kB here, as in submit files."""
    plain = str(value).strip()
    return f"{plain}KB" if plain.replace(".", "", 1).isdigit() else value


def _written(name: str, value: Any) -> str:
    """A value as `_each` reads it: as it stands in a submit file."""
    return _text(value)


def _text(value: Any) -> str:
    """A value as it stands in a submit file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _flag(name: str, value: Any) -> bool:
    """A truth value, given as one or as text."""
    return _text(value).lower() == "true"


#: How values of options are read; others are taken as they are.
_READ: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys("request_cpus request_gpus max_idle workers block_size retries".split(), _whole),
    "request_disk": _disk,
    "own_folder": _flag,
}
