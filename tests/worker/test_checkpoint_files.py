"""Checkpoints as files: which are kept, which are taken, and when they go."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from wingspan.worker import formats
from wingspan.worker.checkpoints import Checkpoints
from wingspan.worker.transports import FileTransport

KEY = b"k" * formats.KEY_BYTES


class _Noting(FileTransport):
    """The way to the map's folder, which notes how much was asked for."""

    most = 0

    def read(self, path: str, length: int | None = None, offset: int = 0) -> bytes:
        self.most = max(self.most, length or 0)
        return super().read(path, length, offset)


def _start(folder: Path, name: str = "0.0", key: bytes = KEY) -> Checkpoints:
    """The checkpoints of one start of a worker."""
    return Checkpoints(FileTransport(str(folder)), key, name, lambda: None)


def _files(folder: Path, *contents: bytes) -> list[dict[str, Any]]:
    """New files with these contents, as a checkpoint is told of them."""
    files = []
    for number, content in enumerate(contents):
        source = folder / f"source-{number}"
        source.write_bytes(content)
        files.append(
            {
                "folder": "work",
                "path": f"f{number}",
                "size": len(content),
                "mode": 0o640,
                "source": str(source),
            }
        )
    return files


def _names(folder: Path, component: int = 7) -> list[str]:
    return sorted(os.listdir(folder / "checkpoints" / str(component)))


def _restored(start: Checkpoints, out: Path, function: str = "f.pkl") -> list[bytes] | None:
    """The contents of the files that are restored; None if there is no checkpoint."""
    out.mkdir(exist_ok=True)
    files = start.restore(7, function, str(out))
    return None if files is None else [(out / str(number)).read_bytes() for number in range(len(files))]


def _sign_again(path: Path, name: str, pieces: list[bytes]) -> None:
    """Write a checkpoint with these pieces, all of them signed, in place of the one at `path`."""
    data = b""
    for piece in pieces:
        data += formats.piece_head(KEY, name, len(data), piece) + piece
    path.write_bytes(data)


def test_the_next_start_gets_the_newest_files(tmp_path: Path) -> None:
    """What was written last is restored, with folder, path, size and mode, and without the path it was read
    from; a file longer than one piece comes back whole.
    """
    start = _start(tmp_path)
    start.write(7, "f.pkl", _files(tmp_path, b"old"))
    long = os.urandom(formats.PIECE_BYTES + 17)
    start.write(7, "f.pkl", _files(tmp_path, long, b""))
    out = tmp_path / "out"
    out.mkdir()
    assert _start(tmp_path, "1.0").restore(7, "f.pkl", str(out)) == [
        {"folder": "work", "path": "f0", "size": len(long), "mode": 0o640},
        {"folder": "work", "path": "f1", "size": 0, "mode": 0o640},
    ]
    assert (out / "0").read_bytes() == long
    assert (out / "1").read_bytes() == b""


def test_the_worker_says_that_it_lives_while_it_copies(tmp_path: Path) -> None:
    """Each piece of a large checkpoint, written and read, is a sign of life: nobody takes over its work."""
    signs = []
    start = Checkpoints(FileTransport(str(tmp_path)), KEY, "0.0", lambda: signs.append(1))
    start.write(7, "f.pkl", _files(tmp_path, b"x" * (2 * formats.PIECE_BYTES)))
    assert len(signs) == 4  # what is in it, two pieces, and the end
    start.restore(7, "f.pkl", str(tmp_path))
    assert len(signs) == 6


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    """Of four that one start writes two stay; a later start counts the ones that it found."""
    start = _start(tmp_path)
    for number in range(4):
        start.write(7, "f.pkl", _files(tmp_path, b"%d" % number))
    assert _names(tmp_path) == ["0.0.2", "0.0.3"]
    later = _start(tmp_path, "1.0")
    assert _restored(later, tmp_path / "out") == [b"3"]
    later.write(7, "f.pkl", _files(tmp_path, b"4"))
    assert _names(tmp_path) == ["0.0.3", "1.0.0"]


@pytest.mark.parametrize("less", ["end", "content", "head", "description", "all"])
def test_a_cut_checkpoint_is_never_restored(tmp_path: Path, less: str) -> None:
    """Wherever its writer died, the checkpoint before it is restored, and the torn one is removed."""
    start = _start(tmp_path)
    start.write(7, "f.pkl", _files(tmp_path, b"first"))
    start.write(7, "f.pkl", _files(tmp_path, b"second"))
    path = tmp_path / "checkpoints" / "7" / "0.0.1"
    whole = path.read_bytes()
    head = formats.FRAME.size
    length = {
        "end": len(whole) - head,  # only the piece that says that it is whole is missing
        "content": len(whole) - head - 2,
        "head": len(whole) - head - len(b"second") - 3,
        "description": head + 5,
        "all": 0,
    }[less]
    path.write_bytes(whole[:length])
    assert _restored(_start(tmp_path, "1.0"), tmp_path / "out") == [b"first"]
    assert _names(tmp_path) == ["0.0.0"]


