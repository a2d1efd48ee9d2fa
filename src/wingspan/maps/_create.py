"""Making a map: what `wingspan.map` does once it knows what is wanted."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import attrs

from wingspan._python import options_of_this_python
from wingspan._warn import warn
from wingspan.errors import EnvironmentWarning, PoolError, SettingsError
from wingspan.jobs import JobDescription, Resources, with_needs
from wingspan.maps._carried import (
    FixedFiles,
    check_remaps,
    make_places,
    places_of_remaps,
    with_component_files,
)
from wingspan.maps._code import describe, working_folder
from wingspan.maps._errors import PythonsDiffer
from wingspan.maps._external import PLANNED_WORKERS
from wingspan.maps._folder import MapFolder, remove_map_folder, tags_root
from wingspan.maps._functions import function_name
from wingspan.maps._git import note_commit
from wingspan.maps._info import MOVED, MapInfo
from wingspan.maps._map import Map
from wingspan.maps._needs import Asked, options_for, with_pilot
from wingspan.maps._new_folder import create_map_folder
from wingspan.maps._options import Options
from wingspan.maps._pickled import PickledFunction, check_pythons
from wingspan.maps._several import check_together
from wingspan.maps._stored import forget_values, stored_values
from wingspan.maps._tags import new_tag
from wingspan.maps._worker_job import check_largest, check_site, for_site, operations_of, resources_of
from wingspan.pools import Pool
from wingspan.pools.zipapp import worker_zipapp
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.settings import load_settings
from wingspan.worker import coming, compatibility, formats, rounds

if TYPE_CHECKING:
    from wingspan.delivery.record import Delivery
    from wingspan.delivery.sent import SentEnvironment
    from wingspan.environments import LockedEnvironment
    from wingspan.environments.bundles import Bundle
    from wingspan.maps._chain import Chain
    from wingspan.maps._facts import FileFacts, InterpreterFacts, OpenFacts
    from wingspan.maps._memo import Memo
    from wingspan.pools.following import Earlier

__all__ = ["Opened", "check_pool", "create", "deliver", "prepare_environment"]


@attrs.frozen(eq=False, repr=False)
class Opened:
    """How an open map is done.

    Attributes:
        workers: How many are submitted at first.
        look_seconds: The longest time between two looks of a worker for more inputs.
        idle_seconds: A worker leaves after so long without any; None: it stays.
    """

    workers: int
    look_seconds: float
    idle_seconds: float | None

    def facts(self) -> OpenFacts:
        """For ``map.json``."""
        return {
            "workers": self.workers,
            "look_seconds": self.look_seconds,
            "idle_seconds": self.idle_seconds,
        }


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
    further: Sequence[Pool] = (),
    opened: Opened | None = None,
    chain: Chain | None = None,
    after: Sequence[Earlier] = (),
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
        further: Other pools, ready as well, whose workers do the map together with those of `pool`.
        opened: More inputs come while it is at work; None: these are all.
        chain: What the inputs are taken from; None: `inputs` are the inputs.
        after: What must be done before its workers are submitted.

    Raises:
        NotPicklable: An input cannot travel.
        EmptyMap: There are no inputs.
        MapError: The folder cannot be written.
        SettingsError: The site does not let workers have what the options ask for.
        SubmitError: This machine does not have the GPUs that the options ask for.
    """
    pools = (pool, *further)
    _check_that_it_can_be(options, pools, opened, chain, after)
    asked = Asked(options, call)
    fixed = FixedFiles(
        options.input_files, function.files, lambda path: _in_store(path, options, pool, progress)
    )
    inputs = _with_files(asked.reading(inputs), options, fixed)
    make_places(options.output_remaps)
    # What other machines can use, this one can, too.
    others = next((one for one in pools if not one.runs_here), pool)
    prepared = prepare_environment(options, others, progress, holds_code=function.holds_code)
    delivery = prepared[1] if prepared else None
    info = _info_of(func, call, tag, pools, options, delivery)
    # Of an open map and of a chain the inputs are not here yet.
    memo = _memo(func, function, info) if options.memo and opened is None and chain is None else None
    if chain is not None:
        here = compatibility.this_python()["python"]
        chain.check(options, (delivery.python if delivery else None) or here)
    values = stored_values(options, info, pools)
    folder = create_map_folder(
        function=function,
        inputs=inputs,
        info=attrs.evolve(
            info,
            function="Executor" if opened else info.function,
            open=opened.facts() if opened else None,
            chain=chain.facts(pools, external=options.workers == 0) if chain else None,
            store=values.setting if values is not None else None,
        ),
        archive=worker_zipapp(),
        workers=lambda count: opened.workers if opened else _all_workers(options, pools, count),
        plan=lambda to_do, workers: (
            rounds.plan_for(rounds.INITIAL, range(coming.MOST), workers, 1)
            if opened
            else _first_plan(asked, options, pools, to_do, workers, may_fall=chain is None)
        ),
        fixed=fixed,
        files=lambda: _files_of(function, fixed, options, pools),
        memo=memo,
        values=values,
        progress=progress,
        before_it_is_in_place=lambda path, holds_code: _complete(path, holds_code, prepared, after),
    )
    folder.is_owned = opened is not None
    everything_known = memo is not None and memo.is_complete
    needs_workers = options.workers != 0 and not everything_known
    return _begin(folder, pools if after or pool.elsewhere or needs_workers else (), after)


