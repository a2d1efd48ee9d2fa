"""Changing a map that is there: on every engine alike, as far as the engine can."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import wingspan
from _waiting import PATIENCE, until
from wingspan import Options
from wingspan.cli._main import cli
from wingspan.errors import SettingsError
from wingspan.maps._errors import InvalidInputs, MapError
from wingspan.pools import get_pool


def _asks_for(engine: str, m: wingspan.Map, slurm: Callable[[], str]) -> set[int]:
    """MiB of memory that the scheduler knows the map's waiting jobs to ask for."""
    if engine == "personal":
        wanted = f'WingspanMap == "{m.path.name}" && JobStatus == 1'
        return {int(ad["RequestMemory"]) for ad in get_pool("personal").job_ads(wanted)}
    jobs = json.loads(slurm())["jobs"]
    return {
        int(
            job["memory_per_node"]["number"]
            if isinstance(job["memory_per_node"], dict)
            else job["memory_per_node"]
        )
        for job in jobs
        if job["current_working_directory"] == str(m.path) and "PENDING" in job["job_state"]
    }


def test_what_waits_asks_for_more(engine, gate, request) -> None:
    """`set_memory` reaches jobs in the queue, and says how many run with what they have; the rest goes on."""
    wait = gate.wait
    options = Options(workers=6, block_size=1, request_memory="100MB")
    m = wingspan.map(lambda x: wait() or x, range(6), tag="asks", pool=engine, options=options)
    at_once = 6 if engine == "local" else 4
    until(lambda: m.status().workers.get("running", 0) == at_once, lambda: m.status())
    if engine != "local":
        assert re.search(r"102400KB|--mem=100M", m.submit_description())
    edited = m.set_memory("110MB")
    if engine == "local":
        assert (edited.changed, edited.running) == (0, 0)
    else:
        assert (edited.changed, edited.running) == (2, 4)
        assert "2 waiting jobs" in str(edited)
        cluster = request.getfixturevalue("slurm_cluster") if engine == "slurm" else None
        assert _asks_for(engine, m, lambda: cluster.command("squeue", "--json")) == {110}
        assert re.search(r"112640KB|--mem=110M", m.submit_description())
    assert wingspan.load("asks").options.request_memory == 110 << 20
    gate.open()
    m.wait(PATIENCE)
    assert list(m) == list(range(6))
    m.remove()


def test_a_predicate_chooses_what_is_done_again(data_dir, tmp_path) -> None:
    """It is given each error; one that raises names the component and changes nothing."""
    flag = tmp_path / "flag"

    def fail(x: int) -> int:
        if x and not flag.exists():
            raise (OSError if x % 2 else ValueError)(x)
        return x

    m = wingspan.map(fail, range(4), pool="local", options=Options(workers=1))
    m.wait(PATIENCE, errors_ok=True)
    flag.touch()
    with pytest.raises(InvalidInputs, match="component 1: ZeroDivisionError"):
        m.rerun(lambda error: 1 / 0)
    assert m.rerun(lambda error: error.type_name == "OSError").components == (1, 3)
    m.wait(PATIENCE, errors_ok=True)
    assert set(m.errors) == {2}
    assert m.rerun(lambda error: False).components == ()


def test_a_share_of_the_components_is_enough(data_dir, gate) -> None:
    """`wait` returns once that share is completed, and raises nothing for those that failed or still run."""
    wait = gate.wait

    def some(x: int) -> int:
        if x == 8:
            raise ValueError(x)
        if x == 9:
            wait()
        return x

    m = wingspan.map(some, range(10), pool="local", options=Options(workers=2, block_size=1))
    status = m.wait(PATIENCE, acceptance=0.8)
    assert not status.is_done
    gate.open()
    with pytest.raises(wingspan.ComponentErrors):
        m.wait(PATIENCE, acceptance=0.95)
    assert m.wait(PATIENCE, acceptance=0.9).is_done


@pytest.mark.parametrize("share", [0, -1, 1.1, True, "half", float("nan")])
def test_shares_that_are_none(data_dir, share) -> None:
    """A number above 0, up to 1."""
    m = wingspan.map(abs, [1], pool="local", options=Options(workers=1))
    with pytest.raises(MapError, match="no share"):
        m.wait(PATIENCE, acceptance=share)


def test_pause_resume_and_edit_on_the_command_line(data_dir, gate) -> None:
    """They are hold, release, set_memory and set_disk."""
    wait = gate.wait
    m = wingspan.map(lambda x: wait() or x, [1], tag="steered", pool="local", options=Options(workers=1))

    def run(*words: str) -> SimpleNamespace:
        done = CliRunner().invoke(cli, list(words), catch_exceptions=False, standalone_mode=False)
        return SimpleNamespace(out=done.output)

    until(lambda: m.status().workers.get("running") == 1)
    assert "paused" in run("pause", "steered").out
    until(lambda: m.status().workers.get("held") == 1)
    assert "3GB of disk" in run("edit", "disk", "steered", "3GB").out
    assert "512MB of memory" in run("edit", "memory", "steered", "512").out
    assert wingspan.load("steered").options.request_disk == 3 << 30
    gate.open()
    run("resume", "steered")
    m.wait(PATIENCE)
    with pytest.raises(SettingsError, match="memory='much' is no size"):
        run("edit", "memory", "steered", "much")
    m.remove()
    with pytest.raises(wingspan.MapRemoved):
        m.set_memory("1GB")


def test_rerun_asks_for_more_on_the_command_line(data_dir) -> None:
    """`--memory`, `--disk` and `--cpus` are the options of `Map.rerun`."""
    m = wingspan.map(abs, [-1, -2], tag="more", pool="local", options=Options(workers=1))
    m.wait(PATIENCE)
    words = ["rerun", "more", "1", "--memory", "70MB", "--disk", "2GB", "--cpus", "2"]
    CliRunner().invoke(cli, words, catch_exceptions=False, standalone_mode=False)
    m.wait(PATIENCE)
    (again,) = [one.options for one in m.requests if one.components == (1,)]
    assert (again.request_memory, again.request_disk, again.request_cpus) == (70 << 20, 2 << 30, 2)
