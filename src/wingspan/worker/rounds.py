"""Rounds: which components to do, how they are cut into blocks, and which worker has taken which block.

``rounds/<r>/plan`` says what round r does; it is put in place together with its folder by one rename, so a
round is there whole or not at all and only one of several writers wins. A `RERUN` may name another function
than the map was made with. ``rounds/<r>/claims/<block>`` is created exclusively by the worker that takes the
block, which then signs it with its name. Where blocks fall, it is a hard link to the
file in ``takes`` in which this worker lists what it takes.

Nobody reads all claims: there may be many, and many workers. ``rounds/<r>/takes/`` answers in one listing
what workers want to know when they run dry. In it ``<worker>.<start>`` lists what that start set out to
claim, a signed line each, written before the claim. ``settled.…`` says that a start has finished all that it
had claimed, ``failed.…`` which components have failed and may be tried again; these are empty files with
signed names.

A round of a map that is complete is *folded*: claims and takes go, the plan stays. Where there is no folder
for claims, nothing is left to claim. All else that is known of the past stands in the results.
"""

import json
from itertools import chain

from . import formats
from .digests import blake2b
from .parts import Part, joined_ranges, ranges_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

    from .transports import Transport

INITIAL = "initial"
RERUN = "rerun"  # the owner wants them again: what older rounds made no longer counts
RETRY = "retry"  # they failed and may try again: an older error no longer counts
CANCEL = "cancel"  # the owner does not want them any more: nobody does them, but what is finished counts
REPAIR = "repair"  # the worker that claimed them is gone: what older rounds make still counts
RESUME = "resume"  # as a repair, but the owner stopped the worker that claimed them: that is no loss

#: Blocks a worker of the plan gets, when there are enough components: small enough to balance, few enough to
#: claim quickly.
BLOCKS_PER_WORKER = 32
MAX_BLOCKS = 20000
#: Where so many workers share a round that they cannot have `BLOCKS_PER_WORKER` each, and each finds so many
#: components, blocks fall (see `Part.falls`): ten a worker do as well as twenty equal ones, and each costs
#: the access point a claim.
MANY_WORKERS, MANY_COMPONENTS = MAX_BLOCKS // BLOCKS_PER_WORKER, 256
FALLS = (5, 5, 4, 4, 4, 3, 3, 2, 1, 1)

#: Folders of a round; of a round of a map of format 1, whose workers listed in ``done`` what they had
#: finished.
FOLDERS = ("claims", "takes")
OLD_FOLDERS = ("claims", "done")

#: The file of the function that the map was made with. Later ones lie in `FUNCTIONS`, each named by its
#: digest.
FUNCTION = "function.pkl"
FUNCTIONS = "functions"


