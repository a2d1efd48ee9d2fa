"""What tests of notebooks share: servers that are gone afterwards, and their pool."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wingspan
from _jupyter import Server
from wingspan.pools.personal import PersonalPool


@pytest.fixture
def own_pool(tmp_path: Path) -> Iterator[PersonalPool]:
    """The personal pool of this test's data folder, which the test starts; stopped afterwards, maps and
    all.
    """
    pool = PersonalPool()
    yield pool
    with contextlib.suppress(wingspan.PoolError):  # the pool has stopped with its notebook
        wingspan.clean(all=True)
    pool.stop()


@pytest.fixture
def serve(tmp_path: Path, own_pool: PersonalPool) -> Iterator[Callable[..., Server]]:
    """Starts ``wingspan notebook`` with options."""
    servers: list[Server] = []

    def start(*options: str, **more: dict[str, str]) -> Server:
        servers.append(Server(tmp_path, *options, **more))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
