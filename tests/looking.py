"""Two small checkpoints, looked at: for the tests of the work, of the views and of the page."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from sam_dash.maths.flat import flatten
from sam_dash.problems.problem import Problem
from sam_dash.problems.subject import of_problem
from sam_dash.results.views.looked import Looked, Seen
from sam_dash.runs import look_work
from sam_dash.runs.looks import FILE, Look

PROBLEM = Problem(dataset="digits", network="mlp:3")


def trained(folder: Path, name: str, steps: int) -> Path:
    """The file of the weights of a small network after some steps of gradient descent."""
    of = of_problem(PROBLEM)
    x, y = of.samples("train", 200)
    optimiser = torch.optim.SGD(of.module.parameters(), lr=0.3)
    nn.utils.vector_to_parameters(flatten(of.module) * 0 + torch.linspace(-0.3, 0.3, 235), of.module.parameters())
    for _ in range(steps):
        optimiser.zero_grad()
        of.loss(of.module(x), y).mean().backward()
        optimiser.step()
    save_file({k: p.detach() for k, p in of.module.state_dict().items()}, folder / name)
    return folder / name


def look(weights: Path, toward: Path | None = None, **more: object) -> Look:
    """A small look at a file."""
    small: dict = {"samples": 40, "across": 9, "rho": 0.1} | more
    return Look(problem=PROBLEM, weights=f"{FILE}{weights}", toward=f"{FILE}{toward}" if toward else "", **small)


def looked(folder: Path) -> Looked:
    """Two checkpoints with all that can be asked."""
    files = [trained(folder, "a.safetensors", 20), trained(folder, "b.safetensors", 5)]
    asked = [look(a, b) for a, b in (files, files[::-1])]
    return Looked(tuple(
        Seen(f"{letter}: {of.weights[-13:]}", of, look_work.answer(of, lambda *_: None))
        for letter, of in zip("AB", asked, strict=True)
    ))  # fmt: skip
