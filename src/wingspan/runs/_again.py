"""Doing jobs of a run again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wingspan._kept_files import changed_files
from wingspan._words import moment, notice
from wingspan.jobs import Resources
from wingspan.pools import get_pool
from wingspan.runs._aside import put_aside, take_back
from wingspan.runs._asks import asked_by, read_asks
from wingspan.runs._errors import RunError
from wingspan.runs._jobs import describe_jobs, submit_jobs, take_inputs
from wingspan.runs._machines import check_machines
from wingspan.runs._more_memory import MoreMemory
from wingspan.runs._status import RunStatus
from wingspan.runs._watch import told

__all__ = ["Again"]


class Again(MoreMemory):
    """The part of a `wingspan.Run` that submits jobs once more."""

    def __len__(self) -> int:
        raise NotImplementedError

    def status(self) -> RunStatus:
        """How each job fares now."""
        raise NotImplementedError

    def _submit_anew(self, states: set[str]) -> None:
        """Submit jobs in these states once more, on a pool where jobs that are held or sent away end.

        If this process dies on the way, they stay held.
        """
        while True:
            numbers = [job.number for job in self.status().jobs if job.state in states]
            seen = self._watched
            if not numbers and "held" not in states:
                return
            with self._alone():
                if len(self._folder.submissions.entries()) != seen:
                    continue  # somebody did something at the same moment
                if "held" not in states:
                    self._act("hold")
                    ended = {job.number for job in self.status().jobs if job.is_final}
                    numbers = [number for number in numbers if number not in ended]
                self._submit(numbers)
                self._act("release")
                return

    @told
    def rerun(
        self,
        numbers: list[int] | None = None,
        *,
        with_current_inputs: bool = False,
        cpus: int | None = None,
        memory: int | str | None = None,
        disk: int | str | None = None,
        gpus: int | None = None,
        time: int | str | None = None,
    ) -> list[int]:
        """Do jobs again, with the inputs as they were taken last; their outputs and logs so far are given up.

        Args:
            numbers: Which; None: those that failed or were removed.
            with_current_inputs: Take the inputs anew, as the files are now. The other jobs' outputs stay.
            cpus, gpus: How many of them these jobs ask for from now on; None: as before.
            memory, disk: How much, ``"8GB"``; a plain number is MB. None: as before.
            time: Longest wall time of a job, ``"12h"``, or seconds. None: as before.

        Returns:
            Which are done again.

        Raises:
            RunError: One of them has not ended yet, or there is no such job; in the local pool also: others
                are held.
            InputMissing: An input is not there any more, and is to be taken anew.
            InvalidRun: A request cannot be read, or asks for GPUs, and the environment is for none.
            NoSuchMachine: No machine of the pool has that.
            SettingsError: The site does not allow it.

        Where inputs have another content now than the ones that this is done with, a notice on standard error
        says so.
        """
        given = {"cpus": cpus, "memory": memory, "disk": disk, "gpus": gpus, "time": time}
        asks = read_asks(self.spec, **given)
        said = {name: value for name, value in given.items() if value is not None}
        if (there := self._rerun_elsewhere(numbers, with_current_inputs, said)) is not None:
            return there
        if asks and self._begins_later() is not None:
            raise RunError(
                f"{self.name} has not begun yet: its jobs ask for what it was made with",
                hint="rerun it without that, or make a new run",
            )
        if self._wait_once_more():
            return list(range(len(self)))
        while True:
            chosen = self._to_be_done_again(numbers)
            seen = self._watched
            if not chosen:
                return chosen
            if asks:
                self._check_asks({**self._asks_of(chosen[0]), **asks})
            with self._alone():
                if len(self._folder.submissions.entries()) != seen:
                    continue  # somebody did something at the same moment
                if with_current_inputs:
                    take_inputs(self._folder, shared=not get_pool(self.pool).moves_files)
                else:
                    self._tell_of_changes()
                put_aside(self._folder, chosen)
                try:
                    self._submit(chosen, self._folder.newest_inputs(), asks)
                except BaseException:
                    self._adopt(ask=True)  # an interrupt may come when the scheduler has them already
                    take_back(self._folder)
                    raise
                take_back(self._folder)
                (self.path / "held").unlink(missing_ok=True)
                return chosen

    def _check_asks(self, asks: Mapping[str, int]) -> None:
        """See that the site allows jobs to ask for this, and that a machine has it.

        Raises:
            SettingsError, NoSuchMachine: It does not; none has.
        """
        spec, pool = asked_by(self.spec, asks), get_pool(self.pool)
        if spec.profile is not None:
            from wingspan.pools.profiles import chosen_profile

            chosen_profile(spec.profile).check(
                spec.resources, spec.switches, checkpoints=bool(spec.checkpoint)
            )
        check_machines(spec, pool)

    def resources(self, number: int = 0) -> Resources:
        """What a job asks of a machine: bytes, seconds. `rerun` may have changed it."""
        return asked_by(self.spec, self._asks_of(number)).resources

    def _asks_of(self, number: int) -> dict[str, int]:
        """What a job has asked for last, instead of what the run was made with."""
        found: Any = None
        for entry in self._folder.submissions.entries():
            if number in entry.numbers:
                found = entry.needs
        return dict(found) if isinstance(found, dict) else {}

    def _to_be_done_again(self, numbers: list[int] | None) -> list[int]:
        jobs = self.status().jobs
        if numbers is None:
            numbers = [job.number for job in jobs if job.state in ("failed", "removed")]
        numbers = list(dict.fromkeys(numbers))
        for number in numbers:
            self.log_path(number)
            if not jobs[number].is_final:
                raise RunError(
                    f"job {number} of {self.name} is {jobs[number].state}",
                    hint="it can be done again when it has ended",
                )
        held = next((job for job in jobs if job.state == "held"), None)
        # Such a pool holds all of a run or nothing.
        if numbers and held is not None and get_pool(self.pool).ends_held_jobs:
            raise RunError(
                f"job {held.number} of {self.name} is held, and a rerun of others would let it go on",
                hint=f"wingspan release {self.name} first; jobs can be done again then",
            )
        return numbers

    @property
    def inputs_taken(self) -> float:
        """When the inputs were taken that jobs are done again with, Unix time."""
        return self._folder.inputs_taken(self._folder.newest_inputs())

    def _tell_of_changes(self) -> None:
        version = self._folder.newest_inputs()
        changed = changed_files(self.spec.inputs, self._folder.inputs(version))
        if changed:
            named = ", ".join(changed[:3]) + (f" and {len(changed) - 3:,} more" if len(changed) > 3 else "")
            notice(
                f"{named} {'have' if len(changed) > 1 else 'has'} changed since; {self.name} is done again with the inputs of "
                f"{moment(self._folder.inputs_taken(version))}. With them as they are now: rerun(…, with_current_inputs=True), "
                f"or wingspan rerun {self.name} --with-current-inputs"
            )

    def _inputs_of(self, number: int) -> int:
        """Which inputs a job was submitted with last."""
        found = 0
        for entry in self._folder.submissions.entries():
            if number in entry.numbers:
                found = entry.inputs
        return found

    def _submit(
        self, numbers: list[int], inputs: int | None = None, asks: Mapping[str, int] | None = None
    ) -> None:
        """Submit jobs, with these inputs, or (None) each with those that it had. Each asks for what it has
        asked for before, but for `asks`.
        """
        if not numbers:
            return
        pool = get_pool(self.pool)
        pool.make_ready()
        chosen = [
            (
                number,
                self._inputs_of(number) if inputs is None else inputs,
                {**self._asks_of(number), **(asks or {})},
            )
            for number in numbers
        ]
        _, version, same = chosen[0]
        if numbers == list(range(len(self))) and all(one[1:] == (version, same) for one in chosen):
            submit_jobs(self._folder, pool, version, same or None)
        else:
            for number, version, asked in chosen:
                job = describe_jobs(self._folder, pool, number, version, asked or None)
                submitted = pool.submit(job)
                self._folder.submissions.add(submitted, first=number, inputs=version, needs=asked or None)
        pool.reschedule()
