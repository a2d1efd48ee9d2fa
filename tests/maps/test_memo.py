"""Outputs that are there already are not computed again; what is not the same is."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import wingspan
from _waiting import PATIENCE
from wingspan.maps._canonical import canonical
from wingspan.maps._memo import store
from wingspan.maps._own import travels_by_value

Python = Callable[..., "subprocess.CompletedProcess[str]"]


#: Makes a map of `f`, which appends a line to a file for each call.
_SCRIPT = """
import sys, json, wingspan
log, options = sys.argv[1], json.loads(sys.argv[2])
def called(x):
    with open(log, "a") as file:
        file.write(repr(x) + chr(10))
{body}
m = wingspan.{make}, pool="local", memo=True, tag=options.get("tag"))
print(json.dumps({{"outputs": list(m), "why": m.why(0)}}))
"""


@pytest.fixture
def memo(tmp_path: Path, other_python: Python, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Makes maps in sessions of their own, and tells how many calls each has made."""
    seeds = iter(range(1, 1000))
    log = tmp_path / "calls"

    def run(body: str, make: str = "map(f, [1, 2, 3]", **options: Any) -> SimpleNamespace:
        log.write_text("")
        monkeypatch.setenv("PYTHONHASHSEED", str(next(seeds)))
        script = _SCRIPT.format(body=textwrap.dedent(body), make=make)
        done = other_python(script, log, json.dumps(options))
        answer = json.loads(done.stdout)
        calls = log.read_text().splitlines()
        return SimpleNamespace(calls=len(calls), stderr=done.stderr, called=calls, **answer)

    return SimpleNamespace(run=run)


_DOUBLE = """
def f(x):
    called(x)
    return 2 * x
"""


def test_only_what_is_missing_is_computed(memo: SimpleNamespace) -> None:
    """A later session takes what is there, of any map with the same function, and computes the rest."""
    first = memo.run(_DOUBLE)
    assert (first.outputs, first.calls) == ([2, 4, 6], 3)
    second = memo.run(_DOUBLE, "map(f, [3, 5, 1, 3, 7]")
    assert second.outputs == [6, 10, 2, 6, 14]
    assert sorted(second.called) == ["5", "7"]
    assert second.why.startswith("taken: component 2 of the map")
    third = memo.run(_DOUBLE, "map(f, [7, 5, 3, 1]")
    assert (third.outputs, third.calls) == ([14, 10, 6, 2], 0)


_CLASSY = """
import functools, enum
class Base:
    factor = 2
class Model(Base):
    def __init__(self, names): self.names = names
    def call(self, x): return self.factor * x + len(self.names)
class Mode(enum.Enum):
    FAST = 1
MODEL, MODE = Model({"a", "b", "c"}), [Mode.FAST, {"k": frozenset("xyz")}]
@functools.lru_cache
def offset(x): return 1 if x in {"p", "q", "r"} or MODE[0] is Mode.FAST else 0
def outer(power):
    def f(x):
        called(x)
        try:
            return MODEL.call(x) ** power + offset("s")
        except KeyError:
            return -1
    return f
f = outer(1)
"""


@pytest.mark.parametrize(
    ("what", "old", "new"),
    [
        (
            "nothing, but for a comment, lines and a file's name",
            "import functools",
            "\n# comment\nimport functools",
        ),
        ("function: outer.<locals>.f", "return -1", "return -2"),
        ("closure", "outer(1)", "outer(2)"),
        ("function: offset", "return 1 if", "return 3 if"),
        ("function: Model", "self.factor * x", "self.factor + x"),
        ("closure", '{"a", "b", "c"}', '{"a", "b", "d", "e"}'),
        ("closure", 'frozenset("xyz")', 'frozenset("xy")'),
        ("function", "factor = 2", "factor = 3"),
        ("function", "FAST = 1", "FAST = 2"),
        ("function", '{"p", "q", "r"}', '{"p", "q", "s"}'),
    ],
)
def test_what_travels_is_what_counts(what: str, old: str, new: str) -> None:
    """Code, closures, globals, classes (bases too), values in them: each is noticed, in another session too,
    whatever the order of sets is there.
    """
    code = _CLASSY
    assert old in code
    digests = []
    for text in (code, code.replace(old, new)):
        space: dict[str, Any] = {"__name__": "__main__", "called": print}
        exec(compile(text, f"cell-{len(digests)}", "exec"), space)
        digests.append(canonical(space["f"], by_value=travels_by_value, spread=True))
    assert None not in digests
    assert (digests[0] == digests[1]) == what.startswith("nothing")


