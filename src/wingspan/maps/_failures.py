"""From an error record to something that can be raised and read."""

from __future__ import annotations

import functools
import importlib.util
import linecache
import re
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wingspan._shown import shown
from wingspan._words import counted
from wingspan.maps._errors import ComponentError, ComponentErrors, ComponentTimeout, RemoteTraceback
from wingspan.maps._files import hint_for_missing
from wingspan.maps._own_files import is_own_file
from wingspan.worker import failure

__all__ = ["component_error", "describe_refusal", "raisable", "summary"]

_LINKS = {
    "cause": "The above exception was the direct cause of the following exception:",
    "context": "During handling of the above exception, another exception occurred:",
}


def render_traceback(chain: list[dict[str, Any]]) -> str:
    """A traceback as Python writes it.

    Source lines come from the worker, or from this machine where the worker had none.
    """
    parts: list[str] = []
    for exception in reversed(chain):
        lines = []
        if exception["frames"]:
            lines.append("Traceback (most recent call last):")
        for file, number, name, source in exception["frames"]:
            lines.append(f'  File "{file}", line {number}, in {name}')
            line = source or linecache.getline(file, number).strip()
            if line:
                lines.append(f"    {line}")
        kind = exception["type"]
        if exception["module"] not in ("builtins", "__main__", None):
            kind = f"{exception['module']}.{kind}"
        lines.append(f"{kind}: {exception['message']}" if exception["message"] else kind)
        lines += exception["notes"]
        parts.append("\n".join(lines))
        if exception["link"]:
            parts.append(_LINKS[exception["link"]])
    return "\n\n".join(parts) + "\n" if parts else ""


#: What most likely sent a signal that ended the process, and what to do about it.
_SENDERS = {
    "SIGKILL": "SIGKILL is what Linux sends when memory is over: ask for more with Options(request_memory=…)",
    "SIGTERM": "SIGTERM is a request to end, which the function itself, a library or a program that it called has sent: look there for "
    "kill, killpg or terminate",
    "SIGINT": "SIGINT is what Ctrl-C sends; here the function itself, a library or a program that it called has sent it: look there for kill",
    "SIGHUP": "SIGHUP is sent when a terminal is closed: the function made a terminal (a pty) its own, or something that it called has sent it",
    "SIGALRM": "a timer that the function set has run out (signal.alarm, setitimer): catch SIGALRM, or end the timer in a finally block",
    "SIGVTALRM": "a timer that the function set has run out (setitimer): catch the signal, or end the timer in a finally block",
    "SIGPROF": "a timer that the function or a profiler set has run out (setitimer): catch the signal, or end the timer in a finally block",
    "SIGPIPE": "it wrote to a pipe or socket that nobody reads any more, and the function had set SIGPIPE to SIG_DFL: leave it ignored",
    "SIGXCPU": "it used more processor time than the limit that was set for it (resource.RLIMIT_CPU, ulimit -t)",
    "SIGXFSZ": "it wrote a larger file than the limit that was set for it (resource.RLIMIT_FSIZE, ulimit -f)",
}
#: These come from the processor or the C library.
_FAULTS = frozenset({"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS", "SIGEMT"})


def _hint_of_signal(number: int) -> str:
    """The hint for a process that was ended by a signal."""
    name = next((one.name for one in signal.Signals if one == number), f"signal {number}")
    if name in _FAULTS:
        return "the fault is in compiled code: look at the last lines of its standard error"
    return _SENDERS.get(
        name,
        f"{name} was sent by the function, by something that it called, or by somebody on that machine: look for kill",
    )


def _hint_of_input(text: str) -> str:
    """What to do about an earlier map's output that is not there."""
    if text.endswith("which was removed"):
        return "make that map anew, and a new map of it"
    return "do that one again first (rerun), then this one"


