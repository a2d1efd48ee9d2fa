"""One round: everything in its order, and what is left when it is over."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from _waiting import PATIENCE
from faults.actors import Events, Stage
from faults.injected import FAULTS
from faults.judge import LIMIT
from faults.lane import Lane, kill
from faults.plans import Plan

__all__ = ["Round"]

#: Seconds within which processes and jobs of what was removed must have ended.
_LEFT_SECONDS = PATIENCE


class Round:
    """Makes what the plan says in a lane, and answers what was wrong."""

    def __init__(self, lane: Lane, plan: Plan) -> None:
        self.lane, self.plan = lane, plan
        self.folder = lane.work / "rounds" / f"{plan.name}-{os.urandom(2).hex()}"
        self.folder.mkdir(parents=True)
        plan.write(self.folder / "plan.json")
        self.events = Events(self.folder / "events")
        self.stage = Stage(self.folder)
        self.watchers: list[subprocess.Popen[bytes]] = []
        self.actors: list[subprocess.Popen[bytes]] = []
        self.path = Path("/nonexistent")
        #: Faults that found something to do.
        self.worked: list[str] = []
        self.environ = dict(lane.environ)
        if plan.lease is not None:
            self.environ["WINGSPAN_LEASE_SECONDS"] = str(plan.lease)

    @property
    def constraint(self) -> str:
        """Its jobs in HTCondor."""
        return f'Wingspan{self.plan.what.capitalize()} == "{self.path.name}"'

    def workers(self) -> tuple[list[int], list[int]]:
        return self.lane.workers(self.path)

    def processes(self) -> list[int]:
        """All that work on it."""
        supervisors, executors = self.workers()
        return [*supervisors, *executors]

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / "stderr").open("ab") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "faults.actors", words[0], str(self.folder), *words[1:]],
                env=self.environ,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
            )

    def actor(self, *words: str) -> subprocess.Popen[bytes]:
        self.actors.append(self._start(*words))
        return self.actors[-1]

    def watch(self, how: str = "wait") -> None:
        self.watchers.append(self._start("wait", how))

    def kill_watchers(self) -> None:
        for watcher in self.watchers:
            kill(watcher.pid)
            watcher.wait()
        self.watchers.clear()

    def run(self) -> list[dict[str, Any]]:
        """Do it: the violations."""
        maker = self._start("make")
        self.watchers.append(maker)
        made = self._find(maker)
        if made:
            self._inject()
        for actor in self.actors:
            self._expect_end(actor, PATIENCE, "somebody who did something to it")
        judge = self._start("judge")
        try:
            judge.wait(3 * LIMIT)
        except subprocess.TimeoutExpired:
            kill(judge.pid, signal.SIGUSR1)  # its stacks go to a file
            time.sleep(1.0)
            kill(judge.pid)
            judge.wait()
        if not self.events.read("judged"):
            self.events.tell(
                "violation",
                kind="unclear",
                text=f"the judge has not come to an end: {self.folder / 'stderr'}",
            )
        for watcher in self.watchers:
            self._expect_end(watcher, PATIENCE, "one who waits for it")
        if made:
            self._look_for_what_is_left()
        self._clear()
        return self.events.read("violation")

    def _find(self, maker: subprocess.Popen[bytes]) -> bool:
        """Wait until it is there, and see where; False: whoever makes it was killed before."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            ended = maker.poll() is not None
            for event in self.events.read("made"):
                self.path = Path(event["path"])
                return True
            if self.plan.killed_at and ended:
                break
            time.sleep(0.05)
        else:
            self.events.tell("violation", kind="unclear", text=f"it was not made: {self.events.read()[:3]}")
            return False
        tag = self.lane.data / "tags" / self.plan.name
        if self.plan.what == "run":
            self.path = self.lane.data / "runs" / self.plan.name
        elif tag.exists():
            self.path = self.lane.data / "maps" / tag.read_text().strip()
        found = self.path.exists()
        if found:
            self.watch()
        return found

    def _inject(self) -> None:
        begin = time.monotonic()
        agenda: list[tuple[float, str, Any]] = [
            (begin + at, name, number) for at, name, number in self.plan.faults
        ]
        while agenda:
            agenda.sort(key=lambda entry: entry[0])
            at, name, what = agenda.pop(0)
            time.sleep(max(0.0, at - time.monotonic()))
            if callable(what):
                what()
                self.events.tell("undone", fault=name)
                continue
            try:
                answer = FAULTS[name](self, random.Random(what))
            except (OSError, subprocess.SubprocessError):
                self.events.tell("driver", fault=name, trace=traceback.format_exc()[-1500:])
                continue
            self.events.tell("fault", fault=name, worked=answer is not False)
            self.worked += [name] if answer is not False else []
            if isinstance(answer, tuple):
                agenda.append((time.monotonic() + answer[0], name, answer[1]))

    def _expect_end(self, process: subprocess.Popen[bytes], seconds: float, who: str) -> None:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            told = [event for event in self.events.read() if event["pid"] == process.pid][-1:]
            self.events.tell(
                "violation", kind="hang", text=f"{who} does not end: {process.args[3:]} {told}"[:600]
            )  # type: ignore[index]
            kill(process.pid)
            process.wait()

    def _look_for_what_is_left(self) -> None:
        deadline = time.monotonic() + _LEFT_SECONDS
        while True:
            processes = self.lane.referring(str(self.path))
            jobs = self.lane.jobs(self.constraint) if self.plan.pool == "personal" and not processes else []
            if not processes and not jobs:
                break
            if time.monotonic() > deadline:
                self.events.tell(
                    "violation", kind="left", text=f"after the removal: {processes or jobs}"[:600]
                )
                for pid in processes:
                    kill(pid)
                break
            time.sleep(0.3)
        for path in (self.lane.data / "maps").glob("[!.]*"):
            if set(os.listdir(path)) - {"events.log"} and path == self.path:
                self.events.tell("violation", kind="left", text=f"{path}: {os.listdir(path)[:9]}")

    def _clear(self) -> None:
        """Nothing of this round is in the way of the next."""
        self.lane.unlock()
        for name in ("maps", "tags", "runs"):
            shutil.rmtree(self.lane.data / name, ignore_errors=True)
        if not self.events.read("violation"):
            shutil.rmtree(self.folder, ignore_errors=True)
