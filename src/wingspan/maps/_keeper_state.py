"""What the keeper of a map does next: a state machine without any I/O. Events in, instructions out.

`wingspan.maps._keeper.Keeper` reads files, asks pools and looks at the clock. It tells the state machine what
it has seen, and does what the state machine answers. The result of an instruction is an event again. So each
decision can be tested with a table of events and instructions, without workers, files or waiting.

An instruction may fail; the keeper drops those after it then. So the state machine never takes an instruction
for done before an event says so: what was not done is due again at the next `Due`.
"""

from __future__ import annotations

import types
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from wingspan.maps import _keeper_events as ev
from wingspan.maps._actions import COMPLETE
from wingspan.maps._components import Components
from wingspan.maps._jobs import Job, Jobs
from wingspan.maps._keeper_answers import Answers
from wingspan.maps._lines import Lines, found_closed, has_deaf_workers, left_open
from wingspan.maps._lost import lost_components, why_lost
from wingspan.maps._unserved import Unserved
from wingspan.pools import Action, JobState
from wingspan.pools.submissions import LoggedSubmission
from wingspan.worker import rounds

__all__ = ["ASK_AFTER_SECONDS", "MAX_REPAIRS", "KeeperState"]

#: Seconds between two looks at what needs doing.
RECONCILE_SECONDS = 0.25
#: Seconds between two looks whether the pool itself is alive.
REVIVE_SECONDS = 3.0
#: Seconds between two requests to look for work now, and for how long they are made after a submission.
RESCHEDULE_SECONDS, RESCHEDULE_FOR = 0.1, 2.0
#: Silence of log and results after which the scheduler is asked, growing to the maximum (s).
ASK_AFTER_SECONDS, ASK_AT_MOST_EVERY = 20.0, 600.0
#: How often the worker of a component may be lost before the component is given up; how often workers are
#: started in the place of held ones.
MAX_REPAIRS, MAX_SUBSTITUTES = 3, 2
MAX_FRUITLESS = 10  # how often workers are started anew though nothing gets finished
#: How often workers may end right after their start without a word, before the user is told.
MAX_SILENT_ENDS = 2
#: How long to wait for the last records of jobs that have all ended, and had claimed what is not done (s).
SETTLE_SECONDS = 0.5
#: Jobs in these states cost a place in the queue and do nothing.
_WAITING = frozenset({JobState.IDLE, JobState.HELD, JobState.UNMATERIALIZED})
#: Jobs in these states do not do now what they had claimed.
_LOST = frozenset({JobState.HELD, JobState.COMPLETED, JobState.REMOVED})
_EMPTY: Mapping[str, Any] = types.MappingProxyType({})


