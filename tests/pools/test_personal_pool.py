"""The personal pool, on a real HTCondor: its daemons are started, found, killed and started again."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import wingspan
from _jobs import finished, submit
from _waiting import PATIENCE, until
from wingspan.errors import PoolError, SettingsError
from wingspan.pools.personal import PersonalPool, PoolNotRunning
from wingspan.pools.personal.processes import MARKER, ProcessIdentity, boot_id

pytestmark = [
    pytest.mark.htcondor,
    pytest.mark.skipif(sys.platform != "linux", reason="HTCondor's daemons are obtained for Linux only"),
]

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder outside /tmp, which HTCondor may replace by a /tmp of the job's own."""
    path = Path(tempfile.mkdtemp(prefix="wingspan-test-", dir="/var/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def own_pool(folder: Path) -> Iterator[PersonalPool]:
    """A pool that the test may ruin; not started."""
    pool = PersonalPool(folder / "pool", cpus=2)
    yield pool
    pool.stop()
    assert pool.processes() == []


def python(code: str, *arguments: object, **options) -> subprocess.Popen:
    """Another Python that runs `code`."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


START = """
    import sys
    from pathlib import Path
    from wingspan.pools.personal import PersonalPool
    pool = PersonalPool(Path(sys.argv[1]), cpus=2)
    pool.start()
    print(pool.status().master_pid, flush=True)
"""


def listening_addresses(pids: list[int]) -> set[str]:
    """Local addresses, in the kernel's hexadecimal, that these processes listen on."""
    inodes = set()
    for pid in pids:
        # What has ended meanwhile listens no more.
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    target = str(descriptor.readlink())
                    if target.startswith("socket:["):
                        inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes and (table.startswith("udp") or fields[3] == "0A"):
                found.add(fields[1].split(":")[0])
    return found


class TestRunning:
    """What a pool does that has been started."""

    def test_it_says_that_it_runs(self, personal_pool: PersonalPool) -> None:
        """The status of a started pool names its state, master, version and size."""
        status = personal_pool.status()
        assert status.state == "running"
        assert status.master_pid in personal_pool.processes()
        assert status.cpus == 4
        assert status.version is not None
        assert int(status.version.split(".")[0]) >= 24

    def test_a_job_runs_and_its_files_are_ours(self, personal_pool: PersonalPool, tmp_path: Path) -> None:
        """A job runs as an unprivileged user, and its output belongs to whoever submitted it."""
        cluster = submit(personal_pool, tmp_path, "id -u")
        until(lambda: finished(tmp_path, cluster), "the job's end")
        assert int((tmp_path / "out.0").read_text()) != 0
        assert (tmp_path / "out.0").stat().st_uid == os.getuid()

    def test_jobs_that_ask_for_nothing_fill_every_slot(
        self, personal_pool: PersonalPool, tmp_path: Path
    ) -> None:
        """As many jobs of default size run at once as the pool has CPUs: each ends only when it has seen
        all.
        """
        meet = "touch here.$$; while [ $(ls here.* | wc -l) -lt 4 ]; do sleep 0.05; done; echo met"
        cluster = submit(personal_pool, tmp_path, meet, count=4)
        until(lambda: finished(tmp_path, cluster, 4), "four jobs that wait for each other")

    def test_it_listens_on_loopback_only(self, personal_pool: PersonalPool) -> None:
        """No daemon has a socket on an address that another machine could reach."""
        assert listening_addresses(personal_pool.processes()) == {"0100007F"}

    def test_removed_jobs_do_not_block_the_next(self, personal_pool: PersonalPool, tmp_path: Path) -> None:
        """After running jobs that fill the pool are removed, the next ones run."""
        import htcondor2

        first, second = tmp_path / "first", tmp_path / "second"
        first.mkdir()
        second.mkdir()
        cluster = submit(personal_pool, first, "echo began; exec sleep 1000", count=8)
        until(lambda: len([p for p in first.glob("out.*") if p.stat().st_size]) == 4, "four running jobs")
        with personal_pool.activate():
            personal_pool.schedd().act(htcondor2.JobAction.Remove, f"ClusterId == {cluster}")
        cluster = submit(personal_pool, second, "echo done", count=4)
        until(lambda: finished(second, cluster, 4), "jobs after the removed ones", seconds=PATIENCE)

    def test_a_job_that_ignores_sigterm_is_killed(self, personal_pool: PersonalPool, tmp_path: Path) -> None:
        """A removed job that will not end is killed within the vacate time, not after ten minutes."""
        import htcondor2

        cluster = submit(personal_pool, tmp_path, "trap '' TERM; echo $$; while :; do sleep 1; done")
        out = tmp_path / "out.0"
        pid = int(until(lambda: out.exists() and out.read_text(), "the job's pid"))
        identity = ProcessIdentity.of(pid)
        assert identity is not None
        with personal_pool.activate():
            personal_pool.schedd().act(htcondor2.JobAction.Remove, f"ClusterId == {cluster}")
        until(lambda: not identity.alive(), "its end", seconds=PATIENCE)

    def test_the_command_line_tools_speak_with_it(self, personal_pool: PersonalPool) -> None:
        """condor_q and condor_status work with nothing but the variables of environment()."""
        environment = {**os.environ, **personal_pool.environment()}
        for command in (["condor_q"], ["condor_status", "-af", "Name"]):
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        assert "slot1@" in done.stdout

    def test_a_reschedule_reaches_the_negotiator(self, folder: Path) -> None:
        """On a pool that negotiates every hour, reschedule() makes it negotiate now; on a stopped one it
        does nothing.
        """
        pool = PersonalPool(folder / "pool", cpus=1, settings={"NEGOTIATOR_INTERVAL": "3600"})
        log = pool.directory / "log/NegotiatorLog"

        def cycles() -> int:
            return log.read_text().count("Started Negotiation Cycle")

        try:
            pool.start()
            with pool.activate():
                until(cycles, "the first cycle, which comes by itself")
                before = cycles()
                pool.reschedule()
                until(lambda: cycles() > before, "another cycle")
        finally:
            pool.stop()
        with pool.activate():
            pool.reschedule()

    def test_another_user_of_the_machine_is_refused(self, personal_pool: PersonalPool) -> None:
        """Loopback is open to every user of the machine; only the pool's owner gets an answer."""
        if os.getuid() != 0:
            pytest.skip("only root can become somebody else")
        program = Path(personal_pool.environment()["PATH"].split(":")[0]) / "condor_q"
        other = pwd.getpwnam("nobody").pw_uid
        # The program lies in a folder that the other user cannot enter: root opens it, the other executes it.
        address = (personal_pool.directory / "log/.schedd_address").read_text().split("\n")[0]
        code = """
            import os, sys
            uid, program, address = int(sys.argv[1]), sys.argv[2], sys.argv[3]
            import htcondor2, classad2
            os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
            ad = classad2.ClassAd({"MyAddress": address, "Name": "x", "MyType": "Scheduler",
                                   "CondorVersion": htcondor2.version()})
            try:
                htcondor2.Schedd(ad).query()
            except Exception as error:
                print("refused", type(error).__name__)
            else:
                print("answered")
        """
        environment = {**os.environ, "CONDOR_CONFIG": "/dev/null"}
        done = python(code, other, program, address, env=environment)
        out, _ = done.communicate(timeout=PATIENCE)
        assert out.startswith("refused")
        with personal_pool.activate():  # and it still answers us
            personal_pool.schedd().query(limit=1)


class TestLife:
    """Start, find again, stop, crash."""

    def test_start_finds_the_running_pool(self, own_pool: PersonalPool) -> None:
        """A second start, here or in another process, finds the pool and starts nothing."""
        own_pool.start()
        master = own_pool.status().master_pid
        own_pool.start()
        assert own_pool.status().master_pid == master
        other = python(START, own_pool.directory)
        out, _ = other.communicate(timeout=PATIENCE)
        assert int(out) == master

    def test_two_processes_start_one_pool(self, own_pool: PersonalPool) -> None:
        """Of two processes that start the pool at the same moment one does, and both see the same master."""
        others = [python(START, own_pool.directory) for _ in range(2)]
        masters = {other.communicate(timeout=PATIENCE)[0] for other in others}
        assert len(masters) == 1
        assert masters.pop().strip()

    def test_it_outlives_who_started_it(self, own_pool: PersonalPool) -> None:
        """The pool goes on after its starter was killed by Ctrl-C at the terminal, or ended."""
        code = START + "\n    import time; time.sleep(1000)\n"
        starter = python(code, own_pool.directory, start_new_session=True, stderr=subprocess.DEVNULL)
        assert starter.stdout is not None
        master = int(starter.stdout.readline())
        os.killpg(starter.pid, signal.SIGINT)  # what a terminal does
        starter.wait(timeout=PATIENCE)
        starter.stdout.close()
        status = own_pool.status()
        assert (status.state, status.master_pid) == ("running", master)
        own_pool.start()
        assert own_pool.status().master_pid == master

    def test_stop_leaves_no_process(self, own_pool: PersonalPool, folder: Path) -> None:
        """Stop ends the daemons, a running job that ignores SIGTERM, and what it started in another
        session.
        """
        own_pool.start()
        submit(own_pool, folder, "trap '' TERM; setsid sleep 999 & echo $!; while :; do sleep 1; done")
        out = folder / "out.0"
        child = ProcessIdentity.of(int(until(lambda: out.exists() and out.read_text(), "the job")))
        assert child is not None
        assert child.alive()
        own_pool.stop()
        assert own_pool.processes() == []
        assert not child.alive()
        assert own_pool.status().state == "stopped"
        own_pool.stop()  # and again: nothing to do, no error

    def test_a_killed_master_is_noticed_and_the_queue_kept(
        self, own_pool: PersonalPool, folder: Path
    ) -> None:
        """After kill -9 of the master the status says so; the next start clears up and keeps the queue."""
        import htcondor2

        own_pool.start()
        cluster = submit(own_pool, folder, "echo released", hold="true")
        before = own_pool.processes()
        os.kill(own_pool.status().master_pid or 0, signal.SIGKILL)
        until(lambda: own_pool.status().state == "crashed", "the status to say so")
        with pytest.raises(PoolNotRunning):
            own_pool.environment()
        own_pool.start()
        assert own_pool.status().state == "running"
        assert not set(before) & set(own_pool.processes())
        with own_pool.activate():
            own_pool.schedd().act(htcondor2.JobAction.Release, f"ClusterId == {cluster}")
        done = folder / "out.0"
        until(lambda: done.exists() and done.read_text() == "released\n", "the job that was in the queue")

    @pytest.mark.parametrize(
        "daemon", ["condor_schedd", "condor_startd", "condor_collector", "condor_negotiator"]
    )
    def test_a_killed_daemon_comes_back(self, own_pool: PersonalPool, folder: Path, daemon: str) -> None:
        """After kill -9 of a daemon below the master a start waits until it is back, with the same master."""
        own_pool.start()
        status = own_pool.status()
        pids = [
            pid
            for pid in own_pool.processes()
            if Path(f"/proc/{pid}/exe").resolve().name == daemon
            and f"PPid:\t{status.master_pid}\n" in Path(f"/proc/{pid}/status").read_text()
        ]
        assert len(pids) == 1
        killed = ProcessIdentity.of(pids[0])
        assert killed is not None
        killed.kill(signal.SIGKILL)
        until(lambda: not killed.alive(), "its end")
        own_pool.start()
        assert own_pool.status().master_pid == status.master_pid
        cluster = submit(own_pool, folder, "echo done")
        until(lambda: finished(folder, cluster), "a job after that")

    def test_a_half_finished_start_is_cleaned_up(self, own_pool: PersonalPool) -> None:
        """What a process left that died before it wrote the master down is gone after the next start."""
        own_pool.start()
        stray = own_pool.processes()
        (own_pool.directory / "state.json").unlink()
        assert own_pool.status().state == "stopped"
        own_pool.start()
        assert not set(stray) & set(own_pool.processes())

    def test_a_reused_pid_is_not_the_master(self, own_pool: PersonalPool) -> None:
        """A process that has the dead master's number by now is neither taken for it nor killed."""
        own_pool.start()
        state_file = own_pool.directory / "state.json"
        state = json.loads(state_file.read_text())
        own_pool.stop()
        bystander = subprocess.Popen(["sleep", "1000"])
        try:
            state["master"]["pid"] = bystander.pid
            state_file.write_text(json.dumps(state))
            assert own_pool.status().state == "crashed"
            own_pool.stop()
            assert bystander.poll() is None
        finally:
            bystander.kill()
            bystander.wait()

    def test_a_zombie_is_not_the_master(self, own_pool: PersonalPool) -> None:
        """A dead master that nobody has reaped still has a pid; it is dead all the same."""
        zombie = subprocess.Popen(["sleep", "1000"])
        try:
            identity = ProcessIdentity.of(zombie.pid)
            assert identity is not None
            assert identity.alive()
            zombie.send_signal(signal.SIGKILL)
            until(lambda: not identity.alive(), "the zombie to count as dead")
            os.kill(zombie.pid, 0)  # the pid is still there
        finally:
            zombie.wait()

    def test_a_pool_of_the_last_boot_is_stopped(self, own_pool: PersonalPool) -> None:
        """What the notes say of a master from before the machine was booted is no crash."""
        own_pool.directory.mkdir()
        master = {"pid": 1, "started": 1, "boot": "another"}
        state = {
            "master": master,
            "version": "25.0.0",
            "source": "x",
            "prefix": "/x",
            "cpus": 1,
            "started": 0,
        }
        (own_pool.directory / "state.json").write_text(json.dumps(state))
        assert boot_id() != "another"
        assert own_pool.status().state == "stopped"

    def test_damaged_notes_mean_stopped(self, own_pool: PersonalPool) -> None:
        """A state file that is cut does not keep the pool from being started."""
        own_pool.directory.mkdir()
        (own_pool.directory / "state.json").write_text('{"master": {"pid"')
        assert own_pool.status().state == "stopped"
        own_pool.start()
        assert own_pool.status().state == "running"

    def test_ctrl_c_during_the_start_leaves_nothing(self, own_pool: PersonalPool) -> None:
        """A start that is interrupted while it waits for the daemons ends them."""
        code = """
            import sys
            from pathlib import Path
            from wingspan.pools.personal import PersonalPool
            from wingspan.pools.personal import pool as module

            def interrupt(self):
                raise KeyboardInterrupt

            PersonalPool._missing = interrupt
            try:
                PersonalPool(Path(sys.argv[1]), cpus=2).start()
            except KeyboardInterrupt:
                print("interrupted")
        """
        out, _ = python(code, own_pool.directory).communicate(timeout=PATIENCE)
        assert out == "interrupted\n"
        assert own_pool.processes() == []
        assert own_pool.status().state == "stopped"

    def test_another_size_needs_a_stop(self, own_pool: PersonalPool) -> None:
        """A running pool is not silently taken for one of another size."""
        own_pool.start()
        with pytest.raises(PoolError, match="runs with 2 CPUs, not 3"):
            PersonalPool(own_pool.directory, cpus=3).start()
        PersonalPool(own_pool.directory).start()
        with pytest.raises(SettingsError):
            PersonalPool(own_pool.directory, cpus=0)

    def test_a_deep_folder(self, folder: Path) -> None:
        """A pool folder deeper than a Unix socket's path may be long works, blanks and all."""
        pool = PersonalPool(folder / ("deep folder/" * 10 + "pool"), cpus=1)
        assert len(str(pool.directory)) > 108
        try:
            pool.start()
            cluster = submit(pool, folder, "echo done")
            until(lambda: finished(folder, cluster), "the job")
        finally:
            pool.stop()
        assert pool.processes() == []

    def test_settings_of_ones_own(self, folder: Path) -> None:
        """Settings that are given count over those of the pool; one that would be two lines is refused."""
        pool = PersonalPool(folder / "pool", cpus=1, settings={"STARTD_ATTRS": "HasCake", "HasCake": "True"})
        try:
            pool.start()
            cluster = submit(pool, folder, "echo done", requirements="HasCake")
            until(lambda: finished(folder, cluster), "a job that wants what the setting promises")
        finally:
            pool.stop()
        with pytest.raises(SettingsError):
            PersonalPool(folder / "pool", settings={"A": "1\nB = 2"}).start()
        assert pool.processes() == []

    def test_jobs_find_what_its_starter_finds(
        self, own_pool: PersonalPool, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """PATH of whoever starts the pool is that of its jobs, whatever characters are in it."""
        programs = folder / """it's a "$HOME" 100%"""
        programs.mkdir()
        program = programs / "apptainer-of-a-module"
        program.write_text("#!/bin/sh\necho found\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        own_pool.start()
        cluster = submit(own_pool, folder, "apptainer-of-a-module")
        until(lambda: finished(folder, cluster), "the job")
        assert (folder / "out.0").read_text() == "found\n"

    @as_root
    def test_a_host_name_that_does_not_resolve(self, own_pool: PersonalPool, folder: Path) -> None:
        """The pool starts and runs a job on a machine whose own name is unknown to it."""
        code = START + textwrap.indent(
            textwrap.dedent("""
            import socket
            sys.path.insert(0, sys.argv[2])
            from _jobs import finished, submit
            from _waiting import until
            folder = Path(sys.argv[3])
            cluster = submit(pool, folder, "hostname")
            until(lambda: finished(folder, cluster), "the job")
            """),
            "    ",
        )
        name = "no-such-host-of-wingspan"
        script = f'hostname {name} && exec "$@"'
        command = ["unshare", "--uts", "sh", "-c", script, "sh", sys.executable, "-c", textwrap.dedent(code)]
        done = subprocess.run(
            [*command, str(own_pool.directory), str(Path(__file__).parents[1]), str(folder)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        assert (folder / "out.0").read_text().strip() == name

    def test_our_own_variables_do_not_reach_the_daemons(
        self, own_pool: PersonalPool, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A site's settings in the environment change neither the pool nor what we ask it."""
        monkeypatch.setenv("_condor_SCHEDD_HOST", "schedd.example.org")
        monkeypatch.setenv("_CONDOR_NUM_CPUS", "1")
        monkeypatch.setenv("CONDOR_CONFIG", "/nonexistent/condor_config")
        own_pool.start()
        cluster = submit(own_pool, folder, "echo done")
        until(lambda: finished(folder, cluster), "the job")
        assert os.environ["_condor_SCHEDD_HOST"] == "schedd.example.org"
        assert os.environ["CONDOR_CONFIG"] == "/nonexistent/condor_config"


class TestActivation:
    """One configuration a process, and many who want it."""

    def test_it_is_put_back(self, personal_pool: PersonalPool, monkeypatch: pytest.MonkeyPatch) -> None:
        """After the outermost of nested activations the environment is as before, unset if it was unset."""
        monkeypatch.delenv("CONDOR_CONFIG", raising=False)
        with personal_pool.activate():
            with personal_pool.activate():
                assert os.environ["CONDOR_CONFIG"] == str(personal_pool.config_file)
            assert os.environ["CONDOR_CONFIG"] == str(personal_pool.config_file)
            personal_pool.schedd().query(limit=1)
        assert "CONDOR_CONFIG" not in os.environ

    def test_pools_can_be_nested(
        self, personal_pool: PersonalPool, own_pool: PersonalPool, folder: Path
    ) -> None:
        """Inside one pool's activation another can be used by the same thread, and then the first again."""
        import htcondor2

        own_pool.start()
        cluster = submit(personal_pool, folder, "true", hold="true")
        with personal_pool.activate():
            ours = f"ClusterId == {cluster}"
            assert len(personal_pool.schedd().query(ours)) == 1
            with own_pool.activate():
                assert own_pool.schedd().query() == []
            assert len(personal_pool.schedd().query(ours)) == 1
            personal_pool.schedd().act(htcondor2.JobAction.Remove, ours)

    def test_threads_share_and_take_turns(self, personal_pool: PersonalPool, own_pool: PersonalPool) -> None:
        """Threads that use two pools at once each reach the pool they asked for."""
        own_pool.start()
        wrong: list[str] = []

        def use(pool: PersonalPool) -> None:
            import htcondor2

            for _ in range(20):
                with pool.activate():
                    configured = htcondor2.param["LOCAL_DIR"]
                    pool.schedd().query(limit=1)
                    if configured != str(pool.directory):
                        wrong.append(configured)

        pools = [personal_pool, own_pool, personal_pool, own_pool]
        threads = [threading.Thread(target=use, args=[pool]) for pool in pools]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    def test_no_schedd_of_a_stopped_pool(self, own_pool: PersonalPool) -> None:
        """Asking a stopped pool for its schedd is an error that says how to start it."""
        with pytest.raises(PoolNotRunning) as caught, own_pool.activate():
            own_pool.schedd()
        assert "wingspan pool start" in (caught.value.hint or "")


CHIRP = """
import os, sys
sys.path.insert(0, sys.argv[1])
from htchirp import HTChirp
base = sys.argv[2]
with HTChirp() as chirp:
    chirp.mkdir(base + "/made", 0o755)
    new = base + "/made/a name"
    descriptor = chirp._open(new, "wcx", 0o644); chirp._close(descriptor)
    try:
        chirp._open(new, "wcx", 0o644)
        print("exclusive create let a second one in")
    except HTChirp.AlreadyExists:
        pass
    for word in (b"one ", b"two"):
        descriptor = chirp._open(base + "/grown", "cwa", 0o644)
        chirp._write(descriptor, word, len(word)); chirp._close(descriptor)
    chirp.rename(base + "/grown", new)
    chirp.link(new, base + "/linked")
    assert chirp.read(new, 100) == b"one two"
    assert sorted(chirp.getdir(base)) == ["linked", "made"], chirp.getdir(base)
    assert chirp.getlongdir(base)["linked"]["size"] == 7
    assert chirp.stat(new)["nlink"] == 2
    chirp.unlink(base + "/linked")
    chirp.set_job_attr("ChirpSaid", "42")
print("all well")
"""


def test_chirp_reaches_any_path_of_the_owner(personal_pool: PersonalPool, tmp_path: Path) -> None:
    """Over chirp a job creates exclusively, appends, renames, links and lists outside its own folder."""
    import htcondor2

    script, data = tmp_path / "chirp.py", tmp_path / "data"
    data.mkdir()
    script.write_text(CHIRP)
    client = Path(htcondor2.__file__).parent / "htchirp"
    shutil.copy(client / "htchirp.py", tmp_path / "htchirp.py")
    interpreter = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
    inner = tmp_path / "inner"
    inner.mkdir()
    cluster = submit(
        personal_pool,
        inner,
        f"exec {interpreter} {script} {tmp_path} {data}",
        **{"MY.WantIOProxy": "true", "should_transfer_files": "YES"},
    )
    until(lambda: finished(inner, cluster), "the job")
    assert (inner / "err.0").read_text() == ""
    assert (inner / "out.0").read_text() == "all well\n"
    assert (data / "made/a name").read_bytes() == b"one two"
    assert (data / "made/a name").stat().st_uid == os.getuid()


@as_root
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_ordinary_user_needs_nothing_from_root(folder: Path) -> None:
    """An unprivileged account obtains HTCondor by itself, starts it, runs a job and stops it."""
    interpreter = shutil.which("python3", path="/usr/bin:/bin")
    if interpreter is None or shutil.which("useradd") is None:
        pytest.skip("needs a Python that other users may execute, and useradd")
    import attrs

    sources = [Path(wingspan.__file__).parents[1], Path(attrs.__file__).parents[1]]
    name = f"wingspan-test-{os.getpid()}"
    home = folder / "home"
    folder.chmod(0o755)
    subprocess.run(["useradd", "--home-dir", str(home), "--create-home", name], check=True)
    try:
        account = pwd.getpwnam(name)
        environment = {
            "HOME": str(home),
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": os.pathsep.join(map(str, sources)),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

        def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [interpreter, "-c", textwrap.dedent(code), *map(str, arguments)],
                env=environment,
                cwd=home,
                user=account.pw_uid,
                group=account.pw_gid,
                extra_groups=[],
                capture_output=True,
                text=True,
                timeout=2 * PATIENCE,
            )

        if run("import htcondor2, wingspan.pools.personal").returncode:
            pytest.skip(
                f"{interpreter} cannot import what this Python can (folders that others may not enter)"
            )
        for helper in ("_jobs.py", "_waiting.py"):
            shutil.copy(Path(__file__).parents[1] / helper, home / helper)
            (home / helper).chmod(0o644)
        done = run(
            """
            import os, sys
            from pathlib import Path
            sys.path.insert(0, os.getcwd())
            from _jobs import finished, submit
            from _waiting import until
            from wingspan.pools.personal import PersonalPool
            pool = PersonalPool(cpus=2)
            pool.start()
            try:
                folder = Path("job").absolute()
                folder.mkdir()
                cluster = submit(pool, folder, "id -un")
                until(lambda: finished(folder, cluster), "the job")
                print((folder / "out.0").read_text().strip(), (folder / "out.0").stat().st_uid)
            finally:
                pool.stop()
            print(pool.processes())
            """
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [f"{name} {account.pw_uid}", "[]"]
    finally:
        subprocess.run(["userdel", name], check=True, stderr=subprocess.DEVNULL)


def test_the_marker_is_ours_alone(personal_pool: PersonalPool) -> None:
    """The variable by which a pool's processes are known is not among those given to a user's shell."""
    assert MARKER not in personal_pool.environment()
    assert os.getpid() not in personal_pool.processes()


def test_stopping_ends_the_workers_that_wait_for_maps(
    own_pool: PersonalPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool that is stopped leaves no warm worker behind."""
    from wingspan.pools import warm
    from wingspan.pools.htcondor import PersonalHTCondorPool

    # However slow this machine is, the worker does the map, and stays.
    monkeypatch.setattr(warm, "RETIRES_SECONDS", 2 * PATIENCE)
    monkeypatch.setenv("WINGSPAN_IDLE_SECONDS", f"{2 * PATIENCE:.0f}")
    pool = PersonalHTCondorPool(own_pool)
    own_pool.start()

    def warm_parent(x: int) -> int | None:
        return None if "CONDOR_STARTER_PID" in os.environ else os.getppid()

    worker = until(lambda: wingspan.map(warm_parent, [0], pool=pool)[0], "a map that a warm worker does")
    assert worker is not None
    identity = ProcessIdentity.of(worker)
    assert identity is not None
    assert worker in own_pool.processes()
    own_pool.stop()
    assert not identity.alive()