def _what_happened(fields: dict[str, Any]) -> tuple[str, str, str | None]:
    """``(type name, text, hint)``."""
    chain, stage = fields["chain"], fields["stage"]
    if stage == "crash":
        text = fields.get("message", "ended")
        hint = None
        if fields.get("signal"):
            hint = _hint_of_signal(fields["signal"])
        elif fields.get("exit_code") is not None:
            hint = "the function ended the process (os._exit, or a library that does); raise an exception instead"
        was = "was " if fields.get("signal") else ""
        return "crash", f"the process that called the function {was}{text}", hint
    if stage == "timeout":
        return (
            "ComponentTimeout",
            fields.get("message", ""),
            "is it stuck? What it printed and said of its progress tells; "
            "else do it again with more: m.rerun(m.errors, options=Options(component_timeout=…))",
        )
    if stage == "lost":
        return (
            "lost",
            fields.get("message", ""),
            "m.rerun() does it again; if it takes its machine down, ask for more memory",
        )
    kind = chain[0]["type"] if chain else stage
    text = fields.get("message") or (chain[0]["message"] if chain else "")
    hint = None
    if stage == "output":
        return (
            "NotPicklable",
            text,
            "return plain data (numbers, strings, arrays, dicts) instead of what holds on to the machine",
        )
    if kind == "InputFailed":
        return kind, text, _hint_of_input(text)
    if stage == "input":
        hint = "the input could not be unpickled on the worker: is everything it needs installed there?"
        if "cannot be got" in text:
            hint = (
                "see whether that address can be read from a machine of the pool: its server may be down. m.rerun(m.errors) does "
                "these components again"
            )
        elif "input file" in text or kind in ("FileNotFoundError", "PermissionError"):
            hint = (
                "a file of this component did not arrive. If it has changed on purpose, make the map again; workers that share the disk, as "
                "Slurm's do, must see its path"
            )
    if kind in ("ModuleNotFoundError", "ImportError"):
        hint = "the module is not installed on the worker"
        if chain and _is_own(chain[0].get("missing")):
            hint = (
                f"{chain[0]['missing']} is your own, and did not travel: it is neither named where a function imports it, nor beside the "
                "script or in sys.path; import it at the top of your script"
            )
    return kind, text, hint


def _is_own(module: str | None) -> bool:
    """The module that the worker lacks is one of the user's own modules on this machine."""
    if not module:
        return False
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None and is_own_file(spec.origin)


def component_error(
    component: int,
    payload: bytes,
    *,
    load: Callable[[bytes], Any],
    host: str | None,
    worker: str,
    attempt: int,
    folders: Sequence[str] = (),
) -> ComponentError:
    """The error of one component; its exception is unpickled by `load` when somebody asks for it.

    Relative paths in its message may be meant relative to one of `folders`.
    """
    try:
        fields = failure.loads(payload)
    except ValueError as error:
        fields = failure.crash("lost", f"what its worker wrote of the failure cannot be read: {error}")
    kind, text, hint = _what_happened(fields)
    chain = fields["chain"]
    pickled = fields["exception"] if fields["stage"] != "output" else None
    if hint is None and fields["stage"] == "call":
        hint = hint_for_missing(kind, text, folders, host) or _hint_for_call(kind, text)
    peak = fields.get("peak_kib")
    plain = f"{kind}: {text}" if kind not in ("crash", "lost") and text else text or kind
    if fields["not_picklable"] and fields["stage"] == "call":
        plain += f" (the exception itself could not be sent: {fields['not_picklable']})"
    # What a person reads, and what Python prints if the error is not caught. Attributes hold the raw texts.
    kind_of_error = ComponentTimeout if fields["stage"] == "timeout" else ComponentError
    return kind_of_error(
        shown(f"component {component} failed: {plain}"),
        hint=hint,
        component=component,
        type_name=kind,
        text=text,
        traceback=shown(render_traceback(chain)),
        exception=None if pickled is None else functools.partial(load, pickled),
        given=fields["input"],
        host=host,
        worker=worker,
        attempt=attempt,
        signal=fields.get("signal"),
        exit_code=fields.get("exit_code"),
        peak_memory=None if peak is None else int(peak) * 1024,
        stderr=fields.get("stderr") or None,
        variables=tuple(
            (shown(name), {shown(one): shown(value) for one, value in found.items()})
            for name, found in fields.get("variables", ())
        ),
    )


def _hint_for_call(kind: str, text: str) -> str | None:
    """What to do if the user meant an input to be several arguments."""
    missing = kind == "TypeError" and re.search(r"missing \d+ required positional argument", text)
    return (
        "map gives the function one argument, a tuple too: wingspan.starmap(f, …) spreads it over several"
        if missing
        else None
    )


