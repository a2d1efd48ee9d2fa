"""Makes a release with one command: version, addresses, changelog, commit, tag, packages, check sums.

    python tools/release.py 0.2.0                          everything up to the packages in dist/
    python tools/release.py 0.2.0 --publish                and to PyPI
    python tools/release.py 0.2.0 --publish --index URL    and to another index

Nothing is published before all of it is made and checked. It may be begun again: what an interrupted release
of the same version has made is used or made anew.

The project's addresses stand in ``[project.urls]`` of pyproject.toml. A release writes them there, into the
conda recipe, and with these into all packages and the site. They follow from the address of the repository:
``--address``, else what stands in pyproject.toml, else what git calls origin.

PyPI takes attestations (PEP 740) from a trusted publisher only, which a person's machine is not:
``.github/workflows/release.yml`` builds a pushed tag again, and publishes it with them. What is written here
beside the packages, ``provenance.intoto.json``, is not signed: it says from which commit, with which versions
of Python and hatchling, anybody can make the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import urllib.parse
from collections.abc import Mapping, Sequence
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import tomlkit
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


def web_address(text: str) -> str | None:
    """The web address of a repository that git, or a browser, is given: without user and password."""
    short = re.fullmatch(r"(?:[^@/:]+@)?([^@/:]+\.[^@/:]+):(?!/)(.+)", text)  # as scp writes it
    parts = urllib.parse.urlsplit(f"ssh://{short[1]}/{short[2]}" if short else text)
    path = parts.path.strip("/").removesuffix(".git")
    if parts.scheme not in ("https", "ssh") or not parts.hostname or not path:
        return None
    return f"https://{parts.hostname}/{path}"


def addresses(repository: str, site: str | None) -> dict[str, str]:
    """What PyPI shows beside a release, under labels that it knows; the documentation lies at `site`."""
    pages = site and site.rstrip("/") + "/"
    return {
        "Homepage": pages or repository,
        "Documentation": pages or f"{repository}#readme",
        "Source": repository,
        "Issues": f"{repository}/issues",
        "Changelog": f"{pages}reference/changes.html" if pages else f"{repository}/blob/main/CHANGELOG.md",
    }


def written_addresses() -> dict[str, str]:
    """The addresses in pyproject.toml, by their labels; before the first release that has any, none."""
    document = tomlkit.parse((ROOT / "pyproject.toml").read_text(encoding="utf-8")).unwrap()
    return dict(document["project"].get("urls", {}))


def decided(address: str | None, site: str | None) -> dict[str, str] | None:
    """The addresses of this release; None: nobody has said where the project lives.

    Args:
        address: The repository's, if a person has given it.
        site: The documentation's, likewise.
    """
    known = written_addresses()
    if known and not address and not site:
        return known
    if not site and known.get("Documentation", "").endswith("/"):
        site = known["Documentation"]
    said = address or known.get("Source")
    if not said:
        origin = run("git", "remote", quiet=True).split()
        said = run("git", "remote", "get-url", "origin", quiet=True) if "origin" in origin else ""
    repository = web_address(said)
    if repository is None:
        if address:
            raise SystemExit(f"release: {address} is no web address: write it as https://HOST/OWNER/NAME")
        return None
    if site and urllib.parse.urlsplit(site).scheme != "https":
        raise SystemExit(f"release: {site} is no web address: write it as https://HOST/PATH")
    return addresses(repository, site)


def write_addresses(urls: Mapping[str, str]) -> None:
    """Put the addresses into pyproject.toml and the conda recipe."""
    path = ROOT / "pyproject.toml"
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    table: Any = tomlkit.table()
    table.update(urls)
    table.add(tomlkit.nl())
    document["project"]["urls"] = table
    path.write_text(tomlkit.dumps(document), encoding="utf-8")
    recipe = ROOT / "recipe/recipe.yaml"
    lines = recipe.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not re.match("  (homepage|repository|documentation):", line)]
    for key, label in (
        ("homepage", "Homepage"),
        ("repository", "Source"),
        ("documentation", "Documentation"),
    ):
        kept.append(f"  {key}: {json.dumps(urls[label])}")  # `about` is the last section
    recipe.write_text("\n".join([*kept, ""]), encoding="utf-8")


def prepare(version: Version, urls: Mapping[str, str] | None) -> None:
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
    if urls:
        write_addresses(urls)
    run(sys.executable, "-m", "towncrier", "build", "--yes", "--version", str(version))
    run("git", "add", "--all")
    run("git", "commit", "--message", f"Release {version}")
    run("git", "tag", "--annotate", tag, "--message", f"Wingspan {version}")


def build(version: Version) -> list[Path]:
    """Source distribution and wheel, checked, in dist/; beside them check sums and, with an address, where
    they come from.
    """
    target = ROOT / "dist" / str(version)
    target.mkdir(parents=True, exist_ok=True)
    when = run("git", "log", "-1", "--format=%ct", quiet=True)
    names = run(sys.executable, "-c", BUILD, target, SOURCE_DATE_EPOCH=when).splitlines()
    packages = [target / name for name in names]
    run(sys.executable, "-m", "twine", "check", "--strict", *packages)
    sums = [f"{sha256(path)}  {path.name}\n" for path in packages]
    (target / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    if source := written_addresses().get("Source"):
        statement = json.dumps(provenance(packages, version, when, source), indent=2)
        (target / "provenance.intoto.json").write_text(f"{statement}\n", encoding="utf-8")
    return packages


def provenance(packages: Sequence[Path], version: Version, when: str, source: str) -> dict[str, Any]:
    """A statement in in-toto's form with SLSA's predicate: what was made, from what, and how.

    Args:
        packages: The files that it is about.
        version: Of the release.
        when: The time that they carry, in seconds since 1970.
        source: The repository's address.
    """
    maker = f"{source}/blob/v{version}/tools/release.py"
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": path.name, "digest": {"sha256": sha256(path)}} for path in packages],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": maker,
                "externalParameters": {"version": str(version), "SOURCE_DATE_EPOCH": when},
                "resolvedDependencies": [
                    {
                        "uri": f"git+{source}@refs/tags/v{version}",
                        "digest": {"gitCommit": run("git", "rev-parse", "HEAD", quiet=True)},
                    },
                    {"uri": f"pkg:pypi/hatchling@{installed('hatchling')}"},
                    {"uri": f"pkg:generic/python@{platform.python_version()}"},
                ],
            },
            "runDetails": {"builder": {"id": f"{maker}#by-a-person"}},
        },
    }


def sha256(path: Path) -> str:
    """The digest of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def publish(packages: Sequence[Path], index: str | None) -> None:
    """Send the packages. PyPI keeps what it has already; another index may refuse to take a file twice."""
    where = ["--repository-url", index] if index else ["--skip-existing"]
    run(sys.executable, "-m", "twine", "upload", "--non-interactive", *where, *packages)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("version", help="such as 0.2.0")
    parser.add_argument("--publish", action="store_true", help="send the packages to PyPI, or to --index")
    parser.add_argument("--index", metavar="URL", help="the upload address of another index than PyPI")
    parser.add_argument("--address", metavar="URL", help="of the repository: https://HOST/OWNER/NAME")
    parser.add_argument("--site", metavar="URL", help="of the documentation, if it has one of its own")
    parser.add_argument("--without-address", action="store_true", help="make packages that say of no address")
    arguments = parser.parse_args()
    try:
        version = Version(arguments.version)
    except InvalidVersion:
        parser.error(f"{arguments.version} is no version: write it as 0.2.0")
    urls = decided(arguments.address, arguments.site)
    if urls is None and not arguments.without_address:
        parser.error(
            "nobody has said where the project lives, and its packages must: add --address https://HOST/OWNER/NAME, "
            "or a remote called origin to git; --without-address makes packages that cannot be published"
        )
    if urls is None and arguments.publish:
        parser.error("packages without an address are not published: add --address https://HOST/OWNER/NAME")
    prepare(version, urls)
    packages = build(version)
    if arguments.publish:
        publish(packages, arguments.index)
    for path in packages:
        print(path.relative_to(ROOT))
    if not arguments.publish:
        print("next: git push --follow-tags. GitHub then builds the tag, and publishes it with attestations;")
        print(f"without GitHub: python tools/release.py {version} --publish")


if __name__ == "__main__":
    main()
