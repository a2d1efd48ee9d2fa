"""wingspan lint: every rule finds its fault, in files like those that people publish, and leaves sound files
alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wingspan.cli import main
from wingspan.lint import RULES, LintError, LintWarning, lint
from wingspan.lint._check import kind_of
from wingspan.pools.personal import PersonalPool

SOUND_SUBMIT = """\
# Trains a network on one GPU.
universe = container
container_image = docker://ghcr.io/example/mnist@sha256:{digest}
executable = train.sh
arguments = "--epochs 3"
log = train_$(Cluster).log
output = train_$(Cluster)_$(Process).out
error = train_$(Cluster)_$(Process).err
should_transfer_files = YES
when_to_transfer_output = ON_EXIT
transfer_input_files = MNIST_data.tar.gz, src, \\
    osdf:///chtc/staging/b/bbadger/envs/mnist-b8dd14a4.squashfs
transfer_output_files = mnist_cnn.pt
request_cpus = 1
request_memory = 4GB
request_disk = 8GB
request_gpus = 1
gpus_minimum_capability = 7.5
gpus_minimum_runtime = 12.0
gpus_minimum_memory = 8GB
requirements = (TARGET.HasCHTCStaging == true) && (TARGET.OpSysMajorVer > 7)
+WantGPULab = true
+GPUJobLength = "short"
queue 3
""".format(digest="ab" * 32)

SOUND_SCRIPT = """\
#!/bin/bash
# Executed by HTCondor.
set -euo pipefail
export HOME="$PWD"
. "$HOME/settings.sh"
tar -xzf MNIST_data.tar.gz
curl -fsSL https://pixi.sh/install.sh | PIXI_VERSION=v0.77.0 bash
pixi run --frozen python src/torch_mnist.py \\
    --epochs 3 \\
    --save-model   # writes mnist_cnn.pt
cat > notes.txt <<'END'
  --this is no option, and pixi run is not run
curl https://example.org | bash
END
"""

SOUND_SBATCH = """\
#!/bin/bash
#SBATCH --job-name=mnist
#SBATCH --time=01:00:00
#SBATCH --mem=4G
#SBATCH --gpus-per-node=1
#SBATCH --array=0-9
#SBATCH -o mnist-%A_%a.out

