"""A map that was made on another machine, and sent here through SSH.

It is put in place and begun as if it had been made here.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from wingspan.delivery.sent import asked_for
from wingspan.maps._create import check_pool, deliver, prepare_environment
from wingspan.maps._errors import MapRemoved, PythonsDiffer, TagExists
from wingspan.maps._folder import MapFolder, maps_root, remove_map_folder
from wingspan.maps._info import MapInfo
from wingspan.maps._map import Map, load_folder
from wingspan.maps._options import Options
from wingspan.pools import Pool
from wingspan.pools.zipapp import worker_zipapp
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.worker import compatibility, trust

if TYPE_CHECKING:
    from wingspan.delivery.record import DeliveryFacts
    from wingspan.environments import Environment

__all__ = ["received"]


def received(temporary: Path, pool: Pool, progress: Progress = NO_PROGRESS) -> Map:
    """Put a map in place that was received as a whole, and submit its workers.

    Args:
        temporary: The folder with all its files.
        pool: Ready to take jobs.
        progress: Hears of the environment being built.

    Raises:
        WingspanError: As `wingspan.map`. Nothing is left then.
    """
    plain = json.loads((temporary / "map.json").read_bytes())
    info = attrs.evolve(MapInfo.from_json(plain), pool=pool.kind)
    if info.id != temporary.name.removeprefix(".new-").partition("+")[0]:
        raise ValueError("the map has another name than its folder")
    options = Options.from_dict(info.options)
    check_pool(options, pool)
    environment = asked_for(temporary)
    if environment is None:
        _check_python(info)
    else:
        info = attrs.evolve(info, environment=_prepared(temporary, info, pool, environment, progress))
    moved = (info.files or {}).get("moved")
    if moved:
        path = maps_root() / info.id
        here = {source: str(path / trust.check_path(name)) for source, name in moved.items()}
        info = attrs.evolve(info, files={**(info.files or {}), "moved": here})
    # This machine's own worker: the other one need not have what workers here need (HTCondor's chirp).
    archive = worker_zipapp().read_bytes()
    trust.write_whole(str(temporary / "worker.pyz"), archive)
    info = attrs.evolve(info, archive_bytes=len(archive))
    trust.write_whole(str(temporary / "map.json"), json.dumps(info.to_json()).encode(), sync=True)
    path = maps_root() / info.id
    temporary.rename(path)
    folder = MapFolder(path)
    try:
        folder.take_tag()
    except TagExists as error:
        remove_map_folder(path)
        raise TagExists(
            f"the access point has a map with the tag {info.tag!r} already",
            hint=f"choose another tag, or remove that one there: wingspan rm {info.tag}",
        ) from error
    made = load_folder(str(path))
    try:
        made._keeper.refresh()
        if options.workers != 0 and not made._keeper.finished:
            made._keeper.begin(pool)
    except BaseException:
        with contextlib.suppress(MapRemoved):
            remove_map_folder(path, folder.info.tag)
        raise
    return made


def _check_python(info: MapInfo) -> None:
    """See that workers with the Python of this machine can read the map's pickles.

    Raises:
        PythonsDiffer: They cannot.
    """
    here = compatibility.this_interpreter()
    problem = compatibility.incompatibility({**info.interpreter, "code": info.holds_code}, here)
    if problem is not None and info.options.get("workers") != 0:
        raise PythonsDiffer(
            f"the access point's workers would have its own Python: {problem}",
            hint='name a locked environment with the Python of this session: Options(environment="default")',
        )


def _prepared(
    folder: Path, info: MapInfo, pool: Pool, environment: Environment, progress: Progress
) -> DeliveryFacts:
    """Build (or find) the bundle of the map's environment; what ``map.json`` is to say of it."""
    options = Options.from_dict(info.options).merged(Options(environment=environment))
    prepared = prepare_environment(options, pool, progress, holds_code=info.holds_code)
    assert prepared is not None
    deliver(*prepared, folder, info.holds_code)
    return prepared[1].to_json()
