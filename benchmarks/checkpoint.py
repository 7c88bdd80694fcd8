"""A checkpoint of ten million parameters, measured by the command, and its memory: python -m benchmarks.checkpoint.

An encoder is fitted to random sequences and saved; `python -m sam_dash measure` is then run on it, and on a network of
a few thousand parameters, whose peak of memory is what Python and torch take by themselves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

PROBLEM = """
import torch
from torch import nn

def data():
    g = torch.Generator().manual_seed(0)
    x, y = torch.randint(0, 1500, (128, 4), generator=g), torch.randint(0, 10, (128,), generator=g)
    return x[:64], y[:64], x[64:], y[64:]

class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding({tokens}, {width})
        shape = {{"d_model": {width}, "nhead": 8, "dim_feedforward": 4 * {width}, "dropout": 0.0, "batch_first": True}}
        layers = [nn.TransformerEncoderLayer(**shape) for _ in range({blocks})]
        self.blocks, self.head = nn.Sequential(*layers), nn.Linear({width}, 10)
    def forward(self, x):
        return self.head(self.blocks(self.tokens(x % {tokens})).mean(1))

network = Encoder
loss = "cross_entropy"
"""
SIZES = {"small": {"width": 8, "blocks": 1, "tokens": 100}, "large": {"width": 512, "blocks": 3, "tokens": 1500}}
PROBES = 32
LIMIT = 6  # copies of the model


def fitted(folder: Path, name: str) -> int:
    """Write the problem file and the weights after some steps of Adam; the number of parameters."""
    text = PROBLEM.format(**SIZES[name])
    (folder / f"{name}.py").write_text(text)
    space: dict = {}
    exec(compile(text, name, "exec"), space)
    torch.manual_seed(0)
    model = space["network"]()
    x, y, *_ = space["data"]()
    optimiser, loss = torch.optim.Adam(model.parameters(), 3e-4), torch.tensor(9.0)
    for _ in range(100):
        if loss < 0.03:
            break
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
    torch.save(model.state_dict(), folder / f"{name}.pt")
    return sum(p.numel() for p in model.parameters())


def measured(folder: Path, name: str) -> tuple[dict, float, int]:
    """What the command gives, its CPU seconds, and the peak of its memory in bytes."""
    command = [sys.executable, "-m", "sam_dash", "measure", f"{name}.py", "--weights", f"{name}.pt"]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    with (folder / f"{name}.json").open("w") as out:
        process = subprocess.Popen(
            [*command, "--probes", str(PROBES), "--json"], stdout=out, stderr=subprocess.DEVNULL, cwd=folder, env=env
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, process.args
    found = json.loads((folder / f"{name}.json").read_text())["quantities"]
    return found, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as at:
        folder, begun = Path(at), time.monotonic()
        sizes = {name: fitted(folder, name) for name in SIZES}
        runs = {name: measured(folder, name) for name in SIZES}
        (found, seconds, peak), d = runs["large"], sizes["large"]
        copies = (peak - runs["small"][2]) / (4 * d)
        print(
            f"{d:,} parameters, training loss {found['loss']['value']:.3g}; {time.monotonic() - begun:.0f} s in all\n"
        )
        print("| | value | error | relative | products |\n| --- | --- | --- | --- | --- |")
        for quantity in ("tr_H", "lam_max"):
            row = found[quantity]
            share = row["stderr"] / abs(row["value"])
            print(f"| {quantity} | {row['value']:.4g} | {row['stderr']:.2g} | {100 * share:.2g} % | {row['budget']} |")
        print(
            f"\nMemory beyond that of a network of {sizes['small']:,} parameters: {copies:.2f} copies of the model "
            f"(at most {LIMIT}); {seconds:.0f} s of CPU time."
        )


if __name__ == "__main__":
    main()
