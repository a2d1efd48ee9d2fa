"""Profiles that a site hands out at an address, from a real server that speaks TLS."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pytest

import wingspan
from _https_server import HttpsServer, https_server
from wingspan.cli import main
from wingspan.errors import SettingsError
from wingspan.pools.profiles import find_profile, load_profile, profiles

__all__ = ["https_server"]

LAB = b"""
[profile.lab]
title = "Our lab"
extends = "generic"
hosts = ["submit.lab.example.org"]
[profile.lab.every.attributes]
LabProject = "theory"
"""


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def command(*words: str) -> int:
    """Runs a command line in this process; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(["profile", *words])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_profile_is_fetched_once_and_kept(https_server: HttpsServer) -> None:
    """An address with a digest names a profile for a map; later no network is needed, and a kept file that
    was changed is fetched anew.
    """
    https_server.files["/lab.toml"] = LAB
    address = f"{https_server.url}/lab.toml#sha256={digest_of(LAB)}"
    options = wingspan.Options(profile=address, custom={"Mine": 1})
    assert list(wingspan.map(abs, [-1], pool="local", options=options)) == [1]
    lab = load_profile(address)
    assert (lab.name, lab.origin, dict(lab.every.attributes)) == ("lab", address, {"LabProject": "theory"})
    assert https_server.asked == ["/lab.toml"]
    assert "lab" not in profiles()
    (kept,) = (Path(wingspan.settings.load_settings().data_dir) / "profiles").glob("*.toml")
    kept.write_bytes(LAB.replace(b"theory", b"thievery"))
    assert load_profile(address).every.attributes == {"LabProject": "theory"}
    assert len(https_server.asked) == 2


