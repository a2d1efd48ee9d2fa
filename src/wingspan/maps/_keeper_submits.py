"""Submitting the workers of a map, and changing what they ask for."""

from __future__ import annotations

import contextlib
import threading
import time
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from wingspan._files import append_line, lock
from wingspan._words import counted, notice, ranges_text
from wingspan.errors import PoolError, SubmitError
from wingspan.jobs import JobDescription, Submission
from wingspan.maps import _keeper_events as ev
from wingspan.maps._errors import MapError
from wingspan.maps._folder import MapFolder, told
from wingspan.maps._info import FORMAT_WITH_PARTS
from wingspan.maps._keeper_state import KeeperState
from wingspan.maps._needs import are_of_several_kinds, largest, options_for
from wingspan.maps._options import Options
from wingspan.maps._results import Results
from wingspan.maps._several import on_each, stopped_pools, without_a_sign
from wingspan.maps._shares import NOTE, NOTE_SPOOLED, Share, Way, assign, check, release, way_of, write
from wingspan.maps._unserved import unfinished_groups, unserved
from wingspan.maps._worker_job import worker_job
from wingspan.pools import Changed, Pool, get_pool
from wingspan.pools.submissions import by_pool
from wingspan.worker import rounds
from wingspan.worker.parts import NEEDS, needs_line
from wingspan.worker.pilot import plan_for_rest

__all__ = ["Submits"]


