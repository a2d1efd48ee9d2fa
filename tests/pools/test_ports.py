"""Ports for servers that are told which one to take."""

from __future__ import annotations

import socket

import pytest

from wingspan.pools.personal import ports


def test_a_port_that_the_kernel_gives_to_nobody() -> None:
    """Whoever asks for any port gets another one."""
    first, last = ports._given_away()
    for _ in range(200):
        assert not first <= ports.free_port() <= last


def test_ports_in_use_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only one is left to choose and is in use, it is one of the kernel's."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setattr(ports, "range", lambda *_: [port], raising=False)
        assert ports.free_port() != port


def test_a_kernel_that_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux's own default counts then."""

    def unreadable(*_: object) -> str:
        raise PermissionError

    monkeypatch.setattr("pathlib.Path.read_text", unreadable)
    assert ports._given_away() == (32768, 60999)
