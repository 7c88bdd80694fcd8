"""The default preset, from the command line, lands where a correct implementation lands."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

# m, then the mean over 5 seeds of test accuracy (%), tr(V), tr(H) and lambda_max, each +- its band
BANDS = {
    "sgd": ((70, 2), (52, 5), (105, 8), (4.3, 0.4)),
    64: ((75, 3), (40, 3), (72, 6), (2.6, 0.3)),
    16: ((77, 3), (34, 3), (60, 5), (2.1, 0.2)),
    4: ((83, 3), (26, 2), (43, 4), (1.4, 0.15)),
    1: ((86, 4), (18, 2), (24.5, 3), (1.05, 0.1)),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    out = tmp_path_factory.mktemp("digits")
    command = [sys.executable, "-m", "sam_dash", "run", "--preset", "digits", "--seeds", "5", "--m", "64,16,4,1"]
    done = subprocess.run(
        [*command, "--store", str(out / "store.db"), "--out", str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return pd.read_csv(out / "runs.csv")


@pytest.mark.parametrize("cell", BANDS)
def test_the_means_over_five_seeds_are_in_their_bands(runs, cell) -> None:
    chosen = runs[runs["variant"] == "sgd"] if cell == "sgd" else runs[(runs["variant"] == "sam") & (runs["m"] == cell)]
    assert len(chosen) == 5
    found = [100 * chosen["test_acc"].mean(), *(chosen[q].mean() for q in ("tr_V", "tr_H", "lam_max"))]
    for value, (centre, band) in zip(found, BANDS[cell], strict=True):
        assert abs(value - centre) <= band, (cell, found)


@pytest.mark.parametrize("quantity", ["tr_V", "tr_H"])
def test_in_every_seed_flatness_rises_from_m_to_four_times_m(runs, quantity) -> None:
    table = runs[runs["variant"] == "sam"].pivot(index="seed", columns="m", values=quantity)[[1, 4, 16, 64]]
    assert len(table) == 5
    assert (table.diff(axis=1).iloc[:, 1:] > 0).all().all(), table


def test_every_run_of_the_preset_is_done_and_priced(runs) -> None:
    assert len(runs) == 30
    assert set(runs["status"]) == {"done"}
    assert (runs.loc[runs["variant"] == "sam", "grad_evals"] == 1500).all()
