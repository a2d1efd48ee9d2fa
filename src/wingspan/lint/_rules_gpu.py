"""Rules about GPUs in submit descriptions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wingspan.lint._rule import Hit
from wingspan.lint._rules_submit import SUBMIT
from wingspan.lint._submit_file import Command, SubmitFile

__all__: list[str] = []

_GPUS = (
    "https://htcondor.readthedocs.io/en/latest/users-manual/submitting-a-job.html (jobs that require GPUs)"
)
_NVIDIA = "https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html"

#: Of longer values the rest is not looked at.
_LONGEST = 20_000
#: A comparison of an attribute with a number or a text.
_COMPARISON = re.compile(
    r"(?<![\w.])(?P<attribute>(?:TARGET\.)?[A-Za-z_]\w*)\s*(?P<operator>>=|<=|==|=\?=|>|<)\s*(?P<value>\"[^\"]*\"|\d+(?:\.\d+)?)",
    re.IGNORECASE,
)
_REVERSED = re.compile(
    r"(?<![\w.])(?P<value>\d+(?:\.\d+)?)\s*(?P<operator>>=|<=|==|=\?=|>|<)\s*(?P<attribute>(?:TARGET\.)?[A-Za-z_]\w*)",
    re.IGNORECASE,
)
_DRIVER = frozenset({"gpus_driverversion", "cudadriverversion", "driverversion", "cudaruntimeversion"})
_CAPABILITY = frozenset({"gpus_capability", "cudacapability", "capability"})
#: No CUDA version and no compute capability is as high; NVIDIA's drivers and "75" for 7.5 are.
_TOO_HIGH = 20.0
_EXAMPLES = {
    "gpus_minimum_runtime": "a version of CUDA, such as 12.0",
    "gpus_minimum_capability": "a capability, such as 7.5",
}


def _comparisons(command: Command) -> Iterator[tuple[str, str, str]]:
    """Attribute (lower case), operator and value, also of those that begin with the value."""
    for match in _COMPARISON.finditer(command.value[:_LONGEST]):
        yield match["attribute"].lower().removeprefix("target."), match["operator"], match["value"]
    for match in _REVERSED.finditer(command.value[:_LONGEST]):
        operator = match["operator"].translate(str.maketrans("<>", "><"))
        yield match["attribute"].lower().removeprefix("target."), operator, match["value"]


def _expressions(submit: SubmitFile) -> list[Command]:
    return submit.of("requirements", "require_gpus")


@SUBMIT.rule(
    "matches-nothing",
    hint="write gpus_minimum_runtime = 12.0 (CUDA) and gpus_minimum_capability = 7.5",
    why="HTCondor's DriverVersion is the highest CUDA version that the driver supports (12.4), not NVIDIA's "
    "number of the "
    "driver (550.54), and a capability is 7.5, not 75. No machine has more, and the job waits for ever.",
    source="HTCondor's condor_gpu_discovery; " + _GPUS,
)
def matches_nothing(submit: SubmitFile) -> Iterator[Hit]:
    for command in _expressions(submit):
        for attribute, operator, value in _comparisons(command):
            if attribute not in _DRIVER | _CAPABILITY:
                continue
            what = "a CUDA version" if attribute in _DRIVER else "a compute capability"
            if value.startswith('"'):
                yield Hit(
                    command.line,
                    f"{attribute} {operator} {value} compares a number with a text, and matches nothing",
                    f"write the number without quotes: {value.strip(chr(34))}",
                )
            elif operator in {">=", ">", "==", "=?="} and float(value) >= _TOO_HIGH:
                yield Hit(
                    command.line,
                    f"{attribute} {operator} {value} matches nothing: it is {what}, not "
                    f"{_mistaken(attribute)}",
                )
    for key, attribute in (
        ("gpus_minimum_runtime", "gpus_driverversion"),
        ("gpus_minimum_capability", "gpus_capability"),
    ):
        for command in submit.of(key):
            number = re.fullmatch(r"\"?(\d+(?:\.\d+)?)(?:\.\d+)?\"?", command.value)
            # MaxSupportedVersion's own form, 12040, is accepted too
            if number and _TOO_HIGH <= float(number[1]) < 1000:
                yield Hit(
                    command.line,
                    f"{command.written} = {command.value} matches nothing: that is {_mistaken(attribute)}",
                )
    yield from _contradictions(submit)


def _mistaken(attribute: str) -> str:
    return "the number of an NVIDIA driver" if attribute in _DRIVER else "a capability without its point"


def _contradictions(submit: SubmitFile) -> Iterator[Hit]:
    """Lower bounds above upper bounds, where all conditions must hold."""
    for command in _expressions(submit):
        if "||" in command.value or "!" in command.value.replace("=!=", ""):
            continue
        low: dict[str, float] = {}
        high: dict[str, float] = {}
        for attribute, operator, value in _comparisons(command):
            if value.startswith('"'):
                continue
            number = float(value)
            if operator in {">=", ">", "=="}:
                low[attribute] = max(low.get(attribute, number), number)
            if operator in {"<=", "<", "=="}:
                high[attribute] = min(high.get(attribute, number), number)
        for attribute in low.keys() & high.keys():
            if low[attribute] > high[attribute]:
                yield Hit(
                    command.line,
                    f"no machine has {attribute} above {low[attribute]:g} and below {high[attribute]:g}",
                    "correct one of the bounds",
                )
    least, most = submit.last("gpus_minimum_capability"), submit.last("gpus_maximum_capability")
    if least and most:
        bounds = [re.fullmatch(r"\d+(?:\.\d+)?", each.value) for each in (least, most)]
        if all(bounds) and float(least.value) > float(most.value):
            yield Hit(
                most.line,
                f"no GPU has at least {least.value} and at most {most.value}",
                "correct one of the bounds",
            )


@SUBMIT.rule(
    "driver-minor",
    hint="ask for the major version only: gpus_minimum_runtime = 12.0",
    why="Within a major version of CUDA, programs built for a later minor one run with the drivers of an "
    "earlier one. A "
    "requirement of 12.9 shuts out machines with 12.4 drivers, on which the job would run.",
    source=_NVIDIA,
)
def driver_minor(submit: SubmitFile) -> Iterator[Hit]:
    found = [
        (command, float(value))
        for command in _expressions(submit)
        for attribute, operator, value in _comparisons(command)
        if attribute in _DRIVER and operator in {">=", ">"} and not value.startswith('"')
    ]
    found += [
        (command, float(command.value))
        for command in submit.of("gpus_minimum_runtime")
        if re.fullmatch(r"\d+(?:\.\d+)?", command.value)
    ]
    for command, version in found:
        # minor version compatibility begins with CUDA 11
        if 11 < version < _TOO_HIGH and version % 1:
            yield Hit(
                command.line,
                f"CUDA {version:g} is asked for; drivers of any CUDA {int(version)}.x run it",
                f"write gpus_minimum_runtime = {int(version)}.0, unless the program compiles PTX when it "
                f"runs",
            )


@SUBMIT.rule(
    "gpu-in-requirements",
    hint="write gpus_minimum_runtime, gpus_minimum_capability and gpus_minimum_memory instead",
    why="requirements tests the machine, which may have GPUs of several kinds; the gpus_ commands test the "
    "one that the job "
    "will get. The CUDA… attributes are from before 9.8 and are no longer advertised everywhere.",
    source=_GPUS,
)
def gpu_in_requirements(submit: SubmitFile) -> Iterator[Hit]:
    better = {
        **dict.fromkeys(_DRIVER, "gpus_minimum_runtime"),
        **dict.fromkeys(_CAPABILITY, "gpus_minimum_capability"),
        "gpus_globalmemorymb": "gpus_minimum_memory",
        "cudaglobalmemorymb": "gpus_minimum_memory",
    }
    for command in submit.of("requirements"):
        for attribute, operator, value in _comparisons(command):
            if attribute in better and operator in {">=", ">"}:
                number = value.strip('"')
                major = number.partition(".")[0]
                if attribute in _DRIVER and major.isdigit() and int(major) >= 11:  # see driver-minor
                    number = f"{major}.0"
                wrong = "memory" not in attribute and major.isdigit() and int(major) > _TOO_HIGH
                yield Hit(
                    command.line,
                    f"requirements tests {attribute} of the machine, not of the GPU that the job gets",
                    # A number that is another rule's fault is not proposed anew.
                    f"write {better[attribute]} with {_EXAMPLES[better[attribute]]}"
                    if wrong
                    else f"write {better[attribute]} = {number}",
                )


@SUBMIT.rule(
    "gpu-without-request",
    hint="add: request_gpus = 1",
    why="What is said about GPUs is ignored unless GPUs are requested.",
    source=_GPUS,
)
def gpu_without_request(submit: SubmitFile) -> Iterator[Hit]:
    if submit.last("request_gpus") is not None or submit.includes:
        return
    about = [
        *submit.of(
            "require_gpus",
            "gpus_minimum_capability",
            "gpus_maximum_capability",
            "gpus_minimum_memory",
            "gpus_minimum_runtime",
        ),
        *submit.custom("WantGPULab"),
        *submit.custom("GPUJobLength"),
    ]
    for command in about:
        yield Hit(command.line, f"{command.written} without request_gpus is ignored")
