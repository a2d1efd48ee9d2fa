"""Maps that run in a locked environment, on real pools, on workers that have nothing of it."""

from __future__ import annotations

import lzma
import math
from pathlib import Path

import attrs
import click.testing
import pytest

import wingspan
from _on_disk import change_map_json, map_json, submissions
from _waiting import PATIENCE, until
from wingspan.cli._main import cli
from wingspan.delivery.bundle_source import machine_requirement, source_of_bundle
from wingspan.delivery.prepare import prepare as prepared
from wingspan.environments.bundles import build_bundle
from wingspan.maps import MapDamaged
from wingspan.pools import get_pool
from wingspan.pools.htcondor import PersonalHTCondorPool
from wingspan.pools.local_job import is_alive


def where(number):
    """Where a component runs, and what it finds there."""
    import sys

    import zmq

    return number, sys.prefix, zmq.__file__


def _check(outputs, *, prefix="/opt/wingspan/environment"):
    assert [output[0] for output in outputs] == list(range(len(outputs)))
    for _, where_it_ran, zmq in outputs:
        assert zmq.startswith(where_it_ran)
        if prefix:
            assert where_it_ran == prefix


@pytest.fixture
def environment(local_workspace):
    return wingspan.Environment(local_workspace)


def test_local_processes_run_in_the_environment(environment, bundle_cache):
    """Local workers start inside the bundle, at its prefix, with its packages and none of this Python's."""
    m = wingspan.map(where, range(3), pool="local", options=wingspan.Options(environment=environment))
    _check(m[:])
    assert map_json(m)["environment"]["digest"] == environment.load().digest
    shown = click.testing.CliRunner().invoke(cli, ["status", m.tag]).output
    assert (
        f"environment 'default' of local (linux-64, Python 3.11), as squashfs: {map_json(m)['environment']['bundle']}"
        in shown
    )


def test_workers_added_later_find_the_bundle_in_the_map(environment, bundle_cache):
    """The bundle is kept in the map's folder: it can be done again when the cache is empty."""
    m = wingspan.map(
        where, range(2), tag="kept", pool="local", options=wingspan.Options(environment=environment)
    )
    m.wait()
    facts = map_json(m)["environment"]
    assert (m.path / facts["bundle"]).stat().st_nlink > 1
    change_map_json(m, environment={**facts, "cache": "/nowhere"})
    again = wingspan.load("kept")
    again.rerun(again.components)
    _check(again[:])


def test_a_map_of_an_earlier_version_finds_its_bundle(environment, bundle_cache):
    """Its map.json says nothing of the bundle but name, digest and size: what else is needed is read from
    the bundle.
    """
    m = wingspan.map(
        where, range(2), tag="earlier", pool="local", options=wingspan.Options(environment=environment)
    )
    m.wait()
    facts = map_json(m)["environment"]
    change_map_json(m, environment={name: value for name, value in facts.items() if name != "manifest"})
    again = wingspan.load("earlier")
    again.rerun(again.components)
    _check(again[:])


def test_a_bundle_that_was_altered_is_refused_by_its_workers(environment, bundle_cache, monkeypatch):
    """One byte of the map's copy: the digest is checked where the bundle is used, and nothing in it runs."""
    monkeypatch.setenv("WINGSPAN_IDLE_SECONDS", "0")  # a worker that is warm has checked it already
    m = wingspan.map(
        where, range(2), tag="bad", pool="local", options=wingspan.Options(environment=environment)
    )
    m.wait()
    # A worker that has not left yet would take up the rerun, too.
    until(lambda: not any(map(is_alive, (m.path / "workers").glob("*.run"))), "the end of its workers")
    bundle = m.path / map_json(m)["environment"]["bundle"]
    assert (
        bundle.with_name(bundle.name + ".sha256")
        .read_text()
        .startswith(map_json(m)["environment"]["bundle_sha256"])
    )
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    bundle.unlink()  # the cache has the same file
    bundle.write_bytes(content)
    m.rerun([0])
    with pytest.raises(wingspan.WingspanError, match="is damaged or another file"):
        m.wait(timeout=PATIENCE)
    # who only looks, next week, hears of it too
    assert "is damaged or another file" in click.testing.CliRunner().invoke(cli, ["status", "bad"]).output


