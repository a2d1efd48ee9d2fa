"""Make the virtual environment ``.venv`` of a clone, also where the system's Python came without pip and ensurepip.

Debian ships ensurepip as a package of its own (python3-venv). Where it is missing the environment is made without pip, and pip comes
from the system's own pip or, failing that, as a wheel from the package index: the one that ``PIP_INDEX_URL`` names, else PyPI, checked
against the SHA-256 that the index gives.

    python3 tools/make_venv.py .venv

Only the standard library, and old syntax: a Python that is too old must be able to say so.
"""

import glob
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request

OLDEST = (3, 10)
#: The first pip that knows dependency groups (PEP 735).
OLDEST_PIP = "25.1"


def suitable_python():
    """This interpreter, or another of PATH that is new enough."""
    if sys.version_info[:2] >= OLDEST:
        return sys.executable
    for minor in range(14, OLDEST[1] - 1, -1):
        found = shutil.which("python3.%d" % minor)
        if found:
            return found
    sys.exit(
        "Wingspan needs Python 3.10 or newer; %s is %d.%d. Install one and say: make PYTHON=/path/to/python3"
        % (sys.executable, sys.version_info[0], sys.version_info[1])
    )


def runs(*command):
    """The command ends with 0; what it says is shown only if asked for."""
    return (
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode
        == 0
    )


def download_pip(folder):
    """The newest pip wheel of the package index, checked: its path."""
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/pip/"
    wanted = urllib.request.Request(index, headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    with urllib.request.urlopen(wanted, timeout=60) as answer:
        files = json.loads(answer.read().decode("utf-8"))["files"]
    wheels = [one for one in files if one["filename"].endswith("-py3-none-any.whl") and not one.get("yanked")]
    numbered = [(one["filename"].split("-")[1], one) for one in wheels]
    stable = [
        (tuple(map(int, number.split("."))), one)
        for number, one in numbered
        if number.replace(".", "").isdigit()
    ]
    chosen = max(stable, key=lambda pair: pair[0])[1]
    with urllib.request.urlopen(urllib.parse.urljoin(index, chosen["url"]), timeout=60) as answer:
        data = answer.read()
    if hashlib.sha256(data).hexdigest() != chosen["hashes"]["sha256"]:
        sys.exit("pip's wheel is not what the package index says it is: %s" % chosen["filename"])
    path = os.path.join(folder, chosen["filename"])
    with open(path, "wb") as file:
        file.write(data)
    return path


def add_pip(python):
    """Put pip into an environment that was made without it."""
    here = glob.glob("/usr/share/python-wheels/pip-*.whl")  # Debian's python3-pip-whl
    if runs(sys.executable, "-m", "pip", "--python", python, "install", "pip>=" + OLDEST_PIP):
        return
    with tempfile.TemporaryDirectory() as folder:
        wheel = here[0] if here else download_pip(folder)
        # A wheel is a zip file that Python can execute from.
        subprocess.run([python, os.path.join(wheel, "pip"), "install", "pip>=" + OLDEST_PIP], check=True)


def main():
    """Make the environment, or leave one that works."""
    target = sys.argv[1]
    python = os.path.join(target, "bin", "python")
    base = suitable_python()
    if runs(python, "-m", "pip", "--version"):
        return
    print("making %s with %s" % (target, base))
    if not runs(base, "-m", "venv", "--clear", target):
        subprocess.run([base, "-m", "venv", "--clear", "--without-pip", target], check=True)
        add_pip(python)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--upgrade", "pip>=" + OLDEST_PIP], check=True)


if __name__ == "__main__":
    main()
