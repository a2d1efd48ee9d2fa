"""What a component says while it is being done: the channel from the executor, by its supervisor, to the
access point.

The executor calls the function, and only the supervisor reaches the map's folder. So everything that
`wingspan.worker.inside.Component` sends out of the worker goes this way:

* A component **says** something (`Speaker.say`): nobody answers, and what comes too fast is dropped. So it
  costs the function next to nothing, whatever the way to the access point. Progress is said.
* A component **asks** for something (`Speaker.ask`): it waits until the supervisor has done it and answers.
  What has to be safe when the call returns is asked for: a checkpoint, an output file.

Each message is a table of plain values (JSON) with its `kind`, and the round and number of the component that
it is about. The supervisor hands it to the function that `wingspan.worker.hearing.HEARD` names for its kind:
**a new kind is a method of `Component` that says or asks, and a function in that table**, which may append
records (`Outbox.add`: the access point reads them as they come) and files (by the `Transport`, which is the
file system or HTCondor's chirp). A function of the table sees to it that it does at most a few operations a
second on the access point, as there may be thousands of workers: `hearing.Progress` shows how to wait for a
moment with what was said.

Pipes carry the messages. A write of at most `PIPE_BUF` bytes to a pipe is done whole or not at all (pipe(7)).
So threads, and processes that the function has forked off, may all say something. Only the executor itself
may ask: several would take each other's answers.
"""

import _thread
import json
import os
import select
import struct

from . import pipes
from .ending import forked_off

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator

_LENGTH = struct.Struct("<I")
#: A message may have so many bytes: it is written whole.
_MOST_BYTES = select.PIPE_BUF - _LENGTH.size


class Channel(object):
    """Both pipes, before the executor is forked; then its supervisor's end.

    Attributes:
        said: What the executor writes can be read here.
    """

    def __init__(self) -> "None":
        self.said, self._say = os.pipe()
        self._answers, self._answer = os.pipe()
        self._buffer = bytearray()

    def in_executor(self) -> "Speaker":
        """Executor, when it was forked: its end."""
        os.close(self.said)
        os.close(self._answer)
        os.set_blocking(self._say, False)
        return Speaker(self._say, self._answers)

    def in_supervisor(self) -> "None":
        """Supervisor, when it has forked the executor."""
        os.close(self._say)
        os.close(self._answers)
        os.set_blocking(self.said, False)

    def messages(self) -> "Iterator[Dict[str, Any]]":
        """What has arrived; nothing, where the user's code has written something else into the pipe."""
        while True:
            try:
                data = os.read(self.said, 1 << 16)
            except BlockingIOError:
                return
            if not data:
                return
            self._buffer += data
            while len(self._buffer) >= _LENGTH.size:
                end = _LENGTH.size + _LENGTH.unpack_from(self._buffer)[0]
                if len(self._buffer) < end:
                    break
                text = bytes(self._buffer[_LENGTH.size : end])
                del self._buffer[:end]
                try:
                    message = json.loads(text.decode())
                except ValueError:
                    continue
                if isinstance(message, dict):
                    yield message

    def answer(self, fields: "Dict[str, Any]") -> "None":
        """Answer the component that has asked."""
        data = json.dumps(fields).encode()
        try:
            pipes.write_all(self._answer, _LENGTH.pack(len(data)) + data)
        except OSError:
            pass  # it has ended meanwhile

    def close(self) -> "None":
        """Supervisor: the executor has ended."""
        os.close(self.said)
        os.close(self._answer)


class Speaker(object):
    """The executor's end."""

    def __init__(self, say: "int", answers: "int") -> "None":
        self._say, self._answers = say, answers
        self._lock = _thread.allocate_lock()

    def say(self, **fields: "Any") -> "bool":
        """Tell the supervisor; False if that did not work: it has too much to read already."""
        data = json.dumps(fields).encode()
        if len(data) > _MOST_BYTES:
            return False
        try:
            os.write(self._say, _LENGTH.pack(len(data)) + data)
        except (BlockingIOError, BrokenPipeError):
            return False
        return True

    def ask(self, **fields: "Any") -> "Dict[str, Any]":
        """Have the supervisor do something, and wait for its answer.

        Raises:
            RuntimeError: This is a process that the function has forked off.
            OSError: The supervisor could not do it.
            ValueError: There is more to say than goes into one message.
        """
        if forked_off[0]:
            raise RuntimeError(
                "%s is for the process that the function was called in, and this one was forked off"
                % fields["kind"]
            )
        data = json.dumps(fields).encode()
        if len(data) > _MOST_BYTES:
            raise ValueError(
                "%s: %d bytes of names are too much for one call: give a folder instead"
                % (fields["kind"], len(data))
            )
        with self._lock:
            while True:
                try:
                    os.write(self._say, _LENGTH.pack(len(data)) + data)
                    break
                except BlockingIOError:
                    select.select([], [self._say], [])
            (length,) = _LENGTH.unpack(pipes.read_exactly(self._answers, _LENGTH.size))
            answer: "Dict[str, Any]" = json.loads(pipes.read_exactly(self._answers, length).decode())
        if answer.get("error"):
            raise OSError(answer["error"])
        return answer
