"""Any variant with Accelerate: `python examples/accelerate_loop.py`, or `accelerate launch` for several processes.

The module and the loader are prepared, the optimiser is made of the prepared module and is not: it sends its own
gradients, the one or two that a step of m-SAM needs. There is no `accelerator.backward` to call.
"""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sam_dash.optim import SharpnessAware


def main(**options) -> float:
    """Train with the options of `Accelerator`; the accuracy on samples that were not trained on."""
    accelerator = Accelerator(**options)
    torch.manual_seed(0)
    x, y = torch.randn(768, 10), torch.randint(0, 3, (768,))
    x[torch.arange(768), y] += 3
    model = nn.Sequential(nn.Linear(10, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, 3))
    train = DataLoader(TensorDataset(x[:512], y[:512]), 64 // accelerator.num_processes, shuffle=True, drop_last=True)
    test = DataLoader(TensorDataset(x[512:], y[512:]), 64)
    model, train, test = accelerator.prepare(model, train, test)

    optimizer = SharpnessAware(model, "sam", torch.optim.AdamW, m=8, rho=0.05, lr=0.01)
    for epoch in range(4):
        model.train()
        for batch in train:
            optimizer.step(lambda: batch)  # noqa: B023 (called before the batch changes)
        accelerator.print(f"epoch {epoch}: {optimizer.last}")
    model.eval()
    right = []
    with torch.no_grad():
        for inputs, labels in test:
            right.append(accelerator.gather_for_metrics(model(inputs).argmax(1) == labels))
    return float(torch.cat(right).float().mean())


if __name__ == "__main__":
    print(f"accuracy {main():.3f}")
