# mypy: ignore-errors
"""Rewrite the prefix of an unpacked environment: runs on the worker, with the environment's own Python.

    python relocate.py FOLDER OLD NEW

Text files get NEW for OLD. In binaries the text that follows is moved, within the room that the package left
for a prefix (``room`` in prefix-files.json, in bytes; where it is not told, as much as OLD takes). What was
made of a text file
goes with it: the byte code of modules, and the digests of scripts in the lists of the wheels that brought
them.
"""

import base64
import csv
import glob
import hashlib
import io
import json
import os
import shutil
import sys

from in_place import replace_in_binary, replace_in_text  # @include in_place.py


def relocate(folder, old, new):
    with open(os.path.join(folder, ".wingspan", "prefix-files.json")) as file:
        names = json.load(file)
    room = names.get("room", {})
    for name in names["binary"]:
        if len(os.fsencode(new)) > max(len(old), room.get(name, 0)):
            raise SystemExit(
                "relocate: %r is too long a path for %s, which has room for %d bytes"
                % (new, name, room.get(name, len(old)))
            )
    for kind in ("text", "binary"):
        for name in names[kind]:
            path = os.path.join(folder, name)
            patched = path + ".relocated"
            shutil.copy(path, patched)  # the mode, too
            if kind == "binary":
                replace_in_binary(patched, old.encode(), os.fsencode(new), room.get(name))
            else:
                with open(path, "rb") as file:
                    content = file.read()
                with open(patched, "wb") as file:
                    file.write(replace_in_text(content, old.encode(), os.fsencode(new)))
            os.replace(patched, path)
    forget_byte_code(folder, names["text"])
    renew_records(folder, names["text"])


def is_within(folder, path):
    """Whether links stay inside, although whoever made the bundle chose them."""
    return (os.path.realpath(path) + os.sep).startswith(os.path.realpath(folder) + os.sep)


def forget_byte_code(folder, changed):
    """Remove the byte code of modules that were changed: Python would not compare it with them."""
    for name in changed:
        head, tail = os.path.split(name)
        if tail.endswith(".py"):
            place = os.path.join(folder, head, "__pycache__")
            if not is_within(folder, place):
                continue
            for path in glob.glob(os.path.join(glob.escape(place), glob.escape(tail[:-3]) + ".*.pyc")):
                os.unlink(path)


def renew_records(folder, changed):
    """Give the RECORD of each wheel the digests of those of its files that were changed."""
    changed = {os.path.normpath(os.path.join(folder, name)) for name in changed}
    for path in glob.glob(os.path.join(glob.escape(folder), "lib/python*/site-packages/*.dist-info/RECORD")):
        site = os.path.dirname(os.path.dirname(path))
        if not is_within(folder, path) or os.path.lexists(path + ".relocated"):
            continue
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        renewed = False
        for row in rows:
            place = os.path.normpath(os.path.join(site, row[0])) if row else ""
            if place in changed and len(row) == 3 and row[1].startswith("sha256="):
                with open(place, "rb") as file:
                    content = file.read()
                row[1:] = ["sha256=" + record_digest(content), str(len(content))]
                renewed = True
        if renewed:
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(rows)
            with open(path + ".relocated", "w", encoding="utf-8", newline="") as file:
                file.write(text.getvalue())
            os.replace(path + ".relocated", path)


def record_digest(content):
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode("ascii")


if __name__ == "__main__":
    relocate(*sys.argv[1:4])
