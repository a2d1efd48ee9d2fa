"""The command group: help, errors, completion, doctor, and what starting it imports."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import wingspan
from _command_line import wingspan_here
from _waiting import PATIENCE
from wingspan.cli._main import COMMANDS, FOR_PROGRAMS

from .conftest import Run

#: Libraries that cost tens of milliseconds each, and that neither `import wingspan` nor `--help` has any use
#: for.
HEAVY = (
    "htcondor2 classad2 rich rattler cloudpickle fsspec zstandard aiohttp tomlkit asyncio multiprocessing sklearn numpy "
    "wingspan.maps wingspan.pools wingspan.environments wingspan.stores"
).split()


def _imported(code: str) -> set[str]:
    script = f"import sys\ntry:\n    {code}\nfinally:\n    print('\\n' + ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import wingspan",
        "from wingspan.cli import main; main(['--help'])",
        "from wingspan.cli import main; main(['--version'])",
        "from wingspan.cli import main; main(['no-such-command'])",
    ],
)
def test_starting_imports_nothing_heavy(code: str) -> None:
    """What is imported at the start is what every command needs: nothing else, so that help comes at once."""
    imported = _imported(code)
    assert "wingspan" in imported
    assert imported.isdisjoint(HEAVY)


def test_every_command_has_help(run: Run) -> None:
    """--help of the group lists every command that people type, and each command explains itself."""
    listed = run("--help").out
    for name, (_, _, short) in COMMANDS.items():
        assert (f"\n  {name} " in listed) is (name not in FOR_PROGRAMS)
        code, out, _ = run(name, "--help")
        assert code == 0
        assert out.startswith(f"Usage: wingspan {name}")
        assert len(short) <= 75


@pytest.mark.parametrize("group", ["edit", "env", "image", "pool", "profile", "store"])
def test_lists_of_commands_cut_no_sentence_off(run: Run, group: str) -> None:
    """What a group says of its commands is said to the end, on several lines if need be."""
    listed = run(group, "--help").out.partition("Commands:\n")[2]
    assert len(listed.splitlines()) > 1
    assert "..." not in listed


def test_a_mistyped_command_names_the_nearest(run: Run) -> None:
    """A usage error, exit code 2, with a suggestion."""
    code, _, err = run("statsu")
    assert code == 2
    assert "'status'" in err


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_streams_that_are_closed_are_no_traceback(run: Run, closed: str) -> None:
    """A command whose output nobody can see does its work, and says nothing else."""
    wingspan.map(abs, [1], tag="seen", pool="local").wait()
    command = "from wingspan.cli import main; main(['maps'])"
    done = subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("no_color", ["", "1"])
def test_errors_of_ours_are_no_tracebacks(no_color: str) -> None:
    """A message and a hint on standard error, without colours where nobody sees them."""
    environment = {**os.environ, "NO_COLOR": no_color}
    done = subprocess.run(
        [sys.executable, "-m", "wingspan", "status", "nothing"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: no map and no run has the name 'nothing'\nHint: ")


def _complete(words: str, position: int, *, by_a_process: bool = False) -> list[str]:
    """What bash would be offered, through click's own protocol."""
    asked = {"_WINGSPAN_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(position)}
    if by_a_process:
        command = [sys.executable, "-c", "from wingspan.cli import main; main()"]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, **asked}, check=False
        )
    else:
        done = wingspan_here(env=asked)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split(",")[1] for line in done.stdout.splitlines() if line]


def test_the_tab_key_completes_commands_and_tags() -> None:
    """Commands by their first letters; tags of maps, those already given left out."""
    for tag in ("digits", "digits-2", "other"):
        wingspan.map(abs, [1], tag=tag, pool="local").wait(PATIENCE)
    assert _complete("wingspan reta", 1, by_a_process=True) == ["retag"]
    assert {"rerun", "release"} <= set(_complete("wingspan re", 1))
    assert _complete("wingspan status di", 2) == ["digits", "digits-2"]
    assert _complete("wingspan rm digits ", 3, by_a_process=True) == ["digits-2", "other"]
    wingspan.run(["true"], name="arun", pool="local").wait()
    assert _complete("wingspan rm digits arun o", 4) == ["other"]  # refused when it is called, and not before


