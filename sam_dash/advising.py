"""`python -m sam_dash devices`: which m are free on several devices, what they cost, which ρ matches another m's."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from typing import Any

from sam_dash.maths.devices import FORMS, GLOBAL, GROUPS, LOCAL, Size, Strength, sizes, strength
from sam_dash.measuring import aligned, described, weighted
from sam_dash.problems.problem import SpecError

KINDS = {LOCAL: "each rank alone", GROUPS: "{} ranks together", GLOBAL: "all {} ranks together"}
OPTIONS = (
    ("--ranks", {"type": int, "default": 1, "metavar": "R", "help": "devices (default: 1)"}),
    ("--batch", {"type": int, "default": 64, "metavar": "B", "help": "samples of the global batch (default: 64)"}),
    ("--rho", {"type": float, "default": 0.05, "help": "radius at m = B (default: 0.05)"}),
    ("--form", {"choices": list(FORMS), "default": "sam", "help": "normalised perturbations or not (default: sam)"}),
)


def add_options(command: argparse.ArgumentParser) -> None:
    """The target and the options of `devices`: the subject's are those of `measure`."""
    described(command, "--weights", "--params", "--dataset", "--network", "--split", "--samples", "--seed", "--json")
    for name, options in OPTIONS:
        command.add_argument(name, **options)


def devices(args: argparse.Namespace) -> int:
    """Measure the gradient and its noise at the weights, and print what each m is; 0."""
    from sam_dash import api

    if not args.rho > 0:
        raise SpecError(f"--rho {args.rho:g}: expected a positive number")
    try:
        possible = sizes(args.batch, args.ranks)
    except ValueError as error:
        raise SpecError(str(error)) from None
    subject, (x, y) = weighted(args, needed=False)
    found = api.measure(subject.module, x, y, ("grad_sq", "tr_V"), loss=subject.loss, seed=args.seed)
    G, V = ((found[q].value, found[q].stderr) for q in ("grad_sq", "tr_V"))
    size = sum(p.numel() * p.element_size() for p in subject.module.parameters() if p.requires_grad)
    rows = [_row(of, strength(of.m, args.batch, G, V, args.form), args.rho, size) for of in possible]
    if not (args.weights or (args.target and not args.target.endswith(".py"))):
        print("at the initial weights, where noise is smallest beside the gradient: give --weights FILE of yours",
              file=sys.stderr)  # fmt: skip
    if args.json:
        about = {"problem": subject.name, "ranks": args.ranks, "batch": args.batch, "form": args.form,
                 "grad_sq": G, "tr_V": V}  # fmt: skip
        print(json.dumps({**about, "sizes": rows}, indent=1))
        return 0
    print(f"‖G‖² = {G[0]:.3g} ± {G[1]:.2g}, tr V = {V[0]:.3g} ± {V[1]:.2g} (standard errors), {len(y)} samples")
    print("\n".join(table(rows)))
    print("Equal regularisation at these weights is a hypothesis, not a result. To test it:")
    print(trial(args, rows))
    return 0


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Lines of aligned columns."""
    cells = [("m", "perturbed by", "all-reduces", "sent a step", "strength at equal ρ", "ρ of equal strength")]
    for row in rows:
        ends = [f"{v:.3g}" for v in row["strength"]]
        radii = [f"{v:.2g}" for v in row["rho"]]
        cells.append((str(row["m"]), row["by"], str(row["reduces"]), f"{row['bytes'] / 1e6:.3g} MB",
                      f"{ends[0]} [{ends[1]}, {ends[2]}]", f"{radii[0]} [{radii[1]}, {radii[2]}]"))  # fmt: skip
    return aligned(cells)


def trial(args: argparse.Namespace, rows: list[dict[str, Any]]) -> str:
    """The sweep that compares the largest, a middle and the smallest m, each at both its ρ."""
    chosen = [rows[i] for i in dict.fromkeys((0, len(rows) // 2, len(rows) - 1))]
    radii = ",".join(dict.fromkeys(f"{row['rho'][0]:.2g}" for row in chosen))
    m = ",".join(str(row["m"]) for row in chosen)
    if args.target and args.target.endswith(".py"):
        of = f"--problem {shlex.quote(args.target)}"
    elif args.dataset:
        of = f"--preset digits --dataset {args.dataset} --network {args.network}"
    else:
        of = "--preset digits"
    return (
        f"python -m sam_dash run {of} --variants sgd,{args.form} --batch {args.batch} --m {m} --rho {radii} "
        "--seeds 10 --out results"
    )


def _row(of: Size, ratio: Strength, rho: float, size: int) -> dict[str, Any]:
    return {
        "m": of.m, "kind": of.kind, "by": KINDS[of.kind].format(of.ranks), "reduces": of.reduces,
        "bytes": of.reduces * size, "strength": list(ratio),
        "rho": [rho / ratio.value, rho / ratio.high, rho / ratio.low],
    }  # fmt: skip
