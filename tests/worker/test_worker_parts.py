"""The worker's smaller parts: old interpreters, compatibility, pickling, failures, inputs, the file
transport, the zipapp.
"""

from __future__ import annotations

import ast
import functools
import itertools
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
import zipfile
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wingspan
import wingspan.worker
from _waiting import PATIENCE
from wingspan.pools.zipapp import worker_zipapp
from wingspan.worker import compatibility, failure
from wingspan.worker.inputs import Inputs
from wingspan.worker.pickling import Dumper, culprit, is_plain
from wingspan.worker.transports import FileTransport, Gone

MODULES = sorted(Path(wingspan.worker.__path__[0]).glob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_modules_parse_on_python_3_6(path):
    """An old interpreter gets as far as refusing: every module is grammar of Python 3.6."""
    ast.parse(path.read_text(), feature_version=(3, 6))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_modules_import_only_the_standard_library(path):
    """Nothing but the standard library, cloudpickle and htchirp is imported, and nothing of ours from
    outside.
    """
    # Python 3.12 and later have _sha2, earlier ones _sha256.
    allowed = sys.stdlib_module_names | {"_sha2", "_sha256", "cloudpickle", "htchirp", "wingspan_worker"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1
            names = [] if node.level else [node.module]
        else:
            continue
        assert {name.split(".")[0] for name in names} <= allowed


def test_the_zipapp_is_whole_and_kept():
    """One file with the worker, cloudpickle and htchirp; a second call answers the same file, and it says
    who it is.
    """
    path = worker_zipapp()
    assert worker_zipapp() == path
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
    assert {"__main__.py", "wingspan_worker/supervisor.py", "cloudpickle/__init__.py"} <= names
    if sys.platform == "linux":
        assert "htchirp/__init__.py" in names


def test_a_worker_without_a_map_ends_with_a_message(tmp_path):
    """A worker that cannot find its map says so on stderr, by an exit code, without hanging."""
    done = subprocess.run(
        [sys.executable, "-I", worker_zipapp(), "file", tmp_path / "no such map", "0", "0"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode != 0


def old_interpreters():
    """Pythons of this machine that are older than what Wingspan itself runs on."""
    places = [*os.environ["PATH"].split(os.pathsep), *map(str, Path.home().glob(".pyenv/versions/*/bin"))]
    # Where this user may not look, there is none.
    programs = (shutil.which(f"python3.{minor}", path=place) for place in places for minor in (6, 7, 8, 9))
    return sorted({program for program in programs if program and "shims" not in Path(program).parts})


@pytest.mark.skipif(not old_interpreters(), reason="no old Python on this machine")
def test_old_interpreters_refuse_politely(tmp_path, monkeypatch):
    """Real ones, down to 3.6, which some clusters still have: by exit code and record, not by a traceback."""
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path))
    m = wingspan.map(lambda x: x, [1], pool="local", options=wingspan.Options(workers=0))
    for number, program in enumerate(old_interpreters(), 1):
        done = subprocess.run(
            [program, m.path / "worker.pyz", "file", m.path, str(number), "0"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert "the Python versions differ" in done.stderr
        assert "Traceback" not in done.stderr
        assert done.returncode == 78
    assert "the Python versions differ" in m.status().message
    m.remove()


def test_a_worker_without_standard_output_ends_well(tmp_path, monkeypatch):
    """Some daemons close it: the work is done, and the exit code says so."""
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path))
    m = wingspan.map(lambda x: x + 1, [1], pool="local", options=wingspan.Options(workers=0))
    command = 'exec "$0" "$@" >&-'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, m.path / "worker.pyz", "file", m.path, "1", "0"],
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(m) == [2]


HERE = compatibility.this_interpreter()


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, None),
        ({"python": "3.4"}, ["3.4", HERE["python"], "version"]),
        ({"implementation": "PyPy"}, ["PyPy", "implementation"]),
        ({"cloudpickle": "1.0.0"}, ["cloudpickle 1.0.0", HERE["cloudpickle"]]),
        ({"cloudpickle": HERE["cloudpickle"].split(".")[0] + ".999"}, None),
        ({"python": None}, ["version"]),
    ],
)
def test_an_interpreter_that_cannot_read_a_pickle_is_recognised(facts, words):
    """Minor version, implementation and cloudpickle's major version decide; the incompatibility names
    both sides.
    """
    incompatibility = compatibility.incompatibility({**HERE, **facts}, HERE)
    if words is None:
        assert incompatibility is None
    else:
        assert all(word in incompatibility for word in words)


