"""Write tests/data/locks/needs.json, what is derived from the real locks. Read it before committing it."""

from __future__ import annotations

import json
import lzma
import os
import shutil
import tempfile
from pathlib import Path

from wingspan.environments import Workspace, derive_needs

LOCKS = Path(__file__).parent.parent / "tests" / "data" / "locks"


def main() -> None:
    derived = {}
    with tempfile.TemporaryDirectory() as name:
        for variable in ("WINGSPAN_CACHE_DIR", "RATTLER_CACHE_DIR"):
            os.environ[variable] = name
        for packed in sorted(LOCKS.glob("*/pixi.lock.xz")):
            folder = Path(name) / packed.parent.name
            folder.mkdir()
            (folder / "pixi.lock").write_bytes(lzma.decompress(packed.read_bytes()))
            shutil.copyfile(packed.parent / "pixi.toml", folder / "pixi.toml")
            workspace = Workspace.open(folder)
            for environment in workspace.environments:
                for platform in workspace.platforms(environment):
                    needs = derive_needs(workspace.load(environment, platform.name))
                    derived[f"{folder.name} {environment} {platform.label}"] = needs.to_json()
    (LOCKS / "needs.json").write_text(
        json.dumps(derived, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
