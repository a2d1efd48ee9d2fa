"""Files of maps on every engine: what a component gets and what it sends is the same everywhere."""

from __future__ import annotations

import collections
import functools
import http.server
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import wingspan
from _each_engine import ENGINES, use_engine
from _waiting import PATIENCE
from wingspan import Options, TransferPath
from wingspan.pools.htcondor import PersonalHTCondorPool

Point = collections.namedtuple("Point", "file x")


class _Elsewhere(PersonalHTCondorPool):
    """The personal pool, as if its machines were others: files go by HTCondor's transfer and by chirp, which
    reaches what the map names and nothing else.
    """

    shares_files = False
    limits_access = True


@pytest.fixture(
    params=[
        *ENGINES,
        pytest.param("elsewhere", marks=pytest.mark.htcondor),
    ]
)
def pool(request: pytest.FixtureRequest, data_dir: Path) -> Any:
    """Each test that asks for it runs on each engine."""
    if request.param == "elsewhere":
        use_engine(request, "personal")
        return _Elsewhere()
    return use_engine(request, request.param)


def test_files_in_and_out(pool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of the map, of a component and in the arguments arrive with their content; what a component
    sends lies in its folder, or where `output_remaps` says; a rerun replaces it.
    """
    monkeypatch.chdir(tmp_path)
    for folder, text in (("a", "ONE"), ("b", "TWO")):
        (tmp_path / folder / "deep").mkdir(parents=True)
        (tmp_path / folder / "x y.txt").write_text(text)
        (tmp_path / folder / "deep" / "é").write_text(text.lower())
    (tmp_path / "fixed é.txt").write_text("FIXED")
    (tmp_path / "own é.txt").write_text("OWN")
    (tmp_path / "large").write_bytes(os.urandom(1 << 10) * 5000)
    version = tmp_path / "version"
    version.write_text("1")
    visible = str(version)

    def work(given: Any) -> Any:
        inside = wingspan.component()
        here = sorted(path.name for path in Path().iterdir())
        texts = [path.read_text() for path in given["files"]] + [
            (given["point"].file / "deep" / "é").read_text()
        ]
        size = given["large"].stat().st_size
        Path("out/deep").mkdir(parents=True)
        Path("out/deep/é x.txt").write_text(f"{inside.number} {Path(visible).read_text()}")
        Path("big").write_bytes(given["large"].read_bytes())
        Path("table.csv").write_text(str(inside.number))
        inside.transfer_output_files("out", "big", Path("table.csv").absolute())
        Path("lost").write_text("")
        return here, texts, size, Path("fixed é.txt").read_text()

    given = {
        "files": [TransferPath("a/x y.txt"), TransferPath("b/x y.txt")],
        "point": Point(TransferPath("a"), 1),
        "large": TransferPath("large"),
    }
    remaps = {"table.csv": tmp_path / "tables" / "{component}" / "table.csv"}
    options = Options(
        workers=1,
        input_files=["fixed é.txt", "b"],
        component_input_files=["own é.txt", None],
        output_remaps=remaps,
    )

    def inputs() -> Any:
        yield given
        yield given
        if isinstance(pool, _Elsewhere):
            # What a worker sees here is another file then than the one that was noted, as on another machine:
            # it asks the access point, whose times are seconds.
            for path in [*tmp_path.glob("[ab]/**/*"), tmp_path / "own é.txt", tmp_path / "large"]:
                written = path.stat().st_mtime_ns
                os.utime(path, ns=(written, written ^ 1))

    m = wingspan.map(work, inputs(), pool=pool, options=options)
    always = ["1", "a", "b", "fixed é.txt", "large", "x y.txt"]
    rest = (["ONE", "TWO", "one"], 5000 << 10, "FIXED")
    assert list(m) == [(sorted([*always, "own é.txt"]), *rest), (always, *rest)]
    for number in range(2):
        folder = m.output_files[number]
        assert (folder / "out/deep/é x.txt").read_text() == f"{number} 1"
        assert (folder / "big").read_bytes() == (tmp_path / "large").read_bytes()
        assert sorted(os.listdir(folder)) == ["big", "out"]
        assert (tmp_path / "tables" / str(number) / "table.csv").read_text() == str(number)
    assert m.left_files == ("lost",)
    version.write_text("2")
    m.rerun([1])
    m.wait()
    assert (m.output_files[1] / "out/deep/é x.txt").read_text() == "1 2"
    assert len(os.listdir(m.output_files[1].parent)) == 1
    assert (m.output_files[0] / "out/deep/é x.txt").read_text() == "0 1"


@pytest.mark.htcondor
@pytest.mark.parametrize("pool", ["elsewhere"], indirect=True)
def test_names_that_chirp_cannot_have(pool: Any, tmp_path: Path) -> None:
    """A name with an end of a line is an error of its component, which says why; other odd names travel, also
    after it on the same channel.
    """
    names = ["new\nline", "tab\tx", "back\\slash", '"quotes" and, *stars*']
    for name in names:
        (tmp_path / name).write_text(name)

    def inputs() -> Any:
        for name in names:
            yield TransferPath(tmp_path / name)
        for name in names:
            written = (tmp_path / name).stat().st_mtime_ns
            os.utime(tmp_path / name, ns=(written, written ^ 1))

    options = Options(workers=1, block_size=len(names))
    m = wingspan.map(lambda path: path.read_text(), inputs(), pool=pool, options=options)
    m.wait(errors_ok=True)
    assert "cannot go through HTCondor's chirp channel" in m.errors[0].text
    assert m[1:] == names[1:]


@pytest.mark.htcondor
@pytest.mark.parametrize("pool", ["elsewhere"], indirect=True)
def test_files_of_the_map_that_did_not_come_with_the_job(pool: Any, tmp_path: Path) -> None:
    """HTCondor puts the files of the map into the job's folder. A worker that was submitted by hand has none
    there: it gets them by chirp, folders too, and programs stay programs.
    """
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "two words é").write_text("1")
    (tmp_path / "tree" / "run").write_text("#!/bin/sh\n")
    (tmp_path / "tree" / "run").chmod(0o755)

    def work(x: int) -> Any:
        import sys

        arrivals = sys.modules["wingspan_rebuild"].arrivals[0]  # type: ignore[attr-defined]
        arrivals._receive_tree("input_files/tree", "got")
        sent = Path("tree").resolve().parent == Path(os.environ["_CONDOR_SCRATCH_DIR"]).resolve()
        got = [path for path in Path("got").rglob("*") if path.is_file()]
        return sent, sorted((path.as_posix(), os.access(path, os.X_OK)) for path in got)

    m = wingspan.map(work, [0], pool=pool, options=Options(workers=1, input_files=[tmp_path / "tree"]))
    assert m[0] == (True, [("got/deep/two words é", False), ("got/run", True)])


@pytest.mark.htcondor
@pytest.mark.parametrize("pool", ["elsewhere"], indirect=True)
def test_a_chain_reaches_the_map_before_it(pool: Any) -> None:
    """Where workers reach only what their map names, they read the outputs of the earlier map, too."""
    first = wingspan.map(abs, [-1, -2], pool=pool, options=Options(workers=1))
    second = first.map(lambda x: 10 * x, pool=pool, options=Options(workers=1))
    assert second.get(1, timeout=PATIENCE) == 20
    assert list(second) == [10, 20]


class _Files(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and takes files for it."""

    def do_PUT(self) -> None:
        path = Path(self.translate_path(self.path))
        path.write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(201)
        self.end_headers()

    def log_message(self, *given: object) -> None:
        pass


@pytest.mark.htcondor
@pytest.mark.parametrize("pool", ["elsewhere"], indirect=True)
def test_urls_go_through_the_plugins_of_htcondor(pool: Any, tmp_path: Path) -> None:
    """Where HTCondor has transfer plugins, they get a URL for all components, which is sent with the job, one
    in the arguments, and send an output file to a third.
    """
    served = tmp_path / "served"
    served.mkdir()
    (served / "all.txt").write_text("ALL")
    (served / "one.txt").write_text("ONE")

    def work(path: Path) -> Any:
        from wingspan_worker import urls

        Path("out.txt").write_text(path.read_text() + Path("all.txt").read_text())
        wingspan.component().transfer_output_files("out.txt")
        return Path("all.txt").resolve().parent.as_posix() == os.environ[
            "_CONDOR_SCRATCH_DIR"
        ], "http" in urls.plugins()

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Files, directory=str(served))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_address[1]}"
        options = Options(
            workers=1,
            input_files=[f"{base}/all.txt"],
            output_remaps={"out.txt": f"{base}/out-{{component}}.txt"},
        )
        m = wingspan.map(work, [TransferPath(f"{base}/one.txt")] * 2, pool=pool, options=options)
        assert list(m) == [(True, True)] * 2
        server.shutdown()
    assert [(served / f"out-{number}.txt").read_text() for number in range(2)] == ["ONEALL"] * 2


