"""A fake of NVML, the library of NVIDIA's driver, for machines without a GPU. Its name says what it is."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from _waiting import PATIENCE
from wingspan.worker import gpus

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


def compiled(folder: Path) -> Path:
    """The folder, with a library in it that is called as NVIDIA's; without a compiler the test is skipped."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for the fake of NVIDIA's library")
    (folder / "fake_nvml.c").write_text(FAKE_NVML)
    command = [compiler, "-shared", "-fPIC", "-o", folder / gpus.LIBRARY, folder / "fake_nvml.c"]
    subprocess.run(command, check=True, timeout=PATIENCE)
    return folder