set -e
srun ./train.sh
"""


def rules_of(folder: Path, name: str, text: str, **others: str) -> list[tuple[str, int]]:
    """Rule and line of each finding in a file with `text`, beside which `others` lie."""
    for other, content in others.items():
        (folder / other.replace("_sh", ".sh")).write_text(textwrap.dedent(content))
    path = folder / name
    path.write_bytes(textwrap.dedent(text).encode())
    make_inputs(folder, text)
    return [(finding.rule, finding.line) for finding in lint([path])]


def make_inputs(folder: Path, text: str) -> None:
    """Make the files in `folder` that a description says are sent, so that their absence is no finding."""
    for line in text.replace("\\\n", "").splitlines():
        if line.startswith("transfer_input_files ="):
            for entry in line.rpartition("=")[2].split(","):
                place = folder / entry.strip()
                if "://" not in entry and not place.exists():
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.touch()


def submit(*lines: str) -> str:
    """A submit description that is sound but for `lines`, which begin at line 1; a queue statement among
    them is its end.
    """
    queue = next((number for number, line in enumerate(lines) if line.startswith("queue")), len(lines))
    lines, ending = lines[:queue], lines[queue:] or ("queue",)
    given = {line.split("=")[0].strip().lower().replace("_", "") for line in lines}
    rest = {
        "executable": "/bin/true",
        "transfer_executable": "false",
        "log": "$(Cluster).log",
        "request_cpus": "1",
        "request_memory": "1GB",
        "request_disk": "1GB",
    }
    added = (f"{key} = {value}" for key, value in rest.items() if key.replace("_", "") not in given)
    return "\n".join([*lines, *added, *ending, ""])


def test_sound_files_have_no_findings(tmp_path: Path) -> None:
    """A submit description, its script and an sbatch script as an expert would write them are left alone."""
    (tmp_path / "train.sub").write_text(SOUND_SUBMIT)
    (tmp_path / "train.sh").write_text(SOUND_SCRIPT)
    (tmp_path / "train.sbatch").write_text(SOUND_SBATCH)
    (tmp_path / "MNIST_data.tar.gz").touch()
    (tmp_path / "src").mkdir()
    assert lint([tmp_path]) == []


@pytest.mark.parametrize(
    ("rule", "lines"),
    [
        # GPU templates, 2025: the driver requirement is lost
        (
            "two-requirements",
            ["requirements = (Target.HasCHTCStaging == true)", "requirements = (OpSysMajorVer > 7)"],
        ),
        ("lost-line", ["request_memory = 4GB", "request_memory = 8GB"]),
        ("lost-line", ["request_memory = 4GB", "if defined x", "endif", "request_memory = 8GB"]),
        ("lost-line", ['+ProjectName = "a"', 'MY.ProjectName = "b"']),
        ("doubled-name", ["transfer_input_files = transfer_input_files = a.py, b.py"]),
        ("unknown-command", ["transfer_input_file = a.py"]),
        ("unknown-command", ["request_gpu = 1"]),
        ("undocumented-value", ["docker_pull_policy = missing"]),
        ("bad-value", ["when_to_transfer_output = ON_EXIT_AND_EVICT"]),
        ("bad-value", ["should_transfer_files = MAYBE"]),
        ("bad-universe", ["universe = standard"]),
        ("site-value", ['+GPUJobLength = "tiny"', "request_gpus = 1"]),
        ("site-value", ['+JobDurationCategory = "Short"']),
        ("site-value", ['+JobFlavour = "expresso"']),
        ("unquoted-string", ["+GPUJobLength = short", "request_gpus = 1"]),
        ("quoted-boolean", ['+WantGPULab = "true"', "request_gpus = 1"]),
        ("small-unit", ["request_memory = 10"]),
        ("small-unit", ["request_disk = 30"]),
        ("small-unit", ["gpus_minimum_memory = 8", "request_gpus = 1"]),
        ("one-file-for-all", ["output = job.out", "queue 10"]),
        ("one-file-for-all", ["output = job_$(Cluster).out", "queue seed from seeds.txt"]),
        ("log-overwritten", ["log = a.log", "output = a.log"]),
        ("log-overwritten", ["log = $(Process).txt", "error = $(Process).txt", "queue 10"]),
        ("getenv", ["getenv = True"]),
        ("checkpoint-files", ["checkpoint_exit_code = 85", "transfer_output_files = a.pt"]),
        ("unknown-command", ["StreamOutput = true"]),
        ("small-unit", ["RequestMemory = 10"]),
        ("one-file-for-all", ["stdout = job.out", "queue 10"]),
        ("one-file-for-all", ["output = $(name).out", "name = job", "queue 10"]),
        ("one-file-for-all", ["output = /tmp/x.out", "initialdir = run_$(Process)", "queue 10"]),
        ("one-file-for-all", ["output = $ENV(HOME)/x.out", "queue 10"]),
        ("matches-nothing", ["requirements = (GPUs_DriverVersion >= 550.54)", "request_gpus = 1"]),
        ("matches-nothing", ["requirements = (Target.CUDADriverVersion >= 525)", "request_gpus = 1"]),
        ("matches-nothing", ["require_gpus = (525.0 <= DriverVersion)", "request_gpus = 1"]),
        ("matches-nothing", ["require_gpus = 75 <= Capability", "request_gpus = 1"]),
        ("matches-nothing", ['requirements = (GPUs_DriverVersion >= "12.0")', "request_gpus = 1"]),
        ("matches-nothing", ["require_gpus = (Capability >= 75)", "request_gpus = 1"]),
        ("matches-nothing", ["gpus_minimum_capability = 80", "request_gpus = 1"]),
        ("matches-nothing", ["gpus_minimum_runtime = 550.54", "request_gpus = 1"]),
        ("matches-nothing", ["require_gpus = (Capability >= 8) && (Capability < 7.5)", "request_gpus = 1"]),
        (
            "matches-nothing",
            ["gpus_maximum_capability = 7.0", "gpus_minimum_capability = 8.0", "request_gpus = 1"],
        ),
        ("driver-minor", ["require_gpus = (DriverVersion >= 12.9)", "request_gpus = 1"]),
        ("driver-minor", ["gpus_minimum_runtime = 12.9", "request_gpus = 1"]),
        ("gpu-in-requirements", ["requirements = (GPUs_DriverVersion >= 12.0)", "request_gpus = 1"]),
        ("gpu-in-requirements", ["Requirements = Target.CUDACapability >= 7.5", "request_gpus = 1"]),
        ("gpu-without-request", ["gpus_minimum_capability = 7.5"]),
        ("gpu-without-request", ["+WantGPULab = true"]),
        ("unpinned-image", ["container_image = docker://ghcr.io/example/mnist:noble-cuda-12.9"]),
        ("unpinned-image", ["container_image = oras://ghcr.io/example/mnist:apptainer-cuda-12.9"]),
        ("unpinned-image", ["container_image = osdf:///ospool/ap20/data/b/environment.sif"]),
        ("unpinned-image", ["docker_image = pytorch/pytorch:1.1.0-cuda10.0-cudnn7.5-runtime"]),
        ("unpinned-image", ["docker_image = ghcr.io/example/tools"]),
        ("container-command", ["docker_image = docker://example/tools@sha256:" + "ab" * 32]),
        ("contradiction", ["container_image = mnist-b8dd14a4.sif", "universe = docker"]),
        ("cached-name", ["transfer_input_files = osdf:///chtc/staging/b/bbadger/environment.sh"]),
        ("cached-name", ["transfer_input_files = osdf:///ospool/ap20/data/b/environment-v2.tar.gz"]),
        ("staging-requirement", ["transfer_input_files = file:///staging/b/bbadger/train.zip"]),
        ("staging-letter", ["transfer_input_files = osdf:///chtc/staging/bbadger/data.h5"]),
        ("retired-proxy", ["transfer_input_files = http://proxy.chtc.wisc.edu/SQUID/bbadger/data.csv"]),
        ("no-such-script", ["executable = not_there.sh", "transfer_executable = true"]),
        ("unused-variable", ["sample = 3"]),
        ("unused-variable", ['JobFlavour = "workday"']),
        (
            "undefined-variable",
            ["arguments = $(sampel)", "sample = 3", "x = $(sample)", "y = $(x)", "log = $(y).log"],
        ),
        ("undefined-variable", ["arguments = $(sampel) $(sample)", "queue sample from (", "a", ")"]),
        ("undefined-variable", ["output = $(Proces).out"]),
        ("comment-in-value", ["log = x.log  # c"]),
        ("comment-in-value", ["output = x_$(Process).out # where it is printed"]),
        ("quoted-number", ['+MaxRuntime = "3600"']),
        ("quoted-number", ['MY.RequestMemory = "4000"']),
        ("joined-environment", ["environment = A=1 B=2"]),
        ("shell-in-arguments", ["arguments = a > out.txt"]),
        ("shell-in-arguments", ["arguments = a 2>&1"]),
        ("shell-in-arguments", ["arguments = a | sort"]),
        ("shell-in-arguments", ['arguments = "a >> out.txt"']),
        ("bare-variable", ["output = x_$Process.out"]),
        ("bare-variable", ["arguments = $Process"]),
        ("bare-variable", ["arguments = --home $HOME"]),
        ("bare-variable", ["arguments = $sample $(sample)", "queue sample in (a, b)"]),
        ("unquoted-comparison", ["requirements = (OpSys == LINUX)"]),
        ("unquoted-comparison", ["requirements = TARGET.OpSys == 'LINUX'"]),
        ("unquoted-comparison", ["requirements = (Machine != node1.example.org)"]),
        ("no-such-input", ["transfer_input_files = data/nothing.csv"]),
        ("no-such-output-folder", ["output = logs/x_$(Process).out"]),
        ("no-such-output-folder", ["error = logs/x.err"]),
        ("no-file-name", ["transfer_input_files = data/a.csv data/b.csv"]),
        ("no-file-name", ["transfer_input_files = $(first) $(second), c.csv"]),
        ("no-file-name", ["transfer_input_files = data/*.csv"]),
        ("no-file-name", ["transfer_input_files = sample_$(Process)_?.csv"]),
        ("text-with-text", ['requirements = ("machine" != "node0")']),
        ("small-unit", ["request_memory = 200"]),
        ("old-image-attribute", ['+SingularityImage = "/cvmfs/singularity.opensciencegrid.org/htc/rocky:9"']),
        ("retired-scheme", ["transfer_input_files = stash:///osgconnect/public/b/data.tar.gz"]),
        ("old-system", ['requirements = OpSysAndVer == "CentOS7"']),
        ("old-system", ["requirements = (TARGET.OpSysMajorVer == 7) && (Memory > 3)"]),
        ("old-system", ['requirements = OSGVO_OS_STRING == "RHEL 7"']),
        ("mail-for-all", ["notification = Always"]),
        ("url-without-key", ["transfer_input_files = s3://bucket/key"]),
    ],
)
def test_a_fault_of_a_submit_description_is_found(tmp_path: Path, rule: str, lines: list[str]) -> None:
    """The fault is found in the first line; the same file without it has no such finding."""
    (tmp_path / "fault.sub").write_text(submit(*lines))
    assert (rule, 1) in [(each.rule, each.line) for each in lint([tmp_path / "fault.sub"])]
    assert rule not in {found for found, _ in rules_of(tmp_path, "sound.sub", submit())}


@pytest.mark.parametrize(
    "lines",
    [
        ["requirements = (a)", "requirements = $(requirements) && (b)"],
        ["if defined x", "requirements = (a)", "else", "requirements = (b)", "endif"],
        ["request_memory = 4GB", "if defined big", "request_memory = 64GB", "endif"],
        ["request_memory = 4GB", "request_memory = $(request_memory:8GB)"],
        ["arguments = a \\ ", "  b"],
        ["include : common.sub", "gpus_minimum_capability = 7.5", "checkpoint_exit_code = 85"],
        ["lr = 0.1", "arguments = $(lr)"],
        ["+Wanted = TARGET.Memory", "+Other = 5", "+Third = undefined"],
        ["output = $(Process).out", "queue 10"],
        ["output = {0}/log_{1}.out", "queue 10"],
        ["output = $(seed).out", "queue seed from seeds.txt"],
        ["output = $(a)-$(b).out", "queue a, b from (", "1, 2", "3, 4", ")"],
        ["output = x.out", "queue 1"],
        ["output = x.out", "error = x.err", "initialdir = run_$(Process)", "queue 10"],
        ["output = x.out", "initialdir = $(dir)", "queue dir from list.txt"],
        ["error = $(name).err", "name = $(stem)", "stem = x_$(Process)", "queue 10"],
        ["output = $(base).out", "error = $(f).err", "queue 1 base, f in (", "a b", ")"],
        ["output = $(f).out", "queue 1 f matching *.dat"],
        ["output = $(Item).out", "queue from list.txt"],
        ["output = /dev/null", "queue 10"],
        ["log = x.log", "output = x.out", "error = x.out"],
        ["require_gpus = 7.5 <= Capability && 9 > Capability", "request_gpus = 1"],
        ["require_gpus = (Capability >= 7.5) && (Capability < 9)", "request_gpus = 1"],
        ["require_gpus = (DriverVersion >= 10.2)", "request_gpus = 1"],
        ["gpus_minimum_runtime = 12.0", "gpus_minimum_capability = 8.6", "request_gpus = 1"],
        ["container_image = osdf:///chtc/staging/b/bbadger/mnist-b8dd14a4.sif"],
        ["container_image = oras://ghcr.io/example/mnist:apptainer-sha-ab12cd3"],
        ["container_image = $(image)", "image = x-b8dd14a4.sif"],
        ["container_image = exploded/"],
        ["docker_image = example/tools@sha256:" + "ab" * 32, "universe = docker"],
        ["transfer_input_files = osdf:///chtc/staging/b/bbadger/data.h5"],
        ["transfer_input_files = osdf:///chtc/staging/groups/lab/env-2026-11-20.tar"],
        ["checkpoint_exit_code = 85", "transfer_checkpoint_files = a.pt", "transfer_output_files = b.pt"],
        ["checkpoint_exit_code = 85"],
        [
            "RequestMemory = 4000",
            "RequestCpus = 2",
            "RequestDisk = 4GB",
            "ShouldTransferFiles = YES",
            "KillSig = 9",
        ],
        ["args = 1 2", "arguments = $(args)"],
        ["stdout = x.out", "iwd = run_$(Process)", "queue 10"],
        ["output = $(x).out", "queue x in (a, b", "  c", "  requirements", "  requirement, d", ")"],
        ["request_memory = 4096", "request_disk = 4194304"],
        ["batch_name = x", "JobBatchName = y", "want_ospool = true", "max_idle = 3"],
        ["queue 3 arguments in (a b c)"],
        # commands that no manual page has, but HTCondor's parser
        ["get_env = HOME"],
        ["core_size = 0", "tool_daemon_arguments = x", "use_scitoken = false", "tool_daemon_cmd = /bin/true"],
        ['environment2 = "A=1"', "s3_access_key_id_file = x", "s3_secret_access_key_file = y"],
        [
            "request_fpgas = 1",
            "box_oauth_permissions = read",
            "cloud_label_names = x",
            "web_container_port = 80",
        ],
        # the variable of the queue statement is the command
        ["output = job.out", "queue initialdir matching dirs run_*"],
        ["output = job.out", "error = job.err", "queue iwd in (run_0 run_1)"],
        ["error = job.err", "queue error in (a.err b.err)"],
        ["output = x.out", "arguments = $(seed)", "queue 1 seed in (7)"],
        ["container_image = environment.sif"],
        ["container_image = /cvmfs/singularity.opensciencegrid.org/htc/rocky:9"],
        ["transfer_input_files = data/in.txt", "arguments = in.txt results/in.txt"],
        ["transfer_input_files = data/in.txt", "arguments = results/in.txt"],
        ["getenv = True", "universe = local"],
        ["getenv = True", "universe = scheduler"],
        ["arguments = \"-n 'a > b' $(Process)\""],
        ["arguments = a->b x>y <tag>"],
        ["arguments = \\$HOME $$(Arch)"],
        ["executable = /bin/bash", "arguments = \"-c 'echo $HOME > x'\""],
        ["executable = /bin/sh", "arguments = -c $HOME"],
        ["requirements = (OpSys == MY.Wanted) && (Machine =!= LastRemoteHost(x)) && (Arch =!= undefined)"],
        ["requirements = (OpSysMajorVer >= 7) && (OpSysMajorVer == 9)"],
        ['requirements = (OpSysAndVer == "CentOS7") || (OpSysMajorVer > 7)'],
        ["environment = A=x y;B=2", "notification = Complete"],
        ["a = 1", "if defined a", "endif"],
        ["i = 1", "names = x, y", "arguments = $CHOICE(i,names)"],
        ["arguments = $(undefined_here_and_like_nothing)"],
        ['+Comment = "a # b"', "description = job # 3"],
        ["log = $(Cluster)#$(Process).log"],
        [
            "requirements = TARGET.Machine =!= MachineAttrMachine1 && Arch == MY.Arch && Machine != LastRemoteHost"
        ],
        ['+Wanted = "a"', "requirements = OpSysAndVer == Wanted"],
        ["copy_to_spool = false"],
        # HTCondor makes the folder of the log
        ["log = logs/x.log"],
        ["log = /dev/null", "output = /dev/null", "error = /dev/null"],
        # words that are to be replaced before it is submitted
        ["output = DIRECTORY/logs/x.out", "+JobFlavour = JOBFLAVOR"],
        ["error = <log_folder>/x.err", "output = {folder}/x.out", "transfer_input_files = a.txt"],
        ["transfer_input_files = WORKDIR/a.txt", "output = logs/SAMPLENAME_output/x.out"],
        # where it is the way to name an image
        [
            '+SingularityImage = "/cvmfs/unpacked.cern.ch/registry.cern.ch/x:1"',
            '+JobFlavour = "workday"',
        ],
        [
            '+SingularityImage = "/cvmfs/singularity.opensciencegrid.org/x:1"',
            "accounting_group = ligo.dev.o4.burst.x",
        ],
        # a name with a blank in it, and an address with a pattern
        ["transfer_input_files = two words.txt, https://example.org/a?b=*"],
        ['requirements = Machine != "node0" && OpSys == "LINUX"'],
    ],
)
def test_what_is_no_fault_is_left_alone(tmp_path: Path, lines: list[str]) -> None:
    """Lines that look like faults and are none give no finding."""
    for name in ("seeds.txt", "list.txt", "two words.txt"):
        (tmp_path / name).write_text("a\nb\n")
    for folder in ("a", "b", *(f"run_{number}" for number in range(10))):
        (tmp_path / folder).mkdir()
    assert rules_of(tmp_path, "sound.sub", submit(*lines)) == []


def test_the_hint_for_two_requirements_is_the_line_to_write(tmp_path: Path) -> None:
    """The hint joins both expressions, so that it can be pasted."""
    path = tmp_path / "a.sub"
    path.write_text(submit("requirements = HasStaging", "requirements = (Memory > 3)"))
    [finding] = lint([path])
    assert finding.hint == "write one line: requirements = (HasStaging) && ((Memory > 3))"
    assert "line 2 sets requirements again" in finding.message


def test_files_sent_flat_but_used_with_a_path(tmp_path: Path) -> None:
    """A file sent from ../src arrives without its folder; a script that calls it in ./src is told so, with
    its line.
    """
    text = submit(
        "executable = run.sh",
        "transfer_executable = true",
        "transfer_input_files = data.tar.gz, \\",
        "    ../../src/torch_MNIST.py",
    )
    script = "#!/bin/bash\nset -e\ntar -xzf data.tar.gz\npython ./src/torch_MNIST.py --epochs 3\n"
    folder = tmp_path / "templates/gpu"
    folder.mkdir(parents=True)
    assert rules_of(folder, "pack.sub", text, run_sh=script) == [("sent-flat", 4)]
    [finding] = lint([folder / "pack.sub"])
    assert "run.sh, line 4" in finding.message


def test_a_folder_sent_without_itself_but_used_with_its_name(tmp_path: Path) -> None:
    """``src/`` sends what is in src: a script that calls src/train.py is told so; without the slash, or
    with other files, nothing is.
    """
    (tmp_path / "src").mkdir()
    (tmp_path / "src/train.py").write_text("")
    script = "#!/bin/bash\nset -e\npython src/train.py\n"

    def text(entry: str) -> str:
        return submit("executable = run.sh", "transfer_executable = true", f"transfer_input_files = {entry}")

    assert rules_of(tmp_path, "a.sub", text("src/"), run_sh=script) == [("sent-flat", 3)]
    [finding] = lint([tmp_path / "a.sub"])
    assert finding.hint.endswith("without the slash at its end: src")
    assert rules_of(tmp_path, "a.sub", text("src"), run_sh=script) == []
    assert rules_of(tmp_path, "a.sub", text("src/"), run_sh=script.replace("src/", "")) == []
    assert rules_of(tmp_path, "a.sub", text("src/"), run_sh=script.replace("train", "made")) == []


def test_a_number_that_matches_nothing_is_not_proposed_anew(tmp_path: Path) -> None:
    """NVIDIA's number of a driver in requirements: the hint does not make it one of CUDA."""
    path = tmp_path / "a.sub"
    path.write_text(submit("requirements = (GPUs_DriverVersion >= 550.54)", "request_gpus = 1"))
    found = {finding.rule: finding.hint for finding in lint([path])}
    assert found["gpu-in-requirements"] == "write gpus_minimum_runtime with a version of CUDA, such as 12.0"
    assert "550" not in "".join(found.values())


