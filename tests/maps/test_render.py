"""Workers of a map as files: no finding of our own lint, accepted by both schedulers, and completing the
map without Wingspan.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import wingspan
from _command_line import wingspan_here
from _on_disk import rounds, starts, submissions
from _slurm_cluster import SlurmCluster
from _waiting import PATIENCE, until
from wingspan.delivery.render import FolderInUse
from wingspan.errors import SettingsError
from wingspan.jobs import Resources
from wingspan.lint import lint
from wingspan.maps._external import ExternalSubmissions
from wingspan.maps._render import map_resources, render_map
from wingspan.pools.htcondor import PersonalHTCondorPool
from wingspan.pools.personal import PersonalPool

EXTERNAL = wingspan.Options(workers=0, request_memory="100MB")


@pytest.fixture
def condor(personal_pool: PersonalPool) -> dict[str, str]:
    """The environment of a shell on the personal pool's access point, in which nothing of Wingspan is set."""
    return _shell(personal_pool.environment())


@pytest.fixture
def slurm(slurm_cluster: SlurmCluster) -> dict[str, str]:
    """The environment of a shell on the cluster's login node, in which nothing of Wingspan is set."""
    return _shell(slurm_cluster.environment())


def _shell(engine: dict[str, str]) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("WINGSPAN")}
    return {**own, **engine}


