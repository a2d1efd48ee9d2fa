"""Files that travel with a map: found, looked at and named before anything is submitted."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NoReturn

from wingspan._kept_files import SKIPPED, FileRefused, check_url, files_below, is_url, keep_files, raised_as
from wingspan._shell import quoted
from wingspan._words import counted
from wingspan.errors import WingspanError
from wingspan.maps._errors import InvalidInputs
from wingspan.progress import Progress
from wingspan.worker import rebuild as _rebuild_here
from wingspan.worker.arriving import FIXED, name_of
from wingspan.worker.departing import PLACE
from wingspan.worker.transfer_path import TransferPath

__all__ = [
    "FileNotes",
    "FixedFiles",
    "check_remaps",
    "make_places",
    "places_of_remaps",
    "with_component_files",
]

#: The module whose functions pickles name; this process may have two copies of it.
rebuild: Any = sys.modules[_rebuild_here.NAME]
#: How many names of missing files are shown.
_SHOWN = 20
#: A job's channel to the access point is opened for at most so many paths. For more files, their folders are
#: named.
_MOST_PLACES = 200


#: Characters that a list of paths for HTCondor cannot have: for such a path the folder above is named.
_UNWRITABLE = re.compile(r'[,*"\x00-\x1f]')


def whole(one: TransferPath) -> str:
    """Whole path or URL of a file that travels."""
    return one.as_url() if one.protocol else os.path.abspath(os.path.expanduser(str(one)))  # noqa: PTH100, PTH111 - texts


class FileNotes:
    """The files that the pickles of a map name, and what is wrong with them.

    A file that is not there is noted and not told at once: the error names all of them.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, Any]] = {}
        self._missing: dict[str, None] = {}
        self._refused: dict[str, None] = {}
        self._places: set[str] = set()
        self._level = 0
        #: The largest file, and how many bytes it has.
        self.largest: tuple[Path, int] = Path(), 0
        #: Paths and folders that travel from where they are.
        self._travelling: dict[str, Any] = {}
        #: What is really read of a file or folder, until that is noted.
        self._unreached: dict[str, list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._known)

    def reduced(self, one: TransferPath) -> tuple[Any, tuple[Any, ...]]:
        """What the pickle of a file says that travels."""
        return rebuild.transfer_path, (one.text, one.protocol, one.location, *self.note(one))

    def note(self, one: TransferPath) -> tuple[str, Any]:
        """Whole path or URL of a file that travels, and how it is now: see ``Spec`` in `worker.arriving`."""
        source = whole(one)
        known = self._travelling[source] = self.look(one, source)
        for path in self._unreached.pop(source, ()):
            self._reach(path)
        return known

    def look(self, one: TransferPath, source: str | None = None) -> tuple[str, Any]:
        """As `note`, for a file that workers do not read from where it is."""
        source = source or whole(one)
        if source not in self._known:
            self._looking_at: list[str] = []
            state = self._state(source, str(one), is_url=bool(one.protocol))
            self._known[source], self._unreached[source] = (source, state), self._looking_at
        return self._known[source]

    def miss(self, given: str) -> None:
        """A file that was named is not there."""
        self._missing[given] = None

    def refuse(self, error: WingspanError | str) -> None:
        """A file that was named cannot travel."""
        self._refused[error.message if isinstance(error, WingspanError) else error] = None

    def _state(self, source: str, given: str, *, is_url: bool) -> Any:
        try:
            if is_url:
                if not source.startswith("file://"):
                    check_url(source)
                return None
            status = Path(source).stat()
            if stat.S_ISDIR(status.st_mode):
                return self._folder(Path(source))
            return ("file", *self._file(Path(source)))
        except (FileNotFoundError, NotADirectoryError):
            self.miss(given)
        except OSError as error:
            self.refuse(f"{given}: {error.strerror or error}")
        except WingspanError as error:
            self.refuse(error)
        return "file", 0, 0, False

    def _file(self, path: Path) -> tuple[int, int, bool]:
        """Bytes, when it was written (ns), and whether it is a program."""
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise FileRefused(f"{path} is neither a file nor a folder", hint="leave it out")
        if not os.access(path, os.R_OK):
            raise FileRefused(f"{path} cannot be read: permission denied", hint=f"chmod u+r {quoted(path)}")
        self._looking_at.append(os.path.realpath(path))
        if status.st_size > self.largest[1]:
            self.largest = path, status.st_size
        return status.st_size, status.st_mtime_ns, bool(status.st_mode & 0o111)

    def _folder(self, folder: Path) -> Any:
        files = []
        for source, place in files_below(folder, Path(), make=False):
            try:
                files.append((place.as_posix(), *self._file(source)))
            except FileNotFoundError:
                self.miss(f"{source}, a link to nothing" if source.is_symlink() else str(source))
        folders = []
        for around, names, _ in os.walk(folder, followlinks=True):
            names[:] = sorted(set(names) - SKIPPED)
            folders += [Path(around, name).relative_to(folder).as_posix() for name in names]
        return "folder", files, folders

    def _reach(self, path: str) -> None:
        """Workers without a shared disk read this path."""
        for _ in range(self._level):
            path = os.path.dirname(path)  # noqa: PTH120 - the text as it is
        while _UNWRITABLE.search(path):
            path = os.path.dirname(path)  # noqa: PTH120
        self._places.add(path)
        while len(self._places) > _MOST_PLACES:
            self._level += 1
            self._places = {os.path.dirname(one) for one in self._places}  # noqa: PTH120

    @property
    def places(self) -> list[str]:
        """Paths on this machine that workers without a shared disk read."""
        return sorted(self._places)

    @property
    def aliases(self) -> dict[str, str]:
        """Paths of folders or files, as they were written, that lead over links, and where they lead."""
        found = {}
        for path in self.files:
            real = os.path.realpath(path)
            (around, name), (real_around, real_name) = os.path.split(path), os.path.split(real)
            if name != real_name:
                found[path] = real
            elif around != real_around:
                found[around] = real_around
        return found

    @property
    def files(self) -> list[str]:
        """Files of this machine that travel from where they are, those in folders too."""
        found = []
        for source, (_, state) in self._travelling.items():
            if state is not None and state[0] == "folder":
                found += [os.path.join(source, name) for name, *_ in state[1]]  # noqa: PTH118 - texts
            elif state is not None:
                found.append(source)
        return found

    def check(self) -> None:
        """See that all are there and can travel.

        Raises:
            InvalidInputs: Some are not; the message names them all.
        """
        told = []
        if self._missing:
            some = counted(len(self._missing), "input file")
            told.append(
                f"{some} {'is' if len(self._missing) == 1 else 'are'} not there: {_listed(self._missing)}"
            )
        if self._refused:
            told.append(f"cannot travel: {_listed(self._refused)}")
        if told:
            raise InvalidInputs(
                "; ".join(told), hint="correct the paths, or make the files first; nothing was submitted"
            )


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")


