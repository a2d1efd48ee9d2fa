"""Activation: what packages and workspaces ask of it, in whatever place and under whatever name an
environment lies.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import string
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wingspan import EnvironmentWarning
from wingspan.environments import load_environment
from wingspan.environments.bundles import Bundle, build_bundle, starter_command, unpack_bundle
from wingspan.environments.bundles.errors import InvalidPlace
from wingspan.environments.bundles.remote.activation import activation_script, expanded, quoted

TOOLS = Path(__file__).resolve().parents[3] / "tools"
MANY = int(os.environ.get("WINGSPAN_TEST_EXAMPLES", "100"))
BARE = {"PATH": "/usr/bin:/bin", "HOME": "/tmp"}

_ODD = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import conda_package, local_channel
channel, source = Path(sys.argv[2]), Path(sys.argv[3])
variables = {
    "mixed": json.dumps({
        "GOOD": "it's $HOME `id` \\\\ and\\n more", "NUMBER": 3, "A-B": "x", "$(touch hacked)": "y", "NOTHING": None,
        "FLAG": True, "LIST": [1], "PPID": "1", "9X": "z", "": "e", "A\\nB": "n",
    }),
    "comma": '{"COMMA": "1",}', "list": '["LISTED"]', "text": '"TEXT"', "empty": "", "deep": "[" * 100000,
}
activate = {"odd $(touch hacked) 'name'.sh": 'export ODD="$# $CONDA_PREFIX"; become=hacked; script=hacked; cd /\\n'}
files = {f"etc/conda/env_vars.d/{name}.json": text for name, text in variables.items()}
files |= {f"etc/conda/activate.d/{name}": text for name, text in activate.items()}
files["bin/odd"] = f"#!{conda_package.PLACEHOLDER}/bin/sh-of-odd -e\\necho odd {conda_package.PLACEHOLDER}\\n"
files["bin/sh-of-odd"] = "#!/bin/sh\\nexec /bin/sh \\"$@\\"\\n"
site = "lib/python3.11/site-packages"
module = {
    f"{site}/moved.py": f'ROOT = "{conda_package.PLACEHOLDER}"\\n',
    "bin/moved": f"#!{conda_package.PLACEHOLDER}/bin/python\\nimport moved; print(moved.ROOT)\\n",
}
for name, content, depends in (("odd", files, []), ("moved", module, ["python 3.11.*"])):
    for path, text in content.items():
        (source / name / path).parent.mkdir(parents=True, exist_ok=True)
        (source / name / path).write_text(text)
        (source / name / path).chmod(0o755)
    conda_package.write_package(source / name, channel, name=name, version="1.0", build="0", depends=depends)
local_channel.index(channel)
sys.stdout.flush()
os._exit(0)
"""


@pytest.fixture(scope="session")
def odd_workspace(
    local_channel: Path,
    wheels: Path,
    write_workspace: Callable[..., Path],
    shared_folder: Path,
) -> Path:
    """Environments: ``odd`` (no Python; broken and hostile activation), ``moved`` (modules and scripts
    that hold the prefix, and wheels).
    """
    folder = shared_folder / "odd"
    with (shared_folder / "odd.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "complete").exists():
            return folder / "workspace"
        shutil.copytree(local_channel, folder / "channel", ignore=shutil.ignore_patterns("repodata*"))
        subprocess.run([sys.executable, "-c", _ODD, TOOLS, folder / "channel", folder / "source"], check=True)
        workspace = write_workspace(
            folder / "workspace",
            folder / "channel",
            {"odd": ["odd"], "moved": ["moved"]},
            pypi={"moved": sorted(wheels.glob("*.whl"))},
        )
        (folder / "complete").touch()
        return workspace


@pytest.fixture
def odd(odd_workspace: Path, bundle_cache: Path) -> Callable[..., Bundle]:
    """Builds a bundle of one of its environments."""

    def make(environment: str, kind: str, **options: object) -> Bundle:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EnvironmentWarning)
            return build_bundle(load_environment(odd_workspace, environment), kind, **options)  # type: ignore[arg-type]

    return make


