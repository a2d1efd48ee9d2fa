"""The user's own modules on workers: which go along, what they find there, and what of them later
sessions have.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import wingspan
from _waiting import PATIENCE
from wingspan.worker import own, together

PACKAGE = {
    "shop/__init__.py": "",
    "shop/config.py": "from pathlib import Path\nRATE = 2\ndef note():\n    return (Path(__file__).parent / 'note.txt').read_text()\n",
    "shop/note.txt": "from beside",
    "shop/till.py": """
from . import config

class Receipt:
    def __init__(self, total):
        self.total = total

class Refused(Exception):
    def __init__(self, why, *, code):
        self.why, self.code = why, code

def pay(x):
    from .config import RATE
    return Receipt(RATE * x)

def read(x):
    return config.note()

def refuse(x):
    raise Refused("no", code=x)

def spawn(x):
    import multiprocessing
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(double, [x])

def double(x):
    return config.RATE * x
""",
}


@pytest.fixture
def project(tmp_path):
    """A folder with the user's package, and how to run Python there."""

    class Project:
        folder = tmp_path / "project"

        def write(self, **files):
            for name, text in files.items():
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)

        def run(self, *arguments, text=None, cwd=None, **variables):
            done = subprocess.run(
                [sys.executable, *arguments],
                input=text,
                cwd=cwd or self.folder,
                env={**os.environ, **variables},
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout.splitlines()

    made = Project()
    made.write(**PACKAGE)
    return made


def test_workers_that_do_not_see_the_caller_s_files(project):
    """Where the caller's files are not, source and data files of the package are, and tracebacks name the
    caller's paths.
    """
    project.write(
        **{
            "make.py": """
import sys, wingspan
from shop import till
for tag in ("pay", "read", "refuse", "spawn"):
    wingspan.map(getattr(till, tag), [3], tag=tag, options=wingspan.Options(workers=0))
"""
        }
    )
    project.run("make.py")
    moved = project.folder.rename(project.folder.with_name("elsewhere"))
    for tag in ("pay", "read", "refuse", "spawn"):
        wingspan.load(tag).add_workers(1, "local")
    assert wingspan.load("read")[0] == "from beside"
    assert wingspan.load("spawn")[0] == [6]
    wingspan.load("refuse").wait(errors_ok=True)
    text = wingspan.load("refuse").errors[0].traceback
    assert f'File "{project.folder}/shop/till.py"' in text
    assert 'raise Refused("no", code=x)' in text
    assert moved.is_dir()


def test_a_later_session_without_the_module_has_the_map_s(project, tmp_path):
    """A session that cannot import the module gets class and exception from the map's folder; one that
    can has its own.
    """
    project.write(
        **{
            "make.py": """
import wingspan
from shop import till
wingspan.map(till.pay, [3], tag="pay", pool="local").wait()
wingspan.map(till.refuse, [3], tag="refuse", pool="local").wait(errors_ok=True)
""",
            "later.py": """
import wingspan
print(wingspan.load("pay")[0].total)
try:
    wingspan.load("refuse")[0]
except Exception as error:
    print(type(error).__module__, type(error).__name__, error.why, error.code)
""",
            "own.py": """
import wingspan, shop.till
shop.till.Receipt.mended = 5
print(wingspan.load("pay")[0].mended, type(wingspan.load("pay")[0]) is shop.till.Receipt)
""",
        }
    )
    project.run("make.py")
    (tmp_path / "far").mkdir()
    (project.folder / "later.py").rename(tmp_path / "far" / "later.py")
    assert project.run(tmp_path / "far" / "later.py", cwd=tmp_path / "far") == ["6", "shop.till Refused no 3"]
    assert project.run("own.py") == ["5 True"]


def test_errors_are_told_without_reading_the_exceptions(project, tmp_path):
    """The command that lists errors imports nothing of the user's: only who asks for the exception has it
    unpickled.
    """
    project.write(
        **{
            "loud.py": "open('imported', 'a').write('x')\nclass Loud(Exception):\n    pass\ndef fail(x):\n    raise Loud(x)\n",
            "make.py": """
import os, wingspan, loud
wingspan.map(loud.fail, [3], tag="loud", pool="local").wait(errors_ok=True)
os.remove("imported")
""",
        }
    )
    project.run("make.py")
    told = "\n".join(project.run("-m", "wingspan", "errors", "loud"))
    assert "Loud" in told
    assert not (project.folder / "imported").exists()


def test_a_module_edited_since_its_import_is_as_the_session_has_it(project):
    """Functions are the session's, not those that its file has now, until it is imported again; also
    where the file cannot be compiled.
    """
    project.write(
        **{
            "edited.py": "K = 1\ndef helper():\n    return 'old'\ndef look(x):\n    return helper(), K\n",
            "make.py": """
import importlib, os, wingspan, edited
from pathlib import Path
def look():
    return wingspan.map(edited.look, [1], pool="local")[0]
def write(text):
    Path("edited.py").write_text(text)
print(*look())
write("K = 2\\n\\ndef helper():\\n    return 'newer'\\ndef look(x):\\n    return helper(), K, 'more'\\n")
print(*look())
importlib.reload(edited)
print(*look())
write("def look(x:")
print(*look())
""",
        }
    )
    assert project.run("make.py") == ["old 1", "old 1", "newer 2 more", "newer 2 more"]


def test_a_package_run_as_a_program(project):
    """In ``python -m package`` functions of its ``__main__`` import relatively, and so do their child
    processes; folders without __init__ work.
    """
    project.write(
        **{
            "shop/__main__.py": """
import multiprocessing, wingspan
import folder.inside
from . import till
def relative(x):
    from .config import RATE
    return RATE, __package__
def in_child(x):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(relative, [x])
for function in (relative, in_child, folder.inside.triple):
    print(wingspan.map(function, [1], pool="local")[0])
""",
            "folder/inside.py": "def triple(x):\n    return 3 * x\n",
        }
    )
    assert project.run("-m", "shop") == ["(2, 'shop')", "[(2, 'shop')]", "3"]


def test_what_is_too_much_is_told(project, monkeypatch):
    """A package with more data than goes along: its source goes, the largest files stay, and a warning
    names them.
    """
    project.write(
        **{
            "make.py": """
import logging, wingspan
logging.basicConfig(format="%(message)s")
from wingspan.maps import _own, _own_files
_own_files.MOST_BYTES = 1000
from shop import till
print(wingspan.map(till.pay, [1], pool="local")[0].total)
m = wingspan.map(till.read, [1], pool="local")
unpacked = _own.OwnCode(["shop"]).pack()
print(sorted(path for _, path in unpacked["files"] if not path.endswith(".py")))
"""
        }
    )
    (project.folder / "shop" / "large.bin").write_bytes(bytes(2000))
    assert project.run("make.py") == ["2", "['shop/note.txt']"]


def test_a_worker_needs_no_wingspan(project):
    """Own modules that import Wingspan at their top are imported by a Python that has it not; calling it
    there is an error.
    """
    project.write(
        **{
            "study.py": """
import wingspan
from wingspan import Options, map as pool_map
OPTIONS = Options(request_memory="1 GB")
def work(x):
    return x + 1
def again(x):
    return wingspan.map(work, [x])
""",
            "worker.py": """
import sys
sys.path.insert(0, sys.argv[1])
from wingspan_worker import own
own.install(open("packed", "rb").read(), ".")
import study
print(study.work(1))
try:
    study.again(1)
except ImportError as error:
    print(error)
""",
            "make.py": """
from wingspan.maps._own import OwnCode
from wingspan.worker import own
open("packed", "wb").write(own.pack(OwnCode(["study"]).pack()))
""",
        }
    )
    from wingspan.pools.zipapp import worker_zipapp

    project.run("make.py")
    told = project.run("-S", "-E", "worker.py", str(worker_zipapp()))
    assert told == ["2", "wingspan.map cannot be called: Wingspan is not installed on this worker"]


def test_a_function_given_later_brings_its_module(project):
    """`rerun` with another function of an own module: the module goes along, as do those that the inputs
    need.
    """
    project.write(
        **{
            "make.py": """
import wingspan
from shop import till
m = wingspan.map(lambda r: 1 / 0, [till.Receipt(4)], pool="local")
m.wait(errors_ok=True)
import other
m.rerun(m.errors, function=other.total)
print(m[0])
""",
            "other.py": "def total(receipt):\n    return type(receipt).__module__, receipt.total\n",
        }
    )
    assert project.run("make.py") == ["('shop.till', 4)"]


def test_nothing_is_left_in_the_scratch_folder(project, tmp_path):
    """What executors write for own modules and child processes goes with them."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    project.write(
        **{
            "make.py": """
import multiprocessing, wingspan
from shop import till
def square(x):
    return x * x
def in_child(x):
    till.double(x)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(square, [x])
m = wingspan.map(in_child, [3], options=wingspan.Options(workers=0), tag="left")
""",
            "wait.py": """
import wingspan
m = wingspan.load("left")
m.add_workers(1, "local")
print(m[0])
wingspan.remove("left", force=True)  # waits for its workers
""",
        }
    )
    project.run("make.py", TMPDIR=str(scratch))
    project.folder.rename(project.folder.with_name("elsewhere"))
    assert project.run(
        "wait.py", cwd=project.folder.with_name("elsewhere"), TMPDIR=str(scratch), WINGSPAN_IDLE_SECONDS="0"
    ) == ["[9]"]
    assert [path.name for path in Path(scratch).iterdir() if path.name.startswith(".wingspan-own")] == []


OWN = """
class Trouble(Exception):
    pass

class Thing:
    def __init__(self, value):
        self.value = value

def fail(x):
    raise Trouble(x)

def make(x):
    return Thing(x)
"""


def test_own_exceptions_are_caught_in_another_session(tmp_path, other_python):
    """`except mine.Trouble` works in a second process, where the function's module can be imported too."""
    (tmp_path / "mine.py").write_text(OWN)
    other_python(
        "import mine, wingspan; wingspan.map(mine.fail, [1], tag='own', pool='local').wait(errors_ok=True)"
    )
    script = """
import mine, wingspan
try:
    wingspan.load("own")[0]
except mine.Trouble as error:
    print("caught", error)
"""
    assert other_python(script).stdout == "caught 1\n"


SAME_NAME = """
import importlib.util, sys, wingspan
def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
one, two = load("plugin", "one/plugin.py"), load("plugin", "two/plugin.py")
orphan = load("no.such.package", "one/plugin.py")
who, other = one.who, two.who
print(list(wingspan.map(lambda _: (one.who(), two.who(), who(), other(), orphan.who()), [0], pool="local")))
"""


def test_two_modules_of_one_name_stay_two(other_python, tmp_path):
    """Modules made from files under one name, or under one that no import finds, are each what they are
    on the worker, too.
    """
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "plugin.py").write_text(f"NAME = {name!r}\ndef who():\n    return NAME\n")
    assert other_python(SAME_NAME).stdout == "[('one', 'two', 'one', 'two', 'one')]\n"


