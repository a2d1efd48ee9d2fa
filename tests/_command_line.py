"""Runs the command line in this process, as another process would see it.

A process of its own takes a quarter of a second of the processor for its imports. Tests of what commands say
and do need not pay for that again and again. What is about a process (signals, terminals, its end) starts a
real one.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from wingspan.cli import main

__all__ = ["wingspan_here"]


def wingspan_here(
    *words: str, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``wingspan`` with these words in this process: its exit code, and what it has written.

    Its streams are files, by their descriptors too, so processes that it starts write to them. Its standard
    input is empty.

    Args:
        words: Of the command line.
        cwd: The folder it runs in; None for the present one.
        env: Variables that it has besides those of this process.
    """
    code = 0
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        open(os.devnull, "rb") as nothing,  # noqa: PTH123 - as a stream
        _surroundings(cwd, env or {}),
        _streams(nothing, out, err),
        _as_without_pytest(),
    ):
        try:
            main(list(words))
        except SystemExit as ended:
            if isinstance(ended.code, str):
                print(ended.code, file=sys.stderr)
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:  # as the interpreter does
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        texts = [os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode() for file in (out, err)]
    return subprocess.CompletedProcess(["wingspan", *words], code, *texts)


@contextlib.contextmanager
def _streams(*files: IO[bytes]) -> Iterator[None]:
    """Descriptors 0, 1 and 2, and what `sys` has of them, are these files."""
    names = ("stdin", "stdout", "stderr")
    before = [getattr(sys, name) for name in names]
    for stream in before[1:]:
        stream.flush()
    kept = [os.dup(number) for number in range(3)]
    try:
        for number, (name, file) in enumerate(zip(names, files, strict=True)):
            os.dup2(file.fileno(), number)
            raw = open(number, "wb" if number else "rb", closefd=False)
            setattr(sys, name, io.TextIOWrapper(raw, encoding="utf-8", write_through=number > 0))
        yield
    finally:
        for number, (name, stream) in enumerate(zip(names, before, strict=True)):
            with contextlib.suppress(OSError, ValueError):
                getattr(sys, name).flush()
            setattr(sys, name, stream)
            os.dup2(kept[number], number)
            os.close(kept[number])


@contextlib.contextmanager
def _surroundings(cwd: Path | None, env: dict[str, str]) -> Iterator[None]:
    """A folder and variables, for a while."""
    folder, variables = Path.cwd(), os.environ.copy()
    os.environ.update(env)
    try:
        if cwd is not None:
            os.chdir(cwd)
        yield
    finally:
        os.chdir(folder)
        for name in set(os.environ) - set(variables):
            del os.environ[name]
        os.environ.update(variables)


@contextlib.contextmanager
def _as_without_pytest() -> Iterator[None]:
    """Notices and warnings go to standard error, as in a process of its own: pytest would keep them."""
    root = logging.getLogger()
    kept = root.handlers[:]
    with warnings.catch_warnings():
        warnings.resetwarnings()
        for unseen in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", unseen)
        warnings.showwarning = _show_warning
        root.handlers[:] = []
        try:
            yield
        finally:
            root.handlers[:] = kept


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: str | None = None,
) -> None:
    sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))
