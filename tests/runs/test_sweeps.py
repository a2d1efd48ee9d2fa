"""Sweeps: a job for each row, its values where the command names them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import wingspan
from wingspan.environments import Workspace
from wingspan.runs import InvalidRun, InvalidSweep, InvalidTask
from wingspan.runs._script import job_script
from wingspan.runs._spec import RunSpec, sweep_rows
from wingspan.runs._tasks import plan_task


def test_every_combination_is_a_job(pool: str, done) -> None:
    """Two parameters give their product, in one submission, each job with its own values and outputs."""
    run = done(
        wingspan.run(
            ["sh", "-c", "echo {lr} $0 >o.txt", "size={size}"],
            sweep={"lr": [0.1, 0.01], "size": ["small one", "it's"]},
            outputs=["o.txt"],
            pool=pool,
        )
    )
    texts = [run.outputs(number)["o.txt"].read_text().strip() for number in range(4)]
    assert texts == ["0.1 size=small one", "0.1 size=it's", "0.01 size=small one", "0.01 size=it's"]
    assert len((run.path / "submissions").read_text().splitlines()) == 1
    run.fetch("all")
    assert Path(f"all/{run.name}/3/o.txt").read_text() == "0.01 size=it's\n"


def test_outputs_and_checkpoints_may_be_named_by_a_parameter(pool: str, done) -> None:
    """``{lr}`` in --output and --checkpoint is the job's value, a pattern beside it still matches; what
    is missing is named with it.
    """
    command = '[ -e "s-$lr" ] || { echo x >"s-$lr"; exit 85; }; echo {lr} >"$lr-o.txt"; mkdir "$lr"; echo a >"$lr/a.log"'
    run = done(
        wingspan.run(
            ["sh", "-c", command],
            sweep={"lr": ["0.1", "a b"]},
            outputs=["{lr}-o.txt", "{lr}/*.log", "gone-{lr}"],
            checkpoint=["s-{lr}"],
            pool=pool,
        )
    )
    assert set(run.outputs(1)) == {"a b-o.txt", "a b/a.log"}
    assert run.outputs(0)["0.1-o.txt"].read_text() == "0.1\n"
    assert [job.missing for job in run.status().jobs] == [("gone-0.1",), ("gone-a b",)]


def test_a_value_does_not_lead_an_output_out_of_the_folder() -> None:
    """Said before anything is submitted."""
    with pytest.raises(InvalidRun, match=r"'\.\./x\.txt'"):
        wingspan.run(["echo", "{a}"], sweep={"a": ["b", "../x"]}, outputs=["{a}.txt"], pool="local")


def test_rows_of_a_file(folders: Path, done) -> None:
    """A CSV file's first line names the parameters; values with commas in quotes and blank lines are fine."""
    (folders / "p.csv").write_text('a,b\n1,"x, y"\n\n2,z\n')
    run = done(wingspan.run(["echo", "{a}:{b}"], sweep_file="p.csv", pool="local"))
    assert [run.stdout(number) for number in range(2)] == ["1:x, y\n", "2:z\n"]
    assert run.status().jobs[0].parameters == {"a": "1", "b": "x, y"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n", "no rows"),
        ("a,b\n1\n", "row 2"),
        ("a,a\n1,2\n", "twice"),
        ("1a\n2\n", "cannot be a parameter"),
    ],
)
def test_a_bad_file_is_refused(folders: Path, text: str, words: str) -> None:
    """What is wrong with a sweep file is said before anything is submitted."""
    (folders / "p.csv").write_text(text)
    with pytest.raises(InvalidSweep, match=words):
        wingspan.run(["echo", "{a}{b}"], sweep_file="p.csv", pool="local")


def test_a_parameter_that_nobody_uses_is_refused() -> None:
    """A sweep over a parameter that the command does not name would do the same thing many times."""
    with pytest.raises(InvalidSweep, match="'momentum'"):
        wingspan.run(["echo", "{lr}"], sweep={"lr": [1], "momentum": [2, 3]}, pool="local")
    with pytest.raises(InvalidSweep, match="cannot be read"):
        wingspan.run(["echo", "{lr}"], sweep_file="nowhere.csv", pool="local")


