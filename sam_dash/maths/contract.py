"""The variant contract: what a SAM variant is, and the registry of all of them.

A variant is a pure function ``step(L, w, s, *, knobs) -> Step`` over a gradient oracle `L`. This module does
not import torch, nor do the variants, which use tensor methods only: so a page can list every variant, its
knobs, its cost and its equations without loading torch.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_args, get_origin

from sam_dash.maths.estimate import Estimate

if TYPE_CHECKING:
    from torch import Tensor

TINY = 1e-12
SOURCES = ("paper", "official code", "other implementation", "ours")
BESIDE = """run network variant m seed status step steps phase seconds error epoch quantity layer share panel line kind
x y low high n colour dash marker model base lr loss params perturb full counts clip scaler batch epochs optimiser
momentum weight_decay nesterov schedule dataset data_hash label_noise imbalance n_train scaling start what every also
name settings steps_per_epoch store study"""
TAKEN = {f.name for f in fields(Estimate)} | set(BESIDE.split())
"""Names that no knob can have: a knob is a column beside these in tables, and an argument beside these elsewhere."""
LAWS = ("signs", "uniform", "normal")  # of noise: +-1, [0, 1), N(0, 1)


class Step(NamedTuple):
    """What a step of a variant returns.

    `h` (d,): the gradient for the base optimiser. `eps` (d,): the perturbation; (B/m, d) from `per_micro_batch`.
    `g` (d,): the gradient at w that the perturbation was made from. `state`: the next state, a NamedTuple of
    float tensors. `info`: scalars to record, by quantity name; `sample_weights` in it (n,) are in falling
    order. `aside` (d,), if any, passes the base optimiser by: w - lr aside after its update. `moves` (d,), if any, is 1
    where the base optimiser updates w and its own state, and 0 where both stay as they are (whole tensors).
    """

    h: Tensor
    eps: Tensor
    g: Tensor
    state: Any = ()
    info: Mapping[str, Tensor] = {}
    aside: Tensor | tuple[()] = ()
    moves: Tensor | tuple[()] = ()

    @property
    def descent(self) -> Tensor:
        """What plain gradient descent without momentum and weight decay follows: h + aside (d,)."""
        return self.h if isinstance(self.aside, tuple) else self.h + self.aside


def unit(v: Tensor) -> Tensor:
    """v / ||v||, the norm global over all d coordinates; 0 where v = 0.  (d,) -> (d,)."""
    return v / (v.norm() + TINY)


def spread(p: Tensor) -> dict[str, Tensor]:
    """How unequal weights p (n,) of samples are: the effective sample size 1/sum p^2, and all, the largest first."""
    return {"ess": 1 / p.square().sum(-1), "sample_weights": p.sort(-1, descending=True).values}


def spacing(v: Tensor) -> float:
    """The distance from 1 to the next number of v's dtype: 1.2e-7 in float32, 2.2e-16 in float64."""
    return 2.0 ** {2: -7, 4: -23, 8: -52}[v.dtype.itemsize]


@dataclass(frozen=True)
class Knob:
    """One keyword of a variant: its symbol, its range or its choices, and one line of help."""

    symbol: str
    help: str
    low: float = 0.0
    high: float = math.inf
    kind: type = float
    choices: tuple[Any, ...] = ()
    default: Any = None
    source: str = ""  # where the default is from: one of SOURCES, and in brackets which

    def check(self, name: str, value: Any) -> Any:
        """Return `value` as this knob's type, or raise ValueError saying what was expected."""
        if self.choices:
            if value not in self.choices:
                raise ValueError(f"{name} = {value!r}: expected one of {', '.join(map(str, self.choices))}")
            return value
        if self.kind is bool:
            if not isinstance(value, bool):
                raise ValueError(f"{name} = {value!r}: expected true or false")
            return value
        try:
            number = self.kind(value)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"{name} = {value!r}: expected a number") from None
        good = number == value and math.isfinite(number) and self.low <= number <= self.high
        if isinstance(value, bool) or not good:
            kind = "a whole number" if self.kind is int else "a number"
            raise ValueError(f"{name} = {value!r}: expected {kind} in [{self.low:g}, {self.high:g}]")
        return number


Radius = Annotated[float, Knob("ρ", "perturbation radius", 0.0, 100.0)]


@dataclass(frozen=True)
class Cost:
    """Passes of one step, on average over `period` steps.

    Mini-batch gradients, `per_sample` of them for each sample; forwards; full-data gradients; backwards that share
    a forward with another; Hessian-vector products.
    """

    gradients: float
    forwards: float = 0
    full: float = 0
    per_sample: float = 0
    backwards: float = 0
    products: float = 0
    period: int = 1

    def in_gradients(self, n_over_b: float) -> float:
        """This cost in mini-batch gradients: a forward is 1/3, a backward 2/3, a product 2, a full gradient N/B."""
        passes = self.gradients + self.forwards / 3 + self.backwards * 2 / 3 + self.products * 2
        return passes + self.full * n_over_b


