"""Each kind of bundle on a real HTCondor pool, on a node that has neither Python nor packages; for `install`,
which is most of
this, a StandinPixi installs for real."""

from __future__ import annotations

import functools
import hashlib
import http.server
import platform
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import attrs
import platformdirs
import pytest

import wingspan
from _waiting import PATIENCE
from wingspan.environments.bundles.kinds.install import PIXI_VERSION
from wingspan.pools.personal import PersonalPool
from wingspan.runs import RunFailed, load_runs

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import standin_pixi

pytestmark = pytest.mark.htcondor

#: What HTCondor starts jobs with: no Python and nothing that was installed beside the distribution is left on
#: the machine.
_NODE = """#!/bin/sh
exec unshare --user --map-root-user --mount /bin/sh -c '
    uid=$1 gid=$2 programs=$3
    shift 3
    for python in /usr/bin/python*; do
        [ -L "$python" ] || [ -e "$programs/.python" ] || mount --bind /dev/null "$python" || exit 99
    done
    for folder in /usr/local /usr/lib/python3; do [ ! -d "$folder" ] || mount -t tmpfs none "$folder" || exit 99; done
    exec unshare --user --map-user="$uid" --map-group="$gid" -- "$@"
' sh "$(id -u)" "$(id -g)" '@programs@' "$@"
"""


def where(number):
    """Where a component runs, and what it finds there."""
    import os
    import shutil
    import sys

    import zmq

    others = [path for path in ("/usr/bin", "/usr/local/bin") if shutil.which("python3", path=path)]
    return (
        number,
        sys.prefix,
        zmq.__file__,
        shutil.which("python3"),
        others,
        os.environ.get("PIXI_IN_SHELL"),
    )


@attrs.frozen
class Node:
    """What the tests change of the node and of the server with Pixi's releases."""

    programs: Path
    releases: Path

    def has_pixi(self, version: str = PIXI_VERSION) -> None:
        """There is a Pixi on PATH."""
        standin_pixi.write(self.programs / "pixi", version)

    def has_python(self) -> None:
        """The distribution's own Python is there, without any package."""
        (self.programs / ".python").touch()

    def may_fetch(self, *, digest: str | None = None) -> None:
        """The pinned Pixi can be fetched, with a SHA-256 beside it."""
        name = f"pixi-{platform.machine()}-unknown-linux-musl"
        program = standin_pixi.write(self.releases / f"releases/download/v{PIXI_VERSION}" / name)
        digest = digest or hashlib.sha256(program.read_bytes()).hexdigest()
        program.with_name(f"{name}.sha256").write_text(f"{digest}  {name}\n")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def pool_and_node() -> Iterator[tuple[PersonalPool, Node]]:
    """A pool whose machine has nothing but the distribution's own tools, and a server that may have Pixi."""
    folder = Path(
        tempfile.mkdtemp(
            prefix="pool-", dir=platformdirs.user_cache_path("wingspan-tests", ensure_exists=True)
        )
    )
    node = Node(folder / "programs", folder / "releases")
    wrapper = folder / "node.sh"
    wrapper.write_text(_NODE.replace("@programs@", str(node.programs)))
    wrapper.chmod(0o755)
    for made in (node.programs, node.releases):
        made.mkdir()
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Quiet, directory=str(node.releases))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    variables = f'"PATH={node.programs}:/usr/bin:/bin PIXI_REPOURL=http://127.0.0.1:{server.server_port}"'
    pool = PersonalPool(
        folder, cpus=2, settings={"STARTER_JOB_ENVIRONMENT": variables, "USER_JOB_WRAPPER": str(wrapper)}
    )
    try:
        pool.start()
        yield pool, node
    finally:
        pool.stop()
        server.shutdown()
        server.server_close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def node(
    pool_and_node: tuple[PersonalPool, Node], bundle_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Node]:
    """That pool, met as a site's; at first the node has no Pixi and can fetch none."""
    pool, node = pool_and_node
    monkeypatch.setenv("CONDOR_CONFIG", str(pool.config_file))
    for folder in (node.programs, node.releases):
        shutil.rmtree(folder)
        folder.mkdir()
    yield node
    for run in load_runs():
        run.remove(force=True)


@pytest.fixture
def environment(local_workspace: Path) -> wingspan.Environment:
    return wingspan.Environment(local_workspace, kind="install")


def _run(environment: wingspan.Environment, folder: Path) -> wingspan.Run:
    program = "import sys, zmq; open('out.txt', 'w').write(f'{sys.prefix} {zmq.__file__}')"
    run = wingspan.run(
        ["python", "-c", program],
        outputs=["out.txt"],
        environment=environment,
        pool="htcondor",
        workspace=folder,
    )
    run.wait(PATIENCE)
    return run