def test_own_modules_with_names_of_the_standard_library(project):
    """The user's own modules hide Python's from the user's code only: what the worker imports later is
    Python's, and so it tells failures as ever.
    """
    project.write(
        **{
            "mine/reprlib.py": "HELD = 'mine'\n",
            "mine/tempfile.py": "HELD = 'mine'\n",
            "make.py": """
import sys, wingspan
wingspan.map(abs, [0], pool="local")[0]  # this session has imported what it needs
sys.path.insert(0, "mine")
for name in ("reprlib", "tempfile"):
    sys.modules.pop(name, None)
def fail(x):
    import reprlib, tempfile
    if x:
        raise ValueError(reprlib.HELD, tempfile.HELD)
m = wingspan.map(fail, [1, 0], pool="local", options=wingspan.Options(workers=1))
m.wait(errors_ok=True)
print(m.errors[0].message, "raise ValueError" in m.errors[0].traceback, m[1])
""",
        }
    )
    assert project.run("make.py") == ["component 0 failed: ValueError: ('mine', 'mine') True None"]


def test_the_worker_has_its_own_standard_library_and_built_in_functions(project):
    """Own modules may have every name of the standard library that the worker imports, and may replace
    built-in functions: the worker's modules, also those that it imports afterwards, see nothing of it.
    """
    project.write(
        **{
            "worker.py": """
import builtins, importlib, sys
sys.path.insert(0, sys.argv[1])
from wingspan_worker import together
together.install()
from wingspan_worker import own
own.install(open("packed", "rb").read(), ".")
builtins.len, was = None, builtins.len
import wingspan_worker.failure as ours
here = vars(ours)["__builtins__"]
library = [name for name in together.LIBRARY if name.partition(".")[0] in sys.stdlib_module_names]
asked = [here["__import__"](name, {}, {}, ["x"]) for name in library]
builtins.len = was
print([name for name, module in zip(library, asked) if hasattr(module, "HELD")])
for name in sys.argv[2].split():
    module = importlib.import_module("wingspan_worker." + name)
    print(*[held for held, value in vars(module).items() if hasattr(value, "HELD")], sep="")
print([name for name in sys.argv[3].split() if not hasattr(importlib.import_module(name), "HELD")])
""",
        }
    )
    # Those that Python itself imports at its start are nobody's to hide.
    hidden = {name.partition(".")[0] for name in together.LIBRARY} - {"abc", "importlib", "io", "os", "stat"}
    hidden -= set(sys.builtin_module_names)
    mine = {
        "roots": [str(project.folder)],
        "modules": {name: (0, f"{name}.py", "module") for name in hidden},
        "files": {(0, f"{name}.py"): (10**18, b"HELD = 1") for name in hidden},
        "state": {},
    }
    (project.folder / "packed").write_bytes(own.pack(mine))
    from wingspan.pools.zipapp import worker_zipapp

    # The supervisor alone, which has no own modules, speaks chirp.
    names = {path.stem for path in Path(own.__file__).parent.glob("[a-z]*.py")} - {"wingspan_main", "chirp"}
    told = project.run("worker.py", str(worker_zipapp()), " ".join(names), " ".join(hidden))
    assert told == ["[]", *[""] * len(names), "[]"]