@given(st.binary())
def test_the_header_is_split_from_the_pickle(pickled):
    """Whatever bytes the pickle has, it comes back as it was."""
    facts, rest = compatibility.split(compatibility.header(HERE) + pickled)
    assert (facts, rest) == (HERE, pickled)


def test_a_header_that_is_cut_is_refused():
    """A file that ends before its first line does raises ValueError."""
    with pytest.raises(ValueError, match="cut"):
        compatibility.split(compatibility.header(HERE)[:-1])


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats(allow_nan=False),
    lambda children: (
        st.lists(children) | st.dictionaries(st.text(), children) | st.tuples(children, children)
    ),
    max_leaves=20,
)


@given(st.lists(plain, max_size=10))
def test_one_dumper_pickles_many_objects(values):
    """Objects pickled one after the other by one Dumper are independent of each other."""
    dumper = Dumper()
    assert [pickle.loads(pickled) for pickled in [dumper.dumps(value) for value in values]] == values


@given(plain)
def test_what_is_plain_has_the_same_pickle_without_our_pickler(value):
    """As long as a Dumper has met only small plain values, it does not need the pickler that knows code, and
    writes what that one writes.
    """
    ours, all_along = Dumper(), Dumper()
    assert all_along.codes == []  # this makes the pickler
    assert ours.dumps(value) == all_along.dumps(value)


@pytest.mark.parametrize(
    "value", [[Path()], {"a": ({1: len},)}, [True] * 1000, ["x" * 5000], {1: b"x" * 5000}]
)
def test_what_is_large_or_of_another_type_is_not_plain(value):
    """A value of another type, wherever it lies, and a value that is not small, are the full pickler's."""
    assert not is_plain(value)


def test_a_dumper_survives_what_it_cannot_pickle():
    """After a failure the next object is pickled as if nothing had been."""
    dumper = Dumper()
    shared = [1]
    for _ in range(2):
        with pytest.raises(TypeError):
            dumper.dumps([shared, threading.Lock()])
        assert pickle.loads(dumper.dumps([shared, lambda: 3]))[1]() == 3


class Holder:
    def __init__(self, thing):
        self.thing = thing


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (threading.Lock(), "it"),
        ([1, threading.Lock()], "it[1]"),
        ({"a": {"b": (0, threading.Lock())}}, "it['a']['b'][1]"),
        (Holder(threading.Lock()), "it.thing"),
        ([Holder([threading.Lock()])], "it[0].thing[0]"),
    ],
)
def test_the_culprit_is_found(value, where):
    """The smallest part that cannot be pickled is named by a path and its type."""
    place, kind = culprit(value, "it", Dumper().dumps)
    assert (place, kind) == (where, "_thread.lock")


def test_the_culprit_in_a_closure_is_named():
    """A closure's variable is named."""
    lock = threading.Lock()
    place, _ = culprit(lambda: lock, "the function", Dumper().dumps)
    assert "'lock'" in place
    assert "the function" in place


def test_a_culprit_that_holds_itself_ends():
    """A structure that contains itself is looked into only so deep."""
    knot = [threading.Lock()]
    knot.insert(0, knot)
    assert culprit(knot, "knot", Dumper().dumps)[1] in ("_thread.lock", "list")


