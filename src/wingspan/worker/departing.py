"""Files that components send to their map's folder.

They go into ``output_files/<component>/.<round>-<worker>``, each first under another name. When the component
is done, and before its record is written, this folder gets its name, ``<round>-<worker>``: round and worker
of the record that counts say which folder counts, and nobody sees one that is not whole.
"""

import os
import stat

from . import trust
from .connecting import Connected
from .scratch import current_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Iterator, Mapping, Optional, Set, Tuple

    from .arriving import Arrivals

#: Folder of a map with the files that components have sent.
SENT = "output_files"
#: In a destination, it stands for the number of the component.
PLACE = "{component}"


def folder_name(number: "int", worker: "str") -> "str":
    """Name of the folder of what a component has sent in round `number`."""
    return "%d-%s" % (number, worker)


class Departures(Connected):
    """Sends files of the component that is being done.

    Args:
        setting: See `arriving.setting_of`.
        arrivals: What gets the files of components, if the map has any.
    """

    def __init__(self, setting: "Mapping[str, Any]", arrivals: "Optional[Arrivals]") -> "None":
        Connected.__init__(self, setting)
        self._remaps: "Any" = (setting["plan"] or {}).get("remaps") or {}
        self._arrivals = arrivals
        self._home = current_folder()
        #: Round and number of the component whose files are being sent.
        self._at = (0, 0)
        #: The folder that files go to; None as long as there are none.
        self._folder: "Optional[str]" = None
        self._holds_files = False
        self._made: "Set[str]" = set()
        self._sent: "Set[str]" = set()

    def send(self, number: "int", component: "int", paths: "Tuple[Any, ...]") -> "None":
        """Send files and folders of `component` in round `number`, with their paths relative to its working
        folder.

        Raises:
            FileNotFoundError: One of them is not there; nothing was sent then.
            ValueError: A name cannot be one on the access point, or two of the files would have one place
                there; nothing was sent then.
            OSError: It could not be sent: the disk there is full, say.
        """
        self._at = number, component
        home = self._home if self._arrivals is None else self._arrivals.folder
        chosen: "Dict[str, Tuple[str, Optional[str]]]" = {}
        taken: "Dict[str, str]" = {}
        for path in paths:
            whole = os.path.abspath(os.fspath(path))
            folder, name = os.path.split(whole)
            place = os.path.relpath(os.path.join(os.path.realpath(folder), name), os.path.realpath(home))
            if place.split(os.sep)[0] == os.pardir:
                place = name
            of_folder = self._target(name) if os.path.isdir(whole) else None
            for source, inner in _files_below(whole, place, ()):
                target = self._target(os.path.basename(inner))
                if target is None and of_folder is not None:
                    target = "%s/%s" % (of_folder.rstrip("/"), os.path.relpath(inner, place))
                chosen[trust.check_path(inner)] = source, target
                first = taken.setdefault(target or inner, source)
                if first != source and not os.path.samefile(first, source):
                    raise ValueError(
                        "%s and %s would both be sent to %s: rename one of them"
                        % (first, source, target or inner)
                    )
        for name in chosen:
            self._send_one(name, *chosen[name])

    def _send_one(self, name: "str", source: "str", target: "Optional[str]") -> "None":
        if target is not None and "://" in target:
            from .urls import send

            send(source, target)
        elif target is not None:
            self._make_folders(os.path.dirname(target))
            self.transport.put(source, target)
        else:
            if self._folder is None:
                self._folder = self._new_folder()
            place = self._folder + "/" + name
            self._make_folders(os.path.dirname(place))
            self.transport.put(source, place)
            self._holds_files = True
        self._sent.add(name.split(os.sep)[0])

    def _target(self, name: "str") -> "Optional[str]":
        """Where else a file of this name goes: a URL, or a path on the access point."""
        several = isinstance(self._remaps, list)
        table = self._remaps[self._at[1]] if several else self._remaps
        target: "Optional[str]" = table.get(name)
        if target is None:
            return None
        # What stands before is there: the map's owner has made it.
        self._made.add(os.path.dirname(target.partition(PLACE)[0]))
        return target.replace(PLACE, str(self._at[1]))

    def _new_folder(self) -> "str":
        around = "%s/%s" % (SENT, self._at[1])
        self._make_folders(around)
        folder = "%s/.%s" % (around, folder_name(self._at[0], self._setting["worker"]))
        self.transport.remove_tree(folder)  # of an executor that died
        return folder

    def _make_folders(self, path: "str") -> "None":
        if path and path not in self._made:
            self._make_folders(os.path.dirname(path))
            self.transport.make_folder(path)
            self._made.add(path)

    def finish(self) -> "None":
        """The component is done: what it has sent is whole.

        Raises:
            OSError: It cannot be put in place.
        """
        folder, self._folder = self._folder, None
        holds_files, self._holds_files = self._holds_files, False
        self._made.clear()
        if folder is not None and not holds_files:
            self.transport.remove_tree(folder)  # the first file could not be sent
        elif folder is not None:
            around, name = os.path.split(folder)
            self.transport.put_in_place(folder, "%s/%s" % (around, name[1:]))

    def keep(self, paths: "Iterable[str]") -> "None":
        """These files, relative to the working folder, are kept in another way: nobody misses them."""
        if self._arrivals is not None:
            self._sent.update(path.split(os.sep)[0] for path in paths)

    def take_sent(self) -> "Set[str]":
        """Names, at the top of the working folder, of what was sent or kept since the last call."""
        sent, self._sent = self._sent, set()
        return sent


def _files_below(source: "str", place: "str", around: "Tuple[str, ...]") -> "Iterator[Tuple[str, str]]":
    """Files and their places, of a folder all that are in it; links are followed."""
    status = os.stat(source)
    if stat.S_ISREG(status.st_mode):
        yield source, place
        return
    if not stat.S_ISDIR(status.st_mode):
        raise OSError("%s is neither a file nor a folder, and cannot be sent" % source)
    real = os.path.realpath(source)
    if real in around:
        raise OSError("%s is a link to a folder that contains it: there would be no end to sending" % source)
    for name in sorted(os.listdir(source)):
        inner = name if place == os.curdir else os.path.join(place, name)
        for found in _files_below(os.path.join(source, name), inner, around + (real,)):
            yield found