def test_a_bundle_that_was_cut_costs_no_result(environment, bundle_cache):
    """Done again it is from the cache's; where that is gone too, what was good stays."""
    m = wingspan.map(
        where, range(2), tag="cut", pool="local", options=wingspan.Options(environment=environment)
    )
    m.wait()
    facts = map_json(m)["environment"]
    bundle = m.path / facts["bundle"]
    content = bundle.read_bytes()
    bundle.unlink()  # the cache has the same file
    bundle.write_bytes(content[: len(content) // 2])
    m.rerun([0])
    _check(m[:])
    change_map_json(m, environment={**facts, "cache": "/nowhere"})
    again = wingspan.load("cut")
    with pytest.raises(MapDamaged, match="cut"):
        again.rerun([0])
    assert again.is_done
    _check(again[:])


def test_another_python_is_told_before_anything_is_submitted(environment, bundle_cache, monkeypatch):
    """Bytecode of this Python is not sent to an environment with another one; what travels by name is."""

    def prepare(*arguments, **options):
        bundle, delivery = prepared(*arguments, **options)
        return bundle, attrs.evolve(delivery, python="3.99")

    monkeypatch.setattr("wingspan.delivery.prepare.prepare", prepare)
    options = wingspan.Options(environment=environment)
    with pytest.raises(wingspan.PythonsDiffer, match=r"3\.99") as caught:
        wingspan.map(lambda x: x, [1], tag="never", pool="local", options=options)
    assert "pixi run" in caught.value.hint
    assert "from mypackage import f" in caught.value.hint
    assert wingspan.tags() == ()
    assert list(wingspan.map(abs, [-1], pool="local", options=options)) == [1]


def test_another_python_is_told_before_packages_are_fetched(tmp_path, bundle_cache):
    """The lock says which Python it is: nobody waits for a bundle that cannot be used. (Its channel is
    out of reach here.)
    """
    data = Path(__file__).parents[1] / "data/locks/prefix-dev__pixi--lightgbm"
    (tmp_path / "pixi.lock").write_bytes(lzma.decompress((data / "pixi.lock.xz").read_bytes()))
    options = wingspan.Options(environment=wingspan.Environment(tmp_path))
    with pytest.raises(wingspan.PythonsDiffer, match=r"has Python 3\.12"):
        wingspan.map(lambda x: x, [1], pool="local", options=options)


@pytest.mark.htcondor
def test_another_architecture_is_asked_of_machines(environment, bundle_cache, personal_pool):
    """A site's machines must be what the environment is for; this machine's own pools refuse another one
    at once.
    """
    for pool in (get_pool("local"), PersonalHTCondorPool(personal_pool)):
        assert machine_requirement("linux-64", pool) is None
        with pytest.raises(wingspan.SettingsError, match="linux-aarch64"):
            machine_requirement("linux-aarch64", pool)
    asked = machine_requirement("linux-aarch64", get_pool("htcondor"))
    m = wingspan.map(
        where,
        range(2),
        pool=PersonalHTCondorPool(personal_pool),
        options=wingspan.Options(environment=environment, workers=0),
    )
    change_map_json(m, environment={**map_json(m)["environment"], "machine_requirements": asked})
    with pytest.raises(wingspan.SubmitError, match=r"TARGET\.Arch"):
        m._keeper.add_workers(1, PersonalHTCondorPool(personal_pool))


@pytest.mark.htcondor
def test_gpus_that_nobody_has_are_refused_before_anything_is_fetched(
    local_workspace, empty_cache, personal_pool
):
    """The lock says what is needed, and the pool what it has: nobody waits for a bundle that cannot be
    used.
    """
    named, pool = wingspan.Environment(local_workspace), PersonalHTCondorPool(personal_pool)
    with pytest.raises(wingspan.SubmitError, match="asks for 1 GPU"):
        wingspan.map(where, [1], pool=pool, options=wingspan.Options(environment=named, request_gpus=1))
    with pytest.raises(wingspan.WingspanError, match="asks for 1 GPU"):
        wingspan.run(["python", "--version"], environment=named, gpus=1, pool=pool)
    assert not list(empty_cache.glob("environments/*"))


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
@pytest.mark.parametrize("kind", ["squashfs", "pack", "oci"])
def test_each_kind_carries_the_environment_to_a_personal_pool(kind, environment, bundle_cache, personal_pool):
    """Components on a real HTCondor pool import NumPy from the bundle."""
    options = wingspan.Options(environment=attrs.evolve(environment, kind=kind))
    m = wingspan.map(where, range(6), pool=PersonalHTCondorPool(personal_pool), options=options)
    m.wait(timeout=PATIENCE)
    _check(m[:], prefix=None if kind == "pack" else "/opt/wingspan/environment")


@pytest.mark.htcondor
def test_on_a_site_pool_the_bundle_is_sent_once(
    environment, bundle_cache, personal_pool, monkeypatch, tmp_path
):
    """Where the disk is not shared the bundle travels as a common file: one transfer for all jobs of a
    machine.
    """
    monkeypatch.setenv("CONDOR_CONFIG", str(personal_pool.config_file))
    options = wingspan.Options(environment=environment, workers=4, block_size=1, submit={"hold": "true"})
    gate = str(tmp_path / "gate")

    def together(number):
        """A job that ends before another has begun takes the files with it: then they are rightly sent
        anew.
        """
        import os
        import time

        while not os.path.exists(gate):  # noqa: PTH110 - in a worker
            time.sleep(0.05)
        return where(number)

    m = wingspan.map(together, range(8), pool="htcondor", options=options)
    assert _sent_by_the_access_point(m, personal_pool) == {"bundle", "helper"}
    until(lambda: m.status().counts[wingspan.ComponentStatus.RUNNING] == 4, "a component in each job")
    Path(gate).touch()
    m.wait(timeout=PATIENCE)
    _check(m[:])

    def received() -> list[int]:
        """Bytes that each job got: HTCondor says so when it has ended, after its outputs have come."""
        lines = (m.path / "events.log").read_text().splitlines()
        return [int(line.split()[0]) for line in lines if "Run Bytes Received By Job" in line]

    until(received, "the end of a job")
    assert (m.path / "events.log").read_text().count("Common files event: TransferFinished") == 1
    assert (
        max(received()) < map_json(m)["environment"]["bundle_bytes"] // 8
    )  # the worker's archive, and inputs


def _sent_by_the_access_point(m, pool):
    """Which large files HTCondor sends once to each machine for held workers, which are let go then."""
    cluster = submissions(m)[0]["cluster"]
    with pool.activate():
        [ad, *_] = pool.schedd().query(f"ClusterId == {cluster}", ["CommonInputFiles"])
    m.release()
    names = {Path(name.strip()).name for name in ad["CommonInputFiles"].split(",")}
    return {"bundle" if name == map_json(m)["environment"]["bundle"] else "helper" for name in names}


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
    options = wingspan.Options(environment=environment, workers=2, submit={"hold": "true"})
    m = wingspan.map(where, range(4), pool="htcondor", options=options)
    assert _sent_by_the_access_point(m, personal_pool) == {"helper"}
    m.wait(timeout=PATIENCE)
    _check(m[:])
    facts = map_json(m)["environment"]
    assert facts["source"] == f"file://{store}/{facts['bundle']}"
    assert (store / facts["bundle"]).stat().st_size == facts["bundle_bytes"]


@pytest.mark.htcondor
def test_of_a_second_environment_only_the_rest_is_moved(
    local_channel, write_workspace, bundle_cache, personal_pool, public_folder, tmp_path, monkeypatch
):
    """Where the store has a bundle with most of the same packages, machines fetch that one, and the scheduler
    sends the difference: nothing is published, and the job has the second environment.
    """
    monkeypatch.setenv("CONDOR_CONFIG", str(personal_pool.config_file))
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path))
    store = public_folder / "store-of-bases"
    store.mkdir()
    (tmp_path / "config.toml").write_text(
        f'[store.lab]\nurl = "{store}"\njob_url = "file://{store}"\n[profile.generic]\ntransfer_limit = "1 MB"\n',
        encoding="utf-8",
    )
    environments = []
    for version in ("1.0", "2.0"):
        specs = ["python 3.11.*", "pyzmq", "cloudpickle", f"prefix-probe =={version}"]
        folder = write_workspace(tmp_path / version, local_channel, {"default": specs}, name="second")
        environments.append(wingspan.Environment(folder))
    first = build_bundle(environments[0].load(), "squashfs")
    assert (
        source_of_bundle(first.path, first.size, first.sha256).source == f"file://{store}/{first.path.name}"
    )
    there = set(store.iterdir())
    m = wingspan.map(
        where, range(2), pool="htcondor", options=wingspan.Options(environment=environments[1], workers=1)
    )
    m.wait(timeout=PATIENCE)
    _check(m[:])
    facts = map_json(m)["environment"]
    assert facts["source"] == f"file://{store}/{first.path.name}"
    assert facts["delta"]["base"] == first.path.name
    assert facts["delta"]["size"] < facts["bundle_bytes"] / 20
    assert set(store.iterdir()) == there
    shown = click.testing.CliRunner().invoke(cli, ["status", m.tag]).output
    assert f"are sent, and the rest is from file://{store}/{first.path.name}" in " ".join(shown.split())


