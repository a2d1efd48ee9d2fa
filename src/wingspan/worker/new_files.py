"""Files that components write into the folder that goes with the job: the map tells of them, so that nobody
looks for them in vain.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Mapping, Optional, Set

#: A worker reports at most so many names of files.
MOST_TOLD = 50
#: Files that tools leave, and that nobody misses.
NOT_MISSED = frozenset(["__pycache__", "tmp", "var", "condor_exec.exe", "core"])


class NewFiles(object):
    """Looks for new files in the folder that components run in, where that goes with the job.

    Args:
        setting: See `Supervisor`.
    """

    def __init__(self, setting: "Mapping[str, Any]") -> "None":
        self._folder = _folder_that_goes(setting)
        self._changed = 0
        self._known = _names_in(self._folder)
        self._told = 0

    def look(self, kept: "Set[str]") -> "List[str]":
        """Names that were not there at the last look, but for those that are `kept` in another way."""
        if self._folder is None or self._told >= MOST_TOLD:
            return []
        try:
            changed = os.stat(self._folder).st_mtime_ns
        except OSError:
            return []
        if changed == self._changed:
            return []
        self._changed = changed
        new = sorted(_names_in(self._folder) - self._known - kept)[: MOST_TOLD - self._told]
        self._known.update(new)
        self._told += len(new)
        return new


def _folder_that_goes(setting: "Mapping[str, Any]") -> "Optional[str]":
    """The folder that components run in, if it goes with the job."""
    environ = setting.get("environ") or os.environ
    scratch = environ.get("_CONDOR_SCRATCH_DIR")
    if not scratch:
        return None
    folder = setting.get("folder") or os.getcwd()
    return folder if os.path.realpath(folder) == os.path.realpath(scratch) else None


def _names_in(folder: "Optional[str]") -> "Set[str]":
    try:
        names = os.listdir(folder) if folder is not None else []
    except OSError:
        return set()
    return {name for name in names if not name.startswith((".", "_condor")) and name not in NOT_MISSED}
