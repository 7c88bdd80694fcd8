"""Anybody's training loop in the dashboard, live: what it logs, what its optimiser did, its sharpness along the way.

>>> with Recorder("my run", variant="sam", m=8, rho=0.1, seed=0, store=getfixture("tmp_path") / "store.db") as r:
...     for step in range(1, 4):
...         r.log(step, train_loss=1 / step)

See docs/record.md.
"""

from __future__ import annotations

import atexit
import math
import os
import traceback
import warnings
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

try:
    from sam_dash.runs import checkpoints
except ModuleNotFoundError as missing:
    if missing.name != "sqlalchemy":
        raise
    told = "sam_dash.record needs SQLAlchemy: pip install 'sqlalchemy>=2'"
    raise ModuleNotFoundError(told, name="sqlalchemy") from None
from sam_dash import api
from sam_dash.loop import check_agreement, evaluating, inner, number, rank, whole
from sam_dash.maths.estimate import Estimate
from sam_dash.optim import SharpnessAware
from sam_dash.runs.budget import Budget
from sam_dash.runs.environment import environment
from sam_dash.runs.recorded import SERIES
from sam_dash.runs.recording import SETTING, RecordedProblem, RecordedRun, RecordedStudy, RecordedTraining
from sam_dash.runs.report import one_line
from sam_dash.runs.writer import End, Writer
from sam_dash.trackers import Tracker

WATCHED = {"eps_norm": "eps", "g_norm": "g", "h_norm": "h", "cos_gh": "cosine"}
DEAREST = {"density": 330, "tr_H_pyhessian": 400, "lam_max_pyhessian": 400}
OTHERS = 10  # Hessian products that any other quantity takes, at most
PRODUCT = 0.5  # of the time of asc_H, which one product takes at most; .16 to .48 was seen
LOOK = 0.1  # seconds that the share must have room for before it is tried how long a measurement takes
OPENING = 2.0  # seconds that the constructor waits to hear that a store is none