def test_the_tab_key_offers_nothing_that_a_shell_would_execute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who wrote a manifest chose the names in it; and a folder of tags may have any file."""
    names = ["$(touch x)", "`id`", "a b", "a;b", "-x", "a\nb", "*", "ok"]
    tasks = "".join(
        f'{json.dumps(name)} = {{ cmd = "true", description = "a\\nplain,evil\\u001b" }}\n' for name in names
    )
    (tmp_path / "pixi.toml").write_text(
        f'[workspace]\nname = "w"\nchannels = []\nplatforms = ["linux-64"]\n[tasks]\n{tasks}'
    )
    monkeypatch.chdir(tmp_path)
    assert _complete("wingspan run ", 2) == ["ok"]
    wingspan.map(abs, [1], tag="good", pool="local").wait(PATIENCE)
    tags = wingspan.settings.load_settings().data_dir / "tags"
    for name in [*names, "\udcff", "\u202ex"]:
        (tags / name).write_bytes((tags / "good").read_bytes())
    assert _complete("wingspan status ", 2, by_a_process=True) == ["good", "ok"]


def test_the_tab_key_knows_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks, environments, profiles and switches are completed, and where a file is meant the shell does
    it.
    """
    (tmp_path / "pixi.toml").write_text(
        '[workspace]\nname = "w"\nchannels = []\nplatforms = ["linux-64"]\n'
        '[tasks]\ntrain = "true"\ntest = "true"\n_own = "true"\n'
        '[feature.f.tasks]\ntune = "true"\n[environments]\ngpu = ["f"]\n'
    )
    monkeypatch.chdir(tmp_path)
    assert _complete("wingspan run t", 2) == ["test", "train", "tune"]
    assert _complete("wingspan run _", 2) == ["_"]  # a file, perhaps
    assert _complete("wingspan run train ", 3) == [""]
    assert _complete("wingspan run --env g", 3) == ["gpu"]
    assert _complete("wingspan gpus --env g", 3) == ["gpu"]
    assert _complete("wingspan run --profile cht", 3) == ["chtc"]
    assert _complete("wingspan run --profile chtc --switch want_o", 5) == ["want_ospool"]
    assert _complete("wingspan run --input tr", 3) == ["tr"]
    assert _complete("wingspan run -- py", 3) == ["py"]
    wingspan.map(abs, [-1], tag="tuned", pool="local").wait()
    assert _complete("wingspan render htcondor made tu", 4) == ["tune", "tuned"]
    monkeypatch.chdir("/")
    assert _complete("wingspan run t", 2) == ["t"]
    assert _complete("wingspan run --env g", 3) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_line(run: Run, shell: str) -> None:
    """The line names the shell's own way of asking."""
    code, out, _ = run("completion", shell)
    assert code == 0
    assert f"_WINGSPAN_COMPLETE={shell}_source wingspan" in out


