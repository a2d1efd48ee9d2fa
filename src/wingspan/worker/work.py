"""Where a worker's next block comes from: its own unfinished ones, its own stretch, then everybody's."""

import os

from . import rounds
from .history import finished_components

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Mapping, Optional, Sequence, Set, Tuple

    from .transports import Transport


class Block(object):
    """A block that this worker has claimed.

    One that is to be done `alone` may hold what took an earlier worker down: nothing is claimed or kept back beside it.
    A `single` one is of a round whose components are claimed one by one. `functions` are the files of the functions of its runs.
    """

    def __init__(
        self,
        number: "int",
        block: "int",
        attempt: "int",
        runs: "Sequence[Tuple[int, int]]",
        alone: "bool",
        single: "bool",
        functions: "Sequence[str]" = (),
    ) -> "None":
        self.round = number
        self.number = block
        self.attempt = attempt
        self.failed: "List[int]" = []
        self.alone = alone
        self.single = single
        self._runs = list(runs)
        self._functions = list(functions) or [rounds.FUNCTION] * len(self._runs)
        self.remaining = sum(stop - first for first, stop in runs)

    @property
    def exhausted(self) -> "bool":
        """Everything of it went to the executor."""
        return not self._runs

    def next_run(self) -> "Tuple[int, int]":
        """The next components that have not been taken: ``(first, stop)``."""
        return self._runs[0]

    @property
    def function(self) -> "str":
        """File of the function of `next_run`."""
        return self._functions[0]

    def take(self, first: "int", stop: "int") -> "None":
        """The components ``first … stop - 1`` are on their way."""
        low, high = self._runs[0]
        assert low == first
        if stop < high:
            self._runs[0] = (stop, high)
        else:
            del self._runs[0], self._functions[0]


class Round(object):
    """What a worker knows of one round.

    Attributes:
        position: The block to try next; None before the first.
        stop: Blocks from `position` up to here are thought to be free.
        exhausted: Every block is claimed.
    """

    def __init__(self, number: "int", plan: "rounds.Plan") -> "None":
        self.number = number
        self.plan = plan
        self.position: "Optional[int]" = None
        self.stop = 0
        self.exhausted = False


