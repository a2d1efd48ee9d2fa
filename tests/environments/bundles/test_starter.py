"""The starter, as it runs on workers: every way of making a squashfs available, real mounts, real
Apptainer.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from _waiting import PATIENCE, until
from wingspan.environments.bundles import Bundle, starter_command
from wingspan.environments.bundles.errors import BundleError
from wingspan.environments.bundles.machine.programs import mount_helper
from wingspan.environments.bundles.starter import starter_script

Build = Callable[..., Bundle]
AsUser = Callable[[Sequence[str]], list[str]]

#: What a worker surely has: nothing with Python, squashfuse or Apptainer in it.
BARE = (
    "awk bash cat chmod chown cut df find grep gzip id ln ls mkdir mktemp mount mv readlink rm sed sh sha256sum sleep stat tail tar tr "
    "umount uname unshare"
).split()
LOOK = "print(sys.prefix, os.getuid(), os.environ['PREFIX_PROBE'], os.getcwd())"
PROBE = f"import sys, os, zmq; {LOOK}"


def apptainer_folder() -> str | None:
    """Where Apptainer is: on PATH, or where tools/engines/apptainer.py puts it."""
    places = os.pathsep.join([os.environ["PATH"], "/var/cache/wingspan-engines/apptainer/bin"])
    places += os.pathsep + str(Path.home() / ".cache/wingspan-engines/apptainer/bin")
    found = shutil.which("apptainer", path=places)
    return str(Path(found).parent) if found else None


@pytest.fixture
def bare_path(public_folder: Path) -> str:
    """A PATH of a machine with the usual small tools only."""
    folder = public_folder / "bin"
    folder.mkdir(exist_ok=True)
    for name in BARE:
        if not (folder / name).exists():
            (folder / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    return str(folder)


def run(
    bundle: Bundle,
    command: Sequence[str],
    folder: Path,
    *,
    path: str = "/usr/bin:/bin",
    user: AsUser = list,
    variables: dict[str, str] | None = None,
    **options: object,
) -> subprocess.CompletedProcess[str]:
    """Start `command` in `bundle` as a job would: the files in its working folder, few variables."""
    start = starter_command(bundle, command, **options)  # type: ignore[arg-type]
    for file in (start.executable, *start.input_files):
        if not (folder / file.name).exists():
            shutil.copy(file, folder)
            (folder / file.name).chmod(0o755)
    return subprocess.run(
        user(["sh", f"./{start.executable.name}", *start.arguments]),
        cwd=folder,
        env={"PATH": path, "HOME": "/tmp", **(variables or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def mounted_with(bundle: Path) -> list[str]:
    """squashfuse processes that hold this bundle."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "squashfuse" in line and str(bundle) in line:
            found.append(process.name)
    return found


@pytest.mark.parametrize("method", ["kernel", "fuse", "unpack", None])
def test_ways_as_root(method: str | None, build: Build, job_folder: Path) -> None:
    """Root gets the environment at its prefix whichever way it is made available, activated, in the job's
    folder; NumPy finds the libraries that it brings.
    """
    if os.geteuid() != 0:
        pytest.skip("this one is about root")
    done = run(
        build("numpy"), ["python", "-c", f"import sys, os, numpy.linalg; {LOOK}"], job_folder, method=method
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "/opt/wingspan/environment",
        "0",
        "/opt/wingspan/environment/share",
        str(job_folder),
    ]
    assert "wingspan-start: " in done.stderr


@pytest.mark.parametrize("method", ["fuse", "unpack", None])
def test_ways_as_ordinary_user(
    method: str | None, build: Build, job_folder: Path, as_ordinary_user: AsUser
) -> None:
    """Somebody without any right gets the same, as himself, by user namespaces."""
    done = run(build(), ["python", "-c", PROBE], job_folder, method=method, user=as_ordinary_user)
    assert done.returncode == 0, done.stderr
    user = 65534 if os.geteuid() == 0 else os.geteuid()
    assert done.stdout.split() == [
        "/opt/wingspan/environment",
        str(user),
        "/opt/wingspan/environment/share",
        str(job_folder),
    ]


