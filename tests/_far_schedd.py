"""A schedd on another host: its daemons have an address of their own, and see no folder of whoever submits.

Where the kernel lets us (as root, with iproute2's ``ip``), the host is a network namespace that a pair of
virtual Ethernet devices connects with this one: loopback and its ports are not shared. Elsewhere it is a
mount namespace only, and the daemons listen on loopback.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from _engines import disk
from wingspan.pools.personal import PersonalPool

__all__ = ["FarSchedd", "schedd_elsewhere"]

#: Started where the folders of tests are hidden; clients prove who they are by a token.
_STARTS = """
import json, sys
from wingspan.pools.personal import PersonalPool
PersonalPool(sys.argv[1], cpus=int(sys.argv[2]), settings=json.loads(sys.argv[3])).start()
"""
#: The port of its collector: no other process of its host could have it.
_PORT = 9618
_TOKENS = {"SEC_DEFAULT_AUTHENTICATION_METHODS": "FS, IDTOKENS"}


@attrs.frozen
class FarSchedd:
    """A pool whose daemons do not see a folder.

    Attributes:
        pool: ``pool=`` of jobs that are spooled to it.
        config: ``CONDOR_CONFIG`` of its clients, who have a token.
        own_config: That of its own host.
        shared: A folder that both see.
        address: Its host's own address; None: it shares this one's.
    """

    pool: str
    config: Path
    own_config: Path
    shared: Path
    address: str | None


@contextlib.contextmanager
def schedd_elsewhere(hidden: Path, client: Path, cpus: int = 2) -> Iterator[FarSchedd]:
    """Such a pool as long as the block lasts.

    Args:
        hidden: The folder that it does not see.
        client: For the files of its clients.
        cpus: Cores that it offers.
    """
    space = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    hide = f"mount -t tmpfs none {hidden}"
    if subprocess.run([*space, "sh", "-c", hide], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces here")
    folder = Path(tempfile.mkdtemp(prefix="wingspan-far-", dir=disk()))
    pool = PersonalPool(folder)
    with _host() as host:
        settings = dict(_TOKENS)
        if host is not None:
            space = ["ip", "netns", "exec", host.name, *space]
            settings |= {"NETWORK_INTERFACE": host.address, "CONDOR_HOST": host.address}
            settings["COLLECTOR_HOST"] = f"{host.address}:{_PORT}"
        words = [sys.executable, "-c", _STARTS, str(folder), str(cpus), json.dumps(settings)]
        try:
            subprocess.run([*space, "sh", "-c", f'{hide} && exec "$@"', "sh", *words], check=True)
            yield _client_of(pool, client, host.address if host is not None else None)
        finally:
            pool.stop()
            shutil.rmtree(folder, ignore_errors=True)


@attrs.frozen
class _Host:
    """A network namespace.

    Attributes:
        name: As ``ip netns`` lists it.
        address: The address of its only device, which this host reaches.
    """

    name: str
    address: str


@contextlib.contextmanager
def _host() -> Iterator[_Host | None]:
    """A host with an address of its own as long as the block lasts; None where none can be made."""
    ip = shutil.which("ip", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if ip is None or os.geteuid() != 0:
        yield None
        return

    def said(*words: str) -> bool:
        return subprocess.run([ip, *words], capture_output=True, check=False).returncode == 0

    # Addresses for measurements between networks (RFC 2544): no real network has them. Two of each four.
    number = os.getpid() % (1 << 15)
    network = f"198.{18 + number // (1 << 14)}.{number // 64 % 256}.{number % 64 * 4}"
    ours, theirs = (f"{network.rpartition('.')[0]}.{number % 64 * 4 + last}" for last in (1, 2))
    name = f"wingspan{os.getpid()}"
    here, there = f"ws{os.getpid()}h", f"ws{os.getpid()}f"
    try:
        made = (
            said("netns", "add", name)
            and said("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
            and said("address", "add", f"{ours}/30", "dev", here)
            and said("link", "set", here, "up")
            and said("-netns", name, "address", "add", f"{theirs}/30", "dev", there)
            and said("-netns", name, "link", "set", there, "up")
            and said("-netns", name, "link", "set", "lo", "up")
        )
        yield _Host(name, theirs) if made else None
    finally:
        said("link", "delete", here)
        said("netns", "delete", name)


def _client_of(pool: PersonalPool, client: Path, address: str | None) -> FarSchedd:
    """What clients of the pool need, written into the folder `client`: a token, and their configuration."""
    folder = pool.directory
    name = _said(folder / "log/.schedd_address", "Name")
    collector = f"{address}:{_PORT}" if address else _said(folder / "condor_config", "COLLECTOR_HOST")
    token = subprocess.run(
        ["condor_token_create", "-identity", name],
        env={**os.environ, **pool.environment()},
        check=True,
        capture_output=True,
    ).stdout
    (client / "tokens").mkdir(mode=0o700)
    (client / "tokens/far").touch(mode=0o600)
    (client / "tokens/far").write_bytes(token)
    (client / "condor_config").write_text(
        "SEC_DEFAULT_AUTHENTICATION = REQUIRED\nSEC_CLIENT_AUTHENTICATION = REQUIRED\n"
        f"SEC_CLIENT_AUTHENTICATION_METHODS = IDTOKENS\nSEC_TOKEN_DIRECTORY = {client}/tokens\n"
    )
    address_of_schedd = f"schedd://{name}/{collector}"
    return FarSchedd(address_of_schedd, client / "condor_config", pool.config_file, folder, address)


def _said(file: Path, name: str) -> str:
    lines = [line.split(" = ", 1) for line in file.read_text().splitlines() if line.startswith(f"{name} = ")]
    return lines[0][1].strip('"')
