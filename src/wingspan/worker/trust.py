"""Modes, checks of foreign names, and safe opening of files.

Both sides of a map use this one module for them.

Our folders are 0700, our files 0600, our programs 0700, whatever the umask. A name from elsewhere (a lock, a
manifest, an archive, a job) is checked here before it becomes a path. Our own files are opened without
following a link, and their owner is checked on the open file.

The errors derive from those of the standard library: `BadName` for a wrong name, `NotClosed` for a file or
folder that others control. Callers add which package, bundle or map is concerned.
"""

import contextlib
import errno
import os
import re
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Dict, Iterable, Iterator, Optional, Set, Tuple

FOLDER, FILE, PROGRAM = 0o700, 0o600, 0o700

#: Bytes of one part of a path (the limit of all file systems), and of a whole path (PATH_MAX minus room for
#: the folder before it).
LONGEST_PART, LONGEST_PATH = 255, 3072
#: Categories of Unicode that are invisible or change how other characters are shown: control, format,
#: surrogate, line and paragraph separators.
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
_PLAIN = re.compile("[ -~]*\\Z")


class BadName(ValueError):
    """A name from elsewhere that must not become a path."""


class NotClosed(PermissionError):
    """A file or folder that users other than this one and root control."""


# ---- names


def check_path(name: "str") -> "str":
    """`name`, if it is a path below its folder: relative, in plain form, with visible characters only.

    Raises:
        BadName: It is absolute, has empty parts, ``.`` or ``..``, control or format characters, looks like
            one of these in another form of Unicode, or is too long.

    >>> check_path("lib/python3.12/site.py")
    'lib/python3.12/site.py'
    >>> check_path("./../x")
    Traceback (most recent call last):
    ...
    wingspan.worker.trust.BadName: it has a part '.'
    """
    if not isinstance(name, str):
        raise BadName("it is no text")
    if not name:
        raise BadName("it is empty")
    plain = _PLAIN.match(name) is not None
    if not plain:
        import unicodedata

        for character in name:
            if unicodedata.category(character) in _UNSEEN:
                raise BadName("it has the character U+%04X" % ord(character))
    if name[0] == "/":
        raise BadName("it is absolute")
    forms = (name,) if plain else (name, unicodedata.normalize("NFKC", name))
    if len(forms) == 2 and forms[1].count("/") != name.count("/"):
        raise BadName("it has a character that stands for '/'")
    for form in forms:
        for part in form.split("/"):
            if part in ("", ".", ".."):
                raise BadName("it has a part %r" % part if part else "it has an empty part")
            if len(part) > LONGEST_PART // 4 and len(part.encode("utf-8")) > LONGEST_PART:
                raise BadName("it has a part of more than %d bytes" % LONGEST_PART)
    if len(name) > LONGEST_PATH // 4 and len(name.encode("utf-8")) > LONGEST_PATH:
        raise BadName("it has more than %d bytes" % LONGEST_PATH)
    return name


def check_name(name: "str") -> "str":
    """`name`, if it is the name of one file directly in its folder.

    Raises:
        BadName: As in `check_path`, or it has a ``/``.
    """
    if "/" in check_path(name):
        raise BadName("it has a '/'")
    return name


def folded(name: "str") -> "str":
    """A key that is equal for names that some file system treats as one: without case, in one form of
    Unicode.
    """
    if _PLAIN.match(name):
        return name.lower()
    import unicodedata

    return unicodedata.normalize("NFKC", name).casefold()


