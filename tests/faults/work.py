"""What components and jobs do, and what must come of it."""

from __future__ import annotations

import hashlib
import sys
from typing import Any

__all__ = ["FAILING", "PROGRAM", "digest", "make_function", "wrong_error", "wrong_output"]

#: Kinds of component that end with an error, and how that looks: type, signal, exit code.
FAILING: dict[str, tuple[str, int | None, int | None]] = {
    "raise": ("ValueError", None, None),
    "exit": ("crash", None, 3),
    "crash": ("crash", 11, None),
    "unpicklable": ("NotPicklable", None, None),
}


def digest(seed: int, number: int) -> str:
    return hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=16).hexdigest()


def make_function(effects: str, seed: int) -> Any:
    """The function of a map: ``(number, digest, when this execution began, padding)`` of an input
    ``(number, kind, seconds, size)``.
    """

    def work(given: tuple[int, str, float, int]) -> tuple[int, str, int, bytes]:
        import hashlib
        import os
        import signal
        import threading
        import time

        number, kind, seconds, size = given
        began = time.time_ns()
        if kind != "quick":
            descriptor = os.open(effects, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(descriptor, b"%d %d\n" % (number, began))
            os.close(descriptor)
        time.sleep(seconds)
        if kind == "raise":
            raise ValueError(f"bad {number}")
        if kind == "exit":
            os._exit(3)
        if kind == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
            time.sleep(5)
        if kind == "unpicklable":
            return threading.Lock()  # type: ignore[return-value]
        if kind == "print":
            print("hello", number)
        if kind == "fork" and os.fork() == 0:
            time.sleep(1.0)
            os._exit(0)
        word = hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=16).hexdigest()
        return number, word, began, word.encode() * (size // 32)

    return work


def wrong_output(seed: int, given: list[Any], value: Any) -> str | None:
    """What is wrong with an output."""
    number, _, _, size = given
    word = digest(seed, number)
    if (
        not isinstance(value, tuple)
        or value[:2] != (number, word)
        or value[3] != word.encode() * (size // 32)
    ):
        return f"output {number} is {value!r:.80}"
    return None


def wrong_error(given: list[Any], error: Any) -> str | None:
    """What is wrong with a component's error."""
    found = (error.type_name, error.signal, error.exited_with)
    return (
        None
        if FAILING.get(given[1]) == found
        else f"component {given[0]} ({given[1]}) has the error {found}: {error.text[:100]}"
    )


#: What a job of a run does: some steps, after each of which it may have a checkpoint, then its output.
PROGRAM = f"""\
#!{sys.executable}
import os, sys, time
number, kind, steps, seconds, size, every, word, effects = sys.argv[1:]
steps, every, state = int(steps), int(every), f"state-{{number}}"
begun = int(open(state).read()) if os.path.exists(state) else 0
descriptor = os.open(effects, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
os.write(descriptor, f"{{number}} {{begun}} {{time.time_ns()}}\\n".encode())
for step in range(begun, steps):
    time.sleep(float(seconds))
    if every and step + 1 < steps and (step + 1) % every == 0:
        with open(state, "w") as file:
            file.write(str(step + 1))
        sys.exit(85)
if kind == "fail":
    sys.exit(3)
if kind != "missing":
    with open(f"result-{{number}}", "w") as file:
        file.write(word * (1 + int(size) // 32))
"""
