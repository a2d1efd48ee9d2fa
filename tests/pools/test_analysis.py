"""Why a job waits: its requirements evaluated over the ads of machines, by HTCondor's own library."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wingspan.jobs import JobDescription
from wingspan.pools.analysis import analyse, parts_of, projection_for
from wingspan.pools.matching import why_no_machine

pytestmark = pytest.mark.htcondor

#: Written by HTCondor's condor_submit for a job that asks for nothing special.
USUAL = (
    '(TARGET.Arch == "X86_64") && (TARGET.OpSys == "LINUX") && (TARGET.Disk >= RequestDisk) && '
    "(TARGET.Memory >= RequestMemory) && (TARGET.Cpus >= RequestCpus) && (TARGET.HasFileTransfer)"
)


def ad(text: str) -> Any:
    import classad2

    return classad2.ClassAd(f"[{text}]")


def job(requirements: str = USUAL, memory: int = 1024, **more: str) -> Any:
    rest = "".join(f"{name} = {value}; " for name, value in more.items())
    return ad(
        f"ClusterId = 1; ProcId = 0; RequestCpus = 1; RequestDisk = 1000; RequestMemory = {memory}; {rest}"
        f"Requirements = {requirements}"
    )


def machine(name: str, memory: int = 8192, left: int | None = None, **more: str) -> Any:
    rest = "".join(f"{key} = {value}; " for key, value in more.items())
    return ad(
        f'Machine = "{name}"; Arch = "X86_64"; OpSys = "LINUX"; HasFileTransfer = true; PartitionableSlot = true; '
        f'State = "Unclaimed"; Cpus = 4; TotalSlotCpus = 4; Disk = 1000000; TotalSlotDisk = 1000000; {rest}'
        f"Memory = {memory if left is None else left}; TotalSlotMemory = {memory}"
    )


def test_how_many_machines_would_do_with_less() -> None:
    """No machine has what is asked for; the message says how many would do with how much."""
    pool = [machine("a"), machine("b"), machine("c", 4096), machine("d", 8192, Arch='"ppc64le"')]
    assert analyse(job(memory=9216), pool).text() == (
        " for ever: no machine of this pool has 9 GB of memory; 2 of 4 would do with 8 GB of memory instead of 9 GB"
    )


def test_what_no_machine_is() -> None:
    """A requirement that none fulfils is named in words; one that only some fail is told with how many would
    do without it.
    """
    wanted = f'{USUAL} && (TARGET.HasStaging == true) && (TARGET.Microarch >= "x86_64-v3")'
    old = {"Microarch": '"x86_64-v2"'}
    found = analyse(job(wanted), [machine("a", **old), machine("b", HasStaging="true", **old)])
    assert found.text() == (
        ' for ever: no machine of this pool has Microarch >= "x86_64-v3"; 1 of 2 would do without Microarch >= "x86_64-v3"'
    )
    new = {"Microarch": '"x86_64-v4"'}
    found = analyse(job(wanted), [machine("a", **new), machine("b", HasStaging="true", **old)])
    assert "no machine of this pool has all that it asks for" in found.text()
    assert "1 of 2 would do without HasStaging" in found.text()
    alone = analyse(job(f"{USUAL} && TARGET.HasUnicorn"), [machine("a"), machine("b")])
    assert alone.text() == " for ever: no machine of this pool has HasUnicorn"


def test_what_the_gpus_of_machines_are() -> None:
    """A device that is too old is told by what it lacks; a machine without GPUs by their number."""
    wanted = f"{USUAL} && (countMatches(MY.RequireGPUs,TARGET.AvailableGPUs) >= RequestGPUs)"
    gpus = {"RequestGPUs": "1", "RequireGPUs": "Capability >= 8.0 && GlobalMemoryMb >= 20000"}
    pool = [
        machine("a", TotalSlotGPUs="2", GPUs="2", GPUs_Capability="7.5", GPUs_GlobalMemoryMb="40000"),
        machine("b"),
    ]
    text = analyse(job(wanted, **gpus), pool).text()
    assert "1 of 2 would do without a GPU: Capability >= 8.0" in text
    better = machine("c", TotalSlotGPUs="1", GPUs="1", GPUs_Capability="9.0", GPUs_GlobalMemoryMb="80000")
    assert analyse(job(wanted, **gpus), [*pool, better]).fitting == 1


def test_machines_that_could_run_it_are_counted() -> None:
    """A machine with several slots counts once; room that is given away is not there now."""
    pool = [machine("a", left=0), machine("a", 512), machine("b", left=0), machine("c", 512)]
    found = analyse(job(), pool)
    assert (found.machines, found.fitting, found.free) == (3, 2, 0)
    assert found.text() == ": 2 of 3 machines could run it, and other jobs have them"
    assert analyse(job(), [*pool, machine("d")]).free == 1


def test_what_no_machine_is_is_named_before_a_job_is_submitted() -> None:
    """Of the requirements the error names those that none fulfils."""
    wanted = JobDescription(
        name="x",
        executable="y",
        requirements='(TARGET.OpSys == "LINUX") && (TARGET.Microarch >= "x86_64-v9")',
    )
    told = why_no_machine(wanted, [machine("a", Microarch='"x86_64-v3"')])
    assert told is not None
    assert told[0].endswith(': none has Microarch >= "x86_64-v9"')
    assert why_no_machine(wanted, [machine("a", Microarch='"x86_64-v9"')]) is None


def test_only_what_is_needed_is_asked_of_a_collector() -> None:
    """The projection has what the requirements name, and what amounts are compared with."""
    wanted = projection_for([job(f"{USUAL} && TARGET.HasStaging")])
    assert {"HasStaging", "Arch", "TotalSlotMemory", "Machine"} <= set(wanted)
    assert len(wanted) < 40


_WORDS = st.text(string.ascii_letters, min_size=1, max_size=5).filter(
    lambda word: word.lower() not in ("is", "isnt", "true", "false", "error", "undefined", "parent")
)
_ATOMS = st.one_of(
    _WORDS.map(lambda word: f"TARGET.{word}"),
    st.text(string.printable.replace("\\", "").replace('"', ""), max_size=5)
    .filter(str.isprintable)
    .map(lambda text: f'TARGET.a == "{text}"'),
    st.tuples(_WORDS, _WORDS).map(lambda two: f"(TARGET.{two[0]} || TARGET.{two[1]} && TARGET.z)"),
    _WORDS.map(lambda word: f"(TARGET.{word} =?= true ? TARGET.p && TARGET.q : TARGET.r)"),
)


@given(st.lists(_ATOMS, min_size=1, max_size=5))
def test_requirements_are_taken_apart_without_changing_them(atoms: list[str]) -> None:
    """Whatever is joined by && comes apart, texts and weaker operators stay whole, as HTCondor itself reads
    them.
    """
    import classad2

    joined = " && ".join(f"({atom})" for atom in atoms)
    assert [str(classad2.ExprTree(part)) for part in parts_of(joined)] == [
        str(classad2.ExprTree(part)) for atom in atoms for part in parts_of(atom)
    ]
    assert len(list(parts_of(joined))) == len(atoms)
