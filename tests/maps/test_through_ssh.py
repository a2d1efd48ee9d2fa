"""Maps of an access point that this machine reaches through SSH: all that other maps can do."""

from __future__ import annotations

import io
import json
import os
import select
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import wingspan
from _on_disk import rounds, submissions
from _ssh import AccessPoint, access_point, ap, one_access_point
from _waiting import PATIENCE, until
from wingspan.errors import PoolError, PoolUnavailable, SettingsError, WingspanError
from wingspan.jobs import Submission
from wingspan.pools import ssh_connection
from wingspan.pools.ssh_frames import Broken, read_message
from wingspan.pools.ssh_mirror import Mirror
from wingspan.pools.submissions import SubmissionLog

__all__ = ["ap", "one_access_point"]

AP = "ssh://ap"


def square(x: int) -> int:
    print("working on", x)
    if x == 3:
        raise ValueError("three")
    return x * x


def test_a_map_of_another_machine_is_as_any_other(ap: AccessPoint, data_dir: Path) -> None:
    """Outputs, errors, streams, status and a rerun with another function come back; both machines have the
    map under its tag, until it is removed here.
    """
    m = wingspan.map(square, range(6), tag="far", pool=AP)
    status = m.wait(PATIENCE, errors_ok=True)
    assert (status.counts[wingspan.ComponentStatus.COMPLETED], list(m.errors)) == (5, [3])
    assert "working on 2" in m.stdout[2]
    assert "ValueError: three" in str(m.errors[3])
    assert status.pools == (AP,)
    m.rerun(m.errors, function=lambda x: -x)
    assert list(m) == [0, 1, 4, -3, 16, 25]
    assert [one.name for one in (ap.data / "tags").iterdir()] == ["far"]
    m.retag("away")
    assert [one.name for one in (ap.data / "tags").iterdir()] == ["away"]
    assert wingspan.load("away")[5] == 25
    m.remove()
    assert list((ap.data / "tags").iterdir()) == list((data_dir / "tags").iterdir()) == []
    assert list((ap.data / "maps").iterdir()) == list((data_dir / "maps").iterdir()) == []


def waits_for(path: str) -> int:
    import pathlib
    import time

    while not pathlib.Path(path).exists():
        time.sleep(0.01)
    return 7


def test_jobs_over_there_are_held_released_and_cancelled(ap: AccessPoint, tmp_path: Path) -> None:
    """What is done to a map here is done to its jobs there."""
    m = wingspan.map(waits_for, [str(tmp_path / "gate"), str(tmp_path / "never")], pool=AP)
    until(lambda: m.status().counts[wingspan.ComponentStatus.RUNNING] == 2, m.status)
    m.hold()
    until(lambda: m.status().workers == {"held": 2}, m.status)
    with pytest.raises(wingspan.ComponentHeld):
        m.wait(PATIENCE)
    m.release()
    (tmp_path / "gate").touch()
    assert m[0] == 7
    assert m.cancel(1) == (1,)
    m.wait(PATIENCE)
    with pytest.raises(wingspan.ComponentCancelled):
        m[1]
    m.remove()


def test_a_map_goes_on_while_no_laptop_is_there(ap: AccessPoint, tmp_path: Path) -> None:
    """A connection that breaks loses nothing, and what has happened meanwhile comes with the next look."""
    m = wingspan.map(waits_for, [str(tmp_path / "gate")] * 3, tag="lid", pool=AP)
    until(lambda: m.status().counts[wingspan.ComponentStatus.RUNNING], m.status)
    ap.break_connections()
    (tmp_path / "gate").touch()
    assert list(wingspan.load("lid")) == [7, 7, 7]
    assert list(m) == [7, 7, 7]
    m.remove()