def test_a_parameter_given_twice_is_refused(wingspan_cli) -> None:
    """The second --sweep of a name would silently replace the first: the message has what was probably
    meant.
    """
    done = wingspan_cli("run", "--sweep", "a=1", "--sweep", "a=2,3", "--", "echo", "{a}")
    assert done.returncode == 2
    assert "--sweep a=1,2,3" in done.stderr


@pytest.mark.parametrize("given", ["a=1,", "a=,1", "a=1,,2"])
def test_an_empty_value_is_refused(wingspan_cli, given: str) -> None:
    """A comma too many would be one more job, with nothing for a value."""
    done = wingspan_cli("run", "-p", "local", "--sweep", given, "--", "echo", "{a}")
    assert (done.returncode, "empty value" in done.stderr) == (2, True)


def test_a_parameter_that_is_also_set_is_refused() -> None:
    """The value that is set would be that of every job."""
    with pytest.raises(InvalidSweep, match="'lr' is a parameter of the sweep"):
        wingspan.run(["echo", "{lr}"], sweep={"lr": [1, 2]}, variables={"lr": "5"}, pool="local")


def test_what_a_shell_reads_itself_is_left_to_it(done) -> None:
    """``${lr}`` in a command is a variable of the shell that the command starts; ``{lr}`` is the value,
    wherever it stands.
    """
    script = """echo "${lr}" '${lr}' '{lr}'"""
    run = done(wingspan.run(["sh", "-c", script], sweep={"lr": ["0.1", "a  b"]}, pool="local"))
    assert [run.stdout(number) for number in range(2)] == ["0.1 ${lr} 0.1\n", "a  b ${lr} a  b\n"]


@pytest.fixture
def printed(folders: Path) -> Callable[..., list[str]]:
    """What the jobs of a task print, which is ``task = {…}`` with an argument ``lr``, in the shell alone."""

    def call(task: str, values: list[str], **variables: str) -> list[str]:
        (folders / "pixi.toml").write_text(
            '[workspace]\nname = "w"\nchannels = []\nplatforms = ["linux-64"]\n'
            f'[tasks.task]\nargs = [{{ arg = "lr", default = "1", choices = ["0.1", "a  b", "1"] }}]\n{task}\n'
        )
        parameters, rows = sweep_rows({"lr": values} if values else None, None)
        plan = plan_task(Workspace.open(folders), "task", "default", (), parameters, rows)
        spec = RunSpec(
            name="r", base=folders, steps=plan.steps, parameters=parameters, rows=rows, variables=variables
        )
        (folders / "job.sh").write_text(job_script(spec, ()))
        return [
            subprocess.run(
                ["sh", "job.sh", str(number)], cwd=folders, check=True, capture_output=True, text=True
            ).stdout
            for number in range(len(rows))
        ]

    return call


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ('cmd = ["echo", "{{ lr }}", "--lr={{ lr }}"]', "{} --lr={}\n"),
        ("""cmd = "printf '%s|' '{{ lr }}' '<{{ lr }}>'" """, "{}|<{}>|"),
        ('cmd = ["printenv", "LR"]\nenv = { LR = "x{{ lr }}}" }', "x{}}\n"),
        ('cmd = \'echo "$LR {{ lr }}"\'\nenv = { LR = "{{ lr }}/" }', "{}/ {}\n"),
    ],
)
@pytest.mark.parametrize("values", [["0.1", "a  b"], []])
def test_a_tasks_argument_is_the_value_wherever_it_stands(
    printed: Callable[..., list[str]], task: str, expected: str, values: list[str]
) -> None:
    """In words, inside of quotes and in variables the swept argument is its value, as one is that is not
    swept.
    """
    assert printed(task, values) == [expected.replace("{}", value) for value in values or ["1"]]


