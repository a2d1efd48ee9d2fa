"""A throwaway Slurm cluster of one node on this machine: real ``slurmctld`` and ``slurmd`` on loopback,
in a folder of their own.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from _waiting import PATIENCE, NotInTime, until
from wingspan.pools.personal.ports import free_port

#: Where ``tools/engines/slurm.py`` unpacks Slurm for those who cannot install it.
_ENGINES = [Path("/var/cache/wingspan-engines/slurm"), Path.home() / ".cache/wingspan-engines/slurm"]

# cred_expire: a requeued job waits as long. auth/none: no munge, and no user but this one can reach the
# ports' secrets; for tests only. linuxproc: a job's children end with it. Epilog: slurmctld looks for the
# next job as soon as one has ended, not a second later. /dev/null is a GPU that nobody has.
_CONFIGURATION = """
ClusterName=wingspan-test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
AuthInfo=cred_expire=5
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
KillWait=2
Epilog=/bin/true
SchedulerParameters=batch_sched_delay=0,bf_interval=1,sched_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=100
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 Port={node_port} CPUs=4 RealMemory=16000 Gres=gpu:1 State=UNKNOWN
PartitionName=test Nodes=node Default=YES MaxTime=7-0 State=UP
"""


def slurm_programs() -> Path | None:
    """The folder with ``sbatch`` where the daemons can be had too, or None."""
    for engine in _ENGINES:
        if (engine / "bin/slurmd").is_file() and os.access(engine, os.R_OK):
            return engine / "bin"
    found = shutil.which("sbatch")
    return Path(found).parent if found and _program("slurmctld") and _program("slurmd") else None


def _program(name: str, folder: Path | None = None) -> str | None:
    places = [*([str(folder)] if folder else []), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]
    return shutil.which(name, path=os.pathsep.join(places))


class SlurmDidNotStart(RuntimeError):
    """The daemons ended, or the node did not come up."""


class SlurmCluster:
    """A running cluster after `start`; nothing of it is left after `stop`.

    Attributes:
        folder: Configuration, state and logs.
        programs: Where ``sbatch`` and the others are.
    """

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self.programs = folder, programs
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._asked = float("-inf")

    def environment(self) -> dict[str, str]:
        """The variables that lead ``sbatch`` and the others to this cluster."""
        path = os.pathsep.join([str(self.programs), os.environ.get("PATH", os.defpath)])
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}

    def command(self, *words: str, check: bool = True) -> str:
        """What a command of Slurm's prints."""
        done = subprocess.run(
            words,
            env={**os.environ, **self.environment()},
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr}")
        return done.stdout

    def wait_for(self, job: str) -> None:
        """Return when `job` (an array as well) is in the queue no more."""
        until(
            lambda: not self.command("squeue", "-h", "-j", job, "-o", "%A", check=False).strip(),
            f"the end of job {job}",
            seconds=PATIENCE,
        )

    def start_now(self, job: str) -> None:
        """Let `job` start, which was requeued: Slurm itself would wait two minutes.

        For the condition of an `until`.
        """
        if time.monotonic() - self._asked > 3:  # each time Slurm begins to schedule anew
            self._asked = time.monotonic()
            self.command("scontrol", "update", f"JobId={job}", "StartTime=now", check=False)

    def end_soon(self, job: str) -> None:
        """Let the time of `job` be over in some seconds.

        Slurm refuses a time that is over when it arrives: then later.
        """
        seconds = 5
        while True:
            try:
                self.command("scontrol", "update", f"jobid={job}", f"endtime=now+{seconds}")
                return
            except RuntimeError:
                seconds *= 2
                if seconds > PATIENCE:
                    raise

    def start(self) -> None:
        """Start both daemons and wait for the node.

        Raises:
            SlurmDidNotStart: With the end of their logs.
        """
        for _ in range(5):
            self._start_daemons()
            try:
                until(self._is_up, "the node")
                return
            except (SlurmDidNotStart, NotInTime):
                self._stop_daemons()
                if "in use" not in self._logs():  # somebody else was given the port in the meantime
                    break
        raise SlurmDidNotStart(f"Slurm in {self.folder} did not start:\n{self._logs()}")

    def revive(self) -> None:
        """Start it again if a daemon has died, and say what its logs say: the tests to come are not about
        that.
        """
        if self._daemons and any(daemon.poll() is not None for daemon in self._daemons):
            codes = [daemon.poll() for daemon in self._daemons]
            print(f"Slurm's daemons have ended ({codes}):\n{self._logs()}", file=sys.__stderr__, flush=True)
            self._stop_daemons()
            self.start()

    def _is_up(self) -> bool:
        if any(daemon.poll() is not None for daemon in self._daemons):
            raise SlurmDidNotStart("a daemon has ended")
        return self.command("sinfo", "-h", "-o", "%T", check=False).strip() == "idle"

    def _start_daemons(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir(exist_ok=True)
        ports = free_port(), free_port()
        text = _CONFIGURATION.format(
            host=socket.gethostname().split(".")[0],
            folder=self.folder,
            user=getpass.getuser(),
            controller_port=ports[0],
            node_port=ports[1],
        )
        plugins = next(iter(self.programs.parent.glob("root/usr/lib/*/slurm-wlm")), None)
        if plugins is not None:
            text = f"PluginDir={plugins}\n{text}"  # first: nodes' GPUs are read with a plugin
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "gres.conf").write_text("NodeName=node Name=gpu File=/dev/null\n")
        stepd = _program("slurmstepd", self.programs)
        slurmd = ["slurmd", "-D", "-N", "node", *(["-d", stepd] if plugins is not None and stepd else [])]
        for name, *arguments in (["slurmctld", "-D", "-i"], slurmd):
            program = _program(name, self.programs)
            assert program
            # They end with this process even if it is killed (setpriv is in Debian's essential util-linux).
            with_us = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
            with (self.folder / f"{name}.out").open("wb") as output:
                self._daemons.append(
                    subprocess.Popen(
                        [*with_us, program, *arguments],
                        env={**os.environ, **self.environment()},
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )

    def _logs(self) -> str:
        return "\n".join(
            f"{path.name}: " + path.read_text(errors="replace")[-1500:]
            for path in sorted([*self.folder.glob("*.log"), *self.folder.glob("*.out")])
        )

    def stop(self) -> None:
        """Take all jobs out of the queue, end the daemons, and see that no process of theirs is left."""
        if self._daemons and all(daemon.poll() is None for daemon in self._daemons):
            with contextlib.suppress(NotInTime):
                until(self._is_empty, "an empty queue", seconds=20)
        self._stop_daemons()
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _is_empty(self) -> bool:
        jobs = self.command("squeue", "-h", "-o", "%A", check=False).split()
        if jobs:
            self.command("scancel", *sorted(set(jobs)), check=False)
        return not jobs

    def _stop_daemons(self) -> None:
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in self._daemons:
            try:
                daemon.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._daemons = []

    def processes(self) -> list[int]:
        """Processes that were told of this cluster: its daemons, their step daemons, and jobs."""
        mark, found = f"SLURM_CONF={self.folder}/slurm.conf".encode(), []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return [pid for pid in found if pid != os.getpid()]