def test_completion_line_works_in_bash(run: Run) -> None:
    """bash evaluates the line and then knows how to complete the command."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash on this machine")
    line = run("completion", "bash").out
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [bash, "--norc", "-c", f"{line}\ncomplete -p wingspan"],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path},
        check=False,
    )
    assert "wingspan" in done.stdout, done.stderr


def test_doctor_says_what_would_run_a_map(run: Run, tmp_path: Path) -> None:
    """The chosen pool is one of the candidates, folders are the tests' own, and nothing was started."""
    code, out, _ = run("doctor", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["wingspan"] == wingspan.__version__
    [chosen] = [one for one in report["pools"] if one["chosen"]]
    assert chosen["kind"] == report["chosen"]
    assert chosen["usable"]
    assert report["folders"]["data"] == str(tmp_path / "wingspan-data")
    assert not (tmp_path / "wingspan-data").exists()
    assert "A map runs on: " + chosen["kind"] in run("doctor").out


def test_doctor_says_which_profile_is_in_force(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its name, what it changes, and the room that its quotas leave."""
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path))
    text = '[profile.lab]\nhosts = ["*"]\nextends = "generic"\nqueue = { per_owner = 7 }\n'
    (tmp_path / "config.toml").write_text(text, encoding="utf-8")
    found = json.loads(run("doctor", "--json").out)["profile"]
    assert (found["name"], found["origin"]) == ("lab", "config.toml")
    assert found["effects"] == ["a person has at most 7 jobs in the queue"]
    assert found["rooms"][0]["free"] > 0
    assert "a person has at most 7 jobs in the queue" in run("doctor").out
    monkeypatch.setenv("WINGSPAN_OPTION_PROFILE", "cern")
    assert json.loads(run("doctor", "--json").out)["profile"]["name"] == "cern"


@pytest.mark.skipif(shutil.which("sbatch") is None, reason="no sbatch on this machine")
def test_doctor_tells_slurms_version_without_a_cluster(run: Run) -> None:
    """sbatch itself says nothing where no cluster is configured."""
    slurm = next(part for part in json.loads(run("doctor", "--json").out)["parts"] if part["name"] == "Slurm")
    assert re.search(r"\d+\.\d+", slurm["version"])


def test_doctor_follows_the_settings(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """WINGSPAN_POOL decides; a site pool that no configuration names makes exit code 1."""
    monkeypatch.setenv("WINGSPAN_POOL", "local")
    assert json.loads(run("doctor", "--json").out)["chosen"] == "local"
    monkeypatch.setenv("WINGSPAN_POOL", "htcondor")
    for name in ("CONDOR_CONFIG", "_condor_SCHEDD_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("wingspan.pools._explain.site_condor", lambda: None)
    code, out, _ = run("doctor", "--json")
    assert code == 1
    assert not json.loads(out)["usable"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pool = [", "is not valid TOML"),
        ("colour = 2", "unknown setting 'colour'"),
        ('pool = "condor"', "there is no pool 'condor'"),
        ("[options]\nrequest_memroy = 3", "did you mean 'request_memory'"),
        ("[profile.mine]\nextends = 'nobody'", "[profile.mine] extends 'nobody'"),
    ],
)
def test_doctor_reports_wrong_settings_and_goes_on(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, told: str
) -> None:
    """What is wrong in config.toml is a line of the report; everything else is told all the same."""
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path))
    (tmp_path / "config.toml").write_text(text, encoding="utf-8")
    code, out, err = run("doctor")
    assert code == 1
    assert told in out
    assert all(part in out for part in ("A map runs on", "Here:", "Folders:"))
    assert err == ""
    report = json.loads(run("doctor", "--json").out)
    assert len(report["faults"]) == 1
    assert report["pools"]
    (tmp_path / "config.toml").unlink()  # the fixtures' own clearing up reads it too


def test_doctor_says_who_named_a_pool_that_nobody_knows(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt pool in the environment is blamed on the variable, with the names there are."""
    monkeypatch.setenv("WINGSPAN_POOL", "condor")
    code, out, _ = run("doctor")
    assert code == 1
    assert "WINGSPAN_POOL: there is no pool 'condor'" in out
    assert "pools are: personal" in out


def test_a_configuration_that_is_not_there_is_told_in_one_line() -> None:
    """CONDOR_CONFIG=/nonexistent: HTCondor's library does not get to complain about it at length."""
    environment = {**os.environ, "CONDOR_CONFIG": "/nonexistent"}
    command = [sys.executable, "-m", "wingspan", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.stderr == ""
    assert "the file /nonexistent that CONDOR_CONFIG names is not there" in done.stdout


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("errors a-run", "wingspan logs a-run --stderr"),
        ("stdout a-run 0", "wingspan logs a-run"),
        ("stderr a-run 0", "wingspan logs a-run --stderr"),
        ("retag a-run other", "keeps its name"),
        ("logs a-map", "wingspan stdout a-map 0"),
        ("path a-run", "wingspan fetch a-run"),
    ],
)
def test_a_command_of_the_other_kind_says_what_the_name_is(run: Run, words: str, named: str) -> None:
    """The name of a run where a map is wanted, and the other way round: said, with the command that does
    it there.
    """
    wingspan.map(abs, [1], tag="a-map", pool="local").wait(PATIENCE)
    started = wingspan.run(["true"], name="a-run", pool="local")
    try:
        code, _, err = run(*words.split())
    finally:
        started.remove(force=True)
    kind = ("run", "map") if "a-run" in words else ("map", "run")
    assert code == 1
    assert f"is a {kind[0]}, not a {kind[1]}" in err
    assert named in err


def test_load_says_that_a_name_is_of_the_other_kind() -> None:
    """The same in Python, for loading and for removing."""
    wingspan.map(abs, [1], tag="a-map", pool="local").wait(PATIENCE)
    started = wingspan.run(["true"], name="a-run", pool="local")
    try:
        for call in (wingspan.load, wingspan.remove):
            with pytest.raises(wingspan.TagNotFound, match="'a-run' is a run, not a map") as caught:
                call("a-run")
            assert "load_run('a-run')" in str(caught.value.hint)
        with pytest.raises(wingspan.WingspanError, match="'a-map' is a map, not a run") as told:
            wingspan.load_run("a-map")
        assert "wingspan.load('a-map')" in str(told.value.hint)
    finally:
        started.remove(force=True)
