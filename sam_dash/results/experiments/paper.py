"""The seed paper's tables and figures as recipes: a claim, its published numbers, the sweeps that test it, a verdict.

A recipe is an `Experiment` whose frame is made by `recipe.frame`; a new one is a record here and its sweeps in
`sam_dash.runs.recipes`.
"""

from __future__ import annotations

from typing import Any

from sam_dash.results.claims import rule
from sam_dash.results.claims.claim import POINTS
from sam_dash.results.experiments import published
from sam_dash.results.experiments.experiment import DATA
from sam_dash.results.experiments.recipe import BY_M, BY_STRENGTH, Recipe, caption, compared

SMALL = (
    "A small network on a small data set, minutes on two cores: that a claim is not supported here does not refute it "
    "there. One ρ and one λ for all, none tuned, as in the published comparison neither is known to us."
)
STOP = "Stopping SGD early is a control that the page Matched has: choose the study there, compare at equal train loss."
ANALOGY = (
    "Batch 256, 200 epochs of SGD at 0.1 with a cosine, momentum 0.9, weight decay 5e-4, ρ = 0.1: **by analogy**, from "
    "the first author's earlier code (RitianLuo/EigenSAM); those of this paper, λ, δ and ρ among them, are not known "
    "to us. Not run here: it takes GPUs for days. `sam_dash.optim.SharpnessAware` trains any module by it."
)
ACCURACY = (
    "Final test accuracy, differences taken within each seed. Supported if the 95 % t-interval lies wholly above 0, "
    f"not supported if wholly below. {rule.DECIDES}"
)


def _recipe(name: str, title: str, parts: dict[str, Any], sweeps: str = "", **texts: Any) -> Recipe:
    """A recipe; `sweeps`: that whose runs it is judged on too."""
    preset = sweeps or name
    return Recipe(
        name=name, title=title, source=published.SOURCE, preset=preset, data=DATA / preset, caption=caption, **parts,
        **texts,
    )  # fmt: skip


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        _recipe(
            "paper-scratch",
            "Table 1: from scratch",
            compared(published.of(1)),
            claim="Trained from scratch on clean labels, **RW-SAM is more accurate than SAM**, and SAM than SGD.",
            rule=ACCURACY,
            limits=SMALL + " " + STOP,
            at_scale="ResNet-18, ResNet-50 and WRN-28-10 on CIFAR-10 and CIFAR-100. " + ANALOGY,
        ),
        _recipe(
            "paper-fine-tuning",
            "Tables 2, 3: fine-tuning",
            compared(published.of(2, "fine-tuned")),
            claim="Fine-tuned, a vision transformer is **more accurate with RW-SAM than with SAM**, and with SAM than "
            "with AdamW.",
            rule=ACCURACY,
            limits="By analogy: a perceptron that goes on from five digits to five others, by SGD. "
            + SMALL
            + " "
            + STOP,
            at_scale="ViT-B/16 on CIFAR-10 and CIFAR-100 (table 2), GLUE (table 3, whose numbers are not known to us); "
            "base AdamW, its settings not known to us. Not run here.",
        ),
        _recipe(
            "paper-noise",
            "Table 4: label noise",
            compared(published.of(4)),
            claim="**At every level of label noise RW-SAM is more accurate than SAM**; at 80 % by 15 points.",
            rule=ACCURACY,
            limits=SMALL + " Labels are wrong uniformly; how they are in the paper is not known to us. " + STOP,
            at_scale="A network and data set that are not known to us, 20 to 80 % label noise. " + ANALOGY,
        ),
        _recipe(
            "paper-lambda",
            "Table 5: λ, and m-SAM",
            BY_STRENGTH,
            claim="RW-SAM is **not overly sensitive to λ**, and as accurate as m-SAM at a smaller m at a part of its "
            "time.",
            rule=(
                "Final test accuracy, differences taken within each seed. Not sensitive: every λ is within "
                f"± {100 * POINTS:g} point of λ = 0.5 (two one-sided tests; the largest p). As accurate as m-SAM at an "
                f"m: the most accurate λ, paid for as a choice, loses less than {100 * POINTS:g} point; not supported "
                f"if it lies below. {rule.DECIDES}"
            ),
            limits=SMALL
            + " Seconds are not compared: the runs of a stack share them. In gradient evaluations m-SAM is "
            "SAM's price at every m; on a GPU its time grows as m falls. The numbers of table 5 are not known to us.",
            at_scale="ResNet-18 on CIFAR-100, m from 256 down to 32. " + ANALOGY,
        ),
        _recipe(
            "paper-trace",
            "Table 6: trace of V",
            compared(published.of(6), "tr_V"),
            claim="The trace of the gradient's covariance falls **from SGD over SAM to RW-SAM**.",
            rule=(
                "tr(V) of the final weights, as the logarithm of its ratio within each seed. Supported if the 95 % "
                f"t-interval lies wholly below 0, not supported if wholly above. {rule.DECIDES}"
            ),
            limits="tr(V) depends on the training loss that is reached: it is compared at equal steps, not at equal "
            "loss. " + SMALL,
            at_scale="A network that is not known to us. " + ANALOGY,
            sweeps="paper-scratch",
        ),
        _recipe(
            "paper-escape",
            "Figures 1, 2: escape",
            BY_M,
            claim="From a bad minimum a **smaller m escapes faster**, and the variance of the gradient falls faster.",
            rule=(
                "The change per halving of m, at the end of equally many steps, of test accuracy (rises) and of log₂ "
                "tr(V) (falls): the least-squares slope within each seed, then its mean. Supported if the 95 % "
                f"t-interval lies wholly on that side, not supported if wholly on the other. {rule.DECIDES}"
            ),
            limits="At equal length (one ρ for all) and equal steps, not at equal progress; the page Dynamics shows "
            "the same runs by step. The setting is ours: how the paper finds its bad minimum is not known to us. "
            + SMALL,
            at_scale="Not known to us: network, data, how the bad minimum is found. Not run here.",
        ),
    )
}
