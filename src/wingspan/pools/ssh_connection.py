"""The laptop's end of a connection to the `wingspan` of an access point.

OpenSSH's own ``ssh`` is started, with the user's own configuration. At the other end it starts
``wingspan serve``, which answers requests one after another. A connection lasts as long as this process; one
that broke is opened again by the next request.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import attrs

from wingspan._shell import quoted
from wingspan._shell import words as shell_words
from wingspan._version import __version__
from wingspan._words import notice
from wingspan.errors import PoolError, PoolUnavailable, SettingsError, WingspanError
from wingspan.pools.ssh_frames import FIRST_LINE, PROTOCOL, Broken, read_message, write_message
from wingspan.pools.ssh_pipes import SILENCE_SECONDS, Pipes, Silent
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.settings import load_settings, private_folder

__all__ = ["PREFIX", "Address", "Connection", "Unreached", "connection_to", "making_sense", "shell_there"]

#: Names of pools on the other side of SSH begin with this.
PREFIX = "ssh://"
#: Seconds that ssh may take to reach the machine.
_CONNECT_SECONDS = 15
#: ssh asks the other machine after so many seconds of silence whether it is there, and gives up when so many
#: questions had no answer. The machine answers them, also while the Wingspan there is silent.
_ALIVE_SECONDS, _ALIVE_QUESTIONS = 10, 3
#: Seconds for ssh's master process, which is on this machine, to do what it is told.
_MASTER_SECONDS = 5
#: Seconds until the other end has said its first line: its home may lie on a file system that is slow, or
#: that does not answer at all.
_FIRST_LINE_SECONDS = 120
#: Seconds for which ssh keeps a connection open that nobody uses, for the next process of this user.
_KEEP_SECONDS = 600
#: How much the shell of the access point may print before our first line (bytes).
_MOST_NOISE = 1 << 16
#: The longest path of a Unix socket, with what ssh appends to it (bytes).
_MOST_PATH = 85
#: Where people have programs that an ssh command finds on no PATH.
_PLACES = ("$HOME/.local/bin/wingspan", "$HOME/.pixi/bin/wingspan", "$HOME/bin/wingspan")


@attrs.frozen
class Address:
    """Which access point, and which of its pools.

    Attributes:
        host: As ssh takes it: ``host`` or ``user@host``; a name of ``~/.ssh/config`` too.
        port: None: as ssh's configuration says.
        pool: Kind of the pool over there; None: the access point chooses.
    """

    host: str
    port: int | None = None
    pool: str | None = None

    @classmethod
    def parse(cls, kind: str) -> Address:
        """What ``ssh://[user@]host[:port][/pool]`` names.

        Raises:
            SettingsError: It names none.

        >>> Address.parse("ssh://ada@ap2001.chtc.wisc.edu/htcondor")
        Address(host='ada@ap2001.chtc.wisc.edu', port=None, pool='htcondor')
        """
        try:
            parts = urlsplit(kind)
            port = parts.port
        except ValueError:
            parts = urlsplit(PREFIX)
            port = None
        host = parts.netloc.rpartition(":")[0] if port is not None else parts.netloc
        pool = parts.path.strip("/")
        # A host that begins with a dash would be an option of ssh.
        if not re.fullmatch(r"([A-Za-z0-9_.+-]+@)?[A-Za-z0-9_][A-Za-z0-9_.-]*", host) or host.startswith("-"):
            raise SettingsError(
                f"{kind!r} names no access point", hint='for example pool="ssh://ada@ap1.example.org"'
            )
        if not re.fullmatch(r"[a-z0-9_-]*", pool) or parts.query or parts.fragment or parts.password:
            raise SettingsError(
                f"{kind!r} has something behind the host that is no pool",
                hint=f'pool="{PREFIX}{host}" or "{PREFIX}{host}/slurm"',
            )
        return cls(host, port, pool or None)

    @property
    def name(self) -> str:
        """The host alone, as the settings name it."""
        return self.host.rpartition("@")[2]


class Unreached(PoolUnavailable):
    """An access point cannot be reached, or the connection to it broke."""


class Connection:
    """An ssh that has a ``wingspan serve`` at its other end.

    Args:
        address: Which access point.

    Attributes:
        facts: What the other end says of itself.
        progress: Hears of long work of the other end, while it is waited for.

    Raises:
        Unreached: It cannot be reached, or has no Wingspan that answers.
        PoolUnavailable: Its Wingspan is of another version.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.process_id: int = os.getpid()
        self.is_open: bool = True
        self.progress: Progress = NO_PROGRESS
        self._tasks: dict[int, int] = {}
        self._lock = threading.RLock()
        self._last_words = ""
        command = _command(address, ["serve"], "-T", "-o", "BatchMode=yes")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe would be held open by ssh's master
        try:
            self._ssh = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,  # Ctrl-C is ours to answer
                bufsize=0,
            )
        except BaseException as error:
            self._errors.close()
            if isinstance(error, OSError):
                raise PoolUnavailable(f"ssh cannot be started: {error}", hint="install OpenSSH") from error
            raise
        assert self._ssh.stdin is not None
        assert self._ssh.stdout is not None
        self._pipes = Pipes(self._ssh.stdin, self._ssh.stdout)
        limit = threading.Timer(_FIRST_LINE_SECONDS, self._give_up)
        limit.daemon = True
        limit.start()
        try:
            self._skip_noise()
            self.facts: dict[str, Any] = read_message(self._pipes)[0]
            self._pipes.patience = SILENCE_SECONDS
        except BaseException as error:
            self.close()
            if isinstance(error, Broken | OSError):
                raise self._unreachable() from None
            raise
        finally:
            limit.cancel()
        self._check_versions()

    def _give_up(self) -> None:
        """The other end is silent for too long."""
        words = f"it took the connection, and said nothing for {_FIRST_LINE_SECONDS} seconds\n"
        with contextlib.suppress(OSError, ValueError):  # it was closed this moment
            os.write(self._errors.fileno(), words.encode())
        self._ssh.kill()

    def _skip_noise(self) -> None:
        left = _MOST_NOISE
        while (line := self._pipes.readline(left)) != FIRST_LINE:
            left -= len(line)
            if not line or left <= 0:
                raise Broken("no Wingspan answered")

    def _check_versions(self) -> None:
        there = str(self.facts.get("wingspan"))
        if there != __version__ or self.facts.get("protocol") != PROTOCOL:
            self.close()
            raise PoolUnavailable(
                f"the Wingspan of {self.address.name} is {there}, and this one is {__version__}: they have to be the same",
                hint=f"pip install wingspan=={there} here, or the other one there",
            )

    def _said(self) -> str:
        """What ssh, or the other end, has written to standard error."""
        if self._errors.closed:
            return self._last_words
        self._errors.seek(0)
        return self._errors.read(4000).decode("utf-8", "replace").strip()

    def _unreachable(self) -> Unreached:
        host = self.address.name
        said = self._said()
        last = said.splitlines()[-1].strip() if said else "the connection was closed"
        if re.search(r"wingspan.*(not found|No such file)|No such command", last):
            return Unreached(
                f"{host} has no Wingspan {__version__} that an ssh command finds: {last}",
                hint=f'install it there (pip install wingspan=={__version__}), or say where it is: command = "/path/to/wingspan" '
                f'below [ssh."{host}"] in {load_settings().config_file}',
            )
        return Unreached(
            f"{host} is not reached: {last}",
            hint=f"see whether `ssh -o BatchMode=yes {self.address.host} true` works: nobody can answer questions here. "
            "Where ssh asks for a password or a second factor, set ControlMaster and ControlPath in ~/.ssh/config, "
            "and log in once in a terminal",
        )

    def ask(self, do: str, data: bytes | memoryview = b"", /, **what: Any) -> tuple[dict[str, Any], bytes]:
        """Have something done over there. Returns the answer.

        Raises:
            WingspanError: What was raised there.
            Unreached: The connection broke; it is not known what was done.
        """
        with self._lock, self._whole():
            write_message(self._pipes, {"do": do, **what}, data)
            self._pipes.flush()
            while True:
                answer, payload = read_message(self._pipes)
                if "alive" in answer:
                    continue  # it is at work
                if "notice" in answer:
                    notice(f"{self.address.name}: {answer['notice']}")
                elif "progress" in answer:
                    with making_sense(self.address):
                        self._hear(*answer["progress"])
                else:
                    break
        if "error" in answer:
            with making_sense(self.address):
                error = error_of(answer["error"])
            raise error
        return answer, payload

    def _hear(self, what: str, task: int, told: Any, total: float | None) -> None:
        """Long work of the other end: a piece of it begins, has come further, or is over."""
        if what == "start":
            self._tasks[task] = self.progress.start(str(told), None if total is None else float(total))
        elif task in self._tasks and what == "advance":
            self.progress.advance(self._tasks[task], float(told))
        elif task in self._tasks:
            self.progress.finish(self._tasks.pop(task))

    def tell(self, do: str, data: bytes | memoryview = b"", /, **what: Any) -> None:
        """The same without an answer: what goes wrong is the answer to the next question."""
        with self._lock, self._whole():
            write_message(self._pipes, {"do": do, **what}, data)

    def say_goodbye(self) -> None:
        """Tell the other end that its last answer was heard, unless a request is under way."""
        if self.is_alive and self._lock.acquire(blocking=False):
            try:
                with contextlib.suppress(PoolUnavailable, Broken, OSError):
                    self.tell("heard")
                    self._pipes.flush()
            finally:
                self._lock.release()

    @contextlib.contextmanager
    def _whole(self) -> Any:
        """Within the block, messages are exchanged.

        If anything interrupts that, this connection is not used again.
        """
        try:
            yield
        except Silent as error:
            self.close(waits=False)
            _leave_master(self.address)
            raise Unreached(
                f"{self.address.name} is not reached: {error}; the network may be gone",
                hint="what is there goes on; the next look connects anew",
            ) from None
        except (Broken, OSError):
            self.close()
            raise self._unreachable() from None
        except BaseException:
            self.close()
            raise

    def close(self, *, waits: bool = True) -> None:
        """End it: the other end finishes what it is at, and goes.

        Args:
            waits: Give ssh a moment to say why it ends.
        """
        self.is_open = False
        self._pipes.close()
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._ssh.wait(0.5 if waits else 0.0)
        if self._ssh.poll() is None:
            self._ssh.terminate()
            self._ssh.wait()
        self._last_words = self._said()
        self._errors.close()

    @property
    def is_alive(self) -> bool:
        """It can be used by this process, as far as is known."""
        return self.is_open and self.process_id == os.getpid() and self._ssh.poll() is None


