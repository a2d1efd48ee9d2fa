"""Pruning: never what is needed, never what is recent, and the remains of dead uploads."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from wingspan.stores import Store, mentioned_digests, open_store, prune
from wingspan.stores.pruning import LEFTOVER_AGE

LATER = datetime.now(timezone.utc) + timedelta(days=30)


def two(store: Store, tmp_path: Path) -> tuple[str, str]:
    """Two published objects; their digests."""
    digests = []
    for content in (b"old", b"new"):
        path = tmp_path / f"{content.decode()}.tar"
        path.write_bytes(content)
        published = store.publish(path)
        assert published.digest is not None
        digests.append(published.digest)
    return digests[0], digests[1]


def names(store: Store) -> list[str]:
    return [each.name.name for each in store.objects()]


def test_what_is_needed_stays(store: Store, tmp_path: Path) -> None:
    """Of two old objects the one that a queued map needs stays, with its digest; the other goes entirely."""
    _, new = two(store, tmp_path)
    report = prune(store, {new}, now=LATER)
    assert [each.name.name for each in report.removed] == ["old"]
    assert [each.name.name for each in report.needed] == ["new"]
    assert report.freed == 3
    assert len(store.backend.entries()) == 2
    assert store.objects()[0].digest == new


def test_eight_digits_are_enough_to_keep(store: Store, tmp_path: Path) -> None:
    """A submit description that names the object by its content-hashed name keeps it."""
    old, _ = two(store, tmp_path)
    prune(store, {old[:8]}, now=LATER)
    assert names(store) == ["old"]


def test_what_is_recent_stays(store: Store, tmp_path: Path) -> None:
    """Somebody may have published it just now and be about to submit."""
    two(store, tmp_path)
    report = prune(store, set())
    assert report.removed == ()
    assert len(report.recent) == 2
    assert names(store) == ["new", "old"]


def test_publishing_again_makes_recent(tmp_path: Path) -> None:
    """A publication that finds the object there counts as its use."""
    folder = tmp_path / "store"
    folder.mkdir()
    store = open_store(folder)
    two(store, tmp_path)
    for path in folder.iterdir():
        os.utime(path, (1e9, 1e9))
    store.publish(tmp_path / "old.tar")
    report = prune(store, set())
    assert [each.name.name for each in report.removed] == ["new"]
    assert names(store) == ["old"]


def test_a_dry_run_removes_nothing(store: Store, tmp_path: Path) -> None:
    """--dry-run tells what would go and leaves it."""
    two(store, tmp_path)
    report = prune(store, set(), now=LATER, dry_run=True)
    assert len(report.removed) == 2
    assert names(store) == ["new", "old"]


def test_what_becomes_needed_meanwhile_stays(store: Store, tmp_path: Path) -> None:
    """A map submitted between the listing and the removal keeps what it needs."""
    old, new = two(store, tmp_path)
    asked = []

    def needed() -> set[str]:
        asked.append(1)
        return set() if len(asked) <= 2 else {old, new}  # the listing, and the first removal

    report = prune(store, needed, now=LATER)
    assert [each.name.name for each in report.removed] == ["new"]
    assert names(store) == ["old"]


def test_it_is_asked_no_more_often_than_something_is_removed(store: Store, tmp_path: Path) -> None:
    """Whoever is asked may be a scheduler: once for all that is there, and again only before a removal."""
    two(store, tmp_path)
    asked = []

    def needed() -> set[str]:
        asked.append(1)
        return set()

    assert len(prune(store, needed).recent) == 2
    assert prune(store, needed, now=LATER, dry_run=True).removed
    assert len(asked) == 2
    prune(store, needed, now=LATER)
    assert len(asked) == 5


def test_others_files_stay(store: Store, tmp_path: Path) -> None:
    """Pruning touches only content-hashed names and what our own uploads left."""
    two(store, tmp_path)
    store.backend.put_small("thesis.tex", b"years of work")
    prune(store, set(), now=LATER)
    assert [entry.name for entry in store.backend.entries()] == ["thesis.tex"]


def test_parts_of_dead_uploads_go_when_they_are_old(tmp_path: Path) -> None:
    """A part that nobody writes to goes after a day, not before: not every file system tells of living
    writers.
    """
    store = open_store(tmp_path)
    part = tmp_path / ".env-00000000.tar.abcd_123.part"
    part.write_bytes(b"half")
    assert prune(store, set()).leftovers == ()
    assert part.exists()
    report = prune(store, set(), now=datetime.now(timezone.utc) + LEFTOVER_AGE + timedelta(minutes=1))
    assert [each.name for each in report.leftovers] == [part.name]
    assert not part.exists()


def test_what_descriptions_mention(tmp_path: Path) -> None:
    """Full digests and content-hashed names in the files of maps and runs are found; data is not read."""
    full = "ab" * 32
    (tmp_path / "map1").mkdir()
    (tmp_path / "map1" / "map.json").write_text(json.dumps({"environment": {"digest": full}}))
    (tmp_path / "map1" / "jobs.sub").write_text("transfer_input_files = osdf:///x/env-b8dd14a4.sif\n")
    (tmp_path / "map1" / "results").mkdir()
    (tmp_path / "map1" / "results" / "0.json").write_text("env-cccccccc.sif")
    (tmp_path / "map1" / "inputs.bin").write_text("env-dddddddd.sif")
    assert mentioned_digests([tmp_path], skip={"results"}) == {full, "b8dd14a4"}


def test_no_folder_mentions_nothing(tmp_path: Path) -> None:
    """Before the first map there is no folder to look into, and that is no error."""
    assert mentioned_digests([tmp_path / "nothing"]) == set()


@pytest.mark.parametrize("bad", [b"", b"nonsense", b"ab" * 32])
def test_a_damaged_digest_file_counts_as_none(tmp_path: Path, bad: bytes) -> None:
    """An empty or altered digest file makes its object incomplete, not good."""
    store = open_store(tmp_path)
    two(store, tmp_path)
    (tmp_path / str(store.objects()[0].name.sidecar)).write_bytes(bad)
    assert [each.digest is None for each in store.objects()] == [True, False]
