"""Attributes, submit commands and options of sbatch that differ from component to component."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import wingspan
from _on_disk import submissions
from _waiting import PATIENCE
from wingspan import Options
from wingspan.cli.maps import status
from wingspan.errors import SettingsError, UnknownOption
from wingspan.lint import lint
from wingspan.maps._errors import InvalidInputs
from wingspan.maps._needs import Asked
from wingspan.maps._render import render_map


def account_of_job(_: object) -> str:
    """On whose account the job is that this is called in, as the scheduler has told it."""
    ad = os.environ.get("_CONDOR_JOB_AD")
    if ad is None:
        return os.environ.get("SLURM_JOB_ACCOUNT", "")
    found = re.findall(
        r'^(?:Project|AcctGroupUser) = "?(\w+)', Path(ad).read_text(), re.MULTILINE | re.IGNORECASE
    )
    return ",".join(sorted(found, reverse=True))


def test_each_component_has_its_own_on_each_engine(engine: str) -> None:
    """A job has the entries of its components, those that are the same for all among them; a component that
    is done again has the new ones; and where the engine knows no such things, nothing else happens.
    """
    accounts = ["ann", "bob", "ann"]
    options = Options(
        custom={"Project": accounts, "Same": 1},
        submit={"accounting_group_user": lambda number: f"user{number % 2}"},
        sbatch={"account": accounts},
        workers=2,
    )
    told = {
        "local": ["", "", ""],
        "personal": ["user0,ann", "user1,bob", "user0,ann"],
        "slurm": ["ann", "bob", "ann"],
    }
    m = wingspan.map(account_of_job, range(3), pool=engine, options=options)
    m.wait(PATIENCE)
    assert list(m) == told[engine]
    assert [one.components for one in m.requests] == [(0, 2), (1,)]
    m.rerun([1], options=Options(custom={"project": "eve"}, sbatch={"account": "eve"}))
    m.wait(PATIENCE)
    assert ("eve" in m[1]) is (engine != "local")
    assert [dict(one.options.custom) for one in m.requests] == [
        {"Same": 1, "Project": "ann"},
        {"Same": 1, "project": "eve"},
    ]


def groups_of(options: Options, count: int) -> list[tuple[dict[str, Any], list[int]]]:
    """What components ask for beyond the map's options, and which these are."""
    asked = Asked(options, "map")
    assert list(asked.reading(range(count))) == list(range(count))
    return [(dict(needs), list(members)) for needs, members in asked.groups(range(count))]


def test_components_with_equal_entries_share_workers() -> None:
    """What differs makes groups; True and 1 differ, and None means that a component does not have it."""
    options = Options(
        custom={"A": [1, True, 1, None], "B": "b"}, sbatch={"--Exclusive": [True, True, True, False]}
    )
    assert groups_of(options, 4) == [
        ({"custom": {"A": 1, "B": "b"}, "sbatch": {"exclusive": True}}, [0, 2]),
        ({"custom": {"A": True, "B": "b"}, "sbatch": {"exclusive": True}}, [1]),
        ({"sbatch": {"exclusive": False}}, [3]),
    ]
    with pytest.raises(InvalidInputs, match=r"custom\.A has 2 values, and there are 3 inputs") as caught:
        groups_of(Options(custom={"A": [1, 2]}), 3)
    assert "custom={'A': lambda x: …}" in str(caught.value.hint)
    with pytest.raises(InvalidInputs, match=r"component 0: custom\.A=\[1\]"):
        groups_of(Options(custom={"A": lambda _: [1]}), 1)
    numbers = pytest.importorskip("numpy").array([3, 4, 3])
    assert [members for _, members in groups_of(Options(custom={"A": numbers}), 3)] == [[0, 2], [1]]
    with pytest.raises(InvalidInputs, match="component 1: the submit command 'x' must be one line"):
        groups_of(Options(submit={"x": lambda number: "a\nqueue" if number else "a"}), 2)


def test_a_later_layer_replaces_an_entry_not_its_option() -> None:
    """Name by name, in any case of letters, be they for all components or for each."""
    each, same = Options(custom={"A": [1, 2], "B": [3, 4], "C": 5}), Options(custom={"b": 6, "D": 7})
    later_is_same = each.merged(same)
    assert (dict(later_is_same.custom), dict(later_is_same.each)) == (
        {"C": 5, "b": 6, "D": 7},
        {"custom.A": (1, 2)},
    )
    later_is_each = same.merged(each)
    assert dict(later_is_each.custom) == {"C": 5, "D": 7}
    assert later_is_each.each.keys() == {"custom.A", "custom.B"}
    assert each.merged(Options(submit={"A": 1})).each.keys() == {"custom.A", "custom.B"}


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"custom": {"A": [1, {}]}}, SettingsError, "'A\\[1\\]' has a value of type dict"),
        ({"custom": {"Requirements": ["x"]}}, UnknownOption, "Requirements"),
        ({"submit": {"executable": ["x"]}}, UnknownOption, "executable"),
        ({"sbatch": {"mem": "1G"}}, UnknownOption, "mem"),
        ({"sbatch": {"wrap": "rm"}}, UnknownOption, "wrap"),
        ({"sbatch": {"-p": "x"}}, SettingsError, "no long name"),
        ({"sbatch": {"account": "a\nb"}}, SettingsError, "account"),
        ({"sbatch": "account"}, SettingsError, "sbatch is a str"),
    ],
)
def test_entries_that_cannot_be(options: dict[str, Any], error: type[Exception], told: str) -> None:
    """They are told when the options are written down."""
    with pytest.raises(error, match=told):
        Options(**options)


