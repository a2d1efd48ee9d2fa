"""Rehearsed runs: the job is executed here as a worker would see it, by each way that hides this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import wingspan
from _engines import find_apptainer, place_for_containers
from _waiting import PATIENCE, until
from wingspan.pools.rehearsal import Rehearsal, RehearsalFailed, find_sandbox, rehearsal_folder
from wingspan.pools.rehearsal import sandbox as sandboxes
from wingspan.runs import InvalidRun, load_runs
from wingspan.runs._rehearse import rehearse
from wingspan.runs._request import RunRequest
from wingspan.settings import load_settings

#: What a job finds on a worker, said by the job itself.
LOOK = """
echo "input $(cat in/a.txt)"
echo "home $HOME, tmp $(ls -A /tmp | wc -l), homes $({ ls -A /home; ls -A /root; } | wc -l)"
echo "variables ${SECRET:-none} ${BATCH_SYSTEM:-}"
[ -e "$FILE" ] && echo "sees $FILE" || echo "sees nothing outside"
touch /usr/written /home/written 2>/dev/null || echo "writes nowhere else"
echo made >out.txt
"""


def _by(way: str, command: Sequence[str], **request: object) -> Rehearsal:
    if way == "apptainer" and find_apptainer() is None:
        pytest.skip("no Apptainer: python tools/engines/apptainer.py")
    done = rehearse(RunRequest(command=list(command), **request), pool="personal", ways=(way,))  # type: ignore[arg-type]
    assert done.way == way, done
    return done


@pytest.mark.parametrize("way", ["namespaces", pytest.param("apptainer", marks=pytest.mark.apptainer)])
def test_a_job_sees_what_a_worker_has(
    way: str, folders: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The named input is there; home, /tmp, variables and files of this machine are not. Nothing stays."""
    if way == "apptainer":
        request.getfixturevalue("apptainer_on_path")
    (folders / "in").mkdir()
    (folders / "in/a.txt").write_text("payload")
    (folders / "other.csv").write_text("1")
    monkeypatch.setenv("SECRET", "mine")
    variables = {"FILE": str(folders / "other.csv")}
    done = _by(way, ["sh", "-c", LOOK], inputs=["in/a.txt"], outputs=["out.txt"], variables=variables)
    assert done.stdout.splitlines() == [
        "input payload",
        "home /scratch, tmp 0, homes 0",
        "variables none HTCondor",
        "sees nothing outside",
        "writes nowhere else",
    ]
    assert (done.code, dict(done.outputs), done.missing) == (0, {"out.txt": 5}, ())
    assert done.check() is done
    assert load_runs() == []
    assert list((load_settings().data_dir / "rehearsals").iterdir()) == []


def test_what_was_forgotten_is_named(folders: Path, tmp_path: Path) -> None:
    """A command that does not find a file that is here fails as the job would, and is told how to send it:
    a relative path, an absolute one, a module, a file of one's home.
    """
    (folders / "data.csv").write_text("1")
    (folders / "sent.txt").write_text("1")
    (folders / "helper.py").write_text("")
    (tmp_path / "far.csv").write_text("1")
    script = f"cat data.csv; cat {tmp_path}/far.csv; python3 -c 'import helper'; cat absent.csv; cat sent.txt; cat wrong/sent.txt"
    done = _by("namespaces", ["sh", "-c", script], inputs=["sent.txt"])
    assert done.code == 1
    assert done.missed == (
        "data.csv is here and does not go along: --input data.csv sends it",
        f"{tmp_path}/far.csv is here and not on the worker: --input {tmp_path}/far.csv sends it, and the job finds it as far.csv",
        "the module helper.py is here and does not go along: --input helper.py sends it",
    )
    with pytest.raises(RehearsalFailed, match="exit code 1") as failed:
        done.check()
    assert "--input data.csv" in str(failed.value.hint)


