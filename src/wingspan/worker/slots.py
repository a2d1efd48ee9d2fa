"""Shared memory for the pieces of large outputs, from the executor to the supervisor.

A pipe would copy each piece twice.

There are a few slots, each for one piece. The executor takes a free slot, fills it and reports it on its
pipe. The supervisor signs and appends the piece from the slot, and then frees the slot. The numbers of free
slots are kept in a pipe, where an executor waits if there is none.
"""

import mmap
import os

from .formats import PIECE_BYTES

#: The executor fills one while the supervisor appends another.
SLOTS = 4


class Slots(object):
    """The supervisor makes it before it forks the executor."""

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
            pass  # the executor is dead, which is noticed elsewhere

    def close(self) -> "None":
        os.close(self._give)
