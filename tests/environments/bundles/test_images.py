"""Images for container engines: Apptainer's SIF and OCI archives."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from _podman import own_podman
from wingspan.environments import load_environment
from wingspan.environments.bundles import (
    Bundle,
    build_bundle,
    open_bundle,
    starter_command,
    unpack_bundle,
    verify_bundle,
)
from wingspan.environments.bundles.errors import BuildFailed, BundleDamaged, BundleError, UnsafeBundle
from wingspan.environments.bundles.kinds.oci import dockerfile
from wingspan.environments.bundles.kinds.root_filesystem import debian_base
from wingspan.environments.bundles.kinds.sif import definition_file, write_sif
from wingspan.environments.bundles.kinds.squashfs import append_manifest
from wingspan.environments.bundles.opening import sif_partition
from wingspan.environments.bundles.remote import remote_program
from wingspan.environments.lock import LockedEnvironment

Build = Callable[..., Bundle]
AsUser = Callable[[Sequence[str]], list[str]]
PROBE = (
    "import sys, os, six; print(sys.prefix, os.environ['PREFIX_PROBE'], os.environ['PREFIX_PROBE_VARIABLE'])"
)
EXPECTED = "/opt/wingspan/environment /opt/wingspan/environment/share set"


@pytest.mark.apptainer
@pytest.mark.parametrize("ordinary", [False, True])
def test_sif_in_apptainer(ordinary: bool, build: Build, apptainer: str, as_ordinary_user: AsUser) -> None:
    """Real Apptainer runs our image, as root and as an ordinary user, with the environment active for
    exec and run.
    """
    bundle = build("wheels", "sif")
    user = as_ordinary_user if ordinary else list
    environment = {"PATH": f"{Path(apptainer).parent}:/usr/bin:/bin:/usr/sbin", "HOME": "/tmp"}
    for verb in ("exec", "run"):
        command = user([apptainer, "-s", verb, str(bundle.path), "python", "-c", PROBE])
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, cwd="/tmp"
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == EXPECTED


@pytest.mark.apptainer
def test_sif_has_what_htcondor_uses(build: Build, apptainer: str) -> None:
    """`apptainer test` succeeds, which HTCondor calls before each job, and the variables that it passes
    arrive.
    """
    bundle = build("wheels", "sif")
    environment = {
        "PATH": f"{Path(apptainer).parent}:/usr/bin:/bin:/usr/sbin",
        "HOME": "/tmp",
        "APPTAINERENV__CONDOR_SCRATCH_DIR": "/passed",
    }

    def call(*words: str) -> str:
        command = [apptainer, "-s", *words]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, cwd="/tmp"
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    call("-q", "test", "-C", str(bundle.path))
    shown = call(
        "exec", "-C", str(bundle.path), "sh", "-c", 'echo "$_CONDOR_SCRATCH_DIR $PREFIX_PROBE_VARIABLE"'
    )
    assert shown == "/passed set\n"


@pytest.mark.apptainer
def test_apptainer_reads_the_sif(build: Build, apptainer: str) -> None:
    """Apptainer's own tool finds a valid header, the recipe and the system partition, for the right
    architecture.
    """
    bundle = build("wheels", "sif")
    environment = {"PATH": f"{Path(apptainer).parent}:/usr/bin:/bin:/usr/sbin", "HOME": "/tmp"}

    def sif(*words: str) -> str:
        done = subprocess.run(
            [apptainer, *words], capture_output=True, text=True, check=True, env=environment
        )
        return done.stdout

    assert "FS (Squashfs/*System/amd64)" in sif("sif", "list", str(bundle.path))
    assert sif("inspect", "--deffile", str(bundle.path)).strip() == bundle.sources[0].read_text().strip()
    with bundle.path.open("rb") as file:
        file.seek(sif_partition(bundle.path))
        assert file.read(4) == b"hsqs"


@pytest.mark.apptainer
def test_sif_is_started(build: Build, apptainer: str, tmp_path: Path) -> None:
    """The starter runs a SIF by Apptainer, after the check of its digest."""
    bundle = build("wheels", "sif")
    start = starter_command(bundle, ["python", "-c", PROBE], shared=True)
    environment = {"PATH": f"{Path(apptainer).parent}:/usr/bin:/bin:/usr/sbin", "HOME": "/tmp"}
    done = subprocess.run(
        ["sh", str(start.executable), *start.arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=tmp_path,
    )
    assert done.stdout.strip() == EXPECTED, done.stderr


@pytest.mark.parametrize("kind", ["sif", "oci"])
def test_an_image_is_unpacked(kind: str, build: Build) -> None:
    """The environment in an image becomes a folder, and works there; of the base nothing comes along."""
    bundle = build("wheels", kind)
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        prefix = unpack_bundle(bundle, name)
        assert sorted(path.name for path in Path(name).iterdir()) == ["activate.sh", "env"]
        done = subprocess.run(
            ["bash", "-c", '. "$0" && python -c "$1"', f"{name}/activate.sh", PROBE],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/bin:/bin"},
        )
        assert done.stdout.strip() == f"{prefix} {prefix}/share set", done.stderr


def test_what_is_not_unpacked(build: Build, tmp_path: Path) -> None:
    """An installer says that it is one, and leaves nothing."""
    bundle = build("wheels", "install")
    with pytest.raises(BundleError, match="install") as caught:
        unpack_bundle(bundle, tmp_path / "here")
    assert "bash " in caught.value.hint
    assert str(bundle.path) in caught.value.hint
    assert not (tmp_path / "here/env").exists()
    assert not (tmp_path / "here/activate.sh").exists()


def made_archive(bundle: Bundle, members: Sequence[tuple[str, str | bytes]], folder: Path) -> Path:
    """An `oci` whose only layer has these below the prefix: links (a text, where they lead) and files;
    its digest beside it.
    """
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(f"{str(bundle.prefix).lstrip('/')}/{name}")
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size, info.mode = len(content), 0o755
                tar.addfile(info, io.BytesIO(content))
    made = folder / "made.oci.tar"
    with tarfile.open(bundle.path) as good, tarfile.open(made, "w", format=tarfile.USTAR_FORMAT) as tar:
        for member in good:
            content = good.extractfile(member)
            data = content.read() if content else b""
            if member.name == "manifest.json":
                data = json.dumps([{"Layers": ["blobs/sha256/evil"]}]).encode()
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        member = tarfile.TarInfo("blobs/sha256/evil")
        member.size = len(layer.getvalue())
        tar.addfile(member, io.BytesIO(layer.getvalue()))
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    (folder / "made.oci.tar.sha256").write_text(f"{digest}  made.oci.tar\n")
    return made


@pytest.mark.parametrize("members", [["out/file"], ["out/new/deep/file"], ["gone/file"], ["."]])
def test_layers_that_lead_out_are_refused(members: list[str], build: Build, tmp_path: Path) -> None:
    """A layer that writes through a link to somewhere else writes nothing there, though the archive's
    digest is right.
    """
    bundle = build("small", "oci")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    links = [("out", str(elsewhere)), ("gone", str(elsewhere / "gone"))]
    if members == ["."]:
        links, written = [(".", str(elsewhere))], []
    else:
        written = [(name, b"evil") for name in members]
    with pytest.raises(UnsafeBundle, match=re.escape(members[0])):
        unpack_bundle(made_archive(bundle, [*links, *written], tmp_path), tmp_path / "here")
    assert not list(elsewhere.iterdir())
    assert not (tmp_path / "here").exists()


_NOTHING = (".wingspan/prefix-files.json", b'{"text": [], "binary": []}')


def test_a_later_layer_replaces_links(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the name of an earlier link takes its place, and is not written where that leads."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    members = [_NOTHING, ("x", str(victim)), ("x", b"new"), ("y", str(tmp_path / "gone")), ("y", b"new")]
    made = made_archive(build("small", "oci"), members, tmp_path)
    monkeypatch.chdir(victim.parent)
    prefix = unpack_bundle(made, f"../{tmp_path.name}/here")
    assert victim.read_bytes() == b"mine"
    assert not (tmp_path / "gone").exists()
    for name in ("x", "y"):
        assert not (prefix / name).is_symlink()
        assert (prefix / name).read_bytes() == b"new"


def test_layers_in_their_own_way(build: Build, tmp_path: Path) -> None:
    """A layer with a file where another has a folder is damaged; nothing is left."""
    for members in ([("x", b""), ("x/y", b"")], [("x/y", b""), ("x", b"")], [("x", "x"), ("x/y", b"")]):
        made = made_archive(build("small", "oci"), [_NOTHING, *members], tmp_path)
        with pytest.raises(BundleDamaged):
            unpack_bundle(made, tmp_path / "here")
        assert not (tmp_path / "here").exists()


def test_unpacking_runs_nothing_of_an_image(build: Build, tmp_path: Path) -> None:
    """The program that moves an environment is ours, whatever the image has in its place."""
    ran = tmp_path / "ran"
    program = f"open({str(ran)!r}, 'w')".encode()
    members = [_NOTHING, (".wingspan/relocate.py", program), ("json.py", program)]
    unpack_bundle(made_archive(build("small", "oci"), members, tmp_path), tmp_path / "here")
    assert not ran.exists()


@pytest.mark.parametrize("name", ["../../../../../victim", "{elsewhere}/victim", "link/victim", "victim"])
@pytest.mark.parametrize("kind", ["text", "binary"])
def test_only_files_inside_are_rewritten(kind: str, name: str, build: Build, tmp_path: Path) -> None:
    """An image that has files elsewhere in its list, by their names or through links, is refused; they
    stay as they are.
    """
    bundle = build("small", "oci")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for victim in (elsewhere / "victim", tmp_path / "victim"):
        victim.write_text(f"{bundle.prefix}\n")
    listed = {"text": [], "binary": [], kind: [name.format(elsewhere=elsewhere)]}
    members: list[tuple[str, str | bytes]] = [
        (".wingspan/prefix-files.json", json.dumps(listed).encode()),
        (".wingspan/relocate.py", remote_program("relocate.py")),
        ("link", str(elsewhere)),
        ("victim", str(bundle.prefix).encode()),
        ("victim.relocated", str(elsewhere / "victim")),
    ]
    with pytest.raises(UnsafeBundle, match="victim"):
        unpack_bundle(made_archive(bundle, members, tmp_path), tmp_path / "h", environment="e")
    for victim in (elsewhere / "victim", tmp_path / "victim"):
        assert victim.read_text() == f"{bundle.prefix}\n"
    assert not (tmp_path / "h").exists()


def test_an_image_without_its_list(build: Build, tmp_path: Path) -> None:
    """What is no image of ours is told as damaged."""
    with pytest.raises(BundleDamaged, match="prefix-files"):
        unpack_bundle(made_archive(build("small", "oci"), [("x", b"")], tmp_path), tmp_path / "here")
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("kind", ["sif", "oci"])
def test_images_say_what_they_are(kind: str, build: Build) -> None:
    """An image carries the manifest like any bundle; its recipe for people lies beside it."""
    bundle = build("wheels", kind)
    assert verify_bundle(bundle.path).manifest == bundle.manifest
    assert open_bundle(bundle.path).kind == kind
    assert [s.suffix for s in bundle.sources] == [{"sif": ".def", "oci": ".Dockerfile"}[kind]]
    assert "pixi install --frozen --environment wheels" in bundle.sources[0].read_text()


def test_recipes_build_the_platform_of_the_bundle(build: Build) -> None:
    """Pixi chooses a platform by the CUDA that it sees: the recipe says which one the bundle was locked
    for, or that there is none.
    """
    manifest = build("wheels", "sif").manifest
    assert manifest is not None
    for recipe, assignment in (
        (definition_file, "CONDA_OVERRIDE_CUDA={}"),
        (dockerfile, 'CONDA_OVERRIDE_CUDA="{}"'),
    ):
        assert f"{assignment.format('')} " in recipe(manifest, "pixi.toml")
        assert f"{assignment.format('12.9')} " in recipe(manifest, "pixi.toml", "12.9")
    assert "CONDA_OVERRIDE_CUDA= " in build("wheels", "sif").sources[0].read_text()
    assert "export CONDA_OVERRIDE_CUDA=''\n" in build("wheels", "install").path.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sif", "oci"])
def test_images_are_reproducible(
    kind: str,
    build: Build,
    local_workspace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    session_cache: Path,
) -> None:
    """The same lock and base give the same bytes, built anew with another cache."""
    first = build("small", kind)
    other = tmp_path / "cache"
    (other / "environments").mkdir(parents=True)
    (other / "environments/bases").symlink_to(session_cache / "environments/bases")
    monkeypatch.setenv("WINGSPAN_CACHE_DIR", str(other))
    again = build_bundle(load_environment(local_workspace, "small", "linux-64"), kind)
    assert again.sha256 == first.sha256


@pytest.mark.parametrize("kind", ["sif", "oci"])
def test_a_cut_image(kind: str, build: Build, tmp_path: Path) -> None:
    """An image that ends early is damaged."""
    good = build("wheels", kind).path
    cut = tmp_path / good.name
    cut.write_bytes(good.read_bytes()[:-5000])
    with pytest.raises(BundleDamaged):
        verify_bundle(cut)


@pytest.mark.parametrize("part", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("kind", ["squashfs", "pack", "sif", "oci", "install"])
def test_a_cut_bundle_of_another_name(kind: str, part: float, build: Build, tmp_path: Path) -> None:
    """Also where nothing says what the file should be, what is left of it is an error of ours, not a
    traceback.
    """
    good = build("small", kind).path
    cut = tmp_path / f"renamed{good.suffix}"
    cut.write_bytes(good.read_bytes()[: int(part * good.stat().st_size)])
    with pytest.raises(BundleDamaged):
        verify_bundle(cut)
    with pytest.raises(BundleError):
        unpack_bundle(cut, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _layers(bundle: Bundle) -> list[tuple[str, int]]:
    with tarfile.open(bundle.path) as tar:
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
        digest = index["manifests"][0]["digest"].removeprefix("sha256:")
        manifest = json.load(tar.extractfile(f"blobs/sha256/{digest}"))  # type: ignore[arg-type]
        return [(layer["digest"], layer["size"]) for layer in manifest["layers"]]


def test_environments_share_layers(build: Build) -> None:
    """Two environments with the same Python share its layer and the base: most of the smaller image."""
    first, second = dict(_layers(build("wheels", "oci"))), dict(_layers(build("default", "oci")))
    shared = set(first) & set(second)
    assert sum(first[digest] for digest in shared) > 0.5 * sum(first.values())
    assert set(second) - shared, "PyZMQ is in the other only"


def test_every_file_is_in_one_layer(build: Build) -> None:
    """No file is in two layers, and every blob is what its name says."""
    seen: set[str] = set()
    with tarfile.open(build("wheels", "oci").path) as tar:
        for member in tar:
            if not member.name.startswith("blobs/sha256/") or not member.isfile():
                continue
            content = tar.extractfile(member).read()  # type: ignore[union-attr]
            assert hashlib.sha256(content).hexdigest() == member.name.rsplit("/", 1)[1]
            if content[:2] == b"\x1f\x8b":
                with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as layer:
                    names = {m.name for m in layer if not m.isdir()}
                assert not seen & names
                seen |= names
    assert "opt/wingspan/environment/bin/python3.11" in seen
    assert "bin/bash" in seen or "usr/bin/bash" in seen


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[list[str]]:
    """podman with storage of its own."""
    with own_podman(tmp_path) as command:
        yield command


@pytest.mark.podman
@pytest.mark.slow
def test_oci_in_podman(build: Build, podman: list[str]) -> None:
    """Real podman loads the archive under workspace:environment and runs it with the environment active."""
    bundle = build("wheels", "oci")
    loaded = subprocess.run(
        [*podman, "load", "-q", "-i", str(bundle.path)], capture_output=True, text=True, check=False
    )
    assert "local:wheels" in loaded.stdout, loaded.stderr
    done = subprocess.run(
        [*podman, "run", "--rm", "localhost/local:wheels", "python", "-c", PROBE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == EXPECTED, done.stderr


@pytest.mark.podman
def test_docker_can_read_it(build: Build, tmp_path: Path) -> None:
    """skopeo reads the archive as an OCI layout and as what `docker save` writes, and finds the same
    layers.
    """
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        pytest.skip("no skopeo: python tools/engines/podman.py (as root)")
    bundle = build("wheels", "oci")
    found = []
    for transport in ("oci-archive", "docker-archive"):
        target = tmp_path / transport
        subprocess.run(
            [skopeo, "--insecure-policy", "copy", "-q", f"{transport}:{bundle.path}", f"dir:{target}"],
            check=True,
            capture_output=True,
        )
        config = json.loads((target / "manifest.json").read_text())["config"]["digest"].removeprefix(
            "sha256:"
        )
        found.append(json.loads((target / config).read_text())["rootfs"]["diff_ids"])
    assert found[0] == found[1]


def test_another_base(build: Build, local_workspace: Path, tmp_path: Path) -> None:
    """The root file system under an image can be given; one that is not there is refused."""
    env = load_environment(local_workspace, "small", "linux-64")
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin/mine").write_text("hello")
    with tarfile.open(tmp_path / "root.tar", "w") as tar:
        tar.add(root, ".")
    for base in (root, tmp_path / "root.tar"):
        bundle = build_bundle(env, "oci", base=base)
        with tarfile.open(bundle.path) as tar:
            assert b"bin/mine" in b"".join(
                __import__("gzip").decompress(tar.extractfile(m).read())[:200_000]  # type: ignore[union-attr]
                for m in tar
                if m.isfile() and m.size > 100 and tar.extractfile(m).read(2) == b"\x1f\x8b"  # type: ignore[union-attr]
            )
    first = build_bundle(env, "oci", base=root)
    (root / "bin/mine").write_text("goodbye")
    assert build_bundle(env, "oci", base=root).sha256 != first.sha256
    # an unpacked Apptainer image, whose files are not ours to change
    (root / ".singularity.d/env").mkdir(parents=True)
    (root / ".singularity.d/labels.json").write_text("theirs")
    (root / "environment").symlink_to(".singularity.d/env/90-environment.sh")
    (root / "singularity").symlink_to(".singularity.d/runscript")
    build_bundle(env, "sif", base=root)
    assert (root / ".singularity.d/labels.json").read_text() == "theirs"
    (tmp_path / "outside").mkdir()
    (root / "opt").symlink_to(tmp_path / "outside")
    for kind in ("sif", "oci"):
        with pytest.raises(BuildFailed, match="leads out"):
            build_bundle(env, kind, base=root)
    assert list((tmp_path / "outside").iterdir()) == []
    (tmp_path / "no.tar").write_text("no tar")
    with pytest.raises(BuildFailed, match="not a tar"):
        build_bundle(env, "oci", base=tmp_path / "no.tar")


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_a_base_of_any_release_is_whole(suite: str, bundle_cache: Path) -> None:
    """Libraries have other names in each release of Debian: what the base's programs load is there, and
    they run.
    """
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    root = debian_base(suite)
    assert (root / "etc/debian_version").read_text().partition(".")[0] == {"bookworm": "12", "trixie": "13"}[
        suite
    ]
    look = "for f in /usr/bin/* /bin/*; do /lib64/ld-linux-x86-64.so.2 --list $f 2>/dev/null; done | grep 'not found'"
    assert (
        subprocess.run(["chroot", root, "/bin/bash", "-c", look], capture_output=True, check=False).stdout
        == b""
    )
    words = "bash -c 'awk --version; grep --version; tar --version; ps --version; mount --version; find --version'"
    subprocess.run(f"chroot {root} {words}", shell=True, check=True, capture_output=True)
    for absent in ("dpkg", "perl", "python3"):
        assert not os.path.lexists(root / "usr/bin" / absent)


@pytest.fixture
def rights(bundle_cache: Path, tmp_path: Path) -> LockedEnvironment:
    """An environment with one package, whose program would be setuid, another user's, and writable for
    everybody.
    """
    said = {"name": "rights-probe", "version": "1", "build": "0", "build_number": 0, "subdir": "linux-64"}
    listed = {"paths": [{"_path": "bin/rights-probe", "path_type": "hardlink"}], "paths_version": 1}
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:bz2") as tar:
        for name, data, mode in (
            ("info/index.json", json.dumps(said).encode(), 0o644),
            ("info/paths.json", json.dumps(listed).encode(), 0o644),
            ("bin/rights-probe", b"#!/bin/sh\nid -u\n", 0o6777),
        ):
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.uid, member.gid = len(data), mode, 4321, 4321
            tar.addfile(member, io.BytesIO(data))
    archive = tmp_path / "channel/linux-64/rights-probe-1-0.tar.bz2"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(content.getvalue())
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    channel = (tmp_path / "channel").as_uri()
    (tmp_path / "pixi.toml").write_text(
        f'[workspace]\nname = "rights"\nchannels = ["{channel}"]\nplatforms = ["linux-64"]\n[dependencies]\nrights-probe = "*"\n'
    )
    (tmp_path / "pixi.lock").write_text(
        f"version: 6\nenvironments:\n  default:\n    channels:\n    - url: {channel}/\n    packages:\n      linux-64:\n"
        f"      - conda: {archive.as_uri()}\npackages:\n- conda: {archive.as_uri()}\n  sha256: {digest}\n  subdir: linux-64\n"
    )
    return load_environment(tmp_path / "pixi.toml", "default", "linux-64")


#: Rights, owner and group of the program, as an engine has them.
LOOK = ["stat", "-c", "%a %u %g", "/opt/wingspan/environment/bin/rights-probe"]


@pytest.mark.apptainer
def test_rights_of_packages_do_not_come_into_a_sif(rights: LockedEnvironment, apptainer: str) -> None:
    """In Apptainer a program of a package is root's, not setuid, and nobody else may write it."""
    bundle = build_bundle(rights, "sif")
    environment = {"PATH": f"{Path(apptainer).parent}:/usr/bin:/bin:/usr/sbin", "HOME": "/tmp"}
    command = [apptainer, "-s", "exec", str(bundle.path), *LOOK]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd="/tmp")
    assert done.stdout.split() == ["755", "0", "0"], done.stderr


