"""Large values of maps in a store: what takes them there, reads them in a session, and removes them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from wingspan._words import notice
from wingspan.errors import SettingsError, WingspanError
from wingspan.settings import load_settings, private_folder
from wingspan.stores.errors import ObjectNotFound, StoreDamaged
from wingspan.worker.stored import SUFFIX, Reference, Spool, checked, name_of, new_file

if TYPE_CHECKING:
    from wingspan.maps._facts import StoreFacts
    from wingspan.maps._info import MapInfo
    from wingspan.maps._options import Options
    from wingspan.pools import Pool
    from wingspan.stores import Store
    from wingspan.stores.locations import StoreSettings

__all__ = ["StoredValues", "fetch_value", "forget_values", "stored_values"]

#: What workers reach without HTCondor's plugins.
_BY_ANYBODY = ("file", "http", "https")


class StoredValues:
    """Takes the large values of one map to its store.

    Attributes:
        above: Bytes above which a value goes there.
        spool: Where a value is pickled to.
        setting: What ``map.json`` says of it; see `wingspan.worker.stored.Values`.
    """

    def __init__(self, store: Store, setting: StoreFacts) -> None:
        self._store = store
        self.setting = setting
        self.above: int = setting["above"]
        folder = load_settings().data_dir
        private_folder(folder)
        self.spool = Spool(self.above, str(folder))
        self._published = False

    def publish(self) -> bytes:
        """Send what is in the spool to the store, unless it is there. Returns its reference.

        Raises:
            StoreError: It cannot be sent.
        """
        spool, backend = self.spool, self._store.backend
        name = name_of(self.setting["map"], spool.digest)
        self._published = True
        if backend.size(name) != spool.length:
            backend.put(name, spool.pieces(), spool.length, replace=True)
        reference = Reference(
            self.setting["label"],
            f"{self.setting['url']}/{name}",
            spool.digest,
            spool.length,
            spool.holds_code,
        ).dumps()
        spool.begin()
        return reference

    def forget(self) -> None:
        """The map is not made after all: nothing of it stays in the store."""
        self.spool.close()
        if self._published:
            _remove(self._store, self.setting["map"])


def stored_values(options: Options, info: MapInfo, pools: Sequence[Pool]) -> StoredValues | None:
    """What takes large values of a map to the store that its options name; None: they name none.

    Raises:
        SettingsError: There is no such store, or its machines cannot reach it.
        StoreError: It does not answer, or cannot be written.
        OnAccessPoint: The site wants files to get there through another machine.
    """
    if options.store is None:
        return None
    from wingspan.stores import configured_stores, open_store

    if options.memo:
        raise SettingsError(
            "memo=True keeps outputs on this machine, and store=… has them elsewhere",
            hint="leave one of them out",
        )
    if any(pool.elsewhere for pool in pools):
        raise SettingsError(
            "store=… names a store of this machine, and the map is executed on another one",
            hint="leave it out, or make the map on that machine",
        )
    settings = load_settings()
    store = open_store(options.store, settings)
    url = store.job_url
    is_folder = "://" not in url
    scheme = urlsplit(url).scheme
    for pool in pools:
        if is_folder and not pool.shares_files:
            raise SettingsError(
                f"the machines of the {pool.kind} pool do not see the folder {url} of the store {options.store!r}",
                hint="name a store that has an address for jobs (job_url in [store.NAME]), such as osdf:// or https://",
            )
        if not is_folder and scheme not in _BY_ANYBODY and not pool.fetches_urls:
            raise SettingsError(
                f"workers of the {pool.kind} pool have no way to {scheme}:// of the store {options.store!r}",
                hint="name a folder that they see, or a WebDAV server (https://)",
            )
    if is_folder:
        url = Path(url).absolute().as_uri()
    if store.folder is not None and any(pool.follows_site for pool in pools):
        from wingspan.delivery.publishing import check_writes_here

        check_writes_here(store)
    store.backend.check_writable()
    setting: StoreFacts = {
        "label": options.store,
        "url": url,
        "map": info.id,
        "above": int(options.store_above),
    }
    entry = configured_stores(settings).get(options.store)
    if entry is not None and scheme in ("http", "https"):
        setting["auth"] = _names_of_secrets(entry)
    return StoredValues(store, setting)


def _names_of_secrets(entry: StoreSettings) -> dict[str, str]:
    """Which variables and files hold what a worker authenticates with; not what they hold."""
    names = ("username", "password_env", "token_env", "token_file")
    return {name: value for name in names if (value := getattr(entry, name))}


def fetch_value(label: str, url: str, digest: str, length: int) -> BinaryIO:
    """A file with the pickle of a value that this session asks for, which was checked.

    Raises:
        ObjectNotFound: It is not in the store any more.
        StoreDamaged: It is not what the map's record says.
        StoreError: The store does not answer.
    """
    from wingspan.stores.locations import open_place, open_store

    settings = load_settings()
    try:
        store = open_store(label, settings)
    except SettingsError:  # the configuration has another name for it now
        store = open_place(url.rpartition("/")[0], settings)
    name = url.rpartition("/")[2]
    private_folder(settings.data_dir)
    file = new_file(str(settings.data_dir))
    try:
        with store.backend.open(name) as stream:
            while piece := stream.read(1 << 20):
                file.write(piece)
        try:
            return checked(file, name, digest, length)
        except OSError as error:
            raise StoreDamaged(
                f"{store.url}: {error}", hint="have the component done again: m.rerun([i])"
            ) from None
    except BaseException as error:
        file.close()
        if isinstance(error, ObjectNotFound):
            raise ObjectNotFound(
                f"a value of this map is not in {store.url} any more: {name}",
                hint="have the component done again: m.rerun([i]); of an input or a function, make the map again",
            ) from None
        raise


def forget_values(info: MapInfo) -> None:
    """Remove the values of a map from its store. Where that fails, `wingspan store prune` does it later."""
    if info.store is None:
        return
    from wingspan.stores import open_store

    try:
        _remove(open_store(info.store["label"], load_settings()), info.id)
    except (WingspanError, OSError) as error:
        message = error.message if isinstance(error, WingspanError) else str(error)
        notice(
            f"large values of the map {info.tag!r} stay in the store {info.store['label']} "
            f"until wingspan store prune removes them: {message}"
        )


def _remove(store: Store, map_id: str) -> None:
    with contextlib.suppress(ObjectNotFound):
        for entry in store.backend.entries():
            if entry.name.startswith(f"{map_id}.") and entry.name.endswith(SUFFIX):
                with contextlib.suppress(ObjectNotFound):  # another process removes it as well
                    store.backend.remove(entry.name)
