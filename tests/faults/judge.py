"""A fresh process says what is wrong with a map or run after all that has happened to it, and removes it."""

from __future__ import annotations

import collections
import faulthandler
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from _waiting import PATIENCE
from faults.actors import Stage, follow_hints
from faults.work import FAILING, digest, wrong_error, wrong_output

__all__ = ["LIMIT", "judge"]

#: Seconds after the last fault within which a map or run must have ended.
LIMIT = PATIENCE


class _Judge:
    def __init__(self, stage: Stage, one: Any) -> None:
        self.stage, self.one, self.plan = stage, one, stage.plan

    def violation(self, kind: str, text: object) -> None:
        self.stage.events.tell("violation", kind=kind, text=str(text)[:600])

    def wait(self, what: str) -> bool:
        ended = follow_hints(self.stage, self.one, LIMIT)
        if not ended:
            self.violation(
                "hang" if ended is False else "lost",
                f"{what}: {'it is gone' if ended is None else self.one.status()}",
            )
        return bool(ended)


class _OfMap(_Judge):
    def check(self) -> None:
        m, inputs = self.one, self.plan.inputs
        if not self.wait("after the last fault"):
            return
        # What went down with its worker, by our hand, is done again: as its error says.
        for _ in range(3):
            ours = [
                number
                for number, error in m.errors.items()
                if self._is_of_a_kill(error) and wrong_error(inputs[number], error)
            ]
            if not ours:
                break
            m.rerun(ours)
            if not self.wait("after a rerun of what was killed"):
                return
        self._outputs()
        self._all_ways_agree()
        self._done_again()

    @staticmethod
    def _is_of_a_kill(error: Any) -> bool:
        return error.type_name == "lost" or (
            error.type_name == "crash" and error.signal in (signal.SIGKILL, signal.SIGTERM)
        )

    def _outputs(self) -> None:
        m, plan = self.one, self.plan
        errors = m.errors
        for given in plan.inputs:
            number = given[0]
            if number in errors:
                problem = wrong_error(given, errors[number])
            elif given[1] in FAILING:
                problem = f"component {number} ({given[1]}) has no error"
            else:
                try:
                    problem = wrong_output(plan.seed, given, m.get(number, timeout=0))
                except Exception as error:
                    problem = f"get({number}) raised {error!r:.300}"
            if problem:
                self.violation("wrong", problem)
                return
            if given[1] == "print" and f"hello {number}\n" not in m.stdout(number):
                self.violation("wrong", f"stdout({number}) is {m.stdout(number)[:80]!r}")

    def _all_ways_agree(self) -> None:
        import wingspan

        m = self.one
        status, statuses, errors = m.status(), m.statuses, m.errors
        if collections.Counter(statuses) != collections.Counter(
            {key: count for key, count in status.counts.items() if count}
        ):
            self.violation("inconsistent", f"statuses {collections.Counter(statuses)}, status {status}")
        if not (m.is_done and status.is_done):
            self.violation("inconsistent", f"wait has returned, and it is not done: {status}")
        good = [number for number in m.components if number not in errors]
        got = {number: m.get(number, timeout=0) for number in good}
        other = wingspan.load(m.tag)
        ways = {
            "list": dict(enumerate(m.iter(return_exceptions=True))),
            "another reader": dict(enumerate(other.iter(return_exceptions=True, timeout=LIMIT))),
            "as available": {
                given[0]: value
                for given, value in m.iter_as_available(with_inputs=True, return_exceptions=True)
            },
        }
        for way, values in ways.items():
            wrong = [number for number in good if values.get(number) != got[number]]
            if wrong or len(values) != len(m):
                self.violation(
                    "inconsistent", f"{way} gives {len(values)} of {len(m)}, others than get of {wrong[:5]}"
                )
        if set(other.errors) != set(errors):
            self.violation(
                "inconsistent",
                f"another reader has the errors {sorted(other.errors)[:9]}, not {sorted(errors)[:9]}",
            )

    def _done_again(self) -> None:
        for event in self.stage.events.read("rerun done"):
            for number in event["numbers"]:
                if number not in self.one.errors and self.one.get(number, timeout=0)[2] < event["began"]:
                    self.violation("wrong", f"component {number} was not done again")
                    return


