"""The account that HTCondor's daemons and the jobs see themselves as."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import attrs

from wingspan.errors import PoolError

__all__ = ["Identity", "choose_identity"]


@attrs.frozen
class Identity:
    """The account that HTCondor's daemons and the jobs see themselves as.

    Attributes:
        name: Its name in the password file.
        uid: Its user id.
        gid: Its group id.
        namespace: It is not ours: the daemons start in a user namespace that maps our uid to this one.
    """

    name: str
    uid: int
    gid: int
    namespace: bool


def choose_identity() -> Identity:
    """Whom the daemons run as: us, unless HTCondor would refuse that.

    HTCondor refuses jobs of uid 0, and authenticates users by their names. Root, and a uid without a name
    (as in many containers), is therefore mapped to a system account in a user namespace. The account must
    not be the kernel's overflow uid (nobody): every unmapped user of the machine looks like that one in
    there, and would be let in.
    """
    uid = os.getuid()
    if uid:
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:
            pass
        else:
            return Identity(name, uid, os.getgid(), namespace=False)
    try:
        overflow = int(Path("/proc/sys/kernel/overflowuid").read_text())
    except (OSError, ValueError):
        overflow = 65534
    for entry in sorted(pwd.getpwall(), key=lambda entry: (entry.pw_name != "daemon", entry.pw_uid)):
        if entry.pw_uid not in (0, overflow):
            return Identity(entry.pw_name, entry.pw_uid, entry.pw_gid, namespace=True)
    raise PoolError(
        f"uid {uid} cannot run jobs and the password file has no other account to stand in for it",
        hint="add an account (useradd condor), or use the local pool: wingspan.map(..., pool='local')",
    )
