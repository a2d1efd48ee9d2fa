"""Choose a worker's next block: first its own unfinished blocks, then its own stretch, then all others."""

import operator
import os
import time

from . import formats, parts, pilot, rounds
from .blocks import Block, Round, free_runs, with_functions
from .digests import blake2b
from .history import finished_components, look_around, with_earlier
from .transports import Gone
from .upstream import coming_of

#: A worker lists the claims of a round so often at most. When it runs dry, it asks after so many others, or
#: after one, if there are more: together with the few other operations in its life at most 20 on the access
#: point.
MAX_LOOKS, MAX_ASKED = 5, 3
#: After so many claims in a row that others had, one more list costs less than further attempts.
MAX_REFUSED = 8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

    from .coming import Coming
    from .transports import Transport
    from .upstream import Chained


#: Two changes of a folder within this time (s) may have the same time stamp.
COARSE_CLOCK = 3.0


class WorkSource(object):
    """Claims blocks of all rounds, oldest round first.

    Args:
        transport: The way to the map's folder.
        key: The map's.
        worker: Number of the worker.
        name: Of this start of it.
        share: See `shares`.
        retries: How often a component that fails is tried again.
        lease: How long another worker may be silent (s).
        usual: What the map's options ask for.
        group: It does parts with these needs only (`parts.digest_of`); None: `parts.NEEDS` says which.
    """

    def __init__(
        self,
        transport: "Transport",
        key: "bytes",
        worker: "int",
        name: "str",
        retries: "int",
        lease: "float",
        usual: "Optional[Mapping[str, Any]]" = None,
        coming: "Optional[Union[Coming, Chained]]" = None,
        share: "Optional[Mapping[str, Sequence[Sequence[int]]]]" = None,
        group: "Optional[str]" = None,
    ) -> "None":
        self._transport = transport
        self._key = key
        self._worker = worker
        self._name = name
        self._retries = retries
        self._lease = lease
        #: The blocks that it does and no others, by round, where these were fixed beforehand (`shares`).
        self._share = share
        self.usual: "Mapping[str, Any]" = usual or {}
        #: What this worker has beyond that; None: it does everything. Read when a round asks for it.
        self._needs: "Optional[Mapping[str, Any]]" = {}
        self._knows_needs = False
        if group is not None:  # until a round has it, nothing is this worker's
            self._needs, self._knows_needs = {"group": group}, True
        self._group = group
        self.disk_taken = 0  # bytes of scratch disk that a component took, as far as it was looked at
        #: Of an open map, or a chain: the inputs that come.
        self.coming = coming
        self._rounds: "Dict[int, Round]" = {}
        self._rounds_written: "Tuple[Optional[float], float]" = (None, 0.0)
        self._unfinished: "List[Tuple[Round, int, Mapping[int, bool]]]" = []
        #: The file that says so, and whether it was made when this was looked at last.
        self._settled_at, self._has_just_settled = "", False
        self._undecided = False
        #: Some components were cancelled.
        self.cancels = False
        self._dice = int(blake2b(name.encode(), digest_size=4).hexdigest(), 16)
        self._load_rounds()
        if int(name.rsplit(".", 1)[1]) > 0:
            self._unfinished = self._own_unfinished()

    @classmethod
    def of_map(
        cls, info: "Dict[str, Any]", transport: "Transport", key: "bytes", worker: "int", name: "str"
    ) -> "WorkSource":
        """For the map that ``map.json`` says this of."""
        lease, retries = info.get("lease_seconds", formats.LEASE_SECONDS), info.get("retries", 0)
        coming = coming_of(info, transport, lease, name)
        usual, share = info.get("options", {}), info.get("share")
        return cls(transport, key, worker, name, retries, lease, usual, coming, share, info.get("group"))

    # -- rounds ----------------------------------------------------------------------------------------------

    def _load_rounds(self) -> "bool":
        """Look for new rounds; returns True if there are any."""
        found = False
        for number in rounds.round_numbers(self._transport):
            if number not in self._rounds:
                plan = rounds.Plan.loads(self._key, self._transport.read("rounds/%d/plan" % number), number)
                if plan is None:
                    raise ValueError("the plan of round %d is not signed with this map's key" % number)
                self._know(number, plan)
                found = True
        return found

    def _know(self, number: "int", plan: "rounds.Plan") -> "None":
        if plan.has_needs and not self._knows_needs:
            self._needs = parts.needs_of_worker(self._transport, self._key, self._worker)
            self._knows_needs = True
        if self._group is not None:
            for part in plan.parts:
                if parts.digest_of(part.needs) == self._group:
                    self._needs = part.needs
        self._rounds[number] = Round(number, plan)
        if plan.kind == rounds.CANCEL:
            self._rounds[number].exhausted = self._rounds[number].folded = self.cancels = True

    def request(self, name: "str") -> "Any":
        """What this worker's job has asked for, by option."""
        return dict(self.usual, **(self._needs or {})).get(name)

    def _is_mine(self, part: "parts.Part") -> "bool":
        return part.is_for(self._needs, self.usual)

    def is_superseded(self, component: "int", number: "int") -> "bool":
        """Whether `component` of round `number` is wanted afresh, or no longer wanted, by a newer round that
        is known since the last `look`.
        """
        kinds = (rounds.RERUN, rounds.RETRY, rounds.CANCEL)
        return any(
            newer > number and state.plan.kind in kinds and component in state.plan
            for newer, state in self._rounds.items()
        )

    def look(self) -> "bool":
        """See whether rounds were published meanwhile: true if there are any."""
        written, now = self._transport.modified("rounds"), time.monotonic()
        if written != self._rounds_written[0]:
            self._rounds_written = (written, now)
        if now - self._rounds_written[1] < COARSE_CLOCK:  # two changes may carry the same time stamp
            return self._load_rounds()
        return False

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

    # -- blocks ----------------------------------------------------------------------------------------------

    def next_block(self) -> "Optional[Block]":
        """Claim a block; None if nothing is left to claim in the known rounds."""
        while self._unfinished:
            state, block, finished = self._unfinished.pop()
            return self._block(state, block, finished)
        for number in sorted(self._rounds):
            state = self._rounds[number]
            while not state.exhausted:
                candidate = self._candidate(state)
                if candidate is None:
                    break
                taken = self._take(state, candidate)
                state.note_try(candidate)
                if self.coming is not None and self.coming.rules(state):
                    self.coming.tried(taken)
                if taken:
                    state.refused = 0
                    return self._block(state, candidate)
                state.stop = candidate + 1  # another worker has it: look for others
                state.refused += 1
        return None

    def _take(self, state: "Round", block: "int") -> "bool":
        """Claim `block`; False if somebody else has it, or the round is folded."""
        number = state.number
        by_link = state.plan.falls
        line = rounds.take_line(self._key, self._name, number, block, named=by_link)
        try:
            # First: should this worker die, others know from here which claims to look at.
            self._transport.append("rounds/%d/takes/%s" % (number, self._name), line)
            return rounds.claim(self._transport, self._key, number, block, self._name, by_link)
        except (FileNotFoundError, Gone):
            if self._transport.modified("rounds/%d/plan" % number) is None:
                raise
            state.folded = state.exhausted = True
            return False

    def _candidate(self, state: "Round") -> "Optional[int]":
        """A block that is probably free; None if all are claimed."""
        if state.position is None and not state.mine:
            if self._share is not None:
                return state.begin_share(self._share)
            mine = [part for part in state.plan.parts if part.blocks and self._is_mine(part)]
            state.mine = [(part.first_block, part.first_block + part.blocks) for part in mine]
            if not mine:
                state.exhausted = True
                return None
            if self.coming is None or not self.coming.rules(state):
                part = mine[self._worker % len(mine)]
                state.position, state.stop = part.stretch(self._worker), part.own_stop(self._worker)
        if self.coming is not None and self.coming.rules(state):
            return self.coming.candidate(state)
        assert state.position is not None
        if state.position >= state.stop:
            if state.is_tried:
                state.exhausted = True
                return None
            if state.looks < MAX_LOOKS or state.refused >= MAX_REFUSED:
                state.looks += 1
                state.refused = 0
                names = self._transport.names("rounds/%d/claims" % state.number)
                state.free = free_runs(names, state)
            free = state.next_free(self._throw, MAX_LOOKS)
            if free is None:
                state.exhausted = True
                return None
            state.position, state.stop = free
        state.position += 1
        return state.position - 1

    def _throw(self, sides: "int") -> "int":
        """A number below `sides`, so that workers do not all choose the same. (The module random takes longer
        to import than a map may take.)
        """
        self._dice = (self._dice * 1103515245 + 12345) & 0x7FFFFFFF
        return (self._dice >> 8) % sides

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
                if component not in finished and not (newer and self.is_superseded(component, state.number))
            ]
            runs = parts.ranges_of(components)
        attempt = self._attempt(runs[0][0], state.number) if runs and state.number else 0
        plan, part = state.plan, state.plan.part_of(block)
        plans = {number: one.plan for number, one in self._rounds.items()}
        runs, functions = with_functions(plans, runs, state.number)
        made = Block(
            state.number,
            block,
            attempt,
            runs,
            alone=plan.kind == rounds.REPAIR
            or (self.coming is not None and self.coming.alone and self.coming.rules(state)),
            single=part.block_size == 1,
            needs=part.needs,
            functions=functions,
            may_retry=attempt < self._retries,
        )
        made.failed += failed
        return made

    @property
    def newest_function(self) -> "str":
        """File of the function that was given last."""
        return rounds.newest_function(self._plans)

    # -- what was left undone --------------------------------------------------------------------------------

    def _own_unfinished(self) -> "List[Tuple[Round, int, Mapping[int, bool]]]":
        """The blocks that earlier starts of this worker claimed, but did not finish."""
        start = int(self._name.rsplit(".", 1)[1])
        starts = ["%d.%d" % (self._worker, earlier) for earlier in range(start)]
        unfinished: "List[Tuple[Round, int, Mapping[int, bool]]]" = []
        for number in sorted(self._rounds, reverse=True):
            blocks = sorted(self._left_open(number, starts), key=operator.itemgetter(0), reverse=True)
            if blocks:
                # They belong to this start now: others ask about this one, and not about those before it.
                lines = [rounds.take_line(self._key, self._name, number, block) for block, _ in blocks]
                self._transport.append("rounds/%d/takes/%s" % (number, self._name), *lines)
            unfinished += [(self._rounds[number], block, finished) for block, finished in blocks]
        return unfinished

    def _left_open(self, number: "int", starts: "Sequence[str]") -> "List[Tuple[int, Mapping[int, bool]]]":
        """Blocks of a round that these starts of one worker claimed and did not finish, and what they did
        finish of them.
        """
        took = set()
        for name in starts:
            try:
                data = self._transport.read("rounds/%d/takes/%s" % (number, name))
            except FileNotFoundError:
                continue  # it took none of this round, or that is folded
            took.update(rounds.parse_takes(self._key, name, number, data))
        if not took:
            return []
        finished: "Dict[int, bool]" = {}
        for name in starts:
            finished.update(finished_components(self._transport, self._key, name, number))
        plan = self._rounds[number].plan
        return [
            (block, finished)
            for block in took
            if block < plan.blocks
            and any(
                component not in finished
                for first, stop in plan.components(block)
                for component in range(first, stop)
            )
            and self._is_theirs(number, block, starts)
        ]

    def _is_theirs(self, number: "int", block: "int", starts: "Sequence[str]") -> "bool":
        """They claimed the block longer ago than a lease, or the one that did died before it signed."""
        path = "rounds/%d/claims/%d" % (number, block)
        try:
            owner = rounds.claim_owner(self._key, number, block, self._transport.read(path))
        except FileNotFoundError:
            return False  # they died before they claimed it
        if owner is not None:
            return owner in starts
        seen, now = self._transport.modified(path), self._now()
        old = seen is not None and now is not None and now - seen >= self._lease
        self._undecided = self._undecided or not old
        return old

    def _now(self) -> "Optional[float]":
        """The time now, or a little earlier, by the clock of the machine that keeps the files."""
        # It settles after its last record, so the time of that is the later one.
        paths = [self._settled_at] if self._has_just_settled else ["results/" + self._name, self._settled_at]
        times = [self._transport.modified(path) for path in paths if path]
        known = [one for one in times if one is not None]
        return max(known) if known else None

    def waits(self) -> "bool":
        """Nothing is left to claim, and more may come: of inputs, or of rounds that the owner publishes."""
        if self.coming is None or not self.coming.more_may_come():
            return False
        if self.coming.is_time_for_rounds():
            self.look()
        if self._retries and self.coming.is_time_for_retries():
            components = self._to_retry(self._look_around()[1])
            if components:
                self._publish(rounds.RETRY, components)
        return True

    @property
    def comes_back(self) -> "bool":
        """Inputs that nobody waits for now may come later."""
        return self.coming is not None and self.coming.comes_back and not self.coming.is_closed

    def another_round(self) -> "bool":
        """All known rounds are exhausted: find another one to work on, or publish it.

        Returns whether there is one.

        All that this worker has claimed is finished, and its records are safe. What it does here on the
        access point does not depend on how many workers there are; only for a worker that was lost, more is
        looked at.
        """
        if self._share is not None:
            return False  # what others do, and what is published, is not seen here
        if self._load_rounds():
            return True
        if all(state.folded for state in self._rounds.values()):
            return False
        if self.coming is not None and not self.coming.is_closed:
            return False  # this worker leaves, and others may claim what comes
        self._settle()
        takers, failed = self._look_around()
        components = self._to_retry(failed)
        if components:
            return self._publish(rounds.RETRY, components)
        components = self._abandoned(takers)
        if components:
            return self._publish(rounds.REPAIR, components)
        if self.usual.get("pilot") and not any(state.plan.measured for state in self._rounds.values()):
            return not takers and self._go_beyond_pilot()
        # A part whose workers have not begun is not finished, though nobody is at work.
        does_all = all(self._is_mine(part) for state in self._rounds.values() for part in state.plan.parts)
        if not takers and does_all:
            for number in self._rounds:
                rounds.fold(self._transport, number, self._nonce)
        return False

    @property
    def _nonce(self) -> "str":
        return "%s-%d" % (self._name, os.getpid())

    def _go_beyond_pilot(self) -> "bool":
        plan = pilot.plan_for_rest(self._transport, self._key, self._plans, self.usual, self.disk_taken)
        return plan is not None and self._put(plan)

    @property
    def _plans(self) -> "Dict[int, rounds.Plan]":
        return {number: state.plan for number, state in self._rounds.items()}

    def _publish(self, kind: "str", components: "List[int]") -> "bool":
        plans = self._plans
        return self._put(rounds.plan_again(plans, kind, components, plans[max(plans)].workers))

    def _put(self, plan: "rounds.Plan") -> "bool":
        number = max(self._rounds) + 1
        if rounds.publish(self._transport, self._key, number, plan, self._nonce):
            self._know(number, plan)
            return True
        return self._load_rounds()

    def _settle(self, name: "Optional[str]" = None) -> "None":
        """Note that this worker, or the one called `name`, has finished all that it claimed."""
        newest = max(self._rounds)
        path = "rounds/%d/takes/%s" % (newest, rounds.settled_name(self._key, name or self._name, newest))
        self._has_just_settled = self._has_just_settled and name is not None
        try:
            is_new = self._transport.create_exclusively(path, b"")
        except FileNotFoundError:
            return  # folded
        if name is None:
            self._settled_at, self._has_just_settled = path, is_new

    def _look_around(self) -> "Tuple[List[str], List[Tuple[int, List[int]]]]":
        """``(starts, failures)``: who is still at work, or lost, and what failed, by round."""
        return look_around(self._transport, self._key, sorted(self._rounds), self._name)

    def _to_retry(self, failures: "List[Tuple[int, List[int]]]") -> "List[int]":
        """The components that failed in their newest round and have attempts left."""
        failed: "Dict[int, int]" = {}
        for number, components in failures:
            for component in components:
                failed[component] = max(number, failed.get(component, 0))
        return [
            component
            for component, number in failed.items()
            if not any(newer > number and component in state.plan for newer, state in self._rounds.items())
            and self._attempt(component, number) < self._retries
        ]

    def _abandoned(self, takers: "List[str]") -> "List[int]":
        """Components of blocks whose claimer has been silent for longer than a lease, and that no newer round
        repairs.

        Each worker that runs dry asks after a few of those that are not settled; all together ask after all.
        """
        if not takers:
            return []
        now = self._now()
        components: "List[int]" = []
        begin = self._throw(len(takers))
        for name in (takers[begin:] + takers[:begin])[: MAX_ASKED if len(takers) <= MAX_ASKED else 1]:
            seen = self._transport.modified("results/" + name)
            if now is None or seen is None or now - seen < self._lease:
                continue
            starts = with_earlier(name)
            self._undecided = False
            lost = [
                component
                for number in self._rounds
                for block, finished in self._left_open(number, starts)
                for first, stop in self._rounds[number].plan.components(block)
                for component in range(first, stop)
                if component not in finished
                and not any(
                    newer > number and component in state.plan for newer, state in self._rounds.items()
                )
            ]
            if not lost and not self._undecided:
                self._settle(name)  # nobody needs to ask after it again
            components += lost
        return components
