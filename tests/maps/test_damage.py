"""Maps on disk with files that are missing, cut, altered or foreign: what can be read is read, the rest
is told.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

import wingspan
from _on_disk import key, records, starts
from _waiting import PATIENCE, until
from wingspan.errors import DiskError
from wingspan.maps._info import MapInfo
from wingspan.pools.local_job import is_alive
from wingspan.worker import formats
from wingspan.worker.transports import FileTransport


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """The data folder of a finished map of ten components by one worker, which has left."""
    folder = tmp_path_factory.mktemp("original") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINGSPAN_DATA_DIR", str(folder))
        options = wingspan.Options(workers=1)
        m = wingspan.map(lambda x: x * x, range(10), tag="ten", pool="local", options=options)
        m.wait()
        until(lambda: list(records(m, formats.BYE)), "its worker has left")
        # What it does last, folding the claims away, must not happen while the folder is copied.
        until(lambda: not any(map(is_alive, (m.path / "workers").glob("*.run"))), "it does nothing more")
    return folder


@pytest.fixture
def finished(original, data_dir):
    """A copy of the finished map."""
    shutil.copytree(original, data_dir)
    return wingspan.load("ten")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def damage(path: Path, how: str) -> None:
    if how == "cut":
        cut(path)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    if how == "a folder":
        path.mkdir()


@pytest.mark.parametrize("how", ["missing", "cut", "a folder"])
@pytest.mark.parametrize("name", ["map.json", "key"])
def test_without_its_description_or_key_a_map_is_damaged(finished, name, how):
    """`load` says what is wrong with which file, and the map can be removed all the same."""
    damage(finished.path / name, how)
    with pytest.raises(wingspan.MapDamaged, match=name.replace(".", r"\.")) as caught:
        wingspan.load("ten")
    assert str(finished.path) in str(caught.value)
    assert caught.value.hint
    wingspan.remove("ten")
    assert wingspan.tags() == ()
    assert not finished.path.exists()


def test_one_damaged_map_keeps_no_other_from_being_loaded(finished, caplog):
    """`load_maps` leaves it out and says so."""
    other = wingspan.map(abs, [-1], tag="whole", pool="local")
    assert other[0] == 1
    damage(finished.path / "map.json", "cut")
    assert [m.tag for m in wingspan.load_maps()] == ["whole"]
    assert "the map 'ten' is left out" in caplog.text


@pytest.mark.parametrize("others", [(), ("map.json",)])
def test_jobs_that_are_not_known_are_not_left_behind_silently(finished, others):
    """Where the list of jobs cannot be read `remove` says so, whether or not the rest can, and with
    `force` it removes the map.
    """
    for name in ("submissions", *others):
        damage(finished.path / name, "a folder")
    with pytest.raises(DiskError, match="submissions") as caught:
        wingspan.remove("ten")
    assert caught.value.hint
    assert finished.path.is_dir()
    wingspan.remove("ten", force=True)
    assert wingspan.tags() == ()
    assert not finished.path.exists()


@pytest.mark.parametrize("how", ["missing", "cut"])
@pytest.mark.parametrize("name", ["inputs.bin", "inputs.idx"])
def test_without_its_inputs_a_map_still_gives_its_outputs(finished, name, how):
    """Outputs are read; inputs, reruns and more workers are refused with the file's name."""
    damage(finished.path / name, how)
    m = wingspan.load("ten")
    assert list(m) == [x * x for x in range(10)]
    for ask in (
        lambda: m.input(9),
        lambda: m.rerun([1]),
        lambda: m.add_workers(1),
        lambda: list(m.iter_inputs()),
    ):
        with pytest.raises(wingspan.MapDamaged, match=name.replace(".", r"\.")):
            ask()
    m.remove()
    assert wingspan.tags() == ()


@pytest.mark.parametrize("name", ["function.pkl", "worker.pyz"])
def test_without_its_function_or_worker_a_map_still_gives_its_outputs(finished, name):
    """Outputs and inputs are read; reruns are refused with the file's name."""
    (finished.path / name).unlink()
    m = wingspan.load("ten")
    assert list(m) == [x * x for x in range(10)]
    assert m.input(9) == 9
    with pytest.raises(wingspan.MapDamaged, match=name.replace(".", r"\.")):
        m.rerun([1])


