"""GPUs: what slots advertise, what is asked of them, and the check in the job.

There is none here: `FakeGPU` stands in.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import pytest

import wingspan
from _waiting import PATIENCE, until
from wingspan.jobs import JobDescription, Resources, with_needs
from wingspan.pools.htcondor import PersonalHTCondorPool
from wingspan.pools.personal import PersonalPool
from wingspan.runs import NoSuchMachine
from wingspan.runs._api import submit_plan
from wingspan.runs._plan import plan_run
from wingspan.runs._request import RunRequest
from wingspan.runs._script import job_script
from wingspan.runs._spec import RunSpec, Step


class FakeGPU:
    """An nvidia-smi that tells of a device which is not there, and of others beside it: each model,
    capability, driver, uuid, index, memory.
    """

    def __init__(
        self, folder: Path, model: str, capability: str, driver: str, cuda: str, beside: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        folder.mkdir()
        program = folder / "nvidia-smi"
        lines = [f"{model}, {capability}, {driver}, GPU-0aaaaaaa-1111, 0, 16384 MiB", *beside]
        program.write_text(
            "#!/bin/sh\n"
            f"case ${{1:-}} in --query*) cat <<'END'\n{chr(10).join(lines)}\nEND\n;;\n"
            f"--list-gpus) echo 'GPU 0: {model} (UUID: GPU-0aaaaaaa-1111)' ;;\n"
            f"*) echo '| NVIDIA-SMI {driver}   Driver Version: {driver}   CUDA Version: {cuda}     |' ;; esac\n"
        )
        program.chmod(0o755)


def _run_check(
    tmp_path: Path, path: str, visible: str | None = None, gpus: int = 1, **needs: object
) -> subprocess.CompletedProcess[str]:
    spec = RunSpec(
        name="g",
        base=tmp_path,
        steps=(Step(words=("echo", "began")),),
        resources=Resources(gpus=gpus, **needs),  # type: ignore[arg-type]
    )
    script = tmp_path / "job.sh"
    script.write_text(job_script(spec, ()))
    return subprocess.run(
        ["/bin/sh", str(script), "0"],
        cwd=tmp_path,
        env={"PATH": path} | ({"CUDA_VISIBLE_DEVICES": visible} if visible is not None else {}),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("device", "needs", "words"),
    [
        (
            ("Tesla P100", "6.0", "550.54.15", "12.4"),
            {"gpus_minimum_capability": 7.5},
            "has compute capability 6.0",
        ),
        (("NVIDIA B200", "10.0", "570.1", "12.8"), {"gpus_maximum_capability": 9.9}, "9.9 at most"),
        (
            ("Tesla T4", "7.5", "470.82.01", "11.4"),
            {"gpus_minimum_runtime": "12.0"},
            "supports CUDA up to 11.4",
        ),
        (("Tesla T4", "7.5", "550.54", "12.4"), {"gpus_minimum_memory": 40 << 30}, "16384 MiB of memory"),
        (("Tesla T4", "7.5", "550.54", "12.4"), {"gpus": 2}, "asked for 2 GPUs, and there is 1"),
    ],
)
def test_the_check_refuses_a_device_that_will_not_do(tmp_path: Path, device, needs: dict, words: str) -> None:
    """The job ends in its first second, with the device, the host and what is needed in one sentence."""
    gpu = FakeGPU(tmp_path / "bin", *device)
    done = _run_check(tmp_path, f"{gpu.folder}:/usr/bin:/bin", **needs)
    assert done.returncode == 117
    assert words in done.stderr
    assert device[0] in done.stderr or "gpus" in needs
    assert "began" not in done.stdout


def test_the_check_lets_a_good_device_pass(tmp_path: Path) -> None:
    """Versions are compared as versions: 12.10 is more than 12.9, and capability 10.0 more than 9.0."""
    gpu = FakeGPU(tmp_path / "bin", "NVIDIA B200", "10.0", "580.1", "12.10")
    done = _run_check(
        tmp_path, f"{gpu.folder}:/usr/bin:/bin", gpus_minimum_capability=9.0, gpus_minimum_runtime="12.9"
    )
    assert (done.returncode, done.stdout) == (0, "began\n")


@pytest.mark.parametrize(
    ("visible", "code"),
    [
        ("GPU-1bbbbbbb", 0),  # HTCondor's short names
        ("1", 0),
        ("GPU-1bbbbbbb-2222", 0),
        ("GPU-0aaaaaaa", 117),
        ("0,1", 117),
        ("MIG-33333333-4444", 0),
        (None, 0),
    ],
)
def test_the_check_looks_at_the_devices_that_the_job_was_given(
    tmp_path: Path, visible: str | None, code: int
) -> None:
    """nvidia-smi lists all that the machine has: an old one beside the job's own keeps it from nothing."""
    good = "NVIDIA A100, 8.0, 550.54, GPU-1bbbbbbb-2222, 1, 81920 MiB"
    gpu = FakeGPU(tmp_path / "bin", "Tesla P100", "6.0", "550.54", "12.4", beside=[good])
    count = len(visible.split(",")) if visible else 1
    done = _run_check(
        tmp_path, f"{gpu.folder}:/usr/bin:/bin", visible, gpus=count, gpus_minimum_capability=7.5
    )
    assert done.returncode == code, done.stderr
    assert ("Tesla P100" in done.stderr) == bool(code)


