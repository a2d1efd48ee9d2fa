"""Rows of a table: a pandas DataFrame goes in, and one comes out.

Wines again. Every row is a component: how unusual is this wine among all others of its grower?
"""

from __future__ import annotations

from typing import Any

import wingspan


def load() -> Any:
    """The wines as a pandas.DataFrame."""
    from sklearn.datasets import load_wine

    return load_wine(as_frame=True).frame


def distance(wine: Any) -> float:
    """How far a wine is from the mean of its grower's others, in standard deviations (Mahalanobis)."""
    import numpy as np

    table = wingspan.once(load)
    others = (
        table[(table.target == wine.target) & (table.index != wine.Index)].drop(columns="target").to_numpy()
    )
    from_mean = np.array(wine[1:-1]) - others.mean(axis=0)
    return float(np.sqrt(from_mean @ np.linalg.pinv(np.cov(others.T)) @ from_mean))


def draw(table: Any) -> None:
    """Wines by alcohol and colour, the unusual ones larger: dataframe.png."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for grower, wines in table.groupby("target"):
        sizes = wines.distance.to_numpy() ** 2
        axes.scatter(wines.alcohol, wines.color_intensity, s=sizes, alpha=0.6, label=f"grower {grower}")
    axes.set(xlabel="alcohol (%)", ylabel="intensity of the colour", title="The larger, the more unusual")
    axes.legend()
    figure.savefig("dataframe.png", dpi=120)


if __name__ == "__main__":
    wines = load()
    m = wingspan.map(distance, wines.itertuples(), tag="wines")
    wines["distance"] = list(m)
    draw(wines)
    strange = wines.distance.idxmax()
    print(f"{len(m)} wines; the most unusual is number {strange}, {wines.distance.max():.1f} deviations off")
    m.remove()
