"""How a process ends in which the user's code has run: an executor that has done its work, and a process that
the user's code forked off.
"""

import os
import sys

from .printed import Printed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, NoReturn, Optional, Tuple

#: Whether the user's code has forked this process off: it must not speak for the executor. In a list, as it
#: is looked at after each component.
forked_off = [False]
#: Whether this process has come to its end.
_ending = [False]


def silence_forks(*pipes: "int") -> "None":
    """Let no process that the user's code forks off take inputs or tell results, should it come back from the
    function.
    """

    def after_in_child() -> "None":
        if forked_off[0]:  # a fork of a fork: those numbers are its own files now
            return
        forked_off[0] = Printed.written[0] = True  # the second ends a run of fast components here and now
        for pipe in pipes:
            os.close(pipe)

    if hasattr(os, "register_at_fork"):  # Python 3.7
        os.register_at_fork(after_in_child=after_in_child)


def end_as_python_ends(error: "Optional[BaseException]") -> "NoReturn":
    """A process that the user's code forked off came back from the function, or `error` did: it ends as a
    script would at its end.
    """
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
        _end_threads_and_call_exit_functions()
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


class Beginning(object):
    """What there was in this process before the user's code came: what is new since then has to be ended in
    order.
    """

    def __init__(self) -> "None":
        import atexit

        atexit.register(_let_go)  # called last, as it is registered first
        self._exit_functions = _exit_functions()
        self._files = _open_files()

    def is_unchanged(self) -> "bool":
        """The user's code has left no exit function, no thread that Python would wait for, and no file that
        is open for writing.
        """
        import threading

        if self._exit_functions is None or _exit_functions() != self._exit_functions:
            return False
        if any(
            thread is not threading.current_thread() and not thread.daemon for thread in threading.enumerate()
        ):
            return False
        return not self.has_open_files()

    def has_open_files(self) -> "bool":
        """Files are open for writing that were not, as far as the system tells."""
        files = _open_files()
        return files is None or any(
            _may_be_written(number)
            for number, identity in files.items()
            if (self._files or {}).get(number) != identity
        )


def _let_go() -> "None":
    """Drop what the user's modules hold, while the libraries that write open files to their end are whole.

    Python does this to the ``__main__`` of a script before all other modules. It does not know that these are
    such.
    """
    if not _ending[0]:
        return  # somebody else calls exit functions
    from . import own

    modules = own.modules_of_the_user()
    for private in (True, False):  # in the order of Python
        for module in modules:
            values = vars(module)
            for name in list(values):
                if (name[:1] == "_" and name[1:2] != "_") is private and name != "__builtins__":
                    values[name] = None


def _exit_functions() -> "Optional[int]":
    """How many functions `atexit` has; None where it does not tell."""
    import atexit

    try:
        return atexit._ncallbacks()
    except AttributeError:
        return None


def _open_files() -> "Optional[Dict[int, Tuple[int, int]]]":
    """Device and inode of each open file, by its number; None where the system does not tell."""
    files = {}
    try:
        for name in os.listdir("/dev/fd"):
            try:
                facts = os.fstat(int(name))
            except OSError:
                continue  # the list itself
            files[int(name)] = facts.st_dev, facts.st_ino
    except OSError:
        return None
    return files


def _may_be_written(number: "int") -> "bool":
    import fcntl

    try:
        return fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    except OSError:
        return False


def _end_threads_and_call_exit_functions() -> "None":
    """What Python does first at the end of a script, in its order."""
    import atexit
    import threading

    _ending[0] = True
    # It waits for threads, and tells those of concurrent.futures to end. Python 3.7 and older take it ill to
    # be asked twice.
    shutdown, threading._shutdown = threading._shutdown, _nothing  # type: ignore[attr-defined]
    shutdown()
    atexit._run_exitfuncs()


def _nothing() -> "None":
    """In place of what has been done."""


def end_in_order(beginning: "Beginning") -> "NoReturn":
    """The executor has done its work: end as Python does at the end of a script.

    Python waits for threads, calls what was registered with `atexit`, and takes apart what is left, so that
    open files are written to their end. To take large libraries apart takes long: it is done only where files
    are still open after the user's modules have let go of theirs.
    """
    if not beginning.is_unchanged():
        try:
            _end_threads_and_call_exit_functions()
        except BaseException:
            sys.excepthook(*sys.exc_info())
        if beginning.has_open_files():
            _leave_no_core_file()
            try:
                import ctypes

                # Not sys.exit: the supervisor, whose frames lie below ours, has its own way to clear up.
                ctypes.pythonapi.Py_Exit(0)
            except (ImportError, AttributeError):
                pass  # not to be had in this Python
        end_as_python_ends(None)
    os._exit(0)


def _leave_no_core_file() -> "None":
    """Some libraries crash when they are taken apart. The work is done: nobody needs a core file."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    except (ImportError, OSError, ValueError):
        pass
