"""What the Tab key completes in commands about runs: tasks, environments, profiles, switches, files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from wingspan.cli._offered import offered

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from wingspan.environments import Workspace

__all__ = [
    "ENVIRONMENT",
    "FILE",
    "POOL",
    "PROFILE",
    "SWITCH",
    "WORDS",
    "WORDS_OR_NAME",
    "Completed",
]

if TYPE_CHECKING:
    _StringType = click.ParamType[str]
else:  # no generic in click before 8.4
    _StringType = click.ParamType


class Completed(_StringType):
    """Any text; subclasses say what the Tab key offers. Whatever goes wrong with that, nothing is offered."""

    name = "text"

    def choices(self, ctx: click.Context) -> Iterable[tuple[str, str | None]]:
        """What could be given, and a line of help on it."""
        raise NotImplementedError

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        with contextlib.suppress(Exception):
            return offered(self.choices(ctx), incomplete)
        return []


def _workspace() -> Workspace:
    from wingspan.environments import Workspace

    return Workspace.open()


class _Environment(Completed):
    def choices(self, ctx: click.Context) -> Iterable[tuple[str, str | None]]:
        return [(name, None) for name in _workspace().environments]


class _Profile(Completed):
    def choices(self, ctx: click.Context) -> Iterable[tuple[str, str | None]]:
        from wingspan.pools.profiles import profiles

        return [(name, profile.title) for name, profile in profiles().items()]


class _Switch(Completed):
    def choices(self, ctx: click.Context) -> Iterable[tuple[str, str | None]]:
        from wingspan.pools.profiles import chosen_profile, needs_network
        from wingspan.settings import load_settings

        named = ctx.params.get("profile")
        if named and needs_network(named, load_settings()):  # the Tab key fetches nothing
            return []
        profile = chosen_profile(named or None)
        return [(name, switch.help) for name, switch in profile.switches.items()]


class _PoolKind(Completed):
    """The name of a kind of pool. Defining a command imports no engine: names are looked up when needed."""

    name = "pool"

    def choices(self, ctx: click.Context | None) -> Iterable[tuple[str, str | None]]:
        from wingspan.pools import pool_kinds

        return [(kind, None) for kind in pool_kinds()]

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from wingspan.pools import is_kind

        known = [kind for kind, _ in self.choices(ctx)]
        if not is_kind(value):
            self.fail(
                f"{value!r} is not one of {', '.join(map(repr, known))}, and neither ssh://… nor schedd://….",
                param,
                ctx,
            )
        return str(value)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"[{'|'.join(kind for kind, _ in self.choices(ctx))}]"


class _File(_StringType):
    """A path, which the shell itself completes, or a URL."""

    name = "path"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


class _Words(_File):
    """A task and its arguments; with `names` also the name of a map or a run."""

    def __init__(self, names: bool = False) -> None:
        self._names = names

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        found: list[CompletionItem] = []
        if not ctx.params.get("words") and not ctx.meta.get("wingspan.after_dashes"):
            with contextlib.suppress(Exception):
                here = _workspace()
                known = {
                    name: task
                    for environment in here.environments
                    for name, task in here.tasks(environment).items()
                }
                visible = [
                    (name, task.description) for name, task in sorted(known.items()) if not task.hidden
                ]
                found = offered(visible, incomplete)
            if self._names:
                from wingspan.cli._output import TAG

                found += TAG.shell_complete(ctx, param, incomplete)
        return found or super().shell_complete(ctx, param, incomplete)


ENVIRONMENT, PROFILE, SWITCH, FILE, POOL = _Environment(), _Profile(), _Switch(), _File(), _PoolKind()
WORDS, WORDS_OR_NAME = _Words(), _Words(names=True)
