"""Orders to local workers: each has one taker."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from wingspan.pools import local


def test_a_worker_that_has_it_all_may_close_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has taken the whole order answers and closes before the sender looks again: that is no failure, or a second worker would get it."""
    ours, theirs = socket.socketpair()
    send_fds = socket.send_fds
    taken: list[bytes] = []

    def sent_and_taken(*arguments: Any) -> int:
        sent = send_fds(*arguments)
        data, descriptors, _, _ = socket.recv_fds(theirs, 1 << 20, 1)
        taken.append(data)
        theirs.sendall(b"1\n")
        theirs.close()
        for descriptor in descriptors:
            os.close(descriptor)
        return sent

    monkeypatch.setattr(socket, "send_fds", sent_and_taken)
    with ours, Path(os.devnull).open("rb") as lock:
        local._tell(ours, {"map": "m"}, lock.fileno())
        assert ours.recv(32) == b"1\n"
    assert taken == [b'{"map": "m"}\n']
