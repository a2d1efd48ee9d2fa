"""In which order xdist's processes do the tests: what takes long comes first, and the short ones fill up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

__all__ = ["LONG", "dealt_out"]

Item = TypeVar("Item")

#: The modules that took the most time when that was measured, longest first. One that is missing here, or is
#: quick by now, does no harm.
LONG = tuple(
    f"tests/{name}.py"
    for name in (
        "environments/test_examples",
        "environments/bundles/test_activation",
        "maps/test_values",
        "environments/bundles/test_build",
        "environments/bundles/test_oci_starter",
        "pools/test_slurm",
        "notebook/test_server",
        "environments/bundles/test_composition",
        "environments/test_oci",
        "test_gallery",
        "pools/test_personal_pool",
        "environments/test_shells",
        "maps/test_htcondor_faults",
        "environments/bundles/test_images",
        "test_coming_from",
        "faults/test_rounds",
        "environments/test_runs",
        "views/test_pages",
        "environments/bundles/test_starter",
        "environments/test_notebook_images",
        "environments/test_rendered_maps",
        "maps/test_recovery",
        "environments/test_install",
        "environments/bundles/test_image",
        "environments/test_maps",
        "environments/bundles/test_clearing",
        "runs/test_runs",
        "runs/test_outputs",
        "pools/test_waiting",
        "maps/test_through_ssh",
        "maps/test_render",
        "maps/test_large_values",
        "runs/test_recovery",
        "pools/test_slurm_faults",
    )
)


def dealt_out(items: Iterable[Item], modules: Sequence[str], processes: int) -> list[Item]:
    """The tests in an order in which each of some processes begins with long modules.

    xdist gives each process an equal part of the list, one after another, and lets it take tests from the end
    of others' parts when it has none left. A long test that is near the end of a part would begin when all
    others are done. Modules stay together, as their tests share what they start.

    Args:
        items: Tests.
        modules: The module of each.
        processes: How many there are.

    >>> dealt_out("abcdefgh", ["x", "x", "x", "tests/pools/test_slurm.py"] + 4 * ["y"], 2)
    ['d', 'a', 'b', 'c', 'e', 'f', 'g', 'h']
    """
    own: dict[str, list[Item]] = {}
    short: list[Item] = []
    for item, module in zip(items, modules, strict=True):
        (own.setdefault(module, []) if module in LONG else short).append(item)
    long = [own[module] for module in LONG if module in own]
    total = len(short) + sum(map(len, long))
    ordered: list[Item] = []
    for number in range(processes):
        for module in long[number::processes]:
            ordered += module
        room = total * (number + 1) // processes - len(ordered)
        ordered += short[: max(room, 0)]
        del short[: max(room, 0)]
    return ordered + short
