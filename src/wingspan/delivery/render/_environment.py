"""The environment of rendered jobs: ``enter.sh``, which starts a command in it, and the files beside that."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wingspan._shell import Shell, filled, quoted, words
from wingspan.delivery.render._folder import Target, put
from wingspan.errors import SettingsError
from wingspan.pools.submit_description import submit_line, submit_value
from wingspan.worker import trust

if TYPE_CHECKING:
    from wingspan.environments.bundles import Bundle

__all__ = ["RenderedEnvironment"]

_SCRIPTS = Path(__file__).with_name("scripts")
_CHECK = Shell("# The bundle is checked against its SHA-256 before anything in it runs.")
_CONTAINER = Shell(
    "# HTCondor has started the image, and put it into the job's folder: it is checked against its SHA-256 before any\n"
    "# command of the job runs."
)


class RenderedEnvironment:
    """A bundle, or an image that has the environment, in a rendered folder.

    Attributes:
        container: The container universe starts the image; otherwise the starter makes the bundle available.
        carried: Names of the files beside ``enter.sh``; the bundle, or its address, is the last.
    """

    def __init__(
        self, target: Target, bundle: Bundle | None, image: str | None = None, bundle_url: str | None = None
    ) -> None:
        self.target: str = target
        self.bundle: Bundle | None = bundle
        self.image: str | None = image
        self.bundle_url: str | None = bundle_url
        self.container: bool = target == "htcondor" and (
            image is not None or (bundle is not None and bundle.kind == "sif")
        )
        self.carried: list[str] = []

    def __bool__(self) -> bool:
        """There is something to enter."""
        return self.bundle is not None or self.image is not None

    def described(self) -> list[tuple[str, str]]:
        """The files beside ``enter.sh``, each with what it is."""
        *programs, bundle = self.carried or [""]
        code = {layer.path.name for layer in self.bundle.layers} if self.bundle else set()
        what = {
            True: "the workspace's own code",
            False: "what makes the environment available where a job runs",
        }
        rows = [(name, what[name in code]) for name in programs]
        return [*rows, (bundle, "the environment")] if bundle and "://" not in bundle else rows

    @property
    def start(self) -> tuple[str, ...]:
        """What stands before a command in a script of the job."""
        if not self:
            return ()
        return ("sh", Shell('"$wingspan_folder/enter.sh"') if self.target == "slurm" else "enter.sh")

    @property
    def container_image(self) -> str:
        """The image for the container universe."""
        return self.image or self.carried[-1]

    def image_lines(self) -> list[str]:
        """The lines of a submit description that name the image."""
        lines = ["universe = container", submit_line("container_image", submit_value(self.container_image))]
        if self._lies_here:  # HTCondor sends it; an image of a registry is fetched by the machine
            lines += [
                "# Sent once to each machine, where HTCondor knows how to.",
                "if version >= 25.0",
                "container_is_common = true",
                "endif",
            ]
        return lines

    def transfer_lines(self, others: Sequence[str]) -> list[str]:
        """The lines of a submit description that send it, together with `others`, to each job."""
        own = ["enter.sh", *map(submit_value, self.carried[:-1])] if self else []
        others = list(map(submit_value, others))
        rest = ", ".join([*others, *own])
        if self.bundle is None or self.image is not None or self.container:
            return [submit_line("transfer_input_files", rest)] if rest else []
        bundle = submit_value(self.carried[-1])
        if not self._lies_here:
            return [submit_line("transfer_input_files", ", ".join(filter(None, [rest, bundle])))]
        return [
            "# The environment is the same for all jobs: sent once to each machine, where HTCondor knows how to.",
            "if version >= 25.14",
            f"transfer_common_input = {', '.join([*own, bundle])}",
            *([submit_line("transfer_input_files", ", ".join(others))] if others else []),
            "else",
            f"transfer_input_files = {rest}, {bundle}",
            "endif",
        ]

    @property
    def _lies_here(self) -> bool:
        """The bundle is a file beside ``enter.sh``."""
        return self.bundle is not None and self.image is None and self.bundle_url is None

    @property
    def size(self) -> int:
        """Bytes that it takes of a job's disk."""
        return self.bundle.disk_bytes() if self.bundle is not None and self.image is None else 0

    def write(self, folder: Path) -> None:
        """Write ``enter.sh`` into `folder`, and put beside it what it needs.

        Raises:
            SettingsError: The bundle's address has another name than the bundle.
        """
        if not self:
            return
        if self.image is not None:
            put(folder, "enter.sh", self._enter_container(), trust.PROGRAM)
            return
        from wingspan.environments.bundles import starter_command

        assert self.bundle is not None
        start = starter_command(self.bundle, ["COMMAND"], container=self.container)
        others = (path for path in start.input_files if path != self.bundle.path)
        for path in (start.executable, *others, self.bundle.path):
            self._carry(folder, path)
        beside = {path.name for path in (start.executable, *start.input_files)}
        options = (
            Shell(f'"$wingspan_here"/{quoted(word)}') if word in beside else word
            for word in (start.executable.name, *start.arguments[:-2])
        )
        text = filled(
            _SCRIPTS / "enter.sh", why=_CONTAINER if self.container else _CHECK, starter=words(options)
        )
        put(folder, "enter.sh", text, trust.PROGRAM)

    def _enter_container(self) -> str:
        prefix = (self.bundle.prefix if self.bundle else None) or "/opt/wingspan/environment"
        return filled(_SCRIPTS / "enter_container.sh", prefix=prefix)

    def _carry(self, folder: Path, path: Path) -> None:
        self.carried.append(path.name)
        if self.bundle is not None and path == self.bundle.path and self.bundle_url is not None:
            if self.bundle_url.rsplit("/", 1)[-1] != path.name:
                raise SettingsError(
                    f"{self.bundle_url} does not end in the bundle's name {path.name}",
                    hint="wingspan env publish prints the address",
                )
            self.carried[-1] = self.bundle_url
            return
        if path.suffix == ".sh" and self.bundle is not None and path != self.bundle.path:
            # Not a link: what is rendered may be edited, and the cache has the other name.
            put(folder, path.name, path.read_text(encoding="utf-8"), trust.PROGRAM)
            return
        try:
            os.link(path, folder / path.name)
        except OSError:
            trust.copy_file(str(path), str(folder / path.name))