def _stateless(_w: Tensor) -> tuple[()]:
    return ()


@dataclass(frozen=True)
class Variant:
    """A registered variant: the step function and all that is known about it.

    `noise` rows of the law `law` are drawn before each step, none at the knobs `noiseless_at`. `no_m` says why it has
    no m-version. `descends`: its h is a whole update direction, for gradient descent without momentum. `layered`: it
    asks for tensors or layers, and has no step on weights without any. `counts`: it asks for the classes' sizes.
    `chained`: it asks for no more than gradients that are not formed can do, so that all runs of a perceptron take
    their step in one pass (`runs.steppers`); `factored`: its m-version too. `family`: the variant whose colour it has.
    """

    key: str
    title: str
    step: Callable[..., Step]
    ref: str
    knobs: Mapping[str, Knob]
    cost: Callable[..., Cost]
    is_sam_at: Mapping[str, Any] | None
    init: Callable[[Tensor], Any] = _stateless
    noise: int = 0
    noiseless_at: Mapping[str, Any] | None = None
    law: str = "signs"
    m_axis: bool = False
    no_m: str = ""
    descends: bool = False
    layered: bool = False
    counts: bool = False
    chained: bool = False
    factored: bool = False
    family: str = "sam"
    doc: str = field(default="", repr=False)

    @property
    def uses_m(self) -> bool:
        """Whether it has an m-version other than itself."""
        return not self.no_m

    def in_one_pass(self, m: int | None, batch: int) -> bool:
        """Whether all runs of a perceptron take a step at this m (None: the batch) in one pass."""
        return self.factored if self.uses_m and m not in (None, batch) else self.chained

    def at(self, knobs: Mapping[str, Any]) -> Variant:
        """This variant as it is at these knobs: without noise where it reads none."""
        silent = self.noiseless_at and all(knobs.get(name) == value for name, value in self.noiseless_at.items())
        return replace(self, noise=0) if silent else self

    def defaults(self) -> dict[str, Any]:
        """Every knob at its default."""
        return {name: knob.default for name, knob in self.knobs.items()}

    def check(self, knobs: Mapping[str, Any]) -> dict[str, Any]:
        """All knobs, the given ones validated, the others at their defaults; ValueError otherwise."""
        for name in knobs:
            if name not in self.knobs:
                known = ", ".join(self.knobs) or "none"
                raise ValueError(f"{self.title} has no knob {name!r}; its knobs: {known}")
        return {n: k.check(n, knobs[n]) if n in knobs else k.default for n, k in self.knobs.items()}


REGISTRY: dict[str, Variant] = {}


def get(key: str) -> Variant:
    """The variant of that key; ValueError naming the known ones otherwise."""
    if key not in REGISTRY:
        raise ValueError(f"unknown variant {key!r}; known: {', '.join(sorted(REGISTRY))}")
    return REGISTRY[key]


def variant(
    title: str,
    *,
    ref: str,
    cost: Cost | Callable[..., Cost],
    is_sam_at: Mapping[str, Any] | None = None,
    defaults: Mapping[str, str] | None = None,
    **facts: Any,
) -> Callable[[Callable[..., Step]], Callable[..., Step]]:
    """Register a step function under its own name; its knobs are read from its keyword-only arguments.

    `defaults` says of every knob where its default is from: one of `SOURCES`, and in brackets which.
    """

    def register(step: Callable[..., Step]) -> Callable[..., Step]:
        key = step.__name__
        doc = inspect.getdoc(inspect.getmodule(step)) or ""
        price = cost if callable(cost) else lambda **_: cost
        REGISTRY[key] = Variant(key, title, step, ref, _knobs(step, defaults or {}), price, is_sam_at, doc=doc, **facts)
        return step

    return register


def _knobs(step: Callable[..., Step], sources: Mapping[str, str]) -> dict[str, Knob]:
    out = {}
    for name, arg in inspect.signature(step).parameters.items():
        if arg.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        hint = arg.annotation
        if isinstance(hint, str):  # only these are evaluated: the other annotations name torch types
            hint = eval(hint, step.__globals__)
        if get_origin(hint) is not Annotated or arg.default is inspect.Parameter.empty:
            raise TypeError(f"{step.__name__}: knob {name!r} needs a default and Annotated[type, Knob(...)]")
        kind, knob = get_args(hint)[:2]
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        kind = str if choices else kind
        out[name] = replace(knob, kind=kind, choices=choices, default=arg.default, source=sources.get(name, ""))
    if taken := sorted(TAKEN & set(out)):
        raise TypeError(f"{step.__name__}: a knob cannot be called {taken[0]!r}, as a column of tables is")
    bad = [n for n, knob in out.items() if knob.source.partition(" (")[0] not in SOURCES]
    if bad or set(sources) - set(out):
        raise TypeError(f"{step.__name__}: `defaults` must say for each knob which of {SOURCES} its default is from")
    return out
