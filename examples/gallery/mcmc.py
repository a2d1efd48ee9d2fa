"""Markov chains with seeds: chains that are independent, and come out the same again.

How much does body mass raise the risk that diabetes goes on? A Bayesian regression by random-walk
Metropolis, a chain a component. The R-hat of Gelman and Rubin compares the chains.
"""

from __future__ import annotations

from typing import Any

import wingspan

STEPS = 4000


def chain(start: float) -> Any:
    """Slopes that a random walk visits, as a numpy array of STEPS numbers."""
    import numpy as np
    from sklearn.datasets import load_diabetes

    random = np.random.default_rng(wingspan.component().seed_sequence)
    x, y = load_diabetes(return_X_y=True)
    mass, progress = x[:, 2] / x[:, 2].std(), (y - y.mean()) / y.std()

    def log_posterior(slope: float) -> float:
        return float(-((progress - slope * mass) ** 2).sum() / 2 - slope**2 / 200)

    slope, visited = start, np.empty(STEPS)
    for step in range(STEPS):
        proposed = slope + random.normal(scale=0.1)
        if np.log(random.random()) < log_posterior(proposed) - log_posterior(slope):
            slope = proposed
        visited[step] = slope
    return visited


def draw(chains: Any) -> None:
    """The chains and their distribution: mcmc.png."""
    import matplotlib.pyplot as plt

    figure, (walks, shape) = plt.subplots(
        1, 2, figsize=(8, 4), sharey=True, layout="constrained", width_ratios=[2, 1]
    )
    for visited in chains:
        walks.plot(visited[:600], linewidth=0.8)
        shape.hist(visited[500:], bins=50, orientation="horizontal", histtype="step")
    walks.set(xlabel="step", ylabel="slope", title="the first 600 steps")
    shape.set(xlabel="visits", title="after 500 steps")
    figure.savefig("mcmc.png", dpi=120)


if __name__ == "__main__":
    import numpy as np

    m = wingspan.map(chain, [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0], tag="mcmc", options=wingspan.Options(seed=7))
    chains = np.array(list(m))
    draw(chains)
    settled = chains[:, 500:]
    within, between = settled.var(axis=1, ddof=1).mean(), settled.mean(axis=1).var(ddof=1)
    r_hat = np.sqrt(1 - 1 / settled.shape[1] + between / within)
    print(f"slope {settled.mean():.2f} ± {settled.std():.2f}, R-hat {r_hat:.3f} of {len(m)} chains")
    m.remove()
