"""Chunks of a text: map, then reduce.

Python ships its own language reference as text. Its chapters are counted by one map, and a second
map with a single component adds the counts up, as soon as they are there.
"""

from __future__ import annotations

import re
from collections import Counter
from pydoc_data.topics import topics

import wingspan


def count(text: str) -> Counter[str]:
    """How often each word of six letters or more stands in a text."""
    return Counter(re.findall(r"[a-z]{6,}", text.lower()))


def draw(words: list[tuple[str, int]]) -> None:
    """The words and how often they stand: text_chunks.png."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    axes.barh([word for word, _ in reversed(words)], [often for _, often in reversed(words)])
    axes.set(xlabel="times", title="Words of Python's language reference")
    figure.savefig("text_chunks.png", dpi=120)


if __name__ == "__main__":
    counts = wingspan.map(count, topics.values(), tag="words")
    total = counts.reduce(lambda a, b: a + b, tag="words-total")
    words = total[0].most_common(12)
    draw(words)
    print(f"{len(counts)} chapters, {total[0].total():,} long words, most of all: {words[0][0]}")
    total.remove()
    counts.remove()
