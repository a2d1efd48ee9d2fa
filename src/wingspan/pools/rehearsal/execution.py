"""A job is executed here, in a sandbox, and its limits hold: memory, disk, time."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import attrs

from wingspan._kept_files import is_url
from wingspan._words import lasting
from wingspan.errors import PoolError
from wingspan.jobs import JobDescription, Resources, size_text
from wingspan.pools.rehearsal.sandbox import WAYS, Sandbox, find_sandbox
from wingspan.worker import measures, trust, urls

__all__ = ["Execution", "execute"]

#: Seconds between two looks at a job: at what it prints and its memory; at its disk, at least.
_LOOK, _LOOK_AT_DISK = 0.05, 1.0
#: Seconds that a job has after SIGTERM, as batch systems give it.
_PATIENCE = 3.0
#: What HTCondor's starter sets to the job's cores (its manual, STARTER_NUM_THREADS_ENV_VARS).
_THREADS = (
    "CUBACORES GOMAXPROCS JULIA_NUM_THREADS MKL_NUM_THREADS NUMEXPR_NUM_THREADS OMP_NUM_THREADS OMP_THREAD_LIMIT "
    "OPENBLAS_NUM_THREADS PYTHON_CPU_COUNT ROOT_MAX_THREADS TF_LOOP_PARALLEL_ITERATIONS TF_NUM_THREADS".split()
)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: What Slurm's jobs do not see of the submitter's environment.
_NOT_INHERITED = ("TMPDIR", "WINGSPAN_INSIDE")


@attrs.frozen(kw_only=True)
class Execution:
    """How a job fared here.

    Attributes:
        sandbox: What it saw.
        code: Exit code; 128 and more: the signal that ended it, as shells have it.
        ended: Why it was ended; None: it has ended by itself.
        wall: Seconds.
        cpu: Seconds of processor time.
        peak_memory: Most bytes that its processes had together, as far as looks can tell.
        peak_disk: Most bytes in its folders.
        folder: Its working folder, on this machine.
        stdout, stderr: Files with what it has printed.
    """

    sandbox: Sandbox
    code: int
    ended: str | None
    wall: float
    cpu: float
    peak_memory: int
    peak_disk: int
    folder: Path
    stdout: Path
    stderr: Path


def execute(
    job: JobDescription,
    number: int,
    top: Path,
    *,
    own: Sequence[Path] = (),
    seen: Sequence[Path] = (),
    ways: Sequence[str] = WAYS,
    again: int | None = None,
    printed: Callable[[bool, bytes], None] | None = None,
) -> Execution:
    """Execute one of the jobs that a description stands for.

    Args:
        job: The description. If its files are sent, they are put into a folder; else its machine sees the
            file systems of this one.
        number: Which job.
        top: An empty folder for it.
        own: Folders that the job finds at their path on this machine, and may write to.
        seen: Files and folders that it finds at their path on this machine, and may read.
        ways: How it may be kept from seeing the rest of this machine.
        again: With this exit code the job is started again in its folder: it has a checkpoint.
        printed: Hears what it prints: whether to standard error, and what.

    Raises:
        PoolError: A file that goes to the job cannot be had.
    """
    for name in ("scratch", "tmp", "var-tmp"):
        trust.make_folder(str(top / name))
    scratch = top / "scratch"
    sent = job.transfer_files
    if sent:
        _bring(job, scratch)
    folder = None if sent else (job.working_dir or top)
    image = scratch / Path(job.container_image).name if job.container_image else None
    sandbox = find_sandbox(top, folder=folder, own=own, seen=seen, image=image, ways=ways)
    if image is not None and sandbox.way == "none":
        raise PoolError(
            f"{image.name} is an image, which Apptainer runs, and that does not work here",
            hint=f"install Apptainer, or rehearse with another kind of bundle; {sandbox.not_checked[0]}",
        )
    begun = time.monotonic()
    with (top / "out").open("wb") as out, (top / "err").open("wb") as err:
        watched = _Watched(job.resources, top, printed, outer=sandbox.outer)
        code = watched.run(sandbox.words(_variables(job, top, sandbox), _command(job, number)), out, err)
        while again is not None and code == again and watched.ended is None:
            code = watched.run(sandbox.words(_variables(job, top, sandbox), _command(job, number)), out, err)
    return Execution(
        sandbox=sandbox,
        code=code,
        ended=watched.ended,
        wall=time.monotonic() - begun,
        cpu=watched.cpu,
        peak_memory=watched.peak_memory,
        peak_disk=watched.peak_disk,
        folder=scratch if sent else (job.working_dir or top),
        stdout=top / "out",
        stderr=top / "err",
    )


def _bring(job: JobDescription, scratch: Path) -> None:
    """Put what is sent to a job into its folder. What is linked are copies that the caller has made."""
    files = [*job.input_files, *job.common_input_files]
    if job.container_image:
        files.append(job.container_image)
    if job.transfer_executable:
        files.append(job.executable)
    for one in files:
        try:
            if is_url(one):
                urls.fetch(one, str(scratch / one.rstrip("/").rpartition("/")[2]))
                continue
            source = Path(one)
            # With a slash HTCondor sends what is in the folder.
            each = source.iterdir() if one.endswith("/") else [source]
            for path in each:
                _put(path, scratch / path.name)
        except OSError as error:
            raise PoolError(
                f"the input {one} cannot be brought to the job: {error}",
                hint="correct the path or the URL; a worker would not get it either",
            ) from error
    if job.transfer_executable:
        (scratch / Path(job.executable).name).chmod(0o700)


def _put(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link, dirs_exist_ok=True)
    else:
        _link(str(source), str(target))


def _link(source: str, target: str) -> None:
    """A link where it costs nothing to have the file twice: a large one, which no job writes to."""
    if os.stat(source).st_size > 1 << 20 and not Path(target).exists():  # noqa: PTH116
        with contextlib.suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)


def _command(job: JobDescription, number: int) -> list[str]:
    name = f"./{Path(job.executable).name}" if job.transfer_executable else job.executable
    return [name, *(word.replace("$(Process)", str(number)) for word in job.arguments)]


def _variables(job: JobDescription, top: Path, sandbox: Sandbox) -> dict[str, str]:
    """The variables that a job sees: on HTCondor few, on Slurm those of its submitter."""
    if not job.transfer_files:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name.isidentifier() and name not in _NOT_INHERITED
        }
        return {**inherited, **job.environment}
    folder = sandbox.folder
    return {
        "PATH": _PATH,
        "TMPDIR": folder,
        "TMP": folder,
        "TEMP": folder,
        "BATCH_SYSTEM": "HTCondor",
        "_CONDOR_SCRATCH_DIR": folder,
        "_CONDOR_JOB_IWD": folder,
        **dict.fromkeys(_THREADS, str(job.resources.cpus)),
        **job.environment,
    }


class _Watched:
    """A process and its descendants: what they print is passed on, what they take is measured and limited.

    Attributes:
        ended: Why they were ended, or None.
        cpu: Their processor time (s).
        peak_memory, peak_disk: The most that was seen (bytes).
    """

    def __init__(
        self,
        resources: Resources,
        top: Path,
        printed: Callable[[bool, bytes], None] | None,
        *,
        outer: int,
    ) -> None:
        self._outer = outer
        self._resources, self._top, self._printed = resources, top, printed
        self._offsets = {False: 0, True: 0}
        self._next_look_at_disk = 0.0
        self._begun = time.monotonic()
        self._kill_at: float | None = None
        self.ended: str | None = None
        self.cpu = 0.0
        self.peak_memory = self.peak_disk = 0

    def run(self, words: Sequence[str], out: BinaryIO, err: BinaryIO) -> int:
        """Execute a command; its exit code."""
        process = subprocess.Popen(
            [*self._ends_with_us(), *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        self._kill_at = None
        try:
            while not (over := os.wait4(process.pid, os.WNOHANG))[0]:
                self._look(process.pid)
                time.sleep(_LOOK)
        except KeyboardInterrupt:
            self.ended = f"you ended it after {lasting(time.monotonic() - self._begun)}"
            over = self._end(process.pid)
        finally:
            for pid in measures.family(process.pid)[1:]:
                _signal(pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(over[1])
        process.returncode = code
        self.cpu += over[2].ru_utime + over[2].ru_stime
        self._look_at_disk()
        self._pass_on()
        return code if code >= 0 else 128 - code

    def _ends_with_us(self) -> list[str]:
        """Words before a command that ends when this process dies; none where nothing can do that.

        The first process of a PID namespace takes all others with it; unshare, which is around that, blocks
        SIGTERM.
        """
        how = "KILL" if self._outer > 1 else "TERM"
        return ["setpriv", "--pdeathsig", how] if shutil.which("setpriv") else []

    def _end(self, pid: int) -> tuple[int, int, resource.struct_rusage]:
        self._tell_to_end(pid)
        deadline = time.monotonic() + _PATIENCE
        while not (over := os.wait4(pid, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                for one in measures.family(pid):
                    _signal(one, signal.SIGKILL)
            time.sleep(_LOOK)
        return over

    def _tell_to_end(self, pid: int) -> None:
        """SIGTERM to the first process of the job, as batch systems do. Those around it say how it ended."""
        for _ in range(self._outer):
            families = [measures.family(one) for one in _children(pid)]
            if not families:
                break
            pid = max(families, key=len)[0]  # a process that mounts something has no children
        _signal(pid, signal.SIGTERM)

    def _look(self, pid: int) -> None:
        now = time.monotonic()
        self._pass_on()
        family = measures.family(pid)
        self._weigh(family)
        if now >= self._next_look_at_disk:
            self._look_at_disk()
            # A large folder takes long to look through.
            self._next_look_at_disk = now + max(_LOOK_AT_DISK, 20 * (time.monotonic() - now))
        most = self._resources.time_limit
        if most is not None and now - self._begun > most and self.ended is None:
            self.ended = f"it ran for longer than the {lasting(most)} that it asks for"
            self._kill_at = now + _PATIENCE
            self._tell_to_end(pid)
        disk = self._resources.disk
        if disk is not None and self.peak_disk > disk and self.ended is None:
            self.ended = f"it took {size_text(self.peak_disk)} of disk and asks for {size_text(disk)}"
            self._kill_at = now
        if self._kill_at is not None and now >= self._kill_at:
            for one in family:
                _signal(one, signal.SIGKILL)

    def _weigh(self, family: list[int]) -> None:
        """The memory of processes; what several share counts once, where it makes a difference."""
        most = self._resources.memory
        taken = measures.resident_kib(family, shared=True) << 10
        if taken > self.peak_memory:
            taken = (measures.resident_kib(family, shared=False) << 10) or taken
        # Between two looks one process may have taken more than all do now.
        taken = max(taken, *(measures.peak_kib(pid) << 10 for pid in family))
        self.peak_memory = max(self.peak_memory, taken)
        if most is not None and taken > most and self.ended is None:
            self.ended = f"it took {size_text(taken)} of memory and asks for {size_text(most)}"
            self._kill_at = time.monotonic()

    def _look_at_disk(self) -> None:
        names = ("scratch", "tmp", "var-tmp")
        taken = sum(measures.disk_usage(str(self._top / name)) for name in names)
        self.peak_disk = max(self.peak_disk, taken)

    def _pass_on(self) -> None:
        if self._printed is None:
            return
        for is_error, name in ((False, "out"), (True, "err")):
            with (self._top / name).open("rb") as file:
                file.seek(self._offsets[is_error])
                data = file.read()
            if data:
                self._offsets[is_error] += len(data)
                self._printed(is_error, data)


def _children(pid: int) -> list[int]:
    family = measures.family(pid)
    below = {one for child in family[1:] for one in measures.family(child)[1:]}
    return [one for one in family[1:] if one not in below]


def _signal(pid: int, which: signal.Signals) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, which)
