"""Words of other tools and mistyped ones: every one gets an answer that names what is meant here."""

from __future__ import annotations

import attrs
import pytest

import wingspan
from _command_line import wingspan_here
from wingspan import _foreign
from wingspan.cli._main import COMMANDS
from wingspan.errors import UnknownOption
from wingspan.maps import InvalidInputs

OPTIONS = [field.name for field in attrs.fields(wingspan.Options)]


def command(*words: str) -> str:
    """What the command line writes to standard error, of a usage error."""
    done = wingspan_here(*words)
    assert done.returncode == 2, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("delete", "'rm'"),
        ("stop", "wingspan rm TAG"),
        ("list", "wingspan maps"),
        ("scancel", "'cancel'"),
        ("kill", "wingspan cancel"),
        ("condor_q", "'status'"),
        ("squeue", "'status'"),
        ("sbatch", "'run'"),
        ("statsu", "'status'"),
        ("pool kill", "'stop'"),
        ("store list", "'ls'"),
        ("env lst", "'list'"),
        ("wibble", "wingspan --help lists them"),
        ("run --mem 2GB -- true", "--memory"),
        ("fetch x --dest here", "--to"),
        ("status x --refresh", "wingspan wait NAME"),
        ("run python train.py --epochs 3", "wingspan run -- python train.py --epochs 3"),
        ("run train 0.1 --epochs 3", "wingspan run train 0.1 -- --epochs 3"),
    ],
)
def test_the_command_line_answers(words: str, named: str) -> None:
    """An unknown command or option names the one that is meant, or how it is done."""
    assert named in command(*words.split())


def test_an_option_after_a_command_is_not_taken_for_ours() -> None:
    """What belongs to the command is not compared with options of wingspan run."""
    assert "--fetch" not in command("run", "python", "train.py", "--epochs", "3")


def test_help_is_a_command_too() -> None:
    """``wingspan help`` and ``wingspan help CMD`` show what --help does."""
    for words, begins in (["help"], "Usage: wingspan [OPTIONS]"), (["help", "rm"], "Usage: wingspan rm"):
        done = wingspan_here(*words)
        assert done.returncode == 0
        assert done.stdout.startswith(begins)


def test_the_tables_name_what_there_is() -> None:
    """Each answer is a command, an option or an attribute that exists, and no word of ours is in a table
    of foreign ones.
    """
    assert set(_foreign.COMMANDS.values()) <= set(COMMANDS)
    assert set(_foreign.COMMANDS).isdisjoint(COMMANDS)
    assert set(_foreign._OPTIONS.values()) <= set(OPTIONS)
    assert set(_foreign._OPTIONS).isdisjoint(OPTIONS)
    assert set(_foreign._EXAMPLES) <= set(OPTIONS)
    assert not [name for name in _foreign._ATTRIBUTES if hasattr(wingspan.Map, name)]
    assert not [name for name in _foreign._RUN_ATTRIBUTES if hasattr(wingspan.Run, name)]
    assert set(_foreign._NAMES).isdisjoint(wingspan.__all__)


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("cpus", "request_cpus"),
        ("mem", "request_memory"),
        ("walltime", "time"),
        ("n_jobs", "workers"),
        ("chunksize", "block_size"),
        ("docker_image", "environment"),
        ("RequestGpus", "request_gpus"),
        ("partition", "sbatch"),
        ("accounting_group", "submit"),
    ],
)
def test_options_of_other_tools(word: str, named: str) -> None:
    """Options() with a word of another tool says which option that is."""
    with pytest.raises(UnknownOption) as caught:
        wingspan.Options(**{word: 2})
    assert repr(named) in str(caught.value.hint)


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("workers", "options=wingspan.Options(workers=2)"),
        ("n_jobs", "options=wingspan.Options(workers=2)"),
        ("request_memory", 'options=wingspan.Options(request_memory="2GB")'),
        ("name", "tag="),
        ("map_options", "options="),
        ("tags", "'tag'"),
        ("qqq", "tag, pool, options, exist_ok"),
    ],
)
@pytest.mark.parametrize("make", [wingspan.map, wingspan.starmap, wingspan.build_map])
def test_arguments_of_other_tools(make, word: str, named: str) -> None:
    """An argument that map and its like do not have is a TypeError that says where it belongs."""
    with pytest.raises(UnknownOption) as caught:
        make(abs, *([] if make is wingspan.build_map else [[(1,)]]), **{word: 2})
    assert isinstance(caught.value, TypeError)
    assert named in str(caught.value.hint)


@pytest.mark.parametrize(
    ("word", "named"), [("cpu", "'cpus'"), ("output", "'outputs'"), ("tag", "'name'"), ("x_y_z", "inputs")]
)
def test_arguments_of_runs(word: str, named: str) -> None:
    """The same for wingspan.run."""
    with pytest.raises(UnknownOption) as caught:
        wingspan.run(["true"], **{word: 1})  # type: ignore[arg-type]
    assert named in str(caught.value.hint)


class Model:
    def one(self, x: int) -> int:
        return x

    def two(self, x: int, y: int) -> int:
        return x + y


@pytest.mark.parametrize(
    "func",
    [pow, divmod, lambda a, b: a, lambda a, *, k: a, lambda: 0, Model().two],
    ids=lambda func: str(func)[:20],
)
def test_a_function_of_another_number_of_arguments_is_told_at_once(func) -> None:
    """map gives one argument: a function that cannot take just one is refused, with starmap where that
    helps.
    """
    with pytest.raises(InvalidInputs, match="one argument") as caught:
        wingspan.map(func, [(1, 2)])
    assert "starmap" in str(caught.value.hint) or func() == 0


@pytest.mark.parametrize(
    "func",
    [
        abs,
        int,
        str.upper,
        len,
        print,
        max,
        round,
        lambda *a: a,
        lambda a, b=1: a,
        lambda x, *, k=1: x,
        Model().one,
    ],
)
def test_a_function_that_takes_one_argument_is_let_through(func) -> None:
    """Defaults, stars, builtins and methods that can be called with one argument are."""
    from wingspan.maps._callable import check_one_argument

    check_one_argument(func)


@pytest.mark.parametrize(
    ("name", "named"), [("MapOptions", "wingspan.Options"), ("get_tags", "wingspan.tags"), ("laod", "'load'")]
)
def test_names_of_the_package(name: str, named: str) -> None:
    """An attribute that the package does not have says what it is called here."""
    with pytest.raises(AttributeError, match=named):
        getattr(wingspan, name)


@pytest.mark.parametrize(
    ("kind", "name", "named"),
    [
        (wingspan.Map, "result", "list"),
        (wingspan.Map, "kill", "m.cancel"),
        (wingspan.Map, "statusses", "'statuses'"),
        (wingspan.Run, "kill", "run.remove"),
        (wingspan.Run, "results", "run.outputs"),
        (wingspan.Run, "fecth", "'fetch'"),
    ],
)
def test_attributes_of_maps_and_runs(kind: type, name: str, named: str) -> None:
    """So does one that a map or a run does not have; those with an underscore are answered plainly."""
    with pytest.raises(AttributeError, match=named):
        getattr(kind.__new__(kind), name)
    assert not hasattr(kind.__new__(kind), "_nothing")
