"""What machines offer to bundles: read from ads of a real pool and from written ones, and the kind that
follows.
"""

from __future__ import annotations

from pathlib import Path

import click.testing
import pytest

import wingspan
from wingspan.cli._main import cli
from wingspan.delivery.machines import (
    Machine,
    choose_bundle_kind,
    explain_bundle_kind,
    machines_of,
    read_machines,
)
from wingspan.pools import get_pool


def _machines(namespaces: int, apptainer: int, neither: int, *, common: bool = True) -> list[Machine]:
    kinds = [(True, False)] * namespaces + [(False, True)] * apptainer + [(False, False)] * neither
    return [
        Machine(name=f"m{number}", user_namespaces=one, apptainer=other, common_files=common)
        for number, (one, other) in enumerate(kinds)
    ]


@pytest.mark.parametrize(
    ("machines", "kind", "words"),
    [
        ([], "squashfs", "no machine says"),
        (_machines(3, 0, 0), "squashfs", "all 3 machines can mount it; it is sent once to each machine"),
        (_machines(2, 1, 1), "squashfs", "3 of 4 machines mount it, the others unpack it"),
        (_machines(0, 4, 1), "sif", "4 of 5 machines have Apptainer and only 0 user namespaces"),
        (_machines(1, 0, 3), "pack", "1 of 4 machines can mount an image"),
        (_machines(0, 0, 1), "pack", "0 of 1 machine can mount an image"),
        (_machines(2, 0, 0, common=False), "squashfs", "sent with every job"),
    ],
)
def test_the_kind_follows_from_what_most_machines_offer(
    machines: list[Machine], kind: str, words: str
) -> None:
    """Mounted where most can, a container where only Apptainer is to be had, else unpacked; the reason
    says so.
    """
    choice = choose_bundle_kind(machines)
    assert (choice.kind, choice.machines) == (kind, len(machines))
    assert words in choice.reason


def test_a_large_environment_without_common_files_belongs_into_a_store() -> None:
    """Gigabytes that would be sent with every job are worth a word."""
    machines = _machines(2, 0, 0, common=False)
    assert "env publish" in choose_bundle_kind(machines, 4 * 10**9).reason
    assert "env publish" not in choose_bundle_kind(machines, 10**8).reason


def test_a_large_environment_is_mounted_wherever_one_machine_can() -> None:
    """Unpacking gigabytes takes minutes: what few machines save is worth more than what `pack` saves the
    others.
    """
    few = _machines(1, 0, 3)
    assert choose_bundle_kind(few, 10**8).kind == "pack"
    choice = choose_bundle_kind(few, 4 * 10**9)
    assert choice.kind == "squashfs"
    assert "1 of 4 machines mount it, the others unpack it, which takes long at this size" in choice.reason
    assert choose_bundle_kind(_machines(0, 0, 4), 4 * 10**9).kind == "pack"


def test_ads_without_any_of_it_offer_nothing() -> None:
    """Machines of an HTCondor that does not know the attributes can do nothing of it."""
    [machine] = read_machines([{"Machine": "old", "CondorVersion": "$CondorVersion: 9.0.17 2022-10-04 $"}])
    assert machine == Machine(name="old", version="9.0.17")


@pytest.mark.parametrize(
    ("pool_kind", "words"),
    [("local", "jobs run on this machine: "), ("slurm", "machines see the files of this one: ")],
)
def test_the_reason_says_where_jobs_run(pool_kind: str, words: str) -> None:
    """Of machines that share this one's files nobody says that they are this machine."""
    choice = explain_bundle_kind(get_pool(pool_kind))
    assert choice.kind == "squashfs"
    assert choice.reason.startswith(words)


@pytest.mark.htcondor
def test_a_real_pool_tells_what_it_offers(
    personal_pool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Reached as a site's pool, its one machine has a version, and a kind follows from its ad; doctor
    says which, and why. Where the site's profile says that user namespaces are off, that counts.
    """
    monkeypatch.setenv("CONDOR_CONFIG", str(personal_pool.config_file))
    site = get_pool("htcondor")
    [machine] = machines_of(site)
    assert machine.version is not None
    choice = explain_bundle_kind(site)
    assert choice.machines == 1
    (tmp_path / "config.toml").write_text(
        '[profile.lab]\nhosts = ["*"]\nevery = { no_user_namespaces = "switched off" }\n', encoding="utf-8"
    )
    with monkeypatch.context() as patch:  # whatever the machine says of itself
        patch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path))
        patch.setattr(site, "machine_ads", lambda *_: [{"Machine": "a", "HasUserNamespaces": True}])
        assert explain_bundle_kind(site).kind == "pack"
    monkeypatch.setenv("WINGSPAN_POOL", "htcondor")
    told = click.testing.CliRunner().invoke(cli, ["doctor"]).output
    assert f"An environment goes there as {choice.kind}: {choice.reason}" in told


@pytest.mark.htcondor
def test_a_map_that_asks_a_site_for_gpus_it_has_not_is_refused(
    personal_pool, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    """Told at once, nothing is submitted and nothing is left; a job that may go elsewhere is not judged."""
    monkeypatch.setenv("CONDOR_CONFIG", str(personal_pool.config_file))
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path))
    with pytest.raises(wingspan.SubmitError, match="no machine of the htcondor pool has one"):
        wingspan.map(abs, [1], tag="g", pool="htcondor", options=wingspan.Options(request_gpus=1))
    assert wingspan.tags() == ()
    elsewhere = wingspan.Options(request_gpus=1, custom={"WantFlocking": True})
    m = wingspan.map(abs, [1], pool="htcondor", options=elsewhere)
    m.remove()
