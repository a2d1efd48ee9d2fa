"""Outputs that are there already: what a map with ``memo=True`` takes from earlier ones and leaves to others.

When the map is made, the digests of its function, of its environment and of each input are looked for in the
store (`wingspan.maps._memo_store`). What is found is written into the map's folder as a worker would have, in
the results file `HITS`, and round 0 is planned for the rest. Outputs of the map come into the store when the
next map of the same function is made, or when the map is removed: so nobody has to wait for a map, and no
worker knows of the store.

The folder of such a map has ``memo.json``, which says what was looked for and what was found, and
``memo.keys``, the digests of its inputs one after the other.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from wingspan._words import notice
from wingspan.errors import WingspanError
from wingspan.jobs import parse_size
from wingspan.maps._canonical import DIGEST_BYTES, Digests, canonical
from wingspan.maps._code import describe
from wingspan.maps._components import OUTPUT
from wingspan.maps._errors import MapError
from wingspan.maps._folder import MapFolder
from wingspan.maps._functions import function_name
from wingspan.maps._git import read_commit
from wingspan.maps._memo_store import MEASURES, Entry, Store, Stored, Trouble
from wingspan.maps._results import Results
from wingspan.settings import load_settings, private_folder
from wingspan.worker import formats, rounds, trust
from wingspan.worker.anatomy import codes_of
from wingspan.worker.outbox import Outbox, with_pieces
from wingspan.worker.transports import FileTransport

if TYPE_CHECKING:
    from wingspan.delivery.record import DeliveryFacts
    from wingspan.maps._facts import MemoFacts, OriginFacts
    from wingspan.maps._info import MapInfo
    from wingspan.maps._own import OwnCode
    from wingspan.maps._pickled import PickledFunction

__all__ = ["HITS", "Memo", "facts_of", "forget", "hits_of", "keep_outputs", "keys_of", "store"]

#: The results file of what was found: no worker has this name.
HITS = "c0.0"
_FACTS, _KEYS = "memo.json", "memo.keys"
#: Added to the kind of a large output's record that holds code, in `MEASURES`.
_CODE = 0x80


def store() -> Store:
    """The store of this user.

    Raises:
        SettingsError: ``memo_size`` is no size.
        Trouble: Its folder cannot be made.
    """
    settings = load_settings()
    try:
        private_folder(settings.data_dir)
    except WingspanError as error:
        raise Trouble(f"{settings.data_dir}: {error}") from error
    return Store(settings.data_dir / "memo", parse_size(settings.memo_size, "memo_size"))


def _tell(trouble: Trouble, what: str) -> None:
    notice(f"memo: {what}: {trouble}")


class Memo:
    """Looks for the outputs of a map that is being made.

    Args:
        func: The function.
        function: Its pickle.
        info: What ``map.json`` will say.

    Attributes:
        inputs: Takes the digests of the inputs while they are pickled.
        is_complete: Nothing is left to do.
    """

    def __init__(
        self,
        func: Callable[..., Any],
        function: PickledFunction,
        info: MapInfo,
    ) -> None:
        self._func, self._function, self._info = func, function, info
        self.inputs = Digests(function.own.by_value)
        self.is_complete = False

    def fill(
        self, folder: Path, info_id: str, key: bytes, count: int, *, has_files: bool
    ) -> range | list[int]:
        """Write what is found into the folder of the map.

        Args:
            folder: The map's, as far as it is written.
            info_id: Its name once it is in place.
            key: The map's.
            count: How many components.
            has_files: Components get files, or send some.

        Returns:
            Components that nothing was found for.

        Raises:
            OSError: The map's folder cannot be written.
        """
        if has_files:
            notice("memo: this map has files, whose content is not compared; all is computed")
            return range(count)
        code, facts = self._describe()
        keys = bytes(self.inputs.joined)
        if code is None:
            notice(
                f"memo: {function_name(self._func)} holds something that cannot be compared; all is computed"
            )
            return range(count)
        if facts["numbered"]:
            keys = _numbered(keys)
        # The parts have digests of their own, for people: not all of them are the same in another session.
        counts = {name: value for name, value in facts.items() if name != "parts"}
        digest = hashlib.blake2b(json.dumps([code, counts], sort_keys=True).encode(), digest_size=16).digest()
        (folder / _KEYS).write_bytes(keys)
        found: list[Stored] = []
        origins: dict[int, dict[str, Any]] = {}
        told = folder.parent / info_id, digest, function_name(self._func), facts, keys
        try:
            kept = store()
            kept.note_map(*told)
            for other in kept.pending(digest):
                if other.name != info_id:
                    keep_outputs(other, kept)
            self._write_hits(folder, key, kept.find(digest, _split(keys)), found)
        except Trouble as trouble:
            _tell(trouble, "what was kept cannot be used, and what is missing is computed")
            with contextlib.suppress(Trouble):  # a damaged store was put aside: there is a new one
                store().note_map(*told)
        try:
            if found:
                origins = kept.origins(one.origin for one in found)
                kept.mark_used(one.row for one in found)
        except Trouble as trouble:
            _tell(trouble, "what was used cannot be noted")
        plain = {
            "digest": digest.hex(),
            "code": code,
            "facts": facts,
            "origins": {str(number): origin for number, origin in origins.items()},
            "hits": _in_ranges(found),
        }
        trust.write_whole(str(folder / _FACTS), json.dumps(plain).encode())
        hits = {one.place for one in found}
        self.is_complete = len(hits) == count
        return [number for number in range(count) if number not in hits] if hits else range(count)

    def _write_hits(self, folder: Path, key: bytes, some: Iterator[Stored], found: list[Stored]) -> None:
        """Write records of outputs, as a worker would; each is added to `found`."""
        outbox = Outbox(FileTransport(str(folder)), key, HITS)
        waiting: list[Stored] = []
        try:
            for one in some:
                outbox.add_packed(*_record(one, outbox))
                waiting.append(_without_value(one))
        finally:
            outbox.flush()
            found += waiting

    def _describe(self) -> tuple[str | None, dict[str, Any]]:
        """Digest of the function as it travels, and what a person may know of function and environment."""
        own = self._function.own
        digest = canonical(self._func, by_value=own.by_value, spread=True)
        packed = own.pack() or {}
        modules = {
            relative: hashlib.blake2b(content, digest_size=8).hexdigest()
            for (_, relative), (_, content) in packed.get("files", {}).items()
        }
        for name, changes in packed.get("state", {}).items():
            for variable, pickled in changes:
                modules[f"{name}.{variable}"] = hashlib.blake2b(pickled, digest_size=8).hexdigest()
        parts = {name: facts["digest"] for name, facts in describe(self._func)["parts"].items()}
        facts = {
            "name": function_name(self._func),
            "parts": parts,
            "modules": modules,
            "call": self._info.call,
            "numbered": _asks_for_its_number(own, packed),
            "environment": environment_facts(self._info.environment),
        }
        if facts["numbered"]:
            facts["seed"] = self._info.seed
        return None if digest is None else digest.hex(), facts


def _asks_for_its_number(own: OwnCode, packed: Mapping[str, Any]) -> bool:
    """It may be that the function calls `wingspan.component`, which tells it its number, and a seed."""
    if any("component" in one.co_names for code in own.codes for one in codes_of(code)):
        return True
    return any(
        b"wingspan" in content and b"component" in content for _, content in packed.get("files", {}).values()
    )


def _numbered(keys: bytes) -> bytes:
    """Digests of inputs together with the numbers of their components."""
    return b"".join(
        hashlib.blake2b(key + number.to_bytes(8, "little"), digest_size=DIGEST_BYTES).digest()
        for number, key in enumerate(_split(keys))
    )


def _record(one: Stored, outbox: Outbox) -> tuple[bytes, bytes]:
    """Header and payload of the record of an output; the pieces of a large one are appended before."""
    started, wall, cpu, peak, kind = MEASURES.unpack(one.measures)
    kind, payload, pieces = kind & ~_CODE, one.value, []
    if payload is None:
        assert one.file is not None
        with open(one.file, "rb") as file:  # noqa: PTH123 - for each output
            while piece := file.read(formats.PIECE_BYTES):
                pieces.append(outbox.append_piece(memoryview(piece)))
        kind, payload = formats.LARGE, b"\1" if MEASURES.unpack(one.measures)[4] & _CODE else b"\0"
    header = formats.RECORD.pack(kind, 0, 1, 0, one.place, started, wall, cpu, peak, len(payload))
    return with_pieces(header, payload, pieces) if pieces else (header, payload)


def _without_value(one: Stored) -> Stored:
    return Stored(one.place, one.row, b"", None, None, one.origin, one.component)


def _split(keys: bytes) -> list[bytes]:
    return [keys[at : at + DIGEST_BYTES] for at in range(0, len(keys), DIGEST_BYTES)]


def _in_ranges(found: list[Stored]) -> list[list[int]]:
    """``[first component, how many, origin, component there]``, of neighbours here and there."""
    ranges: list[list[int]] = []
    for one in found:
        if ranges:
            first, count, origin, component = ranges[-1]
            if (one.place, one.origin, one.component) == (first + count, origin, component + count):
                ranges[-1][1] += 1
                continue
        ranges.append([one.place, 1, one.origin, one.component])
    return ranges


def environment_facts(delivery: DeliveryFacts | None) -> dict[str, Any]:
    """What tells one environment from another: the lock, or the interpreter and what is installed.

    Args:
        delivery: What ``map.json`` says of the locked environment, if there is one.
    """
    if delivery:
        known = delivery.get("digest") or delivery.get("bundle_sha256")
        code = [layer["sha256"] for layer in delivery.get("layers") or ()]
        facts = {"lock": known, "platform": delivery["platform"], "python": delivery["python"]}
        return {**facts, "code": code} if code else facts
    packages = set()
    for place in {*sys.path, os.path.join(sys.prefix, "conda-meta")}:  # noqa: PTH118 - for every map
        try:
            names = os.listdir(place or ".")
        except OSError:
            continue
        for name in names:
            stem, dot, ending = name.rpartition(".")
            if (dot and ending in ("dist-info", "egg-info")) or (
                place.endswith("conda-meta") and ending == "json"
            ):
                packages.add(stem)
    return {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "machine": platform.machine(),
        "packages": sorted(packages),
    }


# -- what a map leaves ---------------------------------------------------------------------------------------


def facts_of(folder: Path) -> MemoFacts | None:
    """What ``memo.json`` says; None: the map was made without a memo, or the file is not whole."""
    try:
        plain = json.loads((folder / _FACTS).read_bytes())
        return cast("MemoFacts", plain) if isinstance(plain, dict) and "digest" in plain else None
    except (OSError, ValueError):
        return None


def hits_of(facts: MemoFacts, component: int) -> OriginFacts | None:
    """Where the output of a component was taken from when the map was made; None: it was not there."""
    for first, count, origin, there in facts["hits"]:
        if first <= component < first + count:
            return {**facts["origins"].get(str(origin), {}), "component": there + component - first}
    return None


def keys_of(folder: Path) -> list[bytes]:
    """The digests of the inputs."""
    try:
        return _split((folder / _KEYS).read_bytes())
    except OSError:
        return []


def keep_outputs(path: Path, kept: Store | None = None, results: Results | None = None) -> None:
    """Put the outputs of a map that are not there yet into the store, for later maps.

    Nothing that goes wrong is an error of the map.

    Args:
        path: The map's folder.
        kept: The store; None: this user's.
        results: What is known of its results; None: they are read.
    """
    facts = facts_of(path)
    try:
        kept = kept or (store() if facts is not None else None)
        if kept is None:
            return
        if facts is None:
            kept.settle(path)
            return
        try:
            folder = MapFolder(path)
            if results is None:
                results = Results(folder)
                results.poll()
            _keep(folder, facts, kept, results)
        except MapError:
            kept.settle(path)  # it is gone, or damaged
        except OSError as error:
            raise Trouble(str(error)) from error
    except Trouble as trouble:
        _tell(trouble, f"outputs of the map in {path} are not kept for others")


def _keep(folder: MapFolder, facts: MemoFacts, kept: Store, results: Results) -> None:
    keys, digest = keys_of(folder.path), bytes.fromhex(facts["digest"])
    if len(keys) != folder.n or not kept.is_of(folder.path, digest, b"".join(keys)):
        kept.settle(folder.path)  # nobody knows what its outputs belong to
        return
    done = [component for component in range(folder.n) if _is_its_own(results, component)]
    known = kept.known(digest, (keys[component] for component in done))
    by_start: dict[str, list[int]] = {}
    for component in done:
        if keys[component] not in known:
            by_start.setdefault(results.start_of(component).name, []).append(component)
    for name, components in by_start.items():
        told = results.starts[name].facts or {}
        origin = {
            "map": folder.info.id,
            "tag": folder.info.tag,
            "made": folder.info.created,
            "facts": {key: told[key] for key in ("host", "python", "gpus", "gpu") if told.get(key)},
            "wingspan": folder.info.wingspan,
            "git": read_commit(folder.path),
        }
        kept.keep(digest, origin, (_entry(results, component, keys[component]) for component in components))
    if results.finished == folder.n and not results.retryable:
        kept.settle(folder.path)


def _is_its_own(results: Results, component: int) -> bool:
    """It has an output, of the function that the map was made with, and not from the store."""
    if results.state[component] != OUTPUT or results.start_of(component).name == HITS:
        return False
    if len(results.plans) == 1:
        return True
    number = results.round_of(component)
    return rounds.function_of(results.plans, component, number) == rounds.FUNCTION


def _entry(results: Results, component: int, key: bytes) -> Entry:
    measures = results.measures(component)
    output = results.output(component)
    value: bytes | Iterable[bytes | memoryview] = output.pieces
    kind, length = formats.OUTPUT, 0
    if output.is_large:
        length = results.length_of(component)
        kind = formats.LARGE | (_CODE if output.holds_code else 0)
    else:
        value = b"".join(output.pieces)
        length = len(value)
    packed = MEASURES.pack(measures.started, measures.wall, measures.cpu, measures.peak_memory // 1024, kind)
    return Entry(key, component, packed, value, length)


def forget(folder: MapFolder, components: Iterable[int]) -> None:
    """These are done again: what is kept of them is not wanted any more, and what will be is."""
    facts = facts_of(folder.path)
    if facts is None:
        return
    keys, digest = keys_of(folder.path), bytes.fromhex(facts["digest"])
    try:
        inputs = [keys[component] for component in components if component < len(keys)]
        store().forget(folder.path, digest, inputs)
    except Trouble as trouble:
        _tell(trouble, f"outputs of {folder.info.tag!r} that are computed again may still be taken by others")
