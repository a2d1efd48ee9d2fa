# mypy: ignore-errors
"""Rewrite the prefix of an unpacked environment: runs on the worker, with the environment's own Python.

    python relocate.py FOLDER OLD NEW

Text files get NEW for OLD. In binaries the text that follows is moved up and zeros fill the gap, which needs
NEW to be no longer than OLD; the starter sees to that with a link of a short name.
"""

import json
import os
import shutil
import sys

from in_place import replace_in_binary  # @include in_place.py


def relocate(folder, old, new):
    with open(os.path.join(folder, ".wingspan", "prefix-files.json")) as file:
        names = json.load(file)
    if names["binary"] and len(new) > len(old):
        raise SystemExit("relocate: %r is longer than %r, which is written in binaries" % (new, old))
    for kind in ("text", "binary"):
        for name in names[kind]:
            path = os.path.join(folder, name)
            patched = path + ".relocated"
            shutil.copy(path, patched)  # the mode, too
            if kind == "binary":
                replace_in_binary(patched, old.encode(), new.encode())
            else:
                with open(path, "rb") as file:
                    content = file.read()
                with open(patched, "wb") as file:
                    file.write(content.replace(old.encode(), new.encode()))
            os.replace(patched, path)


if __name__ == "__main__":
    relocate(*sys.argv[1:4])
