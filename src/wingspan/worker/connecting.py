"""The way from a worker to its map's folder, by name."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Optional

    from .transports import Transport


def connect(name: "str", folder: "str") -> "Transport":
    """The transport called `name` to the map in `folder`: ``"file"``, ``"chirp"``, or ``"transfer"``, whose
    folder is the job's own.

    NoLine is raised where this job has no chirp.
    """
    if name == "chirp":
        from .chirp import reach

        return reach(folder)
    if name == "transfer":
        from .shares import ShareTransport

        return ShareTransport(folder)
    from .transports import FileTransport

    return FileTransport(folder)


class Connected(object):
    """Has its own way to the map's folder, which is made when it is first used.

    Args:
        setting: See `arriving.setting_of`.
    """

    def __init__(self, setting: "Mapping[str, Any]") -> "None":
        self._setting = setting
        self._transport: "Optional[Transport]" = None

    @property
    def transport(self) -> "Any":
        """The way to the map's folder."""
        if self._transport is None:
            self._transport = connect(self._setting["transport"], self._setting["map"])
        return self._transport
