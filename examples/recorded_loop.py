"""Your own loop in the dashboard, live: `python examples/recorded_loop.py`, then `sam-dash serve`, page Run or Runs.

One run for each m; they meet in one study, so that the page Sharpness compares them.
"""

from __future__ import annotations

import torch
from torch import nn

from sam_dash.optim import SharpnessAware
from sam_dash.record import Recorder

N, BATCH, EPOCHS = 512, 64, 5


def train(m: int, seed: int, store: str | None = None) -> float:
    """Train a perceptron at one m and record it; the accuracy on samples that it has not seen."""
    torch.manual_seed(seed)
    x, y = torch.randn(768, 10), torch.randint(0, 3, (768,))
    x[torch.arange(768), y] += 3
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = SharpnessAware(model, "sam", m=m, rho=0.05, lr=0.1)
    what = {"variant": "sam", "m": m, "rho": 0.05, "seed": seed, "batch": BATCH, "settings": {"lr": 0.1}}
    with Recorder("my loop", **what, network="mlp:32", steps_per_epoch=N // BATCH, store=store) as r:
        r.watch(optimizer)  # ‖ε‖, ‖g‖, ‖h‖ and cos(g, h) of every step
        for _ in range(EPOCHS):
            for batch in torch.randperm(N).split(BATCH):
                loss = optimizer.step(lambda: (x[batch], y[batch]))  # noqa: B023 (called before batch changes)
                r.log(optimizer.t, train_loss=loss)
                r.measure(model, x[:N], y[:N], every=50)  # tr(H), λ_max, tr(V), within 5 % of the loop's time
            with torch.no_grad():
                accuracy = (model(x[N:]).argmax(1) == y[N:]).float().mean()
            r.log(optimizer.t, test_acc=accuracy)
        r.save(model)
        print(f"m = {m}: {r.account()}")
    return float(accuracy)


def main(store: str | None = None) -> float:
    """Record a run at two m; the lesser accuracy."""
    return min(train(m, 0, store) for m in (64, 8))


if __name__ == "__main__":
    print(f"accuracy {main():.3f}")
