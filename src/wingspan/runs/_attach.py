"""The same run again: a script that is executed a second time finds the run that it made the first time."""

from __future__ import annotations

from typing import Any

from wingspan._kept_files import changed_files
from wingspan.delivery.large_inputs import same_content
from wingspan.runs._errors import RunExists
from wingspan.runs._folder import open_run_folder
from wingspan.runs._run import Run
from wingspan.runs._spec import RunSpec

__all__ = ["same_run"]


def same_run(spec: RunSpec) -> Run:
    """The run of that name, if it executes the same, with the same inputs.

    Raises:
        RunExists: It is another one; the message says in what.
    """
    found = Run(open_run_folder(spec.name))
    old, new = _compared(found.spec), _compared(spec)
    differs = [what for what in new if old[what] != new[what]]
    if differs:
        raise RunExists(
            f"the run {spec.name!r} is another one: what differs is {', '.join(differs)}",
            hint=f"choose another name; or remove that one and its outputs: wingspan rm {spec.name}",
        )
    folder = found._folder
    placed = {place: url for url, place, _ in found.spec.placed}
    copied = [(here, place) for here, place in spec.inputs if place not in placed]
    changed = changed_files(copied, folder.inputs(folder.newest_inputs()))
    changed += [
        place for here, place in spec.inputs if place in placed and not same_content(here, placed[place])
    ]
    if changed:
        named = ", ".join(changed[:3]) + (f" and {len(changed) - 3:,} more" if len(changed) > 3 else "")
        raise RunExists(
            f"the run {spec.name!r} was made with other inputs: {named} {'have' if len(changed) > 1 else 'has'} changed since",
            hint=f"wingspan rerun {spec.name} --all --with-current-inputs does it again with these; or choose another name",
        )
    return found


def _compared(spec: RunSpec) -> dict[str, Any]:
    """What tells one run from another, under the names that people use."""
    return {
        "the command": spec.steps,
        "the sweep": (spec.parameters, spec.rows),
        "the inputs' names": (
            tuple(sorted([*(place for _, place in spec.inputs), *(place for _, place, _ in spec.placed)])),
            spec.urls,
        ),
        "the outputs": (spec.outputs, dict(spec.destinations)),
        "the variables": dict(spec.variables),
        "the environment": spec.environment and spec.environment.digest,
        "the checkpoint": (spec.checkpoint, spec.checkpoint_exit_code if spec.checkpoint else None),
    }
