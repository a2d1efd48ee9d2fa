"""What squeue says in columns, for Slurm before 21.08 and where it was built without JSON.

The columns have fixed widths that we choose, so nothing in them can be taken for an end of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["FORMAT", "lacks_json", "read_columns"]

#: Names of squeue's ``--Format`` (since 19.05), width in bytes, and the name in its JSON.
_COLUMNS = (
    ("arrayjobid", 16, "array_job_id"),
    ("arraytaskid", 16, "array_task_id"),
    ("state", 24, "job_state"),
    ("reason", 64, "state_reason"),
    ("exit_code", 16, "exit_code"),
    ("restartcnt", 16, "restart_cnt"),
    ("nodelist", 128, "nodes"),
    ("comment", 128, "comment"),
    ("workdir", 2048, "current_working_directory"),
)
FORMAT = ",".join(f"{name}:{width}" for name, width, _ in _COLUMNS)
_NUMBERS = frozenset({"array_job_id", "array_task_id", "restart_cnt", "exit_code"})


def lacks_json(complaint: str) -> bool:
    """What squeue says where it does not know ``--json``, or cannot write it.

    >>> lacks_json("squeue: unrecognized option '--json'"), lacks_json("Unable to contact slurm controller")
    (True, False)
    """
    said = complaint.lower()
    return ("option" in said and "json" in said) or "serializer" in said or "data_parser" in said


def read_columns(text: str) -> Mapping[str, Any]:
    """What squeue prints in the columns of `FORMAT`, as its JSON has it.

    >>> row = "7".ljust(16) + "2".ljust(16) + "FAILED".ljust(24) + "None".ljust(64) + "3:0".ljust(16) + "1"
    >>> read_columns(row)["jobs"][0]["array_task_id"], read_columns(row)["jobs"][0]["exit_code"]
    (2, 768)
    """
    return {"jobs": list(_rows(text))}


def _rows(text: str) -> Iterator[dict[str, Any]]:
    # Only the end of a line is one: other characters at which Python would part lines may stand in a comment.
    for line in text.split("\n"):
        if not line.strip():
            continue
        row: dict[str, Any] = {}
        data, place = line.encode("utf-8", "surrogateescape"), 0
        for _, width, name in _COLUMNS:
            cell = data[place : place + width].decode("utf-8", "replace").strip()
            place += width
            row[name] = _number(cell) if name in _NUMBERS else "" if cell == "(null)" else cell
        yield row


def _number(cell: str) -> int | None:
    """A number; an exit code may be written ``3:0``, with the signal behind it.

    >>> _number("768"), _number("3:0"), _number("0:9"), _number("N/A")
    (768, 768, 9, None)
    """
    code, colon, signal = cell.partition(":")
    if colon and code.isdigit() and signal.isdigit():
        return (int(code) << 8) | int(signal)
    return int(cell) if cell.isdigit() else None
