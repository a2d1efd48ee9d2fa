"""Answering requests, one after another, until the other end goes."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO, Any

from wingspan._version import __version__
from wingspan.pools import Pool, choose_pool
from wingspan.pools.ssh_frames import FIRST_LINE, PROTOCOL, Broken, read_message, write_message
from wingspan.serving._answers import Answer
from wingspan.serving._arriving import Arriving, outcome
from wingspan.serving._errors import told
from wingspan.serving._files import listed, piece_of
from wingspan.serving._idempotent import IdempotentRequests
from wingspan.serving._served import Served
from wingspan.worker import compatibility

__all__ = ["serve"]

#: Seconds without a question until the process ends: an access point is no place for idle ones. The
#: other end connects again when it wants something.
_IDLE_SECONDS = 1800
#: How far long work has come is told so often (s).
_REPORT_SECONDS = 0.2
#: While something is asked for, the other end is told so often that this one is at work (s). After
#: `wingspan.pools.ssh_pipes.SILENCE_SECONDS` without a sign it takes the connection for broken.
_ALIVE_SECONDS = 2.0


def serve() -> None:
    """Answer on standard output what is asked on standard input, until that ends."""
    # What libraries and commands print goes to standard error, and not between our messages.
    into, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    out.write(FIRST_LINE)
    facts = {"wingspan": __version__, "protocol": PROTOCOL, **compatibility.this_python()}
    with contextlib.suppress(OSError):  # the other end has gone: nobody wants to know
        writes = _Out(out)
        writes.tell(facts)
        _Server(into, writes).answer_all()


class _Out:
    """Messages to the other end, from several threads."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out, self._lock = out, threading.Lock()
        self.is_awaited = False

    def tell(self, plain: Mapping[str, Any], data: bytes = b"") -> None:
        """Send one.

        Raises:
            OSError: The other end has gone.
        """
        with self._lock:
            write_message(self._out, plain, data)
            self._out.flush()

    def show_life(self) -> None:
        """As long as an answer is awaited, say again and again that this end is at work."""
        with contextlib.suppress(OSError):
            while True:
                time.sleep(_ALIVE_SECONDS)
                if self.is_awaited:
                    self.tell({"alive": True})


class _Notices(logging.Handler):
    """Sends notices of Wingspan to the other end, as long as it waits for an answer."""

    def __init__(self, out: _Out) -> None:
        super().__init__(logging.WARNING)
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            self._out.tell({"notice": record.getMessage()})


class _Reports:
    """Tells the other end how far long work has come, as long as it waits for an answer."""

    def __init__(self, out: _Out) -> None:
        self._out = out
        self._tasks = itertools.count()
        self._kept: dict[int, float] = {}
        self._next = 0.0

    def _tell(self, *words: object) -> None:
        with contextlib.suppress(OSError):
            self._out.tell({"progress": words})

    def start(self, description: str, total: float | None = None) -> int:
        """See `wingspan.progress.Progress`."""
        task = next(self._tasks)
        self._kept[task] = 0.0
        self._tell("start", task, description, total)
        return task

    def advance(self, task: int, amount: float = 1) -> None:
        """What comes in between is told together."""
        self._kept[task] += amount
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _REPORT_SECONDS
            self._tell("advance", task, self._kept[task], None)
            self._kept[task] = 0.0

    def finish(self, task: int) -> None:
        """The piece of work is over."""
        self._tell("finish", task, None, None)


class _Server:
    """One connection."""

    def __init__(self, into: IO[bytes], out: _Out) -> None:
        self._into, self._out = into, out
        self._pools: dict[str | None, Pool] = {}
        self._served = Served()
        self._arriving = Arriving()
        self._once = IdempotentRequests()
        #: What went wrong in a message that has no answer.
        self._trouble: Exception | None = None
        self._reports = _Reports(out)
        logger = logging.getLogger("wingspan")
        logger.addHandler(_Notices(out))
        logger.propagate = False
        self._do: dict[str, Callable[[Mapping[str, Any], bytes], Answer]] = {
            "pool": self._pool_facts,
            "workers": self._workers,
            "begin": self._begin,
            "request_outcome": lambda what, _: self._once.outcome(what),
            "outcome": lambda what, _: Answer(outcome(what)),
            "look": lambda what, _: self._served.look(what),
            "list": lambda what, _: Answer({"files": listed(what)}),
            "read": lambda what, _: Answer({}, piece_of(what)),
        }

    def answer_all(self) -> None:
        """Answer until the other end goes, or is silent for so long that its network must be gone."""
        signal.signal(signal.SIGALRM, self._leave)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what was begun is done to its end
        threading.Thread(target=self._out.show_life, daemon=True).start()
        while True:
            try:
                signal.alarm(_IDLE_SECONDS)
                what, data = read_message(self._into)
                signal.alarm(0)
                self._out.is_awaited = True  # also while it sends a file: it asks next
                self._arriving.heard()
                self._once.heard()
            except Broken:
                self._arriving.forget()
                return
            if what["do"] == "heard":
                continue
            if what["do"] in ("new", "put"):
                self._take(what, data)
                continue
            try:
                trouble, self._trouble = self._trouble, None
                if trouble is not None:
                    raise trouble
                answer = self._answer(what, data)
            except Exception as error:  # noqa: BLE001 - the other end is told, whatever it is
                answer = Answer({"error": told(error)})
            self._out.is_awaited = False
            self._out.tell(answer.plain, answer.data)

    def _answer(self, what: Mapping[str, Any], data: bytes) -> Answer:
        do = self._do.get(what["do"])
        if do is not None:
            return do(what, data)
        if "idempotency_key" in what:
            return self._once.once(what, lambda: self._served.do(what, data))
        return self._served.do(what, data)

    def _leave(self, *_: object) -> None:
        self._arriving.forget()
        os._exit(0)

    def _take(self, what: Mapping[str, Any], data: bytes) -> None:
        """A message that has no answer: what goes wrong is told in the next answer."""
        try:
            if what["do"] == "new":
                self._trouble = None
                self._arriving.new(what)
            elif self._trouble is None:
                self._arriving.put(what, data)
        except Exception as error:  # noqa: BLE001 - as above
            self._trouble = error

    def _pool(self, what: Mapping[str, Any]) -> Pool:
        name = what.get("pool")
        known = self._pools.get(name)
        if known is None:
            known = self._pools[name] = choose_pool(name, self._reports).pool
        else:
            known.make_ready()
        return known

    def _pool_facts(self, what: Mapping[str, Any], _: bytes) -> Answer:
        pool = self._pool(what)
        return Answer(
            {
                "own": pool.own,
                "sends_mail": pool.sends_mail,
                "rewards_short_jobs": pool.rewards_short_jobs,
            }
        )

    def _workers(self, what: Mapping[str, Any], _: bytes) -> Answer:
        return Answer({"workers": self._pool(what).default_workers(int(what["count"]))})

    def _begin(self, what: Mapping[str, Any], _: bytes) -> Answer:
        self._arriving.begin(what, self._pool(what), self._reports)
        return Answer({})
