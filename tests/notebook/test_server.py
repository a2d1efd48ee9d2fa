"""``wingspan notebook``: a real Jupyter server with a real pool beside it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest

from _jupyter import Server
from _waiting import PATIENCE, until
from wingspan.pools.personal import PersonalPool
from wingspan.pools.personal.ports import free_port
from wingspan.pools.personal.processes import kill_all

Serve = Callable[..., Server]

MAP = "import wingspan; list(wingspan.map(lambda x: x * x, range(5)))"
SQUARES = "[0, 1, 4, 9, 16]"


def is_gone(pool: PersonalPool) -> bool:
    """The pool has stopped, and no process of it is left."""
    return pool.status().state == "stopped" and not pool.processes()


def test_first_cell_has_a_pool_that_ends_with_the_server(serve: Serve, own_pool: PersonalPool) -> None:
    """A map in the first cell runs on the personal pool, of which the terminal tells; Ctrl-C leaves no
    process of either.
    """
    server = serve().wait_until_up()
    kernel = server.kernel()
    assert SQUARES in kernel.run(MAP).text
    assert kernel.run("wingspan.load(wingspan.tags()[0]).status().pools").text == "('personal',)"
    server.says("Maps run on the personal pool on this machine: HTCondor")
    assert "the personal pool" in kernel.run("wingspan.pool.ensure()").text
    assert own_pool.status().state == "running"
    assert server.end(signal.SIGINT) == 0
    server.says("The personal pool is stopped")
    assert is_gone(own_pool)


def test_server_is_for_its_owner_alone(serve: Serve) -> None:
    """It listens on loopback only, and answers nobody without the token."""
    server = serve(environment={"WINGSPAN_POOL": "local"}).wait_until_up()
    assert urllib.parse.urlsplit(server.url).hostname in ("localhost", "127.0.0.1")
    assert server.get("api/kernels")[0] == 200
    assert server.get("api/kernels", token=False)[0] == 403
    listening = {
        line.split()[1]
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().split("\n")[1:-1]
    }
    addresses = {where.split(":")[0] for where in listening if int(where.split(":")[1], 16) == server.port}
    assert addresses <= {"0100007F", "00000000000000000000000001000000"}
    assert addresses


def test_killed_server_leaves_no_pool(serve: Serve, own_pool: PersonalPool) -> None:
    """A server that is killed without warning, while the pool is used, leaves no process of it either."""
    server = serve()
    server.says("Maps run on")
    assert own_pool.status().state == "running"
    server.end(signal.SIGKILL)
    until(lambda: is_gone(own_pool), "the end of the pool")


def test_server_that_ends_while_the_pool_starts_leaves_none(serve: Serve, own_pool: PersonalPool) -> None:
    """A server that is killed as soon as the pool begins to start leaves no process of it."""
    server = serve()
    until(lambda: (own_pool.directory / "condor_config").exists(), "the start of the pool")
    server.end(signal.SIGKILL)
    assert is_gone(own_pool)


def test_last_of_two_notebooks_stops_the_pool(serve: Serve, own_pool: PersonalPool) -> None:
    """Two servers started at once use one pool; the first that ends leaves it to the other, whose maps go
    on.
    """
    one, two = serve(), serve()
    for server in (one, two):
        server.says("Maps run on the personal pool")
        server.wait_until_up()
    assert one.end() == 0
    one.says("as another notebook uses it")
    assert SQUARES in two.kernel().run(MAP).text
    assert two.end() == 0
    assert is_gone(own_pool)


def test_pool_stays_when_asked_to_and_when_it_was_there_before(serve: Serve, own_pool: PersonalPool) -> None:
    """``--keep-pool`` leaves the pool running; a notebook that found it running leaves it running, too."""
    first = serve("--keep-pool")
    first.says("Maps run on the personal pool")
    first.end(signal.SIGTERM)
    first.says("The personal pool stays")
    master = own_pool.status().master_pid
    assert master is not None
    second = serve()
    second.says("Maps run on the personal pool")
    second.end(signal.SIGTERM)
    assert own_pool.status().master_pid == master


def test_pool_that_was_killed_comes_back_and_still_ends(serve: Serve, own_pool: PersonalPool) -> None:
    """The pool is killed under a running notebook: the next map starts it again, and it ends with the
    server all the same.
    """
    server = serve().wait_until_up()
    kernel = server.kernel()
    assert SQUARES in kernel.run(MAP).text
    assert kill_all(own_pool.directory) == []
    assert own_pool.status().state == "crashed"
    assert SQUARES in kernel.run(MAP).text
    assert server.end() == 0
    assert is_gone(own_pool)


def test_pool_of_a_killed_attendant_is_taken_over(serve: Serve, own_pool: PersonalPool) -> None:
    """Server and attendant were both killed: the pool is left, and the next notebook takes it over and
    stops it.
    """
    server = serve()
    server.says("Maps run on")
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    for pid in children:
        os.kill(int(pid), signal.SIGKILL)
    server.end(signal.SIGKILL)
    assert own_pool.status().state == "running"
    second = serve()
    second.says("Maps run on")
    second.end(signal.SIGTERM)
    assert is_gone(own_pool)


def test_site_that_is_configured_is_used(
    serve: Serve, own_pool: PersonalPool, personal_pool: PersonalPool
) -> None:
    """Where HTCondor is configured already, as beside a notebook of the OSPool, maps run there and no
    pool is started.
    """
    server = serve(environment={"CONDOR_CONFIG": str(personal_pool.config_file)}).wait_until_up()
    server.says("Maps run on the site's HTCondor pool (CONDOR_CONFIG is")
    kernel = server.kernel()
    assert "the site's HTCondor pool" in kernel.run("import wingspan; wingspan.pool.ensure()").text
    assert SQUARES in kernel.run(MAP).text
    assert kernel.run("wingspan.load(wingspan.tags()[0]).status().pools").text == "('htcondor',)"
    assert own_pool.status().state == "stopped"
    server.end()
    assert personal_pool.status().state == "running"


def test_site_that_is_silent_is_told(serve: Serve, own_pool: PersonalPool) -> None:
    """Where the site's schedd does not answer, the terminal says so and the notebook opens all the same."""
    server = serve(environment={"CONDOR_CONFIG": "/nonexistent/condor_config"})
    server.says("There is no pool: CONDOR_CONFIG is /nonexistent/condor_config, but")
    assert server.wait_until_up().get("api/status")[0] == 200
    assert own_pool.status().state == "stopped"