class Tree(object):
    """The names that several packages put into one folder.

    Args:
        reserved: Names at its top that no package may have, nor anything below them.
    """

    def __init__(self, reserved: "Iterable[str]" = ()) -> "None":
        self._reserved = frozenset(map(folded, reserved))
        self._links: "Dict[str, Dict[str, str]]" = {}
        self._names: "Dict[str, Set[str]]" = {}

    def add(self, owner: "str", name: "str", link: "Optional[str]" = None) -> "None":
        """Add a name of `owner`; for a symbolic link also its target.

        Raises:
            BadName: As in `check_path`, or it is reserved.
        """
        check_path(name)
        if folded(name.partition("/")[0]) in self._reserved:
            raise BadName("the name %r is reserved" % name.partition("/")[0])
        if link is None:
            self._names.setdefault(owner, set()).add(name)
        else:
            self._links.setdefault(owner, {})[name] = link

    def first_fault(self) -> "Optional[Tuple[str, str, str]]":
        """``(owner, name, what is wrong)`` of the first name that would be written through a symbolic
        link; None if there is none.
        """
        links: "Dict[str, Tuple[str, str, str]]" = {}
        for owner in self._links:
            for name, target in self._links[owner].items():
                links[folded(name)] = (owner, name, target)
        if not links:
            return None
        known: "Dict[str, Optional[Tuple[str, str, str]]]" = {}

        def link_above(name: "str") -> "Optional[Tuple[str, str, str]]":
            folder = name.rpartition("/")[0]
            if not folder:
                return None
            if folder not in known:
                known[folder] = links.get(folded(folder)) or link_above(folder)
            return known[folder]

        for owner in sorted(set(self._names) | set(self._links)):
            names = self._names.get(owner, set())
            for name in sorted(names.union(self._links.get(owner, ()))):
                above = link_above(name)
                if above is not None:
                    return owner, name, "it lies below %r, a symbolic link of %s" % (above[1], above[0])
                same = links.get(folded(name)) if name in names else None
                if same is not None and same[0] != owner and _leads_out(same[1], same[2]):
                    return owner, name, "%s has a symbolic link of that name, to %r" % (same[0], same[2])
        return None


def _leads_out(name: "str", target: "str") -> "bool":
    """Whether a link in the folder of `name` may lead out of it.

    A target that goes up again after going down may pass other links.
    """
    depth = name.count("/")
    parts = target.split("/")
    ups = 0
    while ups < len(parts) and parts[ups] == "..":
        ups += 1
    return target[:1] == "/" or ups > depth or ".." in parts[ups:]


# ---- who controls a file


def why_open(status: "os.stat_result") -> "Optional[str]":
    """Who can write to a file with this status, besides this user and root; None if no one."""
    if status.st_uid not in (os.geteuid(), 0):
        return "it belongs to uid %d" % status.st_uid
    if stat.S_ISLNK(status.st_mode):
        return None  # its folder decides
    if status.st_mode & stat.S_IWOTH:
        return "everybody can write it"
    if status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid):
        return "its group %d can write it" % status.st_gid
    return None


def _is_own_group(gid: "int") -> "bool":
    """Whether only this user is in the group: root's group, or the group with the user's own name that many
    systems create.
    """
    import grp
    import pwd

    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return user.pw_gid == gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def check_closed(path: "str") -> "None":
    """Check that only this user and root can write to `path` or replace it.

    Raises:
        NotClosed: Another user can, or can change one of the folders above it.
        OSError: It is not there.
    """
    place, parts = "/", os.path.abspath(path).split("/")[::-1]
    links = 0
    while True:
        status = os.lstat(place)
        reason = why_open(status)
        # In a folder with the sticky bit (/tmp), others cannot rename what is not theirs.
        sticky = status.st_mode & stat.S_ISVTX and stat.S_ISDIR(status.st_mode) and any(parts)
        if reason is not None and not (sticky and status.st_uid in (os.geteuid(), 0)):
            raise NotClosed(errno.EPERM, "others can change %s: %s" % (path, reason), place)
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > 40:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = os.readlink(place)
            parts += target.split("/")[::-1]
            place = "/" if target[:1] == "/" else os.path.dirname(place)
            continue
        while parts and parts[-1] in ("", "."):
            parts.pop()
        if not parts:
            return
        part = parts.pop()
        place = os.path.dirname(place) if part == ".." else os.path.join(place, part)


def is_closed(path: "str") -> "bool":
    """Whether `check_closed` raises nothing."""
    try:
        check_closed(path)
    except OSError:
        return False
    return True


# ---- making and opening


def make_folder(path: "str") -> "None":
    """Make a folder for this user alone, with missing parents. An existing one is closed to others.

    Raises:
        NotClosed: It exists and belongs to another user, or is another user's link. OSError: It cannot be
            made.
    """
    path = os.fspath(path)
    try:
        os.mkdir(path, FOLDER)
    except FileNotFoundError:
        make_folder(os.path.dirname(os.path.abspath(path)))
        return make_folder(path)
    except FileExistsError:
        if os.path.islink(path):  # the user moved it to another disk; the link belongs to the user
            check_owner(path, os.lstat(path))
        status = os.stat(path)
        if not stat.S_ISDIR(status.st_mode):
            raise
        check_owner(path, status)
    else:
        status = os.stat(path)
    if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) != FOLDER:
        os.chmod(path, FOLDER)


