"""The spectral density of the Hessian: stochastic Lanczos quadrature (Ghorbani et al., ICML 2019, arXiv:1901.10159).

One quantity a point of its grid, `density@EIGENVALUE`. The grid is even in asinh(EIGENVALUE / c), c a hundredth of the
largest modulus: the bulk at 0 and the outliers need different scales. The density is per unit of asinh, and its
integral over that is 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sam_dash.runs.measure import At, Found, Quantity, measure

if TYPE_CHECKING:
    from sam_dash.maths.lanczos import Spectrum
    from sam_dash.runs.probes import Measured

STARTS, PRODUCTS = 8, 40  # Lanczos runs and their length
GRID, WIDTH = 101, 0.25  # points of the density; the Gaussian that smooths it, in asinh
HELP = "share of the eigenvalues of the Hessian, per unit of asinh"


@measure(
    f"spectral density of H: Lanczos quadrature, {STARTS} runs of {PRODUCTS} Hessian-vector products",
    gradients=1100.0,
    quantities={
        "density": Quantity(
            "Spectral density", "Spectral density", HELP,
            At("EIGENVALUE", "Spectral density at {}", "Spectral density at {}", f"{HELP}, at {{}}"),
        )
    },
    once=True,
    vectors=STARTS,
    place=5,
)  # fmt: skip
def density(of: Measured) -> list[Found]:
    """All starts of all runs in lock-step; the starts are drawn by each run's own generator."""
    import torch

    from sam_dash.maths.curvature import gaussian
    from sam_dash.maths.lanczos import lanczos
    from sam_dash.problems.stack import torch_stream

    streams = [torch_stream(seed, "density") for seed in of.seeds]
    starts = torch.cat([gaussian(STARTS, w, g) for w, g in zip(of.W, streams, strict=True)])
    S, product = len(of.W), of.product
    found = lanczos(lambda V: product(V.unflatten(0, (S, STARTS))).flatten(0, 1), starts, iterations=PRODUCTS)
    return [on_a_grid(one) for one in found.split(STARTS)]


def on_a_grid(spectrum: Spectrum) -> Found:
    """The density of one run at the points of the grid, by quantity."""
    import torch

    from sam_dash.maths.estimate import Estimate

    c = float(spectrum.nodes.abs().max()) / 100
    bent = spectrum._replace(nodes=(spectrum.nodes / c).asinh())
    low, high = float(bent.nodes.min()) - 3 * WIDTH, float(bent.nodes.max()) + 3 * WIDTH
    at = torch.linspace(low, high, GRID, dtype=torch.float64, device=bent.nodes.device)
    method = f"stochastic Lanczos quadrature, {STARTS} runs; per unit of asinh(x / {c:.4g}), smoothed by {WIDTH:g}"
    rows = zip((at.sinh() * c).tolist(), *(a.tolist() for a in bent.density(at, WIDTH)), strict=True)
    return {
        f"density@{x:.6g}": Estimate(value, error, method, STARTS * PRODUCTS, dof=STARTS - 1)
        for x, value, error in rows
    }
