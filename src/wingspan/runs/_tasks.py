"""Pixi tasks as steps of a run: dependencies first, arguments filled in, folders and variables kept.

Pixi's rules: https://pixi.sh/latest/workspace/advanced_tasks/.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from wingspan.runs._errors import InvalidTask, TaskCycle
from wingspan.runs._spec import Step

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
        inputs: Globs relative to the workspace, of all the tasks that are part of it; each with the outputs of the tasks that run
            before the one that it belongs to.
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
    named: Mapping[str, str] | None = None,
) -> TaskPlan:
    """The steps of a task.

    Args:
        workspace: The workspace that has it.
        name: The task.
        environment: The environment that the job runs in.
        arguments: What follows the task's name on the command line.
        named: Arguments by name (parameters of a sweep).

    Raises:
        UnknownTask: There is no such task.
        TaskCycle: Tasks wait for each other.
        InvalidTask: An argument is missing or unknown, or a dependency wants another environment.
    """
    planner = _Planner(workspace, environment)
    planner.add(name, tuple(arguments), dict(named or {}), ())
    if not planner.steps:
        raise InvalidTask(f"the task {name!r} has no command", hint="give it one, or name a task that has")
    return TaskPlan(steps=tuple(planner.steps), inputs=tuple(planner.inputs), outputs=tuple(planner.outputs))


class _Planner:
    def __init__(self, workspace: Workspace, environment: str) -> None:
        self.workspace, self.environment = workspace, environment
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
        for dependency in task.depends_on:
            self._add_dependency(task, dependency, values, (*above, name))
        self._done.add(identity)
        where = (task.cwd or "").strip("/")
        prefix = f"{where}/" if where not in ("", ".") else ""
        made = tuple(self.outputs)  # so far: by what this task depends on
        self.inputs += [(prefix + _fill(task, glob, values), made) for glob in task.inputs]
        self.outputs += [prefix + _fill(task, glob, values) for glob in task.outputs]
        if task.cmd is None:
            return
        env = {key: _fill(task, value, values) for key, value in task.env.items()}
        if isinstance(task.cmd, str):
            line = " ".join([_fill(task, task.cmd, values), *map(shlex.quote, rest)])
            self.steps.append(Step(line=line, cwd=prefix.rstrip("/") or None, env=env, task=name))
        else:
            words = (*(_fill(task, word, values) for word in task.cmd), *rest)
            self.steps.append(Step(words=words, cwd=prefix.rstrip("/") or None, env=env, task=name))

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
            f"the task {task.name!r} takes {len(known)} arguments ({', '.join(known)}), not {len(arguments)}",
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
        if argument.choices and not values[name].startswith("${") and values[name] not in argument.choices:
            raise InvalidTask(
                f"{values[name]!r} is no {name} of the task {task.name!r}",
                hint=f"one of: {', '.join(argument.choices)}",
            )
    return values, ()


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


def tool_table(manifest: Path | None, task: str | None) -> dict[str, Any]:
    """``[tool.wingspan]`` of a manifest, with ``[tool.wingspan.tasks.TASK]`` on top of it.

    Raises:
        InvalidTask: It has a key that nobody knows.
    """
    if manifest is None:
        return {}
    from wingspan.environments.manifest_reader import parse_toml

    document = parse_toml(manifest.read_text(encoding="utf-8"))
    table = dict(document.get("tool", {}).get("wingspan", {}))
    own = dict(table.pop("tasks", {}).get(task or "", {}))
    known = {
        "inputs",
        "outputs",
        "checkpoint",
        "cpus",
        "memory",
        "disk",
        "time",
        "gpus",
        "env",
        "profile",
        "switches",
    }
    for name, part in (("[tool.wingspan]", table), (f"[tool.wingspan.tasks.{task}]", own)):
        unknown = sorted(set(part) - known)
        if unknown:
            raise InvalidTask(
                f"{manifest}: {name} has a key {unknown[0]!r}",
                hint=f"it may have: {', '.join(sorted(known))}",
            )
    return {**table, **own}
