"""Environments of people who do not use Pixi: what they have becomes a Pixi workspace with a lock.

source.py     what there is: a requirements file, a uv.lock, an environment.yml, a script, …
pypi.py       wheels, by uv, which resolves, and packaging, which chooses
conda.py      conda packages, by py-rattler's solver, or as a lock or an environment names them
installed.py  what is in the environment that is active
writing.py    pixi.toml and pixi.lock
"""

from __future__ import annotations

from wingspan.environments.importing.importing import Imported, import_environment

__all__ = ["Imported", "import_environment"]
