"""How a process ends in which the user's code has run."""

import os
import sys

from .printed import Printed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, Optional

#: Whether the user's code has forked this process off: it must not speak for the executor. In a list, as it is looked at after each component.
forked_off = [False]


def silence_forks(*pipes: "int") -> "None":
    """Let no process that the user's code forks off take inputs or tell results, should it come back from the function."""

    def after_in_child() -> "None":
        if forked_off[0]:  # a fork of a fork: those numbers are its own files now
            return
        forked_off[0] = Printed.written[0] = True  # the second ends a run of fast components here and now
        for pipe in pipes:
            os.close(pipe)

    if hasattr(os, "register_at_fork"):  # Python 3.7
        os.register_at_fork(after_in_child=after_in_child)


def end_as_python_ends(error: "Optional[BaseException]") -> "NoReturn":
    """A process that the user's code forked off came back from the function, or `error` did: it ends as a script would at its end."""
    code = 0
    try:
        if isinstance(error, SystemExit):
            if isinstance(error.code, int):
                code = error.code
            elif error.code is not None:
                sys.stderr.write("%s\n" % (error.code,))
                code = 1
        elif error is not None:
            code = 1
            sys.excepthook(type(error), error, error.__traceback__)
    except BaseException:
        code = 1
    try:
        import threading

        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        import atexit

        atexit._run_exitfuncs()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            code = code or 120  # as Python says it
    if isinstance(error, KeyboardInterrupt):
        import signal

        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code & 0xFF)