class Plan(object):
    """What one round does.

    Attributes:
        kind: `INITIAL`, `RERUN`, `RETRY`, `CANCEL`, `REPAIR` or `RESUME`.
        parts: Components with equal needs, each cut into blocks of its own; the blocks of all parts are
            numbered one after the other. Most plans have one part, with the needs of the map's options.
        ranges: ``[(first, stop), …]``: all components, ascending.
        workers: How many workers the plan expects.
        function: File of the function, of an `INITIAL` or a `RERUN`. For the other kinds see `function_of`.
        measured: What the pilot took that decided its needs; None: they have nothing to do with a pilot.
        rest: Of the first round of a map with a pilot: the parts that come after it. They are not of the
            plan.
        beside: Of the first round: what those components need whose outputs were there when the map was made.
            They are not of the plan; needs count when they are done again.
        rest_is_timed: Whether the jobs of these ask for the time that they need.
        blocks: How many blocks.
        length: How many components.
    """

    __slots__ = (
        "_first_blocks",
        "_firsts",
        "beside",
        "blocks",
        "function",
        "kind",
        "length",
        "measured",
        "parts",
        "ranges",
        "rest",
        "rest_is_timed",
        "workers",
    )

    def __init__(
        self,
        kind: "str",
        ranges: "Iterable[Sequence[int]]",
        block_size: "int",
        workers: "int",
        function: "str" = FUNCTION,
        falls: "Sequence[int]" = (),
    ) -> "None":
        self.kind = kind
        self.function = function
        self.measured: "Optional[Dict[str, Any]]" = None
        self.rest: "Sequence[Part]" = ()
        self.rest_is_timed = False
        self.beside: "Sequence[Part]" = ()
        self._take([Part({}, ranges, block_size, workers, falls=falls)])

    @classmethod
    def of(cls, kind: "str", parts: "Sequence[Part]", function: "str" = FUNCTION) -> "Plan":
        """A plan of these parts."""
        plan = cls(kind, (), 1, 1, function)
        plan._take(parts)
        return plan

    def _take(self, parts: "Sequence[Part]") -> "None":
        self.parts = list(parts)
        self.workers = sum(part.workers for part in self.parts)
        self.length = self.blocks = 0
        for part in self.parts:
            part.first_block = self.blocks
            self.blocks += part.blocks
            self.length += part.length
        self._first_blocks = [part.first_block for part in self.parts]
        if len(self.parts) == 1:
            self.ranges = self.parts[0].ranges
        else:
            self.ranges = joined_ranges(one for part in self.parts for one in part.ranges)
        self._firsts = [first for first, _ in self.ranges]

    @property
    def block_size(self) -> "int":
        """Components of a block, in the first part."""
        return self.parts[0].block_size

    @property
    def has_needs(self) -> "bool":
        """Some of its components need something else than the map's options say."""
        own = len(self.parts) > 1 or bool(self.parts[0].needs)
        return own or bool(self.beside) or self.measured is not None

    @property
    def falls(self) -> "bool":
        """Blocks of it fall."""
        return any(part.falls for part in self.parts)

    def part_of(self, block: "int") -> "Part":
        """The part that has this block."""
        import bisect

        return self.parts[bisect.bisect_right(self._first_blocks, block) - 1]

    def components(self, block: "int") -> "List[Tuple[int, int]]":
        """The runs of consecutive components in `block`: ``[(first, stop), …]``."""
        return self.part_of(block).components(block)

    def __contains__(self, component: "int") -> "bool":
        import bisect

        # The ranges ascend: `ranges_of` or `joined_ranges` made them.
        at = bisect.bisect_right(self._firsts, component) - 1
        return at >= 0 and component < self.ranges[at][1]

    def stretch(self, worker: "int") -> "int":
        """First block of the stretch that belongs to `worker`, in a plan of one part."""
        return self.parts[0].stretch(worker)

    def dumps(self, key: "bytes", number: "int") -> "bytes":
        """The signed contents of the file ``plan`` of round `number`."""
        fields: "Dict[str, Any]" = {"kind": self.kind, "round": number}
        if self.has_needs:
            fields["parts"] = [part.to_plain() for part in self.parts]
        else:
            fields.update(ranges=self.ranges, block_size=self.block_size, workers=self.workers)
            if self.falls:
                fields["falls"] = list(self.parts[0].falls)
        if self.function != FUNCTION:
            fields["function"] = self.function
        if self.measured is not None:
            fields["measured"] = self.measured
        if self.beside:
            fields["beside"] = [part.to_plain() for part in self.beside]
        return formats.sign(key, json.dumps(fields))

    @classmethod
    def loads(cls, key: "bytes", data: "bytes", number: "int", any_round: "bool" = False) -> "Optional[Plan]":
        """Read the plan of round `number`; None if it is cut, not signed with `key`, or of another round.

        Plans of older maps name no round: let those be of `any_round`.
        """
        text = formats.verify(key, data)
        if text is None:
            return None
        fields = json.loads(text.decode())
        if fields.get("round", number if any_round else None) != number:
            return None
        function = fields.get("function", FUNCTION)
        if "parts" in fields:
            plan = cls.of(fields["kind"], [Part.from_plain(plain) for plain in fields["parts"]], function)
            plan.measured = fields.get("measured")
            plan.beside = [Part.from_plain(plain) for plain in fields.get("beside", ())]
            return plan
        size, workers, falls = fields["block_size"], fields["workers"], fields.get("falls", ())
        return cls(fields["kind"], fields["ranges"], size, workers, function, falls)


