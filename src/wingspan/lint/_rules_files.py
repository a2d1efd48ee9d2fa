"""Rules about what a submit description sends: files, scripts, images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import attrs

from wingspan.lint._rule import Hit
from wingspan.lint._rules_submit import SUBMIT
from wingspan.lint._script import parse_script
from wingspan.lint._submit_file import Command, SubmitFile, exists, split_list

__all__ = ["HASHED"]

_TRANSFER = "https://htcondor.readthedocs.io/en/latest/users-manual/file-transfer.html"
_STAGING = "https://chtc.cs.wisc.edu/uw-research-computing/file-avail-largedata"
_CACHED = ("osdf", "stash", "pelican")
#: How many entries of a list are looked at.
_MOST = 2000
_ARCHIVE = re.compile(r"\.(sif|sh|squashfs|sqsh|tar|tgz|zip|tar\.\w+)$")
#: Something in a name that changes with the content: a hash, a digest, or a date.
HASHED = re.compile(
    r"(?<![0-9a-z])(?=[0-9a-f]*\d)[0-9a-f]{7,64}(?![0-9a-z])|\d{4}-?\d{2}-?\d{2}", re.IGNORECASE
)


def _inputs(submit: SubmitFile) -> Iterator[tuple[Command, str]]:
    for command in submit.of("transfer_input_files", "transfer_common_input", "public_input_files"):
        for entry in split_list(command.value)[:_MOST]:
            # a doubled name is another rule's; what stands behind it is meant
            name, equals, rest = entry.partition("=")
            yield command, rest.strip() if equals and name.strip().lower() == command.key else entry


def _line_of(submit: SubmitFile, command: Command, entry: str) -> int:
    """The line of `entry` within a command that may be continued over several."""
    for number in range(command.line, min(command.line + _MOST, len(submit.lines) + 1)):
        if entry in submit.lines[number - 1]:
            return number
        if not submit.lines[number - 1].rstrip().endswith("\\"):
            break
    return command.line


@SUBMIT.rule(
    "sent-flat",
    hint="use the file by its plain name in the script, or set preserve_relative_paths = true",
    why="HTCondor puts every file of transfer_input_files into the job's folder itself, without the folders "
    "of its path.",
    source=f"{_TRANSFER}; found in a published template",
)
def sent_flat(submit: SubmitFile) -> Iterator[Hit]:
    preserve = submit.last("preserve_relative_paths")
    if preserve is not None and preserve.value.lower() == "true":
        return
    entries = list(_inputs(submit))
    folders = {
        PurePosixPath(entry).name for _, entry in entries if not entry.endswith("/") and "://" not in entry
    }
    uses = _uses(submit)
    for command, entry in entries:
        name = PurePosixPath(entry).name
        if "://" not in entry and entry.endswith("/") and name and "$" not in entry:
            yield from _without_its_folder(submit, command, entry, uses, folders)
            continue
        if ("://" not in entry and (entry.endswith("/") or "*" in name)) or not name or "$" in name:
            continue
        for use in uses.by_name.get(name, ()):
            if use.top in folders or use.top in uses.made or use.top in {".", ".."}:
                continue
            # a file of the same name may be meant that the job makes: where it was here, as it is named
            # there, says more
            if use.line is not None and (
                name in uses.plain or not f"/{entry}".endswith(f"/{use.folder}{name}")
            ):
                continue
            yield Hit(
                use.line or _line_of(submit, command, entry),
                f"{name} is put into the job's folder itself, but {use.words} as {use.folder}{name}",
                f"use {name}, or send the folder: transfer_input_files = …/{use.folder.rstrip('/')}",
            )
            break


@attrs.frozen
class _Use:
    """A file that the arguments or the script name together with a folder.

    Attributes:
        line: Line of the description; None: the script names it.
        words: Says who uses it.
        folder, name: As they are written there.
        top: The first folder.
    """

    line: int | None
    words: str
    folder: str
    name: str
    top: str


@attrs.frozen
class _Uses:
    """All files that are named with a folder.

    Attributes:
        by_name, by_top: These, by their names and by their first folders.
        made: Folders that the script makes.
        plain: Words of the arguments that have no folder.
    """

    by_name: dict[str, list[_Use]]
    by_top: dict[str, list[_Use]]
    made: frozenset[str]
    plain: frozenset[str]


#: How many uses of one name are looked at.
_USES = 20
_WITH_FOLDER = re.compile(r"(?<![\w./$}-])(?:\./)?((?:[\w.-]+/)+)([\w.-]+)(?![\w./-])")
_MADE = re.compile(r"(?:mkdir(?:\s+-\w+)*|git clone\s+\S+)\s+(?:\./)?([\w.-]+)")


def _uses(submit: SubmitFile) -> _Uses:
    places: list[tuple[int | None, str, str]] = []
    arguments, made = submit.last("arguments"), frozenset[str]()
    if arguments is not None:
        places.append((arguments.line, arguments.value, "the arguments use it"))
    if submit.script is not None:
        script = parse_script(submit.script, submit.script.read_text(encoding="utf-8", errors="replace"))
        name = submit.script.name
        places += [(None, each.text, f"{name}, line {each.line}, uses it") for each in script.code]
        made = frozenset(_MADE.findall(script.text))
    uses = _Uses({}, {}, made, frozenset(re.findall(r"[^\s'\"]+", arguments.value) if arguments else ()))
    for line, text, words in places:
        for folder, name in _WITH_FOLDER.findall(text):
            use = _Use(line, words, folder, name, folder.split("/", maxsplit=1)[0])
            for uses_of in (uses.by_name.setdefault(name, []), uses.by_top.setdefault(use.top, [])):
                if len(uses_of) < _USES:
                    uses_of.append(use)
    return uses


def _without_its_folder(
    submit: SubmitFile, command: Command, entry: str, uses: _Uses, there: set[str]
) -> Iterator[Hit]:
    """``src/`` sends what is in the folder, and a script uses one of these files as ``src/…``."""
    folder = submit.base / entry
    name = PurePosixPath(entry).name
    if name not in uses.by_top or name in there or name in uses.made:
        return
    if not exists(folder / ".") or exists(folder / name):
        return
    for use in uses.by_top[name][:100]:
        inside = f"{use.folder}{use.name}".partition("/")[2]
        if exists(folder / inside):
            yield Hit(
                use.line or _line_of(submit, command, entry),
                f"{entry} sends what is in the folder without the folder, but {use.words} as {use.folder}{use.name}",
                f"send the folder itself, without the slash at its end: {entry.rstrip('/')}",
            )
            return


#: Commands after which files may be there that were not sent.
_MAKES_FILES = re.compile(
    r"\b(tar|unzip|gunzip|unxz|git|curl|wget|cp|mv|ln|rsync|scp|make|cmake|gcc|g\+\+|patch|touch|pixi|pip3?|conda"
    r"|mamba|micromamba|source|cd|pushd|eval|exec|pelican|stashcp|aws|gsutil|rclone)\b|>|(^|[;&|]\s*)\.\s"
)
_RUNS = re.compile(
    r"(?:^|[;&|]\s*|\b(?:time|nohup|if|then|do|srun|exec)\s+)"
    r"(?:(?:python3?|bash|sh|perl|Rscript|julia)(?:\s+-[uexBOS]+)*\s+(?:\./)?|\./)(?P<name>[A-Za-z0-9][\w.+-]*)(?=\s|;|$)"
)


@SUBMIT.rule(
    "not-sent",
    hint="add it to transfer_input_files, or correct its name",
    why="The job has only the files that are sent with it: the script ends with: No such file or directory.",
    source=f"{_TRANSFER}; found in a published template",
)
def not_sent(submit: SubmitFile) -> Iterator[Hit]:
    sent = [entry for _, entry in _inputs(submit)]
    no_transfer = submit.last("should_transfer_files")
    image = submit.of("container_image", "docker_image")
    if submit.script is None or submit.includes:
        return
    # where nothing is said of files, the machines may share the folder
    if (no_transfer.value.lower() == "no") if no_transfer is not None else not sent:
        return
    if any("$" in entry or "*" in entry or entry.endswith("/") or "pack=auto" in entry for entry in sent):
        return  # what is in them cannot be seen from here
    names = {PurePosixPath(urlsplit(entry).path).name for entry in sent} | {submit.script.name}
    script = parse_script(submit.script, submit.script.read_text(encoding="utf-8", errors="replace"))
    executable = submit.last("executable")
    at = (submit.last("transfer_input_files") or executable or submit.commands[0]).line
    for each in script.code:
        for match in _RUNS.finditer(each.text.strip()):
            # a program of the image may lie in its working folder
            if match["name"] not in names and "." in match["name"] and not image:
                yield Hit(
                    at, f"{submit.script.name}, line {each.line}, runs {match['name']}, which is not sent"
                )
        if _MAKES_FILES.search(each.text):
            return


@SUBMIT.rule(
    "no-such-script",
    hint="correct the name, or make the file",
    why="condor_submit refuses an executable that is not there, is empty, or is a script with Windows line ends.",
    source="https://htcondor.readthedocs.io/en/latest/man-pages/condor_submit.html (executable)",
    refuses=True,
)
def no_such_script(submit: SubmitFile) -> Iterator[Hit]:
    executable = submit.last("executable")
    sent = submit.last("transfer_executable")
    if (
        executable is None
        or submit.is_template
        or any("executable" in queue.variables for queue in submit.queues)
    ):
        return
    if sent is not None and sent.value.lower() in {"false", "no"}:
        return
    name = submit.expanded(executable.value).strip()
    # an absolute one is of the machine that submits, which need not be this one
    if not name or "$" in name or name.startswith("/") or "://" in name:
        return
    place = submit.base / name
    base = submit.last("initialdir")
    if not exists(place) and base is not None:
        place = submit.base / submit.expanded(base.value) / name
    wrong = _is_no_executable(place)
    if wrong is not None:
        quoted = re.search(r"^[\"']|[\"']$", name)
        yield Hit(
            executable.line,
            f"executable = {name[:200]}: {wrong}",
            "write it without quotes" if quoted else None,
        )


def _is_no_executable(place: Path) -> str | None:
    try:
        if place.stat().st_size == 0:
            return "the file is empty"
        if place.is_file():
            with place.open("rb") as stream:
                first = stream.readline(1000)
            if first.startswith(b"#!") and first.endswith(b"\r\n"):
                return "its lines end as on Windows (CR LF), so that no program of the name in its first line is found"
    except (FileNotFoundError, NotADirectoryError):
        return "there is no such file"
    except (OSError, ValueError):
        return "there is no such file" if not exists(place) else None
    return None


@SUBMIT.rule(
    "no-such-input",
    hint="correct the name, or make the file before you submit",
    why="HTCondor holds a job if a file that it sends along is not there.",
    source=_TRANSFER,
)
def no_such_input(submit: SubmitFile) -> Iterator[Hit]:
    base = _folder(submit)
    if base is None:
        return
    missing = [
        (command, entry)
        for command, entry in _inputs(submit)
        if not command.branch
        and command.key != "public_input_files"
        and not re.search(r"[$*?{<]|://|^[/~]", entry)
        and not exists(base / entry)
        and _no_name(submit, entry) is None
    ]
    if missing and not submit.has_placeholders and "transfer_input_files" not in _queue_variables(submit):
        command, entry = missing[0]
        others = f" (nor are {len(missing) - 1} others)" if len(missing) > 1 else ""
        yield Hit(
            _line_of(submit, command, entry), f"{entry[:200]}, which is to be sent, is not there{others}"
        )


@SUBMIT.rule(
    "no-file-name",
    hint="name each file, with commas between them; a folder is sent with all that is in it",
    why="HTCondor sends the files whose names stand between the commas, and knows no patterns: the job is held, as there is no file of "
    "that name.",
    source=_TRANSFER + "; tried with HTCondor 25.14",
)
def no_file_name(submit: SubmitFile) -> Iterator[Hit]:
    for command, entry in _inputs(submit):
        what = _no_name(submit, entry)
        if what is not None:
            yield Hit(_line_of(submit, command, entry), f"{entry[:200]}: {what}")


def _no_name(submit: SubmitFile, entry: str) -> str | None:
    """Why an entry of a list of files is hardly the name of one, if so."""
    if "://" in entry or exists(submit.base / entry):
        return None
    words = entry.split()
    if len(words) > 1 and all(re.search(r"[./]|^\$\([\w.]+\)$", word) and word[0] != "#" for word in words):
        return f"HTCondor takes this for one name, with {'a blank' if len(words) == 2 else 'blanks'} in it"
    pattern = re.search(r"[*?]", re.sub(r"\$\$?\w*\([^()]*\)", "", entry))
    return f"HTCondor does not replace the {pattern[0]}" if pattern else None


@SUBMIT.rule(
    "no-such-output-folder",
    hint="make the folder before you submit",
    why="HTCondor makes no folders for output and error: the job is held. The folder of the log it makes itself, since 24.12.",
    source=_TRANSFER + "; tried with HTCondor 25.14",
)
def no_such_output_folder(submit: SubmitFile) -> Iterator[Hit]:
    base = _folder(submit)
    if base is None or submit.has_placeholders:
        return
    told: set[str] = set()
    for command in submit.of("output", "error"):
        path = submit.expanded(command.value)
        folder = path.rpartition("/")[0]
        plain = folder and not re.search(r"^[/~]|://|[$<{]", folder) and " #" not in path
        if plain and not command.branch and folder not in told:
            told.add(folder)
            if not exists(base / folder):
                yield Hit(command.line, f"the folder {folder[:200]}, for {command.written}, is not there")


def _queue_variables(submit: SubmitFile) -> set[str]:
    return {name for queue in submit.queues for name in queue.variables}


def _folder(submit: SubmitFile) -> Path | None:
    """The folder that relative names mean; None: that is not known, or the names may not be final."""
    if (
        submit.includes
        or submit.is_template
        or {"initialdir", "iwd", "initial_dir"} & _queue_variables(submit)
    ):
        return None
    said = submit.last("initialdir")
    value = submit.expanded(said.value) if said is not None else ""
    if "$" in value or (value.startswith("/") and not exists(Path(value))):
        return None
    return submit.base / value


@SUBMIT.rule(
    "retired-scheme",
    hint="write osdf://…",
    why="stash:// was the OSDF's name until 2023; its plugin is no longer on all machines.",
    source="https://portal.osg-htc.org/documentation/htc_workloads/managing_data/osdf/",
)
def retired_scheme(submit: SubmitFile) -> Iterator[Hit]:
    for command, entry in [
        *_inputs(submit),
        *(
            (each, each.value)
            for each in submit.of("container_image", "output_destination", "transfer_output_remaps")
        ),
    ]:
        if "stash://" in entry:
            yield Hit(_line_of(submit, command, entry), "stash:// is an old name", None)


@SUBMIT.rule(
    "cached-name",
    hint="put a hash of the content into the name: wingspan env publish does",
    why="Caches of the OSDF treat an object as unchangeable: a new content under an old name is served "
    "stale, or mixed.",
    source="https://portal.osg-htc.org/documentation/htc_workloads/managing_data/osdf/",
)
def cached_name(submit: SubmitFile) -> Iterator[Hit]:
    for command, entry in _inputs(submit):
        parts = urlsplit(entry)
        if (
            parts.scheme in _CACHED
            and _ARCHIVE.search(parts.path)
            and not HASHED.search(PurePosixPath(parts.path).name)
        ):
            yield Hit(
                _line_of(submit, command, entry),
                f"{PurePosixPath(parts.path).name} comes through caches, and its name does not say its "
                f"content",
            )


@SUBMIT.rule(
    "staging-requirement",
    hint="add to requirements: (TARGET.HasCHTCStaging == true)",
    why="Not every machine has /staging; without the requirement the job is held where it is not.",
    source=_STAGING,
)
def staging_requirement(submit: SubmitFile) -> Iterator[Hit]:
    wanted = submit.last("requirements")
    if submit.includes or (wanted is not None and "hasch" in wanted.value.lower()):
        return
    for command, entry in _inputs(submit):
        if entry.startswith(("/staging/", "file:///staging/")):
            yield Hit(
                _line_of(submit, command, entry),
                f"{entry} is read from /staging, which not every machine has",
            )


@SUBMIT.rule(
    "staging-letter",
    hint="write /staging/<first letter>/<user>/…",
    why="CHTC sorts the folders by the first letter of the user's name; the old path is gone.",
    source=_STAGING,
)
def staging_letter(submit: SubmitFile) -> Iterator[Hit]:
    for command, entry in [*_inputs(submit), *((each, each.value) for each in submit.of("container_image"))]:
        match = re.match(r"(?:file://|osdf:///chtc)?/staging/([\w-]{2,60})/", entry)
        if match and match[1] != "groups" and not match[1].isupper():
            yield Hit(
                _line_of(submit, command, entry),
                f"/staging/{match[1]} lacks the first letter of the user's name",
                f"write /staging/{match[1][0]}/{match[1]}",
            )


@SUBMIT.rule(
    "retired-proxy",
    hint="put the file into /staging and name it by osdf:///chtc/staging/…",
    why="CHTC has archived its guide to the SQUID web proxy; large files go through the OSDF now.",
    source="https://github.com/CHTC/chtc-website-source (archived/file-avail-squid.md)",
)
def retired_proxy(submit: SubmitFile) -> Iterator[Hit]:
    for command, entry in _inputs(submit):
        if "proxy.chtc.wisc.edu" in entry.lower():
            yield Hit(
                _line_of(submit, command, entry),
                "proxy.chtc.wisc.edu/SQUID is no longer CHTC's way for large files",
            )
