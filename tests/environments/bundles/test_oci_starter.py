"""How a worker starts an `oci` archive: real Apptainer, real podman, a real Docker daemon, and no engine
at all.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import platformdirs
import pytest

from _waiting import PATIENCE, until
from wingspan.environments.bundles import Bundle, open_bundle, starter_command
from wingspan.environments.bundles.kinds.root_filesystem import debian_base
from wingspan.environments.bundles.starter import starter_script

Build = Callable[..., Bundle]
AsUser = Callable[[Sequence[str]], list[str]]
ENGINES = [Path("/var/cache/wingspan-engines"), Path.home() / ".cache/wingspan-engines"]
PREFIX = "/opt/wingspan/environment"
INSIDE = """
import os
inside = os.environ.get("APPTAINER_CONTAINER") or ("podman" if os.path.exists("/run/.containerenv") else "")
inside = inside or ("docker" if os.path.exists("/.dockerenv") else "")
"""
PROBE = f"""{INSIDE}
import json, ssl, sys, six
open("made", "w").close()
print(json.dumps([sys.prefix, six.__file__, os.getuid(), os.getcwd(), os.environ["PREFIX_PROBE"], os.environ["GIVEN"],
                  os.path.exists("/usr/bin/apt-get"), inside]))
"""
GIVEN = 'it\'s a "word"\nand a line'


@pytest.fixture
def job_folder(job_folder: Path) -> Path:
    """With folders of its own for what the machine remembers of engines, and for temporary files."""
    for one in (job_folder / "node", job_folder / "tmp"):
        one.mkdir()
        one.chmod(0o777)
    return job_folder


#: What commands and engines call in an image, beside what the C library consists of.
PROGRAMS = {"dash", "bash", "sleep", "cat", "env", "true", "unshare"}


@pytest.fixture
def build_little(build: Build, public_folder: Path) -> Callable[..., Bundle]:
    """Builds an archive whose system is the usual one, less all programs but a few: it is quickly
    unpacked.
    """

    def make(environment: str = "small") -> Bundle:
        base, system = public_folder / "little-system", debian_base()
        if not base.exists():

            def useless(folder: str, names: list[str]) -> set[str]:
                files = {n for n in names if (path := Path(folder, n)).is_file() and not path.is_symlink()}
                if Path(folder).is_relative_to(system / "etc"):
                    return set()
                return {n for n in files - PROGRAMS if not re.match(r"ld-linux|lib\w+\.so", n)}

            shutil.copytree(system, base, symlinks=True, ignore=useless)
        return build(environment, "oci", base=base)

    return make


@pytest.fixture
def podman(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real podman; as root with the settings that it needs in a container."""
    if shutil.which("podman", path="/usr/bin:/usr/local/bin") is None:
        pytest.skip("no podman: python tools/engines/podman.py (as root)")
    if os.geteuid() == 0:
        found = [folder / "podman/containers.conf" for folder in ENGINES]
        settings = next((path for path in found if path.is_file()), None)
        if settings is None:
            pytest.skip("no settings for podman: python tools/engines/podman.py (as root)")
        monkeypatch.setenv("CONTAINERS_CONF", str(settings))


