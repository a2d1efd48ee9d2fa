"""Blocks of components: those that a worker has claimed, and what it knows about those of a round."""

from . import parts, rounds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, List, Mapping, Optional, Sequence, Set, Tuple


class Block(object):
    """A block that this worker has claimed.

    One that is to be done `alone` may hold what took an earlier worker down: nothing is claimed or kept back
    beside it. A `single` one is of a round whose components are claimed one by one. What fails in one that
    `may_retry` has attempts left. `functions` are the files of the functions of its runs, `needs` is what its
    components need.
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
        may_retry: "bool" = True,
        needs: "Optional[Mapping[str, Any]]" = None,
    ) -> "None":
        self.round = number
        self.number = block
        self.attempt = attempt
        self.failed: "List[int]" = []
        self.alone = alone
        self.single = single
        self.may_retry = may_retry
        self.needs: "Mapping[str, Any]" = needs or {}
        self._runs = list(runs)
        self._functions = list(functions) or [rounds.FUNCTION] * len(self._runs)
        self.remaining = sum(stop - first for first, stop in runs)

    @property
    def exhausted(self) -> "bool":
        """Whether all of it went to the executor."""
        return not self._runs

    def next_run(self) -> "Tuple[int, int]":
        """The next components that were not taken yet: ``(first, stop)``."""
        return self._runs[0]

    @property
    def function(self) -> "str":
        """The file of the function for `next_run`."""
        return self._functions[0]

    def drop(self, is_unwanted: "Callable[[int], bool]") -> "None":
        """Leave out components that have not been taken and that nobody wants any more."""
        runs: "List[Tuple[int, int]]" = []
        functions: "List[str]" = []
        for (first, stop), function in zip(self._runs, self._functions):
            wanted = [component for component in range(first, stop) if not is_unwanted(component)]
            self.remaining -= stop - first - len(wanted)
            for run in parts.ranges_of(wanted):
                runs.append(run)
                functions.append(function)
        self._runs, self._functions = runs, functions

    def take(self, first: "int", stop: "int") -> "None":
        """Note that the components ``first … stop - 1`` were taken."""
        low, high = self._runs[0]
        assert low == first
        if stop < high:
            self._runs[0] = (stop, high)
        else:
            del self._runs[0], self._functions[0]


class Round(object):
    """What a worker knows about one round.

    Attributes:
        position: The block to try next; None before the first try.
        stop: Blocks from `position` up to here are thought to be free.
        exhausted: Whether every block is claimed.
        folded: All of it is finished, and its claims are gone.
        looks: How often the claims were listed.
        refused: How many claims in a row others had.
        free: Runs of blocks that were unclaimed when the claims were listed last.
        mine: Runs of blocks that this worker may do.
        tried: Blocks that this worker has tried to claim, where the round has few.
    """

    #: So many blocks are few.
    FEW = 1000

    def __init__(self, number: "int", plan: "rounds.Plan") -> "None":
        self.number = number
        self.plan = plan
        self.position: "Optional[int]" = None
        self.stop = 0
        self.exhausted = False
        self.folded = False
        self.looks = self.refused = 0
        self.free: "List[Tuple[int, int]]" = []
        self.mine: "List[Tuple[int, int]]" = []
        self.tried: "Set[int]" = set()

    def note_try(self, block: "int") -> "None":
        """This worker has claimed `block`, or seen that another one has."""
        if self.plan.blocks <= self.FEW:
            self.tried.add(block)

    @property
    def is_tried(self) -> "bool":
        """As far as it knows, every block that it may do is claimed: it need not look."""
        return bool(self.tried) and len(self.tried) >= sum(stop - first for first, stop in self.mine)

    def begin_share(self, share: "Mapping[str, Sequence[Sequence[int]]]") -> "Optional[int]":
        """The first block of the worker's share; None if the share has none of this round."""
        self.mine = [(first, stop) for first, stop in share.get(str(self.number), ())]
        if not self.mine:
            self.exhausted = True
            return None
        first, self.stop = self.mine[0]
        self.position = first + 1
        return first

    def next_free(self, throw: "Callable[[int], int]", looks: "int") -> "Optional[Tuple[int, int]]":
        """Where to go on: in the longest free run, or in one of several that are about as long, so that
        workers do not all meet there.

        The claims of a round are listed at most `looks` times. After that the blocks that were free then are
        tried one by one to the end, so that none is left behind, unless too many of them turn out to be
        claimed. `throw` gives a number below its argument.
        """
        if not self.free:
            return None
        lengths = [self.plan.part_of(first).count(first, stop) for first, stop in self.free]
        longest = max(lengths)
        choices = [run for run, length in zip(self.free, lengths) if 2 * length > longest]
        first, stop = choices[throw(len(choices))]
        self.free.remove((first, stop))
        middle = self.plan.part_of(first).begin_within(first, stop)
        if self.looks < looks:
            return middle, stop  # the claims are listed again in any case
        if middle > first:
            self.free.append((first, middle))
        if stop - middle > 1:
            self.free.append((middle + 1, stop))
        return middle, middle + 1


def with_functions(
    plans: "Mapping[int, rounds.Plan]", runs: "Sequence[Tuple[int, int]]", number: "int"
) -> "Tuple[List[Tuple[int, int]], List[str]]":
    """The runs, cut where the function changes, and the function's file of each."""
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


def free_runs(names: "Iterable[str]", state: "Round") -> "List[Tuple[int, int]]":
    """Runs of blocks that nobody has claimed; `names` are those of the claims."""
    taken = list(filter(str.isdigit, names))
    free: "List[Tuple[int, int]]" = []
    if len(taken) >= state.plan.blocks:  # most workers that run dry find all claimed
        return free
    blocks = sorted(map(int, taken))
    for low, high in state.mine:
        previous = low - 1
        for block in [one for one in blocks if low <= one < high] + [high]:
            if block - previous > 1:
                free.append((previous + 1, block))
            previous = block
    return free