@pytest.mark.parametrize(
    ("name", "what"), [("results", "results"), ("rounds", "round 0"), ("rounds/0/plan", "round 0")]
)
def test_without_a_folder_that_counts_a_map_is_damaged(finished, name, what):
    """A map without results or rounds says so, and can be removed."""
    damage(finished.path / name, "missing")
    with pytest.raises(wingspan.MapDamaged, match=what):
        wingspan.load("ten").wait(timeout=PATIENCE)
    wingspan.remove("ten")
    assert not finished.path.exists()


def test_a_cut_plan_is_told(finished):
    """A plan that is not whole is not believed."""
    cut(finished.path / "rounds/0/plan")
    with pytest.raises(wingspan.MapDamaged, match="plan of round 0"):
        wingspan.load("ten").wait(timeout=PATIENCE)


@pytest.mark.parametrize(
    ("name", "how"), [("submissions", "missing"), ("submissions", "cut"), ("workers", "missing")]
)
def test_what_can_be_rebuilt_may_be_missing(finished, name, how):
    """Outputs do not depend on the notes about jobs."""
    damage(finished.path / name, how)
    assert list(wingspan.load("ten")) == [x * x for x in range(10)]


@pytest.mark.parametrize("how", ["cut", "flipped bit"])
def test_lost_results_are_done_again(finished, how):
    """Components whose records are cut or altered count as not done, and are done again when waited for."""
    path = finished.path / "results/0.0"
    if how == "flipped bit":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    else:
        damage(path, how)
    m = wingspan.load("ten")
    assert not m.is_done
    assert m.wait(timeout=PATIENCE).is_done
    assert list(m) == [x * x for x in range(10)]


def test_a_file_of_results_signed_with_another_key_is_not_believed(finished):
    """Records that somebody without the map's key wrote are ignored: other outputs stay, nothing of
    theirs is unpickled.
    """
    touched = finished.path / "evil"
    import pickle

    class Evil:
        def __reduce__(self):
            return (Path.touch, (touched,))

    payload = pickle.dumps(Evil())
    header = formats.RECORD.pack(formats.OUTPUT, 0, 0, 1, 3, time.time(), 0.0, 0.0, 0, len(payload))
    forged = formats.frame(b"x" * formats.KEY_BYTES, "9.0", 0, [header], [payload])
    (finished.path / "results/9.0").write_bytes(forged)
    (finished.path / "results/README").write_text("not a results file")
    (finished.path / "results/8.0").write_bytes(b"garbage " * 100)
    m = wingspan.load("ten")
    m.rerun([3])
    assert m.get(3, timeout=PATIENCE) == 9
    assert list(m) == [x * x for x in range(10)]
    assert not touched.exists()


def test_a_frame_copied_from_another_file_is_not_believed(finished):
    """A frame is signed for its own file and place: copied elsewhere, or appended twice, it counts for
    nothing.
    """
    path = finished.path / "results/0.0"
    data = path.read_bytes()
    (finished.path / "results/7.0").write_bytes(data)
    path.write_bytes(data + data)
    m = wingspan.load("ten")
    m.rerun([0])
    assert m.get(0, timeout=PATIENCE) == 0
    assert len(m.runtimes) == 10
    assert {measures.worker for measures in m.runtimes.values()} & {"7.0"} == set()


def test_records_that_arrive_late_are_found(finished):
    """Frames that appear after a first look, in pieces, count once they are whole, and not before."""
    path = finished.path / "results/0.0"
    data = path.read_bytes()
    path.write_bytes(b"")
    m = wingspan.load("ten")
    assert not m.is_done
    counts = [0]
    for *_, end in formats.whole_frames("0.0", key(finished), data, 0):
        for stop in (end - 1, end):
            path.write_bytes(data[:stop])
            counts.append(m.status().counts[wingspan.ComponentStatus.COMPLETED])
    assert counts[::2][:-1] == counts[1::2], "a frame that is cut adds nothing"
    assert (counts[0], counts[-1]) == (0, 10)
    assert m.is_done
    assert list(m) == [x * x for x in range(10)]


