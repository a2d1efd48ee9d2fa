"""HTMap's words on workers that have no Wingspan."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import wingspan.worker

SCRIPT = """
import sys
sys.path[:] = [path for path in sys.path if "site-packages" not in path and not path.endswith("src")]
sys.path.insert(0, sys.argv[1])
import wingspan_worker.absent as absent, wingspan_worker.inside
absent.install()
import htmap, htmap.exceptions
import wingspan.htmap
from htmap import checkpoint, mapped, transfer_output_files, TransferPath

@mapped
def double(x):
    return 2 * x

class importer:
    depth = 1

absent.install(importer)

@htmap.mapped(map_options=htmap.MapOptions(request_cpus="1"))
def triple(x):
    return 3 * x

importer.depth = 0
checkpoint("nothing")
htmap.transfer_output_files("nothing")
print(double(2), triple(2), htmap is wingspan.htmap, str(TransferPath("a") / "b"))
try:
    htmap.map(double, [1])
except ImportError as error:
    print(error)
"""


def test_htmap_can_be_imported_where_wingspan_is_not(tmp_path: Path) -> None:
    """Decorators give back the function, what components call is there, and the rest says what is missing."""
    (tmp_path / "wingspan_worker").symlink_to(Path(wingspan.worker.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-I", "-c", SCRIPT, tmp_path], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.splitlines() == [
        "4 6 True a/b",
        "wingspan.htmap.map cannot be called: Wingspan is not installed on this worker",
    ], done.stderr