def _sh(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def _complete_with_condor(folder: Path, m: wingspan.Map, environment: dict[str, str]) -> None:
    _sh(["sh", "submit.sh"], folder, environment)
    _sh(["condor_wait", "-wait", f"{PATIENCE:.0f}", str(m.path / "events.log")], folder, environment)


@pytest.fixture(params=["plain", "everything"])
def made(request: pytest.FixtureRequest) -> wingspan.Map:
    """A map that nobody works on: with few options, and with all that a submit description can say."""
    options = EXTERNAL
    if request.param == "everything":
        options = wingspan.Options(
            workers=0,
            request_cpus=2,
            request_memory="100MB",
            request_disk="50MB",
            requirements="HasFileTransfer",
            max_idle=2,
            custom={"WantThis": True, "Name_": 'with "quotes"'},
            submit={"priority": "3"},
        )
    return wingspan.map(abs, range(-9, 0), tag=f"a#b,{request.param}=1", options=options)


def test_long_arrays_are_told(tmp_path: Path) -> None:
    """More workers than arrays have tasks: the README says what to do.

    A map's time is that of its workers.
    """
    m = wingspan.map(abs, [-1], tag="mine", options=wingspan.Options(workers=0, time="2h"))
    render_map("slurm", tmp_path / "few", m, workers=1000)
    render_map("slurm", tmp_path / "many", m, workers=1500)
    assert "MaxArraySize" not in (tmp_path / "few/README.md").read_text()
    assert "`sh submit.sh --array=0-999`" in (tmp_path / "many/README.md").read_text()
    assert "--time=02:00:00" in (tmp_path / "few/mine.sbatch").read_text()


def test_a_map_without_workers_waits_for_them(tmp_path: Path) -> None:
    """Options(workers=0) submits nothing, not when somebody waits either, starts no pool, and says what
    to do.
    """
    m = wingspan.map(abs, [-1, -2], tag="mine", options=EXTERNAL)
    with pytest.raises(wingspan.MapTimeout):
        m.wait(timeout=1.5)
    assert m.path.joinpath("submissions").exists() is False
    assert not list((tmp_path / "data").glob("personal-pool/*"))
    status = m.status()
    assert status.workers == {}
    assert status.pools == ("by hand",)
    assert "wingspan render" in str(status.message)
    m.rerun()
    assert m.path.joinpath("submissions").exists() is False


def test_workers_that_are_counted_still_join_it() -> None:
    """add_workers submits to a map whose workers come by hand, too."""
    m = wingspan.map(abs, [-1, -2], tag="mine", options=EXTERNAL)
    m.add_workers(1, "local")
    assert list(m) == [1, 2]


@pytest.mark.parametrize("target", ["htcondor", "slurm"])
@pytest.mark.parametrize("profile", [None, "chtc"])
def test_our_lint_finds_nothing(tmp_path: Path, made: wingspan.Map, target: Any, profile: str | None) -> None:
    """0 findings, every script is one for sh, and the README names every file."""
    folder = tmp_path / "out"
    paths = render_map(target, folder, made, profile=profile)
    assert lint([folder]) == []
    readme = (folder / "README.md").read_text()
    for path in paths:
        assert path.name == "README.md" or f"`{path.name}`" in readme
        if path.suffix in (".sh", ".sbatch"):
            subprocess.run(["sh", "-n", str(path)], check=True)
            assert path.stat().st_mode & stat.S_IXUSR


def test_every_line_says_why(tmp_path: Path, made: wingspan.Map) -> None:
    """Each group of lines of the submit description stands under a comment, and so does each option of
    sbatch's.
    """
    render_map("htcondor", tmp_path / "h", made)
    text = next((tmp_path / "h").glob("*.sub")).read_text()
    assert all(group.startswith("#") for group in text.strip().split("\n\n"))
    render_map("slurm", tmp_path / "s", made)
    text = next((tmp_path / "s").glob("*.sbatch")).read_text()
    for option in ("--array", "--requeue", "--job-name", "--output"):
        before = text[: text.index(f"#SBATCH {option}")].splitlines()
        assert any(line.startswith("# ") for line in before[-2:])


@pytest.mark.htcondor
def test_condor_submit_accepts_it(tmp_path: Path, made: wingspan.Map, condor: dict[str, str]) -> None:
    """condor_submit -dry-run takes it, and the jobs have what the map's options say."""
    folder = tmp_path / "out"
    render_map("htcondor", folder, made, workers=3)
    main = next(folder.glob("*.sub")).name
    said = _sh(["condor_submit", "-dry-run", "-", main], folder, condor)
    assert "WARNING" not in said
    assert "3 job(s) dry-run" in said
    interact = (folder / "interact.sh").read_text().replace("condor_submit", "condor_submit -dry-run -")
    one = subprocess.run(
        ["sh", "-c", interact, "interact.sh"],
        cwd=folder,
        env=condor,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 job(s) dry-run" in one.stdout, one.stderr
    said = said.replace(" ", "")
    assert "WantIOProxy=true" in said
    assert "RequestMemory=100" in said
    assert made.tag in said
    if "everything" in made.tag:
        for expected in (
            "RequestCpus=2",
            "WantThis=true",
            'Name_="with\\"quotes\\""',
            "JobPrio=3",
            "HasFileTransfer",
        ):
            assert expected in said


@pytest.mark.slurm
def test_sbatch_accepts_it(tmp_path: Path, made: wingspan.Map, slurm: dict[str, str]) -> None:
    """sbatch --test-only takes it."""
    folder = tmp_path / "out"
    render_map("slurm", folder, made, workers=3)
    main = next(folder.glob("*.sbatch")).name
    assert "to start at" in _sh(["sbatch", "--test-only", main], folder, slurm)


@pytest.mark.htcondor
def test_plain_condor_submit_completes_the_map(tmp_path: Path, condor: dict[str, str]) -> None:
    """Workers submitted by hand join the map; its outputs are there for another session, and what was
    printed.
    """
    offset = 5

    def shifted(x: int) -> int:
        print("at", x)
        return x + offset

    m = wingspan.map(shifted, range(60), tag="grid", options=EXTERNAL)
    render_map("htcondor", tmp_path / "out", m, workers=3)
    _complete_with_condor(tmp_path / "out", m, condor)
    found = wingspan.load("grid")
    assert found.wait(timeout=0).is_done
    assert list(found) == list(range(5, 65))
    assert found.stdout(7) == "at 7\n"
    assert not (found.path / "submissions").exists()  # this process cannot speak with their schedd


@pytest.mark.htcondor
def test_jobs_by_hand_are_within_reach(
    tmp_path: Path,
    personal_pool: PersonalPool,
    condor: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    gate: SimpleNamespace,
) -> None:
    """status, hold, release, clean and remove know the jobs of submissions by hand, two of them and of
    another session too.
    """
    import wingspan.pools._select as select

    pool, real = PersonalHTCondorPool(personal_pool), select._make
    monkeypatch.setattr(
        select, "_make", lambda kind, place: pool if kind == "personal" else real(kind, place)
    )
    wait = gate.wait

    def slow(x: int) -> int:
        wait()
        return x

    m = wingspan.map(
        slow, range(9), options=wingspan.Options(workers=0, block_size=1, request_memory="100MB")
    )
    folder = tmp_path / "out"
    render_map("htcondor", folder, m, workers=2)
    _sh(["sh", "submit.sh", "-append", "requirements = false"], folder, condor)
    until(lambda: m.status().workers == {"idle": 2}, "the waiting jobs")
    assert m.status().pools == ("personal", "by hand")
    shutil.move(folder, tmp_path / "elsewhere")
    assert wingspan.clean() == ()
    shutil.move(tmp_path / "elsewhere", folder)
    m.hold()
    until(lambda: m.status().workers == {"held": 2}, "the hold")
    mine = f'WingspanMap == "{m.path.name}"'
    _sh(["condor_rm", "-constraint", mine], folder, condor)
    until(lambda: m.status().workers == {"removed": 2}, "their removal")
    assert "wingspan render" in str(m.status().message)
    _sh(["sh", "submit.sh"], folder, condor)
    again = wingspan.load(m.tag)
    until(lambda: again.status().workers == {"removed": 2, "running": 2}, "the second submission")
    late, written = ExternalSubmissions(m._folder), m._folder.submissions.entries()
    late.take(late.poll(), ())  # as a process that has read the log before the other has written to it
    late.close()
    assert m._folder.submissions.entries() == written
    until(lambda: again.status().counts[wingspan.ComponentStatus.RUNNING] == 2, "two components under way")
    again.hold()
    until(lambda: again.status().workers == {"held": 2, "removed": 2}, "the hold of those that ran")
    again.release()
    until(lambda: again.status().workers == {"removed": 2, "running": 2}, "their new start")
    # Numbers of our own workers stay apart from theirs.
    again.add_workers(1, "local")
    assert submissions(again)[-1]["first"] == 0
    gate.open()
    assert list(again) == list(range(9))
    again.remove()
    left = _sh(["condor_q", "-constraint", mine, "-af", "JobStatus"], folder, condor)
    assert set(left.split()) <= {"3", "4"}


def test_clean_spares_a_map_somebody_has_files_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that wait in a queue that we do not see: as long as the rendered files are there, the map is
    not cleaned away.
    """
    monkeypatch.setattr("wingspan.maps._find._STALE", 0)  # a map without jobs is left alone for a day
    m = wingspan.map(abs, [-1], options=EXTERNAL)
    other = wingspan.map(abs, [-1], options=EXTERNAL)
    render_map("slurm", tmp_path / "out", m)
    assert wingspan.clean() == (other.tag,)
    shutil.rmtree(tmp_path / "out")
    assert wingspan.clean() == (m.tag,)


@pytest.mark.htcondor
def test_a_worker_that_htcondor_evicts_goes_on(
    tmp_path: Path, condor: dict[str, str], gate: SimpleNamespace
) -> None:
    """Evicted before any block was finished, it has its number again and resumes what it had claimed."""
    wait = gate.wait

    def slow(x: int) -> int:
        wait()
        return x

    m = wingspan.map(slow, range(4), tag="evicted", options=wingspan.Options(workers=0, block_size=2))
    folder = tmp_path / "out"
    render_map("htcondor", folder, m, workers=1)
    _sh(["sh", "submit.sh"], folder, condor)
    until(lambda: m.status().counts[wingspan.ComponentStatus.RUNNING] == 1, "a component under way")
    _sh(["condor_vacate_job", "-constraint", f'WingspanMap == "{m.path.name}"'], folder, condor)
    until(lambda: len(starts(m)) == 2, "its second start")
    gate.open()
    _sh(["condor_wait", "-wait", f"{PATIENCE:.0f}", str(m.path / "events.log")], folder, condor)
    assert list(m) == [0, 1, 2, 3]
    assert rounds(m) == [0]


@pytest.mark.slurm
def test_plain_sbatch_completes_the_map(
    tmp_path: Path, slurm: dict[str, str], slurm_cluster: SlurmCluster
) -> None:
    """An array of workers on the shared file system joins the map and completes it; relative paths are
    the worker's own.
    """

    def place(x: int) -> tuple[int, str, str | None]:
        Path("here").write_text(str(x))
        return x * x, str(Path.cwd()), os.environ.get("SLURM_ARRAY_TASK_ID")

    m = wingspan.map(place, range(60), tag="grid", options=EXTERNAL)
    render_map("slurm", tmp_path / "out", m, workers=3)
    _sh(["sh", "submit.sh", "--wait"], tmp_path / "out", slurm)
    found = wingspan.load("grid")
    assert found.wait(timeout=0).is_done
    outputs = list(found)
    assert [square for square, _, _ in outputs] == [x * x for x in range(60)]
    assert {task for _, _, task in outputs} <= {"0", "1", "2"}
    assert not any(Path(folder).exists() for _, folder, _ in outputs)
    assert not (tmp_path / "out/here").exists()


@pytest.mark.slurm
def test_a_second_submission_and_local_workers_share_the_map(
    tmp_path: Path,
    slurm: dict[str, str],
    slurm_cluster: SlurmCluster,
    gate: SimpleNamespace,
) -> None:
    """Workers of two submissions and of this machine work at once, and none does what another does: each
    has a number of its own.
    """
    wait = gate.wait

    def slow(x: int) -> tuple[int, str]:
        wait()
        return x, os.environ.get("SLURM_ARRAY_JOB_ID", "here")

    m = wingspan.map(slow, range(6), tag="both", options=wingspan.Options(workers=0, block_size=1))
    render_map("slurm", tmp_path / "out", m, workers=1)
    jobs = [
        _sh(["sh", "submit.sh", "--parsable", "--mem=100M"], tmp_path / "out", slurm).strip()
        for _ in range(2)
    ]
    until(lambda: m.status().workers.get("running") == 2, "two workers by hand")
    until(lambda: m.status().counts[wingspan.ComponentStatus.RUNNING] == 2, "two components under way")
    assert m.status().pools == ("by hand",)
    m.add_workers(1, "local")
    until(lambda: m.status().counts[wingspan.ComponentStatus.RUNNING] == 3, "three components under way")
    gate.open()
    outputs = m[:]
    assert [x for x, _ in outputs] == list(range(6))
    assert {where for _, where in outputs} == {*jobs, "here"}
    assert len({name.split(".")[0] for name in starts(m)}) == 3
    assert rounds(m) == [0]  # nothing was repaired
    for job in jobs:
        slurm_cluster.wait_for(job)


@pytest.mark.slurm
def test_a_client_leaves_workers_by_hand_alone(
    tmp_path: Path,
    slurm: dict[str, str],
    slurm_cluster: SlurmCluster,
    gate: SimpleNamespace,
) -> None:
    """A map's own workers are gone and one by hand still works: who waits starts no others and repairs
    nothing.
    """
    wait = gate.wait

    def first_is_long(x: int) -> int:
        if x == 0:
            wait()
        return x

    m = wingspan.map(first_is_long, range(4), tag="mixed", options=wingspan.Options(workers=0, block_size=1))
    render_map("slurm", tmp_path / "out", m, workers=1)
    job = _sh(["sh", "submit.sh", "--parsable"], tmp_path / "out", slurm).strip()
    until(lambda: m.statuses[0] is wingspan.ComponentStatus.RUNNING, "the worker by hand at work")
    # From now on it is a map like any other: it would start workers where none are left.
    info = json.loads((m.path / "map.json").read_text())
    info["options"]["workers"] = 1
    (m.path / "map.json").write_text(json.dumps(info))
    again = wingspan.load("mixed")
    again.add_workers(1, "local")
    with pytest.raises(wingspan.MapTimeout):
        again.wait(timeout=3)
    assert [entry["count"] for entry in submissions(again)] == [1]
    gate.open()
    assert list(again) == [0, 1, 2, 3]
    assert rounds(again) == [0]
    slurm_cluster.wait_for(job)


def test_numbers_and_folders_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that holds something, no worker at all, an address where there is no bundle, and a site
    without chirp are errors; nothing is written.
    """
    m = wingspan.map(abs, [-1], tag="mine", options=EXTERNAL)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    with pytest.raises(FolderInUse, match="full"):
        render_map("htcondor", tmp_path / "full", m)
    with pytest.raises(SettingsError, match="0 workers"):
        render_map("slurm", tmp_path / "out", m, workers=0)
    with pytest.raises(SettingsError, match="no environment"):
        render_map("slurm", tmp_path / "out", m, bundle_url="https://example.org/x.squashfs")
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path))
    (tmp_path / "config.toml").write_text('[profile.lab.every]\nno_chirp = "switched off"\n')
    with pytest.raises(wingspan.MapError, match=r"no chirp there \(switched off\)"):
        render_map("htcondor", tmp_path / "out", m, profile="lab")
    m.path.joinpath("worker.pyz").unlink()
    with pytest.raises(wingspan.MapError, match=r"worker\.pyz"):
        render_map("slurm", tmp_path / "out", m)
    assert not (tmp_path / "out").exists()


