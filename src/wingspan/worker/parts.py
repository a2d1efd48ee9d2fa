"""Parts of a round: components that need the same of a machine, and the workers that do them.

A worker does the parts whose needs are its own. Which these are stands in the file ``needs`` of the map's
folder: a signed line for each submission of workers, written before they are submitted. Workers that no line
names have what the map's options say; those that a person has submitted by hand do everything.
"""

import json

from .digests import blake2b

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

    from .transports import Transport

#: The file that says which workers have which needs.
NEEDS = "needs"
#: Workers with such numbers, and higher ones, were submitted by hand.
FIRST_EXTERNAL = 1000000
#: A machine that has more of these will do, too.
_AMOUNTS = ("request_cpus", "request_memory", "request_disk", "request_gpus")
#: What a worker has or has not: more of something else does not make up for it.
_KINDS = ("requirements", "custom", "submit", "sbatch", "profile", "switches")


def joined_ranges(ranges: "Iterable[Tuple[int, int]]") -> "List[Tuple[int, int]]":
    """Ranges that do not overlap, ascending; neighbours become one."""
    joined: "List[Tuple[int, int]]" = []
    for first, stop in sorted(ranges):
        if joined and joined[-1][1] == first:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((first, stop))
    return joined


def ranges_of(components: "Iterable[int]") -> "List[Tuple[int, int]]":
    """Runs of consecutive numbers: ``[3, 4, 5, 9]`` gives ``[(3, 6), (9, 10)]``."""
    runs: "List[List[int]]" = []
    for component in sorted(components):
        if runs and runs[-1][1] == component:
            runs[-1][1] = component + 1
        elif not runs or runs[-1][1] < component:
            runs.append([component, component + 1])
    return [(first, stop) for first, stop in runs]