@contextlib.contextmanager
def making_sense(address: Address) -> Iterator[None]:
    """Within the block, an answer of an access point is read: one of another form becomes an error.

    Raises:
        PoolError: It has another form.
    """
    try:
        yield
    except WingspanError:
        raise
    except (
        AttributeError,
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        OverflowError,
        RecursionError,
    ) as error:
        raise PoolError(
            f"{address.name} has sent an answer that makes no sense: {type(error).__name__}: {error!s:.200}",
            hint="look at the map or run there, or try again",
        ) from error


def error_of(plain: Any) -> WingspanError:
    """The error that the other end has told of. Only Wingspan's own classes are taken, by name."""
    name, module = str(plain.get("type")), str(plain.get("module"))
    found: Any = None
    if re.fullmatch(r"wingspan(\.(?!__)[a-z_]+)+", module):  # to import a __main__ would execute it
        with contextlib.suppress(ImportError):
            found = getattr(importlib.import_module(module), name, None)
    if not (isinstance(found, type) and issubclass(found, WingspanError)):
        found = PoolError
    message, hint = str(plain.get("message")), plain.get("hint")
    error: WingspanError = found.__new__(found, message)
    WingspanError.__init__(error, message, hint=None if hint is None else str(hint))
    return error


def _given(address: Address) -> list[str]:
    """What this user has said of how to reach it."""
    given = ["-p", str(address.port)] if address.port is not None else []
    if config := _setting(address.name, "config"):
        given += ["-F", os.path.expanduser(config)]  # noqa: PTH111 - a word of a command line
    return given


