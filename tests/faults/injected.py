"""The faults, by name. Each gets the round and random numbers of its own, and answers whether there was
anything to do it to, or ``(seconds,
what undoes it)``."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from faults.lane import kill, parent_of
from faults.plans import ACTIONS

if TYPE_CHECKING:
    from faults.rounds import Round

__all__ = ["FAULTS"]

Undo = tuple[float, Callable[[], object]]
FAULTS: dict[str, Callable[[Round, random.Random], bool | Undo | None]] = {}


def fault(
    function: Callable[[Round, random.Random], bool | Undo | None],
) -> Callable[[Round, random.Random], bool | Undo | None]:
    FAULTS[function.__name__] = function
    return function


def _some(rng: random.Random, pids: list[int]) -> int | None:
    return rng.choice(pids) if pids else None


def _signal(rng: random.Random, pids: list[int], number: int = signal.SIGKILL) -> bool:
    pid = _some(rng, pids)
    return pid is not None and kill(pid, number)


def _kill_all(pids: list[int]) -> bool:
    """Whether there was one."""
    killed = [kill(pid) for pid in pids]
    return any(killed)


# -- processes of the map or run, and those that look at it --------------------------------------------------


@fault
def kill_caller(now: Round, rng: random.Random) -> Undo:
    now.kill_watchers()
    return rng.uniform(0, 2), now.watch


@fault
def second_waiter(now: Round, rng: random.Random) -> None:
    now.watch(rng.choice(["wait", "iterate"]))


@fault
def crowd(now: Round, rng: random.Random) -> None:
    """Several processes look at it in every way, list what there is and tidy up, all at the same time."""
    for _ in range(3):
        now.actor("look_on", f"{rng.uniform(2, 6):.1f}", str(rng.randrange(1 << 30)))


@fault
def kill_supervisor(now: Round, rng: random.Random) -> bool:
    return _signal(rng, now.workers()[0])


@fault
def end_worker(now: Round, rng: random.Random) -> bool:
    return _signal(rng, now.workers()[0], signal.SIGTERM)


@fault
def kill_executor(now: Round, rng: random.Random) -> bool:
    return _signal(rng, now.workers()[1])


@fault
def kill_workers(now: Round, rng: random.Random) -> bool:
    """All of them; or one after the other, three times, with what it was at."""
    if rng.random() < 0.5:
        return _kill_all(now.processes())
    done = False
    for _ in range(3):
        supervisors, executors = now.workers()
        if (pid := _some(rng, supervisors)) is not None:
            done = _kill_all([*(one for one in executors if parent_of(one) == pid), pid])
        time.sleep(0.4)
    return done


@fault
def pause_worker(now: Round, rng: random.Random) -> bool | Undo:
    """One is silent, longer than the lease perhaps, and then goes on."""
    pid = _some(rng, now.processes())
    if pid is None:
        return False
    kill(pid, signal.SIGSTOP)
    return rng.uniform(1, 8), lambda: kill(pid, signal.SIGCONT)


@fault
def pause_callers(now: Round, rng: random.Random) -> Undo:
    pids = [watcher.pid for watcher in now.watchers if watcher.poll() is None]
    for pid in pids:
        kill(pid, signal.SIGSTOP)
    return rng.uniform(1, 5), lambda: [kill(pid, signal.SIGCONT) for pid in pids]


# -- what others do to it ------------------------------------------------------------------------------------


def _action(now: Round, rng: random.Random, what: str) -> tuple[str, str]:
    """Something that an actor can do, and its arguments."""
    if what == "rerun":
        count = len(now.plan.inputs)
        return what, json.dumps([sorted(rng.sample(range(count), rng.randint(1, max(1, count // 4))))])
    if what == "add_workers":
        return what, json.dumps([rng.randint(1, 2)])
    if what == "retag":
        tag = f"{now.plan.name}-{rng.randrange(10**6)}"
        now.stage.events.tell("retag", tag=tag)
        return what, json.dumps([tag])
    if what == "fetch":
        return what, json.dumps([str(now.folder / f"fetched-{rng.randrange(10**6)}")])
    return what, "[]"


def _release(now: Round, what: str) -> Undo | None:
    return (1.0, lambda: now.actor("act", "release")) if what == "hold" else None


@fault
def act_killed(now: Round, rng: random.Random) -> Undo | None:
    """Somebody does something to it and is killed in the middle."""
    what = rng.choice(ACTIONS[now.plan.what])
    now.actor("act", *_action(now, rng, what), str(rng.choice([rng.randint(1, 12), rng.randint(1, 40)])))
    return _release(now, what)


@fault
def two_at_once(now: Round, rng: random.Random) -> Undo | None:
    """Two do something to it at the same moment."""
    names = [rng.choice(ACTIONS[now.plan.what]) for _ in range(2)]
    for what in names:
        now.actor("act", *_action(now, rng, what))
    return _release(now, "hold" if "hold" in names else "")


@fault
def rerun(now: Round, rng: random.Random) -> None:
    now.actor("act", *_action(now, rng, "rerun"))


@fault
def retag(now: Round, rng: random.Random) -> None:
    now.actor("act", *_action(now, rng, "retag"))


@fault
def clean_killed(now: Round, rng: random.Random) -> None:
    """Somebody makes maps without a name and tidies up, and is killed while he does; the one of this
    round has a name.
    """
    now.actor("clean", "2", str(rng.choice([rng.randint(1, 12), rng.randint(1, 60)])))


@fault
def other_clock(now: Round, rng: random.Random) -> Undo | None:
    """Who watches it, or does something to it, has another time than the machine that keeps the files; or
    his clock is set.
    """
    return _elsewhere(now, rng, "FAULTS_CLOCK", str(rng.choice([-7200, -300, 300, 7200])))


@fault
def old_listings(now: Round, rng: random.Random) -> Undo | None:
    """Who watches it, or does something to it, sees folders as they were some seconds ago, as by NFS."""
    return _elsewhere(now, rng, "FAULTS_LISTINGS", str(rng.choice([1.0, 3.0])))


def _elsewhere(now: Round, rng: random.Random, variable: str, value: str) -> Undo | None:
    now.environ[variable] = value
    try:
        now.watch(rng.choice(["wait", "iterate"]))
        what = rng.choice(ACTIONS[now.plan.what])
        now.actor("act", *_action(now, rng, what))
    finally:
        del now.environ[variable]
    return _release(now, what)


@fault
def hold_and_release(now: Round, rng: random.Random) -> Undo:
    now.actor("act", "hold").wait(60)
    return rng.choice([0.0, rng.uniform(0, 4)]), lambda: now.actor("act", "release")


@fault
def other_pool(now: Round, rng: random.Random) -> None:
    now.actor("act", "add_workers", json.dumps([rng.randint(1, 2), "local"]))


# -- its files -----------------------------------------------------------------------------------------------


def _files(now: Round, *patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in now.path.glob(pattern) if path.is_file())


@fault
def shift_times(now: Round, rng: random.Random) -> None:
    """The clock of the file server jumps."""
    shift = rng.choice([-3600, -90, 90, 3600])
    for path in now.path.rglob("*"):
        with contextlib.suppress(OSError):
            facts = path.stat()
            os.utime(path, (facts.st_atime + shift, facts.st_mtime + shift))


@fault
def tear_notes(now: Round, rng: random.Random) -> bool:
    """Somebody died while he appended a line, or wrote one twice."""
    paths = _files(now, "submissions", "actions", "local.log")
    for path in paths:
        data = path.read_bytes()
        with path.open("ab") as file:
            file.write(
                rng.choice(
                    [b'{"pool": "loc', data.splitlines(keepends=True)[-1] if data else b"", b"\0" * 20]
                )
            )
    return bool(paths)


def _end_all(now: Round) -> None:
    """Nobody writes any more."""
    now.kill_watchers()
    if now.plan.pool == "personal":
        now.lane.condor("condor_rm", "-constraint", now.constraint)
    for _ in range(100):
        pids = now.processes()
        if not pids:
            return
        for pid in pids:
            kill(pid)
        time.sleep(0.1)


@fault
def cut_results(now: Round, rng: random.Random) -> bool | Undo:
    """The machine has gone down: tails of files were not on the disk yet, or are zeros."""
    _end_all(now)
    some = [path for path in _files(now, "results/*", "rounds/*/done/*") if path.stat().st_size]
    for path in rng.sample(some, min(2, len(some))):
        size = path.stat().st_size
        if rng.random() < 0.6:
            os.truncate(path, size - rng.randint(1, min(size, 200_000)))
        else:
            with path.open("ab") as file:
                file.write(rng.choice([bytes(rng.randint(1, 5000)), rng.randbytes(rng.randint(1, 60))]))
    return rng.uniform(0, 1), now.watch


@fault
def copy_results(now: Round, rng: random.Random) -> bool:
    """A backup was put back under another name."""
    some = _files(now, "results/*")
    if some:
        path = rng.choice(some)
        (path.parent / f"{rng.randint(900, 999)}.0").write_bytes(path.read_bytes())
    return bool(some)


@fault
def delete_sockets(now: Round, rng: random.Random) -> bool:
    """Somebody has tidied up where idle workers listen."""
    from wingspan.settings import load_settings

    mine = {str(pid) for pid in now.lane.processes()}
    found = [path for path in (load_settings().cache_dir / "idle").glob("*/*.sock") if path.stem in mine]
    for path in found:
        path.unlink(missing_ok=True)
    return bool(found)


@fault
def delete_tag(now: Round, rng: random.Random) -> bool:
    """Somebody has deleted the tag.

    Of a map with results that is old enough not to be just being made, `clean` gives it back.
    """
    names = [event["tag"] for event in now.events.read("retag")] + [now.plan.name]
    tag = next(
        (now.lane.data / "tags" / name for name in names if (now.lane.data / "tags" / name).exists()), None
    )
    if tag is None or not any(path.stat().st_size for path in _files(now, "results/*")):
        return False
    now.kill_watchers()
    content = tag.read_bytes()
    tag.unlink()
    for _ in range(5):  # its folder may be changed this moment, and is new again
        os.utime(now.path, (0, 0))
        now.actor("clean").wait(90)
        if tag.exists():
            return True
    if not now.path.exists():
        now.events.tell("violation", kind="lost", text=f"clean has removed {now.path}, which has results")
    tag.write_bytes(content)
    return False


@fault
def lock_folder(now: Round, rng: random.Random) -> bool | Undo:
    """The data folder is read-only for a while, as where a file server has gone into that state."""
    return (rng.uniform(0.5, 6), now.lane.unlock) if now.lane.lock() else False


@fault
def delete_log(now: Round, rng: random.Random) -> None:
    (now.path / "events.log").unlink(missing_ok=True)


@fault
def fill_disk(now: Round, rng: random.Random) -> Undo:
    filler = now.lane.data / "filler"
    for size in (1 << 16, 512):
        with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(size))
    return rng.uniform(0.5, 8), lambda: filler.unlink(missing_ok=True)


# -- HTCondor ------------------------------------------------------------------------------------------------


@fault
def kill_shadow(now: Round, rng: random.Random) -> bool:
    return _signal(rng, now.lane.daemons("condor_shadow"))


@fault
def kill_starter(now: Round, rng: random.Random) -> bool:
    return _signal(rng, now.lane.daemons("condor_starter"))


@fault
def kill_schedd(now: Round, rng: random.Random) -> bool:
    return _signal(rng, now.lane.daemons("condor_schedd"))


@fault
def kill_startd(now: Round, rng: random.Random) -> bool:
    return _signal(rng, now.lane.daemons("condor_startd"))


@fault
def kill_master(now: Round, rng: random.Random) -> bool:
    return _signal(rng, now.lane.daemons("condor_master"))


@fault
def kill_pool(now: Round, rng: random.Random) -> Undo:
    """As when the machine goes down."""
    for name in ("master", "schedd", "startd", "shadow", "starter", "collector", "negotiator", "procd"):
        for pid in now.lane.daemons(f"condor_{name}"):
            kill(pid)
    for pid in now.processes():
        kill(pid)
    return rng.uniform(0, 3), now.lane.start_pool


@fault
def stop_pool(now: Round, rng: random.Random) -> Undo:
    now.lane.wingspan("pool", "stop")
    return rng.uniform(0, 3), now.lane.start_pool


@fault
def pool_command_killed(now: Round, rng: random.Random) -> Undo:
    """``pool stop`` or ``pool start`` is killed at its work."""
    for word in rng.choice([["stop"], ["start"], ["stop", "start"], ["start", "start"]]):
        more = ("--cpus", "4") if word == "start" else ()
        now.lane.wingspan_killed(rng.uniform(0.1, 2.0), "pool", word, *more)
    return rng.uniform(0, 2), now.lane.start_pool


def _job(now: Round, rng: random.Random, *command: str) -> bool:
    jobs = now.lane.jobs(now.constraint)
    return bool(jobs) and now.lane.condor(*command, rng.choice(jobs)).returncode == 0


@fault
def vacate_job(now: Round, rng: random.Random) -> bool:
    return _job(now, rng, "condor_vacate_job", *rng.choice([(), ("-fast",)]))


@fault
def remove_job(now: Round, rng: random.Random) -> bool:
    return _job(now, rng, "condor_rm")


@fault
def hold_job(now: Round, rng: random.Random) -> bool | Undo:
    jobs = now.lane.jobs(now.constraint)
    if not jobs:
        return False
    now.lane.condor("condor_hold", *jobs)
    return rng.choice([0.0, 2.0]), lambda: now.lane.condor("condor_release", *jobs)
