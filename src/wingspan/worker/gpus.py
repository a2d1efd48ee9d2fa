"""How much a component uses the GPUs of its worker: samples by NVML, the library of NVIDIA's driver."""

import json

from . import formats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Mapping, Optional, Tuple

    from .outbox import Outbox
    from .pipes import Board

#: The driver brings it along.
LIBRARY = "libnvidia-ml.so.1"
#: Seconds between two samples. The driver's own figure is a mean of up to a second.
SAMPLE_SECONDS = 1.0
#: What CUDA_VISIBLE_DEVICES and HTCondor say where a job has no GPU.
_NONE = frozenset(["", "-1", "none", "void", "NoDevFiles"])
#: Bytes of a device's UUID (NVML_DEVICE_UUID_V2_BUFFER_SIZE).
_UUID_BYTES = 96


class GpuMeter(object):
    """Samples the use of GPUs, component by component.

    Args:
        requested: How many GPUs the job has asked for.
        environ: The environment that the job has.
    """

    def __init__(self, requested: "Optional[int]", environ: "Mapping[str, str]") -> "None":
        visible = environ.get("CUDA_VISIBLE_DEVICES")
        names = [name.strip() for name in (visible or "").split(",")]
        self._names = [name for name in names if name not in _NONE]
        self._nvml: "Optional[_Nvml]" = None
        if self._names or (requested and visible is None):
            try:
                self._nvml = _Nvml(self._names)
            except (OSError, ImportError, AttributeError):
                pass  # no driver here, or one of another vendor
        self._next = 0.0
        self._component = -1
        self._uses: "List[float]" = []
        self._memory = 0

    def look(self, board: "Board", now: "float") -> "None":
        """Take a sample for the component that the executor is at, if it is time."""
        if self._nvml is None or now < self._next:
            return
        component = board.get()[0]
        if component != self._component:
            self._component, self._uses, self._memory = component, [], 0
        if component < 0:
            return
        self._next = now + SAMPLE_SECONDS
        try:
            use, memory = self._nvml.sample()
        except OSError:
            return  # a device that fails now and then
        self._uses.append(use)
        self._memory = max(self._memory, memory)

    def tell(self, outbox: "Outbox", component: "int", number: "int") -> "None":
        """Tell what a component of round `number`, which is done now, has used: ``use`` of its GPUs, 0 to 1,
        as a mean, and the most bytes of ``memory``, all its ``devices`` together. Nothing where there was
        no sample.
        """
        if self._nvml is None or component != self._component or not self._uses:
            return
        uses, self._uses, self._component = self._uses, [], -1
        told = {
            "use": sum(uses) / len(uses),
            "memory": self._memory,
            "devices": len(self._nvml.devices),
        }
        outbox.add(formats.GPU, payload=json.dumps(told).encode(), number=number, index=component)


class _Nvml(object):
    """The few calls that are needed (NVML API Reference Guide)."""

    def __init__(self, names: "List[str]") -> "None":
        import ctypes

        class Utilization(ctypes.Structure):  # nvmlUtilization_t, in percent
            _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]

        class Memory(ctypes.Structure):  # nvmlMemory_t, in bytes
            _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]

        self._byref = ctypes.byref
        self._utilization, self._memory = Utilization(), Memory()
        self._library = library = ctypes.CDLL(LIBRARY)
        _check(library.nvmlInit_v2())
        count = ctypes.c_uint()
        _check(library.nvmlDeviceGetCount_v2(ctypes.byref(count)))
        #: Handles of the devices that the job has.
        self.devices: "List[Any]" = []
        for number in range(count.value):
            device = ctypes.c_void_p()
            if library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(number), ctypes.byref(device)):
                continue  # not ours to look at
            uuid = ctypes.create_string_buffer(_UUID_BYTES)
            if library.nvmlDeviceGetUUID(device, uuid, ctypes.c_uint(_UUID_BYTES)):
                continue
            if _is_named(number, uuid.value.decode("ascii", "replace"), names):
                self.devices.append(device)
        if not self.devices:
            raise OSError("none of the job's GPUs is known to NVML")

    def sample(self) -> "Tuple[float, int]":
        """``(use, bytes of memory)`` now: a mean from 0 to 1, and a sum."""
        use, memory = 0.0, 0
        for device in self.devices:
            _check(self._library.nvmlDeviceGetUtilizationRates(device, self._byref(self._utilization)))
            _check(self._library.nvmlDeviceGetMemoryInfo(device, self._byref(self._memory)))
            use += min(100, self._utilization.gpu) / 100.0
            memory += self._memory.used
        return use / len(self.devices), memory


def _is_named(number: "int", uuid: "str", names: "List[str]") -> "bool":
    """By its number, or by its UUID, which HTCondor cuts; without names, all are the job's."""
    return not names or any(
        name == str(number) or (not name.isdigit() and uuid.startswith(name)) for name in names
    )


def _check(status: "int") -> "None":
    if status:
        raise OSError("NVML answers %d" % status)
