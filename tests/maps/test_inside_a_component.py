"""What a component's function can ask of Wingspan while it is called."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import wingspan
from _waiting import PATIENCE, until
from wingspan import Options
from wingspan.cli._main import cli
from wingspan.worker import seeds


def describe(x):
    """What a component sees of itself; its second attempt succeeds."""
    component = wingspan.component()
    (component.scratch / "kept").write_text(str(x))
    assert component is wingspan.component()
    assert os.listdir(component.scratch) == ["kept"]
    if component.attempt == 1 and x == 1:
        raise ValueError("not yet")
    return component.number, component.attempt, component.tag, str(component.scratch), component.seed


def test_a_component_knows_itself():
    """Number, attempt, tag, a scratch folder that goes with it, and a seed that a rerun has again."""
    options = Options(retries=1, seed=7, workers=1)
    m = wingspan.map(describe, range(3), pool="local", tag="selves", options=options)
    first = list(m)
    assert [one[:3] for one in first] == [(0, 1, "selves"), (1, 2, "selves"), (2, 1, "selves")]
    assert len({one[3] for one in first}) == 3
    assert not any(Path(one[3]).exists() for one in first)
    m.rerun([2])
    assert m[2][4] == first[2][4] == seeds.seed_of(7, 2)
    assert m.seed == wingspan.load("selves").seed == 7


def test_many_fast_components_know_their_numbers():
    """Also where outputs are gathered, and where each uses its scratch folder."""

    def number(x):
        if x % 100 == 0:
            assert not os.listdir(wingspan.component().scratch)
        return wingspan.component().number

    m = wingspan.map(number, range(3000), pool="local", options=Options(workers=1))
    assert list(m) == list(range(3000))


WITHOUT = """
import wingspan
from wingspan import TransferPath, component

def work(x):
    import wingspan as absent
    assert isinstance(absent.TransferPath("a") / "b", TransferPath)
    assert not hasattr(absent, "__file__")
    try:
        absent.map(abs, [1])
    except ImportError:
        return component().number, absent.component().random().random()

wingspan.map(work, range(2), pool="local", tag="absent", options=wingspan.Options(workers=0, seed=3))
"""


def test_a_worker_needs_no_wingspan_for_it(other_python):
    """A real worker whose Python has no Wingspan imports it from the archive, by module and by name."""
    other_python(WITHOUT)
    m = wingspan.load("absent")
    command = [sys.executable, "-S", "-E", m.path / "worker.pyz", "file", m.path, "0", "0"]
    subprocess.run(command, check=True, timeout=PATIENCE)
    assert list(m) == [(x, random.Random(seeds.seed_of(3, x)).random()) for x in range(2)]


def test_progress_is_seen_while_a_component_runs(gate):
    """The newest that a running component has said, from the process itself and from one that it forked off;
    nothing any more when it is done.
    """
    wait = gate.wait

    def work(x):
        for step in range(1000):
            wingspan.component().progress(step / 2000, "early")
        child = os.fork()
        while not child:  # once would not do: what comes while nobody has read the first thousand is dropped
            wingspan.component().progress(0.75, "two\nlines")
            time.sleep(0.1)
        wait()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    m = wingspan.map(work, range(2), pool="local")
    until(lambda: [one.message for one in m.progress.values()] == ["two lines"] * 2, lambda: m.progress)
    assert m.progress[1].fraction == 0.75
    status = CliRunner().invoke(cli, ["status", m.tag])
    assert "  component  1: 75% two lines\n" in status.output
    told = json.loads(CliRunner().invoke(cli, ["status", m.tag, "--json"]).output)["progress"]
    assert told["0"]["fraction"] == 0.75
    assert ("progress", "75% two lines") in m._source().detail(1).facts
    gate.open()
    m.wait()
    assert m.progress == {}


def test_a_forked_process_gets_no_scratch_folder_of_its_own():
    """Nobody would remove it: the component's own process has to ask for it first."""

    def work(x):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                wingspan.component().scratch
            except RuntimeError as error:
                os.write(writing, str(error).encode())
            os._exit(0)
        os.waitpid(child, 0)
        os.close(writing)
        return os.read(reading, 1000).decode()

    assert "one that it has forked off" in wingspan.map(work, [0], pool="local")[0]


def test_what_is_no_progress_is_refused():
    """A fraction that is no number is an error; one out of bounds is taken for the bound."""
    with pytest.raises(ValueError, match="no number"):
        wingspan.component().progress(float("nan"))
    with pytest.raises(TypeError):
        wingspan.component().progress(None)


def test_a_function_can_be_tried_at_the_desk(capsys):
    """Outside of a component there is a stand-in: a scratch folder, a seed, progress on standard error."""
    component = wingspan.component()
    assert (component.number, component.attempt, component.tag) == (None, 1, None)
    assert os.listdir(component.scratch) == []
    assert component.random().random() == component.random().random()
    component.progress(2, "nearly there")
    assert capsys.readouterr().err == "100 % nearly there\n"


@given(entropy=st.integers(0, 2**200), key=st.lists(st.integers(0, 2**70), max_size=2))
def test_seeds_are_those_of_numpy(entropy, key):
    """Our mixing of seeds gives what numpy's SeedSequence gives."""
    numpy_random = pytest.importorskip("numpy.random")
    known = numpy_random.SeedSequence(entropy, spawn_key=key).generate_state(6)
    assert seeds.state(entropy, key, 6) == [int(word) for word in known]


def test_what_is_loaded_once_serves_all_components(tmp_path):
    """A worker loads it once, also by a function that is defined anew each time; an error is not kept."""
    calls = tmp_path / "calls"

    def load(name, table):
        with calls.open("a") as file:
            file.write(f"{name} ")
        if name == "odd" and calls.read_text().split().count("odd") == 1:
            raise OSError("not there yet")
        return [name, *table]

    def work(x):
        name = "odd" if x % 2 else "even"
        wingspan.component().once(lambda: load(name, "a"))
        return wingspan.once(load, name, table=[x % 2])

    m = wingspan.map(work, range(8), pool="local", options=Options(workers=1))
    outcomes = list(m.iter(return_exceptions=True))
    assert isinstance(outcomes[1], OSError)
    assert outcomes[2:] == [["even", 0], ["odd", 1]] * 3
    assert sorted(calls.read_text().split()) == ["even"] * 2 + ["odd"] * 3


def test_once_tells_arguments_apart():
    """Equal values of other types are others; so are functions with another default. What is equal, or has an
    equal pickle, is the same.
    """

    class Point:
        def __eq__(self, other):
            return True

    calls = []

    def made(*arguments, **named):
        calls.append(arguments)
        return object()

    assert wingspan.once(made, 1) is not wingspan.once(made, True)
    assert wingspan.once(made, [1]) is wingspan.once(made, [1])
    assert wingspan.once(made, Path("a"), b=2) is wingspan.once(made, Path("a"), b=2)
    with pytest.raises(TypeError, match="neither be hashed nor pickled"):
        wingspan.once(made, Point())
    first, second = [lambda x=x: made(x) for x in range(2)]
    assert wingspan.once(first) is not wingspan.once(second)
    assert len(calls) == 6
