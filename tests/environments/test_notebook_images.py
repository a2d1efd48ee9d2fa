"""Notebook images: built from a locked environment without an engine, and started by real podman."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from _engines import engine_folders
from _jupyter import Kernel
from _podman import own_podman
from _waiting import PATIENCE, until
from wingspan.environments import load_environment
from wingspan.environments.bundles import build_bundle
from wingspan.environments.bundles.errors import PackageUnavailable
from wingspan.environments.errors import LockOutdated
from wingspan.errors import SettingsError
from wingspan.notebooks.images import Image, ImageError, build_image, push_image, write_recipe
from wingspan.pools.personal.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
#: What the base flavour has from conda-forge, as wheels of PyPI: the channel of the tests has Python itself.
PACKAGES = "jupyterlab<5 notebook<8 ipykernel<8 attrs click cloudpickle platformdirs rich tomlkit htcondor>=25".split()
CLOSED = "--read-only --passwd=false --cap-drop=all --security-opt=no-new-privileges".split()
CELL = (
    "import os, pwd, wingspan; m = wingspan.map(lambda x: x * x, range(5)); "
    "print(list(m), m.status().pools[0], os.getuid(), os.getgid(), pwd.getpwuid(os.getuid()).pw_dir == os.environ['HOME'])"
)

pytestmark = [pytest.mark.podman, pytest.mark.slow]


@pytest.fixture(scope="module")
def workspace(
    local_channel: Path, write_workspace: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A workspace like the base recipe, locked against the tests' channel and PyPI's wheels."""
    folder = platformdirs.user_cache_path("wingspan-tests", ensure_exists=True) / "notebook-wheels"
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import local_channel as c; from pathlib import Path; "
    )
    code += "c.wheels(sys.argv[3:], Path(sys.argv[2]))"
    with tempfile.TemporaryDirectory() as new:
        if not (folder / "jupyterlab").exists():
            command = [sys.executable, "-c", code, str(ROOT / "tools"), new, *PACKAGES]
            subprocess.run(command, check=True)
            (Path(new) / "jupyterlab").touch()
            shutil.copytree(new, folder, dirs_exist_ok=True)
    return write_workspace(
        tmp_path_factory.mktemp("images"),
        local_channel,
        {"default": ["python 3.11.*"]},
        pypi={"default": sorted(folder.glob("*.whl"))},
        name="notebook-base",
    )


