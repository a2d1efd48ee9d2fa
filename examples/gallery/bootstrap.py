"""A bootstrap: how sure is the correlation of two lengths?

Petals and sepals of 150 irises (R. A. Fisher, 1936; scikit-learn's copy). Each component draws 200
samples with replacement. Its random numbers follow from the map's seed and its own number: they
never repeat those of another component, and a rerun draws the same.
"""

from __future__ import annotations

import wingspan


def correlations(samples: int) -> list[float]:
    """The correlation in each of some samples with replacement."""
    import numpy as np
    from sklearn.datasets import load_iris

    random = np.random.default_rng(wingspan.component().seed_sequence)
    flowers = load_iris().data
    sepal, petal = flowers[:, 0], flowers[:, 2]
    chosen = random.integers(len(flowers), size=(samples, len(flowers)))
    return [float(np.corrcoef(sepal[rows], petal[rows])[0, 1]) for rows in chosen]


def draw(values: list[float], low: float, high: float) -> None:
    """The distribution with its interval: bootstrap.png."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    axes.hist(values, bins=60, color="tab:blue")
    axes.axvspan(low, high, alpha=0.2, color="tab:orange", label="95 % of the samples")
    axes.set(xlabel="correlation of sepal length and petal length", ylabel="samples")
    axes.set_title(f"{len(values):,} bootstrap samples of 150 irises")
    axes.legend()
    figure.savefig("bootstrap.png", dpi=120)


if __name__ == "__main__":
    m = wingspan.map(correlations, [200] * 25, tag="bootstrap", options=wingspan.Options(seed=1936))
    values = sorted(value for part in m for value in part)
    low, high = values[len(values) // 40], values[-len(values) // 40]
    draw(values, low, high)
    print(f"correlation: between {low:.3f} and {high:.3f} in 95 % of {len(values):,} samples")
    m.remove()
