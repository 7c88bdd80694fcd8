"""Random modules: does `SharpnessAware` train them as the loop by hand does, or refuse them with a reason?

make fuzz, or python -m tests.fuzz [--seed 0] [--count 500] [--case "Case(...)"]

A case that fails is printed as it was drawn and as small as it was found to be, each as a text that --case repeats.
Exit status 1 if any fails.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import Counter

import torch

from tests.fuzz.check import WrongError, check
from tests.fuzz.grammar import Case, drawn

TRIES = 300  # smaller cases that are tried


def main(arguments: list[str] | None = None) -> int:
    """Check some cases; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=500, help="how many cases")
    parser.add_argument("--case", help="one case, by its text")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # modules are small
    chosen = [Case.read(options.case)] if options.case else [drawn(i, options.seed) for i in range(options.count)]
    seen: Counter[str] = Counter()
    for case in chosen:
        kind, said = outcome(case)
        seen.update(["wrong"] if kind else ["refused"] if said.startswith("refused") else said.split("; "))
        if kind:
            small = smallest(case, kind)
            print(f"{case}\n    {said}\n  smallest found:\n{small}\n    {outcome(small)[1]}\n", flush=True)
    told = ", ".join(f"{n} {what}" for what, n in seen.most_common())
    print(f"{len(chosen)} modules{'' if options.case else f' of seed {options.seed}'}: {told}")
    return int(seen["wrong"] > 0)


def outcome(case: Case) -> tuple[str, str]:
    """Which kind of wrong a case is, "" for none, and what is to be said of it."""
    try:
        return "", check(case)
    except WrongError as error:
        return error.kind, str(error)


def smallest(case: Case, kind: str) -> Case:
    """The smallest case found that is wrong in the same way: a part is left out as long as it still is."""
    tries = itertools.count()
    while True:
        found = next((c for c in case.smaller() if next(tries) < TRIES and _wrong(c, kind)), None)
        if found is None:
            return case
        case = found


def _wrong(case: Case, kind: str) -> bool:
    try:
        return outcome(case)[0] == kind
    except Exception:  # what is left is no case, as an m that does not divide
        return False


if __name__ == "__main__":
    sys.exit(main())
