"""The starter where an ordinary user may make no user namespace: by squashfs-mount, the real setuid program,
else unpacked.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from _engines import find_apptainer, find_squashfs_mount
from _waiting import PATIENCE
from wingspan.environments.bundles import Bundle, starter_command

Build = Callable[..., Bundle]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a setuid program")

#: A machine where an ordinary user may make no user namespace, with the folder $1, if it is not empty.
MACHINE = """
umask 022
mount -t tmpfs tmpfs /opt
[ -z "$1" ] || mkdir -p "$1"
shift
mount --bind /bin/false "$(command -v unshare)"
exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
"""


def start(
    bundle: Bundle, command: Sequence[str], folder: Path, prefix: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Start a command as an ordinary user of that machine."""
    program = find_squashfs_mount()
    if program is None:
        pytest.skip("no squashfs-mount: python tools/engines/squashfs_mount.py")
    begin = starter_command(bundle, command, shared=True, helper=False)
    starter = folder / "starter.sh"
    starter.write_bytes(begin.executable.read_bytes())
    starter.chmod(0o755)
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", MACHINE, "sh", prefix, "sh", str(starter), *begin.arguments],
        cwd=folder,
        env={"PATH": f"{Path(program).parent}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def test_squashfs_mount_needs_no_user_namespace(build: Build, job_folder: Path) -> None:
    """Where the prefix is a folder of the machine, the environment is mounted there; variables that setuid
    programs do not hand on are the command's, and its exit code is the starter's.
    """
    script = "import os, sys; print(sys.prefix, os.getuid(), os.environ['TMPDIR'], os.environ['LD_LIBRARY_PATH'], os.getcwd()); sys.exit(7)"
    done = start(
        build(),
        ["python", "-c", script],
        job_folder,
        "/opt/wingspan/environment",
        TMPDIR="/var/tmp",
        LD_LIBRARY_PATH="/mine",
    )
    assert done.returncode == 7, done.stderr
    assert done.stdout.split() == [
        "/opt/wingspan/environment", "65534", "/var/tmp", "/mine", str(job_folder)
    ]  # fmt: skip
    assert "mounted by squashfs-mount" in done.stderr


def test_without_its_folder_squashfs_mount_is_passed_over(build: Build, job_folder: Path) -> None:
    """Where the prefix is not on the machine the next way is taken, and the log says why."""
    done = start(build("small"), ["true"], job_folder, "")
    assert done.returncode == 0, done.stderr
    assert "squashfs-mount mounts on /opt/wingspan/environment, and this folder is not there" in done.stderr
    assert "unpacked into" in done.stderr


def test_an_image_of_somebody_else_is_mounted_as_a_copy_that_goes(build: Build, job_folder: Path) -> None:
    """Of a file that others can change the starter mounts a copy, which is gone when the command begins."""
    bundle = build("small")
    os.chown(bundle.path, 54321, 54321)
    try:
        (job_folder / "tmp").mkdir(mode=0o777)
        (job_folder / "tmp").chmod(0o777)
        script = "ls -A $TMPDIR; test -e /opt/wingspan/environment/.wingspan/bundle.json && echo there"
        done = start(
            bundle, ["sh", "-c", script], job_folder, "/opt/wingspan/environment", TMPDIR=f"{job_folder}/tmp"
        )
    finally:
        os.chown(bundle.path, 0, 0)
    assert (done.returncode, done.stdout) == (0, "there\n"), done.stderr
    assert "mounted by squashfs-mount" in done.stderr


#: Root of a user namespace switches off further ones, and becomes an ordinary user.
NO_MORE = (
    "echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --reuid=65534 --regid=65534 --clear-groups"
)


def without_user_namespaces(
    command: Sequence[str], folder: Path, variables: dict[str, str]
) -> tuple[int, str, str]:
    """Execute a command as an ordinary user to whom the kernel gives no user namespace."""
    waits = f'echo ready; read go; exec sh -c \'{NO_MORE} "$@"\' sh "$@"'
    with subprocess.Popen(
        ["unshare", "--user", "sh", "-c", waits, "sh", *command],
        cwd=folder,
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{process.pid}/{name}").write_text("0 0 65536\n")
        out, err = process.communicate("go\n", timeout=PATIENCE)
    return process.returncode, out, err


@pytest.mark.apptainer
def test_an_apptainer_that_needs_user_namespaces_is_passed_over(build: Build, job_folder: Path) -> None:
    """Where the kernel gives an ordinary user no user namespace, neither FUSE nor an Apptainer without
    setuid works: the starter finds that out, also on a machine where Apptainer worked before, unpacks and
    moves the environment, and the log says why.
    """
    program = find_apptainer()
    if program is None:
        pytest.skip("no Apptainer: python tools/engines/apptainer.py")
    bundle, command = build("small"), ["sh", "-c", "echo began"]
    begin = starter_command(bundle, command, shared=True)
    starter = job_folder / "starter.sh"
    starter.write_bytes(begin.executable.read_bytes())
    starter.chmod(0o755)
    (job_folder / "node").mkdir()
    (job_folder / "node").chmod(0o777)
    variables = {
        "PATH": f"{Path(program).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/tmp",
        "WINGSPAN_NODE_CACHE": str(job_folder / "node"),
    }
    by_apptainer = starter_command(bundle, command, shared=True, method="apptainer").arguments
    worked = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", str(starter), *by_apptainer],
        cwd=job_folder,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (worked.returncode, worked.stdout) == (0, "began\n"), worked.stderr
    code, out, err = without_user_namespaces(["sh", str(starter), *begin.arguments], job_folder, variables)
    assert (code, out) == (0, "began\n"), err
    for part in (
        "does not any more",
        "not fuse (no user namespaces)",
        "not apptainer (Apptainer: ",
        "and moved to",
    ):
        assert part in err
