"""A training sweep with checkpoints: no epoch is lost when a machine is.

Scikit-learn's handwritten digits, and a network for each learning rate. After each epoch the
network is kept as a checkpoint. The component that begins again (here after an error that is raised
on purpose) goes on from there.
"""

from __future__ import annotations

import pickle

import wingspan

RATES = [0.0001, 0.001, 0.01, 0.1]
EPOCHS = 12


def train(rate: float) -> list[float]:
    """The share of images that are read right after each epoch."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    component = wingspan.component()
    kept = component.scratch / "network.pickle"
    x, x_test, y, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
    network, curve = MLPClassifier([32], learning_rate_init=rate, random_state=0), []
    if component.restored:
        network, curve = pickle.loads(kept.read_bytes())
    while len(curve) < EPOCHS:
        network.partial_fit(x / 16, y, classes=range(10))
        curve.append(float(network.score(x_test / 16, y_test)))
        kept.write_bytes(pickle.dumps((network, curve)))
        component.checkpoint(kept)
        component.progress(len(curve) / EPOCHS, f"{100 * curve[-1]:.0f} %")
        if len(curve) == EPOCHS // 2 and component.attempt == 1:
            raise OSError("the machine fails")
    return [*curve, float(component.restored)]


def draw(curves: dict[float, list[float]]) -> None:
    """A learning curve for each rate: training.png."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for rate, curve in curves.items():
        axes.plot(range(1, EPOCHS + 1), [100 * share for share in curve], marker=".", label=f"{rate:g}")
    axes.axvline(EPOCHS / 2, linestyle=":", color="grey")
    axes.set(xlabel="epoch (dotted: begun again)", ylabel="digits read right (%)")
    axes.legend(title="learning rate")
    figure.savefig("training.png", dpi=120)


if __name__ == "__main__":
    m = wingspan.map(train, RATES, tag="training", options=wingspan.Options(retries=1))
    *curves, restored = zip(*m, strict=True)
    draw(dict(zip(RATES, zip(*curves, strict=True), strict=True)))
    best = max(zip(curves[-1], RATES, strict=True))
    print(
        f"all {sum(map(bool, restored))} went on from a checkpoint; best rate {best[1]:g}: {100 * best[0]:.1f} %"
    )
    m.remove()
