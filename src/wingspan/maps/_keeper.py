"""What keeps a map going while somebody looks at it: new records, job events, repairs, and workers where there are none.

Nothing here is needed for a map to go on by itself; it is what a client adds that happens to be alive. Several may, at once.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from wingspan.errors import PoolError, SubmitError
from wingspan.maps._adopt import adopt
from wingspan.maps._components import WorkerStart
from wingspan.maps._deeds import COMPLETE, Deeds, stopped_by_owner
from wingspan.maps._errors import WorkersCannotStart
from wingspan.maps._external import ExternalSubmissions, external_workers
from wingspan.maps._failures import describe_refusal
from wingspan.maps._folder import MapFolder, told
from wingspan.maps._jobs import Job, Jobs
from wingspan.maps._options import Options
from wingspan.maps._results import Results
from wingspan.maps._worker_job import output_name, worker_job
from wingspan.pools import Action, JobState, JobWatcher, Pool, get_pool
from wingspan.pools.submissions import LoggedSubmission, by_pool
from wingspan.pools.waiting import Explainer
from wingspan.worker import failure, formats, rounds

__all__ = ["Keeper"]

#: Seconds between two looks at what needs doing.
RECONCILE_SECONDS = 0.25
#: Seconds between two looks whether the pool itself is alive.
REVIVE_SECONDS = 3.0
#: Seconds between two requests to look for work now.
RESCHEDULE_SECONDS = 0.1
#: Silence of log and results after which the scheduler is asked, growing to the maximum (s).
ASK_AFTER_SECONDS = 20.0
ASK_AT_MOST_EVERY = 600.0
#: A component whose worker was lost so often is given up.
MAX_REPAIRS = 3
#: So many workers are started in the place of held ones.
MAX_SUBSTITUTES = 2
#: So often workers are started anew without anything getting finished.
MAX_FRUITLESS = 10
#: Workers that refuse before the map says so, if none succeeded.
TELLING_REFUSALS = 3
#: Records come so often from workers that are well (s).
SILENT_SECONDS = 20.0
#: Seconds that the removal of a map waits for its jobs to be gone.
END_SECONDS = 10.0
#: Exit code of a Python that could not write what it had printed (its documentation, ``sys.exit``).
_COULD_NOT_WRITE = 120
#: Jobs in these states cost a place in the queue and do nothing.
_WAITING = frozenset({JobState.IDLE, JobState.HELD, JobState.UNMATERIALIZED})
#: A job ended and its claims are undone: wait so long for records on their way (s).
SETTLE_SECONDS = 0.5


class Keeper:
    """The live side of one map in this process."""

    def __init__(self, folder: MapFolder) -> None:
        self.folder = self._folder = folder
        self.results = Results(folder)
        self.jobs = Jobs()
        self.options = Options.from_dict(folder.info.options)
        self.lock = threading.RLock()
        self._watchers: dict[str, JobWatcher] = {}
        self._pools: dict[str, Pool] = {}
        self._hand = ExternalSubmissions(folder)
        self._deeds = Deeds(folder.path)
        self._submissions = 0
        self._entries: tuple[LoggedSubmission, ...] = ()
        self._next_reconcile = 0.0
        self._last_news = time.monotonic()
        self._ask_after = ASK_AFTER_SECONDS
        self._gone_since: float | None = None
        self._next_revival = time.monotonic() + REVIVE_SECONDS
        self._revived = False
        self._silent_ends = 0
        self._finished_before, self._fruitless = -1, 0
        self._explainer = Explainer()
        self._rescheduled: Pool | None = None
        self._reschedule_until = self._next_reschedule = 0.0
        self._repaired: set[str] = set()
        self._tidied = False
        self._adopted = False

    # -- looking -------------------------------------------------------------------------------------------------------

    @told("looked at")
    def refresh(self) -> bool:
        """Take in new records and events; True if there were any."""
        with self.lock:
            news = self.results.poll()
            news = self._poll_jobs() or news
            self._reschedule()
            if news:
                self._last_news = time.monotonic()
                self._ask_after = ASK_AFTER_SECONDS
            return news

    def _pool(self, kind: str) -> Pool:
        """The pool of this kind that has jobs of the map; where none has, the one of the settings."""
        places = [one.place for one in self.folder.submissions.entries() if one.pool == kind]
        return get_pool(kind, places[-1] if places else None)

    def _reschedule(self) -> None:
        """For two seconds after a submission: have the pool look for work, as long as jobs wait."""
        now = time.monotonic()
        if self._rescheduled is None or now < self._next_reschedule:
            return
        if now > self._reschedule_until or not any(
            job.state is JobState.IDLE for job in self.jobs.by_worker.values()
        ):
            self._rescheduled = None
            return
        self._next_reschedule = now + RESCHEDULE_SECONDS
        self._rescheduled.reschedule()

    def adopt(self) -> None:
        """Write down workers whose submitter died before he could: schedulers are asked."""
        with self.lock:
            if adopt(self.folder, ask=True):
                self._poll_jobs()

    def _poll_jobs(self) -> bool:
        if not self._adopted:
            self._adopted = True
            adopt(self.folder, ask=False)
        entries = self.folder.submissions.entries()
        if len(entries) != self._submissions:
            self._entries = entries
            for entry in entries[self._submissions :]:
                self.jobs.add(entry, entry.first)
            self._submissions = len(entries)
            for watcher in self._watchers.values():
                watcher.close()
            self._watchers = {}
        if entries and not self._watchers:
            for kind, submissions in by_pool(entries).items():
                with contextlib.suppress(PoolError):
                    pool = self._pools[kind] = self._pool(kind)
                    self._watchers[kind] = pool.watch(submissions, self.folder.path)
        told = [list(watcher.poll()) for watcher in self._watchers.values()]
        if not any(self._pools[kind].writes_log for kind in self._watchers):
            told.append(self._hand.poll())
        changed = False
        for events in told:
            self._hand.take(events, self._entries)
            changed = self.jobs.apply_all(events) or changed
        self._end_replaced()
        return changed

    def _end_replaced(self) -> None:
        """Workers that an earlier hold has ended, and whose place others have, are held no more.

        A process that opens the map later hears from the pool only that the map is held, and that these workers have ended.
        """
        held = [job for job in self.jobs.held if self._ends_when_held(job.pool)]
        if held and (last := self._deeds.last("hold")):
            for job in held:
                if job.cluster not in last:
                    job.state = JobState.COMPLETED

    def stopped_pools(self) -> dict[str, str]:
        """Pools that have jobs of the map and do not run, and what to do about each."""
        kinds = {job.pool for job in self.jobs.live()}
        told = {}
        for kind in kinds:
            with contextlib.suppress(PoolError):
                unavailable_reason = self._pool(kind).unavailable_reason()
                if unavailable_reason is not None:
                    told[kind] = unavailable_reason
        return told

    def waiting(self) -> str | None:
        """Why workers do not get on, as their pools say; these are asked seldom, and only while it looks so."""
        if self.finished:
            return None
        live = self.jobs.live()
        told = []
        for kind in dict.fromkeys(job.pool for job in live):
            jobs = [job for job in live if job.pool == kind]
            fails = any(job.evictions for job in jobs)
            at_work = any(job.state is JobState.RUNNING and self._starts_of(job.worker) for job in jobs)
            if at_work and not fails and time.monotonic() - self._last_news < SILENT_SECONDS:
                continue
            entries = [entry for entry in self._entries if entry.pool == kind]
            since = (
                0.0 if fails else max(*(job.since for job in jobs), *(entry.time for entry in entries), 0.0)
            )
            with contextlib.suppress(PoolError):
                said = self._explainer.told(self._pool(kind), entries, self.folder.path, since)
                told += [said] if said else []
        return "\n".join(told) or None

    def ask(self) -> None:
        """Ask the schedulers about all jobs, once."""
        with self.lock:
            for watcher in self._watchers.values():
                self.jobs.apply_all(watcher.ask())

    def at_work(self) -> set[int]:
        """Components that workers are at, as far as they have said so."""
        stopped = self.stopped_pools()
        return {
            start.component
            for start in self.results.newest_starts()
            if start.component is not None
            and (job := self.jobs.by_worker.get(start.number)) is not None
            and job.state is JobState.RUNNING
            and job.pool not in stopped
        }

    @property
    def finished(self) -> bool:
        """Every component has its output, or an error with no attempt left."""
        results = self.results
        return results.finished == results.n and not results.retryable

    def final_error(self, component: int) -> bool:
        """The component failed and will not be tried again by itself."""
        return component in self.results.failed and component not in self.results.retryable

    # -- doing something about it --------------------------------------------------------------------------------------

    @told("looked after")
    def reconcile(self) -> None:
        """Do what is due: ask the scheduler after a silence, repair, start workers where none are left, tidy the queue.

        Raises:
            WorkersCannotStart: They refuse, or end before they say hello.
        """
        if self.finished:
            self.tidy()
            return
        now = time.monotonic()
        if now < self._next_reconcile:
            return
        self._next_reconcile = now + RECONCILE_SECONDS
        with self.lock:
            self.check_refusals()
            if now - self._last_news > self._ask_after:
                self._last_news = now
                self._ask_after = min(ASK_AT_MOST_EVERY, 2 * self._ask_after)
                with contextlib.suppress(PoolError):
                    self.ask()
            if now > self._next_revival and self.jobs.live():
                self._next_revival = now + REVIVE_SECONDS
                for kind in self._watchers:
                    self._pool(kind).revive()
            self._repair_and_revive(now)
            self.waiting()

    def tidy(self) -> None:
        """If the map is complete: take workers that still wait in the queue out of it, as there is nothing left for them."""
        if self._tidied or not self.finished:
            return
        with self.lock:
            live = self.jobs.live()
            if not any(job.state in _WAITING for job in live):
                self._tidied = not live
                if not live:
                    self.folder.fold(self.results.plans)  # the last worker does that, where it can
                return
            # Whoever wants something done again publishes a round before he submits workers for it: those are not to be met.
            known = self._entries
            self.results.poll()
            if self.finished:
                with contextlib.suppress(PoolError):
                    self._deeds.note(COMPLETE, [entry.cluster for entry in known])
                    self._act_on(known, "remove", "the map is complete")
                    self._tidied = True

    def check_refusals(self) -> None:
        """See whether the newest workers can do anything for this map.

        Raises:
            WorkersCannotStart: They have refused.
        """
        newest = self._newest_starts()
        refused = [start for start in newest if start.refused is not None]
        if not refused or any(start.productive for start in newest):
            return
        others = self.jobs.can_progress
        if len(refused) >= TELLING_REFUSALS or not others:
            message, hint = describe_refusal(refused[-1].refused or {})
            host = (refused[-1].facts or {}).get("host", "?")
            raise WorkersCannotStart(
                f"the workers of map {self.folder.info.tag!r} cannot do it: {message} "
                f"({len(refused)} of them so far, the last on {host})",
                hint=hint,
            )

    def _repair_and_revive(self, now: float) -> None:
        if self.jobs.live():
            self._gone_since = None
            self._repair_lost()
            self._replace_held()
            return
        if self.removed:
            return  # its owner, or an administrator, took the jobs away: starting others is not ours to decide
        if self.external():
            return  # they have no job that we know of; among themselves workers repair what one has lost
        # All workers have left, and not everything is done: give records on their way a moment, then go on.
        if self._gone_since is None:
            self._gone_since = now
            self.adopt()
        if now - self._gone_since < SETTLE_SECONDS:
            self._next_reconcile = self._gone_since + SETTLE_SECONDS
            return
        self._check_start()
        newest = self._jobs_of(self._entries[-1:])
        by_owner = bool(newest) and all(map(self._stopped_by_owner, newest))
        self.repair(None, rounds.RESUME if by_owner else rounds.REPAIR)
        self._gone_since = None
        self.add_workers(None)

    def _repair_lost(self) -> None:
        """Offer anew what those have claimed that are gone, while others are there to take it."""
        gone = [job for job in self.jobs.by_worker.values() if self._is_lost(job)]
        if not gone or not self.jobs.can_progress:
            return
        for kind, by_owner in ((rounds.RESUME, True), (rounds.REPAIR, False)):
            names = {
                start.name
                for job in gone
                if self._stopped_by_owner(job) is by_owner
                for start in self._starts_of(job.worker)
                if not start.left
            }
            if names - self._repaired:
                self._repaired |= names
                self.repair(names, kind)

    def _replace_held(self) -> None:
        """All that is left is held, though others have ended well: one more worker may do what the held ones had claimed.

        Only so often: a component may hold every worker that it meets.
        """
        live = self.jobs.live()
        others = [job for job in self.jobs.by_worker.values() if job.state is JobState.COMPLETED]
        if any(job.state is not JobState.HELD or self._stopped_by_owner(job) for job in live):
            return
        substitutes = sum(entry.for_held for entry in self._entries)
        if not any(job.code == 0 for job in others) or substitutes >= MAX_SUBSTITUTES:
            return
        self.repair({start.name for job in live for start in self._starts_of(job.worker)})
        if not self.finished:
            pool = self._pool(live[0].pool)
            pool.make_ready()
            self._submit(pool, 1, for_held=True)

    @property
    def removed(self) -> list[Job]:
        """No job is left, and those of the newest submission that were taken out of the queue."""
        if self.jobs.live() or not self.jobs.by_worker:
            return []
        # Whoever submits jobs by hand may take them away: others may come.
        own = [entry for entry in self._entries if not entry.external]
        if not own:
            return []
        tidied = self._deeds.clusters(COMPLETE)
        return [
            job for job in self.jobs.removed if job.worker in own[-1].numbers and job.cluster not in tidied
        ]

    def _jobs_of(self, entries: Iterable[LoggedSubmission]) -> list[Job]:
        clusters = {entry.cluster for entry in entries}
        return [job for job in self.jobs.by_worker.values() if job.cluster in clusters]

    def _ends_when_held(self, kind: str) -> bool:
        return kind in self._pools and self._pools[kind].ends_held_jobs

    def _stopped_by_owner(self, job: Job) -> bool:
        return stopped_by_owner(job, self._deeds, ends_when_held=self._ends_when_held(job.pool))

    @staticmethod
    def _is_lost(job: Job) -> bool:
        return job.state in (JobState.HELD, JobState.COMPLETED, JobState.REMOVED)

    def _starts_of(self, worker: int) -> list[Any]:
        return self.results.starts_of.get(worker, [])

    def _newest_starts(self) -> list[WorkerStart]:
        """Starts of the workers that were submitted last."""
        entries = self._entries
        first = entries[-1].first if entries else 0
        return [start for start in self.results.newest_starts() if start.number >= first]

    def _check_start(self) -> None:
        """If the newest workers ended without a word, twice in a row, say so instead of starting others for ever."""
        if not self.jobs.by_worker:
            return
        if self._revived:
            self._revived = False  # they were stopped by their owner
            return
        newest = self._entries[-1]
        if newest.external:
            return
        workers = newest.numbers
        if self.results.finished != self._finished_before:
            self._finished_before, self._fruitless = self.results.finished, 0
        self._fruitless += 1
        if any(self._starts_of(worker) for worker in workers) and self._fruitless < MAX_FRUITLESS:
            return
        error, words = self._broken_start(workers[0])
        self._silent_ends += 1
        if not words and self._silent_ends < 2 and self._fruitless < MAX_FRUITLESS:
            return  # killed in its first moments, perhaps: a start that is broken fails the next time too
        raise error

    def left_without_a_word(self) -> WorkersCannotStart | None:
        """For who only looks: all workers have ended and the newest ones never began, for a reason that they wrote down."""
        entries = self._entries
        if self.finished or not entries or entries[-1].external or self.jobs.live() or self.removed:
            return None
        workers = entries[-1].numbers
        if any(self._starts_of(worker) for worker in workers) or workers[0] not in self.jobs.by_worker:
            return None
        error, words = self._broken_start(workers[0])
        return error if words else None

    def _broken_start(self, worker: int) -> tuple[WorkersCannotStart, str]:
        """What is said of a worker that ended before it began, and what it wrote to standard error."""
        path = self.folder.path / "workers" / output_name(worker, 0, "err")
        try:
            tail = path.read_text(encoding="utf-8", errors="replace").strip().split("\n")[-10:]
        except OSError:
            tail = []
        job = self.jobs.by_worker[worker]
        ended = (
            f"killed by signal {job.signal}"
            if job.signal
            else f"exit code {job.code}"
            if job.code is not None
            else job.reason or "ended"
        )
        words = "\n".join(f"  {line}" for line in tail if line)
        if not words and (self.folder.disk_is_full or job.code == _COULD_NOT_WRITE):
            error = WorkersCannotStart(
                f"the workers of map {self.folder.info.tag!r} end before they begin ({ended}): they cannot write to "
                f"{self.folder.path}; the disk {'is' if self.folder.disk_is_full else 'was'} full",
                hint="free some space, then m.rerun(); what is finished is kept",
            )
            return error, "the disk is full"
        error = WorkersCannotStart(
            f"the workers of map {self.folder.info.tag!r} end before they begin ({ended})"
            + (
                f"; the last lines of their standard error:\n{words}"
                if words
                else "; they wrote nothing to standard error"
            ),
            hint="mend what their standard error says, then m.rerun()",
        )
        return error, words

    def external(self) -> list[WorkerStart]:
        """Workers at work that were not submitted by us."""
        return external_workers(self.folder, self.results, self.jobs)

    @told("repaired")
    def repair(self, owners: set[str] | None, kind: str = rounds.REPAIR) -> bool:
        """Publish a round for what workers had claimed that are gone: those of `owners`, or (None) everything unfinished.

        Components that were lost too often get an error instead, unless the map's owner stopped their workers (`kind` is
        `rounds.RESUME`). Returns whether a round was published.
        """
        with self.lock:
            while True:
                self.results.poll()
                if owners is None and self.results.retryable:
                    return self.publish(rounds.RETRY, self.results.retryable)
                lost = self._lost(owners)
                hopeless = {
                    component
                    for component in (lost if kind == rounds.REPAIR else ())
                    if self.results.repairs(component) >= MAX_REPAIRS
                }
                if hopeless:
                    self._give_up(hopeless)
                    lost = [component for component in lost if component not in hopeless]
                # Where another writer's round was first, it need not be about what is lost here: look again.
                if not lost or self.publish(kind, lost):
                    return bool(lost)

    def _lost(self, owners: set[str] | None) -> list[int]:
        """Unfinished components that `owners` had claimed; None: that anybody had."""
        if owners is None:
            # What nobody has taken is still on offer where it stands.
            claimed = self._claimed_components()
            return [component for component in self.results.unfinished() if component in claimed]
        return [
            component
            for number, plan in sorted(self.results.plans.items())
            for block, owner in self._claims(number).items()
            if owner in owners
            for first, stop in plan.components(block)
            for component in range(first, stop)
            if not self.results.state[component] and not self.results.in_newer_round(component, number)
        ]

    def _claims(self, number: int) -> dict[int, str | None]:
        transport, claims = self.folder.transport, {}
        for name in transport.names(f"rounds/{number}/claims"):
            if name.isdigit():
                data = transport.read(f"rounds/{number}/claims/{name}")
                claims[int(name)] = rounds.claim_owner(self.folder.key, number, int(name), data)
        return claims

    def _claimed_components(self) -> set[int]:
        """Components in claimed blocks of their newest round."""
        claimed: set[int] = set()
        for number, plan in sorted(self.results.plans.items()):
            for first, stop in plan.ranges:
                claimed.difference_update(range(first, stop))
            if self.folder.is_folded(number):
                for first, stop in plan.ranges:
                    claimed.update(range(first, stop))
            for name in self.folder.transport.names(f"rounds/{number}/claims"):
                if name.isdigit():
                    for first, stop in plan.components(int(name)):
                        claimed.update(range(first, stop))
        return claimed

    def _give_up(self, components: Iterable[int]) -> None:
        """Write an error record for components whose workers are lost every time."""
        name = f"c{os.getpid()}.{time.time_ns()}"
        # What the scheduler says of a worker that did not end by itself.
        told = [
            job.reason
            for job in self.jobs.by_worker.values()
            if job.state is JobState.COMPLETED and job.code is None and job.signal is None and job.reason
        ]
        why = f": {told[-1]}" if told else " without a word: killed, or its machine went down"
        payload = failure.dumps(failure.crash("lost", f"its worker was lost {MAX_REPAIRS + 1} times{why}"))
        headers = [
            formats.RECORD.pack(
                formats.ERROR,
                0,
                1,
                max(self.results.plans),
                component,
                time.time(),
                0.0,
                0.0,
                0,
                len(payload),
            )
            for component in components
        ]
        data = formats.frame(self.folder.key, name, 0, headers, [payload] * len(headers))
        self.folder.transport.write_whole("results/" + name, data)
        self.results.poll()

    @told("done again")
    def publish(self, kind: str, components: Iterable[int], function: str = rounds.FUNCTION) -> bool:
        """Publish the next round; True if ours was put in place (another writer may have been first).

        Args:
            kind: Of the round.
            components: What it does.
            function: File of the function that a `rounds.RERUN` calls.
        """
        newest = max(self.results.plans)
        workers = self.options.workers or self.folder.info.workers
        plan = rounds.plan_for(kind, components, workers, self.options.block_size, function)
        nonce = f"c{os.getpid()}-{time.time_ns()}"
        folders = rounds.OLD_FOLDERS if self.folder.is_old else rounds.FOLDERS
        won = rounds.publish(self.folder.transport, self.folder.key, newest + 1, plan, nonce, folders)
        self.results.poll()
        self._tidied = False
        return won

    # -- workers -------------------------------------------------------------------------------------------------------

    @told("given workers")
    def add_workers(self, count: int | None, pool: Pool | None = None) -> int:
        """Submit workers: `count`, or (None) as many as what is unfinished deserves. How many were submitted.

        None are, unless they are counted, for a map whose workers are submitted by hand.
        """
        if count is None and self.options.workers == 0:
            return 0
        pool = pool or self._pool(self.folder.info.pool)
        pool.make_ready()
        if count is None:
            left = max(1, self.results.n - self.results.finished + len(self.results.retryable))
            count = min(left, self.options.workers or pool.default_workers(left))
        return self._submit(pool, count) if count else 0

    def _submit(self, pool: Pool, count: int, *, for_held: bool = False) -> int:
        with self.lock:
            most, left = pool.largest_submission(count), count
            while left:
                some = min(most, left)
                first = self.folder.reserve_workers(some, pool.kind, pool.place)
                job = worker_job(self.folder, self.options, pool, first, some)
                try:
                    submission = pool.submit(job)
                except SubmitError:
                    self.folder.cancel_reservation(first)
                    if left == count:
                        raise
                    break  # those before it can do it all
                self.folder.submissions.add(submission, first=first, place=pool.place, for_held=for_held)
                left -= some
            self._poll_jobs()
            self._last_news = time.monotonic()
            self._rescheduled, self._reschedule_until = pool, self._last_news + 2.0
            self._next_reschedule = self._last_news + RESCHEDULE_SECONDS
            return count - left

    def act(self, action: Action, reason: str) -> None:
        """Hold, release, vacate or remove all jobs."""
        with self.lock:
            self._poll_jobs()
            self.adopt()
            if action == "release":
                # Now, and not by the last look: a worker that is held this moment would have nobody to take its place.
                for kind, watcher in self._watchers.items():
                    if self._ends_when_held(kind):
                        self.jobs.apply_all(watcher.ask())
            stopped = Counter(job.pool for job in self._stopped_by(action))
            self._act_on(self.folder.submissions.entries(), action, reason)
            # What was done is known before the log tells it.
            if action == "release":
                for job in self.jobs.held:
                    job.state = JobState.IDLE
            if stopped and action in ("release", "vacate") and not self.finished:
                # Workers were ended for good: as many others take their place, whether or not somebody waits.
                self._revived = True
                self.repair(None, rounds.RESUME)
                left = self.results.n - self.results.finished
                for kind, count in stopped.items():
                    self.add_workers(min(count, left), self._pool(kind))

    def _stopped_by(self, action: Action) -> list[Job]:
        """Workers that this action ends for good, or (release) that have ended by the last hold: others are to take their place."""
        ending = [job for job in self.jobs.live() if self._ends_when_held(job.pool)]
        if action != "release":
            return [job for job in ending if job.state is not JobState.HELD]
        # Those whose place was taken after an earlier hold are no more.
        last = self._deeds.last("hold")
        return [job for job in ending if job.state is JobState.HELD and (not last or job.cluster in last)]

    def _act_on(self, entries: Iterable[LoggedSubmission], action: Action, reason: str) -> None:
        """Do it to the jobs of these submissions."""
        if action in ("hold", "vacate") and (stopped := {job.cluster for job in self._stopped_by(action)}):
            self._deeds.note(action, stopped)
        for kind, submissions in by_pool(entries).items():
            self._pool(kind).act(action, submissions, self.folder.path, reason)

    def wait_for_the_end(self) -> None:
        """After its jobs were removed: until HTCondor has written that they are gone. It would make the map's folder anew to do so."""
        deadline = time.monotonic() + END_SECONDS
        while time.monotonic() < deadline:
            with self.lock:
                self._poll_jobs()
                if not any(
                    job.pool in self._pools and self._pools[job.pool].writes_log for job in self.jobs.live()
                ):
                    return
            time.sleep(0.02)

    def close(self) -> None:
        """Let go of open files."""
        self.results.close()
        self._hand.close()
        for watcher in self._watchers.values():
            watcher.close()
