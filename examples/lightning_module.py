"""Any variant in Lightning, by manual optimisation: `python examples/lightning_module.py`.

The batch goes to the optimiser, not a loss; `backward`, `zero_grad` and `gradient_clip_val` have nothing to do (`clip=`
of the optimiser does it). Checkpoints, `precision="bf16-mixed"` and `strategy="ddp"` are Lightning's as ever.
"""

from __future__ import annotations

import functools
import tempfile

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from sam_dash.optim import SharpnessAware

EPOCHS = 4


class Classifier(lightning.LightningModule):
    """A perceptron, trained by m-SAM under a cosine schedule."""

    def __init__(self, m: int | None = 8) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.m = m
        self.network = nn.Sequential(nn.Linear(10, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, 3))

    def configure_optimizers(self):
        """The optimiser, of the network alone (it calls what it is given with x), and its schedule."""
        base = functools.partial(torch.optim.SGD, momentum=0.9)
        optimizer = SharpnessAware(self.network, "sam", base, m=self.m, rho=0.05, lr=0.05)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)]

    def training_step(self, batch: tuple[Tensor, Tensor]) -> None:
        """One step of m-SAM."""
        optimizer = self.optimizers()
        self.log("loss", optimizer.step(lambda: batch), prog_bar=True)
        self.log("cosine", optimizer.optimizer.last.cosine)

    def on_train_epoch_end(self) -> None:
        """Manual optimisation steps schedules by hand."""
        self.lr_schedulers().step()

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        """The accuracy."""
        x, y = batch
        self.log("accuracy", (self.network(x).argmax(1) == y).float().mean())


def main(**options) -> float:
    """Train with the options of `lightning.Trainer`; the accuracy on samples that were not trained on."""
    lightning.seed_everything(0, verbose=False)
    x, y = torch.randn(768, 10), torch.randint(0, 3, (768,))
    x[torch.arange(768), y] += 3
    train = DataLoader(TensorDataset(x[:512], y[:512]), 64, shuffle=True, drop_last=True)
    test = DataLoader(TensorDataset(x[512:], y[512:]), 256)
    with tempfile.TemporaryDirectory() as folder:
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = lightning.Trainer(max_epochs=EPOCHS, default_root_dir=folder, **quiet, **options)
        trainer.fit(Classifier(), train, test)
    return float(trainer.callback_metrics["accuracy"])


if __name__ == "__main__":
    print(f"accuracy {main():.3f}")
