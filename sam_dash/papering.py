"""`python -m sam_dash paper`: every table and figure of the seed paper as a recipe, run and judged."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from html import escape
from pathlib import Path

import pandas as pd

from sam_dash import headless
from sam_dash.results.claims import rule
from sam_dash.results.experiments import published
from sam_dash.results.experiments.paper import RECIPES
from sam_dash.results.experiments.recipe import Recipe
from sam_dash.results.files import texts
from sam_dash.results.numbers import parts, study
from sam_dash.runs import cost, limits
from sam_dash.runs.environment import default_workers
from sam_dash.runs.report import FINISHED
from sam_dash.runs.spec import SpecError, SweepSpec
from sam_dash.runs.store import Store

NOT_RUN = "The settings of this scale, which is not run; `--scale here` runs all recipes on small networks."


def run(args: argparse.Namespace) -> int:
    """0; 1 where some runs have no result."""
    chosen = _chosen(args.only)
    if args.scale == "paper":
        print("\n\n".join([NOT_RUN, *(f"## {r.title}\n\n{r.claim}\n\n{r.at_scale}" for r in chosen)]))
        return 0
    with closing(Store(args.store)) as store:
        sweeps = {s.key: s for r in chosen for s in r.sweeps}  # some are of two recipes
        _train(store, list(sweeps.values()), args.workers or default_workers())
        found = [(recipe, _study(store, recipe)) for recipe in chosen]
    for recipe, of in found:
        print("\n".join(report(recipe, of)))
    if args.out is not None:
        Path(args.out).write_text(html(found), encoding="utf-8")
        print(f"wrote {args.out}", file=sys.stderr)
    return int(any((of.runs["status"] != "done").any() for _, of in found))


def _chosen(only: str | None) -> list[Recipe]:
    names = [name.strip() for name in only.split(",")] if only else list(RECIPES)
    if bad := [name for name in names if name not in RECIPES]:
        raise SpecError(f"no recipe {bad[0]!r}; there are: {', '.join(RECIPES)}")
    return [RECIPES[name] for name in names]


def _train(store: Store, sweeps: Sequence[SweepSpec], workers: int) -> None:
    """What of the sweeps the store does not have."""
    specs = [spec for sweep in sweeps for spec in sweep.runs()]
    before = store.statuses([spec.key for spec in specs])
    left = [spec for spec in specs if before.get(spec.key) not in FINISHED]
    limits.check_memory(left)
    expected = cost.preview(sweeps, before, workers, store.speed())
    submitted = headless.queue(store, sweeps)
    print(f"{len(left)} of {len(specs)} runs to do, {expected.time if left else 'no time'}", file=sys.stderr)
    if left:
        headless.work(store, submitted, [spec.key for spec in left], workers)


def _study(store: Store, recipe: Recipe) -> study.Study:
    """The runs of a recipe's sweeps as one study."""
    found = [study.from_store(store, sweep.key) for sweep in recipe.sweeps]
    return parts.together([each for each in found if each is not None])


def report(recipe: Recipe, of: study.Study) -> list[str]:
    """A recipe in lines of Markdown: claim, our table, the paper's beside it, verdicts, rule, limits."""
    frame = recipe.frame(of)
    lines = [f"## {recipe.title}", "", recipe.claim, "", texts.markdown(recipe.table(frame)), ""]
    if recipe.numbers:
        lines += [f"As published ({published.SOURCE}):", "", texts.markdown(_published(recipe)), ""]
    lines += [f"- **{f.says}: {f.verdict}.** {f.why}" for f in recipe.judge(frame)]
    return [*lines, "", f"The rule. {recipe.rule}", "", f"What it does not show. {recipe.limits}", ""]


def html(found: Sequence[tuple[Recipe, study.Study]]) -> str:
    """The report as one page of HTML that needs nothing else: figures and tables; a browser prints it as PDF."""
    body, script = [], True
    for recipe, of in found:
        frame = recipe.frame(of)
        body += [f"<h2>{escape(recipe.title)}</h2><p>{_plain(recipe.claim)}</p>"]
        if len(frame):
            fig = recipe.figure(frame).update_layout(template="plotly_white")
            body.append(fig.to_html(full_html=False, include_plotlyjs=script))
            body += [
                f"<p><small>{_plain(recipe.caption(of, frame))}</small></p>",
                recipe.table(frame).to_html(index=False),
            ]
            script = False
        if recipe.numbers:
            body += [f"<p>As published ({_plain(published.SOURCE)}):</p>", _published(recipe).to_html(index=False)]
        body += [
            f"<p>{rule.ICONS[f.verdict]} <b>{escape(f.says)}: {f.verdict}.</b> {_plain(f.why)}</p>"
            for f in recipe.judge(frame)
        ]
        body.append(
            f"<p><small>The rule. {_plain(recipe.rule)} What it does not show. {_plain(recipe.limits)}</small></p>"
        )
    style = "body{font-family:sans-serif;max-width:75em;margin:2em auto;padding:0 1em}td,th{padding:.2em .6em}"
    head = f"<!doctype html><meta charset='utf-8'><title>The seed paper, re-run</title><style>{style}</style>"
    return head + "".join(body)


def _published(recipe: Recipe) -> pd.DataFrame:
    """The paper's own numbers with the decimals that they are published with."""
    return recipe.said().map(lambda value: f"{value:.2f}" if isinstance(value, float) else value)


def _plain(text: str) -> str:
    """Markdown without its marks."""
    return escape(text.replace("**", "").replace("*", ""))
