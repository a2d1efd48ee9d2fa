"""How much components use their GPUs. No GPU is had here: the driver's library is a fake, and says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

import wingspan
from _waiting import PATIENCE
from wingspan import Options
from wingspan.maps._frame import rows
from wingspan.views._report import report_html
from wingspan.worker import formats, gpus
from wingspan.worker.pipes import Board

#: Three devices; the second is at work to 30 %, the third to 90 %. The first fails when it is asked.
FAKE_NVML = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef struct { unsigned gpu, memory; } use_t;
typedef struct { unsigned long long total, free, used; } memory_t;
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 3; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned number, void **device) {
    *device = (void *)(unsigned long)(number + 1); return 0; }
int nvmlDeviceGetUUID(void *device, char *uuid, unsigned length) {
    strcpy(uuid, device == (void *)1 ? "GPU-aaaa-fake" : device == (void *)2 ? "GPU-bbbb-fake" : "GPU-cccc-fake");
    return 0; }
int nvmlDeviceGetUtilizationRates(void *device, use_t *use) {
    if (device == (void *)1) return 999;
    use->gpu = device == (void *)2 ? 30 : 90;
    const char *asked = getenv("FAKE_NVML_ASKED");
    if (asked) fclose(fopen(asked, "w"));
    return 0; }
int nvmlDeviceGetMemoryInfo(void *device, memory_t *memory) { memory->used = 1ULL << 30; return 0; }
"""


@pytest.fixture(scope="module")
def fake_nvml(tmp_path_factory):
    """A folder with a library that is called as NVIDIA's, and is a fake."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for the fake of NVIDIA's library")
    folder = tmp_path_factory.mktemp("fake-nvml")
    (folder / "fake_nvml.c").write_text(FAKE_NVML)
    command = [compiler, "-shared", "-fPIC", "-o", folder / gpus.LIBRARY, folder / "fake_nvml.c"]
    subprocess.run(command, check=True, timeout=PATIENCE)
    return folder


class Told:
    """An outbox that keeps what it is told."""

    def __init__(self):
        self.records = []

    def add(self, kind, payload=b"", **fields):
        self.records.append((kind, payload, fields))


@pytest.mark.parametrize(
    ("visible", "use", "memory"),
    [("1", 0.3, 1), ("1,2", 0.6, 2), ("GPU-cccc", 0.9, 1), ("GPU-bbbb-fake,GPU-cccc-fake", 0.6, 2)],
)
def test_the_job_s_gpus_are_sampled(fake_nvml, monkeypatch, visible, use, memory):
    """Devices by their numbers, and by whole and cut UUIDs: the mean use, and the memory of all of them."""
    monkeypatch.setattr(gpus, "LIBRARY", str(fake_nvml / gpus.LIBRARY))
    meter, board, told = gpus.GpuMeter(1, {"CUDA_VISIBLE_DEVICES": visible}), Board(), Told()
    board.set(7, 0, 0, 0.0)
    meter.look(board, 100.0)
    meter.look(board, 100.1)  # too early for another
    meter.tell(told, 7, 3)
    meter.tell(told, 8, 3)
    [(kind, payload, fields)] = told.records
    assert kind == formats.GPU
    assert fields == {"number": 3, "index": 7}
    assert json.loads(payload) == {"use": pytest.approx(use), "memory": memory << 30, "devices": memory}


@pytest.mark.parametrize("visible", [None, "", "-1", "NoDevFiles", "0", "9"])
def test_where_no_gpu_can_be_looked_at_nothing_is_told(fake_nvml, monkeypatch, visible):
    """No GPU was given, a device fails, or it is unknown: that is no fault of the component."""
    monkeypatch.setattr(gpus, "LIBRARY", str(fake_nvml / gpus.LIBRARY))
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    meter, board, told = gpus.GpuMeter(0, environ), Board(), Told()
    board.set(7, 0, 0, 0.0)
    meter.look(board, 100.0)
    meter.tell(told, 7, 0)
    assert told.records == []


def test_a_map_tells_of_its_gpus(fake_nvml, tmp_path):
    """A real worker beside the fake library: measures, table, details and report have use and memory."""
    asked = str(tmp_path / "asked")

    def work(x):
        while not os.path.exists(asked):  # noqa: PTH110 - a worker's Python
            time.sleep(0.01)

    m = wingspan.map(work, range(1), pool="local", options=Options(workers=0))
    command = [sys.executable, m.path / "worker.pyz", "file", m.path, "0", "0"]
    environ = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "1,2",
        "LD_LIBRARY_PATH": str(fake_nvml),
        "FAKE_NVML_ASKED": asked,
    }
    subprocess.run(command, check=True, timeout=PATIENCE, env=environ)
    assert m.wait().is_done
    assert (m.runtimes[0].gpu_use, m.runtimes[0].gpu_memory) == (pytest.approx(0.6), 2 << 30)
    source = m._source()
    assert ("GPU use", "60%") in source.detail(0).facts
    assert "60% on average" in report_html(source.report())
    [row] = rows(m)
    assert row["gpu_memory"] == 2 << 30