class NoText(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def described(raiser, **more):
    try:
        raiser()
    except BaseException as error:
        return failure.loads(failure.dumps(failure.describe(error, "call", Dumper().dumps, **more)))


def test_failures_are_plain_data():
    """A description holds type, message, frames with source lines, the chain, and the input's repr."""

    def inner():
        raise KeyError("deep")

    def outer():
        try:
            inner()
        except KeyError as error:
            raise ValueError("on top") from error

    fields = described(outer, given={"a": 1}, has_input=True)
    assert [(link["type"], link["message"], link["link"]) for link in fields["chain"]] == [
        ("ValueError", "on top", None),
        ("KeyError", "'deep'", "cause"),
    ]
    assert fields["chain"][1]["frames"][-1][2:] == ("inner", 'raise KeyError("deep")')
    assert fields["input"] == "{'a': 1}"
    assert type(pickle.loads(fields["exception"])) is ValueError


def test_an_exception_without_text_is_described():
    """An exception whose str() raises does not hide that it happened."""

    def fail():
        raise NoText

    fields = described(fail)
    assert fields["chain"][0]["type"] == "NoText"
    assert "RuntimeError" in fields["chain"][0]["message"]


def test_a_chain_without_end_is_cut():
    """Exceptions that are each other's context are described once."""
    first, second = ValueError("first"), ValueError("second")
    first.__context__, second.__context__ = second, first

    def fail():
        raise first

    assert len(described(fail)["chain"]) == 2


def test_deep_recursion_is_described_in_bounds():
    """Of a RecursionError only the last hundred frames are kept."""

    def dive(n):
        return dive(n + 1)

    fields = described(functools.partial(dive, 0))
    assert fields["chain"][0]["type"] == "RecursionError"
    assert len(fields["chain"][0]["frames"]) == 100


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "map.json").write_text(json.dumps({}))
    transport = FileTransport(str(tmp_path))
    yield transport
    transport.close()


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=60), st.data())
def test_inputs_are_read_as_they_were_written(tmp_path_factory, parts, data):
    """Any runs of inputs, in any order, are what was written there."""
    path = tmp_path_factory.mktemp("inputs")
    offsets = array("Q", [0])
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    (path / "inputs.bin").write_bytes(b"".join(parts))
    (path / "inputs.idx").write_bytes(offsets.tobytes())
    inputs = Inputs(FileTransport(str(path)), len(parts))
    for _ in range(5):
        first = data.draw(st.integers(0, len(parts) - 1))
        stop = data.draw(st.integers(first + 1, len(parts)))
        bounds = inputs.bounds(first, stop)
        lengths = [after - before for before, after in itertools.pairwise(bounds)]
        assert lengths == [len(part) for part in parts[first:stop]]
        assert inputs.read(first, stop) == b"".join(parts[first:stop])


@pytest.mark.parametrize("name", ["inputs.bin", "inputs.idx"])
def test_inputs_that_are_cut_are_told(folder, tmp_path, name):
    """A file that is shorter than it should be raises EOFError with its name, and gives nothing wrong."""
    (tmp_path / "inputs.bin").write_bytes(b"abcdef")
    (tmp_path / "inputs.idx").write_bytes(array("Q", [0, 3, 6]).tobytes())
    os.truncate(tmp_path / name, (tmp_path / name).stat().st_size - 1)
    with pytest.raises(EOFError, match=name.replace(".", r"\.")):
        Inputs(folder, 2).read(1, 2)


def test_the_file_transport(folder, tmp_path):
    """Reading, appending, exclusive creation, listing, renaming, and what is not there."""
    with pytest.raises(FileNotFoundError):
        folder.read("nothing")
    assert folder.modified("nothing") is None
    assert folder.names("nothing") == []
    folder.append("log", b"ab")
    folder.append("log", b"cd")
    assert folder.read("log") == b"abcd"
    assert (folder.read("log", 2, 1), folder.read("log", 99, 3), folder.read("log", 1, 99)) == (
        b"bc",
        b"d",
        b"",
    )
    assert folder.create_exclusively("one", b"x")
    assert not folder.create_exclusively("one", b"y")
    assert folder.read("one") == b"x"
    folder.write_whole("one", b"longer")
    folder.write_whole("one", b"z")
    assert folder.read("one") == b"z"
    folder.make_folder("a")
    folder.make_folder("a")
    folder.make_folder("b")
    folder.write_whole("b/file", b"")
    assert not folder.rename_folder("a", "b")
    assert folder.rename_folder("b", "c")
    assert sorted(folder.names("")) == ["a", "c", "log", "map.json", "one"]
    folder.remove_tree("c")
    assert folder.names("c") == []
    assert folder.modified("log") == (tmp_path / "log").stat().st_mtime


def test_appending_to_a_removed_map_is_noticed(folder, tmp_path):
    """A worker whose map was removed learns it with its next append, though its file is open."""
    folder.append("results", b"1")
    tmp_path.rename(tmp_path.with_name("away"))
    with pytest.raises(Gone):
        folder.append("results", b"2")
    with pytest.raises(Gone):
        folder.names("rounds")


def test_a_worker_imports_its_modules_from_one_file():
    """A worker finds its modules in the archive's one compiled file, and the source of each for tracebacks;
    a Python that cannot read that file takes what the archive has beside it.
    """
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "if sys.argv[2] == 'other': import importlib.util; importlib.util.MAGIC_NUMBER = b'none'\n"
        "from wingspan_worker import together; together.install()\n"
        "from wingspan_worker import formats\n"
        "import linecache\n"
        "line = linecache.getline(formats.sign.__code__.co_filename, 1, vars(formats))\n"
        "print(type(formats.__loader__).__module__, 'Records' in line, 'cloudpickle' in sys.modules)\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-I", "-c", program, worker_zipapp(), which],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for which in ("this", "other")
    ]
    assert said == ["wingspan_worker.together True False\n"] * 2