def started(bundle: Bundle, command: Sequence[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """Start `command` as on a machine that shares the files."""
    start = starter_command(bundle, command, shared=True)
    words = ["/bin/sh", str(start.executable), *start.arguments]
    return subprocess.run(words, capture_output=True, text=True, check=False, env={**BARE, **variables})


def sourced(folder: Path, command: str, **variables: str) -> str:
    """What `command` prints after the folder's activate.sh, in a plain shell."""
    words = ["bash", "-c", f". {shlex.quote(str(folder / 'activate.sh'))}; {command}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env={**BARE, **variables})
    return done.stdout


PRINT = "import json, os; print(json.dumps(dict(os.environ)))"


@pytest.mark.parametrize("way", ["squashfs", "pack", "unpacked squashfs", "unpacked pack"])
def test_variables_of_packages_are_text(
    way: str, odd: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value arrives as it is; what is no JSON, no name of a variable or no text is left out; nothing is
    executed.
    """
    monkeypatch.chdir(tmp_path)
    bundle = odd("odd", way.rsplit(maxsplit=1)[-1], executable=way == "pack")
    show = [sys.executable, "-I", "-c", PRINT]
    if way.startswith("unpacked"):
        folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="w"))
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                prefix = unpack_bundle(bundle, folder, environment="e")
            found = json.loads(sourced(folder, shlex.join(show)))
        finally:
            shutil.rmtree(folder)
        assert found["ODD"] == f"0 {prefix}"
        assert "mixed.json: 'A-B' is no name of a variable" in str([str(warning.message) for warning in told])
    else:
        done = started(bundle, show)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["ODD"].startswith("0 /")
        assert found["PWD"] == str(tmp_path), "activation scripts leave the job's folder alone"
    assert found["GOOD"] == "it's $HOME `id` \\ and\n more"
    assert found["NUMBER"] == "3"
    left_out = {
        "A-B",
        "NOTHING",
        "FLAG",
        "LIST",
        "COMMA",
        "LISTED",
        "TEXT",
        "9X",
        "",
        "A\nB",
        "WINGSPAN_PREFIX",
    }
    assert left_out & set(found) == set()
    assert [path.name for path in tmp_path.rglob("hacked")] == []


def test_what_is_left_out_is_told_when_it_is_built(odd_workspace: Path, empty_cache: Path) -> None:
    """The file is named, and what is wrong with it."""
    with pytest.warns(EnvironmentWarning) as told:
        build_bundle(load_environment(odd_workspace, "odd"), "squashfs")
    said = [str(warning.message).partition("env_vars.d/")[2] for warning in told]
    assert {text.split()[0].rstrip(":") for text in said} == {
        "comma.json", "deep.json", "empty.json", "list.json", "mixed.json", "text.json",
    }  # fmt: skip
    assert "mixed.json: '$(touch hacked)' is no name of a variable" in said


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS, lambda one: st.lists(one, max_size=3), max_leaves=4
)
NAMES = st.text(st.sampled_from(string.ascii_letters + string.digits + "_-$(); '\"`\\\n#"), max_size=12)


@settings(max_examples=MANY)
@given(
    prefix=TEXTS.filter(lambda text: "\n" not in text),
    name=TEXTS,
    variables=st.dictionaries(NAMES, JSON, max_size=4),
    scripts=st.sets(NAMES.filter(lambda text: "/" not in text), max_size=3),
    shell=st.sampled_from(["dash", "bash"]),
)
@example(
    prefix="$(touch hacked)'`\"\\{",
    name="';touch hacked;'",
    variables={"A": "$(touch hacked)"},
    scripts={"'"},
    shell="dash",
)
def test_an_activation_script_is_sound_for_any_names_and_values(
    prefix: str,
    name: str,
    variables: dict[str, object],
    scripts: set[str],
    shell: str,
    tmp_path: Path,
) -> None:
    """Whatever packages, folders and environments are called: the shell sees the texts as they are, and
    executes none.
    """
    with tempfile.TemporaryDirectory(dir=tmp_path) as work:
        folder = Path(work, "env")
        for place in ("env_vars.d", "activate.d"):
            (folder / "etc/conda" / place).mkdir(parents=True)
        (folder / "etc/conda/env_vars.d/a.json").write_text(json.dumps(variables))
        for script in scripts:
            (folder / "etc/conda/activate.d" / f"{script}.sh").write_text("SCRIPTS=$((SCRIPTS + 1))\n")
        text, _ = activation_script(str(folder), str(folder), name)
        assert quoted(str(folder)) in text
        moved, _ = activation_script(str(folder), prefix, name, movable=True)
        for script, extra in ((text, {}), (moved, {"WINGSPAN_PREFIX": str(folder)})):
            done = subprocess.run(
                [shell, "-c", f"{script}\nexec env -0"],
                capture_output=True,
                check=True,
                cwd=work,
                env={**BARE, "SCRIPTS": "0", **extra},
            )
            found = dict(one.split("=", 1) for one in os.fsdecode(done.stdout).split("\0")[:-1])
            assert found["CONDA_PREFIX"] == str(folder)
            assert found["CONDA_DEFAULT_ENV"] == name
            assert int(found["SCRIPTS"]) == len(scripts)
            for key, value in variables.items():
                if key in found and key not in BARE:
                    assert found[key] == str(value)
        assert sorted(os.listdir(work)) == ["env"]


@settings(max_examples=MANY)
@given(text=st.text(st.sampled_from("a${}()`\\\"' \nXY_1"), max_size=12))
@example(text="${X}$(touch hacked)`touch hacked`$Y$((1))$")
def test_values_of_a_workspace_name_variables_and_nothing_else(text: str, tmp_path: Path) -> None:
    """$NAME and ${NAME} are put in, all else stays as it is."""
    import re

    values = {"X": "x x", "Y": "$X", "XY": "", "a": "`a`"}
    wanted = re.sub(
        r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})",
        lambda found: values.get(found[1] or found[2], ""),
        text,
    )
    done = subprocess.run(
        ["dash", "-c", f"printf %s. {expanded(text)}"], capture_output=True, text=True, check=True, cwd=tmp_path,
        env={**BARE, **values},
    )  # fmt: skip
    assert done.stdout == f"{wanted}."
    assert list(tmp_path.iterdir()) == []


def test_an_environment_that_is_activated_in_another_is_this_one(
    odd: Callable[..., Bundle], build: Callable[..., Bundle], tmp_path: Path
) -> None:
    """Inside one environment, the activate.sh of another one gives the other one's programs."""
    unpack_bundle(odd("moved", "pack"), tmp_path)
    done = started(
        build("default"), ["bash", "-c", f". {tmp_path}/activate.sh; command -v python; echo $CONDA_PREFIX"]
    )
    assert done.stdout.split() == [f"{tmp_path}/env/bin/python", f"{tmp_path}/env"], done.stderr


@pytest.mark.parametrize("kind", ["squashfs", "sif", "oci"])
def test_what_was_made_of_files_that_move_is_made_anew(kind: str, odd: Callable[..., Bundle]) -> None:
    """Modules, sysconfig, scripts and the wheels' own lists say the new place, not the one that they were
    built for.
    """
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="w"))
    try:
        prefix = unpack_bundle(odd("moved", kind), folder, environment="e")
        look = "import moved, sysconfig; print(moved.ROOT, moved.__file__, sysconfig.get_config_vars()['prefix'])"
        out = sourced(
            folder, f"python -c {shlex.quote(look)}; moved; tabulate --help | head -n 1"
        ).splitlines()
        assert out[0].split() == [
            str(prefix),
            f"{prefix}/lib/python3.11/site-packages/moved.py",
            str(prefix),
        ]
        assert out[1] == str(prefix)
        assert "abulate" in out[2]
        check_records(prefix)
    finally:
        shutil.rmtree(folder)


def test_an_environment_that_the_starter_moves_is_of_one_piece(
    odd: Callable[..., Bundle], tmp_path: Path
) -> None:
    """Where nothing can be mounted, too."""
    bundle = odd("moved", "squashfs")
    start = starter_command(
        bundle, ["python", "-c", "import moved, sys; print(moved.ROOT == sys.prefix)"], shared=True
    )
    text = start.executable.read_text()
    assert "ws_have unshare &&" in text
    text = text.replace("ws_have unshare &&", "false &&")
    script = tmp_path / "starter.sh"
    script.write_text(text)
    words = ["sh", str(script), *start.arguments[:-4], "--method", "unpack", *start.arguments[-4:]]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env={**BARE, "TMPDIR": str(tmp_path)}
    )
    assert "moved to" in done.stderr
    assert done.stdout.strip() == "True", done.stderr


def check_records(prefix: Path) -> None:
    """Every RECORD is what pip would write: each file with its digest and size, and none that is not
    there.
    """
    import base64
    import csv
    import hashlib

    lists = sorted(prefix.glob("lib/python3.11/site-packages/*.dist-info/RECORD"))
    assert {path.parent.name.partition("-")[0] for path in lists} >= {"six", "tabulate"}
    scripts = set()
    for path in lists:
        rows = list(csv.reader(path.read_text().splitlines()))
        assert [str(path.relative_to(path.parents[1])), "", ""] in rows
        for name, digest, size in rows:
            content = (path.parents[1] / name).read_bytes()
            scripts.add(Path(name).name)
            if digest:
                assert (
                    digest
                    == f"sha256={base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip('=')}"
                )
                assert size == str(len(content))
    assert "tabulate" in scripts


def test_a_pack_that_unpacks_itself_lists_what_it_installs(
    odd: Callable[..., Bundle], tmp_path: Path
) -> None:
    """The RECORD of each wheel names its files where they are, and `pip uninstall` would find them."""
    bundle = odd("moved", "pack", executable=True)
    subprocess.run(["bash", bundle.path, "-o", tmp_path / "out"], check=True, env=BARE)
    check_records(tmp_path / "out/env")
    look = (
        "import importlib.metadata as m; print([str(f) for f in m.files('tabulate') if 'bin' in f.parts][0])"
    )
    assert sourced(tmp_path / "out", f"python -c {shlex.quote(look)}").strip() == "../../../bin/tabulate"


#: Those that mean something as a whole word stand alone.
NASTY = ["q s", "*", "~", "-n", "{a,b}(x)", "#1a;b&cä", "a=b!!100%"]


@pytest.mark.parametrize("name", NASTY)
def test_any_name_that_can_be_seen_is_a_place(name: str, odd: Callable[..., Bundle], tmp_path: Path) -> None:
    """Programs, scripts and activation work in a folder and under a name with whatever characters; by
    both unpackers.
    """
    packed = odd("moved", "pack", executable=True)
    places = [tmp_path / "theirs" / name, tmp_path / "ours" / name]
    words = ["bash", str(packed.path), "-o", str(places[0]), f"--env-name={name} e"]
    subprocess.run(words, check=True, env=BARE)
    unpack_bundle(packed, places[1], environment=f"{name} e")
    for place in places:
        prefix = place / f"{name} e"
        found = sourced(
            place, 'printf "%s\\n" "$CONDA_PREFIX"; command -v python; moved; tabulate --help | head -n 1'
        )
        assert found.splitlines()[:3] == [str(prefix), f"{prefix}/bin/python", str(prefix)]
        assert "abulate" in found


@pytest.mark.parametrize("kind", ["squashfs", "sif", "oci"])
def test_an_image_is_unpacked_into_a_folder_with_a_space(kind: str, odd: Callable[..., Bundle]) -> None:
    """Scripts find their Python although no kernel reads their first line."""
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="q "))
    try:
        unpack_bundle(odd("moved", kind), folder, environment="e e")
        assert sourced(folder, "moved; tabulate --help").startswith(f"{folder}/e e")
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    "name",
    [
        "a/b",
        ".",
        "..",
        "",
        "../up",
        "/tmp/up",
        "a\nb",
        "a\tb",
        "\x1b[2J",
        "a$HOME",
        "a`id`",
        "it's",
        'x"',
        "a\\b",
    ],
)
@pytest.mark.parametrize("by", ["unpack", "script"])
def test_names_that_are_no_folders_are_refused(
    name: str, by: str, odd: Callable[..., Bundle], tmp_path: Path
) -> None:
    """Nothing is written, inside or outside of the folder."""
    packed = odd("odd", "pack", executable=True)
    out = tmp_path / "out"
    if by == "unpack":
        with pytest.raises(InvalidPlace):
            unpack_bundle(packed, out, environment=name)
    else:
        words = ["bash", str(packed.path), "-o", str(out), "-e", name]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=BARE)
        assert done.returncode == 2
        assert done.stderr.startswith("unpack: ")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["a\nb", "a$(touch hacked)", "a`touch hacked`", "it's", 'x"', "a\\b"])
