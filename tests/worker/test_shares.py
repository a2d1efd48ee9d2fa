"""Shares: what a worker is given beforehand, and how what comes back is taken in. No engine is needed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from wingspan.maps import _shares
from wingspan.worker import shares
from wingspan.worker.shares import ShareTransport, unpack


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """The scratch folder of a job that was given components 2 and 3, and 7, of a map of ten."""
    import zipfile

    inputs = [f"input {number}".encode() * number for number in range(10)]
    ends = [sum(map(len, inputs[:number])) for number in range(11)]
    index = b"".join(end.to_bytes(8, "little") for end in ends)
    with zipfile.ZipFile(tmp_path / shares.MAP, "w") as archive:
        archive.writestr("map.json", json.dumps({"n": 10, "retries": 3}))
        archive.writestr("rounds/0/plan", "the plan")
        table = {
            "files": {"/on/the/access point/a": [4, 1000, True]},
            "aliases": {"/home/me": "/on/the/access point", "/home/link": "/on/the/access point/a"},
        }
        archive.writestr("files.json", json.dumps(table))
        archive.writestr("files/0", "text")
    parts: dict[str, list[tuple[int, int, int]]] = {"inputs.idx": [], "inputs.bin": []}
    given = {"inputs.idx": b"", "inputs.bin": b""}
    for first, stop in ((2, 4), (7, 8)):
        for name, low, high, data in (
            ("inputs.idx", 8 * first, 8 * (stop + 1), index),
            ("inputs.bin", ends[first], ends[stop], b"".join(inputs)),
        ):
            parts[name].append((low, high, len(given[name])))
            given[name] += data[low:high]
    with zipfile.ZipFile(tmp_path / f"{shares.SHARE}5.zip", "w") as archive:
        for name, data in given.items():
            archive.writestr(name, data)
        archive.writestr(
            shares.FILE, json.dumps({"blocks": {"0": [[1, 2], [3, 4]]}, "inputs": parts, "retires": 3600.0})
        )
    return tmp_path


def test_a_share_is_read_as_the_map_is(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs have the places that they have in the map; those of others are zeros; the start's name is one
    that no earlier start can have had.
    """
    (scratch / "ad").write_text("A = 1\nNumShadowStarts = 3\nB = 2\n")
    monkeypatch.setenv("_CONDOR_JOB_AD", str(scratch / "ad"))
    transport = ShareTransport(unpack(str(scratch)))
    info = json.loads(transport.read("map.json"))
    assert (info["retries"], info["first_start"], info["share"]) == (0, 2, {"0": [[1, 2], [3, 4]]})
    assert transport.facts_of("/on/the/access point/a") == (4, 1000)
    assert transport.facts_of("/home/me/a") == transport.facts_of("/home/link") == (4, 1000)
    assert transport.is_program("/on/the/access point/a")
    assert transport.facts_of("/on/the/access point/b") is None
    with (scratch / "copy").open("wb") as copy:
        assert transport.receive("/on/the/access point/a", copy.fileno()) == 4
    assert (scratch / "copy").read_text() == "text"
    assert transport.read("rounds/0/plan") == b"the plan"
    offsets = [int.from_bytes(transport.read("inputs.idx", 8, 8 * number), "little") for number in range(11)]
    assert [number for number in range(1, 11) if offsets[number]] == [2, 3, 4, 7, 8]
    assert transport.read("inputs.bin", offsets[4] - offsets[3], offsets[3]) == b"input 3" * 3
    across = transport.read("inputs.bin", offsets[8] - offsets[2], offsets[2])
    assert across.startswith(b"input 2" * 2 + b"input 3" * 3 + b"\0")
    assert across.endswith(b"\0" + b"input 7" * 7)


