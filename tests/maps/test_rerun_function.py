"""Doing again with another function: which code each component is of, and what is told when code has
changed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import wingspan
from _each_engine import use_engine
from _on_disk import change_map_json
from _waiting import PATIENCE
from wingspan.maps._code import describe, what_differs
from wingspan.worker import rounds

SCRIPT = """
import wingspan

def scale(x):
    return x * 10

def f(x):
    if x % 3 == 0:
        raise ValueError("no multiples of three")
    return scale(x)

if __name__ == "__main__":
    m = wingspan.map(f, range(7), tag="scripted", pool="local")
    m.wait(errors_ok=True)
"""


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A session of its own, in a folder."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def wingspan_command(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wingspan", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A script that has made the map ``scripted``, of which 0, 3 and 6 failed."""
    path = tmp_path / "work" / "script.py"
    path.parent.mkdir()
    path.write_text(SCRIPT)
    subprocess.run([sys.executable, str(path)], check=True, cwd=path.parent, timeout=PATIENCE)
    return path


def bad(x: int) -> int:
    if x % 2:
        raise ValueError("odd")
    return x


def good(x: int) -> int:
    return -x


@pytest.mark.parametrize("pool", ["local", pytest.param("personal", marks=pytest.mark.htcondor)])
def test_what_failed_is_done_with_the_function_that_is_given(
    pool: str, request: pytest.FixtureRequest, data_dir: Path
) -> None:
    """Failures get outputs of the new function, the others keep theirs; another session knows which is of
    which.
    """
    use_engine(request, pool)
    m = wingspan.map(bad, range(6), tag="mended", pool=pool)
    m.wait(errors_ok=True)
    again = m.rerun(m.errors, function=good)
    assert again.components == (1, 3, 5)
    assert list(m) == [0, -1, 2, -3, 4, -5]
    there = wingspan.load("mended")
    assert [there.function_of(component).name for component in range(3)] == ["bad", "good", "bad"]
    assert [version.name for version in there.functions] == ["bad", "good"]
    assert there.function_name == "good"


def test_the_function_given_last_is_the_maps() -> None:
    """Done again without naming one, components get the function that was given last; the first one can
    be given again.
    """
    m = wingspan.map(bad, range(4), pool="local")
    m.wait(errors_ok=True)
    m.rerun(m.errors, function=good)
    assert list(m) == [0, -1, 2, -3]
    m.rerun([2])
    assert list(m) == [0, -1, -2, -3]
    m.rerun([2], function=bad)
    assert list(m) == [0, -1, 2, -3]
    assert m.function_of(2).number == 0


def test_a_function_that_no_worker_can_load_is_replaced() -> None:
    """Where the first function cannot even be unpickled, one given later is called all the same."""

    class Unloadable:
        def __reduce__(self) -> object:
            return (int, ("not a number",))

    broken = Unloadable()

    def cannot(x: int) -> object:
        return broken, x

    m = wingspan.map(cannot, range(3), pool="local")
    with pytest.raises(wingspan.WorkersCannotStart):
        m.wait()
    m.rerun(function=good)
    assert list(m) == [0, -1, -2]


def test_workers_on_their_way_use_the_function_of_each_round(gate) -> None:
    """A worker busy with the first function takes up the round of another, and loads that function for it."""

    def waits(x: int) -> int:
        gate.wait()
        return x

    m = wingspan.map(waits, range(8), pool="local", options=wingspan.Options(workers=2))
    m.rerun([6, 7], function=good)
    gate.open()
    assert list(m) == [0, 1, 2, 3, 4, 5, -6, -7]


