"""A study that grows: only what is missing is computed.

How far does a penalty help to predict how diabetes goes on (scikit-learn's copy of the data of
Efron and others, 2004)? First a coarse grid of penalties, then a finer one. The second map takes
the outputs that the first one has.
"""

from __future__ import annotations

import wingspan


@wingspan.memo
def error(penalty: float) -> float:
    """Root of the mean squared error of a lasso, by 10-fold cross-validation."""
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import Lasso
    from sklearn.model_selection import cross_val_score

    x, y = load_diabetes(return_X_y=True)
    scores = cross_val_score(Lasso(penalty), x, y, cv=10, scoring="neg_root_mean_squared_error")
    return float(-scores.mean())


def draw(penalties: list[float], errors: list[float], computed: set[int]) -> None:
    """Which errors were computed when: memoized.png."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    axes.plot(penalties, errors, color="grey", zorder=0)
    for label, new in (("first map", False), ("second map", True)):
        chosen = [number for number in range(len(penalties)) if (number in computed) == new]
        axes.scatter([penalties[n] for n in chosen], [errors[n] for n in chosen], label=label)
    axes.set(xscale="log", xlabel="penalty of the lasso", ylabel="error")
    axes.legend(title="computed by")
    figure.savefig("memoized.png", dpi=120)


if __name__ == "__main__":
    coarse = error.map([10.0 ** (step / 4) for step in range(-12, 5)], tag="study-coarse")
    list(coarse)
    penalties = [10.0 ** (step / 12) for step in range(-36, 13)]
    fine = error.map(penalties, tag="study-fine")
    errors = list(fine)
    computed = {number for number in range(len(fine)) if fine.why(number).startswith("computed")}
    draw(penalties, errors, computed)
    best = min(zip(errors, penalties, strict=True))
    print(f"{len(fine)} penalties, {len(fine) - len(computed)} taken from the first map; best: {best[1]:.3f}")
    fine.remove()
    coarse.remove()