def test_another_file_than_the_digest_is_of(https_server: HttpsServer) -> None:
    """A wrong digest is an error with both digests, before anything is written, and nothing is kept."""
    https_server.files["/lab.toml"] = LAB
    wrong = digest_of(b"")
    with pytest.raises(SettingsError, match="another one than the digest is of") as caught:
        wingspan.map(
            abs,
            [-1],
            pool="local",
            options=wingspan.Options(profile=f"{https_server.url}/lab.toml#sha256={wrong}"),
        )
    assert wrong in str(caught.value)
    assert digest_of(LAB) in str(caught.value)
    data = wingspan.settings.load_settings().data_dir
    assert not list(data.glob("profiles/*.toml"))
    assert not list(data.glob("maps/[!.]*"))


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        (
            "https://{host}/x#sha256={digest}",
            None,
            "cannot be fetched: Not Found|cannot be fetched: HTTP Error 404",
        ),
        ("https://{host}/x", b"", "has no digest"),
        ("https://{host}/x#sha256=12", b"", "has no digest"),
        ("http://{host}/x#sha256={digest}", b"", "https:// is wanted"),
        ("file:///etc/passwd#sha256={digest}", b"", "https:// is wanted"),
        ("https://me:s3cret@{host}/x#sha256={digest}", b"", "https://127.*has a user or a password"),
        ("https://{host}/x#sha256={digest}", "http://127.0.0.1:9/x", "https:// is wanted"),
        ("https://{host}/x#sha256={digest}", b"\xff", "is no TOML"),
        ("https://{host}/x#sha256={digest}", b"[options]\nworkers = 1\n", "has not just one profile"),
        ("https://{host}/x#sha256={digest}", b"[profile.a]\n[profile.b]\n", "has not just one profile"),
        ("https://{host}/x#sha256={digest}", b'[profile."../a"]\n', "is no name of a profile"),
        ("https://{host}/x#sha256={digest}", b"[profile.a]\nnew = 1\n", "has no key 'new'"),
        (
            "https://{host}/x#sha256={digest}",
            b'[profile.a.gpu.submit]\nExecutable = "/bin/x"\n',
            "sets Executable",
        ),
        (
            "https://{host}/x#sha256={digest}",
            b'[profile.a.every.attributes]\n"MY.Cmd" = "/bin/x"\n',
            "sets MY.Cmd",
        ),
        *(
            (
                "https://{host}/x#sha256={digest}",
                f'[profile.a.{place}]\n"{name}" = "x"\n'.encode(),
                f"sets {name}",
            )
            for place, name in (
                ("every.attributes", "TransferPlugins"),
                ("every.attributes", "ContainerImage"),
                ("gpu.submit", "My.OutputDestination"),
                ("cpu.submit", "oauth_services_needed"),
                ("cpu.submit", "of_a_later_htcondor"),
                ("cpu.submit", "want_io_proxy"),
                ("sbatch", "of-a-later-slurm"),
                ("cpu.submit", "box_oauth_permissions"),
                ("gpu.submit", "docker_override_entrypoint"),
                ("gpu.submit", "use_x509userproxy"),
                ("every.submit", "if"),
                ("every.attributes", "SingularityImage"),
                ("every.attributes", "LimitDirectoryAccess"),
                ("every.attributes", "my.MY.Cmd"),
                ("sbatch", "container-mounts"),
                ("sbatch", "array"),
            )
        ),
        *(
            ("https://{host}/x#sha256={digest}", data, words)
            for data, words in (
                (b"[profile.a]\nx = " + b"[" * 5_000 + b"]" * 5_000, "is no TOML: .*too deep"),
                (b"[profile.a." + b".".join([b"b"] * 90) + b"]\n", "tables lie too deep"),
                (b'[profile.a.every]\ntime_limit = "' + b"9" * 400 + b' h"\n', "a number with one of"),
                (
                    b'[profile.a.every.submit]\ndescription = "$ENV(TOKEN)"\n',
                    "a variable of your environment",
                ),
                (b'[profile.a.gpu.submit]\nrank = "$INT($env(TOKEN))"\n', "a variable of your environment"),
            )
        ),
        ("https://{host}/x#sha256={digest}", b'[profile.a.sbatch]\nwrap = "x"\n', "sets wrap"),
        ("https://{host}/x#sha256={digest}", b'[profile.a.sbatch]\nexpor = "x"\n', "sets expor"),
        (
            "https://{host}/x#sha256={digest}",
            b'[profile.a.every.walltime]\nattribute = "Cmd"\nclasses = [{up_to = "1 h", value = "/bin/x"}]\n',
            "sets Cmd",
        ),
        (
            "https://{host}/x#sha256={digest}",
            b'[profile.a.accounting]\ncommand = "executable"\n',
            "sets executable",
        ),
        (
            "https://{host}/x#sha256={digest}",
            b'[profile.a.sbatch]\nconstraint = "a\\nrm -r x"\n',
            "text in one line",
        ),
        (
            "https://{host}/x#sha256={digest}",
            b'[profile.a.every.submit]\n"a = 1\\nexecutable" = "x"\n',
            "is no name of a command",
        ),
        ("https://{host}/x#sha256={digest}", b" " * ((1 << 20) + 1), "larger than 1 MiB"),
    ],
)
def test_what_is_no_handed_out_profile(
    https_server: HttpsServer, name: str, data: bytes | str | None, words: str
) -> None:
    """Each is an error that says what is wrong, without the secrets of an address."""
    if data is not None:
        https_server.files["/x"] = data
    digest = digest_of(data if isinstance(data, bytes) else b"")
    with pytest.raises(SettingsError, match=words) as caught:
        load_profile(name.format(host=https_server.url.removeprefix("https://"), digest=digest))
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"


def test_a_profile_is_added_shown_and_removed(
    https_server: HttpsServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`wingspan profile add` takes it with a digest, or after a look; it is in force on the machines that it
    names, without any network, until it is removed.
    """
    url, host = f"{https_server.url}/lab.toml", "submit.lab.example.org"
    https_server.files["/lab.toml"] = LAB
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert command("add", url) == 1
    assert f"In force by itself on {host}" in capsys.readouterr().out
    assert command("add", url, "--digest", digest_of(b"")) == 2
    assert command("add", url, "--json") == 2
    assert find_profile(host=host).name == "generic"
    capsys.readouterr()
    assert command("add", url, "--digest", digest_of(LAB), "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["name"], said["sha256"]) == ("lab", digest_of(LAB))
    assert "jobs say +LabProject = theory" in said["effects"]
    https_server.files.clear()
    assert find_profile(host=host).origin == f"{url}#sha256={digest_of(LAB)}"
    assert command("list", "--json") == 0
    entries = json.loads(capsys.readouterr().out)
    assert {"lab", "chtc"} <= {entry["name"] for entry in entries}
    assert command("show", "lab") == 0
    assert "LabProject" in capsys.readouterr().out
    assert command("rm", "lab") == 0
    assert command("rm", "lab") == 2
    assert find_profile(host=host).name == "generic"