def _cli(*words: str) -> subprocess.CompletedProcess[str]:
    return wingspan_here(*words, env={"NO_COLOR": "1"})


def test_the_command_line_takes_maps_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``render --from`` takes the tag of a map and the name of a run; options of a map's workers are used."""
    monkeypatch.chdir(tmp_path)
    wingspan.map(abs, [-1], tag="a-map", options=EXTERNAL)
    run = wingspan.run(["true"], pool="local", name="a-run")
    try:
        done = _cli(
            "render", "slurm", "m", "--from", "a-map", "--workers", "7", "--time", "3h", "--memory", "2GB"
        )
        assert done.returncode == 0, done.stderr
        text = (tmp_path / "m/a-map.sbatch").read_text()
        assert "--array=0-6" in text
        assert "--time=03:00:00" in text
        assert "--mem=2048M" in text
        done = _cli("render", "htcondor", "r", "--from", "a-run")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "r/a-run.sub").exists()
        for name in ("a-map", "a-run"):  # no task has the name
            assert _cli("render", "slurm", f"short-{name}", name).returncode == 0
            assert (tmp_path / f"short-{name}/{name}.sbatch").exists()
        (tmp_path / "pixi.toml").write_text(
            '[workspace]\nchannels = []\nplatforms = ["linux-64"]\n[tasks]\na-map = "true"\n'
        )
        assert "lock" in _cli("render", "slurm", "x", "a-map").stderr  # a task has
        done = _cli("render", "htcondor", "x", "--from", "a-mop")
        assert done.returncode == 1
        assert "no map and no run has the name 'a-mop'" in done.stderr
        assert "did you mean 'a-map'?" in done.stderr
        for words in (
            ("--from", "a-map", "--output", "x"),
            ("--from", "a-run", "--workers", "2"),
            ("--from", "a-run", "--gpus", "2"),
            ("--workers", "2", "--", "true"),
        ):
            done = _cli("render", "htcondor", "x", *words)
            assert done.returncode == 2, words
        assert not (tmp_path / "x").exists()
    finally:
        run.remove(force=True)


