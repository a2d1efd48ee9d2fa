"""Which settings read handwritten digits best? A hyper-parameter sweep on a pool of your own.

Scikit-learn's 1,797 images of handwritten digits (E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten
Digits", UCI Machine Learning Repository, 1998) are read by support vector machines with 120 different
settings, each judged by 3-fold cross-validation. Every setting is one component of a map; the map runs on a
personal HTCondor pool.

    make demo
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import wingspan

TAG = "digits-demo"
OUTPUT = Path(__file__).resolve().parent.parent / "demo-output"
#: Penalty of the errors, and width of the kernel: both matter by their order of magnitude.
PENALTIES = [10 ** (step / 2) for step in range(-1, 9)]
WIDTHS = [10 ** (step / 4) for step in range(-21, -9)]


class Setting(NamedTuple):
    """One component's input."""

    C: float
    gamma: float


def accuracy(setting: Setting) -> float:
    """Share of the images that are read right, of those that were not learned from."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.svm import SVC
    from threadpoolctl import threadpool_limits

    images, digits = load_digits(return_X_y=True)
    folds = StratifiedKFold(n_splits=3, shuffle=True, random_state=0)
    # One thread each: there are as many workers as cores already.
    with threadpool_limits(limits=1):
        scores = cross_val_score(SVC(C=setting.C, gamma=setting.gamma), images, digits, cv=folds)
    return float(scores.mean())


def begin(settings: list[Setting]) -> wingspan.Map:
    """The map, on the personal pool; where that cannot be had, on plain processes."""
    wingspan.remove(TAG, missing_ok=True)
    try:
        return wingspan.map(accuracy, settings, tag=TAG, pool=os.environ.get("WINGSPAN_POOL", "personal"))
    except wingspan.PoolError as error:
        print(f"No HTCondor is to be had here ({error.message}): plain processes instead.")
        return wingspan.map(accuracy, settings, tag=TAG, pool="local")


def watch(m: wingspan.Map) -> None:
    """Show how far it is: a bar on a terminal, lines elsewhere."""
    if sys.stderr.isatty():
        m.wait()
        return
    for done, _ in enumerate(m.iter_as_available(), start=1):
        if done % 24 == 0:
            print(f"  {done} of {len(m)}", flush=True)


def draw(m: wingspan.Map, best: Setting, path: Path) -> None:
    """A heat map of all settings as a PNG file."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np
    from matplotlib.colors import LogNorm

    wrong = 100 * (1 - np.array(list(m)).reshape(len(PENALTIES), len(WIDTHS)))
    figure, axes = plt.subplots(figsize=(7.5, 6), layout="constrained")
    # Errors on a logarithmic scale: what matters is between 1 % and 2 %, and the worst settings have 90 %.
    picture = axes.pcolormesh(WIDTHS, PENALTIES, wrong, shading="nearest", cmap="viridis_r", norm=LogNorm())
    axes.plot(best.gamma, best.C, marker="*", markersize=16, color="white", markeredgecolor="black")
    axes.set(xscale="log", yscale="log", xlabel="gamma (width of the kernel)", ylabel="C (penalty of errors)")
    axes.set_title(f"Handwritten digits read wrong: {wrong.min():.1f} % with the best setting")
    bar = figure.colorbar(picture, label="% of images read wrong, 3-fold cross-validation", format="%g")
    bar.ax.yaxis.set_minor_formatter("")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Sweep, draw, and read the results again from another process."""
    settings = [Setting(c, gamma) for c in PENALTIES for gamma in WIDTHS]
    print("Which settings of a support vector machine read handwritten digits best?")
    print(
        f"1,797 images, {len(settings)} settings, 3-fold cross-validation: wingspan.map(accuracy, settings)"
    )
    print("The pool is started; the first time HTCondor is obtained for it (25 MB).", flush=True)
    begun = time.monotonic()
    m = begin(settings)
    (pool,) = m.status().pools
    print(f"{len(m)} components are on their way to the {pool} pool.", flush=True)
    watch(m)
    took = time.monotonic() - begun
    busy = sum(measures.wall for measures in m.runtimes.values())
    best, score = max(m.iter_with_inputs(), key=lambda pair: pair[1])
    draw(m, best, OUTPUT / "accuracy.png")
    print(f"\nDone in {took:.0f} s ({busy:.0f} s of computing).")
    print(
        f"Best: C = {best.C:.3g}, gamma = {best.gamma:.3g}: {100 * score:.1f} % of the images are read right."
    )
    print(f"Heat map of all settings: {OUTPUT / 'accuracy.png'}")

    lines = ["import wingspan", f'm = wingspan.load("{TAG}")', "print(len(m), max(m))"]
    print("\nThe results stay. Another process, which knows nothing but the tag:", flush=True)
    for line in lines:
        print(f"  >>> {line}", flush=True)
    told = subprocess.run(
        [sys.executable, "-c", "; ".join(lines)], check=True, capture_output=True, text=True
    )
    print(f"  {told.stdout.strip()}")
    command = Path(sys.executable).parent / "wingspan"
    shown = command.relative_to(Path.cwd()) if command.is_relative_to(Path.cwd()) else command
    print(
        f"\nGo on with:  {shown} status {TAG}  (also: maps, errors, rerun, rm, pool status, pool stop, --help)"
    )


if __name__ == "__main__":
    main()
