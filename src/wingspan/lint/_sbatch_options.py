"""The options of ``#SBATCH`` lines, read as sbatch reads them.

Names and which of them take a value are those of Slurm's own table (version 25.11:
``src/common/slurm_opt.c``), with some that older versions have; the forms of values were tried with
``sbatch --test-only`` of Slurm 22.05.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator

import attrs

__all__ = ["NAMES", "Sbatch", "parse_options", "value_fault"]

_NONE = """
    consolidate-segments contiguous help/h hold/H ignore-pbs no-requeue overcommit/O oversubscribe/s
    parsable quiet/Q reboot requeue share spread-job spread-segments stepmgr test-only usage/u use-min-nodes
    verbose/v version/V wait/W
"""
_REQUIRED = """
    account/A acctg-freq array/a batch bb bbf begin/b chdir/D cluster cluster-constraint clusters/M comment
    constraint/C container container-id core-spec/S cores-per-socket cpu-freq cpus-per-gpu cpus-per-task/c
    deadline delay-boot dependency/d distribution/m error/e exclude/x export export-file extra
    extra-node-info/B gid gpu-bind gpu-freq gpus/G gpus-per-node gpus-per-socket gpus-per-task gres
    gres-flags hint input/i job-name/J kill-on-invalid-dep licenses/L mail-type mail-user mcs-label mem
    mem-bind mem-per-cpu mem-per-gpu mem-update mincpus network nodefile/F nodelist/w nodes/N ntasks/n
    ntasks-per-core ntasks-per-gpu ntasks-per-node ntasks-per-socket ntasks-per-tres open-mode output/o
    partition/p prefer priority profile qos/q reservation resources segment signal sockets-per-node switches
    tasks-per-node thread-spec threads-per-core time/t time-min tmp tres-bind tres-per-task uid
    wait-all-nodes wckey wrap
"""
_OPTIONAL = """
    exclusive get-user-env immediate/I nice no-kill/k oom-kill-step propagate
"""


def _table(text: str) -> Iterator[tuple[str, str]]:
    for word in text.split():
        name, _, letter = word.partition("/")
        yield name, letter


#: What plugins add on clusters that have them (Pyxis, Shifter, the container engine of CSCS, …). sbatch alone
#: does not know them, and nothing in the file says which plugins the cluster has.
_PLUGINS_NONE = """
    container-mount-home container-no-mount-home container-remap-root container-no-remap-root
    container-entrypoint container-no-entrypoint container-writable container-readonly container-entrypoint-log
"""
_PLUGINS_REQUIRED = """
    container-image container-mounts container-workdir container-name container-save container-env environment
    image volume module quotatype
