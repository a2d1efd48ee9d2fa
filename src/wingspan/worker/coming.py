"""Open maps: inputs that come while workers are at work, as `wingspan.Executor` appends them.

The owner appends a pickle to ``inputs.bin``, then where it ends to ``inputs.idx``: from then on there is one
component more. The last number of a map that is closed is `CLOSED`. The owner's process touches the file
``owner``; where it is silent for longer than a lease, nothing more is waited for.

Round 0 of an open map has `MOST` blocks of one component, whose inputs need not be there yet. Workers claim
them in the order in which they came.
"""

import time
from array import array

from . import formats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional

    from .blocks import Round
    from .transports import Transport

#: The most components that an open map can have.
MOST = 1 << 17
#: What stands behind the last offset of ``inputs.idx`` when nothing more comes.
CLOSED = 2**64 - 1
#: The file that the owner touches, and how seldom at most (s).
OWNER = "owner"
OWNER_SECONDS = 10.0
#: A worker looks again after this part of the time for which nothing has come; at least so long (s).
PART, SHORTEST = 0.05, 0.0005
#: How many looks for inputs come before one for rounds.
ROUNDS_EVERY = 8
#: When others had this many claims in a row, this worker is far behind.
FAR_BEHIND = 4


def owner_seconds(lease: "float") -> "float":
    """How often the owner shows that it is there (s), if it may be silent for as long as `lease`."""
    return min(OWNER_SECONDS, lease / 4)


class Pace(object):
    """How often a worker looks for what comes: the longer nothing has come, the more seldom.

    Args:
        longest: Seconds between two looks at most.
        lease: The worker may be silent for so long (s).
    """

    def __init__(self, longest: "float", lease: "float") -> "None":
        self._longest = longest
        #: A worker with nothing to do shows that often that it is there (s).
        self.sign_seconds = min(formats.HEARTBEAT_SECONDS, lease / 4)
        self._quiet_since = time.monotonic()
        self._next_retries = 0.0
        self._looks = 0

    def quiet(self) -> "float":
        """For how long nothing has come (s)."""
        return time.monotonic() - self._quiet_since

    def something_came(self) -> "None":
        """What has come makes looking worthwhile."""
        self._quiet_since = time.monotonic()

    def is_time_for_rounds(self) -> "bool":
        """See whether there are further rounds; not so often as for inputs."""
        self._looks += 1
        return self._looks % ROUNDS_EVERY == 0

    def is_time_for_retries(self) -> "bool":
        """See what has failed and may be tried again; not so often as for inputs."""
        now = time.monotonic()
        if now < self._next_retries:
            return False
        self._next_retries = now + 5 * self._longest
        return True

    def pause(self) -> "float":
        """How long to sleep before the next look (s)."""
        return float(min(self._longest, max(SHORTEST, PART * self.quiet())))


class Coming(Pace):
    """What a worker knows of the inputs of an open map.

    Attributes:
        count: How many inputs are there.
        offsets: Where each begins, and the last ends.
        is_closed: No more come.

    Args:
        transport: The way to the map's folder.
        facts: ``open`` of ``map.json``: ``look_seconds``, the longest time between two looks, and
            ``idle_seconds``, after which a worker leaves for which nothing has come (None: it stays).
        lease: The owner may be silent for so long (s).
        name: Name of this start of a worker: when it last wrote tells what time it is where the files are.
    """

    def __init__(
        self, transport: "Transport", facts: "Dict[str, Any]", lease: "float", name: "str"
    ) -> "None":
        Pace.__init__(self, facts["look_seconds"], lease)
        self._transport = transport
        self._idle = facts.get("idle_seconds")
        self._lease = lease
        self._results = "results/" + name
        self.count = 0
        self.offsets = array("Q", [0])
        self.is_closed = False
        self._position = 0
        self._refused = 0
        self._is_alone = False
        self._next_check = time.monotonic() + owner_seconds(lease)

    #: What is done is told at once, and nothing is claimed beside it.
    alone = True
    #: Workers for further inputs are submitted by the program that appends these.
    comes_back = False

    def look(self) -> "None":
        """See what has been appended."""
        if self.is_closed:
            return
        # Read, and not only asked for its size: a network file system tells what is new when a file is
        # opened.
        new = array("Q")
        data = self._transport.read("inputs.idx", 8 * 4096, 8 * (self.count + 1))
        new.frombytes(data[: len(data) // 8 * 8])
        if new and new[-1] == CLOSED:
            self.is_closed = True
            new.pop()
        self.offsets.extend(new)
        self.count = min(MOST, self.count + len(new))

    def rules(self, state: "Round") -> "bool":
        """It says which blocks of this round can be claimed."""
        return not state.number

    def candidate(self, state: "Round") -> "Optional[int]":
        """The next block that is probably free; None when there is none."""
        if self._position >= self.count:
            self.look()
        if self._refused >= FAR_BEHIND:
            self._refused = 0
            taken = set(self._transport.names("rounds/0/claims"))
            while self._position < self.count and str(self._position) in taken:
                self._position += 1
        if self._position >= self.count:
            return None
        self._position += 1
        return self._position - 1

    def tried(self, won: "bool") -> "None":
        """The last candidate was claimed, by this worker or by somebody else before."""
        if won:
            self.something_came()
            self._refused = 0
        else:
            self._refused += 1

    def more_may_come(self) -> "bool":
        """It is worth waiting: the map is open, and its owner is alive."""
        if self.is_closed:
            return False
        now = time.monotonic()
        if self._idle is not None and self.quiet() > self._idle:
            return False
        if now >= self._next_check:
            self._next_check = now + owner_seconds(self._lease)
            # This worker's signs of life tell what time it is there.
            seen, now_there = self._transport.modified(OWNER), self._transport.modified(self._results)
            self._is_alone = seen is None or (now_there is not None and now_there - seen > self._lease)
        return not self._is_alone
