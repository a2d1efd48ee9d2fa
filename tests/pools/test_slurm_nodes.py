"""Which nodes could run a task that waits, in the forms in which squeue and sinfo tell of both."""

from __future__ import annotations

import pytest

from wingspan.pools.slurm_nodes import read_nodes, read_wishes, what_nodes_say
from wingspan.pools.slurm_queue import read_jobs_in, read_queue
from wingspan.pools.slurm_text import FORMAT, read_columns

NODES = """\
gpu|64|256000|a100,ib|gpu:a100:4(S:0-1)|10|mixed|
gpu|32|128000|v100|gpu:2|5|drained*
gpu|16+|64000+|(null)|(null)|2|idle
cpu|128|512000|(null)|(null)|100|allocated
""".replace("|\n", "\n")


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        (
            "7|gpu|8|100G|gres:gpu:1|(null)",
            "15 of 17 nodes of the partition gpu could run it, 5 down or drained",
        ),
        (
            "7|gpu|4|1000M|(null)|(null)",
            "17 of 17 nodes of the partition gpu could run it, 2 of them idle and 5 down",
        ),
        (
            "7|gpu|8|1G|gpu:2|v100",
            "5 of 17 nodes of the partition gpu could run it, and all of them are down or drained",
        ),
        ("7|gpu|8|1G|gres:gpu:a100:2|a100&ib", "10 of 17 nodes of the partition gpu could run it"),
        ("7|gpu|8|1G|gpu:1|h200|", "no node of the partition gpu has the features h200"),
        ("7|gpu|8|1G|gpu:1|[a100*2&v100*1]", "15 of 17 nodes"),
        ("7|gpu|96|10G|(null)|(null)", "has 96 cores; 10 of 17 would do with 64 cores instead of 96"),
        ("7|gpu|1|5000Mc|gpu:8|(null)", "has 8 GPUs; 10 of 17 would do with 4 GPUs instead of 8"),
        ("7|gpu|64|250G|gpu:1|v100", "no node of the partition gpu has all of it"),
        ("7|gpu,cpu|1|400G|(null)|(null)", "100 of 117 nodes of the partition gpu, cpu could run it"),
        ("7|hidden|1|1G|(null)|(null)", None),
    ],
)
def test_what_nodes_say(wish: str, told: str | None) -> None:
    """How many nodes could run it, or what none of them has and how many would do with less."""
    (read,) = read_wishes(wish.removesuffix("|"))
    said = what_nodes_say(read, read_nodes(NODES))
    assert said is None if told is None else told in str(said)


def row(**cells: str) -> str:
    """A line of squeue in columns."""
    widths = {name: int(width) for name, _, width in (one.partition(":") for one in FORMAT.split(","))}
    # Slurm counts bytes.
    return b"".join(
        cells.get(name, "").encode().ljust(width)[:width] for name, width in widths.items()
    ).decode()


def test_columns_say_what_json_says() -> None:
    """Tasks and their folders are read of columns of fixed width, whatever stands in a comment."""
    text = "\n".join(
        [
            row(
                arrayjobid="7",
                arraytaskid="0",
                state="RUNNING",
                reason="None",
                nodelist="n1",
                workdir="/a b",
                comment="first 3 | \x85 é",
            ),
            row(
                arrayjobid="7",
                arraytaskid="1",
                state="PENDING",
                reason="JobHeldUser",
                workdir="/a b",
                comment="(null)",
            ),
            row(
                arrayjobid="7",
                arraytaskid="2",
                state="FAILED",
                reason="NonZeroExitCode",
                exit_code="3:0",
                restartcnt="2",
            ),
            row(arrayjobid="8", arraytaskid="N/A", state="COMPLETING", reason="None"),
            "",
        ]
    )
    answer = read_columns(text)
    tasks = [
        (task.name, task.state.value, task.code, task.restarts) for task in read_queue(answer, {"7", "8"})
    ]
    assert tasks == [("7_0", "running", None, 0), ("7_1", "held", None, 0), ("7_2", "completed", 3, 2)]
    assert read_jobs_in(answer, "/a b")["7"][0] == 2
