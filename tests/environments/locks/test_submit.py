"""From the five real locks to jobs: what they need stands in a submit description that a real schedd
accepts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wingspan.environments import Workspace, derive_needs, load_environment
from wingspan.jobs import JobDescription, Resources, with_needs
from wingspan.pools.personal import PersonalPool
from wingspan.pools.submit_description import submit_description

WORKSPACES = (
    "CHTC__templates-GPUs",
    "UW-Madison-DSI__pixi-docker-chtc",
    "matthewfeickert__nvidia-gpu-ml-library-test",
    "prefix-dev__pixi--lightgbm",
    "prefix-dev__pixi--multi-machine",
)
#: Devices as machines advertise them: capability, and the CUDA runtime that the driver supports, times 1000.
P100, V100, A100, H100, B200 = ((6.0, 12040), (7.0, 12080), (8.0, 12040), (9.0, 13000), (10.0, 13000))


def describe(env: Any) -> tuple[str, Any]:
    """The submit description of a job in `env`, and what it needs."""
    needs = derive_needs(env)
    asked = Resources(gpus=1 if needs.cuda_runtime_min else 0)
    job = JobDescription(
        name=f"{env.workspace}-{env.name}",
        executable="/bin/true",
        transfer_executable=False,
        resources=with_needs(asked, needs.to_json(), memory=True),
        submit={"hold": "true"},
    )
    return submit_description(job), needs


def accepts(job: Any, device: tuple[float, int]) -> bool:
    """What HTCondor does for each device: RequireGPUs in the device's ad, with the job's ad around it."""
    import classad2

    names = [name for name in job if name.startswith("GPUs")]
    ad = classad2.ClassAd({name: job.eval(name) for name in names})
    ad["Capability"], ad["MaxSupportedVersion"] = device
    ad["Wanted"] = job.lookup("RequireGPUs")
    return ad.eval("Wanted") is True


def submitted(pool: PersonalPool, text: str) -> Any:
    """The ad that the schedd makes of a submit description; the job does not stay."""
    import htcondor2

    with pool.activate():
        schedd = pool.schedd()
        cluster = schedd.submit(htcondor2.Submit(text)).cluster()
        try:
            [ad] = schedd.query(f"ClusterId == {cluster}")
        finally:
            schedd.act(htcondor2.JobAction.Remove, f"ClusterId == {cluster}")
    return ad


@pytest.mark.htcondor
@pytest.mark.parametrize("name", WORKSPACES)
def test_a_real_schedd_takes_what_real_locks_need(
    name: str, locks: Path, personal_pool: PersonalPool
) -> None:
    """Every Linux environment of every real lock: the job's ad asks for devices that can run it, and for
    memory by its size.
    """
    workspace = Workspace.open(locks / name)
    seen = 0
    for environment in workspace.environments:
        for platform in workspace.platforms(environment):
            if not platform.subdir.startswith("linux"):
                continue
            text, needs = describe(workspace.load(environment, platform.name))
            ad = submitted(personal_pool, text)
            seen += 1
            assert 256 <= ad.eval("RequestMemory") <= 2048
            if needs.cuda_runtime_min is None:
                assert "RequireGPUs" not in ad
                continue
            assert ad.eval("RequestGPUs") == 1
            # 12.9 in the lock runs with any driver for 12; cuDNN 9.11 and later has no code for Pascal and
            # Volta.
            assert accepts(ad, A100)
            assert accepts(ad, H100)
            old = float(needs.gpu_capability_min or 0) <= 6.0
            assert accepts(ad, P100) is old
            assert accepts(ad, V100) is old
            assert not accepts(ad, (8.0, 11080))
    assert seen


@pytest.mark.htcondor
@pytest.mark.parametrize(
    ("torch", "cu", "fitting", "unfit"),
    [
        ("2.7.1+cu126", "cu126", (P100, V100, A100, H100), (B200, (9.0, 11080))),
        ("2.9.1+cu128", "cu128", (V100, A100, H100, B200), (P100,)),
    ],
)
def test_a_real_schedd_takes_what_locks_with_wheels_need(
    torch: str, cu: str, fitting: Any, unfit: Any, wheels_workspace: Any, personal_pool: PersonalPool
) -> None:
    """PyTorch's own wheels have no PTX: a device that is newer than their code is not asked for, nor one
    that is older.
    """
    text, _ = describe(load_environment(wheels_workspace(torch, cu)))
    ad = submitted(personal_pool, text)
    assert all(accepts(ad, device) for device in fitting)
    assert not any(accepts(ad, device) for device in unfit)
