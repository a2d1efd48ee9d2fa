"""What a job that was started in a bundle leaves on the machine: nothing, however it ends; and engines
that stopped working there.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import pytest

from _waiting import PATIENCE, until
from wingspan.environments.bundles import Bundle, starter_command
from wingspan.environments.bundles.remote import remote_file
from wingspan.jobs import JobDescription, Resources
from wingspan.pools import local_job as local_jobs
from wingspan.pools.local_job import LocalJobWatcher, submit_local_job

Build = Callable[..., Bundle]
#: What lies below the environment in an image: some files.
BASE = Path(__file__).parents[2] / "data/locks"
AsUser = Callable[[Sequence[str]], list[str]]

#: A command that says that it has begun, and waits.
WAITS = "echo begun; exec sleep 600"
#: The space of process numbers that this machine, or this container, has.
SPACE = Path("/proc/self/ns/pid").readlink()
#: What unpacking a squashfs needs, and no bash.
TOOLS = (
    "awk cat chmod cut df find grep id ln mkdir mktemp mount mv readlink rm sed sh sha256sum sleep stat tail tr umount uname unshare "
    "unsquashfs true"
).split()
#: Ways that unpack: kind of bundle, method.
UNPACKING = [("pack", None), ("squashfs", "unpack"), ("oci", "unpack")]


def bundle_of(build: Build, kind: str) -> Bundle:
    """A bundle that is quickly unpacked: engines are scripts here, so that no image needs a system in it."""
    if kind == "pack":
        return build("small", kind, executable=True)
    return build("small", kind, base=BASE) if kind == "oci" else build("small", kind)


def command_for(
    bundle: Bundle, command: Sequence[str], method: str | None = None, shell: str = "/bin/sh"
) -> list[str]:
    start = starter_command(bundle, command, shared=True, method=method, quiet=True)
    return [shell, str(start.executable), *start.arguments]


def variables(folder: Path, path: str = "/usr/bin:/bin") -> dict[str, str]:
    for name in ("tmp", "node"):
        (folder / name).mkdir(exist_ok=True)
    return {"PATH": path, "HOME": "/tmp", "TMPDIR": f"{folder}/tmp", "WINGSPAN_NODE_CACHE": f"{folder}/node"}


def left(folder: Path) -> list[Path]:
    return list((folder / "tmp").glob(".wingspan-*"))


def run(
    words: Sequence[str], folder: Path, path: str = "/usr/bin:/bin", **options: object
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        words,
        cwd=folder,
        env=variables(folder, path),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        **options,
    )


def begun(words: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    """A job in a group of its own whose command is running."""
    process = subprocess.Popen(
        words, cwd=folder, env=variables(folder), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.stdout.close()
    return process


def local_job(
    words: Sequence[str], folder: Path, path: str = "/usr/bin:/bin", limit: float | None = None
) -> str:
    """The state in which a job of the local pool ends, the only one of its folder."""
    run_folder = Path(tempfile.mkdtemp(dir=folder, prefix="job-"))
    job = JobDescription(
        name="job",
        executable=words[0],
        arguments=tuple(words[1:]),
        count=1,
        working_dir=run_folder,
        stdout=str(folder / "out"),
        stderr=str(folder / "err"),
        resources=Resources(time_limit=limit),
        environment=variables(folder, path),
    )
    watcher = LocalJobWatcher([submit_local_job(job)], run_folder)
    states: list[str] = []
    until(
        lambda: states.extend(e.state.value for e in watcher.poll()) or states[-1:] not in ([], ["running"]),
        "an end",
    )
    return states[-1]


def ended_at_its_limit(words: Sequence[str], folder: Path, path: str = "/usr/bin:/bin") -> str:
    """What a job of the local pool printed that its time limit has ended.

    A limit that is over before the job has printed anything says nothing, and a slow machine needs longer:
    the next one is twice as long.
    """
    limit = 0.5
    while True:
        (folder / "out").write_text("")
        assert local_job(words, folder, path, limit=limit) == "removed"
        if printed := (folder / "out").read_text():
            return printed
        limit *= 2


def fake(folder: Path, name: str, script: str) -> str:
    """A PATH on which the engine `name` is this script."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / name).write_text(f"#!/bin/sh\n{script}")
    (tools / name).chmod(0o755)
    return f"{tools}:/usr/bin:/bin"


