"""``wingspan run --rehearse``: what the job prints as it comes, and then how it fared."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from wingspan.cli._output import notes
from wingspan.cli._progress import progress
from wingspan.cli._terminal import echo

if TYPE_CHECKING:
    from wingspan.runs._request import RunRequest

__all__ = ["rehearse_run"]


def rehearse_run(request: RunRequest, *, pool: str | None, row: int, quiet: bool) -> int:
    """Rehearse a run; the exit code is the job's."""
    from wingspan.runs._rehearse import rehearse

    def printed(is_error: bool, data: bytes) -> None:
        stream = sys.stderr if is_error else sys.stdout
        stream.buffer.write(data)
        stream.flush()

    with notes(), progress(quiet=quiet) as told:
        done = rehearse(request, pool=pool, row=row, printed=printed, progress=told)
    echo(str(done), err=True)
    return done.code
