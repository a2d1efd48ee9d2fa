# What activates an environment is written here, for us and for the program that unpacks packs on workers
# (Python 3.6 and later).

import json
import os
import re
from shlex import quote as quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple

ACTIVATION = ".wingspan/activation"

#: What would make the environment's Python import, or be, something else.
ISOLATED_FROM = "PYTHONHOME PYTHONPATH PYTHONPLATLIBDIR PYTHONEXECUTABLE PYTHONUSERBASE VIRTUAL_ENV"


def place_fault(path: "str") -> "str":
    """Why no environment can lie at `path`; empty: it can.

    Packages have the path in their scripts, between quotes of all kinds.
    """
    if any(character < " " or character == "\x7f" for character in path):
        return "it has control characters"
    broken = sorted(set("'\"\\$`").intersection(path))
    return "it has %s, which breaks the scripts of packages" % " ".join(broken) if broken else ""


def expanded(text: "str") -> "str":
    """`text` in double quotes: a shell puts in the values of $NAME and ${NAME}, and does nothing else."""
    found = re.sub(r'[\\"`]|\$(?![A-Za-z_]|\{[A-Za-z_][A-Za-z0-9_]*\})', lambda one: "\\" + one.group(), text)
    return '"' + found + '"'


#: Shells do not let go of these.
_READ_ONLY = frozenset("UID EUID PPID BASHOPTS BASH_VERSINFO SHELLOPTS".split())


def is_variable(name: "str") -> "bool":
    """Whether a shell can set it."""
    return re.match(r"[A-Za-z_][A-Za-z0-9_]*\Z", name) is not None and name not in _READ_ONLY


def fits(text: "str") -> "bool":
    """Whether a variable or a name of a file can be `text`."""
    return "\0" not in text and not any("\ud800" <= one <= "\udfff" for one in text)


def environment_variables(prefix: "str") -> "Tuple[Dict[str, str], List[str]]":
    """What packages set: the variables by name, and what is wrong with entries that are left out."""
    folder = os.path.join(prefix, "etc/conda/env_vars.d")
    variables: "Dict[str, str]" = {}
    faults: "List[str]" = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        path = os.path.join(folder, name)
        if not name.endswith(".json") or not os.path.isfile(path):
            continue
        where = "etc/conda/env_vars.d/" + name
        try:
            with open(path, "rb") as file:
                document = json.loads(file.read().decode("utf-8"))
        except (ValueError, RecursionError) as error:
            faults.append("%s is not JSON: %s" % (where, error))
            continue
        if not isinstance(document, dict):
            faults.append("%s holds no variables by name" % where)
            continue
        for key, value in sorted(document.items()):
            if not is_variable(key):
                faults.append("%s: %r is no name of a variable" % (where, key))
            elif isinstance(value, bool) or not isinstance(value, (str, int, float)):
                faults.append("%s: the value of %s is no text" % (where, key))
            elif not fits(str(value)):
                faults.append("%s: the value of %s has a character that no variable can hold" % (where, key))
            else:
                variables[key] = str(value)
    return variables, faults


def carried_activation(folder: "str") -> "Dict[str, Any]":
    """What the workspace adds (see `wingspan.environments.activation`); empty: nothing."""
    try:
        with open(os.path.join(folder, ACTIVATION, "activation.json"), "rb") as file:
            found: "Dict[str, Any]" = json.loads(file.read().decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    whole = (
        isinstance(found, dict)
        and isinstance(found.get("scripts"), list)
        and isinstance(found.get("env"), dict)
    )
    return found if whole else {}


def activation_script(
    folder: "str", prefix: "str", name: "str", movable: "bool" = False
) -> "Tuple[str, List[str]]":
    """A POSIX shell script that activates the environment of `folder` at `prefix`, as conda and Pixi do; and
    faults.

    `movable`: WINGSPAN_PREFIX says where the environment has been moved to. The script reads and unsets it.
    """
    lines = ["CONDA_PREFIX=" + quoted(prefix)]
    if movable:
        lines = ["CONDA_PREFIX=${WINGSPAN_PREFIX:-%s}" % quoted(prefix), "unset WINGSPAN_PREFIX"]
    lines += [
        "CONDA_DEFAULT_ENV=" + quoted(name),
        "CONDA_SHLVL=1",
        'PATH="$CONDA_PREFIX/bin${PATH:+:$PATH}"',
        "# packages in ~/.local would be imported before the environment's own",
        "PYTHONNOUSERSITE=1",
        "export CONDA_PREFIX CONDA_DEFAULT_ENV CONDA_SHLVL PATH PYTHONNOUSERSITE",
        "unset " + ISOLATED_FROM,
    ]
    variables, faults = environment_variables(folder)
    lines += ["export %s=%s" % (key, quoted(value)) for key, value in sorted(variables.items())]
    carried = carried_activation(folder)
    if carried:
        lines.append(': "${PIXI_PROJECT_ROOT:=$PWD}"; export PIXI_PROJECT_ROOT')
        for key in ("PIXI_PROJECT_NAME", "PIXI_ENVIRONMENT_NAME"):
            value = str(carried.get(key, ""))
            lines.append("export %s=%s" % (key, quoted(value if fits(value) else "")))
    scripts = os.path.join(folder, "etc/conda/activate.d")
    for script in sorted(os.listdir(scripts)) if os.path.isdir(scripts) else []:
        if script.endswith(".sh"):
            lines.append('. "$CONDA_PREFIX"/etc/conda/activate.d/' + quoted(script))
    for script in carried.get("scripts", []):
        if not isinstance(script, str) or script in ("", ".", "..") or "/" in script or not fits(script):
            faults.append("[activation]: %r is no name of a script" % (script,))
            continue
        lines.append('. "$CONDA_PREFIX"/%s/%s' % (ACTIVATION, quoted(script)))
    for key, value in carried.get("env", {}).items():
        if not fits(str(value)):
            faults.append("[activation.env]: the value of %s has a character that no variable can hold" % key)
        elif is_variable(key):
            lines.append("export %s=%s" % (key, expanded(str(value))))
        else:
            faults.append("[activation.env]: %r is no name of a variable" % key)
    return "\n".join(lines) + "\n", faults
