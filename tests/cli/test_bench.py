"""``wingspan bench --site``: what maps cost the access point."""

from __future__ import annotations

import json

import pytest

import wingspan
from wingspan.pools.personal import PersonalPool
from wingspan.settings import load_settings

from .conftest import Run


def test_many_workers_are_simulated(run: Run) -> None:
    """Nothing is submitted; what a worker asks beside claims and appends does not depend on how many there
    are, and once the map is complete one file is left for each.
    """
    done = run("bench", "--site", "--simulate", "--workers", "10,100", "--json")
    few, many = json.loads(done.out)["loads"]
    assert not many["is_measured"]
    assert many["others_at_most"] <= 20
    assert many["others_at_most"] == few["others_at_most"]
    assert many["files_left"] == 101
    table = run("bench", "--site", "--simulate", "--workers", "10").out
    assert "simulated" in table
    assert "no job is submitted" in table


def test_what_cannot_be_measured_is_told(run: Run) -> None:
    """Words that are no numbers, and a question that nobody can answer, are errors; nothing is submitted."""
    assert "--site" in run("bench").err
    assert "write numbers" in run("bench", "--site", "--workers", "ten").err
    asked = run("bench", "--site", "--pool", "local", "--workers", "1")
    assert asked.code != 0
    assert "Submit 1 worker" in asked.err


@pytest.mark.htcondor
def test_real_workers_are_measured(run: Run, personal_pool: PersonalPool) -> None:
    """Workers, shadows and requests to the schedd are counted on a real pool; nothing is left of the map."""
    data_dir = load_settings().data_dir
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / "personal-pool").symlink_to(personal_pool.directory)
    done = run("bench", "--site", "--pool", "personal", "--workers", "1", "--seconds", "1", "--yes", "--json")
    (load,) = json.loads(done.out)["loads"]
    assert load["is_measured"]
    assert load["blocks"] == load["claims"] == 8
    assert 0 < load["others_at_most"]
    assert load["requests"]["Schedd.submit"] == 1
    assert load["shadow_seconds"] > 0
    assert wingspan.tags() == ()
