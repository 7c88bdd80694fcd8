"""What goes to other trackers, on stand-ins of their public interfaces; docs/record.md says which were tried."""

from __future__ import annotations

from typing import Any

from sam_dash import trackers
from sam_dash.record import Recorder


class Calls:
    """Keeps what it is called with."""

    def __init__(self) -> None:
        self.made: list[tuple[Any, ...]] = []

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        self.made.append((tag, scalar_value, global_step))

    def log(self, metrics: dict[str, Any], step: int) -> None:
        self.made.append((metrics, step))


def recorded(tmp_path, make) -> list[tuple[Any, ...]]:
    calls = Calls()
    with Recorder("a", store=tmp_path / "store.db", also=[make(calls)]) as r:
        r.log(1, train_loss=2.0, test_acc=0.5)
        r.log(3, train_loss=1.0)
        r.log(2, train_loss=1.5)
    return calls.made


def test_tensorboard_gets_a_scalar_a_value(tmp_path) -> None:
    assert recorded(tmp_path, trackers.tensorboard) == [
        ("train_loss", 2.0, 1), ("test_acc", 0.5, 1), ("train_loss", 1.0, 3), ("train_loss", 1.5, 2),
    ]  # fmt: skip


def test_wandb_gets_steps_in_order_and_the_true_one_beside(tmp_path) -> None:
    assert recorded(tmp_path, trackers.wandb) == [
        ({"train_loss": 2.0, "test_acc": 0.5, "sam_dash/step": 1}, 1), ({"train_loss": 1.0, "sam_dash/step": 3}, 3),
        ({"train_loss": 1.5, "sam_dash/step": 2}, 3),
    ]  # fmt: skip


def test_trackio_gets_a_row_a_step(tmp_path) -> None:
    assert recorded(tmp_path, trackers.trackio) == [
        ({"train_loss": 2.0, "test_acc": 0.5}, 1), ({"train_loss": 1.0}, 3), ({"train_loss": 1.5}, 2),
    ]  # fmt: skip
