"""How long ``wingspan lint`` takes for files that somebody made to be slow, as JSON: the CPU seconds of this
process and of the
condor_submit that it asks, for 25, 50 and 100 kB, how much longer twice the size takes, and the peak of
memory that Python took.

python benchmarks/lint.py [--own-rules] [NAME…]
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from wingspan.lint import lint

_HEAD = "executable = /bin/true\nlog = x.log\n"


def _repeated(text: str) -> Callable[[int], str]:
    return lambda size: text * (size // len(text))


def _value(name: str, part: str, before: str = "", after: str = "") -> Callable[[int], str]:
    return lambda size: f"{_HEAD}{name} = {before}{part * (size // len(part))}{after}\nqueue 1\n"


def _numbered(line: str, *, first: str = "", last: str = "queue 1\n") -> Callable[[int], str]:
    """Lines with a number each."""

    def made(size: int) -> str:
        count = size // (len(line) + 4)
        return (
            _HEAD
            + first
            + "".join(line.replace("@", str(n)).replace("#", str(n + 1)) + "\n" for n in range(count))
            + last
        )

    return made


SUBMIT: dict[str, Callable[[int], str]] = {
    "one long word": _value("requirements", "a"),
    "numbers and points": _value("requirements", "1."),
    "comparisons": _value("requirements", 'a=="'),
    "brackets": _value("requirements", "("),
    "negations": _value("requirements", "!"),
    "a large value used often": lambda size: (
        f"{_HEAD}x = {'a' * (size // 2)}\n" + "output = $(x)\n" * (size // 28) + "queue 1\n"
    ),
    "variables that double": _numbered("a@ = $(a#)$(a#)"),
    "variables that double, by themselves": _repeated("x = $(x)$(x)\n"),
    "variables that double, in a condition": lambda size: (
        "if true\n" + _numbered("a@ = $(a#)$(a#)")(size) + "endif\n"
    ),
    "open variables": _value("arguments", "$("),
    "dollars": _value("output", "$a"),
    "unknown names": _numbered("requestmemry@ = 1"),
    "names that are nearly used": _numbered("arguments = $(sampel@)", first="sample = 1\n"),
    "empty lines": _repeated("\n"),
    "blank lines": _repeated(" \n"),
    "continued lines": _repeated("a \\\n"),
    "continued queue lines": _repeated("queue \\\n"),
    "queue statements": _repeated("queue 2\n"),
    "queue items": lambda size: f"{_HEAD}queue x in (\n" + "a\n" * (size // 2) + ")\n",
    "many jobs": lambda size: f"{_HEAD}x = {'a' * size}\nqueue 1000000\n",
    "conditions within conditions": lambda size: "if a\nx = 1\n" * (size // 12),
    "inputs": _value("transfer_input_files", "a,"),
    "inputs with folders": _value("transfer_input_files", "a/b/,"),
    "inputs on lines of their own": lambda size: (
        f"{_HEAD}transfer_input_files = " + "/staging/a, \\\n" * (size // 14) + "b\nqueue\n"
    ),
    "arguments with folders": lambda size: (
        f"{_HEAD}transfer_input_files = {'a/b,' * (size // 8)}\narguments = {'c/b ' * (size // 8)}\nqueue\n"
    ),
    "slashes": _value("arguments", "a/"),
    "quotes": _value("arguments", "'\""),
    "environment": _value("environment", "A=1;"),
    "image name": _value("container_image", "a", "docker://"),
    "hexadecimal image name": _value("container_image", "a" * 65 + "-", "docker://x:"),
    "hashes": _repeated("# wingspan: ignore=a\n"),
    "braces": _repeated("{{"),
    "attributes": _numbered("+A@ = b c"),
    "illegal lines": _repeated("what is this\n"),
    "slices": lambda size: f"{_HEAD}queue x from [{'$' * size}\n",
    "a whole disk": lambda size: f"{_HEAD}transfer_input_files = /, /usr, {'/,' * (size // 2)}\nqueue\n",
}

_SHEBANG = "#!/bin/bash\n"
SHELL: dict[str, Callable[[int], str]] = {
    name: (lambda size, part=part: _SHEBANG + part * (size // len(part)))
    for name, part in {
        "open braces": "${",
        "open braces in quotes": '"${',
        "here-documents without end": "cat <<A\n",
        "here-documents without end, all different": "cat <<A'b'<<",
        "quotes": "'\"",
        "backslashes": "\\",
        "continued": "a \\\n",
        "pipes": "curl|",
        "pipes to nothing": "curl x |a=/",
        "downloads": "curl https://raw.githubusercontent.com/",
        "substitutions": "bash $(curl ",
        "shells": "(;bash ",
        "echo": 'echo "',
        "echo of substitutions": 'echo "$(',
        "pip": "pip install 'a ",
        "pixi": "pixi run ",
        "conda": "conda install -f=",
        "set": "set x ",
        "trap": "trap x ",
        "ampersands": "a &  ",
        "blanks": "a &" + " " * 900 + "x\n",
        "mkdir": "mkdir -p ",
        "options": "--a",
        "arithmetic": "$((",
        "arrays": "a=(\n",
        "lines": "python a.py\n",
        "homes": "cd " * 600 + "\n",
        "downloads, a line each": "curl https://example.org/a | /b/c\n",
    }.items()
}  # fmt: skip
SBATCH: dict[str, Callable[[int], str]] = {
    name: (lambda size, part=part: _SHEBANG + part * (size // len(part)))
    for name, part in {
        "options": "#SBATCH --time=1\n",
        "unknown options": "#SBATCH --tiem=1\n",
        "one long line": "#SBATCH --a -b 'c ",
        "comments": "# SBATCH\n",
        "variables": "#SBATCH --output=$a\n",
    }.items()
} | {
    "words": lambda size: _SHEBANG + "#SBATCH " + "-a " * (size // 3),
    "numbers": lambda size: f"{_SHEBANG}#SBATCH --time={'1:' * (size // 2)}\n#SBATCH --mem={'1' * size}\n#SBATCH --array={'1,' * (size // 2)}\n",
}  # fmt: skip


def _seconds() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def measure(path: Path, *, own_rules: bool) -> tuple[float, float, int]:
    """CPU seconds, seconds by the clock, and findings."""
    before, clock = _seconds(), time.perf_counter()
    findings = lint([path], own_rules=own_rules)
    return _seconds() - before, time.perf_counter() - clock, len(findings)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--own-rules", action="store_true")
    asked = parser.parse_args()
    results: dict[str, object] = {}
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for suffix, table in ((".sub", SUBMIT), (".sh", SHELL), (".sbatch", SBATCH)):
            path = Path(folder) / f"file{suffix}"
            path.write_text("executable = /bin/true\nqueue\n" if suffix == ".sub" else _SHEBANG)
            lint([path], own_rules=asked.own_rules)  # what is imported is imported now
            for name, made in table.items():
                if asked.names and name not in asked.names:
                    continue
                sizes = {}
                for size in (25_000, 50_000, 100_000):
                    path.write_text(made(size)[:size])
                    sizes[size] = measure(path, own_rules=asked.own_rules)
                tracemalloc.start()
                lint([path], own_rules=asked.own_rules)
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                cpu, clock, findings = sizes[100_000]
                results[f"{suffix}: {name}"] = {
                    "seconds": round(cpu, 3),
                    "clock": round(clock, 3),
                    "ratio": round(cpu / max(sizes[50_000][0], 0.005), 1),
                    "findings": findings,
                    "MiB": round(peak / 2**20, 1),
                }
                worst = max(worst, cpu)
    print(json.dumps({"worst_seconds_for_100_kB": round(worst, 3), "files": results}, indent=2))


if __name__ == "__main__":
    main()
