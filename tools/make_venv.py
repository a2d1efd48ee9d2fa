"""Make the virtual environment of a clone, also where the system's Python came without pip and ensurepip.

Debian ships ensurepip as a package of its own (python3-venv). Where it is missing, the environment is made
without pip, and pip comes from the system's own pip or, failing that, as a wheel from the package index (that
of ``PIP_INDEX_URL``, else PyPI), checked against the SHA-256 that the index gives.

    python3 tools/make_venv.py .venv

Only the standard library, and the syntax of Python 3.6: a Python that is too old must be able to say so.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from html.parser import HTMLParser
from pathlib import Path

OLDEST = (3, 10)
#: The first pip that knows dependency groups (PEP 735).
PIP = "pip>=25.1"


def suitable_python():
    """This interpreter, or another of PATH that is new enough."""
    if sys.version_info[:2] >= OLDEST:
        return sys.executable
    for minor in range(14, OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found:
            return found
    return sys.exit(
        f"Wingspan needs Python 3.10 or newer, and {sys.executable} is {sys.version.split()[0]}. "
        "Install one and say: make PYTHON=/path/to/python3"
    )


def runs(*command):
    """Whether a command ends with 0; what it says is not shown."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        return subprocess.run(command, check=False, **quiet).returncode == 0
    except FileNotFoundError:
        return False


class Links(HTMLParser):
    """The files of a page of the simple repository API (PEP 503: every index has it), less withdrawn ones."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "a" and given.get("href") and "data-yanked" not in given:
            self.found.append(given["href"])


def download_pip(folder):
    """The newest pip wheel of the package index, checked."""
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/pip/"
    with urllib.request.urlopen(index, timeout=60) as answer:
        links = Links()
        links.feed(answer.read().decode("utf-8"))
    stable = {}
    for href in links.found:
        match = re.search(r"/(pip-([0-9.]+)-py3-none-any\.whl)#sha256=([0-9a-f]{64})$", href)
        if match:
            stable[tuple(map(int, match.group(2).split(".")))] = (href, match.group(1), match.group(3))
    href, name, digest = stable[max(stable)]
    with urllib.request.urlopen(urllib.parse.urljoin(index, href), timeout=60) as answer:
        data = answer.read()
    if hashlib.sha256(data).hexdigest() != digest:
        sys.exit(f"{name} is not what the package index says it is; try again")
    path = Path(folder) / name
    path.write_bytes(data)
    return path


def add_pip(python):
    """Put pip into an environment that was made without it."""
    if runs(sys.executable, "-m", "pip", "--python", python, "install", PIP):
        return
    with tempfile.TemporaryDirectory() as folder:
        wheel = download_pip(folder)
        # A wheel is a zip file, and Python executes from those.
        subprocess.run([python, str(wheel / "pip"), "install", "--quiet", PIP], check=True)


def main():
    """Make the environment, or leave one that works."""
    target = sys.argv[1]
    python = str(Path(target) / "bin" / "python")
    if runs(python, "-m", "pip", "--version"):
        return
    base = suitable_python()
    print(f"making {target} with {base}", flush=True)
    if runs(base, "-m", "venv", "--clear", target):
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--upgrade", PIP], check=True)
    else:
        subprocess.run([base, "-m", "venv", "--clear", "--without-pip", target], check=True)
        add_pip(python)


if __name__ == "__main__":
    main()