@pytest.fixture
def docker(public_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The client of a real Docker daemon: of one that is there, else of one that is started for the test."""
    found = shutil.which("docker")
    if found and not subprocess.run([found, "version"], capture_output=True, check=False).returncode:
        yield found
        return
    root = next((e / "docker" for e in ENGINES if (e / "docker/usr/sbin/dockerd").is_file()), None)
    if root is None or os.geteuid() != 0:
        pytest.skip("no Docker daemon: python tools/engines/docker.py (as root)")
    programs = f"{root}/usr/sbin:{root}/usr/bin:{os.environ['PATH']}"
    libraries = ":".join(str(path) for path in root.glob("**/lib/x86_64-linux-gnu"))
    folder = public_folder / "docker"
    folder.mkdir()
    monkeypatch.setenv("PATH", programs)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/socket")
    places = [f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
    network = ["--iptables=false", "--ip6tables=false", "--bridge=none"]
    client = f"{root}/usr/bin/docker"

    def log_text() -> str:
        return (folder / "log").read_text()[-2000:]

    def start(driver: str) -> subprocess.Popen[bytes] | None:
        """The daemon once it answers, or None if it has ended."""
        with (folder / "log").open("wb") as log:
            daemon = subprocess.Popen(
                ["dockerd", "-H", f"unix://{folder}/socket", *places, *network, f"--storage-driver={driver}"],
                stdout=log,
                stderr=log,
                env={**os.environ, "LD_LIBRARY_PATH": libraries},
            )

        def answers() -> bool:
            return not subprocess.run([client, "version"], capture_output=True, check=False).returncode

        until(lambda: daemon.poll() is not None or answers(), log_text)
        return daemon if daemon.poll() is None else None

    # vfs works everywhere, but copies all layers below for each layer.
    daemon = start("overlay2") or start("vfs")
    assert daemon is not None, log_text()
    try:
        yield client
    finally:
        daemon.terminate()
        daemon.wait(PATIENCE)
        subprocess.run(["umount", folder / "exec/netns/default"], capture_output=True, check=False)


def run(
    bundle: Bundle,
    command: Sequence[str],
    folder: Path,
    *,
    path: str = "/usr/bin:/bin",
    user: AsUser = list,
    before: Sequence[str] = (),
    **options: object,
) -> subprocess.CompletedProcess[str]:
    """Start `command` in `bundle` as a job would: the files in its working folder, few variables."""
    start = starter_command(bundle, command, **options)  # type: ignore[arg-type]
    for file in (start.executable, *start.input_files):
        if not (folder / file.name).exists():
            shutil.copy(file, folder)
            (folder / file.name).chmod(0o755)
    variables = {"PATH": path, "HOME": "/tmp", "GIVEN": GIVEN, "WINGSPAN_NODE_CACHE": str(folder / "node")}
    variables["TMPDIR"] = str(folder / "tmp")
    variables |= {key: os.environ[key] for key in ("CONTAINERS_CONF", "DOCKER_HOST") if key in os.environ}
    return subprocess.run(
        [*before, *user(["sh", f"./{start.executable.name}", *start.arguments])],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def here() -> str:
    """What says that this machine is a container itself: what runs on its own system sees the same."""
    found: dict[str, str] = {}
    exec(INSIDE, found)
    return found["inside"]


def answered(done: subprocess.CompletedProcess[str], folder: Path) -> tuple[int, str]:
    """(uid, what says that this is a container) of the probe, when all else is as it should be."""
    import json

    assert done.returncode == 0, done.stderr
    prefix, package, uid, cwd, probe, given, apt, inside = json.loads(done.stdout)
    assert prefix == PREFIX
    assert package.startswith(f"{PREFIX}/")
    assert (cwd, probe, given) == (str(folder), f"{PREFIX}/share", GIVEN)
    assert not (apt and inside != here()), "the image has no apt-get; this machine may"
    assert (folder / "made").exists()
    return uid, inside


def nothing_is_left(folder: Path) -> None:
    """The folders that the starter made for the job go with the job."""

    def left() -> list[Path]:
        return [*folder.glob(".wingspan-*"), *folder.glob("tmp/.wingspan-*")]

    until(lambda: not left(), left)


@pytest.mark.apptainer
@pytest.mark.parametrize("ordinary", [False, True])
def test_by_apptainer(
    ordinary: bool,
    build: Build,
    build_little: Callable[..., Bundle],
    job_folder: Path,
    apptainer: str,
    as_ordinary_user: AsUser,
) -> None:
    """Apptainer runs it where it is there, as root and as an ordinary user: folder, variables and uid are
    the job's.
    """
    bundle = build_little("wheels") if ordinary else build("wheels", "oci")
    path = f"{Path(apptainer).parent}:/usr/bin:/bin"
    user = as_ordinary_user if ordinary else list
    done = run(bundle, ["python", "-c", PROBE], job_folder, path=path, user=user)
    uid, inside = answered(done, job_folder)
    assert uid == (65534 if ordinary and os.geteuid() == 0 else os.geteuid())
    assert inside.endswith("/root")
    assert done.stderr.strip().endswith("wingspan-start: oci: run by Apptainer")


@pytest.mark.podman
@pytest.mark.parametrize("ordinary", [False, True])
def test_by_podman(
    ordinary: bool,
    build_little: Callable[..., Bundle],
    job_folder: Path,
    podman: None,
    as_ordinary_user: AsUser,
) -> None:
    """podman runs it where there is no Apptainer, as root and for a user without subordinate numbers;
    nothing of it stays.
    """
    user = as_ordinary_user if ordinary else list
    # what a job that was killed had no time to clear away
    stale = 'd=$(mktemp -d /tmp/wsXXXXXX) && echo "$$ $(readlink /proc/self/ns/pid) $(cat /proc/sys/kernel/random/boot_id)" >$d/.owner && echo $d'
    old = Path(
        subprocess.run(user(["sh", "-c", stale]), capture_output=True, text=True, check=True).stdout.strip()
    )
    bundle = build_little("wheels")
    for _ in range(2):  # the second time it is remembered what works
        done = run(bundle, ["python", "-c", PROBE], job_folder, user=user)
        uid, inside = answered(done, job_folder)
        assert uid == (65534 if ordinary and os.geteuid() == 0 else os.geteuid())
        assert inside == "podman"
        assert "not apptainer (no Apptainer); oci: run by podman" in done.stderr
    nothing_is_left(job_folder)
    assert not old.exists()


def test_by_docker(build_little: Callable[..., Bundle], job_folder: Path, docker: str) -> None:
    """A Docker daemon loads it once, and runs it as the job's user; what it has loaded is not loaded
    again.
    """
    bundle = build_little("wheels")
    for _ in range(2):
        done = run(bundle, ["python", "-c", PROBE], job_folder, method="docker", path=os.environ["PATH"])
        uid, inside = answered(done, job_folder)
        assert (uid, inside) == (os.geteuid(), "docker")
        assert "oci: run by Docker" in done.stderr
    subprocess.run([docker, "rmi", "local:wheels"], check=True, capture_output=True)


@pytest.mark.podman
def test_podman_passes_on_exit_codes_and_input(
    build_little: Callable[..., Bundle], job_folder: Path, podman: None
) -> None:
    """The exit code is the command's, and what it prints comes apart as output and errors."""
    script = "echo out; echo err >&2; exit 7"
    done = run(build_little(), ["sh", "-c", script], job_folder, method="podman", quiet=True)
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


@pytest.mark.podman
@pytest.mark.parametrize("ordinary", [False, True])
@pytest.mark.parametrize("answers", [False, True])
def test_podman_is_ended_with_its_job(
    ordinary: bool,
    answers: bool,
    build_little: Callable[..., Bundle],
    job_folder: Path,
    podman: None,
    as_ordinary_user: AsUser,
) -> None:
    """A signal to the job ends the command in the container; the job ends by it, or with the code that
    the command answers it with. It is not lost where it comes while podman starts the container: podman
    itself ends with 0 then, and leaves the container.
    """
    waits = f"exec sleep {_SECONDS}"
    if answers:
        waits = f"trap 'kill $!; exit 9' TERM; sleep {_SECONDS} & wait"
    bundle = build_little()
    start = starter_command(bundle, ["sh", "-c", waits], shared=True, method="podman")
    starter = job_folder / "starter.sh"  # the cache is its user's alone
    shutil.copy(start.executable, starter)
    starter.chmod(0o755)
    variables = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "WINGSPAN_NODE_CACHE": str(job_folder / "node")}
    variables["TMPDIR"] = str(job_folder / "tmp")
    variables |= {key: os.environ[key] for key in ("CONTAINERS_CONF",) if key in os.environ}
    user = as_ordinary_user if ordinary else list
    log = job_folder / "log"
    for early in (False, True):  # the second time it is remembered what works
        with log.open("wb") as errors:
            process = subprocess.Popen(
                user(["sh", str(starter), *start.arguments]), cwd=job_folder, env=variables, stderr=errors
            )

        def begun(process: subprocess.Popen[bytes] = process) -> set[str]:
            assert process.poll() is None, log.read_text()
            return _sleepers()

        if answers:
            until(begun, "the command in the container")
            until(lambda: _podman_knows(job_folder, user), "podman's note that the container runs")
        elif early:
            until(lambda: _podmans(job_folder), "podman")
        else:
            until(begun, "the command in the container")
        running = _sleepers()
        process.terminate()
        assert process.wait(PATIENCE) == (9 if answers else -signal.SIGTERM), log.read_text()
        until(lambda running=running: not running & _sleepers(), "its end")
    nothing_is_left(job_folder)


