"""What functions of HTMap programs call on a worker: HTMap's words for what `inside` has.

`absent` has them as ``htmap.…`` where Wingspan is not installed; `wingspan.htmap` has them elsewhere.
"""

from .inside import component

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def transfer_output_files(*paths: "Any") -> "None":
    """Send files and folders to the access point, where ``m.output_files[i]`` finds them.

    See `wingspan.Component.transfer_output_files`. In a session, where a function is tried out by calling
    it, this does nothing.

    Args:
        paths: Their names; relative ones keep their folders.

    Raises:
        FileNotFoundError: One of them is not there; nothing was sent then.
        TypeError: A path comes with a destination. (That is an option of the map: ``output_remaps``.)
    """
    if any(isinstance(path, tuple) for path in paths):
        raise TypeError("a path with a destination: say where files go with MapOptions(output_remaps=…)")
    here = component()
    if here.number is not None:
        here.transfer_output_files(*paths)


def checkpoint(*paths: "Any") -> "None":
    """Keep files, so that they are there again when the component is begun anew: after an eviction, a hold,
    or a crash.

    See `wingspan.Component.checkpoint`. In a session, where a function is tried out by calling it, this does
    nothing.

    Args:
        paths: Files and folders in the working folder.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: One lies elsewhere.
        OSError: The copies could not be made; the checkpoint before this one still counts.
    """
    here = component()
    if here.number is not None:
        here.checkpoint(*paths)
