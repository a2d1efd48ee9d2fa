"""Maps that run in a locked environment, on real pools, on workers that have nothing of it."""

from __future__ import annotations

import attrs
import pytest

import wingspan
from wingspan.maps import _delivery
from wingspan.pools.htcondor import PersonalHTCondorPool


def where(number):
    """Where a component runs, and what it finds there."""
    import sys

    import scipy

    return number, sys.prefix, scipy.__file__


def _check(outputs, *, prefix="/opt/wingspan/environment"):
    assert [output[0] for output in outputs] == list(range(len(outputs)))
    for _, where_it_ran, scipy in outputs:
        assert scipy.startswith(where_it_ran)
        if prefix:
            assert where_it_ran == prefix


@pytest.fixture
def environment(local_workspace):
    return wingspan.Environment(local_workspace)


def test_local_processes_run_in_the_environment(environment, bundle_cache):
    """Local workers start inside the bundle, at its prefix, with its packages and none of this Python's."""
    m = wingspan.map(where, range(3), pool="local", options=wingspan.Options(environment=environment))
    _check(m[:])
    assert m._folder.info["environment"]["digest"] == environment.load().digest


def test_workers_added_later_find_the_bundle_in_the_map(environment, bundle_cache):
    """The bundle is kept in the map's folder: it can be done again when the cache is empty."""
    m = wingspan.map(
        where, range(2), tag="kept", pool="local", options=wingspan.Options(environment=environment)
    )
    m.wait()
    facts = m._folder.info["environment"]
    assert (m.path / facts["bundle"]).stat().st_nlink > 1
    m._folder.update_info(environment={**facts, "cache": "/nowhere"})
    again = wingspan.load("kept")
    again.rerun(again.components)
    _check(again[:])


def test_another_python_is_told_before_anything_is_submitted(environment, bundle_cache, monkeypatch):
    """Bytecode of this Python is not sent to an environment with another one; what travels by name is."""
    real = _delivery.prepare

    def prepare(*arguments):
        return attrs.evolve(real(*arguments), python="3.99")

    monkeypatch.setattr("wingspan.maps._create.prepare", prepare)
    options = wingspan.Options(environment=environment)
    with pytest.raises(wingspan.PythonsDiffer, match=r"3\.99") as caught:
        wingspan.map(lambda x: x, [1], tag="never", pool="local", options=options)
    assert "pixi run" in caught.value.hint
    assert "from mypackage import f" in caught.value.hint
    assert wingspan.tags() == ()
    assert list(wingspan.map(abs, [-1], pool="local", options=options)) == [1]


def test_an_environment_without_python_is_told(local_workspace, bundle_cache):
    """A map needs a Python to call the function with."""
    options = wingspan.Options(environment=wingspan.Environment(local_workspace, "small"))
    with pytest.raises(wingspan.PythonsDiffer, match="no Python"):
        wingspan.map(abs, [1], pool="local", options=options)


def test_an_unknown_environment_is_told(local_workspace, bundle_cache):
    """The nearest name is offered, and nothing is left."""
    options = wingspan.Options(environment=wingspan.Environment(local_workspace, "defualt"))
    with pytest.raises(wingspan.WingspanError, match="defualt"):
        wingspan.map(abs, [1], pool="local", options=options)
    assert wingspan.tags() == ()


@pytest.mark.htcondor
@pytest.mark.parametrize("kind", ["squashfs", "pack"])
def test_each_kind_carries_the_environment_to_a_personal_pool(kind, environment, bundle_cache, personal_pool):
    """Components on a real HTCondor pool import SciPy from the bundle."""
    options = wingspan.Options(environment=attrs.evolve(environment, kind=kind))
    m = wingspan.map(where, range(6), pool=PersonalHTCondorPool(personal_pool), options=options)
    m.wait(timeout=200)
    _check(m[:], prefix=None if kind == "pack" else "/opt/wingspan/environment")


@pytest.mark.htcondor
def test_on_a_site_pool_the_bundle_is_sent_once(environment, bundle_cache, personal_pool, monkeypatch):
    """Where the disk is not shared the bundle travels as a common file: one transfer for all jobs of a machine."""
    monkeypatch.setenv("CONDOR_CONFIG", str(personal_pool.config_file))
    options = wingspan.Options(environment=environment, workers=4, block_size=1)
    m = wingspan.map(where, range(8), pool="htcondor", options=options)
    m.wait(timeout=200)
    _check(m[:])
    log = (m.path / "events.log").read_text()
    assert log.count("Common files event: TransferFinished") == 1
    sent = [int(line.split()[0]) for line in log.splitlines() if "Run Bytes Received By Job" in line]
    assert all(count < m._folder.info["environment"]["bundle_bytes"] / 2 for count in sent)


@pytest.mark.htcondor
def test_a_large_bundle_comes_from_the_store(
    environment, bundle_cache, personal_pool, public_folder, tmp_path, monkeypatch
):
    """Above the site's limit for transfers it is published once, and each job fetches it by URL."""
    monkeypatch.setenv("CONDOR_CONFIG", str(personal_pool.config_file))
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path))
    store = public_folder / "store"
    store.mkdir()
    (tmp_path / "config.toml").write_text(
        f'[store.lab]\nurl = "{store}"\njob_url = "file://{store}"\n[profile.generic]\ntransfer_limit = "1 MB"\n',
        encoding="utf-8",
    )
    options = wingspan.Options(environment=environment, workers=2)
    m = wingspan.map(where, range(4), pool="htcondor", options=options)
    m.wait(timeout=200)
    _check(m[:])
    facts = m._folder.info["environment"]
    assert facts["source"] == f"file://{store}/{facts['bundle']}"
    assert (store / facts["bundle"]).stat().st_size == facts["bundle_bytes"]
    assert "Common files event" not in (m.path / "events.log").read_text()
