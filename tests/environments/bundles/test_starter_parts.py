"""The starter's parts, one by one, in each shell that machines have as sh.

What they do together is in test_starter and its neighbours.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from _waiting import PATIENCE
from wingspan.environments.bundles.remote import remote_file, remote_program

#: dash is sh on Debian, bash on Fedora and its like, busybox on small machines.
SHELLS = {
    name: words
    for name, words in {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}.items()
    if shutil.which(words[0])
}
PARTS = sorted(path.stem for path in remote_file("starter").glob("*.sh"))
#: The starter's own exit codes.
DAMAGED, NO_WAY, NO_ROOM = 121, 122, 123
Call = Callable[..., subprocess.CompletedProcess[str]]


def _frame() -> str:
    """The lines of the starter before its parts: every variable has a value."""
    text = remote_file("starter.sh").read_text()
    return text[: text.index("# @include")]


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    """The name of the shell that executes the part."""
    return str(request.param)


@pytest.fixture
def call(shell: str, tmp_path: Path) -> Call:
    """Execute shell after some of the parts, in a folder of its own; the arguments are the shell's."""

    def execute(
        parts: str, body: str, *arguments: str, variables: Mapping[str, str] = {}, path: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        if path is not None and shell == "busybox":
            pytest.skip("busybox has its programs whatever PATH says")
        script = tmp_path / "script.sh"
        texts = [remote_file(f"starter/{part}.sh").read_text() for part in parts.split()]
        frame = (
            _frame() if path is None else re.sub(r'^PATH="[^"]*"$', f"PATH='{path}'", _frame(), flags=re.M)
        )
        script.write_text("\n".join([frame, *texts, body]) + "\n")
        folder = tmp_path / "here"
        folder.mkdir(exist_ok=True)
        return subprocess.run(
            [shutil.which(SHELLS[shell][0]), *SHELLS[shell][1:], str(script), *arguments],  # type: ignore[list-item]
            cwd=folder,
            env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "HOME": str(tmp_path), **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    return execute


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., str]:
    """A PATH with these programs only."""

    def make(*programs: str) -> str:
        folder = tmp_path / "few"
        folder.mkdir()
        for name in programs:
            (folder / name).symlink_to(str(shutil.which(name)))
        return str(folder)

    return make


def test_each_part_has_a_test_of_its_own() -> None:
    """A new part of the starter is tested here by itself: some test has its name."""
    tested = [name for name in globals() if name.startswith("test_")]
    assert [part for part in PARTS if not any(name.startswith(f"test_{part}_") for name in tested)] == []


def test_the_frame_has_every_part() -> None:
    """What is sent contains each part once, without its comments."""
    included = re.findall(r"^# @include starter/(\S+)\.sh$", remote_file("starter.sh").read_text(), re.M)
    assert sorted(included) == PARTS
    functions = re.findall(r"^(ws_\w+)\(\)", remote_program("starter.sh").decode(), re.M)
    assert len(functions) == len(set(functions)) > 50


def test_only_comments_are_left_out() -> None:
    """Without lines that begin with # both forms of the starter are the same program."""

    def code(program: bytes) -> list[str]:
        return [line for line in program.decode().splitlines() if not re.match(r"\s*# ", line)]

    assert code(remote_program("starter.sh")) == code(remote_program("starter.sh", comments=True))
    assert len(remote_program("starter.sh")) < len(remote_program("starter.sh", comments=True))


def test_all_names_are_prefixed() -> None:
    """Every variable and function of the starter begins with ws_: a user's variable of any other name
    reaches the command.
    """
    program = remote_program("starter.sh", comments=True).decode()
    in_python = remote_file("layers.py").read_text()
    assert in_python in program
    program = program.replace(in_python, "")
    code = re.sub(r"(^|\s)#.*|'[^'\n]*'", "", program, flags=re.M)
    code = code.replace(program[program.index("python3 -c '") : program.index("print(d.hexdigest())")], "")
    assigned = set(re.findall(r"(?:^|[\s;({])([A-Za-z_]\w*)=", code, re.M))
    assigned |= set(re.findall(r"\bfor (\w+)(?: in|;)", code))
    assigned |= {
        name for names in re.findall(r"\bread -r((?: [A-Za-z_]\w*)+)", code) for name in names.split()
    }
    functions = set(re.findall(r"^(\w+)\(\)", code, re.M))
    # PATH is made longer on purpose; what a program gets as an option is no variable; WINGSPAN_PREFIX is
    # unset before the command
    others = {"PATH", "WINGSPAN_PREFIX", "mode", "label", "seccomp", "HOME", "XDG_RUNTIME_DIR"}
    others |= {"if", "bs", "iflag", "skip", "count"}  # of dd
    assert {name for name in assigned | functions if not name.startswith(("ws_", "_wingspan"))} <= others


# ---- deltas


@pytest.mark.parametrize("count_bytes", [True, False])
def test_delta_takes_pieces_of_files(count_bytes: bool, call: Call, tmp_path: Path) -> None:
    """A piece is cut out of a file byte by byte, also where dd counts in blocks only."""
    (tmp_path / "file").write_bytes(b"0123456789")
    body = "" if count_bytes else "dd() { return 1; }\n"
    done = call("delta", body + 'ws_piece "$1" 3 5; ws_piece "$1" 0 1', str(tmp_path / "file"))
    assert done.stdout == "345670"


# ---- messages and options


def test_messages_go_to_standard_error(call: Call) -> None:
    """What is said begins with the starter's name, is silent with --quiet, and an error has its exit code
    after all is cleared away.
    """
    done = call(
        "messages clearing",
        "ws_say a b\nws_quiet=1\nws_say c\nws_clear='echo cleared >&9'\n(ws_die 121 'd e') 9>&1",
    )
    assert (done.returncode, done.stdout) == (DAMAGED, "cleared\n")
    assert done.stderr == "wingspan-start: a b\nwingspan-start: d e\n"


@pytest.mark.parametrize("text", ["", "a b", "it's", "'", "a'\"$x`y`\\", "-n", "é*?[", "two\nlines"])
def test_messages_quote_words(call: Call, text: str) -> None:
    """A word that is put into a line of shell arrives as it was."""
    done = call("messages", 'eval "printf %s $(ws_quoted "$1")"', text)
    assert done.stdout == text


def test_options_are_read(call: Call) -> None:
    """Each option has its variable, relative paths become absolute, and what follows -- is the command."""
    body = 'printf "%s|" "$ws_bundle" "$ws_sha256" "$ws_kind" "$ws_prefix" "$ws_helper" "$ws_quiet" "$ws_method" "$@"'
    options = "--bundle b.sif --sha256 ab --quiet --kind sif --prefix /p --helper /h --method unpack -- echo --kind x"
    done = call("messages options", body, *options.split())
    bundle, *rest = done.stdout.split("|")
    assert bundle.endswith("/here/b.sif")
    assert rest == ["ab", "sif", "/p", "/h", "1", "unpack", "echo", "--kind", "x", ""]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--nothing x -- true", "unknown option --nothing"),
        ("--bundle", "option --bundle needs a value"),
        ("--bundle b --", "no command was given"),
        ("", "no command was given"),
    ],
)
def test_options_that_make_no_sense_are_refused(call: Call, options: str, told: str) -> None:
    """An option that nobody knows, one without a value, and no command are errors."""
    done = call("messages clearing options", "echo went on", *options.split())
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"wingspan-start: {told}\n")


