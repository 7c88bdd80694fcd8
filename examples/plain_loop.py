"""A loop that had a SAM written by hand, at an m of its own: `python examples/plain_loop.py`.

Before, after github.com/davda54/sam, with one perturbation of the whole batch:

    optimizer = SAM(model.parameters(), torch.optim.SGD, rho=0.05, lr=0.1, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for x, y in train:
        enable_running_stats(model)
        criterion(model(x), y).backward()
        optimizer.first_step(zero_grad=True)
        disable_running_stats(model)
        criterion(model(x), y).backward()
        optimizer.second_step(zero_grad=True)
"""

from __future__ import annotations

import functools

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from sam_dash.optim import SharpnessAware

EPOCHS, BATCH = 5, 64


def main() -> float:
    """Train a small CNN on bright squares in noise; the accuracy on images that it has not seen."""
    torch.manual_seed(0)
    images, labels = torch.randn(768, 1, 8, 8), torch.randint(0, 4, (768,))
    for image, label in zip(images, labels.tolist(), strict=True):
        row, column = 4 * (label // 2), 4 * (label % 2)
        image[:, row : row + 4, column : column + 4] += 1
    data, held_out = random_split(TensorDataset(images, labels), [512, 256])
    train, test = DataLoader(data, BATCH, shuffle=True, drop_last=True), DataLoader(held_out, 256)

    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(8 * 4 * 4, 4),
    )  # fmt: skip
    base = functools.partial(torch.optim.SGD, momentum=0.9, weight_decay=5e-4)
    optimizer = SharpnessAware(model, "sam", base, m=8, rho=0.05, lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for epoch in range(EPOCHS):
        model.train()
        for x, y in train:
            loss = optimizer.step(lambda: (x, y))  # noqa: B023 (called before x and y change)
        scheduler.step()
        last = optimizer.last
        print(f"epoch {epoch}: loss {loss:.3f}, |eps| {last.eps:.3f}, cos(g, h) {last.cosine:.3f}, {optimizer.way}")
    model.eval()
    with torch.no_grad():
        right = sum(int((model(x).argmax(1) == y).sum()) for x, y in test)
    return right / 256


if __name__ == "__main__":
    print(f"accuracy {main():.3f}")
