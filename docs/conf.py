"""The documentation site: ``make docs`` builds it with Sphinx, where warnings are errors.

Sphinx is kept well, makes manual pages and plain text beside the site, and searches without a server. With
MyST the pages are Markdown, which reads well in the repository, too. Furo is a light theme with a dark mode,
and can be used by keyboard alone. (mkdocs-material is no longer developed.)
"""

from __future__ import annotations

import inspect
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

import tomlkit  # noqa: E402
from sphinx.builders.text import TextBuilder  # noqa: E402

import wingspan  # noqa: E402

project = "Wingspan"
author = "The Wingspan developers"
copyright = author
version = release = wingspan.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_llms_txt",
]
root_doc = "index"
source_suffix = {".md": "markdown"}
exclude_patterns = ["pictures"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

#: What search engines show below the name of a page.
myst_html_meta = {
    "description": "Wingspan runs Python functions and commands on HTCondor pools, Slurm clusters and this machine."
}

html_theme = "furo"
html_title = f"Wingspan {version}"
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_js_files = ["accessible.js"]
#: The project's addresses, which a release writes there; before the first that knows them, there are none.
urls = (
    tomlkit.parse((ROOT / "pyproject.toml").read_text(encoding="utf-8")).unwrap()["project"].get("urls", {})
)
if urls.get("Documentation", "").endswith("/"):  # a site of its own: each page names its address there
    html_baseurl = urls["Documentation"]
html_copy_source = True  # llms-full.txt is made of these
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
if "Source" in urls:
    html_theme_options |= {
        "source_repository": urls["Source"],
        "source_branch": "main",
        "source_directory": "docs/",
    }
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
pygments_style = "default"

man_pages = [("reference/command-line", "wingspan", "map functions and run commands on pools", [author], 1)]

#: Docstrings write names in single backticks.
default_role = "code"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

#: Pages by part, in the order in which people read them. Every page has a place here: Sphinx warns of others.
PARTS = {
    "Tutorials": [
        "install",
        "first-map",
        "first-run",
        "gpu-training",
        "from-a-laptop",
        "notebook",
        "gallery",
    ],
    "How-to": [
        "maps",
        "inside-a-component",
        "files-of-maps",
        "executor",
        "chains",
        "memo",
        "requests",
        "runs",
        "display",
        "environments",
        "without-pixi",
        "bundles",
        "stores",
        "personal-pool",
        "slurm",
        "growth",
        "without-chirp",
        "profiles",
        "render",
        "lint",
        "images",
    ],
    "Coming from": [
        "from-htmap",
        "htmap-tables",
        *sorted(f"coming-from/{page.stem}" for page in (ROOT / "docs/coming-from").glob("*.md")),
    ],
    "Sites": [
        "facilitators",
        "sites/chtc",
        "sites/ospool",
        "sites/cern",
        "sites/ligo",
        "sites/htcondor",
        "sites/slurm",
    ],
    "Reference": [
        "reference/options",
        "reference/python",
        "reference/command-line",
        "glossary",
        "stability",
        "reference/changes",
    ],
    "Explanation": ["how-it-works", "values", "security", "architecture"],
}


def setup(app: Any) -> None:
    """Make the parts of pages that come from the package itself, so that they cannot be out of date."""
    app.connect("source-read", _fill_in)
    app.connect("build-finished", _write_as_text, priority=400)  # before llms-full.txt is put together
    for part in ("description", "options", "arguments", "usage", "epilog"):
        app.connect(f"sphinx-click-process-{part}", _as_text)


def _as_text(app: Any, command: Any, lines: list[str]) -> None:
    """Help of commands is plain text: a star is a star."""
    lines[:] = [line.replace("*", r"\*") for line in lines]


def _fill_in(app: Any, name: str, source: list[str]) -> None:
    if name == "index":
        source[0] += contents()
    elif name == "reference/python":
        source[0] = source[0].replace("<!-- public names -->", public_names())
    elif name == "reference/options":
        source[0] = source[0].replace("<!-- options -->", described(wingspan.Options))
        source[0] = source[0].replace("<!-- run options -->", described(wingspan.run, run_options()))
    elif name == "gallery":
        source[0] = with_programs(source[0])
    elif name == "reference/changes":
        source[0] = source[0].replace("<!-- changelog -->", changes())


def _write_as_text(app: Any, failed: Exception | None) -> None:
    """Have llms-full.txt, which is made of sources, say what people read on pages made of the package."""
    if failed or app.builder.name != "html":
        return
    with tempfile.TemporaryDirectory() as folder:
        builder = TextBuilder(app, app.env)
        builder.outdir = type(builder.outdir)(folder)
        pages = sorted(
            name for name in app.env.found_docs if name.startswith("reference/") or name == "gallery"
        )
        builder.prepare_writing(set(pages))
        for name in pages:
            builder.write_doc(name, app.env.get_and_resolve_doctree(name, builder))
            title, _, text = (Path(folder) / f"{name}.txt").read_text(encoding="utf-8").partition("\n")
            source = Path(app.outdir) / "_sources" / f"{name}.md.txt"
            source.write_text(f"# {title}\n{text.partition(chr(10))[2]}", encoding="utf-8")


def contents() -> str:
    """The navigation, which the page in the repository does not show."""
    parts = []
    for part, pages in PARTS.items():
        listed = "\n".join(pages)
        parts.append(f"\n```{{toctree}}\n:hidden:\n:caption: {part}\n\n{listed}\n```\n")
    return "".join(parts)


def public_names() -> str:
    """All names of `wingspan.__all__`: functions, classes, modules, errors and warnings."""
    sections: dict[str, list[str]] = {
        "Functions": [],
        "Classes": [],
        "Modules": [],
        "Errors and warnings": [],
    }
    for name in sorted(wingspan.__all__, key=str.lower):
        if name.startswith("__"):
            continue
        found = getattr(wingspan, name)
        if inspect.ismodule(found):
            section, directive = "Modules", "automodule"
        elif inspect.isclass(found):
            error = issubclass(found, BaseException)
            section, directive = (
                ("Errors and warnings", "autoexception") if error else ("Classes", "autoclass")
            )
        else:
            section, directive = "Functions", "autofunction"
        members = "   :no-members:\n" if name == "htmap" else ""  # it has a page of its own
        sections[section].append(f"```{{eval-rst}}\n.. {directive}:: wingspan.{name}\n{members}```\n")
    return "\n".join(f"## {title}\n\n" + "\n".join(names) for title, names in sections.items() if names)


def described(one: Callable[..., Any], also: dict[str, str] | None = None) -> str:
    """A table of what a docstring says of parameters.

    Args:
        one: A class or a function whose docstring has a section of them, in Google's form.
        also: By name, what stands in a column of its own.
    """
    text = inspect.cleandoc(one.__doc__ or "")
    section = re.split(r"^Args:\n", text, flags=re.MULTILINE)[1].partition("\n\n")[0]
    rows = []
    for names, what in re.findall(r"^    (\w+(?:, \w+)*): (.*(?:\n {8}.*)*)", section, re.MULTILINE):
        for name in names.split(", "):
            more = "" if also is None else f" {also.get(name, '')} |"
            rows.append(f"| `{name}` |{more} {' '.join(what.split()).replace('|', chr(92) + '|')} |")
    head = (
        "| option | what it is |\n| --- | --- |\n"
        if also is None
        else "| in Python | command line | what it is |\n| --- | --- | --- |\n"
    )
    return head + "\n".join(rows)


def run_options() -> dict[str, str]:
    """The options of `wingspan run` by the parameter that they are in Python."""
    from wingspan.cli.run import run

    called = {
        "set": "variables",
        "env": "environment",
        "input": "inputs",
        "output": "outputs",
        "switch": "switches",
        "input_from": "inputs_from",
    }
    found = {}
    for option in run.params:
        long = [text for text in [*option.opts, *option.secondary_opts] if text.startswith("--")]
        for text in long[:1]:
            name = text.removeprefix("--").replace("-", "_")
            found[called.get(name, name)] = f"`{text}`"
    return found


def with_programs(page: str) -> str:
    """The gallery with each program below its picture; the page in the repository links to the file."""
    picture = re.compile(r"^!\[What (\w+\.py) draws\]\(.*\)$", re.MULTILINE)
    return picture.sub(r"\g<0>\n\n```{literalinclude} ../examples/gallery/\1\n```\n", page)


def changes() -> str:
    """The changelog without its title and the comments for towncrier."""
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith(("# ", "<!--")))