def test_without_htcondor_and_network_maps_run_as_processes(serve: Serve, tmp_path: Path) -> None:
    """No HTCondor is to be had, as there is no network at all: it is said plainly, and maps run as local
    processes.
    """
    if Path("/usr/sbin/condor_master").exists() or Path("/usr/local/sbin/condor_master").exists():
        pytest.skip("HTCondor is installed on this machine")
    nowhere = f"http://127.0.0.1:{free_port()}"
    proxies = {f"{name}_proxy": nowhere for name in ("http", "https", "all", "HTTP", "HTTPS", "ALL")}
    server = serve(
        environment={
            "WINGSPAN_CACHE_DIR": str(tmp_path / "empty-cache"),
            "PATH": str(Path(sys.executable).parent),
            **proxies,
            **{name.upper(): value for name, value in proxies.items()},
            "no_proxy": "localhost,127.0.0.1",
            "NO_PROXY": "localhost,127.0.0.1",
        }
    ).wait_until_up()
    server.says("Maps run on processes on this machine")
    server.says("no HTCondor is to be had")
    assert SQUARES in server.kernel().run(MAP).text


def test_path_prefix_of_a_proxy(serve: Serve, own_pool: PersonalPool) -> None:
    """Behind a proxy with a path prefix everything is below that prefix, kernels and their maps too."""
    server = serve("--", "--ServerApp.base_url=/user/me/").wait_until_up()
    assert urllib.parse.urlsplit(server.url).path == "/user/me/"
    assert server.get("lab")[0] == 200
    assert SQUARES in server.kernel().run(MAP).text


def test_notebook_7_instead_of_lab(serve: Serve) -> None:
    """``--notebook`` opens Notebook's list of files."""
    server = serve("--notebook", environment={"WINGSPAN_POOL": "local"}).wait_until_up()
    assert server.get("tree")[0] == 200
    server.says("/tree?token=")


def test_port_in_use_is_said_at_once(tmp_path: Path, own_pool: PersonalPool) -> None:
    """A port that another program has is named, nothing is started, and the exit code is 1."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "wingspan", "notebook", "--no-browser", f"--port={port}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 1
    assert f"port {port} of this machine is in use" in done.stderr
    assert own_pool.status().state == "stopped"


def test_without_jupyter_the_way_to_it_is_told(tmp_path: Path) -> None:
    """Where JupyterLab is not installed, the message says what to install."""
    code = "import sys; sys.modules['jupyterlab'] = None; from wingspan.cli import main; main(['notebook'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert "jupyterlab is not installed here" in done.stderr
    assert "wingspan[notebook]" in done.stderr


def test_start_makes_no_parser_that_nobody_uses() -> None:
    """jsonschema is imported without the parser of international addresses; later imports of it work."""
    code = """
import sys
from wingspan.notebooks.server import _import_jsonschema
_import_jsonschema()
import jsonschema
assert not [name for name in sys.modules if name.startswith(("rfc3987_syntax", "lark"))]
assert "iri" not in jsonschema.FormatChecker.checkers
assert "date" in jsonschema.FormatChecker.checkers
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE)
