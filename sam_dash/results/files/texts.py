"""The table of results as LaTeX and Markdown: mean ± an interval over seeds, n, one row a cell."""

from __future__ import annotations

import re

import pandas as pd

from sam_dash.results import words
from sam_dash.results.numbers import statistics, tables
from sam_dash.results.numbers.statistics import NAN
from sam_dash.results.numbers.study import Study

HALF = ", ±"
USUAL = ("test_acc", "train_loss", "tr_H", "lam_max", "tr_V")
LATEX_NAMES = {
    "tr_H": r"$\operatorname{tr}(H)$", "lam_max": r"$\lambda_{\max}$", "tr_V": r"$\operatorname{tr}(V)$",
    "test_acc": r"Test acc.\ (\%)", "train_loss": "Train loss",
}  # fmt: skip
SYMBOLS = {
    "ρ": r"$\rho$", "λ": r"$\lambda$", "δ": r"$\delta$", "±": r"$\pm$", "–": "--", "\N{MINUS SIGN}": "$-$",
    "₂": "$_2$", "‖": r"$\|$", "ε": r"$\varepsilon$", "Σ": r"$\Sigma$", "²": "$^2$",
}  # fmt: skip


def results(study: Study, interval: str = "ci") -> pd.DataFrame:
    """`numbers` as text: mean ± half of the interval in one column."""
    table = numbers(study, interval)
    out = {}
    for name in (c for c in table if not str(c).endswith(HALF)):
        halves = table.get(f"{name}{HALF}")
        out[name] = (
            [_cell(*pair) for pair in zip(table[name], halves, strict=True)] if halves is not None
            else table[name] if name == "n" else [_text(v) for v in table[name]]
        )  # fmt: skip
    return pd.DataFrame(out)


def numbers(study: Study, interval: str = "ci") -> pd.DataFrame:
    """One row a cell and network: means, and half of each interval in a column of its own; accuracies in per cent."""
    if study.spec.networks:
        parts = {part.network: numbers(part, interval) for part in study.parts() if len(part.finals)}
        columns = dict.fromkeys(c for part in sorted(parts.values(), key=lambda t: -t.shape[1]) for c in part)
        whole = pd.concat([part.assign(Network=name) for name, part in parts.items()], ignore_index=True)
        return whole[["Network", *columns]]
    have = set(study.finals["quantity"])
    quantities = [q for q in words.all_scored(USUAL, have) if q in have]
    frame = tables.summary(study.finals, study.runs, quantities, interval)
    means = frame[frame["kind"] == "mean"]
    settings = [k for k in tables.settings(means)[2:] if means[k].nunique() > 1 or k == "rho"]
    rows = []
    for key, of in means.groupby(["variant", "m", *settings], dropna=False, sort=False):
        variant, m, *values = key
        row = {"Variant": words.title(str(variant)), "m": m}
        row |= {words.knobs()[k].symbol: v for k, v in zip(settings, values, strict=True)}
        cells = {r["quantity"]: r for r in tables.records(of)}
        for q in quantities:
            name, r = words.labelled(q), cells.get(q, {"y": NAN, "low": NAN, "high": NAN})
            row |= {name: words.in_unit(q, r["y"]), f"{name}{HALF}": words.in_unit(q, r["high"] - r["low"]) / 2}
        rows.append(row | {"n": int(of["n"].max())})
    table = pd.DataFrame(rows)
    return table.loc[:, [c for c in table if str(c).endswith(HALF) or table[c].notna().any()]]


def _cell(mean: float, half: float) -> str:
    if half != half:
        return words.number(mean, keep=True)
    places = max(0, 1 - int(f"{half:e}".partition("e")[2])) if half > 0 else 2
    places = min(places, 6)
    return f"{mean:.{places}f} ± {half:.{places}f}".replace("-", "\N{MINUS SIGN}")


def _text(value: object) -> str:
    if value is None or value != value:
        return "–"
    return words.number(value) if isinstance(value, float) else str(value)


def caption(study: Study, interval: str = "ci") -> str:
    """What stands in the table, for under it."""
    from sam_dash.results.drawing import captions

    return (
        f"Mean over n seeds; after ± half of the {statistics.INTERVALS[interval]}. {captions.setting(study.spec)}. "
        f"{captions.excluded(study)}"
    )


def markdown(table: pd.DataFrame, caption: str = "") -> str:
    """As a Markdown table."""
    head = [harmless(str(c)) for c in table]
    lines = [_line(head), _line(["---"] * len(head))]
    lines += [_line([harmless(str(v)) for v in row]) for row in table.itertuples(index=False)]
    return "\n".join(lines) + (f"\n\n{harmless(caption)}\n" if caption else "\n")


def harmless(text: str) -> str:
    """Text in a Markdown file that makes no image, link, code or HTML there: names are anyone's."""
    return re.sub(r"([\\`\[\]<>|])", r"\\\1", text)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def latex(table: pd.DataFrame, caption: str = "", label: str = "tab:m-sharpness") -> str:
    """As a LaTeX table for the package booktabs."""
    names = {words.labelled(q): t for q, t in LATEX_NAMES.items()}
    head = ["$m$" if c == "m" else "$n$" if c == "n" else names.get(str(c), escape(str(c))) for c in table]
    rows = [" & ".join(escape(str(v)) for v in row) + r" \\" for row in table.itertuples(index=False)]
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{escape(caption)}}}", rf"\label{{{label}}}"]
    lines += [rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule", " & ".join(head) + r" \\", r"\midrule"]
    return "\n".join([*lines, *rows, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def escape(text: str) -> str:
    """Text for LaTeX: its special characters escaped, our symbols in mathematics."""
    special = {c: f"\\{c}" for c in "&%$#_{}"} | {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    }  # fmt: skip
    known = special | SYMBOLS
    return re.sub("|".join(map(re.escape, known)), lambda found: known[found[0]], text)
