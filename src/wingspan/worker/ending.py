"""How a process ends that has executed the user's code: an executor that has done its work, or a process that
the user's code forked.
"""

import os
import sys

from .printed import Printed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, NoReturn, Optional, Tuple

#: Whether the user's code has forked this process. It must not report results for the executor then. This is
#: a list, because it is read after each component.
forked_off = [False]
#: Whether this process is ending.
_ending = [False]


def silence_forks(*pipes: "int") -> "None":
    """Make sure that a process that the user's code forks takes no inputs and reports no results if it
    returns from the function.
    """

    def after_in_child() -> "None":
        if forked_off[0]:  # a fork of a fork: these descriptors are its own files now
            return
        forked_off[0] = Printed.written[0] = True  # the second ends a run of fast components here and now
        for pipe in pipes:
            os.close(pipe)

    if hasattr(os, "register_at_fork"):  # Python 3.7
        os.register_at_fork(after_in_child=after_in_child)


def end_as_python_ends(error: "Optional[BaseException]") -> "NoReturn":
    """End a process that the user's code forked, and that has returned from the function or raised `error`.
    It ends as a script does.
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
    """The state of this process before the user's code ran. Whatever is new since then is ended in order."""

    def __init__(self) -> "None":
        import atexit

        atexit.register(_let_go)  # exit functions are called in reverse order: this one last
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
    """Drop the values of the user's modules while the libraries that complete open files still work.

    Python does this with the ``__main__`` of a script before all other modules. It does not know that these
    modules are alike.
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
    """How many functions `atexit` has; None if Python does not tell."""
    import atexit

    try:
        return atexit._ncallbacks()
    except AttributeError:
        return None


def _open_files() -> "Optional[Dict[int, Tuple[int, int]]]":
    """Device and inode of each open file by its descriptor; None if the system does not tell."""
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
    """Do what Python does first at the end of a script, in the same order."""
    import atexit
    import threading

    _ending[0] = True
    # It waits for threads, and ends those of concurrent.futures. In Python 3.7 and older a second call fails.
    shutdown, threading._shutdown = threading._shutdown, _nothing  # type: ignore[attr-defined]
    shutdown()
    atexit._run_exitfuncs()


def _nothing() -> "None":
    """Replaces functions that were called already."""


def end_in_order(beginning: "Beginning") -> "NoReturn":
    """End the executor, which has done its work, as Python ends at the end of a script.

    Python waits for threads, calls the functions registered with `atexit`, and finalizes modules, so that
    open files are completed. Finalizing large libraries takes long, so it is done only if files are still
    open after the user's modules were cleared.
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

                # Not sys.exit: the supervisor's frames lie below ours, and would clean up for it.
                ctypes.pythonapi.Py_Exit(0)
            except (ImportError, AttributeError):
                pass  # this Python does not have it
        end_as_python_ends(None)
    os._exit(0)


def _leave_no_core_file() -> "None":
    """Some libraries crash when they are finalized. The work is done then, so no core file is needed."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    except (ImportError, OSError, ValueError):
        pass
