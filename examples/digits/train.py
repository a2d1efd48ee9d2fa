"""Train a small convolutional network on handwritten digits.

With MNIST_data.tar.gz in the working folder (MNIST's four idx files, gzipped or not) it trains on that,
otherwise on digits.csv.gz: 1797 digits of 8 x 8 pixels from 43 people, as scikit-learn has them.
"""

import argparse
import gzip
import random
import struct
import tarfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn


def network(side: int) -> nn.Module:
    """Two convolutions, pooled, and two layers on top; `side` is the images' edge in pixels."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(64 * (side // 2) ** 2, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )


def read_idx(data: bytes) -> np.ndarray:
    """An array in the idx format of MNIST's files."""
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    dimensions = data[3]
    shape = struct.unpack(f">{dimensions}I", data[4 : 4 + 4 * dimensions])
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def load_digits(folder: Path) -> list[torch.Tensor]:
    """Training images and labels, test images and labels; pixels from 0 to 1."""
    archive = folder / "MNIST_data.tar.gz"
    if archive.exists():
        found = {}
        with tarfile.open(archive) as tar:
            for member in tar:
                name = Path(member.name).name
                if "ubyte" in name:
                    found[name[:7].rstrip("-")] = read_idx(tar.extractfile(member).read())
        arrays = [found["train-i"] / 255, found["train-l"], found["t10k-im"] / 255, found["t10k-la"]]
    else:
        rows = np.loadtxt(folder / "digits.csv.gz", delimiter=",", dtype=np.int64)
        rows = np.random.default_rng(0).permutation(rows)
        pixels, digits = rows[:, :-1].reshape(-1, 8, 8) / 16, rows[:, -1]
        test = len(rows) // 5
        arrays = [pixels[test:], digits[test:], pixels[:test], digits[:test]]
    images = [torch.tensor(np.asarray(arrays[n]), dtype=torch.float32).unsqueeze(1) for n in (0, 2)]
    labels = [torch.tensor(np.asarray(arrays[n]), dtype=torch.int64) for n in (1, 3)]
    return [images[0], labels[0], images[1], labels[1]]


def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    model.eval()
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save-model", action="store_true", help="write mnist_cnn.pt")
    options = parser.parse_args()
    random.seed(options.seed)
    torch.manual_seed(options.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    images, labels, test_images, test_labels = (part.to(device) for part in load_digits(Path()))
    print(
        f"PyTorch {torch.__version__} on {name}: {len(images)} images of {images.shape[-1]} pixels",
        flush=True,
    )
    model = network(images.shape[-1]).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)
    begun = time.perf_counter()
    for epoch in range(1, options.epochs + 1):
        model.train()
        order = torch.randperm(len(images), device=device)
        for batch in order.split(options.batch_size):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()
        right = accuracy(model, test_images, test_labels)
        print(f"epoch {epoch}: loss {loss.item():.3f}, test accuracy {right:.4f}", flush=True)
    print(f"{time.perf_counter() - begun:.1f} s", flush=True)
    if options.save_model:
        torch.save({"side": images.shape[-1], "weights": model.state_dict()}, "mnist_cnn.pt")


if __name__ == "__main__":
    main()
