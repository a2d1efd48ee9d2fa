"""`MapOptions`: the options of a map, as submit files have them."""

from __future__ import annotations

import re
from collections import UserDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from wingspan.errors import SettingsError
from wingspan.htmap.exceptions import MisalignedInputData, ReservedOptionKeyword
from wingspan.htmap.transfer import AnyPath, TransferPath
from wingspan.jobs import all_of

__all__ = ["MapOptions"]

_RESERVED = frozenset(
    """
    arguments component error executable htmap initialdir ishtmapjob jobbatchname log output
    should_transfer_files stderr stdout submit_event_notes transfer_executable transfer_input_files
    transfer_output_files transfer_output_remaps universe when_to_transfer_output
    """.split()
)


def _key(name: str) -> str:
    """A name as it is kept: in lower case, attributes of the job with a plus sign before them.

    >>> _key("Request_Memory"), _key("MY.WantGPULab"), _key("+WantGPULab")
    ('request_memory', '+wantgpulab', '+wantgpulab')
    """
    key = name.lower().strip()
    return f"+{key.removeprefix('my.')}" if key.startswith("my.") else key


def _is_one(value: Any) -> bool:
    return isinstance(value, str | bytes | int | float | Path | TransferPath) or not isinstance(
        value, Iterable
    )