class Part(object):
    """Components that need the same.

    Attributes:
        needs: What is asked for instead of what the map's options say, by option; sizes are bytes.
        ranges: ``[(first, stop), …]``: the components, ascending.
        block_size: Components of a block (the last may have fewer); where blocks fall, about their mean.
        falls: How each worker's stretch is cut into blocks, the largest first: with (3, 2, 1) they have a
            half, a third, and a sixth of it. Empty: all blocks are equal.
        workers: How many workers it expects: worker w starts at block ``w * blocks // workers``.
        shared: Workers of other parts that have at least as much may help.
        first_block: Number of its first block in the plan.
        blocks: How many blocks.
        length: How many components.
    """

    __slots__ = (
        "_before",
        "_firsts",
        "_starts",
        "block_size",
        "blocks",
        "falls",
        "first_block",
        "length",
        "needs",
        "ranges",
        "shared",
        "workers",
    )

    def __init__(
        self,
        needs: "Mapping[str, Any]",
        ranges: "Iterable[Sequence[int]]",
        block_size: "int",
        workers: "int",
        shared: "bool" = False,
        falls: "Sequence[int]" = (),
    ) -> "None":
        self.needs = dict(needs)
        self.ranges = [(int(first), int(stop)) for first, stop in ranges]
        self.block_size = int(block_size)
        self.workers = max(1, int(workers))
        self.shared = shared
        self.falls = tuple(falls)
        self._before = [sum(self.falls[:place]) for place in range(len(self.falls) + 1)]
        self.first_block = 0
        self._firsts = [first for first, _ in self.ranges]
        self._starts: "List[int]" = []
        self.length = 0
        for first, stop in self.ranges:
            self._starts.append(self.length)
            self.length += stop - first
        self.blocks = self.workers * len(self.falls) if falls else -(-self.length // self.block_size)

    def _begin(self, block: "int") -> "int":
        """How many of its components come before `block`, counted from its own first block."""
        if not self.falls:
            return min(block * self.block_size, self.length)
        stretch, place = divmod(block, len(self.falls))
        low, high = (one * self.length // self.workers for one in (stretch, stretch + 1))
        return low + (high - low) * self._before[place] // self._before[-1]

    def count(self, first: "int", stop: "int") -> "int":
        """How many components blocks ``first … stop - 1``, numbers of the plan, have."""
        return self._begin(stop - self.first_block) - self._begin(first - self.first_block)

    def begin_within(self, first: "int", stop: "int") -> "int":
        """Where a worker that helps begins in a run of free blocks, numbers of the plan: in the middle, since
        the run's owner comes from the front. Where blocks fall, it begins with the largest free block of a
        stretch, since what takes long is to be begun early.
        """
        middle = first + (stop - first) // 2
        if self.falls:
            return max(first, middle - (middle - self.first_block) % len(self.falls))
        return first if stop - first <= 2 else middle

    def components(self, block: "int") -> "List[Tuple[int, int]]":
        """The runs of consecutive components in `block`, a number of the plan: ``[(first, stop), …]``."""
        import bisect

        begin = self._begin(block - self.first_block)
        end = self._begin(block - self.first_block + 1)
        runs = []
        at = bisect.bisect_right(self._starts, begin) - 1
        while begin < end:
            first, stop = self.ranges[at]
            low = first + (begin - self._starts[at])
            high = min(stop, low + (end - begin))
            runs.append((low, high))
            begin += high - low
            at += 1
        return runs

    def __contains__(self, component: "int") -> "bool":
        import bisect

        at = bisect.bisect_right(self._firsts, component) - 1
        return at >= 0 and component < self.ranges[at][1]

    def stretch(self, worker: "int") -> "int":
        """First block of the stretch that belongs to `worker`."""
        return self.first_block + (worker % self.workers) * self.blocks // self.workers

    def own_stop(self, worker: "int") -> "int":
        """Up to here a worker goes on before it looks what is free: where blocks fall, to the end of its
        stretch, else as long as others have not begun.
        """
        return self.first_block + self.blocks if not self.falls else self.stretch(worker) + len(self.falls)

    def is_for(self, own: "Optional[Mapping[str, Any]]", usual: "Mapping[str, Any]") -> "bool":
        """A worker with these needs does it (None: it does everything); `usual` is what the map's options
        say.
        """
        if own is None or own == self.needs:
            return True
        if not self.shared:
            return False
        has, wants = dict(usual, **own), dict(usual, **self.needs)
        return kind_of(has) == kind_of(wants) and all(
            _is_enough(has.get(name), wants.get(name)) for name in _AMOUNTS
        )

    def to_plain(self) -> "Dict[str, Any]":
        """For the plan's file."""
        plain: "Dict[str, Any]" = {
            "needs": self.needs,
            "ranges": self.ranges,
            "block_size": self.block_size,
            "workers": self.workers,
        }
        if self.shared:
            plain["shared"] = True
        if self.falls:
            plain["falls"] = list(self.falls)
        return plain

    @classmethod
    def from_plain(cls, plain: "Mapping[str, Any]") -> "Part":
        """The inverse of `to_plain`."""
        return cls(
            plain["needs"],
            plain["ranges"],
            plain["block_size"],
            plain["workers"],
            bool(plain.get("shared")),
            plain.get("falls", ()),
        )


def _is_enough(has: "Optional[int]", wants: "Optional[int]") -> "bool":
    return has is None or (wants is not None and has >= wants)


def kind_of(asked: "Mapping[str, Any]") -> "str":
    """What is asked for beside amounts and times, as text. An option that is not there is an empty one."""
    return json.dumps({name: asked[name] for name in _KINDS if asked.get(name)}, sort_keys=True)


def digest_of(needs: "Mapping[str, Any]") -> "str":
    """A short name of these needs: rendered workers are told by it which parts are theirs."""
    return blake2b(json.dumps(needs, sort_keys=True).encode(), digest_size=8).hexdigest()


def needs_line(key: "bytes", first: "int", count: "int", needs: "Optional[Mapping[str, Any]]") -> "bytes":
    """The line of `NEEDS` for workers ``first … first + count - 1``; with needs None they do everything."""
    text = json.dumps({"first": first, "count": count, "needs": needs}, sort_keys=True)
    return ("%s %s\n" % (text, _code(key, text))).encode()


def read_needs(key: "bytes", data: "bytes") -> "List[Dict[str, Any]]":
    """What the lines of `NEEDS` say; those that are torn, or not signed, are left out."""
    found = []
    for line in data.decode("utf-8", "replace").split("\n")[:-1]:
        text, _, code = line.rpartition(" ")
        if text and code == _code(key, text):
            found.append(json.loads(text))
    return found


def needs_of_worker(transport: "Transport", key: "bytes", worker: "int") -> "Optional[Dict[str, Any]]":
    """The needs of a worker; None: it does everything."""
    try:
        lines = read_needs(key, transport.read(NEEDS))
    except FileNotFoundError:
        lines = []
    for line in reversed(lines):
        if 0 <= worker - line["first"] < line["count"]:
            needs: "Optional[Dict[str, Any]]" = line["needs"]
            return needs
    return None if worker >= FIRST_EXTERNAL else {}


def _code(key: "bytes", text: "str") -> "str":
    return blake2b(("needs " + text).encode(), key=key, digest_size=8).hexdigest()
