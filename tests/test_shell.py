"""Shell that Python writes: words arrive as they were, files of shell get all their values, and nobody
else quotes.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wingspan
from wingspan._shell import Shell, UnfilledPlace, double_quoted, exports, filled, quoted, words
from wingspan.errors import SettingsError
from wingspan.runs._script import job_script
from wingspan.runs._spec import RunSpec, Step

SOURCE = Path(wingspan.__file__).parent
SHELLS = [name for name in ("dash", "bash") if shutil.which(name)]
#: What a variable, an argument or a name can hold.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


def _arguments(shell: str, script: str) -> list[str]:
    """What a program gets as arguments, called as `script` says."""
    show = "show() { for one; do printf '%s\\0' \"$one\"; done; }\n"
    done = subprocess.run([shell], input=(show + script).encode(), capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize("shell", SHELLS)
@given(texts=st.lists(TEXT, min_size=1, max_size=20))
def test_quoted_words_arrive_as_they_were(shell: str, texts: list[str]) -> None:
    """Whatever a word has in it, a shell hands it on unchanged, alone and at the end of another word."""
    script = f"show {words(texts)} {' '.join(f'x{quoted(text)}' for text in texts)}\n"
    assert _arguments(shell, script) == [*texts, *(f"x{text}" for text in texts)]


@pytest.mark.parametrize("shell", SHELLS)
@given(text=TEXT)
def test_double_quotes_change_only_what_begins_with_a_dollar(shell: str, text: str) -> None:
    """Text without a dollar arrives unchanged in double quotes."""
    text = text.replace("$", "")
    assert _arguments(shell, f"show {double_quoted(text)}\n") == [text]


@pytest.mark.parametrize("shell", SHELLS)
@given(value=TEXT)
def test_exported_variables_arrive(shell: str, value: str) -> None:
    """A variable has the value that was given."""
    (line,) = exports({"WORD": value})
    assert _arguments(shell, f'{line}\nshow "$WORD"\n') == [value]


@pytest.mark.parametrize("name", ["", "1", "A B", "A;rm", "A\nB", "A-B", "naïve", "A$(x)"])
def test_variables_need_names_that_shells_know(name: str) -> None:
    """A name that a shell would take for something else is refused, in exports and in a job's script."""
    with pytest.raises(SettingsError, match="cannot be the name of a variable"):
        exports({name: "1"})
    for spec in (_run(variables={name: "1"}), _run(steps=(Step(words=("true",), env={name: "1"}),))):
        with pytest.raises(SettingsError, match="cannot be the name of a variable"):
            job_script(spec, ())


def test_names_of_tasks_stay_in_comments() -> None:
    """A task whose name has line ends is no command of the script."""
    script = job_script(_run(steps=(Step(words=("true",), task="a\ntouch made\rb"),)), ())
    assert "\n# task a touch made b\n" in script


@pytest.mark.parametrize("shell", SHELLS)
def test_a_command_keeps_its_empty_lines(shell: str) -> None:
    """Several line ends in a row, which are part of a command's word, arrive in the job."""
    text = "a\n\n\n\nb"
    script = job_script(_run(steps=(Step(words=("printf", "%s", text)),)), ())
    variables = {"PATH": os.environ["PATH"], "WINGSPAN_INSIDE": "yes"}
    done = subprocess.run([shell], input=script.encode(), env=variables, capture_output=True, check=True)
    assert done.stdout.decode() == text


def _run(**options: Any) -> RunSpec:
    return RunSpec(**{"name": "n", "base": Path(), "steps": (Step(words=("true",)),), **options})


def test_shell_is_not_quoted_again() -> None:
    """What is shell already stays as it is, however often it is handed on."""
    command = words(["cat", Shell('"$folder"/x'), "a b"])
    assert words(["exec", command]) == "exec cat \"$folder\"/x 'a b'"


def test_each_place_gets_its_value(tmp_path: Path) -> None:
    """Plain text is quoted, shell is not, a line without a value goes, and what looks like a place in a
    value stays.
    """
    path = tmp_path / "x.sh"
    path.write_text("echo @WORD@ @WORD@-@CODE@\n@LINES@\n    @NOTHING@\necho @CODE@\n")
    shown = filled(path, word="a @CODE@", code=Shell("$x"), lines=Shell("one\ntwo"), nothing=Shell(""))
    assert shown == "echo 'a @CODE@' 'a @CODE@'-$x\none\ntwo\necho $x\n"


@pytest.mark.parametrize("places", [{}, {"word": "a", "other": "b"}, {"other": "b"}])
def test_a_place_that_is_missing_or_left_is_an_error(tmp_path: Path, places: dict[str, str]) -> None:
    """Neither does a script keep an @NAME@, nor is a value lost."""
    path = tmp_path / "x.sh"
    path.write_text("echo @WORD@\n")
    with pytest.raises(UnfilledPlace, match=r"x\.sh"):
        filled(path, **places)


def test_nobody_else_quotes_for_a_shell() -> None:
    """One module quotes words; beside it only what runs on workers without Wingspan, by the standard
    library.
    """
    allowed = {"_shell.py", "environments/bundles/remote/activation.py"}
    found = set()
    for path in SOURCE.rglob("*.py"):
        if b"shlex" not in (text := path.read_bytes()):  # most files: to parse them takes long
            continue
        for node in ast.walk(ast.parse(text)):
            quotes = (
                isinstance(node, ast.Attribute)
                and node.attr in ("quote", "join")
                and ast.unparse(node.value) == "shlex"
            )
            imports = isinstance(node, ast.ImportFrom) and node.module == "shlex"
            if quotes or imports:
                found.add(str(path.relative_to(SOURCE)))
    assert found == allowed


def test_no_place_stands_between_quotes() -> None:
    """A value that is quoted must not come into other quotes: there its own would end them."""
    for path in SOURCE.rglob("*.sh"):
        for line in path.read_text(encoding="utf-8").splitlines():
            code = re.sub(r"(^|\s)#.*", "", line)
            for place in re.finditer(r"(?<!@)@[A-Z][A-Z_]*@(?!@)", code):
                before = re.sub(r"\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"", "", code[: place.start()])
                # a number and a word of ours
                assert not set(before) & {"'", '"'} or place[0] == "@GPUS_TEXT@", (path.name, line)