class Recorder:
    """Records one run of a training loop in a store, where the dashboard shows it live beside its own runs.

    What is logged is written by a thread of its own about twice a second: the loop never waits for the store. With
    several processes, rank 0 records, and every call on another rank does nothing.

    Args:
        name: of the run. Runs of one name are one study, whose figures tell them apart by variant, m, knobs and seed.
        variant: a key of `sam_dash.variants`, or any name; "sgd" for what perturbs nothing, whichever optimiser.
        m: samples that share a perturbation; None: the whole batch.
        seed: what the runs of one setting differ by; means and intervals are over seeds.
        study: the name of the study, where runs of several names belong together.
        network: the network's name.
        batch: samples of a (global) batch, B.
        steps: how many the run will take, for a progress bar.
        steps_per_epoch: where known, curves have epochs too.
        settings: what all runs of the study have in common, such as {"lr": 0.1}. Runs of one name that differ in
            network, batch or settings are studies of their own: no figure would pool them rightly.
        share: the largest share of the loop's time that recording may take, `measure` and `watch` included: they
            leave out what would go beyond it. The measurement of the final weights comes on top.
        store: a path or a database URL; None: SAM_DASH_STORE, or the file in the user's data directory that the
            dashboard reads.
        also: trackers that are given the same numbers (`sam_dash.trackers`).
        **knobs: the variant's, such as rho=0.1.

    Raises:
        ValueError: for what cannot be shown rightly, with what was expected.
        StoreError: for a store that cannot be used. One that is locked or full is tried again instead.
    """

    def __init__(
        self,
        name: str,
        *,
        variant: str = "sgd",
        m: int | None = None,
        seed: int = 0,
        study: str = "",
        network: str = "",
        batch: int | None = None,
        steps: int | None = None,
        steps_per_epoch: int | None = None,
        settings: Mapping[str, SETTING] | None = None,
        share: float = 0.05,
        store: str | Path | None = None,
        also: Iterable[Tracker] = (),
        **knobs: Any,
    ) -> None:
        training = RecordedTraining(batch=batch or 0, steps_per_epoch=steps_per_epoch or 0, settings=settings or {})
        problem = RecordedProblem(network=network)
        self.run = RecordedRun(
            name=name, variant=variant, m=m, seed=seed, knobs=knobs, problem=problem, training=training
        )
        about = RecordedStudy(name=study or name, problem=problem, training=training)
        self.url, self.also = None if store is None else str(store), list(also)
        self.steps_per_epoch = steps_per_epoch or 0
        self.step = self.measured = self.watched = self.postponed = 0
        self._took: dict[Any, float] = {}
        self._last: int | None = None
        self._again: tuple[Any, ...] | None = None
        self._bad = ""
        self._writer: Writer | None = None
        self.budget = Budget(share, lambda: self._writer.cpu if self._writer else 0.0)
        if rank() == 0:
            self._writer = Writer(self.url, about, self.run, steps or 0)
            self._writer.wait_until_open(OPENING)
            self.budget = Budget(share, self.budget.elsewhere)  # from here on it is the loop's time
            atexit.register(self.close, "interrupted", "its process ended without closing it")

    @property
    def key(self) -> str:
        """The run's key in the store."""
        return self.run.key

    @property
    def overhead(self) -> float:
        """The share of the loop's time that recording has taken so far, its thread included."""
        return self.budget.spent / self.budget.elapsed

    def log(self, step: int, *, epoch: float | None = None, **values: float | Tensor | Estimate) -> None:
        """Record numbers of a step.

        Args:
            step: how many steps have been taken.
            epoch: how many epochs; None: from `steps_per_epoch`, where that is known.
            **values: numbers, tensors of one number, or estimates with their errors. Names that the dashboard knows
                are `train_loss`, `train_acc`, `test_loss`, `test_acc` (accuracies as fractions), `eps_norm`, `g_norm`,
                `h_norm`, `cos_gh`, `w_norm` and those of `api.measure`; any other name has a curve too.

        Raises:
            ValueError: for a step that is no whole number, a name that cannot be one, or a value that is no number.
        """
        if self._writer is None:
            return
        with self.budget.counted("log"):
            self.step = step = whole(step)
            found = {name: number(name, value) for name, value in values.items()}
            along = {name: x for name, x in found.items() if name in SERIES and isinstance(x, float)}
            self._writer.add_step(step, along)
            self._writer.add(step, self._epoch(epoch), {name: x for name, x in found.items() if name not in along})
            for name in ("train_loss", "loss"):
                if isinstance(loss := found.get(name), float):
                    self._bad = "" if math.isfinite(loss) else f"{name} is {loss} at step {step}"
            self._pass_on(found)
            self._say()

    def measure(
        self,
        model: nn.Module,
        x: Any,
        y: Any = None,
        quantities: Sequence[str] = ("tr_H", "lam_max", "tr_V"),
        *,
        step: int | None = None,
        every: int = 1,
        always: bool = False,
        **options: Any,
    ) -> Mapping[str, Estimate] | None:
        """Measure the model as it is, where `every` steps have passed since the last time and the share allows it.

        The numbers are those of `api.measure`, in evaluation mode; the model, its modes and all generators are
        afterwards what they were. What was measured on the way is measured once more at the end of the `with` block,
        so that the final weights have their numbers.

        Args:
            model: the network; a `DistributedDataParallel` is unwrapped.
            x: inputs, or a loader, as `api.measure` takes them; the same samples every time.
            y: labels.
            quantities: of `api.QUANTITIES`.
            step: how many steps have been taken; None: as last logged.
            every: steps from one measurement to the next, at least; when due and over the share, it is postponed to
                the first call that is within it.
            always: measure even where the share is spent.
            **options: further ones of `api.measure`, such as loss.

        Returns:
            What was found, by quantity; None where nothing was measured now.
        """
        if self._writer is None:
            return None
        self.step = self.step if step is None else whole(step)
        self._again = (model, x, y, tuple(quantities), options)
        if not always and self._last is not None and self.step < self._last + every:
            return None
        with self.budget.counted("measure"):
            if always or self.budget.allows(self._expected(*self._again)):
                return self._measure(*self._again)
            self.postponed += 1
        return None

    def watch(self, optimiser: torch.optim.Optimizer) -> None:
        """Record at every step what a `SharpnessAware` did: the mean ‖ε‖, ‖g‖, ‖h‖ and cos(g, h).

        It takes at most half of what logging leaves of the share, and leaves out steps beyond that; the first step is
        recorded whatever it takes.

        Raises:
            ValueError: for another optimiser, or one whose variant, m or knobs are not those that were said.
        """
        if not isinstance(optimiser, SharpnessAware):
            raise ValueError(
                f"watch takes a sam_dash.optim.SharpnessAware, not {type(optimiser).__name__}: log what yours knows, "
                "such as r.log(step, eps_norm=...)"
            )
        check_agreement(self.run, optimiser)
        if self._writer:
            optimiser.register_step_post_hook(lambda *_: self._watched(optimiser))

    def save(self, model: nn.Module, step: int | None = None) -> Path | None:
        """Save the model's state_dict beside the store, listed with the run; the file, None on another rank than 0.

        A .safetensors where that package is installed, else a .pt that `torch.load(weights_only=True)` reads.
        """
        if self._writer is None:
            return None
        step = self.step if step is None else whole(step)
        state = {
            name: a.detach().cpu().contiguous().clone()
            for name, a in inner(model).state_dict().items() if isinstance(a, Tensor)
        }  # fmt: skip
        path = checkpoints.place(self.url, self.key, step, "safetensors" if find_spec("safetensors") else "pt")
        part = path.with_name(f".{path.name}.part")
        if path.suffix == ".pt":
            torch.save(state, part)
        else:
            from safetensors.torch import save_file

            save_file(state, part)
        os.replace(part, path)
        self._writer.add_file(step, path)
        return path

    def close(self, status: str = "done", error: str = "", log: str = "") -> None:
        """End the run; the `with` block does it. What is still to be written is waited for, up to a minute."""
        if self._writer is None:
            return
        atexit.unregister(self.close)
        seconds, account = self.budget.elapsed, self.account()
        made_with = {**environment(*_device()), "recorder": {"share": self.budget.share, "spent": self.overhead}}
        if status == "done" and self._again is not None and self._last != self.step:
            self._measure(*self._again)
        if status == "done" and self._bad:
            status, error = "diverged", self._bad
        self._writer.add(self.step, self._epoch(), {"train_seconds": Estimate(seconds, math.nan, "clock", 1)})
        self._writer.close(End(status, error, seconds, made_with, f"{log.rstrip()}\n{account}".lstrip()))
        self._say()
        self._writer = None

    def account(self) -> str:
        """What recording has taken of the loop's time so far, in a sentence."""
        text = f"recording took {100 * self.overhead:.2g} % of {self.budget.elapsed:.3g} s"
        text += f" (measuring and watching are kept within {100 * self.budget.share:.3g} %)"
        text += f", once {self.budget.beside:.2g} s to load what measuring needs" if self.budget.beside else ""
        return f"{text}; measured {self.measured} times, postponed at {self.postponed} calls"

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif isinstance(error, KeyboardInterrupt):
            self.close("stopped", f"Ctrl-C at step {self.step}")
        else:
            self.close("failed", one_line(error), "".join(traceback.format_exception(error)))

    def _epoch(self, epoch: float | None = None) -> float:
        if epoch is not None:
            return float(epoch)
        return self.step / self.steps_per_epoch if self.steps_per_epoch else math.nan

    def _expected(self, model: nn.Module, x: Any, y: Any, quantities: tuple[str, ...], options: Any) -> float:
        """Seconds that a measurement will take: a little more than the last one, or before that an upper bound."""
        if quantities in self._took:
            return 1.2 * self._took[quantities]
        usual = {"tr_H": "probes", "layer_trace": "probes", "lam_max": "iterations", "eigenvalues": "iterations"}
        at_most = {"probes": 128, "iterations": 100} | options
        products = sum(at_most[usual[q]] if q in usual else DEAREST.get(q, OTHERS) for q in quantities)
        probe = ("asc_H",)
        if probe not in self._took and not self.budget.allows(LOOK):
            return math.inf
        if probe not in self._took:
            with self.budget.aside():  # once a process torch loads what second derivatives need: seconds
                if self._found(model, x, y, probe, options) is None:
                    return math.inf
            self._found(model, x, y, probe, options)
        return PRODUCT * products * self._took[probe]

    def _found(
        self, model: nn.Module, x: Any, y: Any, quantities: tuple[str, ...], options: Any
    ) -> Mapping[str, Estimate] | None:
        """What `api.measure` finds, and how long that took; None, and why is said, where it cannot."""
        begun = self.budget.elapsed
        try:
            with evaluating(inner(model)) as quiet:
                found = api.measure(quiet, x, y, quantities, **options)
        except (ValueError, RuntimeError) as error:  # of memory, too: no reason to lose a night's training
            text = f"nothing was measured at step {self.step}, training goes on: {one_line(error)}"
            warnings.warn(text, stacklevel=4)
            return None
        self._took[quantities] = self.budget.elapsed - begun
        return found

    def _measure(
        self, model: nn.Module, x: Any, y: Any, quantities: tuple[str, ...], options: Any
    ) -> Mapping[str, Estimate] | None:
        found = self._found(model, x, y, quantities, options)
        self._last = self.step
        if found is not None and self._writer:
            self.measured += 1
            self._writer.add(self.step, self._epoch(), found)
            self._pass_on(found)
        return found

    def _watched(self, optimiser: SharpnessAware) -> None:
        if self._writer is None or (self.watched and not self.budget.allows_watching()):
            return
        with self.budget.counted("watch"):
            last = optimiser.last
            if last is not None and optimiser.t:  # a scaler may have skipped the very first
                self.watched += 1
                found = {name: getattr(last, of) for name, of in WATCHED.items()}
                self._writer.add_step(optimiser.t - 1, found)
                self._pass_on(found, optimiser.t)

    def _pass_on(self, found: Mapping[str, float | Estimate], step: int | None = None) -> None:
        """Give the numbers to the trackers; one that fails is told so and gets no more."""
        values = {name: x.value if isinstance(x, Estimate) else x for name, x in found.items()}
        for tracker in list(self.also) if values else []:
            try:
                tracker(self.step if step is None else step, values)
            except Exception as error:  # whatever it is, it is not the loop's
                self.also.remove(tracker)
                warnings.warn(f"a tracker failed and gets nothing more of this run: {one_line(error)}", stacklevel=4)

    def _say(self) -> None:
        for text in self._writer.sayings() if self._writer else []:
            warnings.warn(text, stacklevel=3)


def _device() -> tuple[str, int]:
    return (torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"), torch.get_num_threads()
