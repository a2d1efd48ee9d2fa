"""What the keeper of a map does next, as tables of events and instructions: no worker, no file, no clock."""

from __future__ import annotations

from typing import Any

import pytest

from wingspan.maps import _keeper_events as ev
from wingspan.maps._components import ERROR, OUTPUT, Components
from wingspan.maps._keeper_state import MAX_REPAIRS, KeeperState
from wingspan.pools import JobEvent, JobState
from wingspan.pools.submissions import LoggedSubmission
from wingspan.worker import formats, rounds
from wingspan.worker.one_map import EXIT_NO_LINE

N = 6
RECORD = {OUTPUT: formats.OUTPUT, ERROR: formats.ERROR}
LOST = "its worker was lost 4 times without a word: killed, or its machine went down"


class Told:
    """A keeper's state, and short words for what it is told."""

    def __init__(self, workers: int = 2, retries: int = 0, *, ends_held_jobs: bool = False) -> None:
        self.known = Components(N, retries)
        self.known.add_round(0, rounds.plan_for(rounds.INITIAL, range(N), workers, 1))
        self.state = KeeperState(self.known, 0.0)
        self.entries: tuple[LoggedSubmission, ...] = ()
        self.tell(ev.PoolKnown("toy", ends_held_jobs))
        if workers:
            self.submit(workers)

    def tell(self, event: ev.Event) -> list[ev.Instruction]:
        """The instructions, each after the state was found to be in order; what pools are asked about
        waiting jobs is left out.
        """
        instructions = self.state.handle(event)
        self.state.validate()
        return [one for one in instructions if not isinstance(one, ev.Explain)]

    def submit(self, count: int, **more: Any) -> None:
        first = self.entries[-1].numbers.stop if self.entries else 0
        entry = LoggedSubmission(
            pool="toy", cluster=f"c{len(self.entries)}", count=count, first=first, **more
        )
        self.entries += (entry,)
        self.tell(ev.SubmissionsRead(self.entries))

    def job(self, worker: int, state: JobState, **more: object) -> None:
        entry = next(entry for entry in self.entries if worker in entry.numbers)
        event = JobEvent(cluster=entry.cluster, proc=worker - entry.first, state=state, time=1.0, **more)
        self.tell(ev.JobsTold((event,)))

    def begin(self, *workers: int) -> None:
        """These workers run and have said so."""
        for worker in workers:
            self.job(worker, JobState.RUNNING)
            self.known.add_start(f"{worker}.0")

    def finish(self, *components: int, state: int = OUTPUT) -> None:
        for component in components:
            self.known.settle(component, RECORD[state], 0, max(self.known.plans), 0, 0)

    def due(self, now: float) -> list[ev.Instruction]:
        return self.tell(ev.Due(now))


def test_schedulers_are_asked_after_a_silence_and_less_and_less_often() -> None:
    """After 20 s without news, then after 40; a record makes it 20 again."""
    told = Told()
    told.begin(0, 1)
    asked = []
    for now in range(1, 100):
        if now == 70:
            told.tell(ev.Looked(70.0, True))
        if ev.Ask() in told.due(float(now)):
            asked.append(now)
    assert asked == [21, 62, 91]


def test_a_crashed_pool_is_started_again() -> None:
    """Every 3 s while there are jobs; nobody cares for a pool without."""
    told = Told()
    assert [now for now in range(1, 14) if ev.Revive() in told.due(float(now))] == [4, 8, 12]
    assert ev.Revive() not in Told(workers=0).due(100.0)


def test_jobs_of_a_stopped_pool_are_waited_for_no_longer() -> None:
    """As if no job were left, others are submitted once; when the pool runs again, its jobs count again."""
    told = Told()
    told.begin(0, 1)
    told.tell(ev.PoolsStopped(frozenset({"toy"})))
    assert told.due(1.0) == [ev.FindExternal()]
    assert told.tell(ev.ExternalSeen(1.0, 0)) == [ev.Adopt()]
    claims, submit = told.tell(ev.ExternalSeen(2.0, 0))
    assert (claims, submit) == (ev.ReadClaims(None, rounds.REPAIR), ev.Submit())
    told.tell(ev.PoolsStopped(frozenset()))
    assert told.due(3.0) == []


