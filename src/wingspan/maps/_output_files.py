"""Files that components have sent: where they are, and copying them to a folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

from wingspan._kept_files import copy_back
from wingspan.maps._components import ERROR
from wingspan.maps._outputs import Outputs
from wingspan.maps._reports import Reports
from wingspan.maps._waiting import Timeout
from wingspan.worker import trust
from wingspan.worker.departing import SENT, folder_name

__all__ = ["Fetching", "OutputFiles"]


class OutputFiles(Sequence[Path]):
    """The folders with the files that components have sent (``transfer_output_files``), one a component.

    Indexing waits until the component is done, as indexing the map does. A component that sent nothing has an
    empty folder. After a rerun another folder counts, and the older one is removed.
    """

    def __init__(self, made: Outputs) -> None:
        self._map = made

    @property
    def root(self) -> Path:
        """The folder that they are in; it is there once a component has sent something."""
        return Path(self._map._folder.path / SENT)

    def __len__(self) -> int:
        return len(self._map)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> list[Path]: ...
    def __getitem__(self, index: int | slice) -> Path | list[Path]:
        if isinstance(index, slice):
            return [self.get(component) for component in range(*index.indices(len(self)))]
        return self.get(index)

    def get(self, component: int, timeout: Timeout = None) -> Path:
        """The folder with the files of a component.

        Args:
            component: Its number; negative ones count from the end.
            timeout: Seconds (or a timedelta) to wait for it; None waits for ever, 0 not at all.

        Raises:
            OutputNotReady: It is not done, and `timeout` is 0.
            MapTimeout: It was not done in time.
            Exception: The component's own, if it failed and had sent nothing before.
        """
        number = self._map._finished_component(component, timeout)
        folder = self._where(number)
        self._map._keeper.bring(folder.relative_to(self._map._folder.path).as_posix())
        if not folder.is_dir():
            if self._map._keeper.results.state[number] == ERROR:
                self._map._output(number)  # raises the component's exception
            with contextlib.suppress(OSError):
                trust.make_folder(str(folder))
        self._remove_older(number)
        return folder

    def _where(self, number: int) -> Path:
        results = self._map._keeper.results
        name = folder_name(results.round_of(number), results.start_of(number).name)
        path = self.root / str(number) / name
        if path.is_symlink():
            raise self._map._folder.damaged(f"{path} is a link, and workers make folders")
        return path

    def _remove_older(self, number: int) -> None:
        """Remove what was sent in rounds that do not count any more, and what was sent in part."""
        first = self._map._keeper.results.first_round_that_counts(number)
        finished = self._map._keeper.finished
        if not first and not finished:
            return
        with contextlib.suppress(OSError):
            for one in self._where(number).parent.iterdir():
                told = one.name.removeprefix(".").partition("-")[0]
                in_part = finished and one.name.startswith(".")
                if in_part or (told.isdigit() and int(told) < first):
                    shutil.rmtree(one, ignore_errors=True)

    def files(self, component: int) -> dict[str, Path]:
        """The files of a component that is done: relative path -> where it lies.

        Links are left out: no file of another folder is ever taken for one of these.
        """
        folder, found = self.get(component, 0), {}
        for around, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                path = Path(around, name)
                with contextlib.suppress(FileNotFoundError):  # another process has removed an older round's
                    if stat.S_ISREG(path.lstat().st_mode):
                        found[path.relative_to(folder).as_posix()] = path
        return found


class Fetching(Reports):
    """The part of a `Map` that has the files of its components."""

    @property
    def output_files(self) -> OutputFiles:
        """The folders with the files that components have sent: ``m.output_files[3] / "out.csv"``."""
        return OutputFiles(self)

    def fetch(
        self, to: str | Path = ".", components: Iterable[int] | None = None, *, overwrite: bool = False
    ) -> dict[int, tuple[Path, ...]]:
        """Copy the files that components have sent to a folder: those of component 3 go to ``<to>/<tag>/3``.

        Args:
            to: The folder.
            components: Their numbers; None: all that are done.
            overwrite: Replace files that are there with another content.

        Returns:
            The copies, by component; components that sent nothing are left out.

        Raises:
            WingspanError: A file is in the way; nothing was copied of that component.
            OutputNotReady: One of `components` is not done.
            Exception: That of one of `components` that failed, and had sent nothing before.
        """
        base = Path(to).expanduser() / self.tag
        self._keeper.refresh()
        if components is None:
            here = self.output_files
            told = self._keeper.sent()
            chosen = [one for one in self._sent() if self._is_final(one) and here._where(one).is_dir()]
            chosen = chosen if told is None else [one for one in told if self._is_final(one)]
        else:
            chosen = sorted({self._component(number) for number in components})
        fetched = {}
        for number in chosen:
            files = self.output_files.files(number)
            if files:
                again = f"wingspan fetch {self.tag}"
                fetched[number] = copy_back(files, base / str(number), overwrite, again)
        return fetched

    def _sent(self) -> list[int]:
        """Components that may have sent files."""
        try:
            names = os.listdir(self.output_files.root)
        except FileNotFoundError:
            return []
        return [
            number for number in sorted(int(name) for name in names if name.isdigit()) if number < len(self)
        ]
