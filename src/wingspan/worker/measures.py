"""The processor time and memory of a component, from the kernel."""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Sequence, Tuple

#: getrusage(2) counts ru_maxrss in KiB on Linux, in bytes on macOS.
MAXRSS_PER_KIB = 1024 if sys.platform == "darwin" else 1


class Measures(object):
    """CPU seconds and peak memory of this process since the last component."""

    def __init__(self) -> "None":
        import resource

        self._resource = resource
        self._cpu = 0.0
        self._children_cpu = 0.0
        self._peak = 0
        self.peak = 0
        self.take(1.0)

    def take(self, wall: "float") -> "Tuple[float, int]":
        """``(CPU s, peak KiB)``; children count when `wall` leaves room for any."""
        usage = self._resource.getrusage(self._resource.RUSAGE_SELF)
        total = usage.ru_utime + usage.ru_stime
        cpu, self._cpu = total - self._cpu, total
        peak = usage.ru_maxrss // MAXRSS_PER_KIB
        if wall > 0.002:
            children = self._resource.getrusage(self._resource.RUSAGE_CHILDREN)
            total = children.ru_utime + children.ru_stime
            cpu += total - self._children_cpu
            self._children_cpu = total
            peak = max(peak, children.ru_maxrss // MAXRSS_PER_KIB)
        if usage.ru_maxrss > self._peak:
            # proc(5): writing 5 resets the peak, so that the next component's is its own.
            self._peak = usage.ru_maxrss
            try:
                with open("/proc/self/clear_refs", "w") as file:
                    file.write("5")
                self._peak = self._resource.getrusage(self._resource.RUSAGE_SELF).ru_maxrss
            except OSError:
                pass
        self.peak = peak
        return cpu, peak


def peak_kib(pid: "int") -> "int":
    """Peak resident memory of a process (VmHWM, proc(5)), KiB; 0 if it is unknown."""
    try:
        with open("/proc/%d/status" % pid) as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def family(pid: "int") -> "List[int]":
    """A process and its descendants, as far as the kernel tells (proc(5), ``children``)."""
    found = [pid]
    for parent in found:
        try:
            for thread in os.listdir("/proc/%d/task" % parent):
                with open("/proc/%d/task/%s/children" % (parent, thread)) as file:
                    found += [int(child) for child in file.read().split()]
        except OSError:
            continue  # it has ended, or the kernel does not tell
    return found


def resident_kib(pids: "Sequence[int]", shared: "bool") -> "int":
    """Resident memory of processes (KiB), what several share counted for each of them (`shared`), or once in
    all, which takes longer.
    """
    file_name, key = ("status", "VmRSS:") if shared else ("smaps_rollup", "Pss:")
    total = 0
    for pid in pids:
        try:
            with open("/proc/%d/%s" % (pid, file_name)) as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith(key))
        except OSError:
            continue
    return total


def disk_usage(folder: "str") -> "int":
    """Bytes of disk that files below a folder take."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except OSError:
                continue  # it went this moment
    return total
