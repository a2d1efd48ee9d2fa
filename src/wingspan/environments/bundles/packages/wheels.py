"""The lists of wheels' files, read once: a large wheel has ten thousand."""

from __future__ import annotations

import zipfile
from pathlib import Path

import attrs

from wingspan.environments.archives import ZIP_FAULTS, console_scripts
from wingspan.environments.bundles.errors import BuildFailed

__all__ = ["Wheel", "read_wheel"]


@attrs.frozen
class Wheel:
    """A wheel's own list of its files.

    Attributes:
        path: The file.
        members: Its files, without folders.
        programs: Names of the programs that an installer writes for it.
    """

    path: Path
    members: tuple[zipfile.ZipInfo, ...]
    programs: frozenset[str]


def read_wheel(path: Path) -> Wheel:
    """Read the list of a wheel's files.

    Raises:
        BuildFailed: It is no wheel, or its list of programs is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = tuple(member for member in archive.infolist() if not member.is_dir())
            return Wheel(path, members, frozenset(console_scripts(archive)))
    except (*ZIP_FAULTS, OSError) as error:
        raise BuildFailed(
            f"{path.name} is not a wheel: {error}", hint="the lock names it: look where it comes from"
        ) from None
