"""A worker's folder for temporary files, and files without a name in it."""

import os


def current_folder() -> "str":
    """The current folder; the root of all, if it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return "/"


def scratch_folder() -> "str":
    """The folder for a job's temporary files: the first one that exists and can be written to."""
    folders = (os.environ.get("_CONDOR_SCRATCH_DIR"), os.environ.get("TMPDIR"), "/tmp")  # noqa: S108
    for folder in folders:
        if folder and os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK):
            return folder
    import tempfile

    return tempfile.gettempdir()  # it knows more folders


def own_prefix(pid: "int") -> "str":
    """Begins the names of what process `pid` leaves in its scratch folder."""
    return ".wingspan-own-%d-" % pid


def remove_left_behind(scratch: "str", pid: "int") -> "None":
    """Remove the files that process `pid`, which has ended, wrote for itself and its children."""
    try:
        names = os.listdir(scratch)
    except OSError:
        return
    for name in names:
        if name.startswith(own_prefix(pid)):
            path = os.path.join(scratch, name)
            if os.path.isdir(path):
                import shutil  # here, as it takes long to import and is seldom needed

                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)


def unnamed_file(scratch: "str", what: "str") -> "int":
    """A new file, open for reading and appending, which vanishes when it is closed everywhere."""
    path = os.path.join(scratch, ".wingspan-%s-%d-%s" % (what, os.getpid(), os.urandom(4).hex()))
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    os.unlink(path)
    return descriptor