def test_a_network_that_is_gone_is_noticed(
    ap: AccessPoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection through which nothing comes, and that nobody has ended, is given up; a notice says so,
    and another one is made, past the connection that ssh shares.
    """
    m = wingspan.map(waits_for, [str(tmp_path / "gate")], pool=AP)
    until(lambda: m.status().counts[wingspan.ComponentStatus.RUNNING], m.status)
    connection = ssh_connection.connection_to(ssh_connection.Address.parse(AP))
    connection._pipes.patience = 0.2
    ap.silence_connections()
    (tmp_path / "gate").touch()
    assert list(m) == [7]
    assert "nothing was heard from it" in caplog.text
    assert not connection.is_open
    m.remove()


def test_a_sign_of_life_comes_while_an_answer_takes_long(
    ap: AccessPoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other end says that it is at work, so that it is not taken for gone."""
    connection = ssh_connection.connection_to(ssh_connection.Address.parse(AP))
    seen = []
    read = ssh_connection.read_message
    monkeypatch.setattr(ssh_connection, "read_message", lambda pipes: seen.append(read(pipes)) or seen[-1])
    connection.tell("new", kind="maps", id="waits", attempt=0)  # from now on an answer is awaited
    connection._pipes.flush()
    until(lambda: select.select([connection._pipes._out], [], [], 1)[0], "a sign of life")
    connection.ask("workers", pool="local", count=1)
    assert seen[0][0] == {"alive": True}


@pytest.fixture(params=["before", "after"])
def break_at(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Callable[[], bool]]:
    """Has the connection break at the next request of a kind: before the access point has heard of it, or
    after it has done what was asked. Answers what says whether that has happened.
    """
    heard = request.param == "after"
    write, read = ssh_connection.write_message, ssh_connection.read_message

    def break_at(do: str) -> Callable[[], bool]:
        breaks = [True]

        def written(pipes: Any, plain: dict[str, Any], data: bytes = b"") -> None:
            if plain["do"] == do and breaks and breaks.pop():
                if heard:
                    write(pipes, plain, data)
                    pipes.flush()
                    while "alive" in (told := read(pipes)[0]) or "progress" in told:
                        pass
                raise Broken("the network is gone")
            write(pipes, plain, data)

        monkeypatch.setattr(ssh_connection, "write_message", written)
        return lambda: not breaks

    return break_at


def test_a_map_is_begun_once_though_its_connection_breaks(
    ap: AccessPoint, break_at: Callable[[str], Callable[[], bool]]
) -> None:
    """The connection breaks while a map is begun, before the access point has heard of it, or after it has
    begun it: there is one map, with one submission, and all its outputs.
    """
    has_broken = break_at("begin")
    m = wingspan.map(square, [1, 2], tag="once", pool=AP)
    assert list(m) == [1, 4]
    assert has_broken()
    assert [one.name for one in (ap.data / "maps").iterdir()] == [m.path.name]
    assert len(submissions(m)) == 1
    assert ((ap.data / "maps" / m.path.name / "submissions").read_text().count("\n"), m.exists) == (1, True)
    m.remove()


def test_what_is_asked_of_a_map_is_done_once_though_its_connection_breaks(
    ap: AccessPoint, tmp_path: Path, break_at: Callable[[str], Callable[[], bool]]
) -> None:
    """Workers are added once, components are done again once, and by the other function, whatever had become
    of the request when the connection broke; and nothing is left of the records of that.
    """
    before = set((ap.data / "arrived").glob("*"))
    m = wingspan.map(square, [1, 2], tag="changed", pool=AP)
    assert list(m) == [1, 4]
    has_broken = break_at("publish")
    m.rerun([0], function=lambda x: -x)
    assert (list(m), has_broken(), len(rounds(m))) == ([-1, 4], True, 2)
    m.remove()
    free = tmp_path / "free"
    m = wingspan.map(waits_for, [str(free)] * 3, tag="added", pool=AP, options=wingspan.Options(workers=1))
    has_broken = break_at("add")
    m.add_workers(1)
    assert has_broken()
    there = (ap.data / "maps" / m.path.name / "submissions").read_text()
    assert (there.count("\n"), len(submissions(m))) == (2, 2)
    free.touch()
    m.wait(PATIENCE)
    m.remove()
    ssh_connection.close_all()
    until(lambda: set((ap.data / "arrived").glob("*")) <= before, "the records are gone")


def test_a_request_that_was_given_up_is_not_done_later(ap: AccessPoint) -> None:
    """The process that was asked was cut off before it read the request. When it goes on after all, the same
    may have been asked through another connection: it refuses.
    """
    m = wingspan.map(abs, [-1], tag="late", pool=AP)
    assert list(m) == [1]
    what = {"kind": "maps", "id": m.path.name}
    late = ssh_connection.Connection(ssh_connection.Address.parse(AP))
    now = ssh_connection.connection_to(ssh_connection.Address.parse(AP))
    assert now.ask("request_outcome", **what, idempotency_key="5-0")[0] == {"given_up": True}
    with pytest.raises(PoolError, match="or was given up"):
        late.ask("retag", **what, idempotency_key="5-0", tag="other")
    late.close()
    assert m.tag == "late"
    m.remove()


def test_an_attempt_that_was_given_up_begins_nothing_later(ap: AccessPoint, tmp_path: Path) -> None:
    """The process that has received a map was cut off before it was told to begin it. When it goes on after
    all, another attempt has begun the map, or may: it refuses.
    """
    late = ssh_connection.Connection(ssh_connection.Address.parse(AP))
    what = {"kind": "maps", "id": "20260101-000000-00000000"}
    late.tell("new", **what, attempt=0)
    now = ssh_connection.connection_to(ssh_connection.Address.parse(AP))
    assert now.ask("outcome", **what, attempt=0)[0]["begun"] is False
    with pytest.raises(PoolError, match="this attempt was given up"):
        late.ask("begin", **what, attempt=0, pool="local")
    late.close()


def test_submissions_by_others_are_written_down_once(ap: AccessPoint) -> None:
    """Two processes of a laptop bring the same external submission at once: the copy has one line of it."""
    m = wingspan.map(abs, [-1], tag="twice", pool=AP)
    assert list(m) == [1]
    one, other = Mirror(m.path, AP), Mirror(m.path, AP)
    there = SubmissionLog(ap.data / "maps" / m.path.name)
    for cluster in ("7", "8"):
        there.add(Submission(pool="local", cluster=cluster, count=2), first=1000, external=True)
    take = one._take_files

    def meanwhile(told: dict[str, Any], data: bytes) -> None:
        other.look()
        take(told, data)

    one._take_files = meanwhile  # type: ignore[method-assign, assignment]
    one.look()
    one.look()
    assert [entry.cluster for entry in SubmissionLog(m.path).entries()][1:] == ["7", "8"]
    m.remove()


def test_a_large_function_comes_in_pieces(ap: AccessPoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another laptop has given a map over there another function, of many megabytes: it is brought piece by
    piece, and no message is larger than a piece and what a look brings at most.
    """
    m = wingspan.map(square, [1, 2], tag="large", pool=AP)
    assert list(m) == [1, 4]
    sizes, read = [], ssh_connection.read_message

    def measured(pipes: Any) -> Any:
        plain, data = read(pipes)
        sizes.append(len(data))
        return plain, data

    held = bytes(range(256)) * (36 << 10)  # 9 MB
    m.rerun([0, 1], function=lambda x: x + len(held))
    (function,) = [one for one in (m.path / "functions").iterdir() if one.suffix != ".json"]
    whole = function.read_bytes()
    assert list(m) == [len(held) + 1, len(held) + 2]
    function.unlink()
    ssh_connection.close_all()
    monkeypatch.setattr(ssh_connection, "read_message", measured)
    assert wingspan.load("large").status().is_done
    assert (function.read_bytes() == whole, max(sizes) <= 1 << 20) == (True, True)
    m.remove()


def test_ctrl_c_leaves_nothing_broken(ap: AccessPoint, tmp_path: Path) -> None:
    """Whoever waits is interrupted at any moment, also within a message; the next look goes on."""
    m = wingspan.map(waits_for, [str(tmp_path / "gate")], pool=AP)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            m.wait(PATIENCE)
    finally:
        signal.signal(signal.SIGALRM, before)
    (tmp_path / "gate").touch()
    assert list(m) == [7]
    m.remove()


def test_a_copy_that_a_dying_machine_has_damaged_is_mended(ap: AccessPoint) -> None:
    """What was not written to the disk to its end is brought once more."""
    m = wingspan.map(square, [1, 2], tag="torn", pool=AP)
    assert list(m) == [1, 4]
    for path in (m.path / "results").iterdir():
        data = path.read_bytes()
        path.write_bytes(data[:-40] + bytes(40))
    ssh_connection.close_all()
    assert list(wingspan.load("torn")) == [1, 4]
    m.remove()


def test_files_go_there_and_come_back(ap: AccessPoint, tmp_path: Path) -> None:
    """Input files are sent with the map; files that components send come here when somebody wants them."""
    (tmp_path / "data.txt").write_text("some ")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/more.txt").write_text("data")

    def copies(number: int, folder: Path) -> int:
        import pathlib

        text = pathlib.Path("data.txt").read_text() + (folder / "more.txt").read_text()
        pathlib.Path("out.txt").write_text(f"{number}: {text}")
        wingspan.component().transfer_output_files("out.txt")
        return len(text)

    options = wingspan.Options(input_files=[str(tmp_path / "data.txt")])
    folders = [wingspan.TransferPath(tmp_path / "folder")] * 2
    m = wingspan.map(copies, range(2), folders, tag="files", pool=AP, options=options)
    shutil.rmtree(tmp_path / "folder")
    assert list(m) == [9, 9]
    assert (m.output_files[1] / "out.txt").read_text() == "1: some data"
    fetched = m.fetch(tmp_path / "fetched")
    assert [[one.read_text() for one in files] for files in fetched.values()] == [
        ["0: some data"],
        ["1: some data"],
    ]
    m.remove()


def test_an_access_point_that_is_gone_is_said_to_be(
    ap: AccessPoint, caplog: pytest.LogCaptureFixture
) -> None:
    """Outputs that are here can be read; nothing else is done, and the error says what ssh says."""
    m = wingspan.map(abs, [-1, -2], tag="gone", pool=AP)
    assert list(m) == [1, 2]
    until(lambda: set(m.status().workers) == {"completed"}, m.status)
    ap.stop()
    try:
        found = wingspan.load("gone")
        assert list(found) == [1, 2]
        assert "running" not in found.status().workers
        assert "idle" not in found.status().workers
        assert "ap is not reached" in caplog.text
        with pytest.raises(PoolUnavailable, match=r"ap is not reached: .*onnection"):
            found.hold()
        with pytest.raises(PoolUnavailable):
            wingspan.map(abs, [-1], pool=AP)
        with pytest.raises(PoolUnavailable):
            found.remove()
    finally:
        ap.start()
    assert found.exists
    found.remove()
    assert list((ap.data / "maps").iterdir()) == []


def test_what_the_access_point_refuses_leaves_nothing(ap: AccessPoint, data_dir: Path) -> None:
    """A tag that is taken there is an error here, of the same class, and nothing stays on either side."""
    (ap.data / "tags").mkdir(exist_ok=True)
    (ap.data / "tags/taken").write_text("20260101-000000-00000000")
    with pytest.raises(wingspan.TagExists, match="the access point has a map with the tag 'taken'"):
        wingspan.map(abs, [-1], tag="taken", pool=AP)
    (ap.data / "tags/taken").unlink()
    assert list((ap.data / "maps").iterdir()) == list((data_dir / "maps").iterdir()) == []


def test_a_made_up_tag_that_is_taken_over_there_is_made_up_anew(
    ap: AccessPoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody chose it, so nobody is asked for another one: each side has the map by a tag of its own."""
    (ap.data / "tags").mkdir(exist_ok=True)
    (ap.data / "tags/calm-heron").write_text("20260101-000000-00000000")
    monkeypatch.setattr("wingspan.maps._create.new_tag", lambda folder: "calm-heron")
    made = wingspan.map(abs, [-1], pool=AP)
    assert (made.tag, list(made)) == ("calm-heron", [1])
    other = [tag.name for tag in (ap.data / "tags").iterdir() if tag.read_text() == made.path.name]
    assert len(other) == 1
    made.remove()
    assert [tag.name for tag in (ap.data / "tags").iterdir()] == ["calm-heron"]
    (ap.data / "tags/calm-heron").unlink()


def test_another_wingspan_over_there_is_named(
    ap: AccessPoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both versions are in the error; a machine without Wingspan is told from one that cannot be reached."""
    ssh_connection.close_all()
    with monkeypatch.context() as patch:
        patch.setattr(ssh_connection, "__version__", "0.0.1")
        with pytest.raises(PoolUnavailable, match=rf"is {wingspan.__version__}, and this one is 0\.0\.1"):
            wingspan.map(abs, [-1], pool=AP)
    with (tmp_path / "config/config.toml").open("a") as file:
        file.write('command = "~/nowhere/wingspan"\n')
    os.utime(tmp_path / "config/config.toml", (1, 1))
    with pytest.raises(PoolUnavailable, match="has no Wingspan"):
        wingspan.map(abs, [-1], pool=AP)


@pytest.mark.parametrize(
    "name", ["ssh://", "ssh://-oProxyCommand=x", "ssh://a b", "ssh://h/x?y", "ssh://h:x"]
)
def test_what_names_no_access_point(name: str) -> None:
    """A name that ssh would take for an option, or that names no host, is an error before anything starts."""
    with pytest.raises(SettingsError):
        wingspan.map(abs, [-1], pool=name)


def test_a_chain_stays_on_one_machine(ap: AccessPoint) -> None:
    """A map of a map over there is made there, if no pool is named; one that would be here is refused."""
    m = wingspan.map(square, [1, 2], tag="first", pool=AP)
    assert list(m.map(lambda x: x + 1, tag="second")) == [2, 5]
    with pytest.raises(SettingsError, match="a chain of it cannot be in local"):
        m.map(abs, pool="local")
    with pytest.raises(SettingsError, match="an executor"), wingspan.Executor(pool=AP) as executor:
        executor.submit(abs, -1)
    for tag in ("second", "first"):
        wingspan.remove(tag)


def test_an_access_point_that_takes_the_connection_and_says_nothing(
    ap: AccessPoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After a while it is given up, and the error says how long was waited."""
    program = tmp_path / "silent"
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o700)
    ssh_connection.close_all()
    monkeypatch.setattr(ssh_connection, "_FIRST_LINE_SECONDS", 1)
    with (tmp_path / "config/config.toml").open("a") as file:
        file.write(f'command = "{program}"\n')
    with pytest.raises(PoolUnavailable, match="said nothing for 1 seconds"):
        wingspan.map(abs, [-1], pool=AP)


def test_an_error_names_no_module_that_does_something_when_it_is_imported() -> None:
    """What an access point tells of an error executes no program here."""
    plain = {"type": "main", "module": "wingspan.__main__", "message": "it broke", "hint": None}
    assert type(ssh_connection.error_of(plain)) is PoolError
    assert "wingspan.__main__" not in sys.modules


_LIES = """
import json, sys
from wingspan.pools.ssh_frames import FIRST_LINE, PROTOCOL, read_message, write_message
out, said = sys.stdout.buffer, json.loads(sys.argv[1])
out.write(b"You have mail.\\n" + FIRST_LINE)
write_message(out, {"wingspan": sys.argv[2], "protocol": PROTOCOL})
usual = {
    "pool": {"own": 1, "sends_mail": 0, "rewards_short_jobs": 0},
    "workers": {"workers": 1},
    "begin": {},
    "look": {"files": [], "large": [], "entries": [], "events": []},
}
while True:
    out.flush()
    asked = read_message(sys.stdin.buffer)[0]["do"]
    if asked in ("new", "put"):
        continue
    answer = said.get(asked, usual.get(asked, {}))
    if isinstance(answer, str):
        out.write(len(answer).to_bytes(4, "big") + bytes(4) + answer.encode())
    else:
        for plain in [*said.get("before " + asked, []), answer]:
            write_message(out, plain, b"evil")
"""


@pytest.fixture
def lies(ap: AccessPoint, tmp_path: Path) -> Iterator[Callable[[dict[str, object]], None]]:
    """Has the access point answer to these requests what is said, and as an honest one to others."""

    def lies(said: dict[str, object]) -> None:
        program = tmp_path / "lies"
        (tmp_path / "lies.py").write_text(_LIES)
        (tmp_path / "said.json").write_text(json.dumps(said))
        words = f'"$(cat {tmp_path}/said.json)" {wingspan.__version__}'
        program.write_text(f"#!/bin/sh\nexec {sys.executable} {tmp_path}/lies.py {words}\n")
        program.chmod(0o700)
        ssh_connection.close_all()
        with (tmp_path / "config/config.toml").open("a") as file:
            file.write(f'command = "{program}"\n')

    yield lies
    ssh_connection.close_all()


def _look(**other: object) -> dict[str, object]:
    return {"look": {"files": [], "large": [], "entries": [], "events": [], **other}}


@pytest.mark.parametrize(
    "said",
    [
        *(_look(files=[[name, 0, 4, True]]) for name in ("../../../evil", "results/../../evil", "map.json")),
        _look(files=[["results/evil", -1, 4, False]]),
        _look(files=[["results/evil", 1 << 70, 4, False]]),
        _look(files=[["results/evil", 0, 1 << 40, True]]),
        _look(files=5),
        _look(large=[["results/evil", 1, 1 << 200, 0]]),
        _look(large=[["results/evil", 1, None, "x"]]),
        _look(large=[[]]),
        _look(entries=[[]]),
        _look(events=[{"state": "odd"}]),
        _look(events=[{"state": "idle", "nobody": 1}]),
        _look(info={"options": {"nobody": 1}}),
        _look(info={"edited": 5}),
        _look(info={"environment": "x"}),
        _look(stopped=5),
        {"look": {}},
        {"look": {"error": []}},
        {"look": {"error": {"type": 5, "module": [], "message": {}, "hint": {}}}},
        {"before look": [{"progress": []}]},
        {"before look": [{"progress": ["start", 1, 2, "x"]}]},
        {"pool": {}},
        {"workers": {"workers": "many"}},
    ],
)
def test_an_access_point_that_lies(
    lies: Callable[[dict[str, object]], None], tmp_path: Path, said: dict[str, object]
) -> None:
    """What it answers lies in the map's folder, among what is brought, or is an error of one sentence."""
    lies(said)
    with pytest.raises(WingspanError):
        wingspan.map(abs, [-1], pool=AP).status()
    assert [one for one in tmp_path.rglob("*evil*") if one.is_file()] == []


@pytest.mark.parametrize("text", [b"[" * 100_000, b"[1]", b"\xff", b"{", b"NaN"])
def test_a_message_that_is_none(text: bytes) -> None:
    """It ends the connection, whatever it is."""
    data = len(text).to_bytes(4, "big") + bytes(4) + text
    with pytest.raises(Broken):
        read_message(io.BytesIO(data))


def test_what_a_map_is_does_not_become_what_the_access_point_says(
    lies: Callable[[dict[str, object]], None], tmp_path: Path
) -> None:
    """Only what jobs ask for and get: not where the map was made, in which a command of its maker's is
    executed, nor its pool, its tag or its files; and notices command no terminal.
    """
    told = {
        "made_in": "/tmp",
        "pool": "local",
        "tag": "other",
        "id": "x",
        "edited": {"memory": [1, 2]},
        "made_up": 1,
    }
    lies({**_look(info=told), "before look": [{"notice": "\x1b]0;evil\x07"}]})
    m = wingspan.map(abs, [-1], pool=AP, tag="mine")
    said = json.loads((m.path / "map.json").read_bytes())
    assert (said["pool"], said["tag"], said["edited"]) == (AP, "mine", {"memory": [1, 2]})
    assert said["made_in"] != "/tmp"
    assert "made_up" not in said


def test_each_engine_over_there(
    engine: str, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever pool the access point has: outputs, an error, components with attributes of their own, a
    rerun, and removing.
    """
    names = [name for name in os.environ if name.startswith(("SLURM", "CONDOR", "_CONDOR"))]
    variables = {"WINGSPAN_POOL": engine, **{name: os.environ[name] for name in names}}
    (tmp_path / "ap").mkdir()
    with access_point(tmp_path / "ap", variables) as there:
        if (data_dir / "personal-pool").exists():
            (data_dir / "personal-pool").rename(there.data / "personal-pool")
        (tmp_path / "config").mkdir()
        (tmp_path / "config/config.toml").write_text(there.config_of_client())
        with monkeypatch.context() as patch:
            for name in names:
                patch.delenv(name)
            own = wingspan.Options(custom={"Part": lambda x: x % 2}, sbatch={"account": ["a", "b", "a"]})
            m = wingspan.map(square, range(2, 5), pool=AP, options=own)
            assert list(m.wait(PATIENCE, errors_ok=True).workers)
            assert list(m.errors) == [1]
            m.rerun(function=str)
            assert list(m) == [4, "3", 16]
            assert {one.components: one.options.custom["Part"] for one in m.requests} == {(0, 2): 0, (1,): 1}
            m.remove()
            assert [one for one in (there.data / "maps").iterdir() if (one / "map.json").exists()] == []
