"""Outputs that go to an address instead of coming back."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import wingspan
from _waiting import PATIENCE
from wingspan.errors import WingspanError
from wingspan.pools.personal import PersonalPool
from wingspan.runs import InvalidRun, Run, RunFailed, render
from wingspan.runs._rehearse import rehearse
from wingspan.runs._request import RunRequest

_WRITE = """echo {lr}:$lr >model.pt; mkdir -p res/deep; echo r >res/deep/a; echo log >log.txt
for i in a -f res/b keep; do echo $i >./$i.csv; done; exit ${CODE:-0}"""


def test_outputs_go_to_files_of_this_machine(folders: Path, done, wingspan_cli) -> None:
    """A file and a folder lie at their addresses, which hold the parameter's value and the job's number, and
    not among the outputs that came back; status and fetch name them; an address with a file is written anew.
    What matches a pattern goes into the folder of its address, but for outputs that are named themselves.
    """
    there = folders / "new" / "place"
    run = done(
        wingspan.run(
            ["sh", "-c", _WRITE],
            outputs=[
                f"model.pt=file://{there}/{{lr}}.pt",
                f"res/deep=file://{there}/res-{{number}}",
                f"*.csv=file://{there}/{{lr}}-tables/",
                f"res/[b]*=file://{there}/{{lr}}-tables/",
                "keep.csv",
                "log.txt",
            ],
            sweep={"lr": ["0.1", "a b"]},
            pool="local",
        )
    )
    run.check()
    assert (there / "0.1.pt").read_text() == "0.1:0.1\n"
    assert (there / "a b.pt").read_text() == "a b:a b\n"
    assert (there / "res-1/a").read_text() == "r\n"
    tables = there / "a b-tables"
    assert {str(one.relative_to(tables)) for one in tables.rglob("*.csv")} == {"-f.csv", "a.csv", "res/b.csv"}
    assert list(run.outputs(0)) == ["keep.csv", "log.txt"]
    sent = run.status().jobs[1].sent
    assert sent == {
        "model.pt": f"file://{there}/a%20b.pt",
        "res/deep": f"file://{there}/res-1",
        "*.csv": f"file://{there}/a%20b-tables",
        "res/[b]*": f"file://{there}/a%20b-tables",
    }
    assert [path.name for path in run.fetch("here")[0]] == ["keep.csv", "log.txt"]
    for command in ("status", "fetch"):
        assert f"model.pt: file://{there}/0.1.pt" in wingspan_cli(command, run.name).stderr
    (there / "0.1.pt").write_text("old")
    run.rerun([0])
    done(run).check()
    assert (there / "0.1.pt").read_text() == "0.1:0.1\n"


def test_what_cannot_be_sent_comes_back(folders: Path, done) -> None:
    """Where the place takes nothing any more, the job fails and says why, and the file is among the outputs:
    nothing is lost.
    """
    place = folders / "place"
    script = f"echo precious >model.pt; mkdir in; echo 1 >in/a.csv; rm -rf '{place}'; echo >'{place}'"
    outputs = [f"in/*=file://{place}/tables/", f"model.pt=file://{place}/model.pt"]
    run = done(wingspan.run(["sh", "-c", script], outputs=outputs, pool="local"))
    job = run.status().jobs[0]
    assert (job.state, job.code, job.sent) == ("failed", 119, {})
    assert job.reason is not None
    assert job.reason.startswith("the output model.pt could not be sent, and comes back instead: ")
    assert str(place) in job.reason
    found = {name: path.read_text() for name, path in run.outputs().items()}
    assert found == {"in/a.csv": "1\n", "model.pt": "precious\n"}


@pytest.mark.parametrize(
    ("outputs", "options", "said"),
    [
        (["model.pt=osdf:///ospool/me/m.pt"], {}, "outputs of this pool cannot go to osdf:///ospool/me/m.pt"),
        (["*.pt=file:///tmp/m"], {}, "is a pattern"),
        (["*.pt=file:///tmp/m/"], {"sweep": {"lr": [1, 2]}}, "jobs 0 and 1 would be written to"),
        (["m.pt=file:///tmp/x/m"], {"sweep": {"lr": [1, 2]}}, "jobs 0 and 1 would be written to"),
        (["a=file:///tmp/x/m", "b=file:///tmp/x/m"], {}, "two outputs of a job would be written to"),
        (["m=file:///tmp/{lr}/m"], {"sweep": {"lr": ["../x"]}}, "cannot be a part of an address"),
        (["m.pt=https://me:secret@h/m"], {}, "everybody who may look"),
        (["m.pt"], {"output_destination": "there"}, "is no address"),
        (["m=file:///a/m", "m=file:///b/m"], {}, "is to go to file:///a/m and to file:///b/m"),
    ],
)
def test_what_is_refused_before_anything_is_submitted(
    folders: Path, outputs: list[str], options: dict[str, object], said: str
) -> None:
    """Each is an error with what to do, and no run is made of it."""
    with pytest.raises(InvalidRun, match=said.replace("*", r"\*")) as caught:
        wingspan.run(["sh", "-c", "echo {lr}"], outputs=outputs, pool="local", **options)  # type: ignore[arg-type]
    assert caught.value.hint
    assert "secret" not in str(caught.value)
    assert not list((folders.parent / "data").glob("runs/[!.]*"))


def test_a_place_that_does_not_answer_is_said_before_anything_is_submitted(folders: Path) -> None:
    """A server that is down is named, and no run is made."""
    with pytest.raises(WingspanError, match="does not answer"):
        wingspan.run(["true"], outputs=["a=http://127.0.0.1:1/folder/a"], pool="local")
    assert not list((folders.parent / "data").glob("runs/[!.]*"))


def test_a_rehearsal_sends_nothing(folders: Path) -> None:
    """The output is looked for, and what was not checked is said; nothing is written at the address."""
    outputs = [f"model.pt=file://{folders}/there/model.pt"]
    request = RunRequest(command=["sh", "-c", "echo m >model.pt"], outputs=outputs)
    done = rehearse(request, pool="local")
    assert (done.code, list(done.outputs)) == (0, ["model.pt"])
    assert any("sent to their addresses" in one for one in done.not_checked)
    assert not (folders / "there").exists()


def test_outputs_that_are_elsewhere_are_no_inputs_of_the_next_run(folders: Path, done) -> None:
    """Whoever asks for them is told to name the address."""
    first = done(
        wingspan.run(["sh", "-c", "echo m >m"], outputs=[f"m=file://{folders}/there/m"], pool="local")
    )
    with pytest.raises(InvalidRun, match="none of them comes back") as caught:
        wingspan.run(["cat", "m"], inputs_from=[first], pool="local")
    assert f"file://{folders}/there/m" in str(caught.value.hint)


class _Takes(SimpleHTTPRequestHandler):
    """Takes files for a folder."""

    def do_PUT(self) -> None:
        path = Path(self.translate_path(self.path))
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if path.parent.is_file():
            self.send_error(503)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.send_response(201)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a server that takes files, and its folder."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Takes, directory=str(folder))) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", folder
        running.shutdown()
        thread.join()


@pytest.mark.htcondor
def test_htcondors_plugin_sends_them(use_personal_pool: PersonalPool, server: tuple[str, Path], done) -> None:
    """HTCondor's own plugin brings a file and a folder of each job to their addresses, whether the job ends
    well or not. One that was not written keeps no job; what has no address comes back.
    """
    url, folder = server
    run: Run = done(
        wingspan.run(
            ["sh", "-c", _WRITE],
            outputs=[
                f"model.pt={url}/{{lr}}.pt",
                f"res={url}/res-{{number}}",
                f"none={url}/{{lr}}/none",
                f"[ak]*.csv={url}/tables-{{number}}/",
                "log.txt",
            ],
            sweep={"lr": ["0.1", "a b"]},
            pool="personal",
        )
    )
    assert [job.state for job in run.status().jobs] == ["failed", "failed"]
    assert [job.missing for job in run.status().jobs] == [("none",), ("none",)]
    assert (folder / "a b.pt").read_text() == "a b:a b\n"
    assert (folder / "res-0/deep/a").read_text() == "r\n"
    assert sorted(path.name for path in folder.iterdir()) == [
        "0.1.pt",
        "a b.pt",
        "res-0",
        "res-1",
        "tables-0",
        "tables-1",
    ]
    assert sorted(path.name for path in (folder / "tables-1").iterdir()) == ["a.csv", "keep.csv"]
    assert list(run.outputs(1)) == ["log.txt"]
    assert run.status().jobs[1].sent == {
        "model.pt": f"{url}/a%20b.pt",
        "res": f"{url}/res-1",
        "[ak]*.csv": f"{url}/tables-1",
    }


@pytest.mark.htcondor
def test_a_server_that_is_down_loses_nothing(
    use_personal_pool: PersonalPool, server: tuple[str, Path], done
) -> None:
    """HTCondor holds the job and says what it could not send, and where to; once the server takes files, a
    release has the job done again, and the file sent.
    """
    url, folder = server
    (folder / "there").touch()  # no folder: the server fails to write below it
    run = wingspan.run(["sh", "-c", "echo m >m"], outputs=[f"m={url}/there/m"], pool="personal")
    with pytest.raises(RunFailed, match=f"is held: .*{url}/there/m") as caught:
        run.wait(PATIENCE)
    assert "release" in str(caught.value.hint)
    (folder / "there").unlink()
    run.release()
    done(run).check()
    assert (folder / "there/m").read_text() == "m\n"


@pytest.mark.htcondor
def test_rendered_files_send_them_too(tmp_path: Path, personal_pool: PersonalPool) -> None:
    """condor_submit reads the addresses of each job from the rendered submit description."""
    outputs = ["m-{lr}.pt=osdf:///ospool/me/{lr}/{number}.pt", "log=osdf:///ospool/log-{number}"]
    render("htcondor", tmp_path / "out", ["echo", "{lr}"], outputs=outputs, sweep={"lr": [1, 2]}, name="s")
    done = subprocess.run(
        ["condor_submit", "-dry-run", "-", "s.sub"],
        cwd=tmp_path / "out",
        env={**os.environ, **personal_pool.environment()},
        check=True,
        capture_output=True,
        text=True,
    )
    found = re.findall(r'^TransferOutputRemaps="(.*)"', done.stdout, re.MULTILINE)
    assert [re.sub(r"outputs-\d+-", "outputs-C-", one) for one in found] == [
        f"outputs-C-{number}/m-{number + 1}.pt=osdf:///ospool/me/{number + 1}/{number}.pt;"
        f"outputs-C-{number}/log=osdf:///ospool/log-{number}"
        for number in range(2)
    ]