class WorkSource(object):
    """Claims blocks of all rounds, oldest round first."""

    def __init__(
        self, transport: "Transport", key: "bytes", worker: "int", name: "str", retries: "int", lease: "float"
    ) -> "None":
        self._transport = transport
        self._key = key
        self._worker = worker
        self._name = name
        self._retries = retries
        self._lease = lease
        self._rounds: "Dict[int, Round]" = {}
        self._unfinished: "List[Tuple[Round, int, Mapping[int, bool]]]" = []
        self._load_rounds()
        if int(name.rsplit(".", 1)[1]) > 0:
            self._unfinished = self._own_unfinished()

    # -- rounds ------------------------------------------------------------------------------------------------------

    def _load_rounds(self) -> "bool":
        """Look for new rounds; True if there are any."""
        found = False
        for number in rounds.round_numbers(self._transport):
            if number not in self._rounds:
                plan = rounds.Plan.loads(self._key, self._transport.read("rounds/%d/plan" % number))
                if plan is None:
                    raise ValueError("the plan of round %d is not signed with this map's key" % number)
                self._rounds[number] = Round(number, plan)
                found = True
        return found

    def _superseded(self, component: "int", number: "int") -> "bool":
        """A newer round does `component` afresh: doing it in round `number` would be in vain."""
        return any(
            newer > number and state.plan.kind in (rounds.RERUN, rounds.RETRY) and component in state.plan
            for newer, state in self._rounds.items()
        )

    def _attempt(self, component: "int", number: "int") -> "int":
        """How often `component` has been retried up to round `number`, since it was last wanted afresh."""
        attempt = 0
        for newer in sorted(self._rounds):
            plan = self._rounds[newer].plan
            if newer > number or component not in plan:
                continue
            if plan.kind == rounds.RETRY:
                attempt += 1
            elif plan.kind == rounds.RERUN:
                attempt = 0
        return attempt

    # -- blocks ------------------------------------------------------------------------------------------------------

    def next_block(self) -> "Optional[Block]":
        """Claim a block; None when nothing is left to claim in the rounds known."""
        while self._unfinished:
            state, block, finished = self._unfinished.pop()
            return self._block(state, block, finished)
        for number in sorted(self._rounds):
            state = self._rounds[number]
            while not state.exhausted:
                candidate = self._candidate(state)
                if candidate is None:
                    break
                if rounds.claim(self._transport, self._key, number, candidate, self._name):
                    return self._block(state, candidate)
                state.stop = candidate + 1  # somebody else has it: look at all claims
        return None

    def _candidate(self, state: "Round") -> "Optional[int]":
        """A block that is probably free; None when all are claimed."""
        if state.position is None:
            state.position, state.stop = state.plan.stretch(self._worker), state.plan.blocks
        if state.position >= state.stop:
            free = self._free_run(state)
            if free is None:
                state.exhausted = True
                return None
            state.position, state.stop = free
        state.position += 1
        return state.position - 1

    def _free_run(self, state: "Round") -> "Optional[Tuple[int, int]]":
        """Where to go on: the middle of the longest run of blocks that nobody has claimed."""
        taken = sorted(
            int(name) for name in self._transport.names("rounds/%d/claims" % state.number) if name.isdigit()
        )
        best: "Optional[Tuple[int, int]]" = None
        previous = -1
        for block in taken + [state.plan.blocks]:
            length = block - previous - 1
            if length > 0 and (best is None or length > best[1] - best[0]):
                best = (previous + 1, block)
            previous = block
        if best is None:
            return None
        first, stop = best
        # Its owner comes from the front: begin in the middle, unless there is no owner to meet.
        middle = first if stop - first <= 2 else first + (stop - first) // 2
        return middle, stop

    def _block(
        self, state: "Round", block: "int", finished: "Optional[Mapping[int, bool]]" = None
    ) -> "Block":
        """A claimed block, without what has been `finished` of it (true where that failed)."""
        finished = finished or {}
        runs = state.plan.components(block)
        failed = (
            [component for first, stop in runs for component in range(first, stop) if finished.get(component)]
            if finished
            else []
        )
        newer = [other for other in self._rounds if other > state.number]
        if finished or newer:
            components = [
                component
                for first, stop in runs
                for component in range(first, stop)
                if component not in finished and not (newer and self._superseded(component, state.number))
            ]
            runs = rounds.ranges_of(components)
        attempt = self._attempt(runs[0][0], state.number) if runs and state.number else 0
        plan = state.plan
        runs, functions = self._with_functions(runs, state.number)
        made = Block(
            state.number,
            block,
            attempt,
            runs,
            alone=plan.kind == rounds.REPAIR,
            single=plan.block_size == 1,
            functions=functions,
        )
        made.failed += failed
        return made

    def _with_functions(
        self, runs: "Sequence[Tuple[int, int]]", number: "int"
    ) -> "Tuple[List[Tuple[int, int]], List[str]]":
        """The runs, cut where the function changes, and the function's file of each."""
        plans = {other: state.plan for other, state in self._rounds.items()}
        named = {plan.function for plan in plans.values()}
        if len(named) == 1:
            return list(runs), list(named) * len(runs)
        plan = plans[number]
        if plan.kind in (rounds.INITIAL, rounds.RERUN):
            return list(runs), [plan.function] * len(runs)
        cut: "List[Tuple[int, int]]" = []
        functions: "List[str]" = []
        for first, stop in runs:
            begin, current = first, rounds.function_of(plans, first, number)
            for component in range(first + 1, stop):
                function = rounds.function_of(plans, component, number)
                if function != current:
                    cut.append((begin, component))
                    functions.append(current)
                    begin, current = component, function
            cut.append((begin, stop))
            functions.append(current)
        return cut, functions

    @property
    def newest_function(self) -> "str":
        """File of the function that was given last."""
        return rounds.newest_function({number: state.plan for number, state in self._rounds.items()})

    # -- what was left undone ----------------------------------------------------------------------------------------

    def _claims(self, number: "int") -> "Dict[int, Optional[str]]":
        """``{block: owner or None}`` of the claims of a round that no worker has finished."""
        base = "rounds/%d/" % number
        done: "Set[int]" = set()
        for name in self._transport.names(base + "done"):
            done.update(rounds.parse_done(self._transport.read(base + "done/" + name)))
        claims: "Dict[int, Optional[str]]" = {}
        for name in self._transport.names(base + "claims"):
            if name.isdigit() and int(name) not in done:
                data = self._transport.read(base + "claims/" + name)
                claims[int(name)] = rounds.claim_owner(self._key, number, int(name), data)
        return claims

    def _own_unfinished(self) -> "List[Tuple[Round, int, Mapping[int, bool]]]":
        """Blocks that an earlier start of this worker claimed and did not finish."""
        unfinished: "List[Tuple[Round, int, Mapping[int, bool]]]" = []
        histories: "Dict[Tuple[str, int], Mapping[int, bool]]" = {}
        for number in sorted(self._rounds, reverse=True):
            for block, owner in sorted(self._claims(number).items(), reverse=True):
                if owner is None or owner == self._name or owner.rsplit(".", 1)[0] != str(self._worker):
                    continue
                key = (owner, number)
                if key not in histories:
                    histories[key] = finished_components(self._transport, self._key, owner, number)
                unfinished.append((self._rounds[number], block, histories[key]))
        return unfinished

    def another_round(self) -> "bool":
        """After the rounds known are exhausted: is there, or can there be made, another one to work on?"""
        if self._load_rounds():
            return True
        newest = max(self._rounds)
        for kind, components in ((rounds.RETRY, self._to_retry()), (rounds.REPAIR, self._abandoned())):
            if components:
                plan = rounds.plan_for(kind, components, self._rounds[newest].plan.workers)
                nonce = "%s-%d" % (self._name, os.getpid())
                rounds.publish(self._transport, self._key, newest + 1, plan, nonce)
                return self._load_rounds()
        return False

    def _to_retry(self) -> "List[int]":
        """Components that failed in their newest round and have attempts left."""
        if not self._retries:
            return []
        failed: "Dict[int, int]" = {}
        for number in sorted(self._rounds):
            base = "rounds/%d/done" % number
            for name in self._transport.names(base):
                for components in rounds.parse_done(self._transport.read(base + "/" + name)).values():
                    for component in components:
                        failed[component] = number
        return [
            component
            for component, number in failed.items()
            if not any(newer > number and component in state.plan for newer, state in self._rounds.items())
            and self._attempt(component, number) < self._retries
        ]

    def _abandoned(self) -> "List[int]":
        """Components of blocks whose claimer has been silent for longer than a lease, and that no newer round repairs."""
        now = self._transport.modified("results/" + self._name)
        components: "List[int]" = []
        for number in self._rounds:
            for block, owner in self._claims(number).items():
                if owner == self._name:
                    continue
                path = "rounds/%d/claims/%d" % (number, block) if owner is None else "results/" + owner
                seen = self._transport.modified(path)
                if now is None or seen is None or now - seen < self._lease:
                    continue
                finished = finished_components(self._transport, self._key, owner, number) if owner else {}
                components += [
                    component
                    for first, stop in self._rounds[number].plan.components(block)
                    for component in range(first, stop)
                    if component not in finished
                    and not any(
                        newer > number and component in state.plan for newer, state in self._rounds.items()
                    )
                ]
        return components
