"""``wingspan wait``: exit codes, lines for logs, Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Callable

import wingspan
from _waiting import PATIENCE

from .conftest import Run


def test_a_completed_map_ends_with_0(run: Run) -> None:
    """Nothing to wait for: exit code 0 and a last line with the count."""
    wingspan.map(abs, range(5), tag="plain", pool="local").wait(PATIENCE)
    code, out, err = run("wait", "plain")
    assert (code, out) == (0, "")
    assert "plain: 5 of 5 completed" in err


def test_failed_components_end_with_1(run: Run, failing: wingspan.Map) -> None:
    """Failures give exit code 1 and say where to look."""
    code, _, err = run("wait", "sums")
    assert code == 1
    assert "3 of 10 components failed; see: wingspan errors sums" in err


def test_the_timeout_ends_with_124(run: Run, waiting: Callable[[str], wingspan.Map]) -> None:
    """As timeout(1) does; the map goes on."""
    waiting("lazy")
    code, _, err = run("wait", "lazy", "--timeout", "0")
    assert code == 124
    assert "the map goes on" in err
    assert not wingspan.load("lazy").is_done


def test_a_held_map_ends_with_1_and_its_hint(run: Run, waiting: Callable[[str], wingspan.Map]) -> None:
    """What keeps a map for ever is told instead of waited for."""
    waiting("lazy").hold()
    code, _, err = run("wait", "lazy")
    assert code == 1
    assert "wingspan release lazy" in err


def test_several_maps_are_waited_for_at_once(
    run: Run, failing: wingspan.Map, waiting: Callable[[str], wingspan.Map], gate: Callable[[], None]
) -> None:
    """Each map ends in its own way; the exit code tells of the worst."""
    waiting("lazy")
    gate()
    code, _, err = run("wait", "--all")
    assert code == 1
    assert "lazy: 2 of 2 completed" in err
    assert "wingspan errors sums" in err


def test_quiet_says_nothing_of_progress(run: Run) -> None:
    """With --quiet a map that completes leaves no word."""
    wingspan.map(abs, range(5), tag="plain", pool="local")
    assert run("wait", "-q", "plain") == (0, "", "")


def test_ctrl_c_detaches_and_says_how_to_come_back(
    start: Callable[..., object], waiting: Callable[[str], wingspan.Map], gate: Callable[[], None]
) -> None:
    """Ctrl-C ends the waiting with 130, not the map."""
    m = waiting("lazy")
    process = start("wait", "lazy")
    assert "lazy: 0 of 2 completed" in process.stderr.readline()  # type: ignore[attr-defined]
    process.send_signal(signal.SIGINT)  # type: ignore[attr-defined]
    _, err = process.communicate(timeout=PATIENCE)  # type: ignore[attr-defined]
    assert process.returncode == 130  # type: ignore[attr-defined]
    assert "wingspan wait lazy" in err
    assert "Traceback" not in err
    gate()
    m.wait(PATIENCE)
    assert list(m) == [0, 1]
