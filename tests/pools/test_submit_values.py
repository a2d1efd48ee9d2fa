"""Text from elsewhere in submit descriptions, read back by HTCondor's own parser: nothing in it is
expanded, nothing is a command.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wingspan.errors import SubmitError
from wingspan.jobs import JobDescription
from wingspan.pools.submit_description import submit_description, submit_value

htcondor2 = pytest.importorskip("htcondor2")
MANY = int(os.environ.get("WINGSPAN_TEST_EXAMPLES", "200"))

SECRETS = [
    "$ENV(API_TOKEN)",
    "$(API_TOKEN)",
    "$RANDOM_CHOICE(a,b)",
    "$INT(x)",
    "$F(/etc/passwd)",
    "$$(Name)",
    "$$([1+1])",
    "$$$(x)",
    "$",
]


def read_back(name: str, value: str) -> str:
    return htcondor2.Submit(f"{name} = {submit_value(value)}\nqueue\n").expand(name)


@pytest.mark.parametrize("text", SECRETS)
def test_no_macro_is_expanded(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What condor_submit and the schedd would look up elsewhere is handed over as it is written."""
    monkeypatch.setenv("API_TOKEN", "hush")
    url = f"https://example.org/{text}"
    said = read_back("transfer_input_files", url)
    assert said.replace("$$(DOLLARDOLLAR)", "$$") == url  # which the schedd itself makes of it
    assert "hush" not in said


@pytest.mark.parametrize("text", SECRETS)
def test_a_job_is_what_was_asked_for(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In no place of a description is a macro of somebody else's expanded; the number of the job is."""
    monkeypatch.setenv("API_TOKEN", "hush")
    job = JobDescription(
        name=text,
        executable=f"/bin/{text}",
        arguments=(text, "$(Process)"),
        environment={"A": text},
        input_files=(f"https://h/{text}",),
        output_files=("outputs-$(Process)", text),
        working_dir=tmp_path / text.replace("/", "_"),
        stdout=f"{text}-$(Process).out",
        log=text,
        container_image=f"{text}.sif",
        note=text,
        custom={"X": text},
    )
    made = htcondor2.Submit(submit_description(job))
    for name in made.keys():
        assert "hush" not in made.expand(name), name
    assert made.expand("output").startswith(text.replace("$$", "$$(DOLLARDOLLAR)"))
    assert made.expand("executable") == f"/bin/{text}".replace("$$", "$$(DOLLARDOLLAR)")


@pytest.mark.parametrize("text", ["a\nqueue 100", "a\rb", "a\0b"])
def test_an_end_of_a_line_is_refused(text: str) -> None:
    """What would begin a new command is an error that names the text."""
    with pytest.raises(SubmitError, match="end of a line"):
        submit_value(text)
    with pytest.raises(SubmitError):
        submit_description(
            JobDescription(name="x", executable="/bin/true", input_files=(f"https://h/{text}",))
        )


@settings(max_examples=MANY)
@given(st.text(st.sampled_from("$()[]ENVab: {}#\"'"), max_size=12))
def test_any_text_comes_through(text: str) -> None:
    """HTCondor reads a value as it was, whatever is in it."""
    said = read_back("MyValue", f"x{text}x")
    assert said.replace("$$(DOLLARDOLLAR)", "$$") == f"x{text}x"


@pytest.mark.parametrize("text", ["a\\", "a\\\\", "a\\ ", " a", "a\t", "\\"])
@pytest.mark.parametrize("place", ["executable", "stdout", "log", "note", "working_dir", "container_image"])
def test_what_a_line_would_lose_is_refused(place: str, text: str) -> None:
    """A backslash at a line's end would join the next command to it, and blanks are dropped: an error
    names the command's value.
    """
    given = {"executable": "/bin/true", place: Path(text) if place == "working_dir" else text}
    with pytest.raises(SubmitError, match="cannot stand in a submit description"):
        submit_description(JobDescription(name="x", **given))


@pytest.mark.parametrize("name", ["a b", "a\nqueue 100\nb", "-a", "a=1", "include : x", "a$(b)"])
def test_names_of_commands_are_names(name: str) -> None:
    """What is no name of a command or attribute is refused, with what makes one."""
    for more in ({"custom": {name: 1}}, {"submit": {name: "1"}}):
        with pytest.raises(SubmitError, match="no name of a submit command"):
            submit_description(JobDescription(name="x", executable="/bin/true", **more))


def test_an_expression_over_several_lines_is_one() -> None:
    """As profiles have them in TOML: nothing of it is a command of its own."""
    job = JobDescription(
        name="x",
        executable="/bin/true",
        requirements='\n(A == 1)\n  && (B == "a  b")\n',
        submit={"rank": "Memory\n+ 1"},
    )
    made = htcondor2.Submit(submit_description(job))
    assert made.expand("requirements") == '(A == 1) && (B == "a  b")'
    assert made.expand("rank") == "Memory + 1"


@settings(max_examples=MANY, deadline=None)
@given(
    st.text(st.sampled_from("$(a) \\\"'#@=,;\t\né\u2028"), max_size=6),
    st.sampled_from(["log", "note", "executable", "stdout"]),
)
def test_no_text_changes_another_command(text: str, place: str) -> None:
    """A description is refused, or HTCondor reads the text as it is, and every other command too."""
    given = {"name": "x", "executable": "/bin/true", "log": "l", "note": "n", "stdout": "o"}
    names = {"log": "log", "note": "submit_event_user_notes", "executable": "executable", "stdout": "output"}
    if not text:
        return
    try:
        description = submit_description(JobDescription(**{**given, place: text}, custom={"Last": text}))
    except SubmitError:
        return
    made = htcondor2.Submit(description)
    for other, name in names.items():
        wanted = text if other == place else given[other]
        assert made.expand(name).replace("$$(DOLLARDOLLAR)", "$$") == wanted
    assert made.expand("request_cpus") == "1"
