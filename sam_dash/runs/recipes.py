"""The sweeps of the seed paper's recipes (arXiv:2509.18001) at the scale of this machine, as data.

They are no presets: a form has no use for them, the page Paper and the command `paper` have.
"""

from __future__ import annotations

from dataclasses import replace

from sam_dash.runs import presets
from sam_dash.runs.presets import Preset
from sam_dash.runs.spec import Measures, Problem, SweepSpec, Training

SEEDS = tuple(range(10))
NOISE = (0.2, 0.4, 0.6, 0.8)


def _sweep(name: str, problem: Problem, training: Training) -> SweepSpec:
    """SGD, SAM and RW-SAM, ten seeds at rho = 0.1 and m = B, measured at the end."""
    return SweepSpec(
        preset=name, variants=("sgd", "sam", "rwsam"), m=(training.batch,), knobs={"rho": (0.1,)}, seeds=SEEDS,
        problem=problem, training=training, measures=Measures(what=("noise",)),
    )  # fmt: skip


def _priced(sweep: SweepSpec) -> tuple[SweepSpec, SweepSpec]:
    """A sweep of three, and RW-SAM of as many gradient evaluations as its SAM: 6/7 of the epochs."""
    shorter = replace(sweep.training, epochs=round(sweep.training.epochs * 6 / 7))
    return sweep, replace(sweep, variants=("rwsam",), training=shorter)


def _scratch() -> tuple[SweepSpec, ...]:
    digits = Problem(dataset="digits", network="mlp:64")
    images = presets.get("clean-cnn").sweep
    return (
        *_priced(_sweep("paper-scratch", digits, Training())),
        *_priced(_sweep("paper-scratch", images.problem, images.training)),
    )


def _noisy() -> tuple[SweepSpec, ...]:
    problems = (Problem(dataset="digits", network="mlp:64", label_noise=share) for share in NOISE)
    return tuple(s for p in problems for s in _priced(_sweep("paper-noise", p, Training())))


def _recipe(title: str, about: str, sweeps: tuple[SweepSpec, ...]) -> Preset:
    return Preset(title, about, sweeps[0], sweeps[1:])


_TUNED = presets.get("fine-tuning").sweep
_BASE = presets.get("digits").sweep

RECIPES: dict[str, Preset] = {
    "paper-scratch": _recipe(
        "Clean labels, from scratch",
        "A perceptron on the digits and a CNN on MNIST images, clean labels: SGD, SAM and RW-SAM, ten seeds; RW-SAM "
        "also over 6/7 of the epochs, at which it takes SAM's gradient evaluations.",
        _scratch(),
    ),
    "paper-fine-tuning": _recipe(
        "Fine-tuning",
        "The preset fine-tuning's network and data: a perceptron that knows five digits learns the other five.",
        _priced(_sweep("paper-fine-tuning", _TUNED.problem, _TUNED.training)),
    ),
    "paper-noise": _recipe(
        "Label noise, 20 to 80 %",
        "The digits preset's perceptron at four levels of label noise.",
        _noisy(),
    ),
    "paper-lambda": _recipe(
        "λ, and m-SAM beside it",
        "The digits preset's problem (40 % label noise): RW-SAM at six λ, and m-SAM from m = 64 to 1.",
        (
            replace(
                _sweep("paper-lambda", _BASE.problem, _BASE.training), m=(64, 16, 4, 1),
                knobs={"rho": (0.1,), "lam": (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)},
            ),
        ),
    ),
    "paper-escape": _recipe(
        "Escape from a memorised minimum",
        "The preset escape without n-SAM, over ten seeds; of the curvature tr(V) alone is measured.",
        (
            replace(
                presets.get("escape").sweep, preset="paper-escape", variants=("sgd", "sam"), seeds=SEEDS,
                measures=Measures(what=("noise",), every=8),
            ),
        ),
    ),
}  # fmt: skip