@pytest.mark.apptainer
@pytest.mark.parametrize("ordinary", [False, True])
def test_by_apptainer(ordinary: bool, build: Build, job_folder: Path, as_ordinary_user: AsUser) -> None:
    """Apptainer mounts it too, as root and as an ordinary user, with this machine's own root around it."""
    folder = apptainer_folder()
    if folder is None:
        pytest.skip("no Apptainer: python tools/engines/apptainer.py")
    done = run(
        build(),
        ["python", "-c", PROBE],
        job_folder,
        method="apptainer",
        user=as_ordinary_user if ordinary else list,
        path=f"{folder}:/usr/bin:/bin",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "/opt/wingspan/environment"
    assert done.stdout.split()[3] == str(job_folder)
    assert "mounted by Apptainer" in done.stderr


@pytest.mark.parametrize("method", ["fuse", "unpack"])
def test_a_bare_machine(
    method: str, build: Build, job_folder: Path, bare_path: str, as_ordinary_user: AsUser
) -> None:
    """With neither Python nor squashfuse nor unsquashfs on the machine, the helper that comes along does
    it.
    """
    program = f"import subprocess, sys; {PROBE}"
    done = run(
        build(), ["python", "-c", program], job_folder, method=method, path=bare_path, user=as_ordinary_user
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("/opt/wingspan/environment ")


def test_nothing_works(build: Build, job_folder: Path, bare_path: str, as_ordinary_user: AsUser) -> None:
    """Where there is no way at all, the error names each way and what it lacks."""
    path = Path(bare_path).with_name("nothing")
    path.mkdir(exist_ok=True)
    path.chmod(0o755)
    for name in set(BARE) - {"unshare", "mount"}:
        if not (path / name).exists():
            (path / name).symlink_to(Path(bare_path, name).readlink())
    script = starter_command(build("small"), ["true"], helper=False)
    text = script.executable.read_text().replace(
        ":/usr/sbin:/sbin:/usr/bin:/bin", ""
    )  # it adds the usual places
    starter = job_folder / script.executable.name
    starter.write_text(text)
    starter.chmod(0o755)
    done = run(build("small"), ["true"], job_folder, path=str(path), user=as_ordinary_user, helper=False)
    assert done.returncode == 122
    for part in (
        "not fuse (no user namespaces)",
        "not apptainer (no Apptainer)",
        "not unpack (no unsquashfs",
    ):
        assert part in done.stderr


def test_a_damaged_bundle_is_not_run(build: Build, job_folder: Path) -> None:
    """One altered byte: exit code 121, the two digests in the log, and the command does not run."""
    bundle = build()
    done = run(bundle, ["touch", "ran"], job_folder)
    assert (job_folder / "ran").exists(), done.stderr
    (job_folder / "ran").unlink()
    with (job_folder / bundle.path.name).open("r+b") as file:  # it was checked before, and is checked again
        file.seek(40_000)
        byte = file.read(1)
        file.seek(40_000)
        file.write(bytes([byte[0] ^ 1]))
    done = run(bundle, ["touch", "ran"], job_folder)
    assert done.returncode == 121
    assert bundle.sha256 in done.stderr
    assert "damaged" in done.stderr
    assert not (job_folder / "ran").exists()


def test_a_cut_bundle_is_not_run(build: Build, job_folder: Path) -> None:
    """A bundle that did not arrive whole is refused."""
    bundle = build()
    (job_folder / bundle.path.name).write_bytes(bundle.path.read_bytes()[:-1000])
    done = run(bundle, ["touch", "ran"], job_folder)
    assert done.returncode == 121
    assert not (job_folder / "ran").exists()


def test_a_missing_bundle(build: Build, job_folder: Path) -> None:
    """A bundle that did not arrive at all is named."""
    bundle = build("small")
    (job_folder / bundle.path.name).mkdir()
    done = run(bundle, ["true"], job_folder)
    assert done.returncode == 121
    assert bundle.path.name in done.stderr


def test_the_digest_is_computed_once_a_machine(build: Build, job_folder: Path, public_folder: Path) -> None:
    """The second job with the same file does not read it again; a link to it counts as the same file."""
    bundle = build("small")
    hashed = public_folder / "hashed"
    hashed.unlink(missing_ok=True)
    tools = job_folder / "tools"
    tools.mkdir()
    (tools / "sha256sum").write_text(
        f'#!/bin/sh\necho x >>"{hashed}"\nexec {shutil.which("sha256sum")} "$@"\n'
    )
    (tools / "sha256sum").chmod(0o755)
    notes = {"WINGSPAN_NODE_CACHE": str(job_folder)}
    job_folder.chmod(0o755)  # where others can write, it is read each time
    for _ in range(3):
        done = run(bundle, ["true"], job_folder, path=f"{tools}:/usr/bin:/bin", variables=notes)
        assert done.returncode == 0, done.stderr
    assert hashed.read_text() == "x\n"
    second = job_folder / "second"
    second.mkdir(mode=0o777)
    os.link(job_folder / bundle.path.name, second / bundle.path.name)
    # linking changes the time of the last change of the inode: hashed once more, then not again
    for _ in range(2):
        assert run(bundle, ["true"], second, path=f"{tools}:/usr/bin:/bin", variables=notes).returncode == 0
    assert hashed.read_text().count("x") <= 2


def test_notes_of_others_are_not_believed(build: Build, job_folder: Path) -> None:
    """A folder of notes that others can write to is not used: the file is hashed."""
    bundle = build("small")
    notes = job_folder / f".wingspan-checked-{os.geteuid()}"
    run(bundle, ["true"], job_folder, variables={"WINGSPAN_NODE_CACHE": str(job_folder)})
    path = job_folder / bundle.path.name
    content = bytearray(path.read_bytes())
    content[3000] ^= 1
    path.write_bytes(content)
    status = path.stat()
    ours = f"{status.st_dev}:{status.st_ino} {status.st_size}"
    (notes / bundle.sha256).write_text(ours)
    notes.chmod(0o777)
    done = run(bundle, ["true"], job_folder, variables={"WINGSPAN_NODE_CACHE": str(job_folder)})
    assert done.returncode == 121


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as a second user")
@pytest.mark.parametrize("whose", ["file", "folder", "group"])
def test_what_others_can_change_is_checked_each_time(build: Build, job_folder: Path, whose: str) -> None:
    """Another user rewrites the bundle in place, with the old size and times, and says in an attribute
    that it was checked: it does not run.
    """
    bundle = build("small")
    path = job_folder / bundle.path.name
    job_folder.chmod(0o755)
    notes = {"WINGSPAN_NODE_CACHE": str(job_folder)}
    assert run(bundle, ["true"], job_folder, variables=notes).returncode == 0
    if whose == "file":
        os.chown(path, 54321, 54321)
    elif whose == "folder":
        os.chown(job_folder, 54321, 54321)
    else:
        os.chown(path, 0, 54321)
        path.chmod(0o660)
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(3000)
        byte = file.read(1)
        file.seek(3000)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    status = path.stat()
    states = [f"{status.st_dev}:{status.st_ino} {status.st_size} {n}" for n in ("0", str(status.st_mtime))]
    for state in states:
        with contextlib.suppress(OSError):
            os.setxattr(path, "user.wingspan.checked", f"{bundle.sha256} {state}".encode())
    done = run(bundle, ["true"], job_folder, variables=notes)
    assert done.returncode == 121, done.stderr
    assert "nothing in it was run" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as a second user")
def test_a_bundle_of_somebody_else_is_used_as_a_copy(
    build: Build, job_folder: Path, public_folder: Path
) -> None:
    """What is checked is what is run: of a file that another user may change at any time a copy is taken
    first.
    """
    bundle = build("small")
    path = job_folder / bundle.path.name
    shutil.copyfile(bundle.path, path)
    os.chown(path, 54321, 54321)
    tools = job_folder / "tools"
    tools.mkdir()
    # Whoever owns it changes it in the very moment in which it has been checked.
    (tools / "sha256sum").write_text(
        f'#!/bin/sh\n{shutil.which("sha256sum")} "$@"\ndd if=/dev/zero of={path} bs=4096 count=10 conv=notrunc 2>/dev/null\n'
    )
    (tools / "sha256sum").chmod(0o755)
    done = run(
        bundle, ["cat", ".wingspan/bundle.json"], job_folder, path=f"{tools}:/usr/bin:/bin", method="unpack"
    )
    assert b"hsqs" not in path.read_bytes()[:4]
    probe = run(bundle, ["true"], job_folder, method="unpack")
    assert probe.returncode == 121
    assert "cannot" not in done.stderr
    assert done.returncode == 1, done.stderr  # the command began; there is no such file in its folder


def test_another_helper_is_not_executed(build: Build, job_folder: Path, bare_path: str) -> None:
    """The archive of programs that helps to mount has a digest as the bundle has: another one is as good
    as none.
    """
    bundle = build("small")
    start = starter_command(bundle, ["true"])
    if "--helper" not in start.arguments:
        pytest.skip("there is no helper here")
    for file in (start.executable, *start.input_files):
        shutil.copy(file, job_folder)
    helper = job_folder / start.arguments[start.arguments.index("--helper") + 1]
    trace = job_folder / "trace"
    with tarfile.open(helper, "w:gz") as tar:
        for name in ("ld.so", "squashfuse_ll", "unsquashfs"):
            member = tarfile.TarInfo(name)
            content = f"#!/bin/sh\ntouch {trace}\n".encode()
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
    done = subprocess.run(
        ["sh", f"./{start.executable.name}", "--method", "unpack", *start.arguments],
        cwd=job_folder, env={"PATH": bare_path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not trace.exists(), done.stderr


def test_no_room_to_unpack(build: Build, job_folder: Path) -> None:
    """Where there is less room than the environment needs, it says so before it unpacks."""
    start = starter_command(build("small"), ["true"], method="unpack")
    arguments = list(start.arguments)
    arguments[arguments.index("--installed") + 1] = str(10**15)
    for file in (start.executable, *start.input_files):
        shutil.copy(file, job_folder)
    done = subprocess.run(
        ["sh", f"./{start.executable.name}", *arguments],
        cwd=job_folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 123
    assert re.search(r"needs \d+ MB in .*, \d+ MB are free; ask for more disk", done.stderr)
    assert not list(job_folder.glob("*/environment"))


def test_a_disk_that_fills_up(build: Build, job_folder: Path) -> None:
    """When the disk fills while unpacking, it is an error of its own and what was begun is removed."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    small = job_folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(small)], check=True)
    try:
        start = starter_command(build(), ["true"], method="unpack", shared=True)
        arguments = list(start.arguments)
        arguments[arguments.index("--installed") + 1] = "1000"
        done = subprocess.run(
            ["sh", str(start.executable), *arguments],
            cwd=small,
            env={"PATH": "/usr/bin:/bin", "_CONDOR_SCRATCH_DIR": str(small)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 123, done.stderr
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_arguments_arrive_as_they_are(build: Build, job_folder: Path) -> None:
    """Blanks, quotes, dollars, stars and empty arguments reach the command unchanged."""
    words = ["a b", "", "*", "$HOME", "'", '"', "--", "--bundle", "ü", "back\\slash", "new\nline"]
    for method in ("fuse", "unpack"):
        done = run(
            build(), ["python", "-c", "import sys; print(sys.argv[1:])", *words], job_folder, method=method
        )
        assert done.stdout.strip() == repr(words), done.stderr


@pytest.mark.parametrize("code", [0, 3, 77])
def test_the_exit_code_is_the_commands(code: int, build: Build, job_folder: Path) -> None:
    """The starter becomes the command: its exit code is the job's."""
    assert run(build(), ["python", "-c", f"raise SystemExit({code})"], job_folder).returncode == code


def test_signals_reach_the_command(build: Build, job_folder: Path, as_ordinary_user: AsUser) -> None:
    """A SIGTERM to the started process is the command's own to handle: there is nobody in between."""
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(42))\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(0.1)\n"
    )
    start = starter_command(build(), ["python", "-c", program], shared=True, method="fuse")
    process = subprocess.Popen(
        as_ordinary_user(["sh", str(_public(start.executable, job_folder)), *start.arguments]),
        cwd=job_folder,
        env={"PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=PATIENCE) == 42
    process.stdout.close()


def _public(script: Path, folder: Path) -> Path:
    """The source tree may be closed to other users."""
    copy = Path(shutil.copy(script, folder))
    copy.chmod(0o755)
    return copy


def test_nothing_stays_mounted(build: Build, job_folder: Path, as_ordinary_user: AsUser) -> None:
    """When the command is gone, however it went, squashfuse ends and the folders are gone."""
    bundle = build()
    code = "import os, sys; print(sys.prefix, flush=True); os.kill(os.getpid(), 9)"
    done = run(bundle, ["python", "-c", code], job_folder, method="fuse", user=as_ordinary_user)
    assert done.stdout == f"{bundle.prefix}\n", done.stderr
    until(lambda: not mounted_with(job_folder / bundle.path.name), "the end of squashfuse")
    until(lambda: not list(job_folder.glob(".wingspan-*")), "its folders are gone")


def test_what_was_in_opt_is_still_there(build: Build, job_folder: Path, as_ordinary_user: AsUser) -> None:
    """The machine's own /opt, files, folders and links, is as it was beside the environment."""
    mine = sorted(p.name for p in Path("/opt").iterdir() if p.name != "wingspan")
    done = run(
        build(),
        ["python", "-c", "import os; print(sorted(set(os.listdir('/opt')) - {'wingspan'}))"],
        job_folder,
        user=as_ordinary_user,
        method="fuse",
    )
    assert done.stdout.strip() == repr(mine), done.stderr


def test_inside_a_bundle_another(build: Build, job_folder: Path) -> None:
    """A job inside one environment can start one in another."""
    outer, inner = build("wheels"), build("default")
    run(inner, ["true"], job_folder)
    start = starter_command(inner, ["python", "-c", "import zmq; print('inner')"], shared=True)
    done = run(outer, ["sh", str(start.executable), *start.arguments], job_folder)
    assert done.stdout.strip() == "inner", done.stderr


def test_a_users_own_packages_stay_out(build: Build, job_folder: Path) -> None:
    """Packages in ~/.local are not imported in place of the environment's."""
    done = run(build(), ["python", "-c", "import site; print(site.ENABLE_USER_SITE)"], job_folder)
    assert done.stdout.strip() == "False"


@pytest.mark.slow
def test_a_pack_is_started(build: Build, job_folder: Path, as_ordinary_user: AsUser) -> None:
    """A pack that unpacks itself is started the same way, by unpacking."""
    bundle = build("default", "pack", executable=True)
    done = run(bundle, ["python", "-c", PROBE], job_folder, user=as_ordinary_user)
    assert done.returncode == 0, done.stderr
    assert "unpacked into" in done.stderr


def test_a_damaged_pack_is_not_run(build: Build, job_folder: Path) -> None:
    """The digest stands before a self-extracting pack, too."""
    bundle = build("small", "pack", executable=True)
    content = bundle.path.read_bytes()
    (job_folder / bundle.path.name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert run(bundle, ["touch", "ran"], job_folder).returncode == 121
    assert not (job_folder / "ran").exists()


def test_what_the_starter_does_not_start(build: Build) -> None:
    """A plain pack cannot be started: the error says what to build instead."""
    with pytest.raises(BundleError, match="plain pack") as caught:
        starter_command(build("small", "pack"), ["true"])
    assert "executable=True" in str(caught.value)


def test_methods_that_a_kind_does_not_have(build: Build) -> None:
    """A method of another kind is an error that names those there are; a kind with one way takes none."""
    with pytest.raises(BundleError, match="podman") as caught:
        starter_command(build("small"), ["true"], method="podman")
    assert "kernel, setuid, fuse, apptainer, unpack" in str(caught.value)
    with pytest.raises(BundleError, match="fuse") as caught:
        starter_command(build("small", "pack", executable=True), ["true"], method="fuse")
    assert "one way" in str(caught.value)


def test_a_method_that_does_not_work_here(build: Build, job_folder: Path, bare_path: str) -> None:
    """The reason is the end of the sentence."""
    if shutil.which("apptainer", path="/usr/sbin:/sbin:/usr/bin:/bin"):
        pytest.skip("the starter finds Apptainer")
    done = run(build("small"), ["true"], job_folder, method="apptainer", path=bare_path)
    assert done.returncode == 122
    assert done.stderr.endswith("here: not apptainer (no Apptainer)\n")


def test_the_helper_is_small_and_the_same(
    bundle_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The helper is at most 3 MB, named by its content, and made anew it has the same bytes."""
    first = mount_helper()
    assert first.stat().st_size < 3e6
    monkeypatch.setenv("WINGSPAN_CACHE_DIR", str(tmp_path))
    assert mount_helper().read_bytes() == first.read_bytes()


@pytest.mark.apptainer
@pytest.mark.parametrize(
    "name",
    ["it's here", 'say "x"', "a$HOME", "a;b", "a,b", "a:b"],
    ids="apostrophe quote dollar semicolon comma colon".split(),
)
def test_a_folder_of_any_name_by_apptainer(name: str, build: Build, job_folder: Path) -> None:
    """The job's folder, with the bundle in it, is quoted wherever it is named: also where Apptainer is
    known to work already.
    """
    folder = job_folder / name
    folder.mkdir()
    path = f"{apptainer_folder()}:/usr/bin:/bin:/usr/sbin"
    for _ in range(2):
        done = run(build("small"), ["pwd"], folder, path=path, method="apptainer")
        assert (done.returncode, done.stdout) == (0, f"{folder}\n"), done.stderr


def test_the_script_is_posix() -> None:
    """dash, which is no bash, reads the whole script."""
    for shell in ("dash", "bash"):
        if shutil.which(shell):
            subprocess.run([shell, "-n", str(starter_script())], check=True)


def test_a_machine_without_fuse(build: Build, job_folder: Path, as_ordinary_user: AsUser) -> None:
    """Where /dev/fuse is closed to users the environment is unpacked, and the log says why."""
    if os.geteuid() != 0:
        pytest.skip("closing /dev/fuse, for this test only, needs root")
    closed = job_folder / "closed"
    closed.touch(mode=0o600)

    def without_fuse(command: Sequence[str]) -> list[str]:
        hide = 'mount --bind "$1" /dev/fuse && shift && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", hide, "sh", str(closed), *as_ordinary_user(command)]

    done = run(build(), ["python", "-c", PROBE], job_folder, user=without_fuse)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("/opt/wingspan/environment ")
    assert "not fuse (/dev/fuse is not there, or not open to this user)" in done.stderr
    assert "unpacked into" in done.stderr


@pytest.mark.parametrize("ordinary", [False, True])
def test_mounts_that_fail_after_all(
    ordinary: bool, build: Build, job_folder: Path, as_ordinary_user: AsUser
) -> None:
    """Devices that are there and do not work: what is left is tried, and the log says why."""
    if os.geteuid() != 0:
        pytest.skip("breaking devices, for this test only, needs root")

    def broken(command: Sequence[str]) -> list[str]:
        hide = 'for d in /dev/fuse /dev/loop*; do mount --bind /dev/null "$d"; done; exec "$@"'
        return [
            "unshare",
            "--mount",
            "sh",
            "-c",
            hide,
            "sh",
            *(as_ordinary_user(command) if ordinary else command),
        ]

    done = run(build(), ["python", "-c", PROBE], job_folder, user=broken)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"/opt/wingspan/environment {65534 if ordinary else 0} ")
    assert "squashfuse_ll " in done.stderr
    assert "unpacked into" in done.stderr


def test_a_security_policy_against_mounts(build: Build, job_folder: Path, as_ordinary_user: AsUser) -> None:
    """Namespaces that may be made and not used: the environment is unpacked and moved, and the command is
    the user's again.
    """
    if os.geteuid() != 0:
        pytest.skip("hiding /opt, for this test only, needs root")
    fake = job_folder / "bin/mount"
    fake.parent.mkdir()
    fake.parent.chmod(0o755)
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)

    def refused(command: Sequence[str]) -> list[str]:
        hide = 'mount -t tmpfs tmpfs /opt; PATH="$1:$PATH"; shift; exec "$@"'
        return ["unshare", "--mount", "sh", "-c", hide, "sh", str(fake.parent), *as_ordinary_user(command)]

    done = run(build(), ["python", "-c", PROBE], job_folder, user=refused)
    assert done.returncode == 0, done.stderr
    assert re.match(r"/tmp/ws\w+/e 65534 ", done.stdout)
    assert "cannot be made in a mount namespace" in done.stderr
    assert "moved to" in done.stderr


def test_without_namespaces_the_environment_moves(build: Build, job_folder: Path, bare_path: str) -> None:
    """With neither FUSE nor namespaces nor Apptainer it is unpacked and rewritten for where it lies,
    binaries too.
    """
    path = Path(bare_path).with_name("no-namespaces")
    path.mkdir(exist_ok=True)
    path.chmod(0o755)
    for name in set(BARE) - {"unshare"}:
        if not (path / name).exists():
            (path / name).symlink_to(Path(bare_path, name).readlink())
    start = starter_command(build(), ["true"])
    text = start.executable.read_text().replace(
        ":/usr/sbin:/sbin:/usr/bin:/bin", ""
    )  # it adds the usual places
    (job_folder / start.executable.name).write_text(text)
    script = "prefix-probe; cat $CONDA_PREFIX/share/prefix-probe/binary.dat | tr '\\0' '\\n' | grep -a ^/; python -c 'import sys; print(sys.prefix)'"
    done = run(
        build(), ["bash", "-c", script], job_folder, path=str(path), variables={"TMPDIR": str(job_folder)}
    )
    assert done.returncode == 0, done.stderr
    said, share, again, prefix = done.stdout.split()
    assert said == again
    assert share == f"{said}/share"
    assert Path(said).parent.name.startswith("ws"), "too long a path gets a short link"
    assert prefix == said or "/.wingspan-" in prefix
    assert "moved to" in done.stderr
