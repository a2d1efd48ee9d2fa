"""Pixi tasks as steps of a run: dependencies first, arguments filled in, folders and variables kept.

Pixi's rules: https://pixi.sh/latest/workspace/advanced_tasks/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from wingspan._shell import quoted
from wingspan._words import counted
from wingspan.runs._errors import InvalidRun, InvalidTask, TaskCycle
from wingspan.runs._spec import Step, relative_path
from wingspan.runs._words import filled

if TYPE_CHECKING:
    from pathlib import Path

    from wingspan.environments.tasks import Task, TaskDependency
    from wingspan.environments.workspace import Workspace

__all__ = ["TaskPlan", "plan_task", "tool_table"]

_TEMPLATE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


@attrs.frozen(kw_only=True)
class TaskPlan:
    """What a task comes to.

    Attributes:
        steps: Commands, in order.
        inputs: Globs relative to the workspace, of all the tasks that are part of it; each with the outputs
            of the tasks that run before the one that it belongs to.
        outputs: Globs relative to the workspace, of all the tasks that are part of it.
    """

    steps: tuple[Step, ...]
    inputs: tuple[tuple[str, tuple[str, ...]], ...]
    outputs: tuple[str, ...]


def plan_task(
    workspace: Workspace,
    name: str,
    environment: str,
    arguments: Sequence[str] = (),
    parameters: Sequence[str] = (),
    rows: Sequence[Sequence[str]] = ((),),
) -> TaskPlan:
    """The steps of a task.

    Args:
        workspace: The workspace that has it.
        name: The task.
        environment: The environment that the job runs in.
        arguments: What follows the task's name on the command line.
        parameters: Those of a sweep; one that is called like an argument of the task is that: ``{name}``
            stands for its value.
        rows: Their values.

    Raises:
        UnknownTask: There is no such task.
        TaskCycle: Tasks wait for each other.
        InvalidTask: An argument is missing or unknown, a dependency wants another environment, or its folder
            is not in the workspace.
    """
    planner = _Planner(workspace, environment, parameters, rows)
    own = {argument.name for argument in workspace.task(name, environment).args}
    planner.add(name, tuple(arguments), {one: f"{{{one}}}" for one in parameters if one in own}, ())
    if not planner.steps:
        raise InvalidTask(f"the task {name!r} has no command", hint="give it one, or name a task that has")
    return TaskPlan(steps=tuple(planner.steps), inputs=tuple(planner.inputs), outputs=tuple(planner.outputs))


class _Planner:
    def __init__(
        self,
        workspace: Workspace,
        environment: str,
        parameters: Sequence[str],
        rows: Sequence[Sequence[str]],
    ) -> None:
        self.workspace, self.environment = workspace, environment
        self.parameters, self.rows = parameters, rows
        self.steps: list[Step] = []
        self.inputs: list[tuple[str, tuple[str, ...]]] = []
        self.outputs: list[str] = []
        self._done: set[tuple[object, ...]] = set()

    def add(
        self, name: str, arguments: tuple[str, ...], named: dict[str, str], above: tuple[str, ...]
    ) -> None:
        if name in above:
            circle = " → ".join([*above[above.index(name) :], name])
            raise TaskCycle(
                f"the tasks of {self.workspace.manifest_path} wait for each other: {circle}",
                hint="take one of these out of a depends-on",
            )
        identity = (name, arguments, tuple(sorted(named.items())))
        if identity in self._done:
            return
        task = self.workspace.task(name, self.environment)
        values, rest = _bind(task, arguments, named)
        self._check_choices(task, values)
        for dependency in task.depends_on:
            self._add_dependency(task, dependency, values, (*above, name))
        self._done.add(identity)
        prefix = _prefix(task)
        made = tuple(self.outputs)  # so far: by what this task depends on
        self.inputs += [(prefix + _fill(task, glob, values), made) for glob in task.inputs]
        self.outputs += [prefix + _fill(task, glob, values) for glob in task.outputs]
        if task.cmd is None:
            return
        env = {key: _fill(task, value, values) for key, value in task.env.items()}
        if isinstance(task.cmd, str):
            line = " ".join([_fill(task, task.cmd, values), *map(quoted, rest)])
            self.steps.append(Step(line=line, cwd=prefix.rstrip("/") or None, env=env, task=name))
        else:
            words = (*(_fill(task, word, values) for word in task.cmd), *rest)
            self.steps.append(Step(words=words, cwd=prefix.rstrip("/") or None, env=env, task=name))

    def _check_choices(self, task: Task, values: Mapping[str, str]) -> None:
        for argument in task.args:
            given = values[argument.name]
            for value in dict.fromkeys(filled(given, self.parameters, row) for row in self.rows):
                if argument.choices and value not in argument.choices:
                    raise InvalidTask(
                        f"{value!r} is no {argument.name} of the task {task.name!r}",
                        hint=f"one of: {', '.join(argument.choices)}",
                    )

    def _add_dependency(
        self, task: Task, dependency: TaskDependency, values: dict[str, str], above: tuple[str, ...]
    ) -> None:
        if dependency.environment not in (None, self.environment):
            raise InvalidTask(
                f"the task {task.name!r} depends on {dependency.task!r} in environment {dependency.environment!r}; "
                f"the job has only {self.environment!r}",
                hint="run that task first, as a run of its own, and give its outputs with --input",
            )
        self.add(
            dependency.task,
            tuple(_fill(task, argument, values) for argument in dependency.args),
            {key: _fill(task, value, values) for key, value in dependency.named_args.items()},
            above,
        )


def _bind(
    task: Task, arguments: tuple[str, ...], named: dict[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Values of the task's arguments, and the words to be put behind its command."""
    known = [argument.name for argument in task.args]
    if not known:
        return {}, arguments  # Pixi passes the words on where a task declares none
    if len(arguments) > len(known):
        raise InvalidTask(
            f"the task {task.name!r} takes {counted(len(known), 'argument')} ({', '.join(known)}), not {len(arguments)}",
            hint="leave the others out",
        )
    values = dict(zip(known, arguments, strict=False))
    for argument in task.args:
        name = argument.name
        if name in named:
            if name in values:
                raise InvalidTask(
                    f"the argument {name!r} of the task {task.name!r} is given twice: {values[name]!r}, and by name",
                    hint="leave one of them out; what a sweep gives needs no place on the command line",
                )
            values[name] = named[name]
        elif name not in values:
            if argument.default is None:
                raise InvalidTask(
                    f"the task {task.name!r} wants the argument {name!r}",
                    hint=f"wingspan run {task.name} VALUE, or --sweep {name}=A,B",
                )
            values[name] = argument.default
    return values, ()


