"""The log of submissions of maps and runs: what is written is read again, whatever a crash has left
beside it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wingspan.jobs import Submission
from wingspan.pools.submissions import LoggedSubmission, SubmissionLog, by_pool

#: As the first Wingspans wrote them: of a map (its own, its own in the place of held ones, and a person's),
#: and of a run.
MAP = [
    {"pool": "personal", "cluster": "7", "count": 3, "first": 0, "place": "/pool", "time": 1700000000.5},
    {
        "pool": "local",
        "cluster": "l-1",
        "count": 1,
        "first": 3,
        "for_held": True,
        "place": None,
        "time": 1700000001.0,
    },
    {
        "pool": "personal",
        "place": "/pool",
        "cluster": "9",
        "count": 2,
        "first": 9000000,
        "by_hand": True,
        "time": 1700000002.0,
    },
]
RUN = [
    {"pool": "slurm", "cluster": "11", "count": 4, "first": 0, "time": 1700000000.0},
    {"pool": "slurm", "cluster": "12", "count": 1, "first": 2, "time": 1700000003.0, "inputs": 1},
]


def _write(folder: Path, *entries: object) -> SubmissionLog:
    (folder / "submissions").write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    return SubmissionLog(folder)


def test_old_logs_of_maps_are_read(tmp_path: Path) -> None:
    """Each field of a map's line has its meaning, `by_hand` too."""
    assert _write(tmp_path, *MAP).entries() == (
        LoggedSubmission(pool="personal", cluster="7", count=3, first=0, place="/pool", time=1700000000.5),
        LoggedSubmission(pool="local", cluster="l-1", count=1, first=3, for_held=True, time=1700000001.0),
        LoggedSubmission(
            pool="personal",
            cluster="9",
            count=2,
            first=9000000,
            place="/pool",
            external=True,
            time=1700000002.0,
        ),
    )


def test_old_logs_of_runs_are_read(tmp_path: Path) -> None:
    """Each field of a run's line has its meaning, and the jobs have the numbers that follow from it."""
    entries = _write(tmp_path, *RUN).entries()
    assert entries == (
        LoggedSubmission(pool="slurm", cluster="11", count=4, first=0, time=1700000000.0),
        LoggedSubmission(pool="slurm", cluster="12", count=1, first=2, inputs=1, time=1700000003.0),
    )
    assert [list(entry.numbers) for entry in entries] == [[0, 1, 2, 3], [2]]


def test_older_wingspans_read_what_is_written_now(tmp_path: Path) -> None:
    """The names of the fields on disk stay; what is not said is left out."""
    log = SubmissionLog(tmp_path)
    log.add(Submission(pool="personal", cluster="7", count=3), first=0, place="/pool")
    log.add(Submission(pool="local", cluster="l-1", count=1), first=3, for_held=True)
    log.add(Submission(pool="personal", cluster="9", count=2), first=9000000, external=True)
    log.add(Submission(pool="slurm", cluster="12", count=1), first=2, inputs=1)
    lines = [json.loads(line) for line in (tmp_path / "submissions").read_text().splitlines()]
    assert all(line.pop("time") > 0 for line in lines)
    assert lines == [
        {"pool": "personal", "cluster": "7", "count": 3, "first": 0, "place": "/pool"},
        {"pool": "local", "cluster": "l-1", "count": 1, "first": 3, "for_held": True},
        {"pool": "personal", "cluster": "9", "count": 2, "first": 9000000, "by_hand": True},
        {"pool": "slurm", "cluster": "12", "count": 1, "first": 2, "inputs": 1},
    ]


def test_jobs_that_two_processes_have_written_down_are_named_once(tmp_path: Path) -> None:
    """Of ours the first line counts; of external ones every line does, as a later one may tell of more
    jobs.
    """
    mine, external = MAP[0], MAP[2]
    more = {**external, "count": 5}
    entries = _write(tmp_path, mine, external, {**mine, "time": 5.0}, more, more).entries()
    assert [(entry.cluster, entry.count) for entry in entries] == [("7", 3), ("9", 2), ("9", 5), ("9", 5)]


def test_the_log_is_read_only_when_it_has_grown(tmp_path: Path) -> None:
    """The same answer, not an equal one, while nothing is written; another process's line is seen at once."""
    log, other = SubmissionLog(tmp_path), SubmissionLog(tmp_path)
    assert log.entries() == ()
    other.add(Submission(pool="local", cluster="a", count=1), first=0)
    before = log.entries()
    assert [entry.cluster for entry in before] == ["a"]
    assert log.entries() is before
    other.add(Submission(pool="local", cluster="b", count=1), first=1)
    assert [entry.cluster for entry in log.entries()] == ["a", "b"]
    (tmp_path / "submissions").unlink()
    assert log.entries() == ()


def test_submissions_by_pool(tmp_path: Path) -> None:
    """Every pool that has jobs is named once, with its jobs in the order of their submission."""
    found = by_pool(_write(tmp_path, *MAP).entries())
    assert {kind: [one.cluster for one in ones] for kind, ones in found.items()} == {
        "personal": ["7", "9"],
        "local": ["l-1"],
    }


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
#: Lines that no Wingspan has written: other JSON, fields with other values, and no JSON at all.
_FOREIGN = (
    _JSON.map(lambda value: json.dumps(value).encode())
    | st.tuples(st.sampled_from(sorted(MAP[0])), _JSON).map(
        lambda field: json.dumps({**MAP[0], "cluster": "99", field[0]: field[1]}).encode()
    )
    | st.binary(max_size=40).map(lambda data: data.replace(b"\n", b""))
)


@given(foreign=st.lists(_FOREIGN, max_size=6), cut=st.integers(min_value=0, max_value=200))
def test_no_line_hides_the_others(
    foreign: list[bytes], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever stands between the lines, and wherever the last one is cut: those that are whole are read,
    and the next one is appended whole.
    """
    folder = tmp_path_factory.mktemp("log")
    whole = [json.dumps(entry).encode() for entry in RUN]
    tail = json.dumps({**RUN[0], "cluster": "13"}).encode()[:cut]
    lines = [whole[0], *foreign, whole[1]]
    (folder / "submissions").write_bytes(b"".join(line + b"\n" for line in lines) + tail)
    log = SubmissionLog(folder)
    found = [entry.cluster for entry in log.entries()]
    assert (found[0], found[-1]) == ("11", "12")
    log.add(Submission(pool="slurm", cluster="14", count=1), first=0)
    assert log.entries()[-1].cluster == "14"


def test_lines_of_many_processes_are_whole(tmp_path: Path) -> None:
    """Processes that append at the same moment lose no line of each other."""
    program = (
        "import sys; from pathlib import Path; from wingspan.jobs import Submission\n"
        "from wingspan.pools.submissions import SubmissionLog\n"
        "log = SubmissionLog(Path(sys.argv[1]))\n"
        "for i in range(50):\n"
        "    log.add(Submission(pool='local', cluster=f'{sys.argv[2]}-{i}', count=1), first=i)\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name]) for name in ("a", "b", "c")
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    found = {entry.cluster for entry in SubmissionLog(tmp_path).entries()}
    assert found == {f"{name}-{i}" for name in ("a", "b", "c") for i in range(50)}