@pytest.mark.parametrize(
    ("transfer", "script"),
    [
        ("../../src/train.py", "python ./train.py"),
        ("../src", "python ./src/train.py"),
        ("src/train.py", "mkdir -p src\nmv train.py src/\npython src/train.py"),
        ("train.py", "python /opt/tools/train.py"),
        ("train.py", "python $HOME/src/train.py"),
        ("src/train.py", "# was: python ./src/train.py\npython train.py"),
    ],
)
def test_files_used_where_they_are(tmp_path: Path, transfer: str, script: str) -> None:
    """Plain names, folders that were sent or made, and absolute paths are no fault."""
    text = submit("executable = run.sh", "transfer_executable = true", f"transfer_input_files = {transfer}")
    folder = tmp_path / "templates/gpu"
    folder.mkdir(parents=True)
    assert rules_of(folder, "a.sub", text, run_sh=f"#!/bin/bash\nset -e\n{script}\n") == []


@pytest.mark.parametrize(
    ("script", "finds"),
    [
        ("./environment-b8dd14a4.sh\npython train.py", ["environment-b8dd14a4.sh"]),
        ("python infer.py", ["infer.py"]),
        ("time python3 -u infer.py --fast", ["infer.py"]),
        ("./environment.sh\npython train.py", []),
        ("./run.sh --again", []),
        ("tar -xzf environment.sh\npython infer.py", []),
        ("cd work\npython infer.py", []),
        ("cat > infer.py <<END\nprint()\nEND\npython infer.py", []),
        ("python -m venv x\npython -c 'import y'", []),
    ],
)
def test_what_the_script_runs_must_be_sent(tmp_path: Path, script: str, finds: list[str]) -> None:
    """A script or program that is run, is not sent and cannot have been made before is named."""
    (tmp_path / "run.sh").write_text(f"#!/bin/bash\nset -e\n{script}\n")
    path = tmp_path / "a.sub"
    path.write_text(
        submit(
            "transfer_input_files = osdf:///chtc/staging/b/bbadger/x-b8dd14a4/environment.sh, train.py",
            "executable = run.sh",
            "transfer_executable = true",
        )
    )
    found = [finding for finding in lint([path]) if finding.rule == "not-sent"]
    assert [finding.message.split(" runs ")[1].split(",")[0] for finding in found] == finds
    assert all(finding.line == 1 for finding in found)


