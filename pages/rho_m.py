"""The rho x m map: the effect of m depends on rho, so both are on the axes."""

from dataclasses import replace

import streamlit as st

from sam_dash.results import words
from sam_dash.results.drawing import captions
from sam_dash.results.numbers import collapse
from sam_dash.results.views import rho_map
from sam_dash.ui import choices, controls, figure, links, router, states
from sam_dash.ui.frame import columns

router.ensure_routed()
st.title("ρ × m", anchor=False)
st.markdown(
    "Is a smaller *m* better still where every *m* has its **own best ρ**? Too large a ρ can collapse training to "
    "chance, and a collapsed network is flat, so flatness must be read beside the accuracy."
)
study = states.with_results()

with st.container(horizontal=True, vertical_alignment="bottom"):
    finals, runs, pooled = choices.scope(study)
    variant = choices.swept_variant(finals)
    finals, runs = (f[f["variant"] == variant] for f in (finals, runs))
    quantity = choices.one_quantity(finals, ("test_acc", "tr_H", "lam_max", "tr_V", "train_loss"))
    interval = controls.interval()
if runs["rho"].nunique() < 2 or quantity is None:
    base = min(study.values("rho"), default=0.1)
    wide = tuple(float(f"{base * f:.2g}") for f in (0.5, 1, 2, 3, 5))
    sweep = replace(study.spec, variants=("sgd", variant or "sam"), knobs={"rho": wide})
    sweep = sweep if len(sweep.m) > 1 else replace(sweep, m=choices.ladder(study))
    links.missing(
        "This study has one ρ only" if len(runs) else "This study has no runs that are swept over m",
        "A map wants several ρ, each with the same m and seeds. Runs of the same problem in other studies of the store "
        "count too, with “All runs of this problem” above.",
        {f"Set up ρ = {captions.listed(f'{v:g}' for v in wide)}": sweep},
    )
    st.stop()
gone = collapse.runs(finals, runs, study.spec)
frame = rho_map.frame(finals, runs, quantity, gone, interval)
found = rho_map.findings(frame, finals)
figure.show(
    rho_map.figure(frame, columns()),
    frame,
    rho_map.caption(study, frame, variant, interval, pooled),
    f"Map of {words.quantity(quantity).name} over ρ and m. {int(frame['collapsed'].sum())} of {len(frame)} settings "
    f"collapsed. {' '.join(found)}",
    f"rho-m-{quantity}-{study.id[:6]}",
    "rho_m",
)
st.header("What these runs say", anchor=False)
st.markdown("\n".join(f"- {line}" for line in found))
st.caption(
    "The best ρ is chosen by the test accuracy of the seeds it is then compared on. Runs on fresh seeds at the best ρ "
    "of each m would be a fair comparison."
)
