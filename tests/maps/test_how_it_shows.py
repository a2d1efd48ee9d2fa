"""How maps and runs show themselves at a prompt, on terminals and in notebooks."""

from __future__ import annotations

import sys
import types

import pytest

import wingspan
from _waiting import PATIENCE, until
from wingspan._words import counted
from wingspan.maps._display import LateProgress, WaitDisplay, _clock, _unit


def test_a_map_at_the_prompt_says_how_far_it_is(gate) -> None:
    """Its repr counts what is done, what failed and what is to do; one that was removed can be shown, too."""

    def waits(x: int) -> float:
        if x == 2:
            gate.wait()
        return 1 / x

    m = wingspan.map(
        waits, [0, 1, 2], tag="shown", pool="local", options=wingspan.Options(workers=1, block_size=1)
    )
    m.get(1, timeout=PATIENCE)
    assert repr(m).endswith("× 3: 1 completed, 1 failed, 1 to do>")
    gate.open()
    m.wait(errors_ok=True)
    assert repr(m).endswith("× 3: 2 completed, 1 failed>")
    m.remove()
    assert "'shown'" in repr(m)


def test_statuses_are_readable_at_the_prompt() -> None:
    """What wait() and status() answer is shown as a sentence, not as its fields."""
    m = wingspan.map(abs, [-1], tag="one", pool="local")
    assert repr(m.wait()).startswith("<map one: 1 component: 1 completed; workers: ")
    run = wingspan.run(["true"], name="a-run", pool="local")
    assert repr(run.wait()) == "<run a-run: 1 job: 1 completed>"
    assert repr(run) == "<wingspan.Run 'a-run': completed: true>"
    run.remove()


def test_an_error_after_a_rerun_is_of_another_attempt() -> None:
    """The first time is attempt 1, and each time it is done again counts."""
    m = wingspan.map(lambda x: 1 / x, [0, 1], pool="local")
    for attempt in (1, 2, 3):
        m.wait(errors_ok=True)
        assert m.errors[0].attempt == attempt
        assert f"attempt {attempt}" in m.errors[0].report()
        m.rerun([0])


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 maps"), (1, "1 map"), (2, "2 maps"), (12345, "12,345 maps")]
)
def test_numbers_and_their_nouns(number: int, text: str) -> None:
    """One map, several maps."""
    assert counted(number, "map") == text


def test_times_and_sizes_have_their_units(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bar says which time is which; bytes are MB, and components are counted."""
    monkeypatch.setattr(LateProgress, "PATIENCE", 0.0)
    drawn = LateProgress()
    task = drawn.start("Downloading HTCondor", 23_041_236)
    drawn.advance(task, 23_041_236)
    drawn.finish(task)
    shown = capsys.readouterr().err
    assert "23 MB of 23 MB" in shown
    assert "gone" in shown
    assert "23041236" not in shown
    assert [_clock(each) for each in (3, 75, 3700)] == ["3 s", "1:15 min", "1:01 h"]
    assert (_unit("writing inputs", 10), _unit("checking x", None), _unit("Linking packages", 10**9)) == (
        "",
        "",
        "",
    )


def test_what_takes_long_is_shown_also_if_it_never_says_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starting a pool has no steps: its name comes all the same."""
    monkeypatch.setattr(LateProgress, "PATIENCE", 0.01)
    drawn = LateProgress()
    task = drawn.start("Starting the personal pool")
    until(lambda: drawn._drawn, "the bar")
    drawn.finish(task)
    assert "Starting the personal pool" in capsys.readouterr().err


class FakeIPython(types.ModuleType):
    """The display of a notebook: keeps what is shown."""

    def __init__(self) -> None:
        super().__init__("IPython.display")
        self.shown: list[str] = []

    def display(self, data: dict[str, str], *, raw: bool, display_id: bool) -> FakeIPython:
        self.shown.append(data["text/plain"])
        return self

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        self.shown[-1] = data["text/plain"]


def test_a_notebook_without_ipywidgets_has_a_line_of_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """No warning: progress in one place, as text, and what to install for a bar."""
    fake = FakeIPython()
    kernelapp = types.ModuleType("ipykernel.kernelapp")
    kernelapp.IPKernelApp = types.SimpleNamespace(initialized=lambda: True)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ipykernel.kernelapp", kernelapp)
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", fake)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    m = wingspan.map(abs, [-1, -2], tag="shown", pool="local")
    m.wait()
    (text,) = fake.shown
    assert "shown" in text
    assert "2 of 2" in text
    assert "pip install ipywidgets" in text
    with WaitDisplay(m._keeper, False):
        pass
    assert len(fake.shown) == 1


def test_failures_are_counted_beside_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """The note of the bar is plain text: what failed, and workers."""
    m = wingspan.map(lambda x: 1 / x, [0, 1], pool="local")
    m.wait(progress=True, errors_ok=True)
    shown = capsys.readouterr().err
    assert "1 failed" in shown
    assert "[red]" not in shown


def test_a_map_of_nothing_says_what_to_look_at() -> None:
    """The hint of EmptyMap is something to do."""
    with pytest.raises(wingspan.EmptyMap) as caught:
        wingspan.map(abs, [])
    assert "give at least one" in str(caught.value.hint)


def test_progress_of_one_piece_of_work_after_another(monkeypatch, capsys):
    """A terminal shows each: also those that begin after an earlier one has ended, or while others go on."""
    monkeypatch.setattr(LateProgress, "PATIENCE", 0.0)
    drawn = LateProgress()
    for name in ("checking", "linking"):
        task = drawn.start(name, 2)
        drawn.advance(task)
        drawn.finish(task)
    first, second = drawn.start("first", 1), drawn.start("second", 2)
    drawn.advance(second)
    drawn.finish(first)
    third = drawn.start("third", 1)
    for task in (third, second):
        drawn.advance(task)
        drawn.finish(task)
    drawn.start("broken off", 1)
    drawn.close()
    shown = capsys.readouterr().err
    assert all(name in shown for name in ("checking", "linking", "second", "third"))
