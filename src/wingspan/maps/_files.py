"""Files that a component misses and that are on this machine, and files that it writes and nobody gets."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from wingspan._words import counted

__all__ = ["hint_for_missing", "told_of_left"]

#: The words in which libraries say that a file is missing.
_MISSING = re.compile(
    r"no such file|does not exist|not found|cannot find|can't find|unable to (?:synchronously )?open|no such directory",
    re.IGNORECASE,
)
#: Names of files in messages: in quotes, or a word with an ending.
_QUOTED = re.compile(r"""['"`]([^'"`\n]{1,500})['"`]|(?:^|[\s=:(])([\w./~-]+\.\w{1,10})(?=$|[\s,;:)])""")


def hint_for_missing(kind: str, text: str, folders: Sequence[str], host: str | None) -> str | None:
    """What to do about a file that a component has not found; None if the error is about no file.

    Args:
        kind: Type of the exception.
        text: Its message.
        folders: A relative path may be meant relative to these: the folder that the map was made in, that of
            its function's file, and the working folder.
        host: Where the component ran.
    """
    if kind not in ("FileNotFoundError", "NotADirectoryError") and not (
        kind.endswith(("Error", "Exception"))
        and _MISSING.search(text)
        and kind not in ("KeyError", "ModuleNotFoundError")
    ):
        return None
    names = [quoted or word for quoted, word in _QUOTED.findall(text)]
    for name in dict.fromkeys(names):
        if name.startswith("/"):
            if _is_there(name):
                return (
                    f"{name} is on this machine and not on {host or 'that one'}: pass wingspan.TransferPath({name!r}) as an argument, name it "
                    "in Options(input_files=[…]), or put it where the workers see it"
                )
            continue
        for folder in dict.fromkeys(folders):
            here = os.path.normpath(os.path.join(folder, os.path.expanduser(name)))  # noqa: PTH111, PTH118 - the same
            if name and _is_there(here):
                return (
                    f"{name} is in {folder}, and components run in another folder, which on a pool is empty. "
                    f"Options(input_files=[{name!r}]) gives it to all components, wingspan.TransferPath({name!r}) as an argument to one. Or give "
                    f"its whole path, {here}, if the workers see that one"
                )
    if kind != "FileNotFoundError":
        return None
    return (
        "components run in a folder of their own, which on a pool is empty: files that are beside your script are not there. "
        "Options(input_files=[…]) gives them to all components, wingspan.TransferPath(path) as an argument to one"
    )


def _is_there(path: str) -> bool:
    try:
        return os.path.exists(path)  # noqa: PTH110 - a piece of a message, which may be anything
    except (OSError, ValueError):
        return False


def told_of_left(tag: str, names: Sequence[str]) -> str | None:
    """A sentence about files that components wrote into a folder that is removed with their job; None if
    there are none."""
    if not names:
        return None
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")
    return (
        f"components of map {tag!r} wrote {counted(len(names), 'file')} that nobody gets ({shown}): the folder that they run in goes with their "
        "job. wingspan.component().transfer_output_files(…) in the function sends them: m.output_files has them then"
    )
