"""One program, with what HTMap offers to steer it, on each scheduler."""

from __future__ import annotations

from pathlib import Path

import pytest

from _each_engine import SCHEDULERS, use_engine
from _waiting import PATIENCE, until
from wingspan import htmap
from wingspan.htmap import ComponentStatus, MapOptions, exceptions


@pytest.fixture(params=SCHEDULERS)
def _engine(request, data_dir):
    """Maps run there."""
    htmap.settings["WINGSPAN.POOL"] = use_engine(request, request.param)


@pytest.mark.usefixtures("_engine")
def test_a_program_steers_its_map(tmp_path, gate):
    """Files come and go, checkpoints come back, a hold is told with its reason."""
    wait, given = gate.wait, tmp_path / "given"
    given.write_text("7")

    def work(path, x):
        begun = int(Path("state").read_text()) if Path("state").exists() else 0
        Path("state").write_text(str(begun + 1))
        htmap.checkpoint("state")
        print("begun", begun, flush=True)
        wait()
        Path("sent").write_text(path.read_text() * x)
        htmap.transfer_output_files("sent")
        return begun

    options = MapOptions(request_memory="100MB", workers=1)
    m = htmap.starmap(work, [(htmap.TransferPath(given), 2)], map_options=options)
    until(lambda: "begun 0" in m.wingspan_map.stdout(0), "it has begun")
    m.hold()
    until(lambda: m.component_statuses == [ComponentStatus.HELD], "it is held")
    assert m.holds[0].reason
    with pytest.raises(exceptions.MapComponentHeld):
        m.wait()
    m.release()
    until(lambda: "begun 1" in m.wingspan_map.stdout(0), "it has begun again, and goes on")
    gate.open()
    assert m.get(0, timeout=PATIENCE) == 1
    assert (m.output_files[0] / "sent").read_text() == "77"
    assert m.is_done