#: A transfer plugin as HTCondor's manual describes them. It notes each URL that it is given. An osdf:// one
#: is answered with its path. An https:// one is asked of another server, under its own host and signature.
FAKE_PLUGIN = """#!{python}
import os, re, sys, urllib.parse, urllib.request
if "-classad" in sys.argv:
    print('PluginVersion = "1"', 'PluginType = "FileTransfer"', "MultipleFileSupport = true", sep=chr(10))
    print('SupportedMethods = "osdf,https"')
    sys.exit()
given, answer = (sys.argv[sys.argv.index(word) + 1] for word in ("-infile", "-outfile"))
with open(answer, "w") as out:
    for ad in re.findall(r"\\[.*?\\]", open(given).read(), re.S):
        url, place = (re.search(name + r'\\s*=\\s*"([^"]*)"', ad)[1] for name in ("Url", "LocalFileName"))
        with open({calls!r}, "a") as calls:
            calls.write(url + chr(10))
        parts = urllib.parse.urlsplit(url)
        data = parts.path.encode()
        if parts.scheme == "https":
            asked = urllib.request.Request({server!r} + parts.path + "?" + parts.query, headers=dict(Host=parts.netloc))
            data = urllib.request.urlopen(asked).read()
        open(place, "wb").write(data)
        out.write('[ TransferSuccess = true; TransferUrl = "%s"; TransferFileName = "%s"; TransferFileBytes = %d; ]' % (url, place, len(data)))
"""


