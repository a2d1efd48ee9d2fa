"""Image processing with files: files go out, files come back.

Two photographs that scikit-learn ships are cut into tiles, a file each. A component gets one file,
finds the edges in it, and sends a file back. At the end the tiles are one picture again.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import wingspan

SIDE = 160


def edges(tile: Path) -> str:
    """Write how much the brightness changes at each point of a tile, and send that file."""
    import matplotlib.pyplot as plt
    import numpy as np

    brightness = plt.imread(tile)[..., :3].mean(axis=-1)
    change = np.hypot(*np.gradient(brightness))
    plt.imsave(tile.name, change, cmap="magma", vmin=0, vmax=0.25)
    wingspan.component().transfer_output_files(tile.name)
    return tile.name


def cut(folder: Path) -> list[Path]:
    """Tiles of the photographs as PNG files; a name says where the tile was."""
    import matplotlib.pyplot as plt
    from sklearn.datasets import load_sample_images

    tiles = []
    for number, photo in enumerate(load_sample_images().images):
        for row in range(0, photo.shape[0] - SIDE + 1, SIDE):
            for column in range(0, photo.shape[1] - SIDE + 1, SIDE):
                tiles.append(folder / f"{number}-{row}-{column}.png")
                plt.imsave(tiles[-1], photo[row : row + SIDE, column : column + SIDE])
    return tiles


def paste(files: list[Path]) -> None:
    """All tiles in their places, at half the size: images.png."""
    import matplotlib.pyplot as plt
    import numpy as np

    canvas = np.ones((2, 2 * SIDE, 4 * SIDE, 4))
    for file in files:
        number, row, column = map(int, file.stem.split("-"))
        canvas[number, row : row + SIDE, column : column + SIDE] = plt.imread(file)
    plt.imsave("images.png", np.concatenate(list(canvas), axis=1)[::2, ::2])


if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp())
    m = wingspan.map(edges, [wingspan.TransferPath(tile) for tile in cut(folder)], tag="images")
    files = [m.output_files[number] / name for number, name in enumerate(m)]
    paste(files)
    print(f"{len(files)} tiles, {sum(file.stat().st_size for file in files):,} bytes of edges")
    m.remove()
    shutil.rmtree(folder)
