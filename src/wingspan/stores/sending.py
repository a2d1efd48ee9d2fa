"""Send one file to an address that its owner has chosen; jobs on this machine's own disks do that with their
outputs.

Such a file bears the name that the user gave it. It replaces what is there under this name, whole or not at
all. A program of its own (``python -m wingspan.stores.sending FILE URL``), because the job's script starts
it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from wingspan.errors import WingspanError
from wingspan.progress import NO_PROGRESS
from wingspan.settings import Settings, load_settings
from wingspan.stores.base import Store, fingerprint, pieces_of
from wingspan.stores.errors import StoreError
from wingspan.stores.locations import open_place

__all__ = ["check_target", "main", "send_file"]


def _target(url: str, settings: Settings) -> tuple[Store, str]:
    """The folder that `url` is in, as a store, and the name in it.

    Raises:
        SettingsError: Nothing here sends files to such an address.
        StoreError: The address has no name of a file.
    """
    folder, _, name = url.rpartition("/")
    if not name or "?" in name or "#" in name:
        raise StoreError(
            f"{url} does not end with the name of a file", hint="write it out: https://host/folder/model.pt"
        )
    plain = unquote(name) if urlsplit(url).scheme in ("file", "https", "http") else name
    return open_place(folder, settings), plain


def check_target(url: str, settings: Settings) -> None:
    """See, before anything is computed, that a file can be sent to `url` as far as this can be told now.

    Raises:
        SettingsError: Nothing here sends files to such an address.
        StoreError: The place does not answer, is not there, or can only be read.
    """
    store, _ = _target(url, settings)
    store.backend.make_folder()
    store.backend.check_writable()


def send_file(path: Path, url: str, settings: Settings) -> None:
    """Send the file or the folder `path` to `url`. Files of a folder go below it, with their paths.

    Raises:
        SettingsError, StoreError: As `check_target`, and where there is no room.
        SourceChanged: The file changed while it was sent; nothing was replaced.
    """
    if path.is_dir():
        for one in sorted(path.rglob("*")):
            if one.is_file():
                below = one.relative_to(path).as_posix()
                quoted = quote(below) if urlsplit(url).scheme in ("file", "http", "https") else below
                send_file(one, f"{url.rstrip('/')}/{quoted}", settings)
        return
    store, name = _target(url, settings)
    store.backend.make_folder()
    before = fingerprint(path)
    store.backend.put(name, pieces_of(path, before, None, NO_PROGRESS), before[0], replace=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Send a file; an error is one sentence on standard error, and exit code 1."""
    path, url = sys.argv[1:] if arguments is None else arguments
    try:
        send_file(Path(path), url, load_settings())
    except (WingspanError, OSError) as error:
        message = error.message if isinstance(error, WingspanError) else str(error)
        print(message, file=sys.stderr)  # noqa: T201 - a program of the job's script
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
