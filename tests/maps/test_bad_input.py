"""Bad input: each a clear error with a hint, and nothing is submitted or left behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading

import pytest

import wingspan
from _waiting import PATIENCE
from wingspan.errors import SettingsError

LOCK = threading.Lock()


@pytest.fixture
def nothing_left(data_dir):
    """After the test there is no map, no tag and no half-written folder."""
    yield
    assert [path for name in ("maps", "tags") for path in (data_dir / name).glob("*")] == []


def refused(kind, match, *arguments, **named):
    """`wingspan.map` refuses: the error, which has a hint."""
    with pytest.raises(kind, match=match) as caught:
        wingspan.map(*arguments, pool="local", **named)
    assert isinstance(caught.value, wingspan.WingspanError)
    assert caught.value.hint
    assert caught.value.hint in str(caught.value)
    return caught.value


@pytest.mark.parametrize("inputs", [[], (), iter([]), range(0)], ids=["list", "tuple", "iterator", "range"])
def test_an_empty_map_is_refused(inputs, nothing_left):
    """A map without inputs is an EmptyMap, a ValueError too."""
    assert isinstance(refused(wingspan.EmptyMap, "no inputs", abs, inputs), ValueError)


def test_a_tag_in_use_is_refused():
    """A second map of the same tag is a TagExists, a FileExistsError too; the first stays as it is."""
    first = wingspan.map(abs, [-1], tag="taken", pool="local")
    error = refused(wingspan.TagExists, "'taken'", abs, [-2], tag="taken")
    assert isinstance(error, FileExistsError)
    assert "load" in error.hint
    assert list(wingspan.load("taken")) == [1]
    assert len(list(first.path.parent.iterdir())) == 1


@pytest.mark.parametrize(
    "tag",
    [
        "a/b",
        "x" * 200,
        "",
        ".",
        "..",
        ".hidden",
        "-dash",
        "two words",
        "new\nline",
        "nul\0",
        "st*r",
        "ä" * 65,
        5,
    ],
)
def test_a_tag_that_cannot_be_a_name_is_refused(tag, nothing_left):
    """Slashes, lengths, dots, spaces and what shells trip over: an InvalidTag, a ValueError too."""
    assert isinstance(refused(wingspan.InvalidTag, "tag", abs, [1], tag=tag), ValueError)


@pytest.mark.parametrize("tag", ["a", "x" * 128, "Grün-1.5_b", "2026-11-21", "a=b,c@d%e+f^g~h#i"])
def test_a_tag_that_can_be_a_name_is_taken(tag):
    """Letters of any language, digits and marks that no shell needs quoted are fine."""
    m = wingspan.map(abs, [1], tag=tag, pool="local")
    assert m.tag == tag
    assert wingspan.tags() == (tag,)
    assert wingspan.load(tag) == m


def test_an_input_that_cannot_be_pickled_is_named(nothing_left):
    """The error says which input, where in it, and what it is."""
    error = refused(wingspan.NotPicklable, r"input 2\['lock'\]\[0\].*lock", abs, [1, 2, {"lock": [LOCK]}])
    assert isinstance(error, TypeError)


def test_a_function_that_cannot_be_pickled_is_explained(nothing_left):
    """The error names the variable that keeps the function from travelling."""
    inner = threading.Lock()
    refused(wingspan.NotPicklable, "'inner'.*lock", lambda x: inner, [1])
    refused(wingspan.NotPicklable, "'LOCK'.*lock", lambda x: LOCK, [1])


def test_what_is_no_function_is_refused(nothing_left):
    """The first argument must be callable."""
    refused(wingspan.NotPicklable, "must be a function, not list", [1, 2], [3])


def test_a_generator_that_raises_half_way_leaves_nothing(nothing_left):
    """The user's own exception comes through, as it is."""

    def inputs():
        yield from range(50_000)
        raise ArithmeticError("half-way")

    with pytest.raises(ArithmeticError, match="half-way"):
        wingspan.map(abs, inputs(), tag="half", pool="local")


