"""Whether any machine of a pool has what a run asks for: known before it waits for ever."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import attrs

from wingspan.errors import PoolError
from wingspan.pools.gpus import Gpu, list_gpus
from wingspan.runs._errors import NoSuchMachine

if TYPE_CHECKING:
    from wingspan.environments import Needs
    from wingspan.pools import Pool
    from wingspan.runs._spec import RunSpec

__all__ = ["GpuGroup", "check_machines", "group_gpus", "unsuitable"]


@attrs.frozen(kw_only=True)
class GpuGroup:
    """Like GPUs of a pool.

    Attributes:
        model, capability, cuda, driver, memory: As in `Gpu`.
        free, total: How many.
        machines: Where they are.
        obstacle: Why the environment that was asked about cannot use them, or None.
    """

    model: str | None
    capability: float | None
    cuda: str | None
    driver: str | None
    memory: int | None
    free: int
    total: int
    machines: tuple[str, ...]
    obstacle: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The attributes under their names."""
        return {**attrs.asdict(self), "machines": list(self.machines)}


def group_gpus(pool: Pool, needs: Needs | None = None) -> list[GpuGroup]:
    """The GPUs of a pool, like ones together; `needs` are those of an environment that is to use them.

    Raises:
        PoolError: The pool does not list them.
    """
    groups: dict[tuple[object, ...], list[Gpu]] = {}
    for gpu in list_gpus(pool):
        groups.setdefault((gpu.model, gpu.capability, gpu.cuda, gpu.driver, gpu.memory), []).append(gpu)
    return [
        GpuGroup(
            model=gpus[0].model,
            capability=gpus[0].capability,
            cuda=gpus[0].cuda,
            driver=gpus[0].driver,
            memory=gpus[0].memory,
            free=sum(gpu.free for gpu in gpus),
            total=len(gpus),
            machines=tuple(sorted({gpu.machine for gpu in gpus})),
            obstacle=None
            if needs is None
            else unsuitable(
                gpus[0],
                capability_min=None if needs.gpu_capability_min is None else float(needs.gpu_capability_min),
                capability_max=None if needs.gpu_capability_max is None else float(needs.gpu_capability_max),
                runtime=needs.cuda_runtime_min,
            ),
        )
        for gpus in groups.values()
    ]


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


def unsuitable(
    gpu: Gpu,
    *,
    capability_min: float | None = None,
    capability_max: float | None = None,
    runtime: str | None = None,
    memory: int | None = None,
) -> str | None:
    """Why a GPU is not good enough, or None.

    >>> unsuitable(Gpu(machine="a", device="0", capability=6.1), capability_min=7.5)
    'compute capability 6.1, and 7.5 is needed'
    """
    if capability_min is not None and gpu.capability is not None and gpu.capability < capability_min:
        return f"compute capability {gpu.capability}, and {capability_min} is needed"
    if capability_max is not None and gpu.capability is not None and gpu.capability > capability_max:
        return f"compute capability {gpu.capability}, and at most {capability_max} is supported"
    if runtime is not None and gpu.cuda is not None and _version(gpu.cuda) < _version(runtime):
        return f"its driver supports CUDA {gpu.cuda}, and {runtime} is needed"
    if memory is not None and gpu.memory is not None and gpu.memory < memory:
        return f"{gpu.memory >> 20} MiB of memory, and {memory >> 20} MiB are needed"
    return None


def check_machines(spec: RunSpec, pool: Pool) -> None:
    """Nothing, if some machine of the pool has enough cores and GPUs that are good enough.

    Jobs that may leave for other pools (a profile's switches) are not judged by this one.

    Raises:
        NoSuchMachine: None has.
    """
    resources = spec.resources
    if pool.kind in ("personal", "local"):
        cores = (pool.default_workers(1 << 30)) or os.cpu_count() or 1
        if resources.cpus > cores:
            raise NoSuchMachine(
                f"a job asks for {resources.cpus} cores, and this machine has {cores}",
                hint=f"--cpus {cores}, or another --pool",
            )
    if not resources.gpus or spec.switches or pool.kind == "slurm":
        return
    if pool.kind == "local":
        return  # what this machine has, the preflight sees
    try:
        gpus = list_gpus(pool)
    except PoolError:
        return
    if not gpus:
        raise NoSuchMachine(
            f"a job asks for {resources.gpus} GPU(s), and no machine of the {pool.kind} pool has one",
            hint="wingspan gpus shows those of a pool; name another --pool",
        )
    reasons = []
    best: dict[str, int] = {}
    for gpu in gpus:
        reason = unsuitable(
            gpu,
            capability_min=resources.gpus_minimum_capability,
            capability_max=resources.gpus_maximum_capability,
            runtime=resources.gpus_minimum_runtime,
            memory=resources.gpus_minimum_memory,
        )
        if reason is None:
            best[gpu.machine] = best.get(gpu.machine, 0) + 1
        else:
            reasons.append(f"{gpu.model or gpu.device} on {gpu.machine}: {reason}")
    if not best:
        raise NoSuchMachine(
            f"no GPU of the {pool.kind} pool is good enough: {'; '.join(dict.fromkeys(reasons))}",
            hint="wingspan gpus --env NAME shows which ones an environment can use",
        )
    most = max(best.values())
    if resources.gpus > most:
        raise NoSuchMachine(
            f"a job asks for {resources.gpus} GPUs, and no machine of the {pool.kind} pool has more than {most} that will do",
            hint=f"--gpus {most}, or another --pool",
        )
