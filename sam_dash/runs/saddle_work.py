"""The answers to `saddles`, computed with the variants themselves; served as JSON, a line a request."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TextIO

import torch
from torch import Tensor
from torch.func import vmap

from sam_dash.problems import saddle_network as network
from sam_dash.problems.landscapes import LANDSCAPES, Landscape
from sam_dash.problems.trajectories import critical_radius, factors, spectrum, trajectory, walk
from sam_dash.runs.report import one_line
from sam_dash.runs.saddles import Escape, Walk, knobs_of, read

PROBE = 1e-4  # how far from the saddle the growth of a step is measured
LATER = 100  # steps after which a probe's distance is read


def serve(requests: Iterable[str], answers: TextIO) -> int:
    """Answer each line of JSON with one, an {"error": ...} where it cannot be; the exit code."""
    code = 0
    for line in requests:
        if not line.strip():
            continue
        try:
            found = answer(read(json.loads(line)))
        except Exception as error:  # whatever it is, the asker wants to see it
            found, code = {"error": str(error) if isinstance(error, ValueError) else one_line(error)}, 2
        print(json.dumps(found), file=answers, flush=True)
    return code


def answer(spec: Walk | Escape) -> dict[str, Any]:
    """Columns and facts, as plain JSON values."""
    return _walk(spec) if isinstance(spec, Walk) else _escape(spec)


def _walk(spec: Walk) -> dict[str, Any]:
    land = LANDSCAPES[spec.landscape]
    seeds = list(range(spec.seeds if spec.sigma else 1))
    paths, steps = {}, []
    for key in spec.variants:
        knobs = knobs_of(key, spec.rho)
        path = trajectory(
            land, key, steps=spec.steps, lr=spec.lr, start=(spec.x, spec.y), sigma=spec.sigma, momentum=spec.momentum,
            seeds=seeds, **knobs,
        )  # fmt: skip
        paths[key] = [_finite(path[:: spec.every, s]) for s in range(len(seeds))]
        steps.append({"variant": key, **_at_the_saddle(land, key, spec.lr, knobs)})
    return {
        "critical": critical_radius(land), "eigenvalues": spectrum(land)[0].tolist(), "paths": paths, "steps": steps
    }  # fmt: skip


def _at_the_saddle(land: Landscape, key: str, lr: float, knobs: dict[str, Any]) -> dict[str, Any]:
    """What one step does to small distances, and how plain descent moves away from `PROBE`, up the unstable direction.

    `factors`: see `trajectories.factors`; `measured`: growth a step, over the first ten; `later`: the distance at last.
    """
    saddle = torch.tensor(land.saddle, dtype=torch.float64)
    first, second = (saddle + PROBE * spectrum(land)[1][:, 0]).tolist()
    path = trajectory(land, key, steps=LATER, lr=lr, start=(first, second), **knobs)[:, 0]
    distance = (path - saddle).norm(dim=1)
    later = float(distance[-1]) if bool(distance[-1].isfinite()) else None
    growth = float(distance[10] / distance[0]) ** 0.1
    return {"factors": factors(land, key, lr=lr, **knobs), "measured": growth, "later": later}


def _finite(path: Tensor) -> list[list[float]]:
    """The points (t, 2) up to the first that is not finite."""
    good = path.isfinite().all(1)
    n = len(path) if bool(good.all()) else int(good.int().argmin())
    found: list[list[float]] = path[:n].tolist()
    return found


def _escape(spec: Escape) -> dict[str, Any]:
    critical = 1 / network.curvature()
    rows = []
    for key in spec.variants:
        rhos = [share * critical for share in spec.shares] if knobs_of(key, 0.0) else [None]
        for batch in spec.batches:
            for momentum in spec.momenta:
                left = _left_at(spec, key, rhos, batch, momentum)
                for rho, of_seeds in zip(rhos, left, strict=True):
                    rows += [[key, rho, batch, momentum, seed, step] for seed, step in enumerate(of_seeds)]
    return {
        "columns": ["variant", "rho", "batch", "momentum", "seed", "step"], "rows": rows, "critical": critical,
        "mean_critical": {str(b): network.mean_critical_radius(b) for b in spec.batches},
    }  # fmt: skip


def _left_at(spec: Escape, key: str, rhos: list[Any], batch: int, momentum: float) -> list[list[int | None]]:
    """The step at which each run left the saddle, by radius and seed; None where it had not after all steps."""
    R, seeds = len(rhos), list(range(spec.seeds))
    x, y = full = network.data()
    W = network.starts(seeds, spec.radius).repeat(R, 1)
    order = network.orders(seeds, batch, spec.steps).repeat(1, R, 1)
    knobs = {"rho": torch.tensor(rhos).repeat_interleave(spec.seeds)} if rhos != [None] else {}
    limit = network.ESCAPED * float((y**2).mean() / 2)
    loss = vmap(lambda w: network.losses(w, full).mean())
    left = torch.full((len(W),), -1)
    path = walk(
        network.losses, key, W, ((x[i], y[i]) for i in order), full,
        lr=spec.lr, momentum=momentum, seeds=seeds * R, knobs=knobs,
    )  # fmt: skip
    for t, at in enumerate(path, 1):
        left = torch.where((left < 0) & (loss(at) < limit), t, left)
        if bool((left >= 0).all()):
            break
    return [[None if t < 0 else t for t in row] for row in left.view(R, -1).tolist()]
