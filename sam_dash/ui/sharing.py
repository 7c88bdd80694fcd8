"""A button on every page that copies its link: choices are in it, and no path of the server."""

from __future__ import annotations

import streamlit as st

from sam_dash.problems.arrays import NPZ
from sam_dash.problems.card import FILE

_HTML = "<button type='button'>Copy link</button><span role='status'></span>"
_CSS = """:host, div { line-height: 1 }
button { position: fixed; top: .85rem; right: 3.6rem; z-index: 999991; font: inherit; font-size: .875rem;
  color: var(--st-text-color); background: var(--st-background-color); border: 1px solid var(--st-border-color);
  border-radius: var(--st-button-radius); padding: .35rem .7rem; cursor: pointer }
button:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 2px }
span { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
@media print { button { display: none } }"""
# a page that is not served by https has no clipboard of its own: the old way then
_SCRIPT = """export default function ({ parentElement, data }) {
  const button = parentElement.querySelector('button'), said = parentElement.querySelector('span');
  const bare = text => data.kinds.some(kind => text.startsWith(kind)) ? text.replace(/:.*[\\\\/]/, ':') : text;
  const link = () => { const url = new URL(location.href), all = [...url.searchParams];
    url.search = new URLSearchParams(all.map(([name, value]) => [name, bare(value)])); return url.href };
  const old = text => { const field = document.createElement('textarea'); field.value = text;
    document.body.append(field); field.select(); const done = document.execCommand('copy'); field.remove();
    button.focus(); return done };
  button.onclick = async () => {
    let done = true;
    try { await navigator.clipboard.writeText(link()) } catch { done = old(link()) }
    button.textContent = said.textContent = done ? 'Link copied' : 'Copy it from the address';
    setTimeout(() => { button.textContent = 'Copy link'; said.textContent = '' }, 2500) } }"""
_BUTTON = st.components.v2.component("copy_link", html=_HTML, css=_CSS, js=_SCRIPT)


def button() -> None:
    """Draw it, beside the menu of the page."""
    _BUTTON(key="copy_link", data={"kinds": [NPZ, FILE]})
