"""What is done to a run is done whole, or can be taken up again by whoever comes next."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import wingspan
from _waiting import PATIENCE, until
from wingspan.pools.submissions import SubmissionLog
from wingspan.runs import load_run

#: Does something to a run, and is killed at the so-manieth time that it changes a file of it, starts a
#: process or connects to somebody.
_KILLED = """
import os, sys
from pathlib import Path
import wingspan, wingspan.runs._run, wingspan.pools.local

name, number, what = sys.argv[1], int(sys.argv[2]), sys.argv[3]
if len(sys.argv) > 4:
    import wingspan.pools._select as select
    from wingspan.pools.htcondor import PersonalHTCondorPool
    from wingspan.pools.personal import PersonalPool
    pool = PersonalHTCondorPool(PersonalPool(Path(sys.argv[4])))
    real = select._make
    select._make = lambda kind, data: pool if kind == "personal" else real(kind, data)
run = wingspan.load_run(name)
run.status()
left = [number]

def hook(event, words):
    # What only reads changes nothing: to be killed there is to be killed at what comes next.
    if event == "open" and not (words[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        return
    if event in ("subprocess.Popen", "socket.connect") or (
        event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir") and str(run.path) in str(words[0])
    ):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), 9)

sys.addaudithook(hook)
getattr(run, what)(*([[0, 1]] if what == "rerun" else []))
os._exit(0)  # what Python does at its end is of no interest
"""


def killed_at(name: str, number: int, what: str, *more: object) -> bool:
    """Whether it was killed before it was done."""
    command = [sys.executable, "-c", _KILLED, name, str(number), what, *map(str, more)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def contents(run) -> list[str]:
    return [run.outputs(number)["result.txt"].read_text() for number in (0, 1)]


@pytest.mark.slow
def test_a_rerun_that_is_killed_anywhere_loses_nothing(pool, request, folders, tmp_path) -> None:
    """Wherever a rerun is killed, each job has its outputs as before, or is being done again: and then it
    has new ones.
    """
    more = []
    if pool == "personal":
        more = [request.getfixturevalue("personal_pool").directory]
    command = ["sh", "-c", "echo $n$(date +%s%N) > result.txt"]
    run = wingspan.run(command, name="kept", outputs=["result.txt"], sweep={"n": [1, 2]}, pool=pool)
    assert run.wait(PATIENCE).state == "completed"
    number, step = 1, 1 if pool == "local" else 4  # there a turn takes longer
    while killed_at("kept", number, "rerun", *more):
        found = load_run("kept")
        assert found.wait(PATIENCE).state == "completed", number
        assert [text[0] for text in contents(found)] == ["1", "2"], number
        assert set(found.fetch(tmp_path / str(number))) == {0, 1}
        assert not (found.path / "earlier").exists()
        number += step
    assert number > 10
    found = load_run("kept")
    assert found.wait(PATIENCE).state == "completed"
    assert [text[0] for text in contents(found)] == ["1", "2"]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["hold", "release", "vacate", "remove"])
def test_an_action_that_is_killed_anywhere_can_be_done_again(folders: Path, what: str) -> None:
    """Wherever an action on a run is killed, the run can be held and released, goes on to its end, and
    can be removed.
    """
    gate = folders / "gate"
    command = ["sh", "-c", f"until [ -e {gate} ]; do sleep 0.02; done; echo done > result.txt"]
    number = 1
    while True:
        run = wingspan.run(command, name="acted", outputs=["result.txt"], pool="local")
        until(lambda run=run: run.status().state == "running", "it runs")
        if what == "release":
            run.hold()
        killed = killed_at("acted", number, what)
        if what == "remove":
            if "acted" in wingspan.runs.run_names():
                load_run("acted").remove()
        else:
            found = load_run("acted")
            found.hold()
            found.release()
            gate.touch()
            assert found.wait(PATIENCE).state == "completed", number
            found.remove()
            gate.unlink()
        assert "acted" not in wingspan.runs.run_names()
        if not killed:
            break
        number += 3
    assert number > 3


def test_two_reruns_at_once_do_a_job_once(folders: Path) -> None:
    """Of several that do a run's jobs again at the same moment, one does; the others are told that they
    have not ended.
    """
    run = wingspan.run(["sh", "-c", f"echo x >> {folders}/count"], name="once", pool="local")
    assert run.wait(PATIENCE).state == "completed"
    script = "import wingspan\ntry: wingspan.load_run('once').rerun([0])\nexcept wingspan.WingspanError as error: print(error)"
    others = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    told = [other.communicate()[0] for other in others]
    assert all(other.returncode == 0 for other in others)
    assert run.wait(PATIENCE).state == "completed"
    done = (folders / "count").read_text().count("x")
    assert done == 1 + told.count(""), told
    assert done == 1 + len(SubmissionLog(run.path).entries()) - 1


def test_a_job_whose_supervisor_is_killed_ends(folders: Path) -> None:
    """On the local pool a job does not outlive its supervisor: it is removed, done again once, and
    nothing is left after `remove`.
    """
    beats, gate = folders / "beats", folders / "gate"
    script = f"trap '' TERM; until [ -e {gate} ]; do echo $$ >> {beats}; sleep 0.05; done"
    run = wingspan.run(["sh", "-c", script], name="orphan", pool="local")

    def supervisor() -> int:
        (lock,) = [
            path for path in (run.path / "workers").glob("*.run") if wingspan.pools.local_job.is_alive(path)
        ]
        return int(json.loads(lock.read_bytes())["pid"])

    until(beats.exists, "it runs")
    os.kill(supervisor(), signal.SIGKILL)
    assert run.wait(PATIENCE).jobs[0].state == "removed"
    size = beats.stat().st_size
    assert run.rerun([0]) == [0]
    lines = until(lambda: len(new := beats.read_text()[size:].split()) >= 5 and new, "it runs again")
    assert len(set(lines)) == 1  # one process writes, not two
    os.kill(supervisor(), signal.SIGKILL)
    run.remove()
    size = beats.stat().st_size
    assert not list((folders.parent / "data" / "runs").iterdir())
    assert not until(lambda: [beats.stat().st_size - size], "a look")[0]


def test_half_written_notes_are_passed_over(pool, folders: Path) -> None:
    """What a crash has left of a line in a run's notes, or a line written twice, changes nothing."""
    run = wingspan.run(["true"], name="torn", pool=pool)
    assert run.wait(PATIENCE).state == "completed"
    for name in ("submissions", "local.log"):
        path = run.path / name
        data = path.read_bytes() if path.exists() else b""
        for torn in (
            b"\0" * 20,
            b'{"cluster": "loc',
            b'{"cluster": "loc\n',
            b"[1]\n",
            b"7\n",
            *data.splitlines(True)[-1:],
        ):
            path.write_bytes(data + torn)
            assert load_run("torn").status().state == "completed"
            with path.open("ab") as file:
                file.write(b"\n" + b"".join(data.splitlines(True)[-1:]))
            assert load_run("torn").status().state == "completed"
    assert load_run("torn").rerun([0]) == [0]
    assert load_run("torn").wait(PATIENCE).state == "completed"


def test_who_removes_a_run_that_another_has_removed_harms_nobody(folders: Path) -> None:
    """Removing it again does nothing, also not to a new run of the same name."""
    command = ["sh", "-c", "echo one > result.txt"]
    first = wingspan.run(command, name="same", outputs=["result.txt"], pool="local")
    first.wait(PATIENCE)
    load_run("same").remove()
    first.remove()
    second = wingspan.run(command, name="same", outputs=["result.txt"], pool="local")
    second.wait(PATIENCE)
    first.remove()
    assert second.outputs()["result.txt"].read_text() == "one\n"
