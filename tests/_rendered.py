"""What a rendered run leaves in its folder: outputs and logs, by the numbers of submission and job."""

from __future__ import annotations

from pathlib import Path

__all__ = ["errors_of", "output_of"]


def output_of(folder: Path, number: int, name: str) -> Path:
    """The file `name` among the outputs of job `number` of the one submission."""
    (outputs,) = folder.glob(f"outputs-*-{number}")
    return outputs / name


def errors_of(folder: Path, number: int = 0) -> str:
    """What job `number` of the one submission printed on standard error."""
    (log,) = folder.glob(f"logs/*.{number}.err")
    return log.read_text()
