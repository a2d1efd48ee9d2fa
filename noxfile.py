"""The suite on every Python that is claimed, and with the oldest packages: ``make matrix``.

uv makes the environments: it finds or obtains each Python, and resolves "lowest-direct", which pip cannot.
"""

from __future__ import annotations

import os
from pathlib import Path

import nox

# pyenv keeps its Pythons where uv does not look.
_pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
os.environ["PATH"] = os.pathsep.join(
    [os.environ["PATH"], *(str(path) for path in sorted(_pyenv.glob("3.*/bin")))]
)

# Certificates are those of the machine, as for pip: sites have authorities of their own. (The older name is
# for uv before 0.9.)
os.environ.setdefault("UV_SYSTEM_CERTS", "true")
os.environ.setdefault("UV_NATIVE_TLS", "true")

nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["short"]

PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
#: The unit tests: what a Python version, or an old package, can break.
SHORT = nox.project.load_toml("pyproject.toml")["tool"]["wingspan"]["unit_tests"]
NO_ENGINE = "not htcondor and not slurm and not apptainer and not podman and not slow"


def _install(session: nox.Session, *options: str, extras: str = "environments,stores") -> None:
    groups = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "matrix")
    session.install("--quiet", *options, "--editable", f".[{extras}]", *groups)


def _test(session: nox.Session, *default: str) -> None:
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    session.run(
        "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--in-memory", *(session.posargs or default)
    )


@nox.session(python=PYTHONS)
def short(session: nox.Session) -> None:
    """What depends on the version of Python, without engines."""
    _install(session, "--constraint", "tools/constraints.txt")
    _test(session, "--numprocesses", "4", "--dist", "worksteal", "-m", NO_ENGINE, *SHORT)


@nox.session(python="3.10")
def oldest(session: nox.Session) -> None:
    """The same with the oldest packages that pyproject.toml admits."""
    _install(session, "--resolution", "lowest-direct")
    _test(session, "--numprocesses", "4", "--dist", "worksteal", "-m", NO_ENGINE, *SHORT)


@nox.session(python="3.13")
def newest(session: nox.Session) -> None:
    """The same with the newest packages there are."""
    _install(session, "--upgrade")
    _test(session, "--numprocesses", "4", "--dist", "worksteal", "-m", NO_ENGINE, *SHORT)


@nox.session(python=PYTHONS)
def whole(session: nox.Session) -> None:
    """All tests, with the engines."""
    wanted = "environments,stores,notebook"
    _install(session, "--constraint", "tools/constraints.txt", "--group", "test", extras=wanted)
    _test(session, "--numprocesses", "8", "--dist", "worksteal")
