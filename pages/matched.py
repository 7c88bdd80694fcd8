"""Matched: every quantity against train loss, gradient evaluations and seconds; Simpson's paradox made visible."""

import streamlit as st

from sam_dash.results import words
from sam_dash.results.drawing import captions, cells
from sam_dash.results.numbers import collapse, further
from sam_dash.results.views import matched, matched_figure, simpson
from sam_dash.ui import choices, controls, figure, links, router, sections, show, states, trajectory
from sam_dash.ui.frame import columns

router.ensure_routed()
st.title("Matched comparisons", anchor=False)
st.markdown(
    "A method that fits less of the noise, or computes more, may look better without its minimum being the reason. "
    "Here methods meet at **equal train loss**, with SGD stopped early as the baseline, and at **equal cost**."
)
study = states.with_results()

look = cells.of(study)
with st.container(horizontal=True, vertical_alignment="bottom"):
    finals, runs = controls.radius(study)
    x = choices.matched_in()
    y = choices.one_quantity(finals, ("test_acc", "tr_H", "lam_max", "tr_V", "gap_acc", "test_loss"))
gone = collapse.runs(finals, runs, study.spec)
table = matched.wide(study, collapse.without(finals, gone))
show.collapsed(runs, gone, look)
if table.empty:
    st.info("Every setting here collapsed: there is nothing to match.", icon=":material/filter_alt_off:")
    st.stop()
if y is None or not {x, y} <= set(table) or table[x].notna().sum() == 0:
    st.info("Not recorded in this study: choose another axis.", icon=":material/filter_alt_off:")
    st.stop()
curves = trajectory.curves(study, sorted({"train_loss", y}))
frame = matched.frame(study, table, x, y, curves)
rows = matched.at_same_loss(table, curves, y, look) if y != "train_loss" else []
found = matched.findings(rows, y)
front = captions.listed(dict.fromkeys(frame[frame["front"].astype(bool)].sort_values("x")["line"]))
best = matched.best_stop(table, curves, y, look)
on_front = [f"On the Pareto front of {words.quantity(y).name} and {matched.TITLES[x]}: {front}."] if front else []
figure.show(
    matched_figure.figure(frame, x, y, columns()),
    frame.drop(columns=matched.LOOK),
    matched.caption(study, frame, x),
    f"{words.quantity(y).name} against {matched.TITLES[x].lower()}. "
    + " ".join(found if x == "train_loss" else on_front),
    f"matched-{y}-{x}-{study.id[:6]}",
    "matched",
)
st.markdown("\n".join(f"- {line}" for line in on_front))

st.header("At the same train loss as SGD stopped early", anchor=False)
if rows:
    st.markdown("\n".join(f"- {line}" for line in [*found, *([best] if best else [])]))
    st.dataframe(matched.matched_table(rows, y), hide_index=True, alt="Each setting beside SGD at its train loss")
    st.caption(
        "Each run against SGD of the same seed where that first came down to the run's final train loss, linear "
        "between two epochs. SGD had not annealed its learning rate by then; runs of so few "
        "epochs would have, and may do better:"
    )
    sections.annealed(study, table, y)
elif y != "train_loss":
    sections.no_trajectory(study, collapse.without(finals, gone), y)

st.header("Sharpness and accuracy, pooled and within", anchor=False)
sharp = choices.sharpness_of(finals)
if sharp is None or table[sharp].notna().sum() < simpson.FEWEST or "test_acc" not in table:
    measures = {"what": ("trace",)}
    wanted = {"Set up this study with tr(H)": further.extended(study, measures=measures)}
    links.missing("Fewer than four runs with a sharpness", "A correlation wants more.", wanted)
    st.stop()
sections.correlations(study, table, sharp)
