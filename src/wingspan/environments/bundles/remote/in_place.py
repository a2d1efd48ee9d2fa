# mypy: ignore-errors
# A prefix is rewritten by two programs (Python 3.6 and later).

#: What kernels read of a script's first line.
LONGEST_LINE = 127


def replace_in_text(content, old, new):
    """Write `new` for `old`.

    The kernel would not understand some first lines then: such a line looks its program up on PATH, as
    py-rattler does.
    """
    first, end, rest = content.partition(b"\n")
    changed = first.replace(old, new)
    if first.startswith(b"#!") and old in first and (len(changed) > LONGEST_LINE or len(new.split()) > 1):
        words = first[2:].split(None, 1)
        changed = b"#!/usr/bin/env " + (b"-S " if words[1:] else b"") + words[0].rpartition(b"/")[2]
        changed = b" ".join([changed] + words[1:])
    return changed + end + rest.replace(old, new)


def replace_in_binary(path, old, new, room=None):
    """Write `new` for `old` up to the zero that ends each text, and fill up with zeros, a megabyte at a time.

    `room`: how many bytes a prefix had in this file before `old` was written into it; by so much `new` may be
    longer than `old`. Raises ValueError where the zeros that were left then are not there.
    """
    room = max(len(old), room or 0)
    with open(path, "r+b") as file:
        offset = 0
        while True:
            file.seek(offset)
            window = file.read(1 << 20)
            at = window.find(old)
            while at >= 0:
                end = window.find(b"\0", at)
                text = window[at:end] if end >= 0 else window[at:]
                if end < 0:  # it goes on behind the window
                    file.seek(offset + len(window))
                    while True:
                        piece = file.read(4096)
                        stop = piece.find(b"\0")
                        text += piece if stop < 0 else piece[:stop]
                        if stop >= 0 or not piece:
                            break
                changed = text.replace(old, new)
                if len(changed) > len(text):
                    file.seek(offset + at + len(text))
                    more = len(changed) - len(text)
                    if len(new) > room or file.read(more) != bytes(more):
                        raise ValueError("%s has no room for a path of %d bytes" % (path, len(new)))
                file.seek(offset + at)
                file.write(changed + b"\0" * (len(text) - len(changed)))
                if end < 0:
                    offset += at + len(text)
                    break
                at = window.find(old, end)
            else:
                if len(window) < 1 << 20:
                    return
                offset += len(window) - len(old) + 1