def _check_that_it_can_be(
    options: Options,
    pools: Sequence[Pool],
    opened: Opened | None,
    chain: Chain | None,
    after: Sequence[Earlier],
) -> None:
    """See that these pools can do what is asked for, before an input is read; raises what `create` raises."""
    _check_inputs_are_there(options, opened, chain)
    _check_submitted_here(options, pools[0], opened, after)
    check_together(pools)
    if chain is not None:
        chain.check_place(pools[0])
    for one in pools:
        check_pool(options, one)


def _with_files(inputs: Iterable[Any], options: Options, fixed: FixedFiles) -> Iterable[Any]:
    """The inputs, whose files are noted, and whose places for outputs are checked, while they are read."""
    if options.component_input_files is not None:
        inputs = with_component_files(inputs, options.component_input_files, fixed)
    return check_remaps(inputs, options.output_remaps)


def _memo(func: Callable[..., Any], function: PickledFunction, info: MapInfo) -> Memo:
    from wingspan.maps._memo import Memo  # it imports much, and few maps want it

    return Memo(func, function, info)


def _begin(folder: MapFolder, pools: Sequence[Pool], after: Sequence[Earlier]) -> Map:
    """Give a map that is on disk its tag, and submit its workers. If that fails, nothing is left.

    Args:
        folder: The map's.
        pools: Where its workers are submitted; none: a person submits them, or there is nothing to do.
        after: What must be done before; then one of `pools` takes a carrier that submits them.
    """
    made = Map(folder)
    try:
        folder.take_tag()
        note_commit(folder.path, folder.info.made_in)
        if after:
            from wingspan.pools.following import Following

            # A carrier that is a job on a node may not reach the schedulers of other pools.
            Following(folder.path).carry(next((one for one in pools if not one.orders_jobs), pools[0]))
        elif pools:
            made._keeper.begin(*pools)
    except BaseException:
        if len(pools) > 1:  # some of its jobs may be in a queue
            with contextlib.suppress(PoolError):
                made._keeper.remove_for_good("the map could not be made")
        remove_map_folder(folder.path, folder.info.tag)
        forget_values(folder.info)
        raise
    return made


def _check_inputs_are_there(options: Options, opened: Opened | None, chain: Chain | None) -> None:
    """See that there is no pilot of inputs that come later.

    Raises:
        SettingsError: There is.
    """
    if options.pilot is not None and (opened is not None or chain is not None):
        who = "an executor's" if opened is not None else "a chain's"
        raise SettingsError(
            f"the option pilot goes by the inputs, and {who} are not there yet when its workers are submitted",
            hint="leave pilot out",
        )


def _check_submitted_here(
    options: Options, pool: Pool, opened: Opened | None, after: Sequence[Earlier]
) -> None:
    """See that this machine submits the workers, if the map needs that.

    Raises:
        SettingsError: It does not.
    """
    if opened is not None and pool.elsewhere:
        raise SettingsError(
            f"an executor cannot be in the pool {pool.kind}: its calls would be sent one by one",
            hint=f"wingspan.map(f, inputs, pool={pool.kind!r}) sends all at once; or work on that machine",
        )
    if after and (options.workers == 0 or pool.elsewhere):
        where = "are external" if options.workers == 0 else "are submitted on another machine"
        raise SettingsError(
            f"the workers of this map {where}, so nobody here can submit them after others are done",
            hint="leave after out, and make the map then",
        )


