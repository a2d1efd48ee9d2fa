"""Whether a locked environment has the programs that a run starts: known before its jobs fail."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wingspan.delivery.carriage import carriage_here
from wingspan.runs._errors import CommandNotFound
from wingspan.settings import load_settings, private_folder
from wingspan.worker import trust

if TYPE_CHECKING:
    from wingspan.environments import Environment
    from wingspan.environments.bundles import Bundle

__all__ = ["check_command"]


def check_command(bundle: Bundle, programs: Sequence[str], named: Environment, *, gpus: bool = False) -> None:
    """See that the environment has the programs; what was seen is remembered.

    A `squashfs` bundle is started here. The others would have to be unpacked first: the lists of their
    packages are read instead. Where neither is possible here, nothing is said: the jobs run elsewhere.

    Raises:
        CommandNotFound: It has not.
    """
    if not programs:
        return
    name = named.name
    code = tuple(layer.sha256 for layer in bundle.layers)
    facts = (bundle.sha256, code, tuple(programs), os.environ.get("PATH"))
    key = hashlib.sha256(repr(facts).encode()).hexdigest()[:32]
    seen = load_settings().cache_dir / "commands" / key
    if seen.exists():
        return
    look = 'for p; do command -v "$p" >/dev/null 2>&1 || echo "wingspan-lacks:$p"; done; echo wingspan-looked'
    words, had = ["sh", "-c", look, "sh", *programs], frozenset[str]()
    if bundle.kind != "squashfs":
        from wingspan.environments.commands import programs_of

        found = programs_of(named.load(gpus=gpus))
        if found is None:
            return
        had = found  # and what any machine has, as this one: the shell's own words, and its programs
    else:
        words = [*carriage_here(bundle).words, *words]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if "wingspan-looked" not in done.stdout:
            return
        lacking = [
            line.partition(":")[2] for line in done.stdout.splitlines() if line.startswith("wingspan-lacks:")
        ]
        lacking = [program for program in lacking if program not in had]
        if lacking:
            raise CommandNotFound(
                f"the environment {name!r} has no command {lacking[0]!r}",
                hint=f"add the package that has it (pixi add), or send it along: --input {lacking[0]} and ./{lacking[0]}",
            )
        private_folder(load_settings().cache_dir, "commands")
        trust.write_whole(str(seen), b"")
