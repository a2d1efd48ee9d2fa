"""pixi-pack's format: what we write, and what others wrote."""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wingspan.environments import load_environment
from wingspan.environments.bundles import Bundle, build_bundle, open_bundle, unpack_bundle, verify_bundle
from wingspan.environments.bundles.errors import AlreadyThere, BundleDamaged, BundleNotFound, UnsafeBundle
from wingspan.environments.bundles.remote import remote_program

Build = Callable[..., Bundle]


def rewritten(pack: Path, target: Path, change: Callable[[tarfile.TarInfo, bytes], object]) -> Path:
    """A copy of a pack whose members went through `change`, which answers (member, content) or None to
    drop it.
    """
    with tarfile.open(pack) as old, tarfile.open(target, "w") as new:
        for member in old:
            content = old.extractfile(member).read() if member.isfile() else b""  # type: ignore[union-attr]
            changed = change(member, content)
            if changed is not None:
                member, content = changed  # type: ignore[misc]
                member.size = len(content)
                new.addfile(member, io.BytesIO(content))
    return target


def as_pixi_pack_writes_it(pack: Path, target: Path) -> Path:
    """The pack without anything of ours, with its members below ``./``: a stand-in for one that pixi-pack
    itself wrote.
    """

    def foreign(member: tarfile.TarInfo, content: bytes) -> object:
        if member.name in ("sha256sums", "wingspan.json", "pixi.lock"):
            return None
        if member.name == "pixi-pack.json":
            document = {"version": "1", "pixi-pack-version": "0.7.10", "platform": "linux-64"}
            content = json.dumps(document).encode()
        member.name = f"./{member.name}"
        return member, content

    return rewritten(pack, target, foreign)


def is_empty(folder: Path) -> bool:
    """Whether there is nothing in it, or it was not even made."""
    return not folder.exists() or list(folder.iterdir()) == []


def test_layout(build: Build) -> None:
    """A pack has pixi-pack's members, repodata of the lock's records, and our checksums at top level only."""
    with tarfile.open(build("wheels", "pack").path) as tar:
        names = [m.name for m in tar if m.isfile()]
        assert names == sorted(names)
        assert json.load(tar.extractfile("pixi-pack.json")) == {"version": "1", "platform": "linux-64"}  # type: ignore[arg-type]
        repodata = json.load(tar.extractfile("channel/linux-64/repodata.json"))  # type: ignore[arg-type]
        assert repodata["repodata_version"] == 2
        assert repodata["packages"] == {}
        for file_name, record in repodata["packages.conda"].items():
            content = tar.extractfile(f"channel/linux-64/{file_name}").read()  # type: ignore[union-attr]
            assert hashlib.sha256(content).hexdigest() == record["sha256"]
            assert not {"fn", "url", "channel"} & set(record)
        assert {Path(n).suffix for n in names if n.startswith("pypi/")} == {".whl"}
        for line in tar.extractfile("sha256sums").read().decode().splitlines():  # type: ignore[union-attr]
            digest, name = line.split("  ")
            assert hashlib.sha256(tar.extractfile(name).read()).hexdigest() == digest  # type: ignore[union-attr]
        assert all(m.uid == m.gid == 0 and m.mode in (0o644, 0o755) for m in tar)
        environment = tar.extractfile("environment.yml").read().decode()  # type: ignore[union-attr]
    assert "- ./channel" in environment
    assert "--find-links ./pypi" in environment
    assert "six==1.17.0" in environment


