"""A Pixi workspace: manifest and lock together, and the selection of one environment in it."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

from wingspan.environments import freshness
from wingspan.environments.errors import (
    LockOutdated,
    ManifestNotFound,
    UnknownEnvironment,
    UnknownPlatform,
    UnknownTask,
    nearest,
)
from wingspan.environments.freshness import Mismatch
from wingspan.environments.lock import LockedEnvironment, LockedPlatform
from wingspan.environments.lockfile import Lock
from wingspan.environments.manifest import Activation, Manifest
from wingspan.environments.manifest_reader import parse_toml, read_manifest
from wingspan.environments.platforms import choose_platform, label_platforms, native_subdir
from wingspan.environments.tasks import Task

__all__ = ["Workspace", "load_environment"]

_MANIFESTS = ("pixi.toml", "pyproject.toml")


def load_environment(
    manifest_or_lock: str | os.PathLike[str],
    environment: str = "default",
    platform: str | None = None,
    *,
    gpus: bool = False,
    check_lock: bool = True,
) -> LockedEnvironment:
    """Read one environment of a lock.

    Args:
        manifest_or_lock: ``pixi.toml``, ``pyproject.toml``, ``pixi.lock`` or a folder (or one below it).
        environment: Environment name.
        platform: Name of a platform in the manifest or the lock, or a subdir that only one platform has.
            None: the Linux platform of this machine's architecture, or the only Linux one; of several, one
            with ``__cuda`` if `gpus`, else one without.
        gpus: Whether GPUs are wanted.
        check_lock: Refuse a lock that does not satisfy its manifest.

    Raises:
        ManifestError, LockError, UnknownEnvironment, UnknownPlatform: see `wingspan.environments.errors`.
    """
    return Workspace.open(manifest_or_lock).load(environment, platform, gpus=gpus, check_lock=check_lock)


class Workspace:
    """A manifest and the lock beside it. Each is read when it is first needed.

    Attributes:
        root: The folder.
        manifest_path: The manifest, or None if there is only a lock.
        lock_path: ``pixi.lock``, or the file that `open` was given.
    """

    def __init__(self, manifest_path: Path | None, lock_path: Path) -> None:
        self.manifest_path = manifest_path
        self.lock_path = lock_path
        self.root: Path = lock_path.parent

    @classmethod
    def open(cls, path: str | os.PathLike[str] = ".") -> Workspace:
        """Open the workspace at `path`: a folder (then its parents are searched too), a manifest or a lock.

        Raises:
            ManifestNotFound: There is none.
        """
        given = Path(path).expanduser().absolute()
        if given.is_dir():
            for folder in (given, *given.parents):
                manifest = _manifest_in(folder)
                if manifest is not None:
                    return cls(manifest, folder / "pixi.lock")
                if folder == given and (folder / "pixi.lock").is_file():
                    return cls(None, folder / "pixi.lock")
            raise ManifestNotFound(
                f"{given} is in no Pixi workspace: neither it nor a folder above has a pixi.toml "
                "or a pyproject.toml with [tool.pixi]",
                hint="name the manifest or the lock, or make a workspace: pixi init",
            )
        if given.suffix == ".toml":
            return cls(given, given.parent / "pixi.lock")
        if not given.exists():
            raise ManifestNotFound(
                f"there is no {given}", hint="name a pixi.toml, a pyproject.toml, a pixi.lock or their folder"
            )
        # A lock under another name (an old one, kept for comparison) does not belong to the manifest.
        return cls(_manifest_in(given.parent) if given.name == "pixi.lock" else None, given)

    @cached_property
    def manifest(self) -> Manifest | None:
        """The manifest, or None if there is only a lock."""
        return None if self.manifest_path is None else read_manifest(self.manifest_path)

    @cached_property
    def lock(self) -> Lock:
        """The lock."""
        return Lock(self.lock_path)

    @property
    def name(self) -> str:
        """The workspace's name: the manifest's, else the folder's."""
        return self.manifest.name if self.manifest else self.root.name

    @property
    def environments(self) -> tuple[str, ...]:
        """Names of the environments, ``default`` first: the manifest's, else the lock's."""
        return tuple(self.manifest.environments) if self.manifest else self.lock.environments

    def platforms(self, environment: str = "default") -> tuple[LockedPlatform, ...]:
        """The platforms that an environment is locked for, with the manifest's names, in its order.

        Raises:
            UnknownEnvironment: The workspace has none of that name.
            LockOutdated: The manifest has it, the lock has not.
        """
        self._check_environment(environment)
        locked = self.lock.platforms(environment)
        if self.manifest is None:
            return locked
        return label_platforms(
            locked,
            self.manifest.platforms_of(environment),
            self.manifest.system_requirements(environment),
        )

    def load(
        self,
        environment: str = "default",
        platform: str | None = None,
        *,
        gpus: bool = False,
        check_lock: bool = True,
    ) -> LockedEnvironment:
        """Read one environment; the arguments are those of `load_environment`."""
        platforms = self.platforms(environment)
        where = f"environment {environment!r} of {self.lock_path}"
        try:
            chosen = choose_platform(
                platforms, platform, gpus=gpus, where=where, ordered=self.manifest is not None
            )
        except UnknownPlatform:
            if self.manifest and platform in {p.name for p in self.manifest.platforms_of(environment)}:
                raise LockOutdated(
                    f"{self.manifest_path} has platform {platform!r}, {where} has not",
                    hint="the manifest changed after the lock was written: pixi lock",
                ) from None
            raise
        env = LockedEnvironment(
            workspace=self.name,
            name=environment,
            platform=chosen,
            channels=self.lock.channels(environment),
            packages=self.lock.packages(environment, chosen.name),
            lock_path=self.lock_path,
            manifest_path=self.manifest_path,
        )
        if check_lock:
            freshness.refuse_mismatches(env, self.mismatches(env))
        return env

    def mismatches(self, env: LockedEnvironment) -> tuple[Mismatch, ...]:
        """The points where the lock does not satisfy the manifest; empty if there is no manifest."""
        return freshness.compare(self.manifest, self.lock, env) if self.manifest else ()

    def tasks(self, environment: str = "default", platform: LockedPlatform | None = None) -> dict[str, Task]:
        """The tasks of an environment by name, with those of its targets for `platform` (default: a Linux
        machine like this one).
        """
        if self.manifest is None:
            return {}
        return self.manifest.tasks(environment, platform or _HERE)

    def task(self, name: str, environment: str = "default", platform: LockedPlatform | None = None) -> Task:
        """One task.

        Raises:
            UnknownTask: The environment has none of that name; the message names the nearest.
        """
        tasks = self.tasks(environment, platform)
        if name in tasks:
            return tasks[name]
        elsewhere = [e for e in self.environments if name in self.tasks(e, platform)]
        hint = (
            f"it is a task of environment {', '.join(elsewhere)}"
            if elsewhere
            else nearest(name, [t for t in tasks if not t.startswith("_")])
        )
        raise UnknownTask(
            f"{self.manifest_path or self.lock_path}: environment {environment!r} has no task {name!r}",
            hint=hint,
        )

    def activation(self, env: LockedEnvironment) -> Activation:
        """What the manifest adds to the activation of `env`."""
        return self.manifest.activation(env.name, env.platform) if self.manifest else Activation()

    def _check_environment(self, name: str) -> None:
        if name not in self.environments:
            raise UnknownEnvironment(
                f"{self.manifest_path or self.lock_path} has no environment {name!r}",
                hint=nearest(name, self.environments),
            )
        if name not in self.lock.environments:
            raise LockOutdated(
                f"{self.manifest_path} has environment {name!r}, {self.lock_path} has not",
                hint="the manifest changed after the lock was written: pixi lock",
            )


#: The platform on which jobs execute the tasks, whatever the workspace calls it.
_HERE = LockedPlatform(name=native_subdir(), subdir=native_subdir())


def _manifest_in(folder: Path) -> Path | None:
    """The workspace's manifest of a folder, pixi.toml before pyproject.toml, as Pixi does.

    A pixi.toml with a package and no workspace belongs to the workspace in a folder above.
    """
    for name in _MANIFESTS:
        path = folder / name
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            try:
                document = parse_toml(text) if name == "pixi.toml" or "pixi" in text else {}
            except ValueError:  # the reader raises the error
                return path
            if name == "pixi.toml" and (
                "package" not in document or {"workspace", "project"} & set(document)
            ):
                return path
            if name == "pyproject.toml" and "pixi" in document.get("tool", {}):
                return path
    return None
