"""``wingspan env``: the group. Its commands are in modules that are imported when called."""

from __future__ import annotations

import click

from wingspan.cli._main import LazyGroup

__all__ = ["ENV_COMMANDS", "env"]

#: name: (module, attribute, short help), as in `wingspan.cli._main`.
ENV_COMMANDS: dict[str, tuple[str, str, str]] = {
    "list": ("wingspan.cli.env_lock", "list_", "The environments of a workspace, by platform."),
    "show": ("wingspan.cli.env_lock", "show", "The packages of one environment."),
    "needs": ("wingspan.cli.env_lock", "needs", "What a machine must have to run it."),
    "diff": ("wingspan.cli.env_lock", "diff", "What changed between two locks."),
    "import": (
        "wingspan.cli.env_import",
        "import_",
        "A workspace of a requirements.txt, a uv.lock and the like.",
    ),
    "bundle": ("wingspan.cli.env_bundle", "bundle", "Make one file of a locked environment."),
    "unpack": ("wingspan.cli.env_bundle", "unpack", "Unpack a bundle into a folder."),
    "verify": ("wingspan.cli.env_bundle", "verify", "Check every byte of bundles."),
    "enter": ("wingspan.cli.env_bundle", "enter", "A shell in a bundle, as a worker would see it."),
    "push": ("wingspan.cli.env_publish", "push", "Send an oci bundle to a container registry."),
    "publish": ("wingspan.cli.env_publish", "publish", "Put bundles into a store, under hashed names."),
}


class EnvGroup(LazyGroup):
    """The commands of `ENV_COMMANDS`."""

    table = ENV_COMMANDS


@click.group(cls=EnvGroup, context_settings={"help_option_names": ["-h", "--help"]})
def env() -> None:
    """Locked environments: what is in them, what a machine must have, and how they are carried there.

    A workspace is a folder with a pixi.toml (or a pyproject.toml with [tool.pixi]) and its pixi.lock.
    The lock is read, and only import writes one.
    """