def test_workers_that_join_go_to_each_group(data_dir: Path, gate: Any) -> None:
    """No worker could do components whose jobs are to have different attributes; it is so, too, where nothing
    of the map was read before.
    """
    wait = gate.wait
    m = wingspan.map(
        lambda x: wait() or x, range(4), pool="local", options=Options(custom={"A": [1, 1, 2, 2]}, workers=0)
    )
    m.add_workers(2)
    assert [entry["needs"] for entry in submissions(m)] == [{"custom": {"A": 1}}, {"custom": {"A": 2}}]
    gate.open()
    m.wait(PATIENCE)
    assert list(m) == [0, 1, 2, 3]


def test_the_status_says_what_components_ask_for(data_dir: Path) -> None:
    """One line for each group, with what it asks for beyond the map's options; the same as JSON."""
    options = Options(
        request_memory=["100MB", "200MB", "100MB"], custom={"Project": ["a", "b", "a"], "Same": 1}
    )
    wingspan.map(abs, range(3), pool="local", tag="told", options=options).wait(PATIENCE)
    told = CliRunner().invoke(status, ["told"]).output
    assert "  asks for   memory 100MB, Project a: component 0, 2\n" in told
    assert "  asks for   memory 200MB, Project b: component 1\n" in told
    record = json.loads(CliRunner().invoke(status, ["told", "--json"]).output)
    assert record["requests"][1] == {"components": "1", "request_memory": 200 << 20, "Project": "b"}


@pytest.mark.parametrize("known", [2, 3])
def test_what_a_memo_knows_keeps_its_needs(data_dir: Path, known: int) -> None:
    """Outputs that were there already are computed anew by jobs that ask for what the components do."""

    def work(x: int) -> int:
        return x + known

    list(wingspan.map(work, range(known), pool="local", options=Options(memo=True)))
    options = Options(memo=True, custom={"A": [1, 2, 1]}, request_memory=[None, "90MB", None])
    m = wingspan.map(work, range(3), pool="local", options=options)
    assert list(m) == [known, 1 + known, 2 + known]
    m = wingspan.load(m.tag)
    asked = {one.components: (one.options.custom["A"], one.options.request_memory) for one in m.requests}
    assert asked == {(0, 2): (1, None), (1,): (2, 90 << 20)}
    m.rerun([1])
    m.wait(PATIENCE)
    assert submissions(m)[-1]["needs"] == {"custom": {"A": 2}, "request_memory": 90 << 20}


def test_a_chain_has_entries_of_components(data_dir: Path) -> None:
    """Lists go; what goes by the input does not, as the inputs are not there yet."""
    first = wingspan.map(abs, [-1, -2], pool="local")
    with pytest.raises(SettingsError, match=r"custom\.A goes by the inputs"):
        first.map(abs, pool="local", options=Options(custom={"A": lambda x: x}))
    second = first.map(abs, pool="local", options=Options(custom={"A": [1, 2]}))
    assert [dict(one.options.custom) for one in second.requests] == [{"A": 1}, {"A": 2}]
    assert list(second) == [1, 2]


def test_rendered_workers_are_of_one_group(data_dir: Path, tmp_path: Path) -> None:
    """Each group has a file of its own, which submit.sh submits; its workers do its components only."""
    options = Options(workers=0, custom={"A": [1, 2, 1]}, sbatch={"nice": 3, "qos": ["a b", "c", "a b"]})
    m = wingspan.map(abs, [-1, -2, -3], tag="grouped", options=options)
    render_map("htcondor", tmp_path / "h", m, workers=3)
    render_map("slurm", tmp_path / "s", m, workers=3)
    assert lint([tmp_path / "h", tmp_path / "s"]) == []
    described = [(tmp_path / f"h/grouped-{number}.sub").read_text() for number in (0, 1)]
    assert [re.findall(r"^\+A = (\d)", text, re.MULTILINE) for text in described] == [["1"], ["2"]]
    assert [re.findall(r": components (.+)", text) for text in described] == [["0, 2"], ["1"]]
    scripts = [(tmp_path / f"s/grouped-{number}.sbatch").read_text() for number in (0, 1)]
    assert [re.findall(r"--qos=(.+)", text) for text in scripts] == [["'a b'"], ["c"]]
    for folder, program in (("h", "condor_submit"), ("s", "sbatch")):
        assert (
            len(re.findall(rf'{program} "\$@" grouped-\d', (tmp_path / folder / "submit.sh").read_text()))
            == 2
        )
    (group,) = re.findall(r'TASK_ID" (\w+)', scripts[1])
    subprocess.run(
        ["sh", "worker.sh", "1500000", "0", group], cwd=tmp_path / "s", check=True, timeout=PATIENCE
    )
    assert m[1] == 2
    counts = m.status().counts
    assert counts[wingspan.ComponentStatus.COMPLETED] == 1