# ---- the check


def test_digest_of_a_file(call: Call, tmp_path: Path) -> None:
    """The digest is the file's SHA-256."""
    (tmp_path / "file").write_bytes(b"content")
    done = call("messages digest", 'ws_digest_of "$1"', str(tmp_path / "file"))
    assert done.stdout.strip() == hashlib.sha256(b"content").hexdigest()


def _check(call: Call, path: Path, digest: str, notes: Path) -> subprocess.CompletedProcess[str]:
    body = 'ws_bundle=$1 ws_sha256=$2\nws_check_digest\nprintf "%s" "$ws_bundle"'
    return call(
        "messages clearing digest", body, str(path), digest, variables={"WINGSPAN_NODE_CACHE": str(notes)}
    )


def test_digest_is_checked_and_remembered(call: Call, shell: str, tmp_path: Path) -> None:
    """A file with another digest is refused; one that was checked is known by its times, in a folder that
    only its owner can write.
    """
    path, notes = tmp_path / "bundle", tmp_path / "notes"
    tmp_path.chmod(0o700)
    path.write_bytes(b"content")
    path.chmod(0o644)
    notes.mkdir()
    wrong = _check(call, path, "0" * 64, notes)
    assert wrong.returncode == DAMAGED
    assert "nothing in it was run" in wrong.stderr
    digest = hashlib.sha256(b"content").hexdigest()
    assert _check(call, path, digest, notes).stdout == str(path)
    (folder,) = notes.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    # busybox tells times in whole seconds only: what has just been written could be written once more within
    # one
    assert (folder / digest).exists() is (shell != "busybox")
    path.write_bytes(b"changed")
    assert _check(call, path, digest, notes).returncode == DAMAGED


