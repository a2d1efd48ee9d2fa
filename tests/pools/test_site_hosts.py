"""Whether this machine can be a site's, told without reading profiles."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from wingspan.pools.profiles import find_profile, load_profile, profiles
from wingspan.pools.site_hosts import may_have_a_profile, shipped_patterns


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Without profiles of one's own."""
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path / "config"))
    return tmp_path


def test_all_patterns_of_shipped_profiles_are_known() -> None:
    """They are those that the parser of profiles reads."""
    shipped = {pattern for one in profiles().values() for pattern in one.hosts}
    assert shipped
    assert set(shipped_patterns()) == shipped


@pytest.mark.parametrize(
    ("host", "told"),
    [("laptop.example.org", False), ("AP40.uw.osg-htc.org", True), ("submit1.chtc.wisc.edu", True)],
)
def test_machines_by_their_names(host: str, told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An access point of a shipped profile may have one, another machine not."""
    monkeypatch.setattr(socket, "getfqdn", lambda: host)
    assert may_have_a_profile() is told


@pytest.mark.parametrize("resolver", ["localhost", "vm-17.example.org"])
def test_a_machine_goes_by_each_of_its_names(resolver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the resolver answers an alias, the name that the machine itself has counts, too."""
    monkeypatch.setattr(socket, "getfqdn", lambda: resolver)
    monkeypatch.setattr(socket, "gethostname", lambda: "ap2001.chtc.wisc.edu")
    assert may_have_a_profile()
    assert find_profile().name == "chtc"
    assert load_profile("chtc").is_access_point()


def test_profiles_of_ones_own_are_looked_at(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written in config.toml, or added: any machine may be theirs."""
    monkeypatch.setattr(socket, "getfqdn", lambda: "laptop.example.org")
    (data_dir / "data/profiles").mkdir(parents=True)
    assert may_have_a_profile()
    (data_dir / "data/profiles").rmdir()
    assert not may_have_a_profile()
    (data_dir / "config").mkdir()
    (data_dir / "config/config.toml").write_text('[profile.lab]\nextends = "generic"\nhosts = ["laptop*"]\n')
    assert may_have_a_profile()
