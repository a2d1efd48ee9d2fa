"""Makes a release with one command: version, changelog, commit, tag, packages, check sums.

    python tools/release.py 0.2.0                          everything up to the packages in dist/
    python tools/release.py 0.2.0 --publish                and to PyPI
    python tools/release.py 0.2.0 --publish --index URL    and to another index

Nothing is published before all of it is made and checked. It may be begun again: what an interrupted release
of the same version has made is used or made anew. PyPI takes attestations from a trusted publisher only
(PEP 740), which a person's machine is not: whoever publishes from there adds them.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parent.parent
#: Files that hold the version: a pattern with the version as its second group.
PLACES = {
    "pyproject.toml": r'(?m)^(version = ")([^"]+)(")',
    "src/wingspan/_version.py": r'(?m)^(__version__ = ")([^"]+)(")',
    "recipe/recipe.yaml": r'(?m)^(  version: ")([^"]+)(")',
}
BUILD = (
    "import sys, hatchling.build as b; [print(make(sys.argv[1])) for make in (b.build_sdist, b.build_wheel)]"
)


def run(*command: str | Path, quiet: bool = False, **variables: str) -> str:
    """What a command prints; the release ends where one fails."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"release: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    if not quiet:
        print(f"release: {Path(str(command[0])).name} {' '.join(map(str, command[1:]))}"[:100])
    return done.stdout.strip()


def current() -> Version:
    """The version that the tree has now; all places must agree."""
    found = {
        re.search(pattern, (ROOT / name).read_text(encoding="utf-8"))[2] for name, pattern in PLACES.items()
    }
    if len(found) != 1:
        raise SystemExit(f"release: the files name different versions: {', '.join(sorted(found))}")
    return Version(found.pop())


def write_version(version: Version) -> None:
    """Put `version` into all places."""
    for name, pattern in PLACES.items():
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(pattern, rf"\g<1>{version}\g<3>", text), encoding="utf-8")


def prepare(version: Version) -> None:
    """The commit and the tag of the release, unless they are there."""
    if run("git", "status", "--porcelain", quiet=True):
        raise SystemExit("release: commit or stash what has changed first")
    tag = f"v{version}"
    if run("git", "tag", "--list", tag, quiet=True):
        if run("git", "rev-list", "-n1", tag, quiet=True) != run("git", "rev-parse", "HEAD", quiet=True):
            raise SystemExit(f"release: {tag} is another commit; git checkout {tag} builds that one again")
        return
    if current() > version:
        raise SystemExit(f"release: the tree has version {current()} already")
    write_version(version)
    run(sys.executable, "-m", "towncrier", "build", "--yes", "--version", str(version))
    run("git", "add", "--all")
    run("git", "commit", "--message", f"Release {version}")
    run("git", "tag", "--annotate", tag, "--message", f"Wingspan {version}")


def build(version: Version) -> list[Path]:
    """Source distribution and wheel, checked, with SHA256SUMS beside them in dist/."""
    target = ROOT / "dist" / str(version)
    target.mkdir(parents=True, exist_ok=True)
    when = run("git", "log", "-1", "--format=%ct", quiet=True)
    names = run(sys.executable, "-c", BUILD, target, SOURCE_DATE_EPOCH=when).splitlines()
    packages = [target / name for name in names]
    run(sys.executable, "-m", "twine", "check", "--strict", *packages)
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in packages]
    (target / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    return packages


def publish(packages: Sequence[Path], index: str | None) -> None:
    """Send the packages. PyPI keeps what it has already; another index may refuse to take a file twice."""
    where = ["--repository-url", index] if index else ["--skip-existing"]
    run(sys.executable, "-m", "twine", "upload", "--non-interactive", *where, *packages)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("version", help="such as 0.2.0")
    parser.add_argument("--publish", action="store_true", help="send the packages to PyPI, or to --index")
    parser.add_argument("--index", metavar="URL", help="the upload address of another index than PyPI")
    arguments = parser.parse_args()
    try:
        version = Version(arguments.version)
    except InvalidVersion:
        parser.error(f"{arguments.version} is no version: write it as 0.2.0")
    prepare(version)
    packages = build(version)
    if arguments.publish:
        publish(packages, arguments.index)
    for path in packages:
        print(path.relative_to(ROOT))
    if not arguments.publish:
        print(f"next: git push --follow-tags, then python tools/release.py {version} --publish")


if __name__ == "__main__":
    main()
