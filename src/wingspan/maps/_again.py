"""Doing components again: with which function, and whether that function or its file has changed since."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wingspan._words import counted
from wingspan.maps._code import FunctionVersion, describe, in_hand, later_code, what_differs
from wingspan.maps._errors import MapDamaged, MapError, NotPicklable
from wingspan.maps._functions import function_name
from wingspan.maps._pickled import PickledFunction, check_pythons
from wingspan.worker import compatibility, rounds

if TYPE_CHECKING:
    from wingspan.maps._folder import MapFolder

__all__ = [
    "Rerun",
    "add_function",
    "check_function",
    "current_function",
    "import_function",
    "notices",
    "versions",
]


@attrs.frozen(repr=False, kw_only=True)
class Rerun:
    """What `Map.rerun` has begun.

    Attributes:
        tag: The map's.
        components: What is done again.
        function: With which function.
        notices: What a person should know about that: its code has changed since, for instance.
    """

    tag: str
    components: tuple[int, ...]
    function: FunctionVersion
    notices: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.components:
            return f"map {self.tag}: there is nothing to do again"
        return f"map {self.tag}: {counted(len(self.components), 'component')} again, with {self.function}"

    __repr__ = __str__


def versions(folder: MapFolder, plans: Mapping[int, rounds.Plan]) -> dict[str, FunctionVersion]:
    """The functions of a map, by file: the one that it was made with, then those given to `Map.rerun`, oldest
    first."""
    files = [rounds.FUNCTION]
    for number in sorted(plans):
        if plans[number].kind == rounds.RERUN and plans[number].function not in files:
            files.append(plans[number].function)
    found = {}
    for number, file in enumerate(files):
        facts: Mapping[str, Any] = {}
        if file == rounds.FUNCTION:
            facts = {
                "name": folder.info.function,
                "time": folder.info.created,
                **(folder.info.code or {}),
            }
        else:
            try:
                facts = json.loads((folder.path / file).with_suffix(".json").read_bytes())
            except (OSError, ValueError):
                facts = {}  # nothing is known of it any more, but it can still be called
        found[file] = FunctionVersion.read(number, facts)
    return found


def add_function(folder: MapFolder, func: Callable[..., Any], function: PickledFunction) -> str:
    """Write another function into a map's folder.

    Returns its file. Workers call it once a round names the file.

    Raises:
        MapError: The map's workers know only one function.
        PythonsDiffer: The workers have another Python than this session, and could not read it.
    """
    if folder.info.functions != 2:
        raise MapError(
            f"the map {folder.info.tag!r} was made by an older Wingspan, whose workers cannot take another function",
            hint="make a new map of the inputs that are left: wingspan.map(f, [m.input(i) for i in m.errors])",
        )
    here = compatibility.this_interpreter()
    holds_code, pickled = function.holds_code, function.content()
    delivery = folder.delivery
    if delivery is not None:
        check_pythons(delivery.name, delivery.python, holds_code)
    elif (
        incompatibility := compatibility.incompatibility(
            {**here, "code": holds_code}, folder.info.interpreter
        )
    ) is not None:
        raise NotPicklable(
            f"the function cannot be given to map {folder.info.tag!r}: {incompatibility}",
            hint="give it from the Python that the map was made with",
        )
    content = compatibility.header({**here, "code": holds_code}) + pickled
    first = compatibility.split((folder.path / rounds.FUNCTION).read_bytes())[1]
    name = rounds.FUNCTION if first == pickled else rounds.function_name([content])
    facts = {**describe(func), "bytes": len(content)}
    folder.transport.make_folder(rounds.FUNCTIONS)
    if not (folder.path / name).exists():
        folder.transport.write_whole(str(Path(name).with_suffix(".json")), json.dumps(facts).encode())
        folder.transport.write_whole(name, content)
    folder.read_info()
    folder.update_info(
        function=function_name(func),
        holds_code=folder.info.holds_code or holds_code,
    )
    return name


def check_function(folder: MapFolder, file: str, version: FunctionVersion) -> None:
    """See that the file of a later function is whole, before a round names it again.

    Raises:
        MapDamaged: It is not.
    """
    if file == rounds.FUNCTION:
        return
    try:
        content = (folder.path / file).read_bytes()
    except FileNotFoundError:
        content = b""
    if rounds.function_name([content]) != file:
        raise MapDamaged(
            f"the map {folder.info.tag!r} in {folder.path} is damaged: {file}, {version}, is missing or cut",
            hint="give the function again: m.rerun(…, function=f)",
        )


def notices(version: FunctionVersion, given: Callable[..., Any] | None = None) -> tuple[str, ...]:
    """What the user should know before something is done again with `version`.

    Args:
        version: The function that will be called.
        given: The function, if it was given just now.
    """
    told = []
    name = version.name.rpartition(".")[2]
    if given is None and (mine := in_hand(version)) is not None:
        differs = what_differs(version.parts, describe(mine)["parts"]) if version.parts else ()
        if differs:
            told.append(
                f"the function {name} that you have now is another ({_named(differs)}); this is done with {version}. "
                f"With yours: rerun(…, function={name})"
            )
    for file, names in later_code(version, in_this_session=given is not None).items():
        what = f"{_named(names)} in {file}" if names else file
        have = "have" if len(names) > 1 else "has"
        if given is not None:
            told.append(
                f"{what} {have} changed since it was imported here, and the function that you gave is the one from before: "
                "import it again (importlib.reload, or a new session) and give it then"
            )
        elif not told:
            told.append(
                f"{what} {have} changed since; this is done with {version}. "
                f"With the new code: rerun(…, function={name}), or wingspan rerun TAG --with-current-inputs"
            )
    return tuple(told)


def _named(names: tuple[str, ...] | list[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def current_function(version: FunctionVersion) -> Callable[..., Any]:
    """The function as it now stands in its file.

    Raises:
        MapError: It comes from no file, or cannot be imported from there.
    """
    if version.file is None:
        raise MapError(
            f"{version.name} was defined in no file: in a notebook, or at a prompt",
            hint="there: wingspan.load(tag).rerun(…, function=f)",
        )
    if "<" in version.name:
        raise MapError(
            f"{version.name} has no name that it could be found by in {version.file}",
            hint="in Python: wingspan.load(tag).rerun(…, function=f), or here: --function FILE:NAME",
        )
    return import_function(f"{version.file}:{version.name}")


def import_function(named: str) -> Callable[..., Any]:
    """The function that ``file.py:name`` or ``module:name`` means, imported anew.

    Raises:
        MapError: There is none, or importing fails.
    """
    place, colon, name = named.rpartition(":")
    if not colon or not place or not name:
        raise MapError(f"{named!r} names no function", hint="write FILE:NAME, such as train.py:simulate")
    file = Path(place)
    try:
        if file.suffix == ".py":
            found = _import_file(file.absolute())
        else:
            sys.path.insert(0, "")
            found = importlib.import_module(place)
    except FileNotFoundError as error:
        if error.filename != str(file.absolute()):
            raise
        raise MapError(
            f"there is no file {place}", hint="write FILE:NAME, such as train.py:simulate"
        ) from None
    except Exception as error:
        raise MapError(
            f"{place} cannot be imported: {type(error).__name__}: {error}",
            hint="what makes the map belongs under `if __name__ == '__main__':`, so that the file can be imported; "
            "or do it in Python: wingspan.load(tag).rerun(…, function=f)",
        ) from error
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise MapError(f"{place} has no function {name!r}", hint="write FILE:NAME, such as train.py:simulate")
    function: Callable[..., Any] = found
    return function


def _import_file(file: Path) -> Any:
    """Import a file as a module.

    A file of a package gets its full name. For every other file its folder is put on the path, as it is for a
    script.
    """
    root, name = file.parent, file.stem
    while (root / "__init__.py").exists():
        root, name = root.parent, f"{root.name}.{name}"
    sys.path.insert(0, str(root))
    if "." in name:
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(2, "no such file", str(file))
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module