def test_nothing_is_said_of_files_on_machines_that_may_share_a_folder(tmp_path: Path) -> None:
    """A description that sends nothing and says nothing of sending may be for machines that see the same
    folders.
    """
    script = "#!/bin/bash\nset -e\npython infer.py\n"
    lines = ("executable = run.sh", "transfer_executable = true")
    assert rules_of(tmp_path, "a.sub", submit(*lines), run_sh=script) == []
    sends = submit(*lines, "should_transfer_files = YES")
    assert rules_of(tmp_path, "a.sub", sends, run_sh=script) == [("not-sent", 1)]


def test_relative_paths_that_are_preserved(tmp_path: Path) -> None:
    """With preserve_relative_paths the folders travel along."""
    text = submit(
        "executable = run.sh",
        "transfer_executable = true",
        "preserve_relative_paths = true",
        "transfer_input_files = src/train.py",
    )
    assert rules_of(tmp_path, "a.sub", text, run_sh="#!/bin/bash\nset -e\npython src/train.py\n") == []


def test_the_script_of_a_shell_that_is_the_executable(tmp_path: Path) -> None:
    """With executable = /bin/bash the script is the argument."""
    text = submit(
        "executable = /bin/bash", "arguments = run.sh", "transfer_input_files = run.sh, src/train.py"
    )
    assert rules_of(tmp_path, "a.sub", text, run_sh="#!/bin/bash\nset -e\npython src/train.py\n") == [
        ("sent-flat", 3)
    ]


def test_what_is_missing_is_told_at_the_queue(tmp_path: Path) -> None:
    """No event log and no requests: told where the jobs are made."""
    found = rules_of(tmp_path, "a.sub", "executable = /bin/true\nqueue 1\n")
    assert found == [("no-log", 2), ("no-request", 2)]


def test_no_executable(tmp_path: Path) -> None:
    """A description that says nothing of what is executed is refused; one with an image executes what
    that has.
    """
    rest = "log = x.log\nrequest_cpus = 1\nrequest_memory = 1GB\nrequest_disk = 1GB\nqueue\n"
    assert rules_of(tmp_path, "a.sub", rest) == [("no-executable", 5)]
    assert rules_of(tmp_path, "a.sub", "executable =\n" + rest) == [("no-executable", 1)]
    assert rules_of(tmp_path, "a.sub", "container_image = x.sif\n" + rest) == []
    assert rules_of(tmp_path, "a.sub", "+IsBuildJob = true\n" + rest) == []  # submitted with -interactive


def test_no_queue(tmp_path: Path) -> None:
    """A file that submits nothing says so at its end."""
    assert rules_of(tmp_path, "a.sub", "executable = /bin/true\nlog = a.log\n") == [("no-queue", 2)]


def test_what_may_be_in_an_included_file(tmp_path: Path) -> None:
    """What a description lacks may be in the file that it includes; a job of the local universe needs no
    request; and an
    absolute path is one of the machine that submits."""
    assert rules_of(tmp_path, "a.sub", "include : common.sub\nexecutable = /not/here\nqueue\n") == []
    assert rules_of(tmp_path, "a.sub", "include : all.sub\n") == []
    local = "universe = local\nexecutable = /bin/true\nlog = a.log\nqueue\n"
    assert rules_of(tmp_path, "a.sub", local) == []
    grid = "universe = grid\ngrid_resource = batch slurm\nexecutable = /bin/true\nlog = a.log\nqueue\n"
    assert rules_of(tmp_path, "a.sub", grid) == []


def test_requests_by_other_ways(tmp_path: Path) -> None:
    """What is asked for by an attribute of the job counts; CERN's batch service gives memory and disk
    with each core.
    """
    asked = "executable = /bin/true\nlog = a.log\n+RequestCpus = 4\nrequest_memory = 1GB\nrequest_disk = 1GB\nqueue\n"
    assert rules_of(tmp_path, "a.sub", asked) == []
    cern = 'executable = /bin/true\nlog = a.log\n+JobFlavour = "workday"\nqueue\n'
    assert rules_of(tmp_path, "a.sub", cern) == []


@pytest.mark.htcondor
def test_what_htcondor_cannot_parse(tmp_path: Path) -> None:
    """HTCondor's own parser is asked too."""
    assert "syntax" in dict(rules_of(tmp_path, "a.sub", submit("if defined x", "arguments = 1")))