def test_nothing_is_due_twice_within_a_quarter_of_a_second() -> None:
    """Who looks a thousand times a second changes nothing."""
    told = Told(workers=0)
    assert told.due(1.0) == [ev.FindExternal()]
    assert told.due(1.2) == []
    assert not told.state.is_due(1.2)
    assert told.state.is_due(1.3)


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        ({"state": JobState.COMPLETED, "signal": 9}, rounds.REPAIR),
        ({"state": JobState.COMPLETED, "code": 1}, rounds.REPAIR),
        ({"state": JobState.HELD, "code": 26}, rounds.REPAIR),
        ({"state": JobState.HELD, "by_person": True}, rounds.RESUME),
        ({"state": JobState.REMOVED}, rounds.RESUME),
    ],
)
def test_what_a_lost_worker_had_claimed_is_offered_to_others(end: dict[str, object], kind: str) -> None:
    """Once, and as a loss only if nobody wanted the worker to stop."""
    told = Told()
    told.begin(0, 1)
    assert told.due(1.0) == []
    told.job(0, **end)
    read = ev.ReadClaims(frozenset({"0.0"}), kind)
    assert told.due(1.5) == [read]
    assert told.due(2.0) == [read], "it was not carried out: it is due again"
    claims = {0: {0: "0.0", 1: "1.0", 2: "0.0", 3: None}}
    told.finish(0)
    publish = ev.Publish(kind, (2,), frozenset({"0.0"}))
    assert told.tell(ev.ClaimsRead(read.owners, kind, claims)) == [publish]
    told.known.add_round(1, rounds.plan_for(kind, (2,), 1))
    assert told.tell(ev.Published(True, publish)) == []
    assert told.due(2.5) == []


def test_workers_that_left_in_order_are_not_lost() -> None:
    """They had finished what they had claimed."""
    told = Told()
    told.begin(0, 1)
    told.known.starts["0.0"].left = True
    told.job(0, JobState.COMPLETED, code=0)
    assert told.due(1.0) == []


def test_where_another_was_first_it_is_looked_again() -> None:
    """Another writer's round may be about something else. Retries are the same whoever publishes them."""
    told = Told()
    told.begin(0, 1)
    lost = ev.Publish(rounds.REPAIR, (2,), frozenset({"0.0"}))
    assert told.tell(ev.Published(False, lost)) == [ev.ReadClaims(frozenset({"0.0"}), rounds.REPAIR)]
    assert told.tell(ev.Published(False, ev.Publish(rounds.RETRY, (2,)))) == []


@pytest.mark.parametrize("kind", [rounds.REPAIR, rounds.RESUME])
def test_a_component_that_loses_every_worker_is_given_up(kind: str) -> None:
    """After three losses; stops that its owner wanted do not count."""
    told = Told()
    for number in range(1, MAX_REPAIRS + 1):
        told.known.add_round(number, rounds.plan_for(kind, (4,), 1))
    claims = {0: {0: "0.0"}, MAX_REPAIRS: {0: "0.0"}}
    answer = told.tell(ev.ClaimsRead(frozenset({"0.0"}), kind, claims))
    if kind == rounds.REPAIR:
        assert answer == [ev.GiveUp((4,), LOST), ev.Publish(kind, (0,), frozenset({"0.0"}))]
    else:
        assert answer == [ev.Publish(kind, (0, 4), frozenset({"0.0"}))]


