"""Making the folder of a map: everything but its tag, put in place with one rename."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wingspan._files import not_written
from wingspan.maps._carried import FixedFiles
from wingspan.maps._commands import keep_command
from wingspan.maps._errors import MapError, no_inputs
from wingspan.maps._folder import MapFolder, maps_root
from wingspan.maps._info import FORMAT_WITH_FALLS, FORMAT_WITH_PARTS, MapInfo
from wingspan.maps._inputs import FromInputs, write_inputs
from wingspan.maps._pickled import PickledFunction
from wingspan.pools.zipapp import copied
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.settings import private_folder
from wingspan.stores.errors import StoreError
from wingspan.worker import coming, compatibility, formats, pilot, rounds, trust
from wingspan.worker.transports import FileTransport

if TYPE_CHECKING:
    from wingspan.maps._facts import FileFacts
    from wingspan.maps._memo import Memo
    from wingspan.maps._stored import StoredValues

__all__ = ["create_map_folder"]


def create_map_folder(
    *,
    function: PickledFunction,
    inputs: Iterable[Any],
    info: MapInfo,
    archive: Path,
    workers: Callable[[int], int],
    plan: Callable[[Sequence[int], int], rounds.Plan],
    fixed: FixedFiles,
    files: Callable[[], FileFacts | None],
    memo: Memo | None = None,
    values: StoredValues | None = None,
    progress: Progress = NO_PROGRESS,
    before_it_is_in_place: Callable[[Path, bool], None] | None = None,
) -> MapFolder:
    """Write everything of a map but its tag, and put it in place with one rename.

    Args:
        function: Pickle of the function.
        inputs: Read once, streamed to disk.
        info: What ``map.json`` is to say, but for what is counted here.
        archive: The worker's zipapp.
        workers: Number of components -> how many workers to plan for.
        plan: Components that are to be done, and number of workers -> the first round. Called when all
            inputs are read.
        fixed: Files that all components get.
        files: What workers are told of files (see `MapInfo`), asked for when all that travels is written.
        memo: Looks for outputs that are there already; None: all are computed.
        values: Takes what is large to a store; None: all is written here.
        progress: Hears of the inputs written.
        before_it_is_in_place: Called when everything is written, with the folder, and whether code travels by
            value.

    Raises:
        EmptyMap: There are no inputs.
        NotPicklable: An input cannot be pickled.
        InvalidInputs: Files that were named are missing, or cannot travel.
        MapError: The disk is full, or the folder cannot be written.

    Nothing is left on disk in any of these cases, nor when `inputs` raises.
    """
    root = maps_root()
    temporary = root / f".new-{info.id}"
    try:
        private_folder(root.parent, root.name)
        trust.make_folder(str(temporary))
        for name in ("results", "workers", "rounds", "rounds/0", "rounds/0/claims", "rounds/0/takes"):
            trust.make_folder(str(temporary / name))
        digests = memo.inputs if memo is not None else None
        count, inputs_hold_code = write_inputs(
            temporary, inputs, function.input_dumper(), progress, digests, values
        )
        _check_count(count)
        function.files.check()
        fixed.keep(temporary, progress)
        counted = attrs.evolve(
            info, n=count, workers=workers(count), holds_code=function.holds_code or inputs_hold_code
        )
        whole = _write_rest(temporary, function, counted, archive, plan, files, memo, workers, values)
        if before_it_is_in_place is not None:
            before_it_is_in_place(temporary, whole.holds_code)
        if command := info.options.get("on_done"):
            keep_command(root / info.id, command)
        temporary.rename(root / info.id)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if values is not None:
            values.forget()
        if isinstance(error, FromInputs):
            raise error.error from error.error.__cause__
        if isinstance(error, OSError) and not isinstance(error, StoreError):
            message, hint = not_written(error, "the map", root)
            raise MapError(message, hint=hint) from error
        raise
    return MapFolder(root / info.id)


def _check_count(count: int) -> None:
    """See that a map may have so many components."""
    if count == 0:
        raise no_inputs()
    if count >= formats.NO_COMPONENT:
        raise MapError(f"{count:,} inputs are too many for one map", hint="make several maps")


def _write_rest(
    folder: Path,
    function: PickledFunction,
    info: MapInfo,
    archive: Path,
    plan: Callable[[Sequence[int], int], rounds.Plan],
    files: Callable[[], FileFacts | None],
    memo: Memo | None,
    workers: Callable[[int], int],
    values: StoredValues | None,
) -> MapInfo:
    """Write everything but the inputs; ``map.json`` comes last. What it says."""
    new = FileTransport(str(folder))
    key = os.urandom(formats.KEY_BYTES)
    with open(folder / "function.pkl", "wb", opener=trust.opener) as file:
        file.write(compatibility.header({**info.interpreter, "code": info.holds_code}))
        function.write_to(file, values)
        function_bytes = file.tell()
    new.write_whole("key", key)
    to_do: range | list[int] = range(info.n)
    told = files()
    if memo is not None:
        to_do = memo.fill(folder, info.id, key, info.n, has_files=told is not None)
        info = attrs.evolve(info, workers=workers(max(1, len(to_do))))
    first = plan(to_do, info.workers)
    new.write_whole("rounds/0/plan", first.dumps(key, 0))
    if first.rest:
        new.write_whole(pilot.FILE, pilot.dumps(key, list(first.rest), first.rest_is_timed, first.length))
    if info.open:
        new.write_whole(coming.OWNER, b"")
    worker = folder / "worker.pyz"
    new.write_whole(worker.name, archive.read_bytes())  # a copy: what lies in the cache is not the map's
    copied(archive, worker)
    form = FORMAT_WITH_PARTS if first.has_needs or first.rest else info.format
    whole = attrs.evolve(
        info,
        format=FORMAT_WITH_FALLS if first.falls else form,
        function_bytes=function_bytes,
        archive_bytes=worker.stat().st_size,
        own_modules=sorted(function.own.packed),
        files=told,
        created=time.time(),
    )
    new.write_whole("map.json", json.dumps(whole.to_json()).encode())
    return whole