@pytest.mark.htcondor
@pytest.mark.parametrize(
    "lines",
    [
        ["include command : touch EXECUTED"],
        ["include command into made.txt : touch EXECUTED"],
        ["include output : touch EXECUTED"],
        ["include : touch EXECUTED |"],
        ["include : touch_it.sub"],
        ["include ifexist : touch_it.sub"],
        ["include command from EXECUTED : touch EXECUTED"],
        ["@include command : touch EXECUTED"],
        ["\x0b\tInclude Command: touch EXECUTED"],
        ["incl\\", "ude command : touch EXECUTED"],
        ["I\\", "NCLUDE command : touch EXECUTED"],
        ["incl\\ ", "ude command : touch EXECUTED"],
        ["incl\\", "# between \\", "ude command : touch EXECUTED"],
        ["\\", "include command : touch EXECUTED"],
        ["# a comment \\", "include command : touch EXECUTED"],
        ["if true", "include command : touch EXECUTED", "endif"],
        ["if true", " : include command : touch EXECUTED", "endif"],
        ["if false", "else", "  include command : touch EXECUTED", "endif"],
        ["text @=end", "@end", "include command : touch EXECUTED"],
        ["use feature : touch_it"],
        ["@use feature : touch_it"],
        ["queue", "include command : touch EXECUTED"],
        ["queue x from touch EXECUTED |"],
        ["queue from touch EXECUTED|"],
        ["QUEUE x FROM touch EXECUTED |"],
        ["queue 1 x from [0:1] touch EXECUTED |"],
        ["queue x from table touch EXECUTED |"],
        ["iterate x from touch EXECUTED |"],
        ["iter x from touch EXECUTED |"],
        ["\tItera x from touch EXECUTED |"],
        ["iter\\", "ate x from touch EXECUTED |"],
        ["que\\", "ue x from touch EXECUTED |"],
        ["  q\\", "# between \\", "ueue x from touch EXECUTED |"],
        ["\\", "queue x from touch EXECUTED |"],
        ["queue x from \\", "touch EXECUTED |"],
        ["queue x \\", "  \\", " from touch EXECUTED \\", "|"],
        ["c = touch EXECUTED |", "queue x from $(c)"],
        ["c = x from touch EXECUTED |", "queue $(c)"],
        ["c = 1", "if true", "c = x from touch EXECUTED |", "endif", "queue $(c)"],
        ["c = |", "queue x from touch EXECUTED $(c)"],
        ["queue $(c:x from touch EXECUTED |)"],
        ["if true", "queue x from touch EXECUTED |", "endif"],
        ["if true", "\x0cqueue x from touch EXECUTED |", "endif"],
        ["executable = touch", "transfer_plugins = x=touch EXECUTED", "use_oauth_services = touch"],
        ["queue x from (", "include command : touch EXECUTED", ")"],
        ["queue x from touch_it.sub"],
        ["queue x in `touch EXECUTED`"],
        ["queue x matching files *.sub"],
        ["executable = touch EXECUTED |", "arguments = `touch EXECUTED` $(touch EXECUTED)"],
        ["x = $RANDOM_CHOICE(a,b) $F(touch_it.sub) $ENV(HOME) $EVAL(1)", "if defined x", "endif"],
        ["warning : touch EXECUTED"],
    ],
)
def test_nothing_of_the_file_is_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    """Whatever a description would have executed when it is submitted: looking at it starts nothing and
    writes nothing.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "touch_it.sub").write_text("include command : touch EXECUTED\n")
    (tmp_path / "a.sub").write_text(submit(*lines))
    lint([Path("a.sub")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.sub", "touch_it.sub"]


@pytest.mark.parametrize(
    ("rule", "line", "script"),
    [
        ("unpinned-installer", 3, "curl -fsSL https://pixi.sh/install.sh | bash"),
        ("unpinned-installer", 3, "wget -qO- https://example.org/install.sh | sudo sh -s -- -y"),
        ("unpinned-installer", 3, "bash <(curl -sL https://example.org/install)"),
        *(
            ("unpinned-installer", 3, line)
            for line in (
                "curl -fsSL https://example.org/install.sh | sudo -E bash -",
                "curl -fsSL https://example.org/install.sh | /bin/bash",
                "curl -fsSL https://example.org/install.sh | env A=b /usr/bin/env bash -s -- -y",
                'eval "$(curl -fsSL https://example.org/hook)"',
                "source <(curl -fsSL https://example.org/hook)",
                ". <(curl -fsSL https://example.org/hook)",
                'bash <<< "$(wget -qO- https://example.org/hook)"',
                "curl -sSL https://install.python-poetry.org | python3 -",
                "curl -sSL https://install.python-poetry.org | python3.11",
                'curl -fsSL "https://example.org/install?os=linux&arch=x86_64" | bash',
                "curl -fsSL https://example.org/install?os=linux&arch=x86_64 | bash",
                "curl -fsSL https://example.org/install.sh 2>&1 | tee log | bash",
                "V=3.11; curl -fsSL https://example.org/install.sh | bash",
                "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y",
                "curl -LsSf https://astral.sh/uv/install.sh | env UV_INSTALL_DIR=$PWD sh && uv sync --python 3.12",
            )
        ),
        ("unpinned-installer", 3, 'sh -c "$(curl -fsSL https://example.org/install.sh)"'),
        ("moving-download", 3, "wget https://repo.anaconda.com/miniconda/Miniconda3-latest-Linux-x86_64.sh"),
        ("moving-download", 3, "curl -Ls https://micro.mamba.pm/api/micromamba/linux-64/latest | tar -xvj"),
        ("moving-download", 3, "wget https://github.com/a/b/archive/master.tar.gz"),
        ("moving-download", 3, "curl -O https://raw.githubusercontent.com/a/b/refs/heads/main/probe.py"),
        ("unfrozen-install", 3, "time pixi run train"),
        ("unfrozen-install", 3, "pixi install --environment gpu"),
        ("unlocked-environment", 3, "conda env create -f environment.yml"),
        ("unlocked-environment", 3, "pip install torch torchvision"),
        ("unlocked-environment", 3, "pip install --target deps 'torch>=2' > log"),
        ("unlocked-environment", 3, "python3 -m pip install -q numpy 2>&1"),
        ("blank-after-backslash", 3, "python main.py \\ \n  data"),
        ("lost-option", 4, "python main.py\n  --epochs 20"),
        ("lost-option", 4, "python main.py\n  --epochs $(cat n)"),
        ("lost-option", 5, "python main.py \\\n  # many\n  --epochs 20"),
        ("lost-option", 6, "args=(\n  --a\n)\n--epochs 20"),
        *(
            (
                "unpinned-installer",
                3 + before.count("\n"),
                f"{before}curl -fsSL https://example.org/i.sh | bash",
            )
            for before in (
                'cat <<< "hello"\n',
                "cat <<<hello\n",
                "echo $((1<<4))\n",
                'echo "$((1 <<4))"\n',
                "if (( x<<2 > 4 )); then x=1; fi\n",
                "let x=1<<4\n",
                'echo "cat <<END"\n',
                "echo '<<END'\n",
                "x=5 # cat <<END\n",
                "cat <<END | sort\nit's\nEND\n",
                "cat <<-'END OF IT'\n\tit's\n\tEND OF IT\n",
                'cat <<\\END-1 > x \\\n  && true\n"\nEND-1\n',
                "cat <<A <<B\n'\nA\n\"\nB\n",
                'cat <<END\n  END\n"\nEND\n',
                'x="$(cat <<END\nit\'s "\nEND\n)"\n',
                "echo \"it's\" it\\'s $'it\\'s' \"${x:-it's}\" # it's\n",
                'echo "$(echo "a" | sed \'s/"//\')" "${x#\\"}" ${#x} $# a#\' \'\n',
                "echo ${x//(/} $( (true) ) ${x%%#*}\n",
                "echo 'not closed in \"this' line\"\n",
                'echo "an escape \\\\"\n',
            )
        ),
        ("not-waited-for", 3, "srun python x.py &"),
        ("not-waited-for", 4, "for i in 1 2; do\n  ./run $i > $i.log 2>&1 &\ndone\necho started"),
        ("not-waited-for", 3, "for i in 1 2; do ./run $i & done"),
        ("gpu-chosen-by-hand", 3, "export CUDA_VISIBLE_DEVICES=0"),
        ("home-in-job", 3, ". ~/.bashrc"),
        ("home-in-job", 3, 'source "$HOME/.bashrc"'),
        ("home-in-job", 3, "cp out.txt ~/results/"),
        ("home-in-job", 3, "cd $HOME"),
        ("home-in-job", 3, 'python3 -u "${HOME}/src/train.py" --fast'),
    ],
)
def test_a_fault_of_a_script_is_found(tmp_path: Path, rule: str, line: int, script: str) -> None:
    """Each fault alone in an otherwise sound script is the only finding."""
    found = rules_of(tmp_path, "fault.sh", f"#!/bin/bash\nset -e\n{script}\n")
    assert found == [(rule, line)]


@pytest.mark.parametrize(
    "script",
    [
        "curl -fsSL https://pixi.sh/install.sh | PIXI_VERSION=v0.77.0 bash",
        "curl -fsSL https://example.org/v1.2.3/install.sh | bash",
        "export PIXI_VERSION=v0.77.0\ncurl -fsSL https://pixi.sh/install.sh | bash",
        "V=1.2\ncurl -fsSL https://example.org/$V/install.sh | bash",
        "curl -fsSL https://example.org/install.sh | bash -s -- --version 1.2.3",
        "curl -s https://example.org/status | python3 -m json.tool",
        "curl -s https://example.org/data | python3 -c 'import sys' | python3 read.py",
        "curl -fO https://example.org/data.csv || bash get_elsewhere.sh",
        "curl -fO https://example.org/data.csv && bash run.sh",
        "curl -s https://example.org/list | grep sh | sort.sh",
        "x=$(curl -s https://example.org/list)",
        'echo "first: curl https://example.org/i.sh | bash; then pip install torch, then pixi run x"',
        "echo now pip install torch > log; printf '%s' 'conda env create'",
        "pip install --target deps torch==2.5.1",
        "pip install torch==2.5.1 > log 2>&1",
        "pip install -t deps -r requirements.txt --no-binary :all: torch==2.5.1 2> err.txt",
        "./run &\nwait",
        "nohup ./server &",
        "./monitor &\npython x.py",
        "./run > log 2>&1 && ./run2 &> log2",
        'test "$a" = b \\&',
        "pip install --no-index --find-links wheels mine",
        "pip install .[test] $EXTRA 'torch==2.5.1'",
        "curl -fsSL https://example.org/data.csv -o data.csv",
        "curl -fO https://example.org/latest_results.csv -o latest/a",
        "# curl https://example.org/install.sh | bash",
        'echo "pixi is a tool"',
        "export PIXI_FROZEN=true\npixi run train",
        "pixi run --locked train",
        "pip install --no-deps torch==2.9.1",
        "pip install ./wheels/mine-1.0-py3-none-any.whl",
        "export HOME=$PWD\n. ~/.bashrc",
        "export HOME=$PWD\ncp a ~/b",
        "test -f ~/.bashrc && echo found",
        "cp a~ b~; python x.py --name=~x HOMES/$HOMES",
        "echo cd ~",
        "echo $CUDA_VISIBLE_DEVICES",
        "cat <<END\n--option\ncurl x | bash\nEND",
        'args=(\n  --epochs 10  # it\'s many\n  -n 3\n)\npython x.py "${args[@]}"',
        "args+=(\n\n  --epochs $(cat n)\n  # --more\n  --x (\n)\n)",
        "while [ $# -gt 0 ]; do\n  case $1 in\n    -n | --name) shift ;;\n    --x=*) x=1 ;;\n    -q)\n  esac\ndone",
        'usage="\n  -n N  how many\n  --quiet\n"',
        "python -c '\n-x\n'",
        'echo "$(\n  cat <<END\n--x\nEND\n)"',
        "x=${1#prefix}\necho a#b '# no comment'",
    ],
)
def test_sound_scripts_are_left_alone(tmp_path: Path, script: str) -> None:
    """Pinned, frozen, commented out or in a here-document: no finding."""
    assert rules_of(tmp_path, "sound.sh", f"#!/bin/bash\nset -e\n{script}\n") == []


def test_a_script_without_first_line_and_errexit(tmp_path: Path) -> None:
    """What a script lacks as a whole is told at its first line."""
    found = rules_of(tmp_path, "a.sh", "tar -xf a.tar\npython x.py\necho done\n")
    assert found == [("goes-on-after-failure", 1), ("no-shebang", 1)]


@pytest.mark.parametrize(
    "script",
    [
        "set -o pipefail -e\ntar -xf a.tar\npython x.py",
        "set -u -o errexit\ntar -xf a.tar\npython x.py",
        "set -Eeuo pipefail\ntar -xf a.tar\npython x.py",
        "trap 'exit 1' ERR\ntar -xf a.tar\npython x.py",
        "tar -xf a.tar || exit 1\npython x.py\nrc=$?\nrm -r a\nexit $rc",
        "echo hello\nhostname\nexport A=1\nmodule load cuda\npython x.py",
    ],
)
def test_a_script_that_ends_with_what_failed(tmp_path: Path, script: str) -> None:
    """However a script sees to it that a failure is its own, and if nothing before its last command can
    fail, it is left alone.
    """
    assert rules_of(tmp_path, "a.sh", f"#!/bin/bash\n{script}\n") == []


@pytest.mark.parametrize("script", ["set -o pipefail\ntar -xf a.tar\npython x.py", "python x.py\necho\ndate"])
def test_a_script_that_hides_a_failure(tmp_path: Path, script: str) -> None:
    """A failure before the last command is lost: pipefail alone does not end a script."""
    assert rules_of(tmp_path, "a.sh", f"#!/bin/bash\n{script}\n") == [("goes-on-after-failure", 2)]


def test_windows_line_ends(tmp_path: Path) -> None:
    """Carriage returns are named: bash\\r is no program."""
    assert rules_of(tmp_path, "a.sh", "#!/bin/bash\r\nset -e\r\necho x\r\n") == [("windows-line-ends", 1)]


@pytest.mark.parametrize(
    ("rule", "line", "text"),
    [
        ("sbatch-too-late", 5, "#SBATCH -t 10\n#SBATCH --mem=1G\nset -e\n#SBATCH --gpus=1\n"),
        ("sbatch-twice", 2, "#SBATCH --time=10\n#SBATCH -t 20\n#SBATCH --mem=1G\n"),
        ("sbatch-variable", 4, "#SBATCH -t 10\n#SBATCH --mem=1G\n#SBATCH --output=/scratch/$USER/x.out\n"),
        ("sbatch-variable", 4, "#SBATCH -t 10\n#SBATCH --mem=1G\n#SBATCH -o ~/logs/x.out\n"),
        ("sbatch-no-time", 2, "#SBATCH --mem=1G\n"),
        ("sbatch-no-memory", 2, "#SBATCH --time=10\n"),
        ("sbatch-gpus-twice", 4, "#SBATCH -t 10\n#SBATCH --mem=1G\n#SBATCH --gres=gpu:1\n#SBATCH --gpus=1\n"),
        ("sbatch-one-file-for-all", 5, "#SBATCH -t 10\n#SBATCH --mem=1G\n#SBATCH -a 0-9\n#SBATCH -o x.out\n"),
        ("sbatch-memory-unit", 3, "#SBATCH -t 10\n#SBATCH --mem 4\n"),
    ],
)
def test_a_fault_of_an_sbatch_script_is_found(tmp_path: Path, rule: str, line: int, text: str) -> None:
    """Each fault alone is the only finding, at its line."""
    assert rules_of(tmp_path, "fault.sbatch", f"#!/bin/bash\n{text}") == [(rule, line)]


@pytest.mark.parametrize(
    "text",
    [
        "#SBATCH --mail-type=END\n#SBATCH --mail-type=FAIL\n",
        "#SBATCH --array=7\n#SBATCH -o x.out\n",
        "#SBATCH --array=0-9\n#SBATCH -o x_%a.out\n#SBATCH -e /dev/null\n",
        "#SBATCH --array=0-9\n#SBATCH -o x.out\n#SBATCH --open-mode=append\n",
        "#SBATCH -o x~y.out\n",
    ],
)
def test_sbatch_options_that_are_no_fault(tmp_path: Path, text: str) -> None:
    """Options that add to each other, arrays of one task, and files that nobody reads or all append to
    are left alone.
    """
    text = f"#!/bin/bash\n#SBATCH -t 10\n#SBATCH --mem=1G\n{text}\n./run\n"
    assert rules_of(tmp_path, "sound.sbatch", text) == []


def test_a_file_that_scripts_read(tmp_path: Path) -> None:
    """A file of settings that others read needs no first line and stops at nothing; with a command in it,
    it is a script.
    """
    text = "# settings\nexport A=1\nmodule load cuda\nsource env/bin/activate\nB=2\n"
    assert rules_of(tmp_path, "settings.sh", text) == []
    assert ("no-shebang", 1) in rules_of(tmp_path, "settings.sh", text + "python x.py\n")


def test_ignoring_a_rule(tmp_path: Path) -> None:
    """A comment in the line, or alone above it, keeps the rule it names quiet, and no other."""
    above = submit("# wingspan: ignore=getenv", "getenv = True")
    assert rules_of(tmp_path, "a.sub", above) == []
    assert rules_of(tmp_path, "a.sub", above.replace("ignore=getenv", "ignore=no-log")) == [("getenv", 2)]
    script = "#!/bin/bash\nset -e\ncurl https://x.org/i.sh | bash  # wingspan: ignore=unpinned-installer\n"
    assert rules_of(tmp_path, "a.sh", script) == []


def test_every_rule_says_why_and_whence() -> None:
    """The table of rules is complete: a hint, a reason and a source for each; and each has a test here."""
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for name, rule in RULES.items():
        assert rule.hint, name
        assert rule.why.endswith("."), name
        assert rule.source, name
        assert f'"{name}"' in text, f"{name} is not tested"


@pytest.mark.parametrize("content", [b"\xff\xfe\x00binary", b"just words\n", b"executable = x\nqueue\n\0"])
def test_what_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    """Binary files and files of no known kind are an error, not a clean result."""
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(LintError, match="file"):
        lint([tmp_path / "file"])


def test_a_dag_is_told_from_a_submit_file(tmp_path: Path) -> None:
    """A description of a DAG is not judged as a submit file: the hint names what can be looked at."""
    (tmp_path / "all.dag").write_text("JOB first first.sub\nPARENT first CHILD second\n")
    with pytest.raises(LintError) as told:
        lint([tmp_path / "all.dag"])
    assert told.value.hint == "it describes a DAG: name the submit files of its jobs instead"


def test_data_in_a_folder_is_passed_over(tmp_path: Path) -> None:
    """A self-extracting environment of many megabytes beside the job files is no job file; named itself, it
    is refused.
    """
    (tmp_path / "train.sub").write_text(submit())
    with (tmp_path / "environment.sh").open("wb") as stream:
        stream.truncate(5 << 20)
    assert lint([tmp_path]) == []
    with pytest.raises(LintError, match="too large"):
        lint([tmp_path / "environment.sh"])


def test_what_tools_keep_in_a_folder_is_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folders of Git and Pixi are not looked into; a file beside the job files that is not UTF-8 is named,
    and is no reason to
    end: neither from Python nor in the command.
    """
    (tmp_path / "train.sub").write_text(submit())
    (tmp_path / "mvnw.cmd").write_text("@REM of Windows\n@echo off\n")
    for kept in (".git/hooks", ".pixi/envs/default/etc", "src/__pycache__", "venv/bin"):
        (tmp_path / kept).mkdir(parents=True)
        (tmp_path / kept / "theirs.sh").write_bytes(b"caf\xe9\n")
    (tmp_path / "venv/pyvenv.cfg").touch()
    assert lint([tmp_path]) == []
    (tmp_path / "latin.sh").write_bytes(b"#!/bin/sh\n# caf\xe9\n")
    with pytest.warns(LintWarning, match=r"left out: .*latin\.sh is not text"):
        assert lint([tmp_path]) == []
    code, out, err = run(capsys, str(tmp_path))
    assert (code, out) == (0, "")
    assert err.startswith("Note: left out: ")


