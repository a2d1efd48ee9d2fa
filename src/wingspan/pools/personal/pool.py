"""The life of a personal pool: start, find again, stop, clean up after a crash."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from wingspan._cores import usable_cores
from wingspan.errors import PoolError, SettingsError, WingspanError
from wingspan.pools.personal.activation import activated, import_bindings
from wingspan.pools.personal.errors import InstallationError, PoolDidNotStart, PoolNotRunning
from wingspan.pools.personal.locking import exclusive
from wingspan.pools.personal.processes import MARKER, ProcessIdentity, boot_id, kill_all, marked
from wingspan.pools.personal.state import PersonalPoolStatus, State
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.settings import load_settings
from wingspan.worker import trust

if TYPE_CHECKING:
    import htcondor2

    from wingspan.pools.personal.identity import Identity
    from wingspan.pools.personal.installation import Installation

__all__ = ["PersonalPool", "PersonalPoolStatus"]

_STATE = "state.json"
_FOLDERS = ("log", "spool", "execute", "lock", "run", "tokens.d", "passwords.d")


def memory_mib() -> int:
    """Memory of this machine."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return pages * size // 2**20


class PersonalPool:
    """A real HTCondor on this machine, of this user, on loopback only.

    Args:
        directory: Where it keeps its state; default ``personal-pool`` in the data folder. One pool a folder.
        cpus: How many cores it offers; default as many as this process may use.
        settings: Further HTCondor settings, such as ``{"SINGULARITY": "/usr/bin/apptainer"}``; they count
            when it is started, last of all.

    >>> pool = PersonalPool()
    >>> pool.status().state in {"running", "stopped", "crashed"}
    True
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        cpus: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        if cpus is not None and cpus < 1:
            raise SettingsError(f"a pool of {cpus} CPUs cannot run anything", hint="give at least 1")
        chosen = Path(directory) if directory is not None else load_settings().data_dir / "personal-pool"
        self.directory: Path = Path(
            os.path.realpath(chosen)
        )  # one name, however it is reached: processes are marked with it
        self.cpus = cpus
        self.settings: dict[str, str] = dict(settings or {})

    def __repr__(self) -> str:
        return f"PersonalPool({str(self.directory)!r})"

    @property
    def config_file(self) -> Path:
        return self.directory / "condor_config"

    @property
    def _state_file(self) -> Path:
        return self.directory / _STATE

    @property
    def _lock_file(self) -> Path:
        return self.directory / ".lock"

    @staticmethod
    def install(progress: Progress = NO_PROGRESS) -> Installation:
        """Obtain HTCondor and start nothing; see `wingspan.pools.personal.install`."""
        from wingspan.pools.personal.installation import install

        return install(progress)

    def status(self) -> PersonalPoolStatus:
        """Whether it runs, from its own notes and the process table; takes no lock and asks no daemon."""
        state = State.read(self._state_file)
        if state is None or state.master.boot != boot_id():
            return PersonalPoolStatus(state="stopped", directory=self.directory)
        running = state.master.alive()
        try:
            address = (self.directory / "log/.collector_address").read_text().split("\n")[0]
        except OSError:
            address = None
        return PersonalPoolStatus(
            state="running" if running else "crashed",
            directory=self.directory,
            version=state.version,
            source=state.source,
            master_pid=state.master.pid,
            cpus=state.cpus,
            address=address if running else None,
            started=state.started,
        )

    def start(self, progress: Progress = NO_PROGRESS, *, timeout: float = 30.0) -> None:
        """Start it, or find it running; returns when all daemons answer and a slot is free. Of a pool that
        was started before, only the schedd is asked.

        Obtains HTCondor when the machine has none. The pool outlives this process. Any number of processes
        may call this at once: one starts it, the others wait. What a crash left is cleaned up first; jobs in
        the queue are kept.

        Args:
            progress: Hears of downloads and of the start.
            timeout: Seconds for the daemons to become ready (downloads not counted).

        Raises:
            InstallationError: HTCondor cannot be had.
            PoolDidNotStart: The daemons did not become ready; the message has the last lines of their logs.
            PoolError: It runs with another number of CPUs than was asked for.
        """
        if platform.system() != "Linux":
            raise InstallationError(
                f"the personal pool needs Linux, this is {platform.system()}",
                hint="use the local pool: wingspan.map(..., pool='local')",
            )
        try:
            trust.make_folder(str(self.directory))
            with exclusive(self._lock_file):
                self._start_locked(progress, timeout)
        except WingspanError:
            raise
        except OSError as error:  # another's folder, a file in its place, a full disk
            raise PoolDidNotStart(
                f"the pool's folder {self.directory} cannot be written: {error}",
                hint="set WINGSPAN_DATA_DIR to a folder of yours, with room",
            ) from None

    def _start_locked(self, progress: Progress, timeout: float) -> None:
        status = self.status()
        if status.state == "running":
            if self.cpus not in (None, status.cpus):
                raise PoolError(
                    f"the personal pool runs with {status.cpus} CPUs, not {self.cpus}",
                    hint=f"stop it first: wingspan pool stop, then wingspan pool start --cpus {self.cpus}",
                )
            state = State.read(self._state_file)
            assert state is not None
            # Whoever started it has waited for all daemons, with the lock that we hold now.
            if not self._schedd_answers():
                self._wait_until_ready(state, timeout)
            return
        self._clean_up()
        installation = self.install(progress)
        task = progress.start("Starting the personal pool")
        try:
            state = self._spawn(installation)
            try:
                self._wait_until_ready(state, timeout)
            except BaseException:  # Ctrl-C too: nothing half-started is left
                self._clean_up()
                raise
        finally:
            progress.finish(task)

    def _spawn(self, installation: Installation) -> State:
        # A process that finds the pool running needs none of these.
        from wingspan.pools.personal import configuration
        from wingspan.pools.personal.identity import choose_identity
        from wingspan.pools.personal.ports import free_port
        from wingspan.pools.personal.shadow import write_shadow
        from wingspan.pools.personal.shells import write_sshd

        for name in _FOLDERS:
            # HTCondor wants 0755 for execute; the pool's own folder keeps others out.
            (self.directory / name).mkdir(exist_ok=True, mode=0o755 if name == "execute" else 0o700)
        owner = choose_identity()
        cpus = self.cpus or usable_cores()
        text = configuration.render(
            directory=self.directory,
            installation=installation,
            owner=owner,
            client_is_root=os.getuid() == 0,
            cpus=cpus,
            memory=max(memory_mib(), 256 * cpus),
            port=free_port(),
            settings=self.settings,
            path=os.environ.get("PATH", os.defpath),
            sshd=write_sshd(self.directory, installation),
            shadow=write_shadow(self.directory, installation),
        )
        trust.write_whole(str(self.config_file), text.encode())

        master = self._start_master(installation, owner)
        state = State(
            master, installation.version, installation.source, installation.prefix, cpus, time.time()
        )
        state.write(self._state_file)
        return state

    def _start_master(self, installation: Installation, owner: Identity) -> ProcessIdentity:
        """Start condor_master, which starts the other daemons.

        Raises:
            PoolDidNotStart: It ends at once, or cannot be started as another user than root.
        """
        command = [str(installation.sbin / "condor_master"), "-f"]
        if owner.namespace:
            command = [*_as_another(owner), *command]
        environment = {
            key: value
            for key, value in os.environ.items()
            if key != "CONDOR_CONFIG" and not key.upper().startswith("_CONDOR_")
        }
        environment |= self._tools(installation) | {MARKER: str(self.directory)}
        # The shell makes the master a child of init: it leaves no zombie here when it ends, and in a session
        # of its own it gets no Ctrl-C from this terminal.
        script = 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'
        done = subprocess.run(
            ["/bin/sh", "-c", script, "sh", str(self.directory / "log/master.out"), *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.directory,
            env=environment,
            start_new_session=True,
            check=True,
        )
        master = ProcessIdentity.of(int(done.stdout))
        if master is None:
            raise PoolDidNotStart(
                f"condor_master ended at once\n{self._log_tail()}", hint=self._start_hint(owner)
            )
        return master

    def _start_hint(self, owner: Identity) -> str:
        hint = f"its logs are in {self.directory / 'log'}"
        if owner.namespace:
            hint += "; as root it needs user namespaces (unshare --user must work), as an ordinary user not"
        return hint

    def _log_tail(self) -> str:
        lines: list[str] = []
        for name in ("master.out", "MasterLog"):
            try:
                text = (self.directory / "log" / name).read_text(errors="replace")
            except OSError:
                continue
            lines += [f"  {name}: {line}" for line in text.splitlines()[-4:]]
        return "\n".join(lines)

    def _wait_until_ready(self, state: State, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        missing = "the collector"
        while True:
            if not state.master.alive():
                problem = "condor_master ended"
                break
            if time.monotonic() > deadline:
                problem = f"{missing} did not answer within {timeout:.0f} s"
                break
            answer = self._missing()
            if answer is None:
                return
            missing = answer
            time.sleep(0.02)
        from wingspan.pools.personal.identity import choose_identity

        raise PoolDidNotStart(
            f"the personal pool did not start: {problem}\n{self._log_tail()}",
            hint=self._start_hint(choose_identity()),
        )

    def _schedd_answers(self) -> bool:
        with self.activate():
            import htcondor2

            try:
                htcondor2.Schedd().query(projection=["ClusterId"], limit=1)
            except (RuntimeError, htcondor2.HTCondorException, OSError):
                return False
        return True

    def _missing(self) -> str | None:
        """The first daemon that does not answer yet, or None when the pool is ready."""
        for name in ("collector", "negotiator", "schedd", "startd"):
            if not (self.directory / f"log/.{name}_address").exists():
                return f"the {name}"
        with self.activate():
            import htcondor2

            try:
                collector = htcondor2.Collector()
                kinds = {ad.get("MyType") for ad in collector.query(projection=["MyType"])}
                for kind, name in (
                    ("Negotiator", "negotiator"),
                    ("Scheduler", "schedd"),
                    ("Machine", "startd"),
                ):
                    if kind not in kinds:
                        return f"the {name}"
                htcondor2.Schedd().query(projection=["ClusterId"], limit=1)
            except (RuntimeError, htcondor2.HTCondorException, OSError) as error:
                return f"a daemon ({error})"
        return None

    def stop(self, *, timeout: float = 10.0) -> None:
        """End every process of the pool, running jobs included; the queue is kept for the next start.

        Args:
            timeout: Seconds to wait for HTCondor to end by itself before what is left is killed.
        """
        if not self.directory.is_dir():
            return
        with exclusive(self._lock_file):
            state = State.read(self._state_file)
            if state is not None and state.master.alive():
                state.master.kill(
                    signal.SIGQUIT
                )  # HTCondor's "fast" shutdown: jobs are killed, the queue is written
                deadline = time.monotonic() + timeout
                while time.monotonic() < deadline and state.master.alive():
                    time.sleep(0.02)
            self._clean_up()

    def _clean_up(self) -> None:
        """Remove what a pool leaves that runs no more: processes first, then the files that say it runs."""
        left = kill_all(self.directory)
        if left:
            raise PoolError(
                f"processes {', '.join(str(p.pid) for p in left)} of {self.directory} cannot be killed",
                hint="they wait for the kernel (a network disk?); try again later",
            )
        self._state_file.unlink(missing_ok=True)
        for path in (self.directory / "log").glob(".*_address*"):
            path.unlink(missing_ok=True)
        for name in ("lock", "run", "execute", "warm"):
            shutil.rmtree(self.directory / name, ignore_errors=True)

    def processes(self) -> list[int]:
        """The pids of every living process of the pool: daemons, shadows, starters and jobs."""
        return sorted(process.pid for process in marked(self.directory))

    def activate(self) -> AbstractContextManager[None]:
        """Make ``htcondor2`` in this process speak with this pool, for the length of a ``with`` block.

        May be nested and entered by several threads at once. Threads that want different pools wait for each
        other, as the bindings know one configuration a process.
        """
        return activated(self.config_file)

    def schedd(self) -> htcondor2.Schedd:
        """The pool's schedd; for use inside `activate`.

        Raises:
            PoolNotRunning: The pool is not running.
        """
        import htcondor2

        self._require_running()
        return htcondor2.Schedd()

    def unfinished_jobs(self) -> int:
        """How many jobs are in its queue; 0 where it does not run, or does not answer."""
        if self.status().state != "running":
            return 0
        htcondor2 = import_bindings()
        try:
            with self.activate():
                return len(self.schedd().query("JobStatus =!= 4", ["ClusterId"]))
        except (PoolError, OSError, RuntimeError, IndexError, htcondor2.HTCondorException):
            return 0

    def reschedule(self) -> None:
        """Ask the pool to look for work now rather than within the second; for use inside `activate`.

        A submit to an idle pool does so by itself. Shortly after other jobs began or ended that may find the
        slots' last state not yet told to the negotiator (HTCondor's startd tells it at whole seconds), and
        is not repeated for another second. A process that waits for a first job therefore calls this ten
        times a second, until it has started or two seconds are over. Costs about 2 ms; never raises, as it is
        only about being quicker.
        """
        import classad2
        import htcondor2

        try:
            address, version, *_ = (self.directory / "log/.negotiator_address").read_text().split("\n")
            htcondor2.Schedd().reschedule()
            # The bindings have no class for the negotiator's side of this command; it is the schedd's
            # command.
            ad = {
                # Without this the bindings send a datagram, which nobody here listens for.
                "MyAddress": address.replace(">", "&noUDP>"),
                "Name": "negotiator",
                "MyType": "Scheduler",
                "CondorVersion": version,
            }
            htcondor2.Schedd(classad2.ClassAd(ad)).reschedule()
        except (OSError, ValueError, KeyError, RuntimeError, htcondor2.HTCondorException):
            pass

    def environment(self) -> dict[str, str]:
        """Variables with which HTCondor's command-line tools speak with this pool: PATH and CONDOR_CONFIG.

        Raises:
            PoolNotRunning: The pool is not running.
        """
        state = self._require_running()
        from wingspan.pools.personal.installation import Installation

        return self._tools(Installation(state.prefix, state.version, state.source))

    def _tools(self, installation: Installation) -> dict[str, str]:
        old = os.environ.get("PATH", os.defpath).split(os.pathsep)
        own = [str(installation.bin), str(installation.sbin)]
        path = own + [folder for folder in old if folder not in own]
        return {"CONDOR_CONFIG": str(self.config_file), "PATH": os.pathsep.join(dict.fromkeys(path))}

    def _require_running(self) -> State:
        state = State.read(self._state_file)
        if state is None or not state.master.alive():
            raise PoolNotRunning(
                f"the personal pool in {self.directory} is not running", hint="start it: wingspan pool start"
            )
        return state


def _as_another(owner: Identity) -> list[str]:
    """What starts a command as `owner`, in a user namespace, where this process is root's.

    Raises:
        PoolDidNotStart: There is no unshare(1).
    """
    unshare = shutil.which("unshare")
    if unshare is None:
        raise PoolDidNotStart(
            "HTCondor runs no jobs of root, and unshare, which maps root to another, is missing",
            hint="install util-linux, or run as an ordinary user",
        )
    return [unshare, "--user", f"--map-user={owner.uid}", f"--map-group={owner.gid}", "--"]
