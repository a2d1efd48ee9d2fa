"""The events and instructions of the state machine that keeps a map (`wingspan.maps._keeper_state`)."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, TypeAlias

import attrs

from wingspan.maps._components import WorkerStart
from wingspan.pools import Action, JobEvent
from wingspan.pools.submissions import LoggedSubmission

__all__ = [
    "Act",
    "Acted",
    "Adopt",
    "Ask",
    "CannotStart",
    "Claims",
    "ClaimsRead",
    "DeedsRead",
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

#: Of each round: who claimed which block. None: the claim is not signed, or nobody looked.
Claims: TypeAlias = Mapping[int, Mapping[int, str | None]]


# -- events --------------------------------------------------------------------------------------------------


@attrs.frozen
class SubmissionsRead:
    """All submissions of the map that are known now, oldest first."""

    entries: tuple[LoggedSubmission, ...]


@attrs.frozen
class PoolKnown:
    """A pool that has jobs of the map, and what it says of itself (`wingspan.pools.Pool`)."""

    kind: str
    ends_held_jobs: bool


@attrs.frozen
class DeedsRead:
    """What was done to jobs on purpose: clusters by action, all of them and those of the last time."""

    clusters: Mapping[str, Set[str]]
    last: Mapping[str, Set[str]]


@attrs.frozen
class JobsTold:
    """What pools say of jobs."""

    events: tuple[JobEvent, ...]


@attrs.frozen
class Looked:
    """Records and jobs were looked at; there were news of them or none."""

    now: float
    news: bool


@attrs.frozen
class Due:
    """Somebody looks after the map, and it is this time (s, of a clock that only goes on)."""

    now: float


@attrs.frozen
class ExternalSeen:
    """So many workers that belong to no known submission have given a sign of life."""

    now: float
    count: int


@attrs.frozen
class RepairWanted:
    """What these worker starts had claimed is to be offered again; None: what anybody had."""

    owners: frozenset[str] | None
    kind: str


@attrs.frozen
class ClaimsRead:
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


@attrs.frozen
class Published:
    """A round was published, or (`won` is False) another writer's was first.

    Without `request` it was the user who wanted the round.
    """

    won: bool
    request: Publish | None = None


@attrs.frozen
class RecordsRead:
    """The records were read once more."""


@attrs.frozen
class WordsRead:
    """What a worker wrote to standard error before it ended (empty: nothing), or that the disk is full."""

    worker: int
    words: str


@attrs.frozen
class Submitted:
    """Workers were submitted to a pool."""

    now: float
    kind: str


@attrs.frozen
class Wanted:
    """The user wants this to be done to all jobs."""

    action: Action
    reason: str


@attrs.frozen
class Acted:
    """It was done."""

    request: Act


Event: TypeAlias = (
    SubmissionsRead
    | PoolKnown
    | DeedsRead
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


@attrs.frozen
class Ask:
    """Ask the schedulers about all jobs."""


@attrs.frozen
class Revive:
    """Start pools of one's own again that have crashed."""


@attrs.frozen
class Explain:
    """Ask this pool why jobs do not get on, if they have not moved since (Unix time)."""

    kind: str
    since: float


@attrs.frozen
class Reschedule:
    """Have the pool that workers were submitted to last look for machines."""


@attrs.frozen
class Adopt:
    """Look for workers whose submitter died before it had written them down."""


@attrs.frozen
class FindExternal:
    """See whether workers are alive that belong to no known submission; answered by `ExternalSeen`."""


@attrs.frozen
class ReadClaims:
    """Read who has claimed what; answered by `ClaimsRead`. With `owners` None it does not matter who."""

    owners: frozenset[str] | None
    kind: str


@attrs.frozen
class Publish:
    """Publish the next round; answered by `Published`.

    Attributes:
        kind: Of the round.
        components: What it does.
        owners: Whose claims it replaces; None: anybody's.
    """

    kind: str
    components: tuple[int, ...]
    owners: frozenset[str] | None = None


@attrs.frozen
class GiveUp:
    """Write an error for components whose workers are lost every time."""

    components: tuple[int, ...]


@attrs.frozen
class Submit:
    """Submit workers, unless everything is finished by now.

    Attributes:
        kind: The pool; None: the map's own.
        count: How many; None: as many as what is unfinished deserves.
        for_held: They take the place of held ones.
    """

    kind: str | None = None
    count: int | None = None
    for_held: bool = False


@attrs.frozen
class Note:
    """Write down what is about to be done to these clusters, so that nobody takes it for a loss."""

    action: str
    clusters: frozenset[str]


@attrs.frozen
class Act:
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
    replaced: Mapping[str, int] = attrs.field(factory=dict)
    is_tidying: bool = False


@attrs.frozen
class ReadRecords:
    """Read the records once more; answered by `RecordsRead`."""


@attrs.frozen
class Fold:
    """The map is complete and no job is left: remove its claims."""


@attrs.frozen
class ReadWords:
    """Read what a worker wrote to standard error before it ended; answered by `WordsRead`."""

    worker: int


@attrs.frozen
class Refused:
    """Tell the user that workers cannot do anything for this map: so many have refused, and `start` is the
    last."""

    start: WorkerStart
    count: int


@attrs.frozen
class CannotStart:
    """Tell the user that workers end before they begin: this one, for instance."""

    worker: int


Instruction: TypeAlias = Any
