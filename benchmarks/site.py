"""What real workers cost an access point that has as many slots: JSON on standard output.

    python benchmarks/site.py --slots 50 --workers 1 10 50 --seconds 60

A personal pool of its own, with as many slots as are asked for, whatever cores there are: the jobs sleep. It
is used as a site's pool is: jobs share no files with the access point, speak with it by chirp, and look every
ten seconds only whether what they do is still wanted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path

import wingspan
from wingspan._python import this_python
from wingspan.maps._bench import measure_load
from wingspan.pools.htcondor import PersonalHTCondorPool
from wingspan.pools.personal import PersonalPool


class AsASite(PersonalHTCondorPool):
    """The personal pool, as if its machines were others, and not this person's."""

    shares_files = False
    limits_access = True

    def launch(self) -> tuple[str, tuple[str, ...], bool]:
        return "/usr/bin/env", ("-u", "_WINGSPAN_PERSONAL_POOL", this_python()), False

    def reschedule(self) -> None:
        """A site's schedd is left alone."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slots", type=int, default=50)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wingspan-site-", dir="/var/tmp") as name:
        os.environ["WINGSPAN_DATA_DIR"] = str(Path(name) / "data")
        personal = PersonalPool(Path(name) / "data" / "personal-pool", cpus=options.slots)
        personal.start()
        try:
            pool = AsASite(personal)
            loads = [measure_load(pool, count, options.seconds).to_json() for count in options.workers]
            wingspan.clean(all=True)
        finally:
            personal.stop()
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "slots": options.slots}
    print(json.dumps({"what": "site", "machine": machine, "loads": loads}, indent=1))


if __name__ == "__main__":
    main()
