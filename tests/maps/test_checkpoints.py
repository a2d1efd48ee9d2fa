"""What a component keeps survives evictions and crashes, and is whole or not there."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wingspan
from _each_engine import SCHEDULERS, use_engine
from _on_disk import processes
from _waiting import until
from wingspan import Options
from wingspan.worker.checkpoints import Checkpoints
from wingspan.worker.transports import FileTransport

KEY = bytes(32)


@pytest.fixture
def counting(gate):
    """A function that counts to 5, keeps each step, and waits at 3 the first time. It answers at which step
    each of its executions has begun.
    """
    wait = gate.wait

    def count(x):
        component = wingspan.component()
        state = Path(f"state-{component.tag}-{x}")
        notes = component.scratch / "notes" / "begun"
        assert component.restored == state.exists() == notes.exists()
        step = int(state.read_text()) if component.restored else 0
        notes.parent.mkdir(exist_ok=True)
        with notes.open("a") as file:
            file.write(f"{step} ")
        while step < 5:
            step += 1
            state.write_text(str(step))
            component.checkpoint(state, notes.parent)
            if step == 3 and not component.restored:
                state.write_text("of no account")
                component.progress(0.6)
                wait()
                if x == "raises":
                    raise RuntimeError("on the way")
        state.unlink()
        return notes.read_text()

    return count


def worker_of(m):
    """Process id of the map's newest worker."""
    return processes(m)[-1]


def test_a_component_goes_on_when_its_worker_was_killed(counting, tmp_path, monkeypatch):
    """kill -9 of the worker: another one begins at the last checkpoint, which goes with the output. Done
    again, the component begins afresh.
    """
    monkeypatch.chdir(tmp_path)
    m = wingspan.map(counting, ["a"], pool="local", options=Options(workers=1))
    until(lambda: 0 in m.progress, lambda: m.status())
    (tmp_path / f"state-{m.tag}-a").unlink()
    os.kill(worker_of(m), signal.SIGKILL)
    assert m[0] == "0 3 "
    until(
        lambda: not (m.path / "checkpoints").exists() or not list((m.path / "checkpoints").iterdir()), "gone"
    )
    (tmp_path / "gate").touch()
    m.rerun([0])
    assert m[0] == "0 "


def test_a_component_that_fails_goes_on_when_it_is_tried_again(counting, gate, tmp_path, monkeypatch):
    """A retry and a rerun go on from the checkpoint; with another function there is none."""
    monkeypatch.chdir(tmp_path)
    gate.open()
    m = wingspan.map(counting, ["raises"], pool="local", options=Options(workers=1))
    m.wait(errors_ok=True)
    (tmp_path / f"state-{m.tag}-raises").unlink()
    m.rerun([0])
    assert m[0] == "0 3 "
    m = wingspan.map(counting, ["raises"], pool="local", options=Options(workers=1))
    m.wait(errors_ok=True)
    m.rerun([0], function=lambda x: wingspan.component().restored)
    assert m[0] is False


def test_what_cannot_be_kept_is_an_error(tmp_path, monkeypatch):
    """A missing file, one outside of the component's folders, none at all: also at the desk."""
    monkeypatch.chdir(tmp_path)

    def keep(*paths):
        wingspan.component().checkpoint(*paths)

    cases = [(FileNotFoundError, ["missing"]), (ValueError, ["/etc/hostname"]), (ValueError, [])]
    for kind, paths in cases:
        with pytest.raises(kind):
            keep(*paths)
    m = wingspan.starmap(keep, [paths for _, paths in cases], pool="local", options=Options(workers=1))
    assert [type(one) for one in m.iter(return_exceptions=True)] == [kind for kind, _ in cases]


@given(cut=st.floats(0, 1), flip=st.booleans(), sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=3))
def test_a_torn_checkpoint_is_never_taken(tmp_path_factory, cut, flip, sizes):
    """Cut or altered at whatever byte, the newest is left aside, and the one before it is whole."""
    folder = tmp_path_factory.mktemp("map")
    writer = Checkpoints(FileTransport(str(folder)), KEY, "0.0", lambda: None)
    for generation in range(3):
        files = []
        for number, size in enumerate(sizes):
            source = folder / f"source-{number}"
            source.write_bytes(bytes([generation]) * size)
            files.append(
                {"folder": "work", "path": f"f{number}", "size": size, "mode": 0o600, "source": str(source)}
            )
        writer.write(7, "function.pkl", files)
    kept = sorted((folder / "checkpoints/7").iterdir())
    assert [path.name for path in kept] == ["0.0.1", "0.0.2"]
    whole = kept[-1].read_bytes()
    at = int(cut * (len(whole) - 1))
    torn = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] if flip else whole[:at]
    kept[-1].write_bytes(torn)
    reader = Checkpoints(FileTransport(str(folder)), KEY, "0.1", lambda: None)
    assert reader.left(0) == {7}
    assert writer.left(0) == set()
    out = tmp_path_factory.mktemp("out")
    files = reader.restore(7, "function.pkl", str(out))
    assert [one["path"] for one in files] == [f"f{number}" for number in range(len(sizes))]
    assert [(out / str(number)).read_bytes() for number in range(len(sizes))] == [
        b"\1" * size for size in sizes
    ]
    assert reader.restore(7, "functions/other.pkl", str(out)) is None


@pytest.mark.parametrize("engine", SCHEDULERS)
def test_a_component_goes_on_after_an_eviction(engine, counting, gate, request, data_dir, monkeypatch):
    """On HTCondor by chirp, on Slurm by the shared file system: progress is seen, and what was kept is there
    in the next job.
    """
    use_engine(request, engine)
    work = data_dir.parent / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    m = wingspan.map(counting, ["a"], pool=engine, options=Options(workers=1))
    until(lambda: 0 in m.progress, lambda: m.status())
    assert m.progress[0].fraction == 0.6
    for state in work.glob("state-*"):  # where jobs have no folder of their own
        state.unlink()
    m.vacate()
    assert m[0] == "0 3 "
