"""Where an output comes from: function, input, environment, machine, times."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import attrs

from wingspan._words import lasting, moment
from wingspan.maps._again import versions
from wingspan.maps._components import ERROR, OUTPUT
from wingspan.maps._folder import MapFolder
from wingspan.maps._git import read_commit
from wingspan.maps._memo import HITS, facts_of, hits_of
from wingspan.maps._results import Results
from wingspan.worker import rounds

__all__ = ["Provenance", "provenance"]


@attrs.frozen(kw_only=True, repr=False)
class Provenance:
    """How the output of a component came about. What nobody knows, or is not there yet, is None.

    Attributes:
        tag, component: Whose output it is.
        state: ``"completed"``, ``"failed"`` or ``"not done"``.
        function: Name of the function, and where it is from.
        function_digest: Digest of the code of the function and of what it refers to: equal ones mean the same
            code, whatever line it stands on.
        environment: The locked environment: its name and the digest of its lock, which stands for all of its
            packages; None: the interpreter that made the map.
        python: Version of the Python that computed it.
        wingspan, cloudpickle: Versions.
        host, gpu: Machine, and models of its GPUs.
        gpus: Which of them the worker had (CUDA_VISIBLE_DEVICES).
        worker, attempt: Which start of which worker, and how often it was begun.
        commit: Commit of the git repository that the map was made in.
        dirty: Files that git tracks were not as in that commit.
        folder: Working folder that the map was made in.
        made, started, ended: When the map was made, and when the component was begun and ended; Unix time.
        wall, cpu: Seconds.
        memory: Bytes at most.
        seed: The map's seed.
        taken_from: The map that computed it, where it was taken from one (``memo=True``): ``tag``, ``map``,
            ``component``, ``made``.
    """

    tag: str
    component: int
    state: str
    function: str
    function_digest: str | None = None
    environment: Mapping[str, Any] | None = None
    python: str | None = None
    wingspan: str | None = None
    cloudpickle: str | None = None
    host: str | None = None
    gpu: str | None = None
    gpus: str | None = None
    worker: str | None = None
    attempt: int | None = None
    commit: str | None = None
    dirty: bool | None = None
    folder: str | None = None
    made: float = 0.0
    started: float | None = None
    ended: float | None = None
    wall: float | None = None
    cpu: float | None = None
    memory: int | None = None
    seed: int | None = None
    taken_from: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """The attributes under their names, for JSON."""
        return {field.name: getattr(self, field.name) for field in attrs.fields(Provenance)}

    def __str__(self) -> str:
        environment = "the Python that made the map"
        if self.environment:
            environment = "{name} ({platform}), lock {lock}".format(**self.environment)
        dirty = " and changes since" if self.dirty else ""
        taken = self.taken_from and "component {component} of the map {tag!r}".format(**self.taken_from)
        told = {
            "function": f"{self.function}, code {self.function_digest}",
            "environment": environment,
            "versions": f"Python {self.python}, Wingspan {self.wingspan}, cloudpickle {self.cloudpickle}",
            "taken from": taken,
            "host": self.host,
            "GPU": self.gpu and f"{self.gpu} ({self.gpus or 'none was given'})",
            "worker": self.worker and f"{self.worker}, attempt {self.attempt}",
            "commit": self.commit and f"{self.commit}{dirty}",
            "made in": self.folder,
            "made": moment(self.made),
            "started": self.started and moment(self.started),
            "ended": self.ended and f"{moment(self.ended)}, after {lasting(self.wall)}",
            "seed": self.seed,
        }
        lines = [f"  {name:<11} {value}" for name, value in told.items() if value is not None]
        return "\n".join([f"{self.tag}, component {self.component}: {self.state}", *lines])

    def __repr__(self) -> str:
        return f"<{self}>"


def provenance(folder: MapFolder, results: Results, component: int) -> Provenance:
    """What is known of the output of a component."""
    info, state = folder.info, results.state[component]
    done_in = results.round_of(component) if state else max(results.plans)
    version = versions(folder, results.plans)[rounds.function_of(results.plans, component, done_in)]
    delivery = info.environment or None
    environment = delivery and {
        "name": delivery.get("name"),
        "workspace": delivery.get("workspace"),
        "platform": delivery.get("platform"),
        "lock": delivery.get("digest") or delivery.get("bundle_sha256"),
        "kind": delivery.get("kind"),
    }
    git: Mapping[str, Any] | None = read_commit(folder.path)
    known: dict[str, Any] = {"wingspan": info.wingspan}
    if state:
        measures, start = results.measures(component), results.start_of(component)
        facts = start.facts or {}
        known.update(
            worker=start.name,
            attempt=results.tries(component),
            started=measures.started,
            ended=measures.started + measures.wall,
            wall=measures.wall,
            cpu=measures.cpu,
            memory=measures.peak_memory or None,
        )
        if start.name == HITS and (memo := facts_of(folder.path)) and (origin := hits_of(memo, component)):
            facts, git = origin.get("facts", {}), origin.get("git")
            taken = {key: origin.get(key) for key in ("tag", "map", "component", "made")}
            known.update(worker=None, attempt=None, wingspan=origin.get("wingspan"), taken_from=taken)
        known.update({key: facts.get(key) for key in ("host", "python", "gpu", "gpus")})
    return Provenance(
        tag=info.tag,
        component=component,
        state={OUTPUT: "completed", ERROR: "failed"}.get(state, "not done"),
        function=f"{version.name}{version.place}",
        function_digest=_digest(version.parts),
        environment=environment,
        cloudpickle=info.interpreter.get("cloudpickle"),
        commit=git["commit"] if git else None,
        dirty=git["dirty"] if git else None,
        folder=info.made_in,
        made=info.created,
        seed=info.seed,
        **known,
    )


def _digest(parts: Mapping[str, Mapping[str, Any]]) -> str | None:
    """One digest of all parts of a function; None of a map that does not know them."""
    if not parts:
        return None
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(parts):
        found.update(f"{name} {parts[name].get('digest')}\n".encode("utf-8", "surrogatepass"))
    return found.hexdigest()
