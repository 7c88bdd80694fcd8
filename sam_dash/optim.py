"""Any variant in your own training loop, for your own network, as a torch optimiser.

>>> import torch
>>> model = torch.nn.Linear(5, 3)
>>> optimiser = SharpnessAware(model, "sam", m=4, lr=0.1, rho=0.05)
>>> x, y = torch.randn(8, 5), torch.randint(0, 3, (8,))
>>> loss = optimiser.step(lambda: (x, y))

See docs/optim.md.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._utils import _unflatten_dense_tensors
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DataParallel

from sam_dash import variants
from sam_dash.maths import groups
from sam_dash.maths.contract import Step
from sam_dash.maths.draws import draw
from sam_dash.maths.fast.unformed import formed
from sam_dash.maths.fast.ways import Moment, Way, choose, made_of, on_module
from sam_dash.maths.flat import PerSample, refuse_not_finite
from sam_dash.maths.live import Live, call
from sam_dash.maths.live_oracle import LiveOracle, check_repeats
from sam_dash.maths.loss import get as get_loss
from sam_dash.maths.micro import mean_step
from sam_dash.maths.parts import Batch, batches, together
from sam_dash.maths.precision import cast_anew
from sam_dash.maths.ranks import Ranks, SharedOracle, within
from sam_dash.maths.samples import cut, samples
from sam_dash.maths.shards import Shards, cut_as


class Last(NamedTuple):
    """What the last step was: the mean loss before it, mean ||eps||, ||g||, ||h|| and cos(g, h)."""

    loss: float
    eps: float
    g: float
    h: float
    cosine: float


class SharpnessAware(torch.optim.Optimizer):
    """A sharpness-aware variant round a base optimiser.

    Args:
        model: the network; a `DistributedDataParallel` is unwrapped. It is left as it was but for the step.
        variant: a key of `sam_dash.variants`, such as "sam", "asam", "rwsam".
        base: `base(parameters, lr=lr)` makes the base optimiser; `functools.partial` gives it more.
        lr: the learning rate, of groups that have none of their own.
        m: samples that share a perturbation, whatever the number of ranks; None: the whole (global) batch, plain SAM.
        loss: a key of `sam_dash.maths.loss.LOSSES` ("cross_entropy", "mse", "bce"), or any function (outputs, y) ->
            (n,), one loss for each of the n samples, such as `nn.CrossEntropyLoss(reduction="none")`.
        params: what is perturbed and trained, as torch's optimisers take it: parameters, or groups with options of
            their own, of which "rho" is the group's radius: eps = rho g / ||g|| with the norm over all groups. None:
            all that require a gradient.
        perturb: the parameters that are perturbed, some of those that are trained; the variant sees these only, as if
            there were no others, and the others descend the gradient at the perturbed weights. None: all.
        full: the whole training set (x, y), which n-SAM and n-USAM need.
        counts: the class sizes (C,) of the training set, which Focal-SAM needs.
        clip: the largest norm of the descended gradient.
        scaler: a `torch.amp.GradScaler`, for float16; steps that it skips leave everything as it is.
        seed: of the variant's own noise; the same on all ranks.
        knobs: the variant's.

    Raises:
        ValueError: for arguments that cannot work, with what was expected.
    """

    def __init__(
        self,
        model: nn.Module,
        variant: str = "sam",
        base: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
        *,
        lr: float,
        m: int | None = None,
        loss: str | PerSample = "cross_entropy",
        params: Iterable[Any] | None = None,
        perturb: Iterable[nn.Parameter] | None = None,
        full: Batch | None = None,
        counts: Tensor | None = None,
        clip: float | None = None,
        scaler: Any = None,
        seed: int = 0,
        **knobs: Any,
    ) -> None:
        self.variant = variants.get(variant)
        self.model = within(model)
        if getattr(model, "_comm_hooks", None):
            warnings.warn(
                "the communication hook of DistributedDataParallel is not used: gradients are sent whole, once each",
                stacklevel=2,
            )
        self.forward = model if isinstance(model, DataParallel) else self.model
        self.knobs = self.variant.check(knobs)
        self.loss = get_loss(loss) if isinstance(loss, str) else loss
        self.m, self.full, self.counts, self.clip, self.scaler = m, full, counts, clip, scaler
        self.ranks, self.shards = Ranks.here(), Shards.of(self.model)
        _check(self)
        given = [p for p in self.model.parameters() if p.requires_grad] if params is None else list(params)
        if not given:
            raise ValueError("no parameter of the model requires a gradient: there is nothing to train")
        self.base = base(given, lr=lr)
        if self.variant.descends and any(group.get("momentum", 1) for group in self.base.param_groups):
            raise ValueError(f"{self.variant.title} brings its own descent: its base is torch.optim.SGD, no momentum")
        super().__init__(self.base.param_groups, self.base.defaults)
        self.param_groups, self.state = self.base.param_groups, self.base.state
        self.perturb = None if perturb is None else list(perturb)
        self.t = 0
        for group in self.param_groups:
            group.setdefault("max_lr", group["lr"])
        self.generator = torch.Generator().manual_seed(seed)
        self.way = ""  # how steps are taken: see `sam_dash.maths.fast.ways`
        self._last: tuple[Tensor, Step] | None = None
        self._prepare(self.perturb)

    def _follow(self) -> None:
        """Prepare anew where parameters have been frozen, or no longer are."""
        now = {id(p) for group in self.base.param_groups for p in group["params"] if p.requires_grad}
        if now != set(map(id, self.trained)):
            self.zero_grad()  # of what is frozen now
            self._prepare(None if self.perturb is None else [p for p in self.perturb if p.requires_grad])

    def _prepare(self, perturb: list[nn.Parameter] | None) -> None:
        """What follows from the parameters that are trained."""
        trained = {id(p): p for group in self.base.param_groups for p in group["params"] if p.requires_grad}
        ordered = [p for p in self.model.parameters() if trained.pop(id(p), None) is not None]
        if trained:
            shape = tuple(next(iter(trained.values())).shape)
            raise ValueError(f"a parameter of shape {shape} is not one of the model's")
        if not ordered:
            raise ValueError("no parameter that is given requires a gradient: there is nothing to train")
        perturbed = {id(p) for p in (ordered if perturb is None else perturb)}
        if not perturbed or perturbed - set(map(id, ordered)):
            raise ValueError(f"perturb: expected some of the {len(ordered)} parameters that are trained")
        moved, rest = ([p for p in ordered if (id(p) in perturbed) is which] for which in (True, False))
        self.trained = moved + rest  # as the base has them; `live.trained` are the same, whole
        with self.shards.whole() as whole:
            self.live = Live.of(self.forward, self.loss, list(map(whole, moved)), list(map(whole, rest)))
            w = self.live.read()
        self.memory = self.variant.init(w)
        self.chosen: dict[tuple[Any, ...], Way] = {}
        self.repeats = False  # whether two forwards were found to agree
        self._radii(w)

    def _radii(self, w: Tensor) -> Tensor | None:
        perturbed = self.trained[: len(self.live.parameters)]
        return groups.radii(self.param_groups, self.variant, self.knobs, perturbed, w)

    @cast_anew()
    @torch.no_grad()
    def step(self, closure: Callable[[], Batch | list[Batch]] | None = None) -> Tensor:  # type: ignore[override]
        """One step on the batch (x, y) that the closure returns. After it `.grad` holds what was descended.

        Args:
            closure: is called once and returns x, what the model is called with (a dict: keyword arguments; a tuple:
                arguments), and y, what the loss takes beside the outputs; all tensors in them lead with samples. Or it
                returns a list of such pairs, which are one batch that does not fit into memory at once.

        Returns:
            The mean loss () before the step.

        Raises:
            ValueError: without a batch (x, y), for an m that does not divide it, or a loss that does not return (n,);
                and on the CPU without a scaler, where looking is free, for a loss that is NaN or infinite, with the
                tensor that made it so. The weights are then as before.
        """
        self._follow()
        self._last = None  # whose g may hold all that its pass has kept
        parts = batches(closure)
        sizes = [samples(part) for part in parts]
        n = sum(sizes)
        if not n:
            raise ValueError("the batch has no samples; expected at least one")
        m = self.m or n * self.ranks.size
        k = self.ranks.sharing(m, n)
        sharing = [parts] if k > 1 else together(parts, sizes, m)
        self._check_statistics(sharing, k)
        with self.shards.whole():
            generator = self.generator.clone_state()
            with self.live.held() as w:
                loss = None
                if any(part.training for part, *_ in self.live.buffers):  # then one clean pass moves them, and no other
                    loss = self._loss(parts)
                    self.live.settle()
                self.live.wanted = loss is None
                self.live.scale = float(self.scaler.scale(w.new_ones(()))) if self.scaler else 1.0
                self.live.radii = self._radii(w)
                at = self._moment(w, generator)
                out = mean_step(self._steps(sharing, n, w, at, m, k))
                if loss is None:
                    loss = torch.cat(self.live.losses).mean()
                if k < self.ranks.size:
                    out = self._averaged(out)
                if not (self.scaler or loss.is_cuda):
                    self._refuse_not_finite(loss, out, parts, w)
        self._descend(out, generator)
        self._last = loss, out
        return loss

    def _refuse_not_finite(self, loss: Tensor, out: Step, parts: list[Batch], w: Tensor) -> None:
        """ValueError, on all ranks if on one: those that went on would wait for it for ever."""
        finite = math.isfinite(float(loss))
        if finite and (self.ranks.size == 1 or bool(out.h.isfinite().all())):
            return
        self.chosen.clear()  # of what was chosen on such numbers nothing is known
        self.live.write(w)
        for part in parts:
            refuse_not_finite(self.model, *part)
        what = "the gradient of all ranks is not finite" if finite else f"the loss is {float(loss)}"
        raise ValueError(f"{what} at step {self.t}, though the weights, x and y {'here ' * finite}are finite")

    @property
    def last(self) -> Last | None:
        """What the last step was; None before the first, and after one that was refused."""
        if self._last is None:
            return None
        loss, out = self._last
        mean, descent = formed(out.g).flatten(), out.descent
        g, h = float(mean.norm()), float(descent.norm())
        return Last(float(loss), float(out.eps.mean()), g, h, float(mean @ descent) / max(g * h, 1e-30))

    def _moment(self, w: Tensor, generator: torch.Generator) -> Moment:
        """What the variant may use at this step besides its batch."""
        full = self.full and LiveOracle.on(self.live, self.full, chunk=4096, layout=self.live.layout)
        return Moment(
            draw(self.variant, w, generator), full or None, self.counts, self.t, groups.rate(self.param_groups)
        )

    def _way(self, batch: Batch, w: Tensor, at: Moment, m: int, n: int) -> Way:
        """The way for batches of this size and the module as it now is; found at the first of them."""
        cast = torch.is_autocast_enabled(w.device.type)
        key = (n, m, made_of(self.model), cast, self.live.radii is None)
        if key not in self.chosen:
            check_repeats(self.live, cut(batch, m)[0], w)
            self.repeats, told = True, len(self.live.losses)
            self.chosen[key] = choose(self.variant, self.live, m, batch, w, self.memory, at, self.knobs)
            del self.live.losses[told:]
        self.way = self.chosen[key].name
        return self.chosen[key]

    def _steps(
        self, sharing: list[list[Batch]], n: int, w: Tensor, at: Moment, m: int, k: int
    ) -> Iterator[tuple[Step, float]]:
        """The step on each of the groups that share a perturbation, and its share of the n samples."""
        if len(sharing) == 1:
            yield self._one(sharing[0], n, w, at, m, k), 1
            return
        for parts in sharing:
            size = sum(map(samples, parts))
            out = self._one(parts, size, w, at, m, k)
            yield out._replace(g=formed(out.g).flatten()), size / n

    def _one(self, parts: list[Batch], n: int, w: Tensor, at: Moment, m: int, k: int) -> Step:
        """The step on batches of n samples that share a perturbation, on k ranks, or on one that is cut."""
        if len(parts) == 1 and k == 1:
            out = self._way(parts[0], w, at, min(m, n), n).take(parts[0], w, self.memory, at, self.knobs)
            cast = torch.is_autocast_enabled(w.device.type)  # outside it what g is made of has several dtypes
            return out._replace(g=formed(out.g).flatten()) if cast else out
        facts = {"layout": self.live.layout, **at._asdict()}
        if not self.repeats:
            check_repeats(self.live, parts[0], w)
            self.repeats = True
        if k > 1:
            self.way = f"plain, {k} ranks together"
            L: LiveOracle = SharedOracle.on(self.live, *parts, ranks=self.ranks, k=k, **facts)
        else:
            self.way = f"plain, {len(parts)} batches together"
            L = LiveOracle.on(self.live, *parts, **facts)
        return on_module(self.variant, L, w, self.memory, self.knobs)

    def _check_statistics(self, sharing: list[list[Batch]], k: int) -> None:
        """ValueError where BatchNorm would normalise samples with one perturbation in several parts."""
        if k == 1 and all(len(group) == 1 for group in sharing):
            return
        if any(isinstance(part, _BatchNorm) and part.training for part in self.model.modules()):
            whose, local = ("each rank's", "local ") if k > 1 else ("each batch's", "")
            raise ValueError(
                f"BatchNorm normalises {whose} {samples(sharing[0][0])} samples by themselves, so no loss of the "
                f"samples of several {'ranks' if k > 1 else 'batches'} is perturbed: choose an m that divides the "
                f"{local}batch, or GroupNorm or LayerNorm"
            )

    def _averaged(self, out: Step) -> Step:
        """The mean over all ranks: one all-reduce of h, and a small one of the rest; g stays the rank's own."""
        rest = out.state, dict(out.info), out.aside, out.moves
        eps, (state, info, aside, moves) = self.ranks.means((out.eps.mean()[None], rest))
        return Step(self.ranks.mean(out.h), eps, out.g, state, info, aside, moves)

    def _loss(self, parts: list[Batch]) -> Tensor:
        return self.live.without_graph(
            lambda: torch.cat([self.loss(call(self.forward, x), y) for x, y in parts])
        ).mean()

    def _descend(self, out: Step, generator: torch.Generator) -> None:
        """Give the base optimiser h, and remember what the step found, unless the scaler skips the step."""
        moves = None if isinstance(out.moves, tuple) else self._parts(out.moves)
        h = out.h.clone() if self.live.scale == 1 else out.h * self.live.scale
        descended = _unflatten_dense_tensors(h, self.live.trained)
        for i, (p, grad) in enumerate(zip(self.trained, descended, strict=True)):
            seen = (not self.live.used or i in self.live.used) and (moves is None or bool(moves[i].any()))
            p.grad = cut_as(p, grad.to(p.device, p.dtype)) if seen else None
        if self.scaler:
            self.scaler.unscale_(self.base)
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.trained, self.clip)
        if self.scaler:
            self.scaler.step(self.base)
            self.scaler.update()
        else:
            self.base.step()
        if not self.scaler or bool(out.descent.isfinite().all()):
            self._step_aside(out)
            self.memory, self.t, self.generator = out.state, self.t + 1, generator

    def _step_aside(self, out: Step) -> None:
        """What passes the base optimiser by, at each group's rate, and clipped as the gradient is."""
        if isinstance(out.aside, tuple):
            return
        clip = 1.0 if self.clip is None else min(1.0, self.clip / (float(out.h.norm()) + 1e-6))
        aside = dict(zip(map(id, self.trained), self._parts(out.aside), strict=False))
        groups.step_along(self.param_groups, aside, clip)

    def _parts(self, v: Tensor) -> list[Tensor]:
        """v (d,) as one tensor for each parameter that is perturbed."""
        return list(self.live.layout.unflatten(v).values())

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients, as any optimiser does; there is no need to."""
        self.base.zero_grad(set_to_none)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Train further parameters of the model from now on. A variant's memory starts anew."""
        if "live" not in vars(self):  # torch's constructor, with the base's own groups
            super().add_param_group(param_group)
            return
        self.base.add_param_group(param_group)
        self._prepare(self.perturb)

    def state_dict(self) -> dict[str, Any]:
        """All that a run needs to go on: the base optimiser's state, the variant's, the step and the generator."""
        return {
            "base": self.base.state_dict(), "variant": self.variant.key,
            "memory": [part.clone() for part in self.memory],
            "t": self.t, "generator": self.generator.get_state(),
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict` of the same variant; ValueError for another's."""
        if state_dict["variant"] != self.variant.key:
            raise ValueError(f"this state is of {state_dict['variant']!r}, the optimiser is {self.variant.key!r}")
        self.base.load_state_dict(state_dict["base"])
        self.param_groups, self.state = self.base.param_groups, self.base.state
        with self.shards.whole():
            fresh = self.variant.init(self.live.read())
        parts = [a.to(b) for a, b in zip(state_dict["memory"], fresh, strict=True)]
        self.memory = type(fresh)(*parts) if parts else fresh
        self.t = state_dict["t"]
        self.generator.set_state(state_dict["generator"])

    def __getstate__(self) -> dict[str, Any]:
        """All but what is found anew: the ways, the process groups, and a scheduler's wrapper round `step`."""
        kept = {k: v for k, v in vars(self).items() if k not in ("chosen", "ranks", "step")}
        last = self._last and (self._last[0], self._last[1]._replace(g=formed(self._last[1].g).flatten()))
        return kept | {"variant": self.variant.key, "_last": last}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state | {"variant": variants.get(state["variant"])})
        self.chosen, self.ranks = {}, Ranks.here()


def _check(o: SharpnessAware) -> None:
    """ValueError for what cannot work, a warning for what works differently."""
    v = o.variant
    if o.m is not None and (isinstance(o.m, bool) or not isinstance(o.m, int) or o.m < 1):
        raise ValueError(f"m = {o.m!r}: expected a whole number of samples")
    if o.m is not None and not v.uses_m:
        raise ValueError(f"{v.title} has no m-version: {v.no_m}")
    if v.cost(**o.knobs).full and o.full is None:
        raise ValueError(f"{v.title} perturbs along the full-data gradient: pass full=(x_all, y_all)")
    if v.counts and o.counts is None:
        raise ValueError(f"{v.title} weighs classes by their size: pass counts, a tensor (C,) of the training set's")
    if o.m is not None and any(isinstance(p, _BatchNorm) for p in o.model.modules()):
        warnings.warn(
            "BatchNorm: the statistics of a micro-batch change the loss itself, so that runs with different m differ "
            "in more than the perturbation; GroupNorm or LayerNorm do not",
            stacklevel=3,
        )