def test_resources_of_the_map_are_those_of_its_options() -> None:
    """Without a word from the user workers ask for what the map's options say."""
    m = wingspan.map(
        abs, [-1], tag="mine", options=wingspan.Options(workers=0, request_cpus=3, request_memory="1GB")
    )
    assert map_resources(m) == Resources(cpus=3, memory=1 << 30)


@pytest.mark.slurm
def test_a_worker_that_slurm_requeues_goes_on(
    tmp_path: Path,
    slurm: dict[str, str],
    slurm_cluster: SlurmCluster,
    gate: SimpleNamespace,
) -> None:
    """After a requeue it has its number again: it resumes what it had claimed, and nothing has to be
    repaired.
    """
    wait = gate.wait

    def slow(x: int) -> int:
        wait()
        return x

    m = wingspan.map(slow, range(4), tag="again", options=wingspan.Options(workers=0, block_size=2))
    render_map("slurm", tmp_path / "out", m, workers=1)
    job = _sh(["sh", "submit.sh", "--parsable"], tmp_path / "out", slurm).strip()
    until(lambda: m.status().counts[wingspan.ComponentStatus.RUNNING] == 1, "a component under way")
    _sh(["scontrol", "requeue", job], tmp_path, slurm)

    def started_again() -> bool:
        slurm_cluster.start_now(f"{job}_0")
        return len(starts(m)) == 2

    # Longer than elsewhere: a node that has lost a word of its controller's takes two minutes to say it
    # again.
    until(
        started_again,
        lambda: slurm_cluster.command("scontrol", "show", "job", job, check=False),
        seconds=PATIENCE,
    )
    gate.open()
    slurm_cluster.wait_for(job)
    assert list(m) == [0, 1, 2, 3]
    names = starts(m)
    assert [name.split(".")[1] for name in names] == ["0", "1"]
    assert len({name.split(".")[0] for name in names}) == 1
    assert rounds(m) == [0]


