"""Other processes of a round: ``python -m faults.actors ROLE FOLDER [WORD…]``. What happens to them they
append to the file ``events``.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from _waiting import PATIENCE
from faults.plans import Plan
from faults.work import PROGRAM, digest, make_function

__all__ = ["Events", "Stage", "follow_hints", "kill_at", "list_late", "set_clock"]

#: What changes something outside of this process; what only reads does not.
_CHANGES = frozenset(
    {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "os.chmod", "shutil.rmtree"}
)
_OUTSIDE = frozenset({"subprocess.Popen", "socket.connect", "os.kill"})


def kill_at(number: int, *folders: str) -> None:
    """Kill this process by SIGKILL just before the so-manieth time that it changes a file of ours, starts a
    process or talks to one.

    Ours are the files in `folders`; without any, in the data folder.
    """
    left, ours = [number], folders or (os.environ["WINGSPAN_DATA_DIR"],)

    def hook(event: str, words: tuple[Any, ...]) -> None:
        if event == "open":
            writes = (words[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            counts = bool(writes) and str(words[0]).startswith(ours)
        else:
            counts = event in _OUTSIDE or (event in _CHANGES and str(words[0]).startswith(ours))
        if counts:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def set_clock(seconds: float) -> None:
    """Let Wingspan in this process have another time than the others.

    HTCondor's bindings, which ask the system too, are left alone.
    """
    real, real_ns = time.time, time.time_ns

    def is_ours() -> bool:
        return str(sys._getframe(2).f_globals.get("__name__")).startswith("wingspan")

    time.time = lambda: real() + (seconds if is_ours() else 0.0)
    time.time_ns = lambda: real_ns() + (int(seconds * 1e9) if is_ours() else 0)


def list_late(seconds: float) -> None:
    """Let this process see names in a folder as they were up to so many seconds ago, but for what it
    changes itself: as by NFS.
    """
    real, kept = os.listdir, dict[str, tuple[float, list[str]]]()

    def hook(event: str, words: tuple[Any, ...]) -> None:
        if event in _CHANGES or (event == "open" and (words[2] or 0) & os.O_CREAT):
            for path in words[:2]:
                if isinstance(path, (str, os.PathLike)):
                    kept.pop(str(Path(path).absolute().parent), None)

    def listdir(path: Any = ".") -> list[Any]:
        if not isinstance(path, (str, os.PathLike)):
            return real(path)
        name, now = str(Path(path).absolute()), time.monotonic()
        if name not in kept or now - kept[name][0] > seconds:
            kept[name] = (now, real(path))
        return list(kept[name][1])

    sys.addaudithook(hook)
    os.listdir = listdir  # type: ignore[assignment]


class Events:
    """A file of JSON lines that several processes append to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def tell(self, what: str, **more: Any) -> None:
        line = (
            json.dumps({"at": time.time_ns(), "pid": os.getpid(), "what": what, **more}, default=str) + "\n"
        )
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, line.encode())
        os.close(descriptor)

    def read(self, what: str | None = None) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        events = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
        return [event for event in events if what in (None, event["what"])]

    def tell_error(self, error: BaseException, doing: str) -> None:
        """An error of ours is told, with its hint; any other is a violation."""
        from wingspan import WingspanError

        if isinstance(error, WingspanError):
            self.tell("advice", kind=type(error).__name__, text=str(error)[:500], doing=doing)
            if not error.hint:
                self.tell("violation", kind="no hint", text=f"{doing}: {error}"[:500])
        else:
            trace = "".join(traceback.format_exception(error))[-2500:]
            self.tell(
                "violation",
                kind="raw error",
                text=f"{doing}: {type(error).__name__}: {error}"[:300],
                trace=trace,
            )


