"""Standard output and standard error of an executor."""

import io
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Printed(io.TextIOWrapper):
    """Standard output of the executor. It sets `written` when Python code has written to it."""

    #: One flag for both streams, in a list, because it is read after each component.
    written = [False]

    def write(self, text: "str") -> "int":
        self.written[0] = True
        return io.TextIOWrapper.write(self, text)

    def settle(self) -> "None":
        try:
            self.flush()
        except (OSError, ValueError):
            pass


def printing_to(descriptor: "int") -> "Printed":
    """A stream that writes to a descriptor, and does not close it."""
    return Printed(
        open(descriptor, "wb", closefd=False),  # noqa: SIM115 - for good
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )


def settle(stream: "Any") -> "None":
    """Flush an object that the user may have put in the place of a stream."""
    try:
        stream.flush()
    except Exception:
        return


def unbuffer_c() -> "None":
    """Switch off the buffers of C's standard streams (setvbuf(3)). They would not be flushed, and C's output
    would come after later output of Python.
    """
    try:
        import ctypes

        library = ctypes.CDLL(None)
        for name in ("stdout", "stderr") if sys.platform != "darwin" else ("__stdoutp", "__stderrp"):
            library.setvbuf(ctypes.c_void_p.in_dll(library, name), None, _UNBUFFERED, ctypes.c_size_t(0))
    except Exception:
        return


#: _IONBF of the C libraries of Linux; of macOS, too.
_UNBUFFERED = 2
