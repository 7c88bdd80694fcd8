"""The answer to a `Look`, computed in a process of its own: progress as lines of JSON, the answer into its file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor, nn

from sam_dash import api
from sam_dash.maths import curvature, lanczos
from sam_dash.maths.fast.measurer import measurer
from sam_dash.maths.flat import Layout, flatten, logits, losses_fn
from sam_dash.maths.kept import kept
from sam_dash.maths.landscape import Around, Point, filter_normalised, rounded
from sam_dash.maths.loss import Loss
from sam_dash.maths.oracle import Batch
from sam_dash.problems import weights
from sam_dash.problems.arrays import DataError
from sam_dash.problems.checkpoints import FLAT
from sam_dash.problems.subject import Subject, of_problem
from sam_dash.runs.looks import BITS, FILE, PAIRS, PRODUCTS, RUN, SIGMAS, SIZES, SPLITS, Look, read
from sam_dash.runs.plain import finite
from sam_dash.runs.report import one_line
from sam_dash.runs.store import Store
from sam_dash.surroundings import private

TOP = 5  # eigenvalues
QUANTITIES = {"sharpness": ("tr_H", "layer_trace", "eigenvalues"), "density": ("density",), "m_sharpness": ("m_sharp",)}
Told = Callable[[str, int, int], None]


def serve(requests: TextIO, answers: TextIO) -> int:
    """Answer one look, a line of JSON: progress as {"what", "done", "of"}, then {"ended": KEY} or {"error": ...}."""

    def say(**what: Any) -> None:
        print(json.dumps(what), file=answers, flush=True)

    try:
        look = read(json.loads(requests.readline()))
        keep(look, answer(look, lambda what, done, of: say(what=what, done=done, of=of)))
    except Exception as error:  # whatever it is, the asker wants to see it
        say(error=str(error) if isinstance(error, ValueError) else one_line(error))
        return 2
    say(ended=look.key)
    return 0


def keep(look: Look, found: dict[str, Any]) -> None:
    """Write an answer into its file, whole or not at all."""
    private(look.place.parent)
    temporary = look.place.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(found), encoding="utf-8")
    temporary.replace(look.place)


def put(module: nn.Module, which: str, url: str | None = None) -> None:
    """The weights of run:KEY (of the store at `url`) or file:PATH into a module; DataError where they do not fit."""
    name = which.removeprefix(FILE)
    if which.startswith(FILE):
        weights.put(module, weights.read(name), Path(name).name)
        return
    key = which.removeprefix(RUN)
    with closing(Store(url)) as store:
        w = store.weights(key)
    if w is None:
        raise DataError(f"the store has no weights of run {key}: unfinished, imported, or above 10 MB")
    weights.put(module, {FLAT: torch.from_numpy(w)}, f"run {key}")


def answer(look: Look, told: Told) -> dict[str, Any]:
    """The answer as plain JSON values; `told(what, done, of)` hears how far it is.

    `measured`: rows of an `Estimate` with its quantity; `points`: rows of a slice (`Point`); `gram`: of each slice the
    inner products of its directions; `noise`, `rounding`: rises; `about`: the weights and the problem in numbers.
    """
    subject = of_problem(look.problem, look.seed)
    module = subject.module
    toward = None
    if look.toward:
        put(module, look.toward)
        toward = flatten(module)
    put(module, look.weights)
    return _Answer(look, subject, flatten(module), toward, told).found()


class _Answer:
    """An answer while it is made."""

    def __init__(self, look: Look, subject: Subject, w: Tensor, toward: Tensor | None, told: Told) -> None:
        self.look, self.subject, self.w, self.toward, self.told = look, subject, w, toward, told
        self.module, self.layout = subject.module, Layout.of(subject.module)
        self.batch = subject.samples(look.split, look.samples)
        self.outputs = logits(self.module)
        self.at, self.of = 0, look.passes
        self.gram: dict[str, list[list[float]]] = {}

    def tick(self, what: str, by: int = 1) -> None:
        """Tell that `by` more passes are done."""
        self.at += by
        self.told(what, min(self.at, self.of), self.of)

    def found(self) -> dict[str, Any]:
        """See `answer`."""
        parts = self.look.parts
        with kept(self.module):
            around = self._around(self.batch)
            out: dict[str, Any] = {"about": self._about(around), "measured": self._measured()}
            out["points"] = list(self._slices(around)) if {"slices", "plane"} & set(parts) else []
            out["gram"] = self.gram
            out |= self._noise(around) if "rounding" in parts else {"noise": [], "rounding": []}
        return out

    def _about(self, here: Around) -> dict[str, Any]:
        other = next(split for split in SPLITS if split != self.look.split)
        there = self._around(self.subject.samples(other))
        scores = {self.look.split: (len(here.here), here.at(self.w)), other: (len(there.here), there.at(self.w))}
        return {
            "parameters": len(self.w), "norm": float(self.w.norm()), "samples": len(self.batch[1]),
            "scores": [{"split": split, "n": n, **finite(p._asdict())} for split, (n, p) in scores.items()],
            "score": self.subject.score.key if self.subject.score else "",
            "distance": None if self.toward is None else float((self.toward - self.w).norm()),
        }  # fmt: skip

    def _around(self, batch: Batch) -> Around:
        return Around(self.outputs, self.subject.loss, self.w, batch, self.subject.score)

    def _measured(self) -> list[dict[str, Any]]:
        """The quantities of every part, by the code of `api.measure`, on the samples looked at."""
        rows = []
        for part in (p for p in QUANTITIES if p in self.look.parts):
            before = self.at

            def told(quantity: str, done: int, most: int) -> None:
                if most and done:
                    self.tick(part, 4)  # noqa: B023, called within the loop alone

            x, y = self.batch
            n = len(y)
            m = [size for size in SIZES if 2 * size <= n] if part == "m_sharpness" else ()
            found = api.measure(
                self.module, x, y, QUANTITIES[part], loss=self.subject.loss, m=m, rho=self.look.rho, top=TOP,
                progress=told,
            )  # fmt: skip
            self.tick(part, max(0, before + 4 * PRODUCTS[part] - self.at))
            rows += [{"quantity": q, **finite(asdict(e))} for q, e in found.items()]
        return rows

    def _slices(self, around: Around) -> Iterator[dict[str, Any]]:
        look, d = self.look, len(self.w)
        flat = dict.fromkeys(p for p in ("slices", "plane") if p in look.parts)
        random = [filter_normalised(self.layout, self.w, torch.Generator().manual_seed(k)) for k in (0, 1)]
        top = self._eigenvectors(min(2, d))
        side = look.reach * look.rho
        pairs = {"eigen": (torch.stack(list(top)), side), "random": (torch.stack(random), 1.0)}
        for name, (U, reach) in pairs.items():
            if "plane" in flat and len(U) == 2:
                grid = torch.linspace(-reach, reach, look.rungs)
                at = torch.cartesian_prod(grid, grid)
                yield from self._slice(around, f"{name} plane", U, at)
            for k in range(len(U)) if "slices" in flat else ():
                at = torch.linspace(-reach, reach, look.across)[:, None]
                yield from self._slice(around, f"{name} {k + 1}", U[k : k + 1], at)
        if self.toward is not None:
            line = (self.toward - self.w)[None]
            yield from self._slice(around, "line", line, torch.linspace(-0.5, 1.5, look.across)[:, None])

    def _eigenvectors(self, k: int) -> Tensor:
        """The top eigenvectors (k, d) of H on the samples looked at, each with its largest number positive."""
        x, y = self.batch
        product = curvature.hvp(losses_fn(self.module, self.subject.loss), self.w, (x, y))
        if isinstance(self.subject.loss, Loss):
            way = measurer(self.module, self.subject.loss, self.w, x)
            product = lanczos.alone(way.hvp(self.w[None], (x[None], y[None])), 0)
        U = lanczos.top_pairs(product, self.w, torch.Generator().manual_seed(0), k=k)[1]
        self.tick("slices", 4 * PRODUCTS["slices"])
        return U * U.gather(1, U.abs().argmax(1)[:, None]).sign()

    def _slice(self, around: Around, name: str, U: Tensor, at: Tensor) -> Iterator[dict[str, Any]]:
        self.gram[name] = (U.double() @ U.double().T).tolist()
        for a, point in zip(at.tolist(), around.slice(U, at), strict=True):
            self.tick("plane" if len(a) == 2 else "slices")
            yield {"slice": name, "a": a[0], "b": a[1] if len(a) == 2 else None, **finite(point._asdict())}

    def _noise(self, around: Around) -> dict[str, Any]:
        rows = []
        for sigma in SIGMAS:
            drawn = around.noise(sigma, torch.Generator().manual_seed(0), PAIRS)
            self.tick("rounding", 2 * PAIRS)
            rows.append({"sigma": sigma, **finite(asdict(drawn))})
        return {"noise": rows, "rounding": [self._rounded(around, bits) for bits in BITS]}

    def _rounded(self, around: Around, bits: int) -> dict[str, Any]:
        v = rounded(self.layout, self.w, bits)
        point: Point = around.at(v)
        self.tick("rounding")
        return {"bits": bits, "sigma": float((v - self.w).square().mean().sqrt()), **finite(point._asdict())}