def _as_file(one: Any) -> TransferPath:
    return one if isinstance(one, TransferPath) else TransferPath(one)


class FixedFiles:
    """The files that every component of a map gets.

    Args:
        given: Paths and URLs.
        notes: Hears of those that are missing.
        elsewhere: The URL of a file that was put into a store because it is large; None for others.

    Raises:
        InvalidInputs: Two have the same name.
    """

    def __init__(
        self, given: Iterable[Any], notes: FileNotes, elsewhere: Callable[[Path], str | None] | None = None
    ) -> None:
        #: Where each is now (a URL, or a path) by the name that it has in a component's folder.
        self.sources: dict[str, str] = {}
        self._paths: list[tuple[Path, str]] = []
        for one in map(_as_file, given):
            url = None if elsewhere is None or one.protocol else elsewhere(one.path)
            source, state = notes.look(one if url is None else _as_file(url))
            name = name_of(source if url is None else str(one.path))
            if self.sources.setdefault(name, source) != source:
                raise InvalidInputs(
                    f"two input files would have the name {name!r} in the folder of a component: {self.sources[name]} and {source}",
                    hint="rename one of them; or pass wingspan.TransferPath(path) as an argument, where names may be equal",
                )
            if state is not None:
                self._paths.append((Path(source), name))

    def __bool__(self) -> bool:
        return bool(self.sources)

    @property
    def names(self) -> list[tuple[str, str]]:
        """Of each file its name, and its URL if it has one."""
        kept = {name for _, name in self._paths}
        return [(name, "" if name in kept else source) for name, source in self.sources.items()]

    def keep(self, folder: Path, progress: Progress) -> None:
        """Copy them into the map's folder: workers get them as they are now, whatever is edited later.

        Raises:
            InvalidInputs: One vanished meanwhile, or a folder has no end.
            QuotaExceeded: There is no room for the copies.
        """
        if self._paths:
            from wingspan.pools.profiles import look_for_room

            with raised_as(missing=InvalidInputs, refused=InvalidInputs):
                keep_files(
                    self._paths,
                    folder / FIXED,
                    progress,
                    look_for_room(folder, None, "the files that all components get"),
                )


