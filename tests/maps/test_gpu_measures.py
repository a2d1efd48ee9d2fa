"""How much components use their GPUs. No GPU is had here: the driver's library is a fake, and says so."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

import _fake_nvml
import wingspan
from _waiting import PATIENCE
from wingspan import Options
from wingspan.maps._frame import rows
from wingspan.views._report import report_html


@pytest.fixture(scope="module")
def fake_nvml(tmp_path_factory):
    return _fake_nvml.compiled(tmp_path_factory.mktemp("fake-nvml"))


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