class Submits:
    """The part of a `wingspan.maps._keeper.Keeper` that submits workers.

    Attributes:
        folder: The map's.
        results: Its results, as far as they have been read.
        state: Decides what is to be done.
        options: What each worker gets; see `read_options`.
        lock: Held while anything is read or done.
    """

    folder: MapFolder
    results: Results
    state: KeeperState
    options: Options
    lock: threading.RLock
    _folder: MapFolder
    _newest_pool: Pool | None = None
    #: Pools whose schedulers did not answer when they were asked last.
    _silent: frozenset[str] = frozenset()

    def _poll_jobs(self) -> bool:
        raise NotImplementedError

    def _follow(self, event: ev.Event) -> None:
        raise NotImplementedError

    def read_options(self) -> None:
        """Take in what ``map.json`` says of the options: they may have been changed."""
        self.options = Options.from_dict(self.folder.info.options)

    def _pool(self, kind: str) -> Pool:
        """The pool of this kind that has jobs of the map; where none has, the one of the settings."""
        places = [one.place for one in self.folder.submissions.entries() if one.pool == kind]
        return get_pool(kind, places[-1] if places else None)

    def stopped_pools(self) -> dict[str, str]:
        """Pools that have jobs of the map and do not run, and what to do about each."""
        return stopped_pools({job.pool for job in self.state.jobs.live()}, self._pool)

    def _see_who_is_stopped(self) -> None:
        """Of several pools, those from which nothing is to be expected."""
        if self.folder.info.pools:
            lease, stopped = self.folder.info.lease_seconds, self.stopped_pools()
            given_up = without_a_sign(
                stopped, self._silent, self.state.jobs, self.results, lease, time.time()
            )
            self._follow(ev.PoolsStopped(given_up))

    # -- workers ---------------------------------------------------------------------------------------------

    def begin(self, pool: Pool, *further: Pool) -> None:
        """Submit the first workers of a map that was just made, to each of these pools."""
        if further:
            self.results.poll()
            for one in (pool, *further):
                self.add_workers(None, one)
            return
        if self.folder.info.format < FORMAT_WITH_PARTS:
            self.add_workers(self.folder.info.workers, pool)
            return
        self.results.poll()
        for part in self.results.plans[0].parts:
            self._submit(pool, part.workers, needs=part.needs, for_held=False)

    @told("given workers")
    def add_workers(
        self,
        count: int | None,
        pool: Pool | None = None,
        *,
        for_held: bool = False,
        for_unserved: bool = False,
        needs: Sequence[Mapping[str, Any]] | None = None,
        most: int | None = None,
    ) -> int:
        """Submit `count` workers, or (None) as many as suit what is unfinished.

        Returns how many were submitted.

        With `count` None, a map whose workers are all external gets none. Where components need different
        amounts, so many workers do everything and ask for the most that any component needs. With `count`
        None, or where components differ in what cannot be more or less (requirements, attributes, …), each
        group of components gets its own.

        Args:
            count: How many.
            pool: Where; None: the map's own. Of several pools each gets as many as suit what is unfinished,
                and `count` workers go to the first one that takes them.
            for_held: They take the place of held ones.
            for_unserved: Only for components that no worker is there for.
            needs: Only for components that need this.
            most: With `count` None, at most so many; None: as many as the map has.
        """
        if count is None and self.options.workers == 0:
            return 0
        if pool is None and self.folder.info.pools:

            def add(kind: str) -> int:
                return self.add_workers(
                    count,
                    self._pool(kind),
                    for_held=for_held,
                    for_unserved=for_unserved,
                    needs=needs,
                    most=most,
                )

            return on_each(self.folder, add, once=count is not None)
        pool = pool or self._pool(self.folder.info.pool)
        pool.make_ready()
        self.results.poll()  # of a map that was opened just now, no round is known
        if any(plan.has_needs for plan in self.results.plans.values()):
            if count is not None:
                groups = unfinished_groups(self.results)
                if are_of_several_kinds(self.options, groups):  # no worker could be for all of them
                    return self._submit_groups(pool, groups, for_held=for_held, most=count) if count else 0
                return self._submit(pool, count, needs=None, for_held=for_held) if count else 0
            if for_unserved:
                wanted = unserved(self.results, self.state.entries, self.state.jobs, self.options.as_dict())
            else:
                wanted = unfinished_groups(self.results)
            if needs is not None:
                wanted = [group for group in wanted if group[0] in needs]
            return self._submit_groups(pool, wanted, for_held=for_held, most=most)
        if count is None:
            left = max(1, self.results.n - self.results.finished + len(self.results.retryable))
            count = min(left, most or self.options.workers or pool.default_workers(left))
        return self._submit(pool, count, for_held=for_held) if count else 0

    def _submit_groups(
        self,
        pool: Pool,
        groups: Sequence[tuple[Mapping[str, Any], Sequence[int]]],
        *,
        for_held: bool,
        most: int | None = None,
    ) -> int:
        """Workers for each of these groups, by their size: at least one each.

        Args:
            pool: Where.
            groups: What components need, and which these are.
            for_held: They take the place of held ones.
            most: How many in all; None: as many as suit what is to be done.
        """
        left = sum(len(members) for _, members in groups)
        most = most or self.options.workers or pool.default_workers(max(1, left))
        done = 0
        for needs, members in groups:
            some = max(1, min(len(members), most * len(members) // left))
            done += self._submit(pool, some, needs=needs, for_held=for_held)
        return done

    def options_of(self, needs: Mapping[str, Any] | None) -> Options:
        """What the workers for components with these needs ask for; None: the workers for everything."""
        edited = self.folder.info.edited
        if needs is None:
            most = largest(self.options, self.results.plans)
            return options_for(
                self.options,
                {
                    "request_cpus": most.cpus,
                    "request_memory": most.memory,
                    "request_disk": most.disk,
                    "request_gpus": most.gpus,
                    "time": most.time_limit,
                },
            )
        since = min(
            (
                number
                for number, plan in self.results.plans.items()
                if any(part.needs == needs for part in plan.parts)
            ),
            default=0,
        )
        over = {name: value for name, (value, number) in edited.items() if name in needs and since <= number}
        return options_for(self.options, {**needs, **over})

    def _submit(
        self,
        pool: Pool,
        count: int,
        *,
        needs: Mapping[str, Any] | None = types.MappingProxyType({}),
        for_held: bool,
    ) -> int:
        with self.lock:
            self.folder.read_info()
            self.read_options()  # another process may have changed them
            options, plain = self.options_of(needs), None if needs is None else dict(needs)
            wanted = count
            count, most = _submittable(pool, options.profile, count)
            if count < wanted:
                notice(f"the site takes {counted(count, 'worker')} of {wanted:,} now: they do all of the map")
            left = count
            way = self._way(options, pool)
            for most_now, after in self._submissions_of(pool, count, most):
                first, some = self.folder.reserve_workers(most_now, pool.kind, pool.place), most_now
                given: list[Share] = []
                if way == "transfer":
                    usual = self.options.as_dict()
                    given = assign(self.folder, self.results, first, some, left, plain, usual)
                    if not given:  # other workers have claimed everything that is left
                        self.folder.cancel_reservation(first)
                        break
                    some = len(given)
                try:
                    job = attrs.evolve(self._job(options, pool, first, some, way, given, plain), **after)
                except BaseException:  # these workers never exist: what was claimed for them is free
                    release(self.folder, first, given)
                    self.folder.cancel_reservation(first)
                    raise
                try:
                    submission = pool.submit(job)
                except SubmitError:
                    release(self.folder, first, given)
                    self.folder.cancel_reservation(first)
                    if left == count:
                        raise
                    break  # the workers that were submitted can do everything
                self._note(submission, pool, first, way, plain, for_held=for_held)
                left -= some
            if left == count:
                return 0
            self._poll_jobs()
            self._newest_pool = pool
            self._follow(ev.Submitted(time.monotonic(), pool.kind))
            return count - left

    def _job(
        self,
        options: Options,
        pool: Pool,
        first: int,
        count: int,
        way: Way,
        given: list[Share],
        needs: dict[str, Any] | None,
    ) -> JobDescription:
        """The job of workers from number `first` on. Their shares and what they ask for are written first."""
        sent = write(self.folder, self.results.plans, first, given) if given else None
        # Workers that no line names have the map's options, unless their numbers are those of workers that
        # were refused: their line is still there.
        if needs != {} or (self.folder.path / NEEDS).exists():
            line = needs_line(self.folder.key, first, count, needs)
            append_line(self.folder.path / NEEDS, line.rstrip(b"\n"))
        return worker_job(self.folder, options, pool, first, count, way, sent)

    def _note(
        self,
        submission: Submission,
        pool: Pool,
        first: int,
        way: Way,
        needs: dict[str, Any] | None,
        *,
        for_held: bool,
    ) -> None:
        """Write down that these jobs work for the map.

        Raises:
            MapRemoved: The map was removed meanwhile; so are the jobs, as nobody else knows of them.
        """
        with contextlib.suppress(FileNotFoundError):
            self.folder.submissions.add(
                submission,
                first=first,
                place=pool.place,
                for_held=for_held,
                needs="all" if needs is None else needs or None,
                way=way if way != pool.transport or way == "transfer" else "",
            )
        if not self.folder.exists:
            with contextlib.suppress(PoolError):
                pool.act("remove", [submission], self.folder.path, "the map was removed")
            raise self.folder.removed()

    def _way(self, options: Options, pool: Pool) -> Way:
        """How the workers of this pool reach the map. Where they have shares, everything is prepared for
        sharing out.
        """
        way = way_of(options, pool, is_closed=self.state.is_closed)
        if way == "transfer":
            check(self.folder, pool)
            self.results.poll()
            self._go_beyond_pilot()
            note = NOTE if pool.transport == "chirp" else NOTE_SPOOLED
            if note not in self.folder.notes():
                self.folder.note(note)
        return way

    def _go_beyond_pilot(self) -> None:
        """Publish what comes after a pilot that is finished: workers that see no rounds cannot do it."""
        if self.options.pilot:
            folder, usual = self.folder, self.options.as_dict()
            plan = plan_for_rest(folder.transport, folder.key, self.results.plans, usual, 0)
            if plan is not None:
                self._put(plan)

    def _put(self, plan: rounds.Plan) -> bool:
        raise NotImplementedError

    def _submissions_of(self, pool: Pool, count: int, most: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """The submissions of `count` workers, `most` each: how many each has, and which jobs it starts after.

        Of a chain, where the scheduler knows the earlier maps' jobs, half of the workers start when these
        have begun. The other half starts when they have ended, and nothing has to be waited for any more. A
        single worker may be needed at both times: it is submitted twice, and the second begins after the
        first.
        """
        before = self._jobs_before(pool.kind) if pool.orders_jobs else ()
        parts = [(count, False)]
        if before:  # the second half is submitted first: without it the chain would not go to its end
            parts = (
                [(count - count // 2, True), (count // 2, False)] if count > 1 else [(1, False), (1, True)]
            )
        for number, (left, after_end) in enumerate(parts):
            if count == 1 and number:
                before = (*before, *self.folder.submissions.entries()[-1:])
            for begin in range(0, left, most):
                yield min(most, left - begin), {"after": before, "after_end": after_end} if before else {}

    def _jobs_before(self, kind: str) -> tuple[Submission, ...]:
        """Submissions in pools of this kind that work on the maps that this one takes its inputs from."""
        raise NotImplementedError

    def _write_in_parts(self) -> None:
        """From now on the map has rounds with several parts: programs that do not know them no longer read
        it.

        Raises:
            MapError: Its workers do not know them either.
        """
        info = self.folder.info
        if info.format >= FORMAT_WITH_PARTS:
            return
        if not info.needs:
            raise MapError(
                f"the map {info.tag!r} was made by an older Wingspan, whose workers all ask for the same",
                hint="make a new map of the inputs that are left: wingspan.map(f, [m.input(i) for i in m.errors])",
            )
        with lock(self.folder.path / "lock", patience=20.0):
            self.folder.read_info()
            self.folder.update_info(format=FORMAT_WITH_PARTS)

    def requests(self) -> list[tuple[Options, list[int]]]:
        """What components ask for, and which these are."""
        groups = rounds.groups_of(self.results.plans, range(self.results.n))
        return [(self.options_of(needs), list(members)) for needs, members in groups]

    def description(self) -> str:
        """What the map's pool is told when workers are submitted, for each group of components that need the
        same."""
        pool = self._pool(self.folder.info.pool)
        asked, texts = self.requests(), []
        most = self.options.workers or self.folder.info.workers
        for options, members in asked:
            count = max(1, min(len(members), most * len(members) // max(1, self.results.n)))
            text = pool.describe(worker_job(self.folder, options, pool, 0, count))
            if len(asked) > 1:
                components = ranges_text(members)
                text = f"# {counted(len(members), 'component')}: {components}\n{text}"
            texts.append(text)
        return "\n".join(texts)

    def change(self, *, memory: int | None = None, disk: int | None = None) -> Changed:
        """Have jobs that wait ask for so much (bytes); see `wingspan.pools.Pool.change`."""
        with self.lock:
            self._poll_jobs()
            changed = running = 0
            for kind, submissions in by_pool(self.state.entries).items():
                done = self._pool(kind).change(submissions, memory=memory, disk=disk)
                changed, running = changed + done.changed, running + done.running
            return Changed(changed=changed, running=running)


def _submittable(pool: Pool, profile: str | None, count: int) -> tuple[int, int]:
    """How many jobs the site takes now, and how many at once. Where no profile is in force, none is read."""
    if profile is None and not pool.follows_site:
        return count, pool.largest_submission(count)
    from wingspan.pools.profiles import submittable

    return submittable(pool, profile, count)
