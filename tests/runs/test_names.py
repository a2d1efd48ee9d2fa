"""A job's script has names of its own, and leaves those of its user alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import wingspan.pools
from wingspan.environments.bundles.remote import remote_program
from wingspan.jobs import JobDescription
from wingspan.pools.slurm import _script as slurm_script
from wingspan.runs._render import render
from wingspan.runs._script import job_script
from wingspan.runs._spec import RunSpec, Step

#: What the script and the starter mean to be: docs/runs.md, "What a job sees".
DOCUMENTED = {"HOME", "PIXI_PROJECT_ROOT", "INIT_CWD"}
#: What shells and cd set.
SHELLS_OWN = {"PWD", "OLDPWD", "SHLVL", "_"}
#: Names that a user's variable cannot have without meaning something else: the system's, the scheduler's,
#: ours.
TAKEN = re.compile(
    r"PATH|HOME|IFS|PWD|TMPDIR|LC_ALL|LD_\w*|BASH\w*|_|(?:SLURM|_CONDOR|WINGSPAN|wingspan|ws|_wingspan)_?\w*"
)


def names_in(*scripts: str) -> dict[str, str]:
    """Every word in the scripts that could be a variable, with a value that no script gives it."""
    found = {name for text in scripts for name in re.findall(r"[A-Za-z_][A-Za-z0-9_]*", text)}
    return {name: f"of {name}" for name in sorted(found) if not TAKEN.fullmatch(name)}


def check(before: Mapping[str, str], seen: Path, *documented: str) -> None:
    """The command saw each variable as it was before, and no other but those that are documented."""
    after = dict(entry.split("=", 1) for entry in seen.read_text().split("\0") if entry)
    meant = DOCUMENTED | SHELLS_OWN | {*documented}
    assert {name: after.get(name) for name in before if name not in meant} == {
        name: value for name, value in before.items() if name not in meant
    }
    assert after.keys() - before.keys() <= meant


def execute(words: list[str], folder: Path, variables: Mapping[str, str]) -> None:
    done = subprocess.run(words, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def spec_of(seen: Path, **options: Any) -> RunSpec:
    """A run whose command writes down its variables."""
    steps = (Step(words=("sh", "-c", f"env -0 >{seen}; echo >out.txt")),)
    return RunSpec(name="n", base=seen.parent, steps=steps, outputs=("out.txt", "*.txt"), **options)


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("more", ["plain", "sweep", "checkpoint"])
def test_a_job_leaves_its_users_variables_alone(tmp_path: Path, shell: str, shared: bool, more: str) -> None:
    """Whatever a variable is called that the user has in a job, the command sees it, and none that the
    script needs.
    """
    seen, folder = tmp_path / "seen", tmp_path / "job"
    folder.mkdir()
    options: dict[str, Any] = {
        "plain": {},
        "sweep": {"parameters": ("lr",), "rows": (("0.1",), ("0.2",))},
        "checkpoint": {"checkpoint": ("state",), "checkpoint_exit_code": 85},
    }[more]
    script = job_script(spec_of(seen, **options), (), shared=str(tmp_path) if shared else None)
    (folder / "job.sh").write_text(script)
    variables = names_in(script) | {"PATH": os.environ["PATH"]}
    execute([shell, str(folder / "job.sh"), "0"], folder, variables)
    check(variables, seen, *options.get("parameters", ()))


@pytest.mark.parametrize("target", ["htcondor", "slurm"])
def test_a_rendered_job_leaves_its_users_variables_alone(tmp_path: Path, target: Any) -> None:
    """So do the files that are rendered: neither the number of a submission nor a folder is left in a job."""
    seen, folder = tmp_path / "seen", tmp_path / "rendered"
    render(target, folder, ["sh", "-c", f"env -0 >{seen}"], workspace=tmp_path, name="n")
    main = folder / ("job.sh" if target == "htcondor" else "n.sbatch")
    variables = names_in((folder / "job.sh").read_text(), main.read_text()) | {"PATH": os.environ["PATH"]}
    submission = {"WINGSPAN_SUBMISSION": "7"} if target == "htcondor" else {"SLURM_SUBMIT_DIR": str(folder)}
    execute(["sh", str(main), "0"], folder, variables | submission)
    check(variables, seen, "SLURM_SUBMIT_DIR")


def test_a_job_of_slurm_leaves_its_users_variables_alone(tmp_path: Path) -> None:
    """What tells of a job's begin and end on Slurm has prefixed names, too."""
    seen = tmp_path / "seen"
    job = JobDescription(name="n", executable="/bin/sh", arguments=("-c", f"env -0 >{seen}"))
    script = slurm_script(job, tmp_path)
    (tmp_path / "job").write_text(script)
    variables = names_in(script) | {"PATH": os.environ["PATH"]}
    variables |= {"SLURM_ARRAY_JOB_ID": "1", "SLURM_ARRAY_TASK_ID": "0"}
    execute(["sh", str(tmp_path / "job")], tmp_path, variables)
    check(variables, seen)


def test_the_starter_leaves_its_users_variables_alone(tmp_path: Path) -> None:
    """A command in an environment sees the user's variables, and what activates the environment."""
    seen, starter = tmp_path / "seen", tmp_path / "starter.sh"
    program = remote_program("starter.sh", comments=True)
    starter.write_bytes(program)
    (tmp_path / "e/.wingspan").mkdir(parents=True)
    (tmp_path / "e/.wingspan/activate.sh").write_text("export CONDA_PREFIX=/e\n")
    variables = names_in(program.decode()) | {"PATH": os.environ["PATH"]}
    command = ["--stage", "run", "--prefix", str(tmp_path / "e"), "--", "sh", "-c", f"env -0 >{seen}"]
    execute(["sh", str(starter), *command], tmp_path, variables)
    check(variables, seen, "CONDA_PREFIX", "PATH")


def test_the_launcher_leaves_its_users_variables_alone(tmp_path: Path) -> None:
    """So does what looks for a worker's Python."""
    seen, launcher = tmp_path / "seen", Path(wingspan.pools.__file__).with_name("launcher.sh")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    variables = names_in(launcher.read_text()) | {"PATH": os.environ["PATH"]}
    write = "import os, sys; open(sys.argv[1], 'wb').write(b'\\0'.join(b'='.join(one) for one in os.environb.items()))"
    execute(["sh", str(launcher), version, sys.executable, "-c", write, str(seen)], tmp_path, variables)
    check(variables, seen, "LC_CTYPE")
