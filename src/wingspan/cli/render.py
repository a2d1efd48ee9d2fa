"""``wingspan render``: the files of a run or of a map's workers, for people to own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wingspan.cli._complete import WORDS_OR_NAME
from wingspan.cli._output import TAG, not_found, notes
from wingspan.cli._terminal import echo
from wingspan.cli.run import RunCommand, requested, run_options

if TYPE_CHECKING:
    from wingspan.maps import Map
    from wingspan.runs import Run

__all__ = ["render"]

#: What can be said of a map's workers when they are rendered.
_FOR_MAPS = frozenset({"workers", "cpus", "memory", "disk", "time", "gpus", "profile", "switches"})
_ALWAYS = frozenset({"target", "folder", "existing", "image", "bundle_url", "words"})


@click.command(cls=RunCommand)
@click.argument("target", type=click.Choice(["htcondor", "slurm"]))
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@run_options
@click.option(
    "--from",
    "existing",
    metavar="NAME",
    type=TAG,
    help="A run that exists, instead of options and a command; or the tag of a map: files for its workers. A NAME alone will do "
    "where it is no task.",
)
@click.option("--workers", type=int, metavar="N", help="With a map: how many workers.")
@click.option("--image", metavar="URL", help="Container image that has the environment: docker://…@sha256:…")
@click.option(
    "--bundle-url", metavar="URL", help="Where the bundle was published; it is not copied into DIR then."
)
@click.argument("words", metavar="TASK [ARGUMENT]... | -- COMMAND... | NAME", nargs=-1, type=WORDS_OR_NAME)
@click.pass_context
def render(
    ctx: click.Context,
    /,
    *,
    target: str,
    folder: Path,
    existing: str | None,
    workers: int | None,
    image: str | None,
    bundle_url: str | None,
    words: tuple[str, ...],
    **options: Any,
) -> None:
    """Write files into DIR that submit a run, or workers of a map: what is asked for, what is executed, and
    submit.sh, interact.sh,
    README.md.

    They work with plain condor_submit or sbatch, also where there is no Wingspan; comments say why each line
    is there.

    \b
      wingspan render htcondor made train --gpus 1 --time 3h
      wingspan render slurm again --from train-1
      wingspan render slurm made --from TAG --workers 50     workers that complete the map TAG

    For a map only the options --workers, --cpus, --memory, --disk, --time, --gpus, --profile and --switch
    have a meaning; without them its own are taken.
    """
    from wingspan.cli._progress import progress

    kind: Any = target
    after_dashes = ctx.meta["wingspan.after_dashes"]
    said = {
        name
        for name in ctx.params
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    if existing is None and len(words) == 1 and not after_dashes and not _is_task(words[0]):
        existing, words = words[0], ()
    if existing is not None and words:
        raise click.UsageError("give --from NAME or a command, not both")
    if existing is None and not words:
        raise click.UsageError("what? Give a TASK, or -- and a COMMAND, or the NAME of a map or run")
    with notes(), progress() as told:
        if existing is not None:
            options |= {"workers": workers}
            paths = _existing(kind, folder, existing, said - _ALWAYS, image, bundle_url, options, told)
        else:
            if workers is not None:
                raise click.UsageError("--workers is for maps: --from TAG")
            from wingspan.runs._render import render_request

            request = requested(words, after_dashes, options)
            paths = render_request(kind, folder, request, image=image, bundle_url=bundle_url, progress=told)
    for path in paths:
        echo(str(path))


def _existing(
    target: Any,
    folder: Path,
    name: str,
    said: set[str],
    image: str | None,
    bundle_url: str | None,
    options: dict[str, Any],
    told: Any,
) -> list[Path]:
    """Write the files of the map or the run called `name`."""
    from wingspan.maps import Map

    found = _find(name)
    is_map = isinstance(found, Map)
    wrong = sorted(said - _FOR_MAPS if is_map else said)
    if wrong:
        option = {"variables": "set", "inputs": "input", "outputs": "output", "sweeps": "sweep"}.get(wrong[0])
        option = option or {"environment": "env", "switches": "switch"}.get(wrong[0], wrong[0])
        what = "the map" if is_map else "the run"
        raise click.UsageError(
            f"--{option.replace('_', '-')} has no meaning for {what} {name}, which is made already"
        )
    if not isinstance(found, Map):
        from wingspan.runs._render import plan_of_run, write_files

        return write_files(target, plan_of_run(found), folder, told, image=image, bundle_url=bundle_url)
    if image is not None:
        raise click.UsageError("--image is for runs: a map has its own environment")
    import attrs

    from wingspan.maps._render import map_resources, render_map
    from wingspan.runs._units import parse_duration, parse_size

    changes = {
        "cpus": options["cpus"],
        "gpus": options["gpus"],
        "memory": parse_size(options["memory"], "memory"),
        "disk": parse_size(options["disk"], "disk"),
        "time_limit": parse_duration(options["time"]),
    }
    resources = attrs.evolve(
        map_resources(found), **{key: value for key, value in changes.items() if value is not None}
    )
    return render_map(
        target,
        folder,
        found,
        workers=options["workers"],
        resources=resources,
        profile=options["profile"],
        switches=options["switches"],
        bundle_url=bundle_url,
    )


def _is_task(word: str) -> bool:
    """`word` is a task of the workspace here, or at least no name of a map or a run."""
    from wingspan.maps import tags
    from wingspan.runs import run_names

    if word not in (*tags(), *run_names()):
        return True
    from wingspan.environments import Workspace
    from wingspan.errors import WingspanError

    try:
        here = Workspace.open()
        return any(word in here.tasks(environment) for environment in here.environments)
    except WingspanError:
        return False


def _find(name: str) -> Map | Run:
    """The map or the run called `name`: they share one set of names."""
    from wingspan.maps import TagNotFound, load
    from wingspan.runs import load_run
    from wingspan.runs._errors import RunNotFound

    try:
        return load(name)
    except TagNotFound:
        try:
            return load_run(name)
        except RunNotFound:
            raise not_found(name) from None