def test_digest_of_a_file_that_others_can_change(call: Call, tmp_path: Path) -> None:
    """Of a file that others may write, a copy is made, checked and used."""
    path = tmp_path / "bundle"
    path.write_bytes(b"content")
    path.chmod(0o666)
    done = _check(call, path, hashlib.sha256(b"content").hexdigest(), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout != str(path)
    assert done.stdout.endswith("/bundle")
    assert "/.wingspan-" in done.stdout


# ---- the command


def _environment(folder: Path, script: str = "export FROM_SCRIPT=yes\n") -> Path:
    (folder / ".wingspan").mkdir(parents=True)
    (folder / ".wingspan/activate.sh").write_text(script)
    return folder


def test_command_starts_activated(call: Call, tmp_path: Path) -> None:
    """The activation script is read, then the command takes the shell's place, with its arguments and
    exit code.
    """
    prefix = _environment(tmp_path / "environment")
    body = 'ws_prefix=$1\nshift\nws_launch "$@"'
    show = 'echo "$FROM_SCRIPT ${WINGSPAN_PREFIX-unset} $1"; exit 3'
    done = call("messages clearing command", body, str(prefix), "sh", "-c", show, "sh", "a b")
    assert (done.returncode, done.stdout) == (3, "yes unset a b\n"), done.stderr


def test_command_without_an_environment(call: Call, tmp_path: Path) -> None:
    """A folder that has no activation script is no environment."""
    done = call("messages clearing command", "ws_prefix=$1\nws_launch true", str(tmp_path))
    assert done.returncode == DAMAGED
    assert "holds no environment" in done.stderr


def test_command_after_scripts_of_packages(call: Call, tmp_path: Path) -> None:
    """Packages' scripts run in bash, see no arguments, and cannot take the command away."""
    script = 'set -u; . "$CONDA_PREFIX"/etc/conda/activate.d/x.sh\n'
    prefix = _environment(tmp_path / "environment", f"CONDA_PREFIX={tmp_path}/environment\n{script}")
    (prefix / "etc/conda/activate.d").mkdir(parents=True)
    (prefix / "etc/conda/activate.d/x.sh").write_text('export SEEN="$#"; cd /\n')
    body = 'ws_prefix=$1\nshift\nws_launch "$@"'
    done = call("messages clearing command", body, str(prefix), "sh", "-c", 'echo "$SEEN $PWD $1"', "sh", "x")
    assert done.stdout == f"0 {tmp_path}/here x\n", done.stderr


# ---- clearing away


def test_clearing_removes_folders_that_nobody_may_write(call: Call, tmp_path: Path) -> None:
    """A folder goes with all that is in it, whatever its rights."""
    inner = tmp_path / "work/a/b"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    inner.chmod(0o500)
    call("messages clearing", 'ws_remove_work "$1"', str(tmp_path / "work"))
    assert not (tmp_path / "work").exists()


def test_clearing_makes_a_folder_where_programs_run(call: Call, tmp_path: Path) -> None:
    """The working folder is made in the first place that is given, has its owner's name in it, and goes
    with the shell's end by a signal.
    """
    body = 'ws_new_work\necho "$ws_work"; cat "$ws_work/.owner"; echo $$\nkill -TERM $$'
    done = call("messages clearing", body)
    work, owner, number = done.stdout.splitlines()
    assert done.returncode == -signal.SIGTERM
    assert Path(work).parent == tmp_path
    assert not Path(work).exists()
    assert owner.split()[0] == number


def test_clearing_sweeps_what_nobody_owns(call: Call, tmp_path: Path) -> None:
    """Folders of processes that have ended go; those of live processes, of others and of nobody known
    stay.
    """
    ended = subprocess.Popen(["true"])
    ended.wait()
    space = f"{Path('/proc/self/ns/pid').readlink()} {Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"
    owners = {
        "ended": f"{ended.pid} {space}",
        "live": f"{os.getpid()} {space}",
        "elsewhere": f"{ended.pid} pid:[1] x",
    }
    for name, owner in owners.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / ".owner").write_text(f"{owner}\n")
    (tmp_path / "unknown").mkdir()
    call(
        "messages clearing",
        'ws_name_owner\nws_sweep "$@"',
        *(str(tmp_path / name) for name in [*owners, "unknown"]),
    )
    assert [name for name in [*owners, "unknown"] if (tmp_path / name).exists()] == [
        "live",
        "elsewhere",
        "unknown",
    ]


