"""A run as a table: a row for each job, its parameters first."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wingspan.pools.times import times_of_jobs
from wingspan.worker import trust

if TYPE_CHECKING:
    from wingspan.runs._folder import RunFolder
    from wingspan.runs._status import RunStatus

__all__ = ["Tables", "columns", "rows", "write_parameters"]

#: What is known of a job beside its parameters.
_COLUMNS = ("state", "code", "wall", "host", "reason")


class Tables:
    """What a run shows as a table."""

    if TYPE_CHECKING:
        _folder: RunFolder

        def status(self) -> RunStatus:
            """How each job fares now."""

    def to_pandas(self) -> Any:
        """A pandas DataFrame: a row for each job, its parameters of the sweep first, as things are now.

        Then come ``state``, ``code`` (exit code), ``wall`` (s, once it has ended), ``host``, ``reason`` and
        ``outputs`` (the folder that has them); the index is the job's number. A parameter that has one of
        these names keeps it, and the column of ours gets a ``_``.

        Raises:
            WingspanError: pandas is not installed.
        """
        from wingspan._pandas import pandas

        pd = pandas()
        status = self.status()
        table = rows(status, self._folder)
        parameters = list(status.jobs[0].parameters) if status.jobs else []
        names = columns(parameters)
        values = {name: [row[name] for row in table] for name in names[1:]}
        for name in parameters:
            values[name] = _numbers(values[name])
        place = [self._folder.path / f"outputs-{job.number}" for job in status.jobs]
        outputs = [path if path.is_dir() else None for path in place]
        values["outputs_" if "outputs" in parameters else "outputs"] = outputs
        made = pd.DataFrame(values, index=pd.RangeIndex(len(table), name="job"))
        code = names[1 + len(parameters) + _COLUMNS.index("code")]
        made[code] = made[code].astype("Int64")
        return made


def columns(parameters: list[str]) -> list[str]:
    """Names of the columns: the job's number, its parameters, what is known of it.

    >>> columns(["lr", "host"])
    ['job', 'lr', 'host', 'state', 'code', 'wall', 'host_', 'reason']
    """
    return ["job", *parameters, *(f"{name}_" if name in parameters else name for name in _COLUMNS)]


def rows(status: RunStatus, folder: RunFolder) -> list[dict[str, Any]]:
    """What is known of each job, by `columns`; seconds are ``wall``, None what is not known."""
    walls = _walls(folder)
    table = []
    for job in status.jobs:
        known = (job.state, job.code, walls.get(job.number), job.host, job.reason)
        names = columns(list(job.parameters))
        table.append(dict(zip(names, (job.number, *job.parameters.values(), *known), strict=True)))
    return table


def write_parameters(folder: Path, status: RunStatus) -> None:
    """Write ``parameters.csv`` beside the outputs of a sweep: which job had which parameters."""
    names = ["job", *status.jobs[0].parameters, "state", "code"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for job in status.jobs:
        writer.writerow([job.number, *job.parameters.values(), job.state, job.code])
    trust.write_whole(str(folder / "parameters.csv"), text.getvalue().encode())


def _walls(folder: RunFolder) -> dict[int, float]:
    """Seconds that jobs which have ended ran at last, by number."""
    walls = {}
    for number, _, times in times_of_jobs(folder.submissions.entries(), Path(folder.path)):
        if times and times[-1].started is not None and times[-1].ended is not None:
            walls[number] = max(0.0, times[-1].ended - times[-1].started)
    return walls


def _numbers(texts: list[str]) -> list[Any]:
    """Parameters as numbers, if all of them are."""
    for kind in (int, float):
        try:
            return [kind(text) for text in texts]
        except ValueError:
            continue
    return list(texts)