def test_a_second_record_of_a_component_changes_nothing(finished):
    """The first whole record of a component in its newest round counts; a duplicate from a lost worker is
    harmless.
    """
    import pickle

    payload = pickle.dumps("a duplicate")
    header = formats.RECORD.pack(formats.OUTPUT, 0, 0, 0, 4, time.time(), 0.0, 0.0, 0, len(payload))
    m = wingspan.load("ten")
    assert m[4] == 16
    late = formats.frame(key(m), "5.0", 0, [header], [payload])
    (finished.path / "results/5.0").write_bytes(late)
    assert m[4] == 16
    assert len(m.runtimes) == 10
    assert list(m.iter_as_available()) == sorted(m, key=[x * x for x in range(10)].index)


def test_a_record_of_no_component_of_this_map_is_ignored(finished):
    """A number beyond the map's components in a signed record harms nothing."""
    header = formats.RECORD.pack(formats.OUTPUT, 0, 0, 0, 10**6, time.time(), 0.0, 0.0, 0, 0)
    m = wingspan.load("ten")
    data = formats.frame(key(m), "5.0", 0, [header], [b""])
    (finished.path / "results/5.0").write_bytes(data)
    assert list(wingspan.load("ten")) == [x * x for x in range(10)]


def test_a_map_of_a_newer_format_is_refused(finished):
    """A map.json of another format says which Wingspan is needed."""
    path = finished.path / "map.json"
    path.write_text(path.read_text().replace('"format": 2', '"format": 99'))
    with pytest.raises(wingspan.MapError, match="format 99") as caught:
        wingspan.load("ten")
    assert "newer" in caught.value.hint


def test_a_map_whose_folder_is_gone_is_not_found(finished):
    """A tag whose map was deleted by hand is TagNotFound, and the tag is free again."""
    shutil.rmtree(finished.path)
    with pytest.raises(wingspan.TagNotFound, match="was removed"):
        wingspan.load("ten")
    assert wingspan.tags() == ()
    assert wingspan.map(abs, [-1], tag="ten", pool="local")[0] == 1


def test_a_map_of_the_older_format_is_read(finished):
    """A map of format 1, whose frames are signed in the older way and whose plan names no round, is read;
    nothing of it is folded.
    """
    import hashlib
    import json

    from wingspan.worker.history import finished_components

    key = (finished.path / "key").read_bytes()
    for path in (finished.path / "results").iterdir():
        data, old = path.read_bytes(), b""
        for _, count, begin, end in formats.whole_frames(path.name, key, data, 0):
            body = data[begin:end]
            code = hashlib.blake2b(key=key, digest_size=16)
            code.update(b"%s\0%d\0%d\0%d\0" % (path.name.encode(), len(old), len(body), count) + body)
            old += formats.FRAME.pack(formats.OLD_FRAME_MAGIC, len(body), count, code.digest()) + body
        path.write_bytes(old)
    plan = json.loads(formats.verify(key, (finished.path / "rounds/0/plan").read_bytes()))
    del plan["round"]
    (finished.path / "rounds/0/plan").write_bytes(formats.sign(key, json.dumps(plan)))
    (finished.path / "rounds/0/claims").mkdir(exist_ok=True)
    info = finished.path / "map.json"
    info.write_text(info.read_text().replace('"format": 2', '"format": 1'))
    m = wingspan.load("ten")
    assert m.is_done
    assert list(m) == [x * x for x in range(10)]
    done = set()
    for name in starts(m):
        done |= finished_components(FileTransport(str(m.path)), key, name, 0).keys()
    assert done == set(range(10))
    m.wait(PATIENCE)
    assert (finished.path / "rounds/0/claims").is_dir()
    m._keeper.publish("rerun", [3])
    assert (finished.path / "rounds/1/done").is_dir()


