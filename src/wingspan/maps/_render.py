"""The workers of a map as files for people to own: a person submits them, and they join the map and complete
it.

These files need ``condor_submit`` or ``sbatch``, and the map's folder, but no Wingspan. Comments say why each
line is there.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection
from pathlib import Path

import attrs

from wingspan._shell import Shell, quoted, words
from wingspan._version import __version__
from wingspan._words import ranges_text
from wingspan.delivery.carriage import OWN_DISK
from wingspan.delivery.render import (
    Reasoned,
    RenderedEnvironment,
    Target,
    check_empty,
    interact_script,
    long_array,
    most_at_once,
    new_folder,
    one_line,
    profile_lines,
    put,
    requirement_lines,
    resource_lines,
    sbatch_options,
    shell_script,
    site_profile,
    submit_script,
)
from wingspan.errors import SettingsError
from wingspan.jobs import JobDescription, Resources, with_needs
from wingspan.maps._errors import MapError
from wingspan.maps._external import NOTE, NUMBERS, note_rendered
from wingspan.maps._map import Map
from wingspan.maps._needs import are_of_several_kinds, largest, options_for
from wingspan.maps._options import Options
from wingspan.maps._worker_job import bundle_of
from wingspan.pools.submit_description import classad_literal, joined, submit_line, submit_value
from wingspan.worker import parts, rounds, trust

__all__ = ["map_resources", "render_map"]

#: How many jobs of one submission can be told apart in this way.
_MOST_WORKERS = 500_000


def render_map(
    target: Target,
    folder: str | os.PathLike[str],
    found: Map,
    *,
    workers: int | None = None,
    resources: Resources | None = None,
    profile: str | None = None,
    switches: Collection[str] = (),
    bundle_url: str | None = None,
) -> list[Path]:
    """Write the files of workers for the map `found` into `folder`, and submit nothing.

    Args:
        target: ``"htcondor"`` or ``"slurm"``.
        folder: New or empty. For Slurm it must be on a file system that the nodes see, as the map's own
            folder must.
        found: The map.
        workers: How many; None: as many as the map was cut for.
        resources: What a worker needs; None: what the map's options say.
        profile: Site profile.
        switches: Names of what the profile lets one turn on.
        bundle_url: Where the map's bundle was published; it is then not copied into `folder`.

    Returns:
        What was written.

    Raises:
        FolderInUse: The folder holds something.
        SettingsError: `workers` or something of the profile cannot be used.
        MapDamaged: A file of the map is missing.
        MapError: The site has switched chirp off, by which rendered workers reach the map.
    """
    path = Path(folder)
    check_empty(path)
    found._folder.read_info()
    found._folder.check_inputs()
    found._keeper.refresh()
    count = found._folder.info.workers if workers is None else workers
    if not 1 <= count <= _MOST_WORKERS:
        raise SettingsError(
            f"{count:,} workers cannot be rendered", hint=f"give at least 1, at most {_MOST_WORKERS:,}"
        )
    files = _Files(found, target, path, count, resources, profile, switches, bundle_url)
    with new_folder(path):
        files.write()
    note_rendered(found.path, path)
    return sorted(entry for entry in path.iterdir() if entry.is_file())


def map_resources(found: Map) -> Resources:
    """What a worker of `found` asks of a machine, by the map's options and its environment."""
    found._keeper.refresh()
    return with_environment(found, largest(found.options, found._keeper.results.plans))


def with_environment(found: Map, resources: Resources) -> Resources:
    """`resources`, with what the map's environment needs of a GPU."""
    delivery = found._folder.delivery
    return with_needs(resources, delivery.needs) if delivery else resources


@attrs.frozen
class _Workers:
    """Workers that one file submits.

    Attributes:
        main: The file.
        options: What they get.
        count: How many.
        about: What they do, for people.
        group: Which components they do (`parts.digest_of`); None: all.
    """

    main: str
    options: Options
    count: int
    about: str
    group: str | None = None