def test_round_trip(build: Build, tmp_path: Path) -> None:
    """An unpacked pack works where it was unpacked, conda packages, wheels, scripts and activation alike."""
    prefix = unpack_bundle(build("wheels", "pack"), tmp_path / "out")
    assert prefix == tmp_path / "out/env"
    script = (
        f". {tmp_path}/out/activate.sh; prefix-probe; echo $PREFIX_PROBE $PREFIX_PROBE_VARIABLE;"
        "python -c 'import sys, six, tabulate; print(sys.prefix)'; tabulate --help | head -n 1"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[:3] == [str(prefix), f"{prefix}/share set", str(prefix)]
    assert "Usage: tabulate" in lines[3] or "tabulate" in done.stdout
    assert f"{prefix}/share".encode() in (prefix / "share/prefix-probe/binary.dat").read_bytes()


def test_a_pack_of_pixi_pack(build: Build, tmp_path: Path) -> None:
    """A pack without anything of ours in it is opened, checked package by package, and unpacked."""
    foreign = as_pixi_pack_writes_it(build("small", "pack").path, tmp_path / "environment.tar")
    bundle = open_bundle(foreign)
    assert (bundle.kind, bundle.manifest, bundle.name) == ("pack", None, "environment")
    verify_bundle(foreign)
    prefix = unpack_bundle(foreign, tmp_path / "out")
    assert (prefix / "share/prefix-probe/text.ini").read_text() == f"prefix = {prefix}\n"


def test_a_self_extracting_pack_of_pixi_pack(build: Build, tmp_path: Path) -> None:
    """The stock layout, one endless line of base64 after another header, is read too."""
    pack = as_pixi_pack_writes_it(build("small", "pack").path, tmp_path / "environment.tar").read_bytes()
    script = tmp_path / "environment.sh"
    script.write_bytes(
        b"#!/bin/bash\nset -euo pipefail\nexit 1\n# shellcheck disable=SC2317\n@@END_HEADER@@\n\n"
        + base64.b64encode(pack)
        + b"\n@@END_ARCHIVE@@\n"
        + base64.b64encode(b"#!/bin/sh\n")
    )
    prefix = unpack_bundle(script, tmp_path / "out")
    assert (prefix / "share/prefix-probe/text.ini").read_text() == f"prefix = {prefix}\n"


def test_the_stock_header_would_read_ours(build: Build) -> None:
    """Our script has the stock layout: the lines that pixi-pack's header cuts out decode to the same tar."""
    script = build("small", "pack", executable=True).path
    command = (
        """b=$(grep -anm 1 "^@@END_HEADER@@" "$0" | cut -d: -f1); e=$(grep -anm 1 "^@@END_ARCHIVE@@" "$0" | cut -d: -f1);"""
        """sed -n "$((b+2)),$((e-1))p" "$0" | base64 -d | sha256sum"""
    )
    done = subprocess.run(["bash", "-c", command, str(script)], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == build("small", "pack").sha256


def test_lines_are_short(build: Build) -> None:
    """No line of the script is longer than 320 kB: sed holds a line in memory."""
    with build("large", "pack", executable=True).path.open("rb") as file:
        assert max(len(line) for line in file) < 320_000


@pytest.mark.slow
def test_a_pack_unpacks_itself_in_little_memory(build: Build, tmp_path: Path) -> None:
    """On a machine with python3 and libzstd only, the script makes a working environment in at most 50 MB
    of memory.
    """
    script = build("large", "pack", executable=True).path
    program = (
        "import resource, subprocess, sys\n"
        "code = subprocess.call(sys.argv[1:])\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "bash", str(script), "-o", str(tmp_path / "out"), "-e", "mine"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    memory, code = map(int, done.stdout.split())
    assert code == 0, done.stderr
    assert memory < 50_000, f"{memory} kB"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["activate.sh", "mine"]
    check = f". {tmp_path}/out/activate.sh; python -c 'import sys, scipy.stats, cloudpickle; print(sys.prefix)'; f2py -v"
    answer = subprocess.run(
        ["bash", "-c", check], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"}
    )
    assert answer.stdout.splitlines()[0] == str(tmp_path / "out/mine")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes a file system of so many bytes."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mounted: list[Path] = []

    def make(size: int) -> Path:
        folder = tmp_path / f"disk-{size}"
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _unpack_itself(script: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(script), "-o", str(folder), "-e", "env"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin"},
    )


def test_the_disk_that_is_asked_for_is_enough(build: Build, small_disk: Callable[[int], Path]) -> None:
    """What `Bundle.disk_bytes` says holds the script, its archive and the environment while it is
    unpacked.
    """
    bundle = build("large", "pack", executable=True)
    installed = build("large").manifest.installed_bytes  # type: ignore[union-attr]
    asked = bundle.disk_bytes(installed)
    assert asked < 3 * installed
    slack = 20_000_000  # a file takes whole pages
    folder = small_disk(asked - bundle.size + slack)
    done = _unpack_itself(bundle.path, folder)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in folder.iterdir()) == ["activate.sh", "env"]


@pytest.mark.parametrize("size", [20_000_000, 150_000_000])
def test_a_full_disk_is_told_as_such(build: Build, small_disk: Callable[[int], Path], size: int) -> None:
    """No room for the archive, or for what is in it: exit code 123, how much is free, and nothing is left."""
    folder = small_disk(size)
    done = _unpack_itself(build("large", "pack", executable=True).path, folder)
    assert done.returncode == 123, done.stderr
    assert "no room" in done.stderr
    assert list(folder.iterdir()) == []


def test_both_unpackers_agree(
    build: Build, tmp_path: Path, files_below: Callable[[Path], dict[str, bytes]]
) -> None:
    """What the worker's unpacker installs is what py-rattler and uv install, but for notes of the
    installers.
    """
    bundle = build("wheels", "pack", executable=True)
    same = tmp_path / "same"
    subprocess.run(["bash", str(bundle.path), "-o", str(same)], check=True, env={"PATH": "/usr/bin:/bin"})
    ours = {n: c for n, c in files_below(same / "env").items() if "__pycache__" not in n}
    (same / "env").rename(same / "ours")
    unpack_bundle(build("wheels", "pack"), same)
    theirs = {n: c for n, c in files_below(same / "env").items() if "__pycache__" not in n}
    notes = re.compile(
        r"conda-meta/|CACHEDIR.TAG|\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url.json)|bin/tabulate$"
    )
    assert {n for n in ours if not notes.search(n)} == {n for n in theirs if not notes.search(n)}
    different = [n for n in ours if not notes.search(n) and ours[n] != theirs[n]]
    assert different == []


_FREE_THREADED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import conda_package, local_channel
channel, source = Path(sys.argv[2]), Path(sys.argv[3])
for name, content in {"python/bin/tool": "x", "pure/site-packages/pure.py": "x = 1", "pure/python-scripts/run": "x"}.items():
    (source / name).parent.mkdir(parents=True, exist_ok=True)
    (source / name).write_text(content)
site = "lib/python3.13t/site-packages"
conda_package.write_package(
    source / "python", channel, name="python", version="3.13.1", build="h0_0_cp313t", site_packages=site
)
conda_package.write_package(
    source / "pure", channel, name="pure", version="1.0", build="pyh0_0", noarch_python=True, depends=["python"],
    entry_points=["pure = pure:main"],
)
local_channel.index(channel)
os._exit(0)
"""


def test_a_free_threaded_python(
    write_workspace: Callable[..., Path],
    tmp_path: Path,
    empty_cache: Path,
    files_below: Callable[[Path], dict[str, bytes]],
) -> None:
    """Packages go where this Python looks for them (lib/python3.13t), whoever unpacks: its record says
    where that is.
    """
    tools = Path(__file__).resolve().parents[3] / "tools"
    channel = tmp_path / "channel"
    subprocess.run([sys.executable, "-c", _FREE_THREADED, tools, channel, tmp_path / "source"], check=True)
    env = load_environment(write_workspace(tmp_path / "w", channel, {"default": ["pure"]}))
    script = build_bundle(env, "pack", executable=True).path
    subprocess.run(["bash", script, "-o", tmp_path / "ours"], check=True, env={"PATH": "/usr/bin:/bin"})
    unpack_bundle(script, tmp_path / "theirs")
    ours, theirs = (
        {n for n in files_below(tmp_path / who / "env") if "CACHEDIR" not in n} for who in ("ours", "theirs")
    )
    assert "lib/python3.13t/site-packages/pure.py" in theirs
    assert ours == theirs


_REPLACE = """
import importlib.util, re, sys
spec = importlib.util.spec_from_file_location("program", sys.argv[1])
program = importlib.util.module_from_spec(spec)
spec.loader.exec_module(program)
program.replace_in_binary(sys.argv[2], sys.argv[3].encode(), sys.argv[4].encode())
print(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])  # since it was executed
"""


def test_prefixes_in_large_binaries_take_little_memory(tmp_path: Path) -> None:
    """A library of 300 MB (PyTorch has some of 1 GB) is patched wherever the prefix lies, in a job that
    asked for little memory.
    """
    import wingspan.environments.bundles.remote as remote

    old, new, piece = b"/opt/placeholder", b"/opt/here", 1 << 20
    texts = [old + b"/lib:" + old + b"/lib64", old, b"/opt/placehol", old + b"/" + b"x" * 9000]
    places = [
        0,
        5000,
        piece - 8,
        2 * piece - len(old),
        3 * piece,
        7 * piece + 11,
        300_000_000 - len(texts[0]),
    ]
    content = {place: texts[number % 4] for number, place in enumerate(places)}
    content[places[-1]] = texts[0]  # the very end, without a zero behind it
    path = tmp_path / "library.so"
    with path.open("wb") as file:
        for place, text in content.items():
            file.seek(place)
            file.write(text)
    before = path.read_bytes()
    command = [
        sys.executable,
        "-c",
        _REPLACE,
        str(Path(remote.__path__[0]) / "in_place.py"),
        str(path),
        old.decode(),
    ]
    done = subprocess.run([*command, new.decode()], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50_000
    expected = re.sub(
        re.escape(old) + rb"[^\0]*", lambda m: m[0].replace(old, new).ljust(len(m[0]), b"\0"), before
    )
    assert path.read_bytes() == expected


@pytest.mark.parametrize("name", ["unpacker.py", "relocate.py", "in_place.py"])
def test_what_runs_on_workers_is_grammar_of_their_python(name: str) -> None:
    """Clusters still have 3.6, and what its parser refuses ends every job there."""
    ast.parse(remote_program(name), feature_version=(3, 6))


def test_a_script_of_any_name_is_unpacked(build: Build, tmp_path: Path) -> None:
    """What it is is seen in the file: pixi-pack calls its scripts as people like."""
    script = tmp_path / "environment"
    script.write_bytes(build("small", "pack", executable=True).path.read_bytes())
    prefix = unpack_bundle(script, tmp_path / "out")
    assert (prefix / "bin/prefix-probe").is_file()


def test_an_altered_script_refuses_to_unpack(build: Build, tmp_path: Path) -> None:
    """One altered byte anywhere in a package is found by the script itself, before anything is put in
    place.
    """
    good = build("small", "pack", executable=True).path.read_bytes()
    script = tmp_path / "bad.sh"
    middle = (good.index(b"\n@@END_HEADER@@\n") + good.index(b"\n@@END_ARCHIVE@@\n")) // 2
    letter = b"A" if good[middle : middle + 1] != b"A" else b"B"
    script.write_bytes(good[:middle] + letter + good[middle + 1 :])
    done = subprocess.run(
        ["bash", str(script), "-o", str(tmp_path / "out")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 121, done.stderr
    assert "damaged" in done.stderr
    assert is_empty(tmp_path / "out")


@pytest.mark.parametrize("part", [0.02, 0.3, 0.6])
@pytest.mark.parametrize("executable", [False, True])
def test_a_cut_pack(part: float, executable: bool, build: Build, tmp_path: Path) -> None:
    """A pack that ends early is damaged, whether it is checked, unpacked by us, or runs by itself;
    nothing is left.
    """
    good = build("small", "pack", executable=executable).path
    cut = tmp_path / ("cut.sh" if executable else "cut.tar")
    cut.write_bytes(good.read_bytes()[: int(good.stat().st_size * part)])
    for doing in (verify_bundle, lambda path: unpack_bundle(path, tmp_path / "out")):
        with pytest.raises(BundleDamaged):
            doing(cut)
    if executable:
        done = subprocess.run(
            ["bash", str(cut), "-o", str(tmp_path / "out")], capture_output=True, check=False
        )
        assert done.returncode != 0
    assert is_empty(tmp_path / "out")


@pytest.mark.parametrize("kind", ["squashfs", "pack"])
@pytest.mark.parametrize("where", [0, 300, 0.5, -30])
def test_one_altered_byte(kind: str, where: float, build: Build, tmp_path: Path) -> None:
    """One byte changed anywhere is noticed, and the error says which file; without the digest beside it
    too.
    """
    good = build("small", kind).path
    content = bytearray(good.read_bytes())
    position = int(where * len(content)) if isinstance(where, float) else where
    content[position] ^= 1
    bad = tmp_path / good.name
    bad.write_bytes(content)
    with pytest.raises(BundleDamaged, match=re.escape(str(bad))):
        verify_bundle(bad)
    with pytest.raises(BundleDamaged):
        unpack_bundle(bad, tmp_path / "out")
    assert is_empty(tmp_path / "out")


def test_a_damaged_package_is_named(build: Build, tmp_path: Path) -> None:
    """Where there is no digest of the whole, the damaged package itself is named."""

    def damage(member: tarfile.TarInfo, content: bytes) -> object:
        if "libzlib" in member.name:
            content = content[:-1] + bytes([content[-1] ^ 1])
        return member, content

    bad = rewritten(build("small", "pack").path, tmp_path / "mine.tar", damage)
    with pytest.raises(BundleDamaged, match=r"channel/linux-64/libzlib.*\.conda"):
        verify_bundle(bad)


def _evil(kind: str) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo("pypi/../../evil")
    if kind == "absolute":
        member.name = "/tmp/wingspan-evil"
    elif kind == "absolute link":
        member.name, member.type, member.linkname = "pypi/evil", tarfile.SYMTYPE, "/etc/passwd"
    elif kind == "hard link":
        member.name, member.type, member.linkname = "pypi/evil", tarfile.LNKTYPE, "../../etc/passwd"
    elif kind == "device":
        member.name, member.type = "pypi/evil", tarfile.CHRTYPE
    return member, b"evil" if member.isfile() else b""


@pytest.mark.parametrize("kind", ["dots", "absolute", "absolute link", "hard link", "device"])
def test_members_that_would_break_out(kind: str, build: Build, tmp_path: Path) -> None:
    """A pack with a path with dots, an absolute path, a link or a device is refused, the member named,
    nothing written.
    """
    bad = tmp_path / "bad.tar"
    bad.write_bytes(build("small", "pack").path.read_bytes())
    member, content = _evil(kind)
    member.size = len(content)
    with tarfile.open(bad, "a") as tar:
        tar.addfile(member, io.BytesIO(content))
    with pytest.raises(UnsafeBundle, match=re.escape(repr(member.name))):
        unpack_bundle(bad, tmp_path / "out")
    assert is_empty(tmp_path / "out")
    assert not (tmp_path / "evil").exists()
    unpacker = tmp_path / "unpacker.py"
    unpacker.write_bytes(remote_program("unpacker.py"))
    done = subprocess.run(
        [sys.executable, str(unpacker), "-o", str(tmp_path / "out"), str(bad)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 121, done.stderr
    assert is_empty(tmp_path / "out")
    assert not (tmp_path / "evil").exists()
    assert not Path("/tmp/wingspan-evil").exists()


def test_a_refused_pack_leaves_no_folder(build: Build, tmp_path: Path) -> None:
    """Not even the folder that it would have been unpacked into."""
    bad = rewritten(
        build("small", "pack").path,
        tmp_path / "bad.tar",
        lambda m, c: (m, c[:-1] if "channel/linux" in m.name else c),
    )
    with pytest.raises(BundleDamaged):
        unpack_bundle(bad, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_target_is_never_overwritten(build: Build, tmp_path: Path) -> None:
    """Something of that name stays as it is."""
    (tmp_path / "env").mkdir()
    (tmp_path / "env/mine").write_text("precious")
    with pytest.raises(AlreadyThere):
        unpack_bundle(build("small", "pack"), tmp_path)
    assert (tmp_path / "env/mine").read_text() == "precious"
    own = tmp_path / "own/activate.sh"
    own.parent.mkdir()
    own.write_text("module load gcc\n")
    with pytest.raises(AlreadyThere):
        unpack_bundle(build("small", "pack"), own.parent)
    assert [*own.parent.iterdir()] == [own]
    assert own.read_text() == "module load gcc\n"
    again = unpack_bundle(build("small", "pack"), tmp_path / "twice")
    again.rename(tmp_path / "elsewhere")
    assert unpack_bundle(build("small", "pack"), tmp_path / "twice") == again


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"#!/bin/sh\necho hello\n", os.urandom(5000), b"hsqs" + bytes(200)]
)
def test_files_that_are_no_bundles(content: bytes, tmp_path: Path) -> None:
    """Anything else is refused as no bundle, whatever it is."""
    path = tmp_path / "x.tar"
    path.write_bytes(content)
    with pytest.raises(BundleDamaged):
        open_bundle(path)


def test_no_such_file(tmp_path: Path) -> None:
    """A path that leads nowhere is an error of its own."""
    for doing in (open_bundle, verify_bundle):
        with pytest.raises(BundleNotFound):
            doing(tmp_path / "none.tar")


def test_a_pack_of_another_version(build: Build, tmp_path: Path) -> None:
    """A pack of a version to come is refused by its version."""

    def newer(member: tarfile.TarInfo, content: bytes) -> object:
        if member.name in ("sha256sums", "wingspan.json"):
            return None
        if member.name == "pixi-pack.json":
            content = b'{"version":"2","platform":"linux-64"}'
        return member, content

    with pytest.raises(BundleDamaged, match="version '2'"):
        unpack_bundle(rewritten(build("small", "pack").path, tmp_path / "new.tar", newer), tmp_path / "out")


def test_reading_a_large_script_takes_little_memory(build: Build) -> None:
    """Our own reader of self-extracting packs decodes as it goes."""
    script = build("large", "pack", executable=True).path
    assert script.stat().st_size > 60e6
    program = (
        "import resource, sys; from pathlib import Path; from wingspan.environments.bundles.kinds import pack\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with pack.opened_pack(Path(sys.argv[1])) as tar: print(sum(1 for _ in tar))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(script)], capture_output=True, text=True, check=True
    )
    members, grown = map(int, done.stdout.split())
    assert members > 15
    assert grown < 20_000, f"{grown} kB more"