def check_pool(options: Options, pool: Pool) -> None:
    """See that the pool takes such workers, before anything is written."""
    if options.notification != "never" and not pool.sends_mail:
        raise SettingsError(
            f"the {pool.kind} pool sends no mail, and notification={options.notification!r}",
            hint="Options(on_done=…) calls a command of yours when the map is complete, on every pool",
        )
    if not pool.hands_out_gpus and options.workers != 0:
        pool.check_gpus(JobDescription(name="", executable="", resources=resources_of(options)))
    check_site(options, pool, load_settings().data_dir)


def _first_plan(
    asked: Asked,
    options: Options,
    pools: Sequence[Pool],
    to_do: Sequence[int],
    workers: int,
    *,
    may_fall: bool,
) -> rounds.Plan:
    """What the first round does: components that are to be done, in groups that need the same."""
    groups = asked.groups(to_do)
    for needs, _ in groups:
        for pool in pools:
            check_pool(options_for(options, needs), pool)
    if options.pilot is not None and options.pilot < len(to_do):
        plan = with_pilot(
            groups or [({}, to_do)],
            to_do[: options.pilot],
            workers,
            options.block_size,
            timed=any(pool.rewards_short_jobs for pool in pools),
        )
    elif not groups:
        plan = rounds.plan_for(rounds.INITIAL, to_do, workers, options.block_size, may_fall=may_fall)
    else:
        plan = rounds.plan_by_needs(rounds.INITIAL, groups, workers, options.block_size)
    beside = [group for group in asked.groups_beside(to_do) if group[0]]
    if beside:
        plan.beside = rounds.plan_by_needs(rounds.INITIAL, beside, 1).parts
    return plan


def _info_of(
    func: Callable[..., Any],
    call: str,
    tag: str | None,
    pools: Sequence[Pool],
    options: Options,
    delivery: Delivery | None,
) -> MapInfo:
    """What ``map.json`` is to say, but for what is counted when the folder is written."""
    from wingspan._version import __version__

    interpreter = {**compatibility.this_interpreter(), **options_of_this_python()}
    return MapInfo(
        id=f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(4).hex()}",
        tag=tag or new_tag(tags_root()),
        transient=tag is None,
        function=function_name(func),
        call=call,
        pool=pools[0].kind,
        pools=[pool.kind for pool in pools[1:]],
        options=options.as_dict(),
        retries=options.retries,
        seed=int.from_bytes(os.urandom(16), "little") if options.seed is None else options.seed,
        interpreter=cast("InterpreterFacts", interpreter),
        lease_seconds=float(os.environ.get("WINGSPAN_LEASE_SECONDS", formats.LEASE_SECONDS)),
        end_seconds=float(os.environ.get("WINGSPAN_END_SECONDS", formats.END_SECONDS)),
        wingspan=__version__,
        environment=delivery.to_json() if delivery else None,
        cancels=True,
        functions=2,  # its workers understand rounds that name another function
        needs=1,  # and rounds whose components need different things
        shares=True,
        operations=min(
            (one for pool in pools if (one := operations_of(options, pool)) is not None), default=None
        ),
        unknown={"counts": True} if os.environ.get("WINGSPAN_COUNT_OPERATIONS") else {},
        code=describe(func),
        made_in=working_folder(),
        n=0,
        workers=0,
    )


def _files_of(
    function: PickledFunction, fixed: FixedFiles, options: Options, pools: Sequence[Pool]
) -> FileFacts | None:
    """What ``map.json`` says of files (see `MapInfo`).

    Raises:
        InvalidInputs: One of them is larger than the site allows.
    """
    for pool in pools:
        check_largest(options, pool, *function.files.largest)
    if not (
        function.files
        or options.output_remaps
        or options.own_folder
        or function.own.uses("transfer_output_files")
    ):
        return None
    remaps = options.output_remaps
    if pools[0].elsewhere:  # such a pool does a map alone
        if remaps:
            raise SettingsError(
                "output_remaps names folders of this machine, and the map is executed on another one",
                hint="m.fetch(folder) brings the output files here",
            )
        moved = {source: f"{MOVED}/{number}" for number, source in enumerate(function.files.files)}
        return {"fixed": fixed.names, "reach": [], "moved": moved}
    facts: FileFacts = {
        "fixed": fixed.names,
        "reach": [*function.files.places, *places_of_remaps(remaps)],
    }
    if remaps:
        facts["remaps"] = remaps
    if aliases := function.files.aliases:
        facts["aliases"] = aliases
    return facts


