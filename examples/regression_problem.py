"""Regression: how diabetes progresses, ten measurements each of 442 patients (scikit-learn), by a small perceptron.

python -m sam_dash run --problem examples/regression_problem.py --out results
"""

import numpy as np
from sklearn.datasets import load_diabetes
from torch import nn


def data():
    """Measurements (n, 10) and the disease's progress (n,), both with standard deviation 1."""
    x, y = load_diabetes(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(x))
    x, y = x[order] / x.std(0), (y[order] - y.mean()) / y.std()
    return x[:320], y[:320], x[320:], y[320:]


def network():
    """Made anew for every seed, whose generators are set."""
    return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))


loss = "mse"  # shown with the RMSE, here in standard deviations of y
defaults = {"batch": 32, "lr": 0.02, "epochs": 40, "rho": [0.05, 0.2], "m": [32, 8, 1]}
