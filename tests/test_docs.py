"""What the README and the pages of docs/ show is what happens."""

from __future__ import annotations

import ast
import doctest
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import attrs
import click
import pytest
import tomlkit

import wingspan
from wingspan.cli._main import cli

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SESSIONS = [page for page in PAGES if "```pycon" in page.read_text(encoding="utf-8")]


@pytest.fixture(autouse=True)
def _no_map_left(own_folders: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The sessions run as local processes, which every machine has."""
    monkeypatch.setenv("WINGSPAN_POOL", "local")
    yield
    wingspan.clean(all=True)


@pytest.mark.parametrize("page", SESSIONS, ids=lambda page: page.name)
def test_python_sessions_show_what_happens(page: Path) -> None:
    """The sessions of a page, run one after the other, answer what stands there."""
    blocks = re.findall(r"^```pycon\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    session = doctest.DocTestParser().get_doctest(
        "\n".join(blocks), {"__name__": "__main__"}, page.name, str(page), 0
    )
    told: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    runner.run(session, out=told.append)
    assert not told, "".join(told)
    assert runner.summarize(verbose=False).attempted > 0


#: Pages whose commands are executed, one after the other, beside the files that stand below their names.
EXECUTED = [ROOT / "docs/first-run.md"]


@pytest.mark.parametrize("page", EXECUTED, ids=lambda page: page.name)
def test_commands_do_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    """What a page shows below each command is what it prints; `…` stands for anything."""
    text = page.read_text(encoding="utf-8")
    for name, content in re.findall(r"^`(\S+)`:\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        (tmp_path / name).write_text(content, encoding="utf-8")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", "".join(blocks), re.MULTILINE):
        done = subprocess.run(
            ["bash", "-c", f"exec 2>&1; {command}"],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        same = doctest.OutputChecker().check_output(shown.replace("…", "..."), done.stdout, doctest.ELLIPSIS)
        assert same, f"$ {command}\n{done.stdout}\nThe page shows:\n{shown}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page names a file that is there."""
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    lost = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert lost == []


def faults_of(language: str, text: str) -> Iterator[str]:
    """What is wrong with Python or TOML of a page that no session executes."""
    if language == "toml":
        tomlkit.parse(text)
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "wingspan":
            if not hasattr(wingspan, node.attr):
                yield ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "wingspan.Options":
            known = attrs.fields_dict(wingspan.Options)
            yield from (str(word.arg) for word in node.keywords if word.arg and word.arg not in known)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_not_executed_can_be_read(page: Path) -> None:
    """Python and TOML of a page parse, and name what `wingspan` and its options have."""
    blocks = re.findall(r"^ *```(python|toml)\n(.*?)^ *```$", page.read_text(encoding="utf-8"), re.M | re.S)
    assert [fault for language, text in blocks for fault in faults_of(language, textwrap.dedent(text))] == []


def not_there(line: str) -> list[str]:
    """Of a command line after `wingspan`: commands and long options that Wingspan has not."""
    command: click.Command = cli
    found = []
    for word in shlex.split(line, comments=True):
        if word in ("--", "|", "&&", "||", ">") or word.isupper():  # another command, or a word for one
            break
        context = click.Context(command)
        if word.startswith("--"):
            options = [one for one in command.get_params(context) if isinstance(one, click.Option)]
            if word.partition("=")[0] not in [n for one in options for n in (*one.opts, *one.secondary_opts)]:
                found.append(word)
        elif isinstance(command, click.Group) and word != "…":
            further = command.get_command(context, word)
            if further is None:
                return [*found, word]
            command = further
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_the_pages_are_there(page: Path) -> None:
    """Each command line of ``wingspan`` that a page shows has commands and options of Wingspan's."""
    text = page.read_text(encoding="utf-8")
    lines = re.findall(r"^ *\$ wingspan (.*)$", text, re.MULTILINE)
    lines += re.findall(r"`wingspan ([^`]+)`", text)
    assert {line: lost for line in lines if (lost := not_there(line))} == {}


def test_changelog_is_what_towncrier_writes_to() -> None:
    """The marker is there once, and every fragment has a type that towncrier knows."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.count("<!-- towncrier release notes start -->\n") == 1
    fragments = [path.name for path in (ROOT / "changelog.d").glob("*.md")]
    assert [
        name for name in fragments if not re.search(r"\.(feature|change|bugfix)(\.\d+)?\.md$", name)
    ] == []


def test_every_page_has_a_place_in_the_navigation() -> None:
    """A page that the site does not list is found by nobody."""
    listed = (ROOT / "docs/conf.py").read_text(encoding="utf-8")
    pages = [page.relative_to(ROOT / "docs").with_suffix("") for page in (ROOT / "docs").rglob("*.md")]
    assert [str(page) for page in pages if f'"{page}"' not in listed and page.parts[0] != "coming-from"] == []


ARCHITECTURE = ROOT / "docs/architecture.md"


def test_the_drawing_of_the_rooms_is_the_contract_on_imports() -> None:
    """docs/architecture.md draws the rooms in the order in which import-linter lets them import others; those
    that must not import each other stand on one line.
    """
    drawing = ARCHITECTURE.read_text(encoding="utf-8").split("```")[1]
    drawn = [re.findall(r"(\w+)(?:/|\.py)(?: |$)", line.partition("   ")[0]) for line in drawing.splitlines()]
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("layers = [")[1].split("]")[0]
    layers = [re.findall(r"wingspan\.(\w+)", line) for line in contract.splitlines()]
    assert list(filter(None, drawn)) == list(filter(None, layers))


def test_every_room_is_on_the_page_and_every_file_of_the_page_is_there() -> None:
    """docs/architecture.md names each package of src, and no file that has gone."""
    page = ARCHITECTURE.read_text(encoding="utf-8")
    source = ROOT / "src/wingspan"
    rooms = [file.parent for file in source.rglob("__init__.py") if file.parent != source]
    missing = [str(room) for room in rooms if not re.search(rf"[`/\n ]{room.name}/", page)]
    files = {file.as_posix() for top in ("src", "tests", "tools") for file in (ROOT / top).rglob("*.*")}
    named = re.findall(r"`([\w/]+\.(?:py|sh))`", page)
    gone = [name for name in named if not any(file.endswith("/" + name) for file in files)]
    assert (missing, gone) == ([], [])
