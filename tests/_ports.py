"""Ports for servers that are told which one to take."""

from __future__ import annotations

import random
import socket
from pathlib import Path

__all__ = ["free_port"]


def free_port() -> int:
    """A loopback port that nobody uses now.

    It is below those that the kernel gives to who asks for any: until the server has it, no connection of
    another process can get it. Other tests choose at random as well.
    """
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        first = 32768
    chance = random.SystemRandom()  # tests set the seed of the other
    for _ in range(100):
        port = chance.randrange(10_000, max(first, 10_001))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port below those of the kernel is free")
