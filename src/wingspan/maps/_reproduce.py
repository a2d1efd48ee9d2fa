"""Computing a component again, in the same environment, to see whether the same comes out.

A copy of the map is made, in which every component but one is done already (with None), so that the one has
the same number, seed, function, input, files and environment as it had. The copy is removed afterwards.
"""

from __future__ import annotations

import os
import pickle
import shutil
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wingspan._files import not_written
from wingspan.maps._again import check_function
from wingspan.maps._compare import difference
from wingspan.maps._components import ERROR
from wingspan.maps._errors import MapError
from wingspan.maps._folder import MapFolder, maps_root, remove_map_folder, tags_root
from wingspan.maps._info import MapInfo
from wingspan.maps._memo import HITS
from wingspan.maps._provenance import Provenance
from wingspan.maps._tags import new_tag
from wingspan.maps._worker_job import bundle_of
from wingspan.pools import get_pool
from wingspan.worker import formats, rounds, trust
from wingspan.worker.arriving import FIXED
from wingspan.worker.pickling import PROTOCOL
from wingspan.worker.transports import FileTransport

if TYPE_CHECKING:
    from wingspan.maps._facts import OptionsFacts

__all__ = ["Reproduction", "reproduce"]

#: Files of a map that its copy has, too, beside the function.
_SHARED = ("inputs.bin", "inputs.idx", "worker.pyz")


@attrs.frozen(kw_only=True, repr=False)
class Reproduction:
    """What came out when a component was computed again.

    Attributes:
        tag, component: Which one.
        equal: The same came out: an equal output, or an error of the same type with the same text.
        difference: Where the two differ, and how; None: they do not.
        before, now: How each came about. `now` is of a map that is removed already.
    """

    tag: str
    component: int
    equal: bool
    difference: str | None
    before: Provenance
    now: Provenance

    def __str__(self) -> str:
        what = f"{self.tag}, component {self.component}"
        lines = [f"{what}: the same comes out" if self.equal else f"{what}: something else comes out"]
        if self.difference:
            lines.append(f"  {self.difference}")
        for name in ("python", "host", "gpu"):
            old, new = getattr(self.before, name), getattr(self.now, name)
            if old != new:
                lines.append(f"  {name}: {old} before, {new} now")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<{self}>"


def reproduce(
    m: Any, component: int, timeout: float | None, load: Callable[[MapFolder], Any]
) -> Reproduction:
    """Compute a component again, and compare.

    Args:
        m: A `wingspan.Map`, whose module imports this one.
        component: Its number; it is done.
        timeout: Seconds to wait; None: for as long as it takes.
        load: Makes a `wingspan.Map` of a folder.

    Raises:
        MapError: It is not done, or the copy cannot be written.
        MapTimeout: The time was over first.
        MapDamaged: Function, inputs or bundle are not all there any more.
    """
    results = m._keeper.results
    if not results.state[component]:
        raise MapError(
            f"component {component} of map {m.tag!r} is not done", hint=f"m.get({component}) waits for it"
        )
    if m._folder.info.open is not None:
        raise MapError(
            f"inputs of the map {m.tag!r} came one by one, from an executor: it has no copy",
            hint="wingspan.map(f, inputs) makes a map that can be computed again",
        )
    m._folder.check_inputs()
    copy = _copy(m._folder, m, component)
    try:
        again = load(copy)
        again._keeper.begin(get_pool(copy.info.pool))
        again._wait_for(lambda: again._is_final(component), _deadline(timeout), f"component {component}")
        told = _compare(m, again, component)
        return Reproduction(
            tag=m.tag,
            component=component,
            equal=told is None,
            difference=told,
            before=m.provenance(component),
            now=again.provenance(component),
        )
    finally:
        load(copy).remove(force=True)


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _compare(m: Any, again: Any, component: int) -> str | None:
    """What differs between two outcomes; None: nothing."""
    old, new = m._keeper.results, again._keeper.results
    if old.state[component] != new.state[component]:
        failed, which = (m, "before") if old.state[component] == ERROR else (again, "now")
        error = failed._error(component)
        return f"{which} it failed: {error.type_name}: {error.text}"
    if old.state[component] == ERROR:
        before, now = m._error(component), again._error(component)
        if (before.type_name, before.text) == (now.type_name, now.text):
            return None
        return (
            f"it failed otherwise: {before.type_name}: {before.text} before, {now.type_name}: {now.text} now"
        )
    if not old.output(component).is_large and old.payload(component) == new.payload(component):
        return None
    return difference(m._output(component), again._output(component))


