"""Shares: what each worker is to do where none can speak with this machine while it runs.

Where chirp is switched off and no disk is shared, the submitter claims blocks in the names of the workers,
and sends each its share with its job (`wingspan.worker.shares`). The claims are those of any other worker:
what a lost one leaves is found, and offered again, in the same way. What comes back lies in ``arrived/``
until somebody looks at the map; then the records go to all others, in ``results/``.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import json
import os
import re
import shutil
import stat
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from wingspan.jobs import Resources
from wingspan.maps._errors import MapError
from wingspan.maps._folder import MapFolder
from wingspan.worker import rounds, shares, trust
from wingspan.worker.checkpoints import FOLDER as CHECKPOINTS
from wingspan.worker.parts import NEEDS, joined_ranges, ranges_of

if TYPE_CHECKING:
    import zipfile

    from wingspan.maps._components import Components
    from wingspan.maps._options import Options
    from wingspan.pools import Pool

__all__ = [
    "ARRIVED",
    "NOTE",
    "NOTE_SPOOLED",
    "SHARES",
    "Share",
    "Way",
    "assign",
    "check",
    "forget",
    "release",
    "take_in",
    "way_of",
    "write",
]

#: How workers reach their map: by the file system, by chirp, or with their share and HTCondor's file
#: transfer.
Way: TypeAlias = Literal["file", "chirp", "transfer"]
#: The blocks of one worker, by round.
Share: TypeAlias = Mapping[int, Sequence[int]]

#: Folders of a map: what comes back from its workers, and what is sent to them.
ARRIVED, SHARES = "arrived", "shares"
#: What a person is told once.
NOTE = (
    "jobs cannot speak with this machine while they run (chirp is switched off): each worker gets its components "
    "beforehand, and what it has done is seen when it ends"
)
#: The same where the schedd is on another host.
NOTE_SPOOLED = (
    "the schedd is on another host: each worker gets its components beforehand, and what it has done is seen when it "
    "ends and somebody looks at the map here"
)
#: A file that came without a list of what came with it is taken when nothing has changed for so long (s).
_AT_REST = 10.0
#: A list is not read further than this (bytes).
_MOST_LISTED = 1 << 26
#: Seconds of work after which a worker has HTCondor keep what it has written (`shares.EXIT_CHECKPOINT`).
CHECKPOINT_SECONDS = 3600.0
#: Files of components are sent to all workers where these do not have more bytes.
MOST_FILES = 100 << 20
#: Inputs are copied in pieces of so many bytes.
_PIECE = 1 << 22
_START = re.compile(r"\d+\.\d+")
_SENT = re.compile(r"\d+-\d+\.\d+")


def way_of(options: Options, pool: Pool, *, is_closed: bool = False) -> Way:
    """How workers of this pool reach their map.

    Args:
        options: Theirs.
        pool: Where they run.
        is_closed: A worker has found chirp switched off.
    """
    if pool.transport != "chirp":
        return "transfer" if pool.transport == "transfer" else "file"
    chirp = options.chirp
    if chirp is None and (pool.follows_site or options.profile is not None):
        from wingspan.pools.profiles import chosen_profile

        site = chosen_profile(options.profile)
        chirp = site.no_chirp(Resources(gpus=options.request_gpus)) is None
    if chirp is not False and not is_closed:
        return "chirp"
    return "file" if pool.shares_files else "transfer"


def check(folder: MapFolder, pool: Pool) -> None:
    """See that the workers of this map need not reach it while they run.

    Raises:
        MapError: It cannot.
    """
    info, what, hint = folder.info, "", ""
    files: Mapping[str, Any] = info.files or {}
    remaps = files.get("remaps") or {}
    tables = remaps if isinstance(remaps, list) else [remaps]
    if not info.shares:
        what, hint = "was made by a Wingspan whose workers need it", "make the map again"
    elif info.open is not None:
        what, hint = "takes calls while its workers run", "make a map of the inputs: wingspan.map(f, inputs)"
    elif info.chain is not None:
        what = "takes outputs of other maps while these are at work"
        hint = "wait for them, and make a map of their outputs: wingspan.map(f, list(m))"
    elif sum(size for _, size in _files_of(folder)) > MOST_FILES:
        what = f"has more than {MOST_FILES >> 20} MB of files that its components read from this machine"
        hint = 'name them as URLs ("osdf:///…"): all workers would get all of them'
    elif any("://" not in target for table in tables for target in table.values()):
        what, hint = (
            "has output_remaps to folders of this machine",
            "name URLs there, or leave output_remaps out",
        )
    if what:
        why = "chirp is switched off" if pool.transport == "chirp" else "their schedd is on another host"
        raise MapError(
            f"the map {info.tag!r} {what}, and jobs cannot speak with this machine: {why}",
            hint=hint,
        )


def _files_of(folder: MapFolder) -> Iterator[tuple[Path, int]]:
    """Files of this machine that components read, and their sizes."""
    for place in map(Path, (folder.info.files or {}).get("reach", ())):
        inside = place.rglob("*") if place.is_dir() else [place]
        for path in inside:
            with contextlib.suppress(OSError):
                if path.is_file():
                    yield path, path.stat().st_size


# -- sharing out ---------------------------------------------------------------------------------------------


def assign(
    folder: MapFolder,
    known: Components,
    first: int,
    count: int,
    among: int,
    needs: Mapping[str, Any] | None,
    usual: Mapping[str, Any],
) -> list[Share]:
    """Claim what nobody has claimed for at most `count` workers, numbered from `first`.

    Args:
        folder: The map's.
        known: Its components.
        first: Number of the first worker.
        count: How many workers.
        among: How many are to share what there is; more than `count` where a submission takes only some.
        needs: What these workers have (see `parts.Part.is_for`); None: they do everything.
        usual: What the map's options ask for.

    Returns:
        What each gets; fewer than `count` where there are not so many blocks.
    """
    free = list(_unclaimed(folder, known, needs, usual))
    among = min(among, len(free))
    # Where blocks differ in size, each gets about as many components as the others.
    fall = any(plan.falls for plan in known.plans.values())
    ends = list(
        itertools.accumulate(
            known.plans[number].part_of(block).count(block, block + 1) if fall else 1
            for number, block in free
        )
    )
    found: list[Share] = []
    for worker in range(min(count, among)):
        low, high = (bisect.bisect_right(ends, one * ends[-1] // among) for one in (worker, worker + 1))
        blocks: dict[int, list[int]] = {}
        for number, block in free[low:high]:
            blocks.setdefault(number, []).append(block)
        share = _claim(folder, f"{first + len(found)}.0", blocks)
        if share:
            found.append(share)
    return found


def _unclaimed(
    folder: MapFolder, known: Components, needs: Mapping[str, Any] | None, usual: Mapping[str, Any]
) -> Iterator[tuple[int, int]]:
    """Rounds and blocks that have something to do and that nobody has claimed."""
    for number, plan in sorted(known.plans.items()):
        if plan.kind == rounds.CANCEL or folder.is_folded(number):
            continue
        taken = {int(name) for name in folder.transport.names(f"rounds/{number}/claims") if name.isdigit()}
        for part in plan.parts:
            if not part.is_for(needs, usual):
                continue
            for block in range(part.first_block, part.first_block + part.blocks):
                if block not in taken and _is_wanted(known, plan.components(block), number):
                    yield number, block


def _is_wanted(known: Components, runs: Iterable[tuple[int, int]], number: int) -> bool:
    return any(
        not known.in_newer_round(component, number)
        and (not known.state[component] or component in known.retryable)
        for first, stop in runs
        for component in range(first, stop)
    )


def _claim(folder: MapFolder, owner: str, blocks: Mapping[int, Sequence[int]]) -> Share:
    """Claim blocks for a worker: those that nobody else was quicker to claim."""
    share: dict[int, list[int]] = {}
    for number, wanted in blocks.items():
        lines = [rounds.take_line(folder.key, owner, number, block) for block in wanted]
        with contextlib.suppress(FileNotFoundError):  # folded this moment: there is nothing left of it
            folder.transport.append(f"rounds/{number}/takes/{owner}", *lines)
            got = [
                block for block in wanted if rounds.claim(folder.transport, folder.key, number, block, owner)
            ]
            if got:
                share[number] = got
    folder.transport.close()  # one file for each worker would stay open
    return share


def release(folder: MapFolder, first: int, given: Sequence[Share]) -> None:
    """The workers were not submitted after all: release their blocks."""
    for worker, share in enumerate(given, first):
        for number, blocks in share.items():
            for block in blocks:
                folder.transport.remove(f"rounds/{number}/claims/{block}")
            folder.transport.remove(f"rounds/{number}/takes/{worker}.0")
    shutil.rmtree(folder.path / SHARES / str(first), ignore_errors=True)


# -- what is sent --------------------------------------------------------------------------------------------


def write(folder: MapFolder, plans: Mapping[int, rounds.Plan], first: int, given: Sequence[Share]) -> Path:
    """Write what is sent to workers numbered from `first`: the folder with the archives."""
    place = folder.path / SHARES / str(first)
    trust.make_folder(str(place))
    trust.make_folder(str(folder.path / ARRIVED))
    path = folder.path
    with _archive(place / shares.MAP) as archive:
        for name in ("map.json", "key", rounds.FUNCTION, NEEDS):
            with contextlib.suppress(FileNotFoundError):
                archive.write(path / name, name)
        for number, plan in plans.items():
            archive.write(path / f"rounds/{number}/plan", f"rounds/{number}/plan")
            if plan.function != rounds.FUNCTION:
                with contextlib.suppress(FileNotFoundError):
                    archive.write(path / plan.function, plan.function)
        _write_files(archive, folder)
    with (path / "inputs.idx").open("rb") as index, (path / "inputs.bin").open("rb") as inputs:
        for process, share in enumerate(given):
            with _archive(place / f"{shares.SHARE}{process}.zip") as archive:
                _write_share(archive, folder, plans, share, index, inputs)
    return place


def _write_files(archive: zipfile.ZipFile, folder: MapFolder) -> None:
    """Files of components go to all workers, and a table that says how each is now."""
    table: dict[str, tuple[int, int, bool]] = {}
    for path, size in _files_of(folder):
        status = path.stat()
        archive.write(path, f"{shares.FILES}/{len(table)}")
        table[str(path)] = size, int(status.st_mtime), bool(status.st_mode & 0o111)
    aliases = (folder.info.files or {}).get("aliases") or {}
    archive.writestr(shares.TABLE, json.dumps({"files": table, "aliases": aliases}))


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """A new archive, which no other user can read."""
    import zipfile

    with open(path, "xb", opener=trust.opener) as file, zipfile.ZipFile(file, "w") as archive:
        yield archive


def _write_share(
    archive: zipfile.ZipFile,
    folder: MapFolder,
    plans: Mapping[int, rounds.Plan],
    share: Share,
    index: Any,
    inputs: Any,
) -> None:
    runs = [
        run for number, blocks in share.items() for block in blocks for run in plans[number].components(block)
    ]
    ranges = joined_ranges(_apart(runs))
    parts: dict[str, list[tuple[int, int, int]]] = {"inputs.idx": [], "inputs.bin": []}
    offsets = []
    with archive.open("inputs.idx", "w") as target:
        place = 0
        for low, high in ranges:
            data = _read(index, 8 * low, 8 * (high - low + 1))
            found = array("Q")
            found.frombytes(data)
            offsets.append((found[0], found[-1]))
            parts["inputs.idx"].append((8 * low, 8 * (high + 1), place))
            target.write(data)
            place += len(data)
    with archive.open("inputs.bin", "w", force_zip64=True) as target:
        place = 0
        for begin, end in offsets:
            parts["inputs.bin"].append((begin, end, place))
            for offset in range(begin, end, _PIECE):
                target.write(_read(inputs, offset, min(_PIECE, end - offset)))
            place += end - begin
    plain = {str(number): ranges_of(blocks) for number, blocks in share.items()}
    archive.writestr(
        shares.FILE, json.dumps({"blocks": plain, "inputs": parts, "retires": CHECKPOINT_SECONDS})
    )
    if (folder.path / CHECKPOINTS).is_dir():
        for low, high in ranges:
            for component in range(low, high):
                for file in (folder.path / CHECKPOINTS / str(component)).glob("[0-9]*"):
                    with contextlib.suppress(FileNotFoundError):
                        archive.write(file, f"{CHECKPOINTS}/{component}/{file.name}")


def _apart(runs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Runs of components, each component once: it may be in blocks of two rounds."""
    end = 0
    for first, stop in sorted(runs):
        if stop > end:
            yield max(first, end), stop
            end = stop


