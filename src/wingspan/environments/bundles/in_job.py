"""Build a bundle in a job: ``python -m …bundles.in_job MANIFEST ENVIRONMENT PLATFORM KIND [executable]``.

It writes the bundle, its digest and its companions into the folder ``bundle``, and says on standard output,
as lines of JSON, how far it is: `heard` passes that on to a `Progress`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from wingspan.errors import WingspanError
from wingspan.progress import Progress

__all__ = ["FOLDER", "PUBLISHED", "Heard", "main"]

#: Where the bundle is put, and once more where it is published from the job.
FOLDER, PUBLISHED = "bundle", "published"
#: Seconds between two lines about one piece of work.
_PACE = 0.5


class _Printing:
    """A `Progress` that prints."""

    def __init__(self) -> None:
        self._tasks: dict[int, list[float]] = {}

    def start(self, description: str, total: float | None = None) -> int:
        task = len(self._tasks)
        self._tasks[task] = [0.0, time.monotonic()]
        self._say(start=task, what=description, total=total)
        return task

    def advance(self, task: int, amount: float = 1) -> None:
        kept = self._tasks[task]
        kept[0] += amount
        if time.monotonic() >= kept[1] + _PACE:
            self._pass_on(task)

    def finish(self, task: int) -> None:
        self._pass_on(task)
        self._say(finish=task)

    def _pass_on(self, task: int) -> None:
        amount, self._tasks[task] = self._tasks[task][0], [0.0, time.monotonic()]
        self._say(advance=task, by=amount)

    def _say(self, **fields: object) -> None:
        print(json.dumps(fields), flush=True)  # noqa: T201 - the job's standard output is the way to who waits


class Heard:
    """Passes on to a `Progress` what a job has printed.

    Args:
        progress: Who wants to hear.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[int, int] = {}
        self._rest = ""

    def read(self, text: str) -> None:
        """Take what the job has printed since the last call; what it does not understand is passed over."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            try:
                said = json.loads(line)
                if "start" in said:
                    self._tasks[int(said["start"])] = self._progress.start(str(said["what"]), said["total"])
                elif "advance" in said:
                    self._progress.advance(self._tasks[int(said["advance"])], float(said["by"]))
                elif "finish" in said:
                    self._progress.finish(self._tasks.pop(int(said["finish"])))
            except (ValueError, KeyError, TypeError):
                continue

    def close(self) -> None:
        """Nothing more comes."""
        for task in self._tasks.values():
            self._progress.finish(task)
        self._tasks.clear()


def main(arguments: Sequence[str] | None = None) -> int:
    """Build; an error is one sentence on standard error, and exit code 1."""
    manifest, name, platform, kind, *more = sys.argv[1:] if arguments is None else arguments
    here = f"python={sys.version_info[0]}.{sys.version_info[1]}"
    wanted = next((one for one in more if one.startswith("python=")), here)
    if wanted != here:
        told = f"this machine has {here.replace('=', ' ')}, and the build tools that came along need {wanted.replace('=', ' ')}"
        print(f"wingspan-run: {told}", file=sys.stderr)  # noqa: T201
        return 1
    from wingspan.environments import load_environment
    from wingspan.environments.bundles.build import build_bundle
    from wingspan.environments.bundles.own.split import without_own

    try:
        env = load_environment(manifest, name, platform, check_lock=False)
        made = build_bundle(
            without_own(env), kind, directory=FOLDER, executable="executable" in more, progress=_Printing()
        )
        if PUBLISHED in more:
            Path(PUBLISHED).mkdir(exist_ok=True)
            for path in (made.path, made.path.with_name(f"{made.path.name}.sha256")):
                os.link(path, Path(PUBLISHED, path.name))
    except WingspanError as error:
        print(f"wingspan-run: {error.message}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
