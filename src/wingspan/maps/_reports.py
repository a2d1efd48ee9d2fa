"""What people can ask a map: how far it is, what has failed, what components took and printed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from wingspan.maps._components import CANCELLED, ERROR, NOTHING, OUTPUT, ComponentProgress, Measures
from wingspan.maps._errors import ComponentError, MapError
from wingspan.maps._external import HINT
from wingspan.maps._files import told_of_left
from wingspan.maps._outputs import Outputs
from wingspan.maps._several import done_by_pool
from wingspan.maps._status import ComponentStatus, Hold, MapStatus
from wingspan.maps._streams import Streams
from wingspan.maps._stuck import check_it_can_go_on
from wingspan.pools import JobState
from wingspan.worker import formats

__all__ = ["Reports"]

#: How many notes are shown.
_NOTES = 5
_STATUS_OF = {
    OUTPUT: ComponentStatus.COMPLETED,
    ERROR: ComponentStatus.ERRORED,
    CANCELLED: ComponentStatus.REMOVED,
}


class Reports(Outputs):
    """How a map fares; none of this waits."""

    @property
    def statuses(self) -> list[ComponentStatus]:
        """The status of each component, as of now."""
        self._keeper.refresh()
        exceptions, rest = self._exceptional_statuses(), self._status_of_the_rest()
        statuses = [rest if state == NOTHING else _STATUS_OF[state] for state in self._keeper.results.state]
        for component, status in exceptions.items():
            statuses[component] = status
        return statuses

    def _exceptional_statuses(self) -> dict[int, ComponentStatus]:
        """Components whose status is another than their record, or the lack of one, would say."""
        results, jobs = self._keeper.results, self._keeper.jobs
        rest = self._status_of_the_rest()
        exceptions = dict.fromkeys(self._keeper.results.retryable, rest)
        stopped = self._keeper.stopped_pools()
        external = {start.name for start in self._keeper.external()}
        for start in results.at_work():
            component, job = start.component, jobs.by_worker.get(start.number)
            if component is None or self._is_final(component):
                continue
            if start.name in external:
                exceptions[component] = ComponentStatus.RUNNING
            elif job is None or job.pool in stopped:
                continue
            elif job.state is JobState.RUNNING:
                exceptions[component] = ComponentStatus.RUNNING
            elif job.state is JobState.HELD:
                exceptions.setdefault(component, ComponentStatus.HELD)
        return exceptions

    def _status_of_the_rest(self) -> ComponentStatus:
        """The status of components that no worker has begun."""
        jobs = self._keeper.jobs
        live = jobs.live()
        if live and all(job.state is JobState.HELD for job in live):
            return ComponentStatus.HELD
        if live and all(job.state in (JobState.SUSPENDED, JobState.HELD) for job in live):
            return ComponentStatus.SUSPENDED
        if self._keeper.removed:
            return ComponentStatus.REMOVED
        return ComponentStatus.IDLE

    def components_by_status(self) -> dict[ComponentStatus, tuple[int, ...]]:
        """Component numbers by status; statuses that no component has are left out."""
        groups: dict[ComponentStatus, list[int]] = {}
        for component, status in enumerate(self.statuses):
            groups.setdefault(status, []).append(component)
        return {status: tuple(components) for status, components in groups.items()}

    def status(self) -> MapStatus:
        """How far it is, in numbers, and what keeps it."""
        self._keeper.refresh()
        keeper = self._keeper
        workers = {
            state.value: count
            for state, count in sorted(keeper.jobs.counts().items(), key=lambda item: item[0].value)
        }
        pools = tuple(dict.fromkeys(job.pool for job in keeper.jobs.by_worker.values()))
        external = len(keeper.external()) if not keeper.finished else 0
        if external:
            running = JobState.RUNNING.value
            workers[running] = workers.get(running, 0) + external
        if external or keeper.options.workers == 0:
            pools += ("by hand",)
        return MapStatus(
            tag=self.tag,
            components=len(self),
            counts=self._counts(),
            workers=workers,
            pools=pools or (self._folder.info.pool,),
            by_pool=done_by_pool(keeper.jobs, keeper.results),
            cancelled=len(keeper.results.cancelled),
            message="\n".join(self._messages(external)) or None,
            elapsed=max(
                0.0, (keeper.results.ended if keeper.finished else time.time()) - self._folder.info.created
            ),
            wall=keeper.results.wall,
            cpu=keeper.results.cpu,
            peak_memory=keeper.results.peak_memory,
            notes=(*self._stages(), *self._folder.notes()[-_NOTES:]),
        )

    def _stages(self) -> list[str]:
        """How far the maps are that this one waits for, a line each."""
        if self._keeper.finished:
            return []
        return [
            f"before it, map {tag}: {completed:,} of {n:,} completed"
            + (f", {failed:,} failed" if failed else "")
            for tag, (n, completed, failed) in self._keeper.stages().items()
        ]

    def _counts(self) -> dict[ComponentStatus, int]:
        """How many components have each status."""
        results, rest = self._keeper.results, self._status_of_the_rest()
        counts = dict.fromkeys(ComponentStatus, 0)
        # These numbers are kept: counting a million components anew would cost milliseconds in every look.
        failed, cancelled = len(results.failed), len(results.cancelled)
        counts[ComponentStatus.COMPLETED] = results.finished - failed - cancelled
        counts[ComponentStatus.ERRORED] = failed
        counts[rest] = results.n - results.finished
        counts[ComponentStatus.REMOVED] += cancelled
        for component, status in self._exceptional_statuses().items():
            state = results.state[component]
            counts[rest if state == NOTHING else _STATUS_OF[state]] -= 1
            counts[status] += 1
        return counts

    def _messages(self, external: int) -> Iterator[str]:
        """What a person should know. So many `external` workers are at work."""
        results = self._keeper.results
        if not self._keeper.finished:
            stopped = self._keeper.stopped_pools()
            reason = self._what_keeps_it(external, pools_run=not stopped)
            if reason is not None:
                yield reason
            yield from stopped.values()
        troubles = [start.trouble for start in results.starts.values() if start.trouble]
        if troubles:
            yield f"part of the results cannot be used and is done again: {'; '.join(troubles)}"
        files = told_of_left(self.tag, sorted(results.left_files))
        if files is not None:
            yield files

    def _what_keeps_it(self, external: int, *, pools_run: bool) -> str | None:
        """Why the map makes no progress; None if it does, as far as can be told."""
        keeper = self._keeper
        try:
            check_it_can_go_on(self._keeper)
            keeper.check_refusals()
        except MapError as error:
            return str(error)
        if not external and (never_began := keeper.left_without_a_word()) is not None:
            return str(never_began)
        if keeper.options.workers == 0 and not external and not keeper.jobs.live():
            return f"nobody works on it: {HINT.format(tag=self.tag)}"
        return keeper.waiting() if pools_run else None

    @property
    def is_done(self) -> bool:
        """Every component is completed, has failed, or was cancelled."""
        self._keeper.refresh()
        return self._keeper.finished

    @property
    def errors(self) -> Mapping[int, ComponentError]:
        """What failed so far, by component. Does not wait."""
        self._keeper.refresh()
        return {
            component: self._error(component)
            for component in sorted(self._keeper.results.failed)
            if self._keeper.final_error(component)
        }

    @property
    def holds(self) -> Mapping[int, Hold]:
        """Why components are held, by component; empty while nothing is held."""
        statuses = self.statuses
        held = self._keeper.jobs.held
        if not held:
            return {}
        at = {
            start.component: job
            for job in held
            for start in self._keeper.results.at_work()
            if start.number == job.worker and start.component is not None
        }
        holds = {}
        for component, status in enumerate(statuses):
            if status is ComponentStatus.HELD:
                job = at.get(component, held[0])
                holds[component] = Hold(code=job.code, reason=job.reason or "held", worker=job.worker)
        return holds

    def _measured(self) -> dict[int, Measures]:
        self._keeper.refresh()
        results = self._keeper.results
        return {
            component: results.measures(component)
            for component in range(len(self))
            if results.state[component] in (OUTPUT, ERROR)
        }

    @property
    def runtimes(self) -> Mapping[int, Measures]:
        """What each finished component took: ``m.runtimes[3].wall`` and ``.cpu`` are seconds."""
        return self._measured()

    @property
    def memory(self) -> Mapping[int, int]:
        """Peak resident memory of each finished component, bytes; of a running one, so far."""
        memory = {component: measures.peak_memory for component, measures in self._measured().items()}
        for start in self._keeper.results.at_work():
            if start.component is not None and start.peak_memory:
                memory.setdefault(start.component, start.peak_memory)
        return memory

    def to_pandas(self, *, inputs: bool = True, outputs: bool = True) -> Any:
        """A pandas DataFrame: a row for each component, as things are now.

        Columns are ``input`` and ``output`` (None where there is none), ``status``, ``wall`` and ``cpu`` (s),
        ``memory`` (peak, bytes), ``gpu_use`` (0 to 1), ``gpu_memory`` (bytes), ``host``, ``worker``,
        ``attempts``, ``started`` (UTC) and ``error``; the index is the component's number.

        Args:
            inputs: Read the inputs.
            outputs: Read the outputs.

        Raises:
            WingspanError: pandas is not installed.
        """
        from wingspan.maps._frame import frame

        return frame(self, inputs=inputs, outputs=outputs)

    @property
    def progress(self) -> Mapping[int, ComponentProgress]:
        """How far running components say that they are (``wingspan.component().progress(0.5, "step 3")``).

        Those that have said nothing yet are left out.
        """
        self._keeper.refresh()
        return {
            start.progress[0]: start.progress[1]
            for start in sorted(self._keeper.results.at_work(), key=lambda start: start.component or 0)
            if start.progress is not None and start.progress[0] == start.component
        }

    @property
    def stdout(self) -> Streams:
        """What components print: ``m.stdout(3)`` or ``m.stdout[3]``, also while they run."""
        return Streams(len(self), lambda component: self._printed(component, formats.STDOUT))

    @property
    def stderr(self) -> Streams:
        """What components write to standard error: ``m.stderr(3)``, ``m.stderr[3]``; also while they run."""
        return Streams(len(self), lambda component: self._printed(component, formats.STDERR))

    def _printed(self, component: int, kind: int) -> str:
        self._keeper.refresh()
        return self._keeper.results.printed(self._component(component), kind).decode("utf-8", "replace")
