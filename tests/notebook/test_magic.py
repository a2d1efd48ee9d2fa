"""``%%wingspan``: cells that are maps, in kernels of a real Jupyter server."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import wingspan
from _jupyter import Kernel, Server
from _waiting import until
from wingspan.notebooks.cells import InvalidCell, cell_function, split_line


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of all kernels here: it takes several times as long to start as a kernel. Maps run as
    local processes, which start soonest.
    """
    folder = tmp_path_factory.mktemp("notebook")
    own = {f"WINGSPAN_{name}_DIR": str(folder / name.lower()) for name in ("DATA", "CONFIG")}
    server = Server(folder, environment={"WINGSPAN_POOL": "local", **own})
    try:
        server.wait_until_up()
        yield server
    finally:
        server.close()


@pytest.fixture
def kernel(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """A new kernel with the extension loaded; the test sees its maps, which are gone afterwards."""
    for name in ("DATA", "CONFIG"):
        monkeypatch.setenv(f"WINGSPAN_{name}_DIR", str(server.folder / name.lower()))
    kernel = server.kernel()
    assert kernel.run("%load_ext wingspan").status == "ok"
    yield kernel
    server.end_kernels()
    wingspan.clean(all=True)


def test_cell_is_a_map_over_its_variable(kernel: Kernel) -> None:
    """A cell runs once for each input, with what the notebook has defined; its last line is the output."""
    kernel.run("factor = 3\ndef add(a, b):\n    return a + b")
    cell = kernel.run("%%wingspan --as m x in range(4)\nimport math\ny = factor * x\nadd(y, math.floor(0.5))")
    assert cell.status == "ok", cell
    assert "4 completed" in cell.text
    assert kernel.run("list(m)").text == "[0, 3, 6, 9]"
    # Pairs, and a cell whose variable is the one name that nothing gives a value.
    kernel.run("%%wingspan --as m a, b in [(1, 2), (3, 4)]\na * b")
    assert kernel.run("list(m)").text == "[2, 12]"
    kernel.run("%%wingspan --as m ['a', 'b']\nword.upper()")
    assert kernel.run("list(m)").text == "['A', 'B']"
    status = kernel.run("%wingspan status").text
    assert status.count("map notebook-") == 3
    assert "2 completed" in status
    assert "processes on this machine" in kernel.run("%wingspan pool").text


def test_cell_that_runs_again_takes_its_map_up_again(kernel: Kernel, tmp_path: Path) -> None:
    """The same cell computes nothing a second time, and after a restart of the kernel neither; a changed
    one says what has changed.
    """
    log = tmp_path / "log"
    cell = f"%%wingspan --tag again --as m x in range(3)\nwith open({str(log)!r}, 'a') as file:\n    file.write('x')\nx + {{}}"
    assert kernel.run(cell.format(1)).status == "ok"
    assert kernel.run(cell.format(1)).status == "ok"
    kernel.restart()
    kernel.run("%load_ext wingspan")
    assert kernel.run(cell.format(1)).status == "ok"
    assert kernel.run("list(m)").text == "[1, 2, 3]"
    assert log.read_text() == "xxx"
    changed = kernel.run(cell.format(2))
    assert "is of another function" in changed.text
    assert "what differs is cell" in changed.text
    assert "%%wingspan --replace" in changed.text
    other_inputs = kernel.run(cell.format(1).replace("range(3)", "range(4)"))
    assert "has 3 components, and there are more inputs now" in other_inputs.text
    assert log.read_text() == "xxx"
    assert kernel.run(cell.format(2).replace("--tag", "--replace --tag")).status == "ok"
    assert kernel.run("list(m)").text == "[2, 3, 4]"
    assert wingspan.tags() == ("again",)


def test_interrupt_stops_the_waiting_only(kernel: Kernel, tmp_path: Path) -> None:
    """A waiting cell that is interrupted ends well and says so; its map goes on, and the cell waits for
    it when it runs again.
    """
    gate = tmp_path / "gate"
    cell = (
        f"%%wingspan --tag slow --as m x in range(2)\nimport os, time\nwhile not os.path.exists({str(gate)!r}):\n"
        "    time.sleep(0.02)\nx"
    )

    def interrupt() -> None:
        until(lambda: "slow" in wingspan.tags(), "the map")
        until(lambda: wingspan.load("slow").status().workers.get("running"), "a worker")
        time.sleep(
            0.2
        )  # the cell is at its waiting, most likely; before that it is interrupted just the same
        kernel.interrupt()

    thread = threading.Thread(target=interrupt)
    thread.start()
    stopped = kernel.run(cell)
    thread.join()
    assert stopped.status == "ok", stopped
    assert "The waiting was stopped; the map slow goes on" in stopped.text
    assert not wingspan.load("slow").is_done
    gate.touch()
    assert kernel.run(cell).status == "ok"
    assert kernel.run("list(m)").text == "[0, 1]"


def test_kernel_that_is_killed_during_a_map(kernel: Kernel, tmp_path: Path) -> None:
    """The kernel dies while its map runs: the map goes on, and the same cell of the next kernel answers
    its outputs.
    """
    gate = tmp_path / "gate"
    cell = (
        f"%%wingspan --tag kept --as m x in range(2)\nimport os, time\nwhile not os.path.exists({str(gate)!r}):\n"
        "    time.sleep(0.02)\nx"
    )
    kernel.run(cell.replace("--tag", "--no-wait --tag"))
    pid = int(kernel.run("import os; os.getpid()").text)
    os.kill(pid, signal.SIGKILL)
    kernel.restart()
    kernel.run("%load_ext wingspan")
    gate.touch()
    assert kernel.run(cell).status == "ok"
    assert kernel.run("list(m)").text == "[0, 1]"


def test_cell_of_a_notebook_keeps_its_map_when_its_code_changes(kernel: Kernel) -> None:
    """In a notebook the tag is made of the notebook's name and the cell's id: so a cell that was changed
    is told what it was.
    """
    run = (
        "import os; os.environ['JPY_SESSION_NAME'] = 'work/my study.ipynb'\n"
        "get_ipython().get_parent()['metadata']['cellId'] = '1234abcd-5678-90ef'\n"
        "get_ipython().run_cell_magic('wingspan', '--as m x in range(2)', 'x + {}')"
    )
    assert kernel.run(run.format(1)).status == "ok"
    assert wingspan.tags() == ("my-study-1234abcd-567",)
    assert kernel.run(run.format(1)).status == "ok"
    assert wingspan.tags() == ("my-study-1234abcd-567",)
    assert "what differs is cell" in kernel.run(run.format(2)).text


def test_errors_of_a_cell_name_its_lines(kernel: Kernel) -> None:
    """What fails on a worker is shown with the line of the cell; what cannot be a map is said in one
    sentence.
    """
    failed = kernel.run("%%wingspan x in range(2)\ny = x\n1 / (y - 1)")
    assert failed.status == "error"
    assert "ZeroDivisionError" in failed.text
    assert "%%wingspan --as m … has the map in m" in failed.text
    for cell, said in {
        "%%wingspan\nx": "a map needs inputs",
        "%%wingspan x in\nx": "does not say what the inputs are",
        "%%wingspan x in range(3) if x\nx": "Hint: %%wingspan x in [x for x in range(3) if x]",
        "%%wingspan range(3)\nlen('a')": "none can be the input",
        "%%wingspan range(3)\nxx + yy": "2 names that have no value: xx, yy",
        "%%wingspan x in range(3)\n!ls": "! and % are the notebook's",
        "%%wingspan x in range(3)\n# nothing": "the cell has no code",
        "%%wingspan x in []\nx": "empty",
        "%%wingspan --workers many x in [1]\nx": "that is no number",
        "%%wingspan --nonsense x in [1]\nx": "option --nonsense not recognized\nHint: options are: --as, --tag,",
        "%%wingspan x in not_there\nx": "not_there: name 'not_there' is not defined\nHint: execute the cell first",
        "%%wingspan --options not_there x in [1]\nx": "name 'not_there' is not defined",
        "%%wingspan --as 9 x in [1]\n9 * x": "--as 9: that is no name of a variable",
        "%%wingspan --pool nowhere x in range(2)\ny = x\n1 / (y - 1)": "there is no pool 'nowhere'",
        "%wingspan nonsense": "%wingspan status [TAG]",
        "%wingspan status nonsense": "no map has the tag 'nonsense'",
    }.items():
        told = kernel.run(cell)
        assert told.status == "error", cell
        assert said in told.text, cell
        assert "Traceback" not in told.text, cell


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("x in range(3)", ("x", "range(3)")),
        ("for x in xs", ("x", "xs")),
        ("(a, b) in pairs", ("a, b", "pairs")),
        ("a, (b, c) in pairs", ("a, (b, c)", "pairs")),
        ("(a,) in ones", ("a,", "ones")),
        ("x in [y for y in ys if y]", ("x", "[y for y in ys if y]")),
        ("range(3)", (None, "range(3)")),
        ("[x for x in xs]", (None, "[x for x in xs]")),
        ("x in xs if x else ys", (None, "x in xs if x else ys")),
    ],
)
def test_first_line_is_read_as_python_reads_a_loop(line: str, parts: tuple[str | None, str]) -> None:
    """The name and the inputs are what Python's own parser takes them for."""
    assert split_line(line) == parts


def test_cell_keeps_its_lines_and_its_names() -> None:
    """Line numbers count the cell's first line; names that the cell assigns stay in it; the last line is
    answered.
    """
    namespace: dict[str, object] = {"factor": 2}
    function = cell_function("y = x * factor\ny + 1", "x", namespace, "<cell>")
    assert function(3) == 7
    assert function.__code__.co_firstlineno <= 2
    assert max(line for *_, line in function.__code__.co_lines() if line) == 3
    assert set(namespace) - {"__builtins__"} == {"factor"}
    assert cell_function("x = 1", "x", {}, "<cell>")(5) is None
    with pytest.raises(InvalidCell, match="line 2 of the cell cannot be in a function"):
        cell_function("await x", "x", {}, "<cell>")