# ---- waiting


def _wait(call: Call, tmp_path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    body = 'ws_name_owner; ws_work=$(mktemp -d); printf "%s\\n" "$ws_owner" >"$ws_work/.owner"; ws_line="exec env"\nws_stage_wait "$@"'
    return call("messages clearing waiting", body, *command)


@pytest.mark.parametrize("code", [0, 1, 7, 121, 126, 127, 143, 200, 255])
def test_waiting_hands_on_the_exit_code(call: Call, tmp_path: Path, code: int) -> None:
    """The command's exit code is the starter's, and its folder is cleared away; 143 is told as the signal
    that it means.
    """
    before = set(tmp_path.iterdir())
    done = _wait(call, tmp_path, "sh", "-c", f"exit {code}")
    assert done.returncode == (-signal.SIGTERM if code == 143 else code)
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {"here", "script.sh"}


@pytest.mark.parametrize("name", ["TERM", "USR1", "HUP"])
def test_waiting_passes_signals_on(call: Call, tmp_path: Path, name: str) -> None:
    """A signal to the starter reaches the command, which may answer it as it likes."""
    number = signal.Signals[f"SIG{name}"]
    # No shell can trap what is ignored when it starts, as SIGHUP is under nohup.
    before = signal.signal(number, signal.SIG_DFL)
    try:
        check_that_signals_pass(call, tmp_path, name)
    finally:
        signal.signal(number, before)


def check_that_signals_pass(call: Call, tmp_path: Path, name: str) -> None:
    # The command sends it to the starter, which is its parent, once it has said what it does on it.
    command = f"trap 'exit 9' {name}; kill -{name} $PPID; while :; do sleep 0.05; done"
    assert _wait(call, tmp_path, "sh", "-c", command).returncode == 9


def test_waiting_ends_by_the_signal_that_ended_the_command(call: Call, tmp_path: Path) -> None:
    """Where a signal ends the command, the starter ends by it, too."""
    assert _wait(call, tmp_path, "sh", "-c", "kill -KILL $$").returncode == -signal.SIGKILL


# ---- mounting


def test_mounting_takes_programs_from_the_helper(
    call: Call, tmp_path: Path, small: Callable[..., str]
) -> None:
    """A program that the machine lacks is taken from the helper, but not from one with another digest."""
    helper = tmp_path / "helper.tar.gz"
    with tarfile.open(helper, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("./squashfuse_ll"))
    body = 'ws_work=$1 ws_helper=$2 ws_helper_sha256=$3\nws_find_tool squashfuse_ll && echo "$ws_tool"'
    path = small("mkdir", "cat", "tar", "gzip", "rm", "sha256sum", "cut")
    for digest, code in ((hashlib.sha256(helper.read_bytes()).hexdigest(), 0), ("0" * 64, 1)):
        work = tmp_path / f"work-{code}"
        done = call("messages digest mounting", body, str(work), str(helper), digest, path=path)
        assert done.returncode == code, done.stderr
        assert (work / "helper/squashfuse_ll").exists() is (code == 0)
    assert call("mounting messages", "ws_find_tool sh; echo $ws_tool").stdout == "sh\n"


def test_stages_start_the_starter_anew(call: Call, tmp_path: Path) -> None:
    """All that is known goes along to the next stage, then the command."""
    again = tmp_path / "again.sh"
    again.write_text('printf "%s\\n" "$@"\n')
    body = f"ws_self={again} ws_bundle='/a b' ws_sent=/c ws_sha256=ab ws_quiet=1\nws_anew /bin/sh wait how --line 'x y' -- cmd 'a b'"
    words = call("stages", body).stdout.splitlines()
    known = ["--stage", "wait", "--method", "how", "--bundle", "/a b", "--sent", "/c", "--sha256", "ab"]
    assert words[: len(known)] == known
    assert words[-6:] == ["--quiet", "--line", "x y", "--", "cmd", "a b"]


# ---- the ways


def test_setuid_gives_variables_back(call: Call, tmp_path: Path) -> None:
    """Of the two forms of squashfs-mount the one that works is taken; the command gets what the system takes
    from a setuid program, and a folder with a copy of the image goes.
    """
    program = tmp_path / "squashfs-mount"  # a fake: test_setuid has the real one
    program.write_text(
        '#!/bin/sh\n[ "$1" = "--sqfs=/an image:/tmp" ] || exit 1\nshift 2\nunset TMPDIR\nexec "$@"\n'
    )
    program.chmod(0o755)
    (tmp_path / "self.sh").write_text('echo "$* $TMPDIR"\n')
    (tmp_path / "work").mkdir()
    body = (
        f"PATH={tmp_path}:$PATH ws_bundle='/an image' ws_prefix=/tmp ws_work={tmp_path}/work ws_self={tmp_path}/self.sh\n"
        "ws_try_setuid squashfs one 'two words'"
    )
    done = call("messages clearing engines squashfs setuid", body, variables={"TMPDIR": "/a b"})
    assert done.stdout == "--stage run --prefix /tmp -- one two words /a b\n", done.stderr
    assert "squashfs: mounted by squashfs-mount" in done.stderr
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("prefix", "bundle", "told"),
    [
        ("/nowhere", "/b", "mounts on /nowhere"),
        ("/tmp", "/a:b", "a colon or a comma"),
        ("/tmp", "/b", "refused"),
    ],
)
def test_setuid_tells_why_not(call: Call, tmp_path: Path, prefix: str, bundle: str, told: str) -> None:
    """Without the folder, with an odd path, or refused, the way is given up with its reason."""
    program = tmp_path / "squashfs-mount"
    program.write_text("#!/bin/sh\necho refused >&2\nexit 1\n")
    program.chmod(0o755)
    body = f'PATH={tmp_path}:$PATH ws_bundle={bundle} ws_prefix={prefix}\nws_try_setuid squashfs true\necho "$ws_reason"'
    done = call("messages clearing engines squashfs setuid", body)
    assert told in done.stdout


