"""A data folder of its own, with its own personal pool, and the processes that belong to it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from _waiting import PATIENCE

__all__ = ["Lane", "is_alive", "kill", "parent_of"]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _stat(pid: int) -> list[str]:
    return _read(pid, "stat").decode(errors="replace").rpartition(")")[2].split()


def is_alive(pid: int) -> bool:
    facts = _stat(pid)
    return bool(facts) and facts[0] not in "ZX"


def parent_of(pid: int) -> int:
    facts = _stat(pid)
    return int(facts[1]) if len(facts) > 1 else 0


def kill(pid: int, number: int = signal.SIGKILL) -> bool:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
        return True
    return False


class Lane:
    """Where rounds take place.

    Args:
        work: Its folder.
        disk: MiB of a small disk for the data folder, or None (as root only).
    """

    def __init__(self, work: Path, disk: int | None = None) -> None:
        self.work, self.data = work.absolute(), work.absolute() / "data"
        self.pool = self.work / "pool"
        self.disk = disk
        self.locked = False
        for folder in (self.data, self.work / "rounds", self.pool):
            folder.mkdir(parents=True, exist_ok=True)
        if disk is not None and not self.data.is_mount():
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={disk}m", "tmpfs", str(self.data)], check=True
            )
        link = self.data / "personal-pool"
        if not link.is_symlink():
            link.symlink_to(self.pool)
        self.mark = f"WINGSPAN_DATA_DIR={self.data}".encode()
        self.pool_mark = f"_WINGSPAN_PERSONAL_POOL={self.pool}".encode()
        self.environ = {
            **os.environ,
            "WINGSPAN_DATA_DIR": str(self.data),
            "WINGSPAN_CONFIG_DIR": str(self.work / "config"),
            "WINGSPAN_IDLE_SECONDS": "2",
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")])
            ),
        }
        self.environ.pop("WINGSPAN_POOL", None)

    def wingspan(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "wingspan", *words]
        return subprocess.run(
            command,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            cwd=self.work,
        )

    def wingspan_killed(self, seconds: float, *words: str) -> None:
        """A command that is killed after a while, where it has not ended before."""
        process = subprocess.Popen(
            [sys.executable, "-m", "wingspan", *words],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.work,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()
        process.wait()

    def start_pool(self) -> None:
        self.wingspan("pool", "start", "--cpus", "4")

    def lock(self) -> bool:
        """Make the data folder read-only; False where that cannot be done."""
        if os.geteuid():
            for folder in self._folders():
                folder.chmod(0o500)
        elif self.locked or not self._mount_read_only():  # root may write wherever the mount lets it
            return False
        self.locked = True
        return True

    def _mount_read_only(self) -> bool:
        """Mount the data folder on itself, read-only from its first moment: elsewhere first, where nobody
        has a file open.
        """
        data, aside = str(self.data), self.work / "aside"
        aside.mkdir(exist_ok=True)
        for words in (
            ["mount", "--bind", data, str(aside)],
            ["mount", "-o", "remount,bind,ro", str(aside)],
            ["mount", "--bind", str(aside), data],
        ):
            done = subprocess.run(words, check=False, capture_output=True)
        subprocess.run(["umount", "-l", str(aside)], check=False, capture_output=True)
        return done.returncode == 0

    def unlock(self) -> None:
        """Undo `lock`."""
        if not self.locked:
            return
        self.locked = False
        if os.geteuid():
            for folder in self._folders():
                folder.chmod(0o700)
        else:
            subprocess.run(["umount", "-l", str(self.data)], check=False)

    def _folders(self) -> list[Path]:
        return [Path(here) for here, _, _ in os.walk(self.data)]

    def condor(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One of HTCondor's own commands."""
        return self.wingspan("pool", "run", *words)

    def jobs(self, constraint: str) -> list[str]:
        """Ids of jobs in the queue."""
        if not self.daemons("condor_schedd"):
            return []
        answer = self.condor("condor_q", "-allusers", "-af:j", "JobStatus", "-constraint", constraint)
        return [line.split()[0] for line in answer.stdout.splitlines() if line and line[0].isdigit()]

    def processes(self) -> Iterator[int]:
        """All of this lane: by their environment."""
        for entry in Path("/proc").glob("[0-9]*"):
            pid = int(entry.name)
            if pid != os.getpid():
                environ = _read(pid, "environ").split(b"\0")
                if (self.mark in environ or self.pool_mark in environ) and is_alive(pid):
                    yield pid

    def daemons(self, name: str) -> list[int]:
        return sorted(pid for pid in self.processes() if _read(pid, "comm").strip() == name[:15].encode())

    def referring(self, text: str) -> dict[int, str]:
        """Processes of the lane whose command line or open files name something; what names it."""
        found = {}
        for pid in self.processes():
            words = _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")
            if "faults.actors" in words:
                continue
            if text in words:
                found[pid] = words[:200]
                continue
            with contextlib.suppress(OSError):
                for entry in Path(f"/proc/{pid}/fd").iterdir():
                    with contextlib.suppress(OSError):
                        if text in os.readlink(entry):  # noqa: PTH115
                            found[pid] = f"{words[:120]} -> {os.readlink(entry)}"  # noqa: PTH115
        return found

    def workers(self, path: Path) -> tuple[list[int], list[int]]:
        """Supervisors of a map or run, and the processes in which they do its work."""
        mine = [
            pid
            for pid, words in self.referring(str(path)).items()
            if not Path(words.split(" ")[0]).name.startswith("condor_")
        ]
        parents = {pid: parent_of(pid) for pid in mine}
        supervisors = [pid for pid in mine if parents[pid] not in parents]
        executors = [pid for pid in self.processes() if parent_of(pid) in supervisors]
        return sorted(supervisors), sorted(executors)

    def end(self) -> None:
        """End everything of this lane."""
        self.unlock()
        self.wingspan("pool", "stop")
        for _ in range(50):
            left = list(self.processes())
            if not left:
                break
            for pid in left:
                kill(pid, signal.SIGCONT)
                kill(pid)
            time.sleep(0.1)
        if self.disk is not None and self.data.is_mount():
            subprocess.run(["umount", "-l", str(self.data)], check=False)
