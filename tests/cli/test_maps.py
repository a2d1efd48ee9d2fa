"""Commands that look at maps, on maps that really ran as local processes."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

import wingspan
from _on_disk import take_away
from _waiting import PATIENCE

from .conftest import Run


def double(number: int) -> int:
    return 2 * number


def test_maps_lists_every_map_with_its_state(run: Run, failing: wingspan.Map) -> None:
    """A line a map: tag, state, how many are completed and failed, function and pool."""
    wingspan.map(double, range(3), tag="pairs", pool="local").wait(PATIENCE)
    code, out, _ = run("maps")
    lines = {line.split()[0]: line.split() for line in out.splitlines()}
    assert code == 0
    assert lines["sums"][1:5] == ["failed", "7/10", "3", "divide"]
    assert lines["pairs"][1:4] == ["completed", "3/3", "double"]


def test_maps_takes_a_pattern(run: Run) -> None:
    """Only maps whose tag matches are listed, the newest first."""
    for tag in ("sweep-1", "sweep-2", "other"):
        wingspan.map(double, [1], tag=tag, pool="local").wait(PATIENCE)
    code, out, _ = run("maps", "sweep-*", "--json")
    assert code == 0
    assert [one["tag"] for one in json.loads(out)] == ["sweep-2", "sweep-1"]


def test_maps_without_maps(run: Run) -> None:
    """No map is no error; the JSON is an empty list."""
    assert run("maps") == (0, "", "no maps\n")
    assert json.loads(run("maps", "--json").out) == []


@pytest.mark.parametrize("damage", ["missing", "cut", "not a mapping", "empty tag"])
def test_maps_shows_a_damaged_map_as_damaged(run: Run, failing: wingspan.Map, damage: str) -> None:
    """One map that cannot be read does not hide the others; it is named, with the way to be rid of it."""
    broken = wingspan.map(double, [1], tag="broken", pool="local")
    broken.wait(PATIENCE)
    file = broken.path / "map.json"
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:20])
    elif damage == "not a mapping":
        file.write_text("null")
    else:
        (broken.path.parent.parent / "tags" / "broken").write_text("")
    code, out, err = run("maps")
    assert code == 0
    assert "broken" in out
    assert "damaged" in out
    assert "wingspan rm broken" in err
    assert "sums" in out
    records = {one["tag"]: one for one in json.loads(run("maps", "--json").out)}
    assert records["broken"]["state"] == "damaged"
    assert records["broken"]["damaged"]
    assert records["sums"]["damaged"] is None


def test_status_in_words_and_as_json(run: Run, failing: wingspan.Map) -> None:
    """The counts of a map, its folder, and where to look for what failed."""
    code, out, _ = run("status", "sums")
    assert code == 0
    assert "divide on 10 inputs" in out
    assert str(failing.path) in out
    assert "wingspan errors sums" in out
    assert "the Python that made the map" in out
    record = json.loads(run("status", "sums", "--json", "--components").out)
    assert record["environment"] is None
    assert record["counts"]["completed"] == 7
    assert record["counts"]["errored"] == 3
    assert record["statuses"][5] == "errored"
    assert record["statuses"][0] == "completed"


def test_status_of_a_held_map_says_how_to_go_on(
    run: Run, waiting: Callable[[str], wingspan.Map], gate: Callable[[], None]
) -> None:
    """Hold shows in status with its next step; after release the map completes."""
    m = waiting("lazy")
    assert run("hold", "lazy").code == 0
    record = json.loads(run("status", "lazy", "--json").out)
    assert record["state"] == "held"
    assert "release" in record["message"]
    assert record["holds"]["0"]["reason"]
    gate()
    assert run("release", "lazy").code == 0
    m.wait(PATIENCE)
    assert list(m) == [0, 1]


def test_unknown_tag_names_the_nearest(run: Run, failing: wingspan.Map) -> None:
    """A mistyped tag is an error with exit code 1 and a suggestion."""
    code, out, err = run("status", "sum")
    assert (code, out) == (1, "")
    assert "'sums'" in err


def test_errors_are_grouped_by_kind_and_reported(run: Run, failing: wingspan.Map) -> None:
    """First how many of each kind and which, then reports that begin with one of each kind."""
    code, out, err = run("errors", "sums", "--limit", "2")
    assert code == 0
    assert "3 of 10" in out
    assert "2 × ValueError: 3 is not wanted (components 3, 7)" in out
    assert "1 × ZeroDivisionError: division by zero (component 5)" in out
    assert "component 3 failed" in out
    assert "component 5 failed" in out
    assert "component 7 failed" not in out
    assert "raise ValueError" in out
    assert "1 more" in err


def test_errors_as_json(run: Run, failing: wingspan.Map) -> None:
    """Everything that is known of each error, for programs."""
    found = json.loads(run("errors", "sums", "--json").out)
    assert [one["component"] for one in found] == [3, 5, 7]
    assert found[1]["kind"] == "ZeroDivisionError"
    assert found[1]["input"] == "5"
    assert "Traceback" in found[1]["traceback"]


def test_errors_of_a_map_without_any(run: Run) -> None:
    """Nothing failed: no output, and a line that says so."""
    wingspan.map(double, [1], tag="pairs", pool="local").wait(PATIENCE)
    code, out, err = run("errors", "pairs")
    assert (code, out) == (0, "")
    assert "no component of pairs has failed" in err


def test_stdout_of_a_component(run: Run, failing: wingspan.Map) -> None:
    """Exactly what the component printed, and a usage error for a number beyond the last."""
    assert run("stdout", "sums", "2") == (0, "dividing by -3\n", "")
    assert run("stderr", "sums", "2") == (0, "", "")
    code, _, err = run("stdout", "sums", "10")
    assert code == 2
    assert "0 to 9" in err


def test_stdout_follows_a_running_component(
    start: Callable[..., object], waiting: Callable[[str], wingspan.Map], gate: Callable[[], None]
) -> None:
    """--follow prints what is there at once, the rest as it comes, and ends with the component."""
    waiting("lazy")
    process = start("stdout", "lazy", "1", "--follow")
    assert process.stdout.readline() == "component 1 waits\n"  # type: ignore[attr-defined]
    gate()
    out, _ = process.communicate(timeout=PATIENCE)  # type: ignore[attr-defined]
    assert out == "component 1 goes on\n"
    assert process.returncode == 0  # type: ignore[attr-defined]


def test_a_map_removed_meanwhile_is_an_error_without_traceback(run: Run, failing: wingspan.Map) -> None:
    """A tag whose map's folder is gone answers as an unknown tag does."""
    take_away(failing.path)
    code, _, err = run("status", "sums")
    assert code == 1
    assert "removed" in err
