"""The first component of a map is executed here, as a worker would see it; no map stays."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wingspan.maps._create import create
from wingspan.maps._display import default_progress
from wingspan.maps._entries import ENTRIES, with_entries
from wingspan.maps._errors import no_inputs
from wingspan.maps._functions import function_name, pickle_function
from wingspan.maps._options import Options
from wingspan.maps._worker_job import worker_job
from wingspan.pools import Pool, get_pool, site_pool
from wingspan.pools.rehearsal import (
    WAYS,
    Execution,
    Here,
    Rehearsal,
    engine_for,
    execute,
    missed,
    printed_by,
    rehearsal_folder,
)

if TYPE_CHECKING:
    from wingspan.jobs import JobDescription
    from wingspan.maps._map import Map

__all__ = ["rehearse"]

#: What it does not show, where that option is given.
_NOT_SENT = "whether output files can be put where output_remaps names"
#: What a rehearsal does not do: wait for others, try again, tell somebody, send output files elsewhere.
_LEFT_OUT = frozenset(
    "workers block_size retries retry_memory retry_disk pilot max_idle memo on_done notification notify_user "
    "store store_above output_remaps".split()
)


def rehearse(
    func: Callable[..., Any],
    inputs: Iterable[Any],
    *,
    call: str,
    pool: str | Pool | None,
    options: Options,
    ways: Sequence[str] = WAYS,
) -> Rehearsal:
    """Execute the first component of a map here, as a worker would see it.

    Args:
        func: The function.
        inputs: The inputs, or the calls.
        call: ``"map"``, or ``"starmap"`` where each input is ``(args, kwargs)``.
        pool: Kind of pool that the map is for; None: chosen as for a map.
        options: What its workers get.
        ways: How the rest of this machine may be hidden (see `wingspan.pools.rehearsal.WAYS`).

    Raises:
        EmptyMap, NotPicklable, …: As `wingspan.map`.
    """
    named = get_pool(pool) if isinstance(pool, str) else pool or site_pool(None)
    some = list(itertools.islice(inputs, 1))
    if not some:
        raise no_inputs()
    engine = engine_for(named)
    function = pickle_function(func)
    with rehearsal_folder() as top, default_progress() as progress:
        made = create(
            func,
            function,
            some,
            call=call,
            tag=None,
            pool=get_pool("local"),  # nothing is submitted there
            options=_options_of_first(options, some[0], call),
            progress=progress,
        )
        try:
            keeper = made._keeper
            job = worker_job(made._folder, made.options, engine, 0, 1)
            job = attrs.evolve(job, working_dir=top if not job.transfer_files else job.working_dir)
            own = (made.path, *(() if job.transfer_files else (top,)))
            done = execute(job, 0, top, own=own, seen=_files_of(made, job), ways=ways)
            keeper.refresh()
            told = _told(made, function_name(func), job, done)
            if "output_remaps" in options.given:
                told = attrs.evolve(told, not_checked=(*told.not_checked, _NOT_SENT))
            return told
        finally:
            made.remove(force=True)


def _files_of(made: Map, job: JobDescription) -> list[Path]:
    """Files of this machine that the component asks its map for. On a pool they come from here, too."""
    if not job.transfer_files:
        return []  # its machine sees this one's disks, or does not have the file
    named = (made._folder.info.files or {}).get("reach", ())
    return sorted(path for path in map(Path, named) if path.exists())


def _options_of_first(options: Options, given: Any, call: str) -> Options:
    """The options of the first component, and of a worker that nobody else waits for."""
    kept: dict[str, Any] = {name: getattr(options, name) for name in options.given if name not in _LEFT_OUT}
    first: dict[str, Any] = {}
    for name, values in options.each.items():
        if not callable(values):
            first[name] = values[0] if values else None
        else:
            first[name] = values(*given[0], **given[1]) if call == "starmap" else values(given)
    kept |= with_entries(first, {option: getattr(options, option) for option in ENTRIES})
    if isinstance(kept.get("component_input_files"), tuple | list):
        kept["component_input_files"] = kept["component_input_files"][:1]
    return Options(**kept, workers=0)


def _told(made: Map, name: str, job: JobDescription, done: Execution) -> Rehearsal:
    errors: dict[int, Exception] = {}
    values: dict[int, Any] = {}
    texts = [*printed_by(done)]
    if 0 in made.errors:
        told = made.errors[0]
        errors[0] = told
        texts.append(f"{told.type_name}: {told.text}\n{told.traceback}")
    elif made._keeper.finished:
        values[0] = made.get(0, timeout=0)
    did = bool(errors or values)
    stdout, stderr = (made.stdout(0), made.stderr(0)) if did else texts[:2]
    code = done.code or (0 if values else 1)
    resources = job.resources
    here = Here(
        base=Path.cwd(),
        home=Path(os.path.expanduser("~")),  # noqa: PTH111 - that of Path raises where there is no such user
        folder=done.sandbox.folder,
        shows=done.sandbox.shows,
        sent=frozenset(Path(one).name for one in made.options.input_files),
        how="Options(input_files=[{!r}])".format,
        by_name=True,
    )
    return Rehearsal(
        name=f"the first component of {name}",
        code=code,
        way=done.sandbox.way,
        shared=not job.transfer_files,
        not_checked=done.sandbox.not_checked,
        missed=missed("\n".join(texts), here) if code else (),
        ended=done.ended,
        values=values,
        errors=errors,
        stdout=stdout,
        stderr=stderr if did else texts[1],
        wall=done.wall,
        cpu=done.cpu,
        peak_memory=done.peak_memory,
        peak_disk=done.peak_disk,
        memory=resources.memory,
        disk=resources.disk,
        time=resources.time_limit,
    )
