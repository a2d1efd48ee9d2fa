"""Nothing is lost, whatever happens in whatever order: the keeper's decisions against a world of workers
that is all in memory.
"""

from __future__ import annotations

import os

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wingspan.maps import _keeper_events as ev
from wingspan.maps._components import ERROR, NOTHING, OUTPUT, Components
from wingspan.maps._keeper_state import MAX_FRUITLESS, KeeperState
from wingspan.pools import JobEvent, JobState
from wingspan.pools.submissions import LoggedSubmission
from wingspan.worker import formats, rounds

#: More for a long run, which ``--hypothesis-seed`` repeats.
MANY = int(os.environ.get("WINGSPAN_TEST_EXAMPLES", "60"))
#: Nobody may need longer to finish a map once everything goes well: turns in which each worker does all that
#: it can.
TURNS = 60 + 3 * MAX_FRUITLESS
#: So few things happen that workers are not lost `MAX_FRUITLESS` times in vain: the user would be told then.
STEPS = 3 * MAX_FRUITLESS


class Broken(Exception):
    """An instruction cannot be carried out: the disk is full, or the scheduler does not answer."""


class Told(Exception):
    """The user is told that workers cannot start."""


@attrs.define
class Worker:
    """One worker, as it really is."""

    number: int
    kind: str
    cluster: str
    proc: int
    state: JobState = JobState.IDLE
    starts: int = 0
    left: list[tuple[int, int]] = attrs.field(
        factory=list
    )  # (round, component) that it has claimed and not done
    by_person: bool = False
    ended: dict[str, int] = attrs.field(factory=dict)

    def event(self) -> JobEvent:
        return JobEvent(
            cluster=self.cluster,
            proc=self.proc,
            state=self.state,
            time=0.0,
            by_person=self.by_person,
            **self.ended,
        )