def choose_block_size(count: "int", workers: "int") -> "int":
    """Components of a block, so that each worker finds about `BLOCKS_PER_WORKER` blocks."""
    by_balance = count // (max(1, workers) * BLOCKS_PER_WORKER)
    return max(1, by_balance, -(-count // MAX_BLOCKS))


def plan_for(
    kind: "str",
    components: "Iterable[int]",
    workers: "int",
    block_size: "Optional[int]" = None,
    function: "str" = FUNCTION,
    may_fall: "bool" = False,
) -> "Plan":
    """A plan for `components` (a range or numbers) and about so many workers. Its blocks fall only if all of
    these know such blocks.
    """
    if isinstance(components, range):
        ranges, count = [(components.start, components.stop)], len(components)
    else:
        ranges = ranges_of(components)
        count = sum(stop - first for first, stop in ranges)
    falls = _falls(kind, count, workers) if may_fall and block_size is None else ()
    size = count // (workers * len(falls)) if falls else _block_size(kind, count, workers, block_size)
    return Plan(kind, ranges, size, workers, function, falls)


def _falls(kind: "str", count: "int", workers: "int") -> "Sequence[int]":
    if kind == REPAIR or not MANY_WORKERS <= workers <= MAX_BLOCKS // len(FALLS):
        return ()
    return FALLS if count >= workers * MANY_COMPONENTS else ()


def _block_size(kind: "str", count: "int", workers: "int", block_size: "Optional[int]") -> "int":
    if kind == REPAIR:
        # A component that took its worker down may do so again: one component a block.
        return max(1, -(-count // MAX_BLOCKS))
    return block_size or choose_block_size(count, workers)


def plan_by_needs(
    kind: "str",
    groups: "Iterable[Tuple[Mapping[str, Any], Iterable[int]]]",
    workers: "int",
    block_size: "Optional[int]" = None,
    function: "str" = FUNCTION,
    shared: "bool" = False,
) -> "Plan":
    """A plan of ``(needs, components)`` groups, which share about so many workers by their size.

    With `shared`, workers of other parts that have at least as much may help.
    """
    cut = [(needs, ranges_of(components)) for needs, components in groups]
    counts = [sum(stop - first for first, stop in ranges) for _, ranges in cut]
    parts = []
    for (needs, ranges), count in zip(cut, counts):
        some = max(1, min(count, workers * count // max(1, sum(counts))))
        parts.append(Part(needs, ranges, _block_size(kind, count, some, block_size), some, shared))
    return Plan.of(kind, parts, function)


def plan_again(
    plans: "Mapping[int, Plan]",
    kind: "str",
    components: "Iterable[int]",
    workers: "int",
    block_size: "Optional[int]" = None,
    function: "str" = FUNCTION,
) -> "Plan":
    """A plan for components that earlier rounds have done; each keeps its needs."""
    if not any(plan.has_needs for plan in plans.values()):
        may_fall = any(plan.falls for plan in plans.values())
        return plan_for(kind, components, workers, block_size, function, may_fall)
    return plan_by_needs(kind, groups_of(plans, components), workers, block_size, function)


def groups_of(
    plans: "Mapping[int, Plan]", components: "Iterable[int]"
) -> "List[Tuple[Mapping[str, Any], List[int]]]":
    """``(needs, components)`` of components, as their newest rounds have them: ascending, by their first."""
    if not any(plan.has_needs for plan in plans.values()):
        return [({}, list(components))]
    left = set(components)
    groups: "Dict[str, Tuple[Mapping[str, Any], List[int]]]" = {}

    def take(needs: "Mapping[str, Any]", inside: "Set[int]") -> "None":
        if inside:
            groups.setdefault(json.dumps(needs, sort_keys=True), (needs, []))[1].extend(inside)
            left.difference_update(inside)

    for number in sorted(plans, reverse=True):
        for part in (*plans[number].parts, *plans[number].beside):
            if left:
                take(part.needs, left.intersection(chain.from_iterable(range(*one) for one in part.ranges)))
    take(_NONE, left)
    return sorted(((needs, sorted(members)) for needs, members in groups.values()), key=lambda one: one[1][0])


#: What components need that are in no round.
_NONE: "Mapping[str, Any]" = {}


def needs_of(plans: "Mapping[int, Plan]", component: "int") -> "Mapping[str, Any]":
    """What a component needs beyond the map's options, by the newest round that does it."""
    return _needs_in([plans[number] for number in sorted(plans, reverse=True)], component)


def _needs_in(newest: "Sequence[Plan]", component: "int") -> "Mapping[str, Any]":
    for plan in newest:
        if component in plan or plan.beside:
            for part in (*plan.parts, *plan.beside):
                if component in part:
                    return part.needs
    return _NONE


def function_of(plans: "Mapping[int, Plan]", component: "int", number: "int") -> "str":
    """File of the function that round `number` calls for `component`.

    A retry and a repair call what the round called that wanted the component afresh.
    """
    for other in sorted(plans, reverse=True):
        plan = plans[other]
        if other <= number and plan.kind in (INITIAL, RERUN) and component in plan:
            return plan.function
    return FUNCTION


def newest_function(plans: "Mapping[int, Plan]") -> "str":
    """File of the function that was given last."""
    for number in sorted(plans, reverse=True):
        if plans[number].kind in (INITIAL, RERUN):
            return plans[number].function
    return FUNCTION


def function_name(content: "Iterable[bytes]") -> "str":
    """The file that a later function of a map, in pieces, lies in: its name says what is in it, so that two
    writers cannot disagree.
    """
    digest = blake2b(digest_size=16)
    for piece in content:
        digest.update(piece)
    return "%s/%s.pkl" % (FUNCTIONS, digest.hexdigest())


def publish(
    transport: "Transport",
    key: "bytes",
    number: "int",
    plan: "Plan",
    nonce: "str",
    folders: "Sequence[str]" = FOLDERS,
) -> "bool":
    """Put round `number` in place, whole; False if another process was first."""
    temporary = "rounds/.%s" % nonce
    transport.make_folder(temporary)
    for folder in folders:
        transport.make_folder("%s/%s" % (temporary, folder))
    transport.write_whole(temporary + "/plan", plan.dumps(key, number))
    if transport.rename_folder(temporary, "rounds/%d" % number):
        return True
    transport.remove_tree(temporary)
    return False


def fold(transport: "Transport", number: "int", nonce: "str") -> "None":
    """All components of round `number` are finished: remove its claims. Any number of processes may do this,
    and any may die at it.
    """
    for folder in FOLDERS:
        doomed = "rounds/%d/.%s.%s" % (number, folder, nonce)
        try:
            transport.rename_folder("rounds/%d/%s" % (number, folder), doomed)
        except FileNotFoundError:
            continue  # another process has done it
        transport.remove_tree(doomed)


def round_numbers(transport: "Transport") -> "List[int]":
    """The numbers of the published rounds, ascending."""
    return sorted(int(name) for name in transport.names("rounds") if name.isdigit())


def claim(
    transport: "Transport", key: "bytes", number: "int", block: "int", owner: "str", by_link: "bool" = False
) -> "bool":
    """Take `block` of round `number` for `owner` (``"<worker>.<start>"``); False if it is taken.

    Args:
        by_link: The claim is a further name of the file in which the owner lists what it takes, with its own
            name: so it counts for no quota, and is one operation. If there are no such names, it is a file.
    """
    path = "rounds/%d/claims/%d" % (number, block)
    asked = by_link and transport.can_link
    if by_link:
        taken = transport.link("rounds/%d/takes/%s" % (number, owner), path)
        if taken is not None:
            return taken
    if transport.create_exclusively(path, formats.sign(key, "%d %d %s" % (number, block, owner))):
        return True
    # The name may have been made, and only the answer was lost: then nobody else does the block.
    return asked and claim_owner(key, number, block, transport.read(path)) == owner


def claim_owner(key: "bytes", number: "int", block: "int", data: "bytes") -> "Optional[str]":
    """Who claimed: ``"<worker>.<start>"``, or None when the claim is not signed, or not by a worker of this
    map.
    """
    text = formats.verify(key, data)
    if text is not None:
        fields = text.decode().split(" ")
        return fields[2] if fields[:2] == [str(number), str(block)] else None
    for line in data.decode("ascii", "replace").split("\n")[:-1]:  # a link to what its owner takes
        fields = line.split(" ")
        owner = fields[-1]
        if fields[0] == str(block) and line == take_line(key, owner, number, block, True).decode()[:-1]:
            return owner
    return None


def take_line(key: "bytes", owner: "str", number: "int", block: "int", named: "bool" = False) -> "bytes":
    """The line by which `owner` says that it sets out to claim a block; it names the owner if `named`."""
    code = _short_mac(key, "take %s %d %d" % (owner, number, block))
    return ("%d %s%s\n" % (block, code, " " + owner if named else "")).encode()


def parse_takes(key: "bytes", owner: "str", number: "int", data: "bytes") -> "List[int]":
    """The blocks of a file of `take_line`; lines that are torn, or not signed, are left out."""
    blocks = []
    for line in data.decode("ascii", "replace").split("\n")[:-1]:
        block = line.partition(" ")[0]
        if block.isdigit() and (line + "\n").encode() in (
            take_line(key, owner, number, int(block), named) for named in (False, True)
        ):
            blocks.append(int(block))
    return blocks


def settled_name(key: "bytes", owner: "str", number: "int") -> "str":
    """Name of the file that says: `owner` has finished all that it claimed in rounds up to `number`."""
    fact = "settled.%s.%d" % (owner, number)
    return "%s.%s" % (fact, _short_mac(key, fact))


def parse_settled(key: "bytes", name: "str") -> "Optional[Tuple[str, int]]":
    """``(owner, round)`` of a `settled_name`; None for every other name."""
    parts = name.split(".")
    if len(parts) != 5 or parts[0] != "settled" or not parts[3].isdigit():
        return None
    owner, number = "%s.%s" % (parts[1], parts[2]), int(parts[3])
    return (owner, number) if settled_name(key, owner, number) == name else None


def failed_names(key: "bytes", number: "int", components: "Iterable[int]") -> "List[str]":
    """Names of the files that say: these components have failed in round `number`. A name holds the first,
    and which after it as bits.
    """
    names = []
    left = sorted(components)
    while left:
        first, bits = left[0], 0
        while left and left[0] - first < _BITS:
            bits |= 1 << (left.pop(0) - first)
        fact = "failed.%d.%d.%x" % (number, first, bits)
        names.append("%s.%s" % (fact, _short_mac(key, fact)))
    return names


def parse_failed(key: "bytes", name: "str") -> "Optional[Tuple[int, List[int]]]":
    """``(round, components)`` of one of `failed_names`; None for every other name."""
    fact, _, code = name.rpartition(".")
    parts = fact.split(".")
    if len(parts) != 4 or parts[0] != "failed" or code != _short_mac(key, fact):
        return None
    first, bits = int(parts[2]), int(parts[3], 16)
    return int(parts[1]), [first + bit for bit in range(bits.bit_length()) if bits >> bit & 1]


#: A file's name has at most 255 bytes.
_BITS = 640


def _short_mac(key: "bytes", text: "str") -> "str":
    return blake2b(text.encode(), key=key, digest_size=8).hexdigest()