def test_the_check_lets_a_driver_pass_that_does_not_tell_the_capability(tmp_path: Path) -> None:
    """nvidia-smi of drivers before 510 refuses to be asked for it: that says nothing about the device."""
    gpu = FakeGPU(tmp_path / "bin", "Tesla T4", "P8", "470.82.01", "11.4")
    program = gpu.folder / "nvidia-smi"
    refusal = 'case "$*" in *compute_cap*) echo "Field \\"compute_cap\\" is not a valid field to query."; exit 2 ;; esac\n'
    program.write_text(program.read_text().replace("#!/bin/sh\n", f"#!/bin/sh\n{refusal}"))
    path = f"{gpu.folder}:/usr/bin:/bin"
    assert _run_check(tmp_path, path, gpus_minimum_capability=7.5).returncode == 0
    assert _run_check(tmp_path, path, gpus_minimum_runtime="12.0").returncode == 117


def test_more_gpus_than_this_machine_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The local pool is this machine: its driver is asked before anything is submitted."""
    gpu = FakeGPU(tmp_path / "bin", "Tesla T4", "7.5", "550.54", "12.4")
    monkeypatch.setenv("PATH", f"{gpu.folder}:/usr/bin:/bin")
    with pytest.raises(NoSuchMachine, match="asks for 2 GPU"):
        wingspan.run(["true"], gpus=2, pool="local")
    run = wingspan.run(["true"], gpus=1, pool="local")
    assert run.wait(PATIENCE).state == "completed"
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NoSuchMachine, match="shows 0"):
        wingspan.run(["/bin/true"], gpus=1, pool="local")


def test_the_check_says_that_there_is_no_driver(tmp_path: Path) -> None:
    """Without nvidia-smi the job says so, and names the most common reason in a container."""
    (tmp_path / "bin").mkdir()
    for (
        tool
    ) in "awk cat chmod cp date dirname env find grep head hostname ls mkdir mv rm sed sh sleep sort".split():
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    done = _run_check(tmp_path, str(tmp_path / "bin"))
    assert done.returncode == 117
    assert "no nvidia-smi" in done.stderr
    assert "--nv" in done.stderr


def test_what_an_environment_needs_is_asked_of_the_device() -> None:
    """Needs become minimums of the device, only where GPUs are asked for, and never over what was said
    explicitly.
    """
    needs = {"gpu_capability_min": "7.5", "gpu_capability_max": "9.9", "cuda_runtime_min": "12.0"}
    asked = with_needs(Resources(gpus=1), needs)
    assert (asked.gpus_minimum_capability, asked.gpus_maximum_capability) == (7.5, 9.9)
    assert asked.gpus_minimum_runtime == "12.0"
    assert with_needs(Resources(), needs) == Resources()
    own = Resources(gpus=1, gpus_minimum_capability=8.0)
    assert with_needs(own, needs) == attrs.evolve(asked, gpus_minimum_capability=8.0)


@pytest.fixture(scope="module")
def pool_with_a_slot_that_advertises_a_gpu() -> Iterator[PersonalHTCondorPool]:
    """A pool whose configuration says that its machine has two Tesla T4; it has none."""
    directory = Path(
        tempfile.mkdtemp(prefix="wingspan-pool-", dir="/var/tmp" if Path("/var/tmp").is_dir() else None)
    )
    directory.chmod(0o755)
    script = directory / "advertise"
    script.write_text(
        "#!/bin/sh\n"
        "echo 'DetectedGPUs=\"GPU-fake0, GPU-fake1\"'\n"
        'echo \'Common=[ DeviceName="Tesla T4"; Capability=7.5; GlobalMemoryMb=15110; DriverVersion=12.40; '
        "MaxSupportedVersion=12040; ]'\n"
        "echo 'GPU_fake0=[ id=\"GPU-fake0\"; ]'\n"
        "echo 'GPU_fake1=[ id=\"GPU-fake1\"; ]'\n"
    )
    script.chmod(0o755)
    personal = PersonalPool(directory, cpus=2)
    patch = pytest.MonkeyPatch()
    from wingspan.pools.personal import configuration

    real = configuration.render
    more = (
        f"\nMACHINE_RESOURCE_INVENTORY_GPUs = {script} -properties\n"
        "ENVIRONMENT_FOR_AssignedGPUs = GPU_DEVICE_ORDINAL=/(CUDA|OCL)// CUDA_VISIBLE_DEVICES\n"
    )
    patch.setattr(configuration, "render", lambda *args, **kwargs: real(*args, **kwargs) + more)
    try:
        personal.start()
        yield PersonalHTCondorPool(personal)
    finally:
        patch.undo()
        personal.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.htcondor
def test_slots_that_advertise_gpus_are_listed(pool_with_a_slot_that_advertises_a_gpu) -> None:
    """Model, capability, CUDA version and memory of each device are those that the slot advertises."""
    gpus = pool_with_a_slot_that_advertises_a_gpu.gpus()
    assert [(gpu.device, gpu.model, gpu.capability, gpu.cuda, gpu.memory, gpu.free) for gpu in gpus] == [
        ("GPU-fake0", "Tesla T4", 7.5, "12.4", 15110 << 20, True),
        ("GPU-fake1", "Tesla T4", 7.5, "12.4", 15110 << 20, True),
    ]


@pytest.mark.htcondor
def test_a_job_is_matched_to_a_gpu(pool_with_a_slot_that_advertises_a_gpu) -> None:
    """A job that asks for a GPU gets a device of its own, which is not free as long as it runs."""
    pool = pool_with_a_slot_that_advertises_a_gpu
    gate = Path("gate").absolute()
    command = f'echo "$_CONDOR_AssignedGPUs"; while [ ! -e "{gate}" ]; do sleep 0.05; done'
    plan = plan_run(RunRequest(command=["sh", "-c", command], gpus=1, preflight=False))
    resources = attrs.evolve(plan.spec.resources, gpus_minimum_capability=7.5, gpus_minimum_runtime="12.0")
    plan = attrs.evolve(plan, spec=attrs.evolve(plan.spec, resources=resources))
    run = submit_plan(plan, pool)
    patch = pytest.MonkeyPatch()
    import wingspan.runs._run as module

    patch.setattr(module, "get_pool", lambda kind: pool)
    try:
        until(lambda: run.stdout().startswith("GPU-fake"), "the job's start")
        until(lambda: [gpu.free for gpu in pool.gpus()].count(False) == 1, "one device in use")
        gate.touch()
        run.wait(PATIENCE)
        run.check()
    finally:
        run.remove(force=True)
        patch.undo()


@pytest.mark.htcondor
@pytest.mark.parametrize(
    ("needs", "words"),
    [
        ({"gpus_minimum_capability": 8.0}, "compute capability 7.5"),
        ({"gpus_minimum_runtime": "13.0"}, "CUDA 12.4"),
        ({"gpus_minimum_memory": 40 << 30}, "MiB"),
        ({"gpus": 3}, "more than 2"),
    ],
)
def test_a_request_that_no_gpu_meets_is_refused(
    pool_with_a_slot_that_advertises_a_gpu, needs: dict, words: str
) -> None:
    """Too new a capability, too new a CUDA, too much memory, too many devices: said before submitting."""
    plan = plan_run(RunRequest(command=["true"], gpus=1))
    plan = attrs.evolve(
        plan, spec=attrs.evolve(plan.spec, resources=attrs.evolve(plan.spec.resources, **needs))
    )
    with pytest.raises(NoSuchMachine, match=words):
        submit_plan(plan, pool_with_a_slot_that_advertises_a_gpu)


@pytest.mark.htcondor
@pytest.mark.parametrize(
    ("needs", "words"),
    [({"gpu_capability_min": "8.0"}, "compute capability 7.5"), ({"cuda_runtime_min": "13.0"}, "CUDA 12.4")],
)
def test_workers_of_an_environment_that_no_gpu_suits_are_refused(
    pool_with_a_slot_that_advertises_a_gpu, needs: dict, words: str
) -> None:
    """The pool itself refuses jobs of maps, too, whose environment none of its devices can run."""
    asked = with_needs(Resources(gpus=1), needs)
    with pytest.raises(wingspan.SubmitError, match=words):
        pool_with_a_slot_that_advertises_a_gpu.submit(
            JobDescription(name="worker", executable="/bin/true", resources=asked)
        )


@pytest.mark.htcondor
def test_the_command_line_lists_them(
    pool_with_a_slot_that_advertises_a_gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`wingspan gpus --json` puts like devices together."""
    from click.testing import CliRunner

    import wingspan.pools
    from wingspan.cli.gpus import gpus

    choice = wingspan.pools.Choice(pool_with_a_slot_that_advertises_a_gpu, "test")
    monkeypatch.setattr(wingspan.pools, "choose_pool", lambda *_: choice)
    found = json.loads(CliRunner().invoke(gpus, ["--json"]).stdout)
    assert [(one["model"], one["cuda"], one["total"]) for one in found] == [("Tesla T4", "12.4", 2)]
    assert found[0]["free"] in (1, 2)  # the slot of a job that has just ended may not be given back yet
    assert "Tesla T4" in CliRunner().invoke(gpus, []).stdout