def test_a_generator_that_is_interrupted_leaves_nothing(nothing_left):
    """Ctrl-C while the inputs are written ends with KeyboardInterrupt and no map."""

    def inputs():
        yield 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wingspan.map(abs, inputs(), tag="half", pool="local")


def test_kill_9_while_the_inputs_are_written_leaves_no_map(other_python, data_dir):
    """What is half-written has no tag; a new map can have it, and `clean` takes old leftovers away."""
    script = """
import os, signal, wingspan
def inputs():
    yield from range(100_000)
    os.kill(os.getpid(), signal.SIGKILL)
wingspan.map(abs, inputs(), tag="half", pool="local")
"""
    assert other_python(script, check=False).returncode == -signal.SIGKILL
    assert wingspan.tags() == ()
    (left,) = (data_dir / "maps").iterdir()
    assert list(wingspan.map(abs, [-3], tag="half", pool="local")) == [3]
    wingspan.clean()
    assert left.exists(), "it may still be being written by a living process"
    os.utime(left, (0, 0))
    wingspan.clean()
    assert not left.exists()
    assert wingspan.tags() == ("half",)


@pytest.mark.parametrize("pool", ["lokal", "LOCAL"])
def test_a_pool_of_no_known_kind_is_refused(pool, nothing_left):
    """An unknown pool is a SettingsError that names the known ones."""
    with pytest.raises(SettingsError, match=pool) as caught:
        wingspan.map(abs, [1], pool=pool)
    assert "local" in caught.value.hint


def test_options_that_are_no_options_are_refused(nothing_left):
    """A dict where Options belong is explained."""
    error = refused(SettingsError, "dict", abs, [1], options={"request_cpus": 1})
    assert "Options(" in error.hint


def test_a_starmap_without_anything_is_refused(nothing_left):
    """Neither args nor kwargs is an error that shows how to write it."""
    with pytest.raises(SettingsError, match="needs args") as caught:
        wingspan.starmap(abs, pool="local")
    assert "starmap(f" in caught.value.hint


def test_a_tag_nobody_has_is_not_found(nothing_left):
    """`load` and `remove` of a wrong tag are a TagNotFound, a KeyError too, that names the nearest."""
    m = wingspan.map(abs, [1], tag="sweep-1", pool="local")
    for ask in (wingspan.load, wingspan.remove):
        with pytest.raises(wingspan.TagNotFound, match="'sweep1'") as caught:
            ask("sweep1")
        assert isinstance(caught.value, KeyError)
        assert "'sweep-1'" in caught.value.hint
    wingspan.remove("sweep1", missing_ok=True)
    m.remove()
    with pytest.raises(wingspan.InvalidTag):
        wingspan.load("../maps")


FULL_DISK = """
import os, sys, wingspan
from pathlib import Path
data = Path(os.environ["WINGSPAN_DATA_DIR"])
def inputs():
    for _ in range(100):
        yield os.urandom(100_000)
try:
    wingspan.map(len, inputs(), tag="big", pool="local")
except wingspan.MapError as error:
    print(type(error).__name__, str(error))
left = [str(p) for n in ("maps", "tags") for p in (data / n).glob("*")]
assert left == [], left
assert wingspan.tags() == ()
print("nothing is left")
small = wingspan.map(len, [b"abc"], tag="big", pool="local")
print("afterwards", small[0])
small.remove()
"""


