"""A `JobDescription` as an HTCondor submit description: a pure function, tested against files.

Words and quoting follow the condor_submit manual page (HTCondor manual, "condor_submit", sections on
arguments and environment).
"""

from __future__ import annotations

import math
import os
import re

from wingspan.errors import SubmitError
from wingspan.jobs import ClassAdValue, ComesBack, JobDescription, all_of

__all__ = [
    "COMES_BACK",
    "classad_literal",
    "joined",
    "quote_arguments",
    "quote_environment",
    "submit_description",
    "submit_line",
    "submit_value",
]


def classad_literal(value: ClassAdValue) -> str:
    """A value as ClassAd text.

    >>> classad_literal("short"), classad_literal(True), classad_literal(2.5)
    ('"short"', 'true', '2.5')
    >>> classad_literal('say "hi"')
    '"say \\\\"hi\\\\""'
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return f'real("{"NaN" if math.isnan(value) else "INF" if value > 0 else "-INF"}")'
    if isinstance(value, int | float):
        return repr(value)
    # A submit description takes strings as old ClassAds had them: \" is the only escape, a backslash is
    # itself.
    escaped = value.replace('"', '\\"')
    return submit_value(f'"{escaped}"')


def submit_value(text: str) -> str:
    r"""Foreign text as the value of a submit command, or a part of one: condor_submit expands nothing in it.

    The manual has ``$(DOLLAR)`` for the character itself, and ``$$(DOLLARDOLLAR)`` for two of them, which the
    schedd would look up in the machine's ad. (Of the text ``$(DOLLAR)`` a ``$`` remains: HTCondor knows no
    way to write it.)

    Raises:
        SubmitError: It has an end of a line: what follows would be a command.

    >>> print(submit_value("https://h/$ENV(TOKEN)"), submit_value("a$$(Name)"))
    https://h/$(DOLLAR)ENV(TOKEN) a$$(DOLLARDOLLAR)(Name)
    """
    if any(character in text for character in "\r\n\0"):
        raise SubmitError(
            f"{text!r:.200} cannot stand in a submit description: it has an end of a line",
            hint="name it in one line, or rename the file",
        )
    return re.sub(r"\$\$?", lambda found: "$(DOLLAR)" if found[0] == "$" else "$$(DOLLARDOLLAR)", text)


def submit_line(name: str, value: str) -> str:
    r"""A line of a submit description, as condor_submit will read it: one command with this value.

    Raises:
        SubmitError: The value cannot be written there. A backslash at its end would join the next line to it,
            and condor_submit drops blanks at its ends; or name or value go over several lines.

    >>> submit_line("log", "events.log")
    'log = events.log'
    >>> submit_line("initialdir", "/home/me/a\\")
    Traceback (most recent call last):
    ...
    wingspan.errors.SubmitError: '/home/me/a\\' cannot stand in a submit description as initialdir: it ends with a backslash
    Hint: name it otherwise, or rename the file
    """  # noqa: W505
    why = None
    if not _NAME.fullmatch(name):
        raise SubmitError(
            f"{name!r:.200} is no name of a submit command or attribute",
            hint="letters, digits and _ make one, and + or MY. in front",
        )
    if any(character in value for character in "\r\n\0"):
        why = "it has an end of a line"
    elif value.endswith("\\"):
        why = "it ends with a backslash"
    elif value.strip() != value:
        why = "it begins or ends with a blank"
    if why is not None:
        raise SubmitError(
            f"{value!r:.200} cannot stand in a submit description as {name}: {why}",
            hint="name it otherwise, or rename the file",
        )
    return f"{name} = {value}"


def joined(text: str) -> str:
    r"""What people wrote over several lines, as they do with long expressions in TOML, in one.

    >>> joined('\n(A == 1)\n&& B\n')
    '(A == 1) && B'
    """
    return " ".join(line.strip() for line in text.splitlines()).strip()


#: Of commands and attributes; dots are in names that sites have of their own.
_NAME = re.compile(r"\+?[A-Za-z_][A-Za-z0-9_.]*")


def _value(text: str) -> str:
    """As `submit_value`; but for the number of the job, which a `JobDescription` writes as HTCondor does."""
    return _PROCESS.join(map(submit_value, text.split(_PROCESS)))


_PROCESS = "$(Process)"


def _quote_word(word: str) -> str:
    if word and not any(character.isspace() or character in "'" for character in word):
        return word
    return "'" + word.replace("'", "''") + "'"


def quote_arguments(arguments: tuple[str, ...]) -> str:
    """Arguments in the new syntax: one pair of double quotes around all, single quotes where needed.

    >>> print(quote_arguments(("plain", "two words", "it's", 'say "hi"', "")))
    "plain 'two words' 'it''s' 'say ""hi""' ''"
    """
    words = [_quote_word(argument) for argument in arguments]
    return '"' + " ".join(words).replace('"', '""') + '"'


def quote_environment(environment: dict[str, str]) -> str:
    """Environment variables in the new syntax.

    >>> print(quote_environment({"A": "1", "B": "x y"}))
    "A=1 'B=x y'"
    """
    return quote_arguments(tuple(f"{name}={value}" for name, value in environment.items()))


def _kibibytes(size: int) -> str:
    return f"{-(-size // 1024)}KB"


def larger(asked: int | None, most: int | None) -> list[int]:
    """Bytes that are asked for one retry after the other: twice as much each time, up to the most.

    >>> larger(1, 5), larger(None, 5), larger(5, None)
    ([2, 4, 5], [], [])
    """
    sizes: list[int] = []
    while asked is not None and most is not None and asked < most:
        asked = min(most, 2 * asked)
        sizes.append(asked)
    return sizes


def _larger(asked: int | None, most: int | None) -> str | None:
    """The value of ``retry_request_memory`` and ``retry_request_disk``."""
    return ", ".join(map(_kibibytes, larger(asked, most))) or None


#: Attribute of jobs that come back: the exit code by which they say that they can do nothing yet.
COMES_BACK = "WingspanComesBack"


def _after_pause(comes_back: ComesBack | None) -> str | None:
    """What holds of a job unless it has ended a moment ago, to be started again.

    The schedd keeps in the job's ad how often it was started, whether it has ended by itself before, and
    since when it waits.

    >>> print(_after_pause(ComesBack(exit_code=85, first_pause=2, longest_pause=30)))
    (NumJobCompletions < 1 || time() - EnteredCurrentStatus >= min({30, 1 * pow(2, min({NumJobStarts, 30}))}))
    """
    if comes_back is None:
        return None
    first, longest = comes_back.first_pause / 2, comes_back.longest_pause
    pause = f"min({{{longest:g}, {first:g} * pow(2, min({{NumJobStarts, 30}}))}})"
    return f"(NumJobCompletions < 1 || time() - EnteredCurrentStatus >= {pause})"


def submit_description(
    job: JobDescription,
    *,
    common_files: bool = False,
    common_images: bool = False,
    limits_access: bool = False,
    retries: bool = False,
) -> str:
    """The submit description of `job`, one command a line, ending in ``queue``.

    Args:
        job: What to submit.
        common_files: The schedd knows common input files (HTCondor 25.14 and later); else they are sent with
            each job.
        common_images: The schedd knows common container images (HTCondor 25.0 and later).
        limits_access: What has a chirp channel reaches, on the access point, the job's own folder and files
            alone.
        retries: The schedd itself asks for more when a job took more than it asked for (HTCondor 25.10 and
            later).
    """
    resources = job.resources
    lines: list[tuple[str, str | None]] = [
        (
            "universe",
            "scheduler" if job.at_access_point else "container" if job.container_image else "vanilla",
        ),
        ("container_image", submit_value(job.container_image) if job.container_image else None),
        # HTCondor 25: sent once to each execution point, like other common files.
        ("container_is_common", "true" if job.container_image and common_images else None),
        ("JobBatchName", classad_literal(job.name)),
        ("executable", submit_value(job.executable)),
        ("transfer_executable", "true" if job.transfer_executable else "false"),
        ("arguments", _value(quote_arguments(job.arguments)) if job.arguments else None),
        ("environment", _value(quote_environment(dict(job.environment))) if job.environment else None),
        ("initialdir", submit_value(str(job.working_dir)) if job.working_dir else None),
        *(
            (name, _value(file) if file else None)
            for name, file in (("log", job.log), ("output", job.stdout), ("error", job.stderr))
        ),
        *_transfer(job, common_files),
        ("request_cpus", str(resources.cpus)),
        ("request_memory", _kibibytes(resources.memory) if resources.memory else None),
        ("request_disk", _kibibytes(resources.disk) if resources.disk else None),
        ("retry_request_memory", _larger(resources.memory, resources.retry_memory) if retries else None),
        ("retry_request_disk", _larger(resources.disk, resources.retry_disk) if retries else None),
        ("request_gpus", str(resources.gpus) if resources.gpus else None),
        ("gpus_minimum_capability", _number(resources.gpus_minimum_capability)),
        ("gpus_maximum_capability", _number(resources.gpus_maximum_capability)),
        ("gpus_minimum_runtime", resources.gpus_minimum_runtime),
        (
            "gpus_minimum_memory",
            _kibibytes(resources.gpus_minimum_memory) if resources.gpus_minimum_memory else None,
        ),
        ("requirements", all_of(job.requirements and joined(job.requirements), _after_pause(job.comes_back))),
        ("max_idle", str(job.max_idle) if job.max_idle is not None and job.max_idle < job.count else None),
        ("notification", job.notification),
        ("notify_user", job.notify_user and joined(job.notify_user)),
        ("submit_event_user_notes", submit_value(job.note) if job.note else None),
    ]
    if job.comes_back:
        lines.append((f"MY.{COMES_BACK}", str(job.comes_back.exit_code)))
    lines += [(name, joined(str(value))) for name, value in job.submit.items()]
    if job.io_proxy:
        lines.append(("MY.WantIOProxy", "true"))
        reach = _reach(job) if limits_access and "LimitDirectoryAccess" not in job.custom else None
        lines.append(("MY.LimitDirectoryAccess", reach and classad_literal(reach)))
    lines += [(f"MY.{name}", classad_literal(value)) for name, value in job.custom.items()]
    text = "".join(submit_line(name, value) + "\n" for name, value in lines if value is not None)
    return f"{text}queue {job.count}\n"


def _reach(job: JobDescription) -> str | None:
    """Paths on the access point that the shadow may open for the job (`LimitDirectoryAccess`).

    None: they cannot be written as HTCondor wants them.

    It counts where the administrator has set no LIMIT_DIRECTORY_ACCESS. An entry with a star at its end is a
    beginning of paths.
    """
    paths = [
        job.working_dir,
        *job.input_files,
        *job.common_input_files,
        *job.reach,
        *_own_plugins(job),
        job.container_image,
        job.log,
        job.stdout,
        job.stderr,
    ]
    if job.transfer_executable:
        paths.append(job.executable)
    local = {os.path.realpath(str(path)) for path in paths if path and "://" not in str(path)}
    folder = os.path.realpath(job.working_dir) if job.working_dir else None
    local = {path for path in local if folder is None or path == folder or not path.startswith(f"{folder}/")}
    if folder is None or any(character in path for path in local for character in ",*"):
        return None
    return ",".join(f"{path}*" for path in sorted(local))


def _own_plugins(job: JobDescription) -> list[str]:
    """Transfer plugins that are sent with the job (condor_submit, ``transfer_plugins``).

    >>> submit = {"Transfer_Plugins": "osdf,https=/home/me/plugin; x=other"}
    >>> _own_plugins(JobDescription(name="a", executable="a", submit=submit))
    ['/home/me/plugin', 'other']
    """
    given = [value for name, value in job.submit.items() if name.lower() == "transfer_plugins"]
    return [one.partition("=")[2].strip() for value in given for one in value.split(";") if "=" in one]


def _transfer(job: JobDescription, common_files: bool) -> list[tuple[str, str | None]]:
    if not job.transfer_files:
        return [("should_transfer_files", "NO")]
    common = job.common_input_files if common_files else ()
    inputs = job.input_files if common_files else (*job.common_input_files, *job.input_files)
    return [
        ("should_transfer_files", "YES"),
        ("when_to_transfer_output", "ON_EXIT_OR_EVICT" if job.keeps_output else "ON_EXIT"),
        ("transfer_input_files", _value(", ".join(inputs)) if inputs else None),
        # HTCondor 25.14: sent once to each execution point and hard-linked into each job there.
        ("MY.CommonInputFiles", classad_literal(", ".join(common)) if common else None),
        ("transfer_output_files", _value(", ".join(job.output_files)) if job.output_files else '""'),
    ]


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:g}" if value % 1 else f"{value:.1f}"