def test_sessions_agree_on_digests(memo: SimpleNamespace) -> None:
    """Sets, classes, enums and caches in what a function refers to do not keep it from being known again."""
    assert memo.run(_CLASSY).calls == 3
    again = memo.run("# another line\n" + _CLASSY)
    assert (again.calls, again.outputs) == (0, [6, 8, 10])


def test_code_that_differs_only_in_what_a_try_covers_is_other_code() -> None:
    """Since Python 3.11 no instruction says where a try block ends."""
    covers = "def f(a, b):\n try:\n  a()\n  b()\n except KeyError:\n  pass"
    spares = "def f(a, b):\n try:\n  a()\n except KeyError:\n  pass\n else:\n  b()"
    digests = set()
    for text in (covers, spares):
        space: dict[str, Any] = {"__name__": "__main__"}
        exec(text, space)
        digests.add(canonical(space["f"], by_value=travels_by_value, spread=True))
    assert None not in digests
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("inputs", "again", "calls"),
    [
        ("[{1: 2, 3: 4}]", "[{1: 2, 3: 4}]", 0),
        ("[{1: 2, 3: 4}]", "[{3: 4, 1: 2}]", 1),  # a function can see the order
        ("[{'a', 'b', 'c'}]", "[{'c', 'b', 'a'}]", 0),
        ("[{'x': [frozenset('abc')]}]", "[{'x': [frozenset('cba')]}]", 0),
        ("[1]", "[1.0]", 1),
        ("[1]", "[True]", 1),
        ("['1']", "[b'1']", 1),
        ("[(1, 2)]", "[[1, 2]]", 1),
        ("[0.0]", "[-0.0]", 1),
        ("[len]", "[len]", 0),
        ("[lambda: 1]", "[lambda: 1]", 0),
        ("[lambda: 1]", "[lambda: 2]", 1),
        ("[P(1)]", "[P(1)]", 0),
        ("[P(1)]", "[P(2)]", 1),
        ("[bytes(400_000)]", "[bytes(400_000)]", 0),
        ("[bytes(400_000)]", "[bytes(399_999) + b'1']", 1),
    ],
)
def test_what_counts_as_the_same_input(inputs: str, again: str, calls: int) -> None:
    """Equal pickles are the same input; sets are, in whatever order; equal numbers of other types are not."""
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("class P:\n    def __init__(self, x): self.x = x", space)
    keys = []
    for text in (inputs, again):
        m = wingspan.map(
            id, eval(text, dict(space)), pool="local", memo=True, options=wingspan.Options(workers=0)
        )
        keys.append((m.path / "memo.keys").read_bytes())
        m.remove()
    assert (keys[0] != keys[1]) == bool(calls)


def test_an_own_module_that_changes_is_another_function(memo: SimpleNamespace, tmp_path: Path) -> None:
    """The source of own modules counts, also of what is only imported inside the function."""
    body = """
    def f(x):
        import helper
        called(x)
        return helper.g(x)
    """
    (tmp_path / "helper.py").write_text("def g(x):\n    return x + 1\n")
    assert memo.run(body).outputs == [2, 3, 4]
    assert memo.run(body).calls == 0
    (tmp_path / "helper.py").write_text("def g(x):\n    return x + 100\n")
    changed = memo.run(body)
    assert (changed.outputs, changed.calls) == ([101, 102, 103], 3)
    assert "modules of your own: helper.py" in changed.why


def test_why_names_what_differs(memo: SimpleNamespace) -> None:
    """Function, closure, input: the nearest output that is kept says which."""
    closure = "K = {}\n" + _DOUBLE.replace("2 * x", "K * x")
    assert "no output of a function called f" in memo.run(closure.format(5)).why
    assert "closure: the value of K" in memo.run(closure.format(6)).why
    other = memo.run(closure.format(6).replace("return", "return 1 +"))
    assert "what differs is function: f" in other.why
    assert other.calls == 3
    assert memo.run(closure.format(6), "map(f, [9]").why.startswith("computed: input: ")


def test_a_function_that_may_ask_for_its_number_is_known_by_it(memo: SimpleNamespace) -> None:
    """wingspan.component tells number and seed: the same input elsewhere, or another seed, is another."""
    body = _DOUBLE.replace("return 2 * x", "return 2 * x if x else wingspan.component()")
    seeded = "options=wingspan.Options(seed=5)"
    assert memo.run(body, f"map(f, [1, 2, 3], {seeded}").calls == 3
    assert memo.run(body, f"map(f, [1, 2, 3], {seeded}").calls == 0
    assert sorted(memo.run(body, f"map(f, [3, 2, 1], {seeded}").called) == ["1", "3"]
    unseeded = memo.run(body)
    assert unseeded.calls == 3
    assert "seed: the function may ask for it" in unseeded.why