def can_mount():
    """A tmpfs can be mounted in a user and mount namespace here."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not can_mount(), reason="no tmpfs can be mounted in a user namespace here")
def test_a_full_disk_while_creating_is_told_and_leaves_nothing(data_dir, tmp_path):
    """On a real full file system: a MapError that says so, no map, no tag; a smaller map can be made
    after.
    """
    data_dir.mkdir()
    script = tmp_path / "full.py"
    script.write_text(FULL_DISK)
    shell = f'mount -t tmpfs -o size=4m none "{data_dir}" && exec "{sys.executable}" "{script}"'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", shell],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "MapError" in done.stdout
    assert "the disk is full" in done.stdout
    assert "Hint: free some space" in done.stdout
    assert "nothing is left" in done.stdout
    assert "afterwards 3" in done.stdout


def test_a_folder_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    """A file where the data folder should be: a MapError that names it."""
    (tmp_path / "file").write_text("in the way")
    with monkeypatch.context() as patch:
        patch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "file"))
        error = refused(wingspan.MapError, "cannot be written", abs, [1])
    assert "WINGSPAN_DATA_DIR" in error.hint
    assert os.strerror(errno.ENOTDIR) in str(error)


def test_gpus_that_this_machine_has_not_are_refused(data_dir, tmp_path, monkeypatch):
    """The local pool hands out no GPUs, but a map that asks for more than are here is not run without:
    nvidia-smi counts.
    """
    smi = tmp_path / "bin/nvidia-smi"
    smi.parent.mkdir()
    smi.write_text("#!/bin/sh\necho 'GPU 0: a device (UUID: GPU-0)'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{smi.parent}:{os.environ['PATH']}")
    with pytest.raises(wingspan.SubmitError, match=r"asks for 2 GPUs, and nvidia-smi shows 1"):
        wingspan.map(abs, [1], tag="g", pool="local", options=wingspan.Options(request_gpus=2))
    assert wingspan.tags() == ()
    assert list(wingspan.map(abs, [-1], pool="local", options=wingspan.Options(request_gpus=1))) == [1]


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "No such file", "/none"), OSError("plain"), EOFError()]
)
def test_the_user_s_own_error_comes_out_of_a_generator(error, data_dir):
    """An OSError of the user's generator is not taken for a disk of ours that cannot be written."""

    def inputs():
        yield 1
        raise error

    with pytest.raises(type(error)) as caught:
        wingspan.map(abs, inputs(), tag="half", pool="local")
    assert caught.value is error
    assert not list((data_dir / "maps").glob("*"))


def test_arguments_that_are_no_tuple_are_explained(data_dir):
    """starmap with plain values instead of tuples is an error of ours that shows how to write it."""
    with pytest.raises(TypeError) as caught:
        wingspan.starmap(abs, [1, 2], pool="local")
    assert isinstance(caught.value, wingspan.WingspanError)
    assert "(1," in caught.value.hint
    assert not list((data_dir / "maps").glob("*"))


def test_maps_and_runs_share_their_names():
    """A map cannot take the name of a run: status, wait and rm go by the name alone."""
    run = wingspan.run(["true"], name="taken", pool="local")
    with pytest.raises(wingspan.TagExists, match="run with the name 'taken'"):
        wingspan.map(abs, [1], tag="taken", pool="local")
    run.wait()
    run.remove()


@pytest.mark.parametrize("args", [[0, (1,)], [(1,), False]])
def test_arguments_that_are_nothing_are_no_arguments(args):
    """A 0 in the place of a tuple is a mistake; it does not call the function without arguments."""
    with pytest.raises(wingspan.InvalidInputs, match="not a tuple of arguments"):
        wingspan.starmap(lambda *given: given, args, pool="local")


async def waits(x):
    return x


def yields(x):
    yield x


async def both(x):
    yield x


class Method:
    async def waits(self, x):
        return x


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (waits, r"waits is an async function.*asyncio\.run\(waits\(x\)\)"),
        (yields, r"yields is a generator function.*list\(yields\(x\)\)"),
        (both, "both is an async generator function"),
        (Method().waits, "waits is an async function"),
    ],
)
def test_a_function_that_gives_no_result_is_refused(function, words, data_dir):
    """What an async or a generator function gives could never be sent back: told at once, with what to
    pass instead.
    """
    for call in (
        lambda: wingspan.map(function, [1], pool="local"),
        lambda: wingspan.starmap(function, [(1,)], pool="local"),
        lambda: wingspan.build_map(function, pool="local"),
    ):
        with pytest.raises(wingspan.NotPicklable, match=f"(?s){words}"):
            call()
    assert not (data_dir / "maps").exists()