def test_when_all_have_left_others_take_over() -> None:
    """Records on their way get half a second, unknown workers are looked for, then what was claimed is
    offered again.
    """
    told = Told()
    told.begin(0, 1)
    for worker in (0, 1):
        told.job(worker, JobState.COMPLETED, signal=9)
    assert told.due(1.0) == [ev.FindExternal()]
    assert told.tell(ev.ExternalSeen(1.0, 0)) == [ev.Adopt()]
    assert told.due(1.4) == []
    assert told.due(1.6) == [ev.FindExternal()]
    read = ev.ReadClaims(None, rounds.REPAIR)
    assert told.tell(ev.ExternalSeen(1.6, 0)) == [read, ev.Submit()]
    # Blocks 0, 1 and 2 were claimed; 0 is finished. The others nobody has taken: they are on offer where they
    # stand.
    told.finish(0)
    answer = told.tell(ev.ClaimsRead(None, rounds.REPAIR, {0: dict.fromkeys((0, 1, 2))}))
    assert answer == [ev.Publish(rounds.REPAIR, (1, 2))]


def test_a_round_that_was_folded_has_no_claims_and_nothing_on_offer() -> None:
    """What was done, and counts no longer, is in a round without claims: all of it is offered again."""
    told = Told()
    answer = told.tell(ev.ClaimsRead(None, rounds.REPAIR, {0: {}}, frozenset({0})))
    assert answer == [ev.Publish(rounds.REPAIR, tuple(range(N)))]


def test_errors_with_attempts_left_come_before_repairs() -> None:
    """When nobody is left, what has failed is tried again."""
    told = Told(retries=1)
    told.finish(3, state=ERROR)
    assert told.tell(ev.ClaimsRead(None, rounds.REPAIR, {})) == [ev.Publish(rounds.RETRY, (3,))]


def test_external_workers_repair_among_themselves() -> None:
    """As long as one gives signs of life nobody else is started."""
    told = Told(workers=0)
    assert told.due(1.0) == [ev.FindExternal()]
    assert told.tell(ev.ExternalSeen(1.0, 1)) == []


@pytest.mark.parametrize("tidied", [False, True])
def test_jobs_that_somebody_has_removed_are_not_replaced(tidied: bool) -> None:
    """It is not ours to start others; but those that a complete map had no use for were not meant."""
    told = Told()
    told.begin(0, 1)
    for worker in (0, 1):
        told.job(worker, JobState.REMOVED)
    if tidied:
        told.tell(ev.ActionsRead({"complete": {"c0"}}, {}))
    assert told.due(1.0) == ([ev.FindExternal()] if tidied else [])
    assert len(told.state.removed) == (0 if tidied else 2)


@pytest.mark.parametrize("words", ["", "no such file"])
def test_workers_that_end_before_they_begin(words: str) -> None:
    """They are killed in their first moments, perhaps: others are tried once.

    Where they say why, the user is told at once.
    """
    told = Told()
    for worker in (0, 1):
        told.job(worker, JobState.COMPLETED, signal=9)
    assert told.state.never_began() == 0
    told.tell(ev.ExternalSeen(1.0, 0))
    assert told.tell(ev.ExternalSeen(2.0, 0)) == [ev.ReadWords(0)]
    answer = told.tell(ev.WordsRead(0, words))
    if words:
        assert answer == [ev.CannotStart(0)]
        return
    assert answer == [ev.ReadClaims(None, rounds.REPAIR), ev.Submit()]
    told.submit(1)
    told.job(2, JobState.COMPLETED, signal=9)
    told.tell(ev.ExternalSeen(3.0, 0))
    assert told.tell(ev.ExternalSeen(4.0, 0)) == [ev.ReadWords(2)]
    assert told.tell(ev.WordsRead(2, "")) == [ev.CannotStart(2)]