@pytest.mark.slurm
def test_workers_of_a_map_that_was_removed_end(
    tmp_path: Path,
    slurm: dict[str, str],
    slurm_cluster: SlurmCluster,
    gate: SimpleNamespace,
) -> None:
    """Nobody knows of their jobs; when the map is gone they leave the queue by themselves."""
    wait = gate.wait

    def slow(x: int) -> int:
        wait()
        return x

    m = wingspan.map(slow, range(4), tag="gone", options=EXTERNAL)
    render_map("slurm", tmp_path / "out", m, workers=1)
    job = _sh(["sh", "submit.sh", "--parsable"], tmp_path / "out", slurm).strip()
    until(lambda: m.status().counts[wingspan.ComponentStatus.RUNNING] == 1, "a component under way")
    m.remove()
    gate.open()
    slurm_cluster.wait_for(job)
    assert not m.path.exists()


def test_a_signal_to_all_processes_of_a_worker_is_no_error(tmp_path: Path, gate: SimpleNamespace) -> None:
    """Slurm tells each process of a job to end: what the executor was at is not blamed for it, and the
    next start resumes it.
    """
    wait = gate.wait

    def slow(x: int) -> int:
        wait()
        return x

    m = wingspan.map(slow, range(2), tag="told", options=EXTERNAL)
    folder = tmp_path / "out"
    render_map("slurm", folder, m, workers=1)
    worker = ["sh", "worker.sh", "1500000", "0"]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with subprocess.Popen(
        worker, cwd=folder, env=_shell({"TMPDIR": str(scratch)}), start_new_session=True
    ) as process:
        until(lambda: m.status().counts[wingspan.ComponentStatus.RUNNING] == 1, "a component under way")
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(PATIENCE)
    assert m.errors == {}
    assert not m.is_done
    assert list(scratch.iterdir()) == []
    gate.open()
    subprocess.run(worker, cwd=folder, env=_shell({"TMPDIR": str(scratch)}), check=True, timeout=PATIENCE)
    assert list(m) == [0, 1]
    assert rounds(m) == [0]