def test_a_tasks_variables_may_name_others(printed: Callable[..., list[str]], folders: Path) -> None:
    """``${NAME}`` in a task's env is the other variable's value; one that the job is given wins over the
    task's.
    """
    task = 'cmd = \'echo "$D $E"\'\nenv = { D = "${HOME}/data}", E = "task" }'
    assert printed(task, [], E="given", HOME="/somewhere") == ["/somewhere/data} given\n"]
    assert printed(task, []) == [f"{folders}/data}} task\n"]


def test_swept_values_are_among_the_choices(printed: Callable[..., list[str]]) -> None:
    """A value that the task's argument cannot have is named before anything is submitted."""
    with pytest.raises(InvalidTask, match=r"'0\.7' is no lr"):
        printed('cmd = "echo {{ lr }}"', ["0.1", "0.7"])


def test_a_column_that_the_command_does_not_name_is_a_variable(folders: Path, done, caplog) -> None:
    """A file may have more columns than the command names: each is a variable of the job, and that is
    told.
    """
    (folders / "p.csv").write_text("lr,note\n1,first\n2,second\n")
    run = done(wingspan.run(["sh", "-c", "echo {lr}; env | grep ^note="], sweep_file="p.csv", pool="local"))
    assert [run.stdout(number) for number in range(2)] == ["1\nnote=first\n", "2\nnote=second\n"]
    assert "'note'" in caplog.text
    assert "'lr'" not in caplog.text
    assert done(wingspan.run(["echo", "{lr}"], sweep_file="p.csv", pool="local")).stdout(1) == "2\n"


@pytest.mark.parametrize(
    ("command", "inputs"),
    [
        (["python3", "train.py"], ["train.py"]),
        (["python3", "-c", "import os; print(os.environ['SEED'])"], []),
        (["sh", "train.sh"], ["train.sh"]),
    ],
)
def test_a_program_may_read_the_variable(folders: Path, done, command: list[str], inputs: list[str]) -> None:
    """A script that is sent, or an interpreter, can read a parameter that no word of the command names."""
    (folders / "train.py").write_text("import os; print(os.environ['SEED'])")
    (folders / "train.sh").write_text("echo $SEED")
    run = done(wingspan.run(command, inputs=inputs, sweep={"SEED": [3, 4]}, pool="local"))
    assert [run.stdout(number) for number in range(2)] == ["3\n", "4\n"]


#: Words that a job's script, the starter or HTCondor uses for itself, or did.
NAMES = (
    "full new number self outputs folder scratch code child path missing doing matched declared there name work prefix kind "
    "method line key executable arguments log queue Process step row one i x"
).split()


def test_a_parameter_goes_by_any_name(pool: str, done) -> None:
    """What the job's script has variables of its own for is not the sweep's business; outputs with
    patterns work, too.
    """
    command = 'printf "%s\\n" ' + " ".join(f'"${name}"' for name in NAMES) + '; touch "$full-$new-1.txt"'
    run = done(
        wingspan.run(
            ["sh", "-c", command],
            sweep={name: [f"v-{name}"] for name in NAMES},
            outputs=["*-1.txt", "{full}-{new}-?.txt"],
            pool=pool,
        )
    )
    assert run.stdout(0).split() == [f"v-{name}" for name in NAMES]
    assert set(run.outputs(0)) == {"v-full-v-new-1.txt"}


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "HOME",
        "IFS",
        "wingspan_code",
        "_CONDOR_SCRATCH_DIR",
        "SLURM_JOB_ID",
        "RANDOM",
        "SECONDS",
        "_",
        "TMPDIR",
        "CDPATH",
    ],
)
def test_names_that_others_have_are_refused(name: str) -> None:
    """The shell's and the batch system's own variables are nobody's to give."""
    with pytest.raises(InvalidSweep, match=name):
        wingspan.run(["echo", f"{{{name}}}"], sweep={name: [1]}, pool="local")
