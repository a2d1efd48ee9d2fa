"""Mail of HTCondor and Slurm about workers."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

import wingspan
from _on_disk import submissions
from _waiting import PATIENCE
from wingspan.pools import get_pool


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"notification": "often"}, "none of never"),
        ({"notification": 1}, "none of never"),
        ({"notify_user": "a b"}, "no address"),
        ({"notify_user": "a\nb@c"}, "no address"),
        ({"submit": {"notification": "always"}}, "an option of its own"),
    ],
)
def test_what_is_no_notification_is_refused(given: dict[str, object], what: str) -> None:
    """Words that no scheduler has, and what would be another line, are refused where they are written."""
    with pytest.raises(wingspan.WingspanError, match=what):
        wingspan.Options(**given)  # type: ignore[arg-type]


def test_a_pool_without_mail_says_so() -> None:
    """Processes of this machine have no scheduler that mails: the error names the other way."""
    options = wingspan.Options(notification="complete")
    with pytest.raises(wingspan.SettingsError, match="sends no mail") as told:
        wingspan.map(abs, [-1], pool="local", options=options)
    assert "on_done" in str(told.value.hint)
    assert wingspan.tags() == ()


@pytest.mark.parametrize(
    "engine",
    [pytest.param("personal", marks=pytest.mark.htcondor), pytest.param("slurm", marks=pytest.mark.slurm)],
    indirect=True,
)
def test_the_scheduler_knows_when_to_mail_and_whom(
    engine: str, request: pytest.FixtureRequest, gate: SimpleNamespace
) -> None:
    """Jobs of workers carry both in the scheduler's own words."""
    wait = gate.wait
    options = wingspan.Options(workers=1, notification="Error", notify_user="me@example.org")
    m = wingspan.map(lambda x: wait() or x, [1], pool=engine, options=options)
    if engine == "personal":
        (ad,) = get_pool("personal").job_ads(f'WingspanMap == "{m.path.name}"')
        assert (ad["JobNotification"], ad["NotifyUser"]) == (3, "me@example.org")
    else:
        (submission,) = submissions(m)
        cluster = request.getfixturevalue("slurm_cluster")
        shown = cluster.command("scontrol", "show", "job", submission["cluster"])
        assert re.search(r"MailUser=me@example\.org\b", shown), shown
        assert re.search(r"MailType=\S*FAIL", shown), shown
    gate.open()
    m.wait(PATIENCE)
    m.remove()