def test_retries_and_repairs_call_the_function_of_their_component() -> None:
    """A round without a function of its own calls, for each component, that of the round that wanted it
    afresh.
    """
    plans = {
        0: rounds.Plan(rounds.INITIAL, [(0, 10)], 1, 1),
        1: rounds.Plan(rounds.RERUN, [(2, 5)], 1, 1, "functions/a.pkl"),
        2: rounds.Plan(rounds.REPAIR, [(0, 10)], 10, 1),
        3: rounds.Plan(rounds.RERUN, [(4, 5)], 1, 1),
    }
    assert [rounds.function_of(plans, component, 2) for component in (1, 2, 4, 5)] == [
        rounds.FUNCTION,
        "functions/a.pkl",
        "functions/a.pkl",
        rounds.FUNCTION,
    ]
    assert rounds.function_of(plans, 4, 3) == rounds.FUNCTION
    assert rounds.newest_function({number: plans[number] for number in (0, 1, 2)}) == "functions/a.pkl"
    read = rounds.Plan.loads(b"k" * 32, plans[1].dumps(b"k" * 32, 1), 1)
    assert read is not None
    assert read.function == "functions/a.pkl"


def test_a_retry_of_a_component_calls_the_new_function(tmp_path: Path) -> None:
    """Options(retries=…) retries what was given, not what the map was made with."""
    marker = str(tmp_path / "tried")

    def second_time(x: int) -> str:
        if not Path(marker).exists():
            Path(marker).touch()
            raise ValueError("the first time")
        return f"new {x}"

    m = wingspan.map(bad, range(2), pool="local", options=wingspan.Options(retries=1))
    m.wait(errors_ok=True)
    m.rerun(m.errors, function=second_time)
    assert list(m) == [0, "new 1"]


def test_an_altered_function_file_is_not_called() -> None:
    """The file of a later function is named by its content: another content is refused, here and by
    workers.
    """
    m = wingspan.map(bad, range(2), pool="local")
    m.wait(errors_ok=True)
    m.rerun([1], function=good)
    m.wait()
    (file,) = (m.path / "functions").glob("*.pkl")
    file.write_bytes(file.read_bytes() + b".")
    with pytest.raises(wingspan.MapDamaged, match="good as of"):
        m.rerun([1])
    assert list(m) == [0, -1]


def test_a_map_whose_workers_know_one_function_refuses_another() -> None:
    """The worker of an older map would call its only function silently: an error instead."""
    m = wingspan.map(bad, range(2), pool="local")
    m.wait(errors_ok=True)
    change_map_json(m, functions=False)
    with pytest.raises(wingspan.MapError, match="cannot take another function"):
        wingspan.load(m.tag).rerun([1], function=good)


def test_what_cannot_be_called_is_refused_before_anything_is_given_up() -> None:
    """function= that is none, or cannot travel, leaves the map as it was."""
    m = wingspan.map(bad, range(2), pool="local")
    m.wait(errors_ok=True)
    for wrong in (3, lambda x: (yield x), lambda x, lock=__import__("threading").Lock(): x):
        with pytest.raises(wingspan.NotPicklable):
            m.rerun(function=wrong)  # type: ignore[arg-type]
    assert m.status().is_done


# -- what is told --------------------------------------------------------------------------------------------


def test_rerun_says_which_code_it_is_of(script: Path) -> None:
    """Nothing has changed: rerun answers with the function, its place and the time, and warns of nothing."""
    done = python("import wingspan; m = wingspan.load('scripted'); print(m.rerun(m.errors))", script.parent)
    assert done.stdout.startswith("map scripted: 3 components again, with f as of ")
    assert done.stdout.rstrip().endswith("(script.py, line 7)")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("x % 3 == 0", "x < 0", "f in"),
        ("x * 10", "x * 20", "scale in"),
        ("return x", "return (", "script.py has"),
    ],
    ids=["the function", "what it calls", "not Python any more"],
)
def test_a_changed_file_is_noticed(script: Path, old: str, new: str, named: str) -> None:
    """A session that only loads the map, and the command line, say that the file has other code now, and
    how to use it.
    """
    script.write_text(script.read_text().replace(old, new, 1))
    done = python("import wingspan; m = wingspan.load('scripted'); m.rerun(m.errors)", script.parent)
    assert named in done.stderr
    assert "--with-current-inputs" in done.stderr
    wingspan_command("wait", "scripted", folder=script.parent)
    done = wingspan_command("rerun", "scripted", "--errors", folder=script.parent)
    assert done.stderr.startswith("Note: ")
    assert named in done.stderr
    assert "with f as of" in done.stdout


