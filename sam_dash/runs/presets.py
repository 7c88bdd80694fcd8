"""Presets: settings in which the effect shows in short runs, as data."""

from __future__ import annotations

from dataclasses import dataclass

from sam_dash.runs.spec import Measures, Problem, SpecError, SweepSpec, Training


@dataclass(frozen=True)
class Preset:
    """A sweep with a name and two sentences on what it is and what to expect."""

    title: str
    about: str
    sweep: SweepSpec


PRESETS: dict[str, Preset] = {
    "digits": Preset(
        "Digits, 40 % label noise",
        "A small MLP on scikit-learn's 8x8 digits, 40 % of the training labels wrong. At this rho, smaller m gives "
        "flatter minima and better test accuracy; part of the gain is that it memorises fewer wrong labels.",
        SweepSpec(
            preset="digits",
            m=(64, 32, 16, 8, 4, 2, 1),
            knobs={"rho": (0.1,)},
            problem=Problem(dataset="digits", network="mlp:64", label_noise=0.4),
        ),
    ),
    "mnist-cnn": Preset(
        "MNIST images, small CNN, 40 % label noise",
        "A small CNN on 1000 MNIST images of 14x14 pixels. The same trend on images; a few minutes on two cores.",
        SweepSpec(
            preset="mnist-cnn",
            m=(50, 25, 10, 5, 2, 1),
            knobs={"rho": (0.05,)},
            problem=Problem(dataset="mnist-5k", n_train=1000, network="cnn:12", label_noise=0.4),
            training=Training(lr=0.05, batch=50, epochs=30),
        ),
    ),
    "escape": Preset(
        "Escape from a memorised minimum",
        "SGD first fits 500 right and 500 wrong labels; then training goes on with the 500 right ones only. Smaller m "
        "leaves the bad minimum sooner: watch test accuracy and tr(V) over the steps.",
        SweepSpec(
            preset="escape",
            m=(64, 16, 4, 1),
            knobs={"rho": (0.1,)},
            problem=Problem(dataset="digits", network="mlp:128", start="memorised"),
            training=Training(lr=0.05, schedule="constant", epochs=57),
            measures=Measures(every=8),
        ),
    ),
    "label-noise": Preset(
        "Digits, 60 % label noise",
        "The digits preset with more label noise and a smaller rho: the accuracy gain of small m grows with the noise.",
        SweepSpec(
            preset="label-noise",
            m=(64, 32, 16, 8, 4, 2, 1),
            knobs={"rho": (0.05,)},
            problem=Problem(dataset="digits", network="mlp:64", label_noise=0.6),
        ),
    ),
    "long-tail": Preset(
        "Digits with a long tail, 50 : 1",
        "Clean labels, but fifty times more training samples of the first class than of the last. Focal-SAM weighs the "
        "sharpness of rare classes more: look at test accuracy class by class.",
        SweepSpec(
            preset="long-tail",
            variants=("sgd", "sam", "focalsam"),
            m=(32,),
            knobs={"rho": (0.1,), "penalty": (0.5, 1.0)},
            seeds=(0, 1, 2, 3, 4),
            problem=Problem(dataset="digits", network="mlp:64", imbalance=50),
            training=Training(batch=32, epochs=50),
        ),
    ),
    "which-sharpness": Preset(
        "Digits: worst, ascent and average direction",
        "The digits preset's problem with SGD, n-SAM, SAM and m-SAM at m = 1, and three notions of sharpness of the "
        "final weights: λ_max, the curvature along the gradient, and tr(H).",
        SweepSpec(
            preset="which-sharpness",
            m=(64, 1),
            knobs={"rho": (0.1,)},
            seeds=tuple(range(10)),
            problem=Problem(dataset="digits", network="mlp:64", label_noise=0.4),
            measures=Measures(what=("trace", "lam_max", "ascent")),
        ),
    ),
    "overparameterisation": Preset(
        "Digits: hidden widths 4 to 512",
        "The digits preset's problem on eight networks, with fewer and with far more parameters than samples: SGD, "
        "SAM and m-SAM at m = 1, each at several ρ, as the best ρ need not be the same for all widths.",
        SweepSpec(
            preset="overparameterisation",
            variants=("sgd", "sam"),
            m=(64, 1),
            knobs={"rho": (0.05, 0.1, 0.2, 0.4, 0.8)},
            seeds=(0, 1, 2, 3, 4),
            problem=Problem(dataset="digits", label_noise=0.4),
            measures=Measures(what=("trace", "lam_max")),
            networks=tuple(f"mlp:{2**k}" for k in range(2, 10)),
        ),
    ),
}


def get(name: str) -> Preset:
    """The preset of that name; SpecError naming the known ones otherwise."""
    if name not in PRESETS:
        raise SpecError(f"unknown preset {name!r}; known: {', '.join(PRESETS)}")
    return PRESETS[name]
