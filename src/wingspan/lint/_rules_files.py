"""Rules about what a submit description sends: files, scripts, images."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from wingspan.lint._rule import Hit
from wingspan.lint._rules_submit import SUBMIT
from wingspan.lint._script import parse_script
from wingspan.lint._submit_file import Command, SubmitFile, split_list

__all__: list[str] = []

_TRANSFER = "https://htcondor.readthedocs.io/en/latest/users-manual/file-transfer.html"
_CONTAINER = "https://htcondor.readthedocs.io/en/latest/users-manual/container-universe-jobs.html"
_STAGING = "https://chtc.cs.wisc.edu/uw-research-computing/file-avail-largedata"
_CACHED = ("osdf", "stash", "pelican")
_ARCHIVE = re.compile(r"\.(sif|sh|squashfs|sqsh|tar|tgz|zip|tar\.\w+)$")
#: Something in a name that changes with the content: a hash, a digest, or a date.
_HASHED = re.compile(
    r"(?<![0-9a-z])(?=[0-9a-f]*\d)[0-9a-f]{7,64}(?![0-9a-z])|\d{4}-?\d{2}-?\d{2}", re.IGNORECASE
)


def _inputs(submit: SubmitFile) -> Iterator[tuple[Command, str]]:
    for command in submit.of(
        "transfer_input_files", "transfer_input", "transfer_common_input", "public_input_files"
    ):
        for entry in split_list(command.value):
            # a doubled name is another rule's; what stands behind it is meant
            yield command, re.sub(rf"^{command.key}\s*=\s*", "", entry, flags=re.IGNORECASE)


def _exists(path: Path) -> bool:
    """Whether there is such a file; a value of a job file may be no name for one at all."""
    return os.path.exists(path)  # noqa: PTH110  Path.exists() does not take long names


def _line_of(submit: SubmitFile, command: Command, entry: str) -> int:
    """The line of `entry` within a command that may be continued over several."""
    for number in range(command.line, len(submit.lines) + 1):
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
    arguments = submit.last("arguments")
    places: list[tuple[int | None, str, str]] = []
    if arguments is not None:
        places.append((arguments.line, arguments.value, "the arguments use it"))
    if submit.script is not None:
        script = parse_script(submit.script, submit.script.read_text(encoding="utf-8", errors="replace"))
        places += [
            (None, each.text, f"{submit.script.name}, line {each.line}, uses it") for each in script.code
        ]
        made = set(re.findall(r"(?:mkdir(?:\s+-\w+)*|git clone\s+\S+)\s+(?:\./)?([\w.-]+)", script.text))
    else:
        made = set()
    for command, entry in entries:
        name = PurePosixPath(entry).name
        if "://" not in entry and entry.endswith("/") and name and "$" not in entry:
            yield from _without_its_folder(submit, command, entry, places, folders | made)
            continue
        if ("://" not in entry and (entry.endswith("/") or "*" in name)) or not name or "$" in name:
            continue
        used = re.compile(rf"(?<![\w./$}}-])(?:\./)?((?:[\w.-]+/)+){re.escape(name)}(?![\w.-])")
        for at, text, words in places:
            match = used.search(text)
            if match is None:
                continue
            top = match[1].split("/")[0]
            if top in folders or top in made or top in {".", ".."}:
                continue
            yield Hit(
                at or _line_of(submit, command, entry),
                f"{name} is put into the job's folder itself, but {words} as {match[1]}{name}",
                f"use {name}, or send the folder: transfer_input_files = …/{match[1].rstrip('/')}",
            )
            break


def _without_its_folder(
    submit: SubmitFile,
    command: Command,
    entry: str,
    places: list[tuple[int | None, str, str]],
    there: set[str],
) -> Iterator[Hit]:
    """``src/`` sends what is in the folder, and a script uses one of these files as ``src/…``."""
    folder = submit.path.parent / entry
    name = PurePosixPath(entry).name
    if name in there or not _exists(folder / ".") or _exists(folder / name):
        return
    used = re.compile(rf"(?<![\w./$}}-])(?:\./)?({re.escape(name)}/([\w.-]+(?:/[\w.-]+)*))")
    for at, text, words in places:
        match = next((one for one in used.finditer(text) if _exists(folder / one[2])), None)
        if match is not None:
            yield Hit(
                at or _line_of(submit, command, entry),
                f"{entry} sends what is in the folder without the folder, but {words} as {match[1]}",
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
    if (
        submit.script is None
        or submit.includes
        or (no_transfer is not None and no_transfer.value.lower() == "no")
    ):
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
    why="condor_submit refuses an executable that is not there.",
    source="https://htcondor.readthedocs.io/en/latest/man-pages/condor_submit.html (executable)",
)
def no_such_script(submit: SubmitFile) -> Iterator[Hit]:
    executable = submit.last("executable")
    sent = submit.last("transfer_executable")
    if executable is None or executable.has_macros or not executable.value:
        return
    if sent is not None and sent.value.lower() in {"false", "no"}:
        return
    name = executable.value.strip('"')
    if name.startswith("/"):
        return  # of the machine that submits, which need not be this one
    base = submit.last("initialdir")
    candidates = [submit.path.parent / name]
    if base is not None:
        candidates.append(submit.path.parent / base.value / name)
    if not any(_exists(each) for each in candidates):
        yield Hit(executable.line, f"executable = {name}: there is no such file")


@SUBMIT.rule(
    "unpinned-image",
    hint="name the image by its digest (…@sha256:…), or a .sif file by a hash in its name",
    why="A tag can point to another image tomorrow, and jobs of one batch may run in two. A file that keeps "
    "its name is served "
    "from caches with its old content.",
    source=_CONTAINER
    + "; https://docs.docker.com/reference/cli/docker/image/pull/#pull-an-image-by-digest-immutable-identifier",
)
def unpinned_image(submit: SubmitFile) -> Iterator[Hit]:
    for command in submit.of("container_image", "docker_image"):
        image = command.value.strip('"')
        if not image or command.has_macros or "@sha256:" in image or image.endswith("/"):
            continue
        # the host of a registry is no part that could carry a hash
        name = urlsplit(image).path if "://" in image else image
        if not _HASHED.search(PurePosixPath(name).name):
            tag = "" if ":" in PurePosixPath(name).name or name.endswith(".sif") else " (latest is meant)"
            yield Hit(command.line, f"the image {image}{tag} has neither a digest nor a hash in its name")


@SUBMIT.rule(
    "container-command",
    hint="universe = container with container_image, or universe = docker with docker_image",
    why="The docker universe refuses container_image, and hands docker_image to docker as it is, which "
    "knows no docker://.",
    source=_CONTAINER,
)
def container_command(submit: SubmitFile) -> Iterator[Hit]:
    universe = submit.last("universe")
    said = universe.value.lower() if universe else ""
    for command in submit.of("docker_image"):
        if command.value.startswith("docker://") and said != "container":
            yield Hit(
                command.line,
                "docker_image takes the name without docker://",
                f"write container_image = {command.value} with universe = container",
            )
    for command in submit.of("container_image"):
        if said == "docker":
            yield Hit(
                command.line, "universe = docker does not allow container_image", "write universe = container"
            )


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
            and not _HASHED.search(PurePosixPath(parts.path).name)
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
        match = re.match(r"(?:file://|osdf:///chtc)?/staging/([\w-]{2,})/", entry)
        if match and match[1] != "groups":
            yield Hit(
                _line_of(submit, command, entry),
                f"/staging/{match[1]} lacks the letter",
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
