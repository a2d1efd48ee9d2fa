"""Rehearsed maps: the first component is executed here as a worker would see it, and no map is made."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import wingspan
from _waiting import PATIENCE
from wingspan.maps import InvalidInputs
from wingspan.maps._rehearse import rehearse
from wingspan.settings import load_settings


def test_the_first_component_is_rehearsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is called with its input, its files and a memory of its own, sees nothing of the caller's folder,
    and what it returns is told; a generator is asked for one input only, and nothing is left.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text("1,2")
    (tmp_path / "other.csv").write_text("3")

    def inputs() -> Iterator[int]:
        yield 7
        raise AssertionError("a second one was asked for")

    def look(x: int) -> tuple[int, str, bool]:
        print("said")
        return x, Path("table.csv").read_text(), (tmp_path / "other.csv").exists()

    options = wingspan.Options(
        input_files=["table.csv"], request_memory=lambda x: f"{100 * x}MB", retries=3, on_done="touch done"
    )
    done = wingspan.map(look, inputs(), rehearse=True, pool="local", options=options)
    assert dict(done.values) == {0: (7, "1,2", False)}
    assert (done.ok, done.stdout, done.memory) == (True, "said\n", 700 << 20)
    assert (wingspan.tags(), list((load_settings().data_dir / "maps").iterdir())) == ((), [])
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize("way", ["namespaces", "none"])
def test_a_component_has_the_files_of_its_arguments(tmp_path: Path, way: str) -> None:
    """TransferPath in an argument, and a file in component_input_files, are there as on a pool; what lies
    beside them is not, and they stay as they are.
    """
    for name in ("one.txt", "two.txt", "other.txt"):
        (tmp_path / name).write_text(name)

    def look(path: Path) -> tuple[str, str]:
        return path.read_text(), Path("two.txt").read_text()

    options = wingspan.Options(component_input_files=[[str(tmp_path / "two.txt")]])
    inputs = [wingspan.TransferPath(tmp_path / "one.txt")]
    done = rehearse(look, inputs, call="map", pool="local", options=options, ways=[way])
    assert done.ok, done
    assert dict(done.values) == {0: ("one.txt", "two.txt")}
    assert [path.read_text() for path in sorted(tmp_path.glob("*.txt"))] == [
        "one.txt",
        "other.txt",
        "two.txt",
    ]


def test_a_rehearsal_puts_no_output_file_elsewhere(tmp_path: Path) -> None:
    """What output_remaps names is neither made nor written; that it was not tried is told."""

    def write(x: int) -> int:
        Path("out.txt").write_text("1")
        wingspan.component().transfer_output_files("out.txt")
        return x

    options = wingspan.Options(output_remaps={"out.txt": str(tmp_path / "sub/out.txt")})
    done = wingspan.map(write, [4], rehearse=True, pool="local", options=options)
    assert dict(done.values) == {0: 4}
    assert "output_remaps" in done.not_checked[-1]
    assert not (tmp_path / "sub").exists()


@pytest.mark.parametrize(
    ("named", "sent", "said"),
    [
        (
            "sub/data.csv",
            [],
            "is here and does not go along: {how} sends it, and the job finds it as data.csv",
        ),
        (
            "sub/data.csv",
            ["sub/data.csv"],
            "is not on the worker: it goes along, and the job finds it as data.csv",
        ),
        (
            "{here}/sub/data.csv",
            [],
            "is here and not on the worker: {how} sends it, and the job finds it as data.csv",
        ),
    ],
)
def test_a_file_of_a_folder_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, sent: list[str], said: str
) -> None:
    """Files of Options(input_files=…) lie in the working folder by their names: the advice says so, whether
    or not the file goes along.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/data.csv").write_text("1")
    named = named.format(here=tmp_path)
    options = wingspan.Options(input_files=sent)
    done = wingspan.starmap(open, [(named,)], rehearse=True, pool="local", options=options)
    how = "Options(input_files=['sub/data.csv'])"
    assert done.missed == (f"{named} {said.format(how=how)}",)


def test_a_component_that_misses_a_file_is_told_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of this machine is not on the worker: the component fails here as there, and how to send the
    file is said.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.csv").write_text("1")
    place = str(tmp_path / "data.csv")
    done = wingspan.starmap(open, [(place,)], rehearse=True, pool="local")
    assert (done.ok, done.code) == (False, 1)
    assert "FileNotFoundError" in str(done.errors[0])
    sends = "Options(input_files=['data.csv']) sends it, and the job finds it as data.csv"
    assert done.missed == (f"{place} is here and not on the worker: {sends}",)
    with pytest.raises(wingspan.RehearsalFailed, match="FileNotFoundError"):
        done.check()


def test_a_decorated_function_is_rehearsed() -> None:
    """A function of wingspan.mapped is rehearsed with its own options; without inputs there is nothing to
    do.
    """
    kept = wingspan.mapped(options=wingspan.Options(request_memory="300MB"))(abs)
    assert kept.map([-3], rehearse=True, pool="local").values == {0: 3}
    with pytest.raises(wingspan.EmptyMap):
        kept.map([], rehearse=True)


def test_a_chain_is_rehearsed_with_what_is_there(gate: SimpleNamespace) -> None:
    """The first component that has all its inputs is executed. Nothing is waited for: where there is none
    yet, the error says what to do.
    """
    wait = gate.wait

    def works(x: int) -> int:
        if x != 2:
            wait()
        return 10 * x

    one = wingspan.map(works, [1, 2], tag="one", pool="local", options=wingspan.Options(workers=2))
    two = wingspan.map(works, [1, 1], tag="two", pool="local", options=wingspan.Options(workers=1))
    assert one.get(1, timeout=PATIENCE) == 20
    assert dict(wingspan.map(str, one, rehearse=True, pool="local").values) == {0: "20"}
    with pytest.raises(InvalidInputs, match="no output of map 'one' and 'two' is there yet"):
        wingspan.map(operator.add, one, two, rehearse=True, pool="local")
    gate.open()
    two.wait(PATIENCE)
    one.wait(PATIENCE)
    assert dict(wingspan.map(operator.add, one, two, rehearse=True, pool="local").values) == {0: 20}
