"""What every run records besides measurements: at every look, and at every step. Names and help of each quantity.

Torch-free; `sam_dash.runs.scores` and `sam_dash.runs.train` do the recording.
"""

from __future__ import annotations

from sam_dash.runs.measure import At, Quantity

CLASS = At(
    "class=C", "Test accuracy, {}", "Test accuracy, {}", "share of the class's test samples classified correctly"
)

SCORES = {
    "train_loss": Quantity("Train loss", "Train loss", "mean loss on the training samples with the labels trained on"),
    "train_acc": Quantity("Train accuracy", "Train accuracy", "share of training labels (noisy ones included) fitted"),
    "clean_train_acc": Quantity(
        "Clean-label accuracy", "Clean-label accuracy", "share of training samples given their true label"
    ),
    "test_loss": Quantity("Test loss", "Test loss", "mean loss on the test samples"),
    "test_acc": Quantity("Test accuracy", "Test accuracy", "share of test samples classified correctly", CLASS),
}
"""Measured at every look, in the order of `sam_dash.runs.scores.evaluate`."""

SECONDS = {
    "train_seconds": Quantity("Training time (s)", "Training time (s)", "of the steps alone, a share of the stack's")
}
"""Measured at the last look."""

SERIES = {
    "eps_norm": Quantity("Mean ‖ε‖", "Mean ‖ε‖", "length of the perturbation, mean over the steps of training"),
    "g_norm": Quantity("Mean ‖g‖", "Mean ‖g‖", "gradient norm, mean over the steps of training"),
    "h_norm": Quantity("Mean ‖h‖", "Mean ‖h‖", "norm of the descended gradient, mean over the steps"),
    "cos_gh": Quantity("Mean cos(g, h)", "Mean cos(<i>g</i>, <i>h</i>)", "alignment of g and h, mean over the steps"),
    "w_norm": Quantity("Mean ‖w‖", "Mean ‖<i>w</i>‖", "norm of the weights, mean over the steps of training"),
    "ess": Quantity("Effective sample size", "Effective sample size", "1/Σp², mean over the steps of training"),
    "p_max": Quantity("Largest weight", "Largest weight", "RW-SAM's largest weight in the batch, mean over the steps"),
    "p_top": Quantity(
        "Weight of the top tenth", "Weight of the top tenth", "what the largest tenth of RW-SAM's weights sum to"
    ),
    "active": Quantity(
        "Active weights", "Active weights", "share of the weights in the tensors drawn, mean over steps"
    ),
}
"""Recorded at every step; a figure over cells shows their mean over training."""

TENTH = "what a tenth of the batch holds of RW-SAM's weights, tenth 1 the most"
SHARES = {
    "p_tenth": Quantity(
        "Weight of a tenth", "Weight of a tenth", TENTH,
        At("J", "Weight of tenth {}", "Weight of tenth {}", TENTH),
    )
}  # fmt: skip
"""Recorded at every step, as `p_tenth@1` ... `p_tenth@10`."""

TENTHS = tuple(f"p_tenth@{j}" for j in range(1, 11))

QUANTITIES = SCORES | SECONDS | SERIES | SHARES
