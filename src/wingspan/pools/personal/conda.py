"""HTCondor from conda-forge, by py-rattler, which checks every package by the hash in the channel's index.

As of 2026, conda-forge builds HTCondor's client programs only: its recipe leaves the daemons out on purpose
("we don't need them for conda environments"). This source is therefore asked last. It serves a channel whose
packages have the daemons, and conda-forge on the day that it does.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from wingspan._python import this_python
from wingspan.pools.personal.errors import SourceError
from wingspan.progress import Progress

__all__ = ["obtain"]

_CHANNEL = "conda-forge"
_SECONDS_TO_CONNECT = 10
_SECONDS_IN_ALL = 900


def obtain(
    work: Path, place: Callable[[str], Path], progress: Progress, *, channel: str = _CHANNEL
) -> tuple[str, str]:
    """Solve for ``htcondor`` and install it into `work`, to run from where `place` says.

    The work is done by a process of its own: py-rattler can crash at exit, and a solver that hangs can be
    ended.

    Args:
        work: An empty folder.
        place: Version to the folder that `work` will be renamed to.
        progress: Hears of it.
        channel: A conda channel's name or URL.

    Returns:
        The version, and HTCondor's prefix relative to `work`.

    Raises:
        SourceError: py-rattler is missing, the channel cannot be reached, or its HTCondor has no daemons.
    """
    import importlib.util

    if importlib.util.find_spec("rattler") is None:
        raise SourceError("py-rattler is not installed (pip install 'wingspan[environments]')")
    # Packages carry the path that they run from; the version, which is part of ours, is known after the
    # solve.
    probe = "?"
    pattern = str(place(probe) / "root")
    task = progress.start(f"Asking {channel} for HTCondor")
    command = [this_python(), "-m", __name__, channel, str(work / "root"), pattern]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS_IN_ALL, check=False)
    except subprocess.TimeoutExpired:
        raise SourceError(f"{channel} took longer than {_SECONDS_IN_ALL // 60} minutes") from None
    finally:
        progress.finish(task)
    version = done.stdout.strip().rpartition("\n")[2]
    if not version.startswith("version="):
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise SourceError(said[-1] if said else f"py-rattler ended with exit code {done.returncode}")
    if not any((work / "root" / name).exists() for name in ("sbin/condor_master", "bin/condor_master")):
        raise SourceError(f"the htcondor package of {channel} has no daemons (condor_master)")
    return version.removeprefix("version="), "root"


async def _install(channel: str, prefix: str, pattern: str) -> str:
    import rattler

    client = rattler.Client(timeout=_SECONDS_TO_CONNECT)
    records = await rattler.solve(
        [channel],
        ["htcondor"],
        gateway=rattler.Gateway(client=client),
        platforms=[rattler.Subdir.current(), "noarch"],
        virtual_packages=rattler.VirtualPackage.detect(),
    )
    version = next(str(record.version) for record in records if record.name.normalized == "htcondor")
    await rattler.install(
        records, prefix, show_progress=False, alternative_target_prefix=pattern.replace("?", version)
    )
    return version


def _main() -> None:
    try:
        version = asyncio.run(_install(*sys.argv[1:4]))
    except Exception as error:  # noqa: BLE001  (whatever it is, the parent reports it in one line)
        sys.exit(" ".join(str(error).split())[:300] or type(error).__name__)
    sys.stdout.write(f"version={version}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _main()
