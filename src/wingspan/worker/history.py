"""What an earlier start, or another worker, has already finished: read from the record headers of its results, without the payloads."""

from . import formats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict

    from .transports import Transport


def finished_components(transport: "Transport", name: "str", number: "int") -> "Dict[int, bool]":
    """Components that ``results/<name>`` has a record of for round `number`; true where that is an error."""
    finished: "Dict[int, bool]" = {}
    path = "results/" + name
    offset, head = 0, formats.FRAME.size
    size = formats.RECORD.size
    while True:
        try:
            data = transport.read(path, head + 64 * size, offset)
        except FileNotFoundError:
            return finished
        if len(data) < head:
            return finished
        magic, length, count, _ = formats.FRAME.unpack_from(data)
        if magic != formats.FRAME_MAGIC:
            return finished
        need = head + count * size
        if len(data) < need:
            data += transport.read(path, need - len(data), offset + len(data))
        last = transport.read(path, 1, offset + head + length - 1)
        if len(data) < need or not last:
            return finished  # a torn tail: not all of this frame arrived
        for record in formats.RECORD.iter_unpack(data[head:need]):
            if record[0] in (formats.OUTPUT, formats.ERROR, formats.RUN) and record[3] == number:
                failed = record[0] == formats.ERROR
                finished.update((component, failed) for component in range(record[4], record[4] + record[2]))
        offset += head + length