@pytest.mark.htcondor
@pytest.mark.parametrize("pool", ["elsewhere"], indirect=True)
def test_osdf_and_s3_for_all_components(pool: Any, tmp_path: Path) -> None:
    """HTCondor hands an osdf:// URL to the plugin that knows it, and a s3:// URL as an address that the
    access point has signed. The S3 server is moto; a plugin of the job's own stands for Pelican's.
    """
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        keys = {
            "aws_access_key_id": "AKIAEXAMPLE",
            "aws_secret_access_key": "secret",
            "region_name": "us-east-1",
        }
        client = boto3.client("s3", endpoint_url=address, **keys)
        client.create_bucket(Bucket="shelf")
        client.put_object(Bucket="shelf", Key="one.txt", Body=b"FROM S3")
        plugin, calls = tmp_path / "plugin", tmp_path / "calls"
        plugin.write_text(FAKE_PLUGIN.format(python=sys.executable, calls=str(calls), server=address))
        plugin.chmod(0o755)
        (tmp_path / "key").write_text(keys["aws_access_key_id"])
        (tmp_path / "secret").write_text(keys["aws_secret_access_key"])
        options = Options(
            workers=1,
            input_files=["osdf:///ospool/ap1/two.txt", "s3://shelf.s3.us-east-1.amazonaws.com/one.txt"],
            submit={
                "transfer_plugins": f"osdf,https={plugin}",
                "s3_access_key_id_file": str(tmp_path / "key"),
                "s3_secret_access_key_file": str(tmp_path / "secret"),
            },
        )
        m = wingspan.map(
            lambda x: [Path(name).read_text() for name in ("one.txt", "two.txt")],
            [0],
            pool=pool,
            options=options,
        )
        assert m.get(0, timeout=PATIENCE) == ["FROM S3", "/ospool/ap1/two.txt"]
        osdf, signed = sorted(calls.read_text().splitlines(), reverse=True)
        assert osdf == "osdf:///ospool/ap1/two.txt"
        assert "X-Amz-Signature=" in signed
        assert "AKIAEXAMPLE" in signed
    finally:
        server.stop()
