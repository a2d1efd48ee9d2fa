"""A map as a table: a row for each component, for pandas, for CSV, for the command line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wingspan.maps._components import ERROR, OUTPUT

__all__ = ["COLUMNS", "frame", "rows"]

#: What is known of a component beside its input and its output.
COLUMNS = (
    "component",
    "status",
    "wall",
    "cpu",
    "memory",
    "gpu_use",
    "gpu_memory",
    "host",
    "worker",
    "attempts",
    "started",
    "error",
)


def rows(m: Any) -> Iterator[dict[str, Any]]:
    """What is known of each component now, by `COLUMNS`, without waiting.

    Seconds are ``wall`` and ``cpu``, bytes ``memory`` and ``gpu_memory``, Unix time ``started``, a fraction
    ``gpu_use``; what is not known is None.

    Args:
        m: A `wingspan.Map`, whose module imports this one.
    """
    statuses = m.statuses  # takes in what is new
    results = m._keeper.results
    memory = {
        start.component: start.peak_memory for start in results.at_work() if start.component is not None
    }
    for component, status in enumerate(statuses):
        row: dict[str, Any] = dict.fromkeys(COLUMNS)
        row.update(component=component, status=str(status), memory=memory.get(component))
        if results.state[component] in (OUTPUT, ERROR):
            measures = results.measures(component)
            facts = results.start_of(component).facts or {}
            row.update(
                wall=measures.wall,
                cpu=measures.cpu,
                memory=measures.peak_memory or None,
                gpu_use=measures.gpu_use,
                gpu_memory=measures.gpu_memory,
                host=facts.get("host"),
                worker=measures.worker,
                attempts=results.tries(component),
                started=measures.started,
            )
            if results.state[component] == ERROR:
                error = m._error(component)
                row["error"] = f"{error.type_name}: {error.text}" if error.text else error.type_name
        yield row


def frame(m: Any, *, inputs: bool, outputs: bool) -> Any:
    """`rows` as a pandas DataFrame, with inputs and outputs.

    Raises:
        MapError: pandas is not installed.
    """
    from wingspan._pandas import pandas

    pd = pandas()
    known = list(rows(m))
    columns: dict[str, Any] = {}
    if inputs:
        columns["input"] = _objects(pd, m._inputs_now())
    if outputs:
        state = m._keeper.results.state
        columns["output"] = _objects(
            pd, [m._output(component) if state[component] == OUTPUT else None for component in m.components]
        )
    for name in COLUMNS[1:]:
        columns[name] = [row[name] for row in known]
    columns["started"] = pd.to_datetime(columns["started"], unit="s", utc=True)
    made = pd.DataFrame(columns, index=pd.RangeIndex(len(m), name="component"))
    for name in ("memory", "gpu_memory", "attempts"):
        made[name] = made[name].astype("Int64")
    return made


def _objects(pd: Any, values: list[Any]) -> Any:
    """A column of values as they are: plain numbers and texts as pandas has them, everything else as objects.

    pandas would spread out lists and arrays, each of them a value here.
    """
    if all(isinstance(value, int | float | str | bool | None) for value in values):
        return pd.Series(values)
    column = pd.Series([None] * len(values), dtype=object)
    for place, value in enumerate(values):
        column.iat[place] = value
    return column
