"""What keeps a map going while somebody looks at it: records are read, jobs followed, losses repaired.

A map goes on without this, too: its workers repair what others have lost. Several processes may keep one map
at the same time.

`wingspan.maps._keeper_state.KeeperState` decides what is to be done, without any I/O. The keeper here reads,
asks and submits.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from wingspan.errors import PoolError
from wingspan.maps import _keeper_events as ev
from wingspan.maps._actions import REMOVAL, ActionLog
from wingspan.maps._adopt import adopt
from wingspan.maps._broken_start import broken_start
from wingspan.maps._components import WorkerStart
from wingspan.maps._done import call_when_done
from wingspan.maps._errors import WorkersCannotStart
from wingspan.maps._external import ExternalSubmissions, external_workers
from wingspan.maps._failures import describe_refusal
from wingspan.maps._folder import MapFolder, told
from wingspan.maps._jobs import Job, Jobs
from wingspan.maps._keeper_before import Follows
from wingspan.maps._keeper_here import Here
from wingspan.maps._keeper_state import KeeperState
from wingspan.maps._kept import forget_checkpoints
from wingspan.maps._losses import write_losses
from wingspan.maps._results import Results
from wingspan.maps._several import for_all
from wingspan.maps._shares import forget
from wingspan.pools import Action, JobEvent, JobWatcher, Pool
from wingspan.pools.submissions import by_pool
from wingspan.pools.waiting import Explainer
from wingspan.worker import rounds

__all__ = ["Keeper"]

#: Seconds that the removal of a map waits for its jobs to be gone.
END_SECONDS = 10.0


class Keeper(Follows, Here):
    """The live side of one map in this process.

    Attributes:
        folder: The map's.
        results: Its results, as far as they have been read.
        state: Decides what is to be done.
        options: What each worker gets; see `read_options`.
        lock: Held while anything is read or done.
    """

    def __init__(self, folder: MapFolder) -> None:
        self.folder = self._folder = folder
        self.results = Results(folder)
        self.read_options()
        self.state = KeeperState(self.results, time.monotonic(), self.options.as_dict())
        self.lock = threading.RLock()
        self._watchers: dict[str, JobWatcher] = {}
        self._pools: dict[str, Pool] = {}
        self._external = ExternalSubmissions(folder)
        self._actions = ActionLog(folder.path)
        self._explainer = Explainer()
        self._looked_for_unknown = False
        self._rounds_published = 0

    @property
    def jobs(self) -> Jobs:
        """What is known of the jobs."""
        return self.state.jobs

    @property
    def finished(self) -> bool:
        """Every component has its output, or an error with no attempt left."""
        return self.state.finished

    def final_error(self, component: int) -> bool:
        """The component failed and will not be tried again by itself."""
        return component in self.results.failed and component not in self.results.retryable

    # -- looking ---------------------------------------------------------------------------------------------

    @told("looked at")
    def refresh(self) -> bool:
        """Take in new records and events; True if there were any."""
        with self.lock:
            news = self.results.poll()
            if news:
                self._growth.look(self.options)
            news = self._poll_jobs() or news
            if news or self.state.reschedules:  # nothing else follows from a look
                self._follow(ev.Looked(time.monotonic(), news))
            if news and self.finished:
                call_when_done(self.folder, self.results)
            return news

    def adopt(self) -> None:
        """Ask schedulers for workers whose submitter died before it wrote them down, and write them down."""
        with self.lock:
            if adopt(self.folder, ask=True):
                self._poll_jobs()

    def _poll_jobs(self) -> bool:
        """Take in new submissions and job events; True if anything is different now."""
        if not self._looked_for_unknown:
            self._looked_for_unknown = True
            adopt(self.folder, ask=False)
        entries = self.folder.submissions.entries()
        if len(entries) != len(self.state.entries):
            self._follow(ev.SubmissionsRead(entries))
            self._close_watchers()
        if entries and not self._watchers:
            for kind, submissions in by_pool(entries).items():
                with contextlib.suppress(PoolError):
                    pool = self._pools[kind] = self._pool(kind)
                    self._follow(ev.PoolKnown(kind, pool.ends_held_jobs))
                    self._watchers[kind] = pool.watch(submissions, self.folder.path)
        told: list[tuple[list[JobEvent], str | None]] = [
            (list(watcher.poll()), kind) for kind, watcher in self._watchers.items()
        ]
        if not any(self._pools[kind].writes_log for kind in self._watchers):
            told.append((self._external.poll(), None))
        changed = False
        for events, told_by in told:
            self._external.take(events, self.state.entries)
            if events:
                changed = self._take(events, told_by) or changed
        if self.state.ended_by_holds:
            self._read_actions()  # other workers may have taken their places
        return changed

    def _take(self, events: Iterable[JobEvent], kind: str | None) -> bool:
        """Take in what a pool says of jobs; True if anything is different now."""
        self._follow(ev.JobsTold(tuple(events), kind))
        return self.state.changed

    def waiting(self) -> str | None:
        """Why workers make no progress, in the words of their pools.

        Pools are asked seldom, and only if it looks that way.
        """
        following = self._begins_later()
        if following is not None and following.is_waiting:
            return f"it begins when {following} is done"
        told = [self._explain(question) for question in self.state.questions(time.monotonic())]
        return "\n".join(filter(None, told)) or None

    def _explain(self, question: ev.Explain) -> str | None:
        entries = [entry for entry in self.state.entries if entry.pool == question.kind]
        with contextlib.suppress(PoolError):
            return self._explainer.told(self._pool(question.kind), entries, self.folder.path, question.since)
        return None

    def ask(self) -> None:
        """Ask the schedulers about all jobs, once."""
        with self.lock:
            silent = for_all(
                self._watchers, lambda kind: self._take(self._watchers[kind].ask(), kind), any_will_do=True
            )
            self._silent = frozenset(silent)

    def at_work(self) -> set[int]:
        """Components that workers are at, as far as they have said so."""
        return self.state.at_work(self.stopped_pools())

    @property
    def removed(self) -> list[Job]:
        """Jobs of the newest submission that somebody has taken out of the queue, if no job is left at
        all."""
        self._read_actions()
        return self.state.removed

    @property
    def is_going(self) -> bool:
        """Its jobs were taken out of the queue because the map itself is being removed."""
        going = self._actions.read()[0].get(REMOVAL, frozenset())
        return any(job.cluster in going for job in self.state.removed)

    def external(self) -> list[WorkerStart]:
        """Workers at work that were not submitted by us."""
        return external_workers(self.folder, self.results, self.jobs)

    def _read_actions(self) -> None:
        self._follow(ev.ActionsRead(*self._actions.read()))

    # -- doing something about it ----------------------------------------------------------------------------

    @told("looked after")
    def reconcile(self) -> None:
        """Do what is due: ask a scheduler that is silent, repair, start workers where none are left, tidy the
        queue.

        Raises:
            WorkersCannotStart: They refuse, or end before they say hello.
        """
        if (following := self._begins_later()) is not None:
            following.carry_on(self.folder.info.pool)
            return
        now = time.monotonic()
        self._see_pilot()
        self._enlarge()
        if self.state.is_due(now):
            with self.lock:
                self._read_actions()
                self._see_who_is_stopped()
                self._follow(ev.Due(now))

    def tidy(self) -> None:
        """If the map is complete, remove workers that still wait in the queue: nothing is left for them to
        do."""
        if self.finished:
            self.reconcile()

    def check_refusals(self) -> None:
        """See whether the newest workers can do anything for this map.

        Raises:
            WorkersCannotStart: They have refused.
        """
        refused = self.state.refusal()
        if refused is not None:
            self._tell_refused(refused)

    def left_without_a_word(self) -> WorkersCannotStart | None:
        """The error to show if all workers have ended, and the newest ones never began and have written
        why."""
        self._read_actions()
        worker = self.state.never_began()
        if worker is None:
            return None
        error, words = self._broken_start(worker)
        return error if words else None

    def _follow(self, event: ev.Event) -> None:
        """Tell the state machine what has happened, and do what it answers; what follows from that is done
        next."""
        to_do = self.state.handle(event)[::-1]
        while to_do:
            instruction = to_do.pop()
            answer = _DO[type(instruction)](self, instruction)
            if answer is not None:
                to_do += reversed(self.state.handle(answer))

    # -- instructions ----------------------------------------------------------------------------------------

    def _do_ask(self, _: ev.Ask) -> None:
        with contextlib.suppress(PoolError):
            self.ask()

    def _do_revive(self, _: ev.Revive) -> None:
        for_all(self._watchers, lambda kind: self._pool(kind).revive(), any_will_do=True)

    def _do_explain(self, question: ev.Explain) -> None:
        # A pool of one's own has the scheduler look again at jobs that it has forgotten.
        self._explain(question)

    def _do_reschedule(self, _: ev.Reschedule) -> None:
        if self._newest_pool is not None:
            self._newest_pool.reschedule()

    def _do_adopt(self, _: ev.Adopt) -> None:
        self.adopt()

    def _do_find_external(self, _: ev.FindExternal) -> ev.Event:
        return ev.ExternalSeen(time.monotonic(), len(self.external()))

    def _do_read_claims(self, request: ev.ReadClaims) -> ev.Event:
        self.results.poll()
        claims: dict[int, dict[int, str | None]] = {}
        folded = []
        if request.owners is not None or not self.results.retryable:
            for number in self.results.plans:
                claims[number] = self._claims(number, signed=request.owners is not None)
                if request.owners is None and self.folder.is_folded(number):
                    folded.append(number)
            self.results.poll()  # what was finished while the claims were read is not lost
        return ev.ClaimsRead(request.owners, request.kind, claims, frozenset(folded))

    def _claims(self, number: int, *, signed: bool) -> dict[int, str | None]:
        """Claimed blocks of a round and, if they are to be `signed`, who claimed each."""
        transport, claims = self.folder.transport, {}
        for name in transport.names(f"rounds/{number}/claims"):
            # Of an open map, components may have come since they were counted.
            if name.isdigit() and not (self.folder.info.open and number == 0 and int(name) >= self.results.n):
                owner = None
                if signed:
                    try:
                        data = transport.read(f"rounds/{number}/claims/{name}")
                    except FileNotFoundError:
                        # Another process has folded the round, or released the claim, since it was listed.
                        continue
                    owner = rounds.claim_owner(self.folder.key, number, int(name), data)
                claims[int(name)] = owner
        return claims

    def _do_publish(self, request: ev.Publish) -> ev.Event:
        change = self._larger if self._took_too_much(request) else None
        return ev.Published(self._publish(request.kind, request.components, change=change), request)

    def _do_give_up(self, request: ev.GiveUp) -> None:
        write_losses(self.folder, max(self.results.plans), request.components, request.reason)
        self.results.poll()

    def _do_submit(self, request: ev.Submit) -> None:
        if not self.finished:
            pool = self._pool(request.kind) if request.kind is not None else None
            self.add_workers(
                request.count, pool, for_held=request.for_held, for_unserved=request.for_unserved
            )

    def _do_note(self, request: ev.Note) -> ev.Event:
        self._actions.note(request.action, request.clusters)
        return ev.ActionsRead(*self._actions.read())

    def _do_act(self, request: ev.Act) -> ev.Event | None:
        try:
            for_all(
                by_pool(request.entries).items(),
                lambda one: self._pool(one[0]).act(request.action, one[1], self.folder.path, request.reason),
            )
        except PoolError:
            if not request.is_tidying:
                raise
            return None
        return ev.Acted(request)

    def _do_read_records(self, _: ev.ReadRecords) -> ev.Event:
        self.results.poll()
        return ev.RecordsRead()

    def _do_fold(self, _: ev.Fold) -> None:
        self.folder.fold(self.results.plans)
        forget_checkpoints(self.folder, self.results)
        forget(self.folder.path)

    def _do_read_words(self, request: ev.ReadWords) -> ev.Event:
        return ev.WordsRead(request.worker, self._broken_start(request.worker)[1])

    def _tell_refused(self, refused: ev.Refused) -> None:
        message, hint = describe_refusal(refused.start.refused or {})
        host = (refused.start.facts or {}).get("host", "?")
        raise WorkersCannotStart(
            f"the workers of map {self.folder.info.tag!r} cannot do it: {message} "
            f"({refused.count} of them so far, the last on {host})",
            hint=hint,
        )

    def _tell_cannot_start(self, told: ev.CannotStart) -> None:
        raise self._broken_start(told.worker)[0]

    def _broken_start(self, worker: int) -> tuple[WorkersCannotStart, str]:
        return broken_start(self.folder, worker, self.jobs.by_worker[worker])

    # -- rounds ----------------------------------------------------------------------------------------------

    @told("repaired")
    def repair(self, owners: set[str] | None, kind: str = rounds.REPAIR) -> bool:
        """Publish a round for what workers that are gone had claimed: these `owners`, or (None) any.

        Components that were lost too often get an error instead, unless the map's owner stopped their workers
        (`kind` is `rounds.RESUME`). Returns whether a round was published.
        """
        with self.lock:
            before = self._rounds_published
            self._follow(ev.RepairWanted(None if owners is None else frozenset(owners), kind))
            return self._rounds_published > before

    @told("done again")
    def publish(
        self,
        kind: str,
        components: Iterable[int],
        function: str = rounds.FUNCTION,
        change: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None,
        workers: int | None = None,
    ) -> bool:
        """Publish the next round; True if ours was put in place (another writer may have been first).

        Args:
            kind: Of the round.
            components: What it does.
            function: File of the function that a `rounds.RERUN` calls.
            change: What a component needs -> what it needs from now on.
            workers: How many it is cut for; None: as many as the map has.
        """
        if kind == rounds.RERUN:
            forget_checkpoints(self.folder, self.results)
        won = self._publish(kind, components, function, change, workers)
        self._follow(ev.Published(won))
        return won

    def _publish(
        self,
        kind: str,
        components: Iterable[int],
        function: str = rounds.FUNCTION,
        change: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None,
        workers: int | None = None,
    ) -> bool:
        plans, size = self.results.plans, self.options.block_size
        workers = workers or self.options.workers or self.folder.info.workers
        if change is None:
            return self._put(rounds.plan_again(plans, kind, components, workers, size, function))
        groups = [(change(needs), members) for needs, members in rounds.groups_of(plans, components)]
        return self._put(rounds.plan_by_needs(kind, groups, workers, size, function))

    def put(self, plan: rounds.Plan) -> bool:
        """Put the next round, which another machine has planned, in place; True if ours was."""
        won = self._put(plan)
        self._follow(ev.Published(won))
        return won

    def _put(self, plan: rounds.Plan) -> bool:
        """Put the next round in place; True if ours was."""
        newest = max(self.results.plans)
        if plan.has_needs:
            self._write_in_parts()
        nonce = f"c{os.getpid()}-{time.time_ns()}"
        folders = rounds.OLD_FOLDERS if self.folder.is_old else rounds.FOLDERS
        won = rounds.publish(self.folder.transport, self.folder.key, newest + 1, plan, nonce, folders)
        self.results.poll()
        self._rounds_published += won
        return won

    # -- jobs ------------------------------------------------------------------------------------------------

    def act(self, action: Action, reason: str, *, for_good: bool = False) -> None:
        """Hold, release, vacate or remove all jobs (`for_good`: the map itself goes)."""
        with self.lock:
            self._poll_jobs()
            self.adopt()
            if action == "release":
                # What was known before is too old: a worker that was held a moment ago would not be replaced.
                for kind, watcher in self._watchers.items():
                    if self.state.ends_when_held(kind):
                        self._take(watcher.ask(), kind)
            if for_good:  # also those that other processes have added a moment ago
                self._actions.note(REMOVAL, {entry.cluster for entry in self.state.entries})
            self._read_actions()
            self._follow(ev.Wanted(action, reason))

    def remove_for_good(self, reason: str) -> None:
        """Remove all jobs because the map itself goes; processes that wait for it are told that."""
        self.act("remove", reason, for_good=True)

    def wait_for_the_end(self) -> None:
        """After the jobs were removed, wait until HTCondor has logged that: it would make the map's folder
        again to do so."""
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
        self._external.close()
        self._close_watchers()

    def _close_watchers(self) -> None:
        for watcher in self._watchers.values():
            watcher.close()
        self._watchers = {}


#: How each instruction is carried out: the answer is an event, or None.
_DO: dict[type[Any], Callable[[Keeper, Any], ev.Event | None]] = {
    ev.Act: Keeper._do_act,
    ev.Adopt: Keeper._do_adopt,
    ev.Ask: Keeper._do_ask,
    ev.CannotStart: Keeper._tell_cannot_start,
    ev.Explain: Keeper._do_explain,
    ev.FindExternal: Keeper._do_find_external,
    ev.Fold: Keeper._do_fold,
    ev.GiveUp: Keeper._do_give_up,
    ev.Note: Keeper._do_note,
    ev.Publish: Keeper._do_publish,
    ev.ReadClaims: Keeper._do_read_claims,
    ev.ReadRecords: Keeper._do_read_records,
    ev.ReadWords: Keeper._do_read_words,
    ev.Refused: Keeper._tell_refused,
    ev.Reschedule: Keeper._do_reschedule,
    ev.Revive: Keeper._do_revive,
    ev.Submit: Keeper._do_submit,
}