def close_folder(path: "str") -> "None":
    """As `make_folder`, but an existing folder may hold other files too, so only the right of others to write
    is removed.

    A folder with the sticky bit (/tmp) is shared by all users and stays as it is. Users cannot take each
    other's files there.

    Raises:
        NotClosed, OSError: As in `make_folder`.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return make_folder(path)
    check_owner(path, status)
    if status.st_uid == os.geteuid() and status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
        os.chmod(path, stat.S_IMODE(status.st_mode) & ~0o022)


def check_owner(path: "str", status: "os.stat_result") -> "None":
    """Check that a file with this status belongs to this user or root.

    Raises:
        NotClosed: It does not.
    """
    if status.st_uid not in (os.geteuid(), 0):
        raise NotClosed(errno.EPERM, "it belongs to another user (uid %d)" % status.st_uid, path)


def open_file(path: "str", flags: "int" = os.O_RDONLY, mode: "int" = FILE) -> "int":
    """A descriptor of a plain file of this user (or root), opened without following a link at its end.

    If others could write to it, it is closed to them (if it is opened for writing, or belongs to this user).

    Raises:
        NotClosed: It belongs to somebody else, or is no plain file. OSError: It cannot be opened; ELOOP for a
            link.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, mode)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotClosed(errno.EPERM, "it is no plain file", path)
        check_owner(path, status)
        ours = status.st_uid == os.geteuid() and bool(flags & os.O_CREAT or status.st_mode & 0o022)
        if ours and status.st_mode & 0o077:
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & 0o700)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def opener(path: "str", flags: "int") -> "int":
    """For ``open(..., opener=opener)``: as `open_file`; a new file is for this user alone."""
    return open_file(path, flags)


@contextlib.contextmanager
def replacing(path: "str", mode: "int" = FILE, sync: "bool" = True) -> "Iterator[IO[bytes]]":
    """A new file that replaces `path` if the block ends well, and is removed otherwise.

    Args:
        path: The file.
        mode: Its mode, whatever the umask.
        sync: Wait for the disk. False: a crash of the machine may leave half of it, which its reader has to
            notice.
    """
    folder, name = os.path.split(os.fspath(path))
    temporary = os.path.join(folder, ".%s.%d.%s" % (name[:200], os.getpid(), _random()))
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            if mode != FILE:
                os.fchmod(descriptor, mode)
            if sync:
                os.fsync(descriptor)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _random() -> "str":
    return "".join("%02x" % number for number in bytearray(os.urandom(6)))


def write_whole(path: "str", data: "bytes", mode: "int" = FILE, sync: "bool" = False) -> "None":
    """Write a whole file, or leave the existing one. See `replacing`."""
    with replacing(path, mode=mode, sync=sync) as file:
        file.write(data)


def copied_mode(status: "os.stat_result") -> "int":
    """The mode for our copy of a file with this status: for this user alone, with no more rights than the
    source's owner has.

    The owner can always read and write the copy (so that it can be removed), and enter a folder.
    """
    if stat.S_ISDIR(status.st_mode):
        return FOLDER
    return FILE | (stat.S_IXUSR if status.st_mode & 0o111 else 0)


def copy_file(source: "str", target: "str") -> "None":
    """Copy a plain file to a new one for this user alone. File systems that can share blocks do so.

    Raises:
        OSError: `source` is no plain file (EINVAL), or `target` is there (EEXIST), or anything else goes
            wrong.
    """
    import fcntl
    import shutil

    old = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(old)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no plain file", source)
        mode = copied_mode(status)
        new = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(new, "wb") as out, os.fdopen(old, "rb", closefd=False) as into:
            try:
                fcntl.ioctl(new, _FICLONE, old)
            except OSError:
                shutil.copyfileobj(into, out, 1 << 20)
            out.flush()
            os.fchmod(new, mode)
            os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    finally:
        os.close(old)


def put_whole(source: "str", place: "str") -> "None":
    """Copy a file, in place of one that may be there; it is never seen in part."""
    folder, name = os.path.split(place)
    part = os.path.join(folder, ".%s.%s.part" % (name[:200], _random()))
    try:
        copy_file(source, part)
        os.rename(part, place)
    except BaseException:
        if os.path.lexists(part):
            os.unlink(part)
        raise


#: ioctl_ficlone(2): the file system shares the blocks of both files until one of them is written to (Btrfs,
#: XFS, bcachefs).
_FICLONE = 0x40049409