def test_a_checkpoint_of_a_stranger_is_never_restored(tmp_path: Path) -> None:
    """One that was signed with another key, or that lay in another component's folder, is removed."""
    _start(tmp_path, key=b"s" * formats.KEY_BYTES).write(7, "f.pkl", _files(tmp_path, b"strange"))
    _start(tmp_path, "1.0").write(8, "f.pkl", _files(tmp_path, b"of 8"))
    (tmp_path / "checkpoints/8/1.0.0").rename(tmp_path / "checkpoints/7/1.0.0")
    assert _restored(_start(tmp_path, "2.0"), tmp_path / "out") is None
    assert _names(tmp_path) == []


def test_a_head_that_names_a_huge_piece_is_not_believed(tmp_path: Path) -> None:
    """A damaged length of terabytes leads to no attempt to read so much: the checkpoint is torn."""
    _start(tmp_path).write(7, "f.pkl", _files(tmp_path, b"x"))
    path = tmp_path / "checkpoints/7/0.0.0"
    data = path.read_bytes()
    magic, _, count, code = formats.FRAME.unpack_from(data)
    path.write_bytes(formats.FRAME.pack(magic, 1 << 42, count, code) + data[formats.FRAME.size :])
    noting = _Noting(str(tmp_path))
    assert _restored(Checkpoints(noting, KEY, "1.0", lambda: None), tmp_path / "out") is None
    assert noting.most < 1 << 30
    assert _names(tmp_path) == []


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b"not JSON", b""], id="no description"),
        pytest.param([b"ab", b""], id="fewer bytes than described"),
        pytest.param([b"abc", b"d", b""], id="more bytes than described"),
        pytest.param([b"abcd", b""], id="a piece that is longer than the file"),
    ],
)
def test_a_signed_checkpoint_that_contradicts_itself_is_not_restored(
    tmp_path: Path, pieces: list[bytes]
) -> None:
    """Its files must have the sizes that it says: else there is no checkpoint, whoever has signed it."""
    (tmp_path / "checkpoints/7").mkdir(parents=True)
    if pieces[0] != b"not JSON":
        one = {"folder": "work", "path": "f0", "size": 3, "mode": 0o600}
        pieces = [json.dumps({"time": 1.0, "function": "f.pkl", "files": [one]}).encode(), *pieces]
    _sign_again(tmp_path / "checkpoints/7/0.0.0", "checkpoints/7/0.0.0", pieces)
    assert _restored(_start(tmp_path, "1.0"), tmp_path / "out") is None
    assert _names(tmp_path) == []


def test_another_function_does_not_go_on_from_it(tmp_path: Path) -> None:
    """A checkpoint of another function is left aside but stays: of the same function it is found, though it
    is the older one.
    """
    start = _start(tmp_path)
    start.write(7, "f.pkl", _files(tmp_path, b"of f"))
    start.write(7, "g.pkl", _files(tmp_path, b"of g"))
    later = _start(tmp_path, "1.0")
    assert _restored(later, tmp_path / "out", "h.pkl") is None
    assert _restored(later, tmp_path / "out", "f.pkl") == [b"of f"]
    assert _names(tmp_path) == ["0.0.0", "0.0.1"]


def test_a_file_that_shrinks_while_it_is_copied_leaves_the_one_before(tmp_path: Path) -> None:
    """The error names the file, nothing half written stays, and the checkpoint before it is still restored;
    the number of the failed one is not used again.
    """
    start = _start(tmp_path)
    start.write(7, "f.pkl", _files(tmp_path, b"good"))
    files = _files(tmp_path, b"shorter")
    files[0]["size"] = 100
    with pytest.raises(OSError, match=r"source-0 was cut while it was copied"):
        start.write(7, "f.pkl", files)
    assert _names(tmp_path) == ["0.0.0"]
    assert _restored(start, tmp_path / "out") == [b"good"]
    start.write(7, "f.pkl", _files(tmp_path, b"better"))
    assert _names(tmp_path) == ["0.0.0", "0.0.2"]


def test_who_may_have_left_one(tmp_path: Path) -> None:
    """The first start of a worker does not look for checkpoints in the first round, as nobody has done
    anything before; a later start, or a later round, finds the components that have a folder.
    """
    (tmp_path / "checkpoints" / "7").mkdir(parents=True)
    (tmp_path / "checkpoints" / "12").mkdir()
    (tmp_path / "checkpoints" / "lost+found").mkdir()
    assert _start(tmp_path, "3.0").left(0) == set()
    assert _start(tmp_path, "3.0").left(1) == {7, 12}
    again = _start(tmp_path, "3.1")
    assert again.left(0) == {7, 12}
    (tmp_path / "checkpoints" / "13").mkdir()
    assert again.left(0) == {7, 12}  # looked at once a round
    assert again.left(1) == {7, 12, 13}


def test_it_goes_when_the_record_is_safe_and_not_before(tmp_path: Path) -> None:
    """The checkpoint of a component with an output is removed once its record is on disk; the one of a
    component that failed stays, for its next attempt.
    """
    start = _start(tmp_path)
    for component in (7, 8, 9):
        start.write(component, "f.pkl", _files(tmp_path, b"x"))
    start.done([7, 8], failed=[8])
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["7", "8", "9"]
    start.records_are_safe()
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["8", "9"]
    start.write(7, "f.pkl", _files(tmp_path, b"again"))  # in another round: its folder is made anew
    assert _restored(_start(tmp_path, "1.0"), tmp_path / "out") == [b"again"]
