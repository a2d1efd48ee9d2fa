"""The folder for temporary files of a worker, and files in it that have no name."""

import os


def current_folder() -> "str":
    """The current folder; the root of all, if it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return "/"


def scratch_folder() -> "str":
    """Where a job may put temporary files: the first folder that is there and can be written to."""
    folders = (os.environ.get("_CONDOR_SCRATCH_DIR"), os.environ.get("TMPDIR"), "/tmp")  # noqa: S108
    for folder in folders:
        if folder and os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK):
            return folder
    import tempfile

    return tempfile.gettempdir()  # it knows some more


def own_prefix(pid: "int") -> "str":
    """Begins the names of what process `pid` leaves in its scratch folder."""
    return ".wingspan-own-%d-" % pid


def unnamed_file(scratch: "str", what: "str") -> "int":
    """A new file that is open to read and to append to, and that goes when nobody has it open."""
    path = os.path.join(scratch, ".wingspan-%s-%d-%s" % (what, os.getpid(), os.urandom(4).hex()))
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    os.unlink(path)
    return descriptor
