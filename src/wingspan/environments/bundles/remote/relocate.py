# mypy: ignore-errors
"""Rewrite the prefix of an unpacked environment: runs on the worker, with the environment's own Python.

    python relocate.py FOLDER OLD NEW

Text files get NEW for OLD. In binaries the text that follows is moved up and zeros fill the gap, which needs
NEW to be no longer than OLD; the starter sees to that with a link of a short name.
"""

import json
import os
import re
import sys


def patch_text(content, old, new):
    return content.replace(old, new)


def patch_binary(content, old, new):
    if len(new) > len(old):
        raise SystemExit("relocate: %r is longer than %r, which is written in binaries" % (new, old))

    def shift(match):
        text = match.group()
        shorter = text.replace(old, new)
        return shorter + b"\0" * (len(text) - len(shorter))

    return re.sub(re.escape(old) + rb"[^\0]*", shift, content)


def relocate(folder, old, new):
    with open(os.path.join(folder, ".wingspan", "prefix-files.json")) as file:
        names = json.load(file)
    for kind, patch in (("text", patch_text), ("binary", patch_binary)):
        for name in names[kind]:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                content = file.read()
            mode = os.stat(path).st_mode
            with open(path + ".relocated", "wb") as file:
                file.write(patch(content, old.encode(), new.encode()))
            os.chmod(path + ".relocated", mode & 0o7777)
            os.replace(path + ".relocated", path)


if __name__ == "__main__":
    relocate(*sys.argv[1:4])
