"""A step of `SharpnessAware`, replayed at every m: its displaced forwards are not the module's own, and not seen.

SAM and USAM are written out here as loops over micro-batches, so that a fault of the fast ways would be noticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sam_dash.audit.directions import CLEAR, apart
from sam_dash.audit.judge import Descent
from sam_dash.audit.replay import held
from sam_dash.audit.together import Together
from sam_dash.audit.watch import Own, Step
from sam_dash.maths import generators
from sam_dash.maths.live import call, dense
from sam_dash.maths.samples import cut, samples

NEAR = 1e-9  # 1 - cos of two gradients that may differ by the order of sums


@dataclass(frozen=True)
class Replayed:
    """The m whose loop gives what was descended, with which radius, what to say of it, and the gradient itself."""

    m: tuple[int, ...]
    rho: float | None
    words: str
    descent: Descent


def replayed(step: Step, together: Together) -> Replayed:
    """The step of `SharpnessAware` that was watched, as loops over micro-batches of every possible m give it."""
    own: Own = step.own
    o = own.optimiser
    says = f"the optimiser says m = {o.m or 'the whole batch'}, on the way {o.way!r}"
    D = torch.zeros(1) if step.descended is None else step.descended.double()
    untold = Descent("", 0, 1, 0.0, 1.0, float(D.norm()))
    if o.variant.key not in ("sam", "usam") or len(own.found) != 1 or step.descended is None:
        return Replayed((), None, f"not replayed: only SAM and USAM on one batch a step are; {says}", untold)
    x, y = own.found[0]
    n = samples((x, y))
    local = [m for m in range(1, n + 1) if n % m == 0]
    sizes = [*local, *(k * n for k in [*together.neighbours, together.size] if k > 1)]
    now = generators.states(o.trained)
    h = {m: _h(own, (x, y), m, n, together) for m in sizes}
    generators.put(now)
    fits = {m: apart(D, of) for m, of in h.items()}
    best = min(fits, key=lambda m: fits[m])
    r = fits[best]
    if r > NEAR:
        text = f"no m replays what was descended (1 - cos {r:.1e}); {says}"
        return Replayed((), None, text, untold)
    near = tuple(m for m, of in fits.items() if of <= CLEAR * max(r, 1e-14))
    told = " or ".join(map(str, near))
    where = f" of all {together.size} ranks" if together.size > 1 else ""
    share = float(D @ h[best] / h[best].square().sum())
    total = n * together.size
    descent = Descent(f"the perturbed micro-batches{where}", total, together.size, share, r, float(D.norm()))
    words = f"{told}, replayed as a loop over micro-batches (1 - cos {r:.1e}); {says}"
    return Replayed(near, o.knobs["rho"], words, descent)


def _h(own: Own, batch: Any, m: int, n: int, together: Together) -> Tensor:
    """The mean over all ranks of gradients at the weights perturbed for each m samples.  (d,)."""
    generators.put(own.drawn)
    parts = cut(batch, min(m, n))
    w, total = own.weights, torch.zeros((), dtype=torch.float64)
    for part in parts:
        drawn = generators.states(own.optimiser.trained)
        g = _gradient(own, part, w)
        if m > n:
            k, rank = m // n, together.rank
            g = together.vectors(g)[rank // k * k : rank // k * k + k].mean(0)
        rho = own.optimiser.knobs["rho"]
        eps = rho * g / g.norm() if own.optimiser.variant.key == "sam" else rho * g
        generators.put(drawn)
        total = total + _gradient(own, part, w + eps.to(w)) * samples(part) / n
    return together.vectors(total).mean(0)


def _gradient(own: Own, part: Any, w: Tensor) -> Tensor:
    """The gradient of the mean loss of a part at weights w (d,), float64; the model is then as before."""
    o, (x, y) = own.optimiser, part
    parameters = [p for p in o.model.parameters() if p.requires_grad]
    with held(o.model, parameters, w):
        with torch.enable_grad():
            loss = o.loss(call(o.model, x), y).mean()
        return dense(torch.autograd.grad(loss, parameters, allow_unused=True), parameters).double()
