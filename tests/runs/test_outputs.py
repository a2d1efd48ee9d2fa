"""Outputs: what comes back of links, patterns and folders that were named twice."""

from __future__ import annotations

from pathlib import Path

import pytest

import wingspan
from wingspan.runs import Run


def _texts(run: Run) -> dict[str, str]:
    return {name: path.read_text() for name, path in run.outputs().items()}


@pytest.mark.parametrize("outputs", [["latest.pt"], ["epoch-9.pt", "latest.pt"], ["*.pt"]])
def test_a_link_comes_back_as_what_it_leads_to(pool: str, done, outputs: list[str]) -> None:
    """A file that an output is a link to comes back under its name, whatever else is an output too."""
    run = done(
        wingspan.run(
            ["sh", "-c", "echo nine >epoch-9.pt; ln -s epoch-9.pt latest.pt"], outputs=outputs, pool=pool
        )
    )
    run.check()
    both = {"epoch-9.pt": "nine\n", "latest.pt": "nine\n"}
    assert _texts(run) == (both if outputs != ["latest.pt"] else {"latest.pt": "nine\n"})
    assert not any(path.is_symlink() for path in run.outputs().values())


def test_links_in_a_folder_come_back_as_files_and_folders(pool: str, done) -> None:
    """Links to folders are copied, those in a circle or to nothing are left out: HTCondor would hold the job for some of them."""
    script = (
        "mkdir -p logs/run-1/files other; echo log >logs/run-1/files/a.txt; echo hidden >logs/.x; echo far >other/far.txt; "
        "ln -s run-1 logs/latest-run; ln -s ../other logs/other; ln -s . logs/run-1/around; ln -s .. logs/up; "
        "ln -s ../logs other/back; ln -s nowhere logs/dangling"
    )
    run = done(wingspan.run(["sh", "-c", script], outputs=["logs"], pool=pool))
    run.check()
    texts = _texts(run)
    assert {name: text for name, text in texts.items() if "/back/" not in name} == {
        "logs/run-1/files/a.txt": "log\n",
        "logs/latest-run/files/a.txt": "log\n",
        "logs/other/far.txt": "far\n",
        "logs/.x": "hidden\n",
    }
    assert not any(path.is_symlink() for path in run._outputs(0).rglob("*"))
    assert len(texts) < 20  # around the circle of the two folders once at most
    assert "logs/up leads around in a circle" in run.stderr()


def test_a_link_to_nothing_is_no_output(pool: str, done) -> None:
    """It is missing, as if it were not there."""
    run = done(wingspan.run(["ln", "-s", "nowhere", "model.pt"], outputs=["model.pt"], pool=pool))
    assert run.status().jobs[0].missing == ("model.pt",)


def test_a_link_as_a_checkpoint_is_kept(folders: Path, pool: str, until, done) -> None:
    """What a checkpoint is a link to is there after an eviction: nothing is begun anew."""
    gate, diary = folders / "gate", folders / "diary"
    script = f"""
    if [ ! -e latest ]; then echo anew >>'{diary}'; mkdir state; echo one >state/1; ln -s state/1 latest; exit 85; fi
    cat latest >>'{diary}'
    while [ ! -e '{gate}' ]; do sleep 0.05; done
    """
    run = wingspan.run(["sh", "-c", script], checkpoint=["latest"], pool=pool)
    until(lambda: diary.exists() and diary.read_text() == "anew\none\n", "the start from the checkpoint")
    run.vacate()
    until(lambda: diary.read_text() != "anew\none\n", "the start after the eviction")
    gate.touch()
    done(run).check()
    assert diary.read_text() == "anew\none\none\n"


@pytest.mark.parametrize(
    ("outputs", "expected"), [(["*"], {"b.txt", "out/c.txt", "-d"}), (["out*"], {"out/c.txt"})]
)
def test_a_pattern_means_what_the_command_has_written(
    folders: Path, pool: str, done, outputs: list[str], expected: set[str]
) -> None:
    """Neither inputs, nor the job's script, nor the folder of its outputs are what ``*`` means."""
    (folders / "out-input.txt").touch()
    script = "mkdir out; touch b.txt out/c.txt ./-d"
    run = done(wingspan.run(["sh", "-c", script], inputs=["out-input.txt"], outputs=outputs, pool=pool))
    run.check()
    assert set(run.outputs()) == expected


def test_a_pattern_means_what_was_written_before_a_checkpoint(pool: str, done) -> None:
    """A command that is begun again from its checkpoint, where its files still are, gets all of them back."""
    script = "if [ -e state ]; then touch second.csv; else touch first.csv state; exit 85; fi"
    run = done(wingspan.run(["sh", "-c", script], outputs=["*.csv"], checkpoint=["state"], pool=pool))
    run.check()
    assert set(run.outputs()) == {"first.csv", "second.csv"}


def test_a_pattern_means_inputs_that_the_command_changes(folders: Path, pool: str, done) -> None:
    """One that stays as it was is no output; named in full it is."""
    for name in ("a.csv", "b.csv"):
        (folders / name).write_text("old\n")
    options = {"inputs": ["a.csv", "b.csv"], "pool": pool}
    changed = done(wingspan.run(["sh", "-c", "echo new >>a.csv"], outputs=["*.csv"], **options))
    assert _texts(changed) == {"a.csv": "old\nnew\n"}
    nothing = done(wingspan.run(["true"], outputs=["*.csv"], **options))
    assert nothing.status().jobs[0].missing == ("*.csv",)
    assert _texts(done(wingspan.run(["true"], outputs=["b.csv"], **options))) == {"b.csv": "old\n"}


@pytest.mark.parametrize(
    "outputs",
    [
        ["results/a.csv", "results"],
        ["results", "results/a.csv"],
        ["results/deep/*", "*/a.csv", "results/deep", "res*"],
    ],
)
def test_a_folder_and_something_in_it(pool: str, done, outputs: list[str]) -> None:
    """Both named, in any order: everything comes back once, with its path."""
    script = "mkdir -p results/deep; for name in a.csv .hidden deep/b.csv; do echo $name >results/$name; done"
    run = done(wingspan.run(["sh", "-c", script], outputs=outputs, pool=pool))
    run.check()
    assert set(run.outputs()) == {"results/a.csv", "results/.hidden", "results/deep/b.csv"}
    assert run.status().jobs[0].left == ()