@pytest.mark.podman
def test_rights_of_packages_do_not_come_into_an_oci(rights: LockedEnvironment, podman: list[str]) -> None:
    """In podman, too."""
    bundle = build_bundle(rights, "oci")
    loaded = subprocess.run(
        [*podman, "load", "-q", "-i", str(bundle.path)], capture_output=True, text=True, check=False
    )
    assert "rights:default" in loaded.stdout, loaded.stderr
    command = [*podman, "run", "--rm", "localhost/rights:default", *LOOK]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["755", "0", "0"], done.stderr


@pytest.mark.parametrize("kind", ["squashfs", "sif", "oci"])
def test_rights_and_owners_of_any_image_are_settled(
    kind: str, rights: LockedEnvironment, tmp_path: Path
) -> None:
    """What somebody made setuid, another user's and writable in an image of any kind is none of that when
    it is unpacked.
    """
    if os.geteuid() != 0 or shutil.which("mksquashfs") is None:
        pytest.skip("needs root and mksquashfs")
    bundle = build_bundle(rights, kind)
    inside = str(bundle.prefix).lstrip("/")
    root = tmp_path / "root"
    below = root if kind == "squashfs" else root / inside
    good = unpack_bundle(bundle, tmp_path / "good")
    below.parent.mkdir(parents=True, exist_ok=True)
    good.rename(below)
    listed = json.loads((below / ".wingspan/prefix-files.json").read_text())
    assert listed["binary"] == [], "nothing is rewritten"
    program = below / "bin/rights-probe"
    for path, mode in ((program, 0o6777), (program.parent, 0o3777)):
        os.chown(path, 4321, 4321)
        path.chmod(mode)
    made = tmp_path / f"made.{bundle.path.name.partition('.')[2]}"
    if kind == "oci":
        layer = tmp_path / "layer"
        with tarfile.open(layer, "w:gz") as tar:
            tar.add(root / "opt", "opt")
        blobs = {"manifest.json": b'[{"Layers": ["layer"]}]', "layer": layer.read_bytes()}
        with tarfile.open(bundle.path) as before, tarfile.open(made, "w") as tar:
            for member in before:
                data = blobs.get(member.name)
                if member.isfile() and data is None:
                    data = before.extractfile(member).read()  # type: ignore[union-attr]
                member.size = len(data or b"")
                tar.addfile(member, io.BytesIO(data or b""))
            member = tarfile.TarInfo("layer")
            member.size = len(blobs["layer"])
            tar.addfile(member, io.BytesIO(blobs["layer"]))
    else:
        image = tmp_path / "image"
        subprocess.run(["mksquashfs", root, image, "-quiet", "-no-progress"], check=True, capture_output=True)
        assert bundle.manifest is not None
        if kind == "sif":
            write_sif(made, image, "", bundle.manifest)
        else:
            image.rename(made)
        append_manifest(made, bundle.manifest)
    Path(f"{made}.sha256").write_text(f"{hashlib.sha256(made.read_bytes()).hexdigest()}  {made.name}\n")
    prefix = unpack_bundle(made, tmp_path / "target")
    for path in (prefix / "bin/rights-probe", prefix / "bin", prefix):
        status = path.lstat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, 0, 0o755), path