@pytest.fixture(scope="module")
def built(workspace: Path, session_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINGSPAN_CACHE_DIR", str(session_cache))
        return build_image(workspace, folder=tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def podman(built: Image) -> Iterator[list[str]]:
    """podman with storage of its own, in which the image is loaded."""
    with own_podman(built.path) as command:
        load = [*command, "load", "-q", "-i", str(built.path)]
        loaded = subprocess.run(load, capture_output=True, text=True, check=False)
        assert built.name in loaded.stdout, loaded.stderr
        yield command


def answer(command: list[str]) -> str:
    """What a command prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("options", "uid"),
    [
        ([], 1000),
        (["--user", "0"], 1000),
        (["--user", "4321:0"], 4321),
        (["--user", "4321:4321", *CLOSED], 4321),
    ],
    ids=["ordinary", "root", "arbitrary", "another group"],
)
def test_a_map_runs_on_the_container_s_own_pool(
    podman: list[str], built: Image, options: list[str], uid: int
) -> None:
    """Whoever the container runs as: a map finds HTCondor in the image, starts the personal pool, and has
    its outputs.
    """
    told = answer([*podman, "run", "--rm", *options, f"localhost/{built.name}", "python", "-c", CELL])
    gid = 4321 if options[1:2] == ["4321:4321"] else 0
    assert told.startswith(f"[0, 1, 4, 9, 16] personal {uid} {gid}")


@pytest.mark.parametrize("kubernetes", [False, True], ids=["as the README says", "as Kubernetes does"])
def test_it_serves_jupyterlab_and_ends_when_it_is_stopped(
    podman: list[str], built: Image, tmp_path: Path, kubernetes: bool
) -> None:
    """The health check is good, JupyterLab wants the token, and a stop is clean. Where nothing in the image
    can be changed and any number is the user, a cell's map runs, and what is mounted keeps it.
    """
    port = free_port()
    served = ["wingspan", "notebook", "--no-browser", f"--port={port}", "--", "--ServerApp.ip=127.0.0.1"]
    name = f"wingspan-test-{port}"
    work = tmp_path / "work"
    work.mkdir()
    work.chmod(0o775)  # the volume's group is 0 (fsGroup)
    options = ["--user", "4321:0", *CLOSED, "--volume", f"{work}:/home/wingspan/work"]
    options += ["--env", "WINGSPAN_DATA_DIR=/home/wingspan/work/.wingspan"]
    start = [*podman, "run", "--detach", "--name", name, *(options if kubernetes else [])]
    answer([*start, f"localhost/{built.name}", *served])
    try:

        def healthy() -> bool:
            check = [*podman, "exec", name, "/opt/wingspan/image/healthy.sh"]
            return subprocess.run(check, capture_output=True, check=False).returncode == 0

        def logs() -> str:
            done = subprocess.run([*podman, "logs", name], capture_output=True, text=True, check=False)
            return done.stdout + done.stderr

        until(healthy, logs)
        until(lambda: "Maps run on" in logs(), logs)  # the server may be there before the pool is
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/kernels", timeout=PATIENCE)
        refused.value.close()
        assert refused.value.code == 403
        if kubernetes:
            [token, *_] = re.findall(r"[?&]token=(\w+)", logs())
            kernel = Kernel(f"http://127.0.0.1:{port}/", token)
            assert "[0, 1, 4, 9, 16] personal 4321 0" in kernel.run(CELL).text
            kernel.close()
            assert len(list(work.glob(".wingspan/maps/*/map.json"))) == 1
        answer([*podman, "stop", "--time", "60", name])
        assert answer([*podman, "inspect", name, "--format", "{{.State.ExitCode}}"]) == "0"
        until(lambda: "The personal pool is stopped" in logs(), logs)
    finally:
        subprocess.run([*podman, "rm", "--force", name], capture_output=True, check=False)


def test_the_site_s_schedd_is_used_where_it_is_named(podman: list[str], built: Image) -> None:
    """With ``_condor_SCHEDD_HOST`` no pool is started in the container."""
    code = "import wingspan\ntry:\n    print(wingspan.pool.ensure())\nexcept wingspan.PoolError as error:\n    print(error)\n"
    code += "from wingspan.pools.personal import PersonalPool\nprint(PersonalPool().status().state)"
    variable = "_condor_SCHEDD_HOST=nowhere.invalid"
    told = answer(
        [*podman, "run", "--rm", "--env", variable, f"localhost/{built.name}", "python", "-c", code]
    )
    assert "_condor_SCHEDD_HOST is nowhere.invalid" in told
    assert told.endswith("stopped")


def test_the_same_lock_gives_the_same_image(
    built: Image, workspace: Path, session_cache: Path, empty_cache: Path, tmp_path: Path
) -> None:
    """Layers that are made anew have the same bytes, and so have digest and file; nothing in it is called
    latest.
    """
    (empty_cache / "environments").mkdir(parents=True)
    for name in ("packages", "bytecode", "blobs", "shares", "bases", "images"):
        (empty_cache / "environments" / name).symlink_to(session_cache / "environments" / name)
    again = build_image(workspace, folder=tmp_path)
    assert (again.digest, again.name, again.path.name) == (built.digest, built.name, built.path.name)
    assert again.path.read_bytes() == built.path.read_bytes()
    with tarfile.open(built.path) as archive:
        [tags] = [image["RepoTags"] for image in json.load(archive.extractfile("manifest.json"))]  # type: ignore[arg-type]
        config = _config(archive)
    assert tags == [built.name]
    assert "latest" not in built.name
    assert config["User"] == "1000:0"
    assert config["Entrypoint"][0].endswith("tini")
    assert config["Healthcheck"]["Test"] == ["CMD", "/opt/wingspan/image/healthy.sh"]


def _config(archive: tarfile.TarFile) -> dict[str, Any]:
    [image] = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
    found: dict[str, Any] = json.load(archive.extractfile(image["Config"]))["config"]  # type: ignore[arg-type]
    return found


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Starts a registry on loopback, without TLS, and answers its ``host:port``; more of its settings may be
    given.
    """
    found = [folder / "registry/usr/bin/docker-registry" for folder in engine_folders()]
    program = shutil.which("docker-registry") or next((str(path) for path in found if path.is_file()), None)
    if program is None:
        pytest.skip("no registry: python tools/engines/registry.py")
    assert program is not None
    started: list[subprocess.Popen[bytes]] = []

    def start(*, insecure: bool = True, **more: Any) -> str:
        place = tmp_path / f"registry-{len(started)}"
        place.mkdir()
        address = f"127.0.0.1:{free_port()}"
        settings = {
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": str(place / "images")}},
            "http": {"addr": address},
            **more,
        }
        (place / "settings.yml").write_text(json.dumps(settings))  # JSON is YAML
        # skopeo and podman speak with a registry without TLS only where this file names it.
        trusted = tmp_path / "home/.config/containers/registries.conf"
        trusted.parent.mkdir(parents=True, exist_ok=True)
        with trusted.open("a") as file:
            file.write(f'[[registry]]\nlocation = "{address}"\ninsecure = {str(insecure).lower()}\n')
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
        with (place / "log").open("wb") as log:
            command = [program, "serve", str(place / "settings.yml")]
            started.append(subprocess.Popen(command, stdout=log, stderr=log))

        def answers() -> bool:
            try:
                urllib.request.urlopen(f"http://{address}/v2/", timeout=PATIENCE).close()
            except urllib.error.HTTPError as error:  # it wants a password
                error.close()
            except OSError:
                return False
            return True

        until(answers, lambda: (place / "log").read_text())
        return address

    yield start
    for process in started:
        process.terminate()
        process.wait()


def test_an_image_is_pushed_and_pulled_by_its_digest(
    podman: list[str],
    built: Image,
    workspace: Path,
    session_cache: Path,
    registry: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A real registry gets the image as it is, from the command that builds it: podman pulls it by the digest
    that the build has told.
    """
    address = registry()
    monkeypatch.setenv("WINGSPAN_CACHE_DIR", str(session_cache))
    command = [sys.executable, "-m", "wingspan", "image", "build", str(workspace), "--output", str(tmp_path)]
    told_of = json.loads(answer([*command, "--push", f"{address}/me/notebook:2026.11", "--json", "-q"]))
    pushed = told_of["pushed"]
    assert pushed == f"{address}/me/notebook@{built.digest}"
    pulled = answer([*podman, "pull", "--quiet", pushed])
    assert answer([*podman, "image", "inspect", pulled, "--format", "{{.Digest}}"]) == built.digest
    with urllib.request.urlopen(f"http://{address}/v2/me/notebook/tags/list", timeout=PATIENCE) as told:
        assert json.load(told)["tags"] == ["2026.11"]


def test_layers_that_a_registry_has_are_not_sent(
    local_workspace: Path, bundle_cache: Path, registry: Callable[..., str], tmp_path: Path
) -> None:
    """A second image with the same packages, in another repository, sends its configuration alone; the tag
    follows from the content. Who may write is in the user's own auth.json, as other programs have it, and
    the password is in no message.
    """
    if shutil.which("skopeo") is None:
        pytest.skip("podman packs layers anew")
    users, word = tmp_path / "users", "pa55-of-the-registry"
    users.write_text(
        "me:$2b$04$Z4ndPM73G1Ow1r2zjLMF2.p42yDtjdoAHwixfieTzOjK37qeYgQKK\n"
    )  # as htpasswd -B writes it
    address = registry(auth={"htpasswd": {"realm": "test", "path": str(users)}})
    login = tmp_path / "home/.config/containers/auth.json"
    login.write_text(
        json.dumps({"auths": {address: {"auth": base64.b64encode(f"me:{word}".encode()).decode()}}})
    )
    one = build_bundle(load_environment(local_workspace), "oci").path
    command = [sys.executable, "-m", "wingspan", "env", "push", str(one)]
    first = answer([*command, f"{address}/me/first"])
    sent = (tmp_path / "registry-0/log").read_text().count('"PUT /v2/me/first/blobs/uploads/')
    assert sent > 2
    assert answer([*command, f"{address}/me/first"]) == first
    other = answer([*command, f"{address}/me/other:1"])
    assert other.rpartition("@")[2] == first.rpartition("@")[2]
    log = (tmp_path / "registry-0/log").read_text()
    assert log.count('"PUT /v2/me/first/blobs/uploads/') == sent
    assert log.count('"PUT /v2/me/other/blobs/uploads/') <= 1
    assert word not in first + other


def test_a_registry_that_refuses_is_an_error(
    built: Image, registry: Callable[..., str], tmp_path: Path
) -> None:
    """One that wants a password, one that speaks without TLS and is not trusted, and one that does not
    answer: the error says which, and what to do.
    """
    users = tmp_path / "users"
    users.touch()
    password = registry(auth={"htpasswd": {"realm": "test", "path": str(users)}})
    plain = registry(insecure=False)
    refused = {
        password: ("authentication required", f"login {password}"),
        plain: ("HTTP response to HTTPS client", "registries.conf"),
        f"127.0.0.1:{free_port()}": ("connection refused", "does it run"),
    }
    for address, (said, hint) in refused.items():
        with pytest.raises(ImageError, match=said) as error:
            push_image(built, f"{address}/me/notebook:2026.11")
        assert hint in str(error.value.hint)
        assert "level=" not in error.value.message


def test_an_environment_that_lacks_jupyter_is_refused(
    local_workspace: Path, bundle_cache: Path, tmp_path: Path
) -> None:
    """What is missing is named before anything is built."""
    with pytest.raises(
        ImageError, match=r"lacks what a notebook with a pool needs: jupyterlab, ipykernel, .*htcondor"
    ):
        build_image(local_workspace, folder=tmp_path)


def test_a_build_takes_the_lock_as_it_stands(bundle_cache: Path, tmp_path: Path) -> None:
    """The base recipe's packages are sought where its lock says, and nothing is solved: the one that cannot
    be had is named, with its address. A manifest that asks for more is refused.
    """
    write_recipe("base", tmp_path)
    lock, manifest = tmp_path / "pixi.lock", tmp_path / "pixi.toml"
    text = lock.read_text()
    for source in ("https://conda.anaconda.org", "https://files.pythonhosted.org"):
        text = text.replace(source, tmp_path.as_uri())
    lock.write_text(text)
    with pytest.raises(
        PackageUnavailable, match=rf"\S+ [\d.]+\S*: {tmp_path}/conda-forge/\S+ cannot be read"
    ):
        build_image(tmp_path, folder=tmp_path)
    manifest.write_text(manifest.read_text() + 'numpy = "*"\n')
    with pytest.raises(LockOutdated, match="numpy"):
        build_image(tmp_path, folder=tmp_path)
    assert lock.read_text() == text


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    """A flavour that is none, and a reference that would not stay what it is."""
    with pytest.raises(SettingsError, match=r"no flavour 'fortran'"):
        build_image("fortran", folder=tmp_path)
    image = Image(path=tmp_path / "i.tar", name="a:1", digest="sha256:0123456789", size=0)
    for reference in ("registry.example.org:5000/me/notebook", "registry.example.org/me/notebook:latest"):
        with pytest.raises(SettingsError, match="has no tag that will always"):
            push_image(image, reference)
