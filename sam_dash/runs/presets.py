"""Presets: settings in which the effect shows in short runs, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sam_dash.runs.spec import Measures, Problem, SpecError, SweepSpec, Training


@dataclass(frozen=True)
class Preset:
    """A sweep with a name and two sentences on what it is and what to expect.

    `more`: sweeps that belong to it but differ in training, as runs of one study must not.
    """

    title: str
    about: str
    sweep: SweepSpec
    more: tuple[SweepSpec, ...] = ()

    @property
    def sweeps(self) -> tuple[SweepSpec, ...]:
        """All of them."""
        return (self.sweep, *self.more)


def _tails(lr: float, batch: int) -> SweepSpec:
    """About 10000 steps at a constant rate; the weight decay is what makes the weights stationary."""
    epochs = round(10_000 / (1000 // batch))
    return SweepSpec(
        preset="heavy-tails",
        variants=("sgd", "sam"),
        m=(batch, 1),
        knobs={"rho": (0.1,)},
        seeds=(0, 1, 2, 3, 4),
        problem=Problem(dataset="digits", network="mlp:16"),
        training=Training(lr=lr, momentum=0, weight_decay=0.03, schedule="constant", batch=batch, epochs=epochs),
        measures=Measures(what=("weight_tail",)),
    )


def _weighted(epochs: int, *of: str) -> SweepSpec:
    """Methods that weigh samples or coordinates, at five radii, over so many epochs."""
    return SweepSpec(
        preset="reweighting",
        variants=of,
        m=(64,) if "sam" in of else (),
        knobs={} if of == ("sgd",) else {"rho": (0.05, 0.1, 0.2, 0.4, 0.8)},
        seeds=tuple(range(10)),
        problem=Problem(dataset="digits", network="mlp:64", label_noise=0.4),
        training=Training(epochs=epochs),
        measures=Measures(what=("noise",)),
    )


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
    "fine-tuning": Preset(
        "Fine-tuning on five new digits, with layers sampled",
        "A perceptron of four layers learns the digits 0 to 4 of MNIST, then about 200 images of 5 to 9, by SGD, SAM "
        "and SL-SAM with two or four of the eight tensors (weights, biases) drawn at each step, on average. Is SAM's "
        "accuracy kept?",
        SweepSpec(
            preset="fine-tuning",
            variants=("sgd", "sam", "slsam"),
            m=(20,),
            knobs={"rho": (0.1,), "keep": (0.25, 0.5)},
            seeds=tuple(range(10)),
            problem=Problem(dataset="mnist-5k", n_train=400, network="mlp:64-64-64", start="pretrained"),
            training=Training(lr=0.02, batch=20, epochs=40),
            measures=Measures(what=()),
        ),
    ),
    "heavy-tails": Preset(
        "Digits at constant learning rates and batch sizes",
        "A small MLP on clean labels, about 10 000 steps at a constant learning rate with weight decay and no "
        "momentum: four learning rates at B = 16, four batch sizes at a small one and three at the largest. How heavy "
        "are the tails of the weight norm?",
        _tails(0.1, 16),
        more=tuple(_tails(lr, 16) for lr in (0.05, 0.2, 0.4))
        + tuple(_tails(lr, batch) for lr, batch in ((0.1, 4), (0.1, 8), (0.1, 32), (0.4, 32), (0.4, 64))),
    ),
    "reweighting": Preset(
        "Digits, 40 % label noise: weigh more, or less",
        "The digits preset's problem, SGD and SAM beside RW-SAM and delta-SAM, which weigh sharp samples more in the "
        "perturbation, and SANER, which weighs what SAM has shortened less: at equal length, and with as many gradient "
        "evaluations as SAM has, for which the dearer train for fewer epochs and SGD for twice as many.",
        _weighted(50, "sgd", "sam", "rwsam", "deltasam", "saner"),
        more=(_weighted(43, "rwsam"), _weighted(38, "deltasam"), _weighted(100, "sgd")),
    ),
    "vit": Preset(
        "MNIST images, a small vision transformer, clean labels",
        "A vision transformer of width 16 on 1000 MNIST images with clean labels, 20 epochs. At this rho SAM learns "
        "more slowly, the more so at m = 1, which ends less accurate: a setting in which small m does not help.",
        SweepSpec(
            preset="vit",
            variants=("sgd", "sam"),
            m=(50, 1),
            knobs={"rho": (0.05,)},
            problem=Problem(dataset="mnist-5k", n_train=1000, network="vit:16"),
            training=Training(lr=0.05, batch=50, epochs=20),
            measures=Measures(what=("noise",)),
        ),
    ),
    "clean-cnn": Preset(
        "MNIST images, small CNN, clean labels",
        "The images and the CNN of mnist-cnn without wrong labels, ten seeds. At this rho m = 1 is .8 points more "
        "accurate than SAM and 1.0 than SGD, and its tr(H) is an eighth of SGD's; the test loss is least at m = 10.",
        SweepSpec(
            preset="clean-cnn",
            variants=("sgd", "sam"),
            m=(50, 10, 1),
            knobs={"rho": (0.1,)},
            seeds=tuple(range(10)),
            problem=Problem(dataset="mnist-5k", n_train=1000, network="cnn:12"),
            training=Training(lr=0.05, batch=50, epochs=30),
            measures=Measures(what=("trace", "noise")),
        ),
    ),
    "text": Preset(
        "The next character, a small transformer, clean labels",
        "A transformer of width 16 on 2000 pieces of CPython's help topics, 20 epochs: what is the next character? At "
        "this rho small m overfits less: the test loss falls from SGD over m = 64 to m = 8, and tr(H) twelvefold down "
        "to m = 1, while the accuracies are tied.",
        SweepSpec(
            preset="text",
            variants=("sgd", "sam"),
            m=(64, 8, 1),
            knobs={"rho": (0.05,)},
            seeds=(0, 1, 2, 3, 4),
            problem=Problem(dataset="pydoc", n_train=2000, network="transformer:16"),
            training=Training(lr=0.1, batch=64, epochs=20),
            measures=Measures(what=("trace", "noise")),
        ),
    ),
}

FIRST = "digits"  # what a form and a command are filled from where no preset is named


def get(name: str) -> Preset:
    """The preset of that name; SpecError naming the known ones otherwise."""
    if name not in PRESETS:
        raise SpecError(f"unknown preset {name!r}; known: {', '.join(PRESETS)}")
    return PRESETS[name]


def labelled(sweep: SweepSpec, base: SweepSpec) -> SweepSpec:
    """The sweep with the name of `base`, which it was made from, if problem and training are the same; else without."""
    same = (sweep.problems, sweep.training) == (base.problems, base.training)
    return replace(sweep, preset=base.preset if same else "")
