"""Making a map: what `wingspan.map` does once it knows what is wanted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from wingspan.errors import SubmitError
from wingspan.maps._by_hand import PLANNED_WORKERS
from wingspan.maps._code import describe, working_folder
from wingspan.maps._delivery import Delivery, check_pythons, keep, prepare
from wingspan.maps._folder import create_map_folder, remove_map_folder, tags_root
from wingspan.maps._functions import function_name
from wingspan.maps._map import Map
from wingspan.maps._options import Options
from wingspan.maps._pickled import PickledFunction
from wingspan.maps._tags import new_tag, write_tag
from wingspan.maps._worker_job import check_site
from wingspan.pools import Pool
from wingspan.pools.zipapp import worker_zipapp
from wingspan.progress import Progress
from wingspan.settings import load_settings
from wingspan.worker import compatibility, formats

__all__ = ["create"]


def create(
    func: Callable[..., Any],
    function: PickledFunction,
    inputs: Iterable[Any],
    *,
    call: str,
    tag: str | None,
    pool: Pool,
    options: Options,
    progress: Progress,
) -> Map:
    """Put everything on disk, and submit the workers.

    Args:
        func: The function.
        function: Its pickle.
        inputs: Read once.
        call: ``"map"``, or ``"starmap"`` where each input is ``(args, kwargs)``.
        tag: Name of the map, or None.
        pool: Ready to take jobs.
        options: What each worker gets.
        progress: Hears of long work.

    Raises:
        NotPicklable: An input cannot travel.
        EmptyMap: There are no inputs.
        MapError: The folder cannot be written.
        SettingsError: The site does not let workers have what the options ask for.
        SubmitError: This machine has not the GPUs that the local pool is asked for.
    """
    from wingspan._version import __version__

    if pool.kind == "local" and options.request_gpus and options.workers != 0:
        from wingspan.pools.gpus import why_no_gpu_here

        if (told := why_no_gpu_here(options.request_gpus)) is not None:
            raise SubmitError(told, hint="leave request_gpus out, or name another pool (pool=…)")
    check_site(options, pool, load_settings().data_dir)
    tags_folder, transient = tags_root(), tag is None
    delivery = prepare(options, pool, progress, holds_code=function.holds_code)
    map_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(4).hex()}"
    tag = tag or new_tag(tags_folder)
    folder = create_map_folder(
        map_id=map_id,
        function=function,
        inputs=inputs,
        info={
            "tag": tag,
            "transient": transient,
            "function": function_name(func),
            "call": call,
            "pool": pool.kind,
            "options": options.as_dict(),
            "retries": options.retries,
            "interpreter": compatibility.this_interpreter(),
            "lease_seconds": float(os.environ.get("WINGSPAN_LEASE_SECONDS", formats.LEASE_SECONDS)),
            "wingspan": __version__,
            "environment": delivery.facts if delivery else None,
            "functions": 2,  # its workers know what a round is that names another function
            "code": describe(func),
            "made_in": working_folder(),
        },
        archive=worker_zipapp(),
        workers=lambda count: min(count, _planned_workers(options, pool, count)),
        block_size=options.block_size,
        progress=progress,
        before_it_is_in_place=(lambda path, holds_code: _deliver(delivery, path, holds_code))
        if delivery
        else None,
    )
    try:
        write_tag(tags_folder, tag, map_id)
        made = Map(folder)
        if options.workers != 0:
            made._keeper.add_workers(int(folder.info["workers"]), pool)
    except BaseException:
        remove_map_folder(folder.path, tag)
        raise
    return made


def _planned_workers(options: Options, pool: Pool, count: int) -> int:
    if options.workers == 0:
        return PLANNED_WORKERS
    return options.workers or pool.default_workers(count)


def _deliver(delivery: Delivery, folder: Path, holds_code: bool) -> None:
    check_pythons(delivery.facts["name"], delivery.python, holds_code)
    keep(delivery, folder)