def test_every_module_that_the_worker_imports_is_kept():
    """The list of what the worker keeps for itself names all that its modules import, wherever they do."""
    imported = set()
    for path in Path(own.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module)
    ours = {
        name for name in imported if name.partition(".")[0] in ("wingspan_worker", "cloudpickle", "htchirp")
    }
    assert imported - ours - set(sys.builtin_module_names) == set(together.LIBRARY) - set(
        sys.builtin_module_names
    )


def test_an_own_module_that_fails_on_the_worker_is_told_in_words(project):
    """The signal that ended the process, which wrote nothing; and a traceback of the user's lines alone."""
    project.write(
        **{
            "make.py": """
import os, sys, wingspan
os.environ["MADE_BY"] = str(os.getpid())
import fragile
for how in ("end", "raise"):
    os.environ["HOW"] = how
    try:
        wingspan.map(fragile.work, [1], pool="local").wait()
    except wingspan.WorkersCannotStart as error:
        print(repr(str(error)))
""",
            "fragile.py": """
import os
if os.environ["MADE_BY"] != str(os.getpid()):
    if os.environ["HOW"] == "end":
        os.kill(os.getpid(), 9)
    raise OSError("not here")
def work(x):
    return x
""",
        }
    )
    ended, raised = project.run("make.py")
    assert "does not start: it was killed by signal 9" in ended
    assert "it wrote nothing to standard error" in ended
    assert "OSError: not here" in raised
    assert raised.count("File ") == 1