def test_what_was_written_before_is_kept(scratch: Path) -> None:
    """A job that is started again, with the folder that HTCondor has kept, has its records and claims; at its
    end only what others need comes back.
    """
    transport = ShareTransport(unpack(str(scratch)))
    transport.append("results/5.0", b"records")
    assert transport.create_exclusively("rounds/0/claims/1", b"mine")
    transport.close()
    again = ShareTransport(unpack(str(scratch)))
    assert not again.create_exclusively("rounds/0/claims/1", b"mine")
    again.finish("5.0", is_done=True)
    records = scratch / shares.RECORDS
    assert sorted(os.listdir(records)) == ["results", "whole"]
    assert json.loads((records / "whole" / "5.0").read_text()) == {"results/5.0": 7}


def test_archives_that_did_not_come_are_told(scratch: Path) -> None:
    """A job whose archive is missing, or cut, says which."""
    whole = (scratch / shares.MAP).read_bytes()
    (scratch / shares.MAP).write_bytes(whole[:-10])
    with pytest.raises(OSError, match=r"\.wingspan-map\.zip"):
        unpack(str(scratch))
    (scratch / f"{shares.SHARE}5.zip").unlink()
    with pytest.raises(OSError, match="did not come with the job"):
        unpack(str(scratch))


@pytest.fixture
def arrived(tmp_path: Path) -> Path:
    folder = tmp_path / _shares.ARRIVED / shares.RECORDS
    for path in (tmp_path / "results", folder / "results", folder / "output_files/3/0-1.0", folder / "whole"):
        path.mkdir(parents=True)
    return folder


def test_records_are_taken_when_all_has_arrived(arrived: Path, tmp_path: Path) -> None:
    """HTCondor writes one file after the other: nobody sees a record whose files are still on their way."""
    (arrived / "whole/1.0").write_text(json.dumps({"results/1.0": 5, "output_files/3/0-1.0/a": 3}))
    (arrived / "results/1.0").write_text("12345")
    (arrived / "output_files/3/0-1.0/a").write_text("12")
    _shares.take_in(tmp_path)
    assert os.listdir(tmp_path / "results") == []
    (arrived / "output_files/3/0-1.0/a").write_text("123")
    _shares.take_in(tmp_path)
    assert (tmp_path / "results/1.0").read_text() == "12345"
    assert (tmp_path / "output_files/3/0-1.0/a").read_text() == "123"
    assert os.listdir(arrived / "whole") == []
    _shares.take_in(tmp_path)


def test_without_a_list_records_are_taken_when_they_rest(arrived: Path, tmp_path: Path) -> None:
    """A worker that was killed has listed nothing: what it has written is taken when it changes no more, also
    by a clock that is wrong by an hour. More of a file replaces less of it, and never the other way round.
    """
    (arrived / "results/1.0").write_text("12345")
    _shares.take_in(tmp_path)
    assert os.listdir(tmp_path / "results") == []
    for hours, text, known in ((-1, "12345", "12345"), (1, "1234", "12345"), (-1, "123456", "123456")):
        (arrived / "results/1.0").write_text(text)
        then = (arrived / "results/1.0").stat().st_mtime + 3600 * hours
        os.utime(arrived / "results/1.0", (then, then))
        _shares.take_in(tmp_path)
        assert (tmp_path / "results/1.0").read_text() == known


def test_what_comes_back_reaches_nothing_else(arrived: Path, tmp_path: Path) -> None:
    """An execution point that sends other names, links or lists of other files changes nothing of the map."""
    (tmp_path / "key").write_text("secret")
    for name in ("map.json", "1.0.x", ".1.0"):
        (arrived / "results" / name).write_text("x")
    (arrived / "results/2.0").symlink_to(tmp_path / "key")
    (arrived / "whole/2.0").write_text(json.dumps({"results/2.0": 1, "../../key": 1, "/etc/passwd": 1}))
    (arrived / "whole/3.0").write_text("[]")
    (arrived / "whole/4.0").write_text("{")
    (arrived / "output_files/3/.0-1.0").mkdir()
    (arrived / "output_files/x").mkdir()
    _shares.take_in(tmp_path)
    assert (tmp_path / "key").read_text() == "secret"
    assert os.listdir(tmp_path / "results") == []
    assert not (tmp_path / "map.json").exists()
