"""Bundles that are built in a job: on a real HTCondor pool, as a site's, and on a real Slurm."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import wingspan
from _on_disk import submissions
from _slurm_cluster import SlurmCluster
from _waiting import PATIENCE, until
from wingspan.environments import load_environment
from wingspan.environments.bundles import build_bundle
from wingspan.environments.bundles.errors import BundleDamaged
from wingspan.environments.bundles.in_job import Heard, main
from wingspan.jobs import JobDescription, Submission
from wingspan.pools.htcondor import PersonalHTCondorPool
from wingspan.pools.personal import PersonalPool
from wingspan.progress import NoProgress
from wingspan.runs import RunFailed, load_runs
from wingspan.runs._build import build_in_job
from wingspan.stores import ContentName, open_store


class _Site(PersonalHTCondorPool):
    """The personal pool, as if its machines were others."""

    shares_files = False
    follows_site = True

    def submit(self, job: JobDescription) -> Submission:
        """Note what the jobs say of themselves."""
        self.custom = dict(job.custom)
        return super().submit(job)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data, settings and cache of the test's own."""
    for name in ("data", "config", "cache"):
        monkeypatch.setenv(f"WINGSPAN_{name.upper()}_DIR", str(tmp_path / name))
    monkeypatch.delenv("WINGSPAN_POOL", raising=False)


class _Told(NoProgress):
    """Keeps what work was begun."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def start(self, description: str, total: float | None = None) -> int:
        self.begun.append(description)
        return 0


@pytest.mark.htcondor
def test_a_job_of_a_site_builds_what_a_build_here_gives(
    local_workspace: Path, personal_pool: PersonalPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wingspan and what it imports go along, and the job gives the very bytes that a build here gives; it
    lies in the cache afterwards, so that the next call makes no job. Progress of the job is told. The job
    says what the site wants of such jobs.
    """
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "personal-pool").symlink_to(personal_pool.directory)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text(
        '[profile.here]\nhosts = ["*"]\n[profile.here.build]\nattributes = { IsBuildJob = true }\n'
    )
    env = load_environment(local_workspace, "small")
    told = _Told()
    site = _Site(personal_pool)
    made = build_in_job(env, "squashfs", pool=site, directory=tmp_path / "out", progress=told)
    assert site.custom["IsBuildJob"] is True
    assert made.path.parent == tmp_path / "out"
    assert any("Waiting for the build job" in one for one in told.begun)
    assert any("ashing" in one for one in told.begun), told.begun
    assert not load_runs()
    assert build_in_job(env, "squashfs", pool="nowhere").sha256 == made.sha256
    monkeypatch.setenv("WINGSPAN_CACHE_DIR", str(tmp_path / "another"))
    assert build_bundle(env, "squashfs").sha256 == made.sha256


@pytest.mark.slurm
def test_slurm_builds_too(
    local_workspace: Path, slurm_cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``wingspan env bundle --on-pool`` gives the bundle in the working folder. Ctrl-C leaves the job alone,
    and the same command comes back to it. The job puts the bundle into a store, too.
    """
    for name, value in slurm_cluster.environment().items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "wingspan", "env", "bundle", "-m", str(local_workspace), "-e", "small"]
    store = tmp_path / "store"
    store.mkdir()
    command += ["--on-pool", "--pool", "slurm", "--to", str(store), "--json", "-q"]
    everything = wingspan.run(["sleep", "600"], pool="slurm", cpus=4)  # so that the build waits
    until(lambda: everything.status().state == "running")
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        until(lambda: len(load_runs()) == 2)
        (run,) = [one for one in load_runs() if one.name != everything.name]
        until(lambda: submissions(run))
        first.send_signal(signal.SIGINT)
        _, said = first.communicate(timeout=PATIENCE)
    everything.remove()
    assert f"the build job {run.name!r} goes on by itself" in said
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = json.loads(done.stdout)
    assert Path(made["path"]).parent == tmp_path
    name = Path(made["path"]).name
    assert sorted(path.name for path in store.iterdir()) == [name, f"{name}.sha256"]
    assert open_store(store).digest_of(ContentName.parse(name)) == made["sha256"]
    assert not load_runs()


def test_a_build_that_fails_says_why_and_is_tried_again(local_workspace: Path, tmp_path: Path) -> None:
    """The reason is the build's own sentence; the next call makes another job."""
    copied = tmp_path / "workspace"
    copied.mkdir()
    lock = (local_workspace / "pixi.lock").read_text()
    (copied / "pixi.toml").write_bytes((local_workspace / "pixi.toml").read_bytes())
    (copied / "pixi.lock").write_text(lock.replace("prefix-probe-", "prefix-prob3-"))
    env = load_environment(copied, "small", check_lock=False)
    for _ in range(2):
        with pytest.raises(RunFailed, match=r"the build job failed: .*prefix-prob3-"):
            build_in_job(env, "pack", pool="local")
    (run,) = load_runs()
    run.remove()


def test_what_a_job_has_sent_is_not_published_again(local_workspace: Path, tmp_path: Path) -> None:
    """A store that the job itself has sent the bundle to is not read back here; another one gets it from
    here.
    """
    env, told, stores = load_environment(local_workspace, "small"), _Told(), [tmp_path / "a", tmp_path / "b"]
    for store in stores:
        store.mkdir()
    made = build_in_job(env, "pack", pool="local", to=open_store(stores[0]), progress=told)
    assert not [one for one in told.begun if one.startswith(("sending", "checking"))], told.begun
    build_in_job(env, "pack", to=open_store(stores[1]), progress=told)
    assert f"sending {made.path.name}" in told.begun
    for store in stores:
        assert sorted(path.name for path in store.iterdir()) == [made.path.name, f"{made.path.name}.sha256"]


def test_another_environments_bundle_is_not_taken(local_workspace: Path, tmp_path: Path) -> None:
    """What a job brings back is compared with what it was to build."""
    other = build_bundle(load_environment(local_workspace, "wheels"), "install", directory=tmp_path)
    with pytest.raises(BundleDamaged, match="is not the pack bundle of environment 'small'"):
        build_bundle(load_environment(local_workspace, "small"), "pack", made_elsewhere=other.path)


def test_another_python_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Tools with compiled code would fail in a way that nobody understands."""
    assert main(["pixi.toml", "default", "linux-64", "pack", "python=2.7"]) == 1
    assert "the build tools that came along need python 2.7" in capsys.readouterr().err


def test_what_a_job_prints_otherwise_is_passed_over() -> None:
    """Lines that are cut or no progress, and tasks that nobody began, disturb nobody."""
    told = _Told()
    heard = Heard(told)
    for text in ('{"start": 0, "what": "a", "to', 'tal": 3}\nno json\n', '{"advance": 7, "by": 1}\n[]\n3\n'):
        heard.read(text)
    heard.close()
    assert told.begun == ["a"]
