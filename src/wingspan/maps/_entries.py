"""Entries of the options `custom`, `submit` and `sbatch`: their names and values, for all components or for
each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from wingspan.errors import SettingsError, UnknownOption

__all__ = [
    "ENTRIES",
    "RESERVED",
    "entry_of",
    "entry_value",
    "merged_entries",
    "names_of_each",
    "read_entries",
    "spelled",
    "with_entries",
]

_ATTRIBUTE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: Submit commands and attributes that Wingspan sets itself. Everything else is its user's to say, also what
#: later versions of HTCondor have: so this is a list of what is refused. What a site may say of its users'
#: jobs is a list of what is allowed (`wingspan.pools.profiles`).
RESERVED = frozenset(
    """
    arguments error environment executable getenv initialdir input jobbatchname leave_in_queue log
    max_materialize output queue should_transfer_files stderr stdout stream_error
    stream_output submit_event_notes transfer_executable transfer_input_files transfer_output_files
    transfer_output_remaps universe wantioproxy when_to_transfer_output on_exit_remove batch_name
    wingspanmap
    """.split()
)


#: Job attributes that HTCondor or Wingspan sets (HTCondor manual, "Job ClassAd Attributes"), in lower case.
RESERVED_ATTRIBUTES = frozenset(
    "args arguments clusterid cmd completiondate currenthosts env environment err exitcode exitsignal globaljobid holdreason "
    "holdreasoncode in iwd jobbatchname jobstatus jobuniverse lastholdreason numjobstarts onexitremove out owner procid qdate "
    "requestcpus requestdisk requestgpus requestmemory requirements shouldtransferfiles transferinput transferoutput user userlog "
    "whentotransferoutput".split()
)


#: What one component, or all of them, may be given.
_Values = Any


def read_entries(
    option: str, given: Any, known: Sequence[str], *, is_for_each: Callable[[Any], bool]
) -> tuple[dict[str, Any], dict[str, _Values]]:
    """The entries of an option: those that are the same for all components, and those with a value for each.

    The latter are named as `entry_of` reads it: ``custom.Project``.

    Args:
        option: One of `ENTRIES`.
        given: As its user wrote it.
        known: Names of all options.
        is_for_each: Tells a value for each component from one for all.

    Raises:
        SettingsError: A name or a value cannot be used.
        UnknownOption: Wingspan sets it itself.

    >>> read_entries("custom", {"+A": 1, "B": [1, 2]}, (), is_for_each=lambda value: isinstance(value, list))
    ({'A': 1}, {'custom.B': (1, 2)})
    """
    if not isinstance(given, Mapping):
        raise SettingsError(
            f"{option} is a {type(given).__name__}", hint=f"write {option}={_EXAMPLES[option]}"
        )
    same: dict[str, Any] = {}
    each: dict[str, _Values] = {}
    for written, value in given.items():
        name = f"{option}.{_NAMES[option](written, known)}"
        if not is_for_each(value):
            same[entry_of(name)[1]] = entry_value(name, value)
        elif callable(value):
            each[name] = value
        else:
            each[name] = tuple(
                entry_value(name, one, f"{name}[{number}]") for number, one in enumerate(value)
            )
    return same, each


def entry_of(name: str) -> tuple[str, str]:
    """Option and entry that a name means; the entry is empty where it is the name of a whole option.

    >>> entry_of("custom.Project"), entry_of("time")
    (('custom', 'Project'), ('time', ''))
    """
    option, _, entry = name.partition(".")
    return option, entry


def entry_value(name: str, value: Any, what: str | None = None) -> Any:
    """A value of an entry for one component, checked; None: the component does not have it.

    Args:
        name: As `entry_of` reads it.
        value: As its user wrote it.
        what: What an error calls it.

    Raises:
        SettingsError: It cannot be used.
    """
    if hasattr(value, "item") and not isinstance(value, str | bytes):
        value = value.item()  # NumPy's numbers
    return None if value is None and what is not None else _VALUES[entry_of(name)[0]](what or name, value)


def spelled(name: str, value: str) -> str:
    """How a person writes that an option, or an entry, is `value`.

    >>> spelled("time", "…"), spelled("custom.Project", "…")
    ('time=…', "custom={'Project': …}")
    """
    option, entry = entry_of(name)
    return f"{option}={{{entry!r}: {value}}}" if entry else f"{option}={value}"


def names_of_each(option: str, each: Iterable[str]) -> list[str]:
    """Which entries of an option have a value for each component."""
    return [entry for one in each for of, entry in [entry_of(one)] if of == option and entry]


def with_entries(needs: Mapping[str, Any], same: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Needs of a component whose entries are gathered in their options, together with those that all have.

    >>> with_entries({"time": 60, "custom.A": 1, "custom.B": None}, {"custom": {"C": 2}})
    {'time': 60, 'custom': {'C': 2, 'A': 1}}
    """
    gathered: dict[str, Any] = {}
    for name, value in needs.items():
        option, entry = entry_of(name)
        if not entry:
            gathered[name] = value
            continue
        entries = gathered.setdefault(option, dict(same[option]))
        if value is not None:
            entries[entry] = value
    return gathered