def test_errors_are_not_kept_and_reruns_replace(tmp_path: Path) -> None:
    """What has failed is tried again; what is done again is wanted anew, by later maps too."""
    log = str(tmp_path / "log")

    def counts(x: int) -> int:
        with Path(log).open("a") as file:
            file.write("x")
            if x == 1:
                raise ValueError
            return file.tell()

    first = wingspan.map(counts, [0, 1], pool="local", memo=True, options=wingspan.Options(workers=1))
    assert [type(one).__name__ for one in first.iter(return_exceptions=True)] == ["int", "ValueError"]
    first.rerun([0])
    first.wait(PATIENCE, errors_ok=True)
    value = first[0]
    second = wingspan.map(counts, [0, 1], pool="local", memo=True)
    second.wait(PATIENCE, errors_ok=True)
    assert second[0] == value
    assert Path(log).read_text() == "xxxx"
    second.rerun([0])
    second.wait(PATIENCE, errors_ok=True)
    second.remove()  # keeps what it has computed
    third = wingspan.map(counts, [0], pool="local", memo=True)
    assert third[0] > value
    assert len(Path(log).read_text()) == 5


def test_outputs_outlive_their_map_and_may_be_large_or_of_any_class(memo: SimpleNamespace) -> None:
    """Removing a map leaves its outputs to others; classes of the script and large outputs come back."""
    body = """
    class Point:
        def __init__(self, x): self.x = x
    def g(x):
        called(x)
        return bytes([x]) * 700_000, Point(x)
    f = abs
    a = wingspan.map(g, [1, 2], pool="local", memo=True)
    outs = list(a)
    a.remove()
    b = wingspan.map(g, [2, 1], pool="local", memo=True)
    assert [(len(data), set(data), point.x) for data, point in b] == [(700_000, {2}, 2), (700_000, {1}, 1)]
    assert type(b[0][1]) is Point
    b.remove()
    """
    memo.run(body)
    # `f` is another function than `g`, and is called; `g` is known from the session before.
    assert sorted(memo.run(body).called) == []


