"""The way from a worker to its map's folder, by name."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .transports import Transport


def connect(name: "str", folder: "str") -> "Transport":
    """The transport called `name` (``"file"`` or ``"chirp"``) to the map in `folder`."""
    if name == "chirp":
        from .chirp import ChirpTransport

        return ChirpTransport(folder)
    from .transports import FileTransport

    return FileTransport(folder)
