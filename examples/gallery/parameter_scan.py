"""A parameter scan: which number of neighbours, and which scaling, tells wines apart best?

178 wines of three growers (scikit-learn's copy of the UCI data set "Wine"). Every combination of
two parameters is a component; the outputs become a picture with one line for each scaling.
"""

from __future__ import annotations

import itertools

import wingspan

NEIGHBOURS = range(1, 41, 3)
SCALINGS = ["none", "standard", "rank"]


def accuracy(neighbours: int, scaling: str) -> float:
    """Share of the wines that are told apart, by 5-fold cross-validation."""
    from sklearn.datasets import load_wine
    from sklearn.model_selection import cross_val_score
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, QuantileTransformer, StandardScaler

    steps = {
        "none": FunctionTransformer(),
        "standard": StandardScaler(),
        "rank": QuantileTransformer(n_quantiles=50),
    }
    model = make_pipeline(steps[scaling], KNeighborsClassifier(neighbours))
    return float(cross_val_score(model, *load_wine(return_X_y=True), cv=5).mean())


def draw(scores: dict[tuple[int, str], float]) -> None:
    """One line for each scaling: parameter_scan.png."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for scaling in SCALINGS:
        axes.plot(NEIGHBOURS, [100 * scores[k, scaling] for k in NEIGHBOURS], marker="o", label=scaling)
    axes.set(xlabel="neighbours", ylabel="wines told apart (%)", title="Wines by their nearest neighbours")
    axes.legend(title="scaling")
    figure.savefig("parameter_scan.png", dpi=120)


if __name__ == "__main__":
    settings = list(itertools.product(NEIGHBOURS, SCALINGS))
    m = wingspan.starmap(accuracy, settings, tag="parameter-scan")
    scores = dict(zip(settings, m, strict=True))
    draw(scores)
    best = max(scores, key=scores.__getitem__)
    print(f"best of {len(m)}: {best[0]} neighbours, scaling {best[1]}: {100 * scores[best]:.1f} %")
    m.remove()
