"""The GPUs of a pool, from what its slots advertise.

Attribute names: HTCondor manual, "Machine ClassAd Attributes" and "condor_gpu_discovery".
``GPUs_DriverVersion`` there is the highest CUDA runtime that the driver supports, not NVIDIA's number of the
driver.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from wingspan._words import counted
from wingspan.jobs import Resources

__all__ = ["Gpu", "gpus_of_slot", "gpus_of_slots", "unsuitable", "why_no_gpu", "why_no_gpu_here"]


@attrs.frozen(kw_only=True)
class Gpu:
    """A GPU device of a pool. None: the slot does not say.

    Attributes:
        machine: Its host.
        device: HTCondor's name of it: ``GPU-1a2b3c4d``.
        model: ``"NVIDIA A100-SXM4-80GB"``.
        capability: CUDA compute capability: 8.0.
        cuda: Highest CUDA runtime that its driver supports: ``"12.4"``.
        driver: NVIDIA's number of the driver: ``"550.54.15"``.
        memory: Bytes.
        free: No job has it.
    """

    machine: str
    device: str
    model: str | None = None
    capability: float | None = None
    cuda: str | None = None
    driver: str | None = None
    memory: int | None = None
    free: bool = True

    def to_json(self) -> dict[str, Any]:
        """The attributes under their names."""
        return attrs.asdict(self)


def _cuda(properties: Mapping[str, Any]) -> str | None:
    highest = properties.get("MaxSupportedVersion")
    if highest is not None:
        return f"{int(highest) // 1000}.{int(highest) % 1000 // 10}"
    version = properties.get("DriverVersion")
    # As 12.40 it is 12.4: condor_gpu_discovery prints driverVersion % 100, which is ten times the minor
    # version.
    return None if version is None else f"{float(version):.1f}"


def gpus_of_slot(ad: Mapping[str, Any]) -> list[Gpu]:
    """The devices of a partitionable slot, or of a static one.

    >>> ad = {"Machine": "a", "AssignedGPUs": "GPU-1", "GPUs": 1, "GPUs_DeviceName": "Tesla T4", "GPUs_Capability": 7.5,
    ...       "AvailableGPUs": ["GPUs_GPU_1"]}
    >>> [(gpu.model, gpu.capability, gpu.free) for gpu in gpus_of_slot(ad)]
    [('Tesla T4', 7.5, True)]
    """  # noqa: W505
    named = ad.get("AssignedGPUs") or ad.get("DetectedGPUs")
    if not isinstance(named, str):
        return []
    available = str(ad.get("AvailableGPUs", ""))
    everyone = {name[5:]: value for name, value in ad.items() if name.startswith("GPUs_")}
    devices = []
    for device in (part.strip() for part in named.split(",")):
        if not device:
            continue
        attribute = "GPUs_" + re.sub(r"[^A-Za-z0-9]", "_", device)
        own = ad.get(attribute)
        properties = {**everyone, **(dict(own) if isinstance(own, Mapping) else {})}
        model, memory = properties.get("DeviceName"), properties.get("GlobalMemoryMb")
        capability = properties.get("Capability")
        devices.append(
            Gpu(
                machine=str(ad.get("Machine", "?")),
                device=device,
                model=None if model is None else str(model),
                capability=None if capability is None else float(capability),
                cuda=_cuda(properties),
                driver=None if (driver := properties.get("NvidiaDriver")) is None else str(driver),
                memory=None if memory is None else int(memory) << 20,
                free=re.search(rf"\b{attribute}\b", available) is not None,
            )
        )
    return devices


def gpus_of_slots(ads: Iterable[Any]) -> list[Gpu]:
    """The devices of slots, from their ClassAds, by machine."""
    found = [gpu for ad in ads for gpu in gpus_of_slot({name: _value(ad, name) for name in ad})]
    return sorted(found, key=lambda gpu: (gpu.machine, gpu.device))


def _value(ad: Any, name: str) -> Any:
    """A plain value; of an expression (``AvailableGPUs`` is a list of references) its text."""
    if name == "AvailableGPUs":
        return str(ad.lookup(name))
    try:
        return ad.eval(name) if not isinstance(ad[name], Mapping) else dict(ad[name])
    except Exception:  # noqa: BLE001 - an expression that cannot be evaluated here says nothing about a GPU
        return None


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


def why_no_gpu(resources: Resources, gpus: Sequence[Gpu], kind: str) -> tuple[str, str] | None:
    """Why no machine has the GPUs that a job asks for: what is wrong, and what to do; None if one has.

    Args:
        resources: What the job asks for.
        gpus: Those of the pool.
        kind: Of the pool.

    >>> why_no_gpu(Resources(gpus=1), [], "htcondor")[0]
    'a job asks for 1 GPU, and no machine of the htcondor pool has one'
    """
    if not gpus:
        return (
            f"a job asks for {counted(resources.gpus, 'GPU')}, and no machine of the {kind} pool has one",
            "wingspan gpus shows those of a pool; name another pool",
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
        return (
            f"no GPU of the {kind} pool is good enough: {'; '.join(dict.fromkeys(reasons))}",
            "wingspan gpus --env NAME shows which ones an environment can use",
        )
    most = max(best.values())
    if resources.gpus > most:
        return (
            f"a job asks for {resources.gpus} GPUs, and no machine of the {kind} pool has more than {most} that will do",
            f"ask for {most}, or name another pool",
        )
    return None


def why_no_gpu_here(count: int) -> str | None:
    """Why this machine has not `count` GPUs for a job of the local pool; None: it has them."""
    devices = _devices_here()
    return (
        None
        if count <= devices
        else f"a job asks for {counted(count, 'GPU')}, and nvidia-smi shows {devices} on this machine"
    )


def _devices_here() -> int:
    """How many GPUs of NVIDIA this machine's driver lists."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())
