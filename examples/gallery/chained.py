"""Chained maps: each step begins as its inputs arrive.

Breast cancer data (scikit-learn's copy of the UCI data set). The first map learns on one part of
the data each, the second judges what it gets on another part, and the third is a single component
that puts the answers together. All three are made at once; none waits for this program.
"""

from __future__ import annotations

from typing import Any

import wingspan

FOLDS = 8


def learn(fold: int) -> tuple[int, Any]:
    """A forest that has not seen one of the folds."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier

    x, y = load_breast_cancer(return_X_y=True)
    seen = [row for row in range(len(y)) if row % FOLDS != fold]
    return fold, RandomForestClassifier(25, random_state=0).fit(x[seen], y[seen])


def judge(learned: tuple[int, Any]) -> list[tuple[float, int]]:
    """What the forest says of the fold that it has not seen, and what is true."""
    from sklearn.datasets import load_breast_cancer

    fold, forest = learned
    x, y = load_breast_cancer(return_X_y=True)
    said = forest.predict_proba(x[fold::FOLDS])[:, 1]
    return [(float(probability), int(truth)) for probability, truth in zip(said, y[fold::FOLDS], strict=True)]


def draw(pairs: list[tuple[float, int]]) -> None:
    """How sure the forests were, by what is true: chained.png."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    parts = [[said for said, truth in pairs if truth == wanted] for wanted in (0, 1)]
    axes.hist(parts, bins=20, label=["malignant", "benign"])
    axes.set(xlabel="probability of benign, as the forests say", ylabel="tumours")
    axes.legend(title="in truth")
    figure.savefig("chained.png", dpi=120)


if __name__ == "__main__":
    learned = wingspan.map(learn, range(FOLDS), tag="chain-learn")
    judged = learned.map(judge, tag="chain-judge")
    together = judged.reduce(lambda a, b: a + b, tag="chain-all")
    pairs = together[0]
    draw(pairs)
    right = sum((said > 0.5) == bool(truth) for said, truth in pairs)
    print(f"{len(pairs)} tumours, {100 * right / len(pairs):.1f} % told right")
    for m in (together, judged, learned):
        m.remove()