@pytest.mark.slurm
def test_on_slurm_the_bundle_is_used_where_it_lies(environment, bundle_cache, slurm_cluster, monkeypatch):
    """Workers of a Slurm array run in the environment, which the shared file system has."""
    for name, value in slurm_cluster.environment().items():
        monkeypatch.setenv(name, value)
    options = wingspan.Options(environment=attrs.evolve(environment, kind="squashfs"), workers=2)
    m = wingspan.map(where, range(4), pool="slurm", options=options)
    m.wait(timeout=PATIENCE)
    _check(m[:])
    m.remove()


def test_gpus_that_the_environment_does_not_use_are_told(environment, bundle_cache):
    """Whoever waits for a GPU hears before that nothing in the environment uses it; wingspan status says
    it later.
    """
    options = wingspan.Options(environment=environment, request_gpus=1, workers=0)
    with pytest.warns(wingspan.EnvironmentWarning, match="nothing in environment 'default'") as caught:
        m = wingspan.map(where, range(2), pool="local", options=options)
    assert caught[0].filename == __file__
    assert "nothing in environment" in click.testing.CliRunner().invoke(cli, ["status", m.tag]).output


@pytest.mark.htcondor
def test_a_large_bundle_without_a_store_of_its_own_is_told(
    environment, bundle_cache, personal_pool, tmp_path, monkeypatch
):
    """Above the site's limit and with two stores to choose from it goes through the access point, and
    that is said.
    """
    monkeypatch.setenv("CONDOR_CONFIG", str(personal_pool.config_file))
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path))
    (tmp_path / "config.toml").write_text(
        f'[store.lab]\nurl = "{tmp_path}"\n[store.mine]\nurl = "{tmp_path}"\n[profile.generic]\ntransfer_limit = "1 MB"\n',
        encoding="utf-8",
    )
    options = wingspan.Options(environment=environment, workers=0)
    with pytest.warns(wingspan.EnvironmentWarning, match="which of lab, mine is meant"):
        m = wingspan.map(where, range(2), pool="htcondor", options=options)
    assert map_json(m)["environment"]["source"] is None


