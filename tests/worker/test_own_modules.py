"""The user's own modules in an executor: imported from the text that came with the function."""

from __future__ import annotations

import importlib
import os
import pickle
import random
import sys
import traceback
from pathlib import Path

import pytest

from wingspan.worker import absent, own
from wingspan.worker.scratch import own_prefix, remove_left_behind

SOURCE = b"""\
import random
table = {"made": "here"}
names = [1]
chosen = {1}
number = 1
generator = random.Random(1)
random.seed(1)

class Settings:
    level = 1

settings = Settings()
settings.more = "here"

def fail():
    raise ValueError("told")
"""


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Makes own modules importable, until the test ends; answers the finder."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = set(sys.modules)
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def make(root, files, state=None, modules=None):
        known = {}
        for relative in files:
            name = relative[:-3].replace("/", ".")
            package = name.endswith(".__init__")
            name = name[: -len(".__init__")] if package else name
            known[name] = (0, relative, "package" if package else "module")
        value = {
            "roots": [str(root)],
            "modules": {**known, **(modules or {})},
            "files": {(0, relative): (10**18, text) for relative, text in files.items()},
            "state": state or {},
        }
        return own.install(own.pack(value), str(scratch))

    yield make
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_function_without_own_modules_has_none():
    """Nothing precedes its pickle; what is packed comes back."""
    assert own.pack(None) is None
    assert own.unpack(own.pack({"roots": ["/a"]})) == {"roots": ["/a"]}


def test_modules_come_from_the_text(install, tmp_path):
    """Also where the caller's files are not seen: packages, modules in them, and folders without a file."""
    finder = install(
        tmp_path / "not here",
        {"wsown_a/__init__.py": b"from . import b", "wsown_a/b.py": b"x = 5", "wsown_n/c.py": b"y = 6"},
        modules={"wsown_n": (0, "wsown_n", "namespace")},
    )
    package, inner = importlib.import_module("wsown_a"), importlib.import_module("wsown_n.c")
    assert (package.b.x, inner.y) == (5, 6)
    assert Path(package.__file__).read_bytes() == b"from . import b"
    assert Path(package.__file__).is_relative_to(tmp_path / "scratch")
    assert finder.find_spec("wsown_other") is None
    assert sys.path[1] == finder.folders[0]
    assert {package, package.b, inner} <= set(own.modules_of_the_user())


def test_tracebacks_name_the_caller_s_file(install, tmp_path):
    """Users know their own paths, and none of a worker's scratch folder."""
    install(tmp_path / "not here", {"wsown_d.py": SOURCE})
    with pytest.raises(ValueError, match="told") as caught:
        importlib.import_module("wsown_d").fail()
    assert traceback.extract_tb(caught.tb)[-1].filename == str(tmp_path / "not here/wsown_d.py")


def test_the_caller_s_files_are_used_where_they_are_the_same(install, tmp_path):
    """Files beside them are found then. Changed ones are not used, but their place is named."""
    root = tmp_path / "home"
    root.mkdir()
    (root / "wsown_e.py").write_bytes(b"x = 1")
    os.utime(root / "wsown_e.py", ns=(10**18, 10**18))
    assert install(root, {"wsown_e.py": b"x = 1"}).folders == [str(root)]
    assert list((tmp_path / "scratch").iterdir()) == []
    (root / "wsown_e.py").write_bytes(b"x = 2")
    assert install(root, {"wsown_e.py": b"x = 1"}).folders == [str(root)]
    assert importlib.import_module("wsown_e").x == 1
    assert importlib.import_module("wsown_e").__file__ == str(root / "wsown_e.py")


def test_globals_are_as_they_were_where_the_map_was_made(install, tmp_path):
    """What others may refer to is changed in place; a path of the caller's is left as it was made here."""
    root = tmp_path / "not here"
    changes = {
        "table": {"made": "there"},
        "names": [2, 3],
        "chosen": {4},
        "number": 9,
        "new": "value",
        "Settings.level": 7,
        "missing.level": 7,
    }
    state = [(path, pickle.dumps(value)) for path, value in changes.items()]
    state.append(("number", pickle.dumps(str(root) + "/data")))
    text = SOURCE + b"\nheld = table, names, chosen, settings\n"
    install(root, {"wsown_f.py": text}, {"wsown_f": state})
    module = importlib.import_module("wsown_f")
    assert module.held[:3] == ({"made": "there"}, [2, 3], {4})
    assert module.held[0] is module.table
    assert (module.number, module.new, module.Settings.level) == (9, "value", 7)
    assert not hasattr(module, "missing")


def test_objects_are_changed_in_place():
    """Whoever holds one sees what it was where the map was made; one of another class takes its place."""

    class Plain:
        pass

    class Holder:
        one, other, data, fixed = Plain(), Plain(), bytearray(b"a"), (1,)

    held, data = Holder.one, Holder.data
    held.old = 1
    new = Plain()
    new.level = 2
    own._put(Holder, "one", new)
    own._put(Holder, "other", 3)
    own._put(Holder, "data", bytearray(b"bc"))
    own._put(Holder, "fixed", (2,))
    assert Holder.one is held
    assert vars(held) == {"level": 2}
    assert (Holder.other, Holder.fixed) == (3, (2,))
    assert data == b"bc"
    assert Holder.data is data


def test_workers_do_not_draw_the_same_numbers(install, tmp_path):
    """A module that sets the seed, or makes a generator with one, does so once, where the map was made."""
    install(tmp_path / "not here", {"wsown_g.py": SOURCE})
    before = random.getstate()
    module = importlib.import_module("wsown_g")
    assert random.getstate() == before
    assert module.generator.getstate() != random.Random(1).getstate()


def test_a_module_that_fails_leaves_the_next_one_as_it_should_be(install, tmp_path):
    """Its error is the user's; no import is thought to be under way after it."""
    finder = install(tmp_path / "not here", {"wsown_h.py": b"1 / 0", "wsown_i.py": b"import wsown_h"})
    with pytest.raises(ZeroDivisionError):
        importlib.import_module("wsown_i")
    assert (finder.depth, finder.waiting) == (0, [])
    assert absent.Without in map(type, sys.meta_path)


def test_what_a_process_has_left_behind_is_removed(tmp_path):
    """Its files and folders go, those of others stay; a folder that is not there is no error."""
    (tmp_path / (own_prefix(12) + "files")).mkdir()
    (tmp_path / (own_prefix(12) + "files") / "a").write_text("x")
    (tmp_path / (own_prefix(12) + "main")).write_text("x")
    (tmp_path / (own_prefix(123) + "main")).write_text("x")
    remove_left_behind(str(tmp_path), 12)
    assert [path.name for path in tmp_path.iterdir()] == [own_prefix(123) + "main"]
    remove_left_behind(str(tmp_path / "missing"), 12)


def test_an_own_module_replaces_another_of_its_name(install, tmp_path):
    """What this process has imported under the name of an own module is not what the user's code gets."""
    import colorsys

    install(tmp_path, {"colorsys.py": b"OWN = 1\n"})
    try:
        assert importlib.import_module("colorsys").OWN == 1
    finally:
        sys.modules["colorsys"] = colorsys
