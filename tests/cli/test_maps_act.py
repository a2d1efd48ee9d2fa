"""Commands that do something to maps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import wingspan
from _waiting import PATIENCE

from .conftest import Run


def make(*tags: str) -> None:
    for tag in tags:
        wingspan.map(abs, [1], tag=tag, pool="local").wait(PATIENCE)


def test_rerun_by_numbers_and_ranges(run: Run, failing: wingspan.Map) -> None:
    """Components are named as numbers and ranges; the output says how to wait for them."""
    code, out, _ = run("rerun", "sums", "3", "5-7")
    assert code == 0
    assert "4 components again" in out
    failing.wait(PATIENCE, errors_ok=True)
    assert set(failing.errors) == {3, 5, 7}


def test_rerun_errors_after_the_cause_is_gone(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    """--errors does again what failed, and nothing else."""
    folder = tmp_path_factory.mktemp("runs")
    ready, counted = folder / "ready", folder / "counted"

    def need(number: int) -> int:
        with counted.open("a") as file:
            file.write(f"{number}\n")
        if number == 1 and not ready.exists():
            raise FileNotFoundError("not yet")
        return number

    m = wingspan.map(need, range(3), tag="needy", pool="local")
    m.wait(PATIENCE, errors_ok=True)
    ready.touch()
    assert "1 component again" in run("rerun", "needy", "--errors").out
    assert run("wait", "needy").code == 0
    assert list(wingspan.load("needy")) == [0, 1, 2]
    assert sorted(counted.read_text().split()) == ["0", "1", "1", "2"]


def test_rerun_of_a_complete_map_is_nothing(run: Run) -> None:
    """Without arguments, what has no output is done again: here nothing."""
    make("whole")
    assert run("rerun", "whole") == (0, "whole: there is nothing to do again\n", "")


@pytest.mark.parametrize("wrong", [["99"], ["x"], ["3", "--errors"], ["--errors", "--all"]])
def test_rerun_refuses_what_it_cannot_mean(run: Run, failing: wingspan.Map, wrong: list[str]) -> None:
    """Numbers beyond the last, words, and contradictions are usage errors."""
    assert run("rerun", "sums", *wrong).code == 2


def test_vacated_components_are_resumed(
    run: Run, waiting: Callable[[str], wingspan.Map], gate: Callable[[], None]
) -> None:
    """A vacated map completes all the same."""
    m = waiting("lazy")
    assert run("vacate", "lazy").code == 0
    gate()
    m.wait(PATIENCE)
    assert list(m) == [0, 1]


def test_retag_and_a_tag_in_use(run: Run) -> None:
    """The new tag replaces the old; one that is taken is refused."""
    make("one", "two")
    assert run("retag", "one", "three").code == 0
    assert wingspan.tags() == ("three", "two")
    code, _, err = run("retag", "two", "three")
    assert code == 1
    assert "three" in err


def test_rm_of_named_maps(run: Run) -> None:
    """Named maps are removed without a question."""
    make("one", "two", "three")
    assert run("rm", "one", "two") == (0, "one: removed\ntwo: removed\n", "")
    assert wingspan.tags() == ("three",)


def test_rm_of_a_pattern_wants_yes_where_nobody_can_be_asked(run: Run) -> None:
    """What a pattern finds is removed only with --yes when there is no terminal."""
    make("sweep-1", "sweep-2", "other")
    code, _, err = run("rm", "--pattern", "sweep-*")
    assert code == 2
    assert "--yes" in err
    assert len(wingspan.tags()) == 3
    assert run("rm", "sweep-*", "--yes").code == 0
    assert wingspan.tags() == ("other",)


@pytest.mark.parametrize("also", [["kept"], ["--pattern", "ke*"]])
def test_all_is_for_nothing_beside_it(run: Run, also: list[str]) -> None:
    """--all beside a name or a pattern removes nothing: one of the two is not meant."""
    make("kept")
    assert run("rm", "--all", "--yes", *also).code == 2
    assert list(wingspan.load("kept"))


def test_rm_takes_away_a_damaged_map(run: Run) -> None:
    """A map that cannot be read can still be removed."""
    make("broken")
    (wingspan.load("broken").path / "map.json").unlink()
    assert run("rm", "broken").code == 0
    assert wingspan.tags() == ()


def test_a_complete_map_is_not_called_held(run: Run) -> None:
    """Nothing is left to hold, and that is what is said."""
    make("ready")
    for command in ("hold", "pause"):
        code, out, _ = run(command, "ready")
        assert (code, out) == (0, f"ready: complete, there is nothing to {command}\n")


def test_a_pattern_without_a_match_is_an_error(run: Run) -> None:
    """Nothing matches: exit code 1, not silence."""
    code, _, err = run("hold", "-p", "nothing-*")
    assert code == 1
    assert "nothing-*" in err


@pytest.mark.parametrize("wrong", ["99", "5-2", "x", "1-99"])
def test_cancel_does_nothing_where_a_word_is_wrong(run: Run, wrong: str) -> None:
    """What is no component and no tag is an error, and the map before it is not cancelled."""
    m = wingspan.map(abs, range(9), tag="waits", pool="local", options=wingspan.Options(workers=0))
    code, out, err = run("cancel", "waits", wrong)
    assert (code, out) == (1 if wrong == "x" else 2, ""), err
    assert wingspan.ComponentStatus.REMOVED not in m.components_by_status()


def test_files_of_components_that_have_none(run: Run, failing: wingspan.Map) -> None:
    """Numbers beyond the last, and components that failed and sent nothing, are errors, not tracebacks."""
    for command in ("fetch", "path"):
        assert run(command, "sums", "99").code == 2
        code, _, err = run(command, "sums", "3")
        assert code == 1
        assert "component 3 of map 'sums' failed, and had sent no files before" in err


def test_no_map_named_is_a_usage_error(run: Run) -> None:
    """A command that acts on maps never guesses which."""
    for command in ("hold", "release", "vacate", "rm", "wait"):
        assert run(command).code == 2


def test_clean_leaves_named_maps(run: Run) -> None:
    """Only maps with a made-up tag go; with --all and --yes every one."""
    make("named")
    made_up = wingspan.map(abs, [1], pool="local")
    made_up.wait(PATIENCE)
    assert run("clean") == (0, f"{made_up.tag}: removed\n", "")
    assert wingspan.tags() == ("named",)
    assert run("clean", "--all").code == 2
    assert run("clean", "--all", "--yes").code == 0
    assert wingspan.tags() == ()
