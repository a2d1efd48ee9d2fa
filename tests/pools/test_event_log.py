"""HTCondor's event log, damaged."""

from __future__ import annotations

import pytest

pytest.importorskip("htcondor2")

from wingspan.pools.event_log import EventLog, submitted_clusters

SUBMITTED = """000 (003.000.000) 2026-11-21 07:38:29 Job submitted from host: <127.0.0.1:33987>
    [ JobBatchName = "ideal-condor" ]
...
"""
EXECUTING = """001 (003.000.000) 2026-11-21 07:38:29 Job executing on host: <127.0.0.1:37095>
\tSlotName: slot1_1@localhost
...
"""
REMOVED = """009 (003.000.000) 2026-11-21 07:38:47 Job was aborted.
\tvia condor_rm (by user me)
...
"""


@pytest.mark.parametrize(
    "junk", ["005 (abc)\n...\n", "005 (003.000.000) 2026-11-2"], ids=["unreadable", "torn"]
)
def test_an_event_that_cannot_be_read_is_passed_over(tmp_path, junk):
    """What was written after it is read, then and later; no error of the bindings comes through."""
    log = tmp_path / "events.log"
    log.write_text(SUBMITTED + junk)
    reader = EventLog(log)
    assert [event.state.value for event in reader.poll()] == ["idle"]
    with log.open("a") as file:
        file.write(EXECUTING + REMOVED)
    states = [event.state.value for _ in range(2) for event in reader.poll()]
    assert states[-1] == "removed"
    reader.close()
    assert submitted_clusters(log) == {"3": (1, "")}
