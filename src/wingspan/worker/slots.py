"""Shared memory through which the pieces of large outputs go from the executor to the supervisor: a pipe
would copy each twice.

There are a few slots of a piece each. The executor takes a free one, fills it and says so on its pipe; the
supervisor signs and appends it from where it lies and gives the slot back. Numbers of free slots wait in a
pipe, so that an executor that is ahead waits there.
"""

import mmap
import os

from .formats import PIECE_BYTES

#: The executor fills one while the supervisor appends another.
SLOTS = 4


class Slots(object):
    """Made by the supervisor before it forks the executor."""

    def __init__(self) -> "None":
        self._memory = memoryview(mmap.mmap(-1, SLOTS * PIECE_BYTES))
        self.free, self._give = os.pipe()
        os.write(self._give, bytes(bytearray(range(SLOTS))))

    def view(self, slot: "int", length: "int") -> "memoryview":
        """The first `length` bytes of a slot."""
        return self._memory[slot * PIECE_BYTES : slot * PIECE_BYTES + length]

    # -- the executor's side ---------------------------------------------------------------------------------

    def in_executor(self) -> "None":
        """Close the other side's end."""
        os.close(self._give)

    def take(self) -> "int":
        """A free slot; waits for one."""
        number = os.read(self.free, 1)
        if not number:
            os._exit(0)  # the supervisor is gone
        return number[0]

    # -- the supervisor's side -------------------------------------------------------------------------------

    def in_supervisor(self) -> "None":
        """Close the other side's end."""
        os.close(self.free)

    def give_back(self, slot: "int") -> "None":
        """The slot is free again."""
        try:
            os.write(self._give, bytes(bytearray([slot])))
        except BrokenPipeError:
            pass  # the executor is dead: somebody will see that

    def close(self) -> "None":
        os.close(self._give)