def test_workers_are_not_started_for_ever() -> None:
    """Ten times without anything getting finished; then the map says so.

    One that is finished makes it ten again.
    """
    told = Told(workers=1)
    told.begin(0)
    told.job(0, JobState.COMPLETED, signal=9)

    def again(now: float) -> list[ev.Instruction]:
        told.tell(ev.ExternalSeen(now, 0))
        return told.tell(ev.ExternalSeen(now + 1, 0))

    go_on = [ev.ReadClaims(None, rounds.REPAIR), ev.Submit()]
    assert all(again(10.0 * turn) == go_on for turn in range(9))
    told.finish(1)
    assert all(again(100 + 10.0 * turn) == go_on for turn in range(9))
    assert again(200.0) == [ev.ReadWords(0)]
    assert told.tell(ev.WordsRead(0, "")) == [ev.CannotStart(0)]


def test_held_workers_get_a_substitute_where_others_have_ended_well() -> None:
    """Two at most.

    Who was held by a person stays held, and a map whose workers are all held waits for somebody.
    """
    told = Told()
    told.begin(0, 1)
    told.job(1, JobState.HELD, code=26)
    assert told.due(1.0) == [ev.ReadClaims(frozenset({"1.0"}), rounds.REPAIR)], (
        "the other is there to take it"
    )
    told.known.starts["0.0"].left = True
    told.job(0, JobState.COMPLETED, code=0)
    replace = [ev.ReadClaims(frozenset({"1.0"}), rounds.REPAIR), ev.Submit("toy", 1, for_held=True)]
    assert told.due(1.3) == replace
    told.submit(1, for_held=True)
    assert told.due(1.6) == [ev.ReadClaims(frozenset({"1.0"}), rounds.REPAIR)], "it has not begun"
    told.job(2, JobState.HELD, code=26)
    assert told.due(1.9) == replace
    told.submit(1, for_held=True)
    told.job(3, JobState.HELD, code=26)
    assert told.due(2.2) == []
    by_person = Told()
    by_person.begin(0, 1)
    by_person.known.starts["0.0"].left = True
    by_person.job(0, JobState.COMPLETED, code=0)
    by_person.job(1, JobState.HELD, by_person=True)
    assert by_person.due(1.0) == []


def test_a_complete_map_takes_its_workers_out_of_the_queue() -> None:
    """Those that wait; it is looked once more whether somebody wants something done again, who may have
    submitted them for that.
    """
    told = Told()
    told.begin(0)
    told.finish(*range(N))
    assert told.due(1.0) == [ev.ReadRecords()]
    remove = ev.Act("remove", told.entries, "the map is complete", is_tidying=True)
    assert told.tell(ev.RecordsRead()) == [ev.Note("complete", frozenset({"c0"})), remove]
    assert told.due(1.0) == [ev.ReadRecords()], "nobody has said that it was done"
    told.known.add_round(1, rounds.plan_for(rounds.RERUN, (2,), 1))
    assert told.tell(ev.RecordsRead()) == []
    told.finish(2)
    told.tell(ev.Acted(remove))
    assert told.state.tidied
    assert told.due(2.0) == []
    told.known.add_round(2, rounds.plan_for(rounds.RERUN, (2,), 1))
    told.tell(ev.Looked(3.0, True))
    assert not told.state.tidied, "another process wants something done again"


def test_the_claims_of_a_complete_map_are_folded_when_no_job_is_left() -> None:
    """Once; and not while a worker is about to end, which does it itself where it can."""
    told = Told()
    told.begin(0, 1)
    told.finish(*range(N))
    assert told.due(1.0) == []
    for worker in (0, 1):
        told.job(worker, JobState.COMPLETED, code=0)
    assert told.due(1.0) == [ev.Fold()]
    assert told.due(2.0) == []


