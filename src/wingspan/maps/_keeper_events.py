"""The events and instructions of the state machine that keeps a map (`wingspan.maps._keeper_state`)."""

from __future__ import annotations

import types
from collections.abc import Mapping, Set
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from wingspan.maps._components import WorkerStart
from wingspan.pools import Action, JobEvent
from wingspan.pools.submissions import LoggedSubmission

__all__ = [
    "Act",
    "Acted",
    "ActionsRead",
    "Adopt",
    "Ask",
    "CannotStart",
    "Claims",
    "ClaimsRead",
    "Due",
    "Event",
    "Explain",
    "ExternalSeen",
    "FindExternal",
    "Fold",
    "GiveUp",
    "Instruction",
    "JobsTold",
    "Looked",
    "Note",
    "PoolKnown",
    "Publish",
    "Published",
    "ReadClaims",
    "ReadRecords",
    "ReadWords",
    "RecordsRead",
    "Refused",
    "RepairWanted",
    "Reschedule",
    "Revive",
    "SubmissionsRead",
    "Submit",
    "Submitted",
    "Wanted",
    "WordsRead",
]

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Any:
        return lambda cls: cls


@dataclass_transform(frozen_default=True)
class _Value:
    """An event or an instruction: its annotations are its fields.

    attrs would write code for each of these classes. For all of them that takes 12 ms, in every session that
    makes a map.
    """

    _fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls._fields = tuple(cls.__annotations__)

    def __init__(self, *values: Any, **named: Any) -> None:
        known = self.__dict__
        for name, value in zip(self._fields, values, strict=False):
            known[name] = value
        known.update(named)
        for name in self._fields[len(values) :]:
            if name not in known:
                known[name] = getattr(type(self), name)
        if len(known) != len(self._fields) or len(values) > len(self._fields):
            raise TypeError(f"{type(self).__name__} has the fields {self._fields}")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"


#: Of each round: who claimed which block. None: the claim is not signed, or nobody looked.
Claims: TypeAlias = Mapping[int, Mapping[int, str | None]]


# -- events --------------------------------------------------------------------------------------------------


class SubmissionsRead(_Value):
    """All submissions of the map that are known now, oldest first."""

    entries: tuple[LoggedSubmission, ...]


class PoolKnown(_Value):
    """A pool that has jobs of the map, and what it says of itself (`wingspan.pools.Pool`)."""

    kind: str
    ends_held_jobs: bool


class ActionsRead(_Value):
    """What was done to jobs on purpose: clusters by action, all of them and those of the last time."""

    clusters: Mapping[str, Set[str]]
    last: Mapping[str, Set[str]]


class JobsTold(_Value):
    """What a pool of this kind says of its jobs; None: it is not known which pool says it."""

    events: tuple[JobEvent, ...]
    pool: str | None = None


class PoolsStopped(_Value):
    """Of the pools of a map that has several, these do not run now."""

    kinds: frozenset[str]


class Looked(_Value):
    """Records and jobs were looked at; there were news of them or none."""

    now: float
    news: bool


class Due(_Value):
    """Somebody looks after the map at this time (s, of a monotonic clock)."""

    now: float


class ExternalSeen(_Value):
    """So many workers that belong to no known submission have given a sign of life."""

    now: float
    count: int


class RepairWanted(_Value):
    """What these worker starts had claimed is to be offered again; None: what anybody had."""

    owners: frozenset[str] | None
    kind: str


class ClaimsRead(_Value):
    """Who has claimed what; the answer to `ReadClaims`, whose fields it has.

    Attributes:
        owners, kind: As in `RepairWanted`.
        claims: The claims.
        folded: Rounds whose claims were removed when the map was complete.
    """

    owners: frozenset[str] | None
    kind: str
    claims: Claims
    folded: frozenset[int] = frozenset()


class Published(_Value):
    """A round was published, or (`won` is False) another writer's was first.

    Without `request`, the user wanted the round.
    """

    won: bool
    request: Publish | None = None


class RecordsRead(_Value):
    """The records were read once more."""


class WordsRead(_Value):
    """What a worker wrote to standard error before it ended (empty: nothing), or that the disk is full."""

    worker: int
    words: str


class Submitted(_Value):
    """Workers were submitted to a pool."""

    now: float
    kind: str


class Wanted(_Value):
    """The user wants this to be done to all jobs."""

    action: Action
    reason: str


class Acted(_Value):
    """It was done."""

    request: Act


Event: TypeAlias = (
    SubmissionsRead
    | PoolKnown
    | PoolsStopped
    | ActionsRead
    | JobsTold
    | Looked
    | Due
    | ExternalSeen
    | RepairWanted
    | ClaimsRead
    | Published
    | RecordsRead
    | WordsRead
    | Submitted
    | Wanted
    | Acted
)


# -- instructions --------------------------------------------------------------------------------------------


class Ask(_Value):
    """Ask the schedulers about all jobs."""


class Revive(_Value):
    """Start pools of one's own again that have crashed."""


class Explain(_Value):
    """Ask this pool why jobs make no progress, if they have not moved since (Unix time)."""

    kind: str
    since: float


class Reschedule(_Value):
    """Have the pool that workers were submitted to last look for machines."""


class Adopt(_Value):
    """Look for workers whose submitter died before it had written them down."""


class FindExternal(_Value):
    """See whether workers are alive that belong to no known submission; answered by `ExternalSeen`."""


class ReadClaims(_Value):
    """Read who has claimed what; answered by `ClaimsRead`.

    If `owners` is None, claims of all workers count.
    """

    owners: frozenset[str] | None
    kind: str


class Publish(_Value):
    """Publish the next round; answered by `Published`.

    Attributes:
        kind: Of the round.
        components: What it does.
        owners: Whose claims it replaces; None: anybody's.
    """

    kind: str
    components: tuple[int, ...]
    owners: frozenset[str] | None = None


class GiveUp(_Value):
    """Write an error with this reason for components whose workers are lost every time."""

    components: tuple[int, ...]
    reason: str


class Submit(_Value):
    """Submit workers, unless everything is finished by now.

    Attributes:
        kind: The pool; None: the map's own.
        count: How many; None: as many as the unfinished components need.
        for_held: They take the place of held ones.
        for_unserved: They do components for which there is no worker.
    """

    kind: str | None = None
    count: int | None = None
    for_held: bool = False
    for_unserved: bool = False


class Note(_Value):
    """Write down what is about to be done to these clusters, so that nobody takes it for a loss."""

    action: str
    clusters: frozenset[str]


class Act(_Value):
    """Do something to the jobs of these submissions; answered by `Acted`.

    Attributes:
        action: What.
        entries: The submissions.
        reason: Why, in words.
        replaced: How many workers of each pool are to be submitted in the place of those that this ends.
        is_tidying: The map is complete: it does not matter if the pool does not answer.
    """

    action: Action
    entries: tuple[LoggedSubmission, ...]
    reason: str
    replaced: Mapping[str, int] = types.MappingProxyType({})
    is_tidying: bool = False


class ReadRecords(_Value):
    """Read the records once more; answered by `RecordsRead`."""


class Fold(_Value):
    """The map is complete and no job is left: remove its claims."""


class ReadWords(_Value):
    """Read what a worker wrote to standard error before it ended; answered by `WordsRead`."""

    worker: int


class Refused(_Value):
    """Tell the user that workers cannot do anything for this map: so many have refused, and `start` is the
    last."""

    start: WorkerStart
    count: int


class CannotStart(_Value):
    """Tell the user that workers end before they begin: this one, for instance."""

    worker: int


Instruction: TypeAlias = Any
