"""The process in which py-rattler works: one request as JSON on standard input, events as JSON lines on
standard output.

It ends in `os._exit`, because py-rattler's threads can crash an interpreter that ends in the ordinary way.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import Any

from wingspan.environments.bundles.errors import UnsafePackage
from wingspan.environments.bundles.packages.foreign_names import Contents, add_extracted, site_packages
from wingspan.worker import trust

_AT_ONCE = 8
_ATTEMPTS = 3


def _tell(event: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


class _HashingFile:
    """The file object to which py-rattler writes a download. It computes the digest at the same time."""

    def __init__(self, path: str, algorithm: str) -> None:
        self.file = open(path, "wb", opener=trust.opener)  # noqa: SIM115 - closed by the caller
        self.digest = hashlib.new(algorithm, usedforsecurity=False)
        self.untold = 0

    def write(self, data: bytes) -> int:
        self.file.write(data)
        self.digest.update(data)
        self.untold += len(data)
        if self.untold > 1 << 20:
            self.tell()
        return len(data)

    def tell(self) -> None:
        if self.untold:
            _tell({"bytes": self.untold})
        self.untold = 0


async def _fetch(request: dict[str, Any]) -> None:
    from rattler import Client
    from rattler.package_streaming import download_to_writer

    client = Client.authenticated_client()
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int, item: dict[str, str]) -> None:
        async with room:
            reason = ""
            for attempt in range(_ATTEMPTS):
                if attempt:
                    await asyncio.sleep(attempt)
                target = _HashingFile(item["path"], item["algorithm"])
                try:
                    await download_to_writer(client, item["url"], target)
                # the exceptions differ by version; all mean that the package was not fetched
                except Exception as error:
                    reason = str(error) or type(error).__name__
                    if isinstance(error, OSError) and error.errno:
                        raise
                    continue
                finally:
                    target.tell()
                    target.file.close()
                _tell({"item": number, "got": target.digest.hexdigest()})
                return
            _tell({"item": number, "error": reason})

    await asyncio.gather(*(one(number, item) for number, item in enumerate(request["items"])))


async def _solve(request: dict[str, Any]) -> None:
    import rattler

    virtual = []
    for text in request["virtual"]:
        name, _, version = text.partition("=")
        virtual.append(_virtual_package(rattler.PackageName(name), rattler.Version(version)))
    records = await rattler.solve(
        request["channels"],
        request["specs"],
        platforms=[request["subdir"], "noarch"],
        virtual_packages=virtual,
    )
    for record in records:
        facts = {**json.loads(record.to_json()), "url": record.url, "channel": str(record.channel)}
        _tell({"record": facts})


def _virtual_package(name: Any, version: Any) -> Any:
    import rattler

    make: Any = rattler.GenericVirtualPackage
    try:
        return make(name, version, "0")
    except (TypeError, AttributeError):  # since 0.28
        return make(name, version, rattler.BuildString("0"))


def _records_of(request: dict[str, Any]) -> list[Any]:
    """The packages as py-rattler has them, each at the place where its checked file lies."""
    from rattler import Channel
    from rattler.repo_data import RepoData

    records = []
    with tempfile.TemporaryDirectory() as folder:
        by_subdir: dict[str, dict[str, Any]] = {}
        for item in request["items"]:
            by_subdir.setdefault(item["subdir"], {})[item["file_name"]] = item["record"]
        for subdir, packages in by_subdir.items():
            path = Path(folder, subdir, "repodata.json")
            path.parent.mkdir()
            document = {
                "info": {"subdir": subdir},
                "packages": {},
                "packages.conda": packages,
                "repodata_version": 2,
            }
            path.write_text(json.dumps(document), encoding="utf-8")
            records += RepoData.from_path(path).into_repo_data(Channel(Path(folder).as_uri()))
    places = {(item["subdir"], item["file_name"]): item["path"] for item in request["items"]}
    for record in records:
        record.url = Path(places[(record.subdir, record.file_name)]).as_uri()
    return records


class _Reporter:
    """Hears from py-rattler how far it is, and looks at each package between extraction and linking."""

    def __init__(self, known: dict[str, dict[str, Any]], cache: str) -> None:
        self._known, self._cache = known, cache
        self._contents = Contents(site_packages(known.values()))
        self._looking = threading.Lock()
        self._populated: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("on_"):
            raise AttributeError(name)
        return lambda *_, **__: 0

    def on_populate_cache_start(self, operation: int, package_name: str) -> int:
        with self._looking:
            self._populated.append(package_name)
            return len(self._populated) - 1

    def on_populate_cache_complete(self, cache_entry: int) -> None:
        # The package is extracted, but not linked yet. An exception from here would not stop py-rattler.
        try:
            with self._looking:
                record = self._known[self._populated[cache_entry]]
                folder = "{name}-{version}-{build}".format(**record)
                add_extracted(self._contents, record, Path(self._cache, folder))
                self._contents.check()
        except UnsafePackage as error:
            _tell({"unsafe": error.message})
            os._exit(1)
        except BaseException as error:  # noqa: BLE001 - what could not be looked at is not linked
            sys.stderr.write(f"{self._populated[cache_entry]} cannot be looked at: {error!r}\n")
            sys.stderr.flush()
            os._exit(1)

    def on_link_complete(self, index: int) -> None:
        _tell({"linked": 1})


async def _link(request: dict[str, Any]) -> None:
    from rattler import Subdir, install

    known = {item["record"]["name"]: item["record"] for item in request["items"]}
    await install(
        _records_of(request),
        target_prefix=request["prefix"],
        cache_dir=Path(request["cache"]),
        alternative_target_prefix=request["target"],
        platform=Subdir(request["platform"]),
        installed_packages=[],
        execute_link_scripts=False,
        show_progress=False,
        reporter=_Reporter(known, request["cache"]),
    )


def main() -> None:
    request = json.load(sys.stdin)
    operations = {"fetch": _fetch, "solve": _solve, "link": _link}
    try:
        asyncio.run(operations[request["operation"]](request))
        _tell({"done": True})
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent says it
        if os.environ.get("WINGSPAN_DEBUG"):
            traceback.print_exc()
        sys.stderr.write(f"{error or type(error).__name__}\n")
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
