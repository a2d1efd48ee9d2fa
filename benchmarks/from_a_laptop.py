"""How long maps take that another machine does: JSON on standard output.

    python benchmarks/from_a_laptop.py ssh         # through SSH: a real sshd on loopback
    python benchmarks/from_a_laptop.py spool       # spooled to a schedd that sees none of our folders

``ssh``: seconds from the call to the first output, of the first map of a process (it connects, and the other
side starts) and of later ones; beside it the same map on the `local` pool of this machine. ``spool``: a map
of 1,000 components of 20 ms on four workers, spooled, and on the schedd's own host (by chirp, and with chirp
switched off), in turns. All repetitions are printed; needs what the tests need.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

COMPONENTS, WORKERS = 1000, 4


def _first_output(pool: str) -> float:
    import wingspan

    begun = time.perf_counter()
    made = wingspan.map(lambda x: x * x, range(20), pool=pool)
    next(iter(made))
    seconds = time.perf_counter() - begun
    made.wait()
    made.remove()
    return round(seconds, 3)


def ssh(folder: Path, repeat: int) -> dict[str, Any]:
    """First outputs, through SSH and without."""
    from _ssh import access_point

    (folder / "ap").mkdir()
    with access_point(folder / "ap", {"WINGSPAN_POOL": "local"}) as there:
        (folder / "config").mkdir()
        (folder / "config/config.toml").write_text(there.config_of_client())
        os.environ["WINGSPAN_CONFIG_DIR"] = str(folder / "config")
        figures: dict[str, Any] = {"first_map": _first_output("ssh://ap"), "later_maps": [], "local": []}
        _first_output("local")
        for _ in range(repeat):
            figures["later_maps"].append(_first_output("ssh://ap"))
            figures["local"].append(_first_output("local"))
        return figures


def works(x: int) -> int:
    time.sleep(0.02)
    return x


def _whole_map(pool: str, variables: Mapping[str, str], chirp: bool | None) -> float:
    import wingspan

    os.environ.update(variables)
    begun = time.perf_counter()
    made = wingspan.map(
        works, range(COMPONENTS), pool=pool, options=wingspan.Options(workers=WORKERS, chirp=chirp)
    )
    made.wait()
    assert list(made) == list(range(COMPONENTS))
    seconds = time.perf_counter() - begun
    made.remove()
    return round(seconds, 2)


def spool(folder: Path, repeat: int) -> dict[str, Any]:
    """Whole maps, spooled and on the schedd's own host."""
    from _far_schedd import schedd_elsewhere

    hidden = folder / "laptop"
    for one in (hidden, hidden / "client"):
        one.mkdir()
    with schedd_elsewhere(hidden, hidden / "client", WORKERS) as there:
        here = {"CONDOR_CONFIG": str(there.config), "WINGSPAN_DATA_DIR": str(hidden / "data")}
        own = {"CONDOR_CONFIG": str(there.own_config), "WINGSPAN_DATA_DIR": str(there.shared / "data")}
        figures: dict[str, Any] = {"spooled": [], "chirp": [], "no_chirp": []}
        for _ in range(repeat):
            figures["spooled"].append(_whole_map(there.pool, here, None))
            figures["chirp"].append(_whole_map("htcondor", own, None))
            figures["no_chirp"].append(_whole_map("htcondor", own, False))
        best = {name: min(values) for name, values in figures.items()}
        figures["spooled_to_chirp"] = round(best["spooled"] / best["chirp"], 2)
        figures["spooled_to_no_chirp"] = round(best["spooled"] / best["no_chirp"], 2)
        return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("way", choices=["ssh", "spool"], nargs="?", default="ssh")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wingspan-laptop-", dir="/var/tmp") as name:
        folder = Path(name)
        os.environ.update(WINGSPAN_DATA_DIR=str(folder / "data"), WINGSPAN_CACHE_DIR=str(folder / "cache"))
        figures = {"ssh": ssh, "spool": spool}[options.way](folder, options.repeat)
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({"what": f"from a laptop, {options.way}", "machine": machine, **figures}, indent=1))


if __name__ == "__main__":
    main()