@pytest.mark.parametrize(("kind", "method"), UNPACKING)
def test_a_local_job_leaves_nothing(
    kind: str, method: str | None, build: Build, job_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a job of the local pool has ended, by itself or by its time limit, what was unpacked for it is
    gone.
    """
    monkeypatch.setattr(local_jobs, "_PATIENCE", PATIENCE)  # a busy disk may take its time
    bundle = bundle_of(build, kind)
    assert local_job(command_for(bundle, ["prefix-probe"], method), job_folder) == "completed"
    assert (job_folder / "out").read_text().strip().endswith("/environment")
    assert left(job_folder) == []
    assert local_job(command_for(bundle, ["sleep", "600"], method), job_folder, limit=1) == "removed"
    assert left(job_folder) == []


def test_a_local_job_leaves_no_mount(build: Build, job_folder: Path) -> None:
    """The process that mounts for a job of the local pool ends after the job."""
    bundle = bundle_of(build, "squashfs")
    copy = Path(shutil.copy(bundle.path, job_folder / "unique.squashfs"))
    words = [
        word.replace(str(bundle.path), str(copy)) for word in command_for(bundle, ["prefix-probe"], "fuse")
    ]
    assert local_job(words, job_folder) == "completed"

    def mounting() -> list[str]:
        return [
            p
            for p in os.listdir("/proc")
            if p.isdigit() and str(copy) in _words_of(p) and "squashfuse" in _words_of(p)
        ]

    until(lambda: not mounting(), "squashfuse is still there")


def _words_of(process: str) -> str:
    try:
        return Path("/proc", process, "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def test_a_time_limit_is_told_first(job_folder: Path) -> None:
    """A job of the local pool gets a SIGTERM at its limit, and may clear up; it is ended all the same if
    it does not listen.
    """
    told = ["/bin/sh", "-c", "trap 'echo told; exit 0' TERM; echo begun; while :; do sleep 0.05; done"]
    assert ended_at_its_limit(told, job_folder) == "begun\ntold\n"
    deaf = ["/bin/sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.05; done"]
    assert not Path("/proc", ended_at_its_limit(deaf, job_folder).strip()).exists()


@pytest.mark.parametrize(("kind", "method"), UNPACKING)
def test_the_end_is_the_commands(kind: str, method: str | None, build: Build, job_folder: Path) -> None:
    """Codes are the command's own, an end by a signal is one, its input is the job's, and SIGINT is not
    ignored in it.
    """
    bundle = bundle_of(build, kind)
    done = run(command_for(bundle, ["sh", "-c", "cat; exit 7"], method), job_folder, input="given")
    assert (done.returncode, done.stdout, done.stderr) == (7, "given", "")
    for code in (127, 148, 255):  # 148: of a signal that would only stop the starter
        assert run(command_for(bundle, ["sh", "-c", f"exit {code}"], method), job_folder).returncode == code
    done = run(command_for(bundle, ["sh", "-c", "kill -SEGV $$"], method), job_folder)
    assert (done.returncode, done.stderr) == (-signal.SIGSEGV, "")
    ignored = run(command_for(bundle, ["grep", "SigIgn", "/proc/self/status"], method), job_folder).stdout
    assert (
        int(ignored.split()[1], 16)
        & (1 << signal.SIGINT - 1 | 1 << signal.SIGQUIT - 1 | 1 << signal.SIGTERM - 1)
        == 0
    )
    assert left(job_folder) == []


@pytest.mark.parametrize("group", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_are_passed_on(number: signal.Signals, group: bool, build: Build, job_folder: Path) -> None:
    """A signal to the job, to its first process or to all, is the command's to handle; then what was
    unpacked is gone.
    """
    handles = f"trap 'exit 42' {number.name[3:]}; echo begun; while :; do sleep 0.02; done"
    process = begun(command_for(bundle_of(build, "pack"), ["sh", "-c", handles]), job_folder)
    (os.killpg if group else os.kill)(process.pid, number)
    assert process.wait(PATIENCE) == 42
    assert left(job_folder) == []


def test_without_bash(build: Build, job_folder: Path) -> None:
    """Where there is no bash the same is true, with SIGTERM in place of SIGINT."""
    tools = job_folder / "tools"
    tools.mkdir()
    for name in TOOLS:
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    handles = "trap 'exit 42' TERM; echo begun; while :; do sleep 0.02; done"
    words = command_for(bundle_of(build, "squashfs"), ["sh", "-c", handles], "unpack")
    script = job_folder / "starter.sh"
    script.write_text(
        Path(words[1])
        .read_text()
        .replace(":/usr/sbin:/sbin:/usr/bin:/bin", "")
        .replace("PATH:-/usr/bin:/bin", f"PATH:-{tools}")
    )
    words[1] = str(script)
    for number in (signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen(
            words, cwd=job_folder, env=variables(job_folder, str(tools)), stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        assert process.wait(PATIENCE) == 42
        process.stdout.close()
        assert left(job_folder) == []


def test_the_next_job_clears_away_what_a_kill_left(build: Build, job_folder: Path) -> None:
    """What a job had no time to clear away goes with the next one; folders of jobs that live, or of other
    machines, stay.
    """
    words = command_for(bundle_of(build, "pack"), ["sh", "-c", WAITS])
    killed = begun(words, job_folder)
    killed_owner = left(job_folder)[0] / ".owner"
    alive = begun(words, job_folder)
    owner = killed_owner.read_text().split()[0]
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    until(lambda: not Path("/proc", owner).exists(), "nobody took note of its end")
    foreign = job_folder / "tmp/.wingspan-abcdef"
    foreign.mkdir()
    (foreign / ".owner").write_text(f"{killed.pid} {SPACE} another-machine\n")
    assert len(left(job_folder)) == 3
    assert run(command_for(bundle_of(build, "pack"), ["true"]), job_folder).returncode == 0
    assert foreign.exists()
    assert len(left(job_folder)) == 2
    os.killpg(alive.pid, signal.SIGTERM)
    assert alive.wait(PATIENCE) == -signal.SIGTERM
    assert left(job_folder) == [foreign]


@pytest.mark.parametrize("method", ["kernel", "fuse"])
def test_a_mount_does_not_wait_for_what_a_kill_left(method: str, build: Build, job_folder: Path) -> None:
    """Removing another job's folder may take long: what starts in a blink leaves that to jobs that unpack."""
    if method == "kernel" and os.geteuid() != 0:
        pytest.skip("the kernel mounts for root")
    gone = subprocess.Popen(["true"])
    gone.wait()
    variables(job_folder)
    old = job_folder / "tmp/.wingspan-abcdef"
    old.mkdir()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (old / ".owner").write_text(f"{gone.pid} {SPACE} {boot}\n")
    bundle = bundle_of(build, "squashfs")
    for kind, exists in ((method, True), ("unpack", False)):
        done = run(command_for(bundle, ["true"], kind), job_folder)
        assert (done.returncode, old.exists()) == (0, exists), done.stderr


@pytest.mark.parametrize("unreadable", ["", "boot_id", "ns/pid"])
def test_whose_a_folder_is(unreadable: str, as_ordinary_user: AsUser) -> None:
    """A process that does not take this user's signals lives; where machines cannot be told apart every
    folder is somebody's.
    """
    functions = remote_file("starter/clearing.sh").read_text()
    assert unreadable in functions
    if unreadable:
        functions = functions.replace(unreadable, "nowhere")
    words = 'ws_name_owner; for p in 1 4194999; do ! ws_is_nobodys "$p ${ws_owner#* }" || echo "$p"; done'
    done = subprocess.run(
        as_ordinary_user(["sh", "-c", f"{functions}\n{words}"]), capture_output=True, text=True, check=True
    )
    assert done.stdout == ("" if unreadable else "4194999\n")


def test_without_an_input(build: Build, job_folder: Path) -> None:
    """A job whose standard input is closed runs, with nothing to read."""
    words = command_for(bundle_of(build, "pack"), ["sh", "-c", "cat; echo yes"])
    done = run(["sh", "-c", 'exec "$@" <&-', "sh", *words], job_folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "yes\n", "")


def test_the_command_ends_with_the_starter(build: Build, job_folder: Path) -> None:
    """When the starter alone is killed its command ends, too, before what it lives in is removed."""
    process = begun(command_for(bundle_of(build, "pack"), ["sh", "-c", WAITS]), job_folder)
    owner = left(job_folder)[0] / ".owner"
    until(lambda: owner.read_text().split()[:1] not in ([], [str(process.pid)]), "the command is not named")
    command = owner.read_text().split()[0]
    process.kill()
    process.wait()
    until(lambda: not left(job_folder), "its folder is still there")
    until(lambda: not _words_of(command), "the command is still there")


def test_a_command_that_waits_for_all_its_children(build: Build, job_folder: Path) -> None:
    """What looks after the mount is no child of the command."""
    waits = "import os\ntry:\n    while True: os.wait()\nexcept ChildProcessError:\n    print('has none')\n"
    words = command_for(bundle_of(build, "squashfs"), [sys.executable, "-I", "-S", "-c", waits], "fuse")
    assert run(words, job_folder).stdout == "has none\n"


def test_a_job_that_is_ended_while_it_unpacks(build: Build, job_folder: Path) -> None:
    """Told to end before its command began, it takes away what it has unpacked so far."""
    path = fake(job_folder, "unsquashfs", 'touch "$0.begun"; exec sleep 600\n')
    words = command_for(bundle_of(build, "squashfs"), ["true"], "unpack")
    process = subprocess.Popen(words, cwd=job_folder, env=variables(job_folder, path), start_new_session=True)
    until((job_folder / "tools/unsquashfs.begun").exists, "it does not unpack")
    assert len(left(job_folder)) == 1
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(PATIENCE) == -signal.SIGTERM
    assert left(job_folder) == []


@pytest.mark.parametrize(("kind", "method"), UNPACKING)
def test_a_job_that_is_ended_while_its_folder_is_made(
    kind: str, method: str | None, build: Build, job_folder: Path
) -> None:
    """The folder is taken away though the job is told to end before it knows the folder's name."""
    path = fake(job_folder, "mktemp", '/usr/bin/mktemp "$@"; kill -s TERM 0\n')
    words = command_for(bundle_of(build, kind), ["sleep", "600"], method)
    process = subprocess.Popen(words, cwd=job_folder, env=variables(job_folder, path), start_new_session=True)
    assert process.wait(PATIENCE) == -signal.SIGTERM
    assert left(job_folder) == []


#: Has containers in the folder $FAKE, each a process that is not of the client's session, as a daemon's are.
FAKE_DOCKER = """
cd "$(dirname "$0")"
case $1 in
version) echo 1 ;;
ps) for it in container-*; do [ ! -e "$it" ] || cat "$it"; done ;;
rm) kill -9 "$(cat "pid-$3")"; rm -f "pid-$3" "container-$3" ;;
run)
    case "$*" in *" true") exit 0 ;; esac
    name=$3 label=${5#wingspan.owner=}
    printf '%s %s\\n' "$name" "$label" >"container-$name"
    setsid sleep 600 &
    echo $! >"pid-$name"
    echo begun
    wait
    ;;
esac
"""


def test_a_docker_container_ends_with_its_job(build: Build, job_folder: Path) -> None:
    """The daemon's container is removed when the job's time is up; one of a job that was killed, by the
    next job; no other.
    """
    path = fake(job_folder, "docker", FAKE_DOCKER)
    tools = job_folder / "tools"
    words = command_for(bundle_of(build, "oci"), ["sleep", "600"], "docker")
    assert ended_at_its_limit(words, job_folder, path) == "begun\n"
    until(lambda: not list(tools.glob("container-*")), "the container is still there")

    def job() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            words,
            cwd=job_folder,
            env=variables(job_folder, path),
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.stdout.close()
        return process

    killed = job()
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert len(list(tools.glob("container-*"))) == 1
    one, other = job(), job()
    assert len(list(tools.glob("container-*"))) == 2
    for process in (one, other):
        process.terminate()
        assert process.wait(PATIENCE) == -signal.SIGTERM
    assert not list(tools.glob("container-*"))


#: Runs the command in the folder, if it was asked in the way of which the file `works` beside it speaks.
FAKE_PODMAN = """
echo "$*" >>"$(dirname "$0")/asked"
case "$*" in *" rm --all "*) exit 0 ;; esac
case "$*" in *"$(cat "$(dirname "$0")/works")"*) ;; *) echo "this does not work here" >&2; exit 125 ;; esac
while [ "${1##*/}" != entrypoint.sh ]; do shift; done
shift
exec "$@"
"""


def test_what_worked_is_doubted_when_it_fails(build: Build, job_folder: Path) -> None:
    """podman that works in another way than before: that way is found, and remembered; a code of the
    command is not taken for it.
    """
    path = fake(job_folder, "podman", FAKE_PODMAN)
    asked, works = job_folder / "tools/asked", job_folder / "tools/works"

    def asks(command: str) -> tuple[int, str, int]:
        asked.write_text("")
        done = run(command_for(bundle_of(build, "oci"), ["sh", "-c", command], "podman"), job_folder, path)
        return done.returncode, done.stdout, asked.read_text().count(" run ")

    works.write_text("--cgroups=disabled")
    first = asks("echo yes")
    assert first[:2] == (0, "yes\n")
    assert first[2] > 2
    assert asks("echo yes") == (0, "yes\n", 1)
    assert asks("exit 125") == (125, "", 2)
    assert asks("exit 3") == (3, "", 1)
    works.write_text("--pid=host")
    assert asks("echo again")[:2] == (0, "again\n")
    assert asks("echo again") == (0, "again\n", 1)
    assert left(job_folder) == []


def test_an_empty_note_is_none(build: Build, job_folder: Path) -> None:
    """A note that could not be written, for the disk was full, is as none: it is tried what works."""
    path = fake(job_folder, "podman", FAKE_PODMAN)
    (job_folder / "tools/works").write_text("--pid=host")
    words = command_for(bundle_of(build, "oci"), ["echo", "yes"], "podman")
    assert run(words, job_folder, path).stdout == "yes\n"
    (note,) = (job_folder / "node").glob(".wingspan-checked-*/oci*podman*")
    note.write_text("")
    done = run(words, job_folder, path)
    assert (done.returncode, done.stdout) == (0, "yes\n"), done.stderr
    assert note.read_text().startswith("--pid=host")


#: Runs the command on the machine itself, as long as the file `works` lies beside it.
FAKE_APPTAINER = """
echo "$*" >>"$(dirname "$0")/asked"
[ -e "$(dirname "$0")/works" ] || { echo "FATAL: not today" >&2; exit 255; }
for word; do last=$word; done
[ "$last" != true ] || exit 0
echo "in the container"
"""


@pytest.mark.parametrize(
    ("kind", "open_to_others"), [("oci", False), ("squashfs", False), ("squashfs", True)]
)
def test_apptainer_that_stopped_working(
    kind: str, open_to_others: bool, build: Build, job_folder: Path
) -> None:
    """Apptainer that was seen to work and does not any more is followed by the next way, also where a copy of
    the bundle was used, which has gone with the first try.
    """
    path = fake(job_folder, "apptainer", FAKE_APPTAINER)
    # nothing that comes before it or between
    for name in ("podman", "docker", "unshare"):
        fake(job_folder, name, "exit 1\n")
    works = job_folder / "tools/works"
    works.touch()
    bundle = bundle_of(build, kind)
    if open_to_others:
        bundle = attrs.evolve(bundle, path=job_folder / bundle.path.name)
        shutil.copy(bundle_of(build, kind).path, bundle.path)
        bundle.path.chmod(0o666)
    words = command_for(bundle, ["prefix-probe"])
    if os.geteuid() == 0:  # it would mount
        words = [
            shutil.which("unshare") or "unshare",
            "--mount",
            "sh",
            "-c",
            'for d in /dev/fuse /dev/loop*; do mount --bind /dev/null "$d"; done; exec "$@"',
            "sh",
            *words,
        ]
    assert run(words, job_folder, path).stdout == "in the container\n"
    works.unlink()
    done = run(words, job_folder, path)
    assert done.returncode == 0, done.stderr
    assert "not apptainer (Apptainer: FATAL: not today)" in done.stderr
    assert Path(done.stdout.strip()).is_absolute()
    assert left(job_folder) == []


#: Runs the last word, a program, as a container would.
CONTAINER = """
for word; do
    case $word in */.waits) : >"$word" ;; esac
    last=$word
done
case $last in /*) exec "$last" ;; esac
"""


@pytest.mark.parametrize(
    ("kind", "engine"), [("squashfs", "apptainer"), ("oci", "apptainer"), ("oci", "podman")]
)
def test_a_command_is_executed_once(kind: str, engine: str, build: Build, job_folder: Path) -> None:
    """A command that has begun is not executed again, whatever its code, and whatever became of the
    engine meanwhile.
    """
    for name in ("apptainer", "podman", "docker", "unshare"):
        path = fake(job_folder, name, "exit 1\n")
    works, ran = job_folder / "tools/works", job_folder / "ran"
    works.touch()
    fake(job_folder, engine, f"[ -e {works} ] || exit 255\n{CONTAINER}")
    program = fake_program(
        job_folder, f"echo ran >>{ran}\n[ ! -e {job_folder}/fails ] || rm {works}\nexit 255\n"
    )
    words = command_for(bundle_of(build, kind), [program], "apptainer" if kind == "squashfs" else None)
    for count in (1, 2):
        done = run(words, job_folder, path)
        assert (done.returncode, ran.read_text()) == (255, "ran\n" * count), done.stderr
        (job_folder / "fails").touch()
    assert left(job_folder) == []


def fake_program(folder: Path, script: str) -> str:
    fake(folder, "program", script)
    return str(folder / "tools/program")


def test_a_doubt_keeps_its_folder(build: Build, job_folder: Path) -> None:
    """While it is tried whether the engine works, the job's folder has an owner that lives: no other job
    removes it.
    """
    seen, works = job_folder / "seen", job_folder / "tools/works"
    path = fake(
        job_folder,
        "podman",
        f"""case "$*" in *" rm --all "*) exit 0 ;; esac
[ ! -e {works} ] || exit 0
pid=$(cut -d' ' -f1 "$TMPDIR"/.wingspan-*/.owner)
case "$*" in *" true") kill -0 "$pid" && echo alive >>{seen} || echo dead >>{seen} ;; esac
exit 125
""",
    )
    works.touch()
    words = command_for(bundle_of(build, "oci"), ["sleep", "0"], "podman")
    assert run(words, job_folder, path).returncode == 0
    works.unlink()
    assert run(words, job_folder, path).returncode == 122
    assert set(seen.read_text().split()) == {"alive"}


def test_signals_after_coming_back(build: Build, job_folder: Path) -> None:
    """A signal that comes while the next way is tried ends the job; it is not kept for the command that
    did not begin.
    """
    works, tried = job_folder / "tools/works", job_folder / "tried"
    path = fake(job_folder, "apptainer", f"[ -e {works} ] || exit 255\n")
    fake(job_folder, "podman", "exit 1\n")
    fake(job_folder, "docker", f"touch {tried}; exec sleep 600\n")
    works.touch()
    words = command_for(bundle_of(build, "oci"), ["sleep", "0"])
    assert run(words, job_folder, path).returncode == 0
    works.unlink()
    process = subprocess.Popen(words, cwd=job_folder, env=variables(job_folder, path), start_new_session=True)
    try:
        until(tried.exists, "Docker is not tried")
        process.send_signal(signal.SIGUSR1)
        assert process.wait(PATIENCE) == -signal.SIGUSR1
    finally:
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("begins", [False, True])
def test_a_sif_that_apptainer_does_not_run(begins: bool, build: Build, job_folder: Path) -> None:
    """Apptainer that fails before the command began is code 122 with its reason; a command's own 255 is
    its own.
    """
    path = fake(job_folder, "apptainer", CONTAINER if begins else 'echo "FATAL: no fuse" >&2; exit 255\n')
    program = fake_program(job_folder, f"echo ran >>{job_folder}/ran; exit 255\n")
    done = run(command_for(build("small", "sif"), [program]), job_folder, path)
    assert done.returncode == (255 if begins else 122)
    assert (job_folder / "ran").exists() == begins
    assert ("Apptainer: FATAL: no fuse" in done.stderr) != begins
    assert left(job_folder) == []


def test_folders_with_names_like_the_systems() -> None:
    """/runs is not /run: of what a command names, only the image's own folders are left out."""
    named = [
        "/runs/x",
        "/library/x",
        "/processed/x",
        "/usr2/x",
        "/run/x",
        "/lib64/x",
        "/etc/x",
        "/usr/bin/x",
        "/",
        "/proc/1",
    ]
    part = remote_file("starter/containers.sh")
    script = f'. "{part}"; ws_add_folder() {{ echo "$1"; }}; ws_bundle=x ws_prefix=/opt/x; ws_add_named_folders "$@"'
    done = subprocess.run(["sh", "-c", script, "sh", *named], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["/runs", "/library", "/processed", "/usr2"]
