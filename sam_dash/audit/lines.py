"""The lines of a report, from what the judges of all ranks say of all steps."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from sam_dash.audit.judge import Descent
from sam_dash.audit.report import AMBER, GREEN, LIGHTS, RED, Line
from sam_dash.audit.said import Found, Said, m_of, told

PUT_BACK, PARTLY = 1e-4, 1e-2  # of eps that may be left: to rounding; more than that is a fault
NAMES = {"w²": "ASAM's, |w| elementwise", "(|w| + .01)²": "ASAM's with η = .01, elementwise"}
LOCAL = (
    "For a perturbation a rank, put the first forward *and* backward inside no_sync(): round the backward alone it "
    "has no effect, and DistributedDataParallel averages the gradient that the perturbation is made of."
)


def lines(steps: Sequence[Sequence[Said]], m: int | None, rho: float | None) -> Iterator[Line]:
    """The lines of steps, each as its ranks say; `m` and `rho` as the caller expects them."""
    every, found = told(steps)
    yield _m(steps, found, m)
    if any(said.own_rho is not None for said in every):
        yield _own_rho(every, rho)
    if found:
        yield _rho(steps, rho)
        yield _transform(found, any(said.maximises for said in every))
        if len(steps[0]) > 1:
            yield _common(found)
        yield _restored(found)
    yield from _statistics(every)
    yield from _masks(every)
    yield _descended(every, found, len(steps[0]))
    yield _base(every, found)
    if len(steps[0]) > 1:
        yield _sent(steps)


def _m(steps: Sequence[Sequence[Said]], found: Sequence[Found], expected: int | None) -> Line:
    every, ranks = [said for step in steps for said in step], len(steps[0])
    told = "" if expected is None else f"m = {expected}"
    what, m = "m", m_of(every, found)
    own = next((said.own for said in every if said.own), "")
    if own:
        light = AMBER if m is None else RED if expected not in (None, m) else GREEN
        return Line(what, own, light, "", told)
    if not found:
        functional = sum(said.functional for said in every)
        seen = "no forward at displaced weights was seen"
        if functional:
            return Line(what, f"{seen}, but {functional} with weights that are not the module's own", AMBER,
                        "Perturbations inside torch.func or vmap cannot be seen from outside", told)  # fmt: skip
        light = AMBER if expected is None else RED
        return Line(what, f"{seen}: this is the base optimiser", light, "", told)
    odd = [f for f in found if not f.clear]
    if odd:
        f = odd[0]
        if f.of:
            text = f"cannot be told: {f.of} (m = {f.m}) fits, and so does {f.rival}"
            reason = f"rounding of the weights hides more than the difference: 1 - cos {f.r:.1e}, floor {f.floor:.1e}"
        else:
            text = "cannot be told: no set of samples fits"
            reason = f"nearest: {f.nearest}, 1 - cos {f.r:.1e}, floor {f.floor:.1e}"
        return Line(what, text, AMBER, "", told, reason)
    f = found[0]
    worst = max(found, key=lambda f: f.r)
    evidence = f"1 - cos {worst.r:.1e}, floor {worst.floor:.1e}"
    if f.stale:
        return Line(what, f"no samples of this step: {f.of}", AMBER if expected is None else RED, "", told, evidence)
    if m is None:
        sizes = ", ".join(map(str, sorted({f.m for f in found})))
        return Line(what, f"differs between perturbations: {sizes}", AMBER, "", told, evidence)
    local = max(said.local for said in every)
    without = sum(not any(said.found for said in step) for step in steps)
    text = f"{m}, {f.of}" + f"; {without} of {len(steps)} steps without a perturbation" * bool(without)
    if ranks > 1 and m == local * ranks:
        text += f" (the global batch: {ranks} ranks of {local})"
    wrong = expected not in (None, m)
    change = LOCAL if wrong and expected and expected <= local < m and ranks > 1 else ""
    return Line(what, text, RED if wrong else AMBER if without else GREEN, change, told, evidence)


def _rho(steps: Sequence[Sequence[Said]], expected: float | None) -> Line:
    of_rank = [[f for step in steps for f in step[i].found] for i in range(len(steps[0]))]
    lengths = [[f.rho for f in found] for found in of_rank]
    parts = [_range(of) for of in lengths]
    text = parts[0] if len(set(parts)) == 1 else "by rank " + "; ".join(parts)
    told = "" if expected is None else f"ρ = {expected:g}"
    every = [f for found in of_rank for f in found]
    wrong = expected is not None and any(abs(f.rho / expected - 1) > 1e-3 for f in every)
    scale = _scale([said for step in steps for said in step])
    evidence, light, change = "one perturbation does not tell ρ from ρ‖g‖", GREEN, ""
    ratios = [f.rho / f.g for f in every if f.g and f.transform == "plain" and "each normalised" not in f.of]
    if len({round(math.log(f.rho), 4) for f in every}) == 1:
        evidence = f"the same in {len(every)} perturbations: normalised" if len(every) > 1 else evidence
    elif len(ratios) == len(every) > 1 and max(ratios) / min(ratios) - 1 < 1e-4:
        evidence = f"{ratios[0] * scale:.4g} times ‖g‖ in {len(every)} perturbations: not normalised"
        if scale != 1:
            light, change = RED, f"ε is made of gradients of a loss that is scaled by {scale:g}: unscale them first"
    elif len(every) > 1:
        evidence = f"differs between {len(every)} perturbations, not as ‖g‖ does"
        flat = [len({round(math.log(r), 4) for r in of}) == 1 for of in lengths]
        if len(steps[0]) > 1 and all(flat):
            light, evidence = AMBER, "each rank has a radius of its own"
            change = "Is that meant? m-SAM has one ρ for all ranks"
    return Line("ρ", f"‖ε‖ = {text}", RED if wrong else light, change, told, evidence)


def _own_rho(every: Sequence[Said], expected: float | None) -> Line:
    told = sorted({said.own_rho for said in every if said.own_rho is not None})
    wrong = expected is not None and any(abs(rho / expected - 1) > 1e-3 for rho in told)
    text = f"{', '.join(f'{rho:g}' for rho in told)}, with which the replay fits"
    return Line("ρ", text, RED if wrong else GREEN, "", "" if expected is None else f"ρ = {expected:g}")


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.4g}" if high - low <= 1e-3 * high else f"{low:.4g} to {high:.4g}"


def _scale(every: Sequence[Said]) -> float:
    """By how much the loss that is differentiated is scaled, as the descended gradient shows; 1 where it does not."""
    shares = {1 / s for said in every if said.descent and (s := said.descent.share)}
    one = {2.0 ** round(math.log2(s)) for s in shares if s >= 4 and abs(math.log2(s) - round(math.log2(s))) < 1e-4}
    return one.pop() if len(one) == 1 and len(shares) >= 1 else 1.0


def _transform(found: Sequence[Found], up: bool) -> Line:
    what, kinds = "ε is along", {(f.transform, f.beside) for f in found if f.of}
    if not kinds or not all(f.of for f in found):
        return Line(what, "no direction that is known", AMBER, "", "", "clipped elementwise, or another norm?")
    if len(kinds) > 1:
        return Line(what, "different transforms in different perturbations", AMBER)
    ((transform, beside),) = kinds
    light, change = GREEN if transform == "plain" or transform in NAMES else AMBER, ""
    if beside:
        text, light = f"the gradient + {found[0].share:.3g} {beside}", AMBER
        change = "Weight decay is in the loss that the perturbation ascends" if beside == "w" else ""
    elif transform == "plain":
        text = "the gradient as it is"
    elif transform in NAMES:
        text = f"the gradient times {transform} ({NAMES[transform]})"
    else:
        text = f"the gradient times {transform}" if "w" in transform[:4] else f"the gradient, by {transform}"
    if found[0].part:
        text, light = f"{text}, on {found[0].part} alone", AMBER
    if any(f.down != up and not f.stale for f in found):
        text, light = f"minus {text}", RED
        change = "It lowers the loss where SAM raises it: change the sign of ε"
    return Line(what, text, light, change)


def _common(found: Sequence[Found]) -> Line:
    common = {f.common for f in found}
    if common == {True}:
        return Line("ranks", "one perturbation, the same on all", GREEN)
    if common == {False}:
        each = any("each normalised" in f.of for f in found)
        return Line("ranks", "each has a perturbation of its own", AMBER if each else GREEN)
    return Line("ranks", "cannot be compared: they made different numbers of perturbations", AMBER)


def _restored(found: Sequence[Found]) -> Line:
    left = max(f.left for f in found)
    if left == 0:
        return Line("weights put back", "exactly", GREEN)
    text = f"all but {left:.2g} of ‖ε‖"
    if left < PUT_BACK:
        return Line("weights put back", f"{text}, which is rounding", GREEN, "Copied weights are exact")
    light = AMBER if left < PARTLY else RED
    return Line("weights put back", text, light, "Keep a copy of the weights and copy it back before the step")


def _statistics(every: Sequence[Said]) -> Iterator[Line]:
    if not any(said.statistics[0] for said in every):
        return
    clean, perturbed = (max(said.statistics[i] for said in every) for i in (1, 2))
    what = "BatchNorm statistics"
    if perturbed == 0:
        yield Line(what, f"moved {_times(clean)}, at the clean weights" if clean else "not moved", GREEN)
        return
    text = f"moved {_times(clean)} at the clean weights and {_times(perturbed)} at perturbed ones"
    yield Line(what, text, AMBER, "Hold them in the second pass: momentum 0 there")


def _times(n: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(n, f"{n} times")


def _masks(every: Sequence[Said]) -> Iterator[Line]:
    kinds = {said.masks for said in every} - {"none"}
    if not kinds:
        return
    what = "dropout masks"
    if kinds == {"equal"}:
        yield Line(what, "the same in both passes", GREEN)
    elif "different" in kinds:
        change = "Set the generators back before the second pass, so that both differentiate one loss"
        yield Line(what, "others in the second pass", AMBER, change)
    else:
        yield Line(what, "cannot be compared: no clean forward had the inputs of the perturbed one", AMBER)


def _descended(every: Sequence[Said], found: Sequence[Found], ranks: int) -> Line:
    """The worst that is to be said of a step; of those with a perturbation, where there is one."""
    said = [of for of in every if of.found or not found]
    descents = {of.descent.of: of.descent for of in reversed(said) if of.descent is not None}
    if not descents or any(of.descent is None for of in said):
        return Line("descended", "no optimiser step with a gradient was seen", AMBER)
    same = sum(of.same[0] for of in said), sum(of.same[1] for of in said)
    told = [_descent(d, bool(found), ranks, _scale(every), same) for d in reversed(descents.values())]
    return max(told, key=lambda line: LIGHTS.index(line.light))


def _descent(d: Descent, perturbed: bool, ranks: int, scale: float, same: tuple[int, int]) -> Line:
    what, among, total = "descended", *same
    if not d.of:
        reason = f"1 - cos {d.r:.1e} to the nearest"
        return Line(what, "cannot be told: no gradient of this step, or a mixture", AMBER, "", "", reason)
    text = f"the gradient of {d.of}, {d.n} samples" + (", their mean over ranks" if d.ranks > 1 else "")
    if d.mixed:
        return Line(what, f"{d.mixed[1]:.3g} times {text}, {d.mixed[0]:+.3g} times that of the clean ones", AMBER)
    if d.climbs:
        change = "The optimiser goes up what was differentiated: change the sign of .grad, or set maximize=True"
        return Line(what, f"minus {text}", RED, change)
    if abs(d.share * scale - 1) > 1e-3:
        text += f", scaled by {d.share * scale:.3g} to a length of {d.length:.3g}: clipped after the second pass"
    elif scale != 1:
        text += f", divided by the loss's scale {scale:g}"
    if "both" in d.of:
        return Line(what, text, RED, "Call zero_grad() between the two passes")
    if perturbed and "clean" in d.of:
        return Line(what, text, RED, "The perturbation has no effect: descend the gradient of the second pass")
    if d.ranks < ranks:
        return Line(what, text, RED, "Ranks descend different gradients and part: average them over the ranks")
    if "last perturbed" in d.of:
        return Line(what, text, RED, "Only the last micro-batch is descended: accumulate all of them")
    if among < total:
        share = f"{100 * among / total:.3g} % of them samples" if among else "none of them a sample"
        text += f", {share} that the perturbation was made of"
    return Line(what, text, AMBER if total and not among else GREEN)


def _base(every: Sequence[Said], found: Sequence[Found]) -> Line:
    what = "ρ = 0"
    if all(said.own_rho is not None for said in every):
        return Line(what, "would be the base optimiser: the replay has nothing but the perturbation", GREEN)
    if not found:
        return Line(what, "not told apart: no perturbation was seen", AMBER)
    good = all(
        (d := said.descent)
        and "perturbed" in d.of
        and "both" not in d.of
        and not d.climbs
        and abs(sum(d.mixed or (1,)) - 1) < 1e-3
        for said in every
    )
    if good and max(f.left for f in found) < PUT_BACK:
        return Line(what, "would be the base optimiser: the perturbation is all that differs", GREEN)
    return Line(what, "cannot be told from steps with ρ > 0", AMBER, "Run one step with ρ = 0 beside the base")


def _sent(steps: Sequence[Sequence[Said]]) -> Line:
    said = steps[-1][0]
    counts = Counter(name for name, _ in said.sent)
    total = sum(size for _, size in said.sent) / max(said.size, 1)
    text = ", ".join(f"{n} {name}" for name, n in counts.items()) or "nothing"
    return Line("sent in a step", f"{text}: {total:.2g} times the model", GREEN)
