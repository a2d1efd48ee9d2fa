"""What map.json and run.json say of an environment: today's form, and the two that there were before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wingspan.delivery.record import Delivery, DeliveryFacts
from wingspan.environments.bundles.manifest import Delta, DeltaFacts, Manifest, ManifestFacts
from wingspan.environments.bundles.own.layer import Layer, LayerFacts
from wingspan.environments.needs import Needs, NeedsFacts
from wingspan.errors import WingspanError
from wingspan.maps import Options
from wingspan.maps._facts import OptionsFacts
from wingspan.runs._spec import RunSpec, Step

SHA256 = "7c12fe3f" + "0" * 56
MANIFEST = {
    "kind": "squashfs",
    "workspace": "local",
    "environment": "default",
    "platform": "linux-64",
    "environment_digest": "41f6" * 16,
    "lock_sha256": "801c" * 16,
    "prefix": "/opt/wingspan/environment",
    "python": "3.11",
    "packages": 13,
    "installed_bytes": 40262499,
    "installed_files": 1157,
    "needs": {"glibc_min": "2.34"},
}
NEEDS = {"glibc_min": "2.34", "installed_bytes": 40262499}
#: As a map of version 0.1 has it.
OF_MAP = {
    "workspace": "local",
    "name": "default",
    "platform": "linux-64",
    "digest": "41f6" * 16,
    "python": "3.11",
    "kind": "squashfs",
    "kind_reason": "asked for",
    "bundle": "local-7c12fe3f.squashfs",
    "bundle_sha256": SHA256,
    "bundle_bytes": 4,
    "cache": "/cache/local-7c12fe3f.squashfs",
    "source": None,
    "source_requirements": None,
    "source_warning": None,
    "warnings": ["a word"],
    "machine_requirements": None,
    "needs": NEEDS,
}
#: As a run of version 0.1 has it.
OF_RUN = {
    "workspace": "local",
    "name": "default",
    "platform": "linux-64",
    "bundle": {
        "path": "/cache/local-7c12fe3f.squashfs",
        "kind": "squashfs",
        "name": "local",
        "sha256": SHA256,
        "size": 4,
        "environment_digest": "41f6" * 16,
        "prefix": "/opt/wingspan/environment",
        "python": "3.11",
        "sources": [],
        "manifest": MANIFEST,
    },
    "kind_reason": "asked for",
    "source": None,
    "source_requirements": None,
    "source_warning": None,
    "machine_requirements": None,
    "needs": NEEDS,
}


class Damaged(WingspanError):
    """The error of a map or run."""


def test_the_two_earlier_forms_say_the_same() -> None:
    """A map's and a run's of version 0.1 are one class now; a run had no warnings there, a map no
    manifest.
    """
    of_map, of_run = Delivery.from_json(OF_MAP), Delivery.from_json(OF_RUN)
    assert of_map.warnings == ("a word",)
    assert attrs.evolve(of_map, manifest=MANIFEST, warnings=()) == of_run


def test_what_a_later_version_adds_is_passed_over() -> None:
    """A file of a later version is read as far as it is known."""
    assert Delivery.from_json({**OF_MAP, "colour": "blue"}) == Delivery.from_json(OF_MAP)


_TEXT = st.none() | st.text()
_DELIVERIES = st.builds(
    Delivery,
    workspace=st.text(),
    name=st.text(),
    platform=st.text(),
    **dict.fromkeys(("digest", "python", "kind", "bundle", "bundle_sha256", "cache", "source"), _TEXT),
    bundle_bytes=st.none() | st.integers(min_value=0),
    manifest=st.none() | st.just(MANIFEST),
    warnings=st.lists(st.text()).map(tuple),
    needs=st.dictionaries(st.text(), st.none() | st.integers() | st.text()),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine
@given(_DELIVERIES)
def test_what_is_written_is_read_back(delivery: Delivery) -> None:
    """In map.json and, as a part of the run, in run.json."""
    assert Delivery.from_json(json.loads(json.dumps(delivery.to_json()))) == delivery
    spec = RunSpec(name="a", base=Path("/"), steps=(Step(words=("true",)),), environment=delivery)
    assert RunSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_a_run_of_an_earlier_version_has_its_environment() -> None:
    """run.json of version 0.1 is read."""
    spec = RunSpec(name="a", base=Path("/"), steps=(Step(words=("true",)),))
    old = RunSpec.from_json({**spec.to_json(), "environment": OF_RUN})
    assert old.environment == Delivery.from_json(OF_RUN)


def _delivery(tmp_path: Path, **changes: Any) -> Delivery:
    (tmp_path / "cache").mkdir()
    (tmp_path / "folder").mkdir()
    cached = tmp_path / "cache" / str(OF_MAP["bundle"])
    return Delivery.from_json({**OF_MAP, "manifest": MANIFEST, "cache": str(cached), **changes})


def test_a_bundle_is_found_in_the_folder_and_else_in_the_cache(tmp_path: Path) -> None:
    """The folder's comes first; one that is cut, or that says another digest, is none."""
    delivery = _delivery(tmp_path)
    folder, name = tmp_path / "folder", str(OF_MAP["bundle"])
    with pytest.raises(Damaged, match=r"local-7c12fe3f.squashfs of the map 'a' is neither"):
        delivery.locate(folder, Damaged, "the map 'a'")
    (tmp_path / "cache" / name).write_bytes(b"1234")
    assert delivery.locate(folder, Damaged, "the map 'a'").path == tmp_path / "cache" / name
    (folder / name).write_bytes(b"123")
    assert delivery.locate(folder, Damaged, "the map 'a'").path == tmp_path / "cache" / name
    (folder / name).write_bytes(b"1234")
    bundle = delivery.locate(folder, Damaged, "the map 'a'")
    assert (bundle.path, bundle.name, bundle.sha256, bundle.prefix) == (
        folder / name,
        "local",
        SHA256,
        "/opt/wingspan/environment",
    )
    (folder / f"{name}.sha256").write_text(f"{'0' * 64} *{name}\n")
    assert delivery.locate(folder, Damaged, "the map 'a'").path == tmp_path / "cache" / name
    (tmp_path / "cache" / name).unlink()
    with pytest.raises(Damaged, match="is another bundle: its SHA-256 begins with 00000000"):
        delivery.locate(folder, Damaged, "the map 'a'")


def test_a_damaged_bundle_whose_description_is_not_kept_is_told(tmp_path: Path) -> None:
    """A map of version 0.1 does not say what its bundle says of itself: what cannot be read there is the
    map's error.
    """
    delivery = _delivery(tmp_path, manifest=None)
    (tmp_path / "folder" / str(delivery.bundle)).write_bytes(b"1234")
    with pytest.raises(Damaged, match="is not a bundle"):
        delivery.locate(tmp_path / "folder", Damaged, "the map 'a'")


@pytest.mark.parametrize(
    ("table", "of"),
    [
        (DeliveryFacts, Delivery),
        (ManifestFacts, Manifest),
        (LayerFacts, Layer),
        (DeltaFacts, Delta),
        (NeedsFacts, Needs),
        (OptionsFacts, Options),
    ],
)
def test_the_types_of_tables_name_every_field(table: type, of: type) -> None:
    """Type checkers know each key of a table in map.json and run.json: those are the fields of its class."""
    assert set(table.__annotations__) == {field.name for field in attrs.fields(of) if field.init}
