"""A problem file while it is read: each of its parts is taken out, tried on the first samples, or refused."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from sam_dash.maths.flat import PerSample, check_per_sample, check_samples, flatten, logits
from sam_dash.maths.loss import CROSS_ENTROPY, LOSSES, SEQUENCES, Loss, Score, per_sample
from sam_dash.problems.arrays import DataError
from sam_dash.problems.listing import top_names
from sam_dash.problems.running import blamed, running, seeded

NAMES = ("data", "network", "loss")
MORE = ("score", "score_name", "better", "augment", "defaults")
BETTER = ("higher", "lower")
FEW = 32  # samples that the network and the loss are tried on

Augment = Callable[[Tensor, torch.Generator], Tensor]


class Reading:
    """The module of a problem file, and where each name is set in it. Every method raises DataError with that line."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text
        self.module = ModuleType(f"problem {path.stem}")
        self.module.__file__ = str(path)
        self.lines: dict[str, int] = {}
        self.before = set(sys.modules)

    def run(self) -> None:
        """Execute it; DataError unless all that is needed is there."""
        with blamed(self.path):
            tree = ast.parse(self.text, str(self.path))
            self.lines = dict(top_names(tree))
            sys.modules[self.module.__name__] = self.module  # dataclasses look there
            try:
                exec(compile(tree, str(self.path), "exec"), vars(self.module))
            finally:
                del sys.modules[self.module.__name__]
        for name in NAMES:
            if name not in vars(self.module):
                there = ", ".join(n for n in (*NAMES, *MORE) if n in vars(self.module)) or "none of them"
                self.refuse("", f"no `{name}`; expected {_listed(NAMES)}, there is {there}")
        for name in ("data", "network", "score", "augment"):
            if not callable(self.get(name, len)):
                self.refuse(name, f"expected a function, `{name}` is {_told(self.get(name))}")

    def get(self, name: str, otherwise: Any = None) -> Any:
        """What the file calls so."""
        return vars(self.module).get(name, otherwise)

    def refuse(self, name: str, why: str) -> NoReturn:
        """Raise DataError, with the line where the name is set."""
        at = f", line {self.lines[name]}" if name in self.lines else ""
        raise DataError(f"{self.path.name}{at}: {why}")

    def arrays(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The four arrays of `data()`."""
        with blamed(self.path, "data()"):
            found = self.get("data")()
        wanted = "x_train, y_train, x_test, y_test"
        if not isinstance(found, tuple | list) or len(found) != 4:
            many = f"{len(found)} things" if isinstance(found, tuple | list) else _told(found)
            self.refuse("data", f"data() gives {many}; expected {wanted}")
        each = tuple(self.tensor(name, a) for name, a in zip(wanted.split(", "), found, strict=True))
        for part, (x, y) in (("train", each[:2]), ("test", each[2:])):
            if len(x) != len(y) or not len(x):
                shapes = f"x_{part} is {tuple(x.shape)} and y_{part} {tuple(y.shape)}"
                self.refuse("data", f"{shapes}; expected as many labels as inputs, at least one")
        for name, a, b in (("x", each[0], each[2]), ("y", each[1], each[3])):
            if a.shape[1:] != b.shape[1:] or a.dtype != b.dtype:
                told = f"{tuple(a.shape)} {_kind(a)} and {name}_test {tuple(b.shape)} {_kind(b)}"
                self.refuse("data", f"{name}_train is {told}; expected the same shape of a sample, and one kind")
        return each  # type: ignore[return-value]

    def tensor(self, name: str, given: Any) -> Tensor:
        """An array as a tensor: float32, or int64 of whole numbers."""
        if not isinstance(given, Tensor):
            if not isinstance(given, np.ndarray):
                self.refuse("data", f"{name} is {_told(given)}; expected an array or a tensor")
            if given.dtype.kind not in "fiub":
                self.refuse("data", f"{name} holds {given.dtype}; expected numbers")
            given = torch.from_numpy(np.ascontiguousarray(given).astype("f4" if given.dtype.kind == "f" else "i8"))
        if given.is_complex() or given.ndim == 0:
            self.refuse("data", f"{name} is {tuple(given.shape)} {_kind(given)}; expected (N, ...) real numbers")
        given = given.detach().cpu()
        given = given.float() if given.is_floating_point() else given.long()
        if not bool(given.isfinite().all()):
            self.refuse("data", f"{name} holds NaN or infinity; expected finite numbers")
        return given.contiguous()

    def network(self) -> Callable[[int], nn.Module]:
        """`network()` under a seed, with what it returns checked."""

        def make(seed: int) -> nn.Module:
            with blamed(self.path, "network()"), running(self.path), seeded(seed):
                module = self.get("network")()
            if not isinstance(module, nn.Module):
                self.refuse("network", f"network() gives {_told(module)}; expected a torch.nn.Module")
            if not any(p.requires_grad for p in module.parameters()):
                self.refuse("network", "network() gives a module without parameters to train")
            if any(p.dtype != torch.float32 for p in module.parameters()):
                self.refuse("network", "network() has parameters that are not float32; expected float32")
            return module.cpu()

        return make

    def outputs(self, module: nn.Module, x: Tensor) -> Any:
        """The network's outputs for the first samples of x, which must be of each sample alone."""
        with blamed(self.path, "network() on the first samples", self.lines.get("network")):
            return check_samples(logits(module), flatten(module), x[:FEW])

    def loss(self, out: Any, *labels: Tensor) -> tuple[PerSample, str]:
        """The loss and its title, tried on the outputs of the first samples; of a name, all labels are checked."""
        loss, title = self._named(out, *labels)
        with blamed(self.path, "the loss on the first samples", self.lines.get("loss")), torch.no_grad():
            losses = loss(out, labels[0][:FEW])
            check_per_sample(losses, len(labels[0][:FEW]))
        if not bool(losses.isfinite().all()):
            self.refuse("loss", "the loss of the first samples is NaN or infinite at the initial weights")
        return loss, title

    def _named(self, out: Any, *labels: Tensor) -> tuple[PerSample, str]:
        given = self.get("loss")
        if callable(given):
            return given, getattr(given, "__name__", type(given).__name__)
        if given not in (*LOSSES, *SEQUENCES):
            known = ", ".join(map(repr, (*LOSSES, *SEQUENCES)))
            self.refuse("loss", f"loss is {given!r:.60}; expected one of {known}, or a function (outputs, y) -> (n,)")
        if given in SEQUENCES:
            return SEQUENCES[given], given.replace("_", " ")
        of = LOSSES[given]
        if not isinstance(out, Tensor):
            self.refuse("loss", f"network() gives {_told(out)}; expected a tensor, or a loss that is a function")
        if out.ndim != 2:
            with blamed(self.path, "", self.lines["loss"]):
                return per_sample(of, out), of.title
        with blamed(self.path, "", self.lines["data"]):
            for y in labels:
                of.check(out, y)
        return of, of.title

    def classes(self, loss: PerSample, out: Any, *labels: Tensor) -> int:
        """C where y are class labels of outputs (n, C), else 0."""
        if not isinstance(out, Tensor) or out.ndim != 2 or (isinstance(loss, Loss) and loss is not CROSS_ENTROPY):
            return 0
        C = out.shape[1]
        whole = all(y.dtype == torch.int64 and y.ndim == 1 for y in labels)
        return C if whole and all(0 <= int(y.min()) <= int(y.max()) < C for y in labels) else 0

    def score(self, loss: PerSample, out: Any, y: Tensor, classes: int) -> Score | None:
        """The file's own score, else that of the loss, else the accuracy where there are classes."""
        given = self.get("score")
        if given is None:
            shown: Score | None = getattr(loss, "shown", CROSS_ENTROPY.shown if classes else None)
            return shown
        name, better = self.get("score_name", getattr(given, "__name__", "score")), self.get("better", "higher")
        if (
            not isinstance(name, str)
            or not 0 < len(name) <= 30
            or not name.replace("-", "").replace(" ", "_").isidentifier()
        ):
            self.refuse("score_name", f"score_name is {name!r:.60}; expected at most 30 letters, digits, blanks and -")
        if better not in BETTER:
            self.refuse("better", f"better is {better!r:.60}; expected one of {', '.join(BETTER)}")
        with blamed(self.path, "the score of the first samples", self.lines["score"]), torch.no_grad():
            check_per_sample(given(out, y[:FEW]), len(y[:FEW]))
        return Score(f"{'score' if better == 'higher' else 'error'}_{name}", given)

    def augment(self, x: Tensor) -> Augment | None:
        """The file's `augment`, tried."""
        given: Augment | None = self.get("augment")
        if given is None:
            return None
        with blamed(self.path, "augment() of the first samples", self.lines["augment"]):
            made = [given(x[:FEW].clone(), torch.Generator().manual_seed(1)) for _ in range(2)]
        x = x[:FEW]
        if any(not isinstance(a, Tensor) or a.shape != x.shape or a.dtype != x.dtype for a in made):
            told = f"{tuple(made[0].shape)} {_kind(made[0])}" if isinstance(made[0], Tensor) else _told(made[0])
            self.refuse("augment", f"augment() gives {told}; expected {tuple(x.shape)} {_kind(x)}, as its inputs")
        if not torch.equal(*made):
            self.refuse("augment", "augment() differs under one generator; expected all that is random to come from it")
        return given

    def defaults(self) -> Mapping[str, Any]:
        """The file's `defaults`; what they mean is checked where options are."""
        given = self.get("defaults", {})
        if not isinstance(given, Mapping) or not all(isinstance(k, str) for k in given):
            self.refuse("defaults", f"defaults is {_told(given)}; expected a dict of options by name")
        for name, value in given.items():
            for each in value if isinstance(value, tuple | list) else (value,):
                if not isinstance(each, bool | int | float | str):
                    self.refuse("defaults", f"defaults[{name!r}] is {_told(each)}; expected numbers, texts, or a list")
        return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}


def _kind(a: Tensor) -> str:
    return str(a.dtype).removeprefix("torch.")


def _told(given: Any) -> str:
    return "None" if given is None else f"a value of type {type(given).__name__}"


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