def test_what_a_dead_worker_had_is_done_by_the_next(
    tmp_path: Path, gate: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker by hand dies without a word: after its lease it is not at work any more, and who waits
    offers its claims anew.
    """
    monkeypatch.setenv("WINGSPAN_LEASE_SECONDS", "2")
    wait = gate.wait

    def slow(x: int) -> int:
        wait()
        return x

    m = wingspan.map(slow, range(2), tag="lost", options=wingspan.Options(workers=0, block_size=2))
    folder = tmp_path / "out"
    render_map("slurm", folder, m, workers=1)
    environment = _shell({"TMPDIR": str(tmp_path)})
    with subprocess.Popen(
        ["sh", "worker.sh", "1500000", "0"], cwd=folder, env=environment, start_new_session=True
    ) as process:
        until(lambda: m.status().counts[wingspan.ComponentStatus.RUNNING] == 1, "a component under way")
        os.killpg(process.pid, signal.SIGKILL)
    until(lambda: not m.status().workers, "it is not counted any more")
    assert "nobody works on it" in str(m.status().message)

    def repaired() -> bool:
        m._look()
        return rounds(m) == [0, 1]

    until(repaired, "a repair")
    gate.open()
    subprocess.run(
        ["sh", "worker.sh", "2500000", "0"], cwd=folder, env=environment, check=True, timeout=PATIENCE
    )
    assert list(m) == [0, 1]