def test_scripts_in_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a folder's scripts, those are looked at that a submit file there executes, and sbatch scripts,
    whatever their names;
    with --scripts, all.
    """
    bad = "#!/bin/bash\nset -e\nexport CUDA_VISIBLE_DEVICES=0\n"
    (tmp_path / "job.sub").write_text(submit("executable = bin/run.sh", "transfer_executable = true"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/run.sh").write_text(bad)
    (tmp_path / "install.sh").write_text(bad)
    (tmp_path / "train_gpu").write_text("#!/bin/bash -l\n#SBATCH --time=1:00:00\n" + bad.partition("\n")[2])
    (tmp_path / "notes").write_text("#SBATCH is what sbatch reads\n")
    (tmp_path / "submit.sh").write_text(
        "#!/bin/bash\nexport CUDA_VISIBLE_DEVICES=0\nsbatch << END\n#!/bin/bash\n#SBATCH --mem=1G\nEND\n"
    )
    (tmp_path / "analysis.py").write_text("#!/usr/bin/env python3\n#SBATCH --mem=1G\nx = 1\n")
    (tmp_path / "setup.submit").write_text("not a job at all\n")
    names = ["analysis.py", "bin/run.sh", "train_gpu", "train_gpu"]
    assert sorted(each.file.removeprefix(f"{tmp_path}/") for each in lint([tmp_path])) == names
    every = {each.file.removeprefix(f"{tmp_path}/") for each in lint([tmp_path], scripts=True)}
    assert every == {"analysis.py", "bin/run.sh", "install.sh", "submit.sh", "train_gpu", "setup.submit"}
    assert "install.sh" not in run(capsys, str(tmp_path))[1]
    assert "install.sh" in run(capsys, "--scripts", str(tmp_path))[1]


def test_the_first_line_says_more_than_the_suffix(tmp_path: Path) -> None:
    """Slurm sites call their scripts .sub too, and people their submit descriptions .sh; sbatch takes scripts
    in Python, to which
    a shell's rules do not apply."""
    slurm = "#!/bin/bash\n#SBATCH --mem=1G\nset -e\nsrun x\n"
    assert rules_of(tmp_path, "job.sub", slurm) == [("sbatch-no-time", 2)]
    shebang = "#!/bin/bash\n" + submit("getenv = True")
    assert rules_of(tmp_path, "job.sub", shebang) == [("getenv", 2)]
    described = "#-*-shell-script-*-\n" + submit("getenv = True")
    assert rules_of(tmp_path, "job.sh", described) == [("getenv", 2)]
    python = "#!/usr/bin/env python3\n#SBATCH --mem=1G\nimport os\nx = 1\n--x\nprint(x)\n"
    assert rules_of(tmp_path, "job.sbatch", python) == [("sbatch-no-time", 2)]