class World(RuleBasedStateMachine):
    """A map, its workers and pools, and the keeper's I/O.

    The pool ``far`` holds jobs as HTCondor does; in ``near`` jobs end that are held. What workers write is
    known to the keeper when it looks, what pools say may be lost, and whatever the keeper does may fail.
    """

    @initialize(
        n=st.integers(1, 8),
        workers=st.integers(1, 3),
        kind=st.sampled_from(["far", "near"]),
        retries=st.integers(0, 1),
    )
    def make(self, n: int, workers: int, kind: str, retries: int) -> None:
        self.n, self.usual, self.retries = n, workers, retries
        self.known = Components(n, retries)
        self.state = KeeperState(self.known, 0.0)
        self.now = 0.0
        self.workers: list[Worker] = []
        self.entries: tuple[LoggedSubmission, ...] = ()
        self.plans: list[rounds.Plan] = []
        self.claims: dict[int, dict[int, str]] = {}
        self.folded: set[int] = set()
        self.newest_round = [0] * n
        self.wanted_since = [0] * n
        self.truth = [NOTHING] * n
        self.unread: list[tuple[int, int, int]] = []
        self.untold: list[JobEvent] = []
        self.actions: dict[str, set[str]] = {}
        self.last: dict[str, set[str]] = {}
        self.breaks_in: int | None = None
        self.rival = False
        self.kind = kind
        self.publish(rounds.INITIAL, range(n))
        self.poll()
        for pool in ("far", "near"):
            self.follow(ev.PoolKnown(pool, pool == "near"))
        self.submit(kind, workers)

    # -- what is on disk -------------------------------------------------------------------------------------

    def publish(self, kind: str, components: object) -> None:
        number = len(self.plans)
        plan = rounds.plan_for(kind, components, self.usual, None)
        self.plans.append(plan)
        self.claims[number] = {}
        for component in range(self.n):
            if component in plan:
                self.newest_round[component] = number
                if kind in (rounds.RERUN, rounds.RETRY):
                    self.wanted_since[component] = number
                    self.truth[component] = NOTHING

    def poll(self) -> bool:
        """Take in rounds and records; whether there were any."""
        news = bool(self.unread) or len(self.plans) > len(self.known.plans)
        for number in range(len(self.known.plans), len(self.plans)):
            self.known.add_round(number, self.plans[number])
        for component, number, outcome in self.unread:
            if number >= self.wanted_since[component] and self.known.state[component] == NOTHING:
                kind = formats.OUTPUT if outcome == OUTPUT else formats.ERROR
                self.known.settle(component, kind, 0, number, 0, 0)
        self.unread = []
        return news

    def record(self, component: int, number: int, outcome: int) -> None:
        self.unread.append((component, number, outcome))
        if number >= self.wanted_since[component] and self.truth[component] == NOTHING:
            self.truth[component] = outcome

    # -- the keeper's I/O ------------------------------------------------------------------------------------

    def follow(self, event: ev.Event) -> None:
        """As `Keeper._follow` does it; each step leaves the state in order."""
        to_do = self.state.handle(event)[::-1]
        while to_do:
            self.state.validate()
            answer = self.carry_out(to_do.pop())
            if answer is not None:
                to_do += reversed(self.state.handle(answer))
        self.state.validate()

    def carry_out(self, one: ev.Instruction) -> ev.Event | None:
        if self.breaks_in is not None:
            self.breaks_in -= 1
            if self.breaks_in < 0:
                self.breaks_in = None
                raise Broken
        match one:
            case ev.Ask():
                return ev.JobsTold(tuple(worker.event() for worker in self.workers))
            case ev.FindExternal():
                return ev.ExternalSeen(self.now, 0)
            case ev.ReadClaims():
                self.poll()
                claims = {number: dict(claims) for number, claims in self.claims.items()}
                return ev.ClaimsRead(one.owners, one.kind, claims, frozenset(self.folded))
            case ev.Publish():
                won, self.rival = not self.rival, False
                self.publish(one.kind, one.components) if won else self.publish(rounds.RERUN, [0])
                self.poll()
                return ev.Published(won, one)
            case ev.GiveUp():
                for component in one.components:
                    self.record(component, len(self.plans) - 1, ERROR)
                self.poll()
            case ev.Submit():
                if not self.state.finished:
                    self.submit(one.kind or self.kind, one.count or self.usual, for_held=one.for_held)
            case ev.Note():
                self.actions.setdefault(one.action, set()).update(one.clusters)
                self.last[one.action] = set(one.clusters)
                return ev.ActionsRead(self.actions, self.last)
            case ev.Act():
                for worker in self.workers:
                    if worker.cluster in {entry.cluster for entry in one.entries}:
                        self.act(worker, one.action)
                return ev.Acted(one)
            case ev.ReadRecords():
                self.poll()
                return ev.RecordsRead()
            case ev.Fold():
                self.folded = set(range(len(self.plans)))
                self.claims = {number: {} for number in range(len(self.plans))}
            case ev.ReadWords():
                return ev.WordsRead(one.worker, "")
            case ev.Refused() | ev.CannotStart():
                raise Told
        return None

    def submit(self, kind: str, count: int, *, for_held: bool = False) -> None:
        first = self.entries[-1].numbers.stop if self.entries else 0
        cluster = f"{kind}{len(self.entries)}"
        entry = LoggedSubmission(pool=kind, cluster=cluster, count=count, first=first, for_held=for_held)
        self.entries += (entry,)
        new = [Worker(first + proc, kind, cluster, proc) for proc in range(count)]
        self.workers += new
        self.follow(ev.SubmissionsRead(self.entries))
        for worker in new:
            if kind == "near":  # a process begins at once
                self.begin(worker)
        self.follow(ev.Submitted(self.now, kind))

    def change(self, worker: Worker, state: JobState, *, by_person: bool = False, **ended: int) -> None:
        worker.state, worker.by_person, worker.ended = state, by_person, ended
        self.untold.append(worker.event())

    def act(self, worker: Worker, action: str) -> None:
        if worker.state.is_final:
            return
        if action == "remove":
            self.change(worker, JobState.REMOVED)
        elif action == "hold":
            self.change(worker, JobState.HELD, by_person=True)
        elif action == "release" and worker.state is JobState.HELD:
            if worker.kind == "near":
                self.change(worker, JobState.COMPLETED)  # its process was ended by the hold
            else:
                self.change(worker, JobState.IDLE)
        elif action == "vacate" and worker.state is JobState.RUNNING:
            if worker.kind == "near":
                self.change(worker, JobState.COMPLETED)
            else:
                self.change(worker, JobState.IDLE)

    # -- workers ---------------------------------------------------------------------------------------------

    def begin(self, worker: Worker) -> None:
        self.change(worker, JobState.RUNNING)
        self.known.add_start(f"{worker.number}.{worker.starts}")
        worker.starts += 1

    def name(self, worker: Worker) -> str:
        return f"{worker.number}.{worker.starts - 1}"

    def step(self, worker: Worker, outcome: int = OUTPUT) -> None:
        """Do one component, claim a block, or leave."""
        if worker.left:
            number, component = worker.left.pop(0)
            self.record(component, number, outcome)
            return
        for number, plan in enumerate(self.plans):
            for block in range(plan.blocks if number not in self.folded else 0):
                if block not in self.claims[number]:
                    self.claims[number][block] = self.name(worker)
                    worker.left = [
                        (number, component)
                        for first, stop in plan.components(block)
                        for component in range(first, stop)
                        if self.newest_round[component] == number and self.truth[component] == NOTHING
                    ]
                    return
        self.known.starts[self.name(worker)].left = True
        self.change(worker, JobState.COMPLETED, code=0)

    def some(self, data: st.DataObject, *states: JobState) -> Worker | None:
        found = [worker for worker in self.workers if worker.state in states]
        return data.draw(st.sampled_from(found)) if found else None

    @rule(data=st.data(), steps=st.integers(1, 6), outcome=st.sampled_from([OUTPUT, OUTPUT, ERROR]))
    def a_worker_gets_on(self, data: st.DataObject, steps: int, outcome: int) -> None:
        worker = self.some(data, JobState.IDLE, JobState.RUNNING)
        if worker is not None and worker.state is JobState.IDLE:
            self.begin(worker)
        for _ in range(steps):
            if worker is not None and worker.state is JobState.RUNNING:
                self.step(worker, outcome)

    @rule(data=st.data(), fate=st.sampled_from(["dies", "evicted", "held", "held by a person", "removed"]))
    def something_happens_to_a_worker(self, data: st.DataObject, fate: str) -> None:
        worker = self.some(data, JobState.RUNNING)
        if worker is None:
            return
        if worker.kind == "near" or fate == "dies":
            self.change(worker, JobState.COMPLETED, signal=9)
        elif fate == "evicted":
            self.change(worker, JobState.IDLE)
        elif fate == "removed":
            self.change(worker, JobState.REMOVED)
        else:
            self.change(worker, JobState.HELD, by_person="person" in fate)

    @rule()
    def the_log_is_lost(self) -> None:
        self.untold = []

    @rule(action=st.sampled_from(["hold", "release", "vacate"]))
    def the_user_acts(self, action: str) -> None:
        self.look()
        self.attempt(ev.Wanted(action, "wanted"))

    @rule(data=st.data())
    def the_user_wants_some_again(self, data: st.DataObject) -> None:
        components = data.draw(st.sets(st.integers(0, self.n - 1), min_size=1))
        self.again(components)

    @rule(when=st.integers(0, 6))
    def something_will_fail(self, when: int) -> None:
        self.breaks_in = when

    @rule()
    def another_will_be_first(self) -> None:
        self.rival = True

    @rule(seconds=st.sampled_from([0.1, 0.3, 1.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def the_keeper_looks(self) -> None:
        self.look()
        self.attempt(ev.Due(self.now))

    def look(self) -> None:
        news = self.poll() or bool(self.untold)
        events, self.untold = tuple(self.untold), []
        self.attempt(ev.JobsTold(events))
        self.attempt(ev.Looked(self.now, news))

    def attempt(self, event: ev.Event) -> bool:
        """Whether the user was told that workers cannot start."""
        try:
            self.follow(event)
        except Broken:
            return False
        except Told:
            return True
        return False

    def again(self, components: object) -> None:
        """What `Map.rerun` does."""
        self.publish(rounds.RERUN, components)
        self.poll()
        self.attempt(ev.Published(True))
        self.submit(self.kind, self.usual)

    @precondition(lambda self: hasattr(self, "state"))
    @invariant()
    def all_is_in_order(self) -> None:
        self.state.validate()

    def teardown(self) -> None:
        """From here on everything goes well: the map is finished, and nobody had to do anything that the
        user was not told of.
        """
        if not hasattr(self, "state"):
            return
        self.breaks_in, self.rival = None, False
        for _ in range(TURNS):
            self.now += 700.0  # so long that schedulers are asked, whatever was lost
            self.look()
            told = self.attempt(ev.Due(self.now))
            self.now += 1.0
            told = self.attempt(ev.Due(self.now)) or told
            assert not told, "all workers have begun, and get on"
            if self.state.finished:
                break
            held = [worker for worker in self.workers if worker.state is JobState.HELD]
            if held and not self.state.jobs.can_progress:  # `ComponentHeld` says so
                self.attempt(ev.Wanted("release", "wanted"))
            if self.state.removed:  # `ComponentRemoved` says so
                self.again([number for number in range(self.n) if self.known.state[number] != OUTPUT])
            for worker in list(self.workers):
                if worker.state is JobState.IDLE:
                    self.begin(worker)
                while worker.state is JobState.RUNNING:
                    self.step(worker)
        assert self.state.finished, f"{self.known.state!r} after {TURNS} turns, {self.workers}"
        assert all(self.truth), "what is finished has a record"


World.TestCase.settings = settings(max_examples=MANY, stateful_step_count=STEPS, deadline=None)
TestNothingIsLost = World.TestCase
TestNothingIsLost.__doc__ = (
    "Each component that is neither done nor claimed by a living worker is offered again, in the end."
)
