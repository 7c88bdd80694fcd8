"""What things are called: quantities, variants, cells, numbers. The same on every page and figure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from sam_dash import variants
from sam_dash.maths.contract import Knob


class Quantity(NamedTuple):
    """Plain name, the same for Plotly (HTML), and one line of what it is."""

    name: str
    html: str
    help: str


QUANTITIES = {
    "tr_H": Quantity("tr(H)", "tr(<i>H</i>)", "trace of the Hessian of the training loss"),
    "lam_max": Quantity("λ_max", "λ<sub>max</sub>", "largest eigenvalue of the Hessian of the training loss"),
    "tr_V": Quantity("tr(V)", "tr(<i>V</i>)", "trace of the covariance of per-sample gradients (gradient noise)"),
    "test_acc": Quantity("Test accuracy", "Test accuracy", "share of test samples classified correctly"),
    "train_loss": Quantity("Train loss", "Train loss", "mean loss on the training samples with the labels trained on"),
    "test_loss": Quantity("Test loss", "Test loss", "mean loss on the test samples"),
    "train_acc": Quantity("Train accuracy", "Train accuracy", "share of training labels (noisy ones included) fitted"),
    "clean_train_acc": Quantity(
        "Clean-label accuracy", "Clean-label accuracy", "share of training samples given their true label"
    ),
    "gap_acc": Quantity(
        "Accuracy gap", "Accuracy gap", "generalisation gap: train accuracy (labels trained on) minus test accuracy"
    ),
    "gap_loss": Quantity("Loss gap", "Loss gap", "generalisation gap: test loss minus train loss"),
    "grad_sq": Quantity(
        "‖G‖²", "‖<i>G</i>‖²", "squared norm of the mean gradient less tr(V)/n, the bias that noise adds to it"
    ),
    "tail": Quantity(
        "Tail index α", "Tail index <i>α</i>", "of the norms of gradient noise, by Hill; no proof of a heavy tail"
    ),
    "w_tail": Quantity(
        "Tail index of ‖w‖", "Tail index of ‖<i>w</i>‖", "of the weight norm's fluctuations, by Hill; no proof either"
    ),
    "layer_noise": Quantity("tr(V) of a layer", "tr(<i>V</i>) of a layer", "what a layer adds to tr(V)"),
    "m_sharp": Quantity(
        "m-sharpness", "<i>m</i>-sharpness", "mean rise of a micro-batch's loss, one ascent step of ρ = 0.05"
    ),
    "asc_H": Quantity(
        "gᵀHg/‖g‖²", "<i>gᵀHg</i>/‖<i>g</i>‖²", "ascent-direction sharpness: curvature of the loss along its gradient"
    ),
    "p_max": Quantity("Largest weight", "Largest weight", "RW-SAM's largest weight in the batch, mean over the steps"),
    "p_top": Quantity(
        "Weight of the top tenth", "Weight of the top tenth", "what the largest tenth of RW-SAM's weights sum to"
    ),
    "p_tenth": Quantity(
        "Weight of a tenth",
        "Weight of a tenth",
        "what a tenth of the batch holds of RW-SAM's weights, tenth 1 the most",
    ),
    "ess": Quantity("Effective sample size", "Effective sample size", "1/Σp², mean over the steps of training"),
    "active": Quantity("Active weights", "Active weights", "share of the weights in the layers drawn, mean over steps"),
    "eps_norm": Quantity("Mean ‖ε‖", "Mean ‖ε‖", "length of the perturbation, mean over the steps of training"),
    "g_norm": Quantity("Mean ‖g‖", "Mean ‖g‖", "gradient norm, mean over the steps of training"),
    "h_norm": Quantity("Mean ‖h‖", "Mean ‖h‖", "norm of the descended gradient, mean over the steps"),
    "cos_gh": Quantity("Mean cos(g, h)", "Mean cos(<i>g</i>, <i>h</i>)", "alignment of g and h, mean over the steps"),
    "w_norm": Quantity("Mean ‖w‖", "Mean ‖<i>w</i>‖", "norm of the weights, mean over the steps of training"),
    "train_seconds": Quantity("Training time (s)", "Training time (s)", "of the steps alone, a share of the stack's"),
    "tr_H_pyhessian": Quantity("tr(H), PyHessian", "tr(<i>H</i>), PyHessian", "PyHessian's trace of the Hessian"),
    "lam_max_pyhessian": Quantity(
        "λ_max, PyHessian", "λ<sub>max</sub>, PyHessian", "PyHessian's largest eigenvalue of the Hessian"
    ),
}
SHARPNESS = ("tr_H", "lam_max", "tr_V", "test_acc", "train_loss")
RW_SAM = (*SHARPNESS, "ess", "eps_norm")
PANELS = (*SHARPNESS[:4], "gap_acc", "train_loss")
"""Of the page Sharpness: one row."""
SERIES = ("eps_norm", "g_norm", "h_norm", "cos_gh", "w_norm", "ess", "p_max", "p_top", "active")
"""Recorded at every step; a figure over cells shows their mean over training."""
TENTHS = tuple(f"p_tenth@{j}" for j in range(1, 11))
RECORDED = (*SERIES, *TENTHS)
"""All that is recorded at every step."""


def quantity(key: str) -> Quantity:
    """The names of a quantity; those not listed (tr_V@16, lam_max_2, ...) are built from their key."""
    if key in QUANTITIES:
        return QUANTITIES[key]
    base, at, size = key.partition("@")
    if size.startswith("class="):
        q, of = quantity(base), f", class {size.removeprefix('class=')}"
        return Quantity(q.name + of, q.html + of, q.help.replace("test samples", "the class's test samples"))
    if at:
        q = quantity(base)
        if base in ("m_sharp", "asc_H"):
            return Quantity(f"{q.name} at m = {size}", f"{q.html} at <i>m</i> = {size}", f"{q.help}; of {size} samples")
        if base == "layer_noise":
            return Quantity(f"tr(V) of {size}", f"tr(<i>V</i>) of {size}", f"what the layer {size} adds to tr(V)")
        if base == "p_tenth":
            return Quantity(f"Weight of tenth {size}", f"Weight of tenth {size}", q.help)
        help_ = f"{q.help}, of means over micro-batches of {size}"
        return Quantity(f"{q.name}, means of {size}", f"{q.html}, means of {size}", help_)
    head, _, rank = key.rpartition("_")
    if head == "lam_max" and rank.isdecimal():
        return Quantity(f"λ_{rank}", f"λ<sub>{rank}</sub>", f"eigenvalue number {rank} of the Hessian")
    return Quantity(key, key, key)


def is_fraction(key: str) -> bool:
    """Whether a quantity is stored as a fraction and shown in per cent."""
    return key.partition("@")[0].endswith("_acc")


def title(variant: str) -> str:
    """A variant's printed title; the key itself for one this version does not know."""
    return variants.REGISTRY[variant].title if variant in variants.REGISTRY else variant