"""


#: Options by name, and whether they take a value: 0 none, 1 always, 2 after = only.
_OPTIONS = {
    name: takes
    for takes, text in enumerate((_NONE + _PLUGINS_NONE, _REQUIRED + _PLUGINS_REQUIRED, _OPTIONAL))
    for name, _ in _table(text)
}
#: All names of sbatch's own options.
NAMES = tuple(name for text in (_NONE, _REQUIRED, _OPTIONAL) for name, _ in _table(text))
_LETTERS = {letter: name for text in (_NONE, _REQUIRED, _OPTIONAL) for name, letter in _table(text) if letter}
_LETTERS["s"] = "oversubscribe"


@attrs.frozen(kw_only=True)
class Sbatch:
    """An option in a ``#SBATCH`` line.

    Attributes:
        line: Number of the line.
        name: Its long name; the word itself of what is no option.
        value: Its value; empty where it has none.
        effective: False where sbatch has stopped reading.
        fault: Why sbatch refuses it, if it does whatever the value.
    """

    line: int
    name: str
    value: str
    effective: bool
    fault: str | None = None


def parse_options(line: int, rest: str, *, effective: bool) -> Iterator[Sbatch]:
    """The options that stand behind ``#SBATCH`` in a line.

    >>> [(one.name, one.value, one.fault) for one in parse_options(1, " -t 10 --mem=4 GB # much", effective=True)]
    [('time', '10', None), ('mem', '4', None), ('GB', '', 'it is no option')]
    """  # noqa: W505

    def made(name: str, value: str = "", fault: str | None = None) -> Sbatch:
        return Sbatch(line=line, name=name, value=value, effective=effective, fault=fault)

    words, unclosed = _words(rest)
    if unclosed:
        yield made(rest.strip()[:60], fault="a quote is not closed")
        return
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        following = words[at] if at < len(words) else None
        if word == "--":
            continue
        if word.startswith("--"):
            written, equals, value = word[2:].partition("=")
            name, fault = _long(written)
            takes = _OPTIONS.get(name, 2)
            if fault is None and takes == 0 and equals:
                fault = "it takes no value"
            elif takes == 1 and not equals:
                if following is None:
                    fault = fault or "its value is missing"
                else:
                    value, at = following, at + 1
            yield made(name, value, fault)
        elif word.startswith("-") and len(word) > 1:
            used = yield from _short(word, following, made)
            at += used
        else:
            yield made(word, fault="it is no option")


def _short(word: str, following: str | None, made: Callable[..., Sbatch]) -> Generator[Sbatch, None, int]:
    """Options of one letter each, of which the last may take the rest of the word, or the next one, as its
    value; how many further
    words that takes.
    """
    for place, letter in enumerate(word[1:], 1):
        name = _LETTERS.get(letter)
        if name is None:
            yield made(f"-{letter}", fault="there is no such option")
            return 0
        if _OPTIONS[name] == 1:
            rest = word[place + 1 :]
            if rest or following is not None:
                yield made(name, rest or following or "")
            else:
                yield made(name, fault="its value is missing")
            return 0 if rest else 1
        if _OPTIONS[name] == 2:
            yield made(name, word[place + 1 :])
            return 0
        yield made(name)
    return 0


def _long(written: str) -> tuple[str, str | None]:
    """The option of a name, which may be cut short."""
    if written in _OPTIONS:
        return written, None
    begun = [name for name in NAMES if name.startswith(written)] if written else []
    if len(begun) == 1:
        return begun[0], None
    if begun:
        return written, f"it may mean {' or '.join(f'--{name}' for name in begun[:3])}"
    return written, "there is no such option"


_WORD_PART = re.compile(
    r"""[^\s'"\\#<]+|<(?:[A-Za-z][\w .-]{0,60}>)?|\\.?|'[^']*'|"(?:[^"\\]|\\.)*"|(?P<space>\s+)|(?P<comment>\#)|(?P<open>['"])"""
)


def _words(rest: str) -> tuple[list[str], bool]:
    """The words of a line up to a comment, without their quotes; and whether a quote is not closed.

    A place to fill in, such as <your project>, is one word: this is how such a line is meant.
    """
    words: list[str] = []
    parts: list[str] | None = None
    for match in _WORD_PART.finditer(rest):
        if match["open"]:
            return words, True
        if match["comment"]:
            break
        if match["space"]:
            if parts is not None:
                words.append("".join(parts))
            parts = None
            continue
        text = match[0]
        if parts is None:
            parts = []
        parts.append(text[1:-1] if text[0] in "'\"" else text.removeprefix("\\"))
    if parts is not None:
        words.append("".join(parts))
    return words, False


_TIME = (
    r"\d+(?::\d+){0,2}|\d+-\d+(?::\d+){0,2}|-\d+|infinite|unlimited",
    "write 2:00:00, 1-12:00:00, or minutes",
)
_SIZE = (r"\d+(?:[KMGTP]B?)?", "write 4G or 4000M")
_NUMBER = (r"\d+", "write a whole number")
_POSITIVE = (r"0*[1-9]\d*", "write a whole number above 0")
#: Forms of values (without case), and what to write instead.
_FORMS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("time", "time-min"), _TIME),
    **dict.fromkeys(("mem", "mem-per-cpu", "mem-per-gpu", "tmp"), _SIZE),
    **dict.fromkeys(("ntasks", "cpus-per-task"), _POSITIVE),
    **dict.fromkeys(
        (
            "ntasks-per-node",
            "ntasks-per-core",
            "ntasks-per-socket",
            "threads-per-core",
            "mincpus",
            "core-spec",
            "cpus-per-gpu",
        ),
        _NUMBER,
    ),
    "nodes": (r"[\d,:km-]*\d[\d,:km-]*", "write a number, or 1-4"),
    "array": (r"\[?\d+(?:-\d+(?::\d+)?)?(?:,\d+(?:-\d+(?::\d+)?)?)*\]?(?:%\d+)?", "write 0-9, or 1,3,5-7%2"),
    "open-mode": (r"a|append|t|truncate", "write append or truncate"),
    "exclusive": (r"|user|mcs|topo|none|exclusive", "write it without a value, or user"),
    "hint": (
        r"compute_bound|memory_bound|(?:no)?multithread|help",
        "write compute_bound, memory_bound, multithread or nomultithread",
    ),
    "kill-on-invalid-dep": (r"yes|no", "write yes or no"),
    "mail-type": (
        r"(?:,?(?:none|begin|end|fail|requeue|invalid_depend|all|stage_out|time_limit(?:_(?:50|80|90))?|array_tasks))+",
        "write END, FAIL, BEGIN, REQUEUE, TIME_LIMIT or ALL, with commas and no blanks between them",
    ),
    "gres": ("", "write gpu:1, or gpu:a100:1: the kind stands before the number"),
}
_COMPILED = {name: (re.compile(form, re.IGNORECASE), hint) for name, (form, hint) in _FORMS.items()}


def value_fault(option: Sbatch) -> str | None:
    """What to write instead of a value that sbatch refuses, if it does.

    >>> option = next(parse_options(1, "--time=2h", effective=True))
    >>> value_fault(option)
    'write 2:00:00, 1-12:00:00, or minutes'
    """
    form = _COMPILED.get(option.name)
    if form is None or len(option.value) > 1000 or re.search(r"[$<{]", option.value):
        return None
    pattern, hint = form
    if option.name == "gres":
        return None if all(_is_gres(one) for one in option.value.split(",")) else hint
    if not pattern.fullmatch(option.value):
        return hint
    if option.name == "array" and any(int(a) > int(b) for a, b in re.findall(r"(\d+)-(\d+)", option.value)):
        return "write the smaller number first"
    return None


_GRES = re.compile(
    r"(?:none|help|(?:gres/)?[a-z][\w./-]*(?::(?!\d+[kmg]?(?:\(|$))[\w.-]+)?(?::\d+[kmg]?)?(?:\([^)]*\))?)",
    re.IGNORECASE,
)


def _is_gres(text: str) -> bool:
    return _GRES.fullmatch(text) is not None or "(" in text or ")" in text
