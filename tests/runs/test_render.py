"""Rendered files: no finding of our own lint, accepted by condor_submit, and working without Wingspan."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import wingspan
from _slurm_cluster import SlurmCluster
from _waiting import PATIENCE
from wingspan.delivery.render import FolderInUse
from wingspan.lint import lint
from wingspan.pools.personal import PersonalPool
from wingspan.pools.profiles import DiskNotAllowed, FolderNotAllowed, WalltimeNotAllowed, load_profile
from wingspan.runs import InputTooLarge, InvalidRun, InvalidSweep, RunWarning
from wingspan.runs._render import plan_of_run, render, write_files

#: What one of each kind of run is asked for; the script copies and counts.
_RUNS = {
    "plain": {"memory": "100MB", "time": "10 min"},
    "sweep": {"sweep": {"word": ["one", "two"]}},
    "checkpoint": {"checkpoint": ["state/count"], "memory": "100MB"},
    "gpu": {"gpus": 1, "gpu_memory": "8GB", "profile": "chtc", "time": "3h"},
    "bare": {},
}


def _jobs(kind: str) -> list[str]:
    """The word that each job of a run of this kind writes."""
    return ["one", "two"] if kind == "sweep" else ["word"]


def _write(target: str, folder: Path, kind: str) -> list[Path]:
    Path("data").mkdir(exist_ok=True)
    Path("data/in file.txt").write_text("content\n")
    word = "{word}" if kind == "sweep" else "word"
    command = ["sh", "-c", 'mkdir -p res; cat "data/in file.txt" >res/o.txt; echo "$0" >>res/o.txt', word]
    return render(target, folder, command, inputs=["data"], outputs=["res/*.txt"], name=kind, **_RUNS[kind])  # type: ignore[arg-type]


@pytest.mark.parametrize("target", ["htcondor", "slurm"])
@pytest.mark.parametrize("kind", sorted(_RUNS))
def test_our_lint_finds_nothing(tmp_path: Path, target: str, kind: str) -> None:
    """0 findings in every file of every kind of run, and every shell script is one for sh."""
    paths = _write(target, tmp_path / "out", kind)
    assert lint([tmp_path / "out"]) == []
    for path in paths:
        if path.suffix in (".sh", ".sbatch"):
            subprocess.run(["sh", "-n", str(path)], check=True)


@pytest.mark.htcondor
@pytest.mark.parametrize("kind", sorted(_RUNS))
def test_condor_submit_accepts_it(tmp_path: Path, personal_pool: PersonalPool, kind: str) -> None:
    """condor_submit -dry-run takes each, and the job has what was asked for."""
    _write("htcondor", tmp_path / "out", kind)
    done = subprocess.run(
        ["condor_submit", "-dry-run", "-", f"{kind}.sub"],
        cwd=tmp_path / "out",
        env={**os.environ, **personal_pool.environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "WARNING" not in said
    for expected in {
        "gpu": ("RequestGPUs=1", "WantGPULab=true", 'GPUJobLength="short"', "RequireGPUs="),
        "plain": ("RequestMemory=100", "AllowedExecuteDuration=600"),
        "checkpoint": ("CheckpointExitCode=85",),
        "sweep": ("TransferOutput",),
    }.get(kind, ()):
        assert expected in said.replace(" ", "").replace("True", "true"), said


@pytest.mark.htcondor
@pytest.mark.parametrize("kind", ["plain", "sweep"])
def test_a_shell_is_one_job(tmp_path: Path, personal_pool: PersonalPool, kind: str) -> None:
    """interact.sh asks for one machine, whatever the number of jobs. (Dry: a shell needs sshd on the
    machine.)
    """
    _write("htcondor", tmp_path / "out", kind)
    script = (tmp_path / "out/interact.sh").read_text().replace("condor_submit", "condor_submit -dry-run -")
    environment = {**os.environ, **personal_pool.environment()}
    for words, jobs in (
        (["-c", script, "interact.sh"], 1),
        (["submit.sh", "-dry-run", "-"], len(_jobs(kind))),
    ):
        done = subprocess.run(
            ["sh", *words],
            cwd=tmp_path / "out",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"{jobs} job(s) dry-run" in done.stdout, done.stderr


@pytest.mark.htcondor
@pytest.mark.parametrize("kind", ["plain", "sweep"])
def test_it_works_with_plain_condor_submit(tmp_path_factory, personal_pool: PersonalPool, kind: str) -> None:
    """submit.sh, in a process that knows nothing of Wingspan, gives the outputs; twice at once gives them
    twice.
    """
    folder = tmp_path_factory.mktemp("rendered") / "out"
    _write("htcondor", folder, kind)
    environment = {**os.environ, **personal_pool.environment()}
    for _ in range(2):
        subprocess.run(["sh", str(folder / "submit.sh")], env=environment, check=True, capture_output=True)
    _wait(folder, kind, environment)
    _check_outputs(folder, _jobs(kind), 2)
    assert len(list(folder.glob("logs/*.out"))) == 2 * len(_jobs(kind))


def _wait(folder: Path, kind: str, environment: dict[str, str]) -> None:
    command = ["condor_wait", "-wait", f"{PATIENCE:.0f}", f"{kind}.log"]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)


def _check_outputs(folder: Path, words: list[str], submissions: int) -> None:
    """Each submission has the outputs of all its jobs."""
    for number, word in enumerate(words):
        found = list(folder.glob(f"outputs-*-{number}/res/o.txt"))
        assert len(found) == submissions
        assert {path.read_text() for path in found} == {f"content\n{word}\n"}


@pytest.mark.htcondor
def test_a_part_of_a_sweep_has_the_numbers_of_its_rows(
    tmp_path_factory: pytest.TempPathFactory, personal_pool: PersonalPool
) -> None:
    """Submitted from row 1 on, row 1 stands in the outputs and logs with the number 1."""
    folder = tmp_path_factory.mktemp("rendered") / "out"
    _write("htcondor", folder, "sweep")
    environment = {**os.environ, **personal_pool.environment()}
    command = ["sh", str(folder / "submit.sh"), "-append", "rows = 1:"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    _wait(folder, "sweep", environment)
    (found,) = folder.glob("outputs-*")
    assert found.name.endswith("-1")
    assert (found / "res/o.txt").read_text() == "content\ntwo\n"
    (printed,) = folder.glob("logs/*.out")
    assert printed.name.endswith(".1.out")


def test_the_sbatch_script_runs(tmp_path: Path) -> None:
    """What sbatch would start does the work in a folder of its own and puts the outputs in place (no
    Slurm needed for that).
    """
    _write("slurm", tmp_path / "out", "sweep")
    environment = {
        "PATH": os.environ["PATH"],
        "SLURM_SUBMIT_DIR": str(tmp_path / "out"),
        "SLURM_ARRAY_TASK_ID": "1",
    }
    subprocess.run(["sh", "sweep.sbatch"], cwd=tmp_path / "out", env=environment, check=True)
    assert (tmp_path / "out/outputs-1/res/o.txt").read_text() == "content\ntwo\n"
    assert "--array=0-1" in (tmp_path / "out/sweep.sbatch").read_text()
    assert not list(tmp_path.glob("out/.outputs*"))


def test_sweeps_that_are_too_long_for_an_array_go_in_parts(tmp_path: Path) -> None:
    """The README says how, and a part's tasks do its rows; our lint finds nothing."""
    folder = tmp_path / "out"
    rows = [str(number) for number in range(1500)]
    render(
        "slurm", folder, ["sh", "-c", "echo {x} >o.txt"], outputs=["o.txt"], sweep={"x": rows}, name="long"
    )
    readme = (folder / "README.md").read_text()
    assert "MaxArraySize" in readme
    assert "`WINGSPAN_FIRST=1000 sbatch --array=0-999 long.sbatch`" in readme
    environment = {
        "PATH": os.environ["PATH"],
        "SLURM_SUBMIT_DIR": str(folder),
        "SLURM_ARRAY_TASK_ID": "7",
    }
    for first in ({}, {"WINGSPAN_FIRST": "1000"}):
        subprocess.run(["sh", "long.sbatch"], cwd=folder, env={**environment, **first}, check=True)
    assert [(folder / f"outputs-{row}/o.txt").read_text() for row in (7, 1007)] == ["7\n", "1007\n"]
    assert lint([folder]) == []