def test_squashfs_tells_why_there_is_no_way(call: Call, small: Callable[..., str]) -> None:
    """Where nothing works, the error has a reason for each way that was tried."""
    body = "ws_bundle=/b\nws_start_squashfs true"
    parts = "messages clearing stages mounting setuid squashfs unpacking"
    done = call(parts, body, path=small("id", "mktemp", "chmod", "rm", "readlink", "grep", "uname"))
    assert done.returncode == NO_WAY
    for reason in (
        "not fuse (no user namespaces)",
        "not apptainer (no Apptainer)",
        "not unpack (no unsquashfs, and no helper with it)",
    ):
        assert reason in done.stderr


@pytest.mark.parametrize(
    ("path", "odd"), [("/a/b-c.d", False), ("/a b", True), ("/it's", True), ("/$x", True), ("/a\\b", True)]
)
def test_unpacking_knows_odd_paths(call: Call, path: str, odd: bool) -> None:
    """What breaks in packages' scripts is odd."""
    assert call("unpacking", 'ws_is_odd "$1"', path).returncode == (0 if odd else 1)


def test_unpacking_needs_room(call: Call, tmp_path: Path) -> None:
    """Before anything is unpacked there must be room for it."""
    body = f"ws_work={tmp_path} ws_installed=$1\nws_check_room\necho fits"
    assert call("messages clearing unpacking", body, "1000").stdout == "fits\n"
    (tmp_path / "here").rmdir()
    body = f"mkdir {tmp_path}/w; ws_work={tmp_path}/w ws_installed=$1\nws_check_room"
    done = call("messages clearing unpacking", body, str(10**15))
    assert done.returncode == NO_ROOM
    assert "ask for more disk" in done.stderr