def _read(file: Any, offset: int, length: int) -> bytes:
    file.seek(offset)
    data: bytes = file.read(length)
    if len(data) != length:
        raise EOFError(f"{Path(file.name).name} of the map is cut")
    return data


def forget(path: Path) -> None:
    """The map is complete: remove what was sent, and what is left of what came back."""
    take_in(path)
    for name in (SHARES, ARRIVED):
        shutil.rmtree(path / name, ignore_errors=True)


# -- what comes back -----------------------------------------------------------------------------------------


def take_in(path: Path) -> None:
    """Put records and files that have arrived where those of other workers are.

    Any number of processes may do this at once. HTCondor writes one file after the other: what the worker has
    listed is taken when all of it is there; without a list, when nothing has changed for a while.
    """
    try:
        names = os.listdir(f"{path}/{ARRIVED}/{shares.RECORDS}/results")  # it is asked for at every look
    except OSError:
        return
    if not names:
        return
    arrived = path / ARRIVED / shares.RECORDS
    listed = _lists(arrived)
    waiting = {file for sizes in listed.values() if not _is_whole(arrived, sizes) for file in sizes}
    done = {file for sizes in listed.values() for file in sizes} - waiting
    _take_files(path, arrived, waiting, done)
    for name in names:
        file = f"results/{name}"
        if _START.fullmatch(name) and file not in waiting and (file in done or _rests(arrived / file)):
            _move(arrived / file, path / file)
    for name, sizes in listed.items():
        if waiting.isdisjoint(sizes):
            with contextlib.suppress(OSError):
                (arrived / shares.WHOLE / name).unlink()


