"""`wingspan.map` over several iterables, and objects of other libraries as inputs."""

from __future__ import annotations

import functools
import operator
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pandas
import pytest

import wingspan


@pytest.mark.parametrize(
    ("several", "outputs"),
    [
        (([1, 2, 3], [10, 20, 30]), [11, 22, 33]),
        (([1, 2, 3], [10, 20]), [11, 22]),
        ((range(2), iter([10, 20, 30])), [10, 21]),
    ],
    ids=["as long", "the shortest ends it", "a generator"],
)
def test_as_the_builtin_has_it(several: tuple[Any, ...], outputs: list[int]) -> None:
    """One item of each iterable for each call."""
    assert list(wingspan.map(operator.add, *several, pool="local")) == outputs


def test_what_is_refused() -> None:
    """An iterable that is none, and one that is empty."""
    with pytest.raises(wingspan.InvalidInputs, match="int cannot be iterated over"):
        wingspan.map(operator.add, [1], 2, pool="local")  # type: ignore[arg-type]
    with pytest.raises(wingspan.EmptyMap):
        wingspan.map(operator.add, [1], [], pool="local")
    with pytest.raises(wingspan.EmptyMap):
        wingspan.map(operator.add, [1], iter([]), pool="local")


def test_an_iterable_that_raises_leaves_nothing() -> None:
    """Its own exception comes out, and no map is there."""

    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        wingspan.map(operator.add, [1, 2], broken(), pool="local")
    assert wingspan.tags() == ()


def test_it_can_be_taken_up_again() -> None:
    """`exist_ok` knows the same iterables again, and others."""
    first = wingspan.map(operator.add, [1, 2], [3, 4], pool="local", tag="sums")
    assert wingspan.map(operator.add, [1, 2], [3, 4, 5], tag="sums", exist_ok=True) == first
    with pytest.raises(wingspan.TagExists):
        wingspan.map(operator.add, [1, 2], [3, 5], tag="sums", exist_ok=True)


def test_pandas_paths_and_fsspec(tmp_path: Path) -> None:
    """Rows of a table arrive as the named tuples that they are; so do groups, paths and open files."""
    table = pandas.DataFrame({"site": ["a", "b", "a"], "count": [1, 2, 3]})
    (tmp_path / "file").write_bytes(b"hello")
    opened = fsspec.core.OpenFile(fsspec.filesystem("file"), str(tmp_path / "file"))

    def look(given: Any) -> Any:
        if isinstance(given, tuple) and hasattr(given, "_fields"):
            return type(given).__name__, given._fields, given.site
        if isinstance(given, tuple):
            return given[0], int(given[1]["count"].sum())
        if isinstance(given, os.PathLike):
            return given
        with given as file:
            return file.read()

    inputs = [*table.itertuples(), *table.groupby("site"), tmp_path, opened]
    fields = ("Index", "site", "count")
    rows = [("Pandas", fields, site) for site in "aba"]
    assert list(wingspan.map(look, inputs, pool="local")) == [*rows, ("a", 4), ("b", 2), tmp_path, b"hello"]
    shared = functools.partial(lambda table, row: int(table["count"][row]), table)
    assert list(wingspan.map(shared, range(3), pool="local")) == [1, 2, 3]


def test_xarray() -> None:
    """Slices of a DataArray and groups of a Dataset arrive with their coordinates and attributes, outputs can
    be put together again, and a Dataset that the function refers to travels with it."""
    import xarray

    data = xarray.Dataset(
        {"rain": (("day", "site"), [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])},
        {"day": [0, 1, 2], "site": ["a", "b"], "month": ("day", ["jan", "jan", "feb"])},
        {"source": "gauge"},
    )

    def double(one: Any) -> Any:
        return one * data["rain"].sizes["site"]

    days = [data["rain"].isel(day=day) for day in range(3)]
    doubled = wingspan.map(double, days, pool="local")
    xarray.testing.assert_identical(
        xarray.concat(list(doubled), "day", coords="different", compat="equals"), data["rain"] * 2
    )
    months = wingspan.map(
        lambda group: (group[0], float(group[1]["rain"].sum()), group[1].attrs),
        data.groupby("month"),
        pool="local",
    )
    assert list(months) == [("feb", 11.0, {"source": "gauge"}), ("jan", 10.0, {"source": "gauge"})]