def _leave_master(address: Address) -> None:
    """Have the next ssh make a connection of its own: the one that they share is silent.

    Only that of Wingspan is left. One that the user's own configuration shares may not be made again without
    the user.
    """
    given = _given(address)
    shared = [
        word for name, value in _shared(given, address.host).items() for word in ("-o", f"{name}={value}")
    ]
    if shared:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                ["ssh", *shared, *given, "-O", "stop", "--", address.host],
                capture_output=True,
                stdin=subprocess.DEVNULL,
                check=False,
                timeout=_MASTER_SECONDS,
            )


def _command(address: Address, words: Sequence[str], *options: str) -> list[str]:
    """The command line of ssh that has the Wingspan over there execute `words`."""
    if shutil.which("ssh") is None:
        raise PoolUnavailable("this machine has no ssh", hint="install OpenSSH's client")
    given = _given(address)
    usual = {
        "ConnectTimeout": str(_CONNECT_SECONDS),
        "ServerAliveInterval": str(_ALIVE_SECONDS),
        "ServerAliveCountMax": str(_ALIVE_QUESTIONS),
        **_shared(given, address.host),
    }
    usual_words = [word for name, value in usual.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", *options, *usual_words, *given, "--", address.host, _there(address.name, words)]


def shell_there(kind: str, words: Sequence[str]) -> Callable[[], int]:
    """A function that has the Wingspan of an access point execute `words` on this terminal, and returns
    their exit code.
    """
    command = _command(Address.parse(kind), words, "-t" if sys.stdin.isatty() else "-T")
    return lambda: subprocess.run(command, check=False).returncode


def _setting(host: str, name: str) -> str | None:
    """What the settings say of a host.

    Raises:
        SettingsError: It is no text.
    """
    settings = load_settings()
    table = settings.ssh.get(host)
    own = table.get(name) if isinstance(table, dict) else None
    if own is not None and not isinstance(own, str):
        raise SettingsError(
            f'{settings.config_file}: {name} of [ssh."{host}"] is {own!r:.40}', hint=f'write {name} = "…"'
        )
    return own or None


def _shared(given: list[str], host: str) -> dict[str, str]:
    """Options by which later processes use this connection, too; none where the user's own say how."""
    told = subprocess.run(
        ["ssh", "-G", *given, "--", host], capture_output=True, stdin=subprocess.DEVNULL, check=False
    ).stdout
    if re.search(rb"^controlpath (?!none)", told, re.MULTILINE):
        return {}
    folder = private_folder(load_settings().cache_dir, "ssh")
    if len(os.fsencode(folder)) + 41 > _MOST_PATH:
        return {}
    return {"ControlMaster": "auto", "ControlPath": f"{folder}/%C", "ControlPersist": str(_KEEP_SECONDS)}


def _there(host: str, words: Sequence[str]) -> str:
    """What the shell over there executes, whichever shell it is."""
    own = _setting(host, "command")
    if own:
        program = f'"$HOME"/{quoted(own[2:])}' if own.startswith("~/") else quoted(own)
        script = f'exec {program} "$@"'
    else:
        places = " ".join(f'"{place}"' for place in ("wingspan", *_PLACES))
        script = (
            f'for one in {places}; do command -v "$one" >/dev/null 2>&1 && exec "$one" "$@"; done; '
            "echo wingspan: not found >&2; exit 127"
        )
    return shell_words(["exec", "sh", "-c", script, "wingspan", *words])


_connections: dict[Address, Connection] = {}
_opening = threading.Lock()


def connection_to(address: Address) -> Connection:
    """The connection of this process to an access point; opened if there is none.

    Raises:
        PoolUnavailable: It cannot be reached.
    """
    with _opening:
        known = _connections.get(address)
        if known is None or not known.is_alive:
            if known is not None and known.process_id == os.getpid():
                known.close()
            known = _connections[address] = Connection(address)
        return known


@atexit.register
def close_all() -> None:
    """End all connections of this process."""
    for known in _connections.values():
        if known.process_id == os.getpid():
            known.say_goodbye()
            known.close(waits=False)
    _connections.clear()