def merged_entries(
    same: dict[str, Any],
    each: Mapping[str, _Values],
    later_same: Mapping[str, Any],
    later_each: Mapping[str, _Values],
) -> dict[str, _Values]:
    """What a layer has for each component, and a later layer does not replace, whatever the case of letters.

    What `same` says of an entry that the later layer has for each component is taken out of it.
    """
    said = {f"{option}.{name}".lower() for option in ENTRIES for name in later_same.get(option, ())}
    by_each = {name.lower() for name in later_each}
    for option in ENTRIES:
        if option in same:
            same[option] = {
                name: value
                for name, value in same[option].items()
                if f"{option}.{name}".lower() not in by_each
            }
    return {
        name: values
        for name, values in each.items()
        if not entry_of(name)[1] or name.lower() not in said | by_each
    }


# -- attributes of jobs ----------------------------------------------------------------------------------


def _attribute(given: Any, options: Sequence[str]) -> str:
    name = re.sub(r"^(\+|MY\.)", "", str(given), flags=re.IGNORECASE)
    if not _ATTRIBUTE.fullmatch(name):
        raise SettingsError(
            f"custom attribute {given!r}: this is no name of a ClassAd attribute",
            hint="letters, digits and underscores, beginning with a letter",
        )
    if name.lower() in RESERVED or name.lower() in RESERVED_ATTRIBUTES:
        raise _reserved_attribute(given, name, options)
    return name


def _attribute_value(what: str, value: Any) -> Any:
    given = what.partition(".")[2]
    if not isinstance(value, bool | int | float | str):
        raise SettingsError(
            f"custom attribute {given!r} has a value of type {type(value).__name__}",
            hint="a ClassAd attribute is True or False, a number or a string",
        )
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"':
        raise SettingsError(
            f"custom attribute {given!r} is quoted twice: {value}",
            hint=f"write {value[1:-1]!r}; Wingspan puts the quotes that ClassAds want",
        )
    if isinstance(value, str) and ((value and not value.isprintable()) or value.endswith("\\")):
        raise SettingsError(
            f"custom attribute {given!r} is {value!r}",
            hint="a string in a submit description is one line, and does not end in a backslash",
        )
    return value


def _reserved_attribute(given: str, name: str, options: Sequence[str]) -> UnknownOption:
    import difflib

    near = difflib.get_close_matches(
        re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower(), options, n=1, cutoff=0.7
    )
    hint = f"there is an option for it: {near[0]}" if near else "leave it out"
    return UnknownOption(f"the attribute {given!r} is set by HTCondor or Wingspan itself", hint=hint)


# -- submit commands -------------------------------------------------------------------------------------


def _command(name: Any, options: Sequence[str]) -> str:
    low = str(name).lower()
    if low in RESERVED:
        raise UnknownOption(f"the submit command {name!r} is set by Wingspan itself", hint="leave it out")
    if low in options:
        raise UnknownOption(
            f"the submit command {name!r} is an option of its own", hint=f"write Options({low}=…)"
        )
    return str(name)


def _command_value(what: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()  # as HTCondor writes it
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str) or "\n" in value:
        raise SettingsError(
            f"the submit command {what.partition('.')[2]!r} must be one line of text",
            hint="write it as in a submit file",
        )
    return value


# -- options of sbatch -----------------------------------------------------------------------------------

#: Options of sbatch that Wingspan sets (sbatch(1)), and its own option that does the same, if there is one.
_SET_BY_US = {
    "mem": "request_memory",
    "cpus-per-task": "request_cpus",
    "gpus": "request_gpus",
    "gpus-per-node": "request_gpus",
    "time": "time",
    "mail-type": "notification",
    "mail-user": "notify_user",
    **dict.fromkeys(
        "array chdir cluster clusters comment dependency error export export-file get-user-env help ignore-pbs input "
        "job-name nodes no-requeue ntasks open-mode output parsable quiet requeue test-only uid gid usage verbose version wait "
        "wrap".split(),
        "",
    ),
}
_LONG_OPTION = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def _sbatch_option(given: Any, options: Sequence[str]) -> str:
    name = str(given).removeprefix("--").replace("_", "-").lower()
    if not _LONG_OPTION.fullmatch(name) or len(name) < 2:
        raise SettingsError(
            f"sbatch option {given!r}: this is no long name of an option",
            hint='as in the manual of sbatch, without --: sbatch={"account": "physics"}',
        )
    if name in _SET_BY_US:
        own = _SET_BY_US[name]
        raise UnknownOption(
            f"the option {name!r} of sbatch is set by Wingspan itself",
            hint=f"write Options({own}=…)" if own else "leave it out",
        )
    return name


def _sbatch_value(what: str, value: Any) -> str | bool:
    """Text; or True for an option without a value, False for none."""
    if isinstance(value, bool):
        return value
    text = str(value) if isinstance(value, int | float) else value
    if not isinstance(text, str) or not text or not text.isprintable():
        raise SettingsError(
            f"the option {what.partition('.')[2]!r} of sbatch is {value!r}",
            hint="it is one line of text, a number, or True where the option has no value",
        )
    return text


#: Options that hold entries, and how these are written.
_EXAMPLES = {
    "custom": '{"WantGPULab": True}',
    "submit": '{"accounting_group": "physics"}',
    "sbatch": '{"account": "physics"}',
}
ENTRIES = tuple(_EXAMPLES)
_NAMES: dict[str, Callable[[Any, Sequence[str]], str]] = {
    "custom": _attribute,
    "submit": _command,
    "sbatch": _sbatch_option,
}
_VALUES: dict[str, Callable[[str, Any], Any]] = {
    "custom": _attribute_value,
    "submit": _command_value,
    "sbatch": _sbatch_value,
}
