"""Other trackers beside the store: what a `sam_dash.record.Recorder` records goes to them too, by `also=[...]`.

Each function takes what its package gives you and returns a tracker: a function of a step and its values. None imports
the package: it is yours, and so is ending its run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Tracker = Callable[[int, Mapping[str, float]], object]


def tensorboard(writer: Any) -> Tracker:
    """TensorBoard, by a `torch.utils.tensorboard.SummaryWriter`: a scalar a value."""

    def send(step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    return send


def wandb(run: Any) -> Tracker:
    """W&B, by the run that `wandb.init` returns.

    W&B wants steps in order and drops values of earlier ones; what comes late goes to the latest step, and every row
    has the true one as "sam_dash/step", which charts can be over.
    """
    latest = 0

    def send(step: int, values: Mapping[str, float]) -> None:
        nonlocal latest
        latest = max(latest, step)
        run.log({**values, "sam_dash/step": step}, step=latest)

    return send


def trackio(run: Any) -> Tracker:
    """Trackio, by the module itself, whose run `trackio.init` has begun."""

    def send(step: int, values: Mapping[str, float]) -> None:
        run.log(dict(values), step=step)

    return send
