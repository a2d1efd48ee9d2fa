"""Text that says why: lines under the reason for them; sizes and times as schedulers write them."""

from __future__ import annotations

from wingspan._shown import shown

__all__ = ["DEFAULT_MEMORY", "DEFAULT_TIME", "Reasoned", "clock", "mebibytes", "one_line"]

#: Bytes and seconds that are written where the user has said none; the comment in the file says so.
DEFAULT_MEMORY = 2 << 30
DEFAULT_TIME = 3600


class Reasoned:
    """Lines of a submit description, each group under a comment with its reason.

    >>> text = Reasoned("A title")
    >>> text.say("One is enough.", "request_cpus = 1", None)
    >>> print(text, end="")
    # A title
    <BLANKLINE>
    # One is enough.
    request_cpus = 1
    """

    def __init__(self, *title: str) -> None:
        self._lines = [*(f"# {line}" for line in title), ""]

    def say(self, why: str, *lines: str | None) -> None:
        """Add `lines` (None: not that one), and the reason."""
        self._lines += [f"# {why}", *(line for line in lines if line is not None), ""]

    def __str__(self) -> str:
        return "\n".join(self._lines).rstrip("\n") + "\n"


def mebibytes(size: int) -> int:
    """MiB, rounded up.

    >>> mebibytes(1), mebibytes(2 << 20)
    (1, 2)
    """
    return -(-size // (1 << 20))


def clock(seconds: int) -> str:
    """Seconds as Slurm writes them.

    >>> clock(3661), clock(90000)
    ('01:01:01', '1-01:00:00')
    """
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}-{clock}" if days else clock


def one_line(text: str) -> str:
    """`text` in one line of at most 110 characters."""
    line = shown(" ".join(text.split()))
    line = line if len(line) <= 110 else line[:109] + "…"
    return f"{line} ." if line.endswith("\\") else line  # which would join the next line to it
