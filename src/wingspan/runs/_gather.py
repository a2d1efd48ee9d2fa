"""The end of a job's script: it gathers outputs in one folder, and names what is missing or stays behind."""

from __future__ import annotations

from pathlib import Path

from wingspan._python import this_python
from wingspan._shell import Shell, filled, words
from wingspan.runs._destinations import GATHERED, destinations_of_job, gathered_as, is_pattern
from wingspan.runs._spec import RunSpec
from wingspan.runs._words import path_word, pattern

__all__ = ["CHECKPOINT_FOLDER", "EXIT_MISSING_OUTPUT", "EXIT_UNSENT", "OUTCOME", "SCRIPTS", "gathering"]

#: The parts of a job's script, shell with ``@NAME@`` where a value belongs.
SCRIPTS = Path(__file__).with_name("scripts")
#: The command ended well, and an output is missing.
EXIT_MISSING_OUTPUT = 120
#: The command ended well, and an output could not be sent to its address: it lies in the run's folder.
EXIT_UNSENT = 119
#: Beside the outputs: what became of the job, as ``name=value`` lines.
OUTCOME = ".wingspan-outcome"
#: In the job's folder: what HTCondor keeps while the job is not running.
CHECKPOINT_FOLDER = "wingspan-checkpoint"


def gathering(spec: RunSpec, *, shared: bool) -> Shell:
    """The functions that do it. On a `shared` file system they also put the outputs in their place."""
    parameters = spec.parameters
    kept = (path_word(path.partition("/")[0], parameters) for path in spec.checkpoint)
    each = [
        f"        wingspan_keep {path_word(path, parameters)} {pattern(path, parameters)}"
        for path in spec.outputs
    ]
    sending = _sending(spec, shared=shared)
    into_place = filled(SCRIPTS / "into_place.sh", exit_code=EXIT_MISSING_OUTPUT) if shared else Shell("")
    return filled(
        SCRIPTS / "finish.sh",
        outcome=OUTCOME,
        exit_code=EXIT_MISSING_OUTPUT,
        checkpoint=CHECKPOINT_FOLDER,
        kept=Shell("".join(f" | {path}" for path in kept)),
        outputs=filled(SCRIPTS / "outputs.sh") if spec.outputs or spec.checkpoint else Shell(""),
        keep=filled(SCRIPTS / "keep.sh", each=Shell("\n".join(each))) if each else Shell(""),
        sending=sending,
        into_place=into_place,
    )


def _sending(spec: RunSpec, *, shared: bool) -> Shell:
    """The part of the script that notes outputs which go to an address, and on a `shared` file system
    sends them there.
    """
    if not spec.destinations:
        return Shell("")
    table = []
    for number in range(len(spec.rows)):
        sends = "; ".join(
            f"wingspan_send_matching {words((shown, gathered_as(spec, path), url))} {pattern(path, spec.parameters)}"
            if is_pattern(path)
            else f"wingspan_send {words((shown, url))}"
            for path, (shown, url) in zip(
                spec.destinations, destinations_of_job(spec, number).items(), strict=True
            )
        )
        table.append(f"        {number}) {sends} ;;")
    calls = Shell("\n".join(["    case $wingspan_number in", *table, "    esac"]))
    if any(map(is_pattern, spec.destinations)):
        # Patterns match below the folder of the outputs, and no output that has a line of its own.
        own = (path_word(path, spec.parameters) for path in spec.outputs if not is_pattern(path))
        matching = filled(
            SCRIPTS / "matching.sh",
            own=Shell("".join(f"{path} | " for path in own)),
            gathered=Shell(GATHERED),
        )
        calls = Shell(
            f'{matching}\n    cd "$wingspan_outputs"\n{calls}\n    cd "$wingspan_back"; wingspan_outputs=$wingspan_given'
        )
    if not shared:
        return filled(SCRIPTS / "send_moved.sh", calls=calls)
    program = words((this_python(), "-m", "wingspan.stores.sending"))
    return filled(SCRIPTS / "send_here.sh", calls=calls, program=program, exit_code=EXIT_UNSENT)
