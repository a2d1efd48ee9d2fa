"""Workers that cannot reach their map while they run, as chirp is switched off and no disk is shared.

Such a worker gets its *share* with its job: the blocks that it is to do, with their inputs, in two archives
among the job's input files. `MAP` is the same for all workers of a submission;
``.wingspan-share-<process>.zip`` is one worker's own. What the worker writes lies in `RECORDS`, a folder that
HTCondor brings back when the job ends, and that it keeps and gives back to the job when the job is sent off
its machine. The records are the same as ever, and so are the names of their files: the map's owner puts them
with all others (`wingspan.maps._shares`).
"""

import json
import os
import re

from .transports import FileTransport, write_all
from .trust import make_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

#: Archive of what all workers of a submission get; beginning of the name of each worker's own.
MAP, SHARE = ".wingspan-map.zip", ".wingspan-share-"
#: Folders in a job's scratch folder: what it was given, and what comes back.
GIVEN, RECORDS = ".wingspan-given", ".wingspan-records"
#: Folders of a map that lie in `RECORDS`.
_WRITTEN = frozenset(["results", "rounds", "checkpoints", "output_files"])
#: Folder of `RECORDS` with lists of what a start of a worker sends back: a file, and how many bytes it has.
#: Files come in any order: the list tells when all are there.
WHOLE = "whole"
#: The file in `GIVEN` that says which blocks are the worker's, and where its inputs lie.
FILE = "share.json"
#: Folder of `GIVEN` with files of components, which have numbers there, and the table that says which path
#: each has on the access point, its size, when it was written, and whether it is a program.
FILES, TABLE = "files", "files.json"
#: Exit code by which a worker asks HTCondor to keep what it has written so far, and to start it again at once
#: (HTCondor manual, "Self-Checkpointing Applications").
EXIT_CHECKPOINT = 87


def unpack(scratch: "str") -> "str":
    """Put what came with the job into place, below its scratch folder; answers that folder.

    A job that was sent off its machine finds here what it had written before.

    Raises:
        OSError: An archive is missing or damaged: HTCondor has not brought all of it.
    """
    import zipfile

    own = [name for name in os.listdir(scratch) if name.startswith(SHARE)]
    if not own:
        raise OSError("%s*.zip did not come with the job" % SHARE)
    given, records = os.path.join(scratch, GIVEN), os.path.join(scratch, RECORDS)
    for folder in (given, records):
        make_folder(folder)
    for folder in ("results", "rounds"):
        make_folder(os.path.join(records, folder))
    try:
        for name in (MAP, own[0]):
            with zipfile.ZipFile(os.path.join(scratch, name)) as archive:
                for member in archive.namelist():
                    archive.extract(member, records if member.partition("/")[0] in _WRITTEN else given)
    except (zipfile.BadZipFile, EOFError) as error:
        raise OSError("%s: %s" % (name, error))
    for number in os.listdir(os.path.join(records, "rounds")):
        for folder in ("claims", "takes"):
            make_folder(os.path.join(records, "rounds", number, folder))
    share = _load(given, FILE)
    info = _load(given, "map.json")
    # Nobody else sees the rounds that this worker might publish: retries are its owner's.
    info.update(retries=0, share=share["blocks"], first_start=_starts_before(), retires=share["retires"])
    with open(os.path.join(given, "map.json"), "w") as file:
        json.dump(info, file)
    return scratch


def _load(folder: "str", name: "str") -> "Dict[str, Any]":
    with open(os.path.join(folder, name)) as file:
        plain: "Dict[str, Any]" = json.load(file)
    return plain


def _starts_before() -> "int":
    """How often HTCondor has started this job before.

    What an earlier start wrote may be lost, or on its way: no two starts may use one name.
    """
    try:
        with open(os.environ["_CONDOR_JOB_AD"]) as file:
            found = re.search(r"^NumShadowStarts *= *(\d+)", file.read(), re.M)
    except (KeyError, OSError):
        return 0
    return max(0, int(found.group(1)) - 1) if found else 0


class ShareTransport(FileTransport):
    """Stands for the map's folder, and answers from what came with the job.

    Args:
        folder: The job's scratch folder, after `unpack`.
    """

    name = "transfer"
    flush_seconds: "float" = 0.5

    def __init__(self, folder: "str") -> "None":
        FileTransport.__init__(self, folder)
        #: Parts of ``inputs.idx`` and ``inputs.bin``: where each begins and ends there, and where it lies
        #: here.
        self._parts: "Dict[str, List[Tuple[int, int, int]]]" = _load(os.path.join(folder, GIVEN), FILE)[
            "inputs"
        ]
        table = _load(os.path.join(folder, GIVEN), TABLE)
        #: Number, size, time and mode of files of the access point, by path.
        self._files: "Dict[str, Tuple[int, int, int, bool]]" = {
            path: (number, size, written, program)
            for number, (path, (size, written, program)) in enumerate(table["files"].items())
        }
        self._aliases: "Dict[str, str]" = table["aliases"]

    def _path(self, path: "str") -> "str":
        inner = RECORDS if path.partition("/")[0] in _WRITTEN else GIVEN
        return "%s/%s/%s" % (self.folder, inner, path)

    def read(self, path: "str", length: "Optional[int]" = None, offset: "int" = 0) -> "bytes":
        parts = self._parts.get(path)
        if parts is None or length is None:
            return FileTransport.read(self, path, length, offset)
        data = bytearray(
            length
        )  # inputs of others are not here, and are read by nobody: zeros stand for them
        for begin, end, place in parts:
            low, high = max(begin, offset), min(end, offset + length)
            if low < high:
                piece = FileTransport.read(self, path, high - low, place + low - begin)
                data[low - offset : high - offset] = piece
        return bytes(data)

    def _file(self, path: "str") -> "Tuple[int, int, int, bool]":
        """What the table says of a file, by a path of the access point that may lead over links."""
        around, _, name = path.rpartition("/")
        if around in self._aliases:
            path = self._aliases[around] + "/" + name
        return self._files[self._aliases.get(path, path)]

    def facts_of(self, path: "str") -> "Optional[Tuple[int, int]]":
        """Bytes of a file of the access point, and when it was last written (s); None if it did not come."""
        try:
            return self._file(path)[1:3]
        except KeyError:
            return None

    def is_program(self, path: "str") -> "bool":
        """Whether a file may be executed."""
        return self._file(path)[3]

    def names_in(self, path: "str") -> "Optional[List[str]]":
        """Folders do not come with a job."""
        return None

    def receive(self, path: "str", target: "int") -> "int":
        """Write a file of the access point to an open file here: how many bytes."""
        done = 0
        with open(os.path.join(self.folder, GIVEN, FILES, str(self._file(path)[0])), "rb") as file:
            for piece in iter(lambda: file.read(1 << 20), b""):
                write_all(target, piece)
                done += len(piece)
        return done

    def finish(self, name: "str", is_done: "bool") -> "None":
        """The start of a worker called `name` ends: list what comes back.

        Args:
            name: Its name.
            is_done: It has done all: what only another start of it would need does not come back.
        """
        records = os.path.join(self.folder, RECORDS)
        if is_done:
            self.remove_tree("rounds")
            self.remove_tree("checkpoints")
        sizes = {}
        for top in ("results", "output_files"):
            for folder, _, files in os.walk(os.path.join(records, top)):
                for file in files:
                    path = os.path.join(folder, file)
                    sizes[os.path.relpath(path, records)] = os.path.getsize(path)
        make_folder(os.path.join(records, WHOLE))
        with open(os.path.join(records, WHOLE, name), "w") as listed:
            json.dump(sizes, listed)
