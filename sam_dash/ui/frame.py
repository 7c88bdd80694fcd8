"""What is round every page: the style of its figures, one hover line over all panels of a figure that share their axis,
and how wide it is, which the browser measures.

The width is told in steps, so that a page starts over where a step is passed and not at every pixel. The line is drawn
here as Plotly's own stay in one panel; it reads where the panels are from fields of Plotly that are not documented.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

STEPS = (480, 840)  # px of the column that figures stand in
COLUMNS = (1, 3, 6)  # panels that there is room for side by side: below the first step, between, above
KEY = "frame"
_SCRIPT = """export default function ({ setStateValue, data }) {
  window.__frame?.disconnect();
  let last = data.told, timer;
  const main = document.querySelector('[data-testid=stMainBlockContainer]'), style = getComputedStyle(main);
  const tell = () => {
    const width = main.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    const now = data.steps.filter(s => width >= s).length + (matchMedia('(pointer: coarse)').matches ? 't' : 'm');
    if (now !== last) setStateValue('told', last = now) };
  const eye = window.__frame = new ResizeObserver(() => { clearTimeout(timer); timer = setTimeout(tell, 150) });
  eye.observe(main); tell();
  const hair = event => {
    document.querySelectorAll('.hair').forEach(line => line.remove());
    const figure = event.target.closest?.('.js-plotly-plot');
    if (!figure?._fullLayout) return;
    const box = figure.getBoundingClientRect(), left = event.clientX - box.left, top = event.clientY - box.top,
      panels = Object.values(figure._fullLayout._plots || {}), at = panels.find(({xaxis: x, yaxis: y}) =>
        left >= x._offset && left <= x._offset + x._length && top >= y._offset && top <= y._offset + y._length);
    if (!at || panels.length < 2) return;
    const value = at.xaxis.p2c(left - at.xaxis._offset), same = x => x.type === at.xaxis.type
      && x.range?.length === 2 && x.range.every((end, i) => Math.abs(end - at.xaxis.range[i]) < 1e-9);
    for (const {xaxis: x, yaxis: y} of panels) {
      if (!same(x)) continue;
      const line = document.createElement('div');
      line.className = 'hair';
      line.style.cssText = `left:${x._offset + x.c2p(value)}px;top:${y._offset}px;height:${y._length}px`;
      figure.append(line) } };
  document.removeEventListener('mousemove', window.__hair);
  document.addEventListener('mousemove', window.__hair = hair);
  return () => { eye.disconnect(); document.removeEventListener('mousemove', hair) } }"""
_ROOM = st.components.v2.component("frame", js=_SCRIPT)
_STYLE = """<style>
.stPlotlyChart .main-svg :is(g[class$="tick"], g[class^="g-"], .annotation, .legend, .colorbar) text {
  fill: currentColor !important; fill-opacity: .8 !important }
.hair { position: absolute; pointer-events: none; width: 1px; background: #7F7F7F }
@media (hover: none) { .stPlotlyChart .modebar-container { display: none !important } }
@media (prefers-reduced-motion: reduce) { *, ::before, ::after {
  animation-duration: .01ms !important; animation-iteration-count: 1 !important; transition-duration: .01ms !important;
  scroll-behavior: auto !important } }
@media print { @page { size: A4; margin: 14mm }
  .stAppHeader, .modebar-container, .stElementToolbar, .stDownloadButton, .stButton, .stPopover,
  .stTabs [role="tablist"] { display: none !important }
  .stApp, .stMain, .stAppViewContainer { position: static !important; overflow: visible !important;
    height: auto !important }
  .stPlotlyChart, .stDataFrame { break-inside: avoid } }
</style>"""


def draw() -> None:
    """The style, and the measurement: before the page, and on every page, so that it is known on the next."""
    st.html(_STYLE)
    _ROOM(key=KEY, data={"steps": list(STEPS), "told": _told()}, on_told_change=lambda: None)


def columns() -> int:
    """Panels that there is room for side by side: 6 where nothing is measured."""
    told = _told()
    return COLUMNS[int(told[0])] if told else COLUMNS[-1]


def waiting() -> bool:
    """Whether a browser has yet to say how wide it is: a figure would be drawn twice."""
    return not _told() and bool(st.context.headers.get("User-Agent"))


def touched() -> bool:
    """Whether the page is touched with a finger: a drag over a figure is then to scroll the page."""
    return (_told() or "").endswith("t")


def _told() -> str | None:
    state: Any = st.session_state.get(KEY) or {}
    found: str | None = state.get("told")
    return found