class _ComponentFiles:
    """Stands before the input of a component that has files of its own, so that they arrive first."""

    def __init__(self, files: list[TransferPath]) -> None:
        self._files = files

    def reduce_with_files(self, on_file: Callable[[TransferPath], Any]) -> Any:
        return rebuild.component_files, tuple(on_file(one)[1] for one in self._files)

    def __reduce__(self) -> NoReturn:
        raise TypeError("it is pickled for workers only")


class _WithFiles:
    """The input of a component that has files of its own."""

    def __init__(self, given: Any, files: list[TransferPath]) -> None:
        self._given = given
        self._files = files

    def reduce_with_files(self, on_file: Callable[[TransferPath], Any]) -> Any:
        return rebuild.with_files, (_ComponentFiles(self._files), self._given)

    def __reduce__(self) -> NoReturn:
        raise TypeError("it is pickled for workers only")


_NOTHING = object()


def with_component_files(inputs: Iterable[Any], files: Iterable[Any], fixed: FixedFiles) -> Iterator[Any]:
    """The inputs, each with its files.

    Args:
        inputs: Of the components.
        files: For each component None, a path or URL, or several of them.
        fixed: Files that all components get.

    Raises:
        InvalidInputs: There are not as many as inputs, or two files of a component have the same name.
    """
    pairs: Iterator[tuple[Any, Any]] = zip_longest(inputs, files, fillvalue=_NOTHING)
    for number, (given, some) in enumerate(pairs):
        if given is _NOTHING or some is _NOTHING:
            less = "more" if given is _NOTHING else "fewer"
            raise InvalidInputs(
                f"there are {less} component_input_files than inputs: {'inputs' if given is _NOTHING else 'files'} end after {number:,}",
                hint="give one entry for each input: a path, a list of paths, or None",
            )
        own = [_as_file(one) for one in ([some] if isinstance(some, str | os.PathLike) else some or ())]
        if not own:
            yield given
            continue
        _check_names(number, own, fixed)
        yield _WithFiles(given, own)


def _check_names(number: int, own: list[TransferPath], fixed: FixedFiles) -> None:
    taken = dict(fixed.sources)
    for one in own:
        name = name_of(one.as_url())
        if taken.setdefault(name, str(one)) != str(one):
            raise InvalidInputs(
                f"component {number} would get two files with the name {name!r}: {taken[name]} and {one}",
                hint="rename one of them; or pass wingspan.TransferPath(path) as an argument, where names may be equal",
            )


def check_remaps(inputs: Iterable[Any], remaps: Any) -> Iterable[Any]:
    """The inputs; when all have been read, it is known that their output files do not replace each other.

    Raises:
        InvalidInputs: All components would write to one place, or there are not as many tables as inputs.
    """
    return _checking(inputs, remaps) if remaps else inputs


def _checking(inputs: Iterable[Any], remaps: Any) -> Iterator[Any]:
    count = 0
    for given in inputs:
        yield given
        count += 1
    if isinstance(remaps, list):
        if len(remaps) != count:
            raise InvalidInputs(
                f"output_remaps has {counted(len(remaps), 'table')} for {counted(count, 'component')}",
                hint="give one for each input, or one for all with {component} in the destinations",
            )
        return
    for name, target in remaps.items():
        if count > 1 and PLACE not in target:
            raise InvalidInputs(
                f"all components would write their {name} to {target}",
                hint=f"put {PLACE} into the destination: it stands for the number of the component",
            )


def places_of_remaps(remaps: Any) -> list[str]:
    """Folders on this machine that workers without a shared disk write output files to."""
    tables = remaps if isinstance(remaps, list) else [remaps]
    targets = {target.partition(PLACE)[0] for table in tables for target in table.values()}
    return sorted({os.path.dirname(target) for target in targets if not is_url(target)})  # noqa: PTH120 - a text


def make_places(remaps: Any) -> None:
    """Make these folders.

    Raises:
        InvalidInputs: One cannot be made.
    """
    for place in places_of_remaps(remaps):
        try:
            Path(place).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInputs(
                f"output_remaps names a folder that cannot be made: {error}", hint="choose another one"
            ) from error
