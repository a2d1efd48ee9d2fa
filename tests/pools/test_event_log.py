"""HTCondor's event log, damaged."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=4))
def test_an_event_is_told_once_it_is_whole(tmp_path_factory, cuts):
    """However a log grows, each event is told once, in its order; nobody waits for the rest of a half-written
    one, for which HTCondor's reader would take a second each time.
    """
    log = tmp_path_factory.mktemp("log") / "events.log"
    reader, left, states = EventLog(log), (SUBMITTED + EXECUTING + REMOVED).encode(), []
    for cut in [*cuts, len(left)]:
        with log.open("ab") as file:
            file.write(left[:cut])
        left = left[cut:]
        states += [event.state.value for event in reader.poll()]
        whole = log.read_bytes().count(b"...\n")
        assert states == ["idle", "running", "removed"][:whole]
    reader.close()


def test_events_are_read_in_the_format_of_the_site(tmp_path):
    """A site may have event logs written as XML (DEFAULT_USERLOG_FORMAT_OPTIONS)."""
    log = tmp_path / "events.log"
    reader, states = EventLog(log), []
    for number, name in enumerate(("SubmitEvent", "ExecuteEvent")):
        facts = {"EventTypeNumber": number, "Cluster": 3, "Proc": 0, "Subproc": 0}
        lines = [f'    <a n="{key}"><i>{value}</i></a>\n' for key, value in facts.items()]
        lines.append(f'    <a n="MyType"><s>{name}</s></a>\n')
        lines.append('    <a n="EventTime"><s>2026-11-21T07:38:29</s></a>\n')
        with log.open("a") as file:
            file.write(f"<c>\n{''.join(lines)}</c>\n")
        states += [event.state.value for event in reader.poll()]
    assert states == ["idle", "running"]
    reader.close()
