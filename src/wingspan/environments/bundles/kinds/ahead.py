"""Compress packages while others are still being compiled.

The blob of a package (see `blobs`) can be made as soon as all of its files are there. Whoever writes the
image afterwards finds it in the cache. If the package turns out to consist of other files, it has another
key, and is compressed then.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from wingspan._cores import usable_cores
from wingspan.environments.bundles.kinds.blobs import blob_key, load_blob, make_blob
from wingspan.environments.bundles.linked.claims import Claim, compiled
from wingspan.environments.bundles.storage import cache_folder

__all__ = ["Ahead"]


class Ahead:
    """Packages of the environment in `folder` that are compressed while the block is executed.

    At its end all of them are there, or one has failed and its error is raised. After an error in the block
    what has not begun is left out.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept = cache_folder("blobs")
        self._packages: list[Future[None]] = []
        self._stopped = threading.Event()
        cores = usable_cores()
        self._at_once = 4 * cores
        # two pools, because a thread that waits for compressed blocks must not take the place of one that
        # compresses them
        self._drivers = ThreadPoolExecutor(cores)
        self._compressors = ThreadPoolExecutor(cores)

    def ready(self, claim: Claim, origins: Mapping[str, str]) -> None:
        """Take a package, all of whose files are there. May be called from several threads."""
        self._packages.append(self._drivers.submit(self._compress, claim, origins))

    def _compress(self, claim: Claim, origins: Mapping[str, str]) -> None:
        by_origin: dict[str, dict[str, int]] = {}
        for name in _names(claim):
            origin = origins.get(name)
            if origin is not None:
                try:
                    status = os.lstat(f"{self._folder}/{name}")
                except OSError:
                    continue  # a name that the package lists and does not have
                if stat.S_ISREG(status.st_mode):
                    by_origin.setdefault(origin, {})[name] = status.st_size
        for origin, sizes in by_origin.items():
            target = self._kept / blob_key(origin, sizes.items())
            if not self._stopped.is_set() and load_blob(target) is None:
                make_blob(self._folder, sizes, target, threads=self._compressors, at_once=self._at_once)

    def __enter__(self) -> Ahead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stopped.set()
        self._drivers.shutdown(cancel_futures=error is not None)
        self._compressors.shutdown()
        if error is None:
            for package in self._packages:
                package.result()


def _names(claim: Claim) -> Iterator[str]:
    """The files of a package and the byte code of its modules."""
    for name in claim.files:
        yield name
        if name.endswith(".py"):
            yield compiled(name)
