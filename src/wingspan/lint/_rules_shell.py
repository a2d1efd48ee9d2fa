"""Rules for shell scripts that jobs execute."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wingspan.lint._rule import Hit, RuleTable
from wingspan.lint._script import Script

__all__ = ["SHELL"]

SHELL: RuleTable[Script] = RuleTable()

_BASH = "https://www.gnu.org/software/bash/manual/bash.html"
_PIXI = "https://pixi.prefix.dev/latest/reference/cli/pixi/install/"
_VERSION = re.compile(
    r"(?<![\w.])v?\d+\.\d+(\.\d+)?(?![\w.]*\.(com|org|dev|io|sh)\b)|(?<![0-9a-f])[0-9a-f]{12,64}(?![0-9a-f])|\b[A-Z]+_VERSION="
)
#: A version that is kept elsewhere: exported to the installer, or in a variable of the address.
_EXPORTED = re.compile(r"\bexport\s[^\n]*?VERSION=")
_IN_ADDRESS = re.compile(r"https?://[^\s|;$]*\$\{?[A-Za-z_]")
_SHELL = re.compile(r"(?:[^\s]*/)?(?:ba|z|da|k)?sh")
_PYTHON = re.compile(r"(?:[^\s]*/)?python[\d.]*")
_FETCHES = re.compile(r"\b(?:curl|wget)\b")
#: What a shell reads that is the output of another command.
_SUBSTITUTION = re.compile(r"(?:<\(|\$\(|`)\s*(?:curl|wget)\b[^;&]*")
_READS = re.compile(
    r"(?:^|[\s;&|(])(?:[\w./~-]*/)?((?:ba|z|da|k)?sh|eval|source|\.)(?:\s+-\w+)*(?:\s+/dev/stdin)?\s*(?:<{1,3})?\s*[\"']?$"
)
#: Parts of a line: texts in quotes, what separates commands, and the rest.
_PART = re.compile(
    r"""[^"'|;&\\]+|\\.|"(?:[^"\\]|\\.)*"|'[^']*'|\|\||&&|\|&|2?>&\d?|&>|&(?=\w)|[|;&"'\\]""", re.DOTALL
)


def _commands(text: str) -> list[tuple[str, str]]:
    """The commands of a line, each with what stands before it: ``|``, ``&&`` and the like, empty at the
    beginning.

    >>> _commands("curl https://example.org/a?b=1&c=2 | sh && echo 'a | b'")
    [('', 'curl https://example.org/a?b=1&c=2 '), ('|', ' sh '), ('&&', " echo 'a | b'")]
    """
    commands: list[tuple[str, list[str]]] = [("", [])]
    for match in _PART.finditer(text):
        if match[0] in {"|", "||", "&&", "|&", ";", "&"} and not (
            match[0] == "&" and _in_word(text, match.end())
        ):
            commands.append((match[0].removesuffix("&") if match[0] == "|&" else match[0], []))
        else:
            commands[-1][1].append(match[0])
    return [(separator, "".join(parts)) for separator, parts in commands]


def _in_word(text: str, at: int) -> bool:
    return text[at : at + 1].isalnum()


def _reads_program(command: str) -> bool:
    """Whether a command executes what it reads: a shell, or Python without a file."""
    words = command.split()
    while words and (
        words[0].rpartition("/")[2] in {"sudo", "env"} or words[0].startswith("-") or "=" in words[0]
    ):
        words.pop(0)
    if not words:
        return False
    if _PYTHON.fullmatch(words[0]):
        return len(words) == 1 or words[1] == "-"
    return _SHELL.fullmatch(words[0]) is not None


def _executed_download(text: str) -> str | None:
    """The part of a line that executes what it downloads."""
    fetched: str | None = None
    for separator, command in _commands(text):
        if separator != "|":
            fetched = None
        elif fetched is not None:
            fetched += f"|{command}"
            if _reads_program(command):
                return fetched
        if fetched is None and _FETCHES.search(command):
            fetched = command
    for match in _SUBSTITUTION.finditer(text):
        if _READS.search(text[max(match.start() - 200, 0) : match.start()]):
            return match[0]
    return None


#: Options of pip that take the next word, where it is no package.
_PIP_VALUES = re.compile(
    r"-[tricfC]|--(target|requirement|constraint|index-url|extra-index-url|find-links|prefix|root|src|platform|python-version"
    r"|implementation|abi|progress-bar|log|cache-dir|timeout|retries|trusted-host|proxy|no-binary|only-binary"
    r"|upgrade-strategy|config-settings?|report|python|exists-action|group|cert|client-cert)"
)
#: Lines whose failure is no loss, or that are no commands of their own.
_HARMLESS = re.compile(
    r"\s*(?:(?:/(?:usr/)?bin/)?(?:echo|printf|date|hostname|whoami|id|pwd|ls|uname|env|printenv|sleep|module|ml|nvidia-smi|lscpu|free|df|set|shopt"
    r"|ulimit|umask|unset|true|trap|if|then|else|elif|fi|for|while|until|do|done|case|esac|function|return|exit|exec|shift|local)\b"
    r"|(?:export|readonly|declare)\s|\w+(?:\[[^]]*\])?\+?=\S*\s*$|\w+(?:\[[^]]*\])?\+?=[\"'(]|\w+\s*\(\)|[{}():;]|\[)"
)


#: In a job of Slurm, what prepares the command that it is for: that fails too if these fail.
_PREPARES = re.compile(
    r"\s*(?:cd|mkdir|source|\.|conda|mamba|micromamba|spack|cp|mv|rm|ln|cat|which|chmod|deactivate|wait|bc|time)\s|\s*wait\b|\s*\S+\s+(?:--version|-V)\s*$"
)


#: What succeeds whatever happened before.
_SUCCEEDS = re.compile(
    r"\s*(?:echo|printf|date|hostname|ls|sleep|true|rm|sacct|seff|exit 0|deactivate|conda deactivate)\b"
)


@SHELL.rule(
    "unpinned-installer",
    hint="name a version and check it, or send the program along; wingspan bundles need no installer on the "
    "worker",
    why="Whatever the address serves today is executed: jobs of one batch may run different versions, a "
    "change there breaks "
    "them all, and every job downloads it again.",
    source="found in published templates (curl … install.sh | bash)",
)
def unpinned_installer(script: Script) -> Iterator[Hit]:
    if _EXPORTED.search(script.text):
        return
    for each in script.code:
        executed = _executed_download(each.text) if _FETCHES.search(each.text) else None
        if executed and not _VERSION.search(executed) and not _IN_ADDRESS.search(executed):
            hint = None
            if "pixi.sh" in each.text:
                hint = "pin it: curl -fsSL https://pixi.sh/install.sh | PIXI_VERSION=v0.77.0 bash"
            yield Hit(
                each.line, "an installer from the network is executed, of whatever version it has today", hint
            )


@SHELL.rule(
    "moving-download",
    hint="name a version, a tag or a commit in the address",
    why="What is behind main, master or latest changes between two runs of the same job.",
    source="found in published templates (Miniconda3-latest, raw.githubusercontent.com/…/main/…)",
)
def moving_download(script: Script) -> Iterator[Hit]:
    for each, _ in script.found(_DOWNLOADS):
        for address in re.findall(r"https?://[^\s|;]+", each.text):
            if _MOVING.search(address[:_LONGEST]) or _is_raw_branch(address):
                yield Hit(each.line, f"{address.strip(chr(34))} may be another file tomorrow")
                break


_LONGEST = 500
_DOWNLOADS = re.compile(r"\b(curl|wget|git clone)\b")
_MOVING = re.compile(
    r"[-_/]latest(?!\w)|[-_]latest_|/(?:blob|raw|archive|archive/refs/heads)/(?:main|master)\b"
)


def _is_raw_branch(address: str) -> bool:
    behind = address.partition("raw.githubusercontent.com/")[2].removeprefix("refs/heads/").split("/")
    return any(part in {"main", "master", "HEAD"} for part in behind[1:-1])


@SHELL.rule(
    "unfrozen-install",
    hint="add --frozen (take the lock as it is) or --locked (fail if it is out of date)",
    why="Without it pixi may solve again on the worker and install something else than was tested.",
    source=_PIXI,
)
def unfrozen_install(script: Script) -> Iterator[Hit]:
    if re.search(r"\bPIXI_(FROZEN|LOCKED)=(true|1)\b", script.text):
        return
    for each, match in script.found(_PIXI_COMMAND):
        if not re.search(r"--(frozen|locked|as-is|no-install)\b", match["rest"]):
            yield Hit(each.line, f"pixi {match[1]} without --frozen or --locked")


_PIXI_COMMAND = re.compile(r"(?<![\w.-])pixi\s+(run|install|shell|shell-hook)\b(?P<rest>[^;&|]*)")


@SHELL.rule(
    "unlocked-environment",
    hint="install from a lock file, or send a bundle: wingspan env bundle",
    why="Each job solves for itself, minutes long, and gets whatever versions there are that day.",
    source="found in published templates (conda env create on the worker)",
)
def unlocked_environment(script: Script) -> Iterator[Hit]:
    for each in script.code:
        if re.search(r"\b(conda|mamba|micromamba)\s+(env\s+(create|update)|create|install)\b", each.text):
            if not any(re.search(r"explicit|lock|spec", file) for file in _FILE.findall(each.text)):
                yield Hit(each.line, "an environment is solved on the worker, without a lock")
        elif any(
            not re.search(r"==|[@/$]|^\.|\.(whl|txt|zip|tar\.gz)$", word) for word in _pip_packages(each.text)
        ):
            yield Hit(each.line, "packages are installed on the worker without a version")


_FILE = re.compile(r"(?<!\S)(?:--file|-f)[ =]+(\S+)")


def _pip_packages(text: str) -> Iterator[str]:
    """What ``pip install`` is told to fetch, without options, their values, and where its output goes."""
    match = re.search(r"\bpip3?\s+install\b(?P<rest>[^;&|]*)", text)
    if match is None or re.search(r"--(require-hashes|no-index)\b", match["rest"]):
        return
    before = ""
    for word in re.findall(r"(?:[^\s'\"]|'[^']*'|\"[^\"]*\")+", match["rest"]):
        redirects = re.match(r"\d?[<>]", before) and before[-1] in "<>"
        if not redirects and not _PIP_VALUES.fullmatch(before) and not re.match(r"-|\d?[<>]", word):
            yield word.strip("'\"")
        before = word


@SHELL.rule(
    "blank-after-backslash",
    hint="remove the blank",
    why="A backslash continues a line only if nothing follows it: what is in the next lines is not passed "
    "on.",
    source=f"{_BASH}#Escape-Character; found in a published template",
)
def blank_after_backslash(script: Script) -> Iterator[Hit]:
    for number, line in enumerate(script.lines, 1):
        if re.search(r"\\[ \t]+$", line) and not line.lstrip().startswith("#"):
            yield Hit(number, "a blank after the backslash: the line is not continued")


@SHELL.rule(
    "lost-option",
    hint="put a backslash at the end of the line before",
    why="The shell takes a line that begins with an option for a command of that name, which does not exist; the "
    "program above runs without the option.",
    source="found in a published template",
)
def lost_option(script: Script) -> Iterator[Hit]:
    for each, match in script.found(_OPTION):
        if not re.match(r"[^()]*\)", each.text):  # the label of a case ends so
            yield Hit(
                each.line, f"{match[1]} is read as a command: the line before does not end in a backslash"
            )


_OPTION = re.compile(r"^\s*(--?[A-Za-z][\w-]*)(\s|=|$)")


@SHELL.rule(
    "goes-on-after-failure",
    hint="begin with: set -e",
    why="A script's exit status is that of its last command: after an earlier failure it still looks like success, and "
    "outputs are missing.",
    source=f"{_BASH}#The-Set-Builtin",
)
def goes_on_after_failure(script: Script) -> Iterator[Hit]:
    if not script.code or len(script.code) < 3 or _is_read_by_others(script):
        return
    shebang = script.lines[0] if script.lines and script.lines[0].startswith("#!") else ""
    stops = any(_stops_at_failure(each.text) for each in script.code) or re.search(r"\s-\w*e", shebang)
    matters = [each for each in script.code[:-1] if not _HARMLESS.match(each.text)]
    if script.sbatch:
        # sbatch's jobs have no outputs that somebody waits for: it is said only where the end is sure to hide
        # a failure
        matters = [each for each in matters if not _PREPARES.match(each.text)]
        if not matters or not _SUCCEEDS.match(script.code[-1].text):
            return
    if not stops and not all("&&" in each.text or "||" in each.text for each in matters):
        yield Hit(script.code[0].line, "the script goes on after a command that failed")


def _stops_at_failure(text: str) -> bool:
    """Whether a line sees to it that a failure ends the script, or is looked at: set -e, trap … ERR,
    status=$?
    """
    if re.search(r"=[\"']?\$\?", text):
        return True
    words = text.split()
    if "trap" in words and "ERR" in words:
        return True
    if "set" not in words:
        return False
    behind = words[words.index("set") + 1 :]
    return any(re.fullmatch(r"-[A-Za-z]*e[A-Za-z]*;?|errexit;?", word) for word in behind)


@SHELL.rule(
    "not-waited-for",
    hint="end with: wait",
    why="A job ends when its script ends: what still runs in the background is killed.",
    source=f"{_BASH}#Lists",
)
def not_waited_for(script: Script) -> Iterator[Hit]:
    if re.search(r"\b(wait|nohup|disown|setsid)\b", script.text) or _is_read_by_others(script):
        return
    for each in reversed(script.code):
        end = each.text.rstrip().removesuffix("done").removesuffix("fi").rstrip()
        if len(end) > 1 and end.endswith("&") and end[-2] not in "&>|\\":
            yield Hit(each.line, "the script ends without waiting for this command")
            return
        if not re.match(r"\s*(done|fi|[})]|esac|echo|date)(\s|;|$)", each.text):
            return


@SHELL.rule(
    "gpu-chosen-by-hand",
    hint="leave CUDA_VISIBLE_DEVICES as HTCondor or Slurm has set it",
    why="CUDA_VISIBLE_DEVICES says which GPU the job was given: with another value two jobs share one GPU.",
    source="https://chtc.cs.wisc.edu/uw-research-computing/gpu-jobs (section B.3)",
)
def gpu_chosen_by_hand(script: Script) -> Iterator[Hit]:
    for each, _ in script.found(_DEVICES):
        yield Hit(each.line, "CUDA_VISIBLE_DEVICES is set by hand")


_DEVICES = re.compile(r"(?:^|[\s;])CUDA_VISIBLE_DEVICES=[\"']?\d")


@SHELL.rule(
    "home-in-job",
    hint="set it first: export HOME=$PWD",
    why="A job of HTCondor does not run in your home folder: HOME may not be set, and ~ may be another "
    "folder.",
    source="https://htcondor.readthedocs.io/en/latest/users-manual/env-of-job.html",
)
def home_in_job(script: Script) -> Iterator[Hit]:
    if script.sbatch:
        return  # on a cluster with a shared file system the home folder is there
    for each in script.code:
        if re.search(r"(?:^|[\s;])HOME=", each.text):
            return
        match = _HOME.search(each.text)
        if match:
            yield Hit(each.line, f"{match[0].strip()} needs a home folder")
            return


#: A file in the home folder that is read, written or gone to; not one that a test looks for.
_HOME = re.compile(
    r"(?:^|[\s;&|])(?:(?:\.|source)\s+[\"']?(?:~|\$HOME|\$\{HOME\})/[^\s\"';&|]+"
    r"|(?:cd|pushd|cp|mv|ls|cat|mkdir|tar|rsync|bash|sh|python3?)\s(?:[^\n;&|]{0,200}?\s)?[\"']?(?:~|\$HOME|\$\{HOME\})(?:/[^\s\"';&|]*)?(?=[\s\"';&|]|$))"
)


def _is_read_by_others(script: Script) -> bool:
    """Whether the file only sets things: another script reads it, and nothing starts it."""
    sets = r"\s*(?:(?:export|alias|module|ml|source|unset|umask|if|then|else|fi|ulimit|conda activate)\b|\.\s|\w+=|[{}[]|\w+\s*\(\))"
    return not script.lines[0].startswith("#!") and all(re.match(sets, each.text) for each in script.code)


@SHELL.rule(
    "no-shebang",
    hint="begin with: #!/bin/bash",
    why="HTCondor starts the file itself, without a shell: if this line is missing, that fails with: Exec "
    "format error.",
    source="https://htcondor.readthedocs.io/en/latest/users-manual/submitting-a-job.html",
)
def no_shebang(script: Script) -> Iterator[Hit]:
    if script.code and not script.lines[0].startswith("#!") and not _is_read_by_others(script):
        yield Hit(1, "the first line does not say which program reads the script")


@SHELL.rule(
    "windows-line-ends",
    hint="convert it: sed -i 's/\\r$//' FILE",
    why="The carriage return becomes part of the program's name and of every last word: no such file or "
    "directory.",
    source=f"{_BASH}",
)
def windows_line_ends(script: Script) -> Iterator[Hit]:
    if script.carriage_returns:
        yield Hit(1, "the lines end as on Windows (CR LF)")