@pytest.mark.parametrize("others", [0, 1])
def test_refusals_are_told(others: int) -> None:
    """At once where nobody else can be hoped for, else when three have refused; never where somebody has
    done something.
    """
    told = Told(workers=3 + others)
    told.begin(*range(3))
    refusals = 0
    for worker in range(3):
        told.known.starts[f"{worker}.0"].refused = {"kind": "python"}
        told.job(worker, JobState.COMPLETED, code=0)
        refusals += 1
        told_now = [one for one in told.due(1.0 + worker) if isinstance(one, ev.Refused)]
        assert bool(told_now) is (refusals == 3)
    assert told_now == [ev.Refused(told.known.starts["2.0"], 3)]
    told.known.starts["1.0"].productive = True
    assert told.state.refusal() is None


@pytest.mark.parametrize("action", ["hold", "vacate", "release", "remove"])
@pytest.mark.parametrize("ends", [False, True])
def test_what_the_user_wants(action: str, ends: bool) -> None:
    """Where jobs end that are held or sent away, others take their place, and it is written down first
    that this is no loss.
    """
    told = Told(ends_held_jobs=ends)
    told.begin(0, 1)
    if action == "release":
        for worker in (0, 1):
            told.job(worker, JobState.HELD, by_person=True)
    *note, act = told.tell(ev.Wanted(action, "why"))
    assert note == ([ev.Note(action, frozenset({"c0"}))] if ends and action in ("hold", "vacate") else [])
    assert (act.action, act.entries, act.reason) == (action, told.entries, "why")
    answer = told.tell(ev.Acted(act))
    if ends and action in ("vacate", "release"):
        assert answer == [ev.ReadClaims(None, rounds.RESUME), ev.Submit("toy", 2)]
    else:
        assert answer == []
    if action == "release":
        assert told.state.jobs.counts() == {JobState.IDLE: 2}


def test_only_what_the_last_hold_has_ended_is_replaced() -> None:
    """Those whose place was taken after an earlier one are no more."""
    told = Told(workers=1, ends_held_jobs=True)
    told.begin(0)
    told.job(0, JobState.HELD)
    told.submit(2)
    told.begin(1)
    for worker in (1, 2):
        told.job(worker, JobState.HELD)
    told.tell(ev.ActionsRead({"hold": {"c0", "c1"}}, {"hold": {"c1"}}))
    assert told.tell(ev.Wanted("release", "why"))[0].replaced == {"toy": 2}
    assert told.state.jobs.counts() == {JobState.COMPLETED: 1, JobState.HELD: 2}


def test_a_pool_is_made_to_look_for_machines_after_a_submission() -> None:
    """Ten times a second, for two seconds, while jobs wait."""
    told = Told()
    told.tell(ev.Submitted(10.0, "toy"))
    looks = [10 + 0.05 * step for step in range(60)]
    told_at = [now for now in looks if told.tell(ev.Looked(now, False))]
    assert 15 <= len(told_at) <= 20
    assert told_at[-1] <= 12.001
    told.tell(ev.Submitted(20.0, "toy"))
    told.begin(0, 1)
    assert told.tell(ev.Looked(20.5, False)) == []


def test_pools_are_asked_why_jobs_wait() -> None:
    """Not while a worker is at work and records come; of all that has happened, where jobs are started
    again and again.
    """
    told = Told()
    assert told.state.questions(1.0) == [ev.Explain("toy", 0.0)]
    told.begin(0)
    assert told.state.questions(1.0) == []
    assert told.state.questions(30.0) == [ev.Explain("toy", 1.0)]
    told.job(0, JobState.IDLE)
    assert told.state.questions(1.0) == [ev.Explain("toy", 0.0)]
    told.finish(*range(N))
    assert told.state.questions(1.0) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda told: told.state.repaired.add("9.9"),
        lambda told: told.state.jobs.by_worker.pop(1),
        lambda told: setattr(told.state, "tidied", True),
        lambda told: setattr(told.known, "finished", 1),
        lambda told: told.known.failed.add(2),
        lambda told: told.known.retryable.add(2),
        lambda told: told.known.plans.update({2: told.known.plans[0]}),
        lambda told: told.known.starts.clear(),
    ],
)
def test_what_contradicts_itself_is_found(damage: object) -> None:
    """The check that these tests and the random ones make after each event sees it when something is
    wrong.
    """
    told = Told()
    told.begin(0, 1)
    damage(told)  # type: ignore[operator]
    with pytest.raises(AssertionError):
        told.state.validate()


