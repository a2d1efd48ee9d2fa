"""A bundle in the jobs of one pool: which files go along, and what starts a command in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from wingspan.jobs import JobDescription

if TYPE_CHECKING:
    from wingspan.delivery.record import Delivery
    from wingspan.environments.bundles import Bundle
    from wingspan.pools import Pool

__all__ = ["OWN_DISK", "Carriage", "carriage_here", "carriage_to"]

#: Bytes of a job's disk beside its bundle, when nobody says: inputs, outputs, what is printed.
OWN_DISK = 1 << 30


@attrs.frozen(kw_only=True)
class Carriage:
    """How a bundle gets into jobs, and how a command is started in it there.

    Attributes:
        bundle: The bundle.
        delivery: What is known of it beside that; None: only the way a command starts is wanted.
        starter: The starter, on this machine.
        options: Its arguments before the command, ``--`` included.
        files: What the starter needs beside itself in the job's folder, the bundle first; none where jobs see
            this machine's files.
        shared: They do.
        container: HTCondor's container universe has started the image already.
    """

    bundle: Bundle
    delivery: Delivery | None
    starter: Path
    options: tuple[str, ...]
    files: tuple[Path, ...]
    shared: bool
    container: bool

    @property
    def words(self) -> tuple[str, ...]:
        """What stands before a command, in a script of the job."""
        return ("sh", str(self.starter) if self.shared else self.starter.name, *self.options)

    @property
    def source(self) -> str | None:
        """Where the machines fetch the bundle; None: it is sent, or lies where they see it."""
        return None if self.shared or self.delivery is None else self.delivery.source

    @property
    def requirements(self) -> tuple[str | None, ...]:
        """Requirements on machines that fetch the bundle and execute it: ClassAd expressions."""
        if self.delivery is None:
            return ()
        reading = self.delivery.source_requirements if self.source else None
        return (reading, self.delivery.machine_requirements)

    @property
    def disk(self) -> int:
        """Bytes of a job's disk that the bundle takes: the file, and what is unpacked of it."""
        if self.shared:
            return 0
        needs = self.delivery.needs if self.delivery is not None else {}
        delta = self.bundle.delta
        beside = delta.size + delta.base_size if delta is not None else 0
        return self.bundle.disk_bytes(needs.get("installed_bytes")) + beside

    def around(self, job: JobDescription, command: Sequence[str]) -> JobDescription:
        """`job`, which executes `command` inside the environment instead of its own program."""
        job = attrs.evolve(
            job,
            # By its shell where it is used in place: an installed script need not have kept its mode.
            executable="/bin/sh" if self.shared else str(self.starter),
            transfer_executable=not self.shared,
            arguments=(*((str(self.starter),) if self.shared else ()), *self.options, *command),
        )
        return self._along(job)

    def beside(self, job: JobDescription) -> JobDescription:
        """`job`, whose script starts commands with `words`."""
        return self._along(job, *(() if self.shared else (self.starter,)))

    def _along(self, job: JobDescription, *programs: Path) -> JobDescription:
        source, path = self.source, self.bundle.path
        # The same for all jobs: the bundle, what starts it, and what helps to mount it.
        common = [
            *programs,
            *(file for file in self.files if file != path or not (self.container or source)),
        ]
        fetched = (source,) if source and not self.container else ()
        return attrs.evolve(
            job,
            input_files=(*job.input_files, *fetched),
            common_input_files=tuple(map(str, common)),
            container_image=(source or str(path)) if self.container else None,
        )


def carriage_to(pool: Pool, bundle: Bundle, delivery: Delivery | None = None) -> Carriage:
    """The carriage of `bundle` to the jobs of `pool`."""
    container = bundle.kind == "sif" and pool.container_universe
    return _carriage(bundle, delivery, shared=pool.shares_files, container=container)


def carriage_here(bundle: Bundle) -> Carriage:
    """The bundle is used where it lies, by a process of this machine."""
    return _carriage(bundle, None, shared=True, container=False)


def _carriage(bundle: Bundle, delivery: Delivery | None, *, shared: bool, container: bool) -> Carriage:
    from wingspan.environments.bundles import starter_command

    start = starter_command(bundle, ["COMMAND"], shared=shared, quiet=True, container=container)
    return Carriage(
        bundle=bundle,
        delivery=delivery,
        starter=start.executable,
        options=start.arguments[:-1],
        files=start.input_files,
        shared=shared,
        container=container,
    )
