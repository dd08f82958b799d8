"""Trains the recipes mlp and deep with PyTorch as its users would. Usage: torch_worker.py THREADS; see worker.py.

The data is noise of MNIST's size: the time does not depend on it. Adam is the fused one, the fastest of PyTorch's.
"""
import sys

import torch
from torch import nn

import worker

PICTURES = torch.rand(10_000, 1, 28, 28)
LABELS = torch.randint(0, 10, (10_000,))
MAKE = {
    "mlp": lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)),
    "deep": lambda: nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 1024), nn.ReLU(), nn.Dropout(0.5), nn.Linear(1024, 10)),
}
steps = {}


def make_step(recipe, precision, layout, compiled):
    batch = worker.BATCH[recipe]
    memory_format = getattr(torch, layout)
    network = MAKE[recipe]().to(memory_format=memory_format)
    optimizer = torch.optim.Adam(network.parameters(), worker.LEARNING_RATE[recipe], fused=True)
    criterion = nn.CrossEntropyLoss()

    def loss(pictures, labels):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            return criterion(network(pictures), labels)

    if compiled:
        loss = torch.compile(loss)

    def step():
        chosen = torch.randint(0, len(PICTURES), (batch,))
        optimizer.zero_grad()
        loss(PICTURES[chosen].contiguous(memory_format=memory_format), LABELS[chosen]).backward()
        optimizer.step()

    return step


def train(recipe, precision="f32", layout="contiguous_format", compiled=False, seconds=1.0):
    key = (recipe, precision, layout, compiled)
    if key not in steps:
        steps[key] = make_step(*key)
        steps[key]()  # plans; with torch.compile, compiles
    return {"seconds_per_epoch": worker.EPOCH / worker.BATCH[recipe] / worker.rate(steps[key], seconds)}


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    torch.set_flush_denormal(True)
    torch.manual_seed(1)
    worker.serve(f"PyTorch {torch.__version__}", train)
