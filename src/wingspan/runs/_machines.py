"""Whether any machine of a pool has what a run asks for, so that no job waits for ever."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import attrs

from wingspan.errors import PoolError
from wingspan.pools.gpus import Gpu, unsuitable
from wingspan.runs._errors import NoSuchMachine

if TYPE_CHECKING:
    from wingspan.environments import Needs
    from wingspan.pools import Pool
    from wingspan.runs._spec import RunSpec

__all__ = ["GpuGroup", "check_machines", "group_gpus"]


@attrs.frozen(kw_only=True)
class GpuGroup:
    """Like GPUs of a pool.

    Attributes:
        model, capability, cuda, driver, memory: As in `Gpu`.
        free, total: How many.
        machines: Where they are.
        unusable_reason: Why the environment that was asked about cannot use them, or None.
    """

    model: str | None
    capability: float | None
    cuda: str | None
    driver: str | None
    memory: int | None
    free: int
    total: int
    machines: tuple[str, ...]
    unusable_reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The attributes under their names."""
        return {**attrs.asdict(self), "machines": list(self.machines)}


def group_gpus(pool: Pool, needs: Needs | None = None) -> list[GpuGroup]:
    """The GPUs of a pool, like ones together; `needs` are those of an environment that is to use them.

    Raises:
        PoolError: The pool does not list them.
    """
    groups: dict[tuple[object, ...], list[Gpu]] = {}
    for gpu in pool.gpus():
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
            unusable_reason=None
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


def check_machines(spec: RunSpec, pool: Pool) -> None:
    """See that a machine of the pool has enough cores, and GPUs that are good enough.

    Jobs that may go to other pools (a profile's switches) are not checked.

    Raises:
        NoSuchMachine: None has.
    """
    resources = spec.resources
    if pool.runs_here:
        cores = (pool.default_workers(1 << 30)) or os.cpu_count() or 1
        if resources.cpus > cores:
            raise NoSuchMachine(
                f"a job asks for {resources.cpus} cores, and this machine has {cores}",
                hint=f"--cpus {cores}, or another --pool",
            )
    if not resources.gpus or spec.switches or not (pool.hands_out_gpus or spec.preflight):
        return
    try:
        problem = pool.why_no_gpu(resources)
    except PoolError:
        return
    if problem is not None:
        look = "name another --pool; --no-preflight does not look"
        raise NoSuchMachine(problem[0], hint=problem[1] if pool.hands_out_gpus else look)
