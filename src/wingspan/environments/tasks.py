"""Tasks of a manifest: commands with a name.

Only their description is read here; the caller who runs them fills in arguments. Pixi's rules:
https://pixi.sh/latest/workspace/advanced_tasks/.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

__all__ = ["Task", "TaskArgument", "TaskDependency", "parse_tasks"]


@attrs.frozen(kw_only=True)
class TaskArgument:
    """An argument of a task; `default` None: it must be given."""

    name: str
    default: str | None = None
    choices: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class TaskDependency:
    """A task that runs before another.

    Attributes:
        task: Its name.
        args: Positional arguments.
        named_args: Arguments by name.
        environment: The environment it runs in, or None for the depending task's own.
    """

    task: str
    args: tuple[str, ...] = ()
    named_args: Mapping[str, str] = attrs.field(factory=dict)
    environment: str | None = None


@attrs.frozen(kw_only=True)
class Task:
    """A task.

    Attributes:
        name: Its name. A task whose name starts with ``_`` is not listed.
        cmd: A line for the shell, a tuple of words, or None if the task only names others.
        depends_on: What runs first, in order.
        cwd: Its folder relative to the workspace; None means the workspace itself.
        env: Variables set for the command unless the caller's environment has them.
        args: Its arguments, in order; the command refers to them as ``{{ name }}``.
        inputs: Globs of the files it reads, relative to `cwd`.
        outputs: Globs of the files it writes, relative to `cwd`.
        clean_env: Whether only the environment's own variables are passed on.
        default_environment: The environment it runs in unless one is named, or None.
        description: For people, or None.
    """

    name: str
    cmd: str | tuple[str, ...] | None = None
    depends_on: tuple[TaskDependency, ...] = ()
    cwd: str | None = None
    env: Mapping[str, str] = attrs.field(factory=dict)
    args: tuple[TaskArgument, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    clean_env: bool = False
    default_environment: str | None = None
    description: str | None = None

    @property
    def hidden(self) -> bool:
        """Its name begins with an underscore: it is not listed (Pixi manual, "Advanced tasks")."""
        return self.name.startswith("_")


def parse_tasks(table: Mapping[str, Any], *, where: str) -> tuple[Task, ...]:
    """The tasks of a ``[tasks]`` table; `where` names the file for error messages.

    >>> parse_tasks({"test": "pytest", "all": ["test"]}, where="pixi.toml")[1].depends_on[0].task
    'test'

    Raises:
        ValueError: A task that is neither a command nor a table nor a list of tasks.
    """
    return tuple(_parse_task(str(name), entry, where) for name, entry in table.items())


def _parse_task(name: str, entry: Any, where: str) -> Task:
    if isinstance(entry, str):
        return Task(name=name, cmd=entry)
    if isinstance(entry, list):  # shorthand for an alias
        return Task(name=name, depends_on=tuple(_parse_dependency(d) for d in entry))
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: task {name!r} is a {type(entry).__name__}")
    cmd = entry.get("cmd")
    depends_on: Any = entry.get("depends-on") or entry.get("depends_on") or ()
    if isinstance(depends_on, str | dict):
        depends_on = [depends_on]
    return Task(
        name=name,
        cmd=tuple(map(str, cmd)) if isinstance(cmd, list) else cmd,
        depends_on=tuple(_parse_dependency(d) for d in depends_on),
        cwd=entry.get("cwd"),
        env={k: str(v) for k, v in (entry.get("env") or {}).items()},
        args=tuple(_parse_argument(a) for a in entry.get("args", ())),
        inputs=_strings(entry.get("inputs", ())),
        outputs=_strings(entry.get("outputs", ())),
        clean_env=bool(entry.get("clean-env", False)),
        default_environment=entry.get("default-environment"),
        description=entry.get("description"),
    )


def _strings(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(map(str, value))


def _parse_dependency(entry: Any) -> TaskDependency:
    if isinstance(entry, str):
        return TaskDependency(task=entry)
    args: list[str] = []
    named: dict[str, str] = {}
    for argument in entry.get("args", ()):
        if isinstance(argument, dict):
            named.update({k: str(v) for k, v in argument.items()})
        else:
            args.append(str(argument))
    return TaskDependency(
        task=entry["task"], args=tuple(args), named_args=named, environment=entry.get("environment")
    )


def _parse_argument(entry: Any) -> TaskArgument:
    if isinstance(entry, str):
        return TaskArgument(name=entry)
    default = entry.get("default")
    return TaskArgument(
        name=entry["arg"],
        default=None if default is None else str(default),
        choices=_strings(entry.get("choices", ())),
    )