class Stage:
    """What all processes of a round know: its folder, plan and events."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events = Events(folder / "events")
        self.effects = str(folder / "effects")

    @cached_property
    def plan(self) -> Plan:
        """What happens in the round."""
        return Plan.read(self.folder / "plan.json")

    @property
    def tag(self) -> str:
        """The name that the map or run has now; a map may be given another."""
        given = [event["tag"] for event in self.events.read("retag")]
        return next((tag for tag in reversed(given) if self._is_there(tag)), self.plan.name)

    def _is_there(self, tag: str) -> bool:
        return (Path(os.environ["WINGSPAN_DATA_DIR"]) / "tags" / tag).exists()

    def open(self, patience: float = 20.0) -> Any:
        """The map or run; waits while it is not there yet, or is being given another name."""
        import wingspan

        deadline = time.monotonic() + patience
        while True:
            try:
                return (
                    wingspan.load(self.tag) if self.plan.what == "map" else wingspan.load_run(self.plan.name)
                )
            except wingspan.WingspanError as error:
                if time.monotonic() > deadline:
                    raise
                last = error
            except Exception as error:
                self.events.tell_error(error, "load")
                raise
            del last
            time.sleep(0.2)

    def make(self) -> Any:
        """Make the map, or submit the run."""
        import wingspan

        plan = self.plan
        if plan.what == "map":
            inputs = [tuple(given) for given in plan.inputs]
            return wingspan.map(
                make_function(self.effects, plan.seed),
                inputs,
                tag=plan.name,
                pool=plan.pool,
                options=wingspan.Options(**plan.options),
            )
        (self.folder / "program").write_text(PROGRAM, encoding="utf-8")
        (self.folder / "program").chmod(0o755)
        names = ("job", "sort", "steps", "pause", "size", "word")
        rows = [[*given, digest(plan.seed, given[0])] for given in plan.inputs]
        text = "\n".join(",".join(map(str, row)) for row in [names, *rows])
        (self.folder / "sweep.csv").write_text(text + "\n", encoding="utf-8")
        every = plan.options["every"]
        return wingspan.run(
            [
                "./program",
                "{job}",
                "{sort}",
                "{steps}",
                "{pause}",
                "{size}",
                str(every),
                "{word}",
                self.effects,
            ],
            inputs=["program"],
            outputs=["result-{job}"],
            checkpoint=["state-{job}"] if every else [],
            sweep_file=self.folder / "sweep.csv",
            name=plan.name,
            pool=plan.pool,
            memory="64MB",
            workspace=self.folder,
        )


def follow_hints(stage: Stage, one: Any, seconds: float, *, act: bool = True) -> bool | None:
    """Wait for a map or run as somebody does who follows each hint: whether it has ended; None: it was
    removed.
    """
    import wingspan
    from wingspan.errors import DiskError, PoolError
    from wingspan.runs import RunFailed, RunNotFound, RunTimeout

    deadline = time.monotonic() + seconds
    while True:
        try:
            left = max(0.1, min(20.0, deadline - time.monotonic()))
            if stage.plan.what == "map":
                one.wait(left, errors_ok=True, progress=False)
            else:
                one.wait(left)
            return True
        except (wingspan.MapTimeout, RunTimeout):
            pass
        except (wingspan.MapRemoved, RunNotFound) as error:
            stage.events.tell_error(error, "wait")
            return None
        except Exception as error:
            stage.events.tell_error(error, "wait")
            try:
                if act and isinstance(error, (wingspan.ComponentHeld, RunFailed)):
                    one.release()
                elif act and isinstance(error, (wingspan.ComponentRemoved, wingspan.WorkersCannotStart)):
                    one.rerun()
                elif act and isinstance(error, PoolError) and not isinstance(error, DiskError):
                    command = [sys.executable, "-m", "wingspan", "pool", "start", "--cpus", "4"]
                    subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
            except Exception as second:
                stage.events.tell_error(second, f"after {type(error).__name__}")
            time.sleep(0.5)
        if time.monotonic() > deadline:
            return False


# -- roles ---------------------------------------------------------------------------------------------------


def make(stage: Stage) -> None:
    """Make it and wait for it."""
    import wingspan.maps._create
    import wingspan.runs._api  # noqa: F401 - imported before somebody counts

    if stage.plan.killed_at:
        kill_at(stage.plan.killed_at)
    deadline = time.monotonic() + 60
    while True:
        try:
            made = stage.make()
            break
        except Exception as error:
            stage.events.tell_error(error, "make")
            if time.monotonic() > deadline:
                return
            time.sleep(1.0)
    stage.events.tell("made", path=str(made.path))
    follow_hints(stage, made, 600, act=False)
    stage.events.tell("saw the end")


def wait(stage: Stage, how: str = "wait") -> None:
    """Watch it to its end: wait, or read outputs as they come."""
    try:
        one = stage.open()
    except Exception as error:
        return stage.events.tell_error(error, "load")
    if how == "wait" or stage.plan.what == "run":
        follow_hints(stage, one, 600, act=False)
    else:
        _read_as_they_come(stage, one)
    return stage.events.tell("saw the end")


def _read_as_they_come(stage: Stage, one: Any) -> None:
    import wingspan

    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        try:
            came = [
                given[0]
                for given, _ in one.iter_as_available(with_inputs=True, return_exceptions=True, timeout=600)
            ]
        except wingspan.MapRemoved:
            return
        except Exception as error:
            stage.events.tell_error(error, "iter_as_available")
            time.sleep(1.0)
            continue
        if sorted(came) != list(range(len(one))):
            stage.events.tell(
                "violation",
                kind="iterator",
                text=f"{len(came)} came, {len(set(came))} different, of {len(one)}",
            )
        return


def act(stage: Stage, what: str, words: str = "[]", killed_at: str = "0") -> None:
    """Do something to it; with `killed_at` be killed in the middle of that."""
    try:
        one = stage.open(5.0)
    except Exception as error:
        return stage.events.tell_error(error, "load")
    arguments = json.loads(words)
    began = time.time_ns()
    if what == "rerun":
        stage.events.tell("rerun asked", numbers=arguments[0])
    if int(killed_at):
        with contextlib.suppress(Exception):
            one.status()
        kill_at(int(killed_at))
    try:
        getattr(one, what)(*arguments)
    except Exception as error:
        return stage.events.tell_error(error, what)
    if what == "rerun":
        stage.events.tell("rerun done", numbers=arguments[0], began=began)
    return None


def clean(stage: Stage, unnamed: str = "0", killed_at: str = "0") -> None:
    """Make maps that nobody names, and tidy up when they are done; with `killed_at` be killed in the
    middle of that.
    """
    import wingspan

    try:
        for _ in range(int(unnamed)):
            made = wingspan.map(abs, [(-1,), (2,)], pool="local")
            made.wait(60, progress=False)
            stage.events.tell("unnamed", path=str(made.path))
    except Exception as error:
        return stage.events.tell_error(error, "map")
    if int(killed_at):
        kill_at(int(killed_at))
    try:
        wingspan.clean()
    except Exception as error:
        return stage.events.tell_error(error, "clean")
    return None


def look_on(stage: Stage, seconds: str, seed: str) -> None:
    """For so many seconds do what changes nothing of it, in any order: look, list, wait a moment, tidy up."""
    import random

    import click.testing

    import wingspan
    from wingspan.cli._main import cli
    from wingspan.runs import RunTimeout

    def command(*words: str) -> None:
        done = click.testing.CliRunner().invoke(cli, list(words))
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception

    def ask(name: str) -> Any:
        found = getattr(one, name)
        return found() if callable(found) else found

    try:
        one = stage.open()
    except Exception as error:
        return stage.events.tell_error(error, "load")
    names = {"map": ("statuses", "errors", "runtimes", "components"), "run": ("outputs", "stdout", "check")}
    deeds: dict[str, Callable[[], Any]] = {
        **{name: lambda name=name: ask(name) for name in ("status", *names[stage.plan.what])},  # type: ignore[misc]
        "wait": lambda: one.wait(0.05),
        "load": lambda: stage.open(0.0),
        "load_maps": wingspan.load_maps,
        "clean": wingspan.clean,
        **{words: lambda words=words: command(*words.split()) for words in ("maps", "runs", "status")},  # type: ignore[misc]
        "top": lambda: command("top", "--once"),
    }
    rng, deadline = random.Random(int(seed)), time.monotonic() + float(seconds)
    while time.monotonic() < deadline:
        name = rng.choice(list(deeds))
        try:
            deeds[name]()
        except (wingspan.MapTimeout, RunTimeout):
            continue
        except Exception as error:
            if not hasattr(error, "component_error"):  # that is the user's own
                stage.events.tell_error(error, name)
    return None


def env(stage: Stage, *words: str) -> None:
    """A command of ``wingspan env``; FAULTS_KILLED says when it is killed, and whose changes count."""
    from wingspan.cli._main import main as command

    number, *folders = os.environ.pop("FAULTS_KILLED").split(":")
    if int(number):
        kill_at(int(number), *folders)
    command(["env", *words])


ROLES: dict[str, Callable[..., None]] = {
    "make": make,
    "wait": wait,
    "act": act,
    "clean": clean,
    "look_on": look_on,
    "env": env,
}


def main(role: str, folder: str, *words: str) -> None:
    if seconds := os.environ.pop("FAULTS_CLOCK", ""):
        set_clock(float(seconds))
    if seconds := os.environ.pop("FAULTS_LISTINGS", ""):
        list_late(float(seconds))
    stage = Stage(Path(folder))
    if role == "judge":
        from faults.judge import judge

        ROLES["judge"] = judge
    ROLES[role](stage, *words)


if __name__ == "__main__":
    main(*sys.argv[1:])