@pytest.mark.slurm
@pytest.mark.parametrize("kind", sorted(_RUNS))
def test_sbatch_accepts_it(tmp_path: Path, slurm_cluster: SlurmCluster, kind: str) -> None:
    """sbatch --test-only takes each, and would start it on the cluster's node."""
    _write("slurm", tmp_path / "out", kind)
    done = subprocess.run(
        ["sbatch", "--test-only", f"{kind}.sbatch"],
        cwd=tmp_path / "out",
        env={**os.environ, **slurm_cluster.environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "to start at" in done.stderr


@pytest.mark.slurm
@pytest.mark.parametrize("kind", ["plain", "sweep"])
def test_it_works_with_plain_sbatch(
    tmp_path_factory: pytest.TempPathFactory, slurm_cluster: SlurmCluster, kind: str
) -> None:
    """submit.sh, in a process that knows nothing of Wingspan, gives the outputs; a second time gives
    others.
    """
    folder = tmp_path_factory.mktemp("rendered") / "out"
    _write("slurm", folder, kind)
    environment = {**os.environ, **slurm_cluster.environment()}
    for _ in range(2):
        subprocess.run(
            ["sh", str(folder / "submit.sh"), "--wait"], env=environment, check=True, capture_output=True
        )
    _check_outputs(folder, _jobs(kind), 2)


@pytest.mark.parametrize(
    ("target", "said"), [("htcondor", "on an access point"), ("slurm", "on a login node")]
)
def test_submitting_elsewhere_says_where(tmp_path: Path, folders: Path, target: Any, said: str) -> None:
    """Where the scheduler's program is not on PATH, submit.sh says where to go."""
    render(target, tmp_path / "made", ["true"], workspace=tmp_path)
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs/dirname").symlink_to(str(shutil.which("dirname")))
    done = subprocess.run(
        [str(shutil.which("sh")), tmp_path / "made/submit.sh"],
        env={"PATH": str(tmp_path / "programs")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 127
    assert said in done.stderr


def test_a_run_that_exists_can_be_rendered(tmp_path: Path, folders: Path) -> None:
    """The files of an existing run have the inputs as they were when it was made."""
    (folders / "in.txt").write_text("then")
    run = wingspan.run(["cat", "in.txt"], inputs=["in.txt"], pool="local", name="mine")
    (folders / "in.txt").write_text("now")
    write_files("htcondor", plan_of_run(run), tmp_path / "out")
    assert (tmp_path / "out/inputs/in.txt").read_text() == "then"
    assert (tmp_path / "out/mine.sub").exists()


@pytest.mark.parametrize("target", ["htcondor", "slurm"])
def test_this_machines_site_is_asked_for_nothing(tmp_path: Path, target: Any) -> None:
    """On a site's own machine its profile is found by the name, as it is for jobs that are submitted from
    there.
    """
    import socket

    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.toml").write_text(
        f'[profile.ours]\nhosts = ["{socket.getfqdn().lower()}"]\nsbatch = {{ account = "abc-1" }}\n'
        '[profile.ours.every]\nattributes = { ProjectName = "abc-1" }\n'
    )
    render(target, tmp_path / "out", ["true"], name="mine")
    text = next((tmp_path / "out").glob("mine.s*")).read_text()
    assert ('+ProjectName = "abc-1"' if target == "htcondor" else "#SBATCH --account=abc-1") in text


def test_what_cannot_be_rendered(tmp_path: Path, folders: Path) -> None:
    """A folder that is not empty, values that a queue statement cannot hold, and URLs on Slurm are errors."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    with pytest.raises(FolderInUse, match="full"):
        render("htcondor", tmp_path / "full", ["true"])
    with pytest.raises(InvalidSweep, match="a b"):
        render("htcondor", tmp_path / "a", ["echo", "{x}"], sweep={"x": ["a b"]})
    assert not (tmp_path / "a").exists()  # the next try may have that name
    with pytest.raises(InvalidRun, match=r"example\.org"):
        render("slurm", tmp_path / "b", ["true"], inputs=["https://example.org/x"])


@pytest.mark.htcondor
def test_parameters_may_be_called_like_submit_commands(tmp_path: Path, personal_pool: PersonalPool) -> None:
    """They stand beside them in one file: a rank is a number of ours, not HTCondor's preference for
    machines.
    """
    names = (
        "rank",
        "input",
        "error",
        "priority",
        "shell",
        "hold",
        "arguments",
        "executable",
        "Process",
        "rows",
    )
    command = ["echo", *(f"{{{name}}}" for name in names)]
    render("htcondor", tmp_path / "out", command, sweep={name: ["1"] for name in names}, name="s")
    assert lint([tmp_path / "out"]) == []
    done = subprocess.run(
        ["condor_submit", "-dry-run", "-", "s.sub"],
        cwd=tmp_path / "out",
        env={**os.environ, **personal_pool.environment()},
        check=True,
        capture_output=True,
        text=True,
    )
    ad = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert ad["Arguments"] == f'"0 {" ".join("1" for _ in names)}"'
    assert ad["Cmd"].endswith('/job.sh"')
    assert re.fullmatch(r'"logs/\d+\.0\.err"', ad["Err"])
    assert "In" not in ad or ad["In"] == '"/dev/null"'
    assert ad.get("Rank", "0.0") == "0.0"
    assert ad.get("JobPrio", "0") == "0"


def test_what_is_read_from_a_mount_is_asked_of_machines(tmp_path: Path, folders: Path) -> None:
    """/staging by its path is not on every machine: one requirements line says so, and our own lint is
    content.
    """
    render(
        "htcondor", tmp_path / "out", ["true"], inputs=["file:///staging/groups/lab/a-0badcafe.tar"], name="m"
    )
    text = (tmp_path / "out/m.sub").read_text()
    assert text.count("\nrequirements = (TARGET.HasCHTCStaging == true)\n") == 1
    assert lint([tmp_path / "out"]) == []


@pytest.mark.htcondor
def test_an_image_is_run_by_the_container_universe(tmp_path: Path, personal_pool: PersonalPool) -> None:
    """With an image HTCondor starts the container; the job only activates what is in it."""
    image = "docker://example.org/digits@sha256:" + "0" * 64
    render("htcondor", tmp_path / "out", ["python", "-V"], image=image, name="c")
    text = (tmp_path / "out/c.sub").read_text()
    assert "universe = container" in text
    assert f"container_image = {image}" in text
    assert lint([tmp_path / "out"]) == []
    environment = {**os.environ, **personal_pool.environment()}
    subprocess.run(
        ["condor_submit", "-dry-run", "-", "c.sub"],
        cwd=tmp_path / "out",
        env=environment,
        check=True,
        capture_output=True,
    )


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"image": "docker://example.org/e@sha256:" + "0" * 64}, "request_disk = 1024MB"),
        ({"inputs": ["file://{here}/big.tar"]}, "request_disk = 1124MB"),
        ({"inputs": ["big.tar"]}, "request_disk = 1124MB"),
    ],
)
def test_staged_inputs_count(folders: Path, options: dict[str, Any], line: str) -> None:
    """A file that machines read by its path takes as much of a job's disk as one that HTCondor sends."""
    with (folders / "big.tar").open("wb") as file:
        file.truncate(100 << 20)
    if "inputs" in options:
        options = {"inputs": [one.format(here=folders) for one in options["inputs"]]}
    render("htcondor", folders / "out", ["true"], name="m", **options)
    assert line in (folders / "out/m.sub").read_text().splitlines()


def test_large_inputs_take_the_sites_way(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the site says from which size on, a larger input is refused with the place to put it;
    elsewhere it is a warning.
    """
    with (folders / "big.tar").open("wb") as file:
        file.truncate(2 * 10**9)
    monkeypatch.setenv("USER", "jane")
    monkeypatch.setenv("LOGNAME", "jane")
    with pytest.raises(InputTooLarge, match=r"big\.tar has 2\.0 GB") as caught:
        render("htcondor", folders / "out", ["true"], inputs=["big.tar"], profile="chtc")
    assert "/staging/j/jane" in str(caught.value.hint)
    assert not (folders / "out").exists()
    monkeypatch.setattr("wingspan.runs._render.keep_inputs", lambda *_: 0)
    with pytest.warns(RunWarning, match="through the access point"):
        render("htcondor", folders / "out", ["true"], inputs=["big.tar"], profile="generic")


def test_outputs_are_paths(tmp_path: Path) -> None:
    """An address as output would end every job with an error: it is refused."""
    for address in ("osdf:///ospool/x", "file:///staging/x", "root://eos/x"):
        with pytest.raises(InvalidRun, match="is an address"):
            render("htcondor", tmp_path / "out", ["true"], outputs=[address])


def test_cern_has_disk_by_cores_and_no_submission_from_eos(tmp_path: Path) -> None:
    """20 GB a core is what a job gets; EOS is no folder to submit from."""
    with pytest.raises(DiskNotAllowed, match="100 GB with 1 core") as caught:
        render("htcondor", tmp_path / "out", ["true"], disk="100GB", profile="cern")
    assert "5 cores" in str(caught.value.hint)
    render("htcondor", tmp_path / "out", ["true"], disk="100GB", cpus=5, profile="cern")
    with pytest.raises(FolderNotAllowed, match="EOS"):
        load_profile("cern").check_folder(Path("/eos/user/j/jane/run"))
    load_profile("cern").check_folder(Path("/eosx/run"))


def test_the_ospool_counts_from_checkpoint_to_checkpoint(tmp_path: Path) -> None:
    """A job that writes checkpoints may take longer than the longest category, which it then is in; each
    job says one.
    """
    render("htcondor", tmp_path / "a", ["true"], profile="ospool", name="m")
    assert '+JobDurationCategory = "Medium"' in (tmp_path / "a/m.sub").read_text()
    options: dict[str, Any] = {"profile": "ospool", "name": "m", "time": "30h"}
    with pytest.raises(WalltimeNotAllowed, match="20 h") as caught:
        render("htcondor", tmp_path / "b", ["true"], **options)
    assert "--checkpoint" in str(caught.value.hint)
    render("htcondor", tmp_path / "b", ["true"], checkpoint=["state"], **options)
    assert '+JobDurationCategory = "Long"' in (tmp_path / "b/m.sub").read_text()
    with pytest.raises(WalltimeNotAllowed) as caught:
        render("htcondor", tmp_path / "c", ["true"], checkpoint=["state"], profile="chtc", time="80h")
    assert "--checkpoint" not in str(caught.value.hint)


def test_comments_are_true(tmp_path: Path) -> None:
    """Without an environment none comes along, and a job that goes back into Slurm's queue keeps what it
    printed.
    """
    render("htcondor", tmp_path / "a", ["true"], name="m")
    assert "environment comes along" not in (tmp_path / "a/m.sub").read_text()
    render("slurm", tmp_path / "b", ["true"], checkpoint=["state"], name="m")
    lines = (tmp_path / "b/m.sbatch").read_text().splitlines()
    assert "#SBATCH --requeue" in lines
    assert "#SBATCH --open-mode=append" in lines