def test_folders_that_break_scripts_are_refused(
    name: str, odd: Callable[..., Bundle], tmp_path: Path
) -> None:
    """Packages have their path in scripts, between quotes of all kinds: what means something there is
    refused.
    """
    packed = odd("odd", "pack", executable=True)
    with pytest.raises(InvalidPlace):
        unpack_bundle(packed, tmp_path / name)
    done = subprocess.run(
        ["bash", packed.path, "-o", tmp_path / name], capture_output=True, text=True, check=False, env=BARE
    )
    assert (done.returncode, done.stderr[:8]) == (2, "unpack: ")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def noexec(tmp_path: Path) -> Iterator[Path]:
    """A folder in which no program runs."""
    folder = tmp_path / "noexec"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec,size=400m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@needs_root
@pytest.mark.parametrize("kind", ["squashfs", "pack"])
def test_a_scratch_folder_in_which_no_program_runs(
    kind: str, odd: Callable[..., Bundle], noexec: Path
) -> None:
    """The environment is put elsewhere: also the programs that unpack it run there."""
    bundle = odd("moved", kind, executable=kind == "pack")
    method = "unpack" if kind == "squashfs" else None
    start = starter_command(
        bundle, ["python", "-c", "import moved; print('ran')"], shared=True, method=method
    )
    words = ["/bin/sh", str(start.executable), *start.arguments]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env={**BARE, "TMPDIR": str(noexec)}
    )
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr
    assert list(noexec.iterdir()) == []


@needs_root
def test_a_target_in_which_no_program_runs_is_refused(odd: Callable[..., Bundle], noexec: Path) -> None:
    """The reason is said before anything is unpacked."""
    bundle = odd("moved", "pack", executable=True)
    words = ["bash", str(bundle.path), "-o", str(noexec / "out")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=BARE)
    assert done.returncode == 122
    assert "noexec" in done.stderr
    assert list((noexec / "out").iterdir()) == []
