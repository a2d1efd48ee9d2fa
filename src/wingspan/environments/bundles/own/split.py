"""Tell the workspace's own code from locked packages, and make a thin layer of it."""

from __future__ import annotations

from pathlib import Path

from wingspan._warn import warn
from wingspan.environments.bundles.own.layer import (
    Contents,
    Layer,
    project_contents,
    wheel_contents,
    write_layer,
)
from wingspan.environments.bundles.own.project import read_project
from wingspan.environments.errors import UnsupportedPackages
from wingspan.environments.lock import LockedEnvironment, LockedPackage
from wingspan.errors import EnvironmentWarning

__all__ = ["own_layers", "without_own"]

#: Forms of packages whose source lies in a folder here.
_FOLDERS = ("directory", "conda-source")


def own_packages(env: LockedEnvironment, *, injected: bool) -> tuple[LockedPackage, ...]:
    """The packages of `env` whose source lies in a folder on this machine (editable ones, mostly).

    Args:
        env: The environment.
        injected: Wheels that were injected count, too.
    """
    root = env.lock_path.parent
    return tuple(
        one
        for one in env.packages
        if (one.form in _FOLDERS and Path(one.resolve(root)).is_dir()) or (injected and one.injected)
    )


def without_own(env: LockedEnvironment, *, injected: bool = False) -> LockedEnvironment:
    """The packages of `env` that go into its bundle; if `injected`, wheels that were injected do not."""
    own = own_packages(env, injected=injected)
    return env.without(*(one.name for one in own)) if own else env


def own_layers(env: LockedEnvironment, *, name: str, injected: bool = False) -> tuple[Layer, ...]:
    """Make a thin layer of the workspace's own packages, as their files are now; none if there are none.

    An `EnvironmentWarning` names each file that is left out.

    Args:
        env: The environment.
        name: Plain name of its bundle.
        injected: Wheels that were injected go into the layer, and not into the bundle.

    Raises:
        UnsupportedPackages: One of them cannot travel as it lies.
    """
    own = own_packages(env, injected=injected)
    if not own:
        return ()
    if env.python is None:
        raise UnsupportedPackages(
            f"the environment {env.name!r} has the package {own[0].name} and no Python that could import it",
            hint="pixi add python",
        )
    contents = Contents()
    for package in own:
        if package.form == "wheel":
            wheel_contents(Path(package.location), contents)
            continue
        project = read_project(
            Path(package.resolve(env.lock_path.parent)).resolve(),
            package.name,
            package.version,
            _site_packages(env),
        )
        for warning in project_contents(project, contents):
            warn(f"environment {env.name!r}: {warning}", EnvironmentWarning)
    what = ", ".join(one.name for one in own)
    return (write_layer(f"{name}-code", contents, what=what),)


def _site_packages(env: LockedEnvironment) -> list[Path]:
    """Where Pixi has installed the environment here, if it has."""
    return sorted((env.lock_path.parent / ".pixi/envs" / env.name).glob("lib/python*/site-packages"))