#: This process's own: others run these tests on the machine, too.
_SECONDS = 1_000_000 + os.getpid()


def _podman_knows(folder: Path, user: Callable[[list[str]], list[str]]) -> bool:
    """Whether the podman that runs a container for the job in `folder` says so."""
    for entry, words in _podmans(folder).items():
        try:
            told = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        environment = dict(one.partition("=")[::2] for one in told if "=" in one)
        ask = [*words[: words.index("run")], "ps", "--quiet", "--filter", "status=running"]
        done = subprocess.run(user(ask), env=environment, cwd=folder, capture_output=True, check=False)
        if done.stdout.strip():
            return True
    return False


def _podmans(folder: Path) -> dict[Path, list[str]]:
    """The words of each podman that runs a container for the job in `folder`, by its place in /proc."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if words[0].endswith("podman") and "run" in words and str(folder) in " ".join(words):
            found[entry] = words
    return found


def _sleepers() -> set[str]:
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if entry.read_bytes() == f"sleep\0{_SECONDS}\0".encode():
                found.add(entry.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    "engine",
    [
        pytest.param("apptainer", marks=pytest.mark.apptainer),
        pytest.param("podman", marks=pytest.mark.podman),
    ],
)
def test_files_that_the_command_names(
    engine: str, build_little: Callable[..., Bundle], job_folder: Path, request: pytest.FixtureRequest
) -> None:
    """A file on a shared disk, outside of all folders that podman has by itself, is seen when the command
    names it; an odd name does no harm.
    """
    path = "/usr/bin:/bin"
    if engine == "apptainer":
        path = f"{Path(request.getfixturevalue('apptainer')).parent}:{path}"
    else:
        request.getfixturevalue("podman")
    cache = platformdirs.user_cache_path("wingspan-tests", ensure_exists=True)
    with (
        tempfile.TemporaryDirectory(dir=cache, prefix="it's a folder, ") as odd,
        tempfile.TemporaryDirectory(dir=cache) as name,
    ):
        for folder in (odd, name):
            Path(folder, "file").write_text("shared\n")
        command = ["sh", "-c", 'cat "$1/file"; echo "$2"', "sh", name, odd]
        done = run(build_little(), command, job_folder, path=path, method=engine)
    assert done.stdout == f"shared\n{odd}\n", done.stderr


@pytest.mark.parametrize("ordinary", [False, True])
def test_without_an_engine(
    ordinary: bool, build_little: Callable[..., Bundle], job_folder: Path, as_ordinary_user: AsUser
) -> None:
    """Without any engine its layers are unpacked and put at the prefix, on this machine's own system, and
    the log says why.
    """
    if os.geteuid() != 0:
        pytest.skip("hiding podman, for this test only, needs root")
    hide = 'for f in /usr/bin/podman /usr/local/bin/docker /usr/bin/docker; do [ ! -e $f ] || mount --bind "$0" $f; done; exec "$@"'
    nothing = job_folder / "nothing"
    nothing.touch(mode=0o644)
    done = run(
        build_little("wheels"),
        ["python", "-c", PROBE],
        job_folder,
        user=as_ordinary_user if ordinary else list,
        before=["unshare", "--mount", "sh", "-c", hide, str(nothing)],
        quiet=True,
    )
    _, inside = answered(done, job_folder)
    assert inside == here()
    assert (
        "not apptainer (no Apptainer); not podman (no podman); not docker (no Docker); oci: unpacked into"
        in done.stderr
    )
    nothing_is_left(job_folder)


def test_without_an_engine_and_without_namespaces(
    build_little: Callable[..., Bundle], job_folder: Path
) -> None:
    """Where nothing can be mounted either the environment is moved to where it is unpacked."""
    tools = job_folder / "tools"
    tools.mkdir()
    usual = "awk bash cat chmod chown cut df find grep gzip id ln ls mkdir mktemp mv readlink rm sed sh sha256sum sleep stat tar tail tr uname"
    for name in usual.split():
        (tools / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    bundle = build_little("wheels")
    start = starter_command(bundle, ["true"])
    text = start.executable.read_text()
    (job_folder / start.executable.name).write_text(text.replace(":/usr/sbin:/sbin:/usr/bin:/bin", ""))
    probe = "import ssl, sys, six; print(sys.prefix, six.__file__)"
    done = run(bundle, ["python", "-c", probe], job_folder, path=str(tools))
    assert done.returncode == 0, done.stderr
    prefix, package = done.stdout.split()
    assert prefix != PREFIX
    assert package.startswith(f"{prefix}/")
    assert "moved to" in done.stderr


@pytest.mark.parametrize("damage", ["altered", "cut"])
def test_a_damaged_archive_is_not_run(
    damage: str, build_little: Callable[..., Bundle], job_folder: Path
) -> None:
    """One altered byte, or an end that is missing: exit code 121, and nothing of it is unpacked or run."""
    bundle = build_little()
    content = bytearray(bundle.path.read_bytes())
    if damage == "altered":
        content[len(content) // 2] ^= 1
    else:
        del content[-2048:]
    (job_folder / bundle.path.name).write_bytes(content)
    done = run(bundle, ["touch", "ran"], job_folder)
    assert done.returncode == 121
    assert "nothing in it was run" in done.stderr
    assert not (job_folder / "ran").exists()
    assert not list(job_folder.glob(".wingspan-*"))


def test_a_damaged_archive_that_nothing_tells_apart(
    build_little: Callable[..., Bundle], job_folder: Path
) -> None:
    """A damaged file under another name, without its digest beside it, cannot be unpacked: that is
    damage, and no want of room.
    """
    content = bytearray(build_little().path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    (job_folder / "renamed.oci.tar").write_bytes(content)
    bundle = open_bundle(job_folder / "renamed.oci.tar")
    done = run(bundle, ["touch", "ran"], job_folder, method="unpack")
    assert done.returncode == 121, done.stderr
    assert "is damaged" in done.stderr
    assert not (job_folder / "ran").exists()
    nothing_is_left(job_folder)


def test_no_room(build: Build, job_folder: Path) -> None:
    """A disk on which the environment has no place is told before anything is unpacked."""
    if os.geteuid() != 0:
        pytest.skip("a small disk of the test's own needs root")
    small = job_folder / "small"
    small.mkdir()
    mount = 'mount -t tmpfs -o size=9m tmpfs "$0" && export TMPDIR="$0" && exec "$@"'
    done = run(
        build("wheels", "oci"),
        ["true"],
        job_folder,
        before=["unshare", "--mount", "sh", "-c", mount, str(small)],
    )
    assert done.returncode == 123
    assert "ask for more disk" in done.stderr or "there is no room for a copy of it" in done.stderr


def test_the_starter_is_one_posix_script() -> None:
    """What is sent is one file with all its parts, and dash, which is no bash, reads it."""
    text = starter_script().read_text()
    assert "ws_start_oci() {" in text
    assert "@include" not in text
    for shell in ("dash", "bash"):
        if shutil.which(shell):
            subprocess.run([shell, "-n", str(starter_script())], check=True)
