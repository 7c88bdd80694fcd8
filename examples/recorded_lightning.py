"""A Lightning training in the dashboard, live: `python examples/recorded_lightning.py`.

The module is that of `lightning_module.py`; a callback of a few lines records it.
"""

from __future__ import annotations

import tempfile

import lightning
import torch
from lightning_module import EPOCHS, Classifier
from torch.utils.data import DataLoader, TensorDataset

from sam_dash.record import Recorder


class Recording(lightning.Callback):
    """Records what the module logs, what its optimiser does, and the sharpness of its network on some samples."""

    def __init__(self, recorder: Recorder, x: torch.Tensor, y: torch.Tensor) -> None:
        self.recorder, self.x, self.y = recorder, x, y

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Watch the optimiser."""
        self.recorder.watch(trainer.optimizers[0])

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        """What a step found."""
        self.recorder.log(trainer.global_step, epoch=trainer.current_epoch, train_loss=trainer.callback_metrics["loss"])
        self.recorder.measure(module.network, self.x.to(module.device), self.y.to(module.device), every=8)

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """The accuracy of an epoch; not that of the check before training."""
        if not trainer.sanity_checking:
            self.recorder.log(trainer.global_step, test_acc=trainer.callback_metrics["accuracy"])


def main(store: str | None = None, **options) -> float:
    """Train with the options of `lightning.Trainer`; the accuracy on samples that were not trained on."""
    lightning.seed_everything(0, verbose=False)
    x, y = torch.randn(768, 10), torch.randint(0, 3, (768,))
    x[torch.arange(768), y] += 3
    train = DataLoader(TensorDataset(x[:512], y[:512]), 64, shuffle=True, drop_last=True)
    test = DataLoader(TensorDataset(x[512:], y[512:]), 256)
    what = {"variant": "sam", "m": 8, "rho": 0.05, "seed": 0, "batch": 64, "store": store}
    with tempfile.TemporaryDirectory() as folder, Recorder("lightning", **what) as recorder:
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        callbacks = [Recording(recorder, x[:512], y[:512])]
        trainer = lightning.Trainer(max_epochs=EPOCHS, default_root_dir=folder, callbacks=callbacks, **quiet, **options)
        trainer.fit(Classifier(), train, test)
    return float(trainer.callback_metrics["accuracy"])


if __name__ == "__main__":
    print(f"accuracy {main():.3f}")
