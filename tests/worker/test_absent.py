"""What stands for Wingspan and HTMap on workers that have neither."""

from __future__ import annotations

import importlib.util
import sys
from types import SimpleNamespace

import pytest

import wingspan.htmap
from wingspan.worker import absent, inside, loaded, words_of_htmap
from wingspan.worker.transfer_path import TransferPath


@pytest.fixture
def importer():
    """Own modules are being imported as long as its depth is above 0."""
    return SimpleNamespace(depth=0)


@pytest.fixture
def stand_in(importer):
    """Makes the stand-in of a module, as an import statement would."""
    finder = absent.Without()
    finder.importer = importer

    def make(name):
        module = importlib.util.module_from_spec(finder.find_spec(name))
        finder.exec_module(module)
        return module

    return make


def test_only_wingspan_and_htmap_are_stood_in_for():
    """Whatever else is missing stays missing, also where its name begins alike."""
    finder = absent.Without()
    names = ["wingspan", "wingspan.pools.slurm", "htmap", "wingspanner", "numpy", "my.wingspan"]
    assert [name for name in names if finder.find_spec(name)] == ["wingspan", "wingspan.pools.slurm", "htmap"]


def test_what_components_need_is_there(stand_in):
    """It is the worker's own, also by the names of modules that programs import it from."""
    wingspan = stand_in("wingspan")
    assert wingspan.component is inside.component
    assert wingspan.once is stand_in("wingspan.worker.loaded").once is loaded.once
    assert wingspan.TransferPath is TransferPath
    assert stand_in("wingspan.htmap").checkpoint is words_of_htmap.checkpoint


def test_what_no_module_has_is_not_there(stand_in):
    """Questions that Python asks of modules and objects are answered as usual: it is not there."""
    wingspan = stand_in("wingspan")
    assert not hasattr(wingspan, "__all__")
    assert not hasattr(wingspan.Options, "__wrapped__")
    assert wingspan.pools.component is not inside.component
    assert stand_in("wingspan.pools").component is not inside.component


def test_a_call_says_that_wingspan_is_missing(stand_in, importer):
    """A component that maps gets an error with the name; while own modules are imported, nothing happens."""
    wingspan = stand_in("wingspan")
    importer.depth = 1
    wingspan.settings.configure(pool="local").more()
    importer.depth = 0
    with pytest.raises(ImportError, match=r"^wingspan\.map cannot be called: Wingspan is not installed"):
        wingspan.map(len, ["a"])
    with pytest.raises(ImportError, match=r"^wingspan\.pools\.Pool cannot be called"):
        stand_in("wingspan.pools").Pool()


def test_decorators_give_back_the_function(stand_in, importer):
    """With arguments, which are read while modules are imported, and without."""
    wingspan = stand_in("wingspan")
    assert wingspan.mapped(len) is len
    assert wingspan.memo(len) is len
    importer.depth = 1
    assert wingspan.mapped(pool="local")(len) is len
    assert wingspan.map(len) is not len


def test_classes_may_derive_from_what_is_missing(stand_in):
    """Such a class is an ordinary one."""

    class Pool(stand_in("wingspan.pools").Pool):
        def name(self):
            return "mine"

    assert Pool.__bases__ == (object,)
    assert Pool().name() == "mine"


def test_htmap_is_wingspan_s(stand_in, monkeypatch):
    """Who imports HTMap where it is missing gets `wingspan.htmap`."""
    monkeypatch.setitem(sys.modules, "htmap", None)
    stand_in("htmap")
    assert sys.modules["htmap"] is wingspan.htmap


def test_there_is_one_stand_in_and_it_comes_last(monkeypatch, importer):
    """Installed Wingspans are found before it; the newest importer of own modules counts, and stays."""
    monkeypatch.setattr(
        sys, "meta_path", [one for one in sys.meta_path if not isinstance(one, absent.Without)]
    )
    absent.install()
    absent.install(importer)
    absent.install()
    (only,) = (one for one in sys.meta_path if isinstance(one, absent.Without))
    assert sys.meta_path[-1] is only
    assert only.importer is importer
