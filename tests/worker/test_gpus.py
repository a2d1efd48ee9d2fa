"""Samples of how much components use their GPUs, taken from a fake of NVIDIA's library."""

from __future__ import annotations

import json

import pytest

import _fake_nvml
from wingspan.worker import formats, gpus
from wingspan.worker.pipes import Board


@pytest.fixture(scope="module")
def fake_nvml(tmp_path_factory):
    return _fake_nvml.compiled(tmp_path_factory.mktemp("fake-nvml"))


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


def meter_of(fake_nvml, monkeypatch, requested, environ):
    monkeypatch.setattr(gpus, "LIBRARY", str(fake_nvml / gpus.LIBRARY))
    return gpus.GpuMeter(requested, environ)


def test_each_component_has_samples_of_its_own(fake_nvml, monkeypatch):
    """The mean of its samples, a second apart; the next one begins anew, and none is told of twice."""
    meter, board, told = meter_of(fake_nvml, monkeypatch, 1, {"CUDA_VISIBLE_DEVICES": "1,2"}), Board(), Told()
    board.set(7, 0, 0, 0.0)
    for now in (100.0, 100.1, 101.5):
        meter.look(board, now)
    assert len(meter._uses) == 2
    del meter._nvml.devices[0]  # the idler of both
    board.set(8, 0, 0, 0.0)
    meter.look(board, 103.0)
    meter.tell(told, 7, 3)
    assert told.records == []
    meter.tell(told, 8, 3)
    meter.tell(told, 8, 3)
    board.set(-1, 0, 0, 0.0)
    meter.look(board, 105.0)
    meter.tell(told, -1, 3)
    [(_, payload, fields)] = told.records
    assert fields["index"] == 8
    assert json.loads(payload) == {"use": pytest.approx(0.9), "memory": 1 << 30, "devices": 1}


def test_a_job_that_is_confined_otherwise_has_the_devices_that_it_sees(fake_nvml, monkeypatch):
    """Without CUDA_VISIBLE_DEVICES all are the job's; one that fails spoils the sample, and no more."""
    meter, board, told = meter_of(fake_nvml, monkeypatch, 2, {}), Board(), Told()
    assert len(meter._nvml.devices) == 3
    board.set(7, 0, 0, 0.0)
    meter.look(board, 100.0)
    meter.tell(told, 7, 3)
    assert told.records == []
    del meter._nvml.devices[0]
    meter.look(board, 102.0)
    meter.tell(told, 7, 3)
    [(_, payload, _)] = told.records
    assert json.loads(payload) == {"use": pytest.approx(0.6), "memory": 2 << 30, "devices": 2}


def test_a_machine_without_the_driver(tmp_path, monkeypatch):
    """A job that has asked for GPUs runs there, too: nothing is told."""
    meter, board, told = meter_of(tmp_path, monkeypatch, 1, {"CUDA_VISIBLE_DEVICES": "0"}), Board(), Told()
    board.set(7, 0, 0, 0.0)
    meter.look(board, 100.0)
    meter.tell(told, 7, 0)
    assert told.records == []