@pytest.mark.parametrize(
    ("request_", "script", "ended", "codes"),
    [
        ({"memory": "60MB"}, "python3 -c 'x = b\"a\" * 200_000_000; input()' </dev/zero", "of memory and asks for 60MB", {137, 143}),
        ({"disk": "20MB"}, "head -c 40000000 /dev/zero >/tmp/full; sleep 600", "of disk and asks for 20MB", {137, 143}),
    ],
)  # fmt: skip
def test_limits_are_in_force(request_: dict[str, str], script: str, ended: str, codes: set[int]) -> None:
    """A job that takes more memory or disk than it asks for is ended, and told so."""
    done = _by("namespaces", ["sh", "-c", script], **request_)
    assert done.ended is not None
    assert ended in done.ended
    assert (done.code in codes, done.ok) == (True, False)
    assert f"ended: {done.ended}" in str(done)


def test_a_job_that_takes_too_long_is_told_to_end() -> None:
    """It gets SIGTERM when its time is over, and may still do something about it."""
    for seconds in (1.0, 8.0, 64.0):  # on a busy machine the shell may not have come to its trap
        script = "trap 'exit 7' TERM; sleep 600 & wait"
        done = _by("namespaces", ["sh", "-c", script], time=f"{seconds:.0f}s")
        assert "it ran for longer than the " in str(done.ended)
        if done.code != 143:
            break
    assert (done.code, done.ok) == (7, False)


