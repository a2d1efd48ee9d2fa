"""What a rehearsed job sees of this machine: its system and its own files, as on a worker.

Three ways, the best first: Apptainer, namespaces of our own (``unshare``), and nothing but clean variables
and folders of the job's own. A way is taken if it executes ``true``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from wingspan._shell import quoted, variable
from wingspan.worker import trust

__all__ = ["JOB_FOLDER", "WAYS", "Mount", "Sandbox", "find_sandbox", "mounts_of_worker"]

#: Where a job whose files are sent finds its working folder.
JOB_FOLDER = "/scratch"
WAYS = ("apptainer", "namespaces", "none")
#: Seconds that a trial of a way may take: Apptainer on a network disk.
_TRIAL = 60
#: What every machine has: of the folders in / those with the system.
_SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "cvmfs", "nix", "gnu")
#: What each job has for itself.
_TMP, _VAR_TMP, _MEMORY = "/tmp", "/var/tmp", "/dev/shm"  # noqa: S108 - the job's, not ours
#: What is there and empty.
_EMPTY = ("/home", "/root", "/opt", "/mnt", "/media", "/srv", "/run", "/var", _VAR_TMP, _TMP)


@attrs.frozen
class Mount:
    """Something that the job sees.

    Attributes:
        what: ``write`` or ``read`` (this machine's, at another place or its own), ``folder`` (an empty one),
            ``link``, or ``memory`` (an empty file system).
        source: Where it lies here; of a link, what it leads to.
        target: Where the job sees it.
    """

    what: str
    source: str
    target: str


@attrs.frozen(kw_only=True)
class Sandbox:
    """How a command is executed as on a worker.

    Attributes:
        way: One of `WAYS`.
        folder: The job's working folder, as the job names it.
        around: Words before those of the command.
        outer: So many processes are around the command's first one.
        mounts: What a worker has. By the way ``none`` the command sees everything else, too.
        not_checked: What a rehearsal by this way does not show, one sentence each.
    """

    way: str
    folder: str
    around: tuple[str, ...]
    outer: int = 0
    mounts: tuple[Mount, ...] = ()
    not_checked: tuple[str, ...] = ()

    def words(self, variables: Mapping[str, str], command: Sequence[str]) -> list[str]:
        """The command with these variables and no others."""
        clean = [f"{variable(name)}={quoted(value)}" for name, value in variables.items()]
        script = f'cd {quoted(self.folder)} && exec env -i {" ".join(clean)} "$@"'
        return [*self.around, "/bin/sh", "-c", script, "sh", *command]

    def shows(self, path: str) -> bool:
        """Whether a worker has what lies at `path` on this machine, at the same place."""
        seen = [mount for mount in self.mounts if path == mount.target or path.startswith(f"{mount.target}/")]
        if not seen:
            return False
        last = seen[-1]
        return last.what == "link" or (last.what in ("read", "write") and last.source == last.target)


def mounts_of_worker(
    top: Path, *, shared: bool, own: Sequence[Path] = (), seen: Sequence[Path] = ()
) -> tuple[Mount, ...]:
    """What a worker has.

    Args:
        top: A folder with ``scratch``, ``tmp`` and ``var-tmp``, which are to be the job's.
        shared: Workers see the file systems of this machine, but for what each has for itself.
        own: Folders that the job finds at the same path as here, and may write to.
        seen: Files and folders that it finds at the same path as here, and may read.
    """
    found = []
    for entry in sorted(Path("/").iterdir()):
        is_system = entry.name in _SYSTEM
        if entry.name in ("proc", "sys", "dev", "tmp") or not (shared or is_system):
            continue
        if entry.is_symlink():
            found.append(Mount("link", str(entry.readlink()), str(entry)))
        elif entry.is_dir():
            found.append(Mount("read" if is_system else "write", str(entry), str(entry)))
    there = {mount.target for mount in found}
    found += [Mount("folder", "", path) for path in _EMPTY if f"/{path.split('/')[1]}" not in there]
    names = Path("/etc/resolv.conf").resolve()  # often a link into /run
    if names.is_file() and not shared and not str(names).startswith(("/etc/", "/usr/")):
        found.append(Mount("read", str(names), str(names)))
    found += [
        Mount("read", "/sys", "/sys"),
        Mount("write", "/dev", "/dev"),
        Mount("memory", "", _MEMORY),
        Mount("write", str(top / "tmp"), _TMP),
        Mount("write", str(top / "var-tmp"), _VAR_TMP),
    ]
    if not shared:
        found.append(Mount("write", str(top / "scratch"), JOB_FOLDER))
    found += [Mount("read", str(path), str(path)) for path in seen]
    return (*found, *(Mount("write", str(path), str(path)) for path in own))


def find_sandbox(
    top: Path,
    *,
    folder: Path | None = None,
    own: Sequence[Path] = (),
    seen: Sequence[Path] = (),
    image: Path | None = None,
    ways: Sequence[str] = WAYS,
) -> Sandbox:
    """The first way that works here; in the end the one that hides nothing.

    Args:
        top, own, seen: As for `mounts_of_worker`.
        folder: The job's working folder, where its machine sees the file systems of this one; None: its
            files are sent.
        image: The job runs in this image (of Apptainer's), and not in this machine's own system.
        ways: Which are tried.
    """
    mounts = mounts_of_worker(top, shared=folder is not None, own=own, seen=seen)
    why_not = []
    for way in ways:
        if way == "none":
            continue
        found = _WAYS[way](top, mounts, JOB_FOLDER if folder is None else str(folder), image)
        reason = found if isinstance(found, str) else _why_it_fails(found)
        if isinstance(found, Sandbox) and reason is None:
            return found
        why_not.append(f"{way} ({reason})")
    tried = f"; tried: {', '.join(why_not)}" if why_not else ""
    return Sandbox(
        way="none",
        folder=str(folder or top / "scratch"),
        around=(),
        mounts=mounts,
        not_checked=(
            "your home, /tmp and all other files of this machine were visible to the command: whether it "
            f"opens something that is not on the worker was not checked{tried}. "
            "Apptainer or user namespaces (unshare) would hide them",
        ),
    )


def _why_it_fails(sandbox: Sandbox) -> str | None:
    try:
        tried = subprocess.run(
            sandbox.words({}, ["true"]),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TRIAL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if tried.returncode == 0:
        return None
    said = tried.stderr.decode("utf-8", "replace").strip().splitlines()
    return said[0] if said else f"exit code {tried.returncode}"


def _by_apptainer(top: Path, mounts: Sequence[Mount], folder: str, image: Path | None) -> Sandbox | str:
    """Apptainer runs this machine's system as if it were an image: a folder with a place for each mount."""
    program = shutil.which("apptainer") or shutil.which("singularity")
    if program is None:
        return "there is no Apptainer here"
    root = top / "root"
    if image is not None:
        mounts = [mount for mount in mounts if mount.what == "write" and mount.target != "/dev"]
    words = [program, "-s", "exec", "--containall", "--no-home", "--pwd", folder]
    if image is None:
        _make_places(root, mounts)
    else:  # the image has a /tmp of its own, and what lies below it must have a place
        _make_places(top / "places", mounts)
    for mount in mounts:
        if mount.what not in ("read", "write") or mount.target in ("/sys", "/dev"):
            continue
        if {":", ","} & {*mount.source, *mount.target}:
            return f"it takes no path with a colon or a comma, and there is {mount.source}"
        words += ["--bind", f"{mount.source}:{mount.target}" + (":ro" if mount.what == "read" else "")]
    if Path("/dev/fuse").exists():
        words += ["--bind", "/dev/fuse"]
    if Path("/dev/nvidiactl").exists():
        words.append("--nv")
    if Path("/dev/kfd").exists():
        words.append("--rocm")
    return Sandbox(way="apptainer", folder=folder, around=(*words, str(image or root)), mounts=tuple(mounts))


def _make_places(root: Path, mounts: Sequence[Mount]) -> None:
    """A folder with a place for each mount; those inside of another mount are made there."""
    for name in ("proc", "sys", "dev"):
        trust.make_folder(str(root / name))
    made: list[Mount] = []
    for mount in mounts:
        if mount.target == _MEMORY:
            continue
        around = [one for one in made if mount.target.startswith(f"{one.target}/")]
        place = root / mount.target[1:]
        if around and around[-1].what in ("read", "write"):
            place = Path(around[-1].source) / mount.target[len(around[-1].target) + 1 :]
            if place.exists():
                continue
        if mount.what == "link":
            place.unlink(missing_ok=True)
            place.symlink_to(mount.source)
            continue
        if mount.what in ("read", "write") and Path(mount.source).is_file():
            trust.make_folder(str(place.parent))
            place.touch()
        else:
            place.mkdir(parents=True, exist_ok=True)
        made.append(mount)


def _by_namespaces(top: Path, mounts: Sequence[Mount], folder: str, image: Path | None) -> Sandbox | str:
    if image is not None:
        return "an image is run by Apptainer"
    for program in ("unshare", "mount", "pivot_root"):
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            return f"there is no program {program} here"
    if any({"\t", "\n"} & {*mount.source, *mount.target} for mount in mounts):
        return "a path has a tab or a line break"
    root, listed = top / "root", top / "mounts"
    trust.make_folder(str(root))
    lines = (f"{mount.what}\t{mount.source or '-'}\t{mount.target}\n" for mount in mounts)
    trust.write_whole(str(listed), "".join(lines).encode())
    uid, gid = os.geteuid(), os.getegid()
    user = [] if uid == 0 else ["--user", "--map-root-user"]
    script = str(Path(__file__).with_name("sandbox.sh"))

    def sandbox(pid: Sequence[str], proc: str, not_checked: tuple[str, ...] = ()) -> Sandbox:
        words = ["unshare", *user, "--mount", *pid, "--", "/bin/sh", script, str(root), str(listed), proc]
        return Sandbox(
            way="namespaces",
            outer=2 if pid else 1,
            folder=folder,
            around=(*words, str(uid), str(gid)),
            mounts=tuple(mounts),
            not_checked=not_checked,
        )

    # A container often forbids /proc of a new PID namespace.
    best = sandbox(["--pid", "--fork", "--kill-child"], "new")
    if _why_it_fails(best) is None:
        return best
    return sandbox([], "old", ("processes of this machine are visible to the command",))


_WAYS: dict[str, Callable[[Path, Sequence[Mount], str, Path | None], Sandbox | str]] = {
    "apptainer": _by_apptainer,
    "namespaces": _by_namespaces,
}