@pytest.mark.htcondor
def test_the_largest_bundles_are_read_from_the_file_system(
    environment, bundle_cache, personal_pool, public_folder, tmp_path, monkeypatch
):
    """Above the limit for URLs only machines that have the file system are asked, and they read the
    bundle there.
    """
    monkeypatch.setenv("CONDOR_CONFIG", str(personal_pool.config_file))
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path))
    store = public_folder / "largest"
    store.mkdir()
    config = f'[store.lab]\nurl = "{store}"\nrequirement = "(TARGET.{{}})"\n[profile.generic]\n'
    config += 'transfer_limit = "1 MB"\nurl_limit = "2 MB"\n'
    (tmp_path / "config.toml").write_text(config.format("HasFileTransfer"), encoding="utf-8")
    held = wingspan.Options(environment=environment, workers=2, submit={"hold": "true"})
    m = wingspan.map(where, range(4), pool="htcondor", options=held)
    assert _sent_by_the_access_point(m, personal_pool) == {"helper"}
    m.wait(timeout=PATIENCE)
    _check(m[:])
    facts = map_json(m)["environment"]
    assert facts["source"] == f"file://{store}/{facts['bundle']}"
    assert facts["source_requirements"] == "(TARGET.HasFileTransfer)"
    assert facts["warnings"] == []
    (tmp_path / "config.toml").write_text(config.format("HasWhatNoneHas"), encoding="utf-8")
    with pytest.warns(
        wingspan.EnvironmentWarning, match=r"no machine of the pool fulfils \(TARGET\.HasWhatNoneHas\)"
    ):
        wingspan.map(
            where, range(4), pool="htcondor", options=wingspan.Options(environment=environment, workers=0)
        )


@pytest.mark.htcondor
def test_memory_and_disk_follow_from_the_environment(environment, bundle_cache, personal_pool, monkeypatch):
    """The job's ad asks for the bundle and room for outputs, and for memory by what is installed; what
    somebody says holds.
    """
    monkeypatch.setenv("CONDOR_CONFIG", str(personal_pool.config_file))

    def asked(**options):
        held = wingspan.Options(environment=environment, workers=1, submit={"hold": "true"}, **options)
        m = wingspan.map(where, range(2), pool="htcondor", options=held)
        cluster = submissions(m)[0]["cluster"]
        with personal_pool.activate():
            [ad] = personal_pool.schedd().query(f"ClusterId == {cluster}")
        facts = map_json(m)["environment"]
        m.remove(force=True)
        return ad.eval("RequestMemory"), ad.eval("RequestDisk") << 10, facts

    memory, disk, facts = asked()
    assert disk >> 20 == (facts["bundle_bytes"] + (1 << 30)) >> 20
    assert memory == math.ceil(256 + facts["needs"]["installed_bytes"] / 4 / (1 << 20))
    assert asked(request_memory="3GB", request_disk="5GB")[:2] == (3 << 10, 5 << 30)