def test_lines_that_move_are_no_change(script: Path) -> None:
    """A comment and a line above change neither code nor constants."""
    script.write_text(
        "# what it is for\nimport math\n" + script.read_text().replace("return x *", "return x  *  ")
    )
    done = python("import wingspan; m = wingspan.load('scripted'); m.rerun(m.errors)", script.parent)
    assert done.stderr == ""


def test_the_command_line_does_it_with_the_file_as_it_is(script: Path) -> None:
    """--with-current-inputs calls the function of the file as it is now; what was computed before stays."""
    script.write_text(script.read_text().replace("x % 3 == 0", "x < 0").replace("x * 10", "x * 100"))
    done = wingspan_command("rerun", "scripted", "--errors", "--with-current-inputs", folder=script.parent)
    assert done.returncode == 0, done.stderr
    assert "Note" not in done.stderr
    assert list(wingspan.load("scripted")) == [0, 10, 20, 300, 40, 50, 600]


def test_a_function_of_a_package_is_taken_as_it_is_now(tmp_path: Path) -> None:
    """Relative imports of the file work, and what the package has beside it is as it is now, too."""
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").touch()
    (tmp_path / "pkg" / "config.py").write_text("SHIFT = 10\n")
    work = tmp_path / "pkg" / "work.py"
    work.write_text(
        "from .config import SHIFT\ndef g(x):\n    if x: raise ValueError(x)\n    return x + SHIFT\n"
    )
    made = python(
        "import wingspan; from pkg.work import g; wingspan.map(g, [0, 1], tag='own', pool='local').wait(errors_ok=True)",
        tmp_path,
    )
    assert made.returncode == 0, made.stderr
    work.write_text(work.read_text().replace("if x: raise ValueError(x)", "pass"))
    # Of another size: within one second Python itself takes a file of the same size for unchanged (its byte
    # code says so).
    (tmp_path / "pkg" / "config.py").write_text("SHIFT = 10 + 10\n")
    done = wingspan_command("rerun", "own", "--errors", "--with-current-inputs", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(wingspan.load("own")) == [10, 21]


def test_the_command_line_takes_another_function(script: Path) -> None:
    """--function FILE:NAME is called; what is no function, no file, or cannot be imported is an error of
    one line.
    """
    (script.parent / "other.py").write_text("def negative(x): return -x\n")
    (script.parent / "broken.py").write_text("import nowhere_to_be_found\n")
    for wrong in ("other.py", "other.py:positive", "missing.py:f", "broken.py:f"):
        done = wingspan_command("rerun", "scripted", "--errors", "--function", wrong, folder=script.parent)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "Hint: " in done.stderr
    done = wingspan_command(
        "rerun", "scripted", "--errors", "--function", "other.py:negative", folder=script.parent
    )
    assert done.returncode == 0, done.stderr
    assert list(wingspan.load("scripted")) == [0, 10, 20, -3, 40, 50, -6]


def test_a_function_redefined_at_the_prompt_is_noticed(tmp_path: Path) -> None:
    """The function in hand is another than the map's: told each time, with the call that takes it."""
    code = """
    import wingspan
    def f(x): return 1 / x
    m = wingspan.map(f, [0, 1], pool="local")
    m.wait(errors_ok=True)
    def f(x): return x
    m.rerun(m.errors)
    m.wait(errors_ok=True)
    m.rerun(m.errors, function=f)
    print(list(m))
    """
    done = python(code, tmp_path)
    assert done.stderr.count("the function f that you have now is another (f)") == 1
    assert "rerun(…, function=f)" in done.stderr
    assert done.stdout == "[0, 1.0]\n"


def test_an_edited_module_that_was_not_imported_again_is_noticed(script: Path) -> None:
    """The file is edited, and the function given is still the one imported before: said, with what to do."""
    code = """
    import script, wingspan, pathlib
    m = wingspan.load("scripted")
    file = pathlib.Path("script.py")
    file.write_text(file.read_text().replace("x % 3 == 0", "x < 0"))
    m.rerun(m.errors, function=script.f)
    """
    assert "importlib.reload" in python(code, script.parent).stderr


def test_a_notice_comes_each_time(caplog: pytest.LogCaptureFixture) -> None:
    """The same notice comes again the next time, and is in what rerun answers."""
    m = wingspan.map(bad, range(2), pool="local")
    m.wait(errors_ok=True)
    info = json.loads((m.path / "map.json").read_text())
    info["code"]["parts"]["bad"]["digest"] = "another"
    (m.path / "map.json").write_text(json.dumps(info))
    m = wingspan.load(m.tag)
    for _ in range(2):
        caplog.clear()
        again = m.rerun([1])
        assert [record.getMessage() for record in caplog.records] == list(again.notices) != []
        m.wait(errors_ok=True)


# -- what is compared ----------------------------------------------------------------------------------------

LIMIT = 3


def helper(x: int) -> int:
    return x + LIMIT


class Model:
    rate = 2

    def predict(self, x: int) -> int:
        return helper(x) * self.rate


def uses(x: int) -> int:
    return Model().predict(x)


def test_parts_reach_what_a_function_refers_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A helper's code, a method's, and the value of a global are parts; a change of one is named, and
    nothing else.
    """
    before = describe(uses)["parts"]
    assert what_differs(before, describe(uses)["parts"]) == ()
    monkeypatch.setitem(globals(), "LIMIT", 4)
    assert what_differs(before, describe(uses)["parts"]) == ("the value of LIMIT",)


def by_text(x: int) -> int:
    return int(eval("x + LIMIT"))


def test_parts_reach_what_a_function_names_in_a_string(monkeypatch: pytest.MonkeyPatch) -> None:
    """A global that only a string of the function names is a part, too."""
    before = describe(by_text)["parts"]
    monkeypatch.setitem(globals(), "LIMIT", 4)
    assert what_differs(before, describe(by_text)["parts"]) == ("the value of LIMIT",)


def test_parts_are_the_same_in_another_session(tmp_path: Path) -> None:
    """Neither hashing of strings, nor memory addresses, nor the order of a set make a difference between
    two sessions.
    """
    (tmp_path / "mine.py").write_text(
        "import functools, re\nNAMES = {'a', 'bc', 'def', 'g'}\nPATTERN = re.compile('a+')\nTABLE = {'x': [1.5, None], 'y': (NAMES,)}\n"
        "@functools.lru_cache\ndef g(x): return x in NAMES\n"
        "def f(x, y=frozenset('pqrs')): return g(x), PATTERN.match(x), TABLE, [one for one in {'u', 'v', 'w'}], x in {'k', 'l', 'm'}\n"
    )
    code = "import json, mine; from wingspan.maps._code import describe; print(json.dumps(describe(mine.f)['parts']))"
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(told) == 1
    assert len(json.loads(told.pop())) >= 5


@pytest.mark.parametrize("odd", [print, len, int, str.upper, "operator", "partial", "object"])
def test_any_callable_can_be_described(odd: object) -> None:
    """Builtins, methods, partials and objects with __call__ are described without an error."""
    import functools
    import operator

    class Called:
        def __call__(self, x: int) -> int:
            return x

    chosen = {"operator": operator.itemgetter(0), "partial": functools.partial(bad, 1), "object": Called()}
    func = chosen.get(odd, odd) if isinstance(odd, str) else odd
    assert describe(func)["name"]  # type: ignore[arg-type]
