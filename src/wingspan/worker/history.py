"""Find out what an earlier start, or another worker, has finished. The record headers of its results say it;
payloads are not read.
"""

from . import formats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Tuple

    from .transports import Transport


def finished_components(
    transport: "Transport", key: "bytes", name: "str", number: "int"
) -> "Dict[int, bool]":
    """Components that ``results/<name>`` has a record of for round `number`; true where that is an error.

    A record counts if it is signed. The payloads are not read.
    """
    finished: "Dict[int, bool]" = {}
    for record in outcome_records(transport, key, name):
        if record[3] == number:
            failed = record[0] == formats.ERROR
            finished.update((component, failed) for component in range(record[4], record[4] + record[2]))
    return finished


def outcome_records(transport: "Transport", key: "bytes", name: "str") -> "Iterator[Tuple[Any, ...]]":
    """The records of ``results/<name>`` with the result of a component, as `formats.RECORD` unpacks them.
    Payloads are not read.
    """
    path = "results/" + name
    offset, size = 0, formats.RECORD.size
    first = formats.FRAME.size + formats.DIGEST_BYTES + 64 * size
    while True:
        try:
            data = transport.read(path, first, offset)
        except FileNotFoundError:
            return
        if len(data) < formats.FRAME.size:
            return
        try:
            frame = formats.Frame(name, offset, data)
            if not frame.is_piece:
                if len(data) < frame.signed:
                    data += transport.read(path, frame.signed - len(data), offset + len(data))
                if len(data) < frame.payloads or not transport.read(path, 1, offset + frame.end - 1):
                    return  # a torn tail: not all of this frame arrived
                frame.check(key, name, offset, data)
        except ValueError:
            return  # no reader goes on after it
        for record in formats.RECORD.iter_unpack(data[frame.headers : frame.payloads]) if frame.count else ():
            if record[0] in OUTCOMES:
                yield record
        offset += frame.end


#: Kinds of records with the result of a component.
OUTCOMES = frozenset([formats.OUTPUT, formats.ERROR, formats.RUN, formats.LARGE])


def with_earlier(name: "str") -> "List[str]":
    """The start of a worker called `name`, and those before it, which it carries on."""
    worker, start = name.split(".")
    return [name] if start == "0" else ["%s.%d" % (worker, earlier) for earlier in range(int(start) + 1)]