class MapOptions(UserDict[str, Any]):
    """The options of a map. A map call leaves them as they are: they can be used again.

    Args:
        fixed_input_files: A path or several, of files that each component gets.
        input_files: For each component a path, or several.
        output_remaps: Where output files go, `TransferPath` by name; one table, or one for each component.
        custom_options: Attributes of the jobs, ``{"WantGPULab": "true"}``. The plus sign may be left out.
        **kwargs: Further submit commands. A value is fixed; a list of values has one for each component.

    Raises:
        ReservedOptionKeyword: Wingspan sets this one itself.

    >>> options = MapOptions(request_memory="1GB", request_cpus=2, custom_options={"WantGPULab": "true"})
    >>> options["request_cpus"], options["+WantGPULab"]
    (2, 'true')
    """

    #: Names that cannot be given, in lower case; any case is refused.
    RESERVED_KEYS = _RESERVED

    def __init__(
        self,
        *,
        fixed_input_files: AnyPath | Iterable[AnyPath] | None = None,
        input_files: Iterable[AnyPath | Iterable[AnyPath]] | None = None,
        output_remaps: Mapping[str, TransferPath] | Iterable[Mapping[str, TransferPath]] | None = None,
        custom_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.update(kwargs)
        for name, value in (custom_options or {}).items():
            bare = _key(name).removeprefix("+")
            self[f"+{bare}"] = value
        self.fixed_input_files: list[AnyPath] = _paths(() if fixed_input_files is None else fixed_input_files)
        self.input_files: list[Any] | None = (
            None if input_files is None else [_of_one(one) for one in input_files]
        )
        if output_remaps is None or isinstance(output_remaps, Mapping):
            self.output_remaps: Any = None if output_remaps is None else dict(output_remaps)
        else:
            self.output_remaps = [dict(one) for one in output_remaps]

    # -- a dict whose names have one form --------------------------------------------------------------------

    def __setitem__(self, name: str, value: Any) -> None:
        key = _key(name)
        if key.removeprefix("+") in _RESERVED:
            raise ReservedOptionKeyword(f"the option {name!r} is set by Wingspan itself", hint="leave it out")
        self.data[key] = value if _is_one(value) else list(value)

    def __getitem__(self, name: str) -> Any:
        return self.data[_key(name)]

    def __delitem__(self, name: str) -> None:
        del self.data[_key(name)]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _key(name) in self.data

    def __eq__(self, other: object) -> bool:
        if isinstance(other, MapOptions):
            return self._all() == other._all()
        return isinstance(other, Mapping) and self._all() == (dict(other), [], None, None)

    __hash__ = None  # type: ignore[assignment]

    def _all(self) -> tuple[Any, ...]:
        return self.data, self.fixed_input_files, self.input_files, self.output_remaps

    def __repr__(self) -> str:
        given = [f"{name}={value!r}" for name, value in self.data.items()]
        for name in ("fixed_input_files", "input_files", "output_remaps"):
            if getattr(self, name):
                given.append(f"{name}={getattr(self, name)!r}")
        return f"MapOptions({', '.join(given)})"

    def copy(self) -> MapOptions:
        """A copy that shares nothing that can be changed."""
        return MapOptions.merge(self)

    # -- layers ----------------------------------------------------------------------------------------------

    @classmethod
    def merge(cls, *others: MapOptions) -> MapOptions:
        """New options of several: the leftmost that has an option counts.

        `fixed_input_files` of all come together, and every `requirements` must hold.

        >>> first, second = MapOptions(request_cpus=2, requirements="A"), MapOptions(requirements="B || C")
        >>> MapOptions.merge(first, second)["requirements"]
        '(A) && (B || C)'
        """
        made = cls()
        wanted = [other.data["requirements"] for other in others if other.data.get("requirements")]
        for other in reversed(others):
            made.data.update(
                {name: value if _is_one(value) else list(value) for name, value in other.data.items()}
            )
            if other.input_files is not None:
                made.input_files = [_of_one(one) for one in other.input_files]
            if other.output_remaps is not None:
                made.output_remaps = (
                    dict(other.output_remaps)
                    if isinstance(other.output_remaps, Mapping)
                    else [dict(one) for one in other.output_remaps]
                )
        made.fixed_input_files = [path for other in others for path in other.fixed_input_files]
        if wanted:
            made.data["requirements"] = _all_hold(wanted)
        return made

    # -- what Wingspan takes ---------------------------------------------------------------------------------

    def check_count(self, count: int) -> None:
        """See that there are as many values as components where each component has its own.

        Raises:
            MisalignedInputData: There are not.
        """
        layers = dict(self.data)
        if self.input_files is not None:
            layers["input_files"] = self.input_files
        if isinstance(self.output_remaps, list):
            layers["output_remaps"] = self.output_remaps
        for name, value in layers.items():
            if isinstance(value, list) and len(value) != count:
                raise MisalignedInputData(
                    f"the option {name} has {len(value)} values, and the map {count} components",
                    hint="give one value, or one for each component",
                )

    def of_component(self, component: int) -> dict[str, Any]:
        """The submit commands of one component, without files."""
        return {
            name: value[component] if isinstance(value, list) else value for name, value in self.data.items()
        }

    @property
    def has_values_of_components(self) -> bool:
        """Components have values, files or remaps of their own."""
        return (
            self.input_files is not None
            or isinstance(self.output_remaps, list)
            or any(isinstance(value, list) for value in self.data.values())
        )


def _of_one(given: Any) -> Any:
    """The files of one component: a path, a list of paths, or None."""
    return given if given is None or isinstance(given, str | Path | TransferPath) else list(given)


def _paths(given: AnyPath | Iterable[AnyPath]) -> list[AnyPath]:
    """One path, or several, as a list."""
    return [given] if isinstance(given, str | Path | TransferPath) else list(given)


def _all_hold(wanted: list[Any]) -> Any:
    """One expression of several; a list of them where one has a value for each component."""
    lengths = {len(one) for one in wanted if isinstance(one, list)}
    if not lengths:
        return all_of(*map(str, wanted))
    if len(lengths) > 1:
        raise MisalignedInputData(
            f"requirements has {' and '.join(map(str, sorted(lengths)))} values in different places",
            hint="give one value, or one for each component",
        )
    (count,) = lengths
    return [
        all_of(*(str(one[number]) if isinstance(one, list) else str(one) for one in wanted))
        for number in range(count)
    ]


#: A literal of a submit file: `true`, a number, text in quotes, or a bare word.
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?")
_WORD = re.compile(r"[A-Za-z_][\w.-]*")


def attribute_value(value: Any) -> Any:
    """An attribute's value as Wingspan takes it: Python's, for whatever is one in a submit file.

    A bare word is a text, as if it stood in quotes. None where it is an expression.

    >>> [attribute_value(text) for text in ("true", '"short"', "short", "3", 4, "1.5")]
    [True, 'short', 'short', 3, 4, 1.5]
    >>> attribute_value("RequestCpus * 2") is None
    True
    """
    if not isinstance(value, str):
        if isinstance(value, bool | int | float):
            return value
        raise SettingsError(
            f"an attribute has the value {value!r}", hint="give a text, a number, True or False"
        )
    text = value.strip()
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if _NUMBER.fullmatch(text):
        return float(text) if any(mark in text for mark in ".eE") else int(text)
    if len(text) > 1 and text[0] == text[-1] == '"' and '"' not in text[1:-1]:
        return text[1:-1]
    return text if _WORD.fullmatch(text) else None
