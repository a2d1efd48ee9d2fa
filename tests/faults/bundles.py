"""Commands for bundles that are killed at their work, and given again: what they leave must be whole, or be
mended by the next.

``python -m faults --what bundle`` does rounds of it.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from faults.actors import Events
from faults.lane import Lane

__all__ = ["BundleRound", "write_workspace"]

#: Those that are built within seconds.
KINDS = ("squashfs", "pack", "install")
_TOOLS = Path(__file__).parents[2] / "tools"
#: py-rattler may crash a process that lives on.
_WRITE = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import local_channel
folder, channel = map(Path, sys.argv[2:])
local_channel.make_channel(channel)
local_channel.write_workspace(folder, channel, {"small": ["prefix-probe", "libzlib"]}, pypi={}, name="local")
sys.stdout.flush()
os._exit(0)
"""


def write_workspace(folder: Path, channel: Path) -> Path:
    """A workspace with an environment of two small packages of the channel."""
    if not (folder / "pixi.lock").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-c", _WRITE, str(_TOOLS), str(folder), str(channel)], check=True)
    return folder


class BundleRound:
    """Builds and unpacks one bundle in a lane, with somebody being killed at it, and answers what was
    wrong.
    """

    def __init__(self, lane: Lane, seed: int, number: int, workspace: Path) -> None:
        self.rng = random.Random(f"{seed}/{number}/bundle")
        self.lane, self.workspace = lane, workspace
        self.kind = self.rng.choice(KINDS)
        self.folder = lane.work / "rounds" / f"b{seed}-{number}-{os.urandom(2).hex()}"
        self.folder.mkdir(parents=True)
        self.events = Events(self.folder / "events")
        self.out = self.folder / "out"
        self.cache = lane.work / "cache" if self.rng.random() < 0.5 else self.folder / "cache"
        self.killed_at: list[int] = []

    def _do(self, *words: str, killed_at: int = 0) -> subprocess.CompletedProcess[str]:
        """One command of ``wingspan env``; killed just before the so-manieth change that it makes to the
        round's files.
        """
        environ = {
            **self.lane.environ,
            "WINGSPAN_CACHE_DIR": str(self.cache),
            "FAULTS_KILLED": f"{killed_at}:{self.cache}:{self.folder}",
        }
        return subprocess.run(
            [sys.executable, "-m", "faults.actors", "env", str(self.folder), *words],
            env=environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def _good(self, *words: str) -> bool:
        done = self._do(*words)
        if done.returncode:
            self.events.tell("violation", kind="command", text=f"{words}: {done.stdout}{done.stderr}"[-900:])
        return not done.returncode

    def _kills(self, *words: str) -> None:
        for _ in range(self.rng.randint(1, 3)):
            at = self.rng.choice([self.rng.randint(1, 15), self.rng.randint(1, 80)])
            if self._do(*words, killed_at=at).returncode < 0:
                self.killed_at.append(at)

    def run(self) -> list[dict[str, Any]]:
        """Do it: the violations."""
        build = (
            "bundle",
            "-m",
            str(self.workspace),
            "-e",
            "small",
            "-k",
            self.kind,
            "-o",
            str(self.out),
            "-q",
        )
        self._kills(*build)
        if self._good(*build):
            self._look()
        return self.events.read("violation")

    def _look(self) -> None:
        # what begins with a dot was being written by somebody who was killed
        names = sorted(name for name in os.listdir(self.out) if not name.startswith("."))
        bundles = [name for name in names if f"{name}.sha256" in names]
        if len(bundles) != 1 or len(names) != 2:
            self.events.tell("violation", kind="left", text=f"the folder has {names}")
            return
        bundle = str(self.out / bundles[0])
        if not self._good("verify", bundle) or self.kind == "install":
            return
        unpack = ("unpack", bundle, "-o", str(self.folder / "unpacked"))
        self._kills(*unpack)
        shutil.rmtree(self.folder / "unpacked", ignore_errors=True)  # as the hint says
        if self._good(*unpack):
            probe = list((self.folder / "unpacked").glob("*/bin/prefix-probe"))
            if not probe or not (self.folder / "unpacked/activate.sh").exists():
                self.events.tell("violation", kind="lost", text="what was unpacked is not whole")
