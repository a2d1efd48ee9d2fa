"""A notebook as what is to be run: papermill executes it, and the executed notebook comes back."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import attrs

from wingspan.runs._errors import CommandNotFound, InputMissing, InvalidRun
from wingspan.runs._request import RunRequest
from wingspan.runs._spec import Step, sweep_rows

__all__ = ["executed_here", "is_notebook", "notebook_request"]

#: Jupyter's and IPython's files: jobs have no home folder, or one that may not be written to.
_VARIABLES = {"JUPYTER_RUNTIME_DIR": ".jupyter-runtime", "IPYTHONDIR": ".ipython"}


def is_notebook(request: RunRequest) -> bool:
    """What is to be run is named like a notebook."""
    return request.task is not None and request.task.endswith(".ipynb")


def notebook_request(request: RunRequest) -> RunRequest:
    """The request with papermill's command instead of the notebook.

    The notebook goes along, and comes back as ``NAME.executed.ipynb``. The parameters of the sweep are those
    of its cell with the tag ``parameters``.

    Raises:
        InputMissing: There is no such notebook. InvalidRun: It cannot be read, or it would overwrite a
            parameter.
    """
    assert request.task is not None
    given = request.task.removeprefix("./")
    notebook = _read(Path(request.workspace, given), given)
    name = Path(given).name if Path(given).is_absolute() else given  # in the job's folder
    file = None if request.sweep_file is None else Path(request.sweep_file)
    parameters, _ = sweep_rows(request.sweep, file)
    _check_parameters(notebook, name, parameters)
    executed = str(PurePosixPath(name).with_suffix(".executed.ipynb"))
    words = ["papermill", name, executed, "--log-output", "--no-progress-bar"]
    if _language(notebook) == "python":
        # The kernel of the environment that the notebook runs in, whatever the one that it was written with
        # is called.
        words += ["--kernel", "python3", "--language", "python"]
    if folder := "/".join(PurePosixPath(name).parts[:-1]):
        words += ["--cwd", folder]
    for parameter in parameters:
        words += ["--parameters", parameter, f"{{{parameter}}}"]
    return attrs.evolve(
        request,
        command=[*words, *request.arguments],
        arguments=(),
        inputs=(given, *request.inputs),
        outputs=(executed, *request.outputs),
        variables={**_VARIABLES, **(request.variables or {})},
    )


def executed_here(steps: Iterable[Step]) -> tuple[Step, ...]:
    """The steps as this Python's own papermill executes them, where no environment is named.

    Raises:
        CommandNotFound: It has none.
    """
    if importlib.util.find_spec("papermill") is None:
        raise CommandNotFound(
            "papermill, which executes notebooks, is not installed here",
            hint='pip install "wingspan[notebook]"; or name an environment that has papermill and ipykernel: --env NAME',
        )
    return tuple(attrs.evolve(step, words=(sys.executable, "-m", *step.words)) for step in steps)


def _read(path: Path, name: str) -> dict[str, Any]:
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(notebook, dict) and isinstance(notebook["cells"], list):
            return notebook
    except FileNotFoundError:
        raise InputMissing(
            f"there is no notebook {name!r} in {path.parent.absolute()}", hint="name it from here"
        ) from None
    except OSError as error:
        raise InvalidRun(
            f"the notebook {name} cannot be read: {error.strerror}", hint="name one that you can read"
        ) from None
    except (ValueError, KeyError):
        pass
    raise InvalidRun(
        f"{name} is no notebook of format 4",
        hint="open it in JupyterLab and save it, which writes today's format",
    )


def _language(notebook: dict[str, Any]) -> str:
    metadata = notebook.get("metadata") or {}
    found = (metadata.get("kernelspec") or {}).get("language") or (metadata.get("language_info") or {}).get(
        "name"
    )
    return str(found or "python").lower()


def _check_parameters(notebook: dict[str, Any], name: str, parameters: Iterable[str]) -> None:
    """See that the notebook does not give a parameter of the sweep its own value after papermill has set it.

    Raises:
        InvalidRun: It does: every job would compute the same.
    """
    cells = [cell for cell in notebook["cells"] if isinstance(cell, dict) and cell.get("cell_type") == "code"]
    tagged = ["parameters" in (cell.get("metadata") or {}).get("tags", ()) for cell in cells]
    # papermill puts its values below the cell with the tag; where there is none, above everything.
    after = cells[tagged.index(True) + 1 :] if True in tagged else cells
    for parameter in parameters:
        for cell in after:
            if re.search(rf"^{parameter}\s*=[^=]", "".join(cell.get("source", "")), re.MULTILINE):
                where = (
                    "below its cell with the tag 'parameters'"
                    if True in tagged
                    else "and has no cell with the tag 'parameters'"
                )
                raise InvalidRun(
                    f"{name} sets {parameter} itself {where}, so all jobs of the sweep would compute the same",
                    hint=f"give the cell that sets {parameter} the tag parameters (in JupyterLab: the gears at the top right)",
                )