def test_an_executable_that_is_no_script(tmp_path: Path) -> None:
    """A program, or a file that is too large for a script, is not read as one; nor is a name too long for
    a file.
    """
    (tmp_path / "run").write_bytes(b"\x7fELF\0\npython src/a.py\n")
    lines = ("transfer_executable = true", "transfer_input_files = src/a.py")
    assert rules_of(tmp_path, "a.sub", submit("executable = run", *lines)) == []
    (tmp_path / "run").write_bytes(b"python src/a.py\n" + b"#" * (4 << 20))
    assert rules_of(tmp_path, "a.sub", submit("executable = run", *lines)) == []
    long = submit(f"executable = {'x' * 300}", *lines)
    assert rules_of(tmp_path, "a.sub", long) == [("no-such-script", 1)]


def test_an_empty_folder(tmp_path: Path) -> None:
    """A folder without job files is an error, so that a mistyped path is not taken for clean."""
    with pytest.raises(LintError, match="no submit file"):
        lint([tmp_path])


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["lint", *argv])
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, err


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 and file:line: message with findings; 0 and silence without; 2 for what cannot be read."""
    (tmp_path / "bad.sub").write_text(submit("getenv = True"))
    (tmp_path / "good.sub").write_text(submit())
    code, out, err = run(capsys, str(tmp_path / "bad.sub"))
    assert code == 1
    assert out.startswith(f"{tmp_path}/bad.sub:1: ")
    assert "[getenv]" in out
    assert "\x1b" not in out
    assert err == "1 finding.\n"
    assert run(capsys, str(tmp_path / "good.sub")) == (0, "", "")
    code, _, err = run(capsys, str(tmp_path / "absent.sub"))
    assert code == 2
    assert "absent.sub is not there" in err
    assert run(capsys)[0] == 2


def test_the_commands_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json is a list of {file, line, rule, message, hint}, empty when nothing is found."""
    (tmp_path / "bad.sub").write_text(submit("docker_pull_policy = missing"))
    code, out, _ = run(capsys, "--json", str(tmp_path / "bad.sub"))
    assert code == 1
    [finding] = json.loads(out)
    assert set(finding) == {"file", "line", "rule", "message", "hint"}
    assert (finding["line"], finding["rule"]) == (1, "undocumented-value")
    (tmp_path / "good.sub").write_text(submit())
    code, out, _ = run(capsys, "--json", str(tmp_path / "good.sub"))
    assert (code, json.loads(out)) == (0, [])


def test_the_commands_rules(capsys: pytest.CaptureFixture[str]) -> None:
    """--rules lists every rule."""
    code, out, _ = run(capsys, "--rules", "--json")
    assert code == 0
    assert {entry["rule"] for entry in json.loads(out)} == set(RULES)
    assert "two-requirements" in run(capsys, "--rules")[1]


def dry_run(pool: PersonalPool, folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """What condor_submit says to a description, and the job ad it would make."""
    (folder / "job.sub").write_text(text)
    return subprocess.run(
        ["condor_submit", "-dry-run", "-", "job.sub"],
        cwd=folder,
        env={**os.environ, **pool.environment()},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.htcondor
def test_the_real_condor_submit_agrees(personal_pool: PersonalPool, tmp_path: Path) -> None:
    """What rules say of HTCondor is what its condor_submit does: requirements lost, universes refused, names
    ignored.
    """
    lost = dry_run(personal_pool, tmp_path, submit("requirements = HasStaging", "requirements = (Mips > 3)"))
    assert lost.returncode == 0
    assert "Mips > 3" in lost.stdout
    assert "HasStaging" not in lost.stdout
    refused = dry_run(
        personal_pool, tmp_path, submit("universe = docker", "container_image = docker://example/a")
    )
    assert refused.returncode != 0
    ignored = dry_run(personal_pool, tmp_path, submit("request_gpu = 1"))
    assert "RequestGPUs" not in ignored.stdout
    assert dry_run(personal_pool, tmp_path, submit("stream_output = yes")).returncode != 0
    named = dry_run(personal_pool, tmp_path, submit("RequestMemory = 7", "iwd = /", "stdout = x.out"))
    assert all(f"\n{line}\n" in named.stdout for line in ("RequestMemory=7", 'Iwd="/"', 'Out="x.out"'))
    joined = dry_run(personal_pool, tmp_path, submit("arguments = a \\ ", "  b"))
    assert 'Args="a b"' in joined.stdout


@pytest.mark.htcondor
def test_the_sound_description_is_accepted(personal_pool: PersonalPool, tmp_path: Path) -> None:
    """The description that has no findings is one that condor_submit takes."""
    (tmp_path / "train.sh").write_text(SOUND_SCRIPT)
    taken = dry_run(personal_pool, tmp_path, SOUND_SUBMIT)
    assert taken.returncode == 0, taken.stderr
    assert 'GPUJobLength="short"' in taken.stdout


def test_looking_leaves_the_environment_alone(tmp_path: Path) -> None:
    """HTCondor's bindings put CONDOR_CONFIG into the environment of whoever imports them; a map would
    then take it for a site's pool.
    """
    (tmp_path / "a.sub").write_text("executable = /bin/true\nqueue\n")
    code = (
        "import os, sys; from pathlib import Path; from wingspan.lint import lint; from wingspan.pools.event_log import EventLog\n"
        "lint([Path(sys.argv[1])]); Path('log').touch(); print(list(EventLog(Path('log')).poll()), 'htcondor2' in sys.modules)\n"
        "from wingspan.pools._select import site_condor; print(os.environ.get('CONDOR_CONFIG'), site_condor())"
    )
    clean = {key: value for key, value in os.environ.items() if "CONDOR" not in key.upper()}
    command = [sys.executable, "-c", code, "a.sub"]
    done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=True)
    assert done.stdout == "[] True\nNone None\n"


def test_the_documentation_has_every_rule() -> None:
    """docs/lint.md lists each rule with the reason that the program gives."""
    text = Path(__file__).parents[2].joinpath("docs", "lint.md").read_text()
    for name, rule in RULES.items():
        escaped = rule.why.replace("|", r"\|")
        assert f"| `{name}` | {escaped} |" in text, (
            f"docs/lint.md says something else of {name}: python tools/lint_docs.py"
        )


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("submit.sh", "universe = vanilla\nexecutable = a.sh\n+X = 1\nqueue\n", "submit"),
        (
            "resubmit.sh",
            "#/bin/bash\nargs=$1\nfor i in $args\ndo\ncat > x <<EOF\nexecutable = a\nqueue\nEOF\ndone\n",
            "shell",
        ),
        ("queues.py", "import os\nimport sys\ndef submit():\n    'send it to a'\n    queue\n", None),
    ],
)
def test_what_writes_submit_files_is_none(name: str, text: str, kind: str | None, tmp_path: Path) -> None:
    """A program that has a submit description in it is taken for what it is."""
    assert kind_of(tmp_path / name, text) == kind


