"""What condor_submit refuses, lint names: our own rules and HTCondor's own parser, each by itself, say
the same of one table of files.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from wingspan.lint import RULES, lint
from wingspan.lint._submit_file import parse_submit
from wingspan.pools.personal import PersonalPool

#: Put before each of the tables' lines.
BASE = "executable = /bin/true\nlog = x.log\n"

REFUSED = [
    # lines
    "foo bar", "foo", "foo: bar", "= x", "+X", "a-b = 3", "a b = 3", "// comment", "; comment", "executable: /bin/true",
    "+ X = 1", "x := 3", "MY.X-Y = 1", "#comment \\\nfoo bar", "arguments = a \\\nb \\\n# c\nd", "x @=end\na",
    "arguments = a\nqueue;", "queue3", "queue(3)",
    # conditions
    "if defined x", "if foo\nendif", "if 1 > 2\nendif", "if\nendif", "if true && false\nendif", "endif", "else", "elif true", "endif # x",
    "if true\nelse\nelse\nendif", "if = 3",
    # queue statements
    "queue = 3", "queue ten", "queue 3 4", "queue -1", "queue 1k", "queue 3;", "queue 3 # three", "queue # one", "queue 1,", 'queue "3"',
    "queue x from missing.txt", "queue x from ok.txt # c", "queue from ok.txt x", 'queue x from "ok.txt"', "queue x from", "queue x in",
    "queue x in (a b", "queue x from (\na\nb", "queue x ok.txt", "queue x in files ok", "queue x from [a ok.txt", "n = foo\nqueue $(n)",
    "queue\narguments = 3", "queue\njunk", "queue 1\nqueue", "queue 1\n\nqueue 2", "queue x in (a, b\nc)",
    # expressions, numbers, truth values
    "request_cpus = 1  # one", "request_memory = 4Gigs", "request_memory = 4GiB", "request_memory = 4G B", "request_disk = 4Gi",
    "request_disk = 10%", "request_cpus == 4", "request_gpus == 1", "request_foo == 1", "request_foo = a b", "+MaxRuntime = 2h",
    "+X = /a/b", '+X = "a', "+X = “a”", "+X = a, b", '+X = "a" # c', "MY.X = a b", "request_cpus = 1;", "request_memory = 2 GB;",
    'requirements = (OpSys = "LINUX")', 'requirements = OpSys == "LINUX" and Arch == "X86_64"', 'requirements = ((OpSys == "LINUX")',
    "requirements = OpSys == “LINUX”", 'requirements = regexp("a", Machine', "requirements = a; b", "requirements = a || ",
    "requirements = a <> b", "requirements = a === b", "requirements = not a", "requirements = a or b", "requirements = Memory >= 4GB",
    "requirements = a ? b", "requirements = a == 1.2.3", 'requirements = a == "x""', "requirements = (a);", "requirements = f(a,)",
    "requirements = Requirements", "requirements = MY.Requirements && a", "rank = kflops +", "max_retries = three", "priority = high",
    "success_exit_code = a", "on_exit_remove = (ExitCode == 0", "on_exit_hold = a b", "periodic_remove = a = b",
    "periodic_release = (NumJobStarts < 3) and x", "leave_in_queue = a b", "periodic_hold_reason = x y", "job_lease_duration = a b",
    "max_materialize = a", "max_idle = a", "checkpoint_exit_code = a", "core_size = a", "match_list_length = a", "hold = maybe",
    "hold = True;", "stream_output = yes", "stream_output = t", 'stream_output = "true"', "stream_output = TRUE  # x",
    "nice_user = maybe", "encrypt_execute_directory = sure", "preserve_relative_paths = x", "transfer_output = x", "want_io_proxy = x",
    "gpus_minimum_memory = 8 GBs\nrequest_gpus = 1", "request_gpus = 1\nrequire_gpus = Capability => 8",
    "retry_request_memory = x y\nrequest_memory = 2GB",
    # values of a list
    "notification = Maybe", "should_transfer_files = MAYBE", "should_transfer_files = y", "when_to_transfer_output = SOMETIME",
    "kill_sig = SIGFOO", "kill_sig = TERM", "image_size = big", "image_size = -1", "cuda_version = 11.a", "accounting_group = a b",
    "use_scitokens = maybe",
    # universes
    "universe = standard", "universe = vanila", 'universe = "vanilla"', "universe = vanilla # c", "universe = globus",
    "universe = parallel", "universe = grid", "universe = grid\ngrid_resource = gt2 a b", "universe = java", "universe = vm",
    "universe = container", "universe = docker", "universe = docker\ncontainer_image = docker://x",
    # arguments and environment
    'arguments = --n "a b"', 'arguments = "a "b""', 'arguments = "a', 'arguments = a"b', "arguments = \"a 'b\"", 'arguments = "a" b',
    'arguments = "a" # c', "arguments = \"it's\"", "arguments2 = a b", 'arguments = a\narguments2 = "a b"', 'environment = "A"',
    "environment = A", "environment = A=1;B", 'environment = "A=1 B"', "environment = \"A='x\"", 'environment = "A="x""',
    'environment = "A=1', 'environment = "=1"', "environment2 = A=1", 'environment = "A=1"\nenvironment2 = "B=1"',
    # what is not there, and what contradicts itself
    "executable =", "executable = nothere.sh", "executable = empty.sh", "executable = crlf.sh", 'executable = "run.sh"',
    "executable = run.sh --fast", "initialdir = nothere", "iwd = nothere", "initialdir = nothere$(x)\nx = 3",
    "should_transfer_files = NO\ntransfer_input_files = a", "should_transfer_files = NO\ntransfer_output_files = a",
    "should_transfer_files = NO\nwhen_to_transfer_output = ON_EXIT",
    "should_transfer_files = IF_NEEDED\nwhen_to_transfer_output = ON_EXIT_OR_EVICT", "container_image = a.sif\ndocker_image = b",
    "output_destination = x\noutput_directory = y", "transfer_input_files = s3://a/b",
]  # fmt: skip

ACCEPTED = [
    "+X =", "x =", "1x = 3", "a.b = 3", "x += 3", "-X = 1", "My.x = 1", "+X-Y = 1", "x @=end\na\n@end", "x @=end\n= what\n@end",
    "arguments = a \\\n# c \\\nd", "arguments = a \\\n\nx = 3", "\trequest_cpus = 1", "if 0\njunk line\nendif", "if true\nendif # done",
    "if defined x\nx = 1\nendif", "if ! defined x\nendif", "If True\nEndIf", "if version > 8.1\nendif", "x = true\nif $(x)\nendif",
    "if true\nelif false\nendif", "if true\nelse # other\nendif", "include = 3", "warning = 3",
    "queue 0", "queue 2*3", "Queue 3", "QUEUE", "queue\t3", "queue x from ok.txt", "queue 3 x from ok.txt", "queue x, y from ok.txt",
    "queue x y from ok.txt", "queue from (\na\n) # e", "queue from (\na\n)\n# ok", "queue x from ( a, b )", "queue in (1 2)",
    "queue x in a b c", "queue x in [1:2] (a b c)", "queue x matching *.none", "queue x matching files *.none", "queue x matching (*.txt)",
    "queue 2 matching files *.txt", "queue x FROM ok.txt", "queue x from ./ok.txt", "queue x from [0:3] ok.txt", "n = 3\nqueue $(n)",
    "queue $(n)", "queue\n\n# comment", "queue arguments from ok.txt", "queue x from table ok.txt", "queue executable in (/bin/true)",
    "request_memory = 4 GB", "request_memory = 4 gb", 'request_memory = "4GB"', "request_memory = 4GB, 8GB", "request_memory = 2*1024",
    "request_memory = ifThenElse(MemoryUsage =!= undefined, MemoryUsage * 2, 4096)", "request_memory =", "request_cpus =",
    "request_gpus = one", "require_gpus = (Capability >= 8", "+X = 'a'", "+X = {1,2}", "+X = [a=1]", "requirements =",
    "requirements = OpSys == 'LINUX'", "requirements = Machine == node1.x.edu", "requirements = a & b", "requirements = a is b",
    "requirements = a ?: b", "requirements = a[1]", "requirements = a /* c */ == 1", 'requirements = a == "say \\"x\\""',
    'requirements = a == "it\'s"', "requirements = ~a", "requirements = $(requirements) True", "max_retries = 3.5", "max_retries = 1+2",
    "stream_output = 1", "stream_output = TRUE", "getenv = maybe", "getenv = HOME, PATH", "transfer_executable = maybe",
    "notification = always", "universe = 5", "universe = parallel\nmachine_count = 4", "universe = grid\ngrid_resource = batch slurm",
    "universe = local", "universe =", "universe = container\ncontainer_image = a.sif", "should_transfer_files = true",
    "should_transfer_files = NO", "should_transfer_files = always", "when_to_transfer_output = NEVER", "kill_sig = SIGTERM",
    "kill_sig = 15", "image_size = 100 MB", "cuda_version = 12", "arguments = \"a 'b c' d\"", 'arguments = "a ""b"" c"',
    "arguments = it's", "arguments = 'a b'", 'arguments = a\\"b', "arguments = \"it''s\"", "arguments =", 'arguments2 = "a b"',
    'environment = "A=1 B=2"', "environment = A=1;B=2", "environment = A=1 B=2", "environment = \"A='x y'\"", 'environment = A="x"',
    "environment = $(X)", "initialdir = there", "executable = run.sh", "request_cpus = a b\nrequest_cpus = 2", "x = $(x)\narguments = $(x)",
    "gpus_minimum_capability = 7.5\nrequest_gpus = 1", "retry_request_memory = 4GB\nrequest_memory = 2GB", "batch_name = \"a",
    "core_size = 0", "environment2 = \"A=1\"", "use_scitoken = false", "cron_minute = */5",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what the tables speak of."""
    (tmp_path / "ok.txt").write_text("a\nb\n")
    (tmp_path / "run.sh").write_text("#!/bin/sh\ntrue\n")
    (tmp_path / "crlf.sh").write_bytes(b"#!/bin/sh\r\ntrue\r\n")
    (tmp_path / "empty.sh").touch()
    (tmp_path / "there").mkdir()
    return tmp_path


