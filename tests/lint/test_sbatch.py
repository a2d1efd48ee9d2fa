"""What sbatch refuses, lint names: our rules and the real ``sbatch --test-only`` say the same of one
table of scripts.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from _slurm_cluster import SlurmCluster
from wingspan.lint import RULES, lint

REFUSED = [
    "--memory=4G", "--cpu-per-task=4", "--time = 1:00", "--time=2h", "--time=1:00:00:00", "--time=01:00:00.5", "--time=1d", "--time=",
    "--time", "-t=10", "--time=10 ten", "--time=10:", "--time=2 hours", "--time=48:00:00h", "--mem=4Gi", "--mem=4 GB", "--mem 4 GB",
    "--mem=1.5G", "--mem=all", "--mem=-1", "--mem=1G --mem-per-cpu=1G", "--mem=1G\n#SBATCH --mem-per-gpu=1G", "--mem-per-cpu=1Gx",
    "--gres=gpu:1:a100", "--nodes=one", "-N=1", "-n=4", "--ntasks=4x", "--ntasks=0", "--cpus-per-task=0", "--cpus-per-task=two",
    "-c 1.5", "--ntasks-per-node=a", "--array=9-0", "--array=a", "--array=0..9", "--array=1-10 % 2", "--array=-1", "-J a b",
    "--job-name=a b", "--output= out.txt", "--mail-type=ALWAYS", "--mail-type END, FAIL", "--exclusive=yes", "--open-mode=w",
    "--threads-per-core=a", "--hint=fast", "--tmp=10Gi", "--gpus-per-task=1", "foo", "-", "-Z", "-l nodes=1", "—mem=4G", "-–mem=4G",
    "--x11", "--pty", '--mem="4G', "--core-spec=a", "--mincpus=a", "--kill-on-invalid-dep=maybe", "--overcommit=1", "--hold=1",
    "--requeue=1", "--no-requeue=x", "--mail-user", "--ntasks=4; --time=10", "--node=3",
]  # fmt: skip

ACCEPTED = [
    "--cpus-per-tas=2", "--time=24", "--time=1-0", "--time=1-00:00:00", "--time=UNLIMITED", "--time=infinite", "--time 10", "-t10",
    "-t 10", "--time=10 # ten", '--time="10"', "--time=00:60:00", "--time=0", "--time=1-24:00:00", "--mem=4GB", "--mem=4g", "--mem=0",
    "--mem=100K", "--mem='4G'", "--gres=gpu:1", "--gres=gpu", "--gres gpu:1", "--gpus=1", "--nodes=1-2", "-N 1", "-n 4", "--array=0-9",
    "--array=0-9%2", "--array=1,3,5-7:2", "--array=[1-3]", '--job-name="a b"', "--output out.txt", "--out=x", "--mail-type=END,FAIL",
    "--mail-type=end", "--dependency=afterok:99", "--exclusive", "--exclusive=user", "--export=ALL", "--requeue", "--open-mode=append",
    "--open-mode=a", "--signal=B:USR1@60", "--begin=now+1hour", "--nice", "--hint=nomultithread", "--distribution=block",
    "--gpus-per-node=1 --gres=gpu:1", "--", "", "--get-user-env", "--get-user-env=L", "--wait", "--parsable", "-A nosuch",
    "--ntasks 4 --time 10", "-H -s", "-sH", "-o x -e y --mem=1G", "--gpus-per-task=1 --ntasks=1", "--comment='a # b'",
]  # fmt: skip


def script(folder: Path, options: str) -> Path:
    path = folder / "job.sbatch"
    path.write_text(f"#!/bin/bash\n#SBATCH {options}\n\ntrue\n", encoding="utf-8")
    return path


def refusals(path: Path) -> list[str]:
    """The rules by which lint says that sbatch refuses a script."""
    return [each.rule for each in lint([path]) if RULES[each.rule].refuses]


@pytest.mark.parametrize("options", REFUSED)
def test_what_sbatch_refuses_is_named(tmp_path: Path, options: str) -> None:
    """Each is told, at its line."""
    assert refusals(script(tmp_path, options))
    assert all(each.line in {2, 3} for each in lint([tmp_path / "job.sbatch"]) if RULES[each.rule].refuses)


@pytest.mark.parametrize("options", ACCEPTED)
def test_what_sbatch_accepts_is_not_refused(tmp_path: Path, options: str) -> None:
    """None is said to be refused."""
    assert refusals(script(tmp_path, options)) == []


@pytest.mark.slurm
def test_the_real_sbatch_agrees(slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    """Slurm's own sbatch is of the opinion that the tables have."""
    otherwise = []
    for options, refused in [*((x, True) for x in REFUSED), *((x, False) for x in ACCEPTED)]:
        done = subprocess.run(
            ["sbatch", "--test-only", script(tmp_path, options)],
            env={**os.environ, **slurm_cluster.environment()},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if (done.returncode != 0) != refused:
            otherwise.append((options, done.stderr))
    assert otherwise == []


@pytest.mark.parametrize(
    ("rule", "line", "text"),
    [
        ("sbatch-not-read", 2, "# SBATCH --partition=gpu"),
        ("sbatch-not-read", 2, "#SBTACH --partition=gpu"),
        ("sbatch-not-read", 2, "#sbatch -p gpu"),
        ("sbatch-not-read", 2, "  #SBATCH --partition=gpu"),
        ("sbatch-minutes", 2, "#SBATCH --time=24"),
        ("sbatch-no-such-output-folder", 2, "#SBATCH --output=logs/%j.out"),
        ("sbatch-refused", 2, "#SBATCH --memory=4G"),
        ("sbatch-bad-value", 2, "#SBATCH --time=2h"),
        ("sbatch-contradiction", 2, "#SBATCH --mem-per-cpu=1G"),
    ],
)
def test_a_fault_in_the_header(tmp_path: Path, rule: str, line: int, text: str) -> None:
    """Each fault alone in an otherwise sound script is the only finding."""
    path = tmp_path / "job.sbatch"
    time = "" if "time" in text else "#SBATCH --time=10\n"
    memory = "" if "--memory" in text else "#SBATCH --mem=1G\n"
    path.write_text(f"#!/bin/bash\n{text}\n{time}{memory}srun ./run\n")
    found = {(each.rule, each.line) for each in lint([path])} - {
        ("sbatch-no-memory", 3),
        ("sbatch-no-memory", 2),
    }
    if rule == "sbatch-contradiction":
        line += 2
    assert found == {(rule, line)}


@pytest.mark.parametrize(
    "text",
    [
        "##SBATCH --partition=gpu",
        "# SBATCH options follow",
        "# A batch script --fast",
        "#   sbatch -p gpu job.sbatch",
        "# sbatch --export=ALL job.sbatch",
        "#SBATCH --output=$HOME/logs/x.out",
        "#SBATCH --output=there/%x-%j.out",
        "#SBATCH --output=%x/%j.out",
        "{% if gpu %}\n#SBATCH --gres=gpu:{{ gpu }}\n{% endif %}",
        "#SBATCH --ntasks={{ n }} --nodes={{n}}",
        "#SBATCH --ntasks=<number>",
        "#SBATCH --account=<your project> -q <qos of it>",
        "#SBATCH --ntasks=%(np)d",
        "#SBATCH --ntasks=?cores?",
        "#SBATCH --nodes=@nodes@",
        "#SBATCH --container-image=ubuntu:24.04 --container-mounts /a:/b --container-writable",
        "#SBATCH --environment=ngc",
        "#SBATCH --gpus=a100:1\n# SBATCH --gpus=v100:1",
        "#SBATCH --gpus=a100:1\n# SBATCH --gpus=v100:1\n# SBATCH --qos=long",
        "#SBATCH --image=docker:ubuntu:24.04 --module=gpu",
    ],
)
def test_a_header_without_fault(tmp_path: Path, text: str) -> None:
    """What is commented out on purpose, what a template will become, and folders that are there or not
    known are left alone.
    """
    (tmp_path / "there").mkdir()
    path = tmp_path / "job.sbatch"
    path.write_text(f"#!/bin/bash\n{text}\n#SBATCH --time=10\n#SBATCH --mem=1G\nsrun ./run\n")
    assert [each for each in lint([path]) if each.rule != "sbatch-variable"] == []


def test_the_hint_says_what_is_meant(tmp_path: Path) -> None:
    """A name that is nearly an option, and a word that belongs to the one before it."""
    hints = {each.hint for each in lint([script(tmp_path, "--memory=4G\n#SBATCH --mem=4 GB")])}
    assert {"write --mem", "write --mem=4GB, or put the words into quotes"} <= hints


def test_what_a_job_of_slurm_prepares(tmp_path: Path) -> None:
    """A job of Slurm is asked for set -e only where its end is sure to hide that a computation failed."""
    head = "#!/bin/bash\n#SBATCH --time=10\n#SBATCH --mem=1G\nmodule load python\ncd work\nsource env/bin/activate\nmkdir -p out\n"
    path = tmp_path / "a.sbatch"
    for sound in (
        "srun python train.py\n",
        "echo begins\nsrun python train.py\nsrun python test.py\n",
        "echo\ndate\n",
    ):
        path.write_text(head + sound)
        assert lint([path]) == [], sound
    path.write_text(head + "srun python train.py\necho it is done\n")
    assert [each.rule for each in lint([path])] == ["goes-on-after-failure"]


def test_a_template_of_batchtools_is_left_alone(tmp_path: Path) -> None:
    """Commands between <% and %> are not the shell's: options of sbatch may stand behind them."""
    script = tmp_path / "slurm.tmpl"
    script.write_text(
        "#!/bin/bash\n<%\nlog = 1\n-%>\n#SBATCH --time=<%= time %>\n#SBATCH --mem=1G\nset -e\nrun\n"
    )
    assert [each.rule for each in lint([script]) if each.rule.startswith("sbatch")] == []