class KeeperState(Answers):
    """What is known of a map and its jobs, and what follows from it.

    Attributes:
        components: What is known of the components; filled by the reader of the records.
        jobs: What is known of the jobs.
        entries: All submissions, oldest first.
        changed: The last `JobsTold` has changed something.
        last_news: When there were news last.
        repaired: Worker starts whose claims have been offered again.
        tidied: The map is complete, and nothing is left to be done about its jobs.
        reschedules: Workers were submitted a moment ago, and their pool is made to look for machines.

    Args:
        components: What is known of the components.
        now: The time (s).
        usual: What the map's options ask for.
    """

    def __init__(self, components: Components, now: float, usual: Mapping[str, Any] = _EMPTY) -> None:
        self.components = components
        self.usual = usual
        self._unserved, self._lines = Unserved(), Lines()
        self.jobs = Jobs()
        self.entries: tuple[LoggedSubmission, ...] = ()
        self.changed = False
        self.last_news = now
        self.repaired: set[str] = set()
        self.tidied = False
        self._ends_held_jobs: set[str] = set()
        self._stopped: frozenset[str] = frozenset()
        self._actions, self._last_actions = _EMPTY, _EMPTY
        self._next_reconcile = 0.0
        self._ask_after = ASK_AFTER_SECONDS
        self._next_revival = now + REVIVE_SECONDS
        self._gone_since: float | None = None
        self._were_replaced = False
        self._silent_ends = 0
        self._finished_before, self._fruitless = -1, 0
        self.reschedules = False
        self._reschedule_until = self._next_reschedule = 0.0
        self._to_be_removed: tuple[LoggedSubmission, ...] = ()

    def handle(self, event: ev.Event) -> list[ev.Instruction]:
        """Take in an event: what is to be done now, in this order."""
        handler = _HANDLERS[type(event)]
        return list(handler(self, event))

    # -- what is known ---------------------------------------------------------------------------------------

    def is_due(self, now: float) -> bool:
        """There may be something to do at a `Due`."""
        return not self.tidied if self.finished else now >= self._next_reconcile

    @property
    def has_deaf_workers(self) -> bool:
        """There are workers that cannot be reached until they end: each does its share."""
        return has_deaf_workers(self.jobs, self.entries)

    @property
    def is_closed(self) -> bool:
        """Some worker has found chirp switched off: from now on each gets its share beforehand."""
        return found_closed(self.jobs)

    @property
    def finished(self) -> bool:
        """Every component has its output, or an error with no attempt left."""
        return self.components.is_done and not self.components.is_open

    @property
    def removed(self) -> list[Job]:
        """Jobs of the newest submission that somebody has removed, if no job of the map is left."""
        if self.jobs.live() or not self.jobs.by_worker:
            return []
        # External workers may be removed by the person who submitted them, who may submit others.
        own = [entry for entry in self.entries if not entry.external]
        if not own:
            return []
        tidied = self._actions.get(COMPLETE, frozenset())
        return [
            job for job in self.jobs.removed if job.worker in own[-1].numbers and job.cluster not in tidied
        ]

    def ends_when_held(self, kind: str) -> bool:
        """Jobs in pools of this kind end when they are held or sent away."""
        return kind in self._ends_held_jobs

    def stopped_by_owner(self, job: Job) -> bool:
        """Somebody wanted this job to stop: what it had claimed is not lost, and not a component's fault."""
        if self.ends_when_held(job.pool):
            return any(job.cluster in self._actions.get(action, ()) for action in ("hold", "vacate"))
        if job.state is JobState.HELD:
            return job.held_by_person
        return job.state is JobState.REMOVED

    @property
    def ended_by_holds(self) -> list[Job]:
        """Jobs that are held in pools that end what is held."""
        if not self._ends_held_jobs:
            return []
        return [job for job in self.jobs.held if self.ends_when_held(job.pool)]

    # -- news ------------------------------------------------------------------------------------------------

    def _submissions_read(self, event: ev.SubmissionsRead) -> Iterator[ev.Instruction]:
        for entry in event.entries[len(self.entries) :]:
            self.jobs.add(entry, entry.first)
        self.entries = event.entries
        self._see_who_is_left()
        return iter(())

    def _pool_known(self, event: ev.PoolKnown) -> Iterator[ev.Instruction]:
        if event.ends_held_jobs:
            self._ends_held_jobs.add(event.kind)
        return iter(())

    def _pools_stopped(self, event: ev.PoolsStopped) -> Iterator[ev.Instruction]:
        self._stopped = event.kinds
        return iter(())

    def _live(self) -> list[Job]:
        """Jobs that may do something: those of a pool that is stopped wait until its owner starts it."""
        return [job for job in self.jobs.live() if job.pool not in self._stopped]

    def _actions_read(self, event: ev.ActionsRead) -> Iterator[ev.Instruction]:
        self._actions, self._last_actions = event.clusters, event.last
        self._end_replaced()
        return iter(())

    def _jobs_told(self, event: ev.JobsTold) -> Iterator[ev.Instruction]:
        self.changed = self.jobs.apply_all(event.events, event.pool)
        self._end_replaced()
        self._see_who_is_left()
        return iter(())

    def _end_replaced(self) -> None:
        """Workers that an earlier hold has ended, and whose place others have, are held no more.

        The pool tells a process that opens the map later only that the map is held, and that these workers
        have ended.
        """
        last = self._last_actions.get("hold", ())
        for job in self.ended_by_holds if last else ():
            if job.cluster not in last:
                job.state = JobState.COMPLETED

    def _see_who_is_left(self) -> None:
        if self._gone_since is not None and self._live():
            self._gone_since = None

    def _looked(self, event: ev.Looked) -> Iterator[ev.Instruction]:
        if event.news:
            self.last_news = event.now
            self._ask_after = ASK_AFTER_SECONDS
            self.tidied = self.tidied and self.finished  # another process may want components again
        # For a moment after a submission the pool is made to look for machines, as long as jobs wait.
        if self.reschedules and event.now >= self._next_reschedule:
            waits = any(job.state is JobState.IDLE for job in self.jobs.by_worker.values())
            self.reschedules = waits and event.now <= self._reschedule_until
            if self.reschedules:
                self._next_reschedule = event.now + RESCHEDULE_SECONDS
                yield ev.Reschedule()

    def _submitted(self, event: ev.Submitted) -> Iterator[ev.Instruction]:
        self.last_news = event.now
        self.reschedules = True
        self._reschedule_until = event.now + RESCHEDULE_FOR
        self._next_reschedule = event.now + RESCHEDULE_SECONDS
        return iter(())

    # -- what is due -----------------------------------------------------------------------------------------

    def _due(self, event: ev.Due) -> Iterator[ev.Instruction]:
        if self.finished:
            yield from self._tidy()
            return
        now = event.now
        if now < self._next_reconcile or self.components.is_done:
            return
        self._next_reconcile = now + RECONCILE_SECONDS
        if (refused := self.refusal()) is not None:
            yield refused
            return
        live = self._live()
        if now - self.last_news > self._ask_after:
            self.last_news = now
            self._ask_after = min(ASK_AT_MOST_EVERY, 2 * self._ask_after)
            yield ev.Ask()
        if live and now > self._next_revival:
            self._next_revival = now + REVIVE_SECONDS
            yield ev.Revive()
        if live:
            yield from self._repair_lost()
            yield from self._lines.due(self.components, self.entries, self.jobs, self._starts_of)
            yield from self._replace_held(live)
            if self._unserved.is_due(self.components, self.entries, self.jobs, self.usual, now):
                yield ev.Submit(for_unserved=True)
        elif (
            not self.removed
        ):  # else it is not ours to start others: its owner, or an administrator, took the jobs away
            yield ev.FindExternal()
        yield from self.questions(now)

    def _tidy(self) -> Iterator[ev.Instruction]:
        """The map is complete: remove workers that still wait in the queue."""
        if self.tidied:
            return
        live = self.jobs.live()
        if any(job.state in _WAITING for job in live):
            # Another process may have wanted something again and submitted workers for it, which must not be
            # removed. It has published a round before. So records and rounds are read once more, and only
            # workers are removed that are known now.
            self._to_be_removed = self.entries
            yield ev.ReadRecords()
            return
        self.tidied = not live
        if self.tidied:
            yield ev.Fold()  # the last worker does that, where it can

    def _records_read(self, event: ev.RecordsRead) -> Iterator[ev.Instruction]:
        entries, self._to_be_removed = self._to_be_removed, ()
        if entries and self.finished:
            yield ev.Note(COMPLETE, frozenset(entry.cluster for entry in entries))
            yield ev.Act("remove", entries, "the map is complete", is_tidying=True)

    def _repair_lost(self) -> Iterator[ev.Instruction]:
        """Offer the claims of lost workers again, while others are there to take them."""
        gone = [job for job in self.jobs.by_worker.values() if job.state in _LOST]
        if not gone or not self.jobs.can_progress:
            return
        for kind, by_owner in ((rounds.RESUME, True), (rounds.REPAIR, False)):
            names = frozenset(
                name
                for job in gone
                if self.stopped_by_owner(job) is by_owner
                for name in left_open(job, self._starts_of(job.worker), self.entries)
            )
            if names - self.repaired:
                yield ev.ReadClaims(names, kind)

    def _replace_held(self, live: list[Job]) -> Iterator[ev.Instruction]:
        """All workers that are left are held, but others have ended well: one more may do what the held ones
        had claimed.

        Only a few are submitted: a component may be the reason why every worker that claims it is held.
        """
        if any(job.state is not JobState.HELD or self.stopped_by_owner(job) for job in live):
            return
        ended_well = any(
            job.state is JobState.COMPLETED and job.code == 0 for job in self.jobs.by_worker.values()
        )
        if not ended_well or sum(entry.for_held for entry in self.entries) >= MAX_SUBSTITUTES:
            return
        names = frozenset(start.name for job in live for start in self._starts_of(job.worker))
        yield ev.ReadClaims(names, rounds.REPAIR)
        yield ev.Submit(live[0].pool, 1, for_held=True)

    def _external_seen(self, event: ev.ExternalSeen) -> Iterator[ev.Instruction]:
        """No job is left, and not everything is done: wait a moment for records on their way, then start
        others."""
        if event.count or self._live():
            return  # external workers repair among themselves what one has lost
        if self._gone_since is None:
            self._gone_since = event.now
            yield ev.Adopt()
        if event.now - self._gone_since < SETTLE_SECONDS:
            self._next_reconcile = self._gone_since + SETTLE_SECONDS
            return
        worker = self._silent_worker()
        if worker is not None:
            yield ev.ReadWords(worker)
        else:
            yield from self._go_on()

    def _silent_worker(self) -> int | None:
        """The first of the newest workers, if none of these gave a sign of life, or if nothing gets finished
        any more."""
        if not self.jobs.by_worker:
            return None
        if self._were_replaced:
            self._were_replaced = False  # they were stopped by their owner
            return None
        newest = self.entries[-1]
        if newest.external or (self.is_closed and not newest.way):
            return None
        if self.components.finished != self._finished_before:
            self._finished_before, self._fruitless = self.components.finished, 0
        self._fruitless += 1
        if any(map(self._starts_of, newest.numbers)) and self._fruitless < MAX_FRUITLESS:
            return None
        return newest.first

    def _words_read(self, event: ev.WordsRead) -> Iterator[ev.Instruction]:
        self._silent_ends += 1
        if event.words or self._silent_ends >= MAX_SILENT_ENDS or self._fruitless >= MAX_FRUITLESS:
            yield ev.CannotStart(event.worker)
        else:
            yield from self._go_on()  # killed in their first moments, perhaps

    def _go_on(self) -> Iterator[ev.Instruction]:
        clusters = {entry.cluster for entry in self.entries[-1:]}
        newest = [
            job
            for job in self.jobs.by_worker.values()
            if job.cluster in clusters and job.pool == self.entries[-1].pool
        ]
        by_owner = bool(newest) and all(map(self.stopped_by_owner, newest))
        self._gone_since = None
        yield ev.ReadClaims(None, rounds.RESUME if by_owner else rounds.REPAIR)
        yield ev.Submit()

    # -- repairs ---------------------------------------------------------------------------------------------

    def _repair_wanted(self, event: ev.RepairWanted) -> Iterator[ev.Instruction]:
        yield ev.ReadClaims(event.owners, event.kind)

    def _claims_read(self, event: ev.ClaimsRead) -> Iterator[ev.Instruction]:
        known = self.components
        if event.owners is None and known.retryable:
            yield ev.Publish(rounds.RETRY, tuple(sorted(known.retryable)))
            return
        lost = list(lost_components(known, event))
        hopeless = {
            component
            for component in (lost if event.kind == rounds.REPAIR else ())
            if known.repairs(component) >= MAX_REPAIRS
        }
        if hopeless:
            yield ev.GiveUp(tuple(sorted(hopeless)), why_lost(self.jobs, MAX_REPAIRS + 1))
            lost = [component for component in lost if component not in hopeless]
        if lost:
            yield ev.Publish(event.kind, tuple(lost), event.owners)
        elif event.owners is not None:
            self.repaired |= event.owners

    def _published(self, event: ev.Published) -> Iterator[ev.Instruction]:
        self.tidied = False
        request = event.request
        if request is None:
            return
        if event.won:
            self.repaired |= request.owners or frozenset()
        elif request.kind != rounds.RETRY:
            # The round of another writer, who was first, need not be about what is lost here: look again.
            yield ev.ReadClaims(request.owners, request.kind)

    # -- what the user wants ---------------------------------------------------------------------------------

    def _wanted(self, event: ev.Wanted) -> Iterator[ev.Instruction]:
        ended = self._ended_by(event.action)
        if ended and event.action in ("hold", "vacate"):
            yield ev.Note(event.action, frozenset(job.cluster for job in ended))
        replaced = Counter(job.pool for job in ended) if event.action in ("release", "vacate") else {}
        yield ev.Act(event.action, self.entries, event.reason, replaced)

    def _ended_by(self, action: Action) -> list[Job]:
        """Workers that this action ends for good, or (release) that the last hold has ended: others replace
        them."""
        ending = [job for job in self.jobs.live() if self.ends_when_held(job.pool)]
        if action != "release":
            return [job for job in ending if job.state is not JobState.HELD]
        # Those whose place was taken after an earlier hold are no more.
        last = self._last_actions.get("hold", ())
        return [job for job in ending if job.state is JobState.HELD and (not last or job.cluster in last)]

    def _acted(self, event: ev.Acted) -> Iterator[ev.Instruction]:
        request = event.request
        if request.is_tidying:
            self.tidied = True
            return
        # The action is known before the log tells of it.
        if request.action == "release":
            for job in self.jobs.held:
                job.state = JobState.IDLE
        if request.replaced and not self.finished:
            # Workers were ended for good: as many others take their place, whether or not somebody waits.
            self._were_replaced = True
            yield ev.ReadClaims(None, rounds.RESUME)
            left = self.components.n - self.components.finished
            for kind, count in request.replaced.items():
                yield ev.Submit(kind, min(count, left))

    # -- tests -----------------------------------------------------------------------------------------------

    def validate(self) -> None:
        """For tests: see that no two things that are known contradict each other.

        Raises:
            AssertionError: They do.
        """
        self.components.validate()
        jobs = self.jobs.by_worker
        submitted = {(entry.cluster, number) for entry in self.entries for number in entry.numbers}
        assert {(job.cluster, worker) for worker, job in jobs.items()} <= submitted, "a job of no submission"
        assert {worker for _, worker in submitted} == set(jobs), "a submission without its jobs"
        assert all(job.worker == worker for worker, job in jobs.items())
        assert self.repaired <= self.components.starts.keys(), "repaired what never began"
        assert not self.tidied or self.finished, "tidied, and not complete"
        assert self._gone_since is None or not self._live(), "nobody is left, and somebody is"
        assert ASK_AFTER_SECONDS <= self._ask_after <= max(ASK_AT_MOST_EVERY, ASK_AFTER_SECONDS)
        assert 0 <= self._fruitless <= MAX_FRUITLESS + self._silent_ends


_HANDLERS: dict[type[Any], Callable[[KeeperState, Any], Iterator[ev.Instruction]]] = {
    ev.SubmissionsRead: KeeperState._submissions_read,
    ev.PoolKnown: KeeperState._pool_known,
    ev.PoolsStopped: KeeperState._pools_stopped,
    ev.ActionsRead: KeeperState._actions_read,
    ev.JobsTold: KeeperState._jobs_told,
    ev.Looked: KeeperState._looked,
    ev.Submitted: KeeperState._submitted,
    ev.Due: KeeperState._due,
    ev.RecordsRead: KeeperState._records_read,
    ev.ExternalSeen: KeeperState._external_seen,
    ev.WordsRead: KeeperState._words_read,
    ev.RepairWanted: KeeperState._repair_wanted,
    ev.ClaimsRead: KeeperState._claims_read,
    ev.Published: KeeperState._published,
    ev.Wanted: KeeperState._wanted,
    ev.Acted: KeeperState._acted,
}