def test_unpacking_makes_short_paths(call: Call, tmp_path: Path) -> None:
    """The short path leads to the folder, and is cleared away with it."""
    body = 'ws_shorten "$1" && echo "$ws_short" && readlink "$ws_short" && ws_clear_away'
    short, target = call("messages clearing unpacking", body, str(tmp_path)).stdout.split()
    assert target == str(tmp_path)
    assert len(short) < 20
    assert not os.path.lexists(short)


# ---- images


def test_containers_see_the_folders_of_the_job(call: Call, tmp_path: Path, public_folder: Path) -> None:
    """The job's folders and those that the command names are seen, each once; the image's own are not
    taken away.
    """
    data = public_folder / "data"  # not below /dev, where the test's own folder may be
    data.mkdir(exist_ok=True)
    body = 'ws_add_folders; ws_bundle=$1; shift; ws_add_named_folders "$@"; printf "%s\\n" "$ws_folders"'
    bundle = str(tmp_path / "here/b")
    names = [str(data / "x"), "/usr/bin/env", "relative", "/etc/passwd", str(data)]
    done = call("containers", body, bundle, *names, variables={"TMPDIR": ""})
    assert done.stdout.split() == ["/nowhere", str(tmp_path / "here"), str(data)]


def _archive(path: Path, layers: Sequence[bytes]) -> Path:
    members = {f"blobs/{number}": layer for number, layer in enumerate(layers)}
    members["manifest.json"] = json.dumps([{"Layers": list(members)}], separators=(",", ":")).encode()
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def _layer(name: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.mode = 0o4777
        tar.addfile(member, io.BytesIO())
    return packed.getvalue()


def test_layers_become_a_folder(call: Call, tmp_path: Path) -> None:
    """All layers are unpacked into one folder, in which root has no rights of files but its own."""
    bundle = _archive(tmp_path / "b.tar", [_layer("one"), _layer("two")])
    body = f'ws_bundle={bundle}\nws_unpack_layers && stat -c %a "$ws_work/root/one" "$ws_work/root/two"; ws_clear_away'
    done = call("messages clearing unpacking layers", body)
    assert done.stdout.split() == (["755"] * 2 if os.geteuid() == 0 else done.stdout.split()[:2]), done.stderr
    assert len(done.stdout.split()) == 2


def test_layers_that_are_cut_are_damage(call: Call, tmp_path: Path) -> None:
    """A layer that cannot be read is the bundle's damage, not a want of room."""
    bundle = _archive(tmp_path / "b.tar", [_layer("one")[:-20]])
    done = call("messages clearing unpacking layers", f"ws_bundle={bundle}\nws_unpack_layers")
    assert done.returncode == DAMAGED
    assert "a layer of it cannot be read" in done.stderr


def test_engines_are_remembered(call: Call, tmp_path: Path) -> None:
    """What worked is known the next time, unless it has failed meanwhile."""
    body = "ws_recall x || { ws_remember works; ws_recall x && echo known; ws_forgotten=1; ws_recall x || echo doubted; }"
    done = call("messages digest engines", body, variables={"WINGSPAN_NODE_CACHE": str(tmp_path)})
    assert done.stdout == "known\ndoubted\n", done.stderr


def test_engines_that_fail_tell_why(call: Call) -> None:
    """The last line of what an engine says is the reason."""
    body = 'ws_line="sh -c \'echo one; echo two >&2; false\'"\nws_works Engine || echo "$ws_reason"'
    assert call("engines", body).stdout == "Engine: two\n"


@pytest.mark.parametrize("engine", ["apptainer", "podman", "docker"])
def test_oci_engines_that_are_not_there(call: Call, engine: str, small: Callable[..., str]) -> None:
    """An engine that the machine lacks is passed over, with that as the reason."""
    body = f'ws_try_oci_{engine} oci true; echo "$ws_reason"'
    done = call(f"messages clearing digest containers engines oci_{engine}", body, path=small("id"))
    assert done.stdout.lower().startswith(f"no {engine}"), done.stderr


test_oci_apptainer_that_is_not_there = test_oci_podman_that_is_not_there = (
    test_oci_docker_that_is_not_there
) = test_oci_engines_that_are_not_there


def test_oci_words_hand_variables_on(call: Call) -> None:
    """A container gets the job's variables by name and HOME by value, not those that are the machine's."""
    done = call(
        "messages containers oci_words",
        'ws_add_common_words; printf "%s\\n" "$ws_line"',
        variables={"OWN_WORD": "a b", "LD_PRELOAD": "", "XDG_RUNTIME_DIR": "/x"},
    )
    assert "--env OWN_WORD" in done.stdout
    assert "--env HOME='" in done.stdout
    assert not re.search(r"--env (PATH|LD_PRELOAD|XDG_RUNTIME_DIR|HOME |ws_)", done.stdout)


def test_oci_tells_why_there_is_no_way(call: Call, tmp_path: Path, small: Callable[..., str]) -> None:
    """Where no engine is and nothing can be unpacked, the error has a reason for each."""
    parts = "messages clearing digest unpacking containers layers engines oci_words oci_apptainer oci_podman oci_docker oci"
    path = small("id", "mktemp", "chmod", "rm", "readlink")
    done = call(parts, "ws_bundle=/b\nws_start_oci true", path=path)
    assert done.returncode == NO_WAY
    for reason in (
        "not apptainer (no Apptainer)",
        "not podman (no podman)",
        "not docker (no Docker)",
        "not unpack (no tar or gzip",
    ):
        assert reason in done.stderr


def test_script_that_fails_has_its_reason(call: Call, tmp_path: Path) -> None:
    """The exit code of a pack that cannot be unpacked is the starter's, its last line the reason; another
    code is no way.
    """
    bundle = tmp_path / "pack.sh"
    for code, expected in ((DAMAGED, DAMAGED), (NO_ROOM, NO_ROOM), (5, NO_WAY)):
        bundle.write_text(f"echo first; echo 'the reason' >&2; exit {code}\n")
        done = call(
            "messages clearing unpacking script", f"ws_bundle={bundle} ws_kind=pack\nws_start_script true"
        )
        assert done.returncode == expected
        assert "the reason" in done.stderr.splitlines()[-1]