def test_a_script_that_submits_others(tmp_path: Path) -> None:
    """It is executed by hand: what is a fault in a job is none in it, unless it is a job itself."""
    path = tmp_path / "start.sh"
    lines = [
        "module load git",
        "pip install numpy",
        "source ~/.bashrc",
        "for i in 1 2; do sbatch job.sh $i; done",
    ]
    path.write_text("\n".join(lines))
    assert lint([path]) == []
    path.write_text("\n".join(["#!/bin/bash", "#SBATCH --mem=1G --time=5", *lines]))
    assert {each.rule for each in lint([path])} == {"unlocked-environment"}


_WORDS = st.sampled_from(
    [
        "requirements", "=", "queue", "if", "endif", "else", "\\", "\n", "\r\n", "$(", ")", "'", '"', "#", "<<", "END",
        "#SBATCH", "--mem", "transfer_input_files", "a/b.py", ",", "|", "bash", "curl", "+X", "@=", "pip install", " ", "\t",
    ]
)  # fmt: skip


#: More for a long run: WINGSPAN_EXAMPLES=20000, and --hypothesis-seed for another one.
MANY = int(os.environ.get("WINGSPAN_EXAMPLES", "150"))


@given(st.lists(st.one_of(_WORDS, st.text(max_size=5)), max_size=40))
@settings(max_examples=MANY)
def test_no_text_upsets_it(tmp_path: Path, words: list[str]) -> None:
    """Whatever a file holds, as either kind, there are findings or none, with lines of that file; never a
    crash.
    """
    path = tmp_path / "file.sub"
    path.write_bytes("".join(words).encode("utf-8", "surrogatepass"))
    for kind in ("submit", "shell"):
        try:
            findings = lint([path], kind=kind)  # type: ignore[arg-type]
        except LintError:  # not UTF-8
            return
        assert all(finding.line >= 1 for finding in findings)


@given(
    st.sampled_from(
        ["", "executable = /bin/true\n", "requirements = ", "#!/bin/bash\n", "#!/bin/bash\n#SBATCH "]
    ),
    st.lists(st.one_of(_WORDS, st.text(max_size=5)), min_size=1, max_size=4),
)
@settings(max_examples=MANY)
def test_what_is_told_is_bounded(tmp_path: Path, head: str, words: list[str]) -> None:
    """However often a part is repeated, of one rule there are at most 100 findings, and each is short."""
    path = tmp_path / "file.sub"
    path.write_bytes(
        (head + "".join(words) * (20_000 // max(len("".join(words)), 1))).encode("utf-8", "surrogatepass")
    )
    for kind in ("submit", "shell"):
        try:
            findings = lint([path], kind=kind)  # type: ignore[arg-type]
        except LintError:  # not UTF-8
            return
        rules = [finding.rule for finding in findings]
        assert all(rules.count(rule) <= 100 for rule in set(rules))
        assert all(len(finding.message) <= 501 and len(finding.hint) <= 501 for finding in findings)


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "a" * 1_000_000 + "\n" + "output = $(x)\n" * 2_000 + "queue\n",
        "executable = /bin/true\nx = ab\n" + "x = $(x)$(x)\n" * 5_000 + "arguments = $(x)\nqueue\n",
        "if true\n" * 20_000 + "a = 1\n" * 20_000,
        "executable = /bin/true\n"
        + "".join(f"a{n} = $(a{n + 1})$(a{n + 1})\n" for n in range(5_000))
        + "output = $(a0)\nqueue\n",
        "executable = /bin/true\nqueue x in (\n" + "a\n" * 200_000 + ")\n",
    ],
)
def test_memory_is_bounded(tmp_path: Path, text: str) -> None:
    """Values that would become gigabytes are not made; what is needed is a small multiple of the file."""
    path = tmp_path / "a.sub"
    path.write_text("executable = /bin/true\nqueue\n")
    lint([path])  # what is imported is imported now
    path.write_text(text)
    tracemalloc.start()
    try:
        lint([path])
        assert tracemalloc.get_traced_memory()[1] < 20e6 + 60 * len(text)
    finally:
        tracemalloc.stop()


_EXECUTING = st.sampled_from(
    [
        "queue", "iterate", "iter", "include", "use", " command", " output", " : ", " x", " from ", " in ", " matching", "touch EXECUTED",
        " touch EXECUTED |", "|", "\\\n", "\n", " ", "\t", "\x0b", "\r\n", "$(c)", "$(c:", ")", "(", "c = ", "c @=e\n", "@e\n", "if true\n",
        "if $(c)\n", "endif\n", "else\n", "#", "1", "q", "ueue", "inc", "lude", "@", "[0:1] ", "table ", "$ENV(HOME)", "executable = /bin/true\n",
    ]
)  # fmt: skip


@pytest.mark.htcondor
@given(st.lists(_EXECUTING, max_size=14))
@settings(max_examples=MANY)
def test_no_text_is_executed(tmp_path: Path, words: list[str]) -> None:
    """Whatever stands where in a description: nothing of it is executed when HTCondor's parser is asked."""
    path = tmp_path / "file.sub"
    path.write_text("".join(words))
    lint([path], kind="submit")
    assert sorted(each.name for each in tmp_path.iterdir() if each.name.isupper()) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = $(b)\nb = $(a)\narguments = $(a)\n", 2),
        ("b = x$(c)\nc = $(d:1)\nd = $(b)\n+X = $(c)\n", 2),
        ("a = $(b)\nb = $(a)\n", None),  # nothing uses them
        ("a = 1\na = $(a) 2\narguments = $(a)\n", None),
        ("a = $(b)\nb = 1\narguments = $(a)$(b)\n", None),
    ],
)
def test_variables_that_stand_for_each_other(text: str, line: int | None, tmp_path: Path) -> None:
    """condor_submit would not end; what is added to, and what nothing uses, is left alone."""
    path = tmp_path / "a.sub"
    path.write_text(f"executable = /bin/true\n{text}queue\n")
    assert [each.line for each in lint([path]) if each.rule == "endless-variable"] == ([line] if line else [])


def test_many_variables_in_a_row(tmp_path: Path) -> None:
    """A chain of variables is followed to its end, however long."""
    path = tmp_path / "a.sub"
    chain = "".join(f"v{n} = $(v{n + 1})\n" for n in range(20_000))
    path.write_text(f"executable = /bin/true\n{chain}arguments = $(v0)\nqueue\n")
    assert not [each for each in lint([path]) if each.rule == "endless-variable"]