def cell_name(variant: str, m: float | None, batch: int, extra: str = "") -> str:
    """For example "SAM, m = 4", "SAM, m = B = 64", "SGD"; "SAM" of all its m, which is None."""
    known = variants.REGISTRY.get(variant)
    name = title(variant)
    if known is not None and known.m_axis and m is not None and math.isfinite(m):
        name = f"{name}, m = B = {batch}" if m == batch else f"{name}, m = {m:g}"
    return f"{name}, {extra}" if extra else name


def number(value: float, digits: int = 3, keep: bool = False) -> str:
    """Significant digits with a true minus sign, trailing zeros only if `keep`; "–" for a missing one."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}".replace("-", "\N{MINUS SIGN}")
    text = f"{value:#.{digits}g}" if keep else f"{value:.{digits}g}"
    if "e" in text:
        text = f"{value:.0f}"
    return text.removesuffix(".").replace("-", "\N{MINUS SIGN}")


def show(key: str, value: float, difference: bool = False) -> str:
    """A value of a quantity in its unit: 85.9 %, 24.6; a difference of accuracies is in percentage points."""
    if is_fraction(key):
        unit = "points" if difference else "%"
        return "–" if not math.isfinite(value) else f"{100 * value:z.1f} {unit}".replace("-", "\N{MINUS SIGN}")
    return number(value, keep=True)


def points(share: float, sign: str = "+", digits: int = 1) -> str:
    """A difference of shares in percentage points, without the word: "+1.3"."""
    return f"{100 * share:{sign}z.{digits}f}".replace("-", "\N{MINUS SIGN}")


def span(shares: Iterable[float]) -> str:
    """From the least to the greatest share: "30% to 75%"."""
    values = list(shares)
    low, high = f"{min(values):.0%}", f"{max(values):.0%}"
    return low if low == high else f"{low} to {high}"


def duration(seconds: float) -> str:
    """For example "8 s", "1 min 20 s", "2 h 5 min"."""
    s = round(seconds)
    if s < 1:
        return "under 1 s"
    if s < 60:
        return f"{s} s"
    if s < 3600:
        return f"{s // 60} min" + (f" {s % 60} s" if s % 60 else "")
    return f"{s // 3600} h {s % 3600 // 60} min"


def knobs() -> dict[str, Knob]:
    """Every knob of every variant, by name."""
    return {name: k for v in variants.REGISTRY.values() for name, k in v.knobs.items()}


def knob_text(values: dict[str, Any]) -> str:
    """For example "ρ = 0.1, λ = 0.5", with the symbols of the registry."""
    symbols = {name: k.symbol for name, k in knobs().items()}
    parts = []
    for name, value in values.items():
        shown = number(value) if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else value
        parts.append(f"{symbols.get(name, name)} = {shown}")
    return ", ".join(parts)
