"""Claims: what the paper says, judged on the runs of a study by rules that stand beside the verdicts."""

import streamlit as st

from sam_dash.results.claims import claim as claims
from sam_dash.results.claims import verdicts
from sam_dash.results.drawing import captions, cells
from sam_dash.results.numbers import collapse
from sam_dash.results.numbers.statistics import LEVEL
from sam_dash.ui import controls, router, scorecard, show, states

router.ensure_routed()
st.title("Claims, judged on these runs", anchor=False)
lead = show.lead()
st.markdown(
    "Each claim of the paper gets one verdict from **your** runs: ✓ supported, ✕ not supported, ? inconclusive, or "
    f"– not tested. Supported and not supported take p < {LEVEL:g} **after correction** for all claims tested at once "
    "(Holm). "
    "A difference whose interval contains 0 is a tie, and a tie supports nothing."
)
study = states.with_results()
batch = study.spec.training.batch
with st.container(horizontal=True, vertical_alignment="bottom"):
    finals, runs = controls.radius(study)
gone = collapse.runs(finals, runs, study.spec)
show.collapsed(runs, gone, cells.of(study))
found = verdicts.judge(collapse.without(finals, gone), batch)
show.first(claims.headline(found), lead)
rho = sorted(runs["rho"].dropna().unique())
where = f"{captions.setting(study.spec)}." + (f" At this ρ = {captions.listed(f'{r:g}' for r in rho)}." if rho else "")
scorecard.overview(found, f"{where} {claims.left_out(runs, gone, study.hidden)} {claims.correction(found)}", study)
st.header("How each was judged", anchor=False)
scorecard.cards(found, study, rho[0] if len(study.values("rho")) > 1 and rho else None)