def test_where_nothing_can_be_hidden(
    folders: Path, monkeypatch: pytest.MonkeyPatch, public_path: Path
) -> None:
    """Without Apptainer and without unshare the job is executed in a clean folder, and what that does not
    show is said.
    """
    for name in ("sh", "cat", "env", "mount"):
        (public_path / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    monkeypatch.setenv("PATH", str(public_path))
    (folders / "data.csv").write_text("here\n")
    done = rehearse(RunRequest(command=["cat", f"{folders}/data.csv"]), pool="local")
    assert (done.code, done.way, done.stdout) == (0, "none", "here\n")
    assert [one.partition(" is here and not on the worker")[0] for one in done.missed] == [
        f"{folders}/data.csv"
    ]
    told = next(one for one in done.not_checked if "visible to the command" in one)
    assert "apptainer (there is no Apptainer here), namespaces (there is no program unshare here)" in told


@pytest.fixture
def public_path(tmp_path: Path) -> Path:
    """An empty folder of programs."""
    folder = tmp_path / "programs"
    folder.mkdir()
    return folder


@pytest.fixture
def everybodys_folder() -> Iterator[Path]:
    """A folder that belongs to an ordinary user."""
    folder = Path(tempfile.mkdtemp(prefix="wingspan-rehearsal-", dir="/var/tmp"))
    for name in (".", "scratch", "tmp", "var-tmp"):
        (folder / name).mkdir(exist_ok=True)
        if os.geteuid() == 0:
            os.chown(folder / name, 65534, 65534)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
@pytest.mark.parametrize("way", ["namespaces", pytest.param("apptainer", marks=pytest.mark.apptainer)])
def test_an_ordinary_user_has_a_sandbox(
    way: str, everybodys_folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Somebody without any right gets the same by user namespaces: as himself, and / is not his."""
    if way == "apptainer":
        request.getfixturevalue("apptainer_on_path")
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 65534)
        patch.setattr(os, "getegid", lambda: 65534)
        patch.setattr(sandboxes, "_why_it_fails", lambda sandbox: None)  # it would be tried as root
        sandbox = find_sandbox(everybodys_folder, ways=(way,))
    assert sandbox.way == way, sandbox.not_checked
    for path in (
        [*everybodys_folder.rglob("*")]
        if way == "apptainer"
        else [everybodys_folder / "mounts", everybodys_folder / "root"]
    ):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    words = sandbox.words(
        {}, ["sh", "-c", "id -u; pwd; mkdir /mine || echo refused; touch /scratch/a && ls /home"]
    )
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        cwd="/",
        env={"PATH": os.environ["PATH"], "HOME": "/nowhere"},
    )
    assert done.stdout.split() == ["65534", "/scratch", "refused"], done.stderr
    assert (everybodys_folder / "scratch/a").exists()


def test_on_slurm_a_job_sees_the_shared_disk(folders: Path) -> None:
    """Where machines see the file systems of this one, so does the job, but for /tmp and the like."""
    (folders / "data.csv").write_text("1")  # in /tmp, as pytest has it
    shared = Path(tempfile.mkdtemp(prefix="rehearsal-", dir=place_for_containers()))
    try:
        (shared / "seen.csv").write_text("seen")
        script = f"cat {shared}/seen.csv >out.txt; cat {folders}/data.csv"
        done = rehearse(
            RunRequest(command=["sh", "-c", script], outputs=["out.txt"]), pool="slurm", ways=("namespaces",)
        )
    finally:
        shutil.rmtree(shared)
    assert (done.code, dict(done.outputs), done.shared) == (1, {"out.txt": 4}, True)
    assert "without your /tmp" in str(done)
    assert done.missed == (
        f"{folders}/data.csv is here and not on the worker: --input data.csv sends it, and the job finds it as data.csv",
    )


def test_a_checkpoint_is_gone_on_from() -> None:
    """A command that exits to be started again is, in its folder, as HTCondor does it."""
    script = "echo x >>state; [ $(wc -l <state) -ge 3 ] || exit 85; cp state out.txt"
    done = _by("namespaces", ["sh", "-c", script], checkpoint=["state"], outputs=["out.txt"])
    assert (done.code, dict(done.outputs)) == (0, {"out.txt": 6})


def test_a_row_of_a_sweep_by_the_command_line(
    wingspan_cli: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """--rehearse prints what the job prints and how it fared, ends with the job's exit code, and leaves no
    run; --row chooses among the jobs of a sweep.
    """
    options = [
        "--sweep",
        "x=4,5",
        "-o",
        "made.txt",
        "--",
        "sh",
        "-c",
        "echo row {x}; echo grumble >&2; touch mode.txt",
    ]
    done = wingspan_cli("run", "--rehearse", "--row", "1", "-p", "local", *options)
    assert done.returncode == 120, done.stderr
    assert done.stdout == "row 5\n"
    for part in (
        "grumble\n",
        "row 1 (x=5), rehearsed",
        "exit code 120",
        "output made.txt: missing",
        "mode.txt",
    ):
        assert part in done.stderr
    assert wingspan_cli("runs", "--json").stdout.strip() == "[]"
    refused = wingspan_cli("run", "--rehearse", "--row", "2", "-p", "local", *options)
    assert (refused.returncode, "the sweep has 2" in refused.stderr) == (2, True)
    assert "give both" in wingspan_cli("run", "--row", "1", "-p", "local", *options).stderr


@pytest.mark.parametrize(
    ("how", "told"), [(signal.SIGINT, "ended: you ended it after"), (signal.SIGKILL, "")]
)
def test_a_rehearsal_that_is_ended_ends_its_job(folders: Path, how: signal.Signals, told: str) -> None:
    """Ctrl-C ends the job, and what is known until then is told; when Wingspan itself is killed, the job
    ends, too.
    """
    mark = f"rehearsed-{os.getpid()}-{how}"
    words = ["run", "--rehearse", "-p", "local", "--", "sh", "-c", f"echo begun; sleep 600; echo {mark}"]
    with subprocess.Popen(
        [sys.executable, "-m", "wingspan", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(how)
        _, err = process.communicate(timeout=PATIENCE)
    assert told in err
    assert process.returncode != 0
    until(lambda: not _commands_with(mark), lambda: _commands_with(mark))


def _commands_with(mark: str) -> list[str]:
    """Command lines of processes that have this in them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().decode(errors="replace")
            if mark in line:
                found.append(line)
    return found


def test_python_gets_a_rehearsal() -> None:
    """wingspan.run(…, rehearse=True) answers how the job fared, and refuses a row that is not there."""
    done = wingspan.run(["sh", "-c", "exit 3"], rehearse=True, pool="local")
    assert (done.code, done.ok) == (3, False)
    with pytest.raises(InvalidRun, match="no row 1"):
        wingspan.run(["true"], rehearse=True, row=1, pool="local")


def test_what_a_killed_rehearsal_has_left_goes() -> None:
    """The next rehearsal removes the folder of one whose process is gone, and not that of one at work."""
    with rehearsal_folder() as at_work:
        left = at_work.with_name("left")
        (left / "closed").mkdir(parents=True)
        (left / "closed").chmod(0)
        left.with_name("left.lock").touch()
        with rehearsal_folder():
            assert (left.exists(), at_work.exists()) == (False, True)
