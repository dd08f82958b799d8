"""Trains the recipes mlp and deep with PyTorch as its users would, and prints seconds per epoch of 60,000 pictures.

Usage: torch_train.py RECIPE STEPS THREADS. The data is noise of MNIST's size: the time does not depend on it. Adam is
the fused one, the faster of PyTorch's two here.
"""
import sys
import time

import torch
from torch import nn

RECIPES = {
    "mlp": (32, 1e-3, lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))),
    "deep": (50, 1e-4, lambda: nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 1024), nn.ReLU(), nn.Dropout(0.5), nn.Linear(1024, 10))),
}


def main():
    recipe, steps, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    batch, rate, make = RECIPES[recipe]
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    pictures = torch.rand(10_000, 1, 28, 28)
    labels = torch.randint(0, 10, (10_000,))
    network = make()
    optimizer = torch.optim.Adam(network.parameters(), rate, fused=True)
    loss = nn.CrossEntropyLoss()

    def step():
        chosen = torch.randint(0, len(pictures), (batch,))
        optimizer.zero_grad()
        loss(network(pictures[chosen]), labels[chosen]).backward()
        optimizer.step()

    for _ in range(max(5, steps // 10)):
        step()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    print((time.perf_counter() - started) / steps * 60_000 / batch)


if __name__ == "__main__":
    main()
