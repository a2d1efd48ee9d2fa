"""Checkpoints of components: what another execution goes on from, and what it does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wingspan.worker import formats, inside


def kept(worker, component=7):
    return sorted(worker.transport.names(f"checkpoints/{component}"))


def keep(worker, *paths):
    with worker.answering():
        inside.component().checkpoint(*paths)


def restore(worker):
    with worker.answering():
        worker.work.restore()
    return inside.component().restored


def test_another_worker_goes_on_from_a_checkpoint(worker, new_worker):
    """Files of the working folder and of scratch are back, with their modes, and `restored` says so."""
    scratch = inside.component().scratch
    (scratch / "model").write_text("M")
    Path("in").mkdir()
    Path("in/state").write_text("S")
    Path("in/state").chmod(0o750)
    Path("empty").write_text("")
    keep(worker, "in", "empty", scratch)
    worker.work.clear()
    Path("in/state").unlink()
    Path("in").rmdir()
    Path("empty").unlink()
    again = new_worker("2.1")
    again.at = (0, 0, 7)
    assert again.hearing.may_go_on([6, 7], 0)
    assert not again.hearing.may_go_on([6, 8], 0)
    assert restore(again)
    assert Path("in/state").read_text() == "S"
    assert Path("in/state").stat().st_mode & 0o777 == 0o750
    assert Path("empty").read_text() == ""
    assert (inside.component().scratch / "model").read_text() == "M"


def test_the_first_execution_has_nothing_to_go_on_from(worker, new_worker):
    """A worker that begins a map looks for none; another finds none for a component that has kept nothing."""
    assert not worker.hearing.may_go_on([7], 0)
    assert not restore(worker)
    again = new_worker("2.1")
    again.at = (0, 0, 7)
    assert not restore(again)


def test_a_checkpoint_that_is_cut_is_not_taken(worker, new_worker):
    """The one before it counts: two are kept, whatever their number, and the torn one goes."""
    for text in ("one", "two", "three"):
        Path("state").write_text(text)
        keep(worker, "state")
    assert kept(worker) == ["1.0.1", "1.0.2"]
    newest = Path(worker.transport.folder, "checkpoints/7/1.0.2")
    os.truncate(newest, newest.stat().st_size - 1)
    again = new_worker("2.1")
    again.at = (0, 0, 7)
    assert restore(again)
    assert Path("state").read_text() == "two"
    assert kept(again) == ["1.0.1"]


@pytest.mark.parametrize("damage", [b"", b"x" * 10, b"x" * 500])
def test_what_is_no_checkpoint_is_removed(worker, new_worker, damage):
    """Bytes that no worker of this map has signed are not taken for files."""
    Path("state").write_text("one")
    keep(worker, "state")
    Path(worker.transport.folder, "checkpoints/7/1.0.0").write_bytes(damage)
    again = new_worker("2.1")
    again.at = (0, 0, 7)
    assert not restore(again)
    assert kept(again) == []


def test_another_function_gets_no_checkpoint(worker, new_worker):
    """What one function has kept means nothing to another; its own function finds it later."""
    Path("state").write_text("one")
    keep(worker, "state")
    again = new_worker("2.1")
    again.at = (0, 0, 7)
    own, again.hearing.function = again.hearing.function, "function-2.pkl"
    assert not restore(again)
    again.hearing.function = own
    assert restore(again)


def test_a_checkpoint_goes_when_the_component_has_its_output(worker):
    """Not before its record is safe; one that has failed keeps its own for the next attempt."""
    for number in (7, 8):
        worker.at = (0, 0, number)
        Path("state").write_text("x")
        keep(worker, "state")
    worker.hearing.done([7, 8], [8])
    assert kept(worker, 7) == ["1.0.0"]
    worker.hearing.checkpoints.records_are_safe()
    assert (kept(worker, 7), kept(worker, 8)) == ([], ["1.0.1"])


def test_a_checkpoint_that_cannot_be_written_is_told(worker, own_scratch):
    """The function gets an error that names the other side, and nothing is left in the scratch folder."""
    Path("state").write_text("x")
    worker.transport.write_whole("checkpoints", b"a file where the folder should be")
    with pytest.raises(OSError, match=r"the access point's side: .*[Nn]ot a directory"):
        keep(worker, "state")
    assert list(own_scratch.scratch.iterdir()) == []


def test_a_file_that_is_cut_while_it_is_copied_is_not_kept(worker):
    """The checkpoint before it still counts, and the half one is removed."""
    Path("state").write_text("whole")
    keep(worker, "state")
    files = [{"folder": "work", "path": "state", "size": 99, "mode": 0o600, "source": "state"}]
    with pytest.raises(OSError, match="state was cut while it was copied"):
        worker.hearing.checkpoints.write(7, worker.hearing.function, files)
    assert kept(worker) == ["1.0.0"]


def test_a_checkpoint_with_a_file_elsewhere_is_not_put_back(worker, new_worker, tmp_path):
    """Whoever has signed it: nothing is written outside of the component's folders."""
    Path("state").write_text("x")
    files = [{"folder": "work", "path": "../escaped", "size": 1, "mode": 0o600, "source": "state"}]
    worker.hearing.checkpoints.write(7, worker.hearing.function, files)
    again = new_worker("2.1")
    again.at = (0, 0, 7)
    with pytest.raises(ValueError, match=r"has a file that lies elsewhere: \.\./escaped"):
        restore(again)
    assert not (tmp_path / "escaped").exists()


def test_a_worker_that_keeps_much_shows_that_it_lives(worker, monkeypatch):
    """While a large checkpoint is written, records tell others that the worker is there."""
    monkeypatch.setattr(formats, "HEARTBEAT_SECONDS", -1.0)
    Path("state").write_text("x")
    keep(worker, "state")
    assert {kind for kind, *_ in worker.records()} == {formats.LEFT}
