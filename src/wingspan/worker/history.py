"""Find out what an earlier start, or another worker, has finished, and who is still at work.

The record headers of results, and the names of small files beside the claims, say it; payloads are not read.
"""

from . import formats, rounds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Sequence, Tuple

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


def look_around(
    transport: "Transport", key: "bytes", numbers: "Sequence[int]", name: "str"
) -> "Tuple[List[str], List[Tuple[int, List[int]]]]":
    """``(starts, failures)``: who is still at work, or lost (the newest start of each worker), and what
    failed, by round.

    Args:
        transport: The way to the map's folder.
        key: The map's.
        numbers: The rounds, ascending.
        name: The start that asks. Its own worker is left out.
    """
    took: "Dict[str, int]" = {}
    settled: "Dict[str, int]" = {}
    failed = []
    for number in numbers:
        for entry in transport.names("rounds/%d/takes" % number):
            if entry.startswith("settled."):
                fact = rounds.parse_settled(key, entry)
                if fact is not None:
                    for one in with_earlier(fact[0]):  # a start resumes what those before it left
                        settled[one] = max(fact[1], settled.get(one, 0))
            elif entry.startswith("failed."):
                failure = rounds.parse_failed(key, entry)
                if failure is not None:
                    failed.append(failure)
            elif entry.count(".") == 1:
                took[entry] = number
    newest: "Dict[str, int]" = {}
    for one, number in took.items():
        if settled.get(one, -1) < number and one != name:
            worker, start = one.split(".")
            newest[worker] = max(int(start), newest.get(worker, 0))
    newest.pop(name.split(".")[0], None)
    return ["%s.%d" % one for one in newest.items()], failed