class _OfRun(_Judge):
    def check(self) -> None:
        for turn in range(4):
            if not self.wait("after the last fault"):
                return
            problems = {
                job.number: problem for job in self.one.status().jobs if (problem := self._problem(job))
            }
            if not problems:
                break
            if turn == 3:
                self.violation("wrong", problems)
                return
            lost = [number for number, problem in problems.items() if problem.startswith("lost")]
            if lost:
                self.violation("lost", problems[lost[0]])
                return
            try:
                self.one.rerun(sorted(problems))
            except Exception as error:
                self.stage.events.tell_error(error, "rerun")
        target = self.stage.folder / "fetched"
        for number, files in self.one.fetch(target).items():
            if self.plan.inputs[number][1] == "ok" and not files:
                self.violation("lost", f"fetch brought nothing of job {number}")

    def _problem(self, job: Any) -> str | None:
        number, kind, _, _, size = self.plan.inputs[job.number]
        told = f"job {number} ({kind}) is {job.state}, code {job.code}: {job.reason}"
        if kind == "fail":
            return None if job.state == "failed" and job.code == 3 else told
        if kind == "missing":
            return None if job.state == "failed" and job.missing else told
        if job.state != "completed":
            return told
        path = self.one.outputs(job.number).get(f"result-{number}")
        if path is None:
            return f"lost: {told}, and its output is not there"
        good = path.read_text(encoding="utf-8") == digest(self.plan.seed, number) * (1 + size // 32)
        return None if good else f"lost: {told}, and its output is another one"


def judge(stage: Stage) -> None:
    """Wait for it, compare it with what must be, remove it."""
    with (stage.folder / "stacks").open("w") as stacks:
        faulthandler.register(signal.SIGUSR1, file=stacks, all_threads=True)
        _judge(stage)
        faulthandler.unregister(signal.SIGUSR1)
    stage.events.tell("judged")


def _judge(stage: Stage) -> None:
    import wingspan

    made = bool(stage.events.read("made"))
    try:
        one = stage.open(LIMIT if made else 3.0)
    except wingspan.WingspanError as error:
        if made:
            stage.events.tell("violation", kind="lost", text=f"it was made, and is not found: {error}")
        return
    found = (_OfMap if stage.plan.what == "map" else _OfRun)(stage, one)
    try:
        found.check()
    except Exception as error:
        stage.events.tell_error(error, "judging")
        found.violation("unclear", repr(error))
    if stage.events.read("violation"):
        shutil.copytree(
            one.path,
            stage.folder / "evidence",
            ignore=shutil.ignore_patterns("worker.pyz"),
            ignore_dangling_symlinks=True,
        )
    _remove(stage, one)
    _tidy(stage)


def _tidy(stage: Stage) -> None:
    """What nobody named goes when somebody tidies up, whoever was killed at that before."""
    import wingspan

    unnamed = [Path(event["path"]) for event in stage.events.read("unnamed")]
    if not unnamed:
        return
    try:
        wingspan.clean()
    except Exception as error:
        stage.events.tell_error(error, "clean")
    left = [path for path in unnamed if path.exists() and set(os.listdir(path)) - {"events.log"}]
    if left:
        stage.events.tell("violation", kind="left", text=f"after clean: {left}: {os.listdir(left[0])}")


def _remove(stage: Stage, one: Any) -> None:
    """Plainly, or after somebody was killed while he did, or while others do something to it."""
    rng = random.Random(f"{stage.plan.seed}/{stage.plan.number}/end")
    actor = [sys.executable, "-m", "faults.actors", "act", str(stage.folder)]
    others = []
    if stage.plan.end == "killed":
        subprocess.run(
            [*actor, "remove", "[]", str(rng.randint(1, 40))], timeout=LIMIT, check=False, capture_output=True
        )
    elif stage.plan.end == "contested":
        words = [["rerun", "[[0]]"], ["hold"], ["release"], ["remove"], ["vacate"]]
        others = [subprocess.Popen([*actor, *rng.choice(words)], stderr=subprocess.DEVNULL) for _ in range(3)]
        time.sleep(rng.uniform(0.2, 1.0))
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            one.remove()
            break
        except Exception as error:
            stage.events.tell_error(error, "remove")
            if time.monotonic() > deadline:
                stage.events.tell("violation", kind="left", text=f"it cannot be removed: {error}")
                break
            command = [sys.executable, "-m", "wingspan", "pool", "start", "--cpus", "4"]
            subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
            time.sleep(1.0)
    for other in others:
        try:
            other.wait(LIMIT)
        except subprocess.TimeoutExpired:
            stage.events.tell("violation", kind="hang", text=f"{other.args} does not end after the removal")
            other.kill()
    if Path(one.path).exists() and set(os.listdir(one.path)) - {"events.log"}:
        stage.events.tell("violation", kind="left", text=f"{one.path}: {os.listdir(one.path)}")
