"""Images: scikit-learn's 8x8 digits, a small CNN with GroupNorm, shifted by a pixel at random in training.

python -m sam_dash run --problem examples/image_problem.py --out results
"""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn


def data():
    """Images (n, 1, 8, 8) with mean 0 and standard deviation 1, and their digits."""
    x, y = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(x))
    x, y = (x[order].reshape(-1, 1, 8, 8) / 16 - 0.305) / 0.376, y[order]
    return x[:1000], y[:1000], x[1000:], y[1000:]


def network():
    """Made anew for every seed, whose generators are set."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 16, 10),
    )  # fmt: skip


loss = "cross_entropy"


def augment(x, generator):
    """Each batch shifted by up to a pixel; all that is random comes from the generator, which a run's seed starts."""
    down, right = torch.randint(-1, 2, (2,), generator=generator, device=x.device).tolist()
    return x.roll((down, right), (2, 3))


defaults = {"batch": 50, "lr": 0.05, "epochs": 20, "rho": 0.1, "m": [50, 10, 1]}
