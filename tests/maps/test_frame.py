"""Maps and runs as tables of pandas."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import wingspan
from _waiting import PATIENCE


def _inverse(x: float) -> list[float]:
    return [1 / x, 1.0]


def test_a_map_is_a_table() -> None:
    """A row a component: input, output, status, times, memory, host, attempts, error."""
    pandas = pytest.importorskip("pandas")
    m = wingspan.map(_inverse, [1, 0, 4], pool="local", options=wingspan.Options(retries=1))
    m.wait(PATIENCE, errors_ok=True)
    table = m.to_pandas()
    assert list(table.columns) == [
        *("input", "output", "status", "wall", "cpu", "memory", "gpu_use", "gpu_memory"),
        *("host", "worker", "attempts", "started", "error"),
    ]
    assert list(table.input) == [1, 0, 4]
    assert list(table.output) == [[1.0, 1.0], None, [0.25, 1.0]]
    assert list(table.status) == ["COMPLETED", "ERRORED", "COMPLETED"]
    assert list(table.attempts) == [1, 2, 1]
    assert table.error[1] == "ZeroDivisionError: division by zero"
    assert (table.memory > 1_000_000).all()
    assert table.started.dt.tz is not None
    assert (pandas.Timestamp.now("UTC") - table.started).max().total_seconds() < PATIENCE
    assert table.index.name == "component"
    assert list(m.to_pandas(inputs=False, outputs=False).columns)[0] == "status"
    m.remove()


def test_a_component_that_is_not_done_has_no_output(gate) -> None:
    """What is not known yet is missing in its row, and nobody waits for it."""
    pytest.importorskip("pandas")
    wait = gate.wait
    m = wingspan.map(lambda x: wait() or x, [5], pool="local")
    table = m.to_pandas()
    assert table.output[0] is None
    assert table.status[0] in ("IDLE", "RUNNING")
    assert table.attempts.isna().all()
    gate.open()
    assert list(m.to_pandas().input) == list(m)
    m.remove()


def test_a_sweep_is_a_table() -> None:
    """A row a job: parameters, as numbers if they are, state, exit code, and where its outputs are."""
    pytest.importorskip("pandas")
    swept = wingspan.run(
        ["sh", "-c", 'echo "$1" >out; exit $2', "sh", "{lr}", "{code}"],
        sweep={"lr": ["0.5"], "code": ["0", "2"]},
        outputs=["out"],
        pool="local",
    )
    swept.wait(PATIENCE)
    table = swept.to_pandas()
    assert list(table.columns) == ["lr", "code", "state", "code_", "wall", "host", "reason", "outputs"]
    assert list(table.lr) == [0.5, 0.5]
    assert list(table.code) == list(table.code_) == [0, 2]
    assert list(table.state) == ["completed", "failed"]
    assert (Path(table.outputs[0]) / "out").read_text() == "0.5\n"
    assert (table.wall >= 0).all()
    swept.remove()


def test_without_pandas_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table needs pandas; all else goes without."""
    m = wingspan.map(abs, [-1], pool="local")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(wingspan.WingspanError, match="needs pandas") as told:
        m.to_pandas()
    assert "pip install pandas" in str(told.value.hint)
    assert list(m) == [1]
    m.remove()
