"""Load mnist_cnn.pt, predict the test images, print how many were right."""

import sys
from pathlib import Path

import torch
from train import accuracy, load_digits, network

saved = torch.load(
    sys.argv[1] if len(sys.argv) > 1 else "mnist_cnn.pt", map_location="cpu", weights_only=True
)
model = network(saved["side"])
model.load_state_dict(saved["weights"])
_, _, images, labels = load_digits(Path())
print(f"test accuracy {accuracy(model, images, labels):.4f}")
