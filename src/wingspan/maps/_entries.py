"""Entries of the options `custom` and `submit`: which names and values they may have."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from wingspan.errors import SettingsError, UnknownOption
from wingspan.jobs import ClassAdValue

__all__ = ["RESERVED", "RESERVED_ATTRIBUTES", "check_custom", "check_submit"]

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


def check_custom(custom: Mapping[str, ClassAdValue], options: Sequence[str]) -> dict[str, ClassAdValue]:
    if not isinstance(custom, Mapping):
        raise SettingsError(f"custom is a {type(custom).__name__}", hint='write custom={"WantGPULab": True}')
    checked: dict[str, ClassAdValue] = {}
    for given, value in custom.items():
        name = re.sub(r"^(\+|MY\.)", "", given, flags=re.IGNORECASE)
        if not _ATTRIBUTE.fullmatch(name):
            raise SettingsError(
                f"custom attribute {given!r}: this is no name of a ClassAd attribute",
                hint="letters, digits and underscores, beginning with a letter",
            )
        if name.lower() in RESERVED or name.lower() in RESERVED_ATTRIBUTES:
            raise _reserved_attribute(given, name, options)
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
        checked[name] = value
    return checked


def _reserved_attribute(given: str, name: str, options: Sequence[str]) -> UnknownOption:
    import difflib

    near = difflib.get_close_matches(
        re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower(), options, n=1, cutoff=0.7
    )
    hint = f"there is an option for it: {near[0]}" if near else "leave it out"
    return UnknownOption(f"the attribute {given!r} is set by HTCondor or Wingspan itself", hint=hint)


def check_submit(submit: Mapping[str, Any], options: Sequence[str]) -> dict[str, str]:
    if not isinstance(submit, Mapping):
        raise SettingsError(
            f"submit is a {type(submit).__name__}", hint='write submit={"accounting_group": "physics"}'
        )
    for name, value in submit.items():
        if name.lower() in RESERVED:
            raise UnknownOption(f"the submit command {name!r} is set by Wingspan itself", hint="leave it out")
        if name.lower() in options:
            raise UnknownOption(
                f"the submit command {name!r} is an option of its own",
                hint=f"write Options({name.lower()}=…)",
            )
        if isinstance(value, bool | int | float):
            continue  # written as HTCondor has it, below
        if not isinstance(value, str) or "\n" in value:
            raise SettingsError(
                f"the submit command {name!r} must be one line of text", hint="write it as in a submit file"
            )
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in submit.items()
    }