def _lists(arrived: Path) -> dict[str, dict[str, int]]:
    """Files and sizes that worker starts say that they have sent, by start."""
    found: dict[str, dict[str, int]] = {}
    with contextlib.suppress(OSError):
        for entry in os.scandir(arrived / shares.WHOLE):
            if _START.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError, ValueError), open(entry.path, "rb") as file:  # noqa: PTH123
                    plain = json.loads(file.read(_MOST_LISTED))
                    if isinstance(plain, dict):
                        found[entry.name] = {
                            name: size for name, size in plain.items() if isinstance(size, int)
                        }
    return found


def _is_whole(arrived: Path, sizes: Mapping[str, int]) -> bool:
    """All files of a list are there, or were taken before."""
    for file, size in sizes.items():
        if ".." in file.split("/") or file.startswith("/"):
            continue
        with contextlib.suppress(OSError):
            if os.lstat(arrived / file).st_size < size:
                return False
            continue
        if not (arrived.parent.parent / file).exists():
            return False
    return True


def _take_files(path: Path, arrived: Path, waiting: set[str], done: set[str]) -> None:
    """Folders with files that components have sent."""
    with contextlib.suppress(OSError):
        for component in os.scandir(arrived / "output_files"):
            if not component.name.isdigit():
                continue
            for sent in os.scandir(component.path):
                inner = f"output_files/{component.name}/{sent.name}/"
                is_done = any(file.startswith(inner) for file in done)
                is_waiting = any(file.startswith(inner) for file in waiting)
                if _SENT.fullmatch(sent.name) and not is_waiting and (is_done or _rests(Path(sent.path))):
                    target = path / "output_files" / component.name
                    trust.make_folder(str(target))
                    with contextlib.suppress(OSError):
                        os.rename(sent.path, target / sent.name)  # noqa: PTH104


def _rests(path: Path) -> bool:
    try:
        return abs(time.time() - os.lstat(path).st_mtime) > _AT_REST
    except OSError:
        return False


def _move(source: Path, target: Path) -> None:
    """Put a file of records in place, unless more of it is there: it only grows."""
    with contextlib.suppress(OSError):
        if not stat.S_ISREG(os.lstat(source).st_mode):
            return
        with contextlib.suppress(FileNotFoundError):
            if os.lstat(target).st_size >= os.lstat(source).st_size:
                source.unlink()
                return
        source.replace(target)
