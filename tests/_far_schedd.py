"""A schedd that sees no folder of whoever submits: its daemons have their own view of the disk."""

from __future__ import annotations

import contextlib
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
import sys
from wingspan.pools.personal import PersonalPool
PersonalPool(sys.argv[1], cpus=int(sys.argv[2]), settings={"SEC_DEFAULT_AUTHENTICATION_METHODS": "FS, IDTOKENS"}).start()
"""


@attrs.frozen
class FarSchedd:
    """A pool whose daemons do not see a folder.

    Attributes:
        pool: ``pool=`` of jobs that are spooled to it.
        config: ``CONDOR_CONFIG`` of its clients, who have a token.
        own_config: That of its own host.
        shared: A folder that both see.
    """

    pool: str
    config: Path
    own_config: Path
    shared: Path


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
    words = [sys.executable, "-c", _STARTS, str(folder), str(cpus)]
    try:
        subprocess.run([*space, "sh", "-c", f'{hide} && exec "$@"', "sh", *words], check=True)
        name = _said(folder / "log/.schedd_address", "Name")
        collector = _said(folder / "condor_config", "COLLECTOR_HOST")
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
        yield FarSchedd(f"schedd://{name}/{collector}", client / "condor_config", pool.config_file, folder)
    finally:
        pool.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _said(file: Path, name: str) -> str:
    lines = [line.split(" = ", 1) for line in file.read_text().splitlines() if line.startswith(f"{name} = ")]
    return lines[0][1].strip('"')
