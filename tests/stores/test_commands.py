"""The commands: wingspan env publish, store ls, store prune."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from wingspan.cli import main
from wingspan.pools.personal import PersonalPool


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command line."""
    with pytest.raises(SystemExit) as ended:
        main(list(argv))
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, err


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of its own called lab, and no maps."""
    (tmp_path / "lab").mkdir()
    (tmp_path / "config.toml").write_text(f'[store.lab]\nurl = "{tmp_path}/lab"\n')
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "data"))
    return tmp_path


def test_publish_prints_the_address_for_jobs(
    folders: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one store configured it need not be named; standard output is the address alone."""
    code, out, err = run(capsys, "env", "publish", str(bundle))
    assert code == 0
    [line] = out.splitlines()
    assert Path(line).read_bytes() == bundle.read_bytes()
    assert Path(line).parent == folders / "lab"
    assert "published" in err
    assert "transfer_input_files" in err


def test_publish_json(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json gives name, digest, addresses, and whether it was uploaded now."""
    first = json.loads(run(capsys, "env", "publish", str(bundle), "--to", "lab", "--json")[1])
    again = json.loads(run(capsys, "env", "publish", str(bundle), "--to", "lab", "--json")[1])
    assert (first[0]["uploaded"], again[0]["uploaded"]) == (True, False)
    assert first[0]["name"] == f"mnist-{first[0]['digest'][:8]}.squashfs"
    assert first[0]["route"] == "transfer"


def test_publish_without_a_store_says_what_to_write(
    folders: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --to and without a configured store the hint shows the option."""
    (folders / "config.toml").write_text("")
    code, _, err = run(capsys, "env", "publish", str(bundle))
    assert code == 2
    assert "--to" in err
    assert str(folders / "config.toml") in err


def test_publish_prints_the_addresses_of_what_came_before_a_failure(
    folders: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first is published, and its address is told, although the second cannot be."""
    bad = bundle.with_name("other-00000000.squashfs")
    bad.write_bytes(bundle.read_bytes())
    bad.with_name(f"{bad.name}.sha256").write_text(f"{'0' * 64}  {bad.name}\n")
    code, out, err = run(capsys, "env", "publish", str(bundle), str(bad))
    assert code != 0
    assert bad.name in err
    [line] = out.splitlines()
    assert Path(line).read_bytes() == bundle.read_bytes()


def test_publish_takes_bundles_only(folders: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no bundle is told before anything is published."""
    manifest = bundle.with_name("pixi.toml")
    manifest.write_text("[workspace]\n")
    code, _, err = run(capsys, "env", "publish", str(bundle), str(manifest))
    assert code != 0
    assert "pixi.toml is not a bundle" in err
    assert list((folders / "lab").iterdir()) == []


def test_addresses_have_no_way_up(
    folders: Path, bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs get the folder itself, not the way to it from here."""
    (folders / "here").mkdir()
    monkeypatch.chdir(folders / "here")
    assert run(capsys, "env", "publish", str(bundle), "--to", "../lab")[1].startswith(f"{folders}/lab/mnist-")


def test_ls(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """store ls lists all configured stores, as a table and as JSON."""
    run(capsys, "env", "publish", str(bundle), "--name", "gpu")
    _, table, _ = run(capsys, "store", "ls")
    assert table.splitlines()[0].split() == ["NAME", "SIZE", "LAST", "USED", "FOR", "JOBS"]
    assert table.splitlines()[1].startswith("gpu-")
    [entry] = json.loads(run(capsys, "store", "ls", "lab", "--json")[1])
    assert entry["complete"] is True
    assert entry["size"] == bundle.stat().st_size


def test_ls_lists_the_others_when_one_store_is_away(
    folders: Path, bundle: Path, capsys: pytest.CaptureFixture[str], refused_port: int
) -> None:
    """A store that does not answer is told, and does not hide what the others hold."""
    run(capsys, "env", "publish", str(bundle), "--to", "lab")
    with (folders / "config.toml").open("a") as file:
        file.write(f'[store.away]\nurl = "http://127.0.0.1:{refused_port}/envs"\n')
    code, table, err = run(capsys, "store", "ls")
    assert code == 1
    assert "mnist-" in table
    assert str(refused_port) in err
    code, out, _ = run(capsys, "store", "ls", "--json")
    assert (code, [each["store"] for each in json.loads(out)]) == (1, ["lab"])


def test_prune_keeps_what_a_map_names(
    folders: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the description of a kept map names survives any pruning; without the map it goes."""
    [entry] = json.loads(run(capsys, "env", "publish", str(bundle), "--json")[1])
    described = folders / "data" / "maps" / "0123" / "map.json"
    described.parent.mkdir(parents=True)
    described.write_text(json.dumps({"tag": "mine", "environment": entry["digest"]}))
    answer = json.loads(run(capsys, "store", "prune", "lab", "--older-than", "0", "--yes", "--json")[1])
    assert (answer["needed"], answer["removed"]) == ([entry["name"]], [])
    described.unlink()
    answer = json.loads(run(capsys, "store", "prune", "lab", "--older-than", "0", "--yes", "--json")[1])
    assert answer["removed"] == [entry["name"]]
    assert list((folders / "lab").iterdir()) == []


def test_prune_asks_first(
    bundle: Path, folders: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody can answer nothing is removed, and --dry-run never asks."""
    run(capsys, "env", "publish", str(bundle))
    code, out, _ = run(capsys, "store", "prune", "lab", "--older-than", "0", "--dry-run")
    assert code == 0
    assert "Would remove 1" in out
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    code, _, err = run(capsys, "store", "prune", "lab", "--older-than", "0")
    assert code == 2
    assert "--yes" in err
    assert len(list((folders / "lab").iterdir())) == 2


def test_prune_json_does_not_ask(capsys: pytest.CaptureFixture[str]) -> None:
    """--json without --yes or --dry-run is a usage error, not a question into a pipe."""
    assert run(capsys, "store", "prune", "lab", "--json")[0] == 2


def test_an_unknown_store(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is not configured exits 2 and lists what is."""
    code, _, err = run(capsys, "store", "ls", "laab")
    assert code == 2
    assert "configured: lab" in err


@pytest.mark.htcondor
def test_prune_keeps_what_a_queued_job_names(
    folders: Path,
    bundle: Path,
    capsys: pytest.CaptureFixture[str],
    personal_pool: PersonalPool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A job of somebody's own submit file waits for a published bundle; when it is gone, so may the
    bundle.
    """
    import htcondor2

    monkeypatch.setenv("CONDOR_CONFIG", str(personal_pool.config_file))
    [entry] = json.loads(run(capsys, "env", "publish", str(bundle), "--json")[1])
    text = (
        "executable = /bin/true\ntransfer_executable = false\nhold = true\n"
        f"transfer_input_files = file://{entry['url']}\nqueue\n"
    )
    with personal_pool.activate():
        schedd = personal_pool.schedd()
        cluster = schedd.submit(htcondor2.Submit(text)).cluster()
    prune = ("store", "prune", "lab", "--older-than", "0", "--yes", "--json")
    try:
        assert json.loads(run(capsys, *prune)[1])["needed"] == [entry["name"]]
    finally:
        with personal_pool.activate():
            personal_pool.schedd().act(htcondor2.JobAction.Remove, f"ClusterId == {cluster}")
    assert json.loads(run(capsys, *prune)[1])["removed"] == [entry["name"]]


def test_prune_keeps_what_a_stopped_pools_queue_names(
    folders: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The personal pool keeps its queue when it is stopped, and starts with it again."""
    [entry] = json.loads(run(capsys, "env", "publish", str(bundle), "--json")[1])
    pool = PersonalPool()
    assert pool.status().state == "stopped"
    queue = pool.directory / "spool/job_queue.log"
    queue.parent.mkdir(parents=True)
    queue.write_text(f'103 1.0 TransferInput "file://{entry["url"]}"\n')
    prune = ("store", "prune", "lab", "--older-than", "0", "--yes", "--json")
    assert json.loads(run(capsys, *prune)[1])["needed"] == [entry["name"]]
    queue.unlink()
    assert json.loads(run(capsys, *prune)[1])["removed"] == [entry["name"]]
