"""Orders to local workers: each has one taker."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import wingspan
from _waiting import until
from wingspan.pools import local
from wingspan.worker import idle


def take(worker: socket.socket) -> bytes:
    """What a worker does with an order: it reads the whole, answers, and closes."""
    data, descriptors, _, _ = socket.recv_fds(worker, 1 << 20, 1)
    worker.sendall(b"1\n")
    worker.close()
    for descriptor in descriptors:
        os.close(descriptor)
    return data


def test_a_worker_that_has_it_all_may_close_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that takes the whole order, answers and closes before the sender looks again has taken it:
    no second worker gets it.
    """
    ours, theirs = socket.socketpair()
    send_fds = socket.send_fds
    taken: list[bytes] = []

    def sent_and_taken(*arguments: Any) -> int:
        sent = send_fds(*arguments)
        taken.append(take(theirs))
        return sent

    monkeypatch.setattr(socket, "send_fds", sent_and_taken)
    with ours, Path(os.devnull).open("rb") as lock:
        assert local._is_taken(ours, {"map": "m"}, lock.fileno())
    assert taken == [b'{"map": "m"}\n']


class Impatient(socket.socket):
    """A socket whose first wait ends without an answer, after `meanwhile` has happened."""

    meanwhile: Callable[[], object] | None = None

    def recv(self, *arguments: Any) -> bytes:
        if self.meanwhile is None:
            return super().recv(*arguments)
        self.meanwhile, happens = None, self.meanwhile
        happens()
        raise TimeoutError("timed out")


@pytest.fixture
def impatient() -> Iterator[tuple[Impatient, socket.socket]]:
    """A sender's socket, and the worker's end of it."""
    ours, theirs = socket.socketpair()
    with theirs, Impatient(fileno=ours.detach()) as sender:
        yield sender, theirs


def test_an_answer_at_the_last_moment_counts(impatient: tuple[Impatient, socket.socket]) -> None:
    """A worker that answers while the sender's patience ends has taken the order, and no second worker
    gets it.
    """
    sender, worker = impatient
    sender.meanwhile = lambda: take(worker)
    with Path(os.devnull).open("rb") as lock:
        assert local._is_taken(sender, {"map": "m"}, lock.fileno())


def test_an_answer_that_is_too_late_is_not_given(impatient: tuple[Impatient, socket.socket]) -> None:
    """A worker that wakes up after the sender has given it up cannot answer: it drops the order, which
    another worker gets.
    """
    sender, worker = impatient
    sender.meanwhile = lambda: None
    with Path(os.devnull).open("rb") as lock:
        assert not local._is_taken(sender, {"map": "m"}, lock.fileno())
    with pytest.raises(BrokenPipeError):
        take(worker)


def test_each_worker_of_many_quick_maps_starts_once() -> None:
    """Of maps that follow each other at once, each hands its orders to warm workers, and no worker's
    number is started twice.
    """
    starts = {}
    for number in range(40):
        m = wingspan.map(str, range(8), pool="local", options=wingspan.Options(workers=3))
        assert list(m) == [str(component) for component in range(8)]
        starts[number] = sorted(os.listdir(m.path / "results"))
    assert all(name.endswith(".0") for names in starts.values() for name in names), starts


def test_the_last_worker_that_waits_removes_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each environment has a folder of its own for sockets: none is left when nobody waits there any more."""
    monkeypatch.setenv("WINGSPAN_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("WINGSPAN_IDLE_SECONDS", "0.2")
    assert list(wingspan.map(abs, [-1, -2], pool="local", options=wingspan.Options(workers=2))) == [1, 2]
    until(lambda: not os.listdir(tmp_path / "idle"), lambda: list(tmp_path.glob("idle/*/*")))


def test_a_socket_is_found_only_when_somebody_listens(tmp_path: Path) -> None:
    """Who finds a socket where nobody listens removes it: a worker that is only about to listen must not
    lose its socket.
    """
    listener = idle._Listener(str(tmp_path / "waiting"))
    [name] = local.LocalPool._waiting(tmp_path / "waiting")
    with socket.socket(socket.AF_UNIX) as client, socket.socket(socket.AF_UNIX) as new:
        client.connect(str(tmp_path / "waiting" / name))
        client.close()
        new.bind(str(tmp_path / "waiting/2.new"))  # as far as another worker may be
        assert local.LocalPool._waiting(tmp_path / "waiting") == [name]
        assert listener.accept() is None
    assert os.listdir(tmp_path / "waiting") == ["2.new"]
