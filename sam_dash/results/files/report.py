"""A study as one HTML file that needs nothing else: interactive figures, their sentences, the table, how to repeat it.

Plotly's script is in it, packed; a browser unpacks it. A policy in its head lets it load nothing from anywhere.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from functools import cache

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from sam_dash import __version__
from sam_dash.results.drawing import captions, style
from sam_dash.results.files import bundle, gallery, texts
from sam_dash.results.numbers.study import Study
from sam_dash.runs.store import Store

COLUMNS = 3  # panels side by side: what a printed page has room for
FIRST = ("sharpness", "rw-sam")
PRINTED = 680  # px, of A4 within its margins
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #141413; background: #fff; max-width: 1000px; margin: 2rem auto;
  padding: 0 1rem }
h1 { line-height: 1.2 } small { font-weight: 400; color: #55554f }
h2 { margin-top: 2.5rem } figure { margin: 1.5rem 0; break-inside: avoid }
figcaption, footer, .note { color: #55554f; font-size: .87rem } .first { font-weight: 600; font-size: 1.1rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ddd; text-align: right } th:first-child, td:first-child {
  text-align: left }
pre { background: #f6f6f4; padding: .8rem; overflow-x: auto; white-space: pre-wrap }
@page { size: A4; margin: 14mm } @media print { .modebar-container { display: none !important } body { margin: 0 } }
"""
# unpacks the script, runs it, draws; on paper every figure is as wide as the paper
_SCRIPT = """
(async () => {
  const packed = Uint8Array.from(atob(document.getElementById('plotly').textContent), c => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
  const script = document.createElement('script');
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  const drawn = [...document.querySelectorAll('.plot')];
  for (const div of drawn) {
    const figure = JSON.parse(div.querySelector('script').textContent);
    div.replaceChildren();
    await Plotly.newPlot(div, figure.data, figure.layout, {responsive: true, displaylogo: false});
  }
  addEventListener('beforeprint', () => drawn.forEach(div => Plotly.relayout(div, {width: PRINTED})));
  addEventListener('afterprint', () => drawn.forEach(div => Plotly.relayout(div, {width: null, autosize: true})));
  document.documentElement.dataset.drawn = drawn.length;
})();
"""


def write(study: Study, store: Store | None, again: str | None = None) -> str:
    """The file of a study of the store, or of the bundled example (`store` is None); `again`: the command that repeats
    it.
    """
    pictures = in_order(gallery.pictures(study, bundle.curves(study, store), COLUMNS))
    table, caption = texts.results(study), texts.caption(study)
    headline = next((p.headline for p in pictures if p.headline), "")
    parts = [
        f"<h1>{_plain(study.name)}</h1>",
        f'<p class="first">{_marked(headline)}</p>' if headline else "",
        f'<p class="note">{_marked(captions.setting(study.spec))}. {_marked(captions.excluded(study))}</p>',
        *(_figure(i, picture) for i, picture in enumerate(pictures, 1)),
        f'<h2>Results</h2><div class="scroll">{_table(table)}</div><p class="note">{_marked(caption)}</p>',
        "<h2>To repeat it</h2>",
        f"<pre>{_plain(again)}</pre>" if again else "<p>No command line repeats it: take its configuration.</p>",
        f"<details><summary>Configuration</summary><pre>{_plain(_config(study))}</pre></details>",
        f"<footer>Made by sam-dash {_plain(__version__)}. Study {_plain(study.id)}.</footer>",
    ]
    body = "\n".join(part for part in parts if part)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{_plain(study.name)}</title>'
        f'<style>{_STYLE}</style></head><body>{body}<script type="text/plain" id="plotly">{_plotly()}</script>'
        f"<script>{_SCRIPT.replace('PRINTED', str(PRINTED))}</script></body></html>"
    )


def in_order(pictures: list[gallery.Picture]) -> list[gallery.Picture]:
    """The figures over m and over λ first: what a study is of."""

    def place(picture: gallery.Picture) -> int:
        return next((i for i, name in enumerate(FIRST) if picture.name.startswith(name)), len(FIRST))

    return sorted(pictures, key=place)


def _figure(number: int, picture: gallery.Picture) -> str:
    fig = go.Figure(picture.figure)
    fig.update_layout(
        template="none", paper_bgcolor="white", plot_bgcolor="white", autosize=True,
        font={"family": style.FONT, "color": "#141413"},
    )  # fmt: skip
    fig.update_xaxes(gridcolor="#e6e6e6", linecolor="#999")
    fig.update_yaxes(gridcolor="#e6e6e6", linecolor="#999")
    height = int(fig.layout.height or 400)
    data = str(fig.to_json()).replace("</", "<\\/")
    first = [f"<p><b>{_marked(picture.headline)}</b></p>"] if picture.headline and number > 1 else []
    others = [line for line in picture.found if line != picture.headline]
    said = [f"<ul>{''.join(f'<li>{_marked(line)}</li>' for line in others)}</ul>"] if others else []
    return "\n".join([
        f"<h2>{number}. {_plain(picture.title)} <small>{_plain(picture.name)}</small></h2>", *first,
        f'<figure><div class="plot" role="img" aria-label="{_plain(picture.alt)}" style="height:{height}px">'
        f'<script type="application/json">{data}</script></div>',
        f"<figcaption>Figure {number}. {_marked(picture.caption)}</figcaption></figure>", *said,
    ])  # fmt: skip


def _table(table: object) -> str:
    columns = list(table)  # type: ignore[call-overload]
    rows = [columns, *table.itertuples(index=False)]  # type: ignore[attr-defined]

    def line(cells: list[object], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{_plain(cell)}</{tag}>' for cell in cells)}</tr>"

    return f"<table>{line(rows[0], 'th')}{''.join(line(row, 'td') for row in rows[1:])}</table>"


def _config(study: Study) -> str:
    return json.dumps(study.spec.to_dict(), indent=1, ensure_ascii=False)


@cache
def _plotly() -> str:
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()


def _plain(text: object) -> str:
    """Text that is nothing but text in HTML: names are anyone's."""
    return html.escape(str(text))


def _marked(text: str) -> str:
    """A sentence of ours: its bold, italic and code, and nothing else of Markdown."""
    out = _plain(text)
    for mark, tag in ((r"\*\*", "b"), (r"\*", "i"), ("`", "code")):
        out = re.sub(rf"{mark}(\S(?:.*?\S)?){mark}", rf"<{tag}>\1</{tag}>", out)
    return re.sub(r"\\([\\`*_{}\[\]<>#!|~$&])", r"\1", out)
