"""How the supervisor handles what components say and ask for; see `channel`."""

import json
import os
import time

from . import formats, rounds
from .checkpoints import WORK, Checkpoints

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Optional, Sequence, Set, Tuple

    from .channel import Channel
    from .outbox import Outbox
    from .transports import Transport

    #: A component: ``(round, attempts before, number)``.
    At = Tuple[int, int, int]
    #: Returns the answer, where the component has asked for something.
    Handler = Callable[["Hearing", At, Dict[str, Any]], Optional[Dict[str, Any]]]

#: The progress of a component is passed on at most once in so many seconds, and later at most once in a
#: hundredth of the time that the component has taken so far. So the number of records does not grow with how
#: often the component reports.
PROGRESS_SECONDS, PROGRESS_SHARE = 0.5, 0.01


class Hearing(object):
    """What the components of one worker say.

    Attributes:
        transport, key, name: The way to the map's folder, its key, and the name of this start of the worker.
        outbox: Takes records.
    """

    def __init__(self, transport: "Transport", key: "bytes", name: "str", outbox: "Outbox") -> "None":
        self.transport, self.key, self.name, self.outbox = transport, key, name, outbox
        self.progress = Progress(outbox)
        self.checkpoints = Checkpoints(transport, key, name, self._sign_of_life)
        #: What checkpoints have of the folder that components run in, by the names at its top.
        self.kept: "Set[str]" = set()
        #: File of the function that the executor has.
        self.function = rounds.FUNCTION

    def take(self, channel: "Channel") -> "None":
        """Take in what has arrived, and answer what was asked for."""
        for message in channel.messages():
            at = message.pop("at", None)
            handler = HEARD.get(message.pop("kind", None))
            if handler is None or not _is_component(at):
                continue
            try:
                answer = handler(self, tuple(at), message)
            except OSError as error:
                answer = {"error": "the access point's side: %s" % error}
            if answer is not None:
                channel.answer(answer)

    def has_kept(self, files: "Sequence[Dict[str, Any]]") -> "None":
        """A checkpoint has these files."""
        self.kept.update(one["path"].split(os.sep)[0] for one in files if one["folder"] == WORK)

    def may_go_on(self, components: "Sequence[int]", number: "int") -> "bool":
        """Whether one of these may have a checkpoint, in round `number`."""
        return any(one in components for one in self.checkpoints.left(number))

    def done(self, components: "Sequence[int]", failed: "Sequence[int]") -> "None":
        """These components have a record; those that `failed` are errors."""
        self.progress.forget()
        self.checkpoints.done(components, failed)

    def _sign_of_life(self) -> "None":
        if self.outbox.silent(time.monotonic()) > self.outbox.heartbeat_seconds:
            # Any record tells others that this worker lives; this one says nothing else.
            self.outbox.add(formats.LEFT, payload=b"[]")
            self.outbox.flush()


def _is_component(at: "Any") -> "bool":
    """The user's code may write into the pipe, too."""
    return isinstance(at, list) and len(at) == 3 and all(isinstance(part, int) and part >= 0 for part in at)


class Progress(object):
    """Tells how far the running component is, now and then."""

    def __init__(self, outbox: "Outbox") -> "None":
        self._outbox = outbox
        self._at: "Optional[At]" = None
        self._begun = self._next = 0.0
        self._newest: "Optional[Dict[str, Any]]" = None

    def hear(self, at: "At", fields: "Dict[str, Any]") -> "None":
        """A component says how far it is."""
        now = time.monotonic()
        if at != self._at:
            self._at, self._begun, self._next = at, now, 0.0
        self._newest = fields
        self.tell(now)

    def tell(self, now: "float") -> "None":
        """Tell the newest, if it is time."""
        if self._newest is None or self._at is None or now < self._next:
            return
        fields, self._newest = self._newest, None
        self._next = now + max(PROGRESS_SECONDS, PROGRESS_SHARE * (now - self._begun))
        number, attempt, index = self._at
        self._outbox.add(
            formats.PROGRESS, payload=json.dumps(fields).encode(), attempt=attempt, number=number, index=index
        )

    def forget(self) -> "None":
        """The component is done."""
        self._newest = None


def _hear_progress(hearing: "Hearing", at: "At", fields: "Dict[str, Any]") -> "None":
    if isinstance(fields.get("fraction"), float) and isinstance(fields.get("message"), str):
        hearing.progress.hear(at, {"fraction": fields["fraction"], "message": fields["message"]})


def _keep_checkpoint(hearing: "Hearing", at: "At", fields: "Dict[str, Any]") -> "Dict[str, Any]":
    """The component wants files kept: ``files`` names a file that says which."""
    with open(fields["files"]) as file:
        files = json.load(file)
    hearing.checkpoints.write(at[2], hearing.function, files)
    hearing.has_kept(files)
    return {}


def _restore_checkpoint(hearing: "Hearing", at: "At", fields: "Dict[str, Any]") -> "Dict[str, Any]":
    """The component begins: what an earlier execution has kept is put into ``folder``, and ``files`` there
    says what it is.
    """
    if at[2] not in hearing.checkpoints.left(at[0]):
        return {"restored": False}
    files = hearing.checkpoints.restore(at[2], hearing.function, fields["folder"])
    if files is None:
        return {"restored": False}
    with open(os.path.join(fields["folder"], "files"), "w") as file:
        json.dump(files, file)
    hearing.has_kept(files)
    return {"restored": True}


#: The function for each kind of message. If it returns an answer, the component asks; otherwise it says.
HEARD: "Dict[Any, Handler]" = {
    "progress": _hear_progress,
    "checkpoint": _keep_checkpoint,
    "restore": _restore_checkpoint,
}