def _prefix(task: Task) -> str:
    """The task's folder, as what its paths begin with."""
    if task.cwd is None or not set(task.cwd.split("/")) - {"."}:
        return ""
    try:
        return relative_path(task.cwd, "cwd") + "/"
    except InvalidRun:
        raise InvalidTask(
            f"the task {task.name!r} has cwd = {task.cwd!r}, which is no folder below the workspace's",
            hint="the job has only what goes along: name a relative folder in the workspace",
        ) from None


def _fill(task: Task, text: str, values: Mapping[str, str]) -> str:
    if "{%" in text:
        raise InvalidTask(
            f"the task {task.name!r} uses a template statement: {text}",
            hint="Wingspan fills in {{ name }} only; give the command after -- instead",
        )

    def replace(match: re.Match[str]) -> str:
        name = match[1].strip()
        if name in values:
            return values[name]
        raise InvalidTask(
            f"the task {task.name!r} refers to {{{{ {name} }}}}, which is none of its arguments",
            hint=f"it has: {', '.join(values) or 'none'}; filters are Pixi's own and not known here",
        )

    return _TEMPLATE.sub(replace, text)


#: What [tool.wingspan] may have, and of which type that is.
_KNOWN: dict[str, tuple[type, ...]] = {
    "inputs": (str, list),
    "outputs": (str, list),
    "checkpoint": (str, list),
    "cpus": (int,),
    "memory": (str, int),
    "retry-memory": (str, int),
    "disk": (str, int),
    "time": (str, int),
    "gpus": (int,),
    "env": (str,),
    "profile": (str,),
    "switches": (str, list),
}
_WORDS = {
    (str,): "a text",
    (int,): "a whole number",
    (str, int): "a text with a unit",
    (str, list): "a list of texts",
}


def tool_table(manifest: Path | None, task: str | None) -> dict[str, Any]:
    """``[tool.wingspan]`` of a manifest, with ``[tool.wingspan.tasks.TASK]`` on top of it.

    Raises:
        InvalidTask: It has a key that nobody knows, or something that is no value for its key; or it is not
            TOML.
    """
    if manifest is None:
        return {}
    from wingspan.environments.manifest_reader import parse_toml

    try:
        document = parse_toml(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidTask(f"{manifest} cannot be read: {error}", hint="correct the manifest") from error

    def part(table: Mapping[str, Any], key: str, name: str) -> dict[str, Any]:
        found = table.get(key, {})
        if not isinstance(found, dict):
            raise InvalidTask(f"{manifest}: {name} = {found!r} is no table", hint=f"write [{name}]")
        return dict(found)

    table = part(part(document, "tool", "tool"), "wingspan", "tool.wingspan")
    tasks = part(table, "tasks", "tool.wingspan.tasks")
    table.pop("tasks", None)
    own = part(tasks, task or "", f"tool.wingspan.tasks.{task}")
    for name, entries in (("[tool.wingspan]", table), (f"[tool.wingspan.tasks.{task}]", own)):
        for key, value in entries.items():
            if key not in _KNOWN:
                raise InvalidTask(
                    f"{manifest}: {name} has a key {key!r}",
                    hint=f"it may have: {', '.join(sorted(_KNOWN))}",
                )
            texts = value if isinstance(value, list) else []
            if (
                not isinstance(value, _KNOWN[key])
                or isinstance(value, bool)
                or not all(isinstance(one, str) for one in texts)
            ):
                raise InvalidTask(
                    f"{manifest}: {name} has {key} = {value!r}",
                    hint=f"{key} is " + _WORDS[_KNOWN[key]],
                )
    return {**table, **own}