def described(folder: Path, lines: str) -> Path:
    """A submit description with these lines."""
    path = folder / "job.sub"
    ends = any(line.lower().startswith("queue") for line in lines.splitlines())
    path.write_text(BASE + lines + ("\n" if ends else "\nqueue\n"))
    return path


def refusals(path: Path, **options: bool) -> list[str]:
    """The rules by which lint says that condor_submit refuses a file."""
    others = {"refused", "url-without-key"}
    return [each.rule for each in lint([path], **options) if RULES[each.rule].refuses or each.rule in others]


def really_refused(pool: PersonalPool, path: Path) -> bool:
    """Whether HTCondor's condor_submit refuses a file; asked in another way than lint does."""
    done = subprocess.run(
        ["condor_submit", "-dry-run", os.devnull, path.name],
        cwd=path.parent,
        env={**os.environ, **pool.environment()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode == 1


@pytest.mark.parametrize("lines", REFUSED)
def test_our_rules_refuse_it(folder: Path, lines: str) -> None:
    """Without HTCondor at hand a file that it would refuse is named."""
    assert refusals(described(folder, lines), own_rules=True)


@pytest.mark.parametrize("lines", ACCEPTED)
def test_our_rules_accept_it(folder: Path, lines: str) -> None:
    """Without HTCondor at hand a file that it would accept is not said to be refused."""
    assert refusals(described(folder, lines), own_rules=True) == []


@pytest.mark.htcondor
@pytest.mark.parametrize(
    ("lines", "refused"), [*((x, True) for x in REFUSED), *((x, False) for x in ACCEPTED)]
)
def test_the_real_condor_submit_and_lint_agree(
    personal_pool: PersonalPool, folder: Path, lines: str, refused: bool
) -> None:
    """HTCondor's own parser, called on the file itself, is of the opinion that the table has; and lint,
    which asks it, too.
    """
    path = described(folder, lines)
    assert really_refused(personal_pool, path) == refused
    assert bool(refusals(path)) == refused


@pytest.mark.htcondor
@pytest.mark.parametrize(
    "lines", ["place = /nowhere/else\nexecutable = $(place)/a.sh", "+IsBuildJob = true\nexecutable ="]
)
def test_what_holds_only_here_refuses_no_file(personal_pool: PersonalPool, folder: Path, lines: str) -> None:
    """The machine that submits has other files; a build job is submitted with -interactive, which needs no
    executable: HTCondor's dry run refuses both, and lint does not.
    """
    path = folder / "a.sub"
    path.write_text(f"log = x.log\n{lines}\nqueue\n")
    assert really_refused(personal_pool, path)
    assert refusals(path) == []


@pytest.mark.htcondor
def test_what_the_real_parser_alone_knows(personal_pool: PersonalPool, folder: Path) -> None:
    """A fault that no rule of ours knows is told in the parser's words, at the line that it means."""
    path = folder / "a.sub"
    path.write_text(f"{BASE}request_disk = 1GB\ndeferral_time = 10\ndeferral_window = -1\nqueue\n")
    assert refusals(path, own_rules=True) == []
    [finding] = [each for each in lint([path]) if each.rule == "refused"]
    assert finding.line == 5
    assert "deferral_window = -1 is invalid" in finding.message


@pytest.mark.htcondor
def test_the_real_parser_has_the_last_word(personal_pool: PersonalPool, folder: Path) -> None:
    """Where it accepts what our rules take for refused, nothing is said: here a signal that only HTCondor
    knows.
    """
    path = described(folder, "kill_sig = SIGIOT")
    asked, alone = refusals(path), refusals(path, own_rules=True)
    assert asked == ([] if not really_refused(personal_pool, path) else asked)
    assert alone in ([], ["bad-value"])


def test_several_lines_each_with_its_number(folder: Path) -> None:
    """Our rules name every fault, where condor_submit stops at the first."""
    path = folder / "a.sub"
    path.write_text(f"{BASE}request_cpus = 1 # one\n+X = 2h\nwhat\nqueue ten\nqueue\n")
    found = [(each.line, each.rule) for each in lint([path], own_rules=True) if RULES[each.rule].refuses]
    assert found == [
        (3, "unreadable-value"),
        (4, "unreadable-value"),
        (5, "syntax"),
        (6, "bad-queue"),
        (7, "behind-queue"),
    ]


@pytest.mark.parametrize(
    ("rule", "lines"),
    [
        ("unreadable-arguments", 'arguments = "a'),
        ("unreadable-arguments", 'environment = "A"'),
        ("unreadable-value", "request_gpus == 1"),
        ("bad-value", "should_transfer_files = MAYBE"),
        ("bad-universe", "universe = container"),
        ("bad-queue", "queue x from missing.txt"),
        ("contradiction", "should_transfer_files = NO\ntransfer_input_files = a"),
        ("no-such-folder", "initialdir = nothere"),
    ],
)
def test_each_fault_has_its_rule(folder: Path, rule: str, lines: str) -> None:
    """What is refused is told by the rule that says what to write instead, not only in the parser's words."""
    assert refusals(described(folder, lines)) == [rule]


def test_values_that_are_not_known_here(folder: Path) -> None:
    """What a file leaves to whoever submits it, to conditions or to the queue statement is not judged."""
    for lines in (
        "request_cpus = $(cpus)",
        "request_cpus = 1 $(comment)\nqueue comment in (a)",
        "if defined cpus\nrequest_cpus = one two\nendif",
        "initialdir = $(folder)",
        "executable = $(name).sh\nqueue name in (run)",
        "queue $(jobs)",
    ):
        assert refusals(described(folder, lines), own_rules=True) == [], lines


def test_a_template_is_no_description_yet(tmp_path: Path) -> None:
    """What is between {{ and }} will be something else: the file is not said to be refused."""
    path = tmp_path / "job.sub"
    path.write_text(
        "executable = {{ command }}\nrequest_memory = {{ memory }}\n{% if x %}\n{% endif %}\nqueue {{ n }}\n"
    )
    assert refusals(path) == []


@pytest.mark.parametrize("word", ["--date=%(asctime)s", "@TODAY@", "?name?"])
def test_what_a_program_is_given_makes_no_template(word: str, tmp_path: Path) -> None:
    """Words in comments, arguments and variables may look like those of a template; the file is refused for
    what else is wrong.
    """
    path = tmp_path / "job.sub"
    lines = [f"# {word}", "executable = /bin/date", f"arguments = {word}", f"environment = A={word}"]
    path.write_text("\n".join([*lines, "request_memory = lots of", "queue 1"]))
    assert refusals(path)


def test_variables_within_variables() -> None:
    """$(…) is replaced as HTCondor does: defaults, several levels, and a name that is added to."""
    text = "a = 1\nb = $(a)2\na = $(a)0\nc = $(b)$(d:x)$(Process)$$(b)$(e)\nif true\ne = 1\nendif\nqueue z in (1)\n"
    submit = parse_submit(Path("x.sub"), text)
    assert submit.expanded("$(c) $(z) $(z:1)") == "102x$(Process)$$(b)$(e) $(z) $(z:1)"
