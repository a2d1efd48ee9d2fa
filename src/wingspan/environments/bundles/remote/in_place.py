# mypy: ignore-errors
# A prefix is rewritten by two programs (Python 3.6 and later).


def replace_in_binary(path, old, new):
    """Write `new` for `old` up to the zero that ends each text, and fill up with zeros: in place, a megabyte at a time."""
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
                shorter = text.replace(old, new)
                file.seek(offset + at)
                file.write(shorter + b"\0" * (len(text) - len(shorter)))
                if end < 0:
                    offset += at + len(text)
                    break
                at = window.find(old, end)
            else:
                if len(window) < 1 << 20:
                    return
                offset += len(window) - len(old) + 1
