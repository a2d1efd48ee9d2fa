# Puts thin layers on top of the environment that it runs in, and becomes the command:
# python -I -S -c THIS [FILE SHA256]... -- COMMAND. Any Python 3.6 and later; no apostrophe may stand in it.
import hashlib
import os
import shutil
import signal
import sys
import tarfile
import tempfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, NoReturn, Tuple

BEGINS = ".wingspan_code-"


def fail(code: "int", text: "str") -> "NoReturn":
    sys.stderr.write("wingspan-start: %s\n" % text)
    sys.exit(code)


def owner(pid: "int") -> "str":
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return "%d %s %s" % (pid, os.readlink("/proc/self/ns/pid"), file.read().strip())
    except OSError:
        return ""


def is_alive(pid: "int") -> "bool":
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def sweep(base: "str") -> "None":
    # folders of jobs of this user that had no time to remove them
    for name in os.listdir(base):
        path = os.path.join(base, name)
        try:
            if not name.startswith(BEGINS) or os.path.islink(path) or os.lstat(path).st_uid != os.getuid():
                continue
            with open(os.path.join(path, ".owner")) as file:
                said = file.read()
            pid = int(said.split()[0])
            if said and said == owner(pid) and not is_alive(pid):
                shutil.rmtree(path, ignore_errors=True)
        except (OSError, ValueError, IndexError):
            pass


def new_folder() -> "Tuple[str, bool]":
    scratch = os.environ.get("_CONDOR_SCRATCH_DIR")
    for base in (
        scratch,
        os.environ.get("SLURM_TMPDIR"),
        os.environ.get("TMPDIR"),
        "/tmp",
        os.getcwd(),
        "/var/tmp",
    ):
        if not base:
            continue
        try:
            folder = tempfile.mkdtemp(prefix=BEGINS, dir=base)
            if base != scratch:  # HTCondor removes its scratch folder
                with open(os.path.join(folder, ".owner"), "w") as file:
                    file.write(owner(os.getpid()))
                sweep(base)
            return folder, base != scratch
        except OSError:
            pass
    return fail(
        123, "no folder can be made for the code of the workspace, in the scratch folder, in /tmp, or here"
    )


def clear_away_after(pid: "int", folder: "str") -> "None":
    # no child of the command: the command may wait for all its children
    if os.fork():
        os.wait()
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.closerange(3, 256)
    os.chdir("/")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # a shell takes less memory while it waits; nothing in it is split or expanded
    wait = "set -f; IFS=; while kill -0 $1 2>/dev/null; do sleep 1; done; rm -rf $2"
    os.execv("/bin/sh", ["/bin/sh", "-c", wait, "sh", str(pid), folder])


def unpack(path: "str", wanted: "str", folder: "str") -> "None":
    # what is checked is what is unpacked, whoever may change the file meanwhile
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        fail(121, "the code of the workspace cannot be read: %s" % error)
    found = hashlib.sha256(content).hexdigest()
    if found != wanted:
        fail(
            121,
            "%s is damaged or another file: its SHA-256 is %s, not %s; nothing in it was run"
            % (path, found, wanted),
        )
    import io

    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as tar:
        for member in tar:
            parts = member.name.split("/")
            if not member.isreg() or parts[0] not in ("site", "bin") or {"", ".", ".."}.intersection(parts):
                fail(
                    121,
                    "%s has %r in it, which is no file of a layer; nothing in it was run"
                    % (path, member.name),
                )
            target = os.path.join(folder, member.name)
            os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
            with open(target, "wb") as file:
                shutil.copyfileobj(tar.extractfile(member), file)  # type: ignore[arg-type] # a plain file
            os.chmod(target, 0o700 if member.mode & 0o100 else 0o600)


def main(words: "List[str]") -> "None":
    os.umask(os.umask(0) & 0o077)
    end = words.index("--")
    layers, command = words[:end], words[end + 1 :]
    folder, ours = new_folder()
    try:
        for number in range(0, len(layers), 2):
            unpack(layers[number], layers[number + 1], folder)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            fail(123, "the code of the workspace cannot be unpacked into %s: %s" % (folder, error))
        raise
    if ours:
        clear_away_after(os.getpid(), folder)
    for variable, below in (("PYTHONPATH", "site"), ("PATH", "bin")):
        place, before = os.path.join(folder, below), os.environ.get(variable)
        os.environ[variable] = place + (os.pathsep + before if before else "")
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write("wingspan-start: %s: %s\n" % (command[0], error.strerror))
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


main(sys.argv[1:])
