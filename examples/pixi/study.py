"""How likely is it that two people of a group share a birthday?

Every worker runs in the locked environment of this workspace, the same that this program runs in.
"""

from __future__ import annotations

import sys

import wingspan


def shared(people: int) -> float:
    """The part of 20,000 groups of so many people in which two share a birthday."""
    import numpy as np

    days = np.random.default_rng(wingspan.component().seed_sequence).integers(365, size=(20_000, people))
    days.sort(axis=1)
    return float((days[:, 1:] == days[:, :-1]).any(axis=1).mean())


if __name__ == "__main__":
    pool = sys.argv[1] if len(sys.argv) > 1 else None  # for example slurm; without one, what this machine has
    options = wingspan.Options(environment=wingspan.Environment(), seed=365)
    sizes = range(5, 65, 5)
    m = wingspan.map(shared, sizes, tag="birthdays", pool=pool, options=options)
    for people, part in zip(sizes, m, strict=True):
        print(f"{people:3} people: {part:6.1%} {'#' * round(40 * part)}")
    m.remove()