def test_a_map_installs_from_the_lock(environment: wingspan.Environment, node: Node) -> None:
    """Components on a machine without any Python import NumPy from what its Pixi has installed, and find
    only that.
    """
    node.has_pixi()
    options = wingspan.Options(environment=environment, workers=2, block_size=1)
    m = wingspan.map(where, range(4), pool="htcondor", options=options)
    m.wait(timeout=PATIENCE)
    for number, prefix, zmq, python, others, shell in m[:]:
        assert "/.wingspan-" in prefix, number
        assert zmq.startswith(prefix)
        assert python == f"{prefix}/bin/python3"
        assert others == []
        assert shell == "1"  # Pixi's own activation
    assert [output[0] for output in m[:]] == [0, 1, 2, 3]
    m.remove()


@pytest.mark.parametrize("kind", ["squashfs", "pack", "oci"])
def test_other_kinds_need_nothing_of_the_node_either(kind: str, local_workspace: Path, node: Node) -> None:
    """Components find NumPy there, the Python of the bundle and no other; only a pack needs one to unpack
    itself.
    """
    if kind == "pack":
        node.has_python()
    environment = wingspan.Environment(local_workspace, kind=kind)
    options = wingspan.Options(environment=environment, workers=2, block_size=1)
    m = wingspan.map(where, range(4), pool="htcondor", options=options)
    m.wait(timeout=PATIENCE)
    for number, prefix, zmq, python, others, shell in m[:]:
        assert ("/.wingspan-" in prefix) if kind == "pack" else (prefix == "/opt/wingspan/environment"), (
            number
        )
        assert zmq.startswith(prefix)
        assert python == f"{prefix}/bin/python3"
        assert (others == []) or kind == "pack"
        assert shell is None  # no Pixi is there
    assert [output[0] for output in m[:]] == [0, 1, 2, 3]
    m.remove()


def test_a_run_installs_from_the_lock(environment: wingspan.Environment, node: Node, tmp_path: Path) -> None:
    """A command there does, and its output comes back; the log names the Pixi that was used."""
    node.has_pixi("0.99.1")
    run = _run(environment, tmp_path)
    run.check()
    prefix, zmq = run.outputs()["out.txt"].read_text().split()
    assert "/.wingspan-" in prefix
    assert zmq.startswith(prefix)
    assert f"install: with {node.programs}/pixi, version 0.99.1" in run.stderr()


def test_a_pixi_that_is_too_old_is_left_alone(
    environment: wingspan.Environment, node: Node, tmp_path: Path
) -> None:
    """The pinned Pixi is fetched when the node's cannot read the lock."""
    node.has_pixi("0.60.0")
    node.may_fetch()
    run = _run(environment, tmp_path)
    run.check()
    assert "/.wingspan-" in run.outputs()["out.txt"].read_text()
    log = run.stderr()
    assert (
        f"install: {node.programs}/pixi is version 0.60.0, and this lock needs 0.68.0 or newer; fetching"
        in log
    )
    assert f"/.pixi-program, version {PIXI_VERSION}" in log


def test_a_node_without_pixi_and_network(
    environment: wingspan.Environment, node: Node, tmp_path: Path
) -> None:
    """It gives up at once, and says what it lacks: in the log, in the run's state, and in what a map
    raises.
    """
    told = r"there is no pixi here, and http://127\.0\.0\.1:.*/pixi-.* cannot be fetched: curl: "
    run = _run(environment, tmp_path)
    with pytest.raises(RunFailed, match=told):
        run.check()
    m = wingspan.map(
        where, range(2), pool="htcondor", options=wingspan.Options(environment=environment, workers=1)
    )
    with pytest.raises(wingspan.WingspanError, match=told):
        m.wait(timeout=PATIENCE)
    m.remove()


def test_a_damaged_download_is_not_run(environment: wingspan.Environment, node: Node, tmp_path: Path) -> None:
    """A Pixi that is not the one of the SHA-256 beside it is never executed."""
    node.may_fetch(digest="0" * 64)
    with pytest.raises(RunFailed, match="is damaged: its SHA-256 is not the one beside it"):
        _run(environment, tmp_path).check()


def test_a_lock_that_does_not_match(local_workspace: Path, node: Node, tmp_path: Path) -> None:
    """A package that is not the one in the lock is named where the user looks, and nothing is executed."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    for name in ("pixi.toml", "pixi.lock"):
        shutil.copy(local_workspace / name, workspace / name)
    lock = workspace / "pixi.lock"
    pattern = r"(/pyzmq-[^\n]*\n(?:  [^\n]*\n)*?  sha256: )[0-9a-f]{64}"
    text, count = re.subn(pattern, rf"\g<1>{'0' * 64}", lock.read_text())
    assert count == 1
    lock.write_text(text)
    node.has_pixi()
    run = _run(wingspan.Environment(workspace, kind="install"), tmp_path)
    with pytest.raises(
        RunFailed, match=r"could not install the environment default .*hash mismatch of pyzmq-"
    ):
        run.check()