def _copy(folder: MapFolder, m: Any, component: int) -> MapFolder:
    """A map that has nothing to do but the component.

    Raises:
        MapError: It cannot be written.
    """
    results = m._keeper.results
    file = rounds.function_of(results.plans, component, results.round_of(component))
    check_function(folder, file, m.function_of(component))
    options: OptionsFacts = {
        **folder.info.options,
        "workers": 1,
        "retries": 0,
        "memo": False,
        "on_done": None,
    }
    copy_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(4).hex()}"
    store = folder.info.store
    info = attrs.evolve(
        folder.info,
        id=copy_id,
        store={**store, "map": copy_id} if store is not None else None,  # what it puts there goes with it
        tag=new_tag(tags_root()),
        also=(),
        transient=True,
        options=options,
        retries=0,
        workers=1,
        created=time.time(),
    )
    path = maps_root() / f".new-{info.id}"
    try:
        _fill(path, folder, info, file, component, results.plans)
        path.rename(maps_root() / info.id)
    except OSError as error:
        shutil.rmtree(path, ignore_errors=True)
        message, hint = not_written(error, "the copy of the map", maps_root())
        raise MapError(message, hint=hint) from error
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    made = MapFolder(maps_root() / info.id)
    try:
        made.take_tag()
    except BaseException:
        remove_map_folder(made.path, made.info.tag)
        raise
    return made


def _fill(
    path: Path,
    folder: MapFolder,
    info: MapInfo,
    file: str,
    component: int,
    plans: Mapping[int, rounds.Plan],
) -> None:
    import json

    trust.make_folder(str(path))
    for name in ("results", "workers", "rounds", "rounds/0", "rounds/0/claims", "rounds/0/takes"):
        trust.make_folder(str(path / name))
    new, key = FileTransport(str(path)), os.urandom(formats.KEY_BYTES)
    try:
        for name in _SHARED:
            _link(folder.path / name, path / name)
        _link(folder.path / file, path / rounds.FUNCTION)
        if (folder.path / FIXED).is_dir():
            shutil.copytree(folder.path / FIXED, path / FIXED, symlinks=True, copy_function=_link)
        bundle = bundle_of(folder)
        if bundle is not None:
            from wingspan.delivery.prepare import keep_bundle

            keep_bundle(bundle, path)
        new.write_whole("key", key)
        plan = rounds.plan_again(plans, rounds.INITIAL, [component], 1)
        new.write_whole("rounds/0/plan", plan.dumps(key, 0))
        new.write_whole(f"results/{HITS}", _others(key, info.n, component))
        size = (path / rounds.FUNCTION).stat().st_size
        whole = attrs.evolve(info, function_bytes=size)
        new.write_whole("map.json", json.dumps(whole.to_json()).encode())
    finally:
        new.close()


def _link(source: Any, target: Any) -> None:
    """The same file under another name, or a copy where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _others(key: bytes, n: int, component: int) -> bytes:
    """A frame of records that say of all components but one that they are done."""
    headers, payloads = [], []
    for first, count in ((0, component), (component + 1, n - component - 1)):
        if count:
            payload = struct.pack(f"<{count}f", *[0.0] * count) + pickle.dumps([None] * count, PROTOCOL)
            header = (formats.RUN, 0, count, 0, first, 0.0, 0.0, 0.0, 0, len(payload))
            headers.append(formats.RECORD.pack(*header))
            payloads.append(payload)
    return formats.frame(key, HITS, 0, headers, payloads) if headers else b""