def no_line(told: Told, worker: int) -> None:
    """This worker has found chirp switched off."""
    told.job(worker, JobState.COMPLETED, code=EXIT_NO_LINE)


def test_workers_without_a_line_are_replaced_by_such_as_need_none() -> None:
    """The first that finds chirp switched off says it for those that wait: others are submitted, and then
    these
    leave the queue. The others are not submitted twice.
    """
    told = Told()
    no_line(told, 0)
    claims, submit, act = told.due(1.0)
    assert (claims, submit) == (ev.ReadClaims(None, rounds.REPAIR), ev.Submit())
    assert (act.action, act.entries) == ("remove", told.entries)
    assert told.state.is_closed
    told.submit(2, way="transfer")
    (act,) = (one for one in told.due(2.0) if not isinstance(one, ev.Submit))
    assert [entry.cluster for entry in act.entries] == ["c0"], "what was not carried out is due again"
    told.job(1, JobState.REMOVED)
    assert not any(isinstance(one, ev.Act) for one in told.due(3.0))


def test_who_has_a_line_keeps_it() -> None:
    """While some worker speaks with the access point, those that wait may find such machines, too. When the
    last one has ended, others get shares; that no one began is no error then.
    """
    told = Told(workers=3)
    told.begin(0)
    no_line(told, 1)
    assert told.due(1.0) == []
    no_line(told, 2)
    assert told.state.never_began() is None
    told.job(0, JobState.COMPLETED, code=0)
    told.known.starts["0.0"].left = True
    assert told.due(2.0) == [ev.FindExternal()]
    told.tell(ev.ExternalSeen(2.0, 0))
    assert told.tell(ev.ExternalSeen(3.0, 0)) == [ev.ReadClaims(None, rounds.REPAIR), ev.Submit()]


def test_what_a_lost_share_had_is_given_to_others() -> None:
    """It was claimed in the name of the worker's first start, whether or not that was ever heard of; a worker
    that has come back with everything has left nothing. A new round goes to new workers, once.
    """
    told = Told(workers=0)
    told.submit(3, way="transfer")
    assert told.due(1.0) == [ev.Submit()], "some round may have been published before"
    told.known.add_start("0.1").left = True
    told.job(0, JobState.COMPLETED, code=0)
    assert told.due(1.5) == []
    told.job(1, JobState.COMPLETED, signal=9)
    assert told.due(2.0) == [ev.ReadClaims(frozenset({"1.0"}), rounds.REPAIR)]
    told.known.add_round(1, rounds.plan_for(rounds.REPAIR, (3,), 1))
    assert ev.Submit() in told.due(2.5)
    assert ev.Submit() not in told.due(3.0)


def test_the_newest_start_of_a_share_tells_what_it_left() -> None:
    """A start that kept what it had ended in order; where the next one is lost, the rest is left."""
    told = Told(workers=0)
    told.submit(2, way="transfer")
    assert told.due(1.0) == [ev.Submit()]
    told.known.add_start("0.0").left = True
    told.known.add_start("0.1")
    told.job(0, JobState.COMPLETED, signal=9)
    assert told.due(2.0) == [ev.ReadClaims(frozenset({"0.0", "0.1"}), rounds.REPAIR)]


def test_errors_of_shares_are_tried_again_while_others_are_at_work() -> None:
    """Their workers see no round that is published: new ones do it."""
    told = Told(workers=0, retries=1)
    told.submit(2, way="transfer")
    told.due(1.0)
    told.finish(0, state=ERROR)
    assert told.known.retryable
    assert told.due(1.5) == [ev.ReadClaims(None, rounds.RESUME)]
