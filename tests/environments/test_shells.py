"""Shells in jobs of a real HTCondor pool, by a real sshd, in a terminal: interactive jobs, and shells
beside jobs that run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import wingspan
from _engines import find_sshd, place_for_containers, pool_with_sshd
from _slurm_cluster import SlurmCluster
from _terminal import PATIENCE, Terminal
from _waiting import until
from wingspan.pools.htcondor import PersonalHTCondorPool
from wingspan.pools.personal import PersonalPool
from wingspan.runs import Run, RunError, load_runs
from wingspan.runs._interactive import shell_in_job
from wingspan.runs._render import render

pytestmark = pytest.mark.htcondor

#: A prompt that no output looks like, for the shell that HTCondor finds on the machine.
_PROMPT = "PS1='my-''prompt: '"
INTERACTIVE = [sys.executable, "-m", "wingspan", "run", "--interactive", "-q"]
_PYTHON = "/opt/wingspan/environment/bin/python"


@pytest.fixture
def workspace(local_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The local workspace; the working folder."""
    folder = tmp_path / "workspace"
    shutil.copytree(local_workspace, folder)
    (folder / "src").mkdir()
    (folder / "src/in.txt").write_text("forty-two\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def site(
    shell_pool: PersonalPool, bundle_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """That pool, met as a site's: its jobs get everything by file transfer.

    Variables for processes; nothing is left in its queue.
    """
    yield _as_site(shell_pool, monkeypatch)
    _leave(shell_pool)


def _as_site(pool: PersonalPool, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("CONDOR_CONFIG", str(pool.config_file))
    environment = {**os.environ, **pool.environment(), "NO_COLOR": "1", "TERM": "dumb"}
    monkeypatch.setenv("PATH", environment["PATH"])
    return environment


def _leave(pool: PersonalPool) -> None:
    """Nothing is left in the pool's queue when the test has removed its runs, but for what is being
    removed.
    """
    for run in load_runs():
        run.remove(force=True)
    with pool.activate():

        def left() -> list[object]:
            return pool.schedd().query(projection=["ClusterId", "JobStatus", "HoldReason"])

        until(lambda: not left(), lambda: f"left in the queue: {left()}")


def _until_running(run: Run, number: int = 0) -> None:
    until(lambda: run.status().jobs[number].state == "running", run.status)


def _look_around(terminal: Terminal) -> None:
    terminal.send(_PROMPT)
    terminal.expect("my-prompt: ")
    terminal.send("command -v python; cat src/in.txt; echo $COLOUR; pwd; tty")
    terminal.expect(_PYTHON)
    terminal.expect("forty-two")
    terminal.expect("mauve")
    terminal.expect("/dir_[0-9]+/")  # a job's folder
    terminal.expect("/dev/pts/")
    terminal.expect("my-prompt: ")


def test_an_interactive_run(workspace: Path, site: dict[str, str]) -> None:
    """A shell of an interactive job, in the environment, with inputs and variables; the job can be done
    in it; its end is the job's.
    """
    command = [*INTERACTIVE, "-p", "htcondor", "-e", "default"]
    command += ["--input", "src/in.txt", "--set", "COLOUR=mauve", "-o", "out.txt"]
    command += ["--", "python", "-c", "import zmq; open('out.txt', 'w').write(zmq.__file__)"]
    with Terminal(command, cwd=workspace, environment=site) as terminal:
        terminal.expect("sh job.sh 0 ")
        _look_around(terminal)
        terminal.send("sh job.sh 0; cat outputs-0/out.txt")
        terminal.expect("/opt/wingspan/environment/.*/zmq/__init__.py")
        terminal.send("exit 5")
        assert terminal.end() == 5
    assert not list(workspace.glob("wingspan-shell-*"))


def test_the_shell_of_rendered_files(workspace: Path, site: dict[str, str], tmp_path: Path) -> None:
    """interact.sh opens the same shell in a process that knows nothing of Wingspan, for one job of a
    sweep.
    """
    render(
        "htcondor",
        tmp_path / "made",
        ["sh", "-c", "cat src/in.txt; echo lr is $lr"],
        environment="default",
        inputs=["src/in.txt"],
        variables={"COLOUR": "mauve"},
        sweep={"lr": ["1", "2"]},
    )
    with Terminal(["sh", "made/interact.sh"], cwd=tmp_path, environment=site) as terminal:
        _look_around(terminal)
        terminal.send("sh job.sh 0 1")
        terminal.expect("lr is 1")
        terminal.send("exit")
        assert terminal.end() == 0


def test_a_command_and_a_shell_beside_a_job(workspace: Path, site: dict[str, str]) -> None:
    """`wingspan ssh` enters a job that is running: its folder and its environment; the job goes on."""
    run = wingspan.run(
        ["sh", "-c", "touch begun; sleep 600"],
        name="long",
        environment="default",
        inputs=["src/in.txt"],
        variables={"COLOUR": "mauve"},
        pool="htcondor",
    )
    _until_running(run)
    words = [sys.executable, "-m", "wingspan", "ssh", "long"]
    command = [
        *words,
        "--",
        "python",
        "-c",
        "import zmq, sys; print(zmq.__file__, sys.argv[1:]); sys.exit(3)",
    ]
    done = subprocess.run(
        [*command, "a  b *", "it's"],
        cwd=workspace,
        env=site,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 3, done.stderr
    assert "/opt/wingspan/environment/" in done.stdout
    assert """['a  b *', "it's"]""" in done.stdout
    with Terminal(words, cwd=workspace, environment=site) as terminal:
        terminal.send(_PROMPT)
        terminal.expect("my-prompt: ")
        terminal.send("command -v python; ls")
        terminal.expect(_PYTHON)
        terminal.expect("begun")
        terminal.send("exit 4")
        assert terminal.end() == 4
    assert run.status().state == "running"


def test_a_job_that_is_not_running_has_no_shell(workspace: Path, site: dict[str, str]) -> None:
    """A job that has ended, and one that there is not, are told before anything is tried."""
    run = wingspan.run(["true"], name="short", pool="htcondor")
    run.wait(PATIENCE)
    with pytest.raises(RunError, match="job 0 of the run 'short' is completed, not running"):
        shell_in_job(run)
    with pytest.raises(RunError, match="no job 7"):
        shell_in_job(run, 7)


@pytest.fixture(scope="module")
def closed_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PersonalPool]:
    """A pool whose machine has no sshd."""
    settings = {"SSH_TO_JOB_SSHD": "/nonexistent/sshd"}
    pool = PersonalPool(tmp_path_factory.mktemp("closed") / "pool", cpus=2, settings=settings)
    try:
        pool.start()
        yield pool
    finally:
        pool.stop()


@pytest.fixture
def closed_site(
    closed_pool: PersonalPool, bundle_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """That pool, met as a site's; nothing is left in its queue."""
    yield _as_site(closed_pool, monkeypatch)
    _leave(closed_pool)


def test_a_machine_without_sshd(workspace: Path, closed_site: dict[str, str]) -> None:
    """Where a machine has no sshd, both commands say so and what is needed, and no job is left."""
    wingspan_cli = [sys.executable, "-m", "wingspan"]
    command = [*wingspan_cli, "run", "--interactive", "-q", "-p", "htcondor", "--", "true"]
    with Terminal(command, cwd=workspace, environment=closed_site) as terminal:
        assert terminal.end() == 1
    assert "Error: HTCondor started no shell: " in terminal.text
    assert "SSH_TO_JOB_SSHD=/nonexistent/sshd" in terminal.text
    assert "Hint: the pool's machines need an OpenSSH server" in terminal.text
    run = wingspan.run(["sleep", "600"], name="long", pool="htcondor")
    _until_running(run)
    with Terminal([*wingspan_cli, "ssh", "long"], cwd=workspace, environment=closed_site) as terminal:
        assert terminal.end() == 1
    assert "Error: HTCondor started no shell: " in terminal.text
    assert "SSH_TO_JOB_SSHD=/nonexistent/sshd" in terminal.text


def test_ctrl_c_while_no_machine_is_free(workspace: Path, site: dict[str, str]) -> None:
    """Who does not want to wait for a machine ends it with Ctrl-C; the job does not stay in the queue."""
    command = [*INTERACTIVE, "-p", "htcondor", "--cpus", "64"]
    with Terminal([*command, "--", "true"], cwd=workspace, environment=site) as terminal:
        terminal.expect("Waiting for job to start")
        terminal.type("\x03")
        assert terminal.end() == 130


def test_a_shell_on_this_machine(workspace: Path, bundle_cache: Path) -> None:
    """Where jobs are this machine's, so is the shell: at once, in a folder of its own, which goes with it."""
    command = [sys.executable, "-m", "wingspan", "run", "--interactive", "-q", "-p", "local", "-e", "default"]
    command += ["--input", "src/in.txt", "--set", "COLOUR=mauve"]
    environment = {**os.environ, "SHELL": "/bin/sh", "TERM": "dumb"}
    with Terminal(command, cwd=workspace, environment=environment) as terminal:
        terminal.send(_PROMPT)
        terminal.expect("my-prompt: ")
        terminal.send("command -v python; cat src/in.txt; echo $COLOUR; pwd; tty")
        terminal.expect(_PYTHON)
        terminal.expect("forty-two")
        terminal.expect("mauve")
        folder = terminal.expect("(/.*/wingspan-shell-[^/\r\n]+)[/\r\n]")[1]
        terminal.expect("/dev/pts/")
        terminal.send("sh job.sh 0 && cat outputs-0/.wingspan-outcome")
        terminal.expect("code=0")
        terminal.send("exit 6")
        assert terminal.end() == 6
    assert "sh job.sh 0  does what the job does" in terminal.text
    assert not Path(folder).exists()


def test_startup_files_do_not_hide_the_environment(
    workspace: Path, bundle_cache: Path, tmp_path: Path
) -> None:
    """A .bashrc that puts other programs first, as pyenv and conda have it: it is read, and the
    environment's python is found.
    """
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    (home / "bin/python").write_text("#!/bin/sh\n")
    (home / "bin/python").chmod(0o755)
    (home / ".bashrc").write_text('export PATH="$HOME/bin:$PATH" READ=it-was-read CONDA_PREFIX=/base\n')
    command = [sys.executable, "-m", "wingspan", "run", "--interactive", "-q", "-p", "local", "-e", "default"]
    environment = {**os.environ, "SHELL": shutil.which("bash") or "bash", "TERM": "dumb", "HOME": str(home)}
    environment["TMPDIR"] = str(tmp_path)
    with Terminal(command, cwd=workspace, environment=environment) as terminal:
        terminal.send(_PROMPT)
        terminal.expect("my-prompt: ")
        terminal.send('echo "at $(command -v python) in $CONDA_PREFIX $READ"')
        terminal.expect("at /opt/wingspan/environment/bin/python in /opt/wingspan/environment it-was-read")
        terminal.send("exit 6")
        assert terminal.end() == 6
    assert not list(tmp_path.glob("tmp.*"))


@pytest.fixture
def slurm(slurm_cluster: SlurmCluster, bundle_cache: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmCluster:
    """The cluster, on PATH."""
    for name, value in slurm_cluster.environment().items():
        monkeypatch.setenv(name, value)
    return slurm_cluster


@pytest.mark.slurm
def test_an_interactive_run_on_slurm(workspace: Path, slurm: SlurmCluster) -> None:
    """A shell on a node, by srun, in the environment, with inputs and variables, in a folder that goes
    with it.
    """
    command = [*INTERACTIVE, "-p", "slurm", "-e", "default"]
    command += ["--input", "src/in.txt", "--set", "COLOUR=mauve", "-o", "out.txt"]
    command += ["--", "python", "-c", "import zmq; open('out.txt', 'w').write(zmq.__file__)"]
    environment = {**os.environ, "SHELL": "/bin/sh", "TERM": "dumb"}
    with Terminal(command, cwd=workspace, environment=environment) as terminal:
        terminal.expect("sh job.sh 0 ")
        terminal.send(_PROMPT)
        terminal.expect("my-prompt: ")
        terminal.send("command -v python; cat src/in.txt; echo $COLOUR; echo job $SLURM_JOB_ID; pwd; tty")
        terminal.expect(_PYTHON)
        terminal.expect("forty-two")
        terminal.expect("mauve")
        terminal.expect("job [0-9]+")
        scratch = terminal.expect("(/tmp/tmp[^\r\n]+)[\r\n]")[1]
        terminal.expect("/dev/pts/")
        terminal.send("(cd $WINGSPAN_FOLDER && sh job.sh 0); cat $WINGSPAN_FOLDER/outputs-0/out.txt")
        terminal.expect("/opt/wingspan/environment/.*/zmq/__init__.py")
        terminal.send("exit 5")
        assert terminal.end() == 5
    until(lambda: not Path(scratch).exists(), "the end of its folder")
    assert not list(workspace.glob("wingspan-shell-*"))
    until(lambda: not slurm.command("squeue", "-h").strip(), "an empty queue")


@pytest.mark.slurm
def test_a_command_and_a_shell_beside_a_job_on_slurm(workspace: Path, slurm: SlurmCluster) -> None:
    """`wingspan ssh` starts a step of the very task, in its folder and its environment; the job goes on."""
    run = wingspan.run(
        ["sh", "-c", "echo $name >begun; sleep 600"],
        name="long",
        environment="default",
        sweep={"name": ["first", "second"]},
        pool="slurm",
    )
    try:
        _until_running(run, 1)
        words = [sys.executable, "-m", "wingspan", "ssh", "long", "1"]
        program = "import zmq, sys; print(zmq.__file__, open('begun').read(), sys.argv[1:]); sys.exit(3)"
        command = [*words, "--", "python", "-c", program, "a  b", "it's"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert done.returncode == 3, done.stderr
        assert done.stdout.startswith("/opt/wingspan/environment/")
        assert done.stdout.endswith("""second\n ['a  b', "it's"]\n""")
        with Terminal(words, cwd=workspace, environment=os.environ | {"TERM": "dumb"}) as terminal:
            terminal.send(_PROMPT)
            terminal.expect("my-prompt: ")
            terminal.send("command -v python; cat begun; tty")
            terminal.expect(_PYTHON)
            terminal.expect("second")
            terminal.expect("/dev/pts/")
            terminal.send("exit 4")
            assert terminal.end() == 4
        assert run.status().jobs[1].state == "running"
    finally:
        run.remove()


@pytest.mark.parametrize("kind", ["squashfs", "pack"])
def test_beside_a_job_of_a_personal_pool(
    kind: str,
    local_workspace: Path,
    workspace: Path,
    shell_pool: PersonalPool,
    bundle_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The same on this machine's own pool, where the bundle is used in place; an unpacked one is not
    unpacked again.
    """
    import wingspan.pools._select as select

    engine, real = PersonalHTCondorPool(shell_pool), select._make
    monkeypatch.setattr(
        select, "_make", lambda kind, data: engine if kind == "personal" else real(kind, data)
    )
    environment = wingspan.Environment(local_workspace, kind=kind)
    run = wingspan.run(
        ["sh", "-c", "touch begun; sleep 600"], name="long", environment=environment, pool=engine
    )
    try:
        _until_running(run)
        deadline = time.monotonic() + PATIENCE
        program = "import os, zmq, sys; print(sys.prefix, os.path.exists('begun')); sys.exit(3)"
        capfd.readouterr()
        while True:  # a pack takes its time to unpack
            code, said = shell_in_job(run, 0, ["python", "-c", program])(), capfd.readouterr()
            if "True" in said.out:
                break
            assert time.monotonic() < deadline, said
        assert code == 3
        prefix = said.out.splitlines()[-1].split()[0]
        if kind == "squashfs":
            assert prefix == "/opt/wingspan/environment"
        else:
            assert "/.wingspan-" in prefix
        assert run.status().state == "running"
    finally:
        run.remove()


@pytest.fixture(scope="module")
def image_pool(apptainer: str) -> Iterator[PersonalPool]:
    """A pool whose machine has Apptainer and an sshd."""
    sshd = find_sshd()
    if sshd is None:
        pytest.skip("no sshd: python tools/engines/openssh.py")
    settings = {"SINGULARITY": apptainer, "HasSIF": "true", "STARTD_ATTRS": "$(STARTD_ATTRS) HasSIF"}
    with pool_with_sshd(sshd, place_for_containers(), settings=settings) as pool:
        yield pool


@pytest.mark.apptainer
def test_shells_in_a_container(
    workspace: Path, image_pool: PersonalPool, bundle_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where HTCondor runs the job in an image, both shells are in that image. (It does not tell their
    exit code.)
    """
    environment = _as_site(image_pool, monkeypatch)
    wingspan_cli = [sys.executable, "-m", "wingspan"]
    image = wingspan.Environment(workspace, kind="sif")
    run = wingspan.run(
        ["sh", "-c", "touch begun; sleep 600"], name="long", environment=image, pool="htcondor"
    )
    _until_running(run)
    program = "import os, sys; print(sys.prefix, os.path.exists('begun'), os.path.isdir('/.singularity.d'))"
    command = [*wingspan_cli, "ssh", "long", "--", "python", "-c", program]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert "/opt/wingspan/environment True True" in done.stdout, done.stderr
    run.remove()
    command = [*wingspan_cli, "run", "--interactive", "-q", "-p", "htcondor", "-e", "default", "-k", "sif"]
    with Terminal([*command, "--", "true"], cwd=workspace, environment=environment) as terminal:
        terminal.expect("sh job.sh 0 ")
        terminal.send("command -v python; ls -d /.singularity.d; echo in-$((40 + 2))")
        terminal.expect(_PYTHON)
        terminal.expect("\n/.singularity.d")
        terminal.expect("in-42")
        terminal.send("exit")
        terminal.end()
    _leave(image_pool)