class _Files:
    """One rendering."""

    def __init__(
        self,
        found: Map,
        target: Target,
        folder: Path,
        count: int,
        resources: Resources | None,
        profile: str | None,
        switches: Collection[str],
        bundle_url: str | None,
    ) -> None:
        self.map, self.target, self.folder, self.count = found, target, folder, count
        self.info = found._folder.info
        self.options = found.options
        self.resources = map_resources(found) if resources is None else with_environment(found, resources)
        self.profile = profile or self.options.profile
        self.switches = switches or self.options.switches
        if target == "htcondor":
            site_profile(self.profile).check_folder(folder.absolute())
            self._check_line()
        bundle = bundle_of(found._folder)
        self.environment = RenderedEnvironment(target, bundle, bundle_url=bundle_url)
        if bundle_url is not None and bundle is None:
            raise SettingsError(
                f"the map {found.tag!r} has no environment whose bundle could be published",
                hint="leave --bundle-url out",
            )
        # A tag may have characters that submit files and sbatch options take for something else.
        self.name = re.sub(r"[^A-Za-z0-9._+-]", "-", found.tag)
        calls = f"calls of {self.info.function}"
        self.title = one_line(f"workers of the map {found.tag}, {len(found):,} {calls}")
        self.workers = self._workers()
        self.main = self.workers[0].main

    def _workers(self) -> list[_Workers]:
        """Those of each group where the groups differ in what no worker could have for all, else one kind."""
        ending = "sub" if self.target == "htcondor" else "sbatch"
        groups = rounds.groups_of(self.map._keeper.results.plans, range(len(self.map)))
        if not are_of_several_kinds(self.options, groups):
            return [_Workers(f"{self.name}.{ending}", self.options, self.count, self.title)]
        return [
            _Workers(
                main=f"{self.name}-{number}.{ending}",
                options=options_for(self.options, needs),
                count=max(1, self.count * len(members) // len(self.map)),
                about=f"{self.title}: components {ranges_text(members)}",
                group=parts.digest_of(needs),
            )
            for number, (needs, members) in enumerate(groups)
        ]

    def _check_line(self) -> None:
        """See that rendered workers reach the map: by chirp, as these have no share.

        Raises:
            MapError: The site has switched chirp off.
        """
        why = site_profile(self.profile).no_chirp(self.resources)
        if why is not None and self.options.chirp is not True:
            raise MapError(
                f"rendered workers of the map {self.map.tag!r} would not reach it: jobs have no chirp there ({why})",
                hint=f"wingspan.load({self.map.tag!r}).add_workers(10) submits workers that need none; "
                "render runs instead: wingspan render htcondor DIR -- COMMAND",
            )

    def write(self) -> None:
        trust.make_folder(str(self.folder / "logs"))
        self.environment.write(self.folder)
        trust.write_whole(str(self.folder / "worker.pyz"), (self.map.path / "worker.pyz").read_bytes())
        if not self.environment:
            launcher = Path(__file__).parents[1] / "pools" / "launcher.sh"
            put(self.folder, "launcher.sh", launcher.read_text(encoding="utf-8"), trust.PROGRAM)
        put(self.folder, "worker.sh", self._worker_script(), trust.PROGRAM)
        for one in self.workers:
            if self.target == "htcondor":
                put(self.folder, one.main, self._submit_description(one))
            else:
                put(self.folder, one.main, self._sbatch_script(one), trust.PROGRAM)
        why = "Submits the workers. More of them may be submitted at any time; those that find nothing to do end at once."
        put(
            self.folder,
            "submit.sh",
            submit_script(*(one.main for one in self.workers), why=why),
            trust.PROGRAM,
        )
        interact = interact_script(
            self.main,
            self.resources,
            entered=bool(self.environment),
            inputs=False,
            append="workers = 1",
        )
        put(self.folder, "interact.sh", interact, trust.PROGRAM)
        shell = shell_script(self.target, entered=bool(self.environment))
        put(self.folder, "shell.sh", shell, trust.PROGRAM)
        put(self.folder, "README.md", self._readme())

    # -- what a worker executes ------------------------------------------------------------------------------

    def _worker_script(self) -> str:
        shared = self.target == "slurm"
        place = "$wingspan_folder/" if shared else ""
        archive = f'"{place}worker.pyz"' if shared else "worker.pyz"
        options = self.info.interpreter.get("options", ())
        if self.environment:
            python = words((*self.environment.start, "python", *options))
            why = "# The environment's Python; enter.sh makes the environment available and checks it."
        else:
            version = ".".join(self.info.interpreter["python"].split(".")[:2])
            launcher = f'"{place}launcher.sh"' if shared else "launcher.sh"
            python = words(("sh", Shell(launcher), version, sys.executable or "python3", *options))
            why = f"# Python {version}, which pickled the function: launcher.sh looks for it, first at this path, then on PATH."
        lines = [
            "#!/bin/sh",
            f"# One of the {self.title}.",
            "# A worker takes components that nobody has, calls the function, and appends what comes back to the map's folder.",
            "#   worker.sh FIRST NUMBER [GROUP]     its number in the map is FIRST + NUMBER: it finds what it had begun when it starts",
            "#                                      again; of a map whose components ask for different things it does one group's",
            "set -eu",
        ]
        if shared:
            lines += [
                "# The map's folder, on the file system that the nodes share with the machine that made the map.",
                f"wingspan_map={quoted(self.map.path)}",
                "wingspan_folder=$PWD",
                "# What the function writes to relative paths goes into a folder of its own, which ends with the worker.",
                # TMPDIR may be another machine's
                "wingspan_scratch=$(mktemp -d || mktemp -d /tmp/tmp.XXXXXX)",
                "trap 'rm -rf \"$wingspan_scratch\"' EXIT",
                "trap 'exit 143' TERM",
                "TMPDIR=$wingspan_scratch",
                "export TMPDIR",
                'cd "$wingspan_scratch"',
                why,
                f'{python} {archive} file "$wingspan_map" "$@"',
            ]
        else:
            lines += [
                "# The map's folder on the access point. It is reached through the channel that every job has to where it was submitted",
                "# from (chirp): no port is opened, no file system shared.",
                f"wingspan_map={quoted(self.map.path)}",
                why,
                f'exec {python} {archive} chirp "$wingspan_map" "$@"',
            ]
        return "\n".join(lines) + "\n"

    # -- HTCondor --------------------------------------------------------------------------------------------

    def _submit_description(self, one: _Workers) -> str:
        options = one.options
        text = Reasoned(
            f"{self.name}: {one.about}",
            f"Written by Wingspan {__version__}; plain HTCondor from here on. Submit it with: sh submit.sh",
            "Submit it on this access point, the one that has the map's folder.",
        )
        self._say_what_runs(text, one)
        resource_lines(text, self.resources, self._disk())
        delivery = self.map._folder.delivery
        urls = self.environment.carried[-1:]
        requirement_lines(
            text, urls, options.requirements, delivery.machine_requirements if delivery else None
        )
        self._say_options(text, options)
        if options.max_idle is not None and options.max_idle < one.count:
            text.say("So many at most wait in the queue at a time.", f"max_idle = {options.max_idle}")
        job = JobDescription(
            name=self.name,
            executable="worker.sh",
            resources=attrs.evolve(self.resources, disk=self._disk()),
            count=one.count,
            max_idle=options.max_idle,
            custom=options.custom,
            submit=options.submit,
        )
        profile_lines(text, job, self.profile, self.switches)
        text.say(
            "How many workers. Any number will do: they share what there is to do.",
            f"workers = {most_at_once(self.profile, one.count)}",
            "queue $(workers)",
        )
        return str(text)

    def _say_what_runs(self, text: Reasoned, one: _Workers) -> None:
        """What a job executes, what goes along with it, and where it is heard of."""
        if self.environment.container:
            text.say(
                "The worker runs inside this image. Its name says its content: caches take a name for unchangeable.",
                *self.environment.image_lines(),
            )
        else:
            text.say("Ordinary programs; what they need comes along as files.", "universe = vanilla")
        text.say(
            "What condor_q shows, and by what it finds them.",
            f"JobBatchName = {classad_literal(self.map.tag)}",
            f"+WingspanMap = {classad_literal(self.info.id)}",
        )
        text.say(
            "The script beside this file. Its arguments make a number that no other worker of the map has.",
            "executable = worker.sh",
            f'arguments = "$(Cluster){NUMBERS["htcondor"]} $(Process){_word(one.group)}"',
        )
        text.say(
            "Workers claim components and append results through HTCondor's own channel, which has to be asked for.",
            "+WantIOProxy = true",
        )
        text.say(
            "What HTCondor tells about the jobs goes to the map, by the note it knows them: wingspan status, hold, release, rm. What a "
            "worker itself has to say stays here; what the function prints is in the map.",
            f"log = {submit_value(str(self.map.path))}/events.log",
            f"submit_event_user_notes = {NOTE}",
            "output = logs/$(Cluster).$(Process).out",
            "error = logs/$(Cluster).$(Process).err",
        )
        beside = [] if self.environment else ["launcher.sh"]
        text.say(
            "The worker and what starts it go along; inputs and results take the channel, so no file comes back.",
            "should_transfer_files = YES",
            *self.environment.transfer_lines(["worker.pyz", *beside]),
            "when_to_transfer_output = ON_EXIT",
            'transfer_output_files = ""',
        )

    def _say_options(self, text: Reasoned, options: Options) -> None:
        """What the map's options say of attributes and submit commands."""
        again = {
            "on_exit_remove": "(ExitBySignal =!= true && ExitCode =!= 75) || NumJobStarts >= 5",
            **options.submit,
        }
        text.say(
            "A worker that a signal ended, or that lost its way to the map (exit code 75), starts again and goes on, five times.",
            submit_line("on_exit_remove", joined(str(again.pop("on_exit_remove")))),
        )
        given = [submit_line(f"+{name}", classad_literal(value)) for name, value in options.custom.items()]
        given += [submit_line(name, joined(str(value))) for name, value in again.items()]
        if given:
            text.say("What the map's options say beside that.", *given)

    def _disk(self) -> int:
        return self.resources.disk or self.environment.size + OWN_DISK

    # -- Slurm -----------------------------------------------------------------------------------------------

    def _sbatch_script(self, one: _Workers) -> str:
        lines = sbatch_options(
            name=self.name,
            title=one.about,
            resources=self.resources,
            count=one.count,
            count_why="How many workers. Any number will do: they share what there is to do. Add %10 for ten at a time.",
            gpus_why="GPUs. Slurm knows neither capability nor driver: the environment's programs find out.",
            requeue_why="A worker that is put back into the queue goes on with what it had begun.",
            profile=self.profile,
            own=one.options.sbatch,
        )
        lines += [
            "",
            "set -eu",
            "# This folder, and the map's, must be on a file system that the nodes see.",
            'cd "$SLURM_SUBMIT_DIR"',
            "# The two make a number that no other worker of the map has.",
            f'exec sh ./worker.sh "${{SLURM_ARRAY_JOB_ID}}{NUMBERS["slurm"]}" "$SLURM_ARRAY_TASK_ID"{_word(one.group)}',
            "",
        ]
        return "\n".join(lines)

    def _readme(self) -> str:
        htcondor = self.target == "htcondor"
        program = "condor_submit" if htcondor else "sbatch"
        rows = [
            *(
                (
                    one.main,
                    f"what is asked of {'HTCondor' if htcondor else 'Slurm'}, each line with its reason",
                )
                for one in self.workers
            ),
            ("worker.sh", "what a job executes"),
            ("worker.pyz", "the worker: a Python program with all that it needs inside"),
            ("submit.sh", "submits workers"),
            ("interact.sh", "a shell with the same resources"),
            ("shell.sh", "what interact.sh starts on the machine"),
        ]
        if self.environment:
            rows.append(("enter.sh", "starts a command in the map's environment"))
            rows += self.environment.described()
        else:
            rows.append(("launcher.sh", "finds the Python for the worker"))
        table = "\n".join(f"| `{name}` | {what} |" for name, what in rows)
        where = (
            "Submit them on this access point: the workers reach the map's folder through it."
            if htcondor
            else "The nodes must see this folder and the map's."
        )
        tag = self.map.tag
        jobs = (
            "HTCondor's log of the jobs is the map's, so that\n"
            f"`wingspan hold`, `release` and `rm {tag}` reach them as well as HTCondor's own commands."
            if htcondor
            else "Jobs that were submitted so are removed by the scheduler's own\ncommand; when the map is removed they end by themselves."
        )
        return (
            f"# {tag}\n\n"
            f"Workers of the map `{tag}`: `{self.info.function}` on {len(self.map):,} inputs.\n\n"
            f"Submit them with `sh submit.sh`. It needs {program} and nothing else; everything may be edited. {where}\n"
            "Workers share what there is to do, whenever and however many there are; each ends when nothing is left.\n\n"
            f"| file | what it is |\n| --- | --- |\n{table}\n\n"
            f"Results are in the map's folder, `{self.map.path}`: `wingspan status {tag}`, or `wingspan.load({tag!r})` in Python.\n"
            f"What a worker itself has to say is in `logs/`. {jobs}\n"
            + (
                ""
                if htcondor
                else long_array(
                    max(one.count for one in self.workers), "`sh submit.sh --array=0-999`, again and again"
                )
            )
        )


def _word(group: str | None) -> str:
    """A further argument, if there is one."""
    return f" {group}" if group else ""