@pytest.mark.parametrize("content", ["", "../..", "..", "no such map"])
def test_a_broken_tag_file_endangers_no_map(content, data_dir):
    """A tag file that is empty, or says something else, is told, can be removed, and takes no map with it."""
    m = wingspan.map(abs, [-1], tag="good", pool="local")
    m.wait()
    (data_dir / "tags/broken").write_text(content)
    with pytest.raises(wingspan.WingspanError):
        wingspan.load("broken")
    wingspan.remove("broken", missing_ok=True)
    assert wingspan.tags() == ("good",)
    assert wingspan.load("good")[0] == 1
    (data_dir / "tags/broken").write_text(content)
    assert list(wingspan.map(abs, [-2], tag="broken", pool="local")) == [2]
    (data_dir / "tags/empty").write_text(content)
    (data_dir.parent / "precious").mkdir()
    wingspan.clean(all=True)
    assert wingspan.tags() == ()
    assert (data_dir.parent / "precious").exists()


def test_results_cut_while_they_are_read_are_told():
    """A results file that gets shorter under an open map is a MapDamaged, not an error of struct."""
    m = wingspan.map(lambda x: x, range(10), pool="local", options=wingspan.Options(workers=1))
    m.wait()
    os.truncate(m.path / "results/0.0", 30)
    with pytest.raises(wingspan.MapDamaged, match=r"results/0\.0"):
        m[5]


def test_what_another_wingspan_says_of_a_map_is_kept(finished):
    """A map.json with a key that nobody knows here, and without what came later, is read; a retag keeps
    the key.
    """
    path = finished.path / "map.json"
    known = json.loads(path.read_text())
    assert json.loads(json.dumps(MapInfo.from_json(known).to_json())) == known
    for later in (
        "created",
        "retries",
        "lease_seconds",
        "holds_code",
        "function_bytes",
        "own_modules",
        "code",
        "made_in",
    ):
        del known[later]
    path.write_text(json.dumps({**known, "mood": "good"}))
    m = wingspan.load("ten")
    assert list(m) == [x * x for x in range(10)]
    m.retag("eleven")
    assert json.loads(path.read_text())["mood"] == "good"


@pytest.mark.parametrize("content", ["null", "[]", "{}", '{"format": 1}', "17"])
def test_a_map_json_of_another_shape_is_told(content):
    """A map.json that is JSON but no map's is an error of ours, and the map can be removed."""
    m = wingspan.map(abs, [-1], tag="odd", pool="local")
    m.wait()
    (m.path / "map.json").write_text(content)
    with pytest.raises(wingspan.MapError) as caught:
        wingspan.load("odd")
    assert caught.value.hint
    wingspan.clean()
    wingspan.remove("odd")
    assert wingspan.tags() == ()
    assert not m.path.exists()


def test_a_cut_function_is_told():
    """A cut function.pkl is an error that names the file; it is not taken for a lost worker."""
    m = wingspan.map(lambda x: x, range(3), tag="cut", pool="local")
    m.wait()
    path = m.path / "function.pkl"
    os.truncate(path, path.stat().st_size // 2)

    def again():
        one = wingspan.load("cut")
        one.rerun([1])
        one.get(1, timeout=PATIENCE)

    with pytest.raises(wingspan.WingspanError) as caught:
        again()
    assert not isinstance(caught.value, wingspan.ComponentError)
    assert "function" in str(caught.value)


def test_a_map_folder_without_workers_can_be_done_again():
    """The folder `workers` holds nothing that counts: without it a rerun works."""
    m = wingspan.map(abs, [-1], pool="local")
    m.wait()
    shutil.rmtree(m.path / "workers")
    m.rerun([0])
    assert m.get(0, timeout=PATIENCE) == 1


def test_a_missing_results_file_is_done_again():
    """Components whose results file is gone count as not done, and are done again when waited for."""
    m = wingspan.map(lambda x: x * x, range(10), tag="ten", pool="local", options=wingspan.Options(workers=1))
    m.wait()
    (m.path / "results/0.0").unlink()
    again = wingspan.load("ten")
    assert not again.is_done
    assert list(again) == [x * x for x in range(10)]