def raisable(error: ComponentError) -> BaseException:
    """What to raise for `error`: the component's own exception, with the remote traceback as its cause; or
    `error` itself.

    `error` is raised for exceptions that would mean something else in this process: what is no `Exception`
    (SystemExit, KeyboardInterrupt, asyncio's CancelledError) would end or interrupt the caller, and
    StopIteration and StopAsyncIteration would end a loop.
    """
    text = error.traceback
    where = f"on {error.host}, worker {error.worker}, attempt {error.attempt}, input {error.given}"
    exception = error.exception
    if not isinstance(exception, Exception) or isinstance(exception, StopIteration | StopAsyncIteration):
        if text:
            error.__cause__ = RemoteTraceback(f"{text}\n(component {error.component} {where})")
        return error
    own = BaseException.__dict__["__dict__"].__get__(
        exception
    )  # its class may do anything when it is asked for an attribute
    if own.get("component_error") is error:
        return exception
    own["component_error"] = error
    # The traceback's text tells what led to the exception on the worker. The exception that did is kept as
    # its context.
    kept = vars(BaseException)
    led = kept["__cause__"].__get__(exception) or kept["__context__"].__get__(exception)
    kept["__context__"].__set__(exception, led)
    kept["__cause__"].__set__(exception, RemoteTraceback(f"{text}\n(component {error.component} {where})"))
    notes = [f"component {error.component} of the map, {where}"]
    if error.hint:
        notes.append(f"Hint: {error.hint}")
    before = own.get("__notes__")
    own["__notes__"] = [*(before if isinstance(before, list | tuple) else ()), *notes]
    return exception


def summary(errors: Mapping[int, ComponentError], n: int, tag: str) -> ComponentErrors:
    """Many errors as one, grouped by kind and message."""
    kinds = Counter(error.type_name for error in errors.values())
    lines = [f"{len(errors):,} of {counted(n, 'component')} of map {tag!r} failed:"]
    for kind, count in kinds.most_common(10):
        examples = [error for error in errors.values() if error.type_name == kind]
        texts = Counter(error.text for error in examples)
        text, _ = texts.most_common(1)[0]
        others = f" (and {len(texts) - 1:,} other messages)" if len(texts) > 1 else ""
        first = min(error.component for error in examples)
        begins = text if len(text) <= 200 else text[:199] + "…"
        lines.append(shown(f"  {count:,} × {kind}: {begins}{others}; first in component {first}"))
        if hint := errors[first].hint:
            lines.append(shown(f"    {hint}"))
    if len(kinds) > 10:
        lines.append(f"  and {len(kinds) - 10} other kinds")
    exceptions = []
    for component in sorted(errors):
        exception = raisable(errors[component])
        exceptions.append(exception if isinstance(exception, Exception) else errors[component])
    return ComponentErrors(
        "\n".join(lines),
        exceptions,
        hint=f"wingspan errors {tag} shows them; m.errors holds them; m.rerun(m.errors) does them again",
        errors=errors,
    )


def describe_refusal(fields: dict[str, Any]) -> tuple[str, str]:
    """Why a worker refused: ``(message, hint)``."""
    fields = {"message": "?", **fields}
    if fields["stage"] == "interpreter":
        return (
            f"{fields['message']} ({fields.get('executable')})",
            "run the map with the Python that the workers have, or carry your environment to them; nothing was computed with the wrong one",
        )
    if fields["stage"] == "worker" and fields["chain"]:
        kind, text = fields["chain"][0]["type"], fields["chain"][0]["message"]
        return (
            f"the worker itself failed: {kind}: {text}\n{render_traceback(fields['chain'])}".rstrip(),
            "is its disk full, or a file of the map cut? What is finished is kept; m.rerun() does the rest",
        )
    if fields["chain"]:
        kind, text = fields["chain"][0]["type"], fields["chain"][0]["message"]
        hint = "the function cannot be loaded on the worker"
        if kind in ("ModuleNotFoundError", "ImportError"):
            hint = "the function needs a module that the workers do not have: install it there, or carry your environment to them"
        return (
            f"the function cannot be loaded: {kind}: {text}\n{render_traceback(fields['chain'])}".rstrip(),
            hint,
        )
    how = f"was {fields['message']}" if fields["message"].startswith("killed") else fields["message"]
    message = f"the process that calls the function does not start: it {how}"
    if fields.get("stderr"):
        return (
            f"{message}\n{str(fields['stderr']).rstrip()}",
            "the last lines of its standard error are above",
        )
    return (
        message,
        "it wrote nothing to standard error: look for what ends a process in the modules that the function imports",
    )
