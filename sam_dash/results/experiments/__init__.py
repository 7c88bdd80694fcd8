"""The experiments of related papers, one module each; a new one is a line here."""

from sam_dash.results.experiments import (
    fine_tuning,
    heavy_tails,
    long_tail,
    overparameterisation,
    reweighting,
    which_sharpness,
)
from sam_dash.results.experiments.experiment import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    module.EXPERIMENT.name: module.EXPERIMENT
    for module in (which_sharpness, long_tail, overparameterisation, heavy_tails, fine_tuning, reweighting)
}

__all__ = ["EXPERIMENTS", "Experiment"]