@pytest.mark.parametrize("damage", ["no database", "cut", "a folder", "values gone", "bits"])
def test_a_damaged_store_is_a_miss_and_a_warning(
    damage: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Whatever is wrong with the store, the map is right, and somebody is told."""
    log = str(tmp_path / "log")

    def logged(x: int) -> bytes:
        with Path(log).open("a") as file:
            file.write("x")
        return bytes([x]) * 300_000

    list(wingspan.map(logged, [1, 2], pool="local", memo=True))
    wingspan.map(logged, [1], pool="local", memo=True)  # puts the first ones there
    folder = store().folder
    index = folder / "index.sqlite3"
    if damage == "no database":
        index.write_bytes(b"no database" * 1000)
    elif damage == "cut":
        index.write_bytes(index.read_bytes()[:5000])
    elif damage == "a folder":
        index.unlink()
        index.mkdir()
    elif damage == "values gone":
        for file in (folder / "values").iterdir():
            file.unlink()
    else:
        for file in (folder / "values").iterdir():
            file.write_bytes(file.read_bytes()[:-1] + b"\0")
    assert [set(out) for out in wingspan.map(logged, [1, 2], pool="local", memo=True)] == [{1}, {2}]
    assert "memo: " in caplog.text
    assert len(Path(log).read_text()) == 4
    if damage != "a folder":
        list(wingspan.map(logged, [1, 2], pool="local", memo=True))
        assert len(Path(log).read_text()) == 4, "the store is good again"


def test_a_full_store_keeps_what_was_used_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """memo_size bounds it: what was used longest ago goes first."""
    monkeypatch.setenv("WINGSPAN_MEMO_SIZE", "1MB")

    def large(x: int) -> bytes:
        return bytes([x]) * 100_000

    for x in range(13):
        wingspan.map(large, [x], pool="local", memo=True, options=wingspan.Options(workers=1)).wait(PATIENCE)
        with sqlite3.connect(store().folder / "index.sqlite3") as db:
            db.execute("UPDATE entries SET used = used - 7200")
        if x:
            wingspan.map(large, [0], pool="local", memo=True).remove()  # used again and again
    count, size = store().size()
    assert 5 <= count <= 10
    assert size <= 1 << 20
    m = wingspan.map(large, [0, 12, 11, 1, 2], pool="local", memo=True, options=wingspan.Options(workers=0))
    taken = [m.why(number).partition(":")[0] for number in range(5)]
    assert taken == ["taken", "taken", "taken", "computed", "computed"]


def test_many_processes_may_use_it_at_once() -> None:
    """Maps that are made at the same moment, in several sessions, all end right."""
    script = textwrap.dedent(
        """
        import sys, wingspan
        def f(x): return [x, x * x]
        for turn in range(2):
            m = wingspan.map(f, range(40), pool="local", memo=True, options=wingspan.Options(workers=1))
            assert list(m) == [[x, x * x] for x in range(40)]
            m.remove()
        print("right")
        """
    )
    several = [
        subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    assert [one.communicate(timeout=PATIENCE) for one in several] == [("right\n", "")] * 3


def test_the_decorator_and_the_options_do_the_same(tmp_path: Path) -> None:
    """@wingspan.memo, Options(memo=True) and memo=True; memo=False turns it off for one map."""
    log = tmp_path / "log"
    log.touch()
    name = str(log)

    @wingspan.memo
    def logged(x: int) -> int:
        with Path(name).open("a") as file:
            file.write("x")
        return -x

    assert list(logged.map([1, 2], pool="local")) == [-1, -2]
    assert list(wingspan.map(logged, [2, 1], pool="local")) == [-2, -1]
    plain = logged.function
    assert list(wingspan.map(plain, [1], pool="local", options=wingspan.Options(memo=True))) == [-1]
    assert list(wingspan.starmap(plain, [(1,)], pool="local", memo=True)) == [-1]
    assert log.read_text() == "xxx", "a starmap calls in another way"
    assert list(logged.map([1], pool="local", memo=False)) == [-1]
    assert log.read_text() == "xxxx"
    assert logged(3) == -3
    with pytest.raises(wingspan.SettingsError, match="neither True nor False"):
        wingspan.Options(memo=7)  # type: ignore[arg-type]


@pytest.mark.parametrize("what", ["keys", "function"])
def test_a_map_that_says_something_else_of_itself_gives_nothing(what: str) -> None:
    """Workers can write into the map's folder: what it says there later of function and inputs is no claim to
    the outputs of others.
    """
    first = wingspan.map(abs, [-1, -2], pool="local", memo=True)
    first.wait(PATIENCE)
    keys, facts = first.path / "memo.keys", first.path / "memo.json"
    if what == "keys":
        data = keys.read_bytes()
        keys.write_bytes(data[16:] + data[:16])
    else:
        plain = json.loads(facts.read_bytes())
        facts.write_text(json.dumps({**plain, "digest": "00" * 16}))
    first.remove()
    second = wingspan.map(abs, [-1, -2], pool="local", memo=True)
    assert list(second) == [1, 2]
    assert second.why(0).startswith("computed")


def test_inputs_that_come_later_are_not_compared() -> None:
    """What a chain or an executor computes is computed, however alike two of them look before."""
    for given in (3, 4):
        first = wingspan.map(abs, [-given], pool="local")
        second = first.map(abs, options=wingspan.Options(memo=True))
        assert list(second) == [given]
        assert "gets its inputs later" in second.why(0)
    with wingspan.Executor(pool="local", options=wingspan.Options(memo=True)) as executor:
        assert executor.submit(abs, -5).result(PATIENCE) == 5


def test_what_cannot_be_compared_is_computed(caplog: pytest.LogCaptureFixture) -> None:
    """A map with files, whose content nobody compares, is computed, and that is said."""
    for _ in range(2):
        m = wingspan.map(abs, [-1], pool="local", memo=True, options=wingspan.Options(own_folder=True))
        assert list(m) == [1]
        assert m.why(0).startswith("computed: nothing was looked for")
    assert "has files" in caplog.text


def test_what_one_engine_has_computed_another_need_not(engine: str, tmp_path: Path) -> None:
    """On each engine outputs are kept, taken, and known for where they come from."""
    log = str(tmp_path / "log")

    def logged(x: int) -> list[int]:
        with Path(log).open("a") as file:
            file.write("x")
        return [x]

    options = wingspan.Options(workers=1, memo=True)
    first = wingspan.map(logged, [1, 2], tag="first", pool=engine, options=options)
    assert list(first) == [[1], [2]]
    second = wingspan.map(logged, [2, 3, 1], pool="local", options=options)
    assert list(second) == [[2], [3], [1]]
    assert second.why(0).startswith("taken: component 1 of the map 'first'")
    assert Path(log).read_text() == "xxx"
    third = wingspan.map(logged, [3, 2], pool=engine, options=options)
    assert (third.status().is_done, list(third)) == (True, [[3], [2]])
    assert Path(log).read_text() == "xxx"
    for m in (first, second, third):
        m.remove()
