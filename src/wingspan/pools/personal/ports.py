"""A port for a server that is told which one to take."""

from __future__ import annotations

import random
import socket
from pathlib import Path

__all__ = ["free_port"]

#: The ports that Linux gives to programs that ask for any, where it does not say which (ip(7)).
_GIVEN_AWAY = 32768, 60999


def free_port() -> int:
    """A loopback port that nobody uses now.

    It is outside the range from which the kernel takes ports by itself (``ip_local_port_range`` in ip(7)). So
    no connection of another process gets it before the server has it, or while the server is started again.
    """
    first, last = _given_away()
    candidates = [*range(10_000, first), *range(last + 1, 65536)]
    chance = random.SystemRandom()  # whoever sets the seed of the other would choose the same ones
    with_luck = chance.sample(candidates, min(100, len(candidates)))
    for port in [*with_luck, 0]:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no port of the loopback interface is free")


def _given_away() -> tuple[int, int]:
    """The first and the last of the ports that the kernel gives to programs that ask for any."""
    try:
        first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
        return int(first), int(last)
    except (OSError, ValueError):
        return _GIVEN_AWAY
