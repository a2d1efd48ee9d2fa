"""What ``run.json`` says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from wingspan.runs._errors import RunError
from wingspan.runs._spec import RunSpec

__all__ = ["RunInfo"]

#: Format of the file. Keys that another Wingspan has added are kept, and not read.
FORMAT = 1


@attrs.frozen(kw_only=True)
class RunInfo:
    """A run, and what is known of how it was made.

    Attributes:
        spec: The run.
        pool: Kind of the pool that it is in.
        python: Version of the Python that made it, such as ``"3.12.1"``; None in files that do not say.
        input_bytes: Size of its inputs; None where there are none.
        created: When it was made, Unix time.
        unknown: Keys of the file that this Wingspan does not know.
    """

    spec: RunSpec
    pool: str
    python: str | None = None
    input_bytes: int | None = None
    created: float
    unknown: Mapping[str, Any] = attrs.field(factory=dict)

    def to_json(self) -> dict[str, Any]:
        """For ``run.json``."""
        known = {
            "pool": self.pool,
            "python": self.python,
            "input_bytes": self.input_bytes,
            "spec": self.spec.to_json(),
            "created": self.created,
        }
        return {
            "format": FORMAT,
            **{key: value for key, value in known.items() if value is not None},
            **self.unknown,
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any], where: object) -> RunInfo:
        """The inverse of `to_json`; `where` is the run's folder.

        Raises:
            RunError: It is of another format.
            KeyError, TypeError, ValueError: A key is missing, or has another type.
        """
        if plain["format"] != FORMAT:
            raise RunError(
                f"the run in {where} has format {plain['format']}, this Wingspan reads {FORMAT}",
                hint="use the Wingspan that made it, or a newer one",
            )
        known = {"format", *(field.name for field in attrs.fields(cls))} - {"unknown"}
        size = plain.get("input_bytes")
        return cls(
            spec=RunSpec.from_json(plain["spec"]),
            pool=str(plain["pool"]),
            python=plain.get("python"),
            input_bytes=None if size is None else int(size),
            created=float(plain["created"]),
            unknown={key: value for key, value in plain.items() if key not in known},
        )
