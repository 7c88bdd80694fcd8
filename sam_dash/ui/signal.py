"""A mark before the page's title, in the browser's tab, for who is elsewhere: a study runs, or has ended."""

from __future__ import annotations

import streamlit as st

from sam_dash.results.numbers.study import Study
from sam_dash.ui import markdown

RUNNING, ENDED, FAILED = "▸", "✓", "✕"
_SEEN = "_ended"  # of this session: the studies that ended while it watched
# Streamlit sets the title at every run of a page; and this is called again at every change of `data`, without clean-up
_SCRIPT = """export default function ({ data }) {
  window.__mark?.disconnect();
  const bare = () => document.title.replace(/^[▸✓✕] /, '');
  const put = () => { const title = data.mark + ' ' + bare(); if (document.title !== title) document.title = title };
  const eye = window.__mark = new MutationObserver(put);
  put(); eye.observe(document.querySelector('title'), { childList: true, subtree: true });
  return () => { eye.disconnect(); document.title = bare() } }"""
_MARK = st.components.v2.component("signal", js=_SCRIPT)


def running() -> None:
    """Mark the page of a study that runs."""
    _MARK(key="signal", data={"mark": RUNNING})


def tell(study: Study, counts: dict[str, int]) -> None:
    """Say by a toast that a study that was watched has ended, and remember it for the mark."""
    done, total = counts.get("done", 0), sum(counts.values())
    st.session_state.setdefault(_SEEN, {})[study.id] = ENDED if done == total else FAILED
    icon = ":material/check_circle:" if done == total else ":material/warning:"
    st.toast(f"{markdown.literal(study.name)}: {done} of {total} runs finished", icon=icon)


def ended(study: Study) -> None:
    """Mark the page of a study that ended while this session watched."""
    if mark := st.session_state.get(_SEEN, {}).get(study.id):
        _MARK(key="signal", data={"mark": mark})