def _in_store(path: Path, options: Options, pool: Pool, progress: Progress) -> str | None:
    """The URL of a file that goes to the configured store, as the access point does not want one so large."""
    if options.workers == 0 or (not pool.follows_site and options.profile is None):
        return None
    from wingspan.delivery.large_inputs import place_large

    placed = place_large(path, pool, options.profile, progress)
    return None if placed is None else placed.url


def _all_workers(options: Options, pools: Sequence[Pool], count: int) -> int:
    """How many workers are planned for `count` components, in all pools."""
    return min(count, sum(_planned_workers(options, one, count) for one in pools))


def _planned_workers(options: Options, pool: Pool, count: int) -> int:
    if options.workers == 0:
        return PLANNED_WORKERS
    return options.workers or pool.default_workers(count)


def deliver(bundle: Bundle | SentEnvironment, delivery: Delivery, folder: Path, holds_code: bool) -> None:
    """Put an environment into the folder of a map: its bundle, or what another machine builds that from.

    Raises:
        PythonsDiffer: Its Python cannot read the map's pickles.
    """
    from wingspan.delivery.prepare import keep_bundle
    from wingspan.delivery.sent import SentEnvironment

    check_pythons(delivery.name, delivery.python, holds_code)
    if isinstance(bundle, SentEnvironment):
        bundle.write(folder)
    else:
        keep_bundle(bundle, folder)


def _complete(
    folder: Path,
    holds_code: bool,
    prepared: tuple[Bundle | SentEnvironment, Delivery] | None,
    after: Sequence[Earlier],
) -> None:
    """Put the bundle of a new map into its folder, if it has one, and the list of what it follows."""
    if prepared is not None:
        deliver(*prepared, folder, holds_code)
    if after:
        from wingspan.pools.following import Following

        Following.write(folder, after)


def prepare_environment(
    options: Options, pool: Pool, progress: Progress = NO_PROGRESS, *, holds_code: bool
) -> tuple[Bundle | SentEnvironment, Delivery] | None:
    """Build (or find) the bundle that `options` ask for; None when the map runs in today's interpreter.

    Where another machine submits the jobs, that machine builds the bundle, too: this one only reads the lock.

    Raises:
        EnvironmentError_: The environment cannot be read, or no bundle can be made of it.
        PythonsDiffer: It has no Python, or one that cannot read the map's pickles.
        SettingsError: It is for machines that the pool does not have.
        SubmitError: No machine of the pool has such GPUs.
        UnknownKind: There is no such kind of bundle.
    """
    if options.environment is None:
        return None
    from wingspan.delivery.prepare import as_environment, needs_by_lock, prepare

    gpus = options.request_gpus > 0 or "request_gpus" in options.each

    def look(environment: LockedEnvironment) -> None:
        if environment.python is None:
            raise PythonsDiffer(
                f"the environment {environment.name!r} of {environment.workspace} has no Python",
                hint="add python to its dependencies: a map calls a Python function",
            )
        check_pythons(environment.name, environment.python, holds_code)
        if gpus and options.workers != 0:
            _check_gpus(needs_by_lock(environment, gpus=True), options, pool)

    named = as_environment(options.environment)
    bundle: Bundle | SentEnvironment | None
    bundle, delivery = prepare(
        named, gpus=gpus, pool=pool, build=not pool.elsewhere, look=look, progress=progress
    )
    if pool.elsewhere:
        from wingspan.delivery.sent import environment_to_send

        bundle = environment_to_send(named)
    assert bundle is not None
    for warning in delivery.warnings:
        warn(f"environment {delivery.name!r}: {warning}", EnvironmentWarning)
    return bundle, delivery


def _check_gpus(needs: Mapping[str, Any], options: Options, pool: Pool) -> None:
    """See that the pool has GPUs that suit the lock.

    `Pool.submit` does that too, but only after the bundle was built.
    """
    resources = with_needs(Resources(gpus=options.request_gpus, time_limit=options.time), needs)
    job = JobDescription(
        name="", executable="", resources=resources, custom=options.custom, submit=options.submit
    )
    pool.check_gpus(for_site(job, options, pool))
